//! One `TenantSource`: look, plan, publish, status. Status also after failure.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{ResourceExt, runtime::controller::Action};

use super::{
    check::{Surroundings, check},
    parse::Parsed,
    plan::plan,
    publish::{PublishError, Refused, publish},
    read::{Look, Read, ReadError, read, remote},
    status::{Synced, status},
};
use crate::{
    api::{TenantSource, TenantSourceStatus},
    cluster::{ApplyError, ReconcileError},
    conditions::Reason,
    environment,
    git::{Git, UrlPolicy},
    platform::Platform,
    retry::{Retry, spread},
};

/// How often a branch is looked at where the source's own interval cannot be read; the schema's default.
const INTERVAL: Duration = Duration::from_mins(1);
/// The shortest interval.
const SHORTEST: Duration = Duration::from_secs(1);

/// Why a pass did not reach its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository.
    #[error("the repository cannot be read")]
    Read {
        /// When somebody may have changed what only they can.
        again: Duration,
        /// What went wrong.
        source: ReadError,
    },
    /// Some Tenants.
    #[error("{failed} tenants not written, such as {first}")]
    Publish {
        /// When the repository is looked at again; what was refused waits for itself.
        again: Duration,
        /// How many.
        failed: usize,
        /// The first.
        first: Arc<PublishError>,
    },
    /// The status.
    #[error(transparent)]
    Status(#[from] ApplyError),
}

impl ReconcileError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Read { again, source } if source.is_permanent() => Retry::After(*again),
            Self::Publish { again, .. } => Retry::After(*again),
            Self::Read { .. } => Retry::Backoff,
            Self::Status(error) => error.retry(),
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Read { source, .. } => source.reason(),
            Self::Publish { first, .. } => first.reason(),
            Self::Status(error) => error.reason(),
        }
    }
}

/// What the passes share.
pub struct Sources {
    /// Watches, writes, clock.
    pub platform: Platform,
    /// Repositories.
    pub git: Arc<Git>,
    /// Where repositories may be: the central ones, and those that tenants name.
    pub urls: UrlPolicy,
    /// What was read last, by source. Lost with the process, then read again.
    last: Mutex<HashMap<String, Arc<Read>>>,
    /// What was refused, by source.
    refused: Mutex<HashMap<String, Refused>>,
}

impl Sources {
    /// Nothing read yet.
    pub fn new(platform: Platform, git: Arc<Git>, urls: UrlPolicy) -> Self {
        Self { platform, git, urls, last: Mutex::default(), refused: Mutex::default() }
    }

    /// Makes the cluster what the head of the branch says.
    pub async fn reconcile(&self, source: Arc<TenantSource>) -> Result<Action, Error> {
        let outcome = self.converge(&source).await;
        let status = status(&source, outcome.as_ref(), (self.platform.now)());
        self.write_status(&source, status).await?;
        let again = spread(interval(&source.spec.interval), (self.platform.jitter)());
        let failed = outcome.map_err(|source| Error::Read { again, source })?.failed;
        match failed.first() {
            Some(first) => Err(Error::Publish { again, failed: failed.len(), first: first.clone() }),
            None => Ok(Action::requeue(again)),
        }
    }

    async fn converge(&self, source: &TenantSource) -> Result<Synced, ReadError> {
        let name = source.name_any();
        let remote = remote(source, &self.platform, &self.urls).await?;
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        let has_tenants = self.platform.tenants.all().iter().any(|tenant| tenant.origin() == name);
        let look = Look { git: &self.git, remote: &remote, spec: &source.spec, has_tenants };
        let now = read(&look, last).await?;
        self.remember(&name, now.clone());
        Ok(self.publish(source, now.commit.as_str(), &now.parsed).await)
    }

    async fn publish(&self, source: &TenantSource, commit: &str, parsed: &Parsed) -> Synced {
        let name = source.name_any();
        let surroundings = Surroundings {
            directory: &source.spec.path,
            environments: &environment::run::checked(&self.platform.environments),
            runtimes: self.platform.runtimes.all().iter().map(|one| one.name_any()).collect(),
            urls: &self.urls,
        };
        let checked = check(parsed, &surroundings);
        let existing = self.platform.tenants.all();
        let plan = plan(&name, &checked, &existing);
        let wanted = plan.desired(&name, commit, &existing);
        let tenants = wanted.len();
        // One source never runs twice at a time.
        let mut refused =
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(&name).unwrap_or_default();
        publish(&self.platform, wanted, &mut refused).await;
        let failed = refused.errors();
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(name, refused);
        Synced {
            commit: commit.to_owned(),
            tenants,
            problems: checked.problems().into_iter().map(ToString::to_string).collect(),
            conflicts: plan.conflict,
            orphaned: plan.orphan,
            too_many_gone: plan.too_many_gone,
            failed,
        }
    }

    /// Remembers what was read, and forgets what sources read that are gone.
    fn remember(&self, name: &str, read: Arc<Read>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = |other: &String| self.platform.sources.named(other).is_some();
        last.retain(|other, _| is_there(other));
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).retain(|other, _| is_there(other));
        last.insert(name.to_owned(), read);
    }

    async fn write_status(
        &self,
        source: &TenantSource,
        status: TenantSourceStatus,
    ) -> Result<(), ApplyError> {
        let old = source.status.clone().unwrap_or_default();
        if old == status {
            return Ok(());
        }
        self.platform.cluster.write_status(source, &status).await?;
        self.platform.cluster.tell_change(source, &old.conditions, &status.conditions).await;
        Ok(())
    }
}

/// The interval as Kubernetes writes durations: `60s`, `1m30s`.
fn interval(text: &str) -> Duration {
    let parsed = text.parse::<kube::core::Duration>().ok().filter(|duration| !duration.is_negative());
    parsed.map_or(INTERVAL, Duration::from).max(SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_tenant_does_not_slow_the_looks_at_the_repository() {
        let first =
            Arc::new(PublishError { tenant: "acme".into(), source: ApplyError::Foreign("acme".into()) });
        let again = Duration::from_secs(7);
        assert_eq!(Error::Publish { again, failed: 1, first }.retry(), Retry::After(again));
    }

    #[test]
    fn an_interval_is_at_least_a_second_and_never_nonsense() {
        for (text, expected) in
            [("5m", 300), ("1m30s", 90), ("1s", 1), ("200ms", 1), ("0s", 1), ("-5s", 60), ("fast", 60)]
        {
            assert_eq!(interval(text), Duration::from_secs(expected), "{text}");
        }
    }
}

//! One `TenantSource`: look, plan, publish, status. Status also after failure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::{ResourceExt, runtime::controller::Action};

use super::{
    check::{Surroundings, check},
    mark::Clock,
    plan::{Before, Plan, plan},
    publish::{PublishError, Refused, To, Wanted, publish},
    read::{Look, Read, ReadError, read, remote},
    status::{Synced, status},
};
use crate::{
    api::{Settled, TenantSource, TenantSourceStatus},
    cluster::{ApplyError, ReconcileError},
    conditions::Reason,
    environment,
    git::{Git, UrlPolicy},
    names::CONFIRM_REMOVAL,
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
    /// What earlier passes left, by source.
    memory: Mutex<HashMap<String, Memory>>,
}

/// What one pass leaves to the next.
#[derive(Debug, Default)]
struct Memory {
    /// Tenants that the API server refused.
    refused: Refused,
    /// Problems of files that were logged.
    told: BTreeSet<String>,
    /// How often in a row the repository could not be read.
    failures: u32,
}

impl Memory {
    /// Those of `problems` that were not there a pass ago.
    fn news<'a>(&mut self, problems: &'a [String]) -> Vec<&'a String> {
        let before = std::mem::replace(&mut self.told, problems.iter().cloned().collect());
        problems.iter().filter(|problem| !before.contains(*problem)).collect()
    }
}

impl Sources {
    /// Nothing read yet.
    pub fn new(platform: Platform, git: Arc<Git>, urls: UrlPolicy) -> Self {
        Self { platform, git, urls, last: Mutex::default(), memory: Mutex::default() }
    }

    /// Makes the cluster what the head of the branch says.
    pub async fn reconcile(&self, source: Arc<TenantSource>) -> Result<Action, Error> {
        // One source never runs twice at a time.
        let mut memory = self.memory().remove(&source.name_any()).unwrap_or_default();
        let outcome = self.converge(&source, &mut memory).await;
        memory.failures = if outcome.is_err() { memory.failures.saturating_add(1) } else { 0 };
        let status = status(&source, outcome.as_ref(), memory.failures, (self.platform.now)());
        self.keep(&source, memory);
        self.write_status(&source, status).await?;
        let mut again = spread(interval(&source.spec.interval), (self.platform.jitter)());
        let Synced { failed, next, .. } = outcome.map_err(|source| Error::Read { again, source })?;
        again = next.map_or(again, |next| again.min(next.max(SHORTEST)));
        match failed.first() {
            Some(first) => Err(Error::Publish { again, failed: failed.len(), first: first.clone() }),
            None => Ok(Action::requeue(again)),
        }
    }

    async fn converge(&self, source: &TenantSource, memory: &mut Memory) -> Result<Synced, ReadError> {
        let name = source.name_any();
        let remote = remote(source, &self.platform, &self.urls).await?;
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        let has_tenants = self.platform.tenants.all().iter().any(|tenant| tenant.origin() == name);
        let settled = settled(source);
        let look = Look { git: &self.git, remote: &remote, spec: &source.spec, has_tenants, settled };
        let now = read(&look, last).await?;
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(name, now.clone());
        let synced = self.publish(source, &now, &mut memory.refused).await;
        for problem in memory.news(&synced.problems) {
            tracing::warn!(
                source = source.name_any(),
                commit = synced.commit,
                problem,
                "tenant file not applied"
            );
        }
        Ok(synced)
    }

    async fn publish(&self, source: &TenantSource, now: &Read, refused: &mut Refused) -> Synced {
        let name = source.name_any();
        let surroundings = Surroundings {
            directory: &source.spec.path,
            environments: &environment::run::checked(&self.platform.environments),
            runtimes: self.platform.runtimes.all().iter().map(|one| one.name_any()).collect(),
            urls: &self.urls,
        };
        let checked = check(&now.parsed, &surroundings);
        let existing = self.platform.tenants.all();
        let commit = now.commit.as_str();
        let has_tenants = existing.iter().any(|tenant| tenant.origin() == name);
        let before = Before {
            source: &name,
            existing: &existing,
            doubt: now.doubt(settled(source), has_tenants),
            confirmed: source.annotations().get(CONFIRM_REMOVAL).map(String::as_str),
        };
        let mut plan = plan(&before, &checked);
        let clock = Clock { periods: self.platform.settings.retirement, now: (self.platform.now)() };
        let next = clock.next(&existing, &plan.orphan, commit);
        let (tenants, wanted) = (plan.tenants(), wanted(&mut plan, commit));
        publish(&To { platform: &self.platform, source: &name, clock }, wanted, refused).await;
        Synced {
            commit: commit.to_owned(),
            tenants,
            problems: checked.problems().into_iter().map(ToString::to_string).collect(),
            conflicts: plan.conflict,
            orphaned: plan.orphan,
            held: plan.held,
            next,
            failed: refused.errors(),
        }
    }

    /// Remembers for the next pass, and forgets what sources left that are gone.
    fn keep(&self, source: &TenantSource, memory: Memory) {
        let is_there = |other: &String| self.platform.sources.named(other).is_some();
        self.last.lock().unwrap_or_else(PoisonError::into_inner).retain(|other, _| is_there(other));
        let mut memories = self.memory();
        memories.retain(|other, _| is_there(other));
        memories.insert(source.name_any(), memory);
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Each Tenant that the plan writes to.
fn wanted(plan: &mut Plan, commit: &str) -> Vec<Wanted> {
    let marks = plan.marks(commit);
    let mut apply: BTreeMap<_, _> =
        std::mem::take(&mut plan.apply).into_iter().map(|tenant| (tenant.name_any(), tenant)).collect();
    let one = |(name, mark)| Wanted { tenant: apply.remove(&name), name, mark };
    marks.into_iter().map(one).collect()
}

/// Nothing before the first look, and where the status was lost.
fn settled(source: &TenantSource) -> Option<&Settled> {
    source.status.as_ref()?.settled.as_ref()
}

/// The interval as Kubernetes writes durations: `60s`, `1m30s`.
pub(super) fn interval(text: &str) -> Duration {
    let parsed = text.parse::<kube::core::Duration>().ok().filter(|duration| !duration.is_negative());
    parsed.map_or(INTERVAL, Duration::from).max(SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_news_once_and_again_after_it_was_gone() {
        let mut memory = Memory::default();
        let problems = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (now, news) in [
            (&["a:1:1: x", "b:2:1: y"][..], &["a:1:1: x", "b:2:1: y"][..]),
            (&["a:1:1: x", "b:2:1: y"], &[]),
            (&["b:2:1: y", "b:3:1: z"], &["b:3:1: z"]),
            (&["a:1:1: x"], &["a:1:1: x"]),
        ] {
            assert_eq!(memory.news(&problems(now)), news, "{now:?}");
        }
    }

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

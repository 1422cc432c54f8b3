//! IO: makes Tenants so. One that is refused does not hold up the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::StreamExt;
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

use super::mark::{Clock, Mark};
use crate::{
    api::Tenant,
    cluster::{ApplyError, ObjectKey, has_finalizer},
    conditions::Reason,
    names::{CONFIRM_DELETE, content_hash},
    platform::Platform,
    retry::{Retry, backoff},
    tenant::transfer,
};

/// Writes at a time.
const AT_A_TIME: usize = 8;
/// So often a Tenant may move between a look at it and its write.
const MOVES: usize = 5;

/// Where and as whom.
#[derive(Clone, Copy)]
pub(super) struct To<'a> {
    pub platform: &'a Platform,
    /// Name of the source.
    pub source: &'a str,
    pub clock: Clock,
}

/// One Tenant of the source.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub name: String,
    /// As its file says, where that can be applied.
    pub tenant: Option<Tenant>,
    pub mark: Mark,
}

impl Wanted {
    fn hash(&self) -> String {
        content_hash(&(&self.tenant, format!("{:?}", self.mark)))
    }
}

/// A Tenant that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("tenant {tenant}: {source}")]
pub struct PublishError {
    /// Its name.
    pub tenant: String,
    /// Why.
    pub source: ApplyError,
}

impl PublishError {
    /// Condition reason, event reason and metric label.
    pub fn reason(&self) -> Reason {
        match &self.source {
            // It appeared between our look and our write, so whose it is shows in the next look.
            ApplyError::Foreign(_) => Reason::OriginConflict,
            ApplyError::Request { .. } => self.source.reason(),
        }
    }
}

/// A Tenant that was refused, and when the same may be tried again.
#[derive(Debug)]
struct Refusal {
    wanted: String,
    failures: u32,
    until: Timestamp,
    error: Arc<PublishError>,
}

/// The Tenants of one source that were refused. Each waits for itself: the source is looked at in its interval.
#[derive(Debug, Default)]
pub(super) struct Refused(BTreeMap<String, Refusal>);

impl Refused {
    /// Those of `wanted` that are to be tried: not what was refused a moment ago, unless it changed since.
    fn due(&mut self, wanted: Vec<Wanted>, now: Timestamp) -> Vec<Wanted> {
        let names: BTreeSet<_> = wanted.iter().map(|wanted| wanted.name.clone()).collect();
        self.0.retain(|name, _| names.contains(name));
        let is_due = |wanted: &Wanted| {
            let refusal = self.0.get(&wanted.name);
            refusal.is_none_or(|refusal| refusal.until <= now || refusal.wanted != wanted.hash())
        };
        wanted.into_iter().filter(is_due).collect()
    }

    /// One attempt at `tenant`, as which `wanted` is the hash of what was tried.
    fn learn(&mut self, tenant: &str, wanted: String, outcome: Result<(), ApplyError>, at: (Timestamp, f64)) {
        let before = self.0.remove(tenant);
        let Err(source) = outcome else { return };
        let failures =
            before.filter(|before| before.wanted == wanted).map_or(0, |before| before.failures + 1);
        let (now, jitter) = at;
        let wait = match source.retry() {
            Retry::After(wait) => wait,
            Retry::Backoff | Retry::Never => backoff(failures, jitter),
        };
        let until = now.checked_add(wait).unwrap_or(now);
        let error = Arc::new(PublishError { tenant: tenant.to_owned(), source });
        self.0.insert(tenant.to_owned(), Refusal { wanted, failures, until, error });
    }

    /// What is not written, by name; also what was not tried again now.
    pub(super) fn errors(&self) -> Vec<Arc<PublishError>> {
        self.0.values().map(|refusal| refusal.error.clone()).collect()
    }
}

/// Writes each that is due; nothing is sent for those that are so already. `refused` is brought up to date.
pub(super) async fn publish(to: &To<'_>, wanted: Vec<Wanted>, refused: &mut Refused) {
    let To { platform, .. } = to;
    let tried: Vec<_> = futures::stream::iter(refused.due(wanted, (platform.now)()))
        .map(|wanted| async move {
            let outcome = write(to, &wanted).await;
            (wanted.name.clone(), wanted.hash(), outcome)
        })
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    for (name, hash, outcome) in tried {
        if let Err(error) = &outcome {
            tracing::warn!(tenant = name, error = error as &dyn std::error::Error, "tenant not written");
        }
        refused.learn(&name, hash, outcome, ((platform.now)(), (platform.jitter)()));
    }
}

async fn write(to: &To<'_>, wanted: &Wanted) -> Result<(), ApplyError> {
    let To { platform, source, clock } = *to;
    if let Some(tenant) = &wanted.tenant {
        apply(platform, source, tenant).await?;
    }
    let Some(known) = platform.tenants.named(&wanted.name) else { return Ok(()) };
    platform.cluster.amend(&*known, |live| clock.change(live, source, &wanted.mark)).await?;
    match wanted.mark {
        Mark::Gone(_) if clock.is_due(&known) => remove(to, &known).await,
        Mark::Gone(_) | Mark::Held(_) | Mark::None | Mark::Problem(_) => Ok(()),
    }
}

/// Over a Tenant as it was judged, and over no later one: it may have been handed over or deleted meanwhile.
async fn apply(platform: &Platform, source: &str, tenant: &Tenant) -> Result<(), ApplyError> {
    let Platform { cluster, tenants, .. } = platform;
    if cluster.is_applied(tenant) {
        return Ok(());
    }
    let name = tenant.name_any();
    let mut known = tenants.named(&name).map(|live| (*live).clone());
    let mut tries = MOVES;
    loop {
        if let Some(live) = known.take_if(|live| live.transfer_to() == Some(source)) {
            known = cluster.amend(&live, |live| transfer::taken(live, source)).await?;
        }
        let mut wanted = tenant.clone();
        if let Some(live) = &known {
            if live.metadata.deletion_timestamp.is_some() {
                // It is made again when it is gone.
                return Ok(());
            }
            if live.origin() != source {
                return Err(ApplyError::Foreign(format!("Tenant {name}")));
            }
            wanted.metadata.resource_version = live.resource_version();
        }
        match cluster.apply(wanted).await {
            Err(error) if error.is_conflict() && tries > 0 => tries -= 1,
            outcome => return outcome.map(drop),
        }
        known = cluster.read(&ObjectKey::of(tenant)).await?;
    }
}

/// Every stage is over. What is read now decides, and the deletion is of exactly that.
async fn remove(to: &To<'_>, known: &Tenant) -> Result<(), ApplyError> {
    let To { platform, source, clock } = *to;
    let Some(live) = platform.cluster.read::<Tenant>(&ObjectKey::of(known)).await? else { return Ok(()) };
    let is_meant = |live: &Tenant| {
        // Without the finalizer nobody would remove its namespaces.
        live.origin() == source && clock.is_due(live) && has_finalizer(live)
    };
    let confirm = |live: &Tenant| {
        let confirmed = json!({ CONFIRM_DELETE: live.uid() });
        (is_meant(live) && !live.is_confirmed()).then(|| json!({ "metadata": { "annotations": confirmed } }))
    };
    match platform.cluster.amend(&live, confirm).await? {
        Some(live) if is_meant(&live) && live.metadata.deletion_timestamp.is_none() => {
            platform.cluster.delete_unchanged(&live).await
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tenant(name: &str, contact: &str) -> Wanted {
        let spec = crate::api::TenantSpec { contact: Some(contact.to_owned()), ..Default::default() };
        Wanted { name: name.to_owned(), tenant: Some(Tenant::new(name, spec)), mark: Mark::None }
    }

    #[test]
    fn one_that_is_refused_waits_longer_each_time_and_keeps_nobody_waiting() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut refused = Refused::default();
        let wanted = || vec![tenant("acme", "a@example.com"), tenant("beta", "b@example.com")];
        let due = |refused: &mut Refused, wanted, now| -> Vec<String> {
            refused.due(wanted, now).into_iter().map(|wanted| wanted.name).collect()
        };
        let refuse = |refused: &mut Refused, now| {
            let source = kube::Error::Service("down".into());
            let error =
                ApplyError::Request { verb: "apply", object: "acme".into(), source: Box::new(source) };
            refused.learn("acme", wanted()[0].hash(), Err(error), (now, 1.0));
        };
        assert_eq!(due(&mut refused, wanted(), start), ["acme", "beta"]);
        refuse(&mut refused, start);
        assert_eq!(due(&mut refused, wanted(), start), ["beta"], "the others go on");
        assert_eq!(refused.errors().len(), 1, "and it stays told");
        let later = start + Duration::from_secs(1);
        assert_eq!(due(&mut refused, wanted(), later), ["acme", "beta"]);
        refuse(&mut refused, later);
        assert_eq!(due(&mut refused, wanted(), later + Duration::from_secs(1)), ["beta"], "twice as long");

        let mended = || vec![tenant("acme", "mended@example.com")];
        assert_eq!(due(&mut refused, mended(), later), ["acme"], "what changed is tried at once");
        refused.learn("acme", mended()[0].hash(), Ok(()), (later, 1.0));
        assert!(refused.errors().is_empty());
        refuse(&mut refused, later);
        assert_eq!(due(&mut refused, Vec::new(), later), [""; 0]);
        assert!(refused.errors().is_empty(), "nobody wants it any more");
    }
}

//! IO: makes Tenants so. One that is refused does not hold up the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::StreamExt;
use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::Tenant,
    cluster::ApplyError,
    conditions::Reason,
    names::content_hash,
    platform::Platform,
    retry::{Retry, backoff},
};

/// Writes at a time.
const AT_A_TIME: usize = 8;

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
    fn due(&mut self, wanted: Vec<Tenant>, now: Timestamp) -> Vec<Tenant> {
        let names: BTreeSet<_> = wanted.iter().map(ResourceExt::name_any).collect();
        self.0.retain(|name, _| names.contains(name));
        let is_due = |tenant: &Tenant| {
            let refusal = self.0.get(&tenant.name_any());
            refusal.is_none_or(|refusal| refusal.until <= now || refusal.wanted != content_hash(tenant))
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

/// Applies each that is due; nothing is sent for those that are so already. `refused` is brought up to date.
pub(super) async fn publish(platform: &Platform, wanted: Vec<Tenant>, refused: &mut Refused) {
    let tried: Vec<_> = futures::stream::iter(refused.due(wanted, (platform.now)()))
        .map(|tenant| async move {
            let (name, hash) = (tenant.name_any(), content_hash(&tenant));
            (name, hash, platform.cluster.apply(tenant).await.map(drop))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tenant(name: &str, contact: &str) -> Tenant {
        let spec = crate::api::TenantSpec { contact: Some(contact.to_owned()), ..Default::default() };
        Tenant::new(name, spec)
    }

    #[test]
    fn one_that_is_refused_waits_longer_each_time_and_keeps_nobody_waiting() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut refused = Refused::default();
        let wanted = || vec![tenant("acme", "a@example.com"), tenant("beta", "b@example.com")];
        let due = |refused: &mut Refused, wanted, now| -> Vec<_> {
            refused.due(wanted, now).iter().map(ResourceExt::name_any).collect()
        };
        let refuse = |refused: &mut Refused, now| {
            let source = kube::Error::Service("down".into());
            let error =
                ApplyError::Request { verb: "apply", object: "acme".into(), source: Box::new(source) };
            refused.learn("acme", content_hash(&wanted()[0]), Err(error), (now, 1.0));
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
        refused.learn("acme", content_hash(&mended()[0]), Ok(()), (later, 1.0));
        assert!(refused.errors().is_empty());
        refuse(&mut refused, later);
        assert_eq!(due(&mut refused, Vec::new(), later), [""; 0]);
        assert!(refused.errors().is_empty(), "nobody wants it any more");
    }
}

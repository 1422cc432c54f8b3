//! IO: reads what there is of a service and of what is tried beside it, for the policy. Not older than our own last writes.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use kube::ResourceExt;

use super::{
    desired::Target,
    observe::{down_since, is_current, is_one},
    scaling,
    trial::{Route, Seen, Stable, Tried},
    verdict::Verdict,
};
use crate::{
    api::{Release, WorkloadType},
    cluster::{ApplyError, Cluster, ObjectKey, Workload},
    names::{self, RELEASE},
};

/// The two Deployments of a service.
#[derive(Clone, Debug, Default)]
pub struct Found {
    own: Option<Arc<Deployment>>,
    /// What runs beside the service.
    pub beside: Option<Arc<Deployment>>,
    /// The service's own pods are of one version.
    is_one: bool,
}

impl Found {
    /// Instances that the service is to have now, with `release`.
    pub fn wanted(&self, release: &Release) -> i32 {
        scaling::wanted(self.own.as_deref(), release)
    }

    /// The number of which what is tried with `release` has its share. Of consumers that load moves it is as many as there may
    /// be as soon as both together are so many: those of the service are kept from being more.
    pub fn shared(&self, release: &Release) -> i32 {
        let number = self.wanted(release);
        let beside = self.beside.as_deref().map_or(0, replicas);
        match &release.spec.scaling {
            Some(scaling) if beside > 0 && release.spec.type_ == WorkloadType::Worker => {
                if number + beside >= scaling.max { scaling.max } else { number }
            }
            Some(_) | None => number,
        }
    }

    /// For the policy. `full`: instances that the service is to have now.
    pub fn seen(
        &self,
        (full, now): (i32, Timestamp),
        (route, consumes): (Option<Route>, bool),
        verdict: Verdict,
    ) -> Seen<'_> {
        let own = self.own.as_deref();
        let stable = Stable {
            release: own.and_then(release),
            full,
            replicas: own.map_or(0, replicas),
            there: own.and_then(told).map(|status| status.replicas.unwrap_or_default()),
            is_one: self.is_one,
            down: own.and_then(|own| down(own, now)),
        };
        let tried = self.beside.as_deref().map(|beside| Tried {
            release: release(beside).unwrap_or_default(),
            replicas: replicas(beside),
            there: told(beside).map(|status| {
                (status.replicas.unwrap_or_default(), status.available_replicas.unwrap_or_default())
            }),
        });
        Seen { stable, tried, route, consumes, verdict }
    }

    /// Name of the release that the service's own Deployment was given.
    pub fn runs(&self) -> Option<&str> {
        self.own.as_deref().and_then(release)
    }

    /// Name of the release that runs beside the service.
    pub fn tried(&self) -> Option<&str> {
        self.beside.as_deref().and_then(release)
    }
}

fn release(deployment: &Deployment) -> Option<&str> {
    deployment.annotations().get(RELEASE).map(String::as_str)
}

fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default()
}

/// How long a roll-out of it may take, where none of it answers for longer.
fn down(deployment: &Deployment, now: Timestamp) -> Option<Duration> {
    let is_none = told(deployment)?.available_replicas.unwrap_or_default() == 0;
    let allowed = deployment.spec.as_ref()?.progress_deadline_seconds?;
    let is_late = down_since(deployment).is_some_and(|since| since <= now);
    (is_none && is_late).then(|| Duration::from_secs(allowed.unsigned_abs().into()))
}

/// What its controller says since it was last changed.
fn told(deployment: &Deployment) -> Option<&DeploymentStatus> {
    deployment.status.as_ref().filter(|status| is_current(deployment, status))
}

/// Is something beside the service of `target`, as far as is known without a request?
pub fn is_beside(cluster: &Cluster, target: &Target<'_>) -> bool {
    let name = names::beside(&target.release.spec.service);
    cluster.has_written::<Deployment>(Some(&target.namespace()), &name)
}

/// What there is: at most three requests.
pub async fn found(cluster: &Cluster, target: &Target<'_>) -> Result<Found, ApplyError> {
    let service = &target.release.spec.service;
    let own = newest(cluster, target, service).await?;
    let beside = newest(cluster, target, &names::beside(service)).await?;
    let is_one = match &own {
        None => false,
        Some(own) => is_one(own, &cluster.replica_sets(&target.namespace(), &target.selector()).await?),
    };
    Ok(Found { own, beside, is_one })
}

async fn newest(
    cluster: &Cluster,
    target: &Target<'_>,
    name: &str,
) -> Result<Option<Arc<Deployment>>, ApplyError> {
    let namespace = target.namespace();
    let shown = match cluster.workload(&namespace, name) {
        Some(Workload::Deployment(shown)) => Some(shown),
        Some(Workload::CronJob(_)) | None => None,
    };
    let key = ObjectKey::named::<Deployment>(Some(&namespace), name);
    if !cluster.is_behind(&key, shown.as_deref()) {
        return Ok(shown);
    }
    cluster.read(&key).await.map(|read| read.map(Arc::new))
}

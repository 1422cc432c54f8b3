//! Makes a release so. IO through the cluster's apply and delete only; called by the service's reconcile, which owns the
//! status.

use k8s_openapi::api::{core::v1::Service, policy::v1::PodDisruptionBudget};

use super::{
    desired::{Children, Target, desired},
    observe::{Observed, observed},
};
use crate::cluster::{ApplyError, Cluster};

/// Applies what runs the release, removes what it no longer has, and tells how far it is. Sends nothing when nothing
/// differs. The observation is what the watch last showed: a change of the Deployment wakes the service again.
pub async fn roll_out(cluster: &Cluster, target: &Target<'_>) -> Result<Observed, ApplyError> {
    let namespace = target.namespace();
    let name = &target.release.spec.service;
    // No `..`: a new kind of child does not compile until it is applied here.
    let Children { config_map, network_policies, service, disruption_budget, deployment } = desired(target);
    // Before the pods that mount it, which would otherwise wait in the kubelet's backoff.
    if let Some(config_map) = config_map {
        cluster.apply(config_map).await?;
    }
    // Before the pods, so that none runs a moment without it.
    for policy in network_policies {
        cluster.apply(policy).await?;
    }
    // Before the pods that use a port which it did not have.
    match service {
        Some(service) => drop(cluster.apply(service).await?),
        None => cluster.delete::<Service>(&namespace, name).await?,
    }
    match disruption_budget {
        Some(budget) => drop(cluster.apply(budget).await?),
        None => cluster.delete::<PodDisruptionBudget>(&namespace, name).await?,
    }
    cluster.apply(deployment).await?;
    Ok(observed(cluster.deployment(&namespace, name).as_deref(), target.release))
}

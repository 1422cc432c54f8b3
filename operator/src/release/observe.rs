//! What became of a release, as its Deployment tells. Pure.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use kube::ResourceExt;

use crate::{
    api::Release,
    conditions::Reason,
    names::{RELEASE, environment_namespace, tenant_of_home},
};

/// How far a release is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Instances of this release that answer.
    pub ready: i32,
    /// Instances that there should be.
    pub desired: i32,
    /// Instances of this release, ready or not.
    pub updated: i32,
    /// What that means.
    pub phase: Phase,
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// On its way.
    RollingOut,
    /// All instances are of this release and ready, and no other is left.
    Healthy,
    /// It is as declared with no instance at all, which proves nothing: such a release is never promoted.
    Stopped,
    /// Something outside the release is in the way; it goes on by itself. What ran before runs on.
    Blocked {
        /// [`Reason::QuotaExceeded`], or [`Reason::ApplyFailed`] when the pods are refused for another reason.
        reason: Reason,
        /// What was refused and what helps.
        message: String,
    },
    /// It did not become ready in time. What ran before runs on where the strategy is `rolling`.
    Failed {
        /// Where to look.
        message: String,
    },
}

/// Reads `deployment` as far as it is about `release`.
pub fn observed(deployment: Option<&Deployment>, release: &Release) -> Observed {
    let desired = release.spec.replicas;
    let on_its_way = Observed { ready: 0, desired, updated: 0, phase: Phase::RollingOut };
    let Some(deployment) = deployment.filter(|deployment| is_of(deployment, release)) else {
        return on_its_way;
    };
    // Until the Deployment's controller has read our last write, its status is about the version before.
    let Some(status) = deployment.status.as_ref().filter(|status| is_current(deployment, status)) else {
        return on_its_way;
    };
    let updated = status.updated_replicas.unwrap_or_default();
    let all = status.replicas.unwrap_or_default();
    let ready = ready(status);
    Observed { ready, desired, updated, phase: phase(status, desired, all - updated, release) }
}

fn is_of(deployment: &Deployment, release: &Release) -> bool {
    deployment.annotations().get(RELEASE) == Some(&release.name_any())
        && deployment.spec.as_ref().and_then(|spec| spec.replicas) == Some(release.spec.replicas)
}

fn is_current(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    deployment.metadata.generation.is_some() && status.observed_generation >= deployment.metadata.generation
}

/// It is not told which of the ready instances are new; the old ones stay ready until they are replaced.
fn ready(status: &DeploymentStatus) -> i32 {
    let count = |number: Option<i32>| number.unwrap_or_default();
    let old = count(status.replicas) - count(status.updated_replicas);
    (count(status.ready_replicas) - old).max(0)
}

fn phase(status: &DeploymentStatus, desired: i32, old: i32, release: &Release) -> Phase {
    let is = |count: Option<i32>| count.unwrap_or_default() == desired;
    if is(status.updated_replicas) && is(status.ready_replicas) && is(status.available_replicas) && old == 0 {
        return if desired > 0 { Phase::Healthy } else { Phase::Stopped };
    }
    if let Some(refused) = condition(status, "ReplicaFailure", "True") {
        return blocked(refused);
    }
    match condition(status, "Progressing", "False") {
        Some(stuck) if stuck.reason.as_deref() == Some("ProgressDeadlineExceeded") => {
            Phase::Failed { message: failed(status, desired, release) }
        }
        _ => Phase::RollingOut,
    }
}

fn condition<'a>(status: &'a DeploymentStatus, type_: &str, is: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == type_ && c.status == is)
}

fn blocked(refused: &DeploymentCondition) -> Phase {
    let told = refused.message.clone().unwrap_or_default();
    if told.contains("exceeded quota") {
        let message =
            format!("no room in the tenant's quota for a new instance, ask for more or scale down: {told}");
        Phase::Blocked { reason: Reason::QuotaExceeded, message }
    } else {
        Phase::Blocked { reason: Reason::ApplyFailed, message: format!("new instances are refused: {told}") }
    }
}

fn failed(status: &DeploymentStatus, desired: i32, release: &Release) -> String {
    let spec = &release.spec;
    let tenant = release.namespace();
    let namespace = tenant
        .as_deref()
        .and_then(tenant_of_home)
        .map_or_else(|| spec.environment.clone(), |tenant| environment_namespace(tenant, &spec.environment));
    let unready = desired - ready(status);
    format!(
        "{unready} of {desired} new instances did not become ready in time; look at the pods of {service} in \
         {namespace}: kubectl describe pods -n {namespace} -l imaas.dev/service={service}",
        service = spec.service,
    )
}

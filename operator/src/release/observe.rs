//! What became of a release, as its Deployment tells. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use kube::ResourceExt;

use super::scaling::{asked, wanted};
use crate::{
    api::Release,
    conditions::{HEALTHY, Reason, is_true},
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

impl Observed {
    /// Is no pod of another release left?
    pub fn is_alone(&self) -> bool {
        match self.phase {
            Phase::Healthy | Phase::Stopped | Phase::Scheduled { .. } | Phase::FirstRun => true,
            Phase::RollingOut
            | Phase::Outlasted { .. }
            | Phase::Unread
            | Phase::Down
            | Phase::Blocked { .. }
            | Phase::Failed { .. } => false,
        }
    }
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// On its way.
    RollingOut,
    /// An autoscaler may have asked for another number a moment ago, and the Deployment's controller has not said yet what
    /// became of it.
    Unread,
    /// A batch of which no run has ended yet.
    Scheduled {
        /// When the next one is due.
        next: Option<Timestamp>,
    },
    /// A run of a batch that another release began goes on, and nothing begins beside it.
    Outlasted {
        /// Its name.
        run: String,
        /// When it began.
        since: Option<Timestamp>,
    },
    /// The first run of a batch goes on: how it ends is not known, also when some of its tries failed.
    FirstRun,
    /// All instances are of this release and ready, and no other is left; where load or an hour asked for more a moment ago,
    /// all that there must be at the least.
    Healthy,
    /// It is as declared with no instance at all, which proves nothing: such a release is never promoted.
    Stopped,
    /// All its instances were ready once and nothing is rolled out, but not all are ready now.
    Down,
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

/// Under which a Deployment and its current `ReplicaSet` bear the same number.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// That pods are refused, of a Deployment as of a `ReplicaSet`.
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The one of `sets` that is of the version which `deployment` rolls out.
pub fn current<'a>(deployment: &Deployment, sets: &'a [ReplicaSet]) -> Option<&'a ReplicaSet> {
    let revision = deployment.annotations().get(REVISION)?;
    owned(deployment, sets).find(|set| set.annotations().get(REVISION) == Some(revision))
}

/// Are all instances of `deployment` of one version, that of its release? So is none at all, as of a queue that is empty, where
/// the set from which the next one comes is there. This needs no status of `deployment`, which says
/// nothing for a moment after every change, of a number as well: its controller copies the annotation to the set that it
/// rolls out.
pub fn is_one(deployment: &Deployment, sets: &[ReplicaSet]) -> bool {
    let has_instances = |set: &&ReplicaSet| {
        let asked = set.spec.as_ref().and_then(|spec| spec.replicas);
        asked > Some(0) || set.status.as_ref().is_some_and(|status| status.replicas > 0)
    };
    let mut with_instances = owned(deployment, sets).filter(has_instances);
    let only = match (with_instances.next(), with_instances.next()) {
        (None, _) => current(deployment, sets),
        (only, None) => only,
        (Some(_), Some(_)) => None,
    };
    let of = only.and_then(|only| only.annotations().get(RELEASE));
    of.is_some() && of == deployment.annotations().get(RELEASE)
}

fn owned<'a>(deployment: &Deployment, sets: &'a [ReplicaSet]) -> impl Iterator<Item = &'a ReplicaSet> {
    let uid = deployment.uid();
    sets.iter().filter(move |set| set.owner_references().iter().any(|owner| Some(&owner.uid) == uid.as_ref()))
}

/// `deployment` without the refusal of pods that are of another than its `current` set: where that has none, Kubernetes
/// tells of an older one's.
pub fn of_current(deployment: &Deployment, current: &ReplicaSet) -> Deployment {
    let mut deployment = deployment.clone();
    let is_refused = |set: &ReplicaSet| {
        let conditions = set.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions
            .into_iter()
            .any(|condition| condition.type_ == REPLICA_FAILURE && condition.status == "True")
    };
    if !is_refused(current)
        && let Some(conditions) = deployment.status.as_mut().and_then(|status| status.conditions.as_mut())
    {
        conditions.retain(|condition| condition.type_ != REPLICA_FAILURE);
    }
    deployment
}

/// Since when a Deployment whose release is all that it counts is so. A pod that was told to end is counted no more.
pub fn alone_since(deployment: &Deployment) -> Option<Timestamp> {
    let done = condition(deployment.status.as_ref()?, "Progressing", "True")?;
    done.last_update_time.as_ref().map(|time| time.0)
}

/// Since when all that a Deployment runs is of one version and answers, without a break.
pub fn well_since(deployment: &Deployment) -> Option<Timestamp> {
    let available = condition(deployment.status.as_ref()?, "Available", "True")?;
    let unbroken = available.last_transition_time.as_ref().map(|time| time.0);
    Some(alone_since(deployment)?.max(unbroken?))
}

/// When the deadline of a rollout was missed; until the next one begins that may be the one before.
pub fn late_since(deployment: &Deployment) -> Option<Timestamp> {
    let late = condition(deployment.status.as_ref()?, "Progressing", "False")?;
    late.last_update_time.as_ref().map(|time| time.0)
}

/// Since when too few of a Deployment that rolls nothing out answer for longer than a roll-out may take.
pub fn down_since(deployment: &Deployment) -> Option<Timestamp> {
    let down = condition(deployment.status.as_ref()?, "Available", "False")?;
    let allowed = deployment.spec.as_ref()?.progress_deadline_seconds?;
    down.last_transition_time.as_ref()?.0.checked_add(SignedDuration::from_secs(allowed.into())).ok()
}

/// How many instances of `release` need not be there while other pods of `live` give way to it: those that do not serve
/// now. Only of one that ran well before, as on the way back. Else a version that never got ready would keep the room that
/// the last good one needs, since Kubernetes removes no instance, not even one that serves nobody, as long as it counts
/// too few. What serves stays until there is more.
pub fn spare(live: &Deployment, release: &Release) -> i32 {
    let ran_well = release.status.as_ref().is_some_and(|status| is_true(&status.conditions, HEALTHY));
    let status = live.status.clone().unwrap_or_default();
    let is_alone = is_of(live, release)
        && is_current(live, &status)
        && status.replicas.unwrap_or_default() == status.updated_replicas.unwrap_or_default();
    if !ran_well || is_alone {
        return 0;
    }
    (wanted(Some(live), release) - status.available_replicas.unwrap_or_default()).max(0)
}

/// Reads `deployment` as far as it is about `release`. `enough`: so many instances will do while others are on their way,
/// see [`super::scaling::Moving`].
pub fn observed(deployment: Option<&Deployment>, release: &Release, enough: Option<i32>) -> Observed {
    let desired = wanted(deployment, release);
    let on_its_way = Observed { ready: 0, desired, updated: 0, phase: Phase::RollingOut };
    let Some(deployment) = deployment.filter(|deployment| is_of(deployment, release)) else {
        return on_its_way;
    };
    // Until the Deployment's controller has read our last write, its status is about the version before.
    let Some(status) = deployment.status.as_ref().filter(|status| is_current(deployment, status)) else {
        return match release.spec.scaling {
            Some(_) => Observed { phase: Phase::Unread, ..on_its_way },
            None => on_its_way,
        };
    };
    let updated = status.updated_replicas.unwrap_or_default();
    let all = status.replicas.unwrap_or_default();
    let ready = ready(status);
    // What runs beyond `max` serves until the autoscaler has taken it away.
    let enough = enough.or_else(|| (asked(deployment) > Some(desired)).then_some(desired));
    Observed { ready, desired, updated, phase: phase(status, (desired, enough), all - updated, release) }
}

/// Does it run `release`, with as many instances as that is to have? An autoscaler follows in its own time.
fn is_of(deployment: &Deployment, release: &Release) -> bool {
    let is_followed = || release.spec.scaling.is_some();
    deployment.annotations().get(RELEASE) == Some(&release.name_any())
        && (is_followed() || asked(deployment) == Some(wanted(Some(deployment), release)))
}

pub(super) fn is_current(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    deployment.metadata.generation.is_some() && status.observed_generation >= deployment.metadata.generation
}

/// It is not told which of the ready instances are new; the old ones stay ready until they are replaced.
fn ready(status: &DeploymentStatus) -> i32 {
    let count = |number: Option<i32>| number.unwrap_or_default();
    let old = count(status.replicas) - count(status.updated_replicas);
    (count(status.ready_replicas) - old).max(0)
}

fn phase(
    status: &DeploymentStatus,
    (desired, enough): (i32, Option<i32>),
    old: i32,
    release: &Release,
) -> Phase {
    let is = |count: Option<i32>| count.unwrap_or_default() == desired;
    if is(status.updated_replicas) && is(status.ready_replicas) && is(status.available_replicas) && old == 0 {
        return if desired > 0 { Phase::Healthy } else { Phase::Stopped };
    }
    if let Some(refused) = condition(status, REPLICA_FAILURE, "True") {
        return blocked(refused, &release.spec.environment);
    }
    let is_settled = old == 0 && is_settled(status);
    let serve = status.available_replicas.unwrap_or_default();
    if is_settled && enough.is_some_and(|enough| serve >= enough) {
        return Phase::Healthy;
    }
    match condition(status, "Progressing", "False") {
        Some(stuck) if stuck.reason.as_deref() == Some("ProgressDeadlineExceeded") => {
            Phase::Failed { message: failed(status, desired, release) }
        }
        _ if is(status.updated_replicas) && is_settled => Phase::Down,
        _ => Phase::RollingOut,
    }
}

fn is_settled(status: &DeploymentStatus) -> bool {
    let progress = condition(status, "Progressing", "True");
    progress.is_some_and(|progress| progress.reason.as_deref() == Some("NewReplicaSetAvailable"))
}

fn condition<'a>(status: &'a DeploymentStatus, type_: &str, is: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == type_ && c.status == is)
}

fn blocked(refused: &DeploymentCondition, environment: &str) -> Phase {
    let told = refused.message.as_deref().unwrap_or_default();
    // Before it stands the name of a pod that never was, another one at each attempt.
    let told = told.split_once(" is forbidden: ").map_or(told, |(_, why)| why);
    if told.contains("exceeded quota") {
        let message = format!(
            "no room for a new instance: raise `spec.environments.{environment}.quota` in the tenant file, or scale down: {told}"
        );
        Phase::Blocked { reason: Reason::QuotaExceeded, message }
    } else {
        let whose = if told.contains("no PriorityClass") {
            format!(
                "; the platform's admins: make it, or correct `spec.priorityClass` of the Environment {environment}"
            )
        } else {
            String::new()
        };
        let message = format!("new instances are refused: {told}{whose}");
        Phase::Blocked { reason: Reason::ApplyFailed, message }
    }
}

fn failed(status: &DeploymentStatus, desired: i32, release: &Release) -> String {
    let spec = &release.spec;
    let tenant = release.namespace();
    let namespace = tenant
        .as_deref()
        .and_then(tenant_of_home)
        .map_or_else(|| spec.environment.clone(), |tenant| environment_namespace(tenant, &spec.environment));
    format!(
        "{late}; look at the pods of {service} in \
         {namespace}: kubectl describe pods -n {namespace} -l imaas.dev/service={service}, and at what they say: \
         kubectl logs -n {namespace} -l imaas.dev/service={service} --prefix",
        late = late(ready(status), desired),
        service = spec.service,
    )
}

/// Told of a release of whose instances so many are ready past its deadline.
pub fn late(ready: i32, desired: i32) -> String {
    format!("{} of {desired} new instances did not become ready in time", desired - ready)
}

#[cfg(test)]
mod tests;

//! What became of a release, as its Deployment tells. Pure.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
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

impl Observed {
    /// Is no pod of another release left?
    pub fn is_alone(&self) -> bool {
        match self.phase {
            Phase::Healthy | Phase::Stopped => true,
            Phase::RollingOut | Phase::Down | Phase::Blocked { .. } | Phase::Failed { .. } => false,
        }
    }
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
    sets.iter().find(|set| {
        let is_owned =
            set.owner_references().iter().any(|owner| Some(&owner.uid) == deployment.uid().as_ref());
        is_owned && set.annotations().get(REVISION) == Some(revision)
    })
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

/// When the deadline of a rollout was missed; until the next one begins that may be the one before.
pub fn late_since(deployment: &Deployment) -> Option<Timestamp> {
    let late = condition(deployment.status.as_ref()?, "Progressing", "False")?;
    late.last_update_time.as_ref().map(|time| time.0)
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
    if let Some(refused) = condition(status, REPLICA_FAILURE, "True") {
        return blocked(refused, &release.spec.environment);
    }
    match condition(status, "Progressing", "False") {
        Some(stuck) if stuck.reason.as_deref() == Some("ProgressDeadlineExceeded") => {
            Phase::Failed { message: failed(status, desired, release) }
        }
        _ if is(status.updated_replicas) && old == 0 && is_settled(status) => Phase::Down,
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
         {namespace}: kubectl describe pods -n {namespace} -l imaas.dev/service={service}, and at what they say: \
         kubectl logs -n {namespace} -l imaas.dev/service={service} --prefix",
        service = spec.service,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release() -> Release {
        serde_saphyr::from_str(
            "
            apiVersion: imaas.dev/v1alpha1
            kind: Release
            metadata: {name: orders-dev-abc, namespace: acme-home}
            spec:
              {service: orders, environment: dev, commit: c, buildId: b, image: i, digest: d, runtime: camel,
               cause: Commit, type: api, many: true, strategy: rolling, replicas: 2, template: {}}
            ",
        )
        .unwrap()
    }

    /// A Deployment of two instances; `counts` are replicas, updated, ready, available.
    fn deployment(counts: [i32; 4], conditions: &str) -> Deployment {
        let [replicas, updated, ready, available] = counts;
        serde_saphyr::from_str(&format!(
            "
            metadata: {{name: orders, generation: 7, annotations: {{imaas.dev/release: orders-dev-abc}}}}
            spec: {{replicas: 2, selector: {{}}, template: {{}}}}
            status: {{observedGeneration: 7, replicas: {replicas}, updatedReplicas: {updated}, readyReplicas: {ready},
                      availableReplicas: {available}, conditions: {conditions}}}
            "
        ))
        .unwrap()
    }

    fn phase_of(deployment: &Deployment) -> Phase {
        observed(Some(deployment), &release()).phase
    }

    const LATE: &str = "[{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]";

    #[test]
    fn it_is_healthy_only_when_every_instance_is_its_own_and_available() {
        assert_eq!(phase_of(&deployment([2, 2, 2, 2], "[]")), Phase::Healthy);
        for counts in [[2, 2, 2, 1], [2, 2, 1, 1], [2, 1, 2, 2], [3, 2, 3, 2], [3, 2, 2, 2], [0, 0, 0, 0]] {
            assert_eq!(phase_of(&deployment(counts, "[]")), Phase::RollingOut, "{counts:?}");
        }
    }

    #[test]
    fn what_the_status_says_of_another_version_counts_for_nothing() {
        let well = deployment([2, 2, 2, 2], "[]");
        let changed = |change: fn(&mut Deployment)| {
            let mut deployment = well.clone();
            change(&mut deployment);
            deployment
        };
        for (what, deployment) in [
            ("not observed", changed(|d| d.metadata.generation = Some(8))),
            ("no status", changed(|d| d.status = None)),
            ("other release", changed(|d| d.metadata.annotations.as_mut().unwrap().clear())),
            ("other number", changed(|d| d.spec.as_mut().unwrap().replicas = Some(3))),
        ] {
            let told = observed(Some(&deployment), &release());
            assert_eq!((told.phase, told.ready, told.desired), (Phase::RollingOut, 0, 2), "{what}");
        }
        assert_eq!(observed(None, &release()).phase, Phase::RollingOut);
    }

    #[test]
    fn a_missed_deadline_is_a_failure_that_says_where_to_look() {
        // Two old ones serve on, one new one does not become ready.
        let Phase::Failed { message } = phase_of(&deployment([3, 1, 2, 2], LATE)) else {
            panic!("other phase")
        };
        assert!(message.starts_with("2 of 2 new instances"), "{message}");
        for command in ["kubectl describe pods", "kubectl logs"] {
            let command = format!("{command} -n acme-dev -l imaas.dev/service=orders");
            assert!(message.contains(&command), "{message}");
        }
    }

    #[test]
    fn a_full_quota_is_told_as_such_and_before_the_deadline() {
        let refused = |message: &str| {
            format!(
                "[{{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}},
                  {{type: ReplicaFailure, status: 'True', reason: FailedCreate, message: '{message}'}}]"
            )
        };
        let reason = |message| match phase_of(&deployment([2, 0, 2, 2], &refused(message))) {
            Phase::Blocked { reason, message } => (reason, message),
            other => panic!("{other:?}"),
        };
        let (full, message) =
            reason("pods \"orders-7f-x1\" is forbidden: exceeded quota: imaas, used: pods=6");
        assert_eq!(full, Reason::QuotaExceeded);
        assert!(message.ends_with("exceeded quota: imaas, used: pods=6"), "{message}");
        assert!(message.contains("raise `spec.environments.dev.quota` in the tenant file"), "{message}");
        assert!(!message.contains("orders-7f"), "differs at each attempt: {message}");
        assert_eq!(reason("violates PodSecurity").0, Reason::ApplyFailed);
    }

    /// Of the Deployment in [`deployment`], with a revision and conditions.
    fn set(name: &str, revision: u8, conditions: &str) -> ReplicaSet {
        serde_saphyr::from_str(&format!(
            "
            metadata: {{name: {name}, annotations: {{deployment.kubernetes.io/revision: '{revision}'}},
                       ownerReferences: [{{apiVersion: apps/v1, kind: Deployment, name: orders, uid: u-1}}]}}
            spec: {{selector: {{}}}}
            status: {{replicas: 0, conditions: {conditions}}}
            "
        ))
        .unwrap()
    }

    #[test]
    fn the_refusal_of_an_older_versions_pods_is_not_the_new_ones() {
        const REFUSED: &str = "[{type: ReplicaFailure, status: 'True', reason: FailedCreate,
            message: 'pods \"orders-old-x1\" is forbidden: exceeded quota: imaas, used: pods=6'}]";
        let mut told = deployment([2, 1, 0, 0], REFUSED);
        told.metadata.uid = Some("u-1".to_owned());
        told.metadata.annotations.as_mut().unwrap().insert(REVISION.to_owned(), "3".to_owned());
        let phase = |sets: &[ReplicaSet]| {
            phase_of(&current(&told, sets).map_or_else(|| told.clone(), |current| of_current(&told, current)))
        };
        let (old, new) = (set("orders-old", 1, REFUSED), set("orders-new", 3, "[]"));
        assert_eq!(phase(&[old.clone(), new]), Phase::RollingOut);
        for sets in [&[old.clone(), set("orders-new", 3, REFUSED)][..], &[old]] {
            assert!(matches!(phase(sets), Phase::Blocked { reason: Reason::QuotaExceeded, .. }), "{sets:?}");
        }
        let mut foreign = set("orders-new", 3, "[]");
        foreign.metadata.owner_references = None;
        assert_eq!(current(&told, &[foreign]), None, "of another Deployment");
    }

    #[test]
    fn a_failure_that_recovers_is_healthy() {
        assert_eq!(phase_of(&deployment([2, 2, 2, 2], LATE)), Phase::Healthy);
    }

    #[test]
    fn what_ran_and_does_no_more_is_not_rolled_out() {
        let done = "[{type: Progressing, status: 'True', reason: NewReplicaSetAvailable}]";
        for counts in [[2, 2, 1, 1], [2, 2, 0, 0], [2, 2, 2, 1]] {
            assert_eq!(phase_of(&deployment(counts, done)), Phase::Down, "{counts:?}");
        }
        let under_way = "[{type: Progressing, status: 'True', reason: ReplicaSetUpdated}]";
        assert_eq!(phase_of(&deployment([2, 2, 1, 1], under_way)), Phase::RollingOut);
        assert_eq!(phase_of(&deployment([3, 2, 2, 2], done)), Phase::RollingOut, "an old one is left");
        assert_eq!(phase_of(&deployment([1, 1, 1, 1], done)), Phase::RollingOut, "one is to come");
    }

    #[test]
    fn no_instance_proves_nothing() {
        let mut release = release();
        release.spec.replicas = 0;
        let mut deployment = deployment([0, 0, 0, 0], "[]");
        deployment.spec.as_mut().unwrap().replicas = Some(0);
        assert_eq!(observed(Some(&deployment), &release).phase, Phase::Stopped);
    }

    #[test]
    fn ready_counts_the_new_ones_only() {
        for (counts, ready) in [([3, 1, 2, 2], 0), ([3, 1, 3, 2], 1), ([3, 2, 2, 2], 1), ([2, 2, 2, 2], 2)] {
            assert_eq!(observed(Some(&deployment(counts, "[]")), &release()).ready, ready, "{counts:?}");
        }
    }
}

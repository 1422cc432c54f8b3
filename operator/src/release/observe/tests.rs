//! What a Deployment tells, in each state.

use super::*;
use crate::{release::triggers::least, sample};

fn release() -> Release {
    sample::release("orders-dev-abc", "")
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
    observed(Some(deployment), &release(), None).phase
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
        let told = observed(Some(&deployment), &release(), None);
        assert_eq!((told.phase, told.ready, told.desired), (Phase::RollingOut, 0, 2), "{what}");
    }
    assert_eq!(observed(None, &release(), None).phase, Phase::RollingOut);
}

#[test]
fn a_missed_deadline_is_a_failure_that_says_where_to_look() {
    // Two old ones serve on, one new one does not become ready.
    let Phase::Failed { message } = phase_of(&deployment([3, 1, 2, 2], LATE)) else { panic!("other phase") };
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
    let (full, message) = reason("pods \"orders-7f-x1\" is forbidden: exceeded quota: imaas, used: pods=6");
    assert_eq!(full, Reason::QuotaExceeded);
    assert!(message.ends_with("exceeded quota: imaas, used: pods=6"), "{message}");
    assert!(message.contains("raise `spec.environments.dev.quota` in the tenant file"), "{message}");
    assert!(!message.contains("orders-7f"), "differs at each attempt: {message}");
    assert_eq!(reason("violates PodSecurity").0, Reason::ApplyFailed);
    let told =
        reason("pods \"orders-7f-x1\" is forbidden: no PriorityClass with name production was found").1;
    assert!(told.ends_with("correct `spec.priorityClass` of the Environment dev"), "{told}");
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
fn on_the_way_back_only_what_serves_is_waited_for() {
    let mut back = release();
    back.status = serde_saphyr::from_str(
        "{conditions: [{type: Healthy, status: 'True', reason: Succeeded, message: '',
          lastTransitionTime: '2026-01-01T00:00:00Z'}]}",
    )
    .ok();
    let of_other = |counts: [i32; 4]| {
        let mut live = deployment(counts, "[]");
        live.metadata.annotations.as_mut().unwrap().insert(RELEASE.to_owned(), "orders-dev-bad".into());
        live
    };
    for (counts, spare_ones) in [([1, 1, 0, 0], 2), ([3, 1, 1, 1], 1), ([3, 1, 2, 2], 0), ([3, 1, 3, 3], 0)] {
        assert_eq!(spare(&of_other(counts), &back), spare_ones, "{counts:?}");
        assert_eq!(spare(&of_other(counts), &release()), 0, "nobody knows yet whether it runs at all");
    }
    assert_eq!(spare(&deployment([3, 2, 1, 1], "[]"), &back), 1, "the other's pod is still there");
    assert_eq!(spare(&deployment([2, 2, 1, 1], "[]"), &back), 0, "none gives way: it just went down");
    let mut unread = deployment([2, 2, 0, 0], "[]");
    unread.metadata.generation = Some(8);
    assert_eq!(spare(&unread, &back), 2, "what is counted is still the other's");
}

#[test]
fn no_instance_proves_nothing() {
    let mut release = release();
    release.spec.replicas = 0;
    let mut deployment = deployment([0, 0, 0, 0], "[]");
    deployment.spec.as_mut().unwrap().replicas = Some(0);
    assert_eq!(observed(Some(&deployment), &release, None).phase, Phase::Stopped);
}

#[test]
fn ready_counts_the_new_ones_only() {
    for (counts, ready) in [([3, 1, 2, 2], 0), ([3, 1, 3, 2], 1), ([3, 2, 2, 2], 1), ([2, 2, 2, 2], 2)] {
        assert_eq!(observed(Some(&deployment(counts, "[]")), &release(), None).ready, ready, "{counts:?}");
    }
}

#[test]
fn what_is_not_ready_for_a_moment_begins_its_bake_time_anew() {
    let since = |conditions: &str| {
        let conditions = format!(
            "[{{type: Progressing, status: 'True', lastUpdateTime: '2026-01-01T10:00:00Z'}}, {conditions}]"
        );
        well_since(&deployment([2, 2, 2, 2], &conditions)).map(|since| since.to_string())
    };
    let available = |status: &str, since: &str| {
        format!("{{type: Available, status: '{status}', lastTransitionTime: '2026-01-01T{since}Z'}}")
    };
    assert_eq!(since(&available("True", "10:00:00")).as_deref(), Some("2026-01-01T10:00:00Z"));
    assert_eq!(since(&available("False", "10:20:00")), None);
    assert_eq!(since(&available("True", "10:21:00")).as_deref(), Some("2026-01-01T10:21:00Z"));
}

/// Of one to five instances.
fn scaled() -> Release {
    sample::release("orders-dev-abc", "replicas: 1, scaling: {max: 5, downAfterSeconds: 300}")
}

#[test]
fn what_load_asks_for_is_no_roll_out_and_no_failure_while_it_starts() {
    let done = "[{type: Progressing, status: 'True', reason: NewReplicaSetAvailable}]";
    let phase = |counts, conditions: &str, is_moving: bool| {
        let enough = is_moving.then(|| least(&scaled()));
        observed(Some(&deployment(counts, conditions)), &scaled(), enough).phase
    };
    // From one to two and from three to two: its controller did nothing yet, then it did.
    for counts in [[1, 1, 1, 1], [2, 2, 1, 1], [3, 3, 3, 3], [2, 2, 3, 3]] {
        assert_eq!(phase(counts, done, true), Phase::Healthy, "{counts:?}");
    }
    assert_eq!(phase([2, 2, 1, 1], done, false), Phase::Down, "it had its time");
    assert_eq!(phase([2, 2, 0, 0], done, true), Phase::Down, "not even the least serve");
    assert_eq!(phase([3, 1, 2, 2], done, true), Phase::RollingOut, "old ones are left");
    let under_way = "[{type: Progressing, status: 'True', reason: ReplicaSetUpdated}]";
    assert_eq!(phase([2, 2, 1, 1], under_way, true), Phase::RollingOut);
    let refused = "[{type: Progressing, status: 'True', reason: NewReplicaSetAvailable},
                    {type: ReplicaFailure, status: 'True', message: 'exceeded quota: imaas'}]";
    assert!(matches!(phase([1, 1, 1, 1], refused, true), Phase::Blocked { .. }));
}

#[test]
fn the_first_that_keda_brings_is_no_failure_of_what_has_proven_itself() {
    let done = "[{type: Progressing, status: 'True', reason: NewReplicaSetAvailable}]";
    let trigger = "{broker: a, kafka: {topic: a, group: a, lag: 1}}";
    let scaling = format!("scaling: {{max: 5, downAfterSeconds: 300, triggers: [{trigger}]}}");
    let mut release = sample::release("orders-dev-abc", &format!("type: worker, replicas: 0, {scaling}"));
    let live = |number: i32| {
        let mut live = deployment([number, number, 0, 0], done);
        live.spec.as_mut().unwrap().replicas = Some(number);
        live
    };
    assert_eq!(
        observed(Some(&live(1)), &release, Some(least(&release))).phase,
        Phase::Down,
        "it is to prove itself"
    );
    let healthy = "conditions: [{type: Healthy, status: 'True', reason: R, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}]";
    release.status = serde_saphyr::from_str(healthy).unwrap();
    assert_eq!(observed(Some(&live(1)), &release, Some(least(&release))).phase, Phase::Healthy);
    assert_eq!(observed(Some(&live(1)), &release, None).phase, Phase::Down, "it had its time");
    assert_eq!(observed(Some(&live(0)), &release, None).phase, Phase::Stopped, "as it should be");
}

#[test]
fn what_an_hour_asks_for_is_counted_and_no_news_of_its_health_until_the_autoscaler_has_followed() {
    let done = "[{type: Progressing, status: 'True', reason: NewReplicaSetAvailable}]";
    let by_day = sample::release("orders-dev-abc", "replicas: 3, scaling: {max: 5, downAfterSeconds: 300}");
    let seen = |counts, enough| {
        let Observed { ready, desired, updated: _, phase } =
            observed(Some(&deployment(counts, done)), &by_day, enough);
        (ready, desired, phase)
    };
    assert_eq!(seen([2, 2, 2, 2], Some(2)), (2, 3, Phase::Healthy));
    assert_eq!(seen([2, 2, 1, 1], Some(2)), (1, 3, Phase::RollingOut), "not even as many as before");
    assert_eq!(seen([2, 2, 2, 2], None), (2, 3, Phase::RollingOut), "it had its time");
    assert_eq!(seen([3, 1, 2, 2], Some(1)), (0, 3, Phase::RollingOut), "old ones are left");
}

#[test]
fn the_number_that_load_asked_for_is_the_one_that_counts() {
    let done = "[{type: Progressing, status: 'True', reason: NewReplicaSetAvailable}]";
    let seen = |replicas: i32, counts| {
        let mut live = deployment(counts, done);
        live.spec.as_mut().unwrap().replicas = Some(replicas);
        let Observed { ready, desired, updated: _, phase } = observed(Some(&live), &scaled(), None);
        (ready, desired, phase)
    };
    assert_eq!(seen(4, [4, 4, 4, 4]), (4, 4, Phase::Healthy));
    assert_eq!(seen(4, [4, 4, 3, 3]), (3, 4, Phase::Down));
    assert_eq!(seen(7, [7, 7, 7, 7]), (7, 5, Phase::Healthy), "the autoscaler will take two away");
    assert_eq!(seen(7, [7, 7, 4, 4]), (4, 5, Phase::RollingOut));
    assert_eq!(seen(0, [0, 0, 0, 0]), (0, 1, Phase::RollingOut), "its first is to come");
    let mut unread = deployment([2, 2, 2, 2], done);
    unread.metadata.generation = Some(8);
    assert_eq!(observed(Some(&unread), &scaled(), None).phase, Phase::Unread);
    unread.metadata.annotations.as_mut().unwrap().insert(RELEASE.to_owned(), "orders-dev-old".into());
    assert_eq!(observed(Some(&unread), &scaled(), None).phase, Phase::RollingOut);
}

/// A set of the Deployment `uid`, of this release.
fn set_of((uid, release): (&str, &str), [asked, there]: [i32; 2]) -> ReplicaSet {
    let owner = format!("{{apiVersion: apps/v1, kind: Deployment, name: orders, uid: {uid}}}");
    serde_saphyr::from_str(&format!(
        "
        metadata:
          annotations: {{imaas.dev/release: orders-dev-{release}}}
          ownerReferences: [{owner}]
        spec: {{replicas: {asked}, selector: {{}}}}
        status: {{replicas: {there}}}
        "
    ))
    .unwrap()
}

#[test]
fn it_is_of_one_version_where_its_release_has_instances_and_no_other() {
    let mut live = deployment([2, 2, 2, 2], "[]");
    live.metadata.uid = Some("one".to_owned());
    // As a moment after a change of its number.
    live.status = None;
    let (new, old) = (("one", "abc"), ("one", "old"));
    assert!(is_one(&live, &[set_of(new, [2, 2])]));
    assert!(is_one(&live, &[set_of(old, [0, 0]), set_of(new, [2, 0])]));
    let beside = set_of(("canary", "old"), [1, 1]);
    assert!(is_one(&live, &[set_of(new, [2, 2]), beside]), "what is beside it is another's");
    for (what, sets) in [
        ("nothing has instances", vec![set_of(new, [0, 0])]),
        ("an old one has some", vec![set_of(old, [0, 1]), set_of(new, [2, 2])]),
        ("an old one is to have some", vec![set_of(old, [1, 0]), set_of(new, [2, 2])]),
        ("its own is not begun", vec![set_of(old, [2, 2])]),
    ] {
        assert!(!is_one(&live, &sets), "{what}");
    }
}

#[test]
fn none_at_all_is_one_version_where_the_next_can_be_of_no_other() {
    let mut live = deployment([0, 0, 0, 0], "[]");
    live.metadata.uid = Some("one".to_owned());
    let revised = |release: &str, revision: &str, counts| {
        let mut set = set_of(("one", release), counts);
        let annotations = set.metadata.annotations.as_mut().unwrap();
        annotations.insert(REVISION.to_owned(), revision.to_owned());
        set
    };
    live.metadata.annotations.as_mut().unwrap().insert(REVISION.to_owned(), "3".to_owned());
    let old = revised("old", "2", [0, 0]);
    assert!(is_one(&live, &[old.clone(), revised("abc", "3", [0, 0])]), "a queue is empty");
    assert!(!is_one(&live, &[revised("old", "2", [0, 1]), revised("abc", "3", [0, 0])]), "the last one ends");
    assert!(!is_one(&live, &[old.clone(), revised("old", "3", [0, 0])]), "its own is not begun");
    assert!(!is_one(&live, &[old]), "nor is there anything of it");
}

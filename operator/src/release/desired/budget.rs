//! How many instances a drain may take at a time: one, and none waits for ever for instances that do not come, but for the
//! last that serves. Pure.
//!
//! A budget counts those that were asked for, also where the quota or the cluster has no room for them: with two of four
//! missing it would let none of the others go. How long it has let none go it says itself, and when it was written: each
//! that is missing is waited for as long as a start may take, so at most one that serves leaves in that time. Where they
//! come after all, what is there may go at once until the next pass, so the last one is never given away.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use crate::release::observe::{down_since, is_current};

/// What it says of itself: may one go?
const ALLOWED: &str = "DisruptionAllowed";
/// Why not, where that is for want of instances.
const TOO_FEW: &str = "InsufficientPods";

/// Of the pods that `selector` finds, while all of them are there.
pub fn disruption_budget(metadata: ObjectMeta, selector: LabelSelector) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata,
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            min_available: None,
            selector: Some(selector),
            // A pod that serves nobody does not stop a node's drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        }),
        status: None,
    }
}

/// `budget` that does not wait for so many of the instances that were `asked` for. Of several one that serves stays.
pub fn without(mut budget: PodDisruptionBudget, missing: i32, asked: i32) -> PodDisruptionBudget {
    if let Some(spec) = &mut budget.spec {
        spec.max_unavailable = Some(IntOrString::Int(missing.min(most(asked)).saturating_add(1)));
    }
    budget
}

/// Of so many that were asked for a budget may give up so many, with which one more may go and one stays.
fn most(asked: i32) -> i32 {
    asked.saturating_sub(2).max(0)
}

/// So many instances `live` is to have.
pub fn asked(live: &Deployment) -> i32 {
    live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default()
}

/// Whether a budget is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// All instances are there.
    Never,
    /// Others were asked for a moment ago: what it does not wait for stays.
    Untold,
    /// Some may be starting for so long yet.
    In(Duration),
    /// Some are missing for longer than a start may take.
    Now,
}

/// When to ask the budget of the pods of `live`.
pub fn look(live: &Deployment, now: Timestamp) -> Look {
    let status = live.status.clone().unwrap_or_default();
    if status.available_replicas.unwrap_or_default() >= asked(live) {
        return Look::Never;
    }
    if !is_current(live, &status) {
        return Look::Untold;
    }
    // On the way back Kubernetes may have too few and calls that enough, so it does not say since when.
    down_since(live).and_then(|at| left(at, now)).map_or(Look::Now, Look::In)
}

/// How many instances a budget does not wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// So many.
    pub number: i32,
    /// When there may be more of them.
    pub again: Option<Duration>,
}

/// Of the budget `live`, where a start may take as long as `start`: one more at a time.
pub fn missing(live: &PodDisruptionBudget, start: SignedDuration, now: Timestamp) -> Missing {
    let before = given(live);
    let waits = |since: Timestamp| since.checked_add(start).ok().and_then(|at| left(at, now));
    let is_current = |generation: Option<i64>| generation.is_some() && generation >= live.metadata.generation;
    let status = live.status.as_ref().filter(|status| is_current(status.observed_generation));
    let Some(status) = status else { return Missing { number: before, again: waits(now) } };
    let number = (status.expected_pods - status.current_healthy).min(most(status.expected_pods)).max(0);
    if number <= before {
        return Missing { number, again: None };
    }
    let refused = status.conditions.iter().flatten();
    let mut refused = refused.filter(|one| one.type_ == ALLOWED && one.status == "False");
    let since = refused.find(|one| one.reason == TOO_FEW).map_or(now, |one| one.last_transition_time.0);
    let more = before.saturating_add(1);
    match waits(written(live).map_or(since, |at| at.max(since))) {
        Some(left) => Missing { number: before, again: Some(left) },
        None => Missing { number: more, again: waits(now).filter(|_| more < number) },
    }
}

/// When it was changed last, but for what Kubernetes says of it.
fn written(live: &PodDisruptionBudget) -> Option<Timestamp> {
    let writers = live.metadata.managed_fields.iter().flatten();
    writers.filter(|one| one.subresource.is_none()).filter_map(|one| Some(one.time.as_ref()?.0)).max()
}

/// How many instances `live` does not wait for.
pub fn given(live: &PodDisruptionBudget) -> i32 {
    let most = live.spec.as_ref().and_then(|spec| spec.max_unavailable.as_ref());
    if let Some(IntOrString::Int(most)) = most { (most - 1).max(0) } else { 0 }
}

fn left(at: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(at.duration_since(now)).ok().filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: SignedDuration = SignedDuration::from_secs(120);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + second).unwrap()
    }

    /// Of four instances so many answer; `allowed` since the second 0.
    fn budget(most: i32, healthy: i32, allowed: &str) -> PodDisruptionBudget {
        serde_saphyr::from_str(&format!(
            "
            metadata: {{generation: 2}}
            spec: {{maxUnavailable: {most}}}
            status:
              {{observedGeneration: 2, expectedPods: 4, currentHealthy: {healthy}, desiredHealthy: 3, disruptionsAllowed: 0,
                conditions: [{{type: DisruptionAllowed, {allowed}, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}}]}}
            "
        ))
        .unwrap()
    }

    #[test]
    fn instances_that_do_not_come_are_waited_for_as_long_as_a_start_may_take() {
        let told = |most, healthy, second| {
            missing(&budget(most, healthy, "status: 'False', reason: InsufficientPods"), START, at(second))
        };
        let waits = |number, seconds| Missing { number, again: Some(Duration::from_secs(seconds)) };
        let given = |number| Missing { number, again: None };
        assert_eq!(told(1, 2, 0), waits(0, 120));
        assert_eq!(told(1, 2, 119), waits(0, 1), "they may be starting");
        assert_eq!(told(1, 2, 120), waits(1, 120), "each of them");
        assert_eq!(told(2, 2, 119), waits(1, 1));
        assert_eq!(told(2, 2, 120), given(2));
        assert_eq!(told(2, 1, 119), waits(1, 1), "one that a drain took is waited for as well");
        assert_eq!(told(3, 3, 10), given(1), "they come back");
        assert_eq!(told(3, 4, 10), given(0));
        assert_eq!(told(1, 5, 500), given(0), "of more than there are to be, as in a roll-out");
    }

    #[test]
    fn the_last_that_serves_is_never_given_away() {
        let told = |most, healthy| {
            missing(&budget(most, healthy, "status: 'False', reason: InsufficientPods"), START, at(500))
        };
        assert_eq!(told(2, 1).number, 2);
        assert_eq!(told(3, 1), Missing { number: 2, again: None }, "there is nothing to look for");
        assert_eq!(told(4, 0).number, 2, "what was given away is taken back");
        let written = |number, asked| {
            let budget = disruption_budget(ObjectMeta::default(), LabelSelector::default());
            without(budget, number, asked).spec.unwrap().max_unavailable
        };
        for (number, asked, most) in
            [(0, 4, 1), (2, 4, 3), (3, 4, 3), (3, 2, 1), (1, 2, 1), (1, 1, 1), (0, 0, 1)]
        {
            assert_eq!(written(number, asked), Some(IntOrString::Int(most)), "{number} of {asked}");
        }
    }

    #[test]
    fn after_one_was_given_up_the_next_is_waited_for_as_long() {
        let by = |subresource: &str, second: i64| {
            let mut live = budget(2, 2, "status: 'False', reason: InsufficientPods");
            let entry =
                format!("[{{manager: m, operation: Apply, time: '2026-01-01T00:01:40Z'{subresource}}}]");
            live.metadata.managed_fields = serde_saphyr::from_str(&entry).unwrap();
            missing(&live, START, at(second))
        };
        assert_eq!(by("", 219), Missing { number: 1, again: Some(Duration::from_secs(1)) });
        assert_eq!(by("", 220), Missing { number: 2, again: None });
        assert_eq!(by(", subresource: status", 120), Missing { number: 2, again: None });
    }

    #[test]
    fn what_a_budget_said_before_it_was_changed_gives_nothing_away() {
        let waits = |number| Missing { number, again: Some(Duration::from_mins(2)) };
        let mut changed = budget(1, 2, "status: 'False', reason: InsufficientPods");
        changed.metadata.generation = Some(3);
        assert_eq!(missing(&changed, START, at(500)), waits(0));
        for says in ["status: 'True', reason: SufficientPods", "status: 'False', reason: SyncFailed"] {
            assert_eq!(missing(&budget(2, 2, says), START, at(500)), waits(1), "{says}");
        }
        let made = PodDisruptionBudget::default();
        assert_eq!(missing(&made, START, at(500)), waits(0), "it has said nothing yet");
    }

    #[test]
    fn a_budget_is_asked_where_a_start_would_be_over() {
        let live = |available: i32, conditions: &str| -> Deployment {
            serde_saphyr::from_str(&format!(
                "
                metadata: {{generation: 2}}
                spec: {{replicas: 4, progressDeadlineSeconds: 120, selector: {{}}, template: {{}}}}
                status: {{observedGeneration: 2, availableReplicas: {available}, conditions: [{conditions}]}}
                "
            ))
            .unwrap()
        };
        let short = "{type: Available, status: 'False', lastTransitionTime: '2026-01-01T00:00:00Z'}";
        assert_eq!(look(&live(4, ""), at(500)), Look::Never);
        assert_eq!(look(&live(2, short), at(119)), Look::In(Duration::from_secs(1)));
        assert_eq!(look(&live(2, short), at(120)), Look::Now);
        let enough = short.replace("False", "True");
        assert_eq!(look(&live(2, &enough), at(0)), Look::Now, "on the way back");
        let mut changed = live(2, short);
        changed.metadata.generation = Some(3);
        assert_eq!(look(&changed, at(500)), Look::Untold);
    }
}

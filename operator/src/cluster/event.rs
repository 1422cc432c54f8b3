//! IO. Events, for people who run `kubectl describe`. One on a change of reason or of what is said, with the words of that
//! moment; never in a loop, and a bounded number for each object.

use std::{collections::HashMap, time::Duration};

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::time::Instant;

use super::Cluster;
use crate::{
    conditions::{READY, RECONCILING, is_true},
    names::MANAGER,
};

/// Most events of one object at a time, as client-go bounds its own.
const BURST: u32 = 25;
/// How soon there may be one more.
const REFILL: Duration = Duration::from_mins(5);
/// Above this many entries, those that are as good as new are dropped.
const MANY: usize = 1024;

/// How many events each object may still have: the number at a time.
#[derive(Debug, Default)]
pub(super) struct Budget(HashMap<String, (u32, Instant)>);

impl Cluster {
    /// Tells what became of `object` when its `Ready` condition moved from `old` to `new`.
    pub async fn tell_change<K>(&self, object: &K, old: &[Condition], new: &[Condition])
    where
        K: Resource<DynamicType = ()>,
    {
        let Some(event) = event(old, new) else { return };
        let reference: ObjectReference = object.object_ref(&());
        let uid = reference.uid.clone().unwrap_or_default();
        if !self.budget().spend(uid, Instant::now()) {
            tracing::debug!(name = reference.name, reason = event.reason, "too many events of one object");
            return;
        }
        // A recorder that knows of no event before: one that does counts the first of a reason up and drops the new words.
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: None };
        if let Err(error) = Recorder::new(self.client(), reporter).publish(&event, &reference).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "event not written");
        }
    }
}

/// Nothing when nothing changed but numbers, as in `1 of 2 ready`.
fn event(old: &[Condition], new: &[Condition]) -> Option<Event> {
    let ready = |conditions: &[Condition]| conditions.iter().find(|c| c.type_ == READY).cloned();
    let now = ready(new)?;
    let is_same = |before: Condition| {
        before.reason == now.reason
            && before.status == now.status
            && words(&before.message) == words(&now.message)
    };
    if ready(old).is_some_and(is_same) {
        return None;
    }
    let well = is_true(new, READY) || is_true(new, RECONCILING);
    Some(Event {
        type_: if well { EventType::Normal } else { EventType::Warning },
        reason: now.reason,
        note: Some(now.message).filter(|message| !message.is_empty()),
        action: "Reconcile".to_owned(),
        secondary: None,
    })
}

/// The message without its numbers, also those with a unit: `30s`, `512Mi`. Hashes stay.
fn words(message: &str) -> Vec<&str> {
    let is_number = |word: &&str| {
        let unit = word.trim_start_matches(|c: char| c.is_ascii_digit());
        unit.len() < word.len() && unit.len() <= 2 && unit.chars().all(|c| c.is_ascii_alphabetic())
    };
    message
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && !is_number(word))
        .collect()
}

impl Budget {
    /// Is there one left?
    fn spend(&mut self, object: String, now: Instant) -> bool {
        if self.0.len() >= MANY {
            self.0.retain(|_, (left, since)| now - *since < REFILL * (BURST - *left));
        }
        let (left, since) = self.0.entry(object).or_insert((BURST, now));
        let more = u32::try_from((now - *since).as_secs() / REFILL.as_secs()).unwrap_or(BURST);
        if more > 0 {
            *left = left.saturating_add(more).min(BURST);
            *since += REFILL * more;
        }
        if *left == BURST {
            *since = now;
        }
        let is_left = *left > 0;
        *left = left.saturating_sub(1);
        is_left
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::conditions::{Reason, Wellness, merge};

    fn told(old: &Wellness, new: &Wellness) -> Option<(String, Option<String>)> {
        let conditions = |wellness: &Wellness| merge(&[], &wellness.claims(), 1, Timestamp::UNIX_EPOCH);
        event(&conditions(old), &conditions(new)).map(|event| (event.reason, event.note))
    }

    #[test]
    fn another_problem_of_the_same_reason_is_told_in_its_own_words() {
        let of = |message: &str| Wellness::Reconciling(Reason::RollingOut, message.to_owned());
        let prod = "prod: 0 of 2 instances are ready";
        let note = told(&of("dev: 0 of 2 instances are ready"), &of(prod)).unwrap();
        assert_eq!(note, (Reason::RollingOut.as_str().to_owned(), Some(prod.to_owned())));
        assert!(told(&of("image orders:4f2a is missing"), &of("image orders:9c3b is missing")).is_some());
        assert!(
            told(&of(""), &Wellness::Stalled(Reason::RollingOut, String::new())).is_none(),
            "only Stalled moved"
        );
        assert!(told(&of(""), &Wellness::Ready(String::new())).is_some());
    }

    #[test]
    fn numbers_that_move_are_not_told() {
        let of = |message: &str| Wellness::Reconciling(Reason::RollingOut, message.to_owned());
        assert!(told(&of("prod: 0 of 2 are ready"), &of("prod: 1 of 2 are ready")).is_none());
        assert!(told(&of("tried again in 30s, 5Mi"), &of("tried again in 7m, 512Mi")).is_none());
    }

    #[test]
    fn one_object_cannot_flood_and_others_are_still_told() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        let spent = |budget: &mut Budget, now| (0..100).filter(|_| budget.spend("a".into(), now)).count();
        assert_eq!(spent(&mut budget, start), 25);
        assert!(budget.spend("b".into(), start));
        assert_eq!(spent(&mut budget, start + Duration::from_mins(11)), 2);
        assert_eq!(spent(&mut budget, start + Duration::from_hours(24)), 25);
        for other in 0..3000 {
            budget.spend(other.to_string(), start + Duration::from_hours(24) + REFILL * other);
        }
        assert!(budget.0.len() <= MANY, "what is as good as new is forgotten");
    }
}

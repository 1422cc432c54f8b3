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
    conditions::{IN_SYNC, PUSH_ALLOWED, READY, RECONCILING, is_true},
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
    /// Tells what became of `object` when its `Ready`, `InSync` or `PushAllowed` condition moved from `old` to `new`.
    pub async fn tell_change<K>(&self, object: &K, old: &[Condition], new: &[Condition])
    where
        K: Resource<DynamicType = ()>,
    {
        let reference: ObjectReference = object.object_ref(&());
        for event in events(old, new) {
            let uid = reference.uid.clone().unwrap_or_default();
            if !self.budget().spend(uid, Instant::now()) {
                tracing::debug!(
                    name = reference.name,
                    reason = event.reason,
                    "too many events of one object"
                );
                return;
            }
            // A recorder that knows of no event before: one that does counts the first of a reason up and drops the new words.
            let reporter = Reporter { controller: MANAGER.to_owned(), instance: None };
            if let Err(error) = Recorder::new(self.client(), reporter).publish(&event, &reference).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "event not written");
            }
        }
    }
}

/// What is to be told: nothing where nothing changed but numbers, as in `1 of 2 ready`. An object that is in sync from
/// its beginning is no news, nor one that may push.
fn events(old: &[Condition], new: &[Condition]) -> Vec<Event> {
    let of = |conditions: &[Condition], type_| conditions.iter().find(|c| c.type_ == type_).cloned();
    let changed = |type_| {
        let (before, now) = (of(old, type_), of(new, type_)?);
        let is_same = before.as_ref().is_some_and(|before| is_told(before, &now));
        let is_no_news = type_ != READY && before.is_none() && now.status == "True";
        (!is_same && !is_no_news).then_some(now)
    };
    let event = |now: Condition, is_well| Event {
        type_: if is_well { EventType::Normal } else { EventType::Warning },
        reason: now.reason,
        note: Some(now.message).filter(|message| !message.is_empty()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    let ready = changed(READY).map(|now| event(now, is_true(new, READY) || is_true(new, RECONCILING)));
    let others = [IN_SYNC, PUSH_ALLOWED].into_iter();
    let others = others.filter_map(|type_| changed(type_).map(|now| event(now, is_true(new, type_))));
    ready.into_iter().chain(others).collect()
}

fn is_told(before: &Condition, now: &Condition) -> bool {
    before.reason == now.reason
        && before.status == now.status
        && words(&before.message) == words(&now.message)
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
    use crate::conditions::{Claim, Reason, Wellness, merge};

    fn told(old: &Wellness, new: &Wellness) -> Option<(String, Option<String>)> {
        let conditions = |wellness: &Wellness| merge(&[], &wellness.claims(), 1, Timestamp::UNIX_EPOCH);
        events(&conditions(old), &conditions(new)).pop().map(|event| (event.reason, event.note))
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

    fn conditions(wellness: &Wellness, in_sync: Reason) -> Vec<Condition> {
        let message = format!("is {}", in_sync.as_str());
        let claim = Claim { type_: IN_SYNC, status: in_sync == Reason::Succeeded, reason: in_sync, message };
        merge(&[], &[wellness.claims(), vec![claim]].concat(), 1, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn that_pushes_are_refused_is_told_once_and_that_they_are_not_any_more() {
        let of = |message: &str, reason: Reason| {
            let status = reason == Reason::Succeeded;
            let claim = Claim { type_: PUSH_ALLOWED, status, reason, message: message.to_owned() };
            merge(&[], &[claim], 1, Timestamp::UNIX_EPOCH)
        };
        let well = of("3 images take 3Mi of 20Gi", Reason::Succeeded);
        let over = of("4 images take 21Gi of 20Gi", Reason::QuotaExceeded);
        assert!(events(&[], &well).is_empty(), "counted for the first time");
        assert!(events(&well, &of("4 images take 4Mi of 20Gi", Reason::Succeeded)).is_empty());
        assert_eq!(events(&well, &over).len(), 1);
        assert!(events(&over, &of("5 images take 22Gi of 20Gi", Reason::QuotaExceeded)).is_empty());
        assert!(events(&over, &well).iter().all(|event| event.type_ == EventType::Normal));
    }

    #[test]
    fn an_event_tells_a_change_of_reason_and_nothing_twice() {
        let ready = || Wellness::Ready("4 namespaces".into());
        let well = conditions(&ready(), Reason::Succeeded);
        let told = |old: &[Condition], new: &[Condition]| -> Vec<_> {
            let events = events(old, new).into_iter();
            events.map(|e| (e.type_ == EventType::Warning, e.reason, e.note.unwrap_or_default())).collect()
        };
        let event = |is_warning, reason: &str, note: &str| (is_warning, reason.to_owned(), note.to_owned());
        assert_eq!(told(&[], &well), [event(false, "Succeeded", "4 namespaces")], "not that it is in sync");
        assert_eq!(told(&well, &well), []);
        let broken = conditions(&ready(), Reason::InvalidFile);
        assert_eq!(told(&well, &broken), [event(true, "InvalidFile", "is InvalidFile")]);
        let orphaned = conditions(&ready(), Reason::Orphaned);
        assert_eq!(told(&broken, &orphaned), [event(true, "Orphaned", "is Orphaned")]);
        assert_eq!(told(&orphaned, &well), [event(false, "Succeeded", "is Succeeded")]);
        let stalled = conditions(&Wellness::Stalled(Reason::Invalid, "x".into()), Reason::Succeeded);
        assert_eq!(told(&well, &stalled), [event(true, "Invalid", "x")]);
    }
}

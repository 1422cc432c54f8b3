//! IO. Events, for people who run `kubectl describe`. One on a change of reason, never in a loop.

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Resource,
    runtime::events::{Event, EventType},
};

use super::Cluster;
use crate::conditions::{IN_SYNC, READY, RECONCILING, is_true};

impl Cluster {
    /// Tells what became of `object` when the reason of its `Ready` or `InSync` condition moved from `old` to `new`.
    pub async fn tell_change<K>(&self, object: &K, old: &[Condition], new: &[Condition])
    where
        K: Resource<DynamicType = ()>,
    {
        let reference: ObjectReference = object.object_ref(&());
        for event in events(old, new) {
            if let Err(error) = self.0.recorder.publish(&event, &reference).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "event not written");
            }
        }
    }
}

/// What is to be told. An object that is in sync from its beginning is no news.
fn events(old: &[Condition], new: &[Condition]) -> Vec<Event> {
    let of = |conditions: &[Condition], type_| conditions.iter().find(|c| c.type_ == type_).cloned();
    let changed = |type_| {
        let (before, now) = (of(old, type_), of(new, type_)?);
        let is_same =
            before.as_ref().is_some_and(|before| before.reason == now.reason && before.status == now.status);
        let is_no_news = type_ == IN_SYNC && before.is_none() && now.status == "True";
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
    let in_sync = changed(IN_SYNC).map(|now| event(now, is_true(new, IN_SYNC)));
    ready.into_iter().chain(in_sync).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::{Claim, Reason, Wellness, merge};

    fn conditions(wellness: &Wellness, in_sync: Reason) -> Vec<Condition> {
        let message = format!("is {}", in_sync.as_str());
        let claim = Claim { type_: IN_SYNC, status: in_sync == Reason::Succeeded, reason: in_sync, message };
        merge(&[], &[wellness.claims(), vec![claim]].concat(), 1, jiff::Timestamp::UNIX_EPOCH)
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

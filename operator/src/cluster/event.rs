//! IO. Events, for people who run `kubectl describe`. One on a change of reason, never in a loop.

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Resource,
    runtime::events::{Event, EventType},
};

use super::Cluster;
use crate::conditions::{READY, RECONCILING, is_true};

impl Cluster {
    /// Tells what became of `object` when the reason of its `Ready` condition moved from `old` to `new`.
    pub async fn tell_change<K>(&self, object: &K, old: &[Condition], new: &[Condition])
    where
        K: Resource<DynamicType = ()>,
    {
        let ready = |conditions: &[Condition]| conditions.iter().find(|c| c.type_ == READY).cloned();
        let Some(now) = ready(new) else { return };
        if ready(old).is_some_and(|before| before.reason == now.reason && before.status == now.status) {
            return;
        }
        let well = is_true(new, READY) || is_true(new, RECONCILING);
        let event = Event {
            type_: if well { EventType::Normal } else { EventType::Warning },
            reason: now.reason,
            note: Some(now.message).filter(|message| !message.is_empty()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let reference: ObjectReference = object.object_ref(&());
        if let Err(error) = self.0.recorder.publish(&event, &reference).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "event not written");
        }
    }
}

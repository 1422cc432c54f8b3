//! The status of kinds that the platform team writes and the operator only checks: `Ready`, or what is wrong.

use jiff::Timestamp;
use kube::core::object::HasStatus;

use crate::{
    api::CheckedStatus,
    cluster::{ApplyError, Object},
    conditions::{Wellness, merge},
    platform::Platform,
};

/// The status of an object that is so; equal input gives an equal status.
pub fn status<K>(object: &K, wellness: &Wellness, now: Timestamp) -> CheckedStatus
where
    K: Object + HasStatus<Status = CheckedStatus>,
{
    let old = object.status().map_or(&[][..], |status| &status.conditions);
    let generation = object.meta().generation.unwrap_or_default();
    CheckedStatus {
        observed_generation: Some(generation),
        conditions: merge(old, &wellness.claims(), generation, now),
    }
}

/// Says so in its status, and in an event when that is news; sends nothing when it is said already.
pub async fn tell<K>(platform: &Platform, object: &K, wellness: &Wellness) -> Result<(), ApplyError>
where
    K: Object + HasStatus<Status = CheckedStatus>,
{
    let wanted = status(object, wellness, (platform.now)());
    if object.status() != Some(&wanted) {
        platform.cluster.write_status(object, &wanted).await?;
        let old = object.status().map_or(&[][..], |status| &status.conditions);
        platform.cluster.tell_change(object, old, &wanted.conditions).await;
    }
    Ok(())
}

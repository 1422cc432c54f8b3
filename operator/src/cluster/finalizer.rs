//! Our finalizer, as changes for [`super::Cluster::amend`]. Pure.

use kube::ResourceExt;
use serde_json::{Value, json};

use crate::names::FINALIZER;

/// Does it make the deletion of `object` wait?
pub fn has_finalizer(object: &impl ResourceExt) -> bool {
    object.finalizers().iter().any(|one| one == FINALIZER)
}

/// What gives `object` the finalizer; nothing where it has it, or is being deleted, which is too late.
pub fn with_finalizer(object: &impl ResourceExt) -> Option<Value> {
    let is_free = !has_finalizer(object) && object.meta().deletion_timestamp.is_none();
    let all: Vec<_> = object.finalizers().iter().map(String::as_str).chain([FINALIZER]).collect();
    is_free.then(|| json!({ "metadata": { "finalizers": all } }))
}

/// What takes it away; nothing where it is not there.
pub fn without_finalizer(object: &impl ResourceExt) -> Option<Value> {
    let others: Vec<_> = object.finalizers().iter().filter(|one| *one != FINALIZER).collect();
    has_finalizer(object).then(|| json!({ "metadata": { "finalizers": others } }))
}

//! A Tenant changes hands, and nothing of it is made anew. Pure.
//!
//! The platform says so by `imaas.dev/transfer-to`. A source takes a Tenant once it has a valid file for it; to `manual` it is
//! let go by the tenant's own stage. The mark stays until its namespaces have followed, and is taken away then.

use serde_json::{Value, json};

use crate::{
    api::Tenant,
    names::{
        MANAGED_BY, MANAGER, MANUAL, ORIGIN, ORPHANED, ORPHANED_BY, RETIRING, SOURCE_PROBLEM, TRANSFER_TO,
    },
};

/// What makes `tenant` one of `origin`, if it is to be that and is not; what its former source told of it goes.
pub fn taken(tenant: &Tenant, origin: &str) -> Option<Value> {
    if tenant.transfer_to() != Some(origin) || tenant.origin() == origin {
        return None;
    }
    let label = (origin != MANUAL).then_some(MANAGER);
    Some(json!({ "metadata": {
        "labels": { MANAGED_BY: label },
        "annotations": {
            ORIGIN: origin, ORPHANED: null, ORPHANED_BY: null, RETIRING: null, SOURCE_PROBLEM: null,
        },
    } }))
}

/// Are the namespaces of `tenant` to follow it from another origin?
pub fn is_under_way(tenant: &Tenant) -> bool {
    tenant.transfer_to() == Some(tenant.origin())
}

/// What ends a transfer whose namespaces have followed.
pub fn ended(tenant: &Tenant) -> Option<Value> {
    is_under_way(tenant).then(|| json!({ "metadata": { "annotations": { TRANSFER_TO: null } } }))
}

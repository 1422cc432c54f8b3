//! A Tenant changes hands, and nothing of it is made anew. Pure.
//!
//! The platform says so by `imaas.dev/transfer-to`. A source takes a Tenant once it has a valid file for it; to `manual` it is
//! let go by the tenant's own stage. The mark stays until its namespaces have followed, and is taken away then.

use serde_json::{Value, json};

use crate::{
    api::Tenant,
    names::{
        MANAGED_BY, MANAGER, MANUAL, ORIGIN, ORPHANED, ORPHANED_BY, REMOVAL_HELD, RETIRING, SOURCE_PROBLEM,
        TRANSFER_TO,
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
            ORIGIN: origin, ORPHANED: null, ORPHANED_BY: null, RETIRING: null, REMOVAL_HELD: null,
            SOURCE_PROBLEM: null,
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

/// What a transfer that has not begun waits for; `is_source`: is there a `TenantSource` of this name?
pub fn waits(tenant: &Tenant, is_source: impl Fn(&str) -> bool) -> Option<String> {
    let to = tenant.transfer_to().filter(|to| *to != tenant.origin() && *to != MANUAL)?;
    let from = tenant.origin();
    Some(if is_source(to) {
        format!("it stays with {from} until TenantSource {to} has a valid file for it")
    } else {
        format!(
            "it stays with {from}: there is no TenantSource {to:?}; correct {TRANSFER_TO}, or take it off"
        )
    })
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;

    use super::*;
    use crate::api::TenantSpec;

    fn tenant(origin: &str, to: &str) -> Tenant {
        let mut tenant = Tenant::new("acme", TenantSpec::default());
        let all = [(ORIGIN, origin), (TRANSFER_TO, to)].into_iter().filter(|(_, value)| !value.is_empty());
        tenant.annotations_mut().extend(all.map(|(key, value)| (key.to_owned(), value.to_owned())));
        tenant
    }

    #[test]
    fn it_goes_to_whom_the_platform_says_and_to_nobody_else() {
        for (origin, to, taker, is_taken) in [
            ("central", "other", "other", true),
            ("", "other", "other", true),
            ("central", MANUAL, MANUAL, true),
            ("central", "", "other", false),
            ("central", "third", "other", false),
            ("other", "other", "other", false),
            ("", MANUAL, MANUAL, false),
        ] {
            let change = taken(&tenant(origin, to), taker);
            assert_eq!(change.is_some(), is_taken, "{origin} to {to} by {taker}");
            if let Some(change) = change {
                assert_eq!(change["metadata"]["annotations"][ORIGIN], taker);
                assert!(
                    change["metadata"]["annotations"][ORPHANED].is_null(),
                    "it is no orphan of the other's"
                );
                assert!(
                    change["metadata"]["annotations"].get(TRANSFER_TO).is_none(),
                    "its namespaces are to follow"
                );
            }
        }
        assert!(ended(&tenant("central", "other")).is_none() && ended(&tenant("other", "other")).is_some());
    }

    #[test]
    fn what_it_waits_for_is_told() {
        let told = |tenant: &Tenant, is_source| waits(tenant, |_| is_source).unwrap_or_default();
        let waiting = tenant("central", "other");
        assert_eq!(
            told(&waiting, true),
            "it stays with central until TenantSource other has a valid file for it"
        );
        assert!(
            told(&waiting, false).starts_with("it stays with central: there is no TenantSource \"other\"")
        );
        for settled in [tenant("central", ""), tenant("other", "other"), tenant("central", MANUAL)] {
            assert_eq!(told(&settled, false), "");
        }
    }
}

//! Whose is a namespace that exists already? Pure.
//!
//! An admission policy of the chart lets only the operator set these marks, and only at creation; readiness proves
//! that the policy enforces. So what carries them was made for this tenant.

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;

use super::transfer::is_under_way;
use crate::{
    api::Tenant,
    names::{MANAGED_BY, MANAGER, ORIGIN, TENANT},
};

/// Why nothing in the namespace may be touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotOurs {
    /// Somebody else's, or nobody's.
    Foreign,
    /// A tenant of this name had it, from another origin.
    OtherOrigin,
    /// Ours, on its way out.
    Terminating,
}

/// Is `live` the namespace that `wanted` is to be? Names of other owners are not in the answer: tenants read it.
pub(super) fn claim(wanted: &Namespace, live: &Namespace) -> Result<(), NotOurs> {
    let label = |object: &Namespace, key: &str| object.labels().get(key).cloned();
    let origin = |object: &Namespace| object.annotations().get(ORIGIN).cloned();
    let is_ours = label(live, MANAGED_BY).as_deref() == Some(MANAGER)
        && label(live, TENANT).is_some()
        && label(live, TENANT) == label(wanted, TENANT);
    if !is_ours {
        Err(NotOurs::Foreign)
    } else if origin(live) != origin(wanted) {
        Err(NotOurs::OtherOrigin)
    } else if live.metadata.deletion_timestamp.is_some() {
        Err(NotOurs::Terminating)
    } else {
        Ok(())
    }
}

/// What makes a namespace one of `tenant`, of whatever environment.
pub(super) fn of_tenant(tenant: &str) -> Namespace {
    let mut wanted = Namespace::default();
    wanted.labels_mut().insert(TENANT.to_owned(), tenant.to_owned());
    wanted
}

/// As [`claim`], of a namespace that may have to follow `tenant` from another origin.
pub(super) fn judged(tenant: &Tenant, wanted: &Namespace, live: &Namespace) -> Result<(), NotOurs> {
    let origin = live.annotations().get(ORIGIN).filter(|_| is_under_way(tenant));
    let mut wanted = wanted.clone();
    wanted
        .annotations_mut()
        .insert(ORIGIN.to_owned(), origin.map_or(tenant.origin(), String::as_str).to_owned());
    claim(&wanted, live)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;

    fn namespace(labels: &str, annotations: &str) -> Namespace {
        let yaml =
            format!("metadata: {{name: acme-dev, labels: {{{labels}}}, annotations: {{{annotations}}}}}");
        serde_saphyr::from_str(&yaml).unwrap()
    }

    const OURS: &str = "app.kubernetes.io/managed-by: imaas-operator, imaas.dev/tenant: acme";

    #[test]
    fn only_the_same_tenant_of_the_same_origin_takes_a_namespace_back() {
        let wanted = namespace(OURS, "imaas.dev/origin: central");
        for (labels, annotations, verdict) in [
            (OURS, "imaas.dev/origin: central", Ok(())),
            (OURS, "imaas.dev/origin: manual", Err(NotOurs::OtherOrigin)),
            (OURS, "", Err(NotOurs::OtherOrigin)),
            ("", "", Err(NotOurs::Foreign)),
            ("imaas.dev/tenant: acme", "imaas.dev/origin: central", Err(NotOurs::Foreign)),
            (
                "app.kubernetes.io/managed-by: imaas-operator",
                "imaas.dev/origin: central",
                Err(NotOurs::Foreign),
            ),
            (
                "app.kubernetes.io/managed-by: imaas-operator, imaas.dev/tenant: beta",
                "imaas.dev/origin: central",
                Err(NotOurs::Foreign),
            ),
            (
                "app.kubernetes.io/managed-by: Helm, imaas.dev/tenant: acme",
                "imaas.dev/origin: central",
                Err(NotOurs::Foreign),
            ),
        ] {
            assert_eq!(claim(&wanted, &namespace(labels, annotations)), verdict, "{labels} {annotations}");
        }
    }

    #[test]
    fn who_says_that_a_tenant_owns_it_does_not_make_it_so() {
        let wanted = namespace(OURS, "imaas.dev/origin: central");
        let mut foreign = namespace("", "imaas.dev/origin: central");
        foreign.metadata.owner_references = Some(vec![OwnerReference {
            api_version: crate::api::API_VERSION.to_owned(),
            kind: "Tenant".to_owned(),
            name: "acme".to_owned(),
            uid: "4f2a0b1c-0000-4000-8000-000000000000".to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]);
        assert_eq!(claim(&wanted, &foreign), Err(NotOurs::Foreign));
    }

    #[test]
    fn a_namespace_on_its_way_out_is_waited_for() {
        let wanted = namespace(OURS, "imaas.dev/origin: central");
        let mut live = wanted.clone();
        live.metadata.deletion_timestamp = Some(
            "2026-01-01T00:00:00Z".parse().map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time).unwrap(),
        );
        assert_eq!(claim(&wanted, &live), Err(NotOurs::Terminating));
    }

    #[test]
    fn while_it_changes_hands_a_namespace_of_another_origin_follows_and_nobody_elses() {
        let wanted = namespace(OURS, "");
        let live = |labels| namespace(labels, "imaas.dev/origin: manual");
        let judge = |annotations: &[(&str, &str)], live: &Namespace| {
            let mut tenant = Tenant::new("acme", crate::api::TenantSpec::default());
            let all = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            tenant.annotations_mut().extend(all);
            judged(&tenant, &wanted, live)
        };
        let (origin, to) = ("imaas.dev/origin", "imaas.dev/transfer-to");
        assert_eq!(judge(&[(origin, "central")], &live(OURS)), Err(NotOurs::OtherOrigin));
        assert_eq!(judge(&[(origin, "central"), (to, "other")], &live(OURS)), Err(NotOurs::OtherOrigin));
        assert_eq!(judge(&[(origin, "central"), (to, "central")], &live(OURS)), Ok(()));
        assert_eq!(judge(&[(origin, "central"), (to, "central")], &live("a: b")), Err(NotOurs::Foreign));
        assert_eq!(judge(&[], &live(OURS)), Ok(()), "by hand, as ever");
    }
}

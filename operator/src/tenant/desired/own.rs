//! What members see of their own Tenant, which is cluster-scoped: a ClusterRole that names it, bound to all of them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::access::{GROUP, subject};
use crate::{
    api,
    names::{self, own_role},
    tenant::validate::{Subject, ValidTenant},
};

/// The two objects; both bear the name that [`own_role`] makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Own {
    /// To read this one Tenant.
    pub role: ClusterRole,
    /// To whom; nobody where the tenant has no members.
    pub binding: ClusterRoleBinding,
}

/// For the members of every role: the Environments' role maps hold in their namespaces only.
pub fn own(tenant: &ValidTenant) -> Own {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    // `list` and `watch` by name are those of `kubectl get tenant <name> --watch`, and no others.
    let rule = PolicyRule {
        api_groups: Some(words(&[api::GROUP])),
        resources: Some(words(&["tenants"])),
        resource_names: Some(vec![tenant.name.clone()]),
        verbs: words(&["get", "list", "watch"]),
        non_resource_urls: None,
    };
    // The same for all roles, so that one who is listed twice in a file that is not valid counts once.
    let who: BTreeSet<_> = tenant
        .members
        .iter()
        .map(|Subject { kind, name, namespace, role: _ }| (kind, name, namespace))
        .collect();
    let subjects = who.into_iter().map(|(kind, name, namespace)| subject(*kind, name, namespace.as_ref()));
    Own {
        role: ClusterRole { metadata: metadata(tenant), rules: Some(vec![rule]), aggregation_rule: None },
        binding: ClusterRoleBinding {
            metadata: metadata(tenant),
            role_ref: RoleRef {
                api_group: GROUP.to_owned(),
                kind: "ClusterRole".to_owned(),
                name: own_role(&tenant.name),
            },
            subjects: Some(subjects.collect()),
        },
    }
}

fn metadata(tenant: &ValidTenant) -> ObjectMeta {
    let labels = [(names::MANAGED_BY, names::MANAGER), (names::TENANT, &tenant.name)];
    let labels: BTreeMap<_, _> =
        labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    ObjectMeta { name: Some(own_role(&tenant.name)), labels: Some(labels), ..ObjectMeta::default() }
}

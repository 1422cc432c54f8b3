//! Who may do what: members by role, and the operator itself. Pure.

use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject as Who};

use super::{Operator, Place};
use crate::{
    api::{MemberKind, Role},
    names::{self, member_role},
    tenant::validate::Subject,
};

pub(super) const GROUP: &str = "rbac.authorization.k8s.io";
const ROLES: [Role; 3] = [Role::Owner, Role::Developer, Role::Viewer];

/// Name of the operator's own binding in each tenant namespace.
const OPERATOR_BINDING: &str = "imaas-operator";

/// The right to everything else here. It names the operator's `ServiceAccount` and nobody else.
pub(super) fn operator(place: &Place<'_>, operator: &Operator<'_>) -> RoleBinding {
    let subject = Who {
        kind: "ServiceAccount".to_owned(),
        name: operator.service_account.to_owned(),
        namespace: Some(operator.namespace.to_owned()),
        api_group: None,
    };
    binding(place, OPERATOR_BINDING, names::OPERATOR_ROLE, vec![subject])
}

/// One binding a role that somebody has, and the names of the others.
pub(super) fn members(place: &Place<'_>, members: &[Subject]) -> (Vec<RoleBinding>, Vec<String>) {
    let (mut bindings, mut none) = (Vec::new(), Vec::new());
    for role in ROLES {
        let name = format!("imaas-{}", role.as_str());
        let subjects: Vec<Who> = members.iter().filter(|member| member.role == role).map(of).collect();
        if subjects.is_empty() {
            none.push(name);
        } else {
            bindings.push(binding(place, &name, &member_role(role), subjects));
        }
    }
    (bindings, none)
}

fn of(member: &Subject) -> Who {
    subject(member.kind, &member.name, member.namespace.as_ref())
}

/// A member, as RBAC names it.
pub(super) fn subject(kind: MemberKind, name: &str, namespace: Option<&String>) -> Who {
    let (kind, api_group) = match kind {
        MemberKind::User => ("User", Some(GROUP.to_owned())),
        MemberKind::Group => ("Group", Some(GROUP.to_owned())),
        MemberKind::ServiceAccount => ("ServiceAccount", None),
    };
    Who { kind: kind.to_owned(), name: name.to_owned(), namespace: namespace.cloned(), api_group }
}

fn binding(place: &Place<'_>, name: &str, cluster_role: &str, subjects: Vec<Who>) -> RoleBinding {
    RoleBinding {
        metadata: place.metadata(name),
        role_ref: RoleRef {
            api_group: GROUP.to_owned(),
            kind: "ClusterRole".to_owned(),
            name: cluster_role.to_owned(),
        },
        subjects: Some(subjects),
    }
}

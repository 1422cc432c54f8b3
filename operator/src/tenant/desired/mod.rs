//! Valid tenant → the objects that should exist. Pure, total, no clock, no cluster.
//!
//! No object has an owner reference: a Tenant is cluster-scoped, and what it made must survive its loss.

mod access;
mod limits;
mod namespace;
pub mod network;
mod own;
mod registry;
mod services;

pub use own::{Own, own};
pub use registry::DockerConfigs;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        core::v1::{LimitRange, Namespace, ResourceQuota, Secret},
        networking::v1::NetworkPolicy,
        rbac::v1::RoleBinding,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::validate::{Subject, ValidSpace, ValidTenant};
use crate::{
    api::IntegrationService,
    environment::Checked,
    names::{self, HOME, home_namespace},
};

/// Who gets into one namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// Created, never applied over.
    pub namespace: Namespace,
    /// The operator's own rights in it; nothing else can be written before.
    pub operator: RoleBinding,
    /// Members by role.
    pub members: Vec<RoleBinding>,
    /// Names of bindings that must not be: nobody has that role any more.
    pub no_members: Vec<String>,
}

/// One namespace and everything in it that the tenant's stage makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// The namespace, and who gets into it.
    pub access: Access,
    /// Containers that say nothing of their size.
    pub limits: Option<LimitRange>,
    /// How much may be in it.
    pub quota: ResourceQuota,
    /// Closed, then opened by name.
    pub networks: Vec<NetworkPolicy>,
    /// Registry login.
    pub secrets: Vec<Secret>,
    /// What the tenant file lists, in the home namespace.
    pub services: Vec<IntegrationService>,
}

/// What is not of the tenant but of the installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator<'a> {
    /// Its own namespace.
    pub namespace: &'a str,
    /// Its `ServiceAccount` there.
    pub service_account: &'a str,
}

/// Everything of `tenant`, its home first, then its environments in promotion order.
pub fn desired(tenant: &ValidTenant, operator: &Operator<'_>, logins: &DockerConfigs) -> Vec<Children> {
    let home = Place { tenant, environment: HOME, namespace: &home_namespace(&tenant.name) };
    let mut all = vec![Children {
        access: access(&home, operator, &tenant.members),
        limits: None,
        quota: limits::home_quota(&home),
        networks: vec![network::closed(&home)],
        secrets: vec![registry::secret(&home, names::PUSH_SECRET, &logins.push, logins.generation)],
        services: services::services(&home, &tenant.services),
    }];
    all.extend(tenant.environments.iter().map(|space| in_environment(tenant, space, operator, logins)));
    all
}

fn in_environment(
    tenant: &ValidTenant,
    space: &ValidSpace,
    operator: &Operator<'_>,
    logins: &DockerConfigs,
) -> Children {
    let place = Place { tenant, environment: &space.environment, namespace: &space.namespace };
    Children {
        access: access(&place, operator, &space.members),
        limits: Some(limits::limit_range(&place, &space.quota)),
        quota: limits::quota(&place, &space.quota),
        networks: network::policies(&place, &space.networks),
        secrets: vec![registry::secret(&place, names::PULL_SECRET, &logins.pull, logins.generation)],
        services: Vec::new(),
    }
}

/// Access to `namespaces` of the tenant that are not among what is [`desired`]: it is no longer in their environment,
/// or that cannot be used. They stay as they are, but for who gets in.
pub fn kept(
    tenant: &ValidTenant,
    environments: &Checked,
    operator: &Operator<'_>,
    namespaces: &[String],
) -> Vec<Access> {
    let of = |namespace: &String| {
        let environment = namespace.rsplit_once('-')?.1;
        let role = |role| if environment == HOME { role } else { environments.role(environment, role) };
        let members: BTreeSet<_> = tenant
            .members
            .iter()
            .map(|member| Subject { role: role(member.role), ..member.clone() })
            .collect();
        let place = Place { tenant, environment, namespace };
        Some(access(&place, operator, &members.into_iter().collect::<Vec<_>>()))
    };
    namespaces.iter().filter_map(of).collect()
}

fn access(place: &Place<'_>, operator: &Operator<'_>, members: &[Subject]) -> Access {
    let (members, no_members) = access::members(place, members);
    let operator = access::operator(place, operator);
    Access { namespace: namespace::namespace(place), operator, members, no_members }
}

/// Where an object goes.
struct Place<'a> {
    tenant: &'a ValidTenant,
    /// `home`, or the Environment's name.
    environment: &'a str,
    namespace: &'a str,
}

impl Place<'_> {
    /// Labels of everything in this place.
    fn labels(&self) -> BTreeMap<String, String> {
        [
            (names::MANAGED_BY, names::MANAGER),
            (names::TENANT, &self.tenant.name),
            (names::ENVIRONMENT, self.environment),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
    }

    fn metadata(&self, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.to_owned()),
            labels: Some(self.labels()),
            ..ObjectMeta::default()
        }
    }
}

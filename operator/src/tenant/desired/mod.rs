//! Valid tenant → the objects that should exist. Pure, total, no clock, no cluster.
//!
//! No object has an owner reference: a Tenant is cluster-scoped, and what it made must survive its loss.

mod access;
mod limits;
mod namespace;
pub mod network;
mod registry;
mod services;

pub use registry::DockerConfigs;
pub use services::orphans;

use std::collections::BTreeMap;

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
    names::{self, HOME, home_namespace},
};

/// One namespace and everything in it that the tenant's stage makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// Created, never applied over.
    pub namespace: Namespace,
    /// The operator's own rights in it; nothing else can be written before.
    pub operator: RoleBinding,
    /// Containers that say nothing of their size.
    pub limits: Option<LimitRange>,
    /// How much may be in it.
    pub quota: ResourceQuota,
    /// Closed, then opened by name.
    pub networks: Vec<NetworkPolicy>,
    /// Registry login.
    pub secrets: Vec<Secret>,
    /// Members by role.
    pub members: Vec<RoleBinding>,
    /// Names of bindings that must not be: nobody has that role any more.
    pub no_members: Vec<String>,
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
        limits: None,
        quota: limits::home_quota(&home),
        networks: vec![network::closed(&home)],
        secrets: vec![registry::secret(&home, names::PUSH_SECRET, &logins.push)],
        services: services::services(&home, &tenant.services),
        ..common(&home, operator, &tenant.members)
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
        limits: Some(limits::limit_range(&place, &space.quota)),
        quota: limits::quota(&place, &space.quota),
        networks: network::policies(&place, &space.networks),
        secrets: vec![registry::secret(&place, names::PULL_SECRET, &logins.pull)],
        services: Vec::new(),
        ..common(&place, operator, &space.members)
    }
}

/// What a home and an environment's namespace have alike; the rest is empty.
fn common(place: &Place<'_>, operator: &Operator<'_>, members: &[Subject]) -> Children {
    let (members, no_members) = access::members(place, members);
    Children {
        namespace: namespace::namespace(place),
        operator: access::operator(place, operator),
        members,
        no_members,
        limits: None,
        quota: ResourceQuota::default(),
        networks: Vec::new(),
        secrets: Vec::new(),
        services: Vec::new(),
    }
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

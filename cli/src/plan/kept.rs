//! What the cluster still has of what Git has no more, since it is held or ends by its stages: putting the lines back makes
//! nothing anew. Pure.

use std::{collections::BTreeSet, sync::Arc};

use imaas_operator::{
    api::{IntegrationService, Tenant},
    names::{MANAGED_BY, MANAGER, tenant_of_home},
};
use kube::ResourceExt;

use super::{
    difference::{Action, TenantPlan},
    items::Kind,
    retirement,
};

/// Services and environments' namespaces of tenants.
#[derive(Debug, Default)]
pub struct Kept(BTreeSet<(Kind, String, String)>);

impl Kept {
    /// As the statuses of the tenants tell it, and as their homes hold it.
    pub fn of(tenants: &[Arc<Tenant>], services: &[IntegrationService]) -> Self {
        let namespaces = tenants.iter().flat_map(|tenant| {
            let listed = tenant.status.iter().flat_map(|status| &status.environments);
            listed.map(|one| (Kind::Namespace, tenant.name_any(), one.namespace.clone()))
        });
        let services = services.iter().filter_map(|service| {
            let is_ours = service.labels().get(MANAGED_BY).is_some_and(|by| by == MANAGER);
            let home =
                service.namespace().filter(|_| is_ours && service.metadata.deletion_timestamp.is_none())?;
            Some((Kind::Service, tenant_of_home(&home)?.to_owned(), service.name_any()))
        });
        Self(namespaces.chain(services).collect())
    }

    /// What looks new beside the Tenants and is there is not made anew.
    pub fn tell(&self, plan: &mut TenantPlan) {
        let TenantPlan { name, changes, told, .. } = plan;
        let mut comes_back = false;
        for change in changes.iter_mut().filter(|change| change.action == Action::Create) {
            if self.0.contains(&(change.kind, name.clone(), change.name.clone())) {
                change.action = Action::Return;
                comes_back = true;
            }
        }
        told.extend(comes_back.then(|| retirement::RETURNS.to_owned()));
    }
}

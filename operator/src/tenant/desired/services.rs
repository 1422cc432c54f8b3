//! The tenant's services as objects of their own, and those that its file no longer lists. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::Place;
use crate::{
    api::{IntegrationService, IntegrationServiceSpec},
    names,
    tenant::validate::{ValidService, ValidTenant},
};

pub(super) fn services(home: &Place<'_>, services: &[ValidService]) -> Vec<IntegrationService> {
    services
        .iter()
        .map(|service| object(home.metadata(&service.name), &service.name, service.spec.clone()))
        .collect()
}

/// Services of ours among `existing` that the tenant no longer lists: as they are, marked once as orphaned since
/// `generation` of the Tenant. They serve on. One that somebody applied by hand is not ours to mark.
pub fn orphans(
    tenant: &ValidTenant,
    generation: i64,
    existing: impl IntoIterator<Item = impl AsRef<IntegrationService>>,
) -> Vec<IntegrationService> {
    let home = names::home_namespace(&tenant.name);
    let place = Place { tenant, environment: names::HOME, namespace: &home };
    let mut orphans: Vec<IntegrationService> = existing
        .into_iter()
        .filter(|service| is_orphan(tenant, &home, service.as_ref()))
        .map(|service| {
            let service = service.as_ref();
            let name = service.name_any();
            let since =
                service.annotations().get(names::ORPHANED).cloned().unwrap_or_else(|| generation.to_string());
            let mut orphan = object(place.metadata(&name), &name, service.spec.clone());
            orphan.annotations_mut().insert(names::ORPHANED.to_owned(), since);
            orphan
        })
        .collect();
    orphans.sort_by_key(ResourceExt::name_any);
    orphans
}

fn is_orphan(tenant: &ValidTenant, home: &str, service: &IntegrationService) -> bool {
    let label = |key| service.labels().get(key).map(String::as_str);
    service.namespace().as_deref() == Some(home)
        && label(names::MANAGED_BY) == Some(names::MANAGER)
        && label(names::TENANT) == Some(tenant.name.as_str())
        && service.metadata.deletion_timestamp.is_none()
        && !tenant.services.iter().any(|listed| listed.name == service.name_any())
}

fn object(metadata: ObjectMeta, name: &str, spec: IntegrationServiceSpec) -> IntegrationService {
    let mut service = IntegrationService { metadata, spec, status: None };
    service.labels_mut().insert(names::SERVICE.to_owned(), name.to_owned());
    // Of the service stage, which takes it away.
    service.finalizers_mut().push(names::FINALIZER.to_owned());
    service
}

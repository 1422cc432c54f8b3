//! The tenant's services as objects of their own. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::Place;
use crate::{
    api::{IntegrationService, IntegrationServiceSpec},
    names,
    tenant::validate::ValidService,
};

pub(super) fn services(home: &Place<'_>, services: &[ValidService]) -> Vec<IntegrationService> {
    services
        .iter()
        .map(|service| object(home.metadata(&service.name), &service.name, service.spec.clone()))
        .collect()
}

fn object(metadata: ObjectMeta, name: &str, spec: IntegrationServiceSpec) -> IntegrationService {
    let mut service = IntegrationService { metadata, spec, status: None };
    service.labels_mut().insert(names::SERVICE.to_owned(), name.to_owned());
    // Of the service stage, which takes it away.
    service.finalizers_mut().push(names::FINALIZER.to_owned());
    service
}

//! IO: removes everything of a service but itself: what runs it, in every namespace of its tenant, then its history. In this
//! order, and the service last, so that whoever ends in between finds it again, and what is left of it by its labels.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};

use crate::{
    api::{HttpRoute, Release},
    cluster::{ApplyError, Cluster},
    names::{SERVICE, TENANT, home_namespace},
};

/// Removes what bears the labels of this tenant's service, and nothing else.
pub(super) async fn remove(cluster: &Cluster, tenant: &str, service: &str) -> Result<(), ApplyError> {
    let labels = BTreeMap::from([(TENANT, tenant), (SERVICE, service)]);
    let home = home_namespace(tenant);
    let environments = cluster.namespaces_of(tenant);
    for namespace in environments.iter().filter(|name| **name != home && cluster.belongs(name, tenant)) {
        // First what would miss the rest.
        cluster.delete_labelled::<Deployment>(namespace, &labels).await?;
        cluster.delete_labelled::<HttpRoute>(namespace, &labels).await?;
        cluster.delete_labelled::<Service>(namespace, &labels).await?;
        cluster.delete_labelled::<PodDisruptionBudget>(namespace, &labels).await?;
        cluster.delete_labelled::<NetworkPolicy>(namespace, &labels).await?;
        cluster.delete_labelled::<ConfigMap>(namespace, &labels).await?;
    }
    cluster.delete_labelled::<Release>(&home, &labels).await
}

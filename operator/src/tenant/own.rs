//! IO: members see their own Tenant, as long as there is one.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};

use super::{
    desired::{Own, own},
    validate::ValidTenant,
};
use crate::{
    cluster::{ApplyError, Cluster},
    names::own_role,
};

/// The role before its binding: the API server looks at what a binding would give before it takes it.
pub(super) async fn show(cluster: &Cluster, tenant: &ValidTenant) -> Result<(), ApplyError> {
    let Own { role, binding } = own(tenant);
    cluster.apply(role).await?;
    cluster.apply(binding).await.map(drop)
}

/// Takes back what [`show`] gave, for a tenant that is removed.
pub(super) async fn hide(cluster: &Cluster, tenant: &str) -> Result<(), ApplyError> {
    let name = own_role(tenant);
    cluster.delete_global::<ClusterRoleBinding>(&name).await?;
    cluster.delete_global::<ClusterRole>(&name).await
}

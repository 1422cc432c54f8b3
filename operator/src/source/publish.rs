//! IO: makes Tenants so. One that is refused does not hold up the others.

use futures::StreamExt;
use kube::ResourceExt;

use crate::{
    api::Tenant,
    cluster::{ApplyError, Cluster},
    conditions::Reason,
};

/// Writes at a time.
const AT_A_TIME: usize = 8;

/// A Tenant that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("tenant {tenant}: {source}")]
pub struct PublishError {
    /// Its name.
    pub tenant: String,
    /// Why.
    pub source: ApplyError,
}

impl PublishError {
    /// Condition reason, event reason and metric label.
    pub fn reason(&self) -> Reason {
        match &self.source {
            // It appeared between our look and our write, so whose it is shows in the next look.
            ApplyError::Foreign(_) => Reason::OriginConflict,
            ApplyError::Request { .. } => self.source.reason(),
        }
    }
}

/// Applies each; nothing is sent for those that are so already. Returns what failed, by name.
pub(super) async fn publish(cluster: &Cluster, wanted: Vec<Tenant>) -> Vec<PublishError> {
    let mut failed: Vec<_> = futures::stream::iter(wanted)
        .map(|tenant| async move {
            let name = tenant.name_any();
            cluster.apply(tenant).await.err().map(|source| PublishError { tenant: name, source })
        })
        .buffer_unordered(AT_A_TIME)
        .filter_map(std::future::ready)
        .collect()
        .await;
    failed.sort_by(|one, other| one.tenant.cmp(&other.tenant));
    failed
}

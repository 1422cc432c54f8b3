//! IO: removes the releases that nothing needs any more, then the configurations that no release refers to. In this
//! order, so that no release is ever without its configuration; a crash in between leaves the second to the next pass.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;

use super::{
    history::{History, Needs, surplus, unreferenced},
    validate::{ValidEnvironment, ValidService},
};
use crate::{
    api::Release,
    cluster::{ApplyError, Cluster, Workload},
};

/// At most so many of a kind in one pass: what is removed wakes the next.
const AT_ONCE: usize = 5;

/// Removes what none of `needs` needs, a few at a time. `releases`: all of the service that are known.
pub(super) async fn prune(
    cluster: &Cluster,
    service: &ValidService,
    (history, releases): (&History, &[Arc<Release>]),
    needs: &[Needs],
) -> Result<(), ApplyError> {
    let mut surplus = surplus(history, needs);
    surplus.truncate(AT_ONCE);
    for name in &surplus {
        cluster.delete::<Release>(&service.home(), name).await?;
    }
    let owned = |environment: &&ValidEnvironment| cluster.takes(&environment.namespace, &service.tenant);
    for environment in service.environments.iter().filter(owned) {
        let left = releases
            .iter()
            .map(AsRef::as_ref)
            .filter(|release: &&Release| release.spec.environment == environment.name)
            .filter(|release| !surplus.contains(&release.name_any().as_str()))
            .collect::<Vec<_>>();
        let workload = cluster.workload(&environment.namespace, &service.name);
        let live = workload.as_ref().and_then(Workload::release);
        // What runs is of a release that is not known here: so is what it mounts.
        if live.is_some_and(|live| left.iter().all(|release| release.name_any() != *live)) {
            continue;
        }
        let names = cluster.names_of::<ConfigMap>(&environment.namespace, &format!("{}-", service.name));
        for name in unreferenced(&service.name, &names, left).into_iter().take(AT_ONCE) {
            cluster.delete::<ConfigMap>(&environment.namespace, name).await?;
        }
    }
    Ok(())
}

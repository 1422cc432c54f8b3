//! IO: KEDA's objects for a release, and that never two move one number.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::ResourceExt;

use super::{
    desired::{Scaler, Target},
    triggers::follows,
};
use crate::{
    api::{ScaledObject, TriggerAuthentication},
    cluster::{ApplyError, Cluster},
    names,
};

/// The most triggers that a release ever had.
const MOST: usize = 8;

/// Takes the `ScaledObject` away where none is wanted, and what KEDA made of it. It may be there for a while, until KEDA lets it
/// go.
pub(super) async fn let_go(cluster: &Cluster, target: &Target<'_>) -> Result<(), ApplyError> {
    let (namespace, service) = (target.namespace(), &target.release.spec.service);
    if follows(target.release) {
        return Ok(());
    }
    let has_scalers = cluster.has_scalers();
    let object = if has_scalers { cluster.delete::<ScaledObject>(&namespace, service).await } else { Ok(()) };
    // Also where its owner cannot end, or the kind is gone: it would move what is another's now.
    cluster.delete::<HorizontalPodAutoscaler>(&namespace, &names::keda_autoscaler(service)).await?;
    object?;
    if has_scalers { without_others(cluster, target, &[]).await } else { Ok(()) }
}

/// Which of KEDA's objects of `service` there is in `namespace`, as `<kind> <name>`: KEDA holds each by a finalizer.
pub async fn held(
    cluster: &Cluster,
    (namespace, service): (&str, &str),
) -> Result<Option<String>, ApplyError> {
    if !cluster.has_scalers() {
        return Ok(None);
    }
    if cluster.has::<ScaledObject>(namespace, service).await? {
        return Ok(Some(format!("ScaledObject {service}")));
    }
    for name in (0..MOST).map(|index| names::login(service, index)) {
        let is_there = cluster.shows::<TriggerAuthentication>(Some(namespace), &name);
        if is_there && cluster.has::<TriggerAuthentication>(namespace, &name).await? {
            return Ok(Some(format!("TriggerAuthentication {name}")));
        }
    }
    Ok(None)
}

/// May another autoscaler be made? Not before KEDA and its own have gone.
pub(super) fn is_free(cluster: &Cluster, target: &Target<'_>) -> bool {
    let (namespace, service) = (target.namespace(), &target.release.spec.service);
    !cluster.shows::<ScaledObject>(Some(&namespace), service)
        && !cluster.shows::<HorizontalPodAutoscaler>(Some(&namespace), &names::keda_autoscaler(service))
}

/// Makes the `ScaledObject` with its logins, where the cluster has KEDA. What it lacks is told by the service.
pub(super) async fn follow(
    cluster: &Cluster,
    target: &Target<'_>,
    Scaler { object, logins }: Scaler,
) -> Result<(), ApplyError> {
    if !cluster.has_scalers() {
        return Ok(());
    }
    let names: Vec<_> = logins.iter().map(ResourceExt::name_any).collect();
    for login in logins {
        cluster.apply(login).await?;
    }
    cluster.apply(object).await?;
    without_others(cluster, target, &names).await
}

/// Takes away the logins that are not among `kept`, after what named them.
async fn without_others(cluster: &Cluster, target: &Target<'_>, kept: &[String]) -> Result<(), ApplyError> {
    let all = (0..MOST).map(|index| names::login(&target.release.spec.service, index));
    for name in all.filter(|name| !kept.contains(name)) {
        cluster.delete::<TriggerAuthentication>(&target.namespace(), &name).await?;
    }
    Ok(())
}

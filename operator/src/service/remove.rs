//! IO: removes everything of a service but itself: what runs it, in every namespace of its tenant, its images, then its
//! history and what people decided of it. In this order, and the service last, so that whoever ends in between finds it again, and what is left of it: the
//! objects by their labels, the images by their tags and by the releases that name them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::CronJob,
    core::v1::{ConfigMap, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};

use super::reconcile::{Context, RESYNC};
use crate::{
    api::{HttpRoute, Release, ScaledObject, TriggerAuthentication},
    cluster::ApplyError,
    conditions::Reason,
    names::{SERVICE, TENANT, home_namespace},
    registry::{
        error::RegistryError,
        removal::{delete_repository, is_worth_waiting},
        survey::Survey,
    },
    release::scaler,
    retry::Retry,
};

/// Between two looks at what KEDA is to let go of, which it does within seconds where it runs.
const HELD: Duration = Duration::from_secs(3);

/// Why something of it is left.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// An object.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Its images.
    #[error("its images are not deleted yet: {0}")]
    Images(RegistryError),
    /// An object of KEDA's, which it holds by a finalizer.
    #[error(
        "KEDA has not let go of the {0} in {1} yet; the platform team, where that lasts: does KEDA's operator run? docs/operations.md says how to release it by hand"
    )]
    Held(String, String),
    /// The platform stopped everything of the tenant.
    #[error(
        "the tenant {0} is suspended: nothing of this service is removed until `suspend` is taken from the Tenant; what runs goes on"
    )]
    Suspended(String),
}

impl RemoveError {
    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Apply(error) => error.retry(),
            Self::Images(error) => error.retry(),
            Self::Held(..) => Retry::After(HELD),
            // A watch of the tenant tells, too.
            Self::Suspended(_) => Retry::After(RESYNC),
        }
    }

    /// The condition's reason.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Apply(error) => error.reason(),
            Self::Images(error) => error.reason(),
            Self::Held(..) => Reason::ScalerMissing,
            Self::Suspended(_) => Reason::Suspended,
        }
    }
}

/// Removes what bears the labels of this tenant's service, and its images, and nothing else. `overdue` is how long ago this
/// was to be done.
pub(super) async fn remove(
    ctx: &Context,
    (tenant, service): (&str, &str),
    overdue: Duration,
) -> Result<(), RemoveError> {
    let cluster = &ctx.platform.cluster;
    let labels = BTreeMap::from([(TENANT, tenant), (SERVICE, service)]);
    let home = home_namespace(tenant);
    let environments = cluster.namespaces_of(tenant);
    for namespace in environments.iter().filter(|name| **name != home && cluster.belongs(name, tenant)) {
        // First what would miss the rest.
        cluster.delete_labelled::<Deployment>(namespace, &labels).await?;
        // Before the autoscaler that KEDA makes of it.
        cluster.delete_labelled::<ScaledObject>(namespace, &labels).await?;
        cluster.delete_labelled::<HorizontalPodAutoscaler>(namespace, &labels).await?;
        cluster.delete_labelled::<TriggerAuthentication>(namespace, &labels).await?;
        // With its runs.
        cluster.delete_labelled::<CronJob>(namespace, &labels).await?;
        cluster.delete_labelled::<HttpRoute>(namespace, &labels).await?;
        cluster.delete_labelled::<Service>(namespace, &labels).await?;
        cluster.delete_labelled::<PodDisruptionBudget>(namespace, &labels).await?;
        cluster.delete_labelled::<NetworkPolicy>(namespace, &labels).await?;
        cluster.delete_labelled::<ConfigMap>(namespace, &labels).await?;
    }
    // Whoever forgets the service forgets what is left of it.
    for namespace in environments.iter().filter(|name| **name != home && cluster.belongs(name, tenant)) {
        if let Some(held) = scaler::held(cluster, (namespace, service)).await? {
            return Err(RemoveError::Held(held, namespace.clone()));
        }
    }
    // Before the releases: they alone name an image that lost its tag.
    match images(ctx, (tenant, service)).await {
        Err(error) if is_worth_waiting(&error, overdue) => return Err(RemoveError::Images(error)),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(tenant, service, error, "the images of a removed service stay in the registry");
        }
        Ok(0) => {}
        Ok(images) => tracing::info!(tenant, service, images, "images of a removed service deleted"),
    }
    cluster.delete_labelled::<Release>(&home, &labels).await?;
    for decision in ctx.platform.decisions.all_in(&home) {
        if decision.spec.service == service {
            cluster.delete_unchanged(decision.as_ref()).await?;
        }
    }
    Ok(())
}

/// Deletes the service's repository where the operator may; how many images that were.
async fn images(ctx: &Context, (tenant, service): (&str, &str)) -> Result<usize, RegistryError> {
    let origins = ctx.poller.origins();
    if !origins.deletes_images {
        return Ok(0);
    }
    let releases = ctx.platform.releases.all_in(&home_namespace(tenant));
    let own = releases.iter().filter(|release| release.spec.service == service);
    let named = own.filter_map(|release| release.spec.digest.parse().ok()).collect();
    delete_repository(&Survey::new(Arc::clone(&origins.registry)), tenant, service, named).await
}

//! IO: one namespace of a tenant and what is in it.

use std::{collections::BTreeMap, sync::Arc};

use futures::FutureExt;
use k8s_openapi::api::{core::v1::Namespace, rbac::v1::RoleBinding};
use kube::ResourceExt;
use serde_json::json;

use super::{
    Context,
    desired::{Access, Children},
    error::SpaceError,
    ownership::{NotOurs, judged},
    retire::Clock,
};
use crate::{
    api::{IntegrationService, Tenant},
    cluster::{Applied, ApplyError, CreatedNamespace},
    conditions::Reason,
    names::{ORIGIN, ORPHANED, ORPHANED_BY, RETIRING},
    platform::Platform,
    retirement::{Left, Progress},
};

/// Makes one namespace and what is in it. The name says which it was.
pub(super) async fn settle(
    ctx: &Context,
    tenant: &Tenant,
    children: Children,
) -> (String, Result<(), SpaceError>) {
    let namespace = children.access.namespace.name_any();
    let outcome = match own(ctx, tenant, &children.access.namespace).await {
        Ok(()) => in_force(ctx, &namespace, fill(ctx, children).await),
        Err(error) => Err(error),
    };
    (namespace, outcome)
}

/// What becomes of a namespace that is not made any more.
pub(super) struct Kept {
    pub access: Access,
    /// As it was read a moment ago, and where its retirement stands; nothing where it is left as it is.
    pub ending: Option<(Namespace, Left)>,
}

/// Who gets into a namespace that is not made any more, and how far its retirement is. It is left as it is otherwise.
pub(super) async fn keep(ctx: &Context, tenant: &Tenant, kept: Kept) -> (String, Result<(), SpaceError>) {
    let namespace = kept.access.namespace.name_any();
    let live = match &kept.ending {
        Some((live, _)) => Ok(Some(live.clone())),
        None => ctx.platform().cluster.namespace(&namespace).await,
    };
    let outcome = match live {
        Err(error) => Err(SpaceError::Unclaimed(error)),
        // Gone, and the watch tells it in a moment.
        Ok(None) => Err(SpaceError::Terminating(namespace.clone())),
        Ok(Some(live)) => match claimed(tenant, &kept.access.namespace, &live) {
            Ok(()) => in_force(ctx, &namespace, left(ctx, tenant, kept, &live).await),
            Err(error) => Err(error),
        },
    };
    (namespace, outcome)
}

/// Its marks stand on it, and it is deleted as it was read with them.
async fn left(ctx: &Context, tenant: &Tenant, kept: Kept, live: &Namespace) -> Result<(), ApplyError> {
    let Platform { cluster, settings, now, .. } = ctx.platform();
    let Kept { access, ending } = kept;
    let is_due = |left: &Left| left.progress(&settings.retirement, now()) == Progress::Due;
    if ending
        .as_ref()
        .is_some_and(|(live, left)| is_due(left) && Left::of(live.annotations()).as_ref() == Some(left))
    {
        return cluster.delete_unchanged(live).await;
    }
    bind(ctx, &access).await?;
    let mut wanted = BTreeMap::from([(ORIGIN.to_owned(), tenant.origin().to_owned())]);
    if let Some((_, left)) = &ending {
        left.mark(&mut wanted);
    }
    let change = |live: &Namespace| {
        let is_so = wanted.iter().all(|(key, value)| live.annotations().get(key) == Some(value));
        (!is_so).then(|| json!({ "metadata": { "annotations": wanted } }))
    };
    cluster.amend(live, change).await?;
    admit(ctx, access).await
}

/// Brings the marks of services to what the file says of them. Those that `held` names get none.
pub(super) async fn mark_services(
    ctx: &Context,
    clock: &Clock,
    services: &[(Arc<IntegrationService>, bool)],
) -> Result<(), ApplyError> {
    let mut first = Ok(());
    for (service, is_gone) in services {
        let amended = ctx.platform().cluster.amend(&**service, |live| clock.change(live, *is_gone)).await;
        first = first.and(amended.map(drop));
    }
    first
}

/// A refusal that only says that a right or a quota is a moment old is no failure.
fn in_force(ctx: &Context, namespace: &str, outcome: Result<(), ApplyError>) -> Result<(), SpaceError> {
    let Err(error) = outcome else { return Ok(()) };
    if is_early(ctx, namespace, &error) || error.reason() == Reason::Progressing {
        tracing::debug!(namespace, error = &error as &dyn std::error::Error, "not in force yet");
        return Err(SpaceError::Settling(namespace.to_owned()));
    }
    Err(error.into())
}

fn is_early(ctx: &Context, namespace: &str, error: &ApplyError) -> bool {
    error.is_forbidden() && ctx.is_young(namespace)
}

fn claimed(tenant: &Tenant, wanted: &Namespace, live: &Namespace) -> Result<(), SpaceError> {
    let name = || live.name_any();
    judged(tenant, wanted, live).map_err(|why| match why {
        NotOurs::Foreign => SpaceError::Foreign(name()),
        NotOurs::OtherOrigin => SpaceError::OtherOrigin(name()),
        NotOurs::Terminating => SpaceError::Terminating(name()),
    })
}

/// Makes the namespace, or takes back one that was made for this tenant.
async fn own(ctx: &Context, tenant: &Tenant, wanted: &Namespace) -> Result<(), SpaceError> {
    let cluster = &ctx.platform().cluster;
    if cluster.is_applied(wanted) {
        return Ok(());
    }
    let live = match cluster.create_namespace(wanted.clone()).await.map_err(SpaceError::Unclaimed)? {
        CreatedNamespace::Created => return Ok(()),
        CreatedNamespace::Exists(live) => live,
    };
    claimed(tenant, wanted, &live)?;
    let unmarked = |live: &Namespace| {
        let is_marked = Left::of(live.annotations()).is_some();
        let none = json!({ ORPHANED: null, ORPHANED_BY: null, RETIRING: null });
        is_marked.then(|| json!({ "metadata": { "annotations": none } }))
    };
    // The tenant is in this environment again.
    cluster.amend(&*live, unmarked).await?;
    cluster.apply(wanted.clone()).await?;
    Ok(())
}

/// No `..` in the pattern: a new kind of child does not compile until it is applied here.
///
/// Walls before whom they hold, so that whoever gets in finds them up. The quota comes early, since nothing can be made
/// before its use is counted. One that cannot be written does not keep the others waiting, least of all the members'
/// rights: what owners do to a Secret must not keep their own access from being changed.
async fn fill(ctx: &Context, children: Children) -> Result<(), ApplyError> {
    let Children { access, limits, quota, networks, secrets, services } = children;
    let namespace = access.namespace.name_any();
    let cluster = &ctx.platform().cluster;
    bind(ctx, &access).await?;
    let mut steps = vec![cluster.apply(quota).boxed()];
    steps.extend(limits.map(|limits| cluster.apply(limits).boxed()));
    steps.extend(networks.into_iter().map(|policy| cluster.apply(policy).boxed()));
    let mut first = Ok(());
    for step in steps {
        if let Err(error) = step.await {
            if is_early(ctx, &namespace, &error) {
                return Err(error);
            }
            first = first.and(Err(error));
        }
    }
    first = first.and(admit(ctx, access).await);
    for secret in secrets {
        first = first.and(cluster.apply(secret).await.map(drop));
    }
    for service in services {
        first = first.and(cluster.apply(service).await.map(drop));
    }
    first
}

/// The operator's own right, which comes first.
async fn bind(ctx: &Context, access: &Access) -> Result<(), ApplyError> {
    if ctx.platform().cluster.apply(access.operator.clone()).await? != Applied::Unchanged {
        ctx.bound_now(&access.namespace.name_any());
    }
    Ok(())
}

/// Members' rights, and what was theirs that nobody has any more.
async fn admit(ctx: &Context, access: Access) -> Result<(), ApplyError> {
    let Access { namespace, operator: _, members, no_members } = access;
    let cluster = &ctx.platform().cluster;
    let mut first = Ok(());
    for binding in members {
        first = first.and(cluster.apply(binding).await.map(drop));
    }
    for name in no_members {
        first = first.and(cluster.delete::<RoleBinding>(&namespace.name_any(), &name).await);
    }
    first
}

//! IO: the end of a service's object. Its finalizer holds it until everything of it is removed, where its deletion is
//! meant; a deletion that nobody confirmed (a kind deleted by mistake) takes nothing along.

use std::time::Duration;

use kube::ResourceExt;

use super::{
    ending,
    reconcile::Context,
    remove::{RemoveError, remove},
};
use crate::{
    api::IntegrationService,
    cluster::{ApplyError, Cluster, ObjectKey, has_finalizer, with_finalizer, without_finalizer},
    conditions::{Reason, Wellness, merge},
    names::{CONFIRM_DELETE, MANAGED_BY, MANAGER, tenant_of_home},
};

/// Gives `service` its finalizer, if it was applied by hand: what the tenant's stage applies has it from there.
pub(super) async fn hold(cluster: &Cluster, service: &IntegrationService) -> Result<(), ApplyError> {
    let is_ours = service.labels().get(MANAGED_BY).map(String::as_str) == Some(MANAGER);
    if is_ours { Ok(()) } else { cluster.amend(service, with_finalizer).await.map(drop) }
}

/// Ends `service`, which somebody deleted. What runs of it serves on, unless its deletion is confirmed.
pub(super) async fn end(ctx: &Context, service: &IntegrationService) -> Result<(), RemoveError> {
    if !has_finalizer(service) {
        return Ok(());
    }
    let cluster = &ctx.platform.cluster;
    let home = service.namespace().unwrap_or_default();
    let tenant = tenant_of_home(&home).filter(|tenant| cluster.belongs(&home, tenant));
    match tenant.filter(|_| is_confirmed(service)) {
        // A home that goes takes the service along whatever becomes of its children, and waits for nobody.
        Some(tenant) if !is_going(cluster, &home).await? => {
            if ctx.platform.tenants.named(tenant).is_some_and(|tenant| tenant.spec.suspend) {
                return Err(RemoveError::Suspended(tenant.to_owned()));
            }
            // A cache may show one that is gone, while another of its name runs already.
            let live = cluster.read::<IntegrationService>(&ObjectKey::of(service)).await?;
            if !live.is_some_and(|live| is_same(&live, service)) {
                return Ok(());
            }
            let deleted = service.metadata.deletion_timestamp.as_ref();
            let overdue = deleted.map_or(Duration::ZERO, |deleted| {
                (ctx.platform.now)().duration_since(deleted.0).try_into().unwrap_or_default()
            });
            remove(ctx, (tenant, &service.name_any()), overdue).await?;
        }
        Some(_) | None => {
            tracing::warn!(service = %ObjectKey::of(service), "deleted without confirmation: what runs of it stays");
            misconfirmed(ctx, service).await;
        }
    }
    // Where its deletion was confirmed meanwhile, all of it goes first.
    let is_judged = |live: &IntegrationService| is_confirmed(live) == is_confirmed(service);
    cluster.amend(service, |live| without_finalizer(live).filter(|_| is_judged(live))).await?;
    Ok(())
}

/// Removes `shown`, whose retirement is over, and everything of it; nothing where it is not so any more.
pub(super) async fn retire(ctx: &Context, shown: &IntegrationService) -> Result<(), RemoveError> {
    let platform = &ctx.platform;
    let (cluster, key, periods) = (&platform.cluster, ObjectKey::of(shown), &platform.settings.retirement);
    let is_due = |live: &IntegrationService| {
        let home = key.namespace.as_deref().unwrap_or_default();
        let tenant = tenant_of_home(home).and_then(|tenant| platform.tenants.named(tenant));
        let is_due = ending::is_due(live, periods, (platform.now)());
        let stays = is_same(live, shown) && live.metadata.deletion_timestamp.is_none();
        tenant.filter(|tenant| is_due && stays && !tenant.lists(&key.name))
    };
    let Some(tenant) = cluster.read(&key).await?.as_ref().and_then(is_due) else { return Ok(()) };
    let overdue = ending::overdue(shown, periods, (platform.now)());
    remove(ctx, (&tenant.name_any(), &key.name), overdue).await?;
    match cluster.read::<IntegrationService>(&key).await? {
        // Listed again meanwhile, it is made anew from what Git says.
        Some(live) if is_due(&live).is_some() => Ok(cluster.delete_unchanged(&live).await?),
        Some(_) | None => Ok(()),
    }
}

/// Not another one of its name, made since.
fn is_same(live: &IntegrationService, shown: &IntegrationService) -> bool {
    live.uid().is_some() && live.uid() == shown.uid()
}

/// Somebody meant another object of this name: told, since what runs of it stays.
async fn misconfirmed(ctx: &Context, service: &IntegrationService) {
    if is_confirmed(service) || !service.annotations().contains_key(CONFIRM_DELETE) {
        return;
    }
    let uid = service.uid().unwrap_or_default();
    let message = format!(
        "deleted, and what runs of it stays: {CONFIRM_DELETE} is not the uid of this service, which was {uid}"
    );
    let claims = Wellness::Stalled(Reason::Invalid, message).claims();
    let generation = service.metadata.generation.unwrap_or_default();
    let conditions = merge(&[], &claims, generation, (ctx.platform.now)());
    ctx.platform.cluster.tell_change(service, &[], &conditions).await;
}

/// Did somebody say that exactly this one is to be deleted, and not another one of its name?
fn is_confirmed(service: &IntegrationService) -> bool {
    let uid = service.metadata.uid.as_ref();
    uid.is_some() && service.annotations().get(CONFIRM_DELETE) == uid
}

async fn is_going(cluster: &Cluster, home: &str) -> Result<bool, ApplyError> {
    let home = cluster.namespace(home).await?;
    Ok(home.is_none_or(|home| home.metadata.deletion_timestamp.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_meant_only_for_the_object_that_is_named() {
        let service = |confirmed: &str| -> IntegrationService {
            serde_saphyr::from_str(&format!(
                r#"
                apiVersion: imaas.dev/v1alpha1
                kind: IntegrationService
                metadata: {{name: orders, namespace: acme-home, uid: 4f2a, annotations: {{{confirmed}}}}}
                spec: {{repository: {{url: "https://git.example.com/acme/orders.git"}}, runtime: camel}}
                "#
            ))
            .unwrap()
        };
        let confirmed = |text: &str| is_confirmed(&service(text));
        assert!(confirmed("imaas.dev/confirm-delete: 4f2a"));
        assert!(!confirmed("imaas.dev/confirm-delete: 4f2b") && !confirmed(""));
        let mut unnamed = service("imaas.dev/confirm-delete: 4f2a");
        unnamed.metadata.uid = None;
        assert!(!is_confirmed(&unnamed));

        let (shown, mut next) = (service(""), service(""));
        assert!(is_same(&next, &shown));
        next.metadata.uid = Some("4f2b".to_owned());
        assert!(!is_same(&next, &shown), "another one of its name");
        assert!(!is_same(&unnamed, &unnamed));
    }
}

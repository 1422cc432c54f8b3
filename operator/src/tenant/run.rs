//! What wakes a tenant: its own change, one of its objects, a service's status, an Environment, the policies.

use std::{future::Future, sync::Arc};

use futures::{StreamExt, stream};
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use super::{Context, reconcile};
use crate::{
    api::Tenant,
    cluster::{Control, Touch, Watched, control},
    names::{TENANT, tenant_of_home, tenant_of_own_role},
};

/// Tenants at a time; each writes to up to four namespaces at a time.
const CONCURRENCY: u16 = 4;

/// Runs until `shutdown` resolves and what is under way is done.
pub async fn run(ctx: Arc<Context>, shutdown: impl Future<Output = ()> + Send + 'static) {
    let platform = ctx.platform();
    let tenants = platform.tenants.clone();
    let touched = platform.cluster.touches().filter_map(|touch| std::future::ready(tenant_of(&touch)));
    let served = platform.services.changes().filter_map(|service| {
        let tenant = service.namespace.as_deref().and_then(tenant_of_home).map(ObjectRef::new);
        std::future::ready(tenant)
    });
    let triggers = vec![
        touched.boxed(),
        served.boxed(),
        platform.environments.changes().flat_map(everyone(tenants.clone())).boxed(),
        ctx.policies().changes().flat_map(everyone(tenants.clone())).boxed(),
        ctx.usages().changes().map(|tenant| ObjectRef::new(&tenant)).boxed(),
    ];
    let settings = Control {
        name: "tenant",
        watched: tenants,
        triggers,
        concurrency: CONCURRENCY,
        jitter: platform.jitter,
    };
    control(settings, move |tenant| reconcile(tenant, ctx.clone()), shutdown).await;
}

fn everyone<T>(
    tenants: Watched<Tenant>,
) -> impl FnMut(T) -> stream::Iter<std::vec::IntoIter<ObjectRef<Tenant>>> + Send {
    move |_| {
        let all: Vec<_> = tenants.all().iter().map(|tenant| ObjectRef::new(&tenant.name_any())).collect();
        stream::iter(all)
    }
}

/// By label; of an object that went while nobody looked only the name is known, and that splits at the last `-`.
fn tenant_of(touch: &Touch) -> Option<ObjectRef<Tenant>> {
    let namespace = touch.object.namespace.as_ref().unwrap_or(&touch.object.name);
    let by_name = || match touch.object.kind.as_str() {
        "ClusterRole" | "ClusterRoleBinding" => tenant_of_own_role(&touch.object.name),
        _ => namespace.rsplit_once('-').map(|(tenant, _)| tenant),
    };
    touch.labels.get(TENANT).map(String::as_str).or_else(by_name).map(ObjectRef::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ObjectKey;

    fn touch(kind: &str, namespace: Option<&str>, name: &str, label: Option<&str>) -> Touch {
        let object = ObjectKey { kind: kind.into(), namespace: namespace.map(Into::into), name: name.into() };
        let labels = label.map(|tenant| (TENANT.to_owned(), tenant.to_owned())).into_iter().collect();
        Touch { object, labels }
    }

    #[test]
    fn every_object_of_ours_wakes_its_tenant() {
        for (touch, tenant) in [
            (touch("RoleBinding", Some("acme-eu-dev"), "imaas-owner", Some("acme-eu")), Some("acme-eu")),
            (touch("RoleBinding", Some("acme-eu-dev"), "imaas-owner", None), Some("acme-eu")),
            (touch("Namespace", None, "acme-home", None), Some("acme")),
            (touch("ClusterRoleBinding", None, "imaas-tenant-own-acme-eu", Some("acme-eu")), Some("acme-eu")),
            (touch("ClusterRole", None, "imaas-tenant-own-acme-eu", None), Some("acme-eu")),
            (touch("ClusterRole", None, "imaas-tenant-owner", None), None),
        ] {
            assert_eq!(tenant_of(&touch), tenant.map(ObjectRef::new), "{touch:?}");
        }
    }
}

//! IO: what makes a `TenantSource` run.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use kube::{Resource, runtime::reflector::ObjectRef};

use super::reconcile::Sources;
use crate::{
    api::{Tenant, TenantSource},
    cluster::{Control, control},
};

/// Sources at a time; there are few, and one is mostly waiting for its Git host.
const CONCURRENCY: u16 = 4;

/// Runs the sources until `shutdown`. `wake` tells names of sources whose branch may have moved; it is a hint only,
/// each source is looked at in its own interval as well.
pub async fn run(
    sources: Arc<Sources>,
    wake: BoxStream<'static, String>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let platform = &sources.platform;
    let all = {
        let sources = platform.sources.clone();
        move || sources.all().iter().map(|source| ObjectRef::from_obj(source.as_ref())).collect::<Vec<_>>()
    };
    let (for_environments, for_runtimes) = (all.clone(), all.clone());
    let triggers: Vec<BoxStream<'static, ObjectRef<TenantSource>>> = vec![
        // Those that were listed before this began to listen.
        stream::iter(all()).boxed(),
        wake.map(|name| ObjectRef::new(&name)).boxed(),
        platform.environments.changes().flat_map(move |_| stream::iter(for_environments())).boxed(),
        platform.runtimes.changes().flat_map(move |_| stream::iter(for_runtimes())).boxed(),
        strays(&sources),
    ];
    let control_of = Control {
        name: "source",
        watched: platform.sources.clone(),
        triggers,
        concurrency: CONCURRENCY,
        jitter: platform.jitter,
    };
    let reconcile = move |source| {
        let sources = sources.clone();
        async move { sources.reconcile(source).await }
    };
    control(control_of, reconcile, shutdown).await;
}

/// Sources whose Tenant was changed or deleted by hand: what is in Git is put back.
fn strays(sources: &Sources) -> BoxStream<'static, ObjectRef<TenantSource>> {
    let tenants = sources.platform.tenants.clone();
    // Origins and generation as last seen: a change of status is nobody's doing.
    let seen = Mutex::new(HashMap::<String, (Vec<String>, Option<i64>)>::new());
    sources
        .platform
        .tenants
        .changes()
        .flat_map(move |changed: ObjectRef<Tenant>| {
            let now = tenants.named(&changed.name).map(|tenant| {
                let origins = [Some(tenant.origin()), tenant.transfer_to()].into_iter().flatten();
                (origins.map(ToOwned::to_owned).collect::<Vec<_>>(), tenant.meta().generation)
            });
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let before = match &now {
                Some(now) => seen.insert(changed.name, now.clone()),
                None => seen.remove(&changed.name),
            };
            let origins = if before == now { [None, None] } else { [before, now] };
            let origins: BTreeSet<_> =
                origins.into_iter().flatten().flat_map(|(origins, _)| origins).collect();
            stream::iter(origins.into_iter().map(|origin| ObjectRef::new(&origin)))
        })
        .boxed()
}

//! IO: what makes a `TenantSource` run.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, stream::BoxStream};
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
        futures::stream::iter(all()).boxed(),
        wake.map(|name| ObjectRef::new(&name)).boxed(),
        platform.environments.changes().flat_map(move |_| futures::stream::iter(for_environments())).boxed(),
        platform.runtimes.changes().flat_map(move |_| futures::stream::iter(for_runtimes())).boxed(),
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
    // Origin and generation as last seen: a change of status is nobody's doing.
    let seen = Mutex::new(HashMap::<String, (String, Option<i64>)>::new());
    sources
        .platform
        .tenants
        .changes()
        .filter_map(move |changed: ObjectRef<Tenant>| {
            let now = tenants
                .named(&changed.name)
                .map(|tenant| (tenant.origin().to_owned(), tenant.meta().generation));
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let before = match &now {
                Some(now) => seen.insert(changed.name, now.clone()),
                None => seen.remove(&changed.name),
            };
            let stray = (before != now).then(|| before.or(now)).flatten();
            std::future::ready(stray.map(|(origin, _)| ObjectRef::new(&origin)))
        })
        .boxed()
}

//! Makes a release so. IO through the cluster's read, apply and delete only; called by the service's reconcile, which owns
//! the status.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service, policy::v1::PodDisruptionBudget};
use kube::ResourceExt;

use super::{
    desired::{Children, Footprint, Target, desired, ending, route, running},
    observe::{Observed, Phase, alone_since, current, observed, of_current, spare},
    trouble::{SANDBOX_FAILED, Trouble, trouble, unsandboxed, without_sandbox},
};
use crate::{
    api::{HttpRoute, Release},
    cluster::{ApplyError, Cluster, ObjectKey},
    names::RELEASE,
};

/// How far a release is.
#[derive(Debug)]
pub struct RolledOut {
    /// Before this pass: a change of the Deployment wakes the service again.
    pub seen: Observed,
    /// When to look again at what changes nothing there: pods that were told to end and still work.
    pub again: Option<Duration>,
    /// The way in from outside, without which all else goes on.
    pub route: Result<(), ApplyError>,
}

/// Applies what runs the release, and removes what neither it nor a pod of an earlier one needs. Sends nothing when nothing
/// differs.
pub async fn roll_out(
    cluster: &Cluster,
    target: &Target<'_>,
    now: Timestamp,
) -> Result<RolledOut, ApplyError> {
    let namespace = target.namespace();
    let name = &target.release.spec.service;
    let live = live(cluster, target).await?;
    let seen = seen(cluster, target, live.as_deref()).await?;
    let mut running = beside(cluster, live.as_deref(), target.release).await?;
    let since = live.as_deref().filter(|_| seen.is_alone()).and_then(alone_since);
    let again = ending(&running, since, now);
    if seen.is_alone() && again.is_none() {
        running = vec![Footprint::of(target.release)];
    }
    // No `..`: a new kind of child does not compile until it is applied here.
    let Children { config_map, network_policies, service, route: routed, disruption_budget, deployment } =
        desired(target, &running, live.as_deref().map_or(0, |live| spare(live, target.release)));
    // What serves comes first: now that is this release.
    let own = Footprint::of(target.release);
    let alone = || std::iter::once(own).chain(running.iter().cloned()).collect::<Vec<_>>();
    let routed = if seen.is_alone() { route(target, &alone()) } else { routed };
    // Before the pods that mount it, which would otherwise wait in the kubelet's backoff.
    if let Some(config_map) = config_map {
        cluster.apply(config_map).await?;
    }
    // Before the pods, so that none runs a moment without it.
    for policy in network_policies {
        cluster.apply(policy).await?;
    }
    // Before the pods that use a port which it did not have.
    match service {
        Some(service) => drop(cluster.apply(service).await?),
        None => cluster.delete::<Service>(&namespace, name).await?,
    }
    // After the Service that it leads to.
    let route = expose(cluster, target, routed).await;
    match disruption_budget {
        Some(budget) => drop(cluster.apply(budget).await?),
        None => cluster.delete::<PodDisruptionBudget>(&namespace, name).await?,
    }
    // Last: it says what else may run, and forgets that only when nothing is left to narrow.
    cluster.apply(deployment).await?;
    Ok(RolledOut { seen, again, route })
}

/// Nothing is asked of a cluster that has no routes.
async fn expose(cluster: &Cluster, target: &Target<'_>, routed: Option<HttpRoute>) -> Result<(), ApplyError> {
    match routed {
        _ if !cluster.has_routes() || target.outside.is_unsure => Ok(()),
        Some(route) => cluster.apply(route).await.map(drop),
        None => cluster.delete::<HttpRoute>(&target.namespace(), &target.release.spec.service).await,
    }
}

/// What became of the release. That pods are refused may be said of an older version's, so the current one is asked.
async fn seen(
    cluster: &Cluster,
    target: &Target<'_>,
    live: Option<&Deployment>,
) -> Result<Observed, ApplyError> {
    let seen = observed(live, target.release);
    let (Phase::Blocked { .. }, Some(live)) = (&seen.phase, live) else { return Ok(seen) };
    let sets = cluster.replica_sets(&target.namespace(), &target.selector()).await?;
    let Some(current) = current(live, &sets) else { return Ok(seen) };
    Ok(observed(Some(&of_current(live, current)), target.release))
}

/// Why instances of `target`, which runs since then, are not ready, as pods of its own version tell: a few bounded requests.
pub async fn troubled(
    cluster: &Cluster,
    target: &Target<'_>,
    (since, now): (Option<Timestamp>, Timestamp),
) -> Result<Option<Trouble>, ApplyError> {
    let namespace = target.namespace();
    let Some(live) = cluster.deployment(&namespace, &target.release.spec.service) else { return Ok(None) };
    let sets = cluster.replica_sets(&namespace, &target.selector()).await?;
    let labels = current(&live, &sets).and_then(|set| set.spec.as_ref()?.selector.match_labels.as_ref());
    let Some(labels) = labels else { return Ok(None) };
    let pods = cluster.pods(&namespace, labels).await?;
    if let Some(trouble) = trouble(&pods, since) {
        return Ok(Some(trouble));
    }
    let Some(pod) = without_sandbox(&pods, now) else { return Ok(None) };
    let events = cluster.events_of(&namespace, (&pod.name_any(), SANDBOX_FAILED)).await?;
    Ok(unsandboxed(pod, &events))
}

/// The Deployment, not older than our own last write; read where a release gives way to another, since then it is
/// decided by what was last written, also by a request of which the answer was lost.
async fn live(cluster: &Cluster, target: &Target<'_>) -> Result<Option<Arc<Deployment>>, ApplyError> {
    let namespace = target.namespace();
    let key = ObjectKey::named::<Deployment>(Some(&namespace), &target.release.spec.service);
    let shown = cluster.deployment(&namespace, &key.name);
    let gives_way = shown.as_deref().is_some_and(|live| before(live, target.release).is_some());
    if gives_way || cluster.is_behind(&key, shown.as_deref()) {
        return Ok(cluster.read(&key).await?.map(Arc::new));
    }
    Ok(shown)
}

/// What pods count on that may run in `live`, beside those of `release`.
async fn beside(
    cluster: &Cluster,
    live: Option<&Deployment>,
    release: &Release,
) -> Result<Vec<Footprint>, ApplyError> {
    let Some(live) = live else { return Ok(vec![Footprint::of(release)]) };
    let stored = match before(live, release) {
        None => None,
        Some(name) => {
            let key = ObjectKey::named::<Release>(release.namespace().as_deref(), name);
            cluster.read::<Release>(&key).await?
        }
    };
    Ok(running(live, stored.as_ref(), release))
}

/// Name of the release that `live` runs, where it is not `release`.
fn before<'a>(live: &'a Deployment, release: &Release) -> Option<&'a str> {
    let name = live.annotations().get(RELEASE)?;
    (*name != release.name_any()).then_some(name.as_str())
}

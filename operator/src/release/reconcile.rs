//! Makes a release so. IO through the cluster's read, apply and delete only; called by the service's reconcile, which owns
//! the status.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::{CronJob, Job},
    core::v1::Service,
    policy::v1::PodDisruptionBudget,
};
use kube::ResourceExt;

use super::{
    desired::{
        Beside, Children, Footprint, Target, Trial, beside, beside_selector,
        budget::{self, Look, Missing},
        desired, divided, ending, leaving, route, running,
    },
    lost::{lost_node, of_lost},
    observe::{self, Observed, Phase, alone_since, current, observed, of_current},
    runs, scaler, scaling, triggers,
    trouble::{SANDBOX_FAILED, Trouble, failed_run, trouble, unsandboxed, without_sandbox},
};
use crate::{
    api::{HttpRoute, Release},
    cluster::{ApplyError, Cluster, ObjectKey, Workload},
    names,
};

/// How far a release is.
#[derive(Debug)]
pub struct RolledOut {
    /// Before this pass: a change of the Deployment wakes the service again.
    pub seen: Observed,
    /// When to look again at what changes nothing there: pods that were told to end and still work, or that load asked for.
    pub again: Option<Duration>,
    /// The way in from outside, without which all else goes on.
    pub route: Result<(), ApplyError>,
    /// What KEDA is to do, without which all else goes on.
    pub scaler: Result<(), ApplyError>,
}

/// Applies what runs the release and what is tried beside it, and removes what neither they nor a pod of an earlier one need.
/// Sends nothing when nothing differs.
pub async fn roll_out(
    cluster: &Cluster,
    target: &Target<'_>,
    trial: &Trial<'_>,
    now: Timestamp,
) -> Result<RolledOut, ApplyError> {
    let namespace = target.namespace();
    let name = &target.release.spec.service;
    let live = live(cluster, target).await?;
    let autoscaler = cluster.autoscaler(&namespace, &triggers::autoscaler(target.release));
    let deployment = live.as_ref().and_then(Workload::deployment);
    let moving = scaling::moving((deployment, autoscaler.as_deref()), (target.release, now));
    let seen = seen(cluster, target, live.as_ref(), (now, moving.map(|moving| moving.enough))).await?;
    let moving = moving.map(|moving| moving.left);
    let mut running = counted(cluster, live.as_ref(), target.release).await?;
    let since = live.as_ref().filter(|_| seen.is_alone()).and_then(settled_since);
    let mut again = ending(&running, since, now);
    let (own, tried) = (Footprint::of(target.release), trial.release.map(Footprint::of));
    if seen.is_alone() && again.is_none() {
        if running.iter().any(|one| *one != own && Some(one) != tried.as_ref()) {
            again = leaving(&cluster.pods(&namespace, &beside_selector(target)).await?, now);
        }
        if again.is_none() {
            running = vec![own.clone()];
        }
    }
    running.extend(tried.filter(|tried| !running.contains(tried)));
    let mut children = desired(target, &running, live.as_ref().and_then(Workload::deployment));
    if seen.is_alone() {
        // What serves comes first: now that is this release.
        children.route =
            route(target, &std::iter::once(own).chain(running.iter().cloned()).collect::<Vec<_>>());
    }
    let Beside { service: beside_service, deployment: beside_deployment, disruption_budget: beside_budget } =
        beside(target, trial);
    let beside = names::beside(name);
    // No `..`: a new kind of child does not compile until it is applied here.
    let Children {
        config_map,
        network_policies,
        service,
        route: routed,
        disruption_budget,
        deployment,
        autoscaler,
        scaler,
        cron_job,
    } = divided(children, target, trial);
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
    let is_beside = beside_service.is_some();
    if let Some(service) = beside_service {
        cluster.apply(service).await?;
    }
    // After the Services that it leads to, and before one of them goes.
    let route = expose(cluster, target, routed).await;
    if !is_beside && route.is_ok() {
        cluster.delete::<Service>(&namespace, &beside).await?;
    }
    // The service's first: no pod is in two.
    for (budget, name) in [(disruption_budget, name), (beside_budget, &beside)] {
        let due = bound(cluster, budget, (&namespace, name), now).await?;
        again = again.into_iter().chain(due).min();
    }
    // After whom it is called by, which may be an old route yet, and before what takes its place.
    match beside_deployment {
        _ if route.is_err() => {}
        Some(deployment) => drop(cluster.apply(deployment).await?),
        None => cluster.delete::<Deployment>(&namespace, &beside).await?,
    }
    // Before the number of instances is the operator's again.
    if autoscaler.is_none() {
        cluster.delete::<HorizontalPodAutoscaler>(&namespace, name).await?;
    }
    let mut scaled = scaler::let_go(cluster, target).await;
    // Last: it says what else may run, and forgets that only when nothing is left to narrow.
    if let Some(deployment) = deployment {
        cluster.apply(deployment).await?;
        cluster.delete::<CronJob>(&namespace, name).await?;
    }
    if let Some(cron_job) = cron_job {
        let (runs, due) = replaced(cluster, target, now).await?;
        again = again.into_iter().chain(due).min();
        cluster.apply(runs::beside(cron_job, &runs)).await?;
        cluster.delete::<Deployment>(&namespace, name).await?;
    }
    // When the number of instances is the operator's no more.
    if let Some(autoscaler) = autoscaler.filter(|_| scaled.is_ok() && scaler::is_free(cluster, target)) {
        cluster.apply(autoscaler).await?;
    }
    if let Some(scaler) = scaler {
        scaled = scaler::follow(cluster, target, scaler).await;
    }
    Ok(RolledOut { seen, again: again.into_iter().chain(moving).min(), route, scaler: scaled })
}

/// Makes the budget of the Deployment `name` so, or takes it away: it waits for no instance that does not come, unless but one
/// serves. When to look again whether one came.
async fn bound(
    cluster: &Cluster,
    budget: Option<PodDisruptionBudget>,
    (namespace, name): (&str, &str),
    now: Timestamp,
) -> Result<Option<Duration>, ApplyError> {
    let Some(budget) = budget else {
        cluster.delete::<PodDisruptionBudget>(namespace, name).await?;
        return Ok(None);
    };
    let live = cluster.workload(namespace, name);
    let live = live.as_ref().and_then(Workload::deployment);
    let Missing { number, again } = match live.map(|live| (live, budget::look(live, now))) {
        None | Some((_, Look::Never)) => Missing { number: 0, again: None },
        Some((_, Look::In(left))) => Missing { number: 0, again: Some(left) },
        Some((_, Look::Untold)) => {
            Missing { number: budget::given(&told(cluster, &budget).await?), again: None }
        }
        Some((live, Look::Now)) => {
            let start = live.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds);
            let start = SignedDuration::from_secs(start.unwrap_or_default().into());
            budget::missing(&told(cluster, &budget).await?, start, now)
        }
    };
    let asked = live.map(budget::asked).unwrap_or_default();
    cluster.apply(budget::without(budget, number, asked)).await?;
    Ok(again)
}

/// What `budget` says of itself; nothing where it is to be made.
async fn told(cluster: &Cluster, budget: &PodDisruptionBudget) -> Result<PodDisruptionBudget, ApplyError> {
    let key = ObjectKey::of(budget);
    let told = if cluster.has_written_key(&key) { cluster.read(&key).await? } else { None };
    Ok(told.unwrap_or_default())
}

/// Nothing is asked of a cluster that has no routes.
async fn expose(cluster: &Cluster, target: &Target<'_>, routed: Option<HttpRoute>) -> Result<(), ApplyError> {
    match routed {
        _ if !cluster.has_routes() || target.outside.is_unsure => Ok(()),
        Some(route) => cluster.apply(route).await.map(drop),
        None => cluster.delete::<HttpRoute>(&target.namespace(), &target.release.spec.service).await,
    }
}

/// Since when nothing is replaced in `live`, of which all that it counts is of one release. A batch that was a Deployment
/// before became one when its `CronJob` was made.
fn settled_since(live: &Workload) -> Option<Timestamp> {
    match live {
        Workload::Deployment(deployment) => alone_since(deployment),
        Workload::CronJob(_) => live.made(),
    }
}

/// What became of the release of `target`, which `live` runs.
pub async fn seen_in(
    cluster: &Cluster,
    target: &Target<'_>,
    (live, now): (&Arc<Deployment>, Timestamp),
) -> Result<Observed, ApplyError> {
    seen(cluster, target, Some(&Workload::Deployment(live.clone())), (now, None)).await
}

/// What became of the release. That pods are refused may be said of an older version's, so the current one is asked.
async fn seen(
    cluster: &Cluster,
    target: &Target<'_>,
    live: Option<&Workload>,
    (now, enough): (Timestamp, Option<i32>),
) -> Result<Observed, ApplyError> {
    let live = match live {
        Some(Workload::CronJob(cron_job)) => {
            return Ok(runs::observed(cron_job, &runs_of(cluster, target), target.release, now));
        }
        Some(Workload::Deployment(deployment)) => Some(deployment.as_ref()),
        None => None,
    };
    let seen = observed(live, target.release, enough);
    let (Phase::Blocked { .. }, Some(live)) = (&seen.phase, live) else { return Ok(seen) };
    let sets = cluster.replica_sets(&target.namespace(), &target.selector()).await?;
    let Some(current) = current(live, &sets) else { return Ok(seen) };
    Ok(observed(Some(&of_current(live, current)), target.release, enough))
}

/// Ends the runs on demand whose time is over. The runs that are left, and how long until another is to end.
async fn replaced(
    cluster: &Cluster,
    target: &Target<'_>,
    now: Timestamp,
) -> Result<(Vec<Arc<Job>>, Option<Duration>), ApplyError> {
    let mut runs = runs_of(cluster, target);
    let (over, due): (Vec<_>, Vec<_>) = runs::replaced(&runs, target.release).partition(|(_, at)| *at <= now);
    let due = due.into_iter().map(|(_, at)| at.duration_since(now)).min();
    let over: Vec<_> = over.into_iter().map(|(run, _)| run.clone()).collect();
    for run in &over {
        cluster.delete_unchanged(run).await?;
    }
    runs.retain(|run| over.iter().all(|over| over.uid() != run.uid()));
    Ok((runs, due.and_then(|due| Duration::try_from(due).ok())))
}

fn runs_of(cluster: &Cluster, target: &Target<'_>) -> Vec<Arc<Job>> {
    cluster.jobs(&target.namespace(), &target.release.spec.service)
}

/// Since when `release`, which is all that runs of its service in `namespace`, does so well without a break.
pub fn well_since(cluster: &Cluster, namespace: &str, release: &Release) -> Option<Timestamp> {
    let service = &release.spec.service;
    match cluster.workload(namespace, service)? {
        Workload::Deployment(deployment) => observe::well_since(&deployment),
        Workload::CronJob(_) => runs::well_since(&cluster.jobs(namespace, service), release),
    }
}

/// Why instances of `target`, which `live` runs since then, are not ready, as pods of its own version tell: a few bounded requests.
pub async fn troubled(
    cluster: &Cluster,
    target: &Target<'_>,
    (live, since, now): (Option<Workload>, Option<Timestamp>, Timestamp),
) -> Result<Option<Trouble>, ApplyError> {
    let namespace = target.namespace();
    let labels = match live {
        None => None,
        Some(Workload::Deployment(live)) => {
            let sets = cluster.replica_sets(&namespace, &target.selector()).await?;
            current(&live, &sets).and_then(|set| set.spec.as_ref()?.selector.match_labels.clone())
        }
        Some(Workload::CronJob(_)) => {
            let jobs = runs_of(cluster, target);
            if let Some(failed) = runs::failed(&jobs, target.release) {
                let pods = cluster.pods(&namespace, &runs::pods_of(failed)).await?;
                return Ok(Some(failed_run(failed, &pods)));
            }
            runs::active(&jobs, target.release).map(runs::pods_of)
        }
    };
    let Some(labels) = labels else { return Ok(None) };
    let pods = cluster.pods(&namespace, &labels).await?;
    let nodes = match lost_node(&pods) {
        Some(node) => cluster.nodes_around(node).await.unwrap_or_else(|error| {
            // What the pods tell is told all the same.
            tracing::warn!(error = &error as &dyn std::error::Error, node, "nodes not read");
            vec![]
        }),
        None => vec![],
    };
    if let Some(trouble) = trouble(&pods, since).into_iter().chain(of_lost(&pods, &nodes)).min() {
        return Ok(Some(trouble));
    }
    let Some(pod) = without_sandbox(&pods, now) else { return Ok(None) };
    let events = cluster.events_of(&namespace, (&pod.name_any(), SANDBOX_FAILED)).await?;
    Ok(unsandboxed(pod, &events))
}

/// What runs it, not older than our own last write; read where a release gives way to another, since then it is
/// decided by what was last written, also by a request of which the answer was lost.
async fn live(cluster: &Cluster, target: &Target<'_>) -> Result<Option<Workload>, ApplyError> {
    let (namespace, name) = (target.namespace(), &target.release.spec.service);
    let shown = cluster.workload(&namespace, name);
    let gives_way = shown.as_ref().is_some_and(|live| before(live, target.release).is_some());
    let deployment = ObjectKey::named::<Deployment>(Some(&namespace), name);
    let cron_job = ObjectKey::named::<CronJob>(Some(&namespace), name);
    let is_behind = cluster.is_behind(&deployment, shown.as_ref().and_then(Workload::deployment))
        || cluster.is_behind(&cron_job, shown.as_ref().and_then(Workload::cron_job));
    if !gives_way && !is_behind {
        return Ok(shown);
    }
    let is_there = |key: &ObjectKey| cluster.has_written_key(key);
    let deployment = if is_there(&deployment) { cluster.read(&deployment).await? } else { None };
    let cron_job = if is_there(&cron_job) { cluster.read(&cron_job).await? } else { None };
    Ok(Workload::newest(deployment.map(Arc::new), cron_job.map(Arc::new)))
}

/// What pods count on that may run in `live`, beside those of `release`.
async fn counted(
    cluster: &Cluster,
    live: Option<&Workload>,
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
fn before<'a>(live: &'a Workload, release: &Release) -> Option<&'a str> {
    let name = live.release()?;
    (*name != release.name_any()).then_some(name.as_str())
}

//! A release → the objects that run it. Pure, total, no clock, no cluster. The pods are those of the frozen template;
//! what is around them may change with an operator upgrade without restarting one. Until the release is all that runs,
//! what is around its pods is there for those of earlier releases too.

mod autoscaler;
pub(super) mod budget;
mod cron_job;
mod expose;
mod footprint;
mod network;
mod reach;
mod scaler;
mod service;
mod trial;

pub use expose::{Entrance, Outside, route};
pub use footprint::{Footprint, ending, leaving, running, written};
pub use reach::{Neighbour, Reach, open_ports};
pub use scaler::Scaler;
pub use trial::{Beside, Preview, Trial, beside, divided, preview, selector as beside_selector};

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::CronJob,
        core::v1::{ConfigMap, PodTemplateSpec, Service},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kube::ResourceExt;

use super::{observe::spare, render::selector, scaling};
use crate::{
    api::{HttpRoute, Release, Strategy, environment::Network},
    names::{self, MANAGED_BY, MANAGER, RELEASE, RUNNING, TRACK},
};

/// Pods of earlier versions for which the `ReplicaSet` is kept; a rollback goes by Releases, so a few suffice to read.
const HISTORY: i32 = 2;
/// Beyond the time that a start may take: pulling the image, finding a node, attaching what is mounted.
const DEADLINE: i32 = 120;
/// A pod that was ready so long counts as available.
const SETTLED: i32 = 1;
/// The same for one without a readiness probe: only staying up tells that it works.
const SETTLED_UNPROBED: i32 = 10;

/// What is to be in the environment's namespace.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Name of the Tenant.
    pub tenant: &'a str,
    /// The release to run.
    pub release: &'a Release,
    /// Its configuration as it was rendered; `None` when there is none, or when it is in the namespace already, as for
    /// an older release.
    pub config: Option<&'a ConfigMap>,
    /// The Environment's networks.
    pub networks: &'a [Network],
    /// Services of other tenants with which it may talk.
    pub reach: &'a Reach,
    /// Who comes in from outside of the tenants.
    pub outside: &'a Outside,
}

impl Target<'_> {
    /// Where everything goes.
    pub fn namespace(&self) -> String {
        names::environment_namespace(self.tenant, &self.release.spec.environment)
    }

    /// The labels that find its pods.
    pub fn selector(&self) -> BTreeMap<String, String> {
        selector(self.tenant, &self.release.spec.service, &self.release.spec.environment)
    }

    fn metadata(&self) -> ObjectMeta {
        let mut labels = self.selector();
        labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
        ObjectMeta {
            name: Some(self.release.spec.service.clone()),
            namespace: Some(self.namespace()),
            labels: Some(labels),
            ..ObjectMeta::default()
        }
    }
}

/// Everything that runs a release. What is `None` must not exist, but for the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// Immutable, with the name that the template mounts.
    pub config_map: Option<ConfigMap>,
    /// Who may call the service, and whom it may call.
    pub network_policies: Vec<NetworkPolicy>,
    /// Of an api only, or while pods of one may run.
    pub service: Option<Service>,
    /// Of what is exposed, where the environment has a gateway.
    pub route: Option<HttpRoute>,
    /// Of a service that may have many instances only: with one, it would block every drain of a node, or none. It waits for
    /// all instances, as long as a start may take.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// The pods of an api or a worker.
    pub deployment: Option<Deployment>,
    /// What moves their number with the load, where it may move.
    pub autoscaler: Option<HorizontalPodAutoscaler>,
    /// The same where it moves with what waits. It is missing also while it is not known how to ask: then what is there stays.
    pub scaler: Option<Scaler>,
    /// The pods of a batch.
    pub cron_job: Option<CronJob>,
}

/// The objects for `target`, while pods with the footprints `running` may run, its own among them. `live`: what makes the
/// pods now.
pub fn desired(target: &Target, running: &[Footprint], live: Option<&Deployment>) -> Children {
    let schedule = target.release.spec.schedule.as_ref();
    Children {
        config_map: target.config.cloned(),
        network_policies: vec![network::policy(target, running)],
        service: service::service(target, running),
        route: route(target, running),
        disruption_budget: running.iter().any(Footprint::is_kept_up).then(|| disruption_budget(target)),
        deployment: schedule.is_none().then(|| deployment(target, running, live)),
        autoscaler: autoscaler::autoscaler(target),
        scaler: scaler::scaler(target),
        cron_job: schedule.map(|schedule| cron_job::cron_job(target, running, schedule)),
    }
}

/// Of what makes the pods.
fn metadata(target: &Target, running: &[Footprint]) -> ObjectMeta {
    let mut metadata = target.metadata();
    // Not on the template: a new release of the same content then restarts nothing.
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(RELEASE.to_owned(), target.release.name_any());
    if running.len() > 1 {
        annotations.insert(RUNNING.to_owned(), serde_json::to_string(running).unwrap_or_default());
    }
    metadata
}

fn deployment(target: &Target, running: &[Footprint], live: Option<&Deployment>) -> Deployment {
    let spec = &target.release.spec;
    // A single instance that runs meets no other, of whatever release.
    let is_single = running.iter().any(|one| !one.many);
    let spare = live.map(|live| spare(live, target.release)).unwrap_or_default();
    let strategy = strategy(if is_single { Strategy::Recreate } else { spec.strategy }, spare);
    Deployment {
        metadata: metadata(target, running),
        spec: Some(DeploymentSpec {
            replicas: scaling::written(live, target.release),
            selector: label_selector(target.selector()),
            strategy: Some(strategy),
            min_ready_seconds: Some(settled(&spec.template)),
            progress_deadline_seconds: Some(start_allowance(&spec.template)),
            revision_history_limit: Some(HISTORY),
            template: spec.template.clone(),
            paused: None,
        }),
        status: None,
    }
}

fn strategy(strategy: Strategy, spare: i32) -> DeploymentStrategy {
    match strategy {
        Strategy::Rolling | Strategy::Canary | Strategy::BlueGreen => DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                // No instance that serves leaves before its successor is ready; a version that never gets there harms
                // nobody.
                max_unavailable: Some(IntOrString::Int(spare)),
                // Rounded up, so at least one.
                max_surge: Some(IntOrString::String("25%".to_owned())),
            }),
        },
        Strategy::Recreate => DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None },
    }
}

fn settled(template: &PodTemplateSpec) -> i32 {
    let probed = containers(template).any(|container| container.readiness_probe.is_some());
    if probed { SETTLED } else { SETTLED_UNPROBED }
}

/// So many seconds an instance may take until it is ready.
pub fn start_allowance(template: &PodTemplateSpec) -> i32 {
    DEADLINE + start_seconds(template)
}

/// What the startup probe allows.
fn start_seconds(template: &PodTemplateSpec) -> i32 {
    containers(template)
        .filter_map(|container| container.startup_probe.as_ref())
        .map(|probe| probe.period_seconds.unwrap_or(10) * probe.failure_threshold.unwrap_or(3))
        .max()
        .unwrap_or_default()
}

fn containers(template: &PodTemplateSpec) -> impl Iterator<Item = &k8s_openapi::api::core::v1::Container> {
    template.spec.iter().flat_map(|spec| &spec.containers)
}

/// Of the service's own pods: one that is tried beside them and does not get ready stops no drain of theirs.
fn disruption_budget(target: &Target) -> PodDisruptionBudget {
    let is_own =
        LabelSelectorRequirement { key: TRACK.to_owned(), operator: "DoesNotExist".to_owned(), values: None };
    let selector =
        LabelSelector { match_expressions: Some(vec![is_own]), ..label_selector(target.selector()) };
    budget::disruption_budget(target.metadata(), selector)
}

fn label_selector(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}

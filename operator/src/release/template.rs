//! The pod template of a release. Pure. Every field that the Pod Security Standard `restricted` asks for is set here and
//! can be reached from nowhere else.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource,
        EnvFromSource, EnvVar, ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler, LocalObjectReference,
        PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
        ResourceRequirements, SeccompProfile, SecretEnvSource, SecurityContext, SleepAction, TCPSocketAction,
        Toleration, TopologySpreadConstraint, Volume, VolumeMount, WeightedPodAffinityTerm,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{config::Config, render_error::RenderError};
use crate::{
    amount::{instance_cpu_problem, memory_problem},
    api::{self, DescriptorSpec, Instances, RuntimeProfile, WorkloadType, runtime},
    environment::Placement,
    names::{MANAGED_BY, PULL_SECRET, SCRAPE, SCRAPE_PATH, SCRAPE_PORT, UNREACHABLE, ZONE},
    runtime::check::is_variable,
};

/// What one etcd object can bear many times over; a template is stored in the Release, the Deployment and each of
/// its `ReplicaSets`.
pub const LARGEST_TEMPLATE: usize = 16 * 1024;
/// Name of the one container.
const CONTAINER: &str = "service";
const CONFIG_VOLUME: &str = "config";
/// Of each writable directory: beyond it the pod is evicted, so that no service fills a node's disk.
const WRITABLE_SIZE: &str = "256Mi";
/// How long an instance stays on a node that is lost, where others run besides and the Environment says nothing: a node that
/// only starts again comes back in that time.
const EVICT_AFTER_SECONDS: i64 = 60;
/// Secrets that begin so are the platform's own.
pub(super) const RESERVED_SECRETS: &str = "imaas-";

/// What a template is made of; `settings` resolved.
pub(super) struct Parts<'a> {
    pub labels: &'a BTreeMap<String, String>,
    pub image: &'a str,
    pub settings: &'a DescriptorSpec,
    /// Variable → address of a service that is called; none of `settings.env`.
    pub addresses: &'a [(String, String)],
    pub profile: &'a RuntimeProfile,
    pub placement: &'a Placement,
    pub config: Option<(&'a Config, &'a str)>,
}

/// The template, or what is wrong with the settings.
pub(super) fn template(parts: &Parts) -> Result<PodTemplateSpec, RenderError> {
    let Parts { labels, settings, addresses: _, profile, placement, image: _, config: _ } = parts;
    let is_batch = settings.type_ == WorkloadType::Batch;
    // A run that is under way is not begun anew somewhere else sooner than Kubernetes does it by itself.
    let many = settings.instances() == Instances::Many && !is_batch;
    let (volumes, mounts) = volumes(parts);
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some((*labels).clone()),
            annotations: profile.metrics.as_ref().map(scraped),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            image_pull_secrets: Some(vec![LocalObjectReference { name: PULL_SECRET.to_owned() }]),
            security_context: Some(pod_security(profile)),
            // A run that fails leaves its pod, and what that said; another one tries again.
            restart_policy: is_batch.then(|| "Never".to_owned()),
            termination_grace_period_seconds: Some(i64::from(profile.drain.grace_seconds)),
            topology_spread_constraints: Some(vec![spread(labels)]),
            affinity: many.then(|| over_zones(labels)),
            tolerations: placement
                .evict_after_seconds
                .or_else(|| many.then_some(EVICT_AFTER_SECONDS))
                .map(evicted_after),
            priority_class_name: placement.priority_class.clone(),
            containers: vec![container(parts, mounts)?],
            volumes: some(volumes),
            ..PodSpec::default()
        }),
    };
    let size = serde_json::to_vec(&template).map_or(usize::MAX, |json| json.len());
    if size > LARGEST_TEMPLATE { Err(RenderError::TemplateTooLarge { size }) } else { Ok(template) }
}

/// How Prometheus' usual configuration finds what is to be collected.
fn scraped(metrics: &runtime::Metrics) -> BTreeMap<String, String> {
    let told = [
        (SCRAPE, "true".to_owned()),
        (SCRAPE_PORT, metrics.port.to_string()),
        (SCRAPE_PATH, metrics.path.clone()),
    ];
    told.map(|(key, value)| (key.to_owned(), value)).into()
}

fn container(parts: &Parts, mounts: Vec<VolumeMount>) -> Result<Container, RenderError> {
    let Parts { labels: _, image, settings, addresses, profile, placement: _, config: _ } = parts;
    let first_port = settings.ports.first().map(|port| port.port);
    // A run answers nobody: how it ended tells how it is.
    let is_asked = settings.type_ != WorkloadType::Batch;
    let ask = |question: &Option<runtime::Probe>| {
        question.as_ref().filter(|_| is_asked).and_then(|question| probe(question, first_port))
    };
    Ok(Container {
        name: CONTAINER.to_owned(),
        image: Some((*image).to_owned()),
        // A digest never changes, so what the node has is right.
        image_pull_policy: Some("IfNotPresent".to_owned()),
        env: some(env((settings, addresses), profile)?),
        env_from: some(secrets(settings)?),
        ports: some(settings.ports.iter().chain(&profile.management_ports).map(container_port).collect()),
        resources: Some(resources(&settings.resources)?),
        startup_probe: ask(&profile.probes.startup),
        readiness_probe: ask(&profile.probes.readiness),
        liveness_probe: ask(&profile.probes.liveness),
        // A crash is told with its last words: its pod is gone when somebody looks.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        lifecycle: pre_stop(&profile.drain),
        security_context: Some(container_security(profile)),
        volume_mounts: some(mounts),
        ..Container::default()
    })
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

fn pod_security(profile: &RuntimeProfile) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(profile.user.uid),
        run_as_group: Some(profile.user.gid),
        fs_group: Some(profile.user.gid),
        seccomp_profile: Some(runtime_default()),
        ..PodSecurityContext::default()
    }
}

fn container_security(profile: &RuntimeProfile) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
        read_only_root_filesystem: Some(!profile.writable_root),
        run_as_non_root: Some(true),
        seccomp_profile: Some(runtime_default()),
        ..SecurityContext::default()
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }
}

/// Over the zones as evenly as there is room. Not by one more constraint of spread: where any node lacks the label of such a
/// one, the scheduler spreads over no node that lacks it, and a cluster without zones over none.
fn over_zones(labels: &BTreeMap<String, String>) -> Affinity {
    let term = WeightedPodAffinityTerm {
        weight: 100,
        pod_affinity_term: PodAffinityTerm {
            label_selector: Some(own(labels)),
            match_label_keys: Some(of_one_version()),
            topology_key: ZONE.to_owned(),
            ..PodAffinityTerm::default()
        },
    };
    let apart = PodAntiAffinity {
        preferred_during_scheduling_ignored_during_execution: Some(vec![term]),
        required_during_scheduling_ignored_during_execution: None,
    };
    Affinity { pod_anti_affinity: Some(apart), ..Affinity::default() }
}

/// From a node that is not ready, or not heard of any more.
fn evicted_after(seconds: i64) -> Vec<Toleration> {
    let from = |taint: &str| Toleration {
        key: Some(taint.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: Some(seconds),
        value: None,
    };
    vec![from("node.kubernetes.io/not-ready"), from(UNREACHABLE)]
}

fn own(labels: &BTreeMap<String, String>) -> LabelSelector {
    let mut own = labels.clone();
    own.remove(MANAGED_BY);
    LabelSelector { match_labels: Some(own), match_expressions: None }
}

/// The instances that leave in a rollout do not count.
fn of_one_version() -> Vec<String> {
    vec!["pod-template-hash".to_owned()]
}

/// Over the nodes as evenly as there is room.
fn spread(labels: &BTreeMap<String, String>) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        label_selector: Some(own(labels)),
        match_label_keys: Some(of_one_version()),
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        ..TopologySpreadConstraint::default()
    }
}

/// The runtime's variables, then the service's.
fn env(
    (settings, addresses): (&DescriptorSpec, &[(String, String)]),
    profile: &RuntimeProfile,
) -> Result<Vec<EnvVar>, RenderError> {
    if let Some(index) = addresses.iter().position(|(name, _)| profile.env.contains_key(name)) {
        let problem = format!("as: {} is set by the runtime: give it another name", addresses[index].0);
        return Err(RenderError::Use { index, problem });
    }
    for name in settings.env.keys() {
        if profile.env.contains_key(name) {
            return Err(RenderError::EnvKept(name.clone()));
        }
        if !is_variable(name) {
            return Err(RenderError::EnvName(name.clone()));
        }
    }
    let literal = |(name, value): (&String, &String)| EnvVar {
        name: name.clone(),
        // The kubelet would read `$(NAME)` as a reference and `$$` as `$`.
        value: Some(value.replace('$', "$$")),
        value_from: None,
    };
    let addresses = addresses.iter().map(|(name, address)| (name, address));
    Ok(profile.env.iter().chain(&settings.env).chain(addresses).map(literal).collect())
}

/// Every key of each Secret is a variable; one that the runtime or the descriptor sets wins over it.
fn secrets(settings: &DescriptorSpec) -> Result<Vec<EnvFromSource>, RenderError> {
    if let Some(index) = settings.secrets.iter().position(|name| name.starts_with(RESERVED_SECRETS)) {
        return Err(RenderError::SecretReserved { index, name: settings.secrets[index].clone() });
    }
    let source = |name: &String| EnvFromSource {
        secret_ref: Some(SecretEnvSource { name: name.clone(), optional: None }),
        ..EnvFromSource::default()
    };
    Ok(settings.secrets.iter().map(source).collect())
}

fn container_port(port: &api::Port) -> ContainerPort {
    ContainerPort {
        name: Some(port.name.clone()),
        container_port: i32::from(port.port),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// Memory is request and limit, since it cannot be taken back; CPU may be four times the request and at least a core,
/// so that an engine starts fast.
fn resources(asked: &api::descriptor::Resources) -> Result<ResourceRequirements, RenderError> {
    let problems = [("cpu", instance_cpu_problem(&asked.cpu)), ("memory", memory_problem(&asked.memory))];
    for (field, problem) in problems {
        if let Some(problem) = problem {
            return Err(RenderError::Resource { field, problem });
        }
    }
    let cpu = asked.cpu.millis().unwrap_or_default();
    let pair = |cpu: String| {
        Some(BTreeMap::from([
            ("cpu".to_owned(), Quantity(cpu)),
            ("memory".to_owned(), Quantity(asked.memory.0.clone())),
        ]))
    };
    Ok(ResourceRequirements {
        requests: pair(asked.cpu.0.clone()),
        limits: pair(format!("{}m", (cpu * 4).max(1000))),
        claims: None,
    })
}

/// None where it asks the service's first port and there is no port.
fn probe(question: &runtime::Probe, first_port: Option<u16>) -> Option<Probe> {
    let runtime::Probe { path, port, period_seconds, timeout_seconds, failure_threshold } = question;
    let port = IntOrString::Int(i32::from((*port).or(first_port)?));
    let (http_get, tcp_socket) = match path {
        Some(path) => {
            (Some(HTTPGetAction { path: Some(path.clone()), port, ..HTTPGetAction::default() }), None)
        }
        None => (None, Some(TCPSocketAction { port, host: None })),
    };
    Some(Probe {
        http_get,
        tcp_socket,
        period_seconds: Some(i32::from(*period_seconds)),
        timeout_seconds: Some(i32::from(*timeout_seconds)),
        failure_threshold: Some(i32::from(*failure_threshold)),
        ..Probe::default()
    })
}

/// Waits until every proxy has heard that this instance leaves, then stops the engine where SIGTERM would not. Without
/// a command the kubelet itself sleeps, so the image needs no shell.
fn pre_stop(drain: &runtime::Drain) -> Option<Lifecycle> {
    let runtime::Drain { sleep_seconds, stop_command, grace_seconds: _ } = drain;
    let handler = match stop_command {
        Some(command) => LifecycleHandler {
            exec: Some(ExecAction {
                command: Some(vec![
                    "sh".to_owned(),
                    "-c".to_owned(),
                    format!("sleep {sleep_seconds}; {command}"),
                ]),
            }),
            ..LifecycleHandler::default()
        },
        None if *sleep_seconds == 0 => return None,
        None => LifecycleHandler {
            sleep: Some(SleepAction { seconds: i64::from(*sleep_seconds) }),
            ..LifecycleHandler::default()
        },
    };
    Some(Lifecycle { pre_stop: Some(handler), ..Lifecycle::default() })
}

fn volumes(parts: &Parts) -> (Vec<Volume>, Vec<VolumeMount>) {
    let Parts { labels: _, image: _, settings: _, addresses: _, profile, placement: _, config } = parts;
    let mut volumes = Vec::new();
    let mut mounts = Vec::new();
    if let Some(((config, name), path)) = config.zip(profile.config_mount.as_ref()) {
        let source = ConfigMapVolumeSource {
            name: name.to_owned(),
            items: some(config.items.clone()),
            default_mode: Some(0o444),
            optional: None,
        };
        volumes.push(Volume {
            name: CONFIG_VOLUME.to_owned(),
            config_map: Some(source),
            ..Volume::default()
        });
        mounts.push(mount(CONFIG_VOLUME, path, true));
    }
    for (index, path) in profile.writable_paths.iter().enumerate() {
        let name = format!("writable-{index}");
        let source =
            EmptyDirVolumeSource { medium: None, size_limit: Some(Quantity(WRITABLE_SIZE.to_owned())) };
        mounts.push(mount(&name, path, false));
        volumes.push(Volume { name, empty_dir: Some(source), ..Volume::default() });
    }
    (volumes, mounts)
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

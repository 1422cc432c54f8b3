//! `IntegrationRuntime`: how an engine is run, by version range. Every fact is a line of data, none is code.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CheckedStatus,
    analysis::{Counts, Latency},
};

/// An engine that services name in `runtime`, such as `camel` or `wso2-mi`.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "imaas.dev",
    version = "v1alpha1",
    kind = "IntegrationRuntime",
    plural = "integrationruntimes",
    shortname = "irt",
    category = "imaas",
    status = "CheckedStatus",
    doc = "An engine that services name in `runtime`, and how it is run.",
    derive = "PartialEq",
    cel,
    validation = ("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')", "metadata.name: at most 40 lower-case letters, digits and `-`"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Versions", type_ = "string", json_path = ".spec.profiles[*].versions"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationRuntimeSpec {
    /// One profile a version range; the first whose `versions` holds the service's `runtimeVersion` is taken, the
    /// first of all for a service that names no version.
    #[schemars(length(min = 1, max = 16))]
    pub profiles: Vec<RuntimeProfile>,
}

/// How one version range of an engine is run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeProfile {
    /// Requirement as Cargo and npm write it: `*`, `>=4.2, <5`, `4.1`.
    #[serde(default = "any_version")]
    #[schemars(length(min = 1, max = 100))]
    pub versions: String,
    /// Ports that an api has when its descriptor lists none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ports: Vec<super::Port>,
    /// Container ports for probes and metrics; never in a Service, never open to another pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub management_ports: Vec<super::Port>,
    /// Where the engine tells its metrics; those who collect them for the environment may ask there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// Where the engine tells what of it does not work; the operator asks there, and nobody else may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// When the engine is up, ready and alive.
    #[serde(default)]
    pub probes: Probes,
    /// Environment variables, set before the service's own; a service cannot replace them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100))]
    pub env: BTreeMap<String, String>,
    /// Where the service's `config` directory appears in the container; a runtime without it refuses `config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^/"))]
    pub config_mount: Option<String>,
    /// Files put beside the service's own in `configMount`; a service cannot replace them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    pub files: BTreeMap<String, String>,
    /// Numeric user and group of the process, never 0.
    #[serde(default)]
    pub user: User,
    /// The image needs to write outside `writablePaths`.
    #[serde(default)]
    pub writable_root: bool,
    /// Directories that the process may write to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 512), regex(pattern = r"^/")))]
    pub writable_paths: Vec<String>,
    /// How an instance leaves without losing a request.
    #[serde(default)]
    pub drain: Drain,
    /// Seconds that a request from outside may take where the descriptor does not say `expose.timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub request_timeout_seconds: Option<u16>,
}

fn any_version() -> String {
    "*".to_owned()
}

/// Metrics in the format of Prometheus, over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// One of `ports` or `managementPorts`.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Absolute path.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^/"))]
    pub path: String,
    /// What of it counts requests: without it, services of this runtime have no `rollout.analysis`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// What of it tells how long requests take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

/// Where an engine names what of it does not work, over HTTP, whether it says that it is ready or not.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// One of `ports` or `managementPorts`.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Absolute path.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^/"))]
    pub path: String,
    /// How the answer is read.
    pub reads: HealthFormat,
}

/// The answers that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HealthFormat {
    /// WSO2 Micro Integrator's `/healthz`: its list of faulty carbon applications.
    MiCApps,
    /// Apache Camel's `/observe/health`: its checks, of which those of routes are `route:<id>`.
    CamelHealth,
}

/// The kubelet's three questions.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probes {
    /// Is it up? Until it answers, the others are not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// May it get requests?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Is it beyond help, so that only a restart helps?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
}

/// One question: HTTP when `path` is set, else whether the TCP port opens.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Absolute path of an HTTP GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^/"))]
    pub path: Option<String>,
    /// Port number; without it, the service's first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Seconds between two questions.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 300))]
    pub period_seconds: u16,
    /// Seconds to wait for an answer.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 60))]
    pub timeout_seconds: u16,
    /// Bad answers in a row that count as no.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 600))]
    pub failure_threshold: u16,
}

fn one() -> u16 {
    1
}

fn two() -> u16 {
    2
}

fn three() -> u16 {
    3
}

/// User and group ids.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Numeric user.
    #[schemars(range(min = 1, max = 4_294_967_294_i64))]
    pub uid: i64,
    /// Numeric group, also of mounted files.
    #[schemars(range(min = 1, max = 4_294_967_294_i64))]
    pub gid: i64,
}

impl Default for User {
    /// `nonroot` of the distroless images.
    fn default() -> Self {
        Self { uid: 65532, gid: 65532 }
    }
}

/// Stopping: wait until nobody sends requests, tell the process, give it time.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Seconds between the end of new traffic and the stop, so that every proxy has heard of it.
    #[serde(default = "five")]
    #[schemars(range(min = 0, max = 120))]
    pub sleep_seconds: u16,
    /// Command that stops the engine, run after the sleep, for engines that do not heed SIGTERM. It needs a shell in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub stop_command: Option<String>,
    /// Seconds from the beginning of the stop until the process is killed; holds the sleep too.
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 3600))]
    pub grace_seconds: u16,
}

fn five() -> u16 {
    5
}

fn thirty() -> u16 {
    30
}

impl Default for Drain {
    fn default() -> Self {
        Self { sleep_seconds: five(), stop_command: None, grace_seconds: thirty() }
    }
}

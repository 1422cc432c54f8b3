//! `imaas.yaml`, the descriptor: what a service says of itself in its own repository.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Analysis, Fallback, Quantity, Trigger, hours::ScalingWindow, smoke::Smoke};

/// The whole file. What differs between environments stands under `environments`, so that branches merge cleanly.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDescriptor {
    /// Always `imaas.dev/v1alpha1`.
    pub api_version: String,
    /// Always `ServiceDescriptor`.
    pub kind: String,
    /// What holds in every environment.
    #[serde(flatten)]
    pub spec: DescriptorSpec,
    /// Environment → JSON merge patch (RFC 7386) over everything above.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub environments: BTreeMap<String, serde_json::Map<String, serde_json::Value>>,
}

/// What a service asks for, in one environment after the merge.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DescriptorSpec {
    /// `api` serves requests; `worker` consumes and has no Service; `batch` runs by a schedule and ends.
    #[serde(default, rename = "type")]
    pub type_: WorkloadType,
    /// When a batch runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Version of the runtime, such as `"4.4"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub runtime_version: Option<String>,
    /// May two instances run at the same time? Without it: a worker no, an api yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<Instances>,
    /// How several instances see to it that one does what must not be done twice, in words for whoever reviews it: without
    /// it, what has timers, scheduled tasks or polling consumers is not run as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = r"\S"))]
    pub coordination: Option<String>,
    /// The image, where CI commits its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Ports of the Service; without them, those of the runtime.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]), validation = Rule::new("self.all(one, self.exists_one(other, other.port == one.port))").message("a port's number is there twice: give each its own"))]
    pub ports: Vec<Port>,
    /// What one instance needs.
    #[serde(default)]
    pub resources: Resources,
    /// How many instances.
    #[serde(default)]
    pub scaling: Scaling,
    /// How they are replaced.
    #[serde(default)]
    pub rollout: Rollout,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 200))]
    pub env: BTreeMap<String, String>,
    /// Names of Secrets in the environment's namespace; every key becomes an environment variable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 20),
        inner(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))
    )]
    pub secrets: Vec<String>,
    /// Directory whose files are the configuration, relative to the service's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[A-Za-z0-9._][A-Za-z0-9._/-]*$"))]
    #[x_kube(validation = Rule::new("!self.split('/').exists(part, part == '..' || part == '.' || part == '')").message("must be a plain path below the service's own directory, such as `config`"))]
    pub config: Option<String>,
    /// Paths that make no new build: `*.md` is every file with that ending, `docs` a file or directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 200)))]
    pub ignore: Option<Vec<String>>,
    /// Networks that the platform named and this service calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 40)))]
    pub connects: Vec<String>,
    /// The way in from outside the cluster, by the gateway of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<Expose>,
    /// Services that this one calls: each gives an address, and opens the way to a service of another tenant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["as".into()]))]
    pub uses: Vec<Use>,
}

/// What is reached from outside, at the host that the platform gives to the tenant: `<tenant>.<the environment's domain>`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Expose {
    /// Requests for this path and for all below it; `/` is every path that no other service of the tenant has. They come
    /// as they were sent, with the path.
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^/([A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*)?$"))]
    #[x_kube(validation = Rule::new("!self.split('/').exists(part, part == '..' || part == '.')").message("must be an absolute path without `.` and `..`, such as `/orders`"))]
    pub path: String,
    /// Name of the port that answers; without it, the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub port: Option<String>,
    /// Longest that a request may take with all its tries, such as `30s`; without it, what the runtime's profile says, else
    /// what the gateway does by itself, as with `0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20))]
    pub timeout: Option<String>,
    /// So often the gateway sends a request again that got no answer, or 502, 503 or 504: any request, so only where twice does
    /// no harm. Without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 5))]
    pub retries: Option<u16>,
}

impl DescriptorSpec {
    /// How many may run at the same time: as it says, else by its type.
    pub fn instances(&self) -> Instances {
        self.instances.unwrap_or(match self.type_ {
            WorkloadType::Api => Instances::Many,
            WorkloadType::Worker => Instances::One,
            WorkloadType::Batch => match self.schedule.as_ref().map(|schedule| schedule.concurrency) {
                Some(Concurrency::Allow) => Instances::Many,
                Some(Concurrency::Forbid | Concurrency::Replace) | None => Instances::One,
            },
        })
    }

    /// How they are replaced: as it says, but two at a time is just what rolling does.
    pub fn strategy(&self) -> Strategy {
        match (self.instances(), self.rollout.strategy) {
            (Instances::One, Strategy::Rolling) => Strategy::Recreate,
            (Instances::One | Instances::Many, strategy) => strategy,
        }
    }
}

/// Another service, in the same environment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    /// Its tenant, whose file must name this service in `exportTo`; without it, the own tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub tenant: Option<String>,
    /// Its name.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub service: String,
    /// The environment variable that gets its address, `http://<service>.<tenant>-<environment>.svc:<port>`.
    #[serde(rename = "as")]
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub variable: String,
    /// Name of one of its ports; without it, its first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub port: Option<String>,
}

/// What kind of work it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WorkloadType {
    /// Serves requests.
    #[default]
    Api,
    /// Consumes events or files.
    Worker,
    /// Runs by a schedule, each time until its work is done.
    Batch,
}

/// When a batch runs, and what becomes of a run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Minute, hour, day of the month, month and day of the week, such as `0 3 * * MON-FRI`.
    #[schemars(length(min = 9, max = 100))]
    pub cron: String,
    /// Whose clock that is, such as `Europe/Zurich`; without it, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 60))]
    pub time_zone: Option<String>,
    /// When it is time and the run before is not at its end.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// So often a run that fails is tried again, with growing pauses.
    #[serde(default = "two")]
    #[schemars(range(min = 0, max = 10))]
    pub retries: u16,
    /// Longest that a run may take with all its tries, such as `2h`; without it, as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20))]
    pub timeout: Option<String>,
    /// So many runs that ended well are kept to be looked at, and as many that failed.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 20))]
    pub history: u16,
}

fn two() -> u16 {
    2
}

fn three() -> u16 {
    3
}

/// What happens when it is time and the run before is not at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Concurrency {
    /// This time is left out.
    #[default]
    Forbid,
    /// The run before is ended.
    Replace,
    /// Both run.
    Allow,
}

/// How many may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Instances {
    /// Never two.
    One,
    /// As many as asked for.
    Many,
}

/// An image by digest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// `sha256:` and 64 hexadecimal digits.
    #[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: String,
}

/// A named TCP port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// At most 15 lower-case letters, digits and `-`.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// What one instance needs. Memory is request and limit; CPU is the request, the limit is four times that and at least one core.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Cores, such as `250m`; less than 100.
    #[serde(default = "default_cpu")]
    pub cpu: Quantity,
    /// Bytes, such as `512Mi`; at least 16Mi.
    #[serde(default = "default_memory")]
    pub memory: Quantity,
}

fn default_cpu() -> Quantity {
    Quantity("100m".to_owned())
}

fn default_memory() -> Quantity {
    Quantity("256Mi".to_owned())
}

impl Default for Resources {
    fn default() -> Self {
        Self { cpu: default_cpu(), memory: default_memory() }
    }
}

/// How many instances.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scaling {
    /// Instances that run at all times.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 100))]
    pub min: u16,
    /// Instances that load may make of it; without it, as many as `min`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub max: Option<u16>,
    /// At what hours another `min` holds: of several that are open at a time the greatest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub windows: Vec<ScalingWindow>,
    /// CPU that an instance is to use, in percent of `resources.cpu`; 70 where neither this nor `memory` nor `triggers` are said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub cpu: Option<u16>,
    /// Memory that an instance is to use, in percent of `resources.memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub memory: Option<u16>,
    /// How long load must have been low before instances end, such as `15m`; without it, `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20))]
    pub down_after: Option<String>,
    /// What waits for it elsewhere, and its own requests, by which the number of instances follows; the greatest that one of them
    /// asks for counts. Where nothing waits, a worker may have none (`min: 0`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub triggers: Vec<Trigger>,
    /// Of `triggers`: what holds while no answer comes; without it, what there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
}

fn one() -> u16 {
    1
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            min: one(),
            max: None,
            windows: vec![],
            cpu: None,
            memory: None,
            down_after: None,
            triggers: vec![],
            fallback: None,
        }
    }
}

/// How instances are replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// `rolling` starts the new before it stops the old; `recreate` stops first. `canary` and `blueGreen` try the new beside
    /// the old before they do as `rolling`.
    #[serde(default)]
    pub strategy: Strategy,
    /// Of a `canary`: how it is tried; without them, 10 of 100 requests for 5 minutes, then 50 for 5 minutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub steps: Vec<Step>,
    /// Of `blueGreen`: how long the new is there for whoever looks at it before all requests go to it, such as `10m`; without
    /// it, until it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20))]
    pub preview: Option<String>,
    /// Of `blueGreen`: how long the old is kept once all requests go to the new, such as `1h`; without it, 10 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20))]
    pub keep: Option<String>,
    /// Of a `canary`: its steps are passed only where its requests went no worse than those of what runs; without it,
    /// where its instances are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// Of `blueGreen`: a request that the new must answer well before all others go to it; without it, it is enough that its
    /// instances are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smoke: Option<Smoke>,
}

/// A part of a canary.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// So many of 100 requests go to the new, more in each step; of a worker, so many of 100 instances are of it.
    #[schemars(range(min = 1, max = 100))]
    pub weight: u8,
    /// How long, such as `5m`; without it, until somebody says `kubectl imaas rollout skip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20))]
    pub pause: Option<String>,
}

/// See [`Rollout`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Strategy {
    /// The new is ready before the old leaves.
    #[default]
    Rolling,
    /// The old is gone before the new starts.
    Recreate,
    /// The new gets a growing share of the requests, beside the old, before it takes its place.
    Canary,
    /// The new stands whole beside the old, gets all requests at once, and the old is kept for a while.
    BlueGreen,
}

//! `Release`: what is deployed, frozen. Its name is derived from its content, so making it twice makes it once.

use k8s_openapi::{api::core::v1::PodTemplateSpec, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{
    Fallback, Port, ReleaseAnalysis, Schedule, Strategy, Trigger, WorkloadType,
    analysis::{Counts, Latency},
    hours::ScalingWindow,
    runtime::Health,
    smoke::ReleaseSmoke,
};

/// One immutable version of one service in one environment.
#[allow(clippy::duplicated_attributes, reason = "columns of one type")]
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "imaas.dev",
    version = "v1alpha1",
    kind = "Release",
    plural = "releases",
    shortname = "irel",
    category = "imaas",
    namespaced,
    status = "ReleaseStatus",
    doc = "One immutable version of one service in one environment. Only the operator makes it.",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Service", type_ = "string", json_path = ".spec.service"),
    printcolumn(name = "Environment", type_ = "string", json_path = ".spec.environment"),
    printcolumn(
        name = "Healthy",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Healthy')].status"
    ),
    printcolumn(
        name = "Failed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Failed')].status",
        priority = 1
    ),
    printcolumn(name = "Cause", type_ = "string", json_path = ".spec.cause"),
    printcolumn(name = "Commit", type_ = "string", json_path = ".spec.commit"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".spec.digest", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a Release is immutable"))]
pub struct ReleaseSpec {
    /// Name of the IntegrationService in the same namespace.
    pub service: String,
    /// Name of the Environment.
    pub environment: String,
    /// The commit that first asked for this content.
    pub commit: String,
    /// Build id of that commit.
    pub build_id: String,
    /// `<registry>/<tenant>/<service>@sha256:…`.
    pub image: String,
    /// `sha256:…`, as in `image`.
    pub digest: String,
    /// Name of the IntegrationRuntime.
    pub runtime: String,
    /// Version that the descriptor asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_version: Option<String>,
    /// Hash of the runtime's name and of the profile that it was rendered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_revision: Option<String>,
    /// Hash of what Git asked for: image, build, settings and configuration, without the runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_revision: Option<String>,
    /// Hash of the versions that the Secrets had which it names; missing where it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets_revision: Option<String>,
    /// Why it was made.
    pub cause: Cause,
    /// `api` has a Service, `worker` has none, `batch` runs by its schedule.
    #[serde(rename = "type")]
    pub type_: WorkloadType,
    /// Of a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Two instances may run at the same time.
    pub many: bool,
    /// How instances are replaced.
    pub strategy: Strategy,
    /// How it is tried first, beside what runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<ReleaseStep>,
    /// How its steps are judged; without it, by its instances being ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<ReleaseAnalysis>,
    /// What it must answer before it gets requests. Not of its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smoke: Option<ReleaseSmoke>,
    /// Number of instances; the least of them where load adds some.
    pub replicas: i32,
    /// At what hours another number takes the place of `replicas`. Not of its pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<ScalingWindow>,
    /// How load adds instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ReleaseScaling>,
    /// Ports of the Service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Files of the configuration; the ConfigMap of this name stands in the environment's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ReleaseConfig>,
    /// Networks that the service may call beyond the environment's defaults.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connects: Vec<String>,
    /// What is reached from outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<ReleaseExpose>,
    /// Services that it was told the addresses of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<ReleaseUse>,
    /// Where it tells what of it does not work. Not of its pods: that it changes restarts none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// The rendered pod template: an operator upgrade does not change it.
    #[schemars(schema_with = "any_object")]
    pub template: PodTemplateSpec,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// How many instances load makes of a release.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseScaling {
    /// The most.
    pub max: i32,
    /// CPU that an instance is to use, in percent of what it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<i32>,
    /// Memory that an instance is to use, in percent of what it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<i32>,
    /// So long load must have been low before instances end.
    pub down_after_seconds: i32,
    /// What waits elsewhere, and its requests. Where they are asked stands in the Environment, and is read there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<Trigger>,
    /// What tells how many requests there are, where one of `triggers` asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// What tells how long they take, where one of `triggers` asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// While that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
}

/// Where a release's configuration is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseConfig {
    /// Name of the immutable ConfigMap, `<service>-<hash>`.
    pub name: String,
}

/// A part of a release's trial.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStep {
    /// So many of 100 requests.
    pub weight: u8,
    /// How long; without it, until somebody ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<String>,
}

/// The way into a release from outside the cluster, where its environment has a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseExpose {
    /// This path and all below it.
    pub path: String,
    /// The port that answers.
    pub port: Port,
    /// So long a request may take with all its tries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u16>,
    /// So often one that failed is sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u16>,
}

/// A service that a release calls, in the same environment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseUse {
    /// Its tenant; without it, the own one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Its name.
    pub service: String,
    /// The port of its Service that is called.
    pub port: Port,
}

/// Why a release was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Cause {
    /// A commit in an environment that takes its image from the registry.
    Commit,
    /// A merge of what was healthy in the environment before.
    Promotion,
    /// The runtime, and nothing else.
    Runtime,
    /// A Secret that it names, and nothing that Git asks for.
    Secret,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStatus {
    /// `Healthy` is true from the moment all its instances were ready, for ever. `Failed` is true when it was given up, until
    /// it is tried again or becomes healthy.
    #[serde(default)]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How often it was given up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: i32,
    /// The last line of an instance that crashed again and again, while it is given up. It is of the instance's log, and is
    /// not told to the host of its repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_words: Option<String>,
}

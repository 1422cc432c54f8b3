//! `IntegrationService`: one service. Its status is the board: per environment what runs, what comes, what is awaited.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DecisionAction, Repository, hours::OpenWindow};

/// One service in a tenant's home namespace.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[kube(
    group = "imaas.dev",
    version = "v1alpha1",
    kind = "IntegrationService",
    plural = "integrationservices",
    shortname = "isvc",
    category = "imaas",
    namespaced,
    status = "IntegrationServiceStatus",
    doc = "One service of a tenant, in its home namespace. The status is its board.",
    derive = "PartialEq",
    cel,
    validation = ("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')", "metadata.name: at most 40 lower-case letters, digits and `-`, beginning with a letter and not ending in `-`"),
    validation = ("!self.metadata.name.endsWith('-canary') && !self.metadata.name.endsWith('-stable') && !self.metadata.name.endsWith('-preview') && !self.metadata.name.startsWith('imaas-') && !self.metadata.name.startsWith('keda-hpa-')", "metadata.name: must not end in -canary, -stable or -preview nor begin with imaas- or keda-hpa-: these names are the operator's"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Environments", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationServiceSpec {
    /// The service's own repository; its credentials are a Secret in the tenant's home namespace.
    pub repository: Repository,
    /// Directory of the service in a repository that holds several; without it, the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[A-Za-z0-9._][A-Za-z0-9._/-]*$"))]
    #[x_kube(validation = Rule::new("!self.split('/').exists(part, part == '..' || part == '.' || part == '')").message("must be a plain relative path, such as `services/orders`"))]
    pub path: Option<String>,
    /// Name of an `IntegrationRuntime`.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub runtime: String,
    /// Environment → branch, where it is not the environment's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub branches: BTreeMap<String, String>,
    /// Services of other tenants that may call this one, each in the environment in which it runs itself. They say so, too,
    /// by `uses` in their descriptor. Services of the own tenant may always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["tenant".into(), "service".into()]))]
    pub export_to: Vec<Export>,
}

/// A service of another tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Export {
    /// Name of its tenant.
    #[schemars(length(min = 1, max = 50), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub tenant: String,
    /// Its name.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub service: String,
}

/// The board.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationServiceStatus {
    /// `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word an environment, such as `dev=ok test=waiting prod=ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// In promotion order.
    #[serde(default)]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub environments: Vec<EnvironmentState>,
    /// `Ready`, `Reconciling`, `Stalled`.
    #[serde(default)]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Where the service stands in one environment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentState {
    /// Name of the Environment.
    pub name: String,
    /// The branch that is read.
    pub branch: String,
    /// Head of the branch, 40 hexadecimal digits; missing until it was first read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Build id of that commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// Image digest of what that commit asks for, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// While its image is awaited: the commits under whose hashes it is looked for, heads of the branch with this build
    /// id, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Name of the Release that Git asks for, while it is not yet the good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// Name of the Release that is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Name of the last Release that became healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<String>,
    /// Which attempt the release that Git asks for is on, or was given up after; missing for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// The release that Git asks for was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedRelease>,
    /// What people decided that keeps Git's release from running here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Held>,
    /// Until when no instance runs, as its hours of sleep say, of the tenant file or of the Environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asleep_until: Option<String>,
    /// What the service's own hours say of the number of its instances now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<OpenWindow>,
    /// The platform lets nothing new run here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frozen: bool,
    /// Image digest of `current`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Instances of `current` that are ready.
    #[serde(default)]
    pub ready: i32,
    /// Instances of `current` that should be.
    #[serde(default)]
    pub desired: i32,
    /// Instances of what ran before that are ready: they serve until those of `current` do.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub older: i32,
    /// What runs, as it was last seen: the first 20 by name, of what is no batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<Instance>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_instances: i32,
    /// What is tried beside `current`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// Where `current` is reached from outside: host and path. That the gateway answers there is so while nothing is awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposed: Option<String>,
    /// Everything that is awaited, at once; empty when there is nothing to wait for.
    #[serde(default)]
    pub waiting: Vec<Waiting>,
    /// The commit status that the repository's host was told last; missing where the platform has none told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Reported>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &i32) -> bool {
    *count == 0
}

/// A release that is tried beside the one that runs, step by step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// Its name.
    pub release: String,
    /// How many of its steps it has passed; all of them while it takes the place of what ran.
    pub passed: u16,
    /// How many steps it has.
    pub steps: u16,
    /// So many of 100 requests it is given.
    pub weight: u8,
    /// Since when it is tried.
    pub begun: String,
    /// Since when the step is as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The command that asks for it from outside, whatever its share is; missing where no gateway leads there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
    /// The same address for a browser; missing where the gateway's routes cannot tell it apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_url: Option<String>,
    /// So many of its instances were ready all that time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ready: i32,
    /// Where no gateway divides the requests, which then fall on all instances alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
}

/// What takes a part of the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// So many instances of it.
    pub instances: i32,
    /// So many instances in all.
    pub of: i32,
}

/// A pod that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// Its name.
    pub pod: String,
    /// Name of its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Zone of that, where Kubernetes labels pods with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Name of the Release that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Since when it is on its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// It is ready, and its engine says of nothing that it does not work.
    pub healthy: bool,
}

/// A commit status, as it was sent to the host of the service's repository.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reported {
    /// Of which commit.
    pub commit: String,
    /// What the commit came to.
    pub state: CommitState,
    /// Why, as a word of the closed set of reasons.
    pub reason: String,
    /// Why the host did not take it. Nothing waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a commit came to in an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CommitState {
    /// On its way, or something is awaited.
    Pending,
    /// What it asks for runs and is healthy.
    Success,
    /// It does not run, and only another commit helps.
    Failure,
}

impl CommitState {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

/// A release that did not become healthy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedRelease {
    /// Its name.
    pub release: String,
    /// Why it was given up.
    pub message: String,
    /// The last line of an instance of it that crashed; not told to the host of its repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_words: Option<String>,
}

/// A hold, a rollback or a scale that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Name of the `ReleaseDecision`.
    pub decision: String,
    /// What was decided.
    pub action: DecisionAction,
    /// Who decided it.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it comes to an end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// One thing that is awaited.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// A word of the closed set of reasons.
    pub reason: String,
    /// What is awaited, by name, and what to do about it.
    pub message: String,
}

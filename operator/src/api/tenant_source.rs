//! `TenantSource`: the central repository of tenant files.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Repository;

/// The central repository: every file `<path>/<name>.yaml` on `branch` is a tenant.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "imaas.dev",
    version = "v1alpha1",
    kind = "TenantSource",
    plural = "tenantsources",
    shortname = "tsrc",
    category = "imaas",
    status = "TenantSourceStatus",
    doc = "The central repository, in which every file is a tenant.",
    derive = "PartialEq",
    cel,
    validation = ("self.metadata.name.size() <= 63 && self.metadata.name != 'manual'", "metadata.name: at most 63 characters and not `manual`, which means a tenant applied by hand"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Tenants", type_ = "integer", json_path = ".status.tenants"),
    printcolumn(name = "Problems", type_ = "integer", json_path = ".status.problemCount"),
    printcolumn(name = "Commit", type_ = "string", json_path = ".status.commit"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TenantSourceSpec {
    /// `url` of the repository, and `credentials`: a Secret in the operator's namespace.
    #[serde(flatten)]
    pub repository: Repository,
    /// The branch whose head counts.
    #[serde(default = "default_branch")]
    #[schemars(length(min = 1, max = 200))]
    pub branch: String,
    /// Directory of the tenant files.
    #[serde(default = "default_path")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[A-Za-z0-9._][A-Za-z0-9._/-]*$"))]
    #[x_kube(validation = Rule::new("!self.split('/').exists(part, part == '..' || part == '.' || part == '')").message("must be a plain relative path, such as `tenants`"))]
    pub path: String,
    /// How often the branch is looked at, such as `60s` or `5m`; at least `1s`.
    #[serde(default = "default_interval")]
    #[schemars(length(max = 20), regex(pattern = r"^([0-9]+(ms|s|m|h))+$"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("must be at least 1s"))]
    pub interval: String,
}

fn default_branch() -> String {
    "main".to_owned()
}

fn default_path() -> String {
    "tenants".to_owned()
}

fn default_interval() -> String {
    "60s".to_owned()
}

/// What the last look at the repository gave.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantSourceStatus {
    /// `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The commit whose files were last read, 40 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Tenants that this source owns, orphaned ones included.
    #[serde(default)]
    pub tenants: u32,
    /// How many problems the commit has; `problems` shows the first ten.
    #[serde(default)]
    pub problem_count: u32,
    /// `file:line:column: message`, at most ten.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Tenants that are in the cluster but no longer in the repository, held ones included; at most ten are listed.
    #[serde(default)]
    pub orphaned: Vec<String>,
    /// The last look after which no removal was held: what is gone since then is judged against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
    /// `Ready`, `Reconciling`, `Stalled`.
    #[serde(default)]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A commit whose tenants, and no others, are known to be meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Settled {
    /// 40 hexadecimal digits.
    pub commit: String,
    /// `spec.path` then.
    pub path: String,
}

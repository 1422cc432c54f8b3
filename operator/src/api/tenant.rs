//! `Tenant`: a business unit, as its file in the central repository says.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Limits, Quantity, environment::Window};
use crate::names;

/// A business unit: its members, environments and services.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "imaas.dev",
    version = "v1alpha1",
    kind = "Tenant",
    plural = "tenants",
    shortname = "tn",
    category = "imaas",
    status = "TenantStatus",
    doc = "A business unit: its members, environments and services. A file of the tenants repository is one.",
    derive = "PartialEq",
    cel,
    validation = ("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$')", "metadata.name: at most 50 lower-case letters, digits and `-`, beginning with a letter and not ending in `-`"),
    validation = ("!self.metadata.name.startsWith('kube-') && !self.metadata.name.startsWith('imaas-') && !self.metadata.name.startsWith('openshift-') && !(self.metadata.name in ['default', 'kube', 'imaas', 'openshift', 'platform'])", "metadata.name: this name is reserved"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Services", type_ = "string", json_path = ".status.servicesReady"),
    printcolumn(name = "Origin", type_ = "string", json_path = ".status.origin"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// How to reach the people behind it; shown to the platform team beside every problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub contact: Option<String>,
    /// Who may do what in the tenant's namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub members: Vec<Member>,
    /// What differs from the platform's defaults, by environment. A tenant is in every environment marked `default`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub environments: BTreeMap<String, EnvironmentOverride>,
    /// Stop: nothing of the tenant is changed until this is taken away, not even who gets in. What runs goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// No new services: those that it has go on and take what is new for them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cordon: bool,
    /// What it may have in the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<TenantRegistry>,
    /// How much it may have beyond what every tenant may, and in all. The platform writes it: a tenant from Git has it from
    /// `limits/<name>.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Its services, at most 300.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 300))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub services: Vec<ServiceEntry>,
}

impl Tenant {
    /// Where it comes from: a `TenantSource`'s name, or `manual`.
    pub fn origin(&self) -> &str {
        self.annotations().get(names::ORIGIN).map_or(names::MANUAL, String::as_str)
    }

    /// Is a service of this name in its file?
    pub fn lists(&self, service: &str) -> bool {
        self.spec.services.iter().any(|entry| entry.name == service)
    }

    /// When its services sleep in `environment`, where its file says that.
    pub fn sleep(&self, environment: &str) -> Option<&Sleep> {
        self.spec.environments.get(environment)?.sleep.as_ref()
    }

    /// Did somebody say that this very object is to be deleted with all that it has?
    pub fn is_confirmed(&self) -> bool {
        let confirmed = self.annotations().get(names::CONFIRM_DELETE);
        confirmed.is_some() && confirmed == self.metadata.uid.as_ref()
    }

    /// The origin that it is being handed over to, until all of it has changed hands.
    pub fn transfer_to(&self) -> Option<&str> {
        self.annotations().get(names::TRANSFER_TO).map(String::as_str)
    }
}

/// Told of a ServiceAccount that lacks its namespace.
pub const ACCOUNT_OF_NOWHERE: &str =
    "a ServiceAccount is in a namespace: write `namespace: …` beside its name";
/// Told of anybody else who has one.
pub const NO_ACCOUNT: &str =
    "only a ServiceAccount is in a namespace: leave `namespace` out, or write `kind: ServiceAccount`";

/// A person, group or machine account with a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.kind != 'ServiceAccount' || has(self.__namespace__)").message(ACCOUNT_OF_NOWHERE),
    validation = Rule::new("self.kind == 'ServiceAccount' || !has(self.__namespace__)").message(NO_ACCOUNT)
)]
pub struct Member {
    /// What `name` is the name of.
    pub kind: MemberKind,
    /// As the cluster's authentication says it; names that begin with `system:` are refused.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[^\p{Z}\p{Cc}\p{Cf}]+( +[^\p{Z}\p{Cc}\p{Cf}]+)*$")
    )]
    #[x_kube(validation = Rule::new("!self.startsWith('system:')").message("system identities cannot be members"))]
    pub name: String,
    /// Namespace of a ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// What the member may do in the tenant's namespaces; an Environment may lower it there. `viewer` sees everything but
    /// Secrets, logs included. `developer` also restarts an instance by deleting its pod. `owner` also reads and writes
    /// Secrets by name. None of them changes anything else by hand: that comes from Git.
    pub role: Role,
}

/// Kind of a [`Member`], as in an RBAC subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum MemberKind {
    /// One person.
    User,
    /// A group of the identity provider.
    Group,
    /// An account of a pod or pipeline.
    ServiceAccount,
}

/// What a member may do; each is a ClusterRole of the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// What a developer may, and reads and writes Secrets by name, such as Git credentials in the home namespace.
    Owner,
    /// What a viewer may, and restarts an instance by deleting its pod.
    Developer,
    /// Sees everything but Secrets, logs included, and changes nothing.
    Viewer,
}

impl Role {
    /// As in the tenant file and in names of roles.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Developer => "developer",
            Self::Viewer => "viewer",
        }
    }
}

/// What one tenant has differently in one environment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentOverride {
    /// The tenant is not in this environment.
    // Always written: server-side apply makes `null` of an object whose last field goes, which no API server stores.
    #[serde(default)]
    pub omit: bool,
    /// Instead of the environment's default, up to its max.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// When the services there sleep, in place of what the environment says, without which they never do; `windows: []` is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep: Option<Sleep>,
}

/// Hours in which no instance of any service runs, and no schedule begins a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sleep {
    /// When: from an opening on, for its duration. Without any, never.
    #[schemars(length(max = 16))]
    pub windows: Vec<Window>,
    /// For how long a service is awake after something new of it came, from `0s` to `24h`; without it `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20))]
    pub wake_for: Option<String>,
}

/// How much a namespace may use. A missing value is the environment's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Sum of the CPU requests, in cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Sum of the memory limits, in bytes; at least 16Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Number of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub pods: Option<u32>,
}

/// How much of the registry a tenant may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantRegistry {
    /// Bytes of its images, such as `20Gi`, instead of the platform's default and up to the platform's max. Above it,
    /// pushes are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Quantity>,
}

/// A service in the tenant file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEntry {
    /// At most 40 lower-case letters, digits and `-`.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("!self.endsWith('-canary') && !self.endsWith('-stable') && !self.endsWith('-preview') && !self.startsWith('imaas-') && !self.startsWith('keda-hpa-')").message("must not end in -canary, -stable or -preview nor begin with imaas- or keda-hpa-: these names are the operator's"))]
    pub name: String,
    /// What it is and where it comes from.
    #[serde(flatten)]
    pub spec: super::IntegrationServiceSpec,
}

/// How the tenant's space is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Name of the `TenantSource`, or `manual`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The tenant's environments in promotion order.
    #[serde(default)]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub environments: Vec<TenantEnvironment>,
    /// `ready/all`, such as `3/4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services_ready: Option<String>,
    /// The first ten problems of its services, as `service: message`.
    #[serde(default)]
    pub problems: Vec<String>,
    /// What its images take in the registry; missing until they were counted once, and where the registry is not the
    /// operator's to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryUsage>,
    /// `Ready`, `Reconciling`, `Stalled`; `InSync` is false while its file is broken, gone or not the one applied;
    /// `PushAllowed` is false while its images take more than its quota of the registry.
    #[serde(default)]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// One environment of one tenant.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantEnvironment {
    /// Name of the Environment.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Where images come from, after omitted environments are passed over; nothing for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotes_from: Option<String>,
    /// The tenant is no longer in it, and what runs there ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retirement: Option<super::Retirement>,
}

/// A tenant's images in the registry, as counted last: what tags and Releases name, each blob once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistryUsage {
    /// Bytes, in whole MiB.
    pub used: Quantity,
    /// How many bytes they may be; missing where nothing bounds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quantity>,
    /// What the tenant asked for, where that is more than the platform's max.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Quantity>,
    /// Images, each in its repository.
    pub images: u32,
    /// Repositories with an image.
    pub repositories: u32,
    /// What is not counted, and what helps; missing where all is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncounted: Option<String>,
    /// Bytes of what retention would delete, in whole MiB; missing where it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removable: Option<Quantity>,
}

impl RegistryUsage {
    /// Is it more than it may be?
    pub fn is_over(&self) -> bool {
        let quota = self.quota.as_ref().and_then(Quantity::millis);
        let used = self.used.millis().unwrap_or(i128::MAX);
        quota.is_some_and(|quota| self.uncounted.is_some() || used > quota)
    }
}

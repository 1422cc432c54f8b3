//! `Environment`: one stage of every tenant, as the platform defines it.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Broker, CheckedStatus, Quota, Role, Sleep};

/// One stage, such as `dev` or `prod`, and what holds in it for every tenant.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "imaas.dev",
    version = "v1alpha1",
    kind = "Environment",
    plural = "environments",
    shortname = "ienv",
    category = "imaas",
    status = "CheckedStatus",
    doc = "One stage of every tenant, such as dev or prod.",
    derive = "PartialEq",
    cel,
    validation = ("self.metadata.name.matches('^[a-z][a-z0-9]{0,11}$')", "metadata.name: 1 to 12 lower-case letters and digits, beginning with a letter, without `-`"),
    validation = ("self.metadata.name != 'home'", "metadata.name: `home` is reserved for a tenant's home namespace"),
    validation = ("!has(self.spec.promotesFrom) || self.spec.promotesFrom != self.metadata.name", "spec.promotesFrom: an environment cannot promote from itself"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Branch", type_ = "string", json_path = ".spec.branch"),
    printcolumn(name = "Promotes from", type_ = "string", json_path = ".spec.promotesFrom"),
    printcolumn(name = "Default", type_ = "boolean", json_path = ".spec.default"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentSpec {
    /// Branch of the service repositories that is this environment; without it, the environment's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub branch: Option<String>,
    /// The environment in which an image must have become healthy before it is accepted here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z][a-z0-9]{0,11}$"))]
    pub promotes_from: Option<String>,
    /// Every tenant is in this environment unless its file says `omit: true`.
    #[serde(default)]
    pub default: bool,
    /// Stop: no new release reaches any tenant here until this is taken away. What runs goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub freeze: bool,
    /// Each commit that changes something runs here only after somebody decided `approve`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
    /// When something new may begin to run here; without any, always. What runs goes on, and what fails is taken back at
    /// any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub windows: Vec<Window>,
    /// When the services of a tenant sleep here whose file says nothing else (`environments: {dev: {sleep: …}}`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep: Option<Sleep>,
    /// For how long an image must have run well here, such as `30m`, before it counts as healthy for what promotes from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20))]
    pub bake_time: Option<String>,
    /// Checks outside of the cluster, such as `load-test`: an image counts as healthy for what promotes from here only after
    /// each of them decided `pass`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))
    )]
    #[x_kube(merge_strategy = kube::core::ListMerge::Set)]
    pub gates: Vec<String>,
    /// An image comes here only if one of these keys signed it, by `cosign sign --key`. What runs goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signatures: Option<Signatures>,
    /// What a tenant gets, and the most that it may ask for.
    #[serde(default)]
    pub quota: EnvironmentQuota,
    /// Role of a member (left) → what that member is here (right). A role that is not listed stays what it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 3))]
    #[x_kube(validation = Rule::new("self.all(role, role in ['owner', 'developer', 'viewer'])").message("the roles are owner, developer and viewer"))]
    pub roles: BTreeMap<Role, Role>,
    /// How many releases of each service are kept here, the newest; without it, 10. What runs, what ran well last and
    /// what another environment still needs is kept besides. The rest is removed with its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub history_limit: Option<u16>,
    /// Networks outside the cluster that the tenants' services may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub networks: Vec<Network>,
    /// Where work waits by which services scale (`scaling.triggers`). KEDA asks there, from its own place in the cluster, with
    /// the login that the service names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub brokers: Vec<Broker>,
    /// What the hosts of exposed services end in: each tenant's is `<tenant>.<domain>`. No other Environment has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 202),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub domain: Option<String>,
    /// The Gateway by which exposed services are reached; its `allowedRoutes` must take routes from the tenants' namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// How long an instance stays on a node that does not answer before another one takes its place, from `0s` to `1h`; without
    /// it `1m`, and Kubernetes' own five minutes for what never runs twice at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20))]
    pub evict_after: Option<String>,
    /// The `PriorityClass` of all instances here: where there is no room, those of a lower one give way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub priority_class: Option<String>,
    /// The pods that collect metrics; without it, nobody reaches the port on which a runtime has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Pods>,
    /// Where the metrics of what runs here are asked. The operator does for `rollout.analysis`; without it, such a trial waits for
    /// a person. KEDA does, from its own place in the cluster, for `requests` and `latency` of `scaling.triggers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Prometheus>,
}

/// A Prometheus, or what speaks its HTTP API as Thanos and Mimir do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prometheus {
    /// `http://` or `https://`, a host, and what stands before `/api/v1/query` if anything does; no user, no password.
    #[schemars(length(min = 8, max = 500), regex(pattern = r"^https?://[^\s@?#]+$"))]
    pub url: String,
    /// Label in which its series have the namespace of a pod; without it, `namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub namespace_label: Option<String>,
    /// Label in which they have the pod's name; without it, `pod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub pod_label: Option<String>,
}

/// A time that comes again and again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// When it opens, as in a crontab: minute, hour, day of the month, month, day of the week, such as `0 22 * * MON-FRI`.
    #[schemars(length(min = 9, max = 100))]
    pub schedule: String,
    /// How long it is open, from `1m` to `168h`.
    #[schemars(length(min = 2, max = 20))]
    pub duration: String,
    /// Of which clock, such as `Europe/Zurich`; without it, UTC. An opening that falls into an hour which that clock leaves
    /// out comes an hour later, and one in an hour that comes twice at the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

/// Who signs images.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Signatures {
    /// Public keys, ECDSA P-256 in PEM, as `cosign public-key` prints them; any of them will do, so that one can be replaced.
    #[schemars(length(min = 1, max = 8), inner(length(max = 1000)))]
    pub keys: Vec<String>,
}

/// A Gateway of the Gateway API (`gateway.networking.k8s.io`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Its namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// One of its listeners; without it, all that take the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub section_name: Option<String>,
    /// The pods from which its requests come; without it, every pod of its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
}

/// Pods that may come in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// Their namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Labels that they bear; without any, every pod of that namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
}

/// Bounds of a tenant's quota in one environment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentQuota {
    /// For a tenant that asks for nothing.
    #[serde(default)]
    pub default: Quota,
    /// The most that a tenant may ask for; without it, the default is the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Quota>,
}

/// A network by the name under which a service asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// What a descriptor's `connects` says.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Every service may call it, without a `connects`.
    #[serde(default)]
    pub default: bool,
    /// Address blocks, such as `10.20.0.0/16`.
    #[schemars(length(min = 1, max = 32), inner(length(max = 43)))]
    #[x_kube(validation = Rule::new("self.all(block, isCIDR(block))").message("every entry is an address block, such as 10.20.0.0/16 or fd00:10::/64"))]
    pub cidrs: Vec<String>,
    /// Blocks within `cidrs` that stay closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 43)))]
    #[x_kube(validation = Rule::new("self.all(block, isCIDR(block))").message("every entry is an address block, such as 10.20.0.0/16 or fd00:10::/64"))]
    pub except: Vec<String>,
    /// TCP ports; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(range(min = 1, max = 65535)))]
    pub ports: Vec<u16>,
}

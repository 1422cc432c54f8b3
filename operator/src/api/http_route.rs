//! `HTTPRoute` of the Gateway API, as far as we write and read it: the kind is not ours, and may not be there.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// `<group>/<version>`; the group's first version that lasts.
pub const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";

/// Which requests a Gateway sends to which Service.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "HTTPRoute",
    root = "HttpRoute",
    plural = "httproutes",
    namespaced,
    status = "HttpRouteStatus",
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteSpec {
    /// The Gateways.
    pub parent_refs: Vec<ParentRef>,
    /// What the request's `Host` must be.
    pub hostnames: Vec<String>,
    /// The first that fits best wins: the longest path.
    pub rules: Vec<RouteRule>,
}

/// A Gateway, or one of its listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentRef {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Name of the listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// Requests, and where they go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteRule {
    /// One of them is enough.
    pub matches: Vec<RouteMatch>,
    /// Services of the same namespace.
    pub backend_refs: Vec<BackendRef>,
    /// See [`RuleFields`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<RouteTimeouts>,
    /// See [`RuleFields`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RouteRetry>,
}

/// Fields of a rule that the installed kind has. What it does not have it refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleFields {
    /// Of the standard channel since 1.2.
    pub timeouts: bool,
    /// Of the standard channel since 1.7, of the experimental one since 1.2.
    pub retry: bool,
}

impl RuleFields {
    /// Each of them.
    pub const ALL: Self = Self { timeouts: true, retry: true };
}

/// What routes can say, by the installed kind or by the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteFields {
    /// Of a rule.
    pub rule: RuleFields,
    /// That a rule is for requests with a parameter in their address.
    pub query: bool,
}

impl RouteFields {
    /// What a gateway is taken to heed that does not tell: limits, which cost nothing where it does not, and no match that would
    /// be every request's where it does not.
    pub const SILENT: Self = Self { rule: RuleFields::ALL, query: false };
}

/// How long what a gateway does may take, in its own form: at most five digits a unit, such as `30s` (GEP-2257).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct RouteTimeouts {
    /// From the request to its answer, with all tries (GEP-1742).
    pub request: String,
}

/// When a request is sent again: without an answer, or with one of these (GEP-1731).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct RouteRetry {
    /// Of an answer.
    pub codes: Vec<u16>,
    /// Besides the first.
    pub attempts: u16,
    /// Least time between two, as in [`RouteTimeouts`].
    pub backoff: String,
}

/// See [`RouteRule`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct RouteMatch {
    /// Of the request.
    pub path: PathMatch,
    /// All of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    /// All of them; see [`RouteFields`].
    #[serde(rename = "queryParams", skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<QueryMatch>,
}

/// See [`RouteMatch`]. A match with one goes before one of the same path and headers without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct QueryMatch {
    /// Of the parameter.
    pub name: String,
    /// Exactly.
    pub value: String,
}

/// See [`RouteMatch`]. A match with a header goes before one of the same path without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct HeaderMatch {
    /// In any case.
    pub name: String,
    /// Exactly.
    pub value: String,
}

/// See [`RouteMatch`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct PathMatch {
    /// `PathPrefix`: part by part, so `/orders` is not the beginning of `/ordersx`.
    #[serde(rename = "type")]
    pub type_: String,
    /// The path.
    pub value: String,
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct BackendRef {
    /// Its name.
    pub name: String,
    /// Number of its port.
    pub port: u16,
    /// Its share among those of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u8>,
}

/// What gateways say of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct HttpRouteStatus {
    /// One for each parent and controller.
    pub parents: Vec<RouteParent>,
}

/// What one controller says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteParent {
    /// Of which parent.
    pub parent_ref: ParentRef,
    /// `Accepted` and `ResolvedRefs`.
    pub conditions: Vec<RouteCondition>,
}

/// A condition, of which nothing need be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteCondition {
    /// Which.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// The generation that was looked at.
    pub observed_generation: i64,
}

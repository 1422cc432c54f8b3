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

//! `Gateway` and `GatewayClass` of the Gateway API, as far as we read them: the kinds are not ours, and may not be there.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::http_route::{RouteFields, RuleFields};

/// What a gateway that heeds `timeouts.request` of a rule names (gateway-api `pkg/features/httproute.go`).
pub const TIMEOUT: &str = "HTTPRouteRequestTimeout";
/// What one that heeds `retry` names, since 1.7.
pub const RETRY: &str = "HTTPRouteRetryCodes";
/// The same of 1.6, before it was divided.
const RETRY_UNDIVIDED: &str = "HTTPRouteRetry";
/// What one that heeds `queryParams` of a match names.
const QUERY: &str = "HTTPRouteQueryParamMatching";

/// By what requests come into the cluster.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "Gateway",
    plural = "gateways",
    namespaced,
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewaySpec {
    /// Whose it is.
    pub gateway_class_name: String,
}

/// Gateways of one controller.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "GatewayClass",
    plural = "gatewayclasses",
    status = "GatewayClassStatus",
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayClassSpec {
    /// Which controller.
    pub controller_name: String,
}

/// What the controller says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayClassStatus {
    /// What it can do beside the least; empty where it does not tell.
    pub supported_features: Vec<Feature>,
}

/// One that has conformance tests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Feature {
    /// Since 1.2.
    Named {
        /// Such as `HTTPRouteRequestTimeout`.
        name: String,
    },
    /// Before.
    Name(String),
}

impl GatewayClass {
    /// What of a route its gateways heed; see [`RouteFields::SILENT`] where it does not tell.
    pub fn heeds(&self) -> RouteFields {
        let features =
            self.status.as_ref().map(|status| status.supported_features.as_slice()).unwrap_or_default();
        if features.is_empty() {
            return RouteFields::SILENT;
        }
        let names = |wanted: &[&str]| {
            features.iter().any(|feature| match feature {
                Feature::Named { name } | Feature::Name(name) => wanted.contains(&name.as_str()),
            })
        };
        let rule = RuleFields { timeouts: names(&[TIMEOUT]), retry: names(&[RETRY, RETRY_UNDIVIDED]) };
        RouteFields { rule, query: names(&[QUERY]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heeds(status: &str) -> RouteFields {
        let text = format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {{name: a}}, spec: {{controllerName: example.com/a}}{status}}}"
        );
        serde_saphyr::from_str::<GatewayClass>(&text).unwrap().heeds()
    }

    #[test]
    fn a_class_heeds_what_it_names_and_the_limits_of_a_rule_where_it_names_nothing() {
        for silent in ["", ", status: {}", ", status: {supportedFeatures: []}"] {
            assert_eq!(heeds(silent), RouteFields::SILENT, "{silent}");
        }
        let named = |names: &str| heeds(&format!(", status: {{supportedFeatures: [{names}]}}"));
        let fields = |timeouts, retry| RouteFields { rule: RuleFields { timeouts, retry }, query: false };
        assert_eq!(named("{name: Gateway}, {name: HTTPRouteBackendTimeout}"), fields(false, false));
        assert_eq!(named("{name: Gateway}, {name: HTTPRouteRequestTimeout}"), fields(true, false));
        for retries in ["HTTPRouteRetryCodes", "HTTPRouteRetry"] {
            assert_eq!(named(&format!("{{name: {retries}}}")), fields(false, true));
        }
        assert_eq!(named("{name: HTTPRouteRetryConnectionError}"), fields(false, false));
        assert_eq!(named("Gateway, HTTPRouteRequestTimeout"), fields(true, false), "as they were before 1.2");
        let by_query = RouteFields { query: true, ..fields(false, false) };
        assert_eq!(named("{name: HTTPRouteQueryParamMatching}"), by_query);
    }
}

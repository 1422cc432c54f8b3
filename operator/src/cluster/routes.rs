//! Our routes, where the cluster has their kind. What their rules may say differs by version and channel: the API server's
//! `OpenAPI` document tells it.

use std::sync::Arc;

use kube::runtime::reflector::ObjectRef;
use serde_json::Value;

use super::{
    Cluster,
    guests::{Guest, Guests},
};
use crate::api::{
    HttpRoute,
    http_route::{GATEWAY_API, RouteFields, RuleFields},
};

/// Where the `OpenAPI` document has the fields of a rule.
const RULE: &str = "/components/schemas/io.k8s.networking.gateway.v1.HTTPRoute/properties/spec/properties/rules/items/properties";
/// Of a rule.
const QUERY: &str = "/matches/items/properties/queryParams";

impl Cluster {
    /// Has the cluster routes?
    pub fn has_routes(&self) -> bool {
        self.0.routes.form().is_some()
    }

    /// What they may say.
    pub fn route_fields(&self) -> RouteFields {
        self.0.routes.form().unwrap_or_default()
    }

    /// Our route as last seen, with what gateways say of it.
    pub fn route(&self, namespace: &str, name: &str) -> Option<Arc<HttpRoute>> {
        self.0.routes.seen.get(&ObjectRef::new(name).within(namespace))
    }
}

impl Guest for HttpRoute {
    type Form = RouteFields;
    const VERSION: &'static str = GATEWAY_API;

    fn form(document: &Value) -> Option<RouteFields> {
        route_fields(document)
    }

    fn guests(cluster: &Cluster) -> &Guests<Self> {
        &cluster.0.routes
    }
}

/// `None` where `document`, of the group's version, does not have the kind.
fn route_fields(document: &Value) -> Option<RouteFields> {
    let rule = document.pointer(RULE)?;
    let has = |field| rule.get(field).is_some();
    let rule_fields = RuleFields { timeouts: has("timeouts"), retry: has("retry") };
    Some(RouteFields { rule: rule_fields, query: rule.pointer(QUERY).is_some() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_rule_may_say_is_what_the_installed_kind_has() {
        let document = |kind: &str, rule: Value| {
            let rules = json!({ "type": "array", "items": { "type": "object", "properties": rule } });
            let spec = json!({ "type": "object", "properties": { "rules": rules } });
            let schema = json!({ "type": "object", "properties": { "spec": spec } });
            route_fields(&json!({ "components": { "schemas": { kind: schema } } }))
        };
        let route = "io.k8s.networking.gateway.v1.HTTPRoute";
        let (matches, timeouts, retry) =
            (json!([]), json!({ "type": "object" }), json!({ "type": "object" }));
        let fields =
            |timeouts, retry| Some(RouteFields { rule: RuleFields { timeouts, retry }, query: false });
        assert_eq!(document("io.k8s.networking.gateway.v1.GRPCRoute", json!({ "timeouts": timeouts })), None);
        assert_eq!(document(route, json!({ "matches": matches })), fields(false, false));
        assert_eq!(document(route, json!({ "timeouts": timeouts })), fields(true, false));
        assert_eq!(document(route, json!({ "timeouts": timeouts, "retry": retry })), fields(true, true));
        let matches = json!({ "items": { "properties": { "queryParams": { "type": "array" } } } });
        let by_query = Some(RouteFields { query: true, ..RouteFields::default() });
        assert_eq!(document(route, json!({ "matches": matches })), by_query);
    }
}

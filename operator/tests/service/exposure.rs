//! What is exposed: the route, whose path it is, and what is told where something is in the way. No gateway runs here; its
//! words are the test's.

use imaas_operator::api::{self, HttpRoute};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use lab::{Progress, gateway};
use serde_json::{Value, json};

use crate::scene::{Scene, reasons, until};

const SHOP: (&str, &str) = ("acme", "shop");
const BILLING: (&str, &str) = ("acme", "billing");

fn exposing(path: &str) -> String {
    format!(
        "ports: [{{name: http, port: 8080}}, {{name: rpc, port: 9000}}]\nexpose: {{path: {path}, port: rpc}}"
    )
}

impl Scene {
    fn routes(&self) -> Api<HttpRoute> {
        Api::namespaced(self.client.clone(), "acme-dev")
    }

    /// `host path port`s of a route; nothing where there is none.
    async fn routed(&self, name: &str) -> Vec<String> {
        let Some(route) = self.routes().get_opt(name).await.unwrap() else { return vec![] };
        let host = route.spec.hostnames.join(" ");
        let rules = route.spec.rules.iter();
        rules
            .map(|rule| format!("{host}{} {}", rule.matches[0].path.value, rule.backend_refs[0].port))
            .collect()
    }

    async fn is_routed(&self, name: &str, wanted: &[&str]) {
        let mut last = vec![];
        until(&format!("{name} is routed as {wanted:?}"), async || {
            last = self.routed(name).await;
            (last == wanted).then_some(())
        })
        .await;
    }

    pub(super) async fn environment(&self, spec: Value) {
        let environments = Api::<api::Environment>::all(self.client.clone());
        let patch = Patch::Merge(json!({ "spec": spec }));
        environments.patch("dev", &PatchParams::default(), &patch).await.unwrap();
    }

    /// What the gateway says of the route as it is.
    pub(super) async fn gateway_says(&self, name: &str, accepted: &str) {
        let route = self.routes().get(name).await.unwrap();
        let condition = |type_: &str, status: &str| {
            json!({
                "type": type_, "status": status, "reason": "NotAllowedByListeners", "message": "as it says",
                "observedGeneration": route.metadata.generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        let status = json!({ "status": { "parents": [{
            "parentRef": { "name": "public", "namespace": "gateway-system" }, "controllerName": "example.com/gateway",
            "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", "True")],
        }] } });
        self.routes().patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    /// A Gateway is there, and its class tells what it heeds.
    pub(super) async fn gateway_names(&self, features: &[&str]) {
        let kubectl = self.lab.kubectl();
        let objects = "{apiVersion: v1, kind: Namespace, metadata: {name: gateway-system}}\n---\n\
             {apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: tried}, spec: {controllerName: example.com/gateway}}\n---\n\
             {apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: public, namespace: gateway-system}, \
             spec: {gatewayClassName: tried, listeners: [{name: http, port: 80, protocol: HTTP}]}}\n";
        kubectl.run(&["apply", "-f", "-"], Some(objects)).await.unwrap();
        let features: Vec<_> = features.iter().map(|name| json!({ "name": name })).collect();
        let status = json!({ "status": { "supportedFeatures": features } }).to_string();
        let patch = ["patch", "gatewayclass", "tried", "--subresource=status", "--type=merge", "-p", &status];
        kubectl.run(&patch, None).await.unwrap();
    }

    pub(super) async fn gateway_is_silent(&self, name: &str) {
        let status = json!({ "status": { "parents": [] } });
        self.routes().patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    async fn exposed(&self, service: (&str, &str)) -> Option<String> {
        let board = self.board_of(service).await;
        board.environments.into_iter().find(|state| state.name == "dev")?.exposed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exposed_service_gets_its_route_and_says_what_is_in_the_way() {
    let scene = Scene::start().await;
    scene.beta().await;
    let operator = scene.operator().await;
    let shop = scene.service(SHOP, &exposing("/shop")).await;

    // The Environment has no gateway, then the cluster has no routes: it runs all the same.
    let told = scene.waiting(SHOP, "GatewayMissing").await;
    assert!(told.contains("the Environment dev has no gateway"), "{told}");
    let gateway = json!({ "name": "public", "namespace": "gateway-system" });
    scene.environment(json!({ "domain": "dev.example.com", "gateway": gateway })).await;
    until("it asks for the kind", async || {
        scene.waiting(SHOP, "GatewayMissing").await.contains("installs the Gateway API").then_some(())
    })
    .await;
    assert!(scene.deployments("dev").get_opt("shop").await.unwrap().is_some());

    // The kind comes while the operator runs, and nothing else wakes the service.
    until("it runs well but for that", async || {
        scene.all_are_ready().await;
        let board = scene.board_of(SHOP).await;
        let is_well = board.environments.iter().any(|state| state.last_good.is_some());
        (is_well && reasons(&board, "dev") == ["GatewayMissing"]).then_some(())
    })
    .await;
    gateway::install_kinds(scene.lab.kubectl(), &Progress::silent()).await.unwrap();
    scene.is_routed("shop", &["acme.dev.example.com/shop 9000"]).await;
    scene.waiting(SHOP, "Progressing").await;
    scene.gateway_says("shop", "False").await;
    let told = scene.waiting(SHOP, "RouteRefused").await;
    assert!(told.contains("gateway-system/public refuses the route: NotAllowedByListeners"), "{told}");
    scene.gateway_says("shop", "True").await;
    scene.all_are_ready().await;
    until("nothing is awaited", async || {
        scene.all_are_ready().await;
        reasons(&scene.board_of(SHOP).await, "dev").is_empty().then_some(())
    })
    .await;
    assert_eq!(scene.exposed(SHOP).await.as_deref(), Some("acme.dev.example.com/shop"));

    // By hand: another host, one more rule, and away with it.
    for change in [
        json!({ "spec": { "hostnames": ["beta.dev.example.com"] } }),
        json!({ "spec": { "rules": [
            { "backendRefs": [{ "name": "shop", "port": 8080 }] }, { "backendRefs": [{ "name": "shop", "port": 9000 }] },
        ] } }),
    ] {
        let params = PatchParams { field_manager: Some("kubectl".to_owned()), ..PatchParams::default() };
        let changed = scene.routes().patch("shop", &params, &Patch::Merge(change)).await.unwrap();
        until("it is repaired", async || {
            let now = scene.routes().get("shop").await.unwrap();
            (now.metadata.generation > changed.metadata.generation).then_some(())
        })
        .await;
        scene.is_routed("shop", &["acme.dev.example.com/shop 9000"]).await;
    }
    scene.routes().delete("shop", &DeleteParams::default()).await.unwrap();
    scene.is_routed("shop", &["acme.dev.example.com/shop 9000"]).await;

    // A pass, and a restart, that learn nothing write nothing.
    scene.gateway_says("shop", "True").await;
    let version = scene.routes().get("shop").await.unwrap().resource_version();
    operator.stop().await;
    let operator = scene.operator().await;
    scene.two_looks().await;
    assert_eq!(scene.routes().get("shop").await.unwrap().resource_version(), version);

    // Another path: the old one too, until no instance is left that has it.
    shop.push(&exposing("/store"));
    scene.is_routed("shop", &["acme.dev.example.com/shop 9000", "acme.dev.example.com/store 9000"]).await;
    until("the old path is gone", async || {
        scene.all_are_ready().await;
        (scene.routed("shop").await == ["acme.dev.example.com/store 9000"]).then_some(())
    })
    .await;

    // While the Environment is not valid the route stays, and it says so.
    scene.environment(json!({ "promotesFrom": "nowhere" })).await;
    let told = scene.waiting(SHOP, "EnvironmentMissing").await;
    assert!(told.contains("is not valid, so no route is changed there"), "{told}");
    shop.push(&exposing("/later"));
    scene.two_looks().await;
    assert_eq!(scene.routed("shop").await, ["acme.dev.example.com/store 9000"]);
    scene.environment(json!({ "promotesFrom": null })).await;
    until("it goes on", async || {
        scene.all_are_ready().await;
        (scene.routed("shop").await == ["acme.dev.example.com/later 9000"]).then_some(())
    })
    .await;

    // It is exposed no more.
    shop.push("ports: [{name: http, port: 8080}]");
    until("the route is gone", async || {
        scene.all_are_ready().await;
        scene.routed("shop").await.is_empty().then_some(())
    })
    .await;
    assert_eq!(scene.exposed(SHOP).await, None);
    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_written_without_what_the_installed_kind_cannot_say_and_with_it_once_it_can() {
    let scene = Scene::start().await;
    scene.beta().await;
    let kubectl = scene.lab.kubectl();
    gateway::install_kinds(kubectl, &Progress::silent()).await.unwrap();
    let gateway = json!({ "name": "public", "namespace": "gateway-system" });
    scene.environment(json!({ "domain": "dev.example.com", "gateway": gateway })).await;
    let operator = scene.operator().await;
    let limited = "ports: [{name: http, port: 8080}]\nexpose: {path: /shop, timeout: 1m30s, retries: 2}";
    let _shop = scene.service(SHOP, limited).await;
    let limits = async || {
        let rule = scene.routes().get_opt("shop").await.unwrap()?.spec.rules.remove(0);
        Some((rule.timeouts.map(|timeouts| timeouts.request), rule.retry.map(|retry| retry.attempts)))
    };

    // The standard channel of the lab's version has one of the two.
    let told = scene.waiting(SHOP, "RouteUnsupported").await;
    assert!(told.starts_with("expose.retries: the cluster's HTTPRoute has no `retry`"), "{told}");
    assert_eq!(limits().await, Some((Some("90s".to_owned()), None)));

    // As the experimental channel and younger versions have it.
    let retry = json!({ "type": "object", "properties": {
        "codes": { "type": "array", "items": { "type": "integer" } },
        "attempts": { "type": "integer" },
        "backoff": { "type": "string" },
    } });
    let rule = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/rules/items/properties";
    let patch = json!([{ "op": "add", "path": format!("{rule}/retry"), "value": retry }]).to_string();
    let kind = "httproutes.gateway.networking.k8s.io";
    kubectl.run(&["patch", "crd", kind, "--type=json", "-p", &patch], None).await.unwrap();
    operator.stop().await;
    let mut operator = scene.operator().await;
    until("it is tried again", async || {
        (limits().await == Some((Some("90s".to_owned()), Some(2)))).then_some(())
    })
    .await;
    until("nothing is told of it", async || {
        let board = scene.board_of(SHOP).await;
        reasons(&board, "dev").iter().all(|reason| reason != "RouteUnsupported").then_some(())
    })
    .await;

    // The gateway takes both and heeds one of them, and then the other.
    for (heeded, told_of) in [("HTTPRouteRequestTimeout", "retries"), ("HTTPRouteRetryCodes", "timeout")] {
        scene.gateway_names(&["Gateway", "HTTPRoute", heeded]).await;
        operator.stop().await;
        operator = scene.operator().await;
        let words = format!("expose.{told_of}: the gateway gateway-system/public does not heed it");
        until(&words, async || {
            let told = scene.waiting(SHOP, "RouteUnsupported").await;
            (told.starts_with(&words) && !told.contains("; expose.")).then_some(())
        })
        .await;
        assert_eq!(limits().await, Some((Some("90s".to_owned()), Some(2))));
    }
    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_belongs_to_the_service_that_has_it_until_it_lets_go() {
    let scene = Scene::start().await;
    scene.beta().await;
    gateway::install_kinds(scene.lab.kubectl(), &Progress::silent()).await.unwrap();
    let gateway = json!({ "name": "public", "namespace": "gateway-system" });
    scene.environment(json!({ "domain": "dev.example.com", "gateway": gateway })).await;
    let operator = scene.operator().await;
    let shop = scene.service(SHOP, &exposing("/shop")).await;
    scene.is_routed("shop", &["acme.dev.example.com/shop 9000"]).await;

    // Below it is another path; the same is refused, by name, and what runs stays.
    let billing = scene.service(BILLING, &exposing("/shop/bills")).await;
    scene.is_routed("billing", &["acme.dev.example.com/shop/bills 9000"]).await;
    billing.push(&exposing("/shop"));
    let told = scene.waiting(BILLING, "PathTaken").await;
    assert!(told.starts_with("imaas.yaml:5:9: expose.path: the service shop has /shop in dev"), "{told}");
    scene.two_looks().await;
    assert_eq!(scene.routed("billing").await, ["acme.dev.example.com/shop/bills 9000"]);
    assert_eq!(scene.routed("shop").await, ["acme.dev.example.com/shop 9000"]);

    // It is let go: the other one gets it, without a commit.
    shop.push(&exposing("/store"));
    until("it moved", async || {
        scene.all_are_ready().await;
        let routed = (scene.routed("shop").await, scene.routed("billing").await);
        (routed.0 == ["acme.dev.example.com/store 9000"] && routed.1 == ["acme.dev.example.com/shop 9000"])
            .then_some(())
    })
    .await;

    // A service that is deleted, as it is meant, takes its route along.
    let services = Api::<api::IntegrationService>::namespaced(scene.client.clone(), "acme-home");
    let uid = services.get("billing").await.unwrap().uid().unwrap();
    let confirmed = json!({ "metadata": { "annotations": { "imaas.dev/confirm-delete": uid } } });
    services.patch("billing", &PatchParams::default(), &Patch::Merge(confirmed)).await.unwrap();
    services.delete("billing", &DeleteParams::default()).await.unwrap();
    scene.is_routed("billing", &[]).await;
    operator.stop().await;
    scene.end().await;
}

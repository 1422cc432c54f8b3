//! What an engine says of itself while its pods are ready. Neither runs here: a stand-in answers on this machine's own
//! address, and the test says what a kubelet would say of pods that have it.

use std::{
    net::{IpAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
    routing::get,
};
use k8s_openapi::api::{
    core::v1::{Event, Pod},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::scene::{Scene, reasons, until};

const READY: &str = r#"{"version":"4.4.0","status" : "ready"}"#;
const FAULTY: &str = r#"{"version":"4.4.0","status": "not ready, faulty CAPPs detected", "Faulty CAPPs" : ["OrdersCarbonApplication_1.0.0"]}"#;

/// A stand-in for WSO2 MI's internal HTTP API, as its source writes it.
pub struct Engine {
    pub address: IpAddr,
    pub port: u16,
    pub said: Arc<Said>,
}

#[derive(Default)]
pub struct Said {
    answer: Mutex<(u16, String)>,
    pub elsewhere: AtomicUsize,
    pub asked: AtomicUsize,
}

impl Engine {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let said = Arc::<Said>::default();
        let routes = Router::new()
            .route("/healthz", get(health))
            .route("/elsewhere", get(elsewhere))
            .with_state(said.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        // Sends nothing: it tells which address this machine has towards others.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect("198.51.100.1:9").unwrap();
        let engine = Self { address: socket.local_addr().unwrap().ip(), port, said };
        engine.says(200, READY);
        engine
    }

    pub fn says(&self, status: u16, body: &str) {
        *self.said.answer.lock().unwrap() = (status, body.to_owned());
    }

    /// Until it was asked twice more, so at least once since it says what it says now, and that was told.
    async fn is_heard(&self) {
        let before = self.said.asked.load(Ordering::SeqCst);
        until("it is asked", async || (self.said.asked.load(Ordering::SeqCst) > before + 1).then_some(()))
            .await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn health(State(said): State<Arc<Said>>) -> Response {
    said.asked.fetch_add(1, Ordering::SeqCst);
    let (status, body) = said.answer.lock().unwrap().clone();
    (StatusCode::from_u16(status).unwrap(), [(LOCATION, "/elsewhere")], body).into_response()
}

async fn elsewhere(State(said): State<Arc<Said>>) -> &'static str {
    said.elsewhere.fetch_add(1, Ordering::SeqCst);
    FAULTY
}

impl Scene {
    /// Of the runtime of all services here.
    async fn says_how_it_is_at(&self, port: u16) {
        let profile = json!([
            { "op": "add", "path": "/spec/profiles/0/managementPorts", "value": [{ "name": "internal", "port": port }] },
            { "op": "add", "path": "/spec/profiles/0/health", "value": { "port": port, "path": "/healthz", "reads": "miCApps" } },
        ]);
        self.kubectl(&[
            "patch",
            "integrationruntime",
            "container",
            "--type=json",
            "-p",
            &profile.to_string(),
        ])
        .await;
    }

    /// What a kubelet says of pods that are ready and have this address.
    pub async fn instances_are_at(&self, address: IpAddr) {
        let pods = Api::<Pod>::namespaced(self.client.clone(), "acme-dev");
        let ready =
            json!({ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let status = json!({
            "phase": "Running", "conditions": [ready], "startTime": "2026-01-01T00:00:00Z",
            "podIP": address, "podIPs": [{ "ip": address }],
        });
        let status = Patch::Merge(json!({ "status": status }));
        for pod in pods.list(&ListParams::default()).await.unwrap() {
            // One that its controller removed meanwhile needs nothing.
            let _ = pods.patch_status(&pod.name_any(), &PatchParams::default(), &status).await;
        }
    }

    async fn told_degraded(&self) -> usize {
        let events = Api::<Event>::namespaced(self.client.clone(), "acme-home");
        let events = events.list(&ListParams::default()).await.unwrap().items;
        events.iter().filter(|event| event.reason.as_deref() == Some("RuntimeDegraded")).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_engine_says_of_itself_is_told_though_its_pods_are_ready() {
    let scene = Scene::start().await;
    let engine = Engine::start().await;
    scene.says_how_it_is_at(engine.port).await;
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    let well = async |what: &str| {
        until(what, async || {
            scene.instances_are_at(engine.address).await;
            let state = scene.state("dev").await?;
            (state.ready == 1 && state.waiting.is_empty() && state.instances.iter().any(|one| one.healthy))
                .then_some(state)
        })
        .await
    };
    let state = well("its instance is told").await;
    let [instance] = &state.instances[..] else { panic!("{:?}", state.instances) };
    assert!(instance.pod.starts_with("orders-") && instance.release == state.current, "{instance:?}");
    assert_eq!(instance.since.as_deref(), Some("2026-01-01T00:00:00Z"));
    let policies = Api::<NetworkPolicy>::namespaced(scene.client.clone(), "acme-dev");
    let rules = serde_json::to_value(policies.get("orders").await.unwrap().spec.unwrap().ingress).unwrap();
    let of_operator = |rule: &&Value| {
        rule["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == "imaas-system"
    };
    let way = rules.as_array().unwrap().iter().find(of_operator).unwrap();
    assert_eq!(way["ports"], json!([{ "protocol": "TCP", "port": engine.port }]));
    assert_eq!(
        way["from"][0]["podSelector"]["matchLabels"],
        json!({ "app.kubernetes.io/name": "imaas-operator" })
    );

    until("of test nothing more is to be told", async || {
        (reasons(&scene.board().await, "test") == ["Unschedulable"]).then_some(())
    })
    .await;

    engine.says(500, FAULTY);
    let degraded = "CApp OrdersCarbonApplication_1.0.0 is faulty in 1 of 1 instance";
    until("it is told", async || (reasons(&scene.board().await, "dev") == ["RuntimeDegraded"]).then_some(()))
        .await;
    let board = scene.board().await;
    let dev = &board.environments[0];
    assert_eq!(dev.waiting[0].message, degraded);
    assert!(dev.ready == 1 && !dev.instances[0].healthy, "{dev:?}");
    assert_eq!((&dev.current, &dev.last_good), (&state.current, &state.last_good), "nothing goes back");
    assert!(board.summary.unwrap().starts_with("dev=degraded "));
    let told = board.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(
        (told.reason.as_str(), told.message.as_str()),
        ("RuntimeDegraded", &*format!("dev: {degraded} (+1 more)"))
    );
    engine.is_heard().await;
    assert_eq!(scene.told_degraded().await, 1);

    // Neither a new operator nor what is no answer changes that, or writes it again and again.
    let service = async || scene.services().get("orders").await.unwrap();
    let before = service().await;
    operator.stop().await;
    let operator = scene.operator().await;
    engine.is_heard().await;
    engine.says(200, "<html>");
    engine.is_heard().await;
    let after = service().await;
    assert_eq!(after.status, before.status);
    assert_eq!(after.resource_version(), before.resource_version());

    engine.says(200, READY);
    well("it is well again").await;

    // It leads the operator nowhere else, and does not fill it.
    for (status, body) in [(302, String::new()), (200, format!("{FAULTY}{}", " ".repeat(1024 * 1024)))] {
        engine.says(status, &body);
        engine.is_heard().await;
        assert_eq!(reasons(&scene.board().await, "dev"), [""; 0], "{status}");
    }
    assert_eq!(engine.said.elsewhere.load(Ordering::SeqCst), 0);

    operator.stop().await;
    scene.end().await;
}

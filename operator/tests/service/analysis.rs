//! A canary that is judged by its requests. No Prometheus runs here: a stand-in says what one would have counted, and no
//! pod does either.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::get,
};
use imaas_operator::api::{self, DecisionAction};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::scene::{IMAGE_OF_A, IMAGE_OF_B, Scene, descriptor, until};

const CANARY: &str =
    "rollout: {strategy: canary, steps: [{weight: 50, pause: 1s}], analysis: {requests: 60}}";

/// Requests and failures of what is tried; of what runs 3 in 3,000 fail. Nothing: it is not well.
type Counted = Option<(u32, u32)>;

/// A stand-in for Prometheus, and all that it was asked.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<(Counted, Vec<String>)>>);

impl Counts {
    /// Returns it with its address.
    async fn start() -> (Self, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/prometheus", listener.local_addr().unwrap());
        let counts = Self::default();
        let routes = Router::new().route("/prometheus/api/v1/query", get(answer)).with_state(counts.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (counts, url)
    }

    fn says(&self, counted: Counted) {
        self.0.lock().unwrap().0 = counted;
    }
}

async fn answer(State(counts): State<Counts>, question: Uri) -> Response {
    let mut counts = counts.0.lock().unwrap();
    counts.1.push(question.query().unwrap_or_default().to_owned());
    let Some((requests, failures)) = counts.0 else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let sample =
        |tells: &str, value: u32| json!({ "metric": { "tells": tells }, "value": [1, value.to_string()] });
    let result = [
        sample("tried requests", requests),
        sample("tried failures", failures),
        sample("stable requests", 3000),
        sample("stable failures", 3),
    ];
    json!({ "status": "success", "data": { "resultType": "vector", "result": result } })
        .to_string()
        .into_response()
}

/// The ReplicaSet beside the service, of which the pods are asked about.
fn set(question: &str) -> String {
    let asked: HashMap<_, _> = url::form_urlencoded::parse(question.as_bytes()).into_owned().collect();
    let begin = r#"a_total{namespace="acme-dev",pod=~"orders-canary-"#;
    let (_, rest) = asked["query"].split_once(begin).unwrap();
    let (set, rest) = rest.split_once("-[a-z0-9]{5}").unwrap();
    assert!(rest.starts_with(r#"",kind="route"}"#) && !set.contains(['[', '-']), "{rest}");
    set.to_owned()
}

impl Scene {
    /// In the runtime of all services here, and in the Environment dev.
    async fn counts_requests(&self, field: Value, url: &str) {
        let metrics = json!({ "port": 8080, "path": "/metrics", "counts": field });
        let patch = json!([{ "op": "add", "path": "/spec/profiles/0/metrics", "value": metrics }]);
        let patch = ["patch", "integrationruntime", "container", "--type=json", "-p", &patch.to_string()];
        self.lab.kubectl().run(&patch, None).await.unwrap();
        let environments = Api::<api::Environment>::all(self.client.clone());
        let patch = Patch::Merge(json!({ "spec": { "prometheus": { "url": url } } }));
        environments.patch("dev", &PatchParams::default(), &patch).await.unwrap();
    }

    pub async fn says(&self, words: &str) {
        until(words, async || {
            self.instances_are_ready("dev").await;
            let dev = self.state("dev").await?;
            dev.waiting.into_iter().find(|one| one.message.contains(words))
        })
        .await;
    }

    pub async fn is_well_with(&self, own: &str) {
        until(&format!("{own} runs well"), async || {
            self.instances_are_ready("dev").await;
            let dev = self.state("dev").await?;
            let is_well = dev.trial.is_none() && dev.current == dev.last_good && dev.failed.is_none();
            (is_well && self.sizes().await == (Some(own.to_owned()), None)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_passes_by_its_requests_and_is_given_up_by_them() {
    let scene = Scene::start().await;
    let (counts, url) = Counts::start().await;
    let canary =
        |image: &str, more: &str| descriptor(image, &format!("scaling: {{min: 2}}\n{CANARY}\n{more}\n"));
    let first = descriptor(IMAGE_OF_A, "scaling: {min: 2}\n");
    scene.push("dev", &[("imaas.yaml", &first)]);
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    scene.is_well_with("a 2").await;

    // Nobody knows what counts requests: what runs goes on.
    scene.push("dev", &[("imaas.yaml", &canary(IMAGE_OF_B, ""))]);
    scene.says("rollout.analysis: nobody knows which metrics of the runtime container count requests").await;
    assert_eq!(scene.sizes().await, (Some("a 2".to_owned()), None));

    // One that is not well, and one that counted too few, say nothing: no success. A person goes past it.
    let names = json!({ "requests": "a_total", "failures": "f_total", "labels": { "kind": "route" } });
    scene.counts_requests(names, &url).await;
    scene.says("until it is judged good: the Prometheus of dev answers 503; to go on without: kubectl").await;
    counts.says(Some((59, 59)));
    scene.says("had fewer than the 60 requests that it is judged by").await;
    assert_eq!(scene.state("dev").await.unwrap().trial.unwrap().passed, 0);
    scene.decide("dev", DecisionAction::Skip, json!({})).await;
    scene.is_well_with("b 2").await;

    // One that fares worse is given up, and what ran before never left.
    let before = scene.deployments("dev").get("orders").await.unwrap();
    counts.says(Some((100, 5)));
    scene.push("dev", &[("imaas.yaml", &canary(IMAGE_OF_B, "env: {MODE: worse}"))]);
    scene.says("5.0% of 100 requests of").await;
    let failed = until("it is given up", async || {
        scene.instances_are_ready("dev").await;
        scene.state("dev").await?.failed
    })
    .await;
    let words = format!(
        "5.0% of 100 requests of {} failed, 0.1% of 3,000 of what runs: more than 1 point",
        failed.release
    );
    assert_eq!(failed.message, words);
    until("it is gone", async || {
        scene.instances_are_ready("dev").await;
        (scene.sizes().await == (Some("b 2".to_owned()), None)).then_some(())
    })
    .await;
    let after = scene.deployments("dev").get("orders").await.unwrap();
    assert_eq!((after.uid(), &after.spec), (before.uid(), &before.spec));

    // One that fares as well passes by itself.
    counts.says(Some((100, 1)));
    scene.push("dev", &[("imaas.yaml", &canary(IMAGE_OF_B, "env: {MODE: better}"))]);
    scene.is_well_with("b 2").await;
    let better = scene.deployments("dev").get("orders").await.unwrap();
    assert_ne!(better.spec, before.spec);

    // Only their own pods were ever asked about, and now nobody asks.
    let asked = counts.0.lock().unwrap().1.clone();
    let sets: BTreeSet<_> = asked.iter().map(|question| set(question)).collect();
    assert_eq!(sets.len(), 3, "each canary has its own: {sets:?}");
    scene.two_looks().await;
    assert_eq!(counts.0.lock().unwrap().1.len(), asked.len());
    operator.stop().await;
    scene.end().await;
}

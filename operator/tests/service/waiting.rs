//! A worker's canary that is judged by what waits in its brokers. Neither KEDA nor a broker runs here: the test says what one
//! would have counted, as objects of a kind that the API server serves at the place of KEDA's own API.

use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use lab::{Progress, keda};
use serde_json::{Value, json};

use crate::{
    backlog::{SECRET, broker},
    scene::{IMAGE_OF_A, IMAGE_OF_B, Scene, descriptor, until},
};

/// KEDA's name of what waits in the queue, and a kind that stands for it.
const NUMBERS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: s0-rabbitmq-orders.external.metrics.k8s.io
  annotations: {api-approved.kubernetes.io: 'unapproved, a stand-in'}
spec:
  group: external.metrics.k8s.io
  scope: Namespaced
  names: {kind: Number, listKind: NumberList, plural: s0-rabbitmq-orders, singular: number}
  versions:
    - {name: v1beta1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
";

fn worker(image: &str, more: &str) -> String {
    let trigger = "{broker: events, rabbitmq: {queue: orders, messages: 20}, secret: orders-events}";
    let scaling = format!("scaling: {{min: 2, max: 5, triggers: [{trigger}]}}");
    descriptor(image, &format!("type: worker\ninstances: many\n{scaling}\n{more}"))
}

fn canary(pause: &str, mode: &str) -> String {
    let steps = format!("steps: [{{weight: 50, pause: {pause}}}]");
    let rollout = format!("rollout: {{strategy: canary, {steps}, analysis: {{waiting: 100}}}}");
    worker(IMAGE_OF_B, &format!("{rollout}\nenv: {{MODE: {mode}}}\n"))
}

impl Scene {
    /// So many messages wait, as KEDA says.
    async fn waits(&self, number: u32) {
        let labels = json!({ "scaledobject.keda.sh/name": "orders" });
        let metadata = json!({ "name": "orders", "namespace": "acme-dev", "labels": labels });
        let number = json!({
            "apiVersion": "external.metrics.k8s.io/v1beta1", "kind": "Number", "metadata": metadata,
            "metricName": "s0-rabbitmq-orders", "timestamp": "2026-01-01T00:00:00Z", "value": number.to_string(),
        });
        let number = number.to_string();
        until("the number is told", async || {
            self.lab.kubectl().run(&["apply", "-f", "-"], Some(&number)).await.ok()
        })
        .await;
    }

    /// What KEDA says of the `ScaledObject`: its number's name, and whether that is made up.
    async fn falls_back(&self, is_so: bool) {
        let fallback = if is_so { "True" } else { "False" };
        let condition = |type_: &str, status: &str| json!({ "type": type_, "status": status, "reason": "R", "message": "" });
        let conditions = [condition("Ready", "True"), condition("Fallback", fallback)];
        let status: Value =
            json!({ "externalMetricNames": ["s0-rabbitmq-orders"], "conditions": conditions });
        let status = Patch::Merge(json!({ "status": status }));
        self.scalers().patch_status("orders", &PatchParams::default(), &status).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workers_canary_is_given_up_by_what_waits_and_passes_where_no_more_does() {
    let scene = Scene::start().await;
    keda::install_kinds(scene.lab.kubectl(), &Progress::silent()).await.unwrap();
    scene.environment(broker("http://rabbit:15672/")).await;
    scene.push("dev", &[("imaas.yaml", &worker(IMAGE_OF_A, ""))]);
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    scene.lab.kubectl().run(&["apply", "-f", "-"], Some(SECRET)).await.unwrap();
    scene.is_well_with("a 2").await;
    until("KEDA is asked", async || scene.scaler().await).await;

    // Whoever says nothing says nothing: no success, and each time why.
    scene.push("dev", &[("imaas.yaml", &canary("10m", "hangs"))]);
    scene.says("; KEDA does not say yet how much waits in queue orders").await;
    scene.falls_back(false).await;
    scene.says("; external.metrics.k8s.io answers 404 when asked how much waits in queue orders").await;
    scene.lab.kubectl().run(&["apply", "-f", "-"], Some(NUMBERS)).await.unwrap();
    scene.waits(40).await;
    scene.says("; so far no more waits than may").await;

    // More waits, though not more than may, and brings instances: the step goes on, compared with what waited first.
    scene.waits(79).await;
    let four = Patch::Merge(json!({ "spec": { "replicas": 4 } }));
    let keda = PatchParams { field_manager: Some("keda".to_owned()), ..PatchParams::default() };
    scene.deployments("dev").patch_scale("orders", &keda, &four).await.unwrap();
    until("it has its share of them", async || {
        scene.instances_are_ready("dev").await;
        (scene.sizes().await == (Some("a 4".to_owned()), Some("b 3".to_owned()))).then_some(())
    })
    .await;
    let before = scene.deployments("dev").get("orders").await.unwrap();
    scene.waits(150).await;
    let words =
        "what waits is 7.5 instances' worth (queue orders: 150), 2 when the step began: more than 100% more";
    scene.says(&format!("{words}; it is judged once more")).await;
    let failed = until("it is given up", async || {
        scene.instances_are_ready("dev").await;
        scene.state("dev").await?.failed
    })
    .await;
    assert_eq!(failed.message, words);
    until("it is gone", async || {
        scene.instances_are_ready("dev").await;
        (scene.sizes().await == (Some("a 4".to_owned()), None)).then_some(())
    })
    .await;
    let after = scene.deployments("dev").get("orders").await.unwrap();
    assert_eq!((after.uid(), &after.spec), (before.uid(), &before.spec), "what ran before never left");

    // Numbers that KEDA makes up pass nothing, and nor does the first one that it counts once the pause is over; what is no more
    // than that a pause later does.
    scene.falls_back(true).await;
    scene.push("dev", &[("imaas.yaml", &canary("15s", "works"))]);
    scene
        .says("until it is judged good: KEDA does not know how much waits, so its numbers are those of `scaling.fallback`")
        .await;
    assert_eq!(scene.state("dev").await.unwrap().trial.unwrap().passed, 0);
    scene.falls_back(false).await;
    scene.says("until it is judged good: so far no more waits than may, since ").await;
    assert_eq!(scene.state("dev").await.unwrap().trial.unwrap().passed, 0);
    scene.is_well_with("b 4").await;

    operator.stop().await;
    scene.end().await;
}

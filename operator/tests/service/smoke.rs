//! A release that is to answer before it gets requests. A stand-in answers on this machine's own address, and the test says
//! what a kubelet would say of pods that have it.

use std::{fmt::Debug, sync::atomic::Ordering};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use serde_json::{Value, json};

use crate::{
    health::Engine,
    scene::{IMAGE_OF_A, IMAGE_OF_B, Scene, descriptor, until},
};

impl Scene {
    /// While every instance is ready, where `engine` answers.
    async fn answered_until<T: Debug>(
        &self,
        engine: &Engine,
        what: &str,
        mut probe: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        until(what, async || {
            self.instances_are_at(engine.address).await;
            probe().await
        })
        .await
    }

    /// Ports that the operator may come to in dev.
    async fn open_to_the_operator(&self) -> Vec<Value> {
        let policies = Api::<NetworkPolicy>::namespaced(self.client.clone(), "acme-dev");
        let spec = policies.get("orders").await.unwrap().spec.unwrap();
        let rules = serde_json::to_value(spec.ingress.unwrap_or_default()).unwrap();
        let of_operator = |rule: &&Value| {
            rule["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "imaas-operator"
        };
        let rules = rules.as_array().unwrap().iter().filter(of_operator);
        rules.flat_map(|rule| rule["ports"].as_array().unwrap().clone()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blue_green_switches_once_what_is_new_answers_well_and_gives_up_what_does_not() {
    let scene = Scene::start().await;
    let engine = Engine::start().await;
    let serving = |image: &str, smoke: &str, more: &str| {
        let port = engine.port;
        let rollout = format!("rollout: {{strategy: blueGreen, keep: 2s{smoke}}}");
        let ports = format!("ports: [{{name: http, port: {port}}}]");
        descriptor(image, &format!("{ports}\nscaling: {{min: 2}}\n{rollout}\n{more}\n"))
    };
    let checked = ", smoke: {path: /healthz}";
    let are = async |own: &str, beside: Option<&str>| {
        scene
            .answered_until(&engine, &format!("{own} {beside:?}"), async || {
                let sizes = scene.sizes().await;
                ((sizes.0.as_deref(), sizes.1.as_deref()) == (Some(own), beside)).then_some(())
            })
            .await;
    };
    scene.push("dev", &[("imaas.yaml", &serving(IMAGE_OF_A, "", ""))]);
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    are("a 2", None).await;
    scene.answered_until(&engine, "it is well", async || scene.state("dev").await?.last_good).await;
    assert_eq!(scene.open_to_the_operator().await, [Value::Null; 0]);

    // A redirect is an answer like any other. What ran before never left.
    engine.says(302, "");
    scene.push("dev", &[("imaas.yaml", &serving(IMAGE_OF_B, checked, ""))]);
    are("a 2", Some("b 2")).await;
    let opened = json!({ "protocol": "TCP", "port": engine.port });
    assert_eq!(scene.open_to_the_operator().await, [opened]);
    scene
        .answered_until(&engine, "the last answer is told", async || {
            let dev = scene.state("dev").await?;
            assert!(dev.trial.as_ref().is_none_or(|trial| (trial.passed, trial.weight) == (0, 0)), "{dev:?}");
            assert!(
                dev.waiting.iter().all(|one| one.reason != "Paused"),
                "nobody is to do anything: {dev:?}"
            );
            let words = "until it is judged: smoke check GET /healthz answered 302, ";
            dev.waiting.into_iter().find(|one| one.message.contains(words))
        })
        .await;
    let failed =
        scene.answered_until(&engine, "it is given up", async || scene.state("dev").await?.failed).await;
    assert_eq!(failed.message, "smoke check GET /healthz answered 302 five times in a row");
    are("a 2", None).await;
    assert_eq!(engine.said.elsewhere.load(Ordering::SeqCst), 0);
    scene
        .answered_until(&engine, "the way is closed", async || {
            scene.open_to_the_operator().await.is_empty().then_some(())
        })
        .await;

    // What answers well gets all requests, takes the place, and is asked no more.
    engine.says(200, "");
    scene.push("dev", &[("imaas.yaml", &serving(IMAGE_OF_B, checked, "env: {MODE: mended}"))]);
    scene
        .answered_until(&engine, "it is switched", async || {
            let trial = scene.state("dev").await?.trial?;
            ((trial.passed, trial.weight) == (1, 100)).then_some(())
        })
        .await;
    are("b 2", None).await;
    scene
        .answered_until(&engine, "it is the last good one", async || {
            let dev = scene.state("dev").await?;
            (dev.trial.is_none() && dev.current == dev.last_good && dev.failed.is_none()).then_some(())
        })
        .await;
    let asked = || engine.said.asked.load(Ordering::SeqCst);
    let before = asked();
    scene.two_looks().await;
    assert_eq!(asked(), before);
    operator.stop().await;
    scene.end().await;
}

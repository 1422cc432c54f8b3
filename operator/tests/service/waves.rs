//! A runtime that is changed for everybody at once.

use std::collections::BTreeSet;

use imaas_operator::api::{self, IntegrationService};
use kube::{ResourceExt, api::PostParams};
use serde_json::json;

use crate::scene::{IMAGE_OF_A, Scene, descriptor, reasons, until};

const CHANGE: &str = r#"[{"op": "add", "path": "/spec/profiles/0/env", "value": {"ENGINE": "changed"}}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_runtime_reaches_an_environment_after_it_ran_well_in_the_one_before() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    for environment in ["dev", "test"] {
        until("the image runs", async || {
            scene.instances_are_ready(environment).await;
            scene.image(environment).await.filter(|image| image == IMAGE_OF_A)
        })
        .await;
        until("it is healthy", async || {
            scene.instances_are_ready(environment).await;
            let state = scene.board().await.environments.into_iter().find(|s| s.name == environment)?;
            state.last_good
        })
        .await;
    }
    let has_change = async |environment: &str| {
        let deployment = scene.deployments(environment).get("orders").await.unwrap();
        let env = deployment.spec?.template.spec?.containers.remove(0).env.unwrap_or_default();
        env.iter().any(|variable| variable.name == "ENGINE").then_some(())
    };

    scene.kubectl(&["patch", "irt", "container", "--type=json", "-p", CHANGE]).await;
    until("dev has it at once", async || has_change("dev").await).await;
    let board = until("test waits", async || {
        let board = scene.board().await;
        (reasons(&board, "test") == ["NotPromoted"]).then_some(board)
    })
    .await;
    let told = &board.environments[1].waiting[0].message;
    assert!(told.starts_with("the runtime container or the Environment test was changed, and dev"), "{told}");
    scene.two_looks().await;
    assert_eq!(has_change("test").await, None, "dev is not healthy with it");

    until("test has it after dev ran well", async || {
        scene.instances_are_ready("dev").await;
        has_change("test").await
    })
    .await;
    let releases = scene.releases().list(&kube::api::ListParams::default()).await.unwrap();
    let of_runtime: BTreeSet<_> = releases
        .into_iter()
        .filter(|release| release.spec.cause == imaas_operator::api::Cause::Runtime)
        .map(|release| release.name_any().rsplit_once('-').unwrap().0.to_owned())
        .collect();
    assert_eq!(of_runtime, ["orders-dev", "orders-test"].map(ToOwned::to_owned).into());

    operator.stop().await;
    scene.end().await;
}

/// Somewhere for pods to be while nothing runs them: without a node they are blocked, and what is blocked holds up nobody.
async fn add_node(scene: &Scene) {
    let node = "{apiVersion: v1, kind: Node, metadata: {name: still}}";
    scene.lab.kubectl().run(&["apply", "-f", "-"], Some(node)).await.unwrap();
    let (room, now) =
        (json!({ "cpu": "8", "memory": "16Gi", "pods": "110" }), jiff::Timestamp::now().to_string());
    let ready = json!({
        "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    });
    let status = json!({ "status": { "capacity": room, "allocatable": room, "conditions": [ready] } });
    let patch = ["patch", "node", "still", "--subresource=status", "--type=merge", "-p", &status.to_string()];
    scene.kubectl(&patch).await;
    until("pods may go there", async || {
        let node = scene.lab.kubectl().get(&["node", "still"]).await.ok()?;
        node["spec"]["taints"].as_array().is_none_or(Vec::is_empty).then_some(())
    })
    .await;
}

/// One at a time, as the scene's operator is told.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_services_that_a_changed_runtime_concerns_one_waits_until_the_other_is_done() {
    let scene = Scene::start().await;
    scene.push("dev", &[("billing/imaas.yaml", &descriptor(IMAGE_OF_A, "").replace("config: config\n", ""))]);
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    let billing = json!({
        "apiVersion": api::API_VERSION, "kind": "IntegrationService",
        "metadata": { "name": "billing", "namespace": "acme-home" },
        "spec": {
            "repository": { "url": scene.git.url("/acme/orders.git"), "credentials": "orders-git" },
            "path": "billing", "runtime": "container",
        },
    });
    let billing: IntegrationService = serde_json::from_value(billing).unwrap();
    scene.services().create(&PostParams::default(), &billing).await.unwrap();
    let dev = async |service: &str| {
        let board = scene.services().get(service).await.unwrap().status?;
        board.environments.into_iter().find(|state| state.name == "dev")
    };
    for service in ["orders", "billing"] {
        until(&format!("{service} is healthy"), async || {
            scene.instances_are_ready("dev").await;
            dev(service).await?.last_good
        })
        .await;
    }
    let with_change = async || {
        let deployments = scene.deployments("dev").list(&kube::api::ListParams::default()).await.unwrap();
        let has_change = |deployment: &k8s_openapi::api::apps::v1::Deployment| {
            let pods = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
            let env = pods.and_then(|pods| pods.containers[0].env.as_ref());
            env.is_some_and(|env| env.iter().any(|variable| variable.name == "ENGINE"))
        };
        deployments.iter().filter(|one| has_change(one)).map(ResourceExt::name_any).collect::<Vec<_>>()
    };

    add_node(&scene).await;
    scene.kubectl(&["patch", "irt", "container", "--type=json", "-p", CHANGE]).await;
    let first = until("one has it", async || with_change().await.pop()).await;
    let second = if first == "orders" { "billing" } else { "orders" };
    let told = until("the other waits for its turn", async || {
        dev(second).await?.waiting.into_iter().find(|waiting| waiting.reason == "AwaitingTurn")
    })
    .await;
    assert_eq!(
        told.message,
        "the runtime container or the Environment dev was changed, and services get the change 1 at a time in dev: it is this one's turn when another is done"
    );
    scene.two_looks().await;
    assert_eq!(with_change().await, std::slice::from_ref(&first), "the first is not done");

    until("both have it after the first ran well", async || {
        scene.instances_are_ready("dev").await;
        (with_change().await.len() == 2).then_some(())
    })
    .await;
    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_environment_says_of_lost_nodes_reaches_what_runs_there() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    let stays = async |environment: &str| {
        let deployment = scene.deployments(environment).get_opt("orders").await.unwrap()?;
        let tolerations = deployment.spec?.template.spec?.tolerations?;
        tolerations.into_iter().find_map(|one| one.toleration_seconds)
    };
    for environment in ["dev", "test"] {
        until("it is healthy", async || {
            scene.instances_are_ready(environment).await;
            scene.state(environment).await?.last_good
        })
        .await;
        assert_eq!(stays(environment).await, Some(60));
    }
    scene
        .kubectl(&["patch", "environment", "dev", "--type=merge", "-p", r#"{"spec": {"evictAfter": "5s"}}"#])
        .await;
    until("it is heard", async || (stays("dev").await == Some(5)).then_some(())).await;
    scene.two_looks().await;
    assert_eq!(stays("test").await, Some(60), "each environment by itself");
    operator.stop().await;
    scene.end().await;
}

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "IO: a real API server and a real Git server"
)]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, which says what it measures")]
//! A service from a push to a Deployment, on a real API server and a real Git server. No pod runs here: that a release
//! is healthy is said by the test.

mod analysis;
mod backlog;
mod batch;
mod board;
mod commit_status;
mod decisions;
mod deletion;
mod events;
mod exposure;
mod failures;
mod gates;
mod health;
mod images;
mod killed;
mod promotion;
mod registry;
mod retirement;
mod scaling;
mod scene;
mod secrets;
mod signatures;
mod sleep;
mod smoke;
mod stand_ins;
mod stateful;
mod stops;
mod trial;
mod uses;
mod waiting;
mod waves;

use std::{collections::BTreeSet, time::Duration};

use kube::ResourceExt;
use tokio::time::Instant;

use scene::{IMAGE_OF_A, IMAGE_OF_B, Scene, descriptor, reasons, until};

/// Nothing more is to be told of instances: no node takes them here.
async fn no_node_is_told(scene: &Scene) {
    scene.two_looks().await;
    until("no node is told", async || {
        let board = scene.board().await;
        let told = |environment| reasons(&board, environment) == ["Unschedulable"];
        (told("dev") && told("test")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::too_many_lines,
    reason = "one story on one cluster, whose start takes longer than the story"
)]
async fn a_push_becomes_a_deployment_and_nothing_else_is_written() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;

    // Without its Secret nothing is read, and that is said; with it, the look comes by itself.
    scene.onboard(false).await;
    until("the missing Secret is told", async || {
        let board = scene.board().await;
        let ready = board.conditions.iter().find(|c| c.type_ == "Ready")?;
        (ready.reason == "CredentialsMissing" && ready.message.contains("orders-git")).then_some(())
    })
    .await;
    scene.onboard(true).await;
    until("dev runs the first image", async || scene.image("dev").await.filter(|i| i == IMAGE_OF_A)).await;
    let board = until("test waits for dev", async || {
        let board = scene.board().await;
        let is_told = board.environments.first().is_some_and(|dev| dev.candidate.is_some());
        (is_told && reasons(&board, "test") == ["NotPromoted"]).then_some(board)
    })
    .await;
    assert!(
        ["dev=rolling test=waiting", "dev=waiting test=waiting"]
            .map(Some)
            .contains(&board.summary.as_deref())
    );
    assert_eq!(scene.image("test").await, None, "nothing passes before dev is healthy");

    // Healthy in dev: the same digest in test.
    scene.healthy("dev").await;
    until("test runs what dev ran", async || scene.image("test").await.filter(|i| i == IMAGE_OF_A)).await;

    // A commit that changes no image, no setting and no configuration rolls nothing.
    no_node_is_told(&scene).await;
    let before = scene.written().await;
    let docs = scene.push("dev", &[("README.md", "# Orders")]);
    until("the commit is seen", async || {
        (scene.board().await.environments[0].commit.as_deref() == Some(&docs)).then_some(())
    })
    .await;
    let mut after = scene.written().await;
    after.insert("IntegrationService".to_owned(), before["IntegrationService"].clone());
    assert_eq!(after, before);

    // Settings of one environment alone: a new release of the same image there, nothing elsewhere.
    let test_before = scene.deployments("test").get("orders").await.unwrap().metadata.generation;
    let begun = Instant::now();
    scene
        .push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "environments: {dev: {env: {MODE: try}}}\n"))]);
    until("dev has the setting", async || {
        let deployment = scene.deployments("dev").get("orders").await.unwrap();
        let env = deployment.spec?.template.spec?.containers.remove(0).env.unwrap_or_default();
        env.iter().any(|variable| variable.name == "MODE").then_some(())
    })
    .await;
    println!("push to applied Deployment at an interval of 1 s: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(scene.image("dev").await.as_deref(), Some(IMAGE_OF_A));
    assert_eq!(scene.deployments("test").get("orders").await.unwrap().metadata.generation, test_before);

    // A restart and more looks write nothing.
    no_node_is_told(&scene).await;
    let before = scene.written().await;
    operator.stop().await;
    let operator = scene.operator().await;
    scene.two_looks().await;
    scene.two_looks().await;
    assert_eq!(scene.written().await, before);

    // A broken descriptor leaves what runs, and says where.
    scene.push(
        "dev",
        &[("imaas.yaml", "apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\ntyp: api\n")],
    );
    let board = until("the broken descriptor is told", async || {
        let board = scene.board().await;
        reasons(&board, "dev").contains(&"InvalidDescriptor".to_owned()).then_some(board)
    })
    .await;
    assert!(board.environments[0].waiting[0].message.contains("imaas.yaml:3:1"), "{board:?}");
    assert_eq!(scene.image("dev").await.as_deref(), Some(IMAGE_OF_A));

    // There and back: the older release is current again, and none is made twice.
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, ""))]);
    let first = until("the first release is back", async || {
        let current = scene.board().await.environments[0].current.clone()?;
        let release = scene.releases().get(&current).await.unwrap();
        release
            .spec
            .template
            .spec?
            .containers
            .remove(0)
            .env
            .unwrap_or_default()
            .iter()
            .all(|v| v.name != "MODE")
            .then_some(current)
    })
    .await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    until("dev runs the second image", async || scene.image("dev").await.filter(|i| i == IMAGE_OF_B)).await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, ""))]);
    until("dev is back", async || scene.image("dev").await.filter(|i| i == IMAGE_OF_A)).await;
    until("the board says so", async || {
        (scene.board().await.environments[0].current.as_ref() == Some(&first)).then_some(())
    })
    .await;
    let names: Vec<_> = scene
        .releases()
        .list(&kube::api::ListParams::default())
        .await
        .unwrap()
        .into_iter()
        .map(|r| r.name_any())
        .collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("orders-dev-")).count(), 3, "{names:?}");

    // Beyond the limit only what is needed stays: what runs, the newest (twice as many while a roll-out is under way, as
    // it is for ever here), and what was healthy, since test takes its image from it.
    scene.limit_history("dev", 1).await;
    let mut newest = Vec::new();
    for greeting in ["a", "b", "c", "d"] {
        let before = scene.board().await.environments[0].current.clone();
        scene.push("dev", &[("config/app.properties", greeting)]);
        let current = until("dev has the configuration", async || {
            scene.board().await.environments[0].current.clone().filter(|now| Some(now) != before.as_ref())
        })
        .await;
        newest.push(current);
    }
    let [_, _, last, current] = &newest[..] else { panic!("four releases") };
    let kept: BTreeSet<_> = [&first, last, current].into_iter().cloned().collect();
    until("what is too old is gone", async || (scene.history("dev").await.0 == kept).then_some(())).await;
    until("so are its configurations", async || (scene.history("dev").await.1.len() == 3).then_some(()))
        .await;
    // As after a crash between the two: the release is gone, its configuration is not.
    scene.releases().delete(last, &kube::api::DeleteParams::default()).await.unwrap();
    until("nobody refers to it", async || (scene.history("dev").await.1.len() == 2).then_some(())).await;
    assert_eq!(scene.history("test").await.0.len(), 1);
    assert_eq!(scene.image("test").await.as_deref(), Some(IMAGE_OF_A));
    no_node_is_told(&scene).await;
    let before = scene.written().await;
    scene.two_looks().await;
    assert_eq!(scene.written().await, before, "and then it is quiet");

    // A Secret that is missing holds a version back; what runs stays, and the Secret alone sets it going.
    let with_secret = descriptor(IMAGE_OF_A, "secrets: [orders-db]\n");
    scene.push("dev", &[("imaas.yaml", &with_secret)]);
    let board = until("the missing Secret is told", async || {
        let board = scene.board().await;
        reasons(&board, "dev").contains(&"SecretMissing".to_owned()).then_some(board)
    })
    .await;
    assert_eq!(board.environments[0].current.as_ref(), Some(current), "{board:?}");
    assert!(board.environments[0].waiting[0].message.contains("orders-db in acme-dev"), "{board:?}");
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: orders-db, namespace: acme-dev}, stringData: {PASSWORD: orders-password}}";
    scene.lab.kubectl().run(&["apply", "-f", "-"], Some(secret)).await.unwrap();
    until("the version with the Secret is applied", async || {
        let board = scene.board().await;
        let state = &board.environments[0];
        (state.current.as_ref() != Some(current)
            && !reasons(&board, "dev").contains(&"SecretMissing".to_owned()))
        .then_some(())
    })
    .await;

    // Somebody removes the Deployment: it is back, without a look at Git.
    scene.deployments("dev").delete("orders", &kube::api::DeleteParams::default()).await.unwrap();
    until("the Deployment is repaired", async || scene.image("dev").await.filter(|i| i == IMAGE_OF_A)).await;

    operator.stop().await;
    scene.end().await;
}

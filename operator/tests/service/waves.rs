//! A runtime that is changed for everybody at once.

use std::collections::BTreeSet;

use kube::ResourceExt;

use crate::scene::{IMAGE_OF_A, Scene, reasons, until};

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
    assert!(told.starts_with("the runtime container was changed, and dev"), "{told}");
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

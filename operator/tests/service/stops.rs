//! The platform's stop buttons: a frozen environment, and a suspended tenant.

use crate::scene::{IMAGE_OF_A, IMAGE_OF_B, Scene, descriptor, reasons, until};

impl Scene {
    pub async fn set(&self, kind: &str, name: &str, spec: &str) {
        let patch = format!("{{\"spec\": {{{spec}}}}}");
        self.kubectl(&["patch", kind, name, "--type=merge", "-p", &patch]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_changes_nothing_of_what_runs_and_says_so() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    let runs = async |image: &str| {
        until("dev runs it", async || scene.image("dev").await.filter(|live| live == image)).await;
    };
    runs(IMAGE_OF_A).await;

    // Frozen: what runs is repaired, what comes waits.
    scene.set("environments.imaas.dev", "dev", "\"freeze\": true").await;
    let commit = scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    let told = until("what waits is told", async || {
        let board = scene.board().await;
        let waiting = board.environments.iter().find(|state| state.name == "dev")?.waiting.clone();
        waiting.into_iter().find(|waiting| waiting.reason == "Frozen")
    })
    .await;
    assert!(told.message.starts_with(&format!("frozen by the platform: commit {commit}")), "{told:?}");
    scene.kubectl(&["delete", "deployment", "orders", "-nacme-dev"]).await;
    runs(IMAGE_OF_A).await;
    assert_eq!(scene.history("dev").await.0.len(), 1, "no release is made");
    scene.set("environments.imaas.dev", "dev", "\"freeze\": false").await;
    runs(IMAGE_OF_B).await;

    // Suspended: nothing is written but the status.
    scene.set("tenant", "acme", "\"suspend\": true").await;
    let is_told = async || {
        let ready = scene.board().await.conditions.into_iter().find(|c| c.type_ == "Ready")?;
        (ready.reason == "Suspended").then_some(())
    };
    until("it is told", is_told).await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, ""))]);
    scene.kubectl(&["delete", "deployment", "orders", "-nacme-dev"]).await;
    // A pass after that.
    scene.set("isvc/orders", "-nacme-home", "\"path\": \"orders\"").await;
    until("a later pass", async || {
        let service = scene.services().get("orders").await.unwrap();
        (service.status.as_ref()?.observed_generation == service.metadata.generation).then_some(())
    })
    .await;
    assert_eq!(scene.image("dev").await, None, "it is not repaired");
    assert_eq!(scene.history("dev").await.0.len(), 2);
    scene.set("isvc/orders", "-nacme-home", "\"path\": null").await;
    scene.set("tenant", "acme", "\"suspend\": false").await;
    runs(IMAGE_OF_A).await;
    assert!(!reasons(&scene.board().await, "dev").contains(&"Frozen".to_owned()));

    operator.stop().await;
    scene.end().await;
}

//! A service that somebody deletes: its finalizer takes along what a confirmation names, and nothing else.

use std::collections::BTreeMap;

use imaas_operator::api::{DecisionAction, DecisionState};
use kube::ResourceExt;
use serde_json::json;

use crate::scene::{IMAGE_OF_A, Scene, until};

const SERVICE: [&str; 3] = ["isvc", "orders", "-nacme-home"];

impl Scene {
    pub async fn is_held(&self) -> String {
        until("the service has its finalizer", async || {
            let service = self.services().get_opt("orders").await.unwrap()?;
            service.finalizers().contains(&"imaas.dev/retirement".to_owned()).then(|| service.uid())?
        })
        .await
    }

    pub async fn delete(&self, confirmed: Option<&str>) {
        if let Some(uid) = confirmed {
            let confirmation = format!("imaas.dev/confirm-delete={uid}");
            self.kubectl(&[&["annotate"], &SERVICE[..], &[&confirmation]].concat()).await;
        }
        // It waits until the service is gone.
        self.kubectl(&[&["delete", "--timeout=60s"], &SERVICE[..]].concat()).await;
    }

    /// uid and generation of what runs the service, as it is when the service says that it runs.
    async fn running(&self) -> BTreeMap<String, String> {
        until("it is on the board", async || {
            let board = self.services().get_opt("orders").await.unwrap()?.status?;
            board.environments.iter().find(|state| state.name == "dev")?.current.clone()
        })
        .await;
        self.versions().await
    }

    async fn versions(&self) -> BTreeMap<String, String> {
        let mut versions = BTreeMap::new();
        for kind in ["deployments", "services", "networkpolicies", "poddisruptionbudgets", "configmaps"] {
            let list = self.lab.kubectl().get(&[kind, "-limaas.dev/service=orders", "-A"]).await.unwrap();
            for object in list["items"].as_array().into_iter().flatten() {
                let metadata = &object["metadata"];
                let version = format!("{} {}", metadata["uid"], metadata["generation"]);
                versions.insert(format!("{kind} {} {}", metadata["namespace"], metadata["name"]), version);
            }
        }
        versions
    }
}

async fn suspended(scene: &Scene, value: bool) {
    let patch = format!("{{\"spec\": {{\"suspend\": {value}}}}}");
    scene.kubectl(&["patch", "tenant", "acme", "--type=merge", "-p", &patch]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_of_a_service_outlives_it_unless_its_deletion_is_confirmed() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    until("dev runs", async || scene.image("dev").await.filter(|image| image == IMAGE_OF_A)).await;
    let first = scene.is_held().await;
    let before = scene.running().await;
    assert_eq!(before.len(), 5, "{before:?}");

    // With no confirmation; then with that of another one.
    let mut confirmed = None;
    for _ in 0..2 {
        scene.delete(confirmed).await;
        scene.onboard(false).await;
        scene.is_held().await;
        assert_eq!(scene.running().await, before);
        confirmed = Some(first.as_str());
    }
    let events = scene.lab.kubectl().get(&["events", "-nacme-home"]).await.unwrap().to_string();
    assert!(events.contains("is not the uid of this service, which was"), "{events}");
    assert_eq!(
        events.matches("is not the uid of this service").count(),
        1,
        "without any it is told by nobody"
    );
    let history = scene.history("dev").await;

    // The kind itself, by mistake.
    scene.kubectl(&["delete", "crd", "integrationservices.imaas.dev", "--timeout=60s"]).await;
    assert_eq!(scene.versions().await, before);
    let kinds = json!({ "apiVersion": "v1", "kind": "List", "items": imaas_operator::api::crds() });
    scene.lab.kubectl().apply(&kinds.to_string()).await.unwrap();
    scene.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await;
    scene.onboard(false).await;
    let uid = scene.is_held().await;
    assert_eq!(scene.running().await, before);
    assert_eq!(scene.history("dev").await, history);

    // Meant; of a suspended tenant it waits, and says so.
    suspended(&scene, true).await;
    let confirmation = format!("imaas.dev/confirm-delete={uid}");
    scene.kubectl(&[&["annotate"], &SERVICE[..], &[&confirmation]].concat()).await;
    scene.kubectl(&[&["delete", "--wait=false"], &SERVICE[..]].concat()).await;
    until("it waits", async || {
        let conditions = scene.board().await.conditions;
        let waits =
            |message: &str| message.starts_with("the tenant acme is suspended: nothing of this service");
        conditions.iter().any(|one| waits(&one.message)).then_some(())
    })
    .await;
    assert_eq!(scene.versions().await, before);
    let hold = scene.decide("dev", DecisionAction::Hold, json!({})).await;
    assert_eq!(
        scene.answer(&hold, DecisionState::Refused).await,
        "the service orders is being deleted: apply it again; then make it again"
    );
    suspended(&scene, false).await;
    until("it is gone", async || scene.services().get_opt("orders").await.unwrap().is_none().then_some(()))
        .await;
    assert_eq!(scene.versions().await, BTreeMap::new());
    assert_eq!(scene.history("dev").await.0.len(), 0);

    // A home that goes waits for no service, and takes nothing along, whatever was confirmed.
    scene.onboard(false).await;
    until("dev runs", async || scene.image("dev").await.filter(|image| image == IMAGE_OF_A)).await;
    let uid = scene.is_held().await;
    let before = scene.running().await;
    let confirmation = format!("imaas.dev/confirm-delete={uid}");
    scene.kubectl(&[&["annotate"], &SERVICE[..], &[&confirmation]].concat()).await;
    scene.kubectl(&["delete", "namespace", "acme-home", "--timeout=60s"]).await;
    assert_eq!(scene.versions().await, before);

    operator.stop().await;
    scene.end().await;
}

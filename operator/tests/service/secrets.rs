//! A Secret that somebody changes.

use imaas_operator::api::Cause;

use crate::scene::{IMAGE_OF_A, Scene, descriptor, until};

const SECRETS: &str = "
{apiVersion: v1, kind: List, items: [
  {apiVersion: v1, kind: Secret, metadata: {name: orders-db, namespace: acme-dev}, stringData: {PASSWORD: one}},
  {apiVersion: v1, kind: Secret, metadata: {name: orders-other, namespace: acme-dev}, stringData: {PASSWORD: one}}]}
";
const CHANGE: &str = r#"{"stringData": {"PASSWORD": "two"}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_secret_replaces_the_pods_that_read_it_and_nothing_else_does() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.lab.kubectl().apply(SECRETS).await.unwrap();
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "secrets: [orders-db]\n"))]);
    scene.onboard(true).await;
    scene.onboard(false).await;
    let revision = async || {
        let template = scene.deployments("dev").get_opt("orders").await.unwrap()?.spec?.template;
        template.metadata?.annotations?.get("imaas.dev/secrets").cloned()
    };
    let settled = async || {
        until("it runs well", async || {
            scene.instances_are_ready("dev").await;
            let dev = scene.board().await.environments.into_iter().find(|state| state.name == "dev")?;
            (dev.last_good.is_some() && dev.last_good == dev.current && dev.waiting.is_empty()).then_some(())
        })
        .await;
    };
    let first = until("it runs", revision).await;
    settled().await;

    // One that it does not name, more looks and a restart.
    scene.kubectl(&["patch", "secret", "orders-other", "-nacme-dev", "-p", CHANGE]).await;
    scene.two_looks().await;
    let before = scene.written().await;
    operator.stop().await;
    let operator = scene.operator().await;
    scene.two_looks().await;
    assert_eq!((scene.written().await, revision().await), (before, Some(first.clone())));

    scene.kubectl(&["patch", "secret", "orders-db", "-nacme-dev", "-p", CHANGE]).await;
    let second = until("the pods are replaced", async || revision().await.filter(|now| *now != first)).await;
    settled().await;
    assert_eq!(scene.image("dev").await.as_deref(), Some(IMAGE_OF_A));
    let current = scene.board().await.environments[0].current.clone().unwrap();
    assert_eq!(scene.releases().get(&current).await.unwrap().spec.cause, Cause::Secret);

    // Gone, nothing is replaced; there again, it is.
    scene.kubectl(&["delete", "secret", "orders-db", "-nacme-dev"]).await;
    scene.two_looks().await;
    assert_eq!(revision().await, Some(second.clone()));
    scene.lab.kubectl().apply(SECRETS).await.unwrap();
    until("the pods are replaced", async || revision().await.filter(|now| *now != second)).await;
    assert_eq!(scene.history("dev").await.0.len(), 3);

    operator.stop().await;
    scene.end().await;
}

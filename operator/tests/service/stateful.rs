//! A service that must not run as many.

use imaas_operator::api::Cause;

use crate::scene::{IMAGE_OF_A, Scene, descriptor, reasons, until};

const TASK: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<task name="CleanUp" class="org.apache.synapse.startup.tasks.MessageInjector"
      xmlns="http://ws.apache.org/ns/synapse"><trigger interval="60"/></task>
"#;
const SECRET: &str = "
{apiVersion: v1, kind: Secret, metadata: {name: orders-db, namespace: acme-dev}, stringData: {PASSWORD: one}}
";
const FILE: &str = "src/main/wso2mi/artifacts/tasks/CleanUp.xml";

#[tokio::test(flavor = "multi_thread")]
async fn what_starts_in_every_instance_is_not_run_as_many_until_somebody_says_how_they_agree() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    until("what is safe runs", async || scene.image("dev").await).await;
    let live = async || {
        let deployment = scene.deployments("dev").get("orders").await.unwrap();
        deployment.metadata.annotations.unwrap()["imaas.dev/release"].clone()
    };
    let before = live().await;

    // The same image, built of more.
    scene.push("dev", &[(FILE, TASK)]);
    let told = until("what waits is told", async || {
        let board = scene.board().await;
        let waiting = board.environments.iter().find(|state| state.name == "dev")?.waiting.clone();
        waiting.into_iter().find(|waiting| waiting.reason == "Uncoordinated")
    })
    .await;
    let artifact = format!("{FILE}:2: the scheduled task \"CleanUp\" starts in every instance");
    assert!(told.message.starts_with(&artifact), "{told:?}");
    assert!(told.message.contains("in imaas.yaml say `instances: one`, or in `coordination`"), "{told:?}");
    scene.two_looks().await;
    assert_eq!((live().await, scene.history("dev").await.0.len()), (before.clone(), 1), "what runs stays");

    // As one, it runs.
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "instances: one\n"))]);
    until("it runs as one", async || (live().await != before).then_some(())).await;
    let strategy = scene.deployments("dev").get("orders").await.unwrap().spec.unwrap().strategy.unwrap();
    assert_eq!(strategy.type_.as_deref(), Some("Recreate"));

    // As many again: only with a word on it.
    let one = live().await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "instances: many\n"))]);
    until("that waits", async || {
        reasons(&scene.board().await, "dev").contains(&"Uncoordinated".to_owned()).then_some(())
    })
    .await;
    assert_eq!(live().await, one);
    let agreed = "instances: many\ncoordination: tasks run in one node by WSO2_COORDINATION_DB\n";
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, agreed))]);
    let many = until("it runs as many", async || Some(live().await).filter(|live| *live != one)).await;

    // Without the word what runs goes on, and its Secrets still replace it: those are nobody's commit.
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "instances: many\nsecrets: [orders-db]\n"))]);
    until("that waits", async || {
        reasons(&scene.board().await, "dev").contains(&"Uncoordinated".to_owned()).then_some(())
    })
    .await;
    scene.lab.kubectl().apply(SECRET).await.unwrap();
    let agreed = format!("{agreed}secrets: [orders-db]\n");
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, &agreed))]);
    let read = until("it reads it", async || Some(live().await).filter(|live| *live != many)).await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "instances: many\nsecrets: [orders-db]\n"))]);
    scene.two_looks().await;
    assert_eq!(live().await, read);
    assert!(reasons(&scene.board().await, "dev").iter().all(|reason| reason != "Uncoordinated"));
    let change = r#"{"stringData": {"PASSWORD": "two"}}"#;
    scene.kubectl(&["patch", "secret", "orders-db", "-nacme-dev", "-p", change]).await;
    let next = until("it is replaced", async || Some(live().await).filter(|live| *live != read)).await;
    assert_eq!(scene.releases().get(&next).await.unwrap().spec.cause, Cause::Secret);

    operator.stop().await;
    scene.end().await;
}

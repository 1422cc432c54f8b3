//! What is tried and given up, on a real API server: it keeps its ways until its last instance has gone.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_keeps_what_it_counts_on_until_its_instances_have_gone() {
    let scene = Scene::start().await;
    let runs = scene.release("{ports: [{name: http, port: 8000}], connects: [erp]}").await;
    scene.settle(&runs).await;
    let own = (vec![8000], texts(&["10.20.0.0/16"]));
    let both = (vec![8000, 8001], texts(&["10.20.0.0/16", "10.30.0.0/16"]));

    let mut tried = scene.release("{ports: [{name: http, port: 8001}], connects: [crm]}").await;
    let beside = async |tried: &Release| {
        let trial = Trial { release: Some(tried), ..Trial::default() };
        scene.roll_out_beside(&runs, trial, Timestamp::now()).await;
        assert_eq!(scene.opened().await, both);
    };
    until("it has an instance on a node", async || {
        beside(&tried).await;
        scene.say_ready(Some(8001)).await;
        let status = scene.get::<Deployment>("orders-canary").await?.status?;
        status.ready_replicas.filter(|ready| *ready == 1)
    })
    .await;

    tried.spec.replicas = 0;
    until("it counts none any more", async || {
        beside(&tried).await;
        let status = scene.get::<Deployment>("orders-canary").await?.status?;
        status.replicas.is_none_or(|left| left == 0).then_some(())
    })
    .await;
    // What runs has done so for long by then.
    let pods = scene.pods().list(&ListParams::default()).await.unwrap();
    let end = pods.iter().find_map(|pod| pod.metadata.deletion_timestamp.clone()).unwrap().0;
    until("its Deployment is gone", async || {
        assert_eq!(scene.roll_out_at(&runs, end).await, (Phase::Healthy, true));
        assert_eq!(scene.opened().await, both, "its instance may still be at work");
        scene.get::<Deployment>("orders-canary").await.is_none().then_some(())
    })
    .await;
    scene.settle(&runs).await;
    assert_eq!(scene.opened().await, own);

    scene.watches.abort();
    scene.lab.stop().await.unwrap();
}

//! Environments that a tenant leaves.

use serde_json::Value;

use super::scene::{Scene, later, uid};
use crate::chart::until;

const IN: (&str, &str) = ("t1", "{environments: {prod: {}}}");
const OUT: (&str, &str) = ("t1", "{environments: {prod: {omit: true}}}");

fn entry(tenant: &Value) -> Value {
    let all = tenant["status"]["environments"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|entry| entry["name"] == "prod").unwrap_or_default()
}

async fn stage(scene: &Scene, wanted: &str) {
    until(&scene.lab, &["tenants.imaas.dev", "t1"], |tenant| {
        let entry = entry(tenant);
        !entry.is_null() && entry["retirement"]["stage"].as_str().unwrap_or_default() == wanted
    })
    .await;
}

fn file(scene: &Scene, one: (&'static str, &'static str)) {
    let others = ["t2", "t3", "t4", "t5", "t6", "t7"].map(|name| (name, "{}"));
    scene.commit_in("central", "moved", &[&[one][..], &others].concat());
}

async fn suspend(scene: &Scene, value: bool) {
    let patch = format!("{{\"spec\":{{\"suspend\":{value}}}}}");
    scene.kubectl(&["patch", "tenants.imaas.dev", "t1", "--type=merge", "-p", &patch]).await;
    scene.ready("t1", if value { "Suspended" } else { "Succeeded" }).await;
}

pub async fn an_environment_goes_by_stages_and_comes_back_at_each(scene: &mut Scene) {
    let space = ["namespace", "t1-prod"];
    file(scene, IN);
    stage(scene, "").await;
    let first = scene.uid(&space).await;

    file(scene, OUT);
    stage(scene, "Orphaned").await;
    assert!(
        scene.annotations("namespace", "t1-prod").await["imaas.dev/orphaned-by"]
            .as_str()
            .unwrap()
            .contains("of the Tenant")
    );
    file(scene, IN);
    stage(scene, "").await;
    let unmarked =
        |object: &Value| object["metadata"]["annotations"].get("imaas.dev/orphaned-since").is_none();
    until(&scene.lab, &space, unmarked).await;

    file(scene, OUT);
    stage(scene, "Orphaned").await;
    later(24);
    scene.restart().await;
    stage(scene, "Retiring").await;
    // Suspended, its end stands still, and what puts it back waits with it.
    suspend(scene, true).await;
    later(72);
    file(scene, IN);
    until(&scene.lab, &["tenants.imaas.dev", "t1"], |tenant| {
        tenant["spec"]["environments"]["prod"]["omit"] != true
    })
    .await;
    scene.look("t1").await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let kept = scene.lab.kubectl().get(&space).await.unwrap();
    assert!(uid(&kept) == first && kept["metadata"].get("deletionTimestamp").is_none() && !unmarked(&kept));
    suspend(scene, false).await;
    stage(scene, "").await;
    until(&scene.lab, &space, unmarked).await;
    assert_eq!(scene.uid(&space).await, first, "back from its last stage, and not made anew");

    file(scene, OUT);
    stage(scene, "Orphaned").await;
    later(24);
    scene.look("t1").await;
    stage(scene, "Retiring").await;
    // An Environment that is deleted ends nothing, and goes on with nothing.
    scene.kubectl(&["delete", "environments.imaas.dev", "prod"]).await;
    until(&scene.lab, &["tenants.imaas.dev", "t1"], |tenant| {
        super::scene::message(tenant, "Ready").contains("no Environment")
    })
    .await;
    later(72);
    scene.look("t1").await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let kept = scene.lab.kubectl().get(&space).await.unwrap();
    assert!(uid(&kept) == first && kept["metadata"].get("deletionTimestamp").is_none());
    scene.lab.kubectl().apply("{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: prod}, spec: {promotesFrom: dev}}").await.unwrap();
    scene.gone(&space).await;
    until(&scene.lab, &["tenants.imaas.dev", "t1"], |tenant| entry(tenant).is_null()).await;
    scene.ready("t1", "Succeeded").await;

    file(scene, IN);
    stage(scene, "").await;
    assert_ne!(scene.uid(&space).await, first, "made anew");
}

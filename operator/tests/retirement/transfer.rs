//! A tenant that is handed over from one origin to another.

use serde_json::Value;

use super::scene::{Scene, message, uid};
use crate::chart::until;

/// The Tenant and its namespace are the same objects as `before`, of another origin.
async fn is_of(scene: &Scene, origin: &str, before: &(String, String)) {
    let is_done = |object: &Value| {
        let annotations = &object["metadata"]["annotations"];
        annotations["imaas.dev/origin"] == origin && annotations.get("imaas.dev/transfer-to").is_none()
    };
    let tenant = until(&scene.lab, &["tenants.imaas.dev", "moving"], is_done).await;
    let namespace = scene.lab.kubectl().get(&["namespace", "moving-dev"]).await.unwrap();
    assert_eq!(namespace["metadata"]["annotations"]["imaas.dev/origin"], origin);
    assert_eq!((uid(&tenant), uid(&namespace)), *before);
    scene.ready("moving", "Succeeded").await;
}

async fn to(scene: &Scene, origin: &str) {
    let transfer = format!("imaas.dev/transfer-to={origin}");
    scene.kubectl(&["annotate", "--overwrite", "tenants.imaas.dev", "moving", &transfer]).await;
}

pub async fn it_changes_hands_and_nothing_is_made_anew(scene: &Scene) {
    let others = [("acme", "{}"), ("beta", "{}"), ("gamma", "{}")];
    let moving = ("moving", "{contact: git@example.com}");
    scene.commit("other", &[("delta", "{}")]);
    scene.declare("other", "tenants").await;
    scene.ready("delta", "Succeeded").await;
    scene.lab.kubectl().apply("{apiVersion: imaas.dev/v1alpha1, kind: Tenant, metadata: {name: moving}, spec: {contact: hand@example.com}}").await.unwrap();
    scene.ready("moving", "Succeeded").await;
    let before =
        (scene.uid(&["tenants.imaas.dev", "moving"]).await, scene.uid(&["namespace", "moving-dev"]).await);

    // To nowhere, and to a source that has no file for it.
    to(scene, "nowhere").await;
    let waits = scene.in_sync("moving", "OriginConflict").await;
    assert!(message(&waits, "InSync").contains("there is no TenantSource \"nowhere\""), "{waits}");
    to(scene, "central").await;
    until(&scene.lab, &["tenants.imaas.dev", "moving"], |object| {
        message(object, "InSync").contains("until TenantSource central has a valid file")
    })
    .await;

    // By hand to a source.
    let all = [&others[..], &[moving]].concat();
    scene.commit("central", &all);
    is_of(scene, "central", &before).await;
    // Its file is written after it was taken.
    let from_git = |object: &Value| object["spec"]["contact"] == "git@example.com";
    until(&scene.lab, &["tenants.imaas.dev", "moving"], from_git).await;

    // From one source to another, which says first that the name is taken; the first one's file goes meanwhile.
    let there = scene.commit("other", &[("delta", "{}"), moving]);
    scene.source_says("other", &there, "comes from TenantSource central").await;
    to(scene, "other").await;
    is_of(scene, "other", &before).await;
    scene.commit("central", &others);
    let gone = scene.lab.kubectl().get(&["tenants.imaas.dev", "moving"]).await.unwrap();
    assert!(gone["metadata"]["annotations"].get("imaas.dev/orphaned-since").is_none());

    // To the platform's own hands, after it was taken out of the file.
    scene.commit("other", &[("delta", "{}")]);
    scene.in_sync("moving", "Orphaned").await;
    to(scene, "manual").await;
    is_of(scene, "manual", &before).await;
    let tenant = scene.in_sync("moving", "Succeeded").await;
    assert!(
        tenant["metadata"]["annotations"].get("imaas.dev/orphaned-since").is_none(),
        "it is nobody's orphan"
    );
}

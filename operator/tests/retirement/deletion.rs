//! Tenants that somebody deletes.

use std::time::Duration;

use imaas_operator::api;
use serde_json::json;

use super::scene::{Scene, message, uid};
use crate::chart::until;

async fn deletes(scene: &Scene, tenant: &str) {
    scene.kubectl(&["delete", "tenants.imaas.dev", tenant, "--wait=false"]).await;
}

pub async fn x08_a_deleted_tenant_comes_back_to_its_namespaces(scene: &Scene) {
    scene.commit("central", &[("acme", "{}"), ("beta", "{}")]);
    scene.declare("central", "tenants").await;
    scene.ready("acme", "Succeeded").await;
    scene.ready("beta", "Succeeded").await;
    let tenant = scene.uid(&["tenants.imaas.dev", "acme"]).await;
    let namespace = scene.lab.kubectl().get(&["namespace", "acme-dev"]).await.unwrap();
    // Another object of this name was meant.
    scene.kubectl(&["annotate", "tenants.imaas.dev", "acme", "imaas.dev/confirm-delete=4f2a"]).await;
    deletes(scene, "acme").await;
    let again = |object: &serde_json::Value| uid(object) != tenant;
    until(&scene.lab, &["tenants.imaas.dev", "acme"], again).await;
    scene.ready("acme", "Succeeded").await;
    assert_eq!(scene.uid(&["namespace", "acme-dev"]).await, uid(&namespace));
    let events = scene.kubectl(&["get", "events", "-n", "default", "-o", "json"]).await;
    assert!(events.contains(&format!("is not the uid of this Tenant, which was {tenant}")), "{events}");
}

pub async fn x10_a_namespace_that_does_not_go_blocks_one_tenant(scene: &Scene) {
    scene
        .lab
        .kubectl()
        .apply("{apiVersion: imaas.dev/v1alpha1, kind: Tenant, metadata: {name: stuck}, spec: {}}")
        .await
        .unwrap();
    scene.ready("stuck", "Succeeded").await;
    let hold = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "hold", "namespace": "stuck-dev", "finalizers": ["example.com/hold"] } });
    scene.lab.kubectl().apply(&hold.to_string()).await.unwrap();
    let confirm = format!("imaas.dev/confirm-delete={}", scene.uid(&["tenants.imaas.dev", "stuck"]).await);
    scene.kubectl(&["annotate", "tenants.imaas.dev", "stuck", &confirm]).await;
    deletes(scene, "stuck").await;
    let stuck = until(&scene.lab, &["tenants.imaas.dev", "stuck"], |object| {
        message(object, "Ready").contains("example.com/hold")
    })
    .await;
    assert!(message(&stuck, "Ready").starts_with("it is being removed: stuck-dev is not gone: "), "{stuck}");
    let home = scene.lab.kubectl().get(&["namespace", "stuck-home"]).await.unwrap();
    assert!(home["metadata"].get("deletionTimestamp").is_none(), "the home comes last");

    // Nothing is written again and again, and the others go on.
    let before = stuck["metadata"]["resourceVersion"].clone();
    tokio::time::sleep(Duration::from_secs(12)).await;
    let after = scene.lab.kubectl().get(&["tenants.imaas.dev", "stuck"]).await.unwrap();
    assert_eq!(after["metadata"]["resourceVersion"], before);
    scene.commit("central", &[("acme", "{}"), ("beta", "{}"), ("gamma", "{}")]);
    scene.ready("gamma", "Succeeded").await;

    let free = r#"{"metadata":{"finalizers":null}}"#;
    scene.kubectl(&["patch", "configmap", "hold", "-n", "stuck-dev", "--type=merge", "-p", free]).await;
    scene.gone(&["tenants.imaas.dev", "stuck"]).await;
    scene.gone(&["namespace", "stuck-dev"]).await;
    scene.gone(&["namespace", "stuck-home"]).await;
}

/// The kind goes with all its objects; the namespaces serve on, and are taken back when it comes again.
pub async fn x09_without_the_kind_all_serve_on(scene: &Scene) {
    let spaces = ["acme-dev", "acme-home", "beta-dev", "beta-home", "gamma-dev"];
    let mut before = Vec::new();
    for space in spaces {
        before.push(scene.uid(&["namespace", space]).await);
    }
    scene.kubectl(&["delete", "crd", "tenants.imaas.dev", "--timeout=60s"]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    for (space, uid) in spaces.iter().zip(&before) {
        let namespace = scene.lab.kubectl().get(&["namespace", space]).await.unwrap();
        assert!(self::uid(&namespace) == *uid && namespace["metadata"].get("deletionTimestamp").is_none());
    }
    let crds = json!({ "apiVersion": "v1", "kind": "List", "items": api::crds() });
    scene.lab.kubectl().apply(&crds.to_string()).await.unwrap();
    for tenant in ["acme", "beta", "gamma"] {
        scene.ready(tenant, "Succeeded").await;
    }
    for (space, uid) in spaces.iter().zip(&before) {
        assert_eq!(scene.uid(&["namespace", space]).await, *uid);
    }
}

//! The platform's stop buttons of a tenant, and what its file may not take away at once.

use std::time::Duration;

use super::scene::{Scene, message};
use crate::chart::until;

fn with(services: &[&str]) -> String {
    let list: Vec<_> = services
        .iter()
        .map(|name| format!("{{name: {name}, repository: {{url: 'https://git.example.com/x/{name}.git'}}, runtime: container}}"))
        .collect();
    format!("{{environments: {{prod: {{}}}}, services: [{}]}}", list.join(", "))
}

fn file(scene: &Scene, spec: &str) {
    scene.commit("central", &[("acme", spec), ("beta", "{}"), ("gamma", "{}")]);
}

async fn presses(scene: &Scene, button: &str, value: bool) {
    let patch = format!("{{\"spec\":{{\"{button}\":{value}}}}}");
    scene.kubectl(&["patch", "tenants.imaas.dev", "acme", "--type=merge", "-p", &patch]).await;
}

async fn has(scene: &Scene, service: &str) -> bool {
    scene.lab.kubectl().get(&["integrationservices.imaas.dev", service, "-n", "acme-home"]).await.is_ok()
}

pub async fn suspend_and_cordon_stop_and_say_so(scene: &Scene) {
    file(scene, &with(&["a"]));
    until(&scene.lab, &["integrationservices.imaas.dev", "a", "-n", "acme-home"], |_| true).await;

    // By hand on a tenant from Git: it stays so until it is taken away by hand.
    presses(scene, "suspend", true).await;
    scene.ready("acme", "Suspended").await;
    scene.kubectl(&["delete", "networkpolicy", "imaas-default-deny", "-n", "acme-dev"]).await;
    file(scene, &with(&["a", "b"]));
    let grown =
        |object: &serde_json::Value| object["spec"]["services"].as_array().is_some_and(|all| all.len() == 2);
    let tenant = until(&scene.lab, &["tenants.imaas.dev", "acme"], grown).await;
    assert_eq!(tenant["spec"]["suspend"], true, "Git says nothing of it");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!has(scene, "b").await);
    assert!(
        scene.lab.kubectl().get(&["networkpolicy", "imaas-default-deny", "-n", "acme-dev"]).await.is_err()
    );

    presses(scene, "cordon", true).await;
    presses(scene, "suspend", false).await;
    let cordoned = scene.ready("acme", "Cordoned").await;
    assert!(message(&cordoned, "Ready").contains("taken away: b;"), "{cordoned}");
    until(&scene.lab, &["networkpolicy", "imaas-default-deny", "-n", "acme-dev"], |_| true).await;
    assert!(!has(scene, "b").await && has(scene, "a").await);
    presses(scene, "cordon", false).await;
    until(&scene.lab, &["integrationservices.imaas.dev", "b", "-n", "acme-home"], |_| true).await;
    scene.ready("acme", "Succeeded").await;
}

/// In dev and prod, three services are six.
pub async fn services_that_go_at_once_are_held(scene: &Scene) {
    file(scene, &with(&["a", "b", "c", "d"]));
    until(&scene.lab, &["integrationservices.imaas.dev", "d", "-n", "acme-home"], |_| true).await;
    until(&scene.lab, &["namespace", "acme-prod"], |_| true).await;
    let service = |name: &'static str| ["integrationservices.imaas.dev", name, "-n", "acme-home"];
    let is_marked = |object: &serde_json::Value| {
        object["metadata"]["annotations"].get("imaas.dev/orphaned-since").is_some()
    };

    file(scene, &with(&["d"]));
    let held = scene.ready("acme", "RemovalHeld").await;
    for name in ["a", "b", "c"] {
        assert!(!is_marked(&scene.lab.kubectl().get(&service(name)).await.unwrap()), "{name}");
    }
    // Of another set: it says so, and nothing goes.
    scene.kubectl(&["annotate", "tn", "acme", "imaas.dev/confirm-removal=4f2a4f2a4f2a"]).await;
    until(&scene.lab, &["tenants.imaas.dev", "acme"], |object| {
        message(object, "Stalled").contains("it is \"4f2a4f2a4f2a\" now, which is another set")
    })
    .await;
    for name in ["a", "b", "c"] {
        assert!(!is_marked(&scene.lab.kubectl().get(&service(name)).await.unwrap()), "{name}");
    }
    let command = message(&held, "Stalled").split('`').nth(1).unwrap().to_owned();
    scene.kubectl(&command.split(' ').collect::<Vec<_>>()[1..]).await;
    for name in ["a", "b", "c"] {
        let marked = until(&scene.lab, &service(name), is_marked).await;
        let by = marked["metadata"]["annotations"]["imaas.dev/orphaned-by"].as_str().unwrap();
        assert!(by.starts_with("generation ") && by.ends_with(" of the Tenant"), "{by}");
    }
    file(scene, &with(&["a", "b", "c", "d"]));
    for name in ["a", "b", "c", "d"] {
        until(&scene.lab, &service(name), |object| !is_marked(object)).await;
    }
}

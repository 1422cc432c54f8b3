//! Tenants that vanish from their repository.

use super::scene::{Scene, condition, later, message, uid};
use crate::chart::until;

const BETA: (&str, &str) = ("beta", "{contact: b@example.com}");

pub async fn x07_it_goes_by_stages_and_comes_back_at_each(scene: &mut Scene) {
    let all = [("acme", "{contact: a@example.com}"), BETA];
    scene.commit("central", &all);
    scene.declare("central", "tenants").await;
    scene.ready("acme", "Succeeded").await;
    scene.ready("beta", "Succeeded").await;
    let space = ["namespace", "acme-dev"];
    let (tenant, namespace) = (scene.uid(&["tenants.imaas.dev", "acme"]).await, scene.uid(&space).await);

    // Removed, and put back a moment later.
    let gone = scene.commit("central", &[BETA]);
    let orphan = scene.in_sync("acme", "Orphaned").await;
    assert!(
        message(&orphan, "InSync")
            .starts_with(&format!("no longer in Git since commit {}; serves until", &gone[..12]))
    );
    assert_eq!(condition(&orphan, "Ready").unwrap()["status"], "True", "it serves on");
    scene.commit("central", &all);
    scene.in_sync("acme", "Succeeded").await;
    assert!(scene.annotations("tenants.imaas.dev", "acme").await.get("imaas.dev/orphaned-since").is_none());

    // Into the second stage over a restart, and put back there.
    scene.commit("central", &[BETA]);
    scene.in_sync("acme", "Orphaned").await;
    scene.restart().await;
    later(24);
    scene.in_sync("acme", "Retiring").await;
    scene.commit("central", &all);
    scene.in_sync("acme", "Succeeded").await;
    assert_eq!(
        (scene.uid(&["tenants.imaas.dev", "acme"]).await, scene.uid(&space).await),
        (tenant.clone(), namespace)
    );

    // To the end, with the operator killed between the last stages. One look begins each stage.
    scene.commit("central", &[BETA]);
    scene.in_sync("acme", "Orphaned").await;
    later(24 + 72);
    scene.in_sync("acme", "Retiring").await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    scene.kill();
    let kept = scene.lab.kubectl().get(&["tenants.imaas.dev", "acme"]).await.unwrap();
    assert!(kept["metadata"].get("deletionTimestamp").is_none() && uid(&kept) == tenant, "72 h are not over");
    later(72);
    scene.restart().await;
    scene.gone(&["tenants.imaas.dev", "acme"]).await;
    scene.gone(&["namespace", "acme-dev"]).await;
    scene.gone(&["namespace", "acme-home"]).await;
    scene.ready("beta", "Succeeded").await;

    // And it may come again.
    scene.commit("central", &all);
    scene.ready("acme", "Succeeded").await;
    assert_ne!(scene.uid(&["tenants.imaas.dev", "acme"]).await, tenant);
}

async fn unmarked(scene: &Scene, tenants: &[&str]) {
    for tenant in tenants {
        let annotations = scene.annotations("tenants.imaas.dev", tenant).await;
        assert!(annotations.get("imaas.dev/orphaned-since").is_none(), "{tenant}: {annotations}");
    }
}

pub async fn x01_x02_x03_too_much_at_once_is_held(scene: &mut Scene) {
    let names = ["t1", "t2", "t3", "t4", "t5", "t6", "t7"];
    let files = |names: &[&'static str]| names.iter().map(|name| (*name, "{}")).collect::<Vec<_>>();
    scene.commit("central", &files(&names));
    for name in names {
        scene.ready(name, "Succeeded").await;
    }
    // What the test before left is gone by its stages, from now on.
    for name in ["acme", "beta"] {
        scene.in_sync(name, "Orphaned").await;
    }

    // X03: six of nine, beside a newcomer.
    let some = scene.commit("central", &files(&["t7", "newcomer"]));
    let held = scene.source_says("central", &some, "held and serving on").await;
    let told = message(&held, "Stalled");
    assert!(told.starts_with("6 gone at commit") && told.contains("t1, t2, t3, t4, t5, t6"), "{told}");
    scene.ready("newcomer", "Succeeded").await;
    scene.in_sync("t1", "RemovalHeld").await;
    unmarked(scene, &names).await;

    // X02: what was held by another commit waits on, also when less is gone than would be held.
    scene.forget_history("central");
    let other = scene.commit("central", &files(&["t2", "t3", "t4", "t5", "t6", "t7", "newcomer"]));
    let held = scene.source_says("central", &other, "shares nothing").await;
    assert!(message(&held, "Stalled").starts_with("1 gone at commit"), "{held}");
    scene.restart().await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    scene.source_says("central", &other, "shares nothing").await;
    unmarked(scene, &names).await;

    // Put back, and the other history is as good as any.
    scene.commit("central", &files(&["t1", "t2", "t3", "t4", "t5", "t6", "t7", "newcomer"]));
    let settled =
        |object: &serde_json::Value| object["status"]["settled"]["commit"] == object["status"]["commit"];
    until(&scene.lab, &["tenantsources.imaas.dev", "central"], settled).await;

    // X02: the path is another one, where all but one are.
    let moved =
        scene.commit_in("central", "moved", &files(&["t2", "t3", "t4", "t5", "t6", "t7", "newcomer"]));
    let held = scene.source_says("central", &moved, "no tenant file is left").await;
    assert!(message(&held, "Stalled").starts_with("8 gone at commit"), "X01: {held}");
    scene.declare("central", "moved").await;
    let held = scene.source_says("central", &moved, "spec.path was tenants").await;
    assert!(message(&held, "Stalled").starts_with("1 gone at commit"), "{held}");
    unmarked(scene, &names).await;

    // A confirmation of this set lets it go, and no other.
    let command = message(&held, "Stalled").split('`').nth(1).unwrap().to_owned();
    let arguments: Vec<_> = command.split(' ').collect();
    assert_eq!(arguments[..4], ["kubectl", "annotate", "tsrc", "central"]);
    scene.kubectl(&["annotate", "tsrc", "central", "imaas.dev/confirm-removal=4f2a4f2a4f2a"]).await;
    scene.source_says("central", &moved, "it is \"4f2a4f2a4f2a\" now, which is another set").await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    unmarked(scene, &names).await;
    scene.kubectl(&arguments[1..]).await;
    scene.in_sync("t1", "Orphaned").await;
    let rest = scene.commit_in("central", "moved", &[]);
    let held = scene.source_says("central", &rest, "no tenant file is left").await;
    assert!(message(&held, "Stalled").starts_with("7 gone at commit"), "{held}");
    unmarked(scene, &names[1..]).await;
    scene.commit_in("central", "moved", &files(&names));
    for name in names {
        scene.in_sync(name, "Succeeded").await;
    }
}

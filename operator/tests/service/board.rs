//! What the board tells of what is in the way: all of it, soon, and in words that fit.

use std::time::Duration;

use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    registry::NO_IMAGE,
    scene::{IMAGE_OF_A, Scene, descriptor, reasons, until},
};

impl Scene {
    async fn login(&self, data: &serde_json::Value) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "orders-git", "namespace": "acme-home" },
            "stringData": data,
        });
        let replace = ["replace", "--force", "-f", "-"];
        self.lab.kubectl().run(&replace, Some(&secret.to_string())).await.unwrap();
    }

    /// Reason and message of the service's `Ready`.
    async fn told(&self) -> (String, String) {
        let ready = self.board().await.conditions.into_iter().find(|condition| condition.type_ == "Ready");
        ready.map(|ready| (ready.reason, ready.message)).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_a_commit_waits_for_is_told_at_once() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    let lacks = "secrets: [orders-db, orders-mq]\ninstances: one\nscaling: {min: 2}\nuses: [{service: rates, as: RATES_URL}, {service: stock, as: STOCK_URL}]\n";
    scene.push("dev", &[("imaas.yaml", &descriptor(NO_IMAGE, lacks))]);
    scene.onboard(true).await;
    scene.onboard(false).await;
    let all = [
        "ImageMissing",
        "ProviderMissing",
        "ProviderMissing",
        "InvalidDescriptor",
        "SecretMissing",
        "SecretMissing",
    ];
    until("all is told", async || (reasons(&scene.board().await, "dev") == all).then_some(())).await;
    let told = scene.state("dev").await.unwrap().waiting;
    for (at, word) in [
        (1, "\"rates\""),
        (2, "\"stock\""),
        (3, "never runs two at a time"),
        (4, "orders-db"),
        (5, "orders-mq"),
    ] {
        assert!(told[at].message.contains(word), "{told:?}");
    }
    // With its image, what is left is told, each once.
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, lacks))]);
    until("the image is there", async || (reasons(&scene.board().await, "dev") == all[1..]).then_some(()))
        .await;

    for (from, to) in [("imaas.yaml", "imaas.yml"), ("imaas.yml", "Imaas.yaml")] {
        for arguments in
            [&["mv", from, to][..], &["commit", "-qm", "other"], &["push", "-q", "origin", "dev"]]
        {
            scene.in_clone(arguments);
        }
        let told = format!("the commit has {to}, which nobody reads: rename it to imaas.yaml");
        until("it is told what to rename", async || {
            let waiting = scene.state("dev").await?.waiting;
            waiting.iter().any(|one| one.reason == "DescriptorMissing" && one.message == told).then_some(())
        })
        .await;
    }

    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_put_right_is_seen_at_the_next_look_and_a_refused_one_is_not_tried_at_each() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.login(&json!({ "username": "ci", "password": "wrong" })).await;
    scene.onboard(false).await;
    until("the refusal is told", async || (scene.told().await.0 == "AuthenticationFailed").then_some(()))
        .await;
    scene.git.clear_requests();
    // After 1, 2, 4 and 8 seconds: then the next is 16 away.
    until("it was tried often", async || (scene.git.requests().len() >= 4).then_some(())).await;
    let soon = async |what: &str, reason: &str, words: &str| {
        let begun = Instant::now();
        until(what, async || {
            let (now, message) = scene.told().await;
            (now == reason && message.contains(words)).then_some(())
        })
        .await;
        assert!(begun.elapsed() < Duration::from_secs(6), "{what}: {:?}", begun.elapsed());
    };
    scene.login(&json!({ "password": "orders-password" })).await;
    soon("the missing key is told", "CredentialsMissing", "the Secret lacks `username`").await;
    scene.login(&json!({ "username": "ci", "password": "orders-password" })).await;
    let begun = Instant::now();
    until("dev runs", async || scene.image("dev").await.filter(|image| image == IMAGE_OF_A)).await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());

    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_the_platform_deleted_is_not_one_that_the_tenant_left() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    until("dev runs", async || scene.image("dev").await).await;
    until("the board says so", async || scene.state("dev").await?.current).await;
    let environments = Api::<imaas_operator::api::Environment>::all(scene.client.clone());
    environments.delete("dev", &DeleteParams::default()).await.unwrap();
    let told = async || {
        let state = scene.state("dev").await?;
        let [only] = &state.waiting[..] else { return None };
        let names_it = only.message.starts_with("the Environment dev is gone: the platform deleted it");
        (only.reason == "EnvironmentMissing" && names_it && state.current.is_some()).then_some(())
    };
    until("it is told while the Tenant names it", async || told().await).await;
    // As the tenant's stage does then.
    let left = json!([{ "name": "test", "namespace": "acme-test" }]);
    let status = Patch::Merge(json!({ "status": { "environments": left } }));
    let tenants = Api::<imaas_operator::api::Tenant>::all(scene.client.clone());
    tenants.patch_status("acme", &PatchParams::default(), &status).await.unwrap();
    scene.two_looks().await;
    until("and when it does no longer", async || told().await).await;
    assert_eq!(scene.image("dev").await.as_deref(), Some(IMAGE_OF_A));

    operator.stop().await;
    scene.end().await;
}

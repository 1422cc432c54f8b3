//! An image that must be signed comes in when it is, by whom it must be; what is there already is left alone.

use imaas_operator::api::{DecisionAction, DecisionState};
use rcgen::KeyPair;
use serde_json::json;

use crate::scene::{IMAGE_OF_A, IMAGE_OF_B, Scene, descriptor, digest, reasons, until};

const NAME: &str = "registry.example.com/acme/orders";

impl Scene {
    /// Images of `environment` must be signed by one of `keys` from now on.
    pub async fn asks_for_signatures(&self, environment: &str, keys: &[&KeyPair]) {
        let keys: Vec<_> = keys.iter().map(|key| key.public_key_pem()).collect();
        let signatures = format!(r#""signatures": {}"#, json!({ "keys": keys }));
        self.set("environments.imaas.dev", environment, &signatures).await;
    }

    /// Exactly these are told in test, the last in these words.
    async fn test_is_told(&self, wanted: &[&str], words: &str) {
        until(&format!("test waits for {wanted:?}: {words}"), async || {
            self.instances_are_ready("dev").await;
            self.instances_are_ready("test").await;
            let told = self.state("test").await?.waiting;
            let is_all = told.iter().map(|one| one.reason.as_str()).eq(wanted.iter().copied());
            (is_all && told.last()?.message.contains(words)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_waits_for_its_signature_and_what_runs_or_ran_does_not() {
    let (scene, operator) = Scene::onboarded().await;
    scene.settled("dev", IMAGE_OF_A).await;
    scene.settled("test", IMAGE_OF_A).await;
    let (key, next, other) =
        (KeyPair::generate().unwrap(), KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    scene.asks_for_signatures("test", &[&key, &next]).await;

    // What runs gets its settings as ever.
    scene.push("test", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "env: {GREETING: hello}\n"))]);
    until("the settings are released", async || (scene.history("test").await.0.len() == 2).then_some(()))
        .await;
    scene.settled("test", IMAGE_OF_A).await;

    // Whatever else is missing is told with it, and a bypass is about that only.
    let image = digest('c');
    scene.push("test", &[("imaas.yaml", &descriptor(&image, ""))]);
    scene.test_is_told(&["NotPromoted", "Unsigned"], "has no signature").await;
    let bypass = scene.decide("test", DecisionAction::Bypass, json!({ "target": image })).await;
    scene.answer(&bypass, DecisionState::InForce).await;
    let command = format!(
        "(ask the platform team) signs it with cosign sign --key KEY --new-bundle-format=false --use-signing-config=false --tlog-upload=false {NAME}@{image}"
    );
    scene.test_is_told(&["Unsigned"], &command).await;

    for (by, says, words) in [
        (&other, (NAME, image.as_str()), "with no key that counts here"),
        (&key, (NAME, IMAGE_OF_B), "a signature of another image"),
        (&key, ("registry.example.com/beta/orders", image.as_str()), "the name of another repository"),
    ] {
        scene.registry.is_signed(&image, by, says);
        scene.test_is_told(&["Unsigned"], words).await;
    }
    scene.registry.is_down(true);
    scene.registry.is_signed(&image, &next, (NAME, &image));
    scene.test_is_told(&["RegistryUnreachable"], "answers 503").await;
    assert_eq!(scene.image("test").await.as_deref(), Some(IMAGE_OF_A));
    assert_eq!(scene.history("test").await.0.len(), 2, "no release is made of it");
    scene.registry.is_down(false);
    scene.settled("test", &image).await;

    // The key by which it was let in goes, and what ran before it was never signed.
    scene.asks_for_signatures("test", &[&key]).await;
    scene.two_looks().await;
    assert_eq!(scene.image("test").await, Some(image.clone()));
    let back = scene.decide("test", DecisionAction::Rollback, json!({})).await;
    scene.answer(&back, DecisionState::InForce).await;
    scene.settled("test", IMAGE_OF_A).await;
    let resume = scene.decide("test", DecisionAction::Resume, json!({})).await;
    scene.answer(&resume, DecisionState::Done).await;
    scene.test_is_told(&["Unsigned"], "with no key that counts here").await;
    assert_eq!(reasons(&scene.board().await, "dev"), Vec::<String>::new(), "nobody asks there");

    operator.stop().await;
    scene.end().await;
}

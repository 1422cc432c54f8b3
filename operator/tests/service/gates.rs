//! What an environment asks of anything new, and of what is to be let in elsewhere: windows, approval, bake time, gates.

use imaas_operator::api::{DecisionAction, DecisionState};
use jiff::{ToSpan, Zoned};
use serde_json::json;

use crate::scene::{IMAGE_OF_A, IMAGE_OF_B, Scene, descriptor, reasons, until};

const ENVIRONMENTS: &str = "environments.imaas.dev";

impl Scene {
    /// Exactly this is awaited in test.
    async fn test_waits(&self, wanted: &[&str]) {
        until(&format!("test waits for {wanted:?}"), async || {
            self.instances_are_ready("dev").await;
            (reasons(&self.board().await, "test") == wanted).then_some(())
        })
        .await;
    }

    /// What is told in test of `reason`.
    async fn told_in_test(&self, reason: &str) -> String {
        let waiting = self.state("test").await.unwrap().waiting;
        waiting.into_iter().find(|one| one.reason == reason).unwrap().message
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_waits_for_all_that_is_asked_and_is_let_in_by_each() {
    let (scene, operator) = Scene::onboarded().await;
    scene.settled("dev", IMAGE_OF_A).await;
    scene.settled("test", IMAGE_OF_A).await;

    scene.set(ENVIRONMENTS, "dev", r#""bakeTime": "1h", "gates": ["load-test"]"#).await;
    let closed = (Zoned::now() + 180.days()).strftime("%-d %-m").to_string();
    let closed =
        format!(r#""windows": [{{"schedule": "0 0 {closed} *", "duration": "1m"}}], "approval": true"#);
    scene.set(ENVIRONMENTS, "test", &closed).await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    scene.settled("dev", IMAGE_OF_B).await;
    let commit = scene.push("test", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    scene.test_waits(&["NotPromoted", "ApprovalPending", "WindowClosed"]).await;
    let told = scene.told_in_test("NotPromoted").await;
    assert!(told.contains("after its bake time; it waits for the gate load-test"), "{told}");
    assert!(told.contains("by somebody with the verb `pass` in acme-dev: kubectl imaas pass"), "{told}");
    let told = scene.told_in_test("ApprovalPending").await;
    assert!(told.contains(&format!("with image {IMAGE_OF_B}")), "it is known before it may run: {told}");
    assert!(told.contains("waits for somebody with the verb `approve` in acme-test"), "{told}");

    // It goes down, which begins the bake time anew: no time is told until it is well.
    until("it does not run well", async || {
        scene.instances_crash("dev", IMAGE_OF_B).await;
        let told = scene.told_in_test("NotPromoted").await;
        told.contains("but it does not run well now: its bake time begins anew").then_some(())
    })
    .await;
    until("it runs well again", async || {
        scene.instances_are_ready("dev").await;
        scene.told_in_test("NotPromoted").await.contains("after its bake time").then_some(())
    })
    .await;

    // Without the bake time, the gate alone.
    scene.set(ENVIRONMENTS, "dev", r#""bakeTime": null"#).await;
    until("the bake time is over", async || {
        let told = scene.told_in_test("NotPromoted").await;
        (!told.contains("bake time") && told.contains("gate load-test")).then_some(())
    })
    .await;
    let wrong = scene.decide("dev", DecisionAction::Pass, json!({ "gate": "audit" })).await;
    assert!(scene.answer(&wrong, DecisionState::Refused).await.contains("only load-test"));
    let pass = scene.decide("dev", DecisionAction::Pass, json!({ "gate": "load-test" })).await;
    scene.answer(&pass, DecisionState::InForce).await;
    scene.test_waits(&["ApprovalPending", "WindowClosed"]).await;
    let told = scene.told_in_test("ApprovalPending").await;
    assert!(told.contains(&format!("with image {IMAGE_OF_B}")), "{told}");
    assert!(told.contains(&format!("kubectl imaas approve orders test {commit}")), "{told}");

    // What cannot be rendered, too, is told with its image.
    scene.push("test", &[("imaas.yaml", &descriptor(IMAGE_OF_B, "secrets: [imaas-own]\n"))]);
    scene.test_waits(&["InvalidDescriptor", "SecretMissing", "ApprovalPending", "WindowClosed"]).await;
    let told = scene.told_in_test("ApprovalPending").await;
    assert!(told.contains(&format!("with image {IMAGE_OF_B}")), "{told}");
    let commit = scene.push("test", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    scene.test_waits(&["ApprovalPending", "WindowClosed"]).await;

    let other = json!({ "target": "4f2a".repeat(10) });
    let other = scene.decide("test", DecisionAction::Approve, other).await;
    assert!(scene.answer(&other, DecisionState::Refused).await.contains(&commit), "it says which");
    let unasked = scene.decide("dev", DecisionAction::Approve, json!({ "target": commit })).await;
    assert!(scene.answer(&unasked, DecisionState::Refused).await.contains("asks for no approval"));
    let approval = scene.decide("test", DecisionAction::Approve, json!({ "target": commit })).await;
    scene.answer(&approval, DecisionState::InForce).await;
    scene.test_waits(&["WindowClosed"]).await;

    // Neither a restart nor a look forgets what was decided, nor lets in what waits.
    operator.stop().await;
    let operator = scene.operator().await;
    scene.two_looks().await;
    scene.test_waits(&["WindowClosed"]).await;
    assert_eq!(scene.image("test").await.as_deref(), Some(IMAGE_OF_A));
    assert_eq!(scene.history("test").await.0.len(), 1, "no release is made");

    scene.set(ENVIRONMENTS, "test", r#""windows": [{"schedule": "* * * * *", "duration": "1h"}]"#).await;
    scene.settled("test", IMAGE_OF_B).await;

    // What was let in before is let in again, whatever the commit: a revert is nothing new.
    scene.push("test", &[("imaas.yaml", &descriptor(IMAGE_OF_A, ""))]);
    scene.settled("test", IMAGE_OF_A).await;

    operator.stop().await;
    scene.end().await;
}

//! What fails goes back by itself and stays there, and what people decide holds: over restarts, and until it is over.

use std::time::Duration;

use imaas_operator::{
    api::{DecisionAction, DecisionState, ReleaseDecision, integration_service::EnvironmentState},
    metrics,
    policies::Missing,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::scene::{IMAGE_OF_A, IMAGE_OF_B, Scene, descriptor, reasons, until};

impl Scene {
    fn decisions(&self) -> Api<ReleaseDecision> {
        Api::namespaced(self.client.clone(), "acme-home")
    }

    /// Made by nora; its name.
    pub async fn decide(&self, environment: &str, action: DecisionAction, more: Value) -> String {
        let mut spec = json!({
            "service": "orders", "environment": environment, "action": action, "reason": "as the test says",
            "author": "nora",
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        let decision = json!({
            "apiVersion": "imaas.dev/v1alpha1", "kind": "ReleaseDecision",
            "metadata": { "generateName": format!("{}-", action.as_str().to_lowercase()) }, "spec": spec,
        });
        let decision: ReleaseDecision = serde_json::from_value(decision).unwrap();
        self.decisions().create(&PostParams::default(), &decision).await.unwrap().name_any()
    }

    /// What the operator said to it, whatever that is.
    pub async fn answered(&self, decision: &str) -> (Option<DecisionState>, String) {
        until(&format!("{decision} is answered"), async || {
            let status = self.decisions().get(decision).await.unwrap().status?;
            status.state.is_some().then_some((status.state, status.message))
        })
        .await
    }

    /// What the operator said to it.
    pub async fn answer(&self, decision: &str, state: DecisionState) -> String {
        until(&format!("{decision} is {state:?}"), async || {
            let status = self.decisions().get(decision).await.unwrap().status?;
            (status.state == Some(state)).then_some(status.message)
        })
        .await
    }

    /// Nothing of the service can be acted on, for that reason, which is the answer to what is decided.
    async fn refuses_for(&self, reason: &str) {
        let is_told = async || {
            let ready = self.board().await.conditions.into_iter().find(|one| one.type_ == "Ready")?;
            (ready.reason == reason).then_some(ready.message)
        };
        let told = until(reason, is_told).await;
        let hold = self.decide("dev", DecisionAction::Hold, json!({})).await;
        let answer = self.answer(&hold, DecisionState::Refused).await;
        assert_eq!(answer, format!("{told}; then make it again"));
        let answered = self.decisions().get(&hold).await.unwrap().status.unwrap();
        assert_eq!(answered.reason.as_deref(), Some(reason));
        let counted = r#"imaas_decisions_total{action="hold",outcome="Refused",tenant="acme"}"#;
        assert!(metrics::text().contains(counted), "{}", metrics::text());
    }

    /// Says of every instance with this image in `environment` what a kubelet would say of one that crashes.
    pub async fn instances_crash(&self, environment: &str, image: &str) {
        let pods = Api::<Pod>::namespaced(self.client.clone(), &format!("acme-{environment}"));
        let status = json!({ "status": { "phase": "Running", "conditions": [], "containerStatuses": [{
            "name": "orders", "image": "i", "imageID": "", "ready": false, "restartCount": 3,
            "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            "lastState": { "terminated": { "exitCode": 1, "reason": "Error" } },
        }] } });
        for pod in pods.list(&ListParams::default()).await.unwrap() {
            let has = pod.spec.iter().flat_map(|spec| &spec.containers);
            if has.into_iter().any(|one| one.image.as_ref().is_some_and(|of| of.ends_with(image))) {
                // One that its controller removed meanwhile needs nothing.
                let patch = Patch::Merge(&status);
                let _ = pods.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await;
            }
        }
    }

    /// It runs well in `environment`: which release.
    pub async fn settled(&self, environment: &str, image: &str) -> String {
        until(&format!("{image} is healthy in {environment}"), async || {
            self.instances_are_ready(environment).await;
            self.image(environment).await.filter(|live| live == image)?;
            // The board follows a moment later.
            let state = self.state(environment).await.filter(|s| s.digest.as_deref() == Some(image))?;
            (state.current == state.last_good && state.candidate.is_none()).then_some(state.current?)
        })
        .await
    }

    /// The image that fails in `environment` gives way to another.
    pub async fn gives_way(&self, environment: &str, (failing, to): (&str, &str)) -> EnvironmentState {
        until(&format!("{failing} gives way to {to} in {environment}"), async || {
            self.instances_crash(environment, failing).await;
            self.image(environment).await.filter(|live| live == to)?;
            self.state(environment).await.filter(|state| state.failed.is_some())
        })
        .await
    }
}

fn waits(state: &EnvironmentState, reason: &str) -> bool {
    state.waiting.iter().any(|waiting| waiting.reason == reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_goes_back_and_stays_until_it_is_tried_again() {
    let (scene, operator) = Scene::onboarded().await;

    // The first has nothing to go back to.
    until("the first fails and stays", async || {
        scene.instances_crash("dev", IMAGE_OF_A).await;
        scene.state("dev").await.filter(|state| state.failed.is_some() && waits(state, "Failed"))
    })
    .await;
    assert_eq!(scene.image("dev").await.as_deref(), Some(IMAGE_OF_A));
    let retry = scene.decide("dev", DecisionAction::Retry, json!({})).await;
    assert!(scene.answer(&retry, DecisionState::Refused).await.contains("all the time"));
    let good = scene.settled("dev", IMAGE_OF_A).await;
    let state = scene.state("dev").await.unwrap();
    assert!(state.failed.is_none() && !waits(&state, "Failed"), "it came right: {state:?}");

    // The next goes back, and stays over more looks and a restart.
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    until("the second runs", async || scene.image("dev").await.filter(|live| live == IMAGE_OF_B)).await;
    let state = scene.gives_way("dev", (IMAGE_OF_B, IMAGE_OF_A)).await;
    let bad = state.candidate.clone().unwrap();
    for counted in [
        r#"imaas_rollbacks_total{environment="dev",reason="Failed",tenant="acme"}"#,
        r#"imaas_deployments_total{environment="dev",outcome="failed",tenant="acme"}"#,
        r#"imaas_deployments_total{environment="dev",outcome="healthy",tenant="acme"}"#,
        r#"imaas_lead_time_seconds_count{environment="dev",tenant="acme"}"#,
        r#"imaas_restore_time_seconds_count{environment="dev",tenant="acme"}"#,
    ] {
        assert!(metrics::text().contains(counted), "{counted}: {}", metrics::text());
    }
    assert_eq!((state.current.as_ref(), state.last_good.as_ref()), (Some(&good), Some(&good)), "{state:?}");
    let told = state.waiting.iter().find(|waiting| waiting.reason == "Failed").unwrap();
    let (why, way_out) = ("crashes: exit code 1, again and again", "kubectl imaas retry orders dev");
    assert!(told.message.starts_with(&format!("{bad} failed (instance ")), "{told:?}");
    assert!(told.message.contains(why) && told.message.contains(way_out), "{told:?}");
    operator.stop().await;
    let operator = scene.operator().await;
    scene.push("dev", &[("README.md", "a commit that changes nothing")]);
    scene.two_looks().await;
    scene.two_looks().await;
    assert_eq!(scene.image("dev").await.as_deref(), Some(IMAGE_OF_A), "it stays");

    // Tried again, it fails again; tried once more, it comes right.
    let retry = scene.decide("dev", DecisionAction::Retry, json!({})).await;
    scene.answer(&retry, DecisionState::Done).await;
    until("it is tried again", async || scene.image("dev").await.filter(|live| live == IMAGE_OF_B)).await;
    scene.gives_way("dev", (IMAGE_OF_B, IMAGE_OF_A)).await;
    scene.decide("dev", DecisionAction::Retry, json!({ "target": bad })).await;
    let state = until("its third attempt", async || {
        scene.image("dev").await.filter(|live| live == IMAGE_OF_B)?;
        scene.state("dev").await.filter(|state| state.attempt == Some(3))
    })
    .await;
    assert!(state.failed.is_none(), "{state:?}");
    assert_eq!(scene.settled("dev", IMAGE_OF_B).await, bad);

    // What ran well and was reverted runs again, and so does what was reverted.
    for image in [IMAGE_OF_A, IMAGE_OF_B] {
        scene.push("dev", &[("imaas.yaml", &descriptor(image, ""))]);
        scene.settled("dev", image).await;
    }
    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_board_blames_nothing_that_ran_well_last() {
    let (scene, operator) = Scene::onboarded().await;
    // The one that runs is not the newest that ran well.
    let good = scene.settled("dev", IMAGE_OF_A).await;
    for image in [IMAGE_OF_B, IMAGE_OF_A] {
        scene.push("dev", &[("imaas.yaml", &descriptor(image, ""))]);
        scene.settled("dev", image).await;
    }
    operator.stop().await;
    let lost = r#"[{"op": "remove", "path": "/status"}]"#;
    let path = ["patch", "isvc", "orders", "-nacme-home", "--subresource=status", "--type=json", "-p", lost];
    scene.kubectl(&path).await;
    assert_eq!(scene.state("dev").await, None);
    // Nor does anybody see that it runs well before it goes down.
    until("it is down", async || {
        scene.instances_crash("dev", IMAGE_OF_A).await;
        let status = scene.deployments("dev").get("orders").await.unwrap().status?;
        status.ready_replicas.is_none().then_some(())
    })
    .await;

    let operator = scene.operator().await;
    let state = until("it goes down and is told so", async || {
        scene.instances_crash("dev", IMAGE_OF_A).await;
        scene.state("dev").await.filter(|state| waits(state, "Unhealthy"))
    })
    .await;
    assert_eq!((&state.last_good, &state.current), (&Some(good.clone()), &Some(good.clone())), "{state:?}");
    for _ in 0..10 {
        scene.instances_crash("dev", IMAGE_OF_A).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let state = scene.state("dev").await.unwrap();
    assert_eq!((state.failed, state.current), (None, Some(good)));

    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_decide_holds_until_it_is_over() {
    let (scene, operator) = Scene::onboarded().await;
    let first = scene.settled("dev", IMAGE_OF_A).await;

    // A hold, which expires.
    let until_then = (Timestamp::now() + Duration::from_secs(10)).to_string();
    let hold = scene.decide("dev", DecisionAction::Hold, json!({ "expiresAt": until_then })).await;
    scene.answer(&hold, DecisionState::InForce).await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    let state = until("the second is held", async || {
        scene.state("dev").await.filter(|state| state.candidate.is_some() && waits(state, "Held"))
    })
    .await;
    assert_eq!((state.current.as_ref(), state.held[0].by.as_str()), (Some(&first), "nora"), "{state:?}");
    assert_eq!(scene.image("dev").await.as_deref(), Some(IMAGE_OF_A));
    let second = scene.settled("dev", IMAGE_OF_B).await;
    assert_eq!(scene.answer(&hold, DecisionState::Done).await, "over: it expired");

    // A rollback, which a restart does not undo; `resume` does.
    let back = scene.decide("dev", DecisionAction::Rollback, json!({ "target": first })).await;
    scene.answer(&back, DecisionState::InForce).await;
    assert_eq!(scene.settled_on("dev", &first).await, IMAGE_OF_A);
    operator.stop().await;
    let operator = scene.operator().await;
    scene.push("dev", &[("README.md", "a commit that changes nothing")]);
    scene.two_looks().await;
    let state = scene.state("dev").await.unwrap();
    assert_eq!((&state.current, &state.candidate), (&Some(first.clone()), &Some(second.clone())));
    assert_eq!(reasons(&scene.board().await, "dev"), ["RolledBack"]);
    let resume = scene.decide("dev", DecisionAction::Resume, json!({})).await;
    scene.answer(&resume, DecisionState::Done).await;
    scene.settled_on("dev", &second).await;
    assert!(scene.answer(&back, DecisionState::Done).await.starts_with("over: resumed by"));

    // A rollback to what ran before, until Git asks for something else.
    let back = scene.decide("dev", DecisionAction::Rollback, json!({})).await;
    scene.answer(&back, DecisionState::InForce).await;
    let told = async || scene.state("dev").await.filter(|state| state.current.as_ref() == Some(&first));
    until("it goes back", told).await;
    let again = scene.decide("dev", DecisionAction::Rollback, json!({})).await;
    let told = scene.answer(&again, DecisionState::Refused).await;
    assert!(told.starts_with(&format!("{first} is already on its way, by nora's {back}")), "{told}");
    scene.settled_on("dev", &first).await;
    scene.push("dev", &[("config/app.properties", "greeting=hi")]);
    let third = until("the third runs", async || {
        scene.instances_are_ready("dev").await;
        scene.state("dev").await?.current.filter(|now| *now != first && *now != second)
    })
    .await;
    assert_eq!(scene.answer(&back, DecisionState::Done).await, "over: Git asks for something else");
    scene.settled_on("dev", &third).await;

    // Rejected while it runs: what ran well before does, and a restart or a revert of the revert changes nothing.
    let reject = scene.decide("dev", DecisionAction::Reject, json!({})).await;
    scene.answer(&reject, DecisionState::InForce).await;
    scene.settled_on("dev", &second).await;
    operator.stop().await;
    // Within a second, and answered in one pass: as they were made, whatever their names.
    scene.decide("dev", DecisionAction::Resume, json!({})).await;
    let hold = scene.decide("dev", DecisionAction::Hold, json!({})).await;
    let operator = scene.operator().await;
    scene.answer(&hold, DecisionState::InForce).await;
    let resume = scene.decide("dev", DecisionAction::Resume, json!({})).await;
    let told = scene.answer(&hold, DecisionState::Done).await;
    assert_eq!(told, format!("over: resumed by {resume}"), "the first resume took nothing of it");
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, ""))]);
    scene.settled("dev", IMAGE_OF_A).await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    let told = async || scene.state("dev").await.filter(|state| waits(state, "Rejected"));
    let state = until("what was rejected is asked for again", told).await;
    assert_eq!(state.candidate.as_ref(), Some(&third), "{state:?}");
    scene.two_looks().await;
    assert_eq!(scene.image("dev").await.as_deref(), Some(IMAGE_OF_A));
    scene.decisions().delete(&reject, &DeleteParams::default()).await.unwrap();
    scene.settled_on("dev", &third).await;

    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_healthy_before_passes_by_a_bypass_only() {
    let (scene, operator) = Scene::onboarded().await;
    scene.settled("dev", IMAGE_OF_A).await;
    scene.settled("test", IMAGE_OF_A).await;

    // A hotfix on the branch of test: by its digest, then by the tag that CI gave it.
    scene.push("test", &[("imaas.yaml", &descriptor(IMAGE_OF_B, "")), ("main.go", "package hotfix")]);
    until("it waits", async || (reasons(&scene.board().await, "test") == ["NotPromoted"]).then_some(()))
        .await;
    scene.two_looks().await;
    assert_eq!(scene.image("test").await.as_deref(), Some(IMAGE_OF_A));
    let bypass = scene.decide("test", DecisionAction::Bypass, json!({})).await;
    let told = scene.answer(&bypass, DecisionState::InForce).await;
    assert_eq!(told, format!("image {IMAGE_OF_B} runs in test without having been healthy in dev"));
    scene.settled("test", IMAGE_OF_B).await;

    let by_tag = descriptor("", "").replace("image: {digest: \"\"}\n", "");
    scene.push("test", &[("imaas.yaml", &by_tag), ("main.go", "package another")]);
    until("it waits", async || (reasons(&scene.board().await, "test") == ["NotPromoted"]).then_some(()))
        .await;
    // What the registry of this test has under a commit's hash is that hash itself: no image.
    let early = scene.decide("test", DecisionAction::Bypass, json!({})).await;
    until("the registry is asked for it", async || {
        let told = scene.state("test").await?;
        (!waits(&told, "NotPromoted")).then_some(())
    })
    .await;
    // The first that comes of these files is the one that is let in, and no other.
    scene.push("test", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    until("it is of that image", async || {
        let digest = scene.decisions().get(&early).await.unwrap().status?.digest;
        (digest.as_deref() == Some(IMAGE_OF_B)).then_some(())
    })
    .await;
    scene.settled("test", IMAGE_OF_B).await;
    scene.push("test", &[("imaas.yaml", &descriptor(&format!("sha256:{}", "c".repeat(64)), ""))]);
    until("it waits", async || (reasons(&scene.board().await, "test") == ["NotPromoted"]).then_some(()))
        .await;

    // Where images come from the registry anyway, and for a service that is not there.
    let refused = scene.decide("dev", DecisionAction::Bypass, json!({})).await;
    assert!(scene.answer(&refused, DecisionState::Refused).await.contains("nothing is to be passed by"));
    let stray = scene.decide("dev", DecisionAction::Hold, json!({ "service": "invoices" })).await;
    assert!(scene.answer(&stray, DecisionState::Refused).await.contains("no service invoices"));

    // Nothing proves who its author is.
    scene.policies.learn(&Err(Missing::NotEnforced("imaas-decisions")));
    let forged = scene.decide("dev", DecisionAction::Hold, json!({})).await;
    let told = scene.answer(&forged, DecisionState::Refused).await;
    assert!(told.starts_with("nothing proves that its author made it"), "{told}");
    assert!(scene.state("dev").await.unwrap().held.is_empty());

    // Nothing of the service can be acted on.
    scene.policies.learn(&Ok(()));
    scene.set("tenant", "acme", "\"suspend\": true").await;
    scene.refuses_for("Suspended").await;
    scene.set("tenant", "acme", "\"suspend\": false").await;
    let url = scene.services().get("orders").await.unwrap().spec.repository.url;
    let elsewhere = "\"repository\": {\"url\": \"https://10.0.0.1/orders.git\"}";
    scene.set("isvc/orders", "-nacme-home", elsewhere).await;
    scene.refuses_for("HostRefused").await;

    // It went before anybody could answer: what is not ready yet is waited for.
    let nowhere = r#"{"status": {"environments": []}}"#;
    scene.kubectl(&["patch", "tenant", "acme", "--subresource=status", "--type=merge", "-p", nowhere]).await;
    scene.set("isvc/orders", "-nacme-home", &format!("\"repository\": {{\"url\": \"{url}\"}}")).await;
    until("the tenant is not ready", async || {
        let conditions = scene.board().await.conditions;
        conditions.iter().any(|one| one.reason == "TenantNotReady").then_some(())
    })
    .await;
    let hold = scene.decide("dev", DecisionAction::Hold, json!({})).await;
    let unheld = r#"{"metadata": {"finalizers": null}}"#;
    scene.kubectl(&["patch", "isvc/orders", "-nacme-home", "--type=merge", "-p", unheld]).await;
    scene.kubectl(&["delete", "isvc/orders", "-nacme-home"]).await;
    assert_eq!(scene.answer(&hold, DecisionState::Refused).await, "there is no service orders in acme-home");

    operator.stop().await;
    scene.end().await;
}

impl Scene {
    /// This release runs well in `environment`: its image.
    pub async fn settled_on(&self, environment: &str, release: &str) -> String {
        until(&format!("{release} runs well in {environment}"), async || {
            self.instances_are_ready(environment).await;
            let state = self.state(environment).await?;
            let is_it = |name: &Option<String>| name.as_deref() == Some(release);
            (is_it(&state.current) && is_it(&state.last_good)).then_some(())?;
            self.image(environment).await
        })
        .await
    }
}

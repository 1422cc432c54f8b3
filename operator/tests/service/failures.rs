//! What the API server refuses, and what somebody removes.

use std::time::Duration;

use imaas_operator::api::{DecisionAction, DecisionState};
use serde_json::json;

use crate::{
    registry::NO_IMAGE,
    scene::{IMAGE_OF_A, IMAGE_OF_B, Scene, descriptor, reasons, until},
};

const FOREIGN_SERVICE: [&str; 6] = ["create", "service", "clusterip", "orders", "--tcp=80", "-nacme-dev"];
const LOOK: [&str; 6] =
    ["annotate", "isvc", "orders", "-nacme-home", "--overwrite", "imaas.dev/reconcile-requested=1"];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_applied_is_not_told_to_run() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.kubectl(&FOREIGN_SERVICE).await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    let dev = async || scene.board().await.environments.into_iter().find(|state| state.name == "dev");
    let refused = async || {
        let state = dev().await?;
        let is_refused = reasons(&scene.board().await, "dev") == ["NamespaceForeign"];
        (is_refused && state.candidate.is_some()).then_some(state)
    };
    let state = until("the Service of somebody else is told", refused).await;
    assert_eq!((state.current, state.digest, scene.image("dev").await), (None, None, None));

    // One that needs none goes past it.
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "type: worker\n"))]);
    until("dev runs the first image", async || scene.image("dev").await.filter(|i| i == IMAGE_OF_A)).await;
    let first = until("the board says so", async || dev().await?.current).await;

    // The next version cannot be applied: the first one is current still.
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    let state = until("the second version is refused", async || {
        refused().await.filter(|state| state.candidate.as_ref() != Some(&first))
    })
    .await;
    assert_eq!((state.current.as_ref(), state.digest.as_deref()), (Some(&first), Some(IMAGE_OF_A)));
    assert_eq!(scene.image("dev").await.as_deref(), Some(IMAGE_OF_A));
    scene.kubectl(&["delete", "service", "orders", "-nacme-dev"]).await;
    scene.kubectl(&LOOK).await;
    until("dev runs the second image", async || scene.image("dev").await.filter(|i| i == IMAGE_OF_B)).await;
    until("the board says so", async || dev().await?.digest.filter(|digest| digest == IMAGE_OF_B)).await;

    operator.stop().await;
    scene.end().await;
}

/// A policy of the platform's own that refuses the Deployments in dev.
const POLICY: &str = r#"
apiVersion: v1
kind: List
items:
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicy
  metadata: {name: closed}
  spec:
    matchConstraints:
      resourceRules:
      - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
    validations: [{expression: "object.metadata.namespace != 'acme-dev'", message: "dev is closed for the audit"}]
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicyBinding
  metadata: {name: closed}
  spec: {policyName: closed, validationActions: [Deny]}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_kubernetes_refuses_is_told_and_tried_again_by_itself() {
    let mut scene = Scene::start().await;
    // Nothing else wakes the service.
    scene.interval = Duration::from_mins(10);
    scene.lab.kubectl().run(&["apply", "-f", "-"], Some(POLICY)).await.unwrap();
    let probe = ["create", "deployment", "probe", "--image=i", "--dry-run=server", "-nacme-dev"];
    until("the policy is in force", async || scene.lab.kubectl().run(&probe, None).await.err().map(|_| ()))
        .await;
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    let told = until("the refusal is told", async || {
        let state = scene.state("dev").await?;
        state.waiting.into_iter().find(|waiting| waiting.reason == "ApplyFailed")
    })
    .await;
    assert!(told.message.contains("Deployment acme-dev/orders"), "{told:?}");
    assert!(told.message.contains("dev is closed for the audit"), "{told:?}");
    let state = scene.state("dev").await.unwrap();
    assert!(state.current.is_none() && state.failed.is_none() && state.candidate.is_some(), "{state:?}");
    let retry = scene.decide("dev", DecisionAction::Retry, json!({})).await;
    let answer = scene.answer(&retry, DecisionState::Refused).await;
    assert!(answer.contains("is tried again by itself"), "{answer}");

    scene.kubectl(&["delete", "validatingadmissionpolicybinding", "closed"]).await;
    until("dev runs it", async || scene.image("dev").await.filter(|image| image == IMAGE_OF_A)).await;
    until("nothing is refused", async || {
        let state = scene.state("dev").await?;
        (state.current.is_some() && state.waiting.iter().all(|one| one.reason != "ApplyFailed")).then_some(())
    })
    .await;
    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pods_are_made_without_their_image_or_configuration() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    until("dev runs the first image", async || scene.image("dev").await.filter(|i| i == IMAGE_OF_A)).await;
    scene.push("dev", &[("imaas.yaml", &descriptor(NO_IMAGE, ""))]);
    until("the missing image is told", async || {
        (reasons(&scene.board().await, "dev").first()? == "ImageMissing").then_some(())
    })
    .await;
    assert_eq!(scene.image("dev").await.as_deref(), Some(IMAGE_OF_A));
    assert_eq!(scene.history("dev").await.0.len(), 1, "no release was made of it");

    // A configuration that fits as it is fits the request; one that is refused lets what runs be repaired.
    let noise = "\u{1}".repeat(900_000);
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "")), ("config/noise", &noise)]);
    until("it is stored", async || (scene.history("dev").await.1.len() == 2).then_some(())).await;
    scene.kubectl(&["create", "quota", "full", "--hard=count/configmaps=1", "-nacme-dev"]).await;
    scene.kubectl(&["wait", "--for=jsonpath={.status.hard}", "quota/full", "-nacme-dev"]).await;
    scene.push("dev", &[("config/noise", "another")]);
    until("the refusal is told", async || {
        (reasons(&scene.board().await, "dev").iter().any(|told| told == "QuotaExceeded")).then_some(())
    })
    .await;
    scene.kubectl(&["delete", "networkpolicy", "orders", "-nacme-dev"]).await;
    until("what runs has its policy", async || {
        let policy = ["get", "networkpolicy", "orders", "-nacme-dev"];
        scene.lab.kubectl().run(&policy, None).await.ok()
    })
    .await;
    scene.kubectl(&["delete", "quota", "full", "-nacme-dev"]).await;
    scene.kubectl(&LOOK).await;
    until("the third is stored", async || (scene.history("dev").await.1.len() == 3).then_some(())).await;
    // One that is more than a service may have is not stored, and says what to do.
    scene.push("dev", &[("config/noise", &"x".repeat(900_000)), ("config/more", &"x".repeat(200_000))]);
    let told = until("too large a configuration is told", async || {
        let waiting = scene.state("dev").await?.waiting;
        waiting.into_iter().find(|waiting| waiting.reason == "InvalidConfig")
    })
    .await;
    assert!(told.message.contains("may have 1000000 (noise has 900000, more has 200000, "), "{told:?}");
    assert!(told.message.contains("`tenants.largestConfig`"), "{told:?}");
    assert_eq!(scene.history("dev").await.1.len(), 3);
    // Git asks for nothing that could run, so the configuration of what runs is not known from there.
    scene.push(
        "dev",
        &[("imaas.yaml", "apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\ntyp: api\n")],
    );
    let told = async |reason: &str| {
        reasons(&scene.board().await, "dev").iter().any(|told| told == reason).then_some(())
    };
    until("the broken descriptor is told", async || told("InvalidDescriptor").await).await;

    let ours = "-lapp.kubernetes.io/managed-by=imaas-operator";
    scene.kubectl(&["delete", "configmap", ours, "-nacme-dev"]).await;
    until("the missing configuration is told", async || told("ConfigMissing").await).await;
    scene.kubectl(&["delete", "deployment", "orders", "-nacme-dev"]).await;
    scene.two_looks().await;
    assert_eq!(scene.image("dev").await, None, "its pods would hang");

    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "")), ("config/more", "")]);
    until("dev runs again", async || scene.image("dev").await.filter(|i| i == IMAGE_OF_A)).await;
    assert_eq!(scene.history("dev").await.1.len(), 1, "its configuration is back");

    operator.stop().await;
    scene.end().await;
}

const SECRET: &str = "{apiVersion: v1, kind: Secret, metadata: {name: orders-db, namespace: acme-dev}}";

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_well_and_went_down_is_told_with_the_secret_that_it_lacks() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.lab.kubectl().run(&["apply", "-f", "-"], Some(SECRET)).await.unwrap();
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "secrets: [orders-db]\n"))]);
    scene.onboard(true).await;
    scene.onboard(false).await;
    let dev = async || scene.board().await.environments.into_iter().find(|state| state.name == "dev");
    let good = until("it is healthy", async || {
        scene.instances_are_ready("dev").await;
        dev().await?.last_good
    })
    .await;
    let generation = async || scene.deployments("dev").get("orders").await.unwrap().metadata.generation;
    let before = generation().await;

    scene.kubectl(&["delete", "secret", "orders-db", "-nacme-dev"]).await;
    scene.kubectl(&["delete", "pods", "--all", "-nacme-dev", "--force", "--grace-period=0"]).await;
    let state = until("both are told", async || {
        dev().await.filter(|state| {
            let reasons: Vec<_> = state.waiting.iter().map(|waiting| waiting.reason.as_str()).collect();
            // Nor is there a node.
            reasons == ["SecretMissing", "Unschedulable", "Unhealthy"]
        })
    })
    .await;
    assert!(state.waiting[2].message.starts_with("0 of 1 instances are ready"), "{state:?}");
    assert_eq!((state.current.as_ref(), state.last_good.as_ref()), (Some(&good), Some(&good)));
    assert_eq!(generation().await, before, "what runs is not touched");

    scene.lab.kubectl().run(&["apply", "-f", "-"], Some(SECRET)).await.unwrap();
    until("all is well", async || {
        scene.instances_are_ready("dev").await;
        dev().await?.waiting.is_empty().then_some(())
    })
    .await;
    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_somebody_removes_are_made_again() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    until("dev runs the first image", async || scene.image("dev").await.filter(|i| i == IMAGE_OF_A)).await;
    scene.healthy("dev").await;
    until("test runs it too", async || scene.image("test").await.filter(|i| i == IMAGE_OF_A)).await;
    let names = async || [scene.history("dev").await.0, scene.history("test").await.0];
    let before = names().await;
    let is_healthy = async || {
        let name = before[0].first()?;
        let status = scene.releases().get_opt(name).await.unwrap()?.status?;
        status.conditions.iter().any(|c| c.type_ == "Healthy" && c.status == "True").then_some(())
    };
    scene.kubectl(&["delete", "irel", "--all", "-nacme-home"]).await;
    until("they are back", async || (names().await == before).then_some(())).await;
    until("what was healthy still is", is_healthy).await;

    // Git asks for nothing that could be made.
    scene.push(
        "dev",
        &[("imaas.yaml", "apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\ntyp: api\n")],
    );
    until("the broken descriptor is told", async || {
        reasons(&scene.board().await, "dev").contains(&"InvalidDescriptor".to_owned()).then_some(())
    })
    .await;
    scene.kubectl(&["delete", "irel", "--all", "-nacme-home"]).await;
    until("they are back", async || (names().await == before).then_some(())).await;
    until("what was healthy still is", is_healthy).await;

    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_not_the_tenants_any_more_is_left_alone() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    let runs = async || scene.image("dev").await.filter(|image| image == IMAGE_OF_A);
    until("dev runs the first image", runs).await;
    for label in ["imaas.dev/tenant-", "imaas.dev/tenant=beta"] {
        scene.kubectl(&["label", "--overwrite", "namespace", "acme-dev", label]).await;
        until("it is told", async || {
            reasons(&scene.board().await, "dev").contains(&"NamespaceForeign".to_owned()).then_some(())
        })
        .await;
        scene.kubectl(&["delete", "deployment", "orders", "-nacme-dev"]).await;
        scene.push("dev", &[("config/app.properties", label)]);
        scene.two_looks().await;
        assert_eq!(scene.image("dev").await, None, "{label}");
        scene.kubectl(&["label", "--overwrite", "namespace", "acme-dev", "imaas.dev/tenant=acme"]).await;
        until("dev runs again", runs).await;
    }
    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_is_gone_leaves_what_runs() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    until("dev runs", async || scene.image("dev").await.filter(|image| image == IMAGE_OF_A)).await;
    scene.healthy("dev").await;
    let runs = async || scene.image("test").await.filter(|image| image == IMAGE_OF_A);
    until("test runs", runs).await;
    let test = async || scene.board().await.environments.into_iter().find(|state| state.name == "test");
    let before =
        until("it is on the board", async || test().await.filter(|test| test.current.is_some())).await;
    scene.delete_branch("test");
    until("it is told", async || {
        reasons(&scene.board().await, "test").contains(&"BranchMissing".to_owned()).then_some(())
    })
    .await;
    scene.kubectl(&["delete", "deployment", "orders", "-nacme-test"]).await;
    until("it is repaired", runs).await;
    let after = test().await.unwrap();
    assert_eq!((after.commit, after.current), (before.commit, before.current));
    assert_eq!(scene.deployments("test").get("orders").await.unwrap().spec.unwrap().replicas, Some(1));
    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_put_into_a_namespace_that_is_being_deleted() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    until("dev runs the first image", async || scene.image("dev").await.filter(|i| i == IMAGE_OF_A)).await;
    scene.kubectl(&["create", "configmap", "stays", "-nacme-dev"]).await;
    let held = r#"{"metadata":{"finalizers":["example.com/held"]}}"#;
    scene.kubectl(&["patch", "configmap", "stays", "-nacme-dev", "--type=merge", "-p", held]).await;
    scene.kubectl(&["delete", "namespace", "acme-dev", "--wait=false"]).await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    let told = until("it is told", async || {
        let state = scene.board().await.environments.into_iter().find(|state| state.name == "dev")?;
        state.waiting.into_iter().find(|waiting| waiting.reason == "NamespaceTerminating")
    })
    .await;
    // Not the words in which the API server refuses.
    assert_eq!(told.message, "the namespace acme-dev is being deleted: it is made again when it is gone");

    operator.stop().await;
    scene.end().await;
}

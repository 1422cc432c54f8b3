#![allow(clippy::unwrap_used, reason = "a test may panic")]
//! The program before a real API server: who decides, what is told of it, and what is read. The operator is played.

mod support;

use std::time::Duration;

use lab::{Lab, LabOptions, Progress};
use serde_json::{Value, json};
use support::{Told, root};

/// The program as the administrator of the lab, who is in the namespace `default`.
async fn run(lab: &Lab, arguments: &[&str]) -> Told {
    let mut command = support::neutral(env!("CARGO_BIN_EXE_kubectl-imaas"), &root());
    command.args(arguments).env("KUBECONFIG", lab.kubeconfig()).env("NO_PROXY", "*");
    tokio::task::spawn_blocking(move || support::finish(&mut command)).await.unwrap()
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    let metadata = json!({ "name": name, "namespace": "acme-home" });
    json!({ "apiVersion": "imaas.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec })
}

fn release(name: &str, level: &str) -> Value {
    let digest = format!("sha256:{}", "a".repeat(64));
    let env = json!([{ "name": "LOG_LEVEL", "value": level }]);
    object(
        "Release",
        name,
        &json!({
            "service": "orders", "environment": "prod", "commit": "4f2a".repeat(10), "buildId": "b", "digest": digest,
            "image": format!("registry.example.com/acme/orders@{digest}"), "runtime": "container",
            "cause": "Promotion", "type": "api", "many": true, "strategy": "rolling", "replicas": 1,
            "template": { "spec": { "containers": [{ "name": "orders", "env": env }] } },
        }),
    )
}

/// The kinds, and one service with two releases.
async fn install(lab: &Lab) {
    let kubectl = lab.kubectl();
    let list = |items: Value| json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
    kubectl.apply(&list(json!(imaas_operator::api::crds()))).await.unwrap();
    let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
    kubectl.run(&wait, None).await.unwrap();
    kubectl.run(&["create", "namespace", "acme-home"], None).await.unwrap();
    let repository = json!({ "url": "https://git.example.com/acme/orders.git" });
    let service =
        object("IntegrationService", "orders", &json!({ "repository": repository, "runtime": "container" }));
    let tenant = json!({ "apiVersion": "imaas.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "acme" }, "spec": {} });
    let items =
        json!([tenant, service, release("orders-prod-old", "info"), release("orders-prod-new", "debug")]);
    kubectl.apply(&list(items)).await.unwrap();
    let waiting = json!([{ "reason": "NotPromoted", "message": "was not healthy in test yet" }]);
    let prod = json!({
        "name": "prod", "branch": "prod", "current": "orders-prod-new", "lastGood": "orders-prod-old",
        "ready": 1, "desired": 1, "waiting": waiting,
    });
    let status = json!({ "status": { "environments": [prod] } }).to_string();
    let patch =
        ["patch", "isvc", "orders", "-nacme-home", "--subresource=status", "--type=merge", "-p", &status];
    kubectl.run(&patch, None).await.unwrap();
}

/// Answers the next decision as the operator would.
async fn answers(lab: &Lab, state: &str, message: &str) -> Value {
    let status = json!({ "status": { "state": state, "message": message } }).to_string();
    loop {
        let all = lab.kubectl().get(&["idec", "-nacme-home"]).await.unwrap();
        let open = |one: &&Value| one["status"]["state"].is_null();
        if let Some(decision) = all["items"].as_array().unwrap().iter().find(open) {
            let name = decision["metadata"]["name"].as_str().unwrap();
            let patch =
                ["patch", "idec", name, "-nacme-home", "--subresource=status", "--type=merge", "-p", &status];
            lab.kubectl().run(&patch, None).await.unwrap();
            return decision.clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_made_in_ones_own_name_and_its_answer_is_told() {
    let progress = Progress::new(|line| eprintln!("{line}"));
    let lab = Lab::start(LabOptions::default(), &progress).await.unwrap();
    install(&lab).await;
    let whoami = ["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"];
    let me = lab.kubectl().run(&whoami, None).await.unwrap();

    let hold = ["hold", "orders", "prod", "--tenant", "acme", "--reason", "stocktaking", "--for", "2h"];
    let (told, made) = both(run(&lab, &hold), answers(&lab, "InForce", "nothing new runs in prod")).await;
    let text = told.expect_status(0).stdout;
    assert!(text.starts_with("nothing new runs in prod\n  orders-prod-hold-"), "{text}");
    let spec = &made["spec"];
    assert_eq!((spec["author"].as_str(), spec["action"].as_str()), (Some(me.trim()), Some("hold")));
    assert!(spec["expiresAt"].is_string() && spec["reason"] == "stocktaking", "{spec}");

    // The number of now, and that of every service there.
    let now = ["scale", "orders", "prod", "current", "-n", "acme-prod", "--reason", "x", "--for", "6h"];
    let (told, made) = both(run(&lab, &now), answers(&lab, "Done", "1 instance")).await;
    told.expect_status(1);
    assert_eq!((&made["spec"]["action"], &made["spec"]["replicas"]), (&json!("scale"), &json!(1)));
    let sleep = ["sleep", "prod", "--tenant", "acme", "--reason", "nobody works", "--for", "12h"];
    let (told, _) = both(run(&lab, &sleep), answers(&lab, "Refused", "it cannot")).await;
    assert_eq!(told.expect_status(1).stdout, "orders  refused: it cannot\n");
    let dry = [&sleep[..], &["--dry-run"]].concat();
    let text = run(&lab, &dry).await.expect_status(0).stdout;
    assert_eq!(text, "orders  no instance would run\n", "nobody answers, as nothing is decided");
    let (told, made) = both(run(&lab, &sleep), answers(&lab, "InForce", "no instance runs")).await;
    assert_eq!(told.expect_status(0).stdout, "orders  no instance runs\n");
    assert_eq!((&made["spec"]["action"], &made["spec"]["replicas"]), (&json!("scale"), &json!(0)));
    let name = made["metadata"]["name"].as_str().unwrap_or_default();
    assert!(name.starts_with("orders-prod-rest-"), "`wake` knows it by that: {name}");
    let text = run(&lab, &sleep).await.expect_status(0).stdout;
    assert!(
        text.starts_with(&format!("orders  left as it is: {} set its number until", me.trim())),
        "{text}"
    );

    // Its board tells nothing of that yet; and then its hours of sleep have come.
    let wake = ["wake", "prod", "--tenant", "acme", "--reason", "a demo"];
    let (told, made) = both(run(&lab, &wake), answers(&lab, "Done", "over: the scale")).await;
    assert_eq!(told.expect_status(0).stdout, "orders  over: the scale\n");
    let meant = |made: &Value| (made["spec"]["action"].clone(), made["spec"]["target"].clone());
    assert_eq!(meant(&made), (json!("resume"), json!(name)));
    let asleep =
        r#"[{"op":"add","path":"/status/environments/0/asleepUntil","value":"2026-01-02T06:00:00Z"}]"#;
    let patch =
        ["patch", "isvc", "orders", "-nacme-home", "--subresource=status", "--type=json", "-p", asleep];
    lab.kubectl().run(&patch, None).await.unwrap();
    let answered = async {
        let first = answers(&lab, "Done", "over: the scale").await;
        (first, answers(&lab, "InForce", "1 instance runs").await)
    };
    let (told, (ended, woken)) = both(run(&lab, &wake), answered).await;
    assert_eq!(told.expect_status(0).stdout, "orders  over: the scale; 1 instance runs\n");
    assert_eq!(meant(&ended), (json!("resume"), json!(name)));
    assert_eq!((&woken["spec"]["action"], &woken["spec"]["replicas"]), (&json!("scale"), &json!(1)));

    let retry = ["retry", "orders", "prod", "-n", "acme-prod"];
    let (told, _) = both(run(&lab, &retry), answers(&lab, "Refused", "it has not failed")).await;
    assert_eq!(told.expect_status(1).stdout, "refused: it has not failed\n");
    let alone = ["resume", "orders", "prod", "--tenant", "acme", "--timeout", "1s"];
    let text = run(&lab, &alone).await.expect_status(1).stdout;
    assert!(text.contains("not answered yet"), "{text}");

    for (arguments, words) in [
        (&["hold", "invoices", "prod", "--tenant", "acme", "--reason", "x"][..], "it has orders"),
        (&["resume", "orders", "prod"], "default is no namespace of a tenant: say --tenant NAME"),
        (
            &["diff", "orders-prod-old", "orders-prod-none", "--tenant", "acme"],
            "no release \"orders-prod-none\"",
        ),
        (
            &["sleep", "dev", "--tenant", "acme", "--reason", "x", "--for", "1h"],
            "no service of the tenant is in \"dev\"",
        ),
        (&["why", "orders", "test", "--tenant", "acme"], "it is in prod"),
        (&["why", "orders", "prod", "--tenant", "nope"], "there is no Tenant \"nope\", only acme"),
        (&["history", "orders", "-n", "nope-prod"], "there is no Tenant \"nope\", only acme"),
    ] {
        let told = run(&lab, arguments).await.expect_status(2).stderr;
        assert!(told.contains(words), "{told}");
    }

    let why = run(&lab, &["why", "orders", "prod", "--tenant", "acme"]).await.expect_status(1).stdout;
    assert!(why.contains("because    NotPromoted: was not healthy in test yet"), "{why}");
    let history = run(&lab, &["history", "orders", "--tenant", "acme"]).await.expect_status(0).stdout;
    for words in ["orders-prod-new  Promotion 4f2a4f2a4f2a", "last good", "in force: nothing new runs"] {
        assert!(history.contains(words), "{words}: {history}");
    }
    let diff = ["diff", "orders-prod-old", "orders-prod-new", "--tenant", "acme"];
    let text = run(&lab, &diff).await.expect_status(1).stdout;
    let field = "template.spec.containers.orders.env.LOG_LEVEL.value";
    let heading = "--- orders-prod-old\n+++ orders-prod-new\n";
    assert_eq!(text, format!("{heading}- {field}: info\n+ {field}: debug\n"));
    lab.stop().await.unwrap();
}

async fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    tokio::join!(one, other)
}

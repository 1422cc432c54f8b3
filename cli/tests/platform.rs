#![allow(clippy::unwrap_used, reason = "a test may panic")]
//! What the platform defines: as the chart makes it, and as a real API server prints it.

mod support;

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use lab::{
    Lab, LabOptions, Progress,
    helm::{Helm, Release},
};
use serde_json::{Value, json};
use support::{Repository, Told, root};

/// Kind and name → spec, of the platform's definitions among the documents.
fn definitions(text: &str) -> BTreeMap<(String, String), Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let ours = |object: &Value| matches!(object["kind"].as_str(), Some("Environment" | "IntegrationRuntime"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    documents
        .into_iter()
        .filter(ours)
        .map(|object| ((text(&object["kind"]), text(&object["metadata"]["name"])), object["spec"].clone()))
        .collect()
}

#[tokio::test]
async fn the_sample_platform_is_what_the_chart_makes_by_default() {
    let directory = tempfile::tempdir().unwrap();
    let progress = Progress::new(|line| eprintln!("{line}"));
    let helm = Helm::new(&directory.path().join("kubeconfig"), &progress).await.unwrap();
    let chart = root().join("charts/imaas-operator");
    let set =
        ["registry.host=registry.example.com", "registry.auth.realm=https://registry.example.com/token"];
    let release = Release {
        name: "imaas",
        namespace: "imaas-system",
        chart: chart.to_str().unwrap(),
        values: &[],
        set: &set,
    };
    let rendered = definitions(&helm.template(&release).await.unwrap());
    let sample = definitions(&std::fs::read_to_string(root().join("tenants/platform.yaml")).unwrap());
    assert_eq!(sample.keys().collect::<Vec<_>>(), rendered.keys().collect::<Vec<_>>());
    assert_eq!(sample, rendered, "make tenants/platform.yaml what `helm template` prints");
}

/// The program in `directory`, as the administrator of the lab.
fn run(lab: &Lab, directory: &Path, arguments: &[&str]) -> Told {
    let mut command = support::neutral(env!("CARGO_BIN_EXE_kubectl-imaas"), directory);
    support::finish(command.args(arguments).env("KUBECONFIG", lab.kubeconfig()).env("NO_PROXY", "*"))
}

/// The kinds, what the platform defines, and two Tenants of one source: acme as its file says, and one whose file is gone.
async fn install(lab: &Lab) {
    let kubectl = lab.kubectl();
    let crds = json!({ "apiVersion": "v1", "kind": "List", "items": imaas_operator::api::crds() });
    kubectl.apply(&crds.to_string()).await.unwrap();
    kubectl
        .run(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"], None)
        .await
        .unwrap();
    // A kind is established a moment before it can be listed.
    for kind in imaas_operator::api::crds() {
        let list = ["get", kind.metadata.name.as_deref().unwrap(), "-A"];
        let begun = Instant::now();
        while let Err(error) = kubectl.run(&list, None).await {
            assert!(begun.elapsed() < Duration::from_secs(30), "{error:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    kubectl.apply(&std::fs::read_to_string(root().join("tenants/platform.yaml")).unwrap()).await.unwrap();
    let mut acme: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(root().join("tenants/tenants/acme.yaml")).unwrap())
            .unwrap();
    acme["metadata"]["annotations"] = json!({ "imaas.dev/origin": "central" });
    let object = |kind: &str, name: &str, spec: Value| json!({ "apiVersion": "imaas.dev/v1alpha1", "kind": kind, "metadata": { "name": name, "annotations": { "imaas.dev/origin": "central" } }, "spec": spec });
    let source =
        object("TenantSource", "central", json!({ "url": "https://git.example.com/platform/tenants.git" }));
    let umbrella = object("Tenant", "umbrella", json!({ "contact": "nobody" }));
    let mut globex = object("Tenant", "globex", json!({}));
    globex["metadata"]["annotations"] = json!({});
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [acme, source, umbrella, globex] });
    kubectl.apply(&list.to_string()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_compared_with_and_its_definitions_can_be_kept_in_a_file() {
    let progress = Progress::new(|line| eprintln!("{line}"));
    let lab = Lab::start(LabOptions::default(), &progress).await.unwrap();
    install(&lab).await;
    let plan = run(&lab, &root(), &["plan", "tenants", "--against", "cluster"]).expect_status(1).stdout;
    for line in [
        "Plan against the cluster, TenantSource central",
        "! tenant globex: held",
        "A Tenant of this name was applied by hand",
        "+ tenant initech: new",
        "- tenant umbrella: retires",
        "    - namespace  umbrella-home  retires",
        "Tenants: 1 to create, 1 to retire, 1 held, 1 unchanged",
    ] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    assert!(!plan.contains("note:"), "the cluster knows all of it: {plan}");
    let manual = ["plan", "tenants", "--against", "cluster", "--source", "manual"];
    let plan = run(&lab, &root(), &manual).expect_status(1).stdout;
    assert!(plan.contains("~ tenant globex: changes") && plan.contains("! tenant acme: held"), "{plan}");

    // As the documentation says, with status, managedFields and all.
    let get = [
        "get",
        "environments.imaas.dev,integrationruntimes.imaas.dev",
        "-o",
        "yaml",
        "--show-managed-fields",
    ];
    let kept = lab.kubectl().run(&get, None).await.unwrap();
    assert!(kept.contains("managedFields"));
    let repository = Repository::new();
    repository.write("platform.yaml", &kept);
    repository.write("tenants/acme.yaml", "apiVersion: imaas.dev/v1alpha1\nkind: Tenant\nmetadata: {name: acme}\nspec:\n  environments: {stage: {}}\n");
    for arguments in [&["validate"][..], &["validate", "--cluster"]] {
        let told = run(&lab, repository.root(), arguments).expect_status(1).stdout;
        assert!(
            told.contains("there is no Environment \"stage\", only dev, prod, test")
                && !told.contains("not checked"),
            "{told}"
        );
    }
    // A context that is not there is told by its name.
    let refused = Command::new(env!("CARGO_BIN_EXE_kubectl-imaas"))
        .args(["validate", "tenants", "--cluster", "--context", "nobody"])
        .current_dir(root())
        .env("KUBECONFIG", lab.kubeconfig())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("context \"nobody\" cannot be used"));
    lab.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restore_left_without_an_owner_is_adopted_as_a_whole_or_not_at_all() {
    let progress = Progress::new(|line| eprintln!("{line}"));
    let lab = Lab::start(LabOptions::default(), &progress).await.unwrap();
    install(&lab).await;
    let kubectl = lab.kubectl();
    for namespace in ["acme-home", "acme-dev"] {
        kubectl.run(&["create", "namespace", namespace], None).await.unwrap();
    }
    let labels =
        async || kubectl.get(&["namespace", "acme-home"]).await.unwrap()["metadata"]["labels"].clone();
    kubectl.run(&["label", "namespace", "acme-dev", "imaas.dev/tenant=beta"], None).await.unwrap();
    let refused = run(&lab, &root(), &["adopt", "acme"]).expect_status(1).stdout;
    assert!(refused.contains("! acme-dev: it belongs to tenant beta"), "{refused}");
    assert!(labels().await.get("imaas.dev/tenant").is_none());

    kubectl.run(&["label", "namespace", "acme-dev", "imaas.dev/tenant-"], None).await.unwrap();
    let told = run(&lab, &root(), &["adopt", "acme", "--dry-run"]).expect_status(0).stdout;
    assert!(told.contains("~ acme-home: gets") && told.contains("this was a dry run"), "{told}");
    assert!(labels().await.get("imaas.dev/tenant").is_none());

    let told = run(&lab, &root(), &["adopt", "acme"]).expect_status(0).stdout;
    assert!(told.contains("Adopted 2 of 2 namespaces."), "{told}");
    assert_eq!(labels().await["imaas.dev/tenant"], "acme");
    let again = run(&lab, &root(), &["adopt", "acme"]).expect_status(0).stdout;
    assert!(again.contains("acme-home: is the tenant's own") && again.contains("Adopted 0 of 2"), "{again}");
    run(&lab, &root(), &["adopt", "nobody"]).expect_status(2);
    lab.stop().await.unwrap();
}

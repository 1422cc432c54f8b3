//! A real API server with the kinds, the rights and the policies of the chart.

use std::{path::Path, time::Duration};

use imaas_operator::api;
use lab::{Lab, Progress, helm::Release};
use serde_json::{Value, json};

/// The operator, as the API server names it.
pub const OPERATOR: &str = "system:serviceaccount:imaas-system:imaas-operator";

/// The rights and policies of the chart, without its workloads.
pub async fn install(lab: &Lab, progress: &Progress, platform: &str) {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/imaas-operator");
    let release = Release {
        name: "imaas",
        namespace: "imaas-system",
        chart: chart.to_str().unwrap(),
        values: &[],
        set: &[
            "registry.host=registry.example.com",
            "registry.auth.realm=https://registry.example.com/token",
        ],
    };
    let rendered = lab.helm(progress).await.unwrap().template(&release).await.unwrap();
    let kinds = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
    let policy = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
    let part = |wanted: &[&str]| {
        let is_wanted = |document: &&str| {
            wanted.iter().any(|kind| document.lines().any(|line| line == format!("kind: {kind}")))
        };
        rendered.split("\n---").filter(is_wanted).collect::<Vec<_>>().join("\n---\n")
    };
    let crds = json!({ "apiVersion": "v1", "kind": "List", "items": api::crds() });
    let kubectl = lab.kubectl();
    kubectl.apply(&crds.to_string()).await.unwrap();
    kubectl.run(&["create", "namespace", "imaas-system"], None).await.unwrap();
    kubectl.apply(&part(&kinds)).await.unwrap();
    kubectl
        .run(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"], None)
        .await
        .unwrap();
    kubectl.apply(platform).await.unwrap();
    std::fs::write(lab.data_dir().join("policies.yaml"), part(&policy)).unwrap();
}

/// The object, once it is so.
pub async fn until(lab: &Lab, what: &[&str], is: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..600 {
        if let Ok(object) = lab.kubectl().get(what).await {
            if is(&object) {
                return object;
            }
            last = object;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what:?} did not come so: {last:#}");
}

/// Of its condition `Ready`.
pub fn reason(object: &Value) -> &str {
    let conditions = object["status"]["conditions"].as_array();
    let ready = conditions.and_then(|list| list.iter().find(|c| c["type"] == "Ready"));
    ready.and_then(|ready| ready["reason"].as_str()).unwrap_or_default()
}

//! What holds whoever gets as far as to make something in a tenant's namespace, here the administrator; and what comes
//! back when the administrator takes it away.

use std::time::Duration;

use anyhow::Result;
use lab::kubectl::Kubectl;
use serde_json::{Value, json};

use super::until;
use crate::{Broken, ask};

/// A pod as strict as it must be.
fn pod(namespace: &str) -> Value {
    let security = json!({
        "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "runAsNonRoot": true,
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "tried", "namespace": namespace },
        "spec": { "containers": [{ "name": "x", "image": "x", "securityContext": security }] },
    })
}

/// The controls of the multi-tenancy benchmark for pods, volumes and ports, with the words of who refuses.
fn forbidden() -> Vec<(Value, &'static str)> {
    let with = |pointer: &str, value: Value| {
        let mut pod = pod("north-dev");
        let (parent, field) = pointer.rsplit_once('/').unwrap_or_default();
        if let Some(parent) = pod.pointer_mut(parent) {
            parent[field] = value;
        }
        pod
    };
    let security = "/spec/containers/0/securityContext";
    let pods = [
        with("/spec/hostNetwork", json!(true)),
        with("/spec/hostPID", json!(true)),
        with("/spec/hostIPC", json!(true)),
        with("/spec/volumes", json!([{ "name": "v", "hostPath": { "path": "/" } }])),
        with("/spec/containers/0/ports", json!([{ "containerPort": 80, "hostPort": 80 }])),
        with(security, json!({ "privileged": true })),
        with(&format!("{security}/allowPrivilegeEscalation"), json!(true)),
        with(&format!("{security}/capabilities"), json!({ "drop": ["ALL"], "add": ["NET_ADMIN"] })),
        with(&format!("{security}/runAsNonRoot"), json!(false)),
        with(&format!("{security}/runAsUser"), json!(0)),
        with(&format!("{security}/seccompProfile"), json!({ "type": "Unconfined" })),
    ];
    let service = |type_: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "tried", "namespace": "north-dev" },
            "spec": { "type": type_, "ports": [{ "port": 80 }] },
        })
    };
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "tried", "namespace": "north-dev" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    let mut large = pod("north-dev");
    large["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "3", "memory": "1Mi" } });
    let others = [service("NodePort"), service("LoadBalancer"), claim, pod("north-home"), large];
    let pods = pods.into_iter().map(|pod| (pod, "PodSecurity"));
    pods.chain(others.into_iter().map(|object| (object, "exceeded quota"))).collect()
}

pub async fn stand_against_pods_and_volumes(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    let create = async |object: &Value| {
        ask(kubectl, &["create", "--dry-run=server", "-f", "-"], Some(&object.to_string())).await
    };
    let fine = create(&pod("north-dev")).await?;
    broken.unless(fine.is_ok(), format!("a strict pod is accepted: {fine:?}"));
    for (object, by) in forbidden() {
        let answer = create(&object).await?;
        let told = answer.as_ref().err().is_some_and(|words| words.contains(by));
        broken.unless(told, format!("{object} is refused by {by}: {answer:?}"));
    }
    Ok(())
}

/// Each is changed, then deleted, and is as it was a moment later.
pub async fn are_repaired(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    let nobody = r#"{"subjects":[{"kind":"User","name":"otto","apiGroup":"rbac.authorization.k8s.io"}]}"#;
    let all = r#"{"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}"#;
    for (kind, name, namespace, change) in [
        ("resourcequota", "imaas", "north-dev", r#"{"spec":{"hard":{"pods":"9999"}}}"#),
        ("limitrange", "imaas", "north-dev", r#"{"spec":{"limits":[{"type":"Pod","max":{"cpu":"99"}}]}}"#),
        ("networkpolicy", "imaas-default-deny", "north-dev", r#"{"spec":{"egress":[{}]}}"#),
        ("rolebinding", "imaas-developer", "north-dev", nobody),
        ("rolebinding", "imaas-operator", "north-dev", nobody),
        ("clusterrolebinding", "imaas-tenant-own-north", "", nobody),
        ("clusterrole", "imaas-tenant-own-north", "", all),
    ] {
        let place = if namespace.is_empty() { vec![] } else { vec!["-n", namespace] };
        let get = [&[kind, name][..], &place].concat();
        let content = |object: &Value| {
            let mut object = object.clone();
            object["metadata"] = json!(null);
            object["status"] = json!(null);
            object
        };
        let before = content(&kubectl.get(&get).await?);
        kubectl.run(&[&["patch"][..], &get, &["--type=merge", "-p", change]].concat(), None).await?;
        let changed = until(kubectl, &get, |now| content(now) == before).await;
        broken.unless(changed.is_ok(), format!("{kind} {name} is as it was after {change}: {changed:?}"));
        kubectl.delete(&get, Duration::from_secs(10)).await?;
        let deleted = until(kubectl, &get, |now| content(now) == before).await;
        broken.unless(deleted.is_ok(), format!("{kind} {name} comes back: {deleted:?}"));
    }
    Ok(())
}

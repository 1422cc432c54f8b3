//! What members see of their own Tenant comes by a ClusterRole and its binding: the operator writes that pair, and no other
//! `ClusterRole` or `ClusterRoleBinding`, though RBAC would let it.

use anyhow::Result;
use lab::kubectl::Kubectl;
use serde_json::{Value, json};

use crate::{Broken, OPERATOR, ask};

const GROUP: &str = "rbac.authorization.k8s.io";
/// Words of a refusal by the policy itself.
const POLICY: &str = "ValidatingAdmissionPolicy 'imaas-clusterroles'";

fn labels(tenant: &str) -> Value {
    json!({ "app.kubernetes.io/managed-by": "imaas-operator", "imaas.dev/tenant": tenant })
}

fn rule(tenant: &str) -> Value {
    json!({ "apiGroups": ["imaas.dev"], "resources": ["tenants"], "resourceNames": [tenant], "verbs": ["get", "list", "watch"] })
}

fn role(name: &str, labels: &Value, rules: &[Value]) -> Value {
    json!({ "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "metadata": { "name": name, "labels": labels }, "rules": rules })
}

fn binding(name: &str, role: &str) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRoleBinding",
        "metadata": { "name": name, "labels": labels("acme") },
        "roleRef": { "apiGroup": GROUP, "kind": "ClusterRole", "name": role },
        "subjects": [{ "apiGroup": GROUP, "kind": "User", "name": "jo" }],
    })
}

/// What is within the operator's rights, so that nothing but the policy refuses it.
fn refused() -> Vec<Value> {
    let (own, acme) = ("imaas-tenant-own-acme", labels("acme"));
    let changed = |field: &str, value: Value| {
        let mut rule = rule("acme");
        rule[field] = value;
        role(own, &acme, &[rule])
    };
    let unnamed = json!({ "apiGroups": ["imaas.dev"], "resources": ["tenants"], "verbs": ["get"] });
    vec![
        role("imaas-tenant-owner", &acme, &[rule("acme")]),
        role("imaas-tenant-acme", &acme, &[rule("acme")]),
        role("imaas-tenant-own-", &labels(""), &[rule("")]),
        role("acme", &acme, &[rule("acme")]),
        role(own, &json!({}), &[rule("acme")]),
        role(own, &json!({ "imaas.dev/tenant": "acme" }), &[rule("acme")]),
        role(own, &labels("beta"), &[rule("beta")]),
        role(own, &acme, &[rule("beta")]),
        role(own, &acme, &[unnamed]),
        role(own, &acme, &[]),
        role(own, &acme, &[rule("acme"), rule("acme")]),
        changed("resourceNames", json!(["acme", "beta"])),
        changed("resources", json!(["environments"])),
        changed("resources", json!(["tenants", "environments"])),
        changed("verbs", json!(["get", "patch"])),
        binding("imaas-tenant-own-acme", "imaas-tenant-viewer"),
        binding("imaas-tenant-own-acme", "imaas-tenant-own-er"),
        binding("imaas-tenant-acme", "imaas-tenant-own-acme"),
    ]
}

pub async fn the_operator_writes_one_pair_a_tenant(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    let create = |object: Value| async move {
        let arguments = ["create", "--as", OPERATOR, "--dry-run=server", "-f", "-"];
        ask(kubectl, &arguments, Some(&object.to_string())).await
    };
    for tenant in ["acme", "er"] {
        let made = role(&format!("imaas-tenant-own-{tenant}"), &labels(tenant), &[rule(tenant)]).to_string();
        let answer = ask(kubectl, &["create", "--as", OPERATOR, "-f", "-"], Some(&made)).await?;
        broken.unless(answer.is_ok(), format!("the role of {tenant}: {answer:?}"));
    }
    let bound = create(binding("imaas-tenant-own-acme", "imaas-tenant-own-acme")).await?;
    broken.unless(bound.is_ok(), format!("its binding needs neither `bind` nor `escalate`: {bound:?}"));
    for object in refused() {
        let text = object.to_string();
        let told = |answer: &Result<String, String>| {
            answer.as_ref().err().is_some_and(|words| words.contains(POLICY))
        };
        let answer = create(object.clone()).await?;
        broken.unless(told(&answer), format!("the policy refuses to create {text}: {answer:?}"));
        let is_other = object["metadata"]["labels"] != labels("acme") || object["kind"] != "ClusterRole";
        if is_other || object["metadata"]["name"] != "imaas-tenant-own-acme" {
            continue;
        }
        let change = json!({ "rules": object["rules"] }).to_string();
        let own = "clusterrole/imaas-tenant-own-acme";
        let arguments = ["patch", own, "--type=merge", "-p", &change, "--as", OPERATOR, "--dry-run=server"];
        let answer = ask(kubectl, &arguments, None).await?;
        broken.unless(told(&answer), format!("the policy refuses to change it to {text}: {answer:?}"));
    }
    others_stay(kubectl, broken).await?;
    kubectl.run(&["delete", "clusterrole", "imaas-tenant-own-acme", "--as", OPERATOR], None).await?;
    kubectl.run(&["delete", "clusterrole", "imaas-tenant-own-er", "--as", OPERATOR], None).await.map(drop)
}

/// Roles and bindings of the cluster and of the chart are neither changed nor deleted.
async fn others_stay(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    let patch = r#"{"metadata":{"labels":{"app.kubernetes.io/managed-by":"imaas-operator","imaas.dev/tenant":"er"}}}"#;
    for what in [
        "clusterrole/imaas-tenant-owner",
        "clusterrole/imaas-operator-tenant",
        "clusterrole/view",
        "clusterrolebinding/imaas-operator",
        "clusterrolebinding/cluster-admin",
    ] {
        // What gives more than the operator has is not even for it to patch.
        let change = ["patch", what, "--type=merge", "-p", patch, "--as", OPERATOR, "--dry-run=server"];
        let changed = ask(kubectl, &change, None).await?;
        broken.unless(changed.is_err(), format!("{change:?}: {changed:?}"));
        let remove = ["delete", what, "--as", OPERATOR, "--dry-run=server"];
        let removed = ask(kubectl, &remove, None).await?;
        let told = removed.as_ref().err().is_some_and(|words| words.contains(POLICY));
        broken.unless(told, format!("{remove:?}: {removed:?}"));
    }
    let mut aggregated = role("imaas-tenant-own-acme", &labels("acme"), &[rule("acme")]);
    aggregated["aggregationRule"] = json!({ "clusterRoleSelectors": [{ "matchLabels": { "a": "b" } }] });
    for object in [binding("imaas-tenant-own-acme", "cluster-admin"), aggregated] {
        let text = object.to_string();
        let create = ["create", "--as", OPERATOR, "--dry-run=server", "-f", "-"];
        let answer = ask(kubectl, &create, Some(&text)).await?;
        broken.unless(answer.is_err(), format!("{text} is more than the operator has: {answer:?}"));
    }
    Ok(())
}

//! Who may change what on a namespace, in every way that the API server offers. Dry runs: nothing is changed.

use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use lab::kubectl::Kubectl;
use serde_json::{Value, json};

use crate::{Broken, OPERATOR, ask};

/// Holds every verb on namespaces and role bindings, and nothing else.
const USER: &str = "mallory";
/// The same, and `adopt` on tenants.
const ADOPTER: &str = "restorer";
/// Words of a refusal by the policy itself.
const POLICY: &str = "ValidatingAdmissionPolicy 'imaas-namespaces'";
const WAYS: [&str; 7] = ["merge", "json", "strategic", "apply", "put", "status", "finalize"];

/// Makes the two users and the namespaces `acme-dev`, by the operator, and `plain`, by the user.
pub async fn people(kubectl: &Kubectl) -> Result<()> {
    let role = |name: &str, rules: Value| json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": name }, "rules": rules });
    let bind = |role: &str, users: &[&str]| {
        let subjects: Vec<_> = users.iter().map(|user| json!({ "kind": "User", "name": user })).collect();
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": role },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role }, "subjects": subjects,
        })
    };
    let namespaces = json!([{ "apiGroups": [""], "resources": ["namespaces", "namespaces/status", "namespaces/finalize"], "verbs": ["*"] }]);
    let adopt = json!([{ "apiGroups": ["imaas.dev"], "resources": ["tenants"], "verbs": ["adopt"] }]);
    let objects = [
        role("test-namespaces", namespaces),
        role("test-adopt", adopt),
        bind("test-namespaces", &[USER, ADOPTER]),
        bind("test-adopt", &[ADOPTER]),
    ];
    for object in objects {
        kubectl.apply(&object.to_string()).await?;
    }
    kubectl
        .run(&["create", "--as", OPERATOR, "-f", "-"], Some(&tenant_namespace("acme-dev").to_string()))
        .await?;
    let plain = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "plain", "labels": { "a": "b" }, "annotations": { "a": "b" } } });
    kubectl.run(&["create", "--as", USER, "-f", "-"], Some(&plain.to_string())).await.map(drop)
}

fn tenant_namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {
                "imaas.dev/tenant": "acme", "imaas.dev/environment": "dev", "app.kubernetes.io/managed-by": "imaas-operator",
                "pod-security.kubernetes.io/enforce": "restricted",
            },
            "annotations": { "imaas.dev/origin": "manual" },
        },
    })
}

pub async fn creation(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    let cases = [
        (OPERATOR, json!({ "labels": { "imaas.dev/tenant": "beta" } }), true),
        (OPERATOR, json!({}), false),
        (USER, json!({}), true),
        (USER, json!({ "labels": { "imaas.dev/tenant": "beta" } }), false),
        (USER, json!({ "labels": { "imaas.dev/environment": "dev" } }), false),
        (USER, json!({ "annotations": { "imaas.dev/origin": "manual" } }), false),
        (
            ADOPTER,
            json!({ "labels": { "imaas.dev/tenant": "beta" }, "annotations": { "imaas.dev/origin": "tenants" } }),
            true,
        ),
    ];
    for (who, mut metadata, allowed) in cases {
        metadata["name"] = json!("beta-dev");
        let text = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }).to_string();
        let answer =
            ask(kubectl, &["create", "--as", who, "--dry-run=server", "-f", "-"], Some(&text)).await?;
        broken.unless(
            as_expected(&answer, allowed),
            format!("{who} creates {text}, allowed {allowed}: {answer:?}"),
        );
    }
    Ok(())
}

fn as_expected(answer: &Result<String, String>, allowed: bool) -> bool {
    match answer {
        Ok(_) => allowed,
        Err(words) => !allowed && words.contains(POLICY),
    }
}

/// `labels` or `annotations`, the key, and the new value; none removes it.
type Change = (&'static str, &'static str, Option<&'static str>);

/// Namespace, change, and whether operator, user and adopter may.
const CASES: [(&str, Change, [bool; 3]); 16] = [
    ("plain", ("labels", "imaas.dev/tenant", Some("acme")), [false, false, true]),
    ("plain", ("labels", "imaas.dev/environment", Some("dev")), [false, false, true]),
    ("plain", ("annotations", "imaas.dev/origin", Some("manual")), [false, false, true]),
    ("plain", ("labels", "pod-security.kubernetes.io/enforce", Some("privileged")), [false, true, true]),
    ("plain", ("labels", "harmless", Some("x")), [false, true, true]),
    ("acme-dev", ("labels", "imaas.dev/tenant", Some("beta")), [false, false, true]),
    ("acme-dev", ("labels", "imaas.dev/tenant", None), [false, false, true]),
    ("acme-dev", ("labels", "imaas.dev/environment", Some("prod")), [false, false, true]),
    (
        "plain",
        ("annotations", "imaas.dev/orphaned-since", Some("2026-01-01T00:00:00Z")),
        [false, false, true],
    ),
    (
        "acme-dev",
        ("annotations", "imaas.dev/orphaned-since", Some("2026-01-01T00:00:00Z")),
        [true, false, true],
    ),
    (
        "acme-dev",
        ("annotations", "imaas.dev/retiring-since", Some("2026-01-01T00:00:00Z")),
        [true, false, true],
    ),
    // Of a tenant that is handed over.
    ("acme-dev", ("annotations", "imaas.dev/origin", Some("other")), [true, false, true]),
    ("acme-dev", ("annotations", "imaas.dev/origin", None), [false, false, true]),
    ("acme-dev", ("labels", "pod-security.kubernetes.io/enforce", Some("privileged")), [true, false, true]),
    ("acme-dev", ("labels", "app.kubernetes.io/managed-by", None), [true, false, true]),
    ("acme-dev", ("labels", "harmless", Some("x")), [true, true, true]),
];

pub async fn every_change_every_way(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    let mut questions = Vec::new();
    for (namespace, change, allowed) in CASES {
        for (who, allowed) in [OPERATOR, USER, ADOPTER].into_iter().zip(allowed) {
            // RBAC gives the operator `patch` on the namespace itself only.
            let ways = if who == OPERATOR { &WAYS[..4] } else { &WAYS };
            // Applying takes away only what the same manager had applied.
            let ways = ways.iter().filter(|way| **way != "apply" || change.2.is_some());
            questions.extend(ways.map(|way| (namespace, change, who, *way, allowed)));
        }
    }
    let asked = stream::iter(questions).map(|(namespace, change, who, way, allowed)| async move {
        let answer = attempt(kubectl, (namespace, who), change, way).await?;
        anyhow::Ok((answer, format!("{who} on {namespace}, {change:?} by {way}, allowed {allowed}"), allowed))
    });
    let answers: Vec<_> = asked.buffered(4).try_collect().await?;
    for (answer, question, allowed) in answers {
        broken.unless(as_expected(&answer, allowed), format!("{question}: {answer:?}"));
    }
    for way in ["put", "status", "finalize"] {
        let answer = attempt(kubectl, ("acme-dev", OPERATOR), ("labels", "harmless", Some("x")), way).await?;
        broken.unless(answer.is_err(), format!("the operator has no right to {way}: {answer:?}"));
    }
    Ok(())
}

async fn attempt(
    kubectl: &Kubectl,
    (namespace, who): (&str, &str),
    (map, key, value): Change,
    way: &str,
) -> Result<Result<String, String>> {
    let merge = json!({ "metadata": { map: { key: value } } }).to_string();
    let pointer = format!("/metadata/{map}/{}", key.replace('/', "~1"));
    let json_patch = match value {
        Some(value) => json!([{ "op": "add", "path": pointer, "value": value }]),
        None => json!([{ "op": "remove", "path": pointer }]),
    };
    let json_patch = json_patch.to_string();
    let patch = ["patch", "namespace", namespace, "--as", who, "--dry-run=server"];
    let arguments = match way {
        "merge" | "strategic" => [&patch[..], &["--type", way, "-p", &merge]].concat(),
        "json" => [&patch[..], &["--type=json", "-p", &json_patch]].concat(),
        "status" => [&patch[..], &["--type=merge", "--subresource=status", "-p", &merge]].concat(),
        _ => return send_whole(kubectl, (namespace, who), (map, key, value), way).await,
    };
    ask(kubectl, &arguments, None).await
}

/// Ways that send an object, not a change.
async fn send_whole(
    kubectl: &Kubectl,
    (namespace, who): (&str, &str),
    (map, key, value): Change,
    way: &str,
) -> Result<Result<String, String>> {
    if way == "apply" {
        let text = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace, map: { key: value } } });
        let arguments =
            ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--as", who, "-f", "-"];
        return ask(kubectl, &arguments, Some(&text.to_string())).await;
    }
    let mut whole = kubectl.get(&["namespace", namespace]).await?;
    if let Some(entries) = whole["metadata"][map].as_object_mut() {
        match value {
            Some(value) => drop(entries.insert(key.to_owned(), json!(value))),
            None => drop(entries.remove(key)),
        }
    }
    let path = format!("/api/v1/namespaces/{namespace}/finalize?dryRun=All");
    let arguments = match way {
        "finalize" => vec!["replace", "--as", who, "--raw", &path, "-f", "-"],
        _ => vec!["replace", "--as", who, "--dry-run=server", "-f", "-"],
    };
    ask(kubectl, &arguments, Some(&whole.to_string())).await
}

pub async fn a_deleted_one_goes(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    kubectl
        .run(&["create", "--as", OPERATOR, "-f", "-"], Some(&tenant_namespace("acme-old").to_string()))
        .await?;
    let dry = ["--dry-run=server", "--as", OPERATOR];
    let foreign = ask(kubectl, &[&["delete", "namespace", "plain"][..], &dry].concat(), None).await?;
    let told = foreign.as_ref().err().is_some_and(|words| words.contains(POLICY));
    broken.unless(told, format!("the operator deletes no namespace but a tenant's: {foreign:?}"));
    let own = ask(kubectl, &[&["delete", "namespace", "acme-old"][..], &dry].concat(), None).await?;
    broken.unless(own.is_ok(), format!("the operator deletes a tenant's namespace: {own:?}"));
    // The namespace controller empties it and takes the finalizer off, as a user who is neither operator nor adopter.
    let gone = kubectl.delete(&["namespace", "acme-old"], Duration::from_mins(1)).await;
    broken.unless(gone.is_ok(), format!("a deleted namespace goes: {gone:?}"));
    Ok(())
}

pub async fn a_tenant_goes_only_when_it_is_meant(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    let tenant = json!({ "apiVersion": "imaas.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "leaving" }, "spec": {} });
    kubectl.apply(&tenant.to_string()).await?;
    let uid = kubectl.get(&["tenants.imaas.dev", "leaving"]).await?["metadata"]["uid"].clone();
    let uid = uid.as_str().unwrap_or_default();
    for (confirmed, is_gone) in [("", false), ("4f2a", false), (uid, true)] {
        let annotation = format!("imaas.dev/confirm-delete={confirmed}");
        kubectl.run(&["annotate", "--overwrite", "tenants.imaas.dev", "leaving", &annotation], None).await?;
        let delete = ["delete", "tenants.imaas.dev", "leaving", "--dry-run=server", "--as", OPERATOR];
        let answer = ask(kubectl, &delete, None).await?;
        let is_right = match &answer {
            Ok(_) => is_gone,
            Err(words) => !is_gone && words.contains("imaas-tenants"),
        };
        broken.unless(is_right, format!("the operator deletes a Tenant with {annotation}: {answer:?}"));
    }
    kubectl.delete(&["tenants.imaas.dev", "leaving"], Duration::from_secs(10)).await?;
    Ok(())
}

//! What an owner may do with Secrets: own ones of a bounded size, but none that is a login to the cluster, and not the
//! operator's.

use anyhow::Result;
use lab::kubectl::Kubectl;
use serde_json::{Value, json};

use crate::{Broken, NAMESPACE, OPERATOR, ask};

/// Holds the owner's role in a tenant's namespace, and in one that is nobody's.
const OWNER: &str = "olga";
/// What the cluster itself acts as.
const CONTROLLER: &str = "system:serviceaccount:kube-system:test-controller";
/// Words of a refusal by the policy itself.
const POLICY: &str = "ValidatingAdmissionPolicy 'imaas-secrets'";
const OPAQUE: &str = "Opaque";
const TOKEN: &str = "kubernetes.io/service-account-token";
const BOOTSTRAP: &str = "bootstrap.kubernetes.io/token";
/// `tenants.largestSecret` where nobody sets it.
const LARGEST: usize = 64 << 10;

fn secret(namespace: &str, type_: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": type_,
        "metadata": {
            "name": "tried", "namespace": namespace, "labels": labels,
            "annotations": { "kubernetes.io/service-account.name": "default" },
        },
    })
}

/// Every one of them may write Secrets, as far as RBAC goes.
async fn people(kubectl: &Kubectl) -> Result<()> {
    let subjects = json!([
        { "kind": "User", "name": OWNER },
        { "kind": "ServiceAccount", "name": "imaas-operator", "namespace": NAMESPACE },
        { "kind": "ServiceAccount", "name": "test-controller", "namespace": "kube-system" },
    ]);
    for namespace in ["acme-dev", "plain"] {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": "test-owners", "namespace": namespace },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "imaas-tenant-owner" },
            "subjects": subjects,
        });
        kubectl.apply(&binding.to_string()).await?;
    }
    Ok(())
}

pub async fn are_no_logins_and_the_operators_own_stay(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    people(kubectl).await?;
    let (none, ours) = (json!({}), json!({ "app.kubernetes.io/managed-by": "imaas-operator" }));
    for (who, namespace, type_, labels, allowed) in [
        (OWNER, "acme-dev", OPAQUE, &none, true),
        (OWNER, "acme-dev", TOKEN, &none, false),
        (OWNER, "acme-dev", BOOTSTRAP, &none, false),
        (OWNER, "acme-dev", OPAQUE, &ours, false),
        (OWNER, "plain", TOKEN, &none, true),
        (OPERATOR, "acme-dev", OPAQUE, &ours, true),
        (OPERATOR, "acme-dev", TOKEN, &ours, false),
        (CONTROLLER, "acme-dev", TOKEN, &none, true),
    ] {
        let text = secret(namespace, type_, labels).to_string();
        let answer =
            ask(kubectl, &["create", "--as", who, "--dry-run=server", "-f", "-"], Some(&text)).await?;
        broken.unless(
            as_expected(&answer, allowed),
            format!("{who} creates {type_} {labels} in {namespace}, allowed {allowed}: {answer:?}"),
        );
    }
    the_operators_own_stay(kubectl, broken, &ours).await
}

async fn the_operators_own_stay(kubectl: &Kubectl, broken: &mut Broken, ours: &Value) -> Result<()> {
    let made = secret("acme-dev", OPAQUE, ours).to_string();
    kubectl.run(&["create", "--as", OPERATOR, "-f", "-"], Some(&made)).await?;
    let unlabel = r#"{"metadata":{"labels":{"app.kubernetes.io/managed-by":null}}}"#;
    let change =
        ["patch", "secret", "tried", "-n", "acme-dev", "--dry-run=server", "--type=merge", "-p", unlabel];
    let remove = ["delete", "secret", "tried", "-n", "acme-dev", "--dry-run=server"];
    for what in [&change[..], &remove[..]] {
        for (who, allowed) in [(Some(OWNER), false), (Some(CONTROLLER), true), (None, true)] {
            let whom = who.map(|who| ["--as", who]);
            let arguments = [what, whom.as_ref().map_or(&[][..], |whom| &whom[..])].concat();
            let answer = ask(kubectl, &arguments, None).await?;
            broken.unless(
                as_expected(&answer, allowed),
                format!("{who:?} may {arguments:?}, allowed {allowed}: {answer:?}"),
            );
        }
    }
    kubectl.run(&["delete", "secret", "tried", "-n", "acme-dev"], None).await.map(drop)
}

/// An owner's Secret with these fields over those of a plain one.
fn with(metadata: Value, content: Value) -> Value {
    let mut secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "large", "namespace": "acme-dev" } });
    for (into, fields) in [("/metadata", metadata), ("", content)] {
        if let (Some(into), Value::Object(fields)) =
            (secret.pointer_mut(into).and_then(Value::as_object_mut), fields)
        {
            into.extend(fields);
        }
    }
    secret
}

/// Records of fields that say little and by whom at length.
fn many_who_wrote(count: usize) -> Value {
    let one = |number: usize| {
        json!({
            "manager": format!("{number:0128}"), "operation": "Apply", "apiVersion": "v1",
            "fieldsType": "FieldsV1", "fieldsV1": { "f:x": {} },
        })
    };
    (0..count).map(one).collect()
}

/// Each with whether it fits. Nothing that a request can make long is left out.
fn sizes() -> Vec<(&'static str, Value, bool)> {
    let base64 = |bytes: usize| format!("{}AA==", "A".repeat((bytes - 1) / 3 * 4));
    let many = |count: usize, text: &str| -> Value {
        (0..count)
            .map(|at| (format!("example.com/{at:06}"), json!(text)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let keys = |count: usize| -> Value {
        (0..count).map(|at| (format!("k{at}"), json!(""))).collect::<serde_json::Map<_, _>>().into()
    };
    let long = "x".repeat(2 * LARGEST);
    let owner = json!([{ "apiVersion": "v1", "kind": "Pod", "name": long, "uid": "u" }]);
    let finalizers: Vec<_> = (0..2200).map(|at| format!("example.com/{at:050}")).collect();
    let record = |fields: Value| {
        let entry = json!({ "manager": "m", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields });
        json!({ "managedFields": [entry] })
    };
    let (wide, long) = (json!({ "f:data": { format!("f:{long}"): {} } }), long.clone());
    let deep = json!({ "f:data": { "f:a": { "f:b": { format!("f:{long}"): {} } } } });
    let none = || json!({});
    vec![
        ("data, just", with(none(), json!({ "data": { "a": base64(LARGEST - 4) } })), true),
        ("data", with(none(), json!({ "data": { "a": base64(LARGEST + 4) } })), false),
        (
            "data in two",
            with(none(), json!({ "data": { "a": base64(LARGEST / 2), "b": base64(LARGEST / 2 + 4) } })),
            false,
        ),
        ("stringData", with(none(), json!({ "stringData": { "a": "x".repeat(LARGEST + 1) } })), false),
        ("stringData, just", with(none(), json!({ "stringData": { "a": "x".repeat(LARGEST - 4) } })), true),
        ("keys, just", with(none(), json!({ "data": keys(1000) })), true),
        ("keys", with(none(), json!({ "data": keys(1001) })), false),
        ("very many keys", with(none(), json!({ "data": keys(10_000) })), false),
        ("annotations", with(json!({ "annotations": { "a": long } }), none()), false),
        ("labels", with(json!({ "labels": many(2000, &"x".repeat(60)) }), none()), false),
        ("finalizers", with(json!({ "finalizers": finalizers }), none()), false),
        // The namespace could not be removed until somebody takes it away.
        ("one finalizer", with(json!({ "finalizers": ["example.com/never"] }), none()), false),
        ("owners", with(json!({ "ownerReferences": owner }), none()), false),
        ("record of fields", with(record(wide), none()), false),
        ("deep record of fields", with(record(deep), none()), false),
        ("many who wrote", with(json!({ "managedFields": many_who_wrote(2_000) }), none()), false),
        ("few with long names", with(json!({ "managedFields": many_who_wrote(400) }), none()), true),
        ("type", with(none(), json!({ "type": "t".repeat(3 * LARGEST) })), false),
        (
            "letters of four bytes",
            with(json!({ "annotations": { "a": "🦀".repeat(LARGEST * 3 / 4) } }), none()),
            false,
        ),
        (
            "an owner of four bytes a letter",
            with(
                json!({ "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "uid": "1", "name": "🦀".repeat(LARGEST * 3 / 4) }] }),
                none(),
            ),
            false,
        ),
    ]
}

/// The quota bounds their number only, and etcd holds those of all tenants.
pub async fn are_bounded_in_bytes(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    for (what, secret, allowed) in sizes() {
        let arguments = ["create", "--as", OWNER, "--dry-run=server", "-f", "-"];
        let answer = ask(kubectl, &arguments, Some(&secret.to_string())).await?;
        broken.unless(as_expected(&answer, allowed), format!("{what}, allowed {allowed}: {answer:?}"));
    }
    let large =
        with(json!({ "namespace": "plain" }), json!({ "stringData": { "a": "x".repeat(LARGEST + 1) } }));
    let answer =
        ask(kubectl, &["create", "--as", OWNER, "--dry-run=server", "-f", "-"], Some(&large.to_string()))
            .await?;
    broken.unless(answer.is_ok(), format!("the namespaces of nobody are not bounded: {answer:?}"));
    one_that_was_large_does_not_grow(kubectl, broken).await
}

/// One of before the policy, here one that the administrator brought back.
async fn one_that_was_large_does_not_grow(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    let large = with(json!({}), json!({ "stringData": { "a": "x".repeat(LARGEST + 1000) } }));
    kubectl.run(&["create", "-f", "-"], Some(&large.to_string())).await?;
    let text = |length: usize| json!({ "stringData": { "a": "x".repeat(length) } });
    let server_side = with(json!({}), text(LARGEST + 1004)).to_string();
    for (what, change, allowed) in [
        ("another label", json!({ "metadata": { "labels": { "a": "b" } } }), true),
        ("smaller, and still large", text(LARGEST + 996), true),
        ("larger", text(LARGEST + 1004), false),
        ("one more key", json!({ "stringData": { "b": "" } }), false),
    ] {
        let change = change.to_string();
        let arguments = [
            "patch",
            "secret",
            "large",
            "-n",
            "acme-dev",
            "--as",
            OWNER,
            "--dry-run=server",
            "--type=merge",
            "--patch-file",
            "/dev/stdin",
        ];
        let answer = ask(kubectl, &arguments, Some(&change)).await?;
        broken.unless(as_expected(&answer, allowed), format!("{what}, allowed {allowed}: {answer:?}"));
    }
    let apply = ["apply", "--server-side", "--force-conflicts", "--as", OWNER, "--dry-run=server", "-f", "-"];
    let answer = ask(kubectl, &apply, Some(&server_side)).await?;
    broken.unless(as_expected(&answer, false), format!("larger by server-side apply: {answer:?}"));
    kubectl.run(&["delete", "secret", "large", "-n", "acme-dev", "--as", OWNER], None).await.map(drop)
}

fn as_expected(answer: &Result<String, String>, allowed: bool) -> bool {
    match answer {
        Ok(_) => allowed,
        Err(words) => !allowed && words.contains(POLICY),
    }
}

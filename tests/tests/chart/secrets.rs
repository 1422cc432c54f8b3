//! What an owner may do with Secrets: own ones, but none that is a login to the cluster, and not the operator's.

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

fn as_expected(answer: &Result<String, String>, allowed: bool) -> bool {
    match answer {
        Ok(_) => allowed,
        Err(words) => !allowed && words.contains(POLICY),
    }
}

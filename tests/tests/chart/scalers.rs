//! Who may write what KEDA is told in a tenant's namespace: not everybody whom RBAC lets. Dry runs, but for what they are tried on.

use std::time::Duration;

use anyhow::Result;
use lab::kubectl::Kubectl;
use serde_json::{Value, json};

use crate::{Broken, OPERATOR, ask};

/// Holds every verb on KEDA's kinds, by a role that is not the chart's.
const USER: &str = "kim";
/// The same, and `adopt` on tenants.
const ADOPTER: &str = "restorer";
/// `keda.user` where nobody sets it.
const KEDA: &str = "system:serviceaccount:keda:keda-operator";
/// What empties a namespace that goes.
const CLEANER: &str = "system:serviceaccount:kube-system:namespace-controller";
const WRITERS: [&str; 5] = [USER, ADOPTER, KEDA, CLEANER, OPERATOR];
/// Words of a refusal by the policy itself.
const POLICY: &str = "ValidatingAdmissionPolicy 'imaas-scalers'";
/// Each of KEDA's kinds that stands in a namespace, and a change of what it says.
const KINDS: [(&str, &str, &str); 3] = [
    ("ScaledObject", "scaledobjects", r#"{"spec":{"maxReplicaCount":7}}"#),
    ("ScaledJob", "scaledjobs", r#"{"spec":{"maxReplicaCount":7}}"#),
    ("TriggerAuthentication", "triggerauthentications", r#"{"spec":{"secretTargetRef":[]}}"#),
];

fn object(kind: &str, namespace: &str) -> Value {
    let asked = json!([{ "type": "rabbitmq", "metadata": { "host": "amqp://10.0.0.1:5672/" } }]);
    let spec = match kind {
        "ScaledObject" => json!({ "scaleTargetRef": { "name": "tried" }, "triggers": asked }),
        "ScaledJob" => json!({ "jobTargetRef": { "template": {} }, "triggers": asked }),
        _ => json!({ "secretTargetRef": [{ "parameter": "password", "name": "events", "key": "password" }] }),
    };
    json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": kind,
        "metadata": { "name": "tried", "namespace": namespace, "finalizers": ["finalizer.keda.sh"] },
        "spec": spec,
    })
}

/// Every one of them may write them, as far as RBAC goes.
async fn people(kubectl: &Kubectl) -> Result<()> {
    let role = |name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name });
    let resources = KINDS.map(|(_, resource, _)| resource);
    for namespace in ["acme-dev", "plain"] {
        let metadata = json!({ "name": "test-scalers", "namespace": namespace });
        let rules = json!([{ "apiGroups": ["keda.sh"], "resources": resources, "verbs": ["*"] }]);
        let subjects = WRITERS.map(|name| json!({ "kind": "User", "name": name }));
        for object in [
            json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules }),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
                "roleRef": role("test-scalers"), "subjects": subjects,
            }),
        ] {
            kubectl.apply(&object.to_string()).await?;
        }
    }
    Ok(())
}

/// What `who` is answered; a service account is in its groups, as it is when it comes with its token.
async fn answer(
    kubectl: &Kubectl,
    who: &str,
    what: &[&str],
    stdin: Option<&str>,
) -> Result<Result<String, String>> {
    let mut arguments = [what, &["--dry-run=server", "--as", who]].concat();
    if who == CLEANER {
        arguments.extend(["--as-group", "system:serviceaccounts:kube-system"]);
    }
    ask(kubectl, &arguments, stdin).await
}

fn as_expected(answer: &Result<String, String>, allowed: bool) -> bool {
    match answer {
        Ok(_) => allowed,
        Err(words) => !allowed && words.contains(POLICY),
    }
}

pub async fn say_what_the_operator_says(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    people(kubectl).await?;
    for (kind, resource, change) in KINDS {
        for who in WRITERS {
            let allowed = !matches!(who, USER | CLEANER);
            let text = object(kind, "acme-dev").to_string();
            let made = answer(kubectl, who, &["create", "-f", "-"], Some(&text)).await?;
            broken.unless(
                as_expected(&made, allowed),
                format!("{who} creates a {kind}, allowed {allowed}: {made:?}"),
            );
        }
        let text = object(kind, "plain").to_string();
        let made = answer(kubectl, USER, &["create", "-f", "-"], Some(&text)).await?;
        broken.unless(made.is_ok(), format!("a {kind} in a namespace of nobody: {made:?}"));
        what_is_there_stays(kubectl, broken, (kind, resource, change)).await?;
    }
    Ok(())
}

async fn what_is_there_stays(
    kubectl: &Kubectl,
    broken: &mut Broken,
    (kind, resource, change): (&str, &str, &str),
) -> Result<()> {
    kubectl.run(&["create", "-f", "-"], Some(&object(kind, "acme-dev").to_string())).await?;
    let patch = |change| ["patch", resource, "tried", "-n", "acme-dev", "--type=merge", "-p", change];
    let let_go = r#"{"metadata":{"finalizers":null,"labels":{"a":"b"}}}"#;
    for who in WRITERS {
        let is_stranger = matches!(who, USER | CLEANER);
        for (what, allowed) in [
            (&patch(change)[..], !is_stranger),
            (&patch(let_go)[..], true),
            (&["delete", resource, "tried", "-n", "acme-dev"][..], who != USER),
        ] {
            let tried = answer(kubectl, who, what, None).await?;
            broken.unless(
                as_expected(&tried, allowed),
                format!("{who}: {what:?}, allowed {allowed}: {tried:?}"),
            );
        }
    }
    kubectl.run(&patch(let_go), None).await?;
    kubectl.delete(&[resource, "tried", "-n", "acme-dev"], Duration::from_secs(10)).await
}

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
/// A kind of KEDA's that stands in a namespace.
struct Kind {
    group: &'static str,
    version: &'static str,
    name: &'static str,
    resource: &'static str,
    /// Changes what it says.
    change: &'static str,
}

const KINDS: [Kind; 6] = [
    Kind {
        group: "keda.sh",
        version: "v1alpha1",
        name: "ScaledObject",
        resource: "scaledobjects",
        change: r#"{"spec":{"maxReplicaCount":7}}"#,
    },
    Kind {
        group: "keda.sh",
        version: "v1alpha1",
        name: "ScaledJob",
        resource: "scaledjobs",
        change: r#"{"spec":{"maxReplicaCount":7}}"#,
    },
    Kind {
        group: "keda.sh",
        version: "v1alpha1",
        name: "TriggerAuthentication",
        resource: "triggerauthentications",
        change: r#"{"spec":{"secretTargetRef":[]}}"#,
    },
    Kind {
        group: "eventing.keda.sh",
        version: "v1alpha1",
        name: "CloudEventSource",
        resource: "cloudeventsources",
        change: r#"{"spec":{"destination":{"http":{"uri":"http://10.0.0.2/"}}}}"#,
    },
    Kind {
        group: HTTP,
        version: "v1alpha1",
        name: "HTTPScaledObject",
        resource: "httpscaledobjects",
        change: r#"{"spec":{"scaleTargetRef":{"service":"other"}}}"#,
    },
    Kind {
        group: HTTP,
        version: "v1beta1",
        name: "InterceptorRoute",
        resource: "interceptorroutes",
        change: r#"{"spec":{"target":{"service":"other"}}}"#,
    },
];
/// The group of KEDA's HTTP add-on, whose kinds its own Go module does not have.
const HTTP: &str = "http.keda.sh";
/// What leaves `spec` as it is, and is an order to KEDA or to the cluster all the same.
const ORDERS: [&str; 5] = [
    r#"{"metadata":{"annotations":{"autoscaling.keda.sh/paused-replicas":"500"}}}"#,
    r#"{"metadata":{"annotations":{"said":null}}}"#,
    r#"{"metadata":{"labels":{"scaledobject.keda.sh/name":"other"}}}"#,
    r#"{"metadata":{"finalizers":["finalizer.keda.sh","example.com/stays"]}}"#,
    r#"{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"gone","uid":"8f7a"}]}}"#,
];
const LET_GO: &str = r#"{"metadata":{"finalizers":null,"ownerReferences":null}}"#;

fn object(kind: &Kind, namespace: &str) -> Value {
    let asked = json!([{ "type": "rabbitmq", "metadata": { "host": "amqp://10.0.0.1:5672/" } }]);
    let spec = match kind.name {
        "ScaledObject" => json!({ "scaleTargetRef": { "name": "tried" }, "triggers": asked }),
        "ScaledJob" => json!({ "jobTargetRef": { "template": {} }, "triggers": asked }),
        "CloudEventSource" => json!({ "destination": { "http": { "uri": "http://10.0.0.1/" } } }),
        "HTTPScaledObject" => json!({ "scaleTargetRef": { "service": "tried" } }),
        "InterceptorRoute" => json!({ "target": { "service": "tried" } }),
        _ => json!({ "secretTargetRef": [{ "parameter": "password", "name": "events", "key": "password" }] }),
    };
    json!({
        "apiVersion": format!("{}/{}", kind.group, kind.version), "kind": kind.name,
        "metadata": {
            "name": "tried", "namespace": namespace, "finalizers": ["finalizer.keda.sh"], "annotations": { "said": "so" },
        },
        "spec": spec,
    })
}

/// The add-on's kinds, as far as a policy looks at them.
async fn add_on(kubectl: &Kubectl) -> Result<()> {
    for kind in KINDS.iter().filter(|kind| kind.group == HTTP) {
        let name = format!("{}.{HTTP}", kind.resource);
        let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": name },
            "spec": {
                "group": HTTP, "scope": "Namespaced", "names": { "kind": kind.name, "plural": kind.resource },
                "versions": [{
                    "name": kind.version, "served": true, "storage": true, "schema": { "openAPIV3Schema": schema },
                }],
            },
        });
        kubectl.apply(&definition.to_string()).await?;
        kubectl.run(&["wait", "--for=condition=Established", "--timeout=60s", "crd", &name], None).await?;
    }
    Ok(())
}

/// Every one of them may write them, as far as RBAC goes.
async fn people(kubectl: &Kubectl) -> Result<()> {
    let role = |name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name });
    let rules =
        KINDS.map(|kind| json!({ "apiGroups": [kind.group], "resources": [kind.resource], "verbs": ["*"] }));
    for namespace in ["acme-dev", "plain"] {
        let metadata = json!({ "name": "test-scalers", "namespace": namespace });
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
    add_on(kubectl).await?;
    people(kubectl).await?;
    for kind in KINDS {
        for who in WRITERS {
            let allowed = [OPERATOR, ADOPTER].contains(&who);
            let text = object(&kind, "acme-dev").to_string();
            let made = answer(kubectl, who, &["create", "-f", "-"], Some(&text)).await?;
            broken.unless(
                as_expected(&made, allowed),
                format!("{who} creates a {}, allowed {allowed}: {made:?}", kind.name),
            );
        }
        let text = object(&kind, "plain").to_string();
        let made = answer(kubectl, USER, &["create", "-f", "-"], Some(&text)).await?;
        broken.unless(made.is_ok(), format!("a {} in a namespace of nobody: {made:?}", kind.name));
        what_is_there_stays(kubectl, broken, &kind).await?;
    }
    Ok(())
}

async fn what_is_there_stays(kubectl: &Kubectl, broken: &mut Broken, kind: &Kind) -> Result<()> {
    let mut made = object(kind, "acme-dev");
    // Its namespace, which is there: else the cluster would delete it.
    let uid = kubectl.get(&["namespace", "acme-dev"]).await?["metadata"]["uid"].clone();
    made["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "v1", "kind": "Namespace", "name": "acme-dev", "uid": uid }]);
    kubectl.run(&["create", "-f", "-"], Some(&made.to_string())).await?;
    let tried = [kind.resource, "tried", "-n", "acme-dev"];
    let patch = |change: &'static str| [&["patch"][..], &tried[..], &["--type=merge", "-p", change]].concat();
    // The rule about these is one for all kinds.
    let orders: &[&str] = if kind.name == "ScaledObject" { &ORDERS } else { &[] };
    for who in WRITERS {
        let mut attempts = vec![
            (patch(kind.change), [OPERATOR, ADOPTER, KEDA].contains(&who)),
            (patch(LET_GO), true),
            ([&["delete"][..], &tried[..]].concat(), [OPERATOR, ADOPTER, CLEANER].contains(&who)),
        ];
        attempts.extend(orders.iter().map(|&order| (patch(order), [OPERATOR, ADOPTER, KEDA].contains(&who))));
        for (what, allowed) in attempts {
            let answered = answer(kubectl, who, &what, None).await?;
            broken.unless(
                as_expected(&answered, allowed),
                format!("{who}: {what:?}, allowed {allowed}: {answered:?}"),
            );
        }
    }
    kubectl.run(&patch(LET_GO), None).await?;
    kubectl.delete(&tried, Duration::from_secs(10)).await
}

//! The important ones as real requests: what members do see of their own, and every way out of their space.

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::{Person, named};
use crate::{Broken, ask};

const GROUP: &str = "rbac.authorization.k8s.io";
/// What no member changes, in its own space.
const WALLS: [(&str, &str); 6] = [
    ("resourcequota/imaas", r#"{"spec":{"hard":{"pods":"9999"}}}"#),
    ("limitrange/imaas", r#"{"spec":{"limits":[]}}"#),
    ("networkpolicy/imaas-default-deny", r#"{"spec":{"egress":[{}]}}"#),
    (
        "rolebinding/imaas-viewer",
        r#"{"subjects":[{"kind":"User","name":"otto","apiGroup":"rbac.authorization.k8s.io"}]}"#,
    ),
    ("rolebinding/imaas-operator", r#"{"subjects":[]}"#),
    ("secret/imaas-registry-pull", r#"{"data":{}}"#),
];

struct Attempt {
    who: &'static str,
    what: String,
    stdin: Option<String>,
    allowed: bool,
}

fn attempt(who: &'static str, what: impl Into<String>, allowed: bool) -> Attempt {
    Attempt { who, what: what.into(), stdin: None, allowed }
}

fn create(who: &'static str, object: &Value) -> Attempt {
    Attempt { who, what: "create -f -".to_owned(), stdin: Some(object.to_string()), allowed: false }
}

/// Members of every role and kind see their own Tenant, and that is all of what is in no namespace.
fn own_tenant() -> Vec<Attempt> {
    let mut all = Vec::new();
    for (who, own, other) in [
        ("nora", "north", "south"),
        ("nick", "north", "south"),
        ("nell", "north", "south"),
        ("builder", "north", "south"),
        ("sam", "south", "north"),
    ] {
        all.extend([
            attempt(who, format!("get tenants.imaas.dev {own}"), true),
            attempt(who, format!("get tenants.imaas.dev --field-selector metadata.name={own}"), true),
            attempt(who, format!("get tenants.imaas.dev {other}"), false),
            attempt(who, format!("get tenants.imaas.dev --field-selector metadata.name={other}"), false),
            attempt(who, "get tenants.imaas.dev", false),
            attempt(who, format!("annotate tenants.imaas.dev {own} imaas.dev/origin=x"), false),
            attempt(who, format!("delete tenants.imaas.dev {own}"), false),
            attempt(who, format!("get clusterrole imaas-tenant-own-{own}"), false),
            attempt(who, format!("delete clusterrolebinding imaas-tenant-own-{own}"), false),
            attempt(who, "get environments.imaas.dev", false),
            attempt(who, "get namespaces", false),
            attempt(who, format!("get integrationservices.imaas.dev -n {own}-home"), true),
            attempt(who, format!("get integrationservices.imaas.dev -n {other}-home"), false),
        ]);
    }
    for who in ["otto", "the pods of north-dev"] {
        all.extend([
            attempt(who, "get tenants.imaas.dev north", false),
            attempt(who, "get namespaces", false),
            attempt(who, "get secrets -A", false),
            attempt(who, "get secrets -n north-dev", false),
            attempt(who, "get secrets -n kube-system", false),
            attempt(who, "get pods -n north-dev", false),
        ]);
    }
    all
}

/// T12: to another's rights, or to more of one's own.
fn escalation() -> Vec<Attempt> {
    let binding = |kind: &str, role: &str| {
        let mut binding = json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": { "name": "more" },
            "roleRef": { "apiGroup": GROUP, "kind": "ClusterRole", "name": role },
            "subjects": [{ "apiGroup": GROUP, "kind": "User", "name": "nora" }],
        });
        if kind == "RoleBinding" {
            binding["metadata"]["namespace"] = json!("north-dev");
        }
        binding
    };
    let everything = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    let role = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "Role", "rules": everything,
        "metadata": { "name": "more", "namespace": "north-dev" },
    });
    let cluster_role = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "rules": everything, "metadata": { "name": "more" },
    });
    let mut all = vec![
        create("nora", &binding("RoleBinding", "cluster-admin")),
        create("nora", &binding("RoleBinding", "imaas-tenant-viewer")),
        create("nora", &binding("ClusterRoleBinding", "cluster-admin")),
        create("nora", &binding("ClusterRoleBinding", "imaas-tenant-own-south")),
        create("nora", &role),
        create("nora", &cluster_role),
    ];
    for other in ["--as=system:admin", "--as=sam", "--as=nora --as-group=system:masters"] {
        all.push(attempt("nora", format!("get tenants.imaas.dev south {other}"), false));
    }
    let account = "system:serviceaccount:imaas-system:imaas-operator";
    all.push(attempt("nora", format!("get secrets -n north-home --as={account}"), false));
    all.push(attempt("nora", "create token default -n north-dev", false));
    all.push(attempt("nick", "create token builder -n ci", false));
    all
}

/// T14: what we wrote is neither changed nor deleted, by whom it holds.
fn walls() -> Vec<Attempt> {
    let mut all = Vec::new();
    for who in ["nora", "nick", "nell", "builder"] {
        for (what, change) in WALLS {
            let mut change_it = attempt(
                who,
                format!("patch {what} -n north-dev --type=merge --patch-file /dev/stdin"),
                false,
            );
            change_it.stdin = Some(change.to_owned());
            all.extend([change_it, attempt(who, format!("delete {what} -n north-dev"), false)]);
        }
        all.extend([
            attempt(
                who,
                "label namespace north-dev pod-security.kubernetes.io/enforce=privileged --overwrite",
                false,
            ),
            attempt(who, "delete namespace north-dev", false),
            attempt(who, "run x --image=x -n north-dev", false),
            attempt(who, "create deployment x --image=x -n north-dev", false),
            attempt(who, "get secrets -n north-dev", false),
        ]);
    }
    let service = json!({
        "apiVersion": "imaas.dev/v1alpha1", "kind": "IntegrationService",
        "metadata": { "name": "mine", "namespace": "north-home", "labels": { "imaas.dev/tenant": "south" } },
        "spec": { "repository": { "url": "https://git.example.com/a/b.git" }, "runtime": "container" },
    });
    all.push(create("nora", &service));
    // A route of their own would answer at the host of another tenant.
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": "mine", "namespace": "north-dev" },
        "spec": { "hostnames": ["south.dev.example.com"], "rules": [{}] },
    });
    // One of their own would have KEDA ask any address, from where no wall of theirs is.
    let asked = json!({ "type": "rabbitmq", "metadata": { "host": "amqp://10.0.0.1:5672/" } });
    let scaler = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": { "name": "mine", "namespace": "north-dev" },
        "spec": { "scaleTargetRef": { "name": "mine" }, "triggers": [asked] },
    });
    for who in ["nora", "nick"] {
        all.extend([create(who, &route), attempt(who, "get httproutes -n north-dev", true)]);
        all.extend([create(who, &scaler), attempt(who, "get scaledobjects -n north-dev", true)]);
    }
    all
}

pub async fn are_answered(people: &[Person], broken: &mut Broken) -> Result<()> {
    let all = [own_tenant(), escalation(), walls()].into_iter().flatten();
    let asked = stream::iter(all).map(|attempt| async move {
        let person = named(people, attempt.who)?;
        let arguments: Vec<&str> = attempt.what.split(' ').collect();
        anyhow::Ok((ask(&person.kubectl, &arguments, attempt.stdin.as_deref()).await?, attempt))
    });
    let answers: Vec<_> = asked.buffered(4).try_collect().await?;
    for (answer, Attempt { who, what, stdin, allowed }) in answers {
        // Refused, and by nothing but the right that is missing or the policy that says so.
        let fits = match &answer {
            Ok(_) => allowed,
            Err(words) => !allowed && words.contains("orbidden"),
        };
        broken.unless(fits, format!("{who}: {what} {stdin:?}, allowed {allowed}: {answer:?}"));
    }
    errors_name_nobody(people, broken).await
}

/// T19: whether somebody else is there does not show, neither in a refusal nor in what is told of oneself.
async fn errors_name_nobody(people: &[Person], broken: &mut Broken) -> Result<()> {
    let nora = named(people, "nora")?;
    let refusal = async |name: &str| {
        let answer = ask(&nora.kubectl, &["get", "tenants.imaas.dev", name], None).await?;
        anyhow::Ok(answer.err().map(|words| words.replace(name, "NAME")))
    };
    let (there, nowhere) = (refusal("south").await?, refusal("nowhere").await?);
    broken.unless(there.is_some() && there == nowhere, format!("{there:?} says more than {nowhere:?}"));
    let own = ask(&nora.kubectl, &["get", "tenants.imaas.dev", "north", "-o", "yaml"], None).await?;
    let told = own.as_ref().is_ok_and(|own| own.contains("nora") && !own.contains("south"));
    broken.unless(told, format!("of south in north: {own:?}"));
    Ok(())
}

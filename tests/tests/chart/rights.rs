#![expect(clippy::disallowed_types, reason = "IO: a client that acts as the operator")]
//! What the operator may do: read as stored, and tried.

use std::time::Duration;

use anyhow::{Context, Result};
use imaas_operator::{
    cluster::Cluster,
    health::Health,
    lease::{Lost, Mandate, Standing},
    policies,
};
use jiff::Timestamp;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use lab::{Lab, kubectl::Kubectl};
use serde_json::{Value, json};

use crate::{Broken, NAMESPACE, OPERATOR, ask};

pub async fn are_narrow(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    let roles = kubectl.get(&["clusterroles", "-l", "app.kubernetes.io/part-of=imaas"]).await?;
    let roles = roles["items"].as_array().context("a list of roles")?;
    broken.unless(roles.len() == 6, format!("six roles, not {}", roles.len()));
    for role in roles {
        let name = role["metadata"]["name"].as_str().unwrap_or_default();
        for rule in role["rules"].as_array().into_iter().flatten() {
            let has = |field: &str, word: &str| {
                rule[field].as_array().is_some_and(|all| all.iter().any(|one| one == word))
            };
            let text = format!("{name}: {rule}");
            let wild = ["apiGroups", "resources", "verbs"].iter().any(|field| has(field, "*"));
            // Names of its numbers are made of names of queues.
            let numbers =
                json!({ "apiGroups": ["external.metrics.k8s.io"], "resources": ["*"], "verbs": ["list"] });
            let is_of_numbers = name == "imaas-operator-tenant" && *rule == numbers;
            broken.unless(!wild || is_of_numbers, format!("no wildcard: {text}"));
            broken.unless(
                !has("verbs", "escalate") && !has("verbs", "impersonate"),
                format!("no escalation: {text}"),
            );
            let named = rule["resourceNames"].as_array().is_some_and(|names| !names.is_empty());
            broken.unless(!has("verbs", "bind") || named, format!("bind names its roles: {text}"));
            broken.unless(
                !has("resources", "secrets") || name != "imaas-operator",
                format!("no Secrets everywhere: {text}"),
            );
            broken.unless(
                !has("resources", "secrets") || !has("verbs", "list") && !has("verbs", "watch"),
                format!("Secrets by name only: {text}"),
            );
        }
    }
    for no in [
        ["list", "secrets"],
        ["escalate", "clusterroles.rbac.authorization.k8s.io"],
        ["bind", "clusterroles.rbac.authorization.k8s.io"],
        ["create", "pods"],
        ["create", "deployments.apps"],
        ["create", "cronjobs.batch"],
        ["create", "horizontalpodautoscalers.autoscaling"],
        ["create", "jobs.batch"],
        ["adopt", "tenants.imaas.dev"],
        ["patch", "validatingadmissionpolicies.admissionregistration.k8s.io"],
        ["deletecollection", "clusterroles.rbac.authorization.k8s.io"],
        ["get", "secrets"],
        ["delete", "deployments.apps"],
        ["delete", "networkpolicies.networking.k8s.io"],
        ["create", "httproutes.gateway.networking.k8s.io"],
        ["patch", "httproutes.gateway.networking.k8s.io"],
        ["list", "gateways.gateway.networking.k8s.io"],
        ["patch", "gateways.gateway.networking.k8s.io"],
        ["list", "gatewayclasses.gateway.networking.k8s.io"],
        ["get", "nodes"],
        ["watch", "nodes"],
        ["patch", "nodes"],
        ["create", "scaledobjects.keda.sh"],
        ["patch", "triggerauthentications.keda.sh"],
        ["get", "clustertriggerauthentications.keda.sh"],
        ["list", "s0-rabbitmq-orders.external.metrics.k8s.io"],
        ["delete", "integrationservices.imaas.dev"],
        ["create", "releasedecisions.imaas.dev"],
        ["patch", "releasedecisions.imaas.dev"],
        ["rollback", "releases.imaas.dev"],
    ] {
        let answer = ask(kubectl, &["auth", "can-i", no[0], no[1], "-A", "--as", OPERATOR], None).await?;
        broken.unless(answer.is_err(), format!("the operator may not {no:?}: {answer:?}"));
    }
    // A home that is being deleted may have lost the operator's binding before its services lost their finalizer.
    let patch = ["auth", "can-i", "patch", "integrationservices.imaas.dev", "-A", "--as", OPERATOR];
    let answer = ask(kubectl, &patch, None).await?;
    broken.unless(answer.is_ok(), format!("the operator lets go of a service anywhere: {answer:?}"));
    // What a gateway heeds of a route, as its class says.
    for kind in ["gateways.gateway.networking.k8s.io", "gatewayclasses.gateway.networking.k8s.io"] {
        let answer = ask(kubectl, &["auth", "can-i", "get", kind, "-A", "--as", OPERATOR], None).await?;
        broken.unless(answer.is_ok(), format!("the operator reads {kind}: {answer:?}"));
    }
    // Whether a node that does not answer was given up, and whether its zone answers.
    let nodes = ["auth", "can-i", "list", "nodes", "--as", OPERATOR];
    let answer = ask(kubectl, &nodes, None).await?;
    broken.unless(answer.is_ok(), format!("the operator lists nodes: {answer:?}"));
    // What routes may say; a right of whoever is logged in.
    let document =
        ["auth", "can-i", "get", "/openapi/v3/apis/gateway.networking.k8s.io/v1", "--as", OPERATOR];
    let answer = ask(kubectl, &document, None).await?;
    broken.unless(answer.is_ok(), format!("the operator reads the form of routes: {answer:?}"));
    for (name, may) in [
        ("secrets/tenants-git", true),
        ("secrets/imaas-registry-auth", false),
        ("configmaps/imaas-registry-over-quota", true),
        ("configmaps/imaas-registry", false),
    ] {
        let question = ["auth", "can-i", "get", name, "-n", NAMESPACE, "--as", OPERATOR];
        let answer = ask(kubectl, &question, None).await?;
        broken.unless(answer.is_ok() == may, format!("the operator's right to {name}: {answer:?}"));
    }
    Ok(())
}

/// The operator leads by a Lease of its own, and has no right to another one.
pub async fn suffice_to_lead(lab: &Lab, broken: &mut Broken) -> Result<()> {
    for verb in ["get", "update"] {
        for (place, lease) in [(NAMESPACE, "leases/imaas-registry"), ("kube-system", "leases/imaas-operator")]
        {
            let question = ["auth", "can-i", verb, lease, "-n", place, "--as", OPERATOR];
            let answer = ask(lab.kubectl(), &question, None).await?;
            broken.unless(
                answer.is_err(),
                format!("the operator may not {verb} {lease} in {place}: {answer:?}"),
            );
        }
    }
    for transitions in [0, 1] {
        let standing = Standing {
            client: operator_client(lab).await?,
            namespace: NAMESPACE.to_owned(),
            identity: format!("imaas-operator-{transitions}"),
            mandate: Mandate::default(),
            health: Health::default(),
            now: || Timestamp::UNIX_EPOCH,
            jitter: || 0.5,
        };
        let led = standing.lead(async { Ok::<_, Lost>(()) }, std::future::pending());
        let led = tokio::time::timeout(Duration::from_secs(20), led).await;
        broken.unless(led.is_ok(), "the operator makes its Lease, takes it over, and releases it");
        let lease = lab.kubectl().get(&["lease", "imaas-operator", "-n", NAMESPACE]).await?["spec"].clone();
        let is_released = lease["holderIdentity"] == "" && lease["leaseTransitions"] == transitions;
        broken.unless(is_released, format!("released: {lease}"));
    }
    Ok(())
}

/// A binding of a ClusterRole to somebody in a namespace.
fn binding(namespace: &str, name: &str, role: &str) -> String {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": name, "namespace": namespace },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": "imaas-operator", "namespace": NAMESPACE }],
    })
    .to_string()
}

pub async fn bindings_stay_in_tenant_namespaces(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    let create = |namespace: &'static str, role: &'static str| async move {
        let text = binding(namespace, "x", role);
        ask(kubectl, &["create", "--as", OPERATOR, "--dry-run=server", "-f", "-"], Some(&text)).await
    };
    for role in
        ["imaas-operator-tenant", "imaas-tenant-owner", "imaas-tenant-developer", "imaas-tenant-viewer"]
    {
        let inside = create("acme-dev", role).await?;
        broken.unless(inside.is_ok(), format!("{role} in a tenant's namespace: {inside:?}"));
        for outside in ["kube-system", "plain", NAMESPACE] {
            let answer = create(outside, role).await?;
            let told = answer.as_ref().err().is_some_and(|words| words.contains("imaas-rolebindings"));
            broken.unless(told, format!("{role} in {outside}: {answer:?}"));
        }
    }
    for role in ["cluster-admin", "admin", "imaas-operator"] {
        let answer = create("acme-dev", role).await?;
        broken.unless(answer.is_err(), format!("{role} is not for the operator to bind: {answer:?}"));
    }
    kubectl.apply(&binding("plain", "foreign", "view")).await?;
    let answer =
        ask(kubectl, &["delete", "rolebinding", "foreign", "-n", "plain", "--as", OPERATOR], None).await?;
    let told = answer.as_ref().err().is_some_and(|words| words.contains("imaas-rolebindings"));
    broken.unless(told, format!("a foreign binding is not the operator's to delete: {answer:?}"));
    Ok(())
}

pub async fn the_walls_of_a_namespace_stay(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    kubectl.apply(&binding("acme-dev", "operator", "imaas-operator-tenant")).await?;
    let policy = |name: &str, labels: Value| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": { "name": name, "namespace": "acme-dev", "labels": labels },
            "spec": { "podSelector": {} },
        })
    };
    kubectl.apply(&policy("wall", json!({ "imaas.dev/tenant": "acme" })).to_string()).await?;
    kubectl.apply(&policy("orders", json!({ "imaas.dev/service": "orders" })).to_string()).await?;
    let delete = |name: &'static str| async move {
        let arguments =
            ["delete", "networkpolicy", name, "-n", "acme-dev", "--dry-run=server", "--as", OPERATOR];
        ask(kubectl, &arguments, None).await
    };
    // The binding is in force a moment after it is stored.
    let mut own = delete("orders").await?;
    for _ in 0..50 {
        if own.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        own = delete("orders").await?;
    }
    broken.unless(own.is_ok(), format!("the operator deletes the NetworkPolicy of a service: {own:?}"));
    let wall = delete("wall").await?;
    let told = wall.as_ref().err().is_some_and(|words| words.contains("imaas-networkpolicies"));
    broken.unless(told, format!("the operator deletes no other NetworkPolicy: {wall:?}"));
    for object in [["networkpolicy", "wall"], ["networkpolicy", "orders"], ["rolebinding", "operator"]] {
        let arguments = [&object[..], &["-n", "acme-dev"]].concat();
        kubectl.delete(&arguments, Duration::from_secs(10)).await?;
    }
    Ok(())
}

pub async fn the_operator_observes_and_proves(lab: &Lab, broken: &mut Broken) -> Result<()> {
    let client = operator_client(lab).await?;
    let (cluster, watches, listed) = Cluster::observe(client);
    let watches = tokio::spawn(watches);
    let seen = tokio::time::timeout(Duration::from_secs(20), listed).await;
    broken.unless(seen.is_ok(), "the operator may list all that it watches");
    let settings = settings();
    let proven = policies::enforced(&cluster, &settings).await;
    broken.unless(proven.is_ok(), format!("readiness proves the policies: {proven:?}"));

    for policy in ["imaas-rolebindings", "imaas-namespaces", "imaas-clusterroles", "imaas-decisions"] {
        let kind = "validatingadmissionpolicybinding";
        let kept: Value = lab.kubectl().get(&[kind, policy]).await?;
        lab.kubectl().delete(&[kind, policy], Duration::from_secs(10)).await?;
        let missing = not_enforced(&cluster).await;
        broken.unless(missing, format!("without the binding of {policy} readiness is refused"));
        let restored = json!({
            "apiVersion": kept["apiVersion"], "kind": kept["kind"],
            "metadata": { "name": policy, "labels": kept["metadata"]["labels"] }, "spec": kept["spec"],
        });
        lab.kubectl().apply(&restored.to_string()).await?;
    }
    watches.abort();
    Ok(())
}

/// A policy's end is noticed by the API server a moment later.
async fn not_enforced(cluster: &Cluster) -> bool {
    for _ in 0..100 {
        if policies::enforced(cluster, &settings()).await.is_err() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

pub fn settings() -> imaas_operator::platform::Settings {
    imaas_operator::platform::Settings {
        namespace: NAMESPACE.to_owned(),
        service_account: "imaas-operator".to_owned(),
        registry_host: "registry.example.com".to_owned(),
        largest_config: 256 << 10,
        runtime_wave: 10,
        interval: Duration::from_mins(1),
        retirement: imaas_operator::retirement::Periods::default(),
        development: false,
    }
}

pub async fn operator_client(lab: &Lab) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(lab.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.auth_info.impersonate = Some(OPERATOR.to_owned());
    Ok(Client::try_from(config)?)
}

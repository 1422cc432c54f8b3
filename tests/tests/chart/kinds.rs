//! The custom kinds: served, strict, and kind to what is right.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use lab::kubectl::Kubectl;
use serde_json::{Value, json};

use crate::{Broken, ask, root};

/// Kind, name, spec, and what the refusal names.
type Bad = (&'static str, &'static str, Value, &'static str);

pub async fn are_served(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    for crd in imaas_operator::api::crds() {
        let name = format!("crd/{}", crd.metadata.name.unwrap_or_default());
        kubectl.wait("condition=Established", &[&name], Duration::from_secs(20)).await?;
        let found = kubectl.get(&[&name]).await?;
        let conditions = found["status"]["conditions"].to_string();
        broken.unless(
            !conditions.contains("NonStructuralSchema"),
            format!("{name} is structural: {conditions}"),
        );
    }
    Ok(())
}

/// A service entry with something else in it.
fn service(change: &Value) -> Value {
    let mut service = json!({
        "name": "orders", "repository": { "url": "https://git.example.com/a/b.git" }, "runtime": "camel",
    });
    for (key, value) in change.as_object().into_iter().flatten() {
        service[key] = value.clone();
    }
    service
}

fn bad_tenants() -> Vec<Bad> {
    let one = |change: Value| json!({ "services": [service(&change)] });
    let member = |member: Value| json!({ "members": [member] });
    vec![
        ("Tenant", "kube-x", json!({}), "metadata.name"),
        ("Tenant", "1acme", json!({}), "metadata.name"),
        ("Tenant", "a.b", json!({}), "metadata.name"),
        ("Tenant", "a23456789012345678901234567890123456789012345678901", json!({}), "metadata.name"),
        ("Tenant", "acme", json!({ "owner": "jo" }), "spec.owner"),
        (
            "Tenant",
            "acme",
            member(json!({ "kind": "Robot", "name": "x", "role": "owner" })),
            "spec.members[0].kind",
        ),
        (
            "Tenant",
            "acme",
            member(json!({ "kind": "User", "name": "x", "role": "god" })),
            "spec.members[0].role",
        ),
        (
            "Tenant",
            "acme",
            member(json!({ "kind": "Group", "name": "system:masters", "role": "owner" })),
            "spec.members[0].name",
        ),
        (
            "Tenant",
            "acme",
            member(json!({ "kind": "User", "name": "x", "role": "owner", "namespace": "ci" })),
            "spec.members[0]",
        ),
        (
            "Tenant",
            "acme",
            member(json!({ "kind": "User", "name": "jo\u{2060}", "role": "owner" })),
            "spec.members[0].name",
        ),
        ("Tenant", "acme", json!({ "environments": { "dev": { "quota": { "cpu": "a lot" } } } }), "cpu"),
        ("Tenant", "acme", one(json!({ "name": "Orders" })), "spec.services[0].name"),
        ("Tenant", "acme", one(json!({ "name": "orders-canary" })), "spec.services[0].name"),
        ("Tenant", "acme", one(json!({ "name": "keda-hpa-orders" })), "spec.services[0].name"),
        (
            "Tenant",
            "acme",
            json!({ "services": [service(&json!({})), service(&json!({}))] }),
            "spec.services[1]",
        ),
        (
            "Tenant",
            "acme",
            one(json!({ "repository": { "url": "file:///etc" } })),
            "spec.services[0].repository.url",
        ),
        (
            "Tenant",
            "acme",
            one(json!({ "repository": { "url": "ext::sh -c id" } })),
            "spec.services[0].repository.url",
        ),
        (
            "Tenant",
            "acme",
            one(json!({ "repository": { "url": "https://jo:pw@git.example.com/a" } })),
            "spec.services[0].repository.url",
        ),
        (
            "Tenant",
            "acme",
            one(json!({ "repository": { "url": "git@git.example.com:acme/a.git" } })),
            "write https://git.example.com/acme/a.git",
        ),
        (
            "Tenant",
            "acme",
            one(json!({ "repository": { "url": "https://git.example.com/a?x=1" } })),
            "spec.services[0].repository.url",
        ),
        ("Tenant", "acme", one(json!({ "path": "../other" })), "spec.services[0].path"),
    ]
}

fn bad_objects() -> Vec<Bad> {
    let url = "https://git.example.com/tenants.git";
    let network = |cidr: &str| json!({ "networks": [{ "name": "erp", "cidrs": [cidr] }] });
    let profile = |profile: Value| json!({ "profiles": [profile] });
    let others = vec![
        ("TenantSource", "manual", json!({ "url": url }), "metadata.name"),
        ("TenantSource", "t", json!({}), "spec.url"),
        ("TenantSource", "t", json!({ "url": url, "interval": "500ms" }), "spec.interval"),
        ("TenantSource", "t", json!({ "url": url, "interval": "-1s" }), "spec.interval"),
        ("TenantSource", "t", json!({ "url": url, "path": "/etc" }), "spec.path"),
        ("Environment", "pre-prod", json!({}), "metadata.name"),
        ("Environment", "home", json!({}), "metadata.name"),
        ("Environment", "qa", json!({ "promotesFrom": "qa" }), "spec.promotesFrom"),
        ("Environment", "qa", json!({ "roles": { "admin": "owner" } }), "spec.roles"),
        ("Environment", "qa", json!({ "quota": { "default": { "pods": 0 } } }), "spec.quota.default.pods"),
        ("Environment", "qa", network("10.0.0.0"), "spec.networks[0].cidrs"),
        ("IntegrationRuntime", "camel", json!({ "profiles": [] }), "spec.profiles"),
        (
            "IntegrationRuntime",
            "camel",
            profile(json!({ "user": { "uid": 0, "gid": 1 } })),
            "spec.profiles[0].user.uid",
        ),
        (
            "IntegrationRuntime",
            "camel",
            profile(json!({ "writablePaths": ["tmp"] })),
            "spec.profiles[0].writablePaths[0]",
        ),
        (
            "IntegrationRuntime",
            "camel",
            profile(json!({ "probes": { "readiness": { "port": 70000 } } })),
            "spec.profiles[0].probes.readiness.port",
        ),
        ("IntegrationService", "orders-stable", service(&json!({ "name": null })), "metadata.name"),
        ("IntegrationService", "keda-hpa-orders", service(&json!({ "name": null })), "metadata.name"),
        ("IntegrationService", "orders", json!({ "runtime": "camel" }), "spec.repository"),
        (
            "IntegrationService",
            "orders",
            service(&json!({ "name": null, "runtime": "Camel!" })),
            "spec.runtime",
        ),
        ("Release", "orders-dev-0", json!({ "service": "orders" }), "spec.image"),
        ("Release", "orders-dev-0", release(&json!({ "cause": "Whim" })), "spec.cause"),
        ("Release", "orders-dev-0", release(&json!({ "strategy": "yolo" })), "spec.strategy"),
    ];
    bad_tenants().into_iter().chain(others).chain(bad_decisions()).collect()
}

fn decision(change: &Value) -> Value {
    let mut decision = json!({
        "service": "orders", "environment": "dev", "action": "hold", "reason": "x", "author": "nora",
    });
    for (key, value) in change.as_object().into_iter().flatten() {
        decision[key] = value.clone();
    }
    decision
}

fn bad_decisions() -> Vec<Bad> {
    [
        (json!({ "action": "grow" }), "spec.action"),
        (json!({ "action": "scale" }), "replicas: a scale says how many instances"),
        (json!({ "author": "" }), "spec.author"),
        (json!({ "environment": "home" }), "spec.environment"),
        // Else it would be another tenant's namespace: `acme` and `eu-dev` are `acme-eu` and `dev`.
        (json!({ "environment": "eu-dev" }), "spec.environment"),
        (json!({ "target": "orders-dev-0" }), "target: a hold is about all releases"),
        (json!({ "action": "run", "target": "orders-dev-0" }), "run and scale about the one that runs"),
        (json!({ "action": "reject", "target": "latest!" }), "spec.target"),
        (json!({ "expiresAt": "tomorrow" }), "spec.expiresAt"),
        (json!({ "action": "reject", "expiresAt": "2026-01-01T00:00:00Z" }), "expiresAt: only a hold"),
        (json!({ "reason": null }), "reason: say why"),
    ]
    .map(|(change, word)| ("ReleaseDecision", "one", decision(&change), word))
    .into()
}

fn release(change: &Value) -> Value {
    let digest = format!("sha256:{}", "a".repeat(64));
    let mut release = json!({
        "service": "orders", "environment": "dev", "commit": "c".repeat(40), "buildId": "b", "digest": digest,
        "image": format!("registry.example.com/acme/orders@{digest}"), "runtime": "container", "cause": "Commit",
        "type": "api", "many": true, "strategy": "rolling", "replicas": 1,
        "template": { "spec": { "containers": [{ "name": "orders" }] } },
    });
    for (key, value) in change.as_object().into_iter().flatten() {
        release[key] = value.clone();
    }
    release
}

fn manifest(kind: &str, name: &str, spec: &Value) -> String {
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    let metadata = match kind {
        "IntegrationService" | "Release" | "ReleaseDecision" => {
            json!({ "name": name, "namespace": "default" })
        }
        _ => json!({ "name": name }),
    };
    json!({ "apiVersion": "imaas.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec })
        .to_string()
}

pub async fn bad_objects_are_refused(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    let answers: Vec<_> = stream::iter(bad_objects())
        .map(|(kind, name, spec, word)| async move {
            let text = manifest(kind, name, &spec);
            let arguments = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
            anyhow::Ok((ask(kubectl, &arguments, Some(&text)).await?, word, text))
        })
        .buffered(4)
        .try_collect()
        .await?;
    for (answer, word, text) in answers {
        // A schema's refusal quotes the field; a rule over the whole object says it in its message.
        let told = answer.as_ref().err().is_some_and(|words| words.contains(word));
        broken.unless(told, format!("{text} is refused with {word}: {answer:?}"));
        let leaks =
            answer.err().is_some_and(|words| words.contains("rule:") || words.contains("no such key"));
        broken.unless(!leaks, format!("{text}: the message is for people"));
    }
    Ok(())
}

pub async fn samples_are_accepted(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    for folder in ["tenants/tenants", "examples/environments", "examples/runtimes"] {
        for file in fs::read_dir(root().join(folder)).with_context(|| folder.to_owned())? {
            let text = fs::read_to_string(file?.path())?;
            let arguments = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
            let answer = ask(kubectl, &arguments, Some(&text)).await?;
            broken.unless(answer.is_ok(), format!("a sample of {folder} is accepted: {answer:?}"));
        }
    }
    Ok(())
}

pub async fn a_release_is_immutable(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    kubectl.apply(&manifest("Release", "orders-dev-1", &release(&json!({})))).await?;
    let patch = |change: &'static str| async move {
        ask(kubectl, &["patch", "irel", "orders-dev-1", "--type=merge", "-p", change], None).await
    };
    for change in [
        r#"{"spec":{"replicas":2}}"#,
        r#"{"spec":{"template":{"spec":{"hostNetwork":true}}}}"#,
        r#"{"spec":{"connects":["erp"]}}"#,
    ] {
        let answer = patch(change).await?;
        let told = answer.as_ref().err().is_some_and(|words| words.contains("a Release is immutable"));
        broken.unless(told, format!("{change}: {answer:?}"));
    }
    let label = patch(r#"{"metadata":{"labels":{"a":"b"}}}"#).await?;
    broken.unless(label.is_ok(), format!("a label is no content: {label:?}"));
    kubectl.delete(&["irel", "orders-dev-1"], Duration::from_secs(10)).await
}

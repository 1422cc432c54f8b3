//! What the operator has written, as sets that can be compared.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use lab::kubectl::Kubectl;
use serde_json::{Value, json};

/// Every kind that the operator writes into a namespace.
pub const CHILDREN: &str = "secrets,configmaps,services,deployments.apps,cronjobs.batch,poddisruptionbudgets.policy,\
     horizontalpodautoscalers.autoscaling,networkpolicies.networking.k8s.io,resourcequotas,limitranges,rolebindings.rbac.authorization.k8s.io,\
     integrationservices.imaas.dev,releases.imaas.dev";
/// Its own kinds; it writes the status of all and the rest of most.
const OWN: &str = "tenantsources.imaas.dev,environments.imaas.dev,integrationruntimes.imaas.dev,tenants.imaas.dev,\
     integrationservices.imaas.dev,releases.imaas.dev";

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    format!("{} {}/{}", text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
}

/// `metadata.<field>` of everything that the operator wrote, status included, and of each event that it told.
///
/// # Errors
/// What kubectl says; an object without the field.
pub async fn all(kubectl: &Kubectl, field: &str) -> Result<BTreeMap<String, String>> {
    let labelled = format!("{CHILDREN},namespaces");
    let label = "app.kubernetes.io/managed-by=imaas-operator";
    let mut found = BTreeMap::new();
    let lists = [
        kubectl.get(&[labelled.as_str(), "-A", "-l", label]).await?,
        kubectl.get(&[OWN, "-A"]).await?,
        kubectl.get(&["events.events.k8s.io", "-A"]).await?,
    ];
    for object in lists.iter().flat_map(items) {
        let is_foreign_event = object["kind"] == "Event" && object["reportingController"] != "imaas-operator";
        if !is_foreign_event {
            let value = object["metadata"][field]
                .as_str()
                .with_context(|| format!("{}: no {field}", name(object)))?;
            found.insert(name(object), value.to_owned());
        }
    }
    ensure!(found.len() > 20, "the operator wrote only {found:?}");
    Ok(found)
}

/// What is in one and not the same in the other.
pub fn differences(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| format!("gone: {key}"));
    let new = after.keys().filter(|key| !before.contains_key(*key)).map(|key| format!("new: {key}"));
    let moved = before.iter().filter_map(|(key, old)| {
        after.get(key).filter(|now| *now != old).map(|now| format!("{key}: {old} → {now}"))
    });
    gone.chain(new).chain(moved).collect()
}

/// Everything that the operator made for `tenant`, with what it decided on it, as it would be for any tenant: sorted,
/// without names of the tenant, hashes of its content, and what differs by itself.
///
/// # Errors
/// What kubectl says.
pub async fn space(kubectl: &Kubectl, tenant: &str) -> Result<Vec<String>> {
    let kinds = format!("{CHILDREN},namespaces");
    let label = format!("imaas.dev/tenant={tenant},app.kubernetes.io/managed-by=imaas-operator");
    let list = kubectl.get(&[kinds.as_str(), "-A", "-l", &label]).await?;
    let mut space: Vec<String> = items(&list).map(|object| masked(&decided(object), tenant)).collect();
    space.sort();
    Ok(space)
}

/// Without what the API server and others add.
fn decided(object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = &object["metadata"];
    object["metadata"] = json!({
        "name": metadata["name"], "namespace": metadata["namespace"],
        "labels": metadata["labels"], "annotations": metadata["annotations"],
    });
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        // Counts what the Deployment's own controller did.
        annotations.remove("deployment.kubernetes.io/revision");
    }
    object["status"] = Value::Null;
    for own in ["clusterIP", "clusterIPs"] {
        if object["spec"][own].is_string() || object["spec"][own].is_array() {
            object["spec"][own] = Value::Null;
        }
    }
    if object["metadata"]["annotations"]["imaas.dev/origin"].is_string() {
        object["metadata"]["annotations"]["imaas.dev/origin"] = json!("origin");
    }
    // Of the image's name, among others, in which the tenant's is.
    if object["spec"]["contentRevision"].is_string() {
        object["spec"]["contentRevision"] = json!("HASH");
    }
    if object["kind"] == "Secret" {
        let keys: Vec<_> =
            object["data"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
        object["data"] = json!(keys);
    }
    object
}

/// The tenant's name, commits (40 digits) and names by content (12 digits) become words that fit any tenant.
fn masked(object: &Value, tenant: &str) -> String {
    let text = object.to_string().replace(tenant, "TENANT");
    let mut masked = String::with_capacity(text.len());
    let mut word = String::new();
    for character in text.chars().chain(['\n']) {
        if character.is_ascii_alphanumeric() {
            word.push(character);
            continue;
        }
        let is_hash = (word.len() == 12 || word.len() == 40)
            && word.chars().all(|digit| digit.is_ascii_digit() || ('a'..='f').contains(&digit));
        masked.push_str(if is_hash { "HASH" } else { &word });
        word.clear();
        masked.push(character);
    }
    masked
}

/// The first difference of two spaces, in words.
///
/// # Errors
/// When they differ.
pub fn same(reference: &[String], other: &[String]) -> Result<()> {
    let missing: Vec<_> = reference.iter().filter(|object| !other.contains(object)).collect();
    let more: Vec<_> = other.iter().filter(|object| !reference.contains(object)).collect();
    ensure!(
        missing.is_empty() && more.is_empty() && reference.len() == other.len(),
        "{} and {} objects; only in the first: {missing:#?}; only in the second: {more:#?}",
        reference.len(),
        other.len()
    );
    Ok(())
}

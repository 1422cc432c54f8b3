//! Who may say that a tenant or a service is retiring: not even an administrator. Dry runs, but for what they are tried on.

use std::time::Duration;

use anyhow::Result;
use lab::kubectl::Kubectl;
use serde_json::{Value, json};

use crate::{Broken, OPERATOR, ask};

const POLICY: &str = "ValidatingAdmissionPolicy 'imaas-retirement'";
const MARKS: [&str; 3] = ["imaas.dev/orphaned-since", "imaas.dev/orphaned-by", "imaas.dev/retiring-since"];
/// What a person has to write.
const WRITABLE: [&str; 4] = [
    "imaas.dev/confirm-removal",
    "imaas.dev/confirm-delete",
    "imaas.dev/transfer-to",
    "imaas.dev/reconcile-requested",
];
const LONG_AGO: &str = "2020-01-01T00:00:00Z";

fn tenant(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "imaas.dev/v1alpha1", "kind": "Tenant",
        "metadata": { "name": name, "annotations": annotations }, "spec": {},
    })
}

fn service(annotations: &Value) -> Value {
    json!({
        "apiVersion": "imaas.dev/v1alpha1", "kind": "IntegrationService",
        "metadata": { "name": "fading", "namespace": "plain", "annotations": annotations },
        "spec": { "repository": { "url": "https://git.example.com/fading" }, "runtime": "container" },
    })
}

/// By the administrator of the cluster, who may do everything else.
pub async fn its_marks_are_the_operators_alone(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    kubectl.apply(&tenant("fading", &json!({})).to_string()).await?;
    kubectl.apply(&service(&json!({})).to_string()).await?;
    let objects: [&[&str]; 2] =
        [&["tenants.imaas.dev", "fading"], &["integrationservices.imaas.dev", "fading", "-n", "plain"]];
    for object in objects {
        for mark in MARKS {
            for value in [LONG_AGO, ""] {
                let answer = annotated(kubectl, object, &format!("{mark}={value}"), None).await?;
                broken.unless(
                    is_refused(&answer),
                    format!("{object:?}, {mark}={value:?} by an administrator: {answer:?}"),
                );
            }
            let answer = annotated(kubectl, object, &format!("{mark}={LONG_AGO}"), Some(OPERATOR)).await?;
            broken.unless(answer.is_ok(), format!("{object:?}, {mark} by the operator: {answer:?}"));
        }
        for writable in WRITABLE {
            let answer = annotated(kubectl, object, &format!("{writable}=x"), None).await?;
            broken.unless(answer.is_ok(), format!("{object:?}, {writable} by an administrator: {answer:?}"));
        }
    }
    made_and_changed(kubectl, broken).await?;
    for object in objects {
        kubectl.delete(object, Duration::from_secs(10)).await?;
    }
    Ok(())
}

async fn made_and_changed(kubectl: &Kubectl, broken: &mut Broken) -> Result<()> {
    let marks = json!({ "imaas.dev/orphaned-since": LONG_AGO, "imaas.dev/retiring-since": LONG_AGO });
    for restored in [tenant("restored", &marks), service(&marks)] {
        let text = restored.to_string().replace("fading", "restored");
        let answer = ask(kubectl, &["create", "--dry-run=server", "-f", "-"], Some(&text)).await?;
        broken.unless(is_refused(&answer), format!("a backup with its marks: {answer:?}"));
    }
    let status = json!({ "metadata": { "annotations": marks }, "status": { "servicesReady": "0/0" } });
    let status = status.to_string();
    let patch = [
        &["patch", "tenants.imaas.dev", "fading", "--dry-run=server", "-o", "json"][..],
        &["--subresource=status", "--type=merge", "-p", &status],
    ];
    let answer = ask(kubectl, &patch.concat(), None).await?;
    let is_bare = answer.as_ref().is_ok_and(|text| text.contains("0/0") && !text.contains(LONG_AGO));
    broken.unless(is_bare, format!("a status brings no mark along: {answer:?}"));

    // One that is marked can be changed as ever, and keeps its marks.
    let tenant = ["tenants.imaas.dev", "fading"];
    let mark = format!("imaas.dev/orphaned-since={LONG_AGO}");
    kubectl.run(&["annotate", tenant[0], tenant[1], &mark, "--as", OPERATOR], None).await?;
    for (change, is_allowed) in [
        ("imaas.dev/orphaned-since-", false),
        ("imaas.dev/orphaned-since=2026-01-01T00:00:00Z", false),
        ("imaas.dev/confirm-delete=x", true),
    ] {
        let answer = annotated(kubectl, &tenant, change, None).await?;
        let is_right = if is_allowed { answer.is_ok() } else { is_refused(&answer) };
        broken.unless(is_right, format!("a marked Tenant, {change} by an administrator: {answer:?}"));
    }
    Ok(())
}

async fn annotated(
    kubectl: &Kubectl,
    object: &[&str],
    change: &str,
    who: Option<&str>,
) -> Result<Result<String, String>> {
    let arguments = [&["annotate", "--overwrite", "--dry-run=server"], object, &[change]].concat();
    let user = who.map_or_else(Vec::new, |who| vec!["--as", who]);
    ask(kubectl, &[arguments, user].concat(), None).await
}

fn is_refused(answer: &Result<String, String>) -> bool {
    answer.as_ref().err().is_some_and(|words| words.contains(POLICY))
}

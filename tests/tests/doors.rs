//! The same tenant file by every door: a commit to the tenants repository, `kubectl apply`, Flux, Argo CD. The space is
//! the same, and nobody fights over it while the tools apply their files again and again.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use flows::{Stand, StandOptions, objects, until};
use lab::{Nodes, Progress};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_mins(2);
/// Names of one length: in every object one stands where another does.
const BY_COMMIT: &str = "acme";
const BY_HAND: &str = "beta";
const BY_FLUX: &str = "dora";
const BY_ARGO: &str = "echo";
/// What the tools write on what is theirs, to prune by it.
const MARKS: [&str; 3] =
    ["kustomize.toolkit.fluxcd.io/name", "argocd.argoproj.io/tracking-id", "app.kubernetes.io/instance"];

fn file(tenant: &str, git: &str) -> String {
    format!(
        "apiVersion: imaas.dev/v1alpha1
kind: Tenant
metadata:
  name: {tenant}
spec:
  contact: integrations@{tenant}.example
  members:
    - {{kind: User, name: auditor@{tenant}.example, role: viewer}}
    - {{kind: Group, name: {tenant}-leads, role: owner}}
    - {{kind: Group, name: {tenant}-developers, role: developer}}
  environments:
    test: {{omit: true}}
    prod: {{quota: {{cpu: \"2\", memory: 4Gi}}}}
  services:
    - name: orders
      repository: {{url: \"https://{git}/{tenant}/orders.git\"}}
      runtime: camel
      branches: {{prod: main}}
"
    )
}

/// The file as a tool sends it: with its marks.
async fn marked(stand: &Stand, tenant: &str, labels: &Value, annotations: Option<&Value>) -> Result<String> {
    let text = file(tenant, stand.git_name());
    let convert = ["create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-"];
    let mut object: Value = serde_json::from_str(&stand.kubectl.run(&convert, Some(&text)).await?)?;
    object["metadata"]["labels"] = labels.clone();
    // An empty one is no mark: the API server counts each apply of it as a change.
    if let Some(annotations) = annotations {
        object["metadata"]["annotations"] = annotations.clone();
    }
    Ok(object.to_string())
}

/// As kustomize-controller: server-side, with force, under its own name.
async fn flux(stand: &Stand) -> Result<()> {
    let labels = json!({ MARKS[0]: "tenants", "kustomize.toolkit.fluxcd.io/namespace": "flux-system" });
    let text = marked(stand, BY_FLUX, &labels, None).await?;
    let apply =
        ["apply", "--server-side", "--force-conflicts", "--field-manager=kustomize-controller", "-f", "-"];
    stand.kubectl.run(&apply, Some(&text)).await.map(drop)
}

/// As an Argo CD application of a Helm chart: client-side, as is its default, with its tracking in label and annotation.
async fn argo(stand: &Stand) -> Result<()> {
    let labels = json!({ MARKS[2]: "tenants", "app.kubernetes.io/managed-by": "Helm" });
    let tracking = format!("tenants:imaas.dev/Tenant:argocd/{BY_ARGO}");
    let text = marked(stand, BY_ARGO, &labels, Some(&json!({ MARKS[1]: tracking }))).await?;
    let apply = ["apply", "--field-manager=argocd-controller", "-f", "-"];
    stand.kubectl.run(&apply, Some(&text)).await.map(drop)
}

async fn by_hand(stand: &Stand) -> Result<()> {
    let text = file(BY_HAND, stand.git_name());
    stand.kubectl.run(&["apply", "-f", "-"], Some(&text)).await.map(drop)
}

/// All that the tools do in one interval.
async fn apply(stand: &Stand) -> Result<()> {
    by_hand(stand).await?;
    flux(stand).await?;
    argo(stand).await
}

async fn ready(stand: &Stand, tenant: &str) -> Result<Value> {
    until(&format!("tenant {tenant}"), PATIENCE, || async {
        let seen = stand
            .kubectl
            .get(&["tenant", tenant, "--show-managed-fields"])
            .await
            .map_err(|error| format!("{error:#}"))?;
        let conditions = seen["status"]["conditions"].as_array();
        let is = |type_: &str| {
            let is = |c: &Value| c["type"] == type_ && c["status"] == "True";
            conditions.is_some_and(|all| all.iter().any(is))
        };
        // What its images take is counted a moment later.
        if is("Ready") && is("PushAllowed") { Ok(seen) } else { Err(seen["status"].to_string()) }
    })
    .await
}

/// What a door may not change of the Tenant itself.
fn essence(tenant: &Value) -> String {
    let name = tenant["metadata"]["name"].as_str().unwrap_or_default();
    let conditions = tenant["status"]["conditions"].as_array().into_iter().flatten();
    let conditions: Vec<_> = conditions.map(|c| json!([c["type"], c["status"], c["reason"]])).collect();
    let environments = &tenant["status"]["environments"];
    json!([tenant["spec"], environments, conditions]).to_string().replace(name, "TENANT")
}

async fn every_door(stand: &Stand) -> Result<()> {
    let tenants = stand.tenants()?;
    tenants.write(&format!("tenants/{BY_COMMIT}.yaml"), file(BY_COMMIT, stand.git_name()))?;
    tenants.commit("feat: onboard")?;
    tenants.push("main")?;
    apply(stand).await?;
    let committed = ready(stand, BY_COMMIT).await?;
    ensure!(committed["status"]["origin"] == "tenants", "its origin: {}", committed["status"]);
    let reference = objects::space(&stand.kubectl, BY_COMMIT).await?;
    ensure!(reference.len() > 25, "a space is more than {reference:#?}");
    for tenant in [BY_HAND, BY_FLUX, BY_ARGO] {
        let seen = ready(stand, tenant).await?;
        ensure!(seen["status"]["origin"] == "manual", "the origin of {tenant}: {}", seen["status"]);
        ensure!(essence(&seen) == essence(&committed), "{tenant}: {seen:#} is not as {committed:#}");
        let space = objects::space(&stand.kubectl, tenant).await?;
        objects::same(&reference, &space).with_context(|| format!("the space of {tenant}"))?;
        // A tool prunes what carries its mark and is not in its source.
        let spread = space.iter().find(|object| MARKS.iter().any(|mark| object.contains(mark)));
        ensure!(spread.is_none(), "{tenant}: {spread:?} would be pruned");
        ensure!(
            owns_status_and_finalizer_only(&seen),
            "the operator writes into what {tenant}'s tool applies: {seen:#}"
        );
    }
    nobody_fights(stand).await
}

/// A field that the tool has not sent would be drift for it; a finalizer is none.
fn owns_status_and_finalizer_only(tenant: &Value) -> bool {
    let managers = tenant["metadata"]["managedFields"].as_array();
    let mut own =
        managers.into_iter().flatten().filter(|entry| entry["manager"] == "imaas-operator").peekable();
    let is_finalizer = |entry: &Value| {
        let fields = entry["fieldsV1"].as_object();
        let metadata = entry["fieldsV1"]["f:metadata"].as_object();
        let only = |map: Option<&serde_json::Map<String, Value>>, key: &str| {
            map.is_some_and(|map| map.len() == 1 && map.contains_key(key))
        };
        only(fields, "f:metadata") && only(metadata, "f:finalizers")
    };
    own.peek().is_some() && own.all(|entry| entry["subresource"] == "status" || is_finalizer(entry))
}

/// Waits until nothing moves for two intervals.
async fn settled(stand: &Stand) -> Result<BTreeMap<String, String>> {
    let mut before = objects::all(&stand.kubectl, "resourceVersion").await?;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = objects::all(&stand.kubectl, "resourceVersion").await?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
    bail!("it never settles: {before:#?}")
}

/// Three rounds of the tools, with two intervals of the source after each: no object moves.
async fn nobody_fights(stand: &Stand) -> Result<()> {
    let before = settled(stand).await?;
    for _ in 0..3 {
        apply(stand).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let after = objects::all(&stand.kubectl, "resourceVersion").await?;
    let moved = objects::differences(&before, &after);
    ensure!(moved.is_empty(), "a second apply of the same moved {moved:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_door_gives_the_same_space_and_nobody_fights_over_it() -> Result<()> {
    let progress = Progress::new(|line| eprintln!("{line}"));
    let options = StandOptions { nodes: Nodes::None, tenants: Vec::new(), ..StandOptions::default() };
    let stand = Stand::start(options, &progress).await?;
    let outcome = every_door(&stand).await;
    stand.stop().await?;
    outcome
}

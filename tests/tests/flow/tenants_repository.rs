//! The tenants repository goes wrong and comes right again.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use flows::until;
use serde_json::Value;

use crate::{Flow, PATIENCE, condition, none_failed, objects, steady, tenant_file};

/// Waits until acme's `InSync` has this status and reason; returns the tenant and its source.
async fn in_sync(flow: &Flow, status: &str, reason: &str) -> Result<(Value, Value)> {
    until(&format!("InSync={status} {reason}"), PATIENCE, || async {
        let tenant = flow.seen(&["tenant", "acme"]).await?;
        let source = flow.seen(&["tenantsource", "tenants"]).await?;
        let said = condition(&tenant, "InSync");
        let is_told = source["status"]["commit"] == flow.tenants.head().unwrap_or_default().as_str();
        if said.0 == status && said.1 == reason && is_told {
            Ok((tenant, source))
        } else {
            Err(format!("{said:?}, {source}"))
        }
    })
    .await
}

/// Of these objects, those that run acme's services.
fn in_environments(mut all: BTreeMap<String, String>) -> BTreeMap<String, String> {
    all.retain(|name, _| ["acme-dev/", "acme-test/", "acme-prod/"].iter().any(|place| name.contains(place)));
    all
}

async fn others_are_well(flow: &Flow) -> Result<()> {
    let other = flow.stand.kubectl.get(&["tenant", "initech"]).await?;
    let is_well = condition(&other, "InSync").0 == "True" && condition(&other, "Ready").0 == "True";
    ensure!(is_well, "another tenant of the source is concerned: {}", other["status"]);
    Ok(())
}

async fn unchanged(flow: &Flow, before: &BTreeMap<String, String>) -> Result<()> {
    let now = in_environments(objects::all(&flow.stand.kubectl, "resourceVersion").await?);
    let moved = objects::differences(before, &now);
    ensure!(moved.is_empty(), "something in an environment was touched: {moved:?}");
    Ok(())
}

/// Promise: a broken file changes nothing of its tenant and is told with line and column; repaired, it heals.
pub async fn broken_file(flow: &Flow) -> Result<String> {
    let before = in_environments(steady::settled(flow).await?);
    let spec = flow.stand.kubectl.get(&["tenant", "acme"]).await?["spec"].clone();
    let trickle = flow.trickle("prod", "inventory").await?;
    let good = tenant_file("acme");
    flow.commit_tenant("acme", &good.replace("members:", "membrs:"))?;
    let (tenant, source) = in_sync(flow, "False", "InvalidFile").await?;
    let place = "tenants/acme.yaml:7:3:";
    let said = condition(&tenant, "InSync").2;
    ensure!(said.contains("acme.yaml:7:3:") && said.contains("membrs"), "the tenant says where: {said}");
    let problems = source["status"]["problems"].to_string();
    ensure!(problems.contains(place) && problems.contains("membrs"), "the source says {place}: {problems}");
    ensure!(condition(&source, "Stalled").0 == "True", "the source stalls: {source}");
    ensure!(tenant["spec"] == spec, "the tenant keeps what it had: {}", tenant["spec"]);
    ensure!(condition(&tenant, "Ready").0 == "True", "it is well: {}", tenant["status"]);
    others_are_well(flow).await?;
    flow.commit_tenant("acme", &good)?;
    let (_, source) = in_sync(flow, "True", "Succeeded").await?;
    ensure!(source["status"]["problemCount"].as_i64().unwrap_or(0) == 0, "it heals: {source}");
    ensure!(condition(&source, "Ready").0 == "True", "it heals: {source}");
    let sent = none_failed(trickle).await?;
    unchanged(flow, &before).await?;
    Ok(format!("told `{said}`; {sent} requests, none failed"))
}

/// Promise: a file that is gone marks its tenant, which serves on untouched in its first stage; put back, the mark goes.
pub async fn vanished_file(flow: &Flow) -> Result<String> {
    let before = in_environments(steady::settled(flow).await?);
    let trickle = flow.trickle("prod", "inventory").await?;
    flow.tenants.remove("tenants/acme.yaml")?;
    let gone = flow.tenants.commit("chore: acme leaves")?;
    flow.tenants.push("main")?;
    let (tenant, source) = in_sync(flow, "False", "Orphaned").await?;
    ensure!(source["status"]["orphaned"].to_string().contains("acme"), "the source says so: {source}");
    ensure!(
        tenant["metadata"]["annotations"]["imaas.dev/orphaned-by"] == format!("commit {gone}"),
        "since which commit: {tenant}"
    );
    ensure!(tenant["metadata"]["deletionTimestamp"].is_null(), "it is not deleted");
    until("Orphaned on the service", PATIENCE, || async {
        let service = flow.seen(&["-n", "acme-home", "integrationservice", "inventory"]).await?;
        let told = condition(&service, "Stalled");
        if told.1 == "Orphaned" { Ok(()) } else { Err(service["status"].to_string()) }
    })
    .await?;
    others_are_well(flow).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    unchanged(flow, &before).await?;
    flow.commit_tenant("acme", &tenant_file("acme"))?;
    let (tenant, source) = in_sync(flow, "True", "Succeeded").await?;
    ensure!(
        tenant["metadata"]["annotations"]["imaas.dev/orphaned-since"].is_null(),
        "the mark goes: {tenant}"
    );
    ensure!(condition(&source, "Ready").0 == "True", "the source is well again: {source}");
    let sent = none_failed(trickle).await?;
    unchanged(flow, &before).await?;
    // It is looked at again.
    let clone = flow.inventory.work_tree();
    clone.checkout("dev")?;
    clone.write("README.md", clone.read("README.md")? + "\nWe are back.\n")?;
    let commit = clone.commit("docs: back")?;
    clone.push("dev")?;
    flow.stand.deployed(("acme", "inventory", "dev"), &commit, PATIENCE).await?;
    Ok(format!("orphaned and healed under {sent} requests, none failed"))
}

/// Promise: an entry that is gone orphans its service only; one that was applied by hand is nobody's to orphan.
pub async fn vanished_service(flow: &Flow) -> Result<String> {
    let before = in_environments(steady::settled(flow).await?);
    let file = tenant_file("acme");
    let without = file.split("  services:").next().unwrap_or_default();
    flow.commit_tenant("acme", without)?;
    let mark = |service: &Value| service["metadata"]["annotations"]["imaas.dev/orphaned-since"].clone();
    let inventory = ["-n", "acme-home", "integrationservice", "inventory"];
    until("the mark on inventory", PATIENCE, || async {
        let service = flow.seen(&inventory).await?;
        if mark(&service).is_string() { Ok(()) } else { Err(service["metadata"].to_string()) }
    })
    .await?;
    let by_hand = flow.seen(&["-n", "acme-home", "integrationservice", "stock"]).await;
    if let Ok(service) = &by_hand {
        ensure!(
            mark(service).is_null() && condition(service, "Ready").0 == "True",
            "stock is not concerned: {service}"
        );
    }
    flow.commit_tenant("acme", &file)?;
    until("no mark on inventory", PATIENCE, || async {
        let service = flow.seen(&inventory).await?;
        let is_well = mark(&service).is_null() && condition(&service, "Ready").0 == "True";
        if is_well { Ok(()) } else { Err(service.to_string()) }
    })
    .await?;
    unchanged(flow, &before).await?;
    Ok(format!("{} objects in its environments untouched", before.len()))
}

//! Tenants and services come, by commit and by hand.

use std::time::Instant;

use anyhow::{Result, ensure};
use flows::{Developer, Sample, until};

use crate::{ENVIRONMENTS, Flow, PATIENCE, condition, none_failed, objects, tenant_file};

/// Waits for the home of `tenant`, gives its services their logins, waits until the tenant is well.
pub async fn settled(flow: &Flow, tenant: &str) -> Result<()> {
    let home = format!("{tenant}-home");
    let namespace = ["namespace", home.as_str()];
    until(&format!("the namespace {home}"), PATIENCE, || flow.seen(&namespace)).await?;
    flow.stand.create_git_secret(&home, "inventory-git", tenant).await?;
    until(&format!("tenant {tenant}"), PATIENCE, || async {
        let seen = flow.seen(&["tenant", tenant]).await?;
        let environments = seen["status"]["environments"].as_array().map_or(0, Vec::len);
        let is_ready = condition(&seen, "Ready").0 == "True";
        if is_ready && environments == ENVIRONMENTS.len() { Ok(()) } else { Err(seen["status"].to_string()) }
    })
    .await
}

/// The head of the clone runs in all environments with one digest; returns it.
pub async fn everywhere(flow: &Flow, at: (&str, &str), commit: &str) -> Result<String> {
    let mut digests = Vec::new();
    for environment in ENVIRONMENTS {
        let board = flow.stand.deployed((at.0, at.1, environment), commit, PATIENCE).await?;
        ensure!(board["waiting"].as_array().is_none_or(Vec::is_empty), "{environment} still waits: {board}");
        digests.push(board["digest"].as_str().unwrap_or_default().to_owned());
    }
    ensure!(digests.iter().all(|digest| *digest == digests[0]), "one image each: {digests:?}");
    Ok(digests.remove(0))
}

/// Promise: one commit, and the tenant's service answers in dev, test and prod.
pub async fn by_commit(flow: &Flow) -> Result<String> {
    let begun = Instant::now();
    // Beside one that has no services, is not in test, and that nothing here is about.
    let initech = concat!(env!("CARGO_MANIFEST_DIR"), "/../tenants/tenants/initech.yaml");
    flow.tenants.write("tenants/initech.yaml", std::fs::read(initech)?)?;
    flow.commit_tenant("acme", &tenant_file("acme"))?;
    settled(flow, "acme").await?;
    let space = begun.elapsed();
    let pushed = flow.inventory.build(&flow.stand, &flow.progress).await?;
    let begun = Instant::now();
    let digest = everywhere(flow, ("acme", "inventory"), &flow.inventory.work_tree().head()?).await?;
    ensure!(digest == pushed, "what runs is what CI pushed: {digest}, {pushed}");
    let running = begun.elapsed();
    for environment in ENVIRONMENTS {
        flow.answers(("inventory", environment), "1").await?;
    }
    let tenant = flow.stand.kubectl.get(&["tenant", "acme"]).await?;
    ensure!(
        tenant["metadata"]["annotations"]["imaas.dev/origin"] == "tenants",
        "its origin is the source: {tenant}"
    );
    let source = flow.stand.kubectl.get(&["tenantsource", "tenants"]).await?;
    ensure!(condition(&source, "Ready").0 == "True", "the source is well: {source}");
    Ok(format!(
        "space in {:.1} s, running in three environments {:.1} s later",
        space.as_secs_f64(),
        running.as_secs_f64()
    ))
}

/// Promise: `kubectl apply` of the same file makes the same space; only its origin differs.
pub async fn by_hand(flow: &Flow) -> Result<String> {
    let kubectl = &flow.stand.kubectl;
    kubectl.run(&["apply", "-f", "-"], Some(&tenant_file("globex"))).await?;
    settled(flow, "globex").await?;
    let developer = Developer::new(&flow.stand, "globex", Sample::Inventory)?;
    developer.build(&flow.stand, &flow.progress).await?;
    everywhere(flow, ("globex", "inventory"), &developer.work_tree().head()?).await?;
    let tenant = kubectl.get(&["tenant", "globex"]).await?;
    ensure!(tenant["status"]["origin"] == "manual", "its origin: {}", tenant["status"]);
    ensure!(
        tenant["metadata"]["labels"]["app.kubernetes.io/managed-by"].is_null(),
        "it is not the operator's: {tenant}"
    );
    let (acme, globex) = (objects::space(kubectl, "acme").await?, objects::space(kubectl, "globex").await?);
    objects::same(&acme, &globex)?;
    Ok(format!("{} objects, the same", globex.len()))
}

/// Promise: an `IntegrationService` that somebody applies to a home works like one of the tenant's file.
pub async fn service_by_hand(flow: &Flow) -> Result<String> {
    let stand = &flow.stand;
    stand.git.create("/acme/stock.git", &Sample::Inventory.directory(), &ENVIRONMENTS)?;
    let service = "{apiVersion: imaas.dev/v1alpha1, kind: IntegrationService, \
         metadata: {name: stock, namespace: acme-home}, spec: {runtime: container, \
         repository: {url: 'https://git.example.com/acme/stock.git', credentials: inventory-git}}}";
    stand.kubectl.run(&["apply", "-f", "-"], Some(service)).await?;
    let developer = Developer::of(stand, ("acme", "stock"), Sample::Inventory)?;
    developer.build(stand, &flow.progress).await?;
    everywhere(flow, ("acme", "stock"), &developer.work_tree().head()?).await?;
    let trickle = flow.trickle("dev", "stock").await?;
    let commit = developer.release_version("dev", "2")?;
    let digest = developer.build(stand, &flow.progress).await?;
    let board = stand.deployed(("acme", "stock", "dev"), &commit, PATIENCE).await?;
    ensure!(board["digest"] == digest.as_str(), "the new image: {board}");
    let sent = none_failed(trickle).await?;
    // Its tenant's file changes and is read again: nothing of that is about the service.
    let changed = tenant_file("acme").replace("integrations@acme", "platform@acme");
    let commit = flow.commit_tenant("acme", &changed)?;
    until("the changed tenant", PATIENCE, || async {
        let seen = flow.seen(&["tenant", "acme"]).await?;
        let is_seen = seen["metadata"]["generation"] == seen["status"]["observedGeneration"];
        let is_changed = seen["spec"]["contact"] == "platform@acme.example";
        if is_seen && is_changed { Ok(()) } else { Err(format!("{commit}: {seen}")) }
    })
    .await?;
    let service = stand.kubectl.get(&["-n", "acme-home", "integrationservice", "stock"]).await?;
    let metadata = &service["metadata"];
    ensure!(metadata["deletionTimestamp"].is_null(), "pruned: {metadata}");
    ensure!(metadata["annotations"]["imaas.dev/orphaned-since"].is_null(), "orphaned: {metadata}");
    ensure!(condition(&service, "Ready").0 == "True", "not well: {}", service["status"]);
    Ok(format!("three environments, a new version under {sent} requests, none failed"))
}

//! A service, an environment and a tenant end stage by stage, and come back.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use flows::until;
use lab::image::Pusher;
use serde_json::Value;

use crate::{ENVIRONMENTS, Flow, PATIENCE, condition, none_failed, onboarding, tenant_file};

/// What is in a stage stays in it for as long as a test takes.
pub const LONG: &str = "1h";
pub const SHORT: &str = "1s";
const SERVICE: &str = "inventory";

/// Restarts the operator with other periods.
pub async fn periods(flow: &Flow, orphaned: &str, retiring: &str) -> Result<()> {
    let kubectl = &flow.stand.kubectl;
    let (orphaned, retiring) =
        (format!("IMAAS_ORPHANED_FOR={orphaned}"), format!("IMAAS_RETIRING_FOR={retiring}"));
    let operator = ["-n", "imaas-system", "deployment/imaas-operator"];
    let set = ["set", "env", operator[0], operator[1], operator[2], &orphaned, &retiring];
    kubectl.run(&set, None).await?;
    let rolled = ["rollout", "status", operator[0], operator[1], operator[2], "--timeout=120s"];
    kubectl.run(&rolled, None).await.map(drop)
}

/// Waits until a service of acme is told to be in this stage; returns it.
pub async fn in_stage(flow: &Flow, service: &str, reason: &str) -> Result<Value> {
    until(&format!("{reason} on {service}"), PATIENCE, || async {
        let service = flow.seen(&["-n", "acme-home", "integrationservice", service]).await?;
        let told = condition(&service, "Stalled");
        if told.1 == reason { Ok(service) } else { Err(service["status"].to_string()) }
    })
    .await
}

/// How many replicas the Deployments of acme's inventory are to have, by environment.
async fn replicas(flow: &Flow) -> Result<Vec<i64>> {
    let mut wanted = Vec::new();
    for environment in ENVIRONMENTS {
        let deployment = ["-n", &format!("acme-{environment}"), "deployment", "inventory"];
        let found = flow.stand.kubectl.get(&deployment).await?;
        wanted.push(found["spec"]["replicas"].as_i64().unwrap_or_default());
    }
    Ok(wanted)
}

/// Waits until the Deployments of a service of acme have so many replicas, and as many pods.
pub async fn scaled(flow: &Flow, service: &str, replicas: &[i64]) -> Result<()> {
    let label = format!("imaas.dev/service={service}");
    for (environment, wanted) in ENVIRONMENTS.iter().zip(replicas) {
        let namespace = format!("acme-{environment}");
        until(&format!("{wanted} pods in {namespace}"), PATIENCE, || async {
            let deployment = flow.seen(&["-n", &namespace, "deployment", service]).await?;
            let pods = flow.seen(&["-n", &namespace, "pods", "-l", &label]).await?;
            let count = pods["items"].as_array().map_or(0, Vec::len);
            let is_so = deployment["spec"]["replicas"] == *wanted && i64::try_from(count) == Ok(*wanted);
            if is_so { Ok(()) } else { Err(format!("{count} pods, {}", deployment["spec"]["replicas"])) }
        })
        .await?;
    }
    Ok(())
}

/// Waits until kubectl finds none of these.
async fn gone(flow: &Flow, arguments: &[&str]) -> Result<()> {
    until(&format!("the end of {}", arguments.join(" ")), PATIENCE, || async {
        let all = [arguments, &["--ignore-not-found"]].concat();
        match flow.stand.kubectl.run(&[&["get", "-o", "name"], all.as_slice()].concat(), None).await {
            Ok(names) if names.trim().is_empty() => Ok(()),
            Ok(names) => Err(names),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await
}

/// A service whose history is gone begins again: CI builds the head of dev, and merges bring it to the others.
async fn anew(flow: &Flow) -> Result<()> {
    let (stand, inventory) = (&flow.stand, &flow.inventory);
    inventory.work_tree().checkout("dev")?;
    inventory.build(stand, &flow.progress).await?;
    let commit = inventory.work_tree().head()?;
    stand.deployed(("acme", "inventory", "dev"), &commit, PATIENCE).await?;
    for (from, into) in [("dev", "test"), ("test", "prod")] {
        let commit = inventory.promote(from, into)?;
        stand.deployed(("acme", "inventory", into), &commit, PATIENCE).await?;
    }
    Ok(())
}

/// Waits until nothing of a service of acme is in the cluster; its image of `commit` is not in the registry then.
pub async fn removed(flow: &Flow, service: &str, commit: &str) -> Result<()> {
    let label = format!("imaas.dev/service={service}");
    gone(flow, &["-n", "acme-home", "integrationservice", service]).await?;
    for environment in ENVIRONMENTS {
        let namespace = format!("acme-{environment}");
        gone(flow, &["-n", &namespace, crate::objects::CHILDREN, "-l", &label]).await?;
    }
    gone(flow, &["-n", "acme-home", "releases.imaas.dev", "-l", &label]).await?;
    image_is_gone(flow, service, commit).await
}

/// The registry has nothing of it that a client finds.
async fn image_is_gone(flow: &Flow, service: &str, commit: &str) -> Result<()> {
    let (user, password) = flow.stand.registry_account("acme", "imaas-registry-pull", "dev").await?;
    let (registry, progress) = (flow.stand.registry.endpoint(), flow.progress.clone());
    let (repository, commit) = (format!("acme/{service}"), commit.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        Pusher::new(&registry, Some((&user, &password)), &progress)?.digest(&repository, &commit)
    });
    match asked.await? {
        Ok(digest) => bail!("an image of the service is left: {digest}"),
        Err(error) => {
            let told = format!("{error:#}");
            ensure!(told.contains("404") || told.contains("UNKNOWN"), "{told}");
            Ok(())
        }
    }
}

/// Promise: a service that is no longer listed serves on, then sleeps, then goes; its lines bring it back at any stage.
pub async fn service(flow: &Flow) -> Result<String> {
    let (file, commit) =
        (tenant_file("acme"), flow.inventory.work_tree().git(&["rev-parse", "origin/prod"])?);
    let without = file.split("  services:").next().unwrap_or_default();
    let template = |deployment: &Value| deployment["spec"]["template"].clone();
    let deployment = ["-n", "acme-prod", "deployment", "inventory"];
    let before = template(&flow.stand.kubectl.get(&deployment).await?);

    let running = replicas(flow).await?;
    let trickle = flow.trickle("prod", "inventory").await?;
    flow.commit_tenant("acme", without)?;
    in_stage(flow, SERVICE, "Orphaned").await?;
    let sent = none_failed(trickle).await?;

    periods(flow, SHORT, LONG).await?;
    let told = condition(&in_stage(flow, SERVICE, "Retiring").await?, "Stalled").2;
    scaled(flow, SERVICE, &[0, 0, 0]).await?;

    let undone = Instant::now();
    flow.commit_tenant("acme", &file)?;
    scaled(flow, SERVICE, &running).await?;
    flow.stand.deployed(("acme", "inventory", "prod"), &commit, PATIENCE).await?;
    let undone = undone.elapsed();
    let after = template(&flow.stand.kubectl.get(&deployment).await?);
    ensure!(before == after, "it came back as another: {after}");

    flow.commit_tenant("acme", without)?;
    in_stage(flow, SERVICE, "Retiring").await?;
    periods(flow, SHORT, SHORT).await?;
    removed(flow, SERVICE, &flow.inventory.work_tree().git(&["rev-parse", "origin/dev"])?).await?;

    flow.commit_tenant("acme", &file)?;
    anew(flow).await?;
    Ok(format!("told `{told}`; {sent} requests, none failed; undone in {:.1} s", undone.as_secs_f64()))
}

/// Promise: an environment that its tenant leaves ends alike, without a word to the others, and can be entered again.
pub async fn environment(flow: &Flow) -> Result<String> {
    periods(flow, SHORT, LONG).await?;
    let file = tenant_file("acme");
    let left = file.replace("  environments:\n", "  environments:\n    dev: {omit: true}\n");
    let prod = flow.trickle("prod", "inventory").await?;
    flow.commit_tenant("acme", &left)?;
    until("acme-dev scaled to zero", PATIENCE, || async {
        let deployment = flow.seen(&["-n", "acme-dev", "deployment", "inventory"]).await?;
        if deployment["spec"]["replicas"] == 0 { Ok(()) } else { Err(deployment["spec"].to_string()) }
    })
    .await?;
    periods(flow, SHORT, SHORT).await?;
    gone(flow, &["namespace", "acme-dev"]).await?;
    let sent = none_failed(prod).await?;
    periods(flow, LONG, LONG).await?;
    flow.commit_tenant("acme", &file)?;
    let commit = flow.inventory.work_tree().git(&["rev-parse", "origin/dev"])?;
    let begun = Instant::now();
    flow.stand.deployed(("acme", "inventory", "dev"), &commit, PATIENCE).await?;
    Ok(format!("prod: {sent} requests, none failed; entered again in {:.1} s", begun.elapsed().as_secs_f64()))
}

/// Promise: a tenant whose file is gone ends with all that is its own and nothing else; its file makes it anew.
pub async fn tenant(flow: &Flow) -> Result<String> {
    periods(flow, SHORT, LONG).await?;
    flow.tenants.remove("tenants/acme.yaml")?;
    flow.tenants.commit("chore: acme leaves")?;
    flow.tenants.push("main")?;
    until("Retiring on the tenant", PATIENCE, || async {
        let tenant = flow.seen(&["tenant", "acme"]).await?;
        let told = condition(&tenant, "InSync");
        if told.1 == "Retiring" { Ok(()) } else { Err(tenant["status"].to_string()) }
    })
    .await?;
    scaled(flow, SERVICE, &[0, 0, 0]).await?;
    periods(flow, SHORT, SHORT).await?;
    gone(flow, &["tenant", "acme"]).await?;
    for name in ["home"].iter().chain(&ENVIRONMENTS) {
        gone(flow, &["namespace", &format!("acme-{name}")]).await?;
    }
    let other = flow.stand.kubectl.get(&["tenant", "initech"]).await?;
    ensure!(condition(&other, "Ready").0 == "True", "another tenant is concerned: {}", other["status"]);
    periods(flow, LONG, LONG).await?;
    let begun = Instant::now();
    flow.commit_tenant("acme", &tenant_file("acme"))?;
    onboarding::settled(flow, "acme").await?;
    anew(flow).await?;
    Ok(format!("removed, and made anew in {:.1} s", begun.elapsed().as_secs_f64()))
}

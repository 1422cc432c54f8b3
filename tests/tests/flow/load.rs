//! Load that comes and goes, on real pods with real metrics.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use flows::{Caller, Trickle};
use lab::metrics_server::MetricsServer;

use crate::{
    Flow, PATIENCE, after, none_failed,
    number::{HANDED_OVER, becomes, handed_over, replicas},
};

const IN_DEV: (&str, &str, &str) = ("acme", "inventory", "dev");
const OF_DEV: &str = "  dev: {scaling: {min: 1}}";
/// So little that a trickle is load, and an end that is not waited for.
const SCALED: &str = "  dev: {resources: {cpu: 10m}, scaling: {min: 1, max: 3, cpu: 50, downAfter: 0s}}";

/// Promise: load that rises brings instances, none of its requests is lost, load that ends takes them away again, and nobody but
/// the autoscaler writes their number meanwhile.
pub async fn brings_instances_and_takes_them_away(flow: &Flow) -> Result<String> {
    let metrics = MetricsServer::start(&flow.stand.lab, &flow.progress).await?;
    let plain = changed(flow, OF_DEV, SCALED).await?;
    let outcome = Box::pin(up_and_down(flow)).await;
    let ended = Box::pin(as_it_was(flow, &plain)).await.and(metrics.stop().await);
    after(outcome, ended)
}

/// Without load's own, the number is the operator's again.
async fn as_it_was(flow: &Flow, plain: &str) -> Result<()> {
    changed(flow, SCALED, OF_DEV).await?;
    let (number, owners) = replicas(flow, IN_DEV).await.map_err(anyhow::Error::msg)?;
    let is_ours = owners.iter().any(|owner| owner == "imaas-operator");
    ensure!(number == 1 && is_ours, "the number is the operator's again: {number} {owners:?}");
    let autoscaler = flow.seen(&["-n", "acme-dev", "hpa", "inventory"]).await;
    ensure!(autoscaler.is_err(), "the autoscaler went: {autoscaler:?}");
    let back = flow.inventory.work_tree().read("imaas.yaml")?;
    ensure!(back == plain, "the descriptor is as it was: {back}");
    Ok(())
}

/// Commits another line of the descriptor for dev, and waits until that runs; returns the descriptor as it was.
async fn changed(flow: &Flow, from: &str, to: &str) -> Result<String> {
    let clone = flow.inventory.work_tree();
    clone.checkout("dev")?;
    let before = clone.read("imaas.yaml")?;
    ensure!(before.contains(from), "the descriptor has the line {from:?}: {before}");
    clone.write("imaas.yaml", before.replace(from, to))?;
    let commit = clone.commit(&format!("feat:{to}"))?;
    clone.push("dev")?;
    flow.stand.deployed(IN_DEV, &commit, PATIENCE).await?;
    Ok(before)
}

async fn up_and_down(flow: &Flow) -> Result<String> {
    handed_over(flow, IN_DEV).await?;
    let address = flow.stand.service_address("acme", "dev", "inventory").await?;
    let begun = Instant::now();
    let load = Trickle::start(Caller::new(address)?, "/inventory", Duration::from_millis(5));
    let risen = becomes(flow, IN_DEV, 3, &[HANDED_OVER]).await;
    let rose = begun.elapsed();
    let sent = none_failed(load).await?;
    risen?;
    let ended = Instant::now();
    becomes(flow, IN_DEV, 1, &[]).await?;
    Ok(format!(
        "{sent} requests in {:.0} s: 3 instances after that; 1 again {:.0} s after the last",
        rose.as_secs_f64(),
        ended.elapsed().as_secs_f64()
    ))
}

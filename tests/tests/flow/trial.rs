//! A release that is tried beside what runs, behind a real gateway: what its share is worth in requests.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use flows::{Caller, Trickle, until};
use futures::{StreamExt, TryStreamExt, stream};
use imaas_operator::names::PREVIEW;
use serde_json::Value;

use crate::{
    Flow, PATIENCE, PERIOD,
    decisions::decide,
    gateway::{HOST, answers, pushed, with_entrance},
    none_failed, waiting,
};

const AT: (&str, &str, &str) = ("acme", "inventory", "dev");
const OF_DEV: &str = "  dev: {scaling: {min: 1}}";
const EXPOSED: &str = "  dev: {scaling: {min: 1}, expose: {path: /inventory}}";
const CANARY: &str = "  dev: {scaling: {min: 1}, expose: {path: /inventory}, \
     rollout: {strategy: canary, steps: [{weight: 10}, {weight: 50}]}}";
const BLUE_GREEN: &str = "  dev: {scaling: {min: 1}, expose: {path: /inventory}, \
     rollout: {strategy: blueGreen, preview: 1h, keep: 1h, smoke: {path: /inventory}}}";
/// No answer to it is good.
const SMOKING: &str = "  dev: {scaling: {min: 1}, expose: {path: /inventory}, \
     rollout: {strategy: blueGreen, preview: 0s, smoke: {path: /nonsense}}}";
/// Of which the share is told, and how many of them it may be off: 2 of 100.
const REQUESTS: usize = 5_000;
const TOLERANCE: usize = REQUESTS / 50;
/// Under way at a time.
const AT_A_TIME: usize = 16;

/// Promise: of a canary each step's share of requests goes to the new version, of a blue/green roll-out none and then all;
/// who asks for it by the header gets it; an abort brings the old back, and so does a smoke check that is answered badly, before
/// any request; and none is lost, neither one on a connection of its own nor one on a connection that is kept.
pub async fn beside_what_runs(flow: &Flow) -> Result<String> {
    let clone = flow.inventory.work_tree();
    clone.checkout("dev")?;
    let (plain, version) = (clone.read("imaas.yaml")?, clone.read("VERSION")?);
    ensure!(plain.contains(OF_DEV), "the descriptor has the line {OF_DEV:?}: {plain}");
    let outcome = with_entrance(flow, async |flow, address| tried(flow, address, &plain).await).await;
    clone.write("VERSION", version)?;
    let commit = pushed(flow, &plain)?;
    flow.stand.deployed(AT, &commit, PATIENCE).await?;
    outcome
}

async fn tried(flow: &Flow, address: SocketAddr, plain: &str) -> Result<String> {
    let commit = pushed(flow, &plain.replace(OF_DEV, EXPOSED))?;
    flow.stand.deployed(AT, &commit, PATIENCE).await?;
    answers(address, HOST, 200).await?;
    let anew = Trickle::start(Caller::new(address)?.of(HOST)?, "/inventory", PERIOD);
    let kept = Trickle::start(Caller::kept(address)?.of(HOST)?, "/inventory", PERIOD);
    let outcome = Box::pin(both_ways(flow, address, plain)).await;
    let sent = [none_failed(anew).await?, none_failed(kept).await?];
    Ok(format!("{}; {sent:?} requests, none failed", outcome?))
}

async fn both_ways(flow: &Flow, address: SocketAddr, plain: &str) -> Result<String> {
    let mut counts = Vec::new();
    let commit = version(flow, "canary", &plain.replace(OF_DEV, CANARY)).await?;
    for (step, weight) in [(1, 10), (2, 50)] {
        paused(flow, &format!("step {step} of 2 with {weight} of 100 requests")).await?;
        counts.push(share(address, ("canary", weight)).await?);
        previewed(address, "canary").await?;
        decide(flow, (AT.1, AT.2), "skip").await?;
    }
    flow.stand.deployed(AT, &commit, PATIENCE).await?;
    share(address, ("canary", 100)).await?;
    gone(flow).await?;

    version(flow, "green", &plain.replace(OF_DEV, BLUE_GREEN)).await?;
    paused(flow, "step 1 of 2 with 0 of 100 requests").await?;
    share(address, ("green", 0)).await?;
    previewed(address, "green").await?;
    decide(flow, (AT.1, AT.2), "skip").await?;
    paused(flow, "step 2 of 2 with 100 of 100 requests").await?;
    share(address, ("green", 100)).await?;
    let begun = Instant::now();
    decide(flow, (AT.1, AT.2), "abort").await?;
    let caller = Caller::new(address)?.of(HOST)?;
    until("the old one answers", PATIENCE, || async {
        let answer = version_of(&caller).await.map_err(|error| format!("{error:#}"))?;
        if answer == "canary" { Ok(()) } else { Err(answer) }
    })
    .await?;
    let back = begun.elapsed().as_secs_f64();
    gone(flow).await?;
    share(address, ("green", 0)).await?;

    version(flow, "red", &plain.replace(OF_DEV, SMOKING)).await?;
    let words = "smoke check GET /nonsense answered 404 five times in a row";
    flow.board(AT, words, |board| {
        let told = board["failed"].is_object() && waiting(board).iter().any(|line| line.contains(words));
        told && board["trial"].is_null()
    })
    .await?;
    gone(flow).await?;
    Ok(format!(
        "{counts:?} of {REQUESTS} requests at 10 and 50 of 100; back {back:.1} s after the abort; `{words}`"
    ))
}

/// Commits a new version with this descriptor, and builds it; returns the commit.
async fn version(flow: &Flow, version: &str, descriptor: &str) -> Result<String> {
    let clone = flow.inventory.work_tree();
    clone.write("imaas.yaml", descriptor)?;
    let commit = flow.inventory.release_version("dev", version)?;
    flow.inventory.build(&flow.stand, &flow.progress).await?;
    Ok(commit)
}

/// Waits until the board says this of the trial.
async fn paused(flow: &Flow, words: &str) -> Result<Value> {
    flow.board(AT, words, |board| waiting(board).iter().any(|line| line.contains(words))).await
}

/// Waits until nothing is beside the service.
async fn gone(flow: &Flow) -> Result<()> {
    until("nothing is beside it", PATIENCE, || async {
        let deployments = flow.seen(&["-n", "acme-dev", "deployments"]).await?;
        let names = deployments["items"].as_array().into_iter().flatten();
        let beside =
            names.filter_map(|one| one["metadata"]["name"].as_str()).find(|name| *name == "inventory-canary");
        beside.map_or(Ok(()), |name| Err(name.to_owned()))
    })
    .await
}

/// So many of all requests this version answers, once the gateway heard of its weight: as many as that says.
async fn share(address: SocketAddr, (version, weight): (&str, usize)) -> Result<usize> {
    // The board is told when the route is written, of which the gateway hears a moment later.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let caller = Caller::kept(address)?.of(HOST)?;
    let answers = stream::iter(0..REQUESTS).map(|_| version_of(&caller)).buffer_unordered(AT_A_TIME);
    let answers: Vec<_> = answers.try_collect().await?;
    let of_it = |answers: &[String]| answers.iter().filter(|answer| *answer == version).count();
    let (count, by_tenth) = (of_it(&answers), answers.chunks(REQUESTS / 10).map(of_it).collect::<Vec<_>>());
    let wanted = weight * REQUESTS / 100;
    let tolerance = if [0, REQUESTS].contains(&wanted) { 0 } else { TOLERANCE };
    ensure!(
        count.abs_diff(wanted) <= tolerance,
        "{count} of {REQUESTS} requests instead of {wanted}: {by_tenth:?}"
    );
    Ok(count)
}

/// Who asks for what is tried gets it, at every step: by a header, or by the address as a browser does.
async fn previewed(address: SocketAddr, version: &str) -> Result<()> {
    let caller = Caller::new(address)?.of(HOST)?;
    let with_header = Caller::new(address)?.of(HOST)?.with((PREVIEW.try_into()?, AT.1))?;
    for _ in 0..50 {
        let answer = version_of(&with_header).await?;
        ensure!(answer == version, "with the header: {answer}");
        let answer = version_at(&caller, &format!("/inventory?{PREVIEW}={}", AT.1)).await?;
        ensure!(answer == version, "by its address: {answer}");
    }
    Ok(())
}

async fn version_of(caller: &Caller) -> Result<String> {
    version_at(caller, "/inventory").await
}

async fn version_at(caller: &Caller, path: &str) -> Result<String> {
    let answer = caller.get(path).await?;
    ensure!(answer.status == 200, "{answer:?}");
    let told: Value = serde_json::from_str(&answer.body)?;
    Ok(told["version"].as_str().unwrap_or_default().to_owned())
}

//! A canary of a Camel integration, judged by what a real Prometheus counted of its requests.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use flows::{Developer, Sample};
use lab::prometheus::{Prometheus, Scrape};
use serde_json::{Value, json};

use crate::{Flow, PATIENCE, after, waiting};

const SERVICE: &str = "judged";
const AT: (&str, &str, &str) = ("acme", SERVICE, "dev");
const OBJECT: &str = "{apiVersion: imaas.dev/v1alpha1, kind: IntegrationService, \
     metadata: {name: judged, namespace: acme-home}, spec: {runtime: camel, \
     repository: {url: 'https://git.example.com/acme/judged.git', credentials: inventory-git}}}";
const OF_DEV: &str = "  dev: {scaling: {min: 1}}";
const CANARY: &str = "  dev: {scaling: {min: 1}, rollout: {strategy: canary, \
     steps: [{weight: 50, pause: 10s}], analysis: {requests: 20}}}";
const NOBODY: &str = "  dev: {scaling: {min: 0}}";
const ROUTE: &str = "src/main/resources/camel/orders.camel.yaml";
/// Before the last step of the route.
const LAST: &str = "        - setBody:";
const FAILS: &str = "        - choice:
            when:
              - simple: '${random(10)} < 5'
                steps:
                  - throwException:
                      exceptionType: java.lang.IllegalStateException
                      message: as the test says
";

/// Promise: a canary without requests is judged by nobody and waits; with as good ones as before it takes its place by
/// itself; and one that fails more of them is given up.
pub async fn of_a_canary(flow: &Flow) -> Result<String> {
    let stand = &flow.stand;
    stand.git.create("/acme/judged.git", &Sample::Orders.directory(), &["dev"])?;
    stand.kubectl.run(&["apply", "-f", "-"], Some(OBJECT)).await?;
    let developer = Developer::of(stand, ("acme", SERVICE), Sample::Orders)?;
    let commit = change(&developer, "imaas.yaml", (OF_DEV, CANARY))?;
    developer.build(stand, &flow.progress).await?;
    stand.deployed(AT, &commit, PATIENCE).await?;
    let prometheus = counting(flow, SERVICE).await?;
    asks(flow, json!({ "url": format!("http://{}", prometheus.address()) })).await?;
    let outcome = Box::pin(judged(flow, &developer)).await;
    let ended = async {
        asks(flow, Value::Null).await?;
        let commit = change(&developer, "imaas.yaml", (CANARY, NOBODY))?;
        flow.rests(AT, &commit).await
    };
    let ended = ended.await;
    prometheus.stop().await;
    after(outcome, ended)
}

/// A Prometheus that collects from the instances in dev of this service of acme, whose engine is Camel.
pub async fn counting(flow: &Flow, service: &str) -> Result<Prometheus> {
    let scrape = Scrape {
        namespace: "acme-dev".to_owned(),
        selector: format!("imaas.dev/service={service}"),
        port: 9876,
        path: "/observe/metrics".to_owned(),
    };
    Prometheus::start(&flow.stand.lab, scrape, &flow.progress).await
}

/// Where the environment's metrics are asked.
pub async fn asks(flow: &Flow, prometheus: Value) -> Result<()> {
    let patch = json!({ "spec": { "prometheus": prometheus } }).to_string();
    let arguments = ["patch", "environment.imaas.dev", "dev", "--type=merge", "--patch", &patch];
    flow.stand.kubectl.run(&arguments, None).await.map(drop)
}

/// Commits `to` in place of `from` in a file of dev; returns the commit.
pub fn change(developer: &Developer, file: &str, (from, to): (&str, &str)) -> Result<String> {
    let clone = developer.work_tree();
    clone.checkout("dev")?;
    let text = clone.read(file)?;
    ensure!(text.contains(from), "{file} has {from:?}: {text}");
    clone.write(file, text.replacen(from, to, 1))?;
    let commit = clone.commit(&format!("feat: {file} changes"))?;
    clone.push("dev")?;
    Ok(commit)
}

async fn judged(flow: &Flow, developer: &Developer) -> Result<String> {
    let stand = &flow.stand;
    let good = developer.release_version("dev", "2")?;
    developer.build(stand, &flow.progress).await?;
    let says = |board: &Value, words: &[&str]| {
        waiting(board).into_iter().find(|line| words.iter().any(|words| line.contains(words)))
    };
    // An engine may have no counter before it has something to count.
    let none = ["had no requests", "has no requests"];
    let board = flow.board(AT, "nobody asks what is tried", |board| says(board, &none).is_some()).await?;
    let unsure = says(&board, &none).context("told")?;
    let trickle = flow.trickle_of((SERVICE, "dev"), "/orders").await?;
    let begun = Instant::now();
    let before = stand.deployed(AT, &good, PATIENCE).await?["current"].clone();
    let passed = begun.elapsed().as_secs_f64();

    change(developer, ROUTE, (LAST, &format!("{FAILS}{LAST}")))?;
    developer.build(stand, &flow.progress).await?;
    let begun = Instant::now();
    let failed = flow
        .board(AT, "what fails requests is given up", |board| {
            board["failed"].is_object() && board["current"] == before && board["trial"].is_null()
        })
        .await?;
    let back = begun.elapsed().as_secs_f64();
    let told = says(&failed, &["Failed"]).context("told")?;
    ensure!(told.contains(" requests of "), "by its requests: {told}");
    let report = trickle.finish().await?;
    ensure!(!report.failures.is_empty(), "the bad one failed some: {report:?}");
    change(developer, ROUTE, (FAILS, ""))?;
    developer.build(stand, &flow.progress).await?;
    Ok(format!(
        "told `{unsure}`; passed {passed:.1} s after the first request; {} of {} requests failed, back {back:.1} s after \
         the image: `{told}`",
        report.failures.len(),
        report.sent
    ))
}

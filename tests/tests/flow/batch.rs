//! A service that runs by a schedule, with real runs.

use anyhow::{Context, Result, ensure};
use flows::{Developer, Sample};
use serde_json::Value;

use crate::{ENVIRONMENTS, Flow, decisions::decide, waiting, waits};

const IN_DEV: (&str, &str, &str) = ("acme", "settlement", "dev");
const IN_TEST: (&str, &str, &str) = ("acme", "settlement", "test");
const SERVICE: &str = "{apiVersion: imaas.dev/v1alpha1, kind: IntegrationService, \
     metadata: {name: settlement, namespace: acme-home}, spec: {runtime: container, \
     repository: {url: 'https://git.example.com/acme/settlement.git', credentials: inventory-git}}}";

/// What ran, ended well and is told so.
fn is_well(board: &Value) -> bool {
    board["current"].is_string() && board["current"] == board["lastGood"] && waiting(board).is_empty()
}

/// Commits the descriptor with these lines for dev; returns the commit.
fn commit(developer: &Developer, of_dev: &str) -> Result<String> {
    let clone = developer.work_tree();
    clone.checkout("dev")?;
    let text = clone.read("imaas.yaml")?;
    let head = text.split("  dev: ").next().context("the sample's descriptor has a line for dev")?;
    clone.write("imaas.yaml", format!("{head}  dev: {of_dev}\n"))?;
    let commit = clone.commit(&format!("feat: {of_dev}"))?;
    clone.push("dev")?;
    Ok(commit)
}

/// The jobs of an environment by which of them were begun by a decision.
async fn jobs(flow: &Flow, environment: &str) -> Result<(usize, usize)> {
    let namespace = format!("acme-{environment}");
    let jobs =
        flow.stand.kubectl.get(&["-n", &namespace, "jobs", "-l", "imaas.dev/service=settlement"]).await?;
    let jobs = jobs["items"].as_array().cloned().unwrap_or_default();
    let begun =
        |job: &&Value| job["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"] == "manual";
    let on_demand = jobs.iter().filter(begun).count();
    Ok((jobs.len() - on_demand, on_demand))
}

/// Promise: the schedule runs it, and so does who says so; one that ran well is promoted, one that fails gives way.
pub async fn runs(flow: &Flow) -> Result<String> {
    let stand = &flow.stand;
    stand.git.create("/acme/settlement.git", &Sample::Settlement.directory(), &ENVIRONMENTS)?;
    stand.kubectl.run(&["apply", "-f", "-"], Some(SERVICE)).await?;
    let developer = Developer::new(stand, "acme", Sample::Settlement)?;
    let every_minute = "{schedule: {cron: \"* * * * *\", retries: 0}}";
    let commit_of_all = commit(&developer, every_minute)?;
    developer.build(stand, &flow.progress).await?;
    let is_of_all = |board: &Value| board["commit"] == commit_of_all && is_well(board);
    let good = flow.board(IN_DEV, "the schedule's run in dev ends well", is_of_all).await?;

    developer.promote("dev", "test")?;
    let awaits = |board: &Value| waits(board, "AwaitingRun");
    let told = waiting(&flow.board(IN_TEST, "test awaits its first run", awaits).await?);
    decide(flow, (IN_TEST.1, IN_TEST.2), "run").await?;
    let ran = flow.board(IN_TEST, "the run on demand in test ends well", is_well).await?;
    ensure!(ran["digest"] == good["digest"], "the same image: {ran}");
    ensure!(
        jobs(flow, "test").await? == (0, 1),
        "the schedule of test ran nothing: {:?}",
        jobs(flow, "test").await?
    );

    // By demand: the clock has shown what it does.
    let bad = commit(&developer, "{schedule: {cron: \"0 3 1 1 *\", retries: 0}, env: {AMOUNTS: nonsense}}")?;
    let is_bad = |board: &Value| board["commit"] == bad && waits(board, "AwaitingRun");
    flow.board(IN_DEV, "what fails awaits its first run", is_bad).await?;
    decide(flow, (IN_DEV.1, IN_DEV.2), "run").await?;
    let failed = flow
        .board(IN_DEV, "a run that fails gives way", |board| {
            board["failed"].is_object() && board["current"] == good["current"]
        })
        .await?;
    let why = waiting(&failed).into_iter().find(|line| line.starts_with("Failed")).unwrap_or_default();
    ensure!(why.contains("exit code 1"), "{why}");
    // Nothing is to run beside what other cases measure.
    commit(&developer, "{schedule: {cron: \"0 3 1 1 *\"}}")?;
    let (by_schedule, _) = jobs(flow, "dev").await?;
    Ok(format!(
        "{by_schedule} runs by the schedule of dev; test told `{}`; dev told `{why}`",
        told.join("; ")
    ))
}

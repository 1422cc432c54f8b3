//! The whole story of one service, a Camel integration: from its lines in the tenant's file until nothing of it is left.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use flows::{Developer, Sample};
use serde_json::Value;

use crate::{
    Flow, PATIENCE, condition, decisions::decide, none_failed, onboarding::everywhere, retirement,
    tenant_file, waiting, waits,
};

const SERVICE: &str = "orders";
const PROD: (&str, &str, &str) = ("acme", SERVICE, "prod");
const ENTRY: &str = "    - name: orders
      repository: {url: \"https://git.example.com/acme/orders.git\", credentials: inventory-git}
      runtime: camel
";
/// Neither yes nor no: Camel ends, in prod only.
const BAD: &str = "  prod: {env: {CAMEL_SERVER_ENABLED: nonsense}}\n";
/// In its place: another setting of the same image, and nothing new for dev and test.
const MENDED: &str = "  prod: {env: {ORDERS_VERSION: \"3\"}}\n";
/// In which what must not happen would have.
const A_WHILE: Duration = Duration::from_secs(5);

/// Merges what is in dev into test, once it is good there, and then into prod; returns prod's commit.
async fn released(flow: &Flow, orders: &Developer) -> Result<String> {
    flow.stand.deployed(("acme", SERVICE, "dev"), &orders.work_tree().head()?, PATIENCE).await?;
    let commit = orders.promote("dev", "test")?;
    flow.stand.deployed(("acme", SERVICE, "test"), &commit, PATIENCE).await?;
    orders.promote("test", "prod")
}

/// Commits a file to dev and merges it into all; returns prod's commit.
async fn file(flow: &Flow, orders: &Developer, (path, text): (&str, &str)) -> Result<String> {
    let clone = orders.work_tree();
    clone.checkout("dev")?;
    clone.write(path, text)?;
    clone.commit(&format!("feat: {path} changes"))?;
    clone.push("dev")?;
    released(flow, orders).await
}

/// `what` is so in prod, still is a while later, and what answers there is this version.
async fn stays(flow: &Flow, answering: &str, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    flow.board(PROD, what, &is).await?;
    tokio::time::sleep(A_WHILE).await;
    let board = flow.stand.board(PROD.0, PROD.1, PROD.2).await?;
    ensure!(is(&board), "it was so that {what}, and did not stay: {board}");
    flow.answers((SERVICE, "prod"), answering).await?;
    Ok(board)
}

/// Promise: what a service goes through in its life, it goes through on real pods, and prod loses no request.
pub async fn of_one_service(flow: &Flow) -> Result<String> {
    let stand = &flow.stand;
    let with_entry = tenant_file("acme") + ENTRY;
    flow.commit_tenant("acme", &with_entry)?;
    let orders = Developer::new(stand, "acme", Sample::Orders)?;
    let descriptor = orders.work_tree().read("imaas.yaml")?;
    let first = orders.build(stand, &flow.progress).await?;
    let begun = Instant::now();
    let digest = everywhere(flow, ("acme", SERVICE), &orders.work_tree().head()?).await?;
    ensure!(digest == first, "what runs is what CI pushed: {digest}, {first}");
    let running = begun.elapsed();
    flow.answers((SERVICE, "prod"), "1").await?;
    let trickle = flow.trickle_of((SERVICE, "prod"), "/orders").await?;

    let built = orders.release_version("dev", "2")?;
    orders.build(stand, &flow.progress).await?;
    let commit = released(flow, &orders).await?;
    let good = stand.deployed(PROD, &commit, PATIENCE).await?["current"].clone();

    let begun = Instant::now();
    let bad = file(flow, &orders, ("imaas.yaml", &(descriptor.clone() + BAD))).await?;
    let failed = stays(flow, "2", "what crashes gave way to the last good", |board| {
        let is_back = board["current"] == good && board["ready"] == board["desired"];
        board["commit"] == bad && board["failed"].is_object() && is_back
    })
    .await?;
    let back = begun.elapsed();
    let told = waiting(&failed).into_iter().find(|line| line.starts_with("Failed")).unwrap_or_default();
    ensure!(told.contains("crashes"), "why: {failed}");

    decide(flow, (SERVICE, "prod"), "hold").await?;
    let mended = file(flow, &orders, ("imaas.yaml", &(descriptor + MENDED))).await?;
    stays(flow, "2", "what is mended is held", |board| {
        board["commit"] == mended && waits(board, "Held") && board["current"] == good
    })
    .await?;
    decide(flow, (SERVICE, "prod"), "resume").await?;
    stand.deployed(PROD, &mended, PATIENCE).await?;
    flow.answers((SERVICE, "prod"), "3").await?;

    decide(flow, (SERVICE, "prod"), "reject").await?;
    let is_back = |board: &Value| {
        board["current"] == good && board["lastGood"] == good && board["ready"] == board["desired"]
    };
    stays(flow, "2", "what is rejected gave way", |board| is_back(board) && waits(board, "Rejected")).await?;
    let again = file(flow, &orders, ("README.md", "# Orders\n")).await?;
    stays(flow, "2", "what is rejected never runs again", |board| {
        board["commit"] == again && is_back(board) && waits(board, "Rejected")
    })
    .await?;

    flow.commit_tenant("acme", &tenant_file("acme"))?;
    retirement::in_stage(flow, SERVICE, "Orphaned").await?;
    flow.answers((SERVICE, "prod"), "2").await?;
    let sent = none_failed(trickle).await?;
    retirement::periods(flow, retirement::SHORT, retirement::LONG).await?;
    retirement::in_stage(flow, SERVICE, "Retiring").await?;
    retirement::scaled(flow, SERVICE, &[0, 0, 0]).await?;
    retirement::periods(flow, retirement::SHORT, retirement::SHORT).await?;
    retirement::removed(flow, SERVICE, &built).await?;
    retirement::periods(flow, retirement::LONG, retirement::LONG).await?;
    let other = stand.kubectl.get(&["-n", "acme-home", "integrationservice", "inventory"]).await?;
    ensure!(condition(&other, "Ready").0 == "True", "another service is concerned: {}", other["status"]);
    Ok(format!(
        "in three environments {:.1} s after its image; told `{told}`, merged and back for good in {:.1} s; \
         {sent} requests to prod, none failed",
        running.as_secs_f64(),
        back.as_secs_f64()
    ))
}

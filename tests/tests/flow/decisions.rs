//! A bad release, and what people decide of the next: goes back by itself, is held, goes on, is rejected.

use anyhow::{Context, Result, ensure};
use flows::until;
use serde_json::json;

use crate::{Flow, PATIENCE, none_failed, waiting, waits};

const AT: (&str, &str, &str) = ("acme", "inventory", "dev");

/// Commits the descriptor with this variable in dev; returns the commit.
fn commit_variable(flow: &Flow, good: &str, variable: &str) -> Result<String> {
    let clone = flow.inventory.work_tree();
    clone.checkout("dev")?;
    let own = format!("dev: {{env: {{{variable}}}, scaling: {{min: 1}}}}");
    let text = good.replace("dev: {scaling: {min: 1}}", &own);
    ensure!(text != good, "the sample's descriptor has another line for dev: {good}");
    clone.write("imaas.yaml", text)?;
    let commit = clone.commit(&format!("feat: {variable}"))?;
    clone.push("dev")?;
    Ok(commit)
}

/// Makes a decision about a service of acme in one's own name, and waits until the operator took it.
pub async fn decide(flow: &Flow, (service, environment): (&str, &str), action: &str) -> Result<()> {
    let kubectl = &flow.stand.kubectl;
    let me = kubectl.run(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"], None).await?;
    let decision = json!({
        "apiVersion": "imaas.dev/v1alpha1", "kind": "ReleaseDecision",
        "metadata": { "generateName": format!("{service}-{environment}-{action}-"), "namespace": "acme-home" },
        "spec": {
            "service": service, "environment": environment, "action": action, "reason": "as the test says",
            "author": me.trim(),
        },
    });
    let made = kubectl.run(&["create", "-o", "name", "-f", "-"], Some(&decision.to_string())).await?;
    let name = made.trim().rsplit_once('/').context("a name")?.1.to_owned();
    until(&format!("the answer to {name}"), PATIENCE, || async {
        let seen = flow.seen(&["-n", "acme-home", "releasedecisions.imaas.dev", &name]).await?;
        match seen["status"]["state"].as_str() {
            Some("InForce" | "Done") => Ok(()),
            _ => Err(seen["status"].to_string()),
        }
    })
    .await
}

/// Promise: what crashes gives way to the last good release without a lost request, and people have the last word.
pub async fn story(flow: &Flow) -> Result<String> {
    let clone = flow.inventory.work_tree();
    clone.checkout("dev")?;
    let good = clone.read("imaas.yaml")?;
    let before = flow.stand.board(AT.0, AT.1, AT.2).await?["current"].clone();
    let trickle = flow.trickle("dev", "inventory").await?;

    commit_variable(flow, &good, "LISTEN: nonsense")?;
    let failed = flow
        .board(AT, "what crashes gives way", |board| {
            board["failed"].is_object() && board["current"] == before && board["ready"] == board["desired"]
        })
        .await?;
    let told = waiting(&failed).into_iter().find(|line| line.starts_with("Failed")).unwrap_or_default();
    ensure!(told.contains("crashes: exit code 1") && told.contains("kubectl imaas retry"), "{told}");

    decide(flow, (AT.1, AT.2), "hold").await?;
    let commit = commit_variable(flow, &good, "MODE: careful")?;
    let held =
        flow.board(AT, "the fix is held", |board| board["commit"] == commit && waits(board, "Held")).await?;
    ensure!(held["current"] == before, "nothing new runs: {held}");
    decide(flow, (AT.1, AT.2), "resume").await?;
    let resumed = flow.stand.deployed(AT, &commit, PATIENCE).await?;
    ensure!(resumed["current"] != before && resumed["failed"].is_null(), "{resumed}");

    decide(flow, (AT.1, AT.2), "reject").await?;
    let rejected = flow
        .board(AT, "what is rejected gives way", |board| {
            board["current"] == before && board["lastGood"] == before && waits(board, "Rejected")
        })
        .await?;
    clone.write("imaas.yaml", good)?;
    let commit = clone.commit("fix: as it was")?;
    clone.push("dev")?;
    let back = flow.stand.deployed(AT, &commit, PATIENCE).await?;
    ensure!(back["current"] == before && waiting(&back).is_empty(), "{back} after {rejected}");
    let sent = none_failed(trickle).await?;
    Ok(format!("told `{told}`; {sent} requests, none failed"))
}

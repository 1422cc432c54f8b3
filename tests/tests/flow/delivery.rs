//! New versions, promotion, and what must not reach a running service.

use anyhow::{Result, ensure};
use flows::until;

use crate::{ENVIRONMENTS, Flow, PATIENCE, none_failed, waiting};

async fn generations(flow: &Flow) -> Result<Vec<i64>> {
    let mut all = Vec::new();
    for environment in ENVIRONMENTS {
        all.push(flow.generation(environment).await?);
    }
    Ok(all)
}

/// Promise: dev, test and prod run the image that was built once, and each roll-out loses no request.
pub async fn merges(flow: &Flow) -> Result<String> {
    let stand = &flow.stand;
    let mut sent = Vec::new();
    let trickle = flow.trickle("dev", "inventory").await?;
    let commit = flow.inventory.release_version("dev", "2")?;
    let digest = flow.inventory.build(stand, &flow.progress).await?;
    stand.deployed(("acme", "inventory", "dev"), &commit, PATIENCE).await?;
    sent.push(none_failed(trickle).await?);
    for (from, into) in [("dev", "test"), ("test", "prod")] {
        let before = generations(flow).await?;
        let trickle = flow.trickle(into, "inventory").await?;
        let commit = flow.inventory.promote(from, into)?;
        let board = stand.deployed(("acme", "inventory", into), &commit, PATIENCE).await?;
        ensure!(board["digest"] == digest.as_str(), "{into} runs {} and not {digest}", board["digest"]);
        sent.push(none_failed(trickle).await?);
        let after = generations(flow).await?;
        let moved: Vec<_> =
            (0..3).filter(|at| before[*at] != after[*at]).map(|at| ENVIRONMENTS[at]).collect();
        ensure!(moved == [into], "a merge into {into} changed {moved:?}");
        flow.answers(("inventory", into), "2").await?;
    }
    Ok(format!("one digest; {sent:?} requests in dev, test, prod, none failed"))
}

/// Promise: a commit that changes no build is told on the board and rolls nothing, and needs no image.
pub async fn documentation(flow: &Flow) -> Result<String> {
    let clone = flow.inventory.work_tree();
    let before = (generations(flow).await?, releases(flow).await?);
    clone.checkout("dev")?;
    clone.write("README.md", clone.read("README.md")? + "\nAsk the warehouse team.\n")?;
    let commit = clone.commit("docs: whom to ask")?;
    clone.push("dev")?;
    flow.stand.deployed(("acme", "inventory", "dev"), &commit, PATIENCE).await?;
    let after = (generations(flow).await?, releases(flow).await?);
    ensure!(before == after, "it changed {before:?} to {after:?}");
    Ok(format!("generations {:?} and {} releases stay", after.0, after.1.len()))
}

async fn releases(flow: &Flow) -> Result<Vec<String>> {
    let list = flow.stand.kubectl.get(&["-n", "acme-home", "releases.imaas.dev"]).await?;
    let names = list["items"].as_array().into_iter().flatten();
    Ok(names.map(|release| release["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect())
}

/// Waits until the board of dev says that it waits for something with all of `words`, at `commit`.
async fn told(flow: &Flow, commit: &str, words: &[&str]) -> Result<String> {
    until(&format!("{words:?} on the board at {commit}"), PATIENCE, || async {
        let board =
            flow.stand.board("acme", "inventory", "dev").await.map_err(|error| format!("{error:#}"))?;
        let said = waiting(&board).into_iter().find(|line| words.iter().all(|word| line.contains(word)));
        match said {
            Some(line) if board["commit"] == commit => Ok(line),
            _ => Err(board.to_string()),
        }
    })
    .await
}

/// Promise: what cannot be understood is told with its place, and the version before runs on.
pub async fn invalid_descriptor(flow: &Flow) -> Result<String> {
    let clone = flow.inventory.work_tree();
    let (before, releases_before) = (generations(flow).await?, releases(flow).await?);
    let trickle = flow.trickle("dev", "inventory").await?;
    clone.checkout("dev")?;
    let good = clone.read("imaas.yaml")?;
    clone.write("imaas.yaml", good.replace("port: 8080", "prt: 8080"))?;
    let commit = clone.commit("feat: another port")?;
    clone.push("dev")?;
    let line = told(flow, &commit, &["InvalidDescriptor", "imaas.yaml:5:", "prt"]).await?;
    let board = flow.stand.board("acme", "inventory", "dev").await?;
    ensure!(
        board["current"] == board["lastGood"] && board["ready"] == board["desired"],
        "it runs on: {board}"
    );
    clone.write("imaas.yaml", good)?;
    let commit = clone.commit("fix: the port")?;
    clone.push("dev")?;
    flow.stand.deployed(("acme", "inventory", "dev"), &commit, PATIENCE).await?;
    let sent = none_failed(trickle).await?;
    ensure!(generations(flow).await? == before, "a Deployment was changed");
    ensure!(releases(flow).await? == releases_before, "a Release was made");
    Ok(format!("told `{line}`; {sent} requests, none failed"))
}

/// Promise: a commit without an image is told, the version before runs on, and the image is enough to go on.
pub async fn missing_image(flow: &Flow) -> Result<String> {
    let before = generations(flow).await?;
    let trickle = flow.trickle("dev", "inventory").await?;
    let commit = flow.inventory.release_version("dev", "3")?;
    let line = told(flow, &commit, &["ImageMissing", &format!("acme/inventory:{commit}")]).await?;
    let service = flow.stand.kubectl.get(&["-n", "acme-home", "integrationservice", "inventory"]).await?;
    ensure!(
        service["status"]["summary"].as_str().is_some_and(|text| text.contains("dev=waiting")),
        "{service}"
    );
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    ensure!(generations(flow).await? == before, "a Deployment was changed");
    flow.answers(("inventory", "dev"), "2").await?;
    let digest = flow.inventory.build(&flow.stand, &flow.progress).await?;
    let board = flow.stand.deployed(("acme", "inventory", "dev"), &commit, PATIENCE).await?;
    ensure!(board["digest"] == digest.as_str(), "the image that came: {board}");
    let sent = none_failed(trickle).await?;
    Ok(format!("told `{line}`; then rolled out under {sent} requests"))
}

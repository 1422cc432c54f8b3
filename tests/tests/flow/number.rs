//! How many instances there are, and who says so.

use std::time::Duration;

use anyhow::{Result, ensure};
use flows::until;
use serde_json::Value;

use crate::{Flow, PATIENCE, waiting};

/// Who the operator is as it gives the number away.
pub const HANDED_OVER: &str = "imaas-handed-over";
/// What every writer of the platform's own begins with.
const OURS: &str = "imaas-";
/// An instance a minute ends, and what is measured is a minute old.
const LONGEST: Duration = Duration::from_mins(6);

/// A service's environment: tenant, service, environment.
type At<'a> = (&'a str, &'a str, &'a str);

/// Waits until the number is given away, at what it was.
pub async fn handed_over(flow: &Flow, at: At<'_>) -> Result<()> {
    until("the number is handed over", PATIENCE, || async {
        let (number, owners) = replicas(flow, at).await?;
        if number == 1 && owners == [HANDED_OVER] { Ok(()) } else { Err(format!("{number} {owners:?}")) }
    })
    .await
}

/// Waits until so many are ready and the board says so, with nothing to wait for. Of the platform's own writers only `ours`
/// has the number at any moment that is seen.
pub async fn becomes(flow: &Flow, at: At<'_>, wanted: i64, ours: &[&str]) -> Result<()> {
    let taken = until(&format!("{wanted} instances are ready"), LONGEST, || async {
        let (number, owners) = replicas(flow, at).await?;
        if owners.iter().any(|owner| owner.starts_with(OURS) && !ours.contains(&owner.as_str())) {
            return Ok(Some(format!("{number} {owners:?}")));
        }
        let board = flow.stand.board(at.0, at.1, at.2).await.map_err(|error| format!("{error:#}"))?;
        let is_so = number == wanted && board["desired"] == wanted && board["ready"] == wanted;
        if is_so && waiting(&board).is_empty() { Ok(None) } else { Err(format!("{number}: {board}")) }
    })
    .await?;
    ensure!(taken.is_none(), "the operator took the number: {taken:?}");
    Ok(())
}

/// The number, and the field managers that own it.
pub async fn replicas(flow: &Flow, at: At<'_>) -> Result<(Value, Vec<String>), String> {
    let namespace = format!("{}-{}", at.0, at.2);
    let found = flow.seen(&["-n", &namespace, "deployment", at.1, "--show-managed-fields"]).await?;
    let managers = found["metadata"]["managedFields"].as_array().into_iter().flatten();
    let owns = |entry: &&Value| !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null();
    let names = managers.filter(owns).filter_map(|entry| entry["manager"].as_str());
    Ok((found["spec"]["replicas"].clone(), names.map(ToOwned::to_owned).collect()))
}

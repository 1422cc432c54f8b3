//! What became of a look at the repository → the `TenantSource`'s status. Pure.

use jiff::Timestamp;

use super::{publish::PublishError, read::ReadError};
use crate::{
    api::{TenantSource, TenantSourceStatus},
    conditions::{Reason, Wellness, merge},
    names::MANUAL,
};

/// How many problems and orphans are listed.
const LISTED: usize = 10;
/// The longest of them, in characters.
const LONGEST: usize = 300;

/// A look that reached the end.
#[derive(Debug, Default)]
pub(super) struct Synced {
    /// 40 hexadecimal digits.
    pub commit: String,
    /// Tenants of this source in the cluster.
    pub tenants: usize,
    /// `file:line:column: path: message`, in order.
    pub problems: Vec<String>,
    /// Tenant and the origin that has its name.
    pub conflicts: Vec<(String, String)>,
    /// Tenants that Git no longer has.
    pub orphaned: Vec<String>,
    /// More than a person would take away at once.
    pub too_many_gone: bool,
    /// What could not be written.
    pub failed: Vec<PublishError>,
}

/// The status after `outcome`. After a failure it still tells of the last good look.
pub(super) fn status(
    source: &TenantSource,
    outcome: Result<&Synced, &ReadError>,
    now: Timestamp,
) -> TenantSourceStatus {
    let old = source.status.clone().unwrap_or_default();
    let generation = source.metadata.generation;
    let (wellness, known) = match outcome {
        Err(error) if error.is_permanent() => (Wellness::Stalled(error.reason(), error.to_string()), None),
        Err(error) => (Wellness::Reconciling(error.reason(), error.to_string()), None),
        Ok(synced) => (wellness(synced), Some(synced)),
    };
    let conditions = merge(&old.conditions, &wellness.claims(), generation.unwrap_or_default(), now);
    let Some(synced) = known else {
        return TenantSourceStatus { observed_generation: generation, conditions, ..old };
    };
    let mut problems: Vec<_> = synced.conflicts.iter().map(told_conflict).collect();
    problems.extend(synced.problems.iter().cloned());
    TenantSourceStatus {
        observed_generation: generation,
        commit: Some(synced.commit.clone()),
        tenants: count(synced.tenants),
        problem_count: count(problems.len()),
        problems: problems
            .iter()
            .take(LISTED)
            .map(|problem| problem.chars().take(LONGEST).collect())
            .collect(),
        orphaned: synced.orphaned.iter().take(LISTED).cloned().collect(),
        conditions,
    }
}

fn wellness(synced: &Synced) -> Wellness {
    let Synced { commit, tenants, problems, conflicts, orphaned, too_many_gone, failed } = synced;
    let short: String = commit.chars().take(12).collect();
    if let Some(first) = failed.first() {
        let message = format!("{} of {tenants} tenants not written: {first}", failed.len());
        return Wellness::Reconciling(first.reason(), message);
    }
    if *too_many_gone {
        let message = format!(
            "{} of {tenants} tenants are no longer in Git at commit {short}; all serve on: put the files back, or check spec.path",
            orphaned.len()
        );
        return Wellness::Stalled(Reason::Orphaned, message);
    }
    if let Some(first) = conflicts.first() {
        return Wellness::Stalled(Reason::OriginConflict, told_conflict(first));
    }
    if let Some(first) = problems.first() {
        let message = match problems.len() {
            1 => first.clone(),
            more => format!("{more} problems at commit {short}, the first: {first}"),
        };
        return Wellness::Stalled(Reason::InvalidFile, message.chars().take(LONGEST * 2).collect());
    }
    let mut message = format!("{tenants} tenants at commit {short}");
    if !orphaned.is_empty() {
        let names: Vec<_> = orphaned.iter().take(LISTED).map(String::as_str).collect();
        message = format!("{message}; {} no longer in Git serve on: {}", orphaned.len(), names.join(", "));
    }
    Wellness::Ready(message)
}

fn told_conflict((tenant, origin): &(String, String)) -> String {
    if origin == MANUAL {
        format!(
            "tenant {tenant}: was applied by hand and is not touched: delete that Tenant or remove the file"
        )
    } else {
        format!(
            "tenant {tenant}: comes from TenantSource {origin} and is not touched: remove one of the two files"
        )
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

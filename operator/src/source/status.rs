//! What became of a look at the repository → the `TenantSource`'s status. Pure.

use std::sync::Arc;

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
    pub failed: Vec<Arc<PublishError>>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{Repository, TenantSourceSpec},
        conditions::{READY, RECONCILING, STALLED, is_true},
    };

    fn source(status: Option<TenantSourceStatus>) -> TenantSource {
        let spec = TenantSourceSpec {
            repository: Repository { url: "https://git.example.com/tenants.git".into(), credentials: None },
            branch: "main".into(),
            path: "tenants".into(),
            interval: "60s".into(),
        };
        let mut source = TenantSource::new("central", spec);
        source.metadata.generation = Some(3);
        source.status = status;
        source
    }

    fn synced() -> Synced {
        Synced { commit: "4f2a0b1c".repeat(5), tenants: 12, ..Synced::default() }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn message(status: &TenantSourceStatus) -> &str {
        &status.conditions.iter().find(|condition| condition.type_ == READY).unwrap().message
    }

    #[test]
    fn the_same_look_gives_the_same_status_at_any_time() {
        let first = status(&source(None), Ok(&synced()), at("2026-01-01T00:00:00Z"));
        assert!(is_true(&first.conditions, READY));
        assert_eq!((first.tenants, first.observed_generation), (12, Some(3)));
        assert_eq!(message(&first), "12 tenants at commit 4f2a0b1c4f2a");
        assert_eq!(status(&source(Some(first.clone())), Ok(&synced()), at("2026-01-02T00:00:00Z")), first);
    }

    #[test]
    fn a_failure_is_told_and_the_last_good_look_stays() {
        let good = Synced { problems: vec!["a".into()], orphaned: vec!["beta".into()], ..synced() };
        let before = status(&source(None), Ok(&good), at("2026-01-01T00:00:00Z"));
        let missing = ReadError::SecretMissing { namespace: "imaas-system".into(), name: "central".into() };
        for (error, type_) in [(missing, STALLED), (ReadError::Stopped, RECONCILING)] {
            let after = status(&source(Some(before.clone())), Err(&error), at("2026-01-02T00:00:00Z"));
            assert!(is_true(&after.conditions, type_) && !is_true(&after.conditions, READY));
            assert_eq!(message(&after), error.to_string());
            assert_eq!(TenantSourceStatus { conditions: before.conditions.clone(), ..after }, before);
        }
    }

    #[test]
    fn what_a_person_must_change_stalls_and_the_list_is_short() {
        let problems = (0..40).map(|n| format!("tenants/t{n}.yaml:1:1: {}", "x".repeat(999))).collect();
        let conflicts = vec![("acme".to_owned(), MANUAL.to_owned())];
        let broken = Synced { problems, conflicts, ..synced() };
        let told = status(&source(None), Ok(&broken), at("2026-01-01T00:00:00Z"));
        assert!(is_true(&told.conditions, STALLED));
        assert_eq!((told.problem_count, told.problems.len()), (41, 10));
        assert!(told.problems[0].starts_with("tenant acme: was applied by hand"), "{}", told.problems[0]);
        assert!(told.problems.iter().all(|problem| problem.len() <= LONGEST));
    }

    #[test]
    fn a_few_orphans_are_named_and_many_stall() {
        let few = Synced { orphaned: vec!["beta".into()], ..synced() };
        let told = status(&source(None), Ok(&few), at("2026-01-01T00:00:00Z"));
        assert!(
            is_true(&told.conditions, READY) && message(&told).ends_with("1 no longer in Git serve on: beta")
        );
        let many = Synced { too_many_gone: true, ..few };
        let told = status(&source(None), Ok(&many), at("2026-01-01T00:00:00Z"));
        assert!(
            is_true(&told.conditions, STALLED) && message(&told).starts_with("1 of 12 tenants are no longer")
        );
    }
}

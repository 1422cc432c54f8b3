//! What became of a look at the repository → the `TenantSource`'s status. Pure.

use std::sync::Arc;

use jiff::Timestamp;

use super::{publish::PublishError, read::ReadError};
use crate::{
    api::{TenantSource, TenantSourceStatus},
    conditions::{LONGEST_PRINTED, READY, Reason, TOLD_AFTER, Wellness, cut, is_true, merge},
    names::MANUAL,
};

/// How many problems and orphans are listed.
const LISTED: usize = 10;
/// The longest of them, in characters.
const LONGEST: usize = 300;
/// Between what is told in one message.
const SEPARATOR: &str = "; ";

/// A look that reached the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Synced {
    /// 40 hexadecimal digits.
    pub commit: String,
    /// Tenants of this source in the cluster.
    pub tenants: usize,
    /// `file:line:column: path: message`, those to look at first at the beginning.
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

/// The status after `outcome`, the `failures`th failure in a row. After a failure it still tells of the last good look.
pub(super) fn status(
    source: &TenantSource,
    outcome: Result<&Synced, &ReadError>,
    failures: u32,
    now: Timestamp,
) -> TenantSourceStatus {
    let old = source.status.clone().unwrap_or_default();
    let generation = source.metadata.generation;
    let may_pass = outcome.is_err_and(|error| !error.is_permanent() && failures < TOLD_AFTER);
    if may_pass && is_true(&old.conditions, READY) && old.observed_generation == generation {
        return old;
    }
    let (wellness, known) = match outcome {
        Err(error) if error.is_permanent() => (Wellness::Stalled(error.reason(), error.to_string()), None),
        Err(error) => (Wellness::Reconciling(error.reason(), error.to_string()), None),
        Ok(synced) => (wellness(synced), Some(synced)),
    };
    let conditions = merge(&old.conditions, &wellness.claims(), generation.unwrap_or_default(), now);
    let Some(synced) = known else {
        return TenantSourceStatus { observed_generation: generation, conditions, ..old };
    };
    let problems = listed(synced);
    TenantSourceStatus {
        observed_generation: generation,
        commit: Some(synced.commit.clone()),
        tenants: count(synced.tenants),
        problem_count: count(synced.conflicts.len() + synced.problems.len()),
        problems: problems.iter().map(|problem| cut(problem, LONGEST)).collect(),
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
    let mut told = Vec::new();
    if *too_many_gone {
        let message = format!(
            "{} of {tenants} tenants are no longer in Git at commit {short}; all serve on: put the files back, or check spec.path",
            orphaned.len()
        );
        told.push((Reason::Orphaned, message));
    }
    if let Some(first) = conflicts.first() {
        told.push((Reason::OriginConflict, told_conflict(first)));
    }
    if let Some(first) = problems.first() {
        let message = match problems.len() {
            1 => first.clone(),
            more => format!("{more} problems at commit {short}, the first: {first}"),
        };
        told.push((Reason::InvalidFile, message));
    }
    let names: Vec<_> = orphaned.iter().take(LISTED).map(String::as_str).collect();
    let gone = format!("{} no longer in Git serve on: {}", orphaned.len(), names.join(", "));
    let Some((reason, _)) = told.first().cloned() else {
        let message = format!("{tenants} tenants at commit {short}");
        return Wellness::Ready(if orphaned.is_empty() { message } else { format!("{message}; {gone}") });
    };
    if !orphaned.is_empty() && !too_many_gone {
        told.push((reason, gone));
    }
    // Each gets its share of what is printed, so that none hides another.
    let share = LONGEST_PRINTED / told.len() - SEPARATOR.len();
    let messages: Vec<_> = told.iter().map(|(_, message)| cut(message, share)).collect();
    Wellness::Stalled(reason, messages.join(SEPARATOR))
}

/// What is listed of the problems. Neither conflicts nor files take all the room.
fn listed(synced: &Synced) -> Vec<String> {
    let files = synced.problems.len().min(LISTED / 2);
    let mut listed: Vec<_> = synced.conflicts.iter().take(LISTED - files).map(told_conflict).collect();
    let room = LISTED - listed.len();
    listed.extend(synced.problems.iter().take(room).cloned());
    listed
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
        conditions::{RECONCILING, STALLED},
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
        let first = status(&source(None), Ok(&synced()), TOLD_AFTER, at("2026-01-01T00:00:00Z"));
        assert!(is_true(&first.conditions, READY));
        assert_eq!((first.tenants, first.observed_generation), (12, Some(3)));
        assert_eq!(message(&first), "12 tenants at commit 4f2a0b1c4f2a");
        assert_eq!(
            status(&source(Some(first.clone())), Ok(&synced()), TOLD_AFTER, at("2026-01-02T00:00:00Z")),
            first
        );
    }

    #[test]
    fn a_failure_is_told_and_the_last_good_look_stays() {
        let good = Synced { problems: vec!["a".into()], orphaned: vec!["beta".into()], ..synced() };
        let before = status(&source(None), Ok(&good), TOLD_AFTER, at("2026-01-01T00:00:00Z"));
        let missing = ReadError::SecretMissing { namespace: "imaas-system".into(), name: "central".into() };
        for (error, type_) in [(missing, STALLED), (ReadError::Stopped, RECONCILING)] {
            let after =
                status(&source(Some(before.clone())), Err(&error), TOLD_AFTER, at("2026-01-02T00:00:00Z"));
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
        let told = status(&source(None), Ok(&broken), TOLD_AFTER, at("2026-01-01T00:00:00Z"));
        assert!(is_true(&told.conditions, STALLED));
        assert_eq!((told.problem_count, told.problems.len()), (41, 10));
        assert!(told.problems[0].starts_with("tenant acme: was applied by hand"), "{}", told.problems[0]);
        assert!(told.problems.iter().all(|problem| problem.chars().count() <= LONGEST));
    }

    #[test]
    fn orphans_conflicts_and_files_are_all_told_where_there_is_little_room() {
        let problems: Vec<_> =
            (0..40).map(|n| format!("tenants/t{n}.yaml:1:1: {}", "x y ".repeat(99))).collect();
        let conflicts = (0..12).map(|n| (format!("c{n}"), MANUAL.to_owned())).collect();
        let all = Synced { problems, conflicts, orphaned: vec!["beta".into()], ..synced() };
        for all in [Synced { too_many_gone: true, ..all.clone() }, all] {
            let told = status(&source(None), Ok(&all), TOLD_AFTER, at("2026-01-01T00:00:00Z"));
            let message = message(&told);
            for part in
                ["no longer in Git", "tenant c0: was applied by hand", "40 problems", "tenants/t0.yaml:1:1"]
            {
                assert!(message.contains(part), "{part}: {message}");
            }
            assert!(message.chars().count() <= LONGEST_PRINTED, "{message}");
            let files = told.problems.iter().filter(|problem| problem.starts_with("tenants/")).count();
            assert_eq!((told.problem_count, told.problems.len(), files), (52, 10, 5));
        }
    }

    #[test]
    fn a_failure_that_may_pass_is_told_when_it_came_three_times_in_a_row() {
        let well = status(&source(None), Ok(&synced()), 0, at("2026-01-01T00:00:00Z"));
        let after = |error: &ReadError, failures, before: Option<TenantSourceStatus>| {
            let told = status(&source(before), Err(error), failures, at("2026-01-02T00:00:00Z"));
            is_true(&told.conditions, READY)
        };
        assert!(after(&ReadError::Stopped, 1, Some(well.clone())));
        assert!(after(&ReadError::Stopped, 2, Some(well.clone())));
        assert!(!after(&ReadError::Stopped, 3, Some(well.clone())));
        assert!(!after(&ReadError::Stopped, 1, None), "it never was well");
        let missing = ReadError::SecretMissing { namespace: "imaas-system".into(), name: "central".into() };
        assert!(!after(&missing, 1, Some(well)), "this takes a person");
    }

    #[test]
    fn a_few_orphans_are_named_and_many_stall() {
        let few = Synced { orphaned: vec!["beta".into()], ..synced() };
        let told = status(&source(None), Ok(&few), TOLD_AFTER, at("2026-01-01T00:00:00Z"));
        assert!(
            is_true(&told.conditions, READY) && message(&told).ends_with("1 no longer in Git serve on: beta")
        );
        let many = Synced { too_many_gone: true, ..few };
        let told = status(&source(None), Ok(&many), TOLD_AFTER, at("2026-01-01T00:00:00Z"));
        assert!(
            is_true(&told.conditions, STALLED) && message(&told).starts_with("1 of 12 tenants are no longer")
        );
    }
}

//! What became of a look at the repository → the `TenantSource`'s status. Pure.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::ResourceExt;

use super::{held::Held, publish::PublishError, read::ReadError, reconcile::interval};
use crate::{
    api::{Settled, TenantSource, TenantSourceStatus},
    conditions::{LONGEST_PRINTED, READY, Reason, TOLD_AFTER, Wellness, cut, is_true, merge},
    names::{CONFIRM_REMOVAL, MANUAL},
    retirement::misconfirmed,
    retry::asked_again,
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
    /// Tenants that Git no longer has, and that are told so.
    pub orphaned: Vec<String>,
    /// Tenants that Git no longer has, and that wait for a confirmation.
    pub held: Option<Held>,
    /// When one of them goes on.
    pub next: Option<Duration>,
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
    let (wellness, printed) = match outcome {
        Err(error) if error.is_permanent() => {
            (Wellness::Stalled(error.reason(), told_failure(source, error)), None)
        }
        Err(error) => (Wellness::Reconciling(error.reason(), error.to_string()), None),
        Ok(synced) => wellness(source, synced),
    };
    let mut claims = wellness.claims();
    if let Some(printed) = printed {
        let ready = claims.iter_mut().filter(|claim| claim.type_ == READY);
        ready.for_each(|claim| claim.message.clone_from(&printed));
    }
    let conditions = merge(&old.conditions, &claims, generation.unwrap_or_default(), now);
    let Ok(synced) = outcome else {
        return TenantSourceStatus { observed_generation: generation, conditions, ..old };
    };
    let problems = listed(synced);
    let gone = synced.orphaned.iter().chain(synced.held.iter().flat_map(|held| &held.tenants));
    let now_settled = Settled { commit: synced.commit.clone(), path: source.spec.path.clone() };
    TenantSourceStatus {
        observed_generation: generation,
        commit: Some(synced.commit.clone()),
        tenants: count(synced.tenants),
        problem_count: count(synced.conflicts.len() + synced.problems.len()),
        problems: problems.iter().map(|problem| cut(problem, LONGEST)).collect(),
        orphaned: gone.take(LISTED).cloned().collect(),
        settled: if synced.held.is_some() { old.settled } else { Some(now_settled) },
        conditions,
    }
}

/// How it is, and what is printed of it in tables: there each of several things gets its share, so that none hides another.
fn wellness(source: &TenantSource, synced: &Synced) -> (Wellness, Option<String>) {
    let Synced { commit, tenants, problems, conflicts, orphaned, held, next: _, failed } = synced;
    let short: String = commit.chars().take(12).collect();
    if let Some(first) = failed.first() {
        let message = format!("{} of {tenants} tenants not written: {first}", failed.len());
        return (Wellness::Reconciling(first.reason(), message), None);
    }
    let mut told = Vec::new();
    if let Some(held) = held {
        told.push((Reason::RemovalHeld, told_held(source, held, &short)));
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
    let gone = format!("{} no longer in Git: {}", orphaned.len(), first_names(orphaned));
    let Some((reason, _)) = told.first().cloned() else {
        let message = format!("{tenants} tenants at commit {short}");
        let message = if orphaned.is_empty() { message } else { format!("{message}; {gone}") };
        return (Wellness::Ready(message), None);
    };
    if !orphaned.is_empty() && held.is_none() {
        told.push((reason, gone));
    }
    let share = LONGEST_PRINTED / told.len() - SEPARATOR.len();
    let printed: Vec<_> = told.iter().map(|(_, message)| cut(message, share)).collect();
    let all: Vec<_> = told.into_iter().map(|(_, message)| message).collect();
    (Wellness::Stalled(reason, all.join(SEPARATOR)), Some(printed.join(SEPARATOR)))
}

fn told_failure(source: &TenantSource, error: &ReadError) -> String {
    match error.reason() {
        Reason::RepositoryNotFound => format!("{error}; {}", asked_again(interval(&source.spec.interval))),
        _ => error.to_string(),
    }
}

/// The command first, since the end may be cut.
fn told_held(source: &TenantSource, held: &Held, commit: &str) -> String {
    let Held { tenants, doubt, confirmation } = held;
    let other = misconfirmed(source.annotations(), confirmation);
    format!(
        "{} gone at commit {commit}, held and serving on: put their files back, or, if it is meant, run `kubectl annotate tsrc {} {CONFIRM_REMOVAL}={confirmation} --overwrite`{other}. Held since {doubt}: {}",
        tenants.len(),
        source.name_any(),
        first_names(tenants)
    )
}

fn first_names(names: &[String]) -> String {
    let listed = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED { format!("{listed} and {} more", names.len() - LISTED) } else { listed }
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
    use crate::source::held::Doubt;
    use crate::{
        api::{Repository, TenantSourceSpec},
        conditions::{RECONCILING, STALLED},
        git::{GitError, GitUrl, UrlPolicy},
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
    fn a_repository_that_is_not_there_is_told_with_when_it_is_asked_for_again() {
        let url = GitUrl::parse("https://git.example.com/tenants.git", &UrlPolicy::default()).unwrap();
        let error = ReadError::Git(GitError::NotFound(url));
        let told = status(&source(None), Err(&error), 1, at("2026-01-01T00:00:00Z"));
        assert_eq!(message(&told), format!("{error}; it is asked again at least every 60 s"));
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
        let held = Held { tenants: vec!["c".into()], doubt: Doubt::Empty, confirmation: "4f2a".into() };
        for all in [Synced { held: Some(held), ..all.clone() }, all] {
            let told = status(&source(None), Ok(&all), TOLD_AFTER, at("2026-01-01T00:00:00Z"));
            let message = message(&told);
            let first = if all.held.is_some() { "1 gone" } else { "1 no longer in Git" };
            for part in [first, "tenant c0: was applied by hand", "40 problems", "tenants/t0.yaml:1:1"] {
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
    fn orphans_are_named_and_what_is_held_says_what_to_run() {
        let few = Synced { orphaned: vec!["beta".into()], ..synced() };
        let told = status(&source(None), Ok(&few), TOLD_AFTER, at("2026-01-01T00:00:00Z"));
        assert!(is_true(&told.conditions, READY) && message(&told).ends_with("1 no longer in Git: beta"));
        assert_eq!(told.settled.as_ref().unwrap().commit, few.commit);

        let tenants: Vec<_> = (0..12).map(|n| format!("t{n:02}")).collect();
        let held = Held { tenants, doubt: Doubt::Many(12), confirmation: "4f2a4f2a4f2a".into() };
        let held = Synced { commit: "9c3b".repeat(10), held: Some(held), ..synced() };
        let after = status(&source(Some(told.clone())), Ok(&held), TOLD_AFTER, at("2026-01-01T00:00:00Z"));
        assert!(is_true(&after.conditions, STALLED));
        let stalled = after.conditions.iter().find(|condition| condition.type_ == STALLED).unwrap();
        assert_eq!(stalled.reason, "RemovalHeld");
        assert_eq!(
            stalled.message,
            "12 gone at commit 9c3b9c3b9c3b, held and serving on: put their files back, or, if it is meant, run \
             `kubectl annotate tsrc central imaas.dev/confirm-removal=4f2a4f2a4f2a --overwrite`. Held since they are more \
             than 5 of 12: t00, t01, t02, t03, t04, t05, t06, t07, t08, t09 and 2 more"
        );
        assert!(message(&after).contains("confirm-removal=4f2a4f2a4f2a --overwrite"), "also in tables");
        assert_eq!(after.settled, told.settled, "what is held is judged against the same commit again");
        assert_eq!(after.commit.unwrap(), held.commit);
    }
}

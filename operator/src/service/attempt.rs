//! What became of a release, told on itself. Pure.
//!
//! *Blocked* is what is in the way from outside: the old pods stay, and it goes on by itself. *Given up* is what fails by
//! itself, again and again or past its deadline.

use jiff::Timestamp;

use super::decision::retried;
use crate::{
    api::{Release, ReleaseStatus},
    conditions::{Claim, FAILED, HEALTHY, PROVEN, Reason, cut, is_true, merge},
    environment::proof::Unproven,
    release::{Observed, Phase, Trouble, late},
};

/// Longest message of a failure, in characters.
pub const LONGEST: usize = 400;

/// Why a release is given up, unless it may still become healthy. `missed`: its own deadline, not that of one before.
pub fn given_up(seen: &Observed, trouble: Option<&Trouble>, missed: bool) -> Option<String> {
    match (&seen.phase, trouble) {
        (
            Phase::Healthy | Phase::Stopped | Phase::Scheduled { .. } | Phase::Blocked { .. } | Phase::Unread,
            _,
        )
        | (_, Some(Trouble::Blocked(..))) => None,
        (_, Some(Trouble::Loops(why, _))) => Some(why.clone()),
        (Phase::Failed { .. } | Phase::Down, Some(Trouble::Fails(why) | Trouble::Unready(why))) if missed => {
            Some(format!("{}: {why}", late(seen.ready, seen.desired)))
        }
        (Phase::Failed { .. } | Phase::Down, None) if missed => Some(late(seen.ready, seen.desired)),
        (
            Phase::Failed { .. }
            | Phase::FirstRun
            | Phase::RollingOut
            | Phase::Outlasted { .. }
            | Phase::Down,
            _,
        ) => None,
    }
}

/// All its instances were ready. `missing`: until it counts as healthy elsewhere.
pub fn healthy(release: &Release, missing: Option<&Unproven>, now: Timestamp) -> ReleaseStatus {
    let old = old(release);
    let failed = old.conditions.iter().any(|condition| condition.type_ == FAILED);
    let not_failed = Claim { type_: FAILED, status: false, ..ran_well() };
    let was_unproven = old.conditions.iter().any(|condition| condition.type_ == PROVEN);
    let proven = match missing {
        Some(Unproven { reason, message, until: _ }) => {
            Some(Claim { type_: PROVEN, status: false, reason: *reason, message: message.clone() })
        }
        None => was_unproven.then(proven),
    };
    let claims: Vec<_> = [ran_well()].into_iter().chain(failed.then_some(not_failed)).chain(proven).collect();
    told(release, &claims, (old.failures, now))
}

/// It is given up. `last_words`: of an instance that crashed.
pub fn failed(release: &Release, (why, last_words): (&str, Option<String>), now: Timestamp) -> ReleaseStatus {
    let old = old(release);
    let failed = Claim { type_: FAILED, status: true, reason: Reason::Failed, message: cut(why, LONGEST) };
    let claims: Vec<_> = before(&old).into_iter().chain([failed]).collect();
    ReleaseStatus { last_words, ..told(release, &claims, (old.failures + 1, now)) }
}

/// It is tried once more, as `decision` says.
pub fn tried_again(release: &Release, decision: &str, now: Timestamp) -> ReleaseStatus {
    let old = old(release);
    let again =
        Claim { type_: FAILED, status: false, reason: Reason::Progressing, message: retried(decision) };
    let claims: Vec<_> = before(&old).into_iter().chain([again]).collect();
    told(release, &claims, (old.failures, now))
}

fn old(release: &Release) -> ReleaseStatus {
    release.status.clone().unwrap_or_default()
}

/// What it was before it failed: once healthy and once proven, for ever.
fn before(old: &ReleaseStatus) -> Vec<Claim> {
    let told = |type_| old.conditions.iter().find(|condition| condition.type_ == type_);
    let healthy = is_true(&old.conditions, HEALTHY).then(ran_well);
    let proof = told(PROVEN).map(|told| if told.status == "True" { proven() } else { unproven() });
    healthy.into_iter().chain(proof).collect()
}

fn proven() -> Claim {
    let message = "it counts as healthy elsewhere".to_owned();
    Claim { type_: PROVEN, status: true, reason: Reason::Succeeded, message }
}

fn unproven() -> Claim {
    let message = "it failed before it counted as healthy elsewhere".to_owned();
    Claim { type_: PROVEN, status: false, reason: Reason::Failed, message }
}

fn ran_well() -> Claim {
    let message = "all instances were ready".to_owned();
    Claim { type_: HEALTHY, status: true, reason: Reason::Succeeded, message }
}

fn told(release: &Release, claims: &[Claim], (failures, now): (i32, Timestamp)) -> ReleaseStatus {
    let generation = release.metadata.generation.unwrap_or(1);
    let conditions = merge(&old(release).conditions, claims, generation, now);
    ReleaseStatus { conditions, failures, last_words: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn seen(phase: Phase) -> Observed {
        Observed { ready: 1, desired: 2, updated: 2, phase }
    }

    fn late() -> Phase {
        Phase::Failed { message: "look at the pods".to_owned() }
    }

    #[test]
    fn what_is_in_the_way_from_outside_is_no_failure() {
        let full = Phase::Blocked { reason: Reason::QuotaExceeded, message: String::new() };
        let loops = Trouble::Loops("crashes".to_owned(), None);
        assert_eq!(given_up(&seen(full), Some(&loops), true), None, "the quota is told first");
        let no_node = Trouble::Blocked(Reason::Unschedulable, "no node".to_owned());
        for phase in [Phase::RollingOut, late(), Phase::Down] {
            assert_eq!(given_up(&seen(phase), Some(&no_node), true), None, "past its deadline, too");
        }
    }

    #[test]
    fn a_release_is_given_up_when_it_crashes_again_and_again_or_is_late() {
        let (once, loops) =
            (Trouble::Fails("crashes".to_owned()), Trouble::Loops("crashes".to_owned(), None));
        assert_eq!(given_up(&seen(Phase::RollingOut), Some(&once), false), None, "it is started again");
        assert_eq!(given_up(&seen(Phase::RollingOut), Some(&loops), false).as_deref(), Some("crashes"));
        let told = "1 of 2 new instances did not become ready in time";
        let unready = Trouble::Unready("is not ready".to_owned());
        for (trouble, cause) in [(None, ""), (Some(&once), ": crashes"), (Some(&unready), ": is not ready")] {
            let told = format!("{told}{cause}");
            assert_eq!(given_up(&seen(late()), trouble, true).as_ref(), Some(&told));
            assert_eq!(given_up(&seen(late()), trouble, false), None, "that was another's deadline");
            assert_eq!(
                given_up(&seen(Phase::Down), trouble, true).as_ref(),
                Some(&told),
                "it was ready once"
            );
            assert_eq!(given_up(&seen(Phase::Down), trouble, false), None, "it may come back");
        }
        for phase in [Phase::Healthy, Phase::Stopped] {
            assert_eq!(given_up(&seen(phase), Some(&loops), true), None);
        }
    }

    #[test]
    fn each_failure_counts_once_and_health_is_for_ever() {
        let now = Timestamp::from_second(1).unwrap();
        let mut release = sample::release("orders-dev-abc", "");
        let is = |release: &Release, type_| is_true(&release.status.as_ref().unwrap().conditions, type_);
        release.status = Some(healthy(&release, None, now));
        assert_eq!(release.status.as_ref().unwrap().conditions.len(), 1);
        release.status = Some(failed(&release, ("crashes", Some("no database".to_owned())), now));
        assert!(is(&release, HEALTHY) && is(&release, FAILED));
        assert_eq!(release.status.as_ref().unwrap().last_words.as_deref(), Some("no database"));
        release.status = Some(tried_again(&release, "again", now));
        assert!(is(&release, HEALTHY) && !is(&release, FAILED));
        assert_eq!(release.status.as_ref().unwrap().last_words, None);
        release.status = Some(failed(&release, ("crashes", None), now));
        assert_eq!(release.status.as_ref().unwrap().failures, 2);
        release.status = Some(healthy(&release, None, now));
        assert!(is(&release, HEALTHY) && !is(&release, FAILED));
    }

    #[test]
    fn what_is_missing_is_told_until_it_is_there_and_a_failure_begins_anew() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let message = "it waits for the gate load-test".to_owned();
        let missing = Unproven { reason: Reason::GatePending, message, until: None };
        let mut release = sample::release("orders-dev-abc", "");
        let is = |release: &Release, type_| is_true(&release.status.as_ref().unwrap().conditions, type_);
        let has = |release: &Release| release.status.as_ref().unwrap().conditions.len();
        release.status = Some(healthy(&release, Some(&missing), at(1)));
        assert!(is(&release, HEALTHY) && !is(&release, PROVEN) && has(&release) == 2);
        release.status = Some(failed(&release, ("crashes", None), at(2)));
        assert!(is(&release, HEALTHY) && !is(&release, PROVEN) && has(&release) == 3);
        release.status = Some(healthy(&release, Some(&missing), at(3)));
        release.status = Some(healthy(&release, None, at(4)));
        assert!(is(&release, PROVEN));
        release.status = Some(failed(&release, ("crashes", None), at(5)));
        assert!(is(&release, PROVEN), "for ever");
    }
}

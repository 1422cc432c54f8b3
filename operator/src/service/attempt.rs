//! What became of a release, told on itself. Pure.
//!
//! *Blocked* is what is in the way from outside: the old pods stay, and it goes on by itself. *Given up* is what fails by
//! itself, again and again or past its deadline.

use jiff::Timestamp;

use super::decision::retried;
use crate::{
    api::{Release, ReleaseStatus},
    conditions::{Claim, FAILED, HEALTHY, Reason, cut, is_true, merge},
    release::{Observed, Phase, Trouble, late},
};

/// Longest message of a failure, in characters.
const LONGEST: usize = 300;

/// Why a release is given up, unless it may still become healthy. `missed`: its own deadline, not that of one before.
pub fn given_up(seen: &Observed, trouble: Option<&Trouble>, missed: bool) -> Option<String> {
    match (&seen.phase, trouble) {
        (Phase::Healthy | Phase::Stopped | Phase::Blocked { .. }, _) | (_, Some(Trouble::Blocked(..))) => {
            None
        }
        (_, Some(Trouble::Loops(why))) => Some(why.clone()),
        (Phase::Failed { .. }, Some(Trouble::Fails(_) | Trouble::Unready(_)) | None) if missed => {
            Some(late(seen.ready, seen.desired))
        }
        (Phase::Failed { .. } | Phase::RollingOut | Phase::Down, _) => None,
    }
}

/// All its instances were ready.
pub fn healthy(release: &Release, now: Timestamp) -> ReleaseStatus {
    let old = old(release);
    let failed = old.conditions.iter().any(|condition| condition.type_ == FAILED);
    let not_failed = Claim { type_: FAILED, status: false, ..ran_well() };
    let claims: Vec<_> = [ran_well()].into_iter().chain(failed.then_some(not_failed)).collect();
    told(release, &claims, (old.failures, now))
}

/// It is given up.
pub fn failed(release: &Release, why: &str, now: Timestamp) -> ReleaseStatus {
    let old = old(release);
    let failed = Claim { type_: FAILED, status: true, reason: Reason::Failed, message: cut(why, LONGEST) };
    let claims = [was_healthy(&old), Some(failed)];
    told(release, &claims.into_iter().flatten().collect::<Vec<_>>(), (old.failures + 1, now))
}

/// It is tried once more, as `decision` says.
pub fn tried_again(release: &Release, decision: &str, now: Timestamp) -> ReleaseStatus {
    let old = old(release);
    let again =
        Claim { type_: FAILED, status: false, reason: Reason::Progressing, message: retried(decision) };
    let claims = [was_healthy(&old), Some(again)];
    told(release, &claims.into_iter().flatten().collect::<Vec<_>>(), (old.failures, now))
}

fn old(release: &Release) -> ReleaseStatus {
    release.status.clone().unwrap_or_default()
}

/// Once healthy, for ever.
fn was_healthy(old: &ReleaseStatus) -> Option<Claim> {
    is_true(&old.conditions, HEALTHY).then(ran_well)
}

fn ran_well() -> Claim {
    let message = "all instances were ready".to_owned();
    Claim { type_: HEALTHY, status: true, reason: Reason::Succeeded, message }
}

fn told(release: &Release, claims: &[Claim], (failures, now): (i32, Timestamp)) -> ReleaseStatus {
    let generation = release.metadata.generation.unwrap_or(1);
    ReleaseStatus { conditions: merge(&old(release).conditions, claims, generation, now), failures }
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
        let loops = Trouble::Loops("crashes".to_owned());
        assert_eq!(given_up(&seen(full), Some(&loops), true), None, "the quota is told first");
        let no_node = Trouble::Blocked(Reason::Unschedulable, "no node".to_owned());
        for phase in [Phase::RollingOut, late(), Phase::Down] {
            assert_eq!(given_up(&seen(phase), Some(&no_node), true), None, "past its deadline, too");
        }
    }

    #[test]
    fn a_release_is_given_up_when_it_crashes_again_and_again_or_is_late() {
        let (once, loops) = (Trouble::Fails("crashes".to_owned()), Trouble::Loops("crashes".to_owned()));
        assert_eq!(given_up(&seen(Phase::RollingOut), Some(&once), false), None, "it is started again");
        assert_eq!(given_up(&seen(Phase::RollingOut), Some(&loops), false).as_deref(), Some("crashes"));
        let told = "1 of 2 new instances did not become ready in time";
        for trouble in [None, Some(&once), Some(&Trouble::Unready(String::new()))] {
            assert_eq!(given_up(&seen(late()), trouble, true).as_deref(), Some(told));
            assert_eq!(given_up(&seen(late()), trouble, false), None, "that was another's deadline");
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
        release.status = Some(healthy(&release, now));
        assert_eq!(release.status.as_ref().unwrap().conditions.len(), 1);
        release.status = Some(failed(&release, "crashes", now));
        assert!(is(&release, HEALTHY) && is(&release, FAILED));
        release.status = Some(tried_again(&release, "again", now));
        assert!(is(&release, HEALTHY) && !is(&release, FAILED));
        release.status = Some(failed(&release, "crashes", now));
        assert_eq!(release.status.as_ref().unwrap().failures, 2);
        release.status = Some(healthy(&release, now));
        assert!(is(&release, HEALTHY) && !is(&release, FAILED));
    }
}

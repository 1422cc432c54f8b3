//! What people decided of a service, and what of it holds in an environment. Pure.
//!
//! A decision is answered once, in the order in which they were made. What holds is read from the answers: at most one hold,
//! one pause, one rollback and one scale hold in an environment, the newest. So a crash between two answers leads to the same
//! end.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use kube::ResourceExt;

use super::history::Past;
use crate::api::{
    DecisionAction, DecisionState, ReleaseDecision, ReleaseDecisionStatus,
    integration_service::{Held, Trial},
};

mod judged;

pub use judged::{Answer, Situation, answer, refused};

/// Of an environment, decisions that hold no more and are kept for who looks back: the newest.
pub const KEPT: usize = 50;
/// Rejections, and bypasses, that hold in an environment at a time; one more is refused.
const HOLDING: usize = 200;
/// Approvals, and passes of gates, that hold in an environment at a time, the newest: what was let in once stays so.
const LET_THROUGH: usize = 20;

/// What holds in one environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Nothing new runs.
    pub hold: Option<Held>,
    /// What is tried stays at its step.
    pub pause: Option<Pause>,
    /// Steps of what is tried whose pause is over.
    pub skipped: Vec<Skip>,
    /// An older release runs.
    pub rollback: Option<Rollback>,
    /// So many instances run.
    pub scale: Option<(Held, u16)>,
    /// What never runs again.
    pub rejections: Vec<Rejection>,
    /// Images that need not have been healthy in the environment before: digests, and the build id of one that nobody
    /// has seen yet.
    pub bypasses: Vec<String>,
    /// Commits that may run, each with the image that was looked at.
    pub approved: Vec<(String, String)>,
    /// A gate, and the digest of an image that it let pass.
    pub passed: Vec<(String, String)>,
}

/// A pause that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Who and why.
    pub held: Held,
    /// What is tried.
    pub release: String,
}

impl Pause {
    /// Why what is tried stays at its step, and what ends that.
    pub fn told(&self, service: &str, environment: &str) -> String {
        let why = self.held.reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        format!("paused by {}{why} until: kubectl imaas rollout resume {service} {environment}", self.held.by)
    }
}

/// A step that somebody ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// What is tried.
    pub release: String,
    /// So many steps it had passed.
    pub passed: u16,
}

/// A rollback that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// Who and why.
    pub held: Held,
    /// What runs.
    pub release: String,
    /// What it went back from: name, content and commit of what Git asked for.
    pub from: Option<String>,
    /// See `from`.
    pub content: Option<String>,
    /// See `from`.
    pub commit: Option<String>,
}

/// A rejection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejection {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// This release.
    pub release: Option<String>,
    /// And whatever asks for the same.
    pub content: Option<String>,
    /// Or every release of this image.
    pub digest: Option<String>,
}

impl Rejection {
    /// What runs in the place of what never runs again.
    pub fn way_out(&self) -> &'static str {
        match self.digest {
            Some(_) => "push a commit with another image",
            None => "push a commit that changes its image, its descriptor or its configuration",
        }
    }
}

impl Standing {
    /// What rejects `past`.
    pub fn rejects(&self, past: &Past) -> Option<&Rejection> {
        self.rejections.iter().find(|rejection| {
            rejection.release.as_ref() == Some(&past.name)
                || rejection.digest.as_ref() == Some(&past.digest)
                || rejection.content.is_some() && rejection.content == past.content
        })
    }

    /// As the board tells it.
    pub fn held(&self) -> Vec<Held> {
        let pause = self.pause.as_ref().map(|pause| &pause.held);
        let rollback = self.rollback.as_ref().map(|rollback| &rollback.held);
        let scale = self.scale.as_ref().map(|(held, _)| held);
        self.hold.iter().chain(pause).chain(rollback).chain(scale).cloned().collect()
    }
}

/// Who is meant by a decision, and why.
fn held(decision: &ReleaseDecision) -> Held {
    let spec = &decision.spec;
    Held {
        decision: decision.name_any(),
        action: spec.action,
        by: spec.author.clone(),
        reason: spec.reason.clone(),
        until: spec.expires_at.clone(),
    }
}

/// In which order they were made: times are whole seconds, and [`order`] tells two of one second apart.
pub fn age(decision: &ReleaseDecision) -> (Option<Timestamp>, Option<i64>, String) {
    let made = decision.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (made, order(decision), decision.name_any())
}

/// The resourceVersion with which it was made; the answer keeps it, since it moves it. Of one kind a later one is the higher
/// number: promised from Kubernetes 1.35 on (KEP-5504), and so with etcd ever since.
pub fn order(decision: &ReleaseDecision) -> Option<i64> {
    let kept = decision.status.as_ref().and_then(|status| status.order);
    kept.or_else(|| decision.resource_version()?.parse().ok())
}

fn state(decision: &ReleaseDecision) -> Option<DecisionState> {
    decision.status.as_ref()?.state
}

/// Is it answered?
pub fn is_answered(decision: &ReleaseDecision) -> bool {
    state(decision).is_some()
}

/// Does it hold?
pub fn holds(decision: &ReleaseDecision) -> bool {
    state(decision) == Some(DecisionState::InForce)
}

/// Is this a hold, a pause, a rollback or a scale in that environment that was taken, whether or not it holds still?
fn held_once(decisions: &[Arc<ReleaseDecision>], (name, environment): (&str, &str)) -> bool {
    decisions.iter().any(|one| {
        let can_hold = match one.spec.action {
            DecisionAction::Hold
            | DecisionAction::Pause
            | DecisionAction::Rollback
            | DecisionAction::Scale => true,
            DecisionAction::Approve
            | DecisionAction::Pass
            | DecisionAction::Reject
            | DecisionAction::Resume
            | DecisionAction::Skip
            | DecisionAction::Abort
            | DecisionAction::Retry
            | DecisionAction::Bypass
            | DecisionAction::Run => false,
        };
        let was_taken = matches!(state(one), Some(DecisionState::InForce | DecisionState::Done));
        can_hold && was_taken && one.spec.environment == environment && one.name_any() == name
    })
}

/// When it comes to an end; nothing where it does not, or where that cannot be read.
pub fn expiry(decision: &ReleaseDecision) -> Option<Timestamp> {
    decision.spec.expires_at.as_ref()?.parse().ok()
}

fn is_over(decision: &ReleaseDecision, now: Timestamp) -> bool {
    decision.spec.expires_at.is_some() && expiry(decision).is_none_or(|expiry| expiry <= now)
}

/// What holds in `environment` of those `decisions`.
pub fn standing(decisions: &[Arc<ReleaseDecision>], environment: &str, now: Timestamp) -> Standing {
    let mut standing = Standing::default();
    let mut all: Vec<_> = decisions
        .iter()
        .filter(|one| one.spec.environment == environment && holds(one) && !is_over(one, now))
        .collect();
    all.sort_by_key(|one| age(one));
    for decision in all {
        let answer = decision.status.clone().unwrap_or_default();
        match decision.spec.action {
            DecisionAction::Hold => standing.hold = Some(held(decision)),
            DecisionAction::Pause => {
                let held = held(decision);
                standing.pause = answer.release.map(|release| Pause { held, release });
            }
            DecisionAction::Skip => {
                let skip = answer.release.zip(answer.passed);
                standing.skipped.extend(skip.map(|(release, passed)| Skip { release, passed }));
            }
            DecisionAction::Rollback => {
                let Some(release) = answer.release else { continue };
                let ReleaseDecisionStatus { from, commit, content_revision: content, .. } = answer;
                let held = held(decision);
                standing.rollback = Some(Rollback { held, release, from, content, commit });
            }
            DecisionAction::Reject => standing.rejections.push(Rejection {
                by: decision.spec.author.clone(),
                reason: decision.spec.reason.clone(),
                release: answer.release,
                content: answer.content_revision,
                digest: answer.digest,
            }),
            DecisionAction::Bypass => standing.bypasses.extend(answer.digest.or(answer.build_id)),
            DecisionAction::Approve => standing.approved.extend(answer.commit.zip(answer.digest)),
            DecisionAction::Pass => {
                standing.passed.extend(decision.spec.gate.clone().zip(answer.digest));
            }
            DecisionAction::Scale => {
                standing.scale = decision.spec.replicas.map(|number| (held(decision), number));
            }
            DecisionAction::Resume | DecisionAction::Abort | DecisionAction::Retry | DecisionAction::Run => {}
        }
    }
    standing
}

/// Bypasses in `environment` of what `build_id` names, made before anybody saw its image, with what is to be told of them now
/// that it is `digest`: another image of the same files is not let in by them.
pub fn bound(
    decisions: &[Arc<ReleaseDecision>],
    environment: &str,
    (build_id, digest): (&str, &str),
) -> Vec<(String, ReleaseDecisionStatus)> {
    let bound = |decision: &Arc<ReleaseDecision>| {
        let status = decision.status.as_ref()?;
        let is_unbound = decision.spec.action == DecisionAction::Bypass
            && decision.spec.environment == environment
            && status.digest.is_none()
            && status.build_id.as_deref() == Some(build_id);
        let digest = Some(digest.to_owned());
        is_unbound.then(|| (decision.name_any(), ReleaseDecisionStatus { digest, ..status.clone() }))
    };
    decisions.iter().filter(|decision| holds(decision)).filter_map(bound).collect()
}

/// Decisions that held and do no more, with what is to be told of them: they expired, or a newer one took their place.
pub fn ended(decisions: &[Arc<ReleaseDecision>], now: Timestamp) -> Vec<(String, ReleaseDecisionStatus)> {
    let replaced_by = |old: &ReleaseDecision| {
        let enough = match old.spec.action {
            DecisionAction::Hold
            | DecisionAction::Pause
            | DecisionAction::Rollback
            | DecisionAction::Scale => 1,
            DecisionAction::Approve | DecisionAction::Pass | DecisionAction::Skip => LET_THROUGH,
            DecisionAction::Reject
            | DecisionAction::Bypass
            | DecisionAction::Resume
            | DecisionAction::Abort
            | DecisionAction::Retry
            | DecisionAction::Run => return None,
        };
        let is_newer = |new: &&Arc<ReleaseDecision>| {
            holds(new)
                && new.spec.action == old.spec.action
                && new.spec.environment == old.spec.environment
                && age(new) > age(old)
        };
        let mut newer: Vec<_> = decisions.iter().filter(is_newer).collect();
        newer.sort_by_key(|one| age(one));
        newer.get(enough - 1).map(|new| new.name_any())
    };
    let ended = |decision: &Arc<ReleaseDecision>| {
        let why = match replaced_by(decision) {
            _ if is_over(decision, now) => "it expired".to_owned(),
            Some(newer) => format!("{newer} took its place"),
            None => return None,
        };
        Some((decision.name_any(), over(decision, &why)))
    };
    decisions.iter().filter(|decision| holds(decision)).filter_map(ended).collect()
}

/// Answered ones of a service that hold no more, beyond what is kept of each environment: who may decide in one takes
/// nothing from another. The oldest are among the first.
pub fn surplus(decisions: &[Arc<ReleaseDecision>]) -> Vec<&Arc<ReleaseDecision>> {
    let mut past: Vec<_> = decisions.iter().filter(|one| is_answered(one) && !holds(one)).collect();
    past.sort_by_key(|one| std::cmp::Reverse(age(one)));
    let mut kept: BTreeMap<&str, usize> = BTreeMap::new();
    past.retain(|one| {
        let kept = kept.entry(one.spec.environment.as_str()).or_default();
        *kept += 1;
        *kept > KEPT
    });
    past.reverse();
    past
}

/// The answer of a decision that holds no more.
pub fn over(decision: &ReleaseDecision, why: &str) -> ReleaseDecisionStatus {
    let old = decision.status.clone().unwrap_or_default();
    ReleaseDecisionStatus { state: Some(DecisionState::Done), message: format!("over: {why}"), ..old }
}

/// Why a pause or a skip is over with the `trial` that it was about, as the board told that last.
pub fn tried_no_more(decision: &ReleaseDecision, trial: Option<&Trial>) -> String {
    let answer = decision.status.clone().unwrap_or_default();
    let of_it = trial.filter(|trial| Some(&trial.release) == answer.release.as_ref());
    match answer.passed.zip(of_it).filter(|(before, trial)| trial.passed > *before) {
        Some((before, trial)) => format!("step {} of {} was passed", before + 1, trial.release),
        None => "what it was about is not tried any more".to_owned(),
    }
}

/// Before the name of the decision by which a release is tried again.
const RETRIED: &str = "tried again by ";

/// As a release says by whom it is tried again.
pub fn retried(decision: &str) -> String {
    format!("{RETRIED}{decision}")
}

/// The decision in what [`retried`] said.
pub fn retrier(told: &str) -> Option<&str> {
    told.strip_prefix(RETRIED)
}

#[cfg(test)]
mod tests;

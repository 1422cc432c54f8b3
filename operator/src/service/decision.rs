//! What people decided of a service, and what of it holds in an environment. Pure.
//!
//! A decision is answered once. What holds is read from the answers, never from their order: at most one hold and one
//! rollback hold in an environment, the newest. So a crash between two answers leads to the same end.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    history::{History, Past},
    validate::{ValidEnvironment, ValidService},
};
use crate::api::{
    DecisionAction, DecisionState, IntegrationServiceStatus, ReleaseDecision, ReleaseDecisionStatus,
    integration_service::{EnvironmentState, Held},
};

/// What holds in one environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Nothing new runs.
    pub hold: Option<Held>,
    /// An older release runs.
    pub rollback: Option<Rollback>,
    /// What never runs again.
    pub rejections: Vec<Rejection>,
    /// Build ids and digests that need not have been healthy in the environment before.
    pub bypasses: Vec<String>,
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
        self.hold.iter().chain(self.rollback.as_ref().map(|rollback| &rollback.held)).cloned().collect()
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

/// In which order they were made, as far as that is known.
pub fn age(decision: &ReleaseDecision) -> (Option<Timestamp>, String) {
    (decision.metadata.creation_timestamp.as_ref().map(|time| time.0), decision.name_any())
}

fn state(decision: &ReleaseDecision) -> Option<DecisionState> {
    decision.status.as_ref()?.state
}

/// Is it answered?
pub fn is_answered(decision: &ReleaseDecision) -> bool {
    state(decision).is_some()
}

fn holds(decision: &ReleaseDecision) -> bool {
    state(decision) == Some(DecisionState::InForce)
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
            DecisionAction::Bypass => {
                standing.bypasses.extend(answer.build_id.into_iter().chain(answer.digest))
            }
            DecisionAction::Resume | DecisionAction::Retry => {}
        }
    }
    standing
}

/// Decisions that held and do no more, with what is to be told of them: they expired, or a newer one took their place.
pub fn ended(decisions: &[Arc<ReleaseDecision>], now: Timestamp) -> Vec<(String, ReleaseDecisionStatus)> {
    let is_replaced = |old: &ReleaseDecision| {
        let alone = matches!(old.spec.action, DecisionAction::Hold | DecisionAction::Rollback);
        let newer = |new: &&Arc<ReleaseDecision>| {
            holds(new)
                && new.spec.action == old.spec.action
                && new.spec.environment == old.spec.environment
                && age(new) > age(old)
        };
        decisions.iter().find(newer).filter(|_| alone).map(|new| new.name_any())
    };
    let ended = |decision: &Arc<ReleaseDecision>| {
        let why = match is_replaced(decision) {
            _ if is_over(decision, now) => "it expired".to_owned(),
            Some(newer) => format!("{newer} took its place"),
            None => return None,
        };
        Some((decision.name_any(), over(decision, &why)))
    };
    decisions.iter().filter(|decision| holds(decision)).filter_map(ended).collect()
}

/// The answer of a decision that holds no more.
pub fn over(decision: &ReleaseDecision, why: &str) -> ReleaseDecisionStatus {
    let old = decision.status.clone().unwrap_or_default();
    ReleaseDecisionStatus { state: Some(DecisionState::Done), message: format!("over: {why}"), ..old }
}

/// What a decision is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The service as it is valid.
    pub service: &'a ValidService,
    /// As it was told last.
    pub board: Option<&'a IntegrationServiceStatus>,
    /// Its releases.
    pub history: &'a History,
    /// What holds in the decision's environment.
    pub standing: &'a Standing,
    /// Now.
    pub now: Timestamp,
}

/// What follows from a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// To be written on it, last.
    pub status: ReleaseDecisionStatus,
    /// A release whose failure is taken back.
    pub tried_again: Option<String>,
    /// What held in its environment, a hold or a rollback, holds no more.
    pub resumes: bool,
}

/// `status` with its state and message.
fn said(state: DecisionState, message: String, status: ReleaseDecisionStatus) -> Answer {
    let status = ReleaseDecisionStatus { state: Some(state), message, ..status };
    Answer { status, ..Answer::default() }
}

/// Not taken.
pub fn refused(message: impl Into<String>) -> Answer {
    said(DecisionState::Refused, message.into(), ReleaseDecisionStatus::default())
}

/// The answer to a decision that has none yet.
pub fn answer(decision: &ReleaseDecision, situation: Situation<'_>) -> Answer {
    let (spec, service) = (&decision.spec, situation.service);
    let name = &spec.environment;
    let Some(environment) = service.environments.iter().find(|one| one.name == *name) else {
        let known: Vec<_> = service.environments.iter().map(|one| one.name.as_str()).collect();
        return refused(format!("{} is not in {name}, only in {}", service.name, known.join(", ")));
    };
    if environment.ending.is_some() {
        return refused(format!("{} ends in {name}: nothing new runs there", service.name));
    }
    if is_over(decision, situation.now) {
        return refused("expiresAt is not a time that is to come");
    }
    let states = situation.board.into_iter().flat_map(|board| &board.environments);
    let empty = EnvironmentState::default();
    let state = states.into_iter().find(|state| state.name == *name).unwrap_or(&empty);
    let case = Case { decision, environment, state, situation };
    match spec.action {
        DecisionAction::Reject => case.reject(),
        DecisionAction::Hold => {
            let until = spec.expires_at.as_deref().unwrap_or("`resume`");
            let message = format!("nothing new runs in {name} until {until}");
            said(DecisionState::InForce, message, ReleaseDecisionStatus::default())
        }
        DecisionAction::Resume => case.resume(),
        DecisionAction::Rollback => case.rollback(),
        DecisionAction::Retry => case.retry(),
        DecisionAction::Bypass => case.bypass(),
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

/// One decision and all that it is judged by.
struct Case<'a> {
    decision: &'a ReleaseDecision,
    environment: &'a ValidEnvironment,
    state: &'a EnvironmentState,
    situation: Situation<'a>,
}

impl Case<'_> {
    fn target(&self) -> Option<&str> {
        self.decision.spec.target.as_deref()
    }

    /// The release that Git asks for, as it was told last.
    fn asked(&self) -> Option<&str> {
        self.state.candidate.as_deref().or(self.state.current.as_deref())
    }

    /// The release of this name, which must be one of here.
    fn release(&self, name: &str) -> Result<&Past, Answer> {
        let here = |past: &&Past| past.environment == self.environment.name;
        self.situation.history.named(name).filter(here).ok_or_else(|| {
            let (service, environment) = (&self.situation.service.name, &self.environment.name);
            refused(format!(
                "there is no release {name} of {service} in {environment}: see kubectl imaas history {service} {environment}"
            ))
        })
    }

    /// The target, or without one what Git asks for.
    fn meant(&self) -> Result<&Past, Answer> {
        match self.target().or_else(|| self.asked()) {
            Some(name) => self.release(name),
            None => Err(refused(format!(
                "there is no release of {} in {} yet",
                self.situation.service.name, self.environment.name
            ))),
        }
    }

    fn reject(&self) -> Answer {
        let environment = &self.environment.name;
        if let Some(digest) = self.target().filter(|target| is_digest(target)) {
            let message = format!("no release of {digest} runs in {environment} again");
            let status = ReleaseDecisionStatus { digest: Some(digest.to_owned()), ..Default::default() };
            return said(DecisionState::InForce, message, status);
        }
        match self.meant() {
            Ok(past) => {
                let status = ReleaseDecisionStatus {
                    release: Some(past.name.clone()),
                    // What a Secret or a runtime brought is rejected alone: the same commit ran well before.
                    content_revision: past.content.clone().filter(|_| past.of_git),
                    ..Default::default()
                };
                let message = format!("{} never runs in {environment} again", past.name);
                said(DecisionState::InForce, message, status)
            }
            Err(refused) => refused,
        }
    }

    fn resume(&self) -> Answer {
        let standing = self.situation.standing;
        let message = match (&standing.hold, &standing.rollback) {
            (None, None) => "nothing was held".to_owned(),
            _ => format!("{} goes on with what Git asks for", self.environment.name),
        };
        Answer { resumes: true, ..said(DecisionState::Done, message, ReleaseDecisionStatus::default()) }
    }

    fn rollback(&self) -> Answer {
        let to = match self.older() {
            Ok(past) => past,
            Err(refused) => return refused,
        };
        let (service, environment) = (&self.situation.service.name, &self.environment.name);
        if let Some(rejection) = self.situation.standing.rejects(to) {
            return refused(format!("{} was rejected by {}", to.name, rejection.by));
        }
        if self.state.current.as_ref() == Some(&to.name) {
            return refused(format!(
                "{} is what runs in {environment}: to keep it, kubectl imaas hold {service} {environment}",
                to.name
            ));
        }
        let from = self.asked().and_then(|name| self.situation.history.named(name));
        let status = ReleaseDecisionStatus {
            release: Some(to.name.clone()),
            from: from.map(|past| past.name.clone()),
            content_revision: from.and_then(|past| past.content.clone()),
            commit: self.state.commit.clone(),
            ..Default::default()
        };
        let message = format!(
            "{} runs in {environment} until a newer commit asks for something else, or until `resume`",
            to.name
        );
        said(DecisionState::InForce, message, status)
    }

    /// What a rollback goes to: the last good one where something else is on its way, else what ran well before.
    fn older(&self) -> Result<&Past, Answer> {
        if let Some(name) = self.target() {
            return self.release(name);
        }
        let Situation { history, standing, service, .. } = self.situation;
        let EnvironmentState { current, last_good, .. } = self.state;
        let is_good =
            |past: &&Past| past.healthy && past.failed.is_none() && standing.rejects(past).is_none();
        let last = last_good.as_ref().filter(|good| current.as_ref() != Some(*good));
        let last = last.and_then(|name| history.named(name)).filter(is_good);
        let before = || {
            let all = history.newest_first(&self.environment.name);
            all.skip_while(|past| Some(&past.name) != current.as_ref()).skip(1).find(is_good)
        };
        last.or_else(before).ok_or_else(|| {
            let environment = &self.environment.name;
            refused(format!("nothing of {} ran well in {environment} before what runs", service.name))
        })
    }

    fn retry(&self) -> Answer {
        let past = match self.meant() {
            Ok(past) => past,
            Err(refused) => return refused,
        };
        let status = ReleaseDecisionStatus { release: Some(past.name.clone()), ..Default::default() };
        let message = format!("{} is tried again", past.name);
        let done =
            Answer { tried_again: Some(past.name.clone()), ..said(DecisionState::Done, message, status) };
        if past.retried_by.as_deref() == Some(&self.decision.name_any()) {
            return done;
        }
        if past.failed.is_none() {
            return refused(format!("{} has not failed", past.name));
        }
        if self.state.current.as_ref() == Some(&past.name) {
            return refused(format!(
                "{} is tried all the time, since there is nothing to go back to: push a fix",
                past.name
            ));
        }
        done
    }

    fn bypass(&self) -> Answer {
        let environment = &self.environment.name;
        let Some(source) = &self.environment.promotes_from else {
            return refused(format!(
                "{environment} takes its images from nowhere else: nothing is to be passed by"
            ));
        };
        let of_release = |name: &str| self.situation.history.named(name).map(|past| past.digest.clone());
        let (what, status) = match self.target() {
            Some(target) => {
                let digest = if is_digest(target) { Some(target.to_owned()) } else { of_release(target) };
                let Some(digest) = digest else {
                    return refused(format!(
                        "there is no release {target} of {}",
                        self.situation.service.name
                    ));
                };
                let status = ReleaseDecisionStatus { digest: Some(digest.clone()), ..Default::default() };
                (format!("image {digest}"), status)
            }
            None => {
                let (Some(commit), Some(build_id)) = (&self.state.commit, &self.state.build_id) else {
                    let branch = &self.environment.branch;
                    return refused(format!(
                        "the branch {branch} could not be read yet: see what {environment} waits for"
                    ));
                };
                let status = ReleaseDecisionStatus {
                    build_id: Some(build_id.clone()),
                    commit: Some(commit.clone()),
                    ..Default::default()
                };
                (format!("what commit {commit} is built of"), status)
            }
        };
        let message = format!("{what} runs in {environment} without having been healthy in {source}");
        said(DecisionState::InForce, message, status)
    }
}

fn is_digest(target: &str) -> bool {
    target.starts_with("sha256:")
}

#[cfg(test)]
mod tests;

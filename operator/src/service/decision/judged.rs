//! The answer to a decision that has none yet. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::Job, core::v1::ResourceQuota};
use kube::ResourceExt;

use super::{HOLDING, Rollback, Standing, expiry, held_once};
use crate::{
    api::{
        DecisionAction, DecisionState, IntegrationServiceStatus, Release, ReleaseDecision,
        ReleaseDecisionStatus, WorkloadType,
        integration_service::{EnvironmentState, Held, Trial},
    },
    cluster::Workload,
    conditions::{Reason, cut},
    names,
    release::{
        room::{Shortage, shortage},
        runs::{lets_several, under_way},
    },
    service::{
        Problem,
        attempt::LONGEST,
        history::{History, Past},
        promote::shared_source,
        status::is_of_others,
        validate::{ValidEnvironment, ValidService},
    },
};

/// What a decision is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The service as it is valid.
    pub service: &'a ValidService,
    /// As it was told last.
    pub board: Option<&'a IntegrationServiceStatus>,
    /// Its releases.
    pub history: &'a History,
    /// What people decided of the service.
    pub decisions: &'a [Arc<ReleaseDecision>],
    /// What holds of it in the decision's environment.
    pub standing: &'a Standing,
    /// What runs the service there.
    pub workload: Option<&'a Workload>,
    /// Its runs there, of a batch.
    pub jobs: &'a [Arc<Job>],
    /// The release that runs there.
    pub release: Option<&'a Release>,
    /// The one that is tried beside it.
    pub tried: Option<&'a Release>,
    /// How much may be there.
    pub quota: Option<&'a ResourceQuota>,
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
    /// What held in its environment and holds no more: of a hold, a pause, a rollback and a scale these, whoever made them.
    pub ends: Vec<DecisionAction>,
    /// A release that is given up, and why.
    pub fails: Option<(String, String)>,
    /// A run begins, with this name.
    pub begins: Option<String>,
}

/// `status` with its state and message.
fn said(state: DecisionState, message: String, status: ReleaseDecisionStatus) -> Answer {
    let status = ReleaseDecisionStatus { state: Some(state), message, ..status };
    Answer { status, ..Answer::default() }
}

/// Not taken.
pub fn refused(why: Problem) -> ReleaseDecisionStatus {
    let Problem { reason, message } = why;
    let (state, reason) = (Some(DecisionState::Refused), Some(reason.as_str().to_owned()));
    ReleaseDecisionStatus { state, reason, message, ..Default::default() }
}

/// The answer to a decision that has none yet.
pub fn answer(decision: &ReleaseDecision, situation: Situation<'_>) -> Answer {
    judged(decision, situation).unwrap_or_else(|why| Answer { status: refused(why), ..Answer::default() })
}

/// What follows from it, or why it is not taken.
fn judged(decision: &ReleaseDecision, situation: Situation<'_>) -> Result<Answer, Problem> {
    let (spec, service) = (&decision.spec, situation.service);
    let name = &spec.environment;
    let environment = service.environments.iter().find(|one| one.name == *name).ok_or_else(|| {
        let known: Vec<_> = service.environments.iter().map(|one| one.name.as_str()).collect();
        let message = format!("{} is not in {name}, only in {}", service.name, known.join(", "));
        Problem::new(Reason::EnvironmentMissing, message)
    })?;
    if let Some(ending) = &environment.ending {
        let message = format!("{} ends in {name}: nothing new runs there", service.name);
        return Err(Problem::new(ending.problem().reason, message));
    }
    if let Some(text) = &spec.expires_at {
        let Some(end) = expiry(decision) else {
            let message = format!(
                "expiresAt: {text:?} is no time before 9999-12-30: write one such as 2026-05-01T18:00:00Z"
            );
            return Err(Problem::new(Reason::Invalid, message));
        };
        if end <= situation.now {
            return Err(Problem::new(Reason::Expired, format!("expiresAt: {text} is past")));
        }
    }
    let states = situation.board.into_iter().flat_map(|board| &board.environments);
    let empty = EnvironmentState::default();
    let state = states.into_iter().find(|state| state.name == *name).unwrap_or(&empty);
    let holding = match spec.action {
        DecisionAction::Reject => situation.standing.rejections.len(),
        DecisionAction::Bypass => situation.standing.bypasses.len(),
        DecisionAction::Approve
        | DecisionAction::Pass
        | DecisionAction::Hold
        | DecisionAction::Resume
        | DecisionAction::Pause
        | DecisionAction::Skip
        | DecisionAction::Abort
        | DecisionAction::Rollback
        | DecisionAction::Retry
        | DecisionAction::Run
        | DecisionAction::Scale => 0,
    };
    if holding >= HOLDING {
        let message = format!(
            "{holding} of them hold in {name} already: let the platform team delete those that nobody needs"
        );
        return Err(Problem::new(Reason::QuotaExceeded, message));
    }
    let case = Case { decision, environment, state, situation };
    match spec.action {
        DecisionAction::Approve => case.approve(),
        DecisionAction::Pass => case.pass(),
        DecisionAction::Reject => case.reject(),
        DecisionAction::Hold => {
            let until = spec.expires_at.as_deref().unwrap_or("`resume`");
            let message = format!("nothing new runs in {name} until {until}");
            Ok(said(DecisionState::InForce, message, ReleaseDecisionStatus::default()))
        }
        DecisionAction::Resume => case.resume(),
        DecisionAction::Pause => case.pause(),
        DecisionAction::Skip => case.skip(),
        DecisionAction::Abort => case.abort(),
        DecisionAction::Rollback => case.rollback(),
        DecisionAction::Retry => case.retry(),
        DecisionAction::Bypass => case.bypass(),
        DecisionAction::Run => case.run(),
        DecisionAction::Scale => case.scale(),
    }
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
        self.state.candidate.as_deref().or(self.tried()).or(self.state.current.as_deref())
    }

    /// The release that is tried, or takes the place of what ran.
    fn tried(&self) -> Option<&str> {
        self.state.trial.as_ref().map(|trial| trial.release.as_str())
    }

    /// The release of this name, which must be one of here.
    fn release(&self, name: &str) -> Result<&Past, Problem> {
        let here = |past: &&Past| past.environment == self.environment.name;
        self.situation.history.named(name).filter(here).ok_or_else(|| {
            let (service, environment) = (&self.situation.service.name, &self.environment.name);
            let message = format!(
                "there is no release {name} of {service} in {environment}: see kubectl imaas history {service} {environment}"
            );
            Problem::new(Reason::ReleaseMissing, message)
        })
    }

    /// The target, or without one what Git asks for.
    fn meant(&self) -> Result<&Past, Problem> {
        let (service, environment) = (&self.situation.service.name, &self.environment.name);
        let name = self.target().or_else(|| self.asked());
        self.release(name.ok_or_else(|| {
            let message = format!("there is no release of {service} in {environment} yet");
            Problem::new(Reason::ReleaseMissing, message)
        })?)
    }

    fn approve(&self) -> Result<Answer, Problem> {
        let environment = &self.environment.name;
        if !self.environment.entry.approval {
            let message = format!("{environment} asks for no approval: commits run there without");
            return Err(Problem::new(Reason::Needless, message));
        }
        let commit = self.target().unwrap_or_default();
        if self.state.commit.as_deref() != Some(commit) {
            let head = self.state.commit.as_deref().unwrap_or("not known yet");
            let message = format!(
                "{commit} is not the head of {}, which is {head}: look at that one",
                self.environment.branch
            );
            return Err(Problem::new(Reason::ReleaseMissing, message));
        }
        // A build may get another image until then: what was looked at is this one.
        let digest = self.state.asked.clone().ok_or_else(|| {
            let message =
                format!("the image of commit {commit} is not known yet: see what {environment} waits for");
            Problem::new(Reason::ImageMissing, message)
        })?;
        let message = format!("commit {commit} with image {digest} may run in {environment}");
        let (commit, digest) = (Some(commit.to_owned()), Some(digest));
        let status = ReleaseDecisionStatus { commit, digest, ..Default::default() };
        Ok(said(DecisionState::InForce, message, status))
    }

    fn pass(&self) -> Result<Answer, Problem> {
        let (environment, gates) = (&self.environment.name, &self.environment.proof.gates);
        let gate = self.decision.spec.gate.as_deref().unwrap_or_default();
        if !gates.iter().any(|one| one == gate) {
            let known = if gates.is_empty() { String::new() } else { format!(", only {}", gates.join(", ")) };
            let message = format!("{environment} has no gate {gate:?}{known}");
            return Err(Problem::new(Reason::Invalid, message));
        }
        let service = &self.situation.service.name;
        let name = self.target().or(self.state.current.as_deref());
        let name = name.ok_or_else(|| {
            let message = format!("nothing of {service} runs in {environment}");
            Problem::new(Reason::ReleaseMissing, message)
        })?;
        let past = self.release(name)?;
        let status = ReleaseDecisionStatus {
            release: Some(past.name.clone()),
            digest: Some(past.digest.clone()),
            ..Default::default()
        };
        Ok(said(DecisionState::InForce, format!("{gate} lets {} pass", past.name), status))
    }

    fn reject(&self) -> Result<Answer, Problem> {
        let environment = &self.environment.name;
        if let Some(digest) = self.target().filter(|target| is_digest(target)) {
            let message = format!("no release of {digest} runs in {environment} again");
            let status = ReleaseDecisionStatus { digest: Some(digest.to_owned()), ..Default::default() };
            return Ok(said(DecisionState::InForce, message, status));
        }
        let past = self.meant()?;
        let status = ReleaseDecisionStatus {
            release: Some(past.name.clone()),
            // What a Secret or a runtime brought is rejected alone: the same commit ran well before.
            content_revision: past.content.clone().filter(|_| past.of_git),
            ..Default::default()
        };
        let message = format!("{} never runs in {environment} again", past.name);
        Ok(said(DecisionState::InForce, message, status))
    }

    fn resume(&self) -> Result<Answer, Problem> {
        let (named, environment) = (self.target(), &self.environment.name);
        let told = |held: &Held| format!("the {} of {}", held.action.as_str(), held.by);
        let (over, stays): (Vec<_>, Vec<_>) = self
            .situation
            .standing
            .held()
            .into_iter()
            .partition(|held| named.is_none_or(|name| held.decision == name));
        let words = |all: &[Held]| all.iter().map(told).collect::<Vec<_>>().join(", ");
        // What was ended already, as by the same decision before a crash, is no wrong name.
        let is_known = |name: &str| held_once(self.situation.decisions, (name, environment));
        if let Some(name) = named.filter(|name| over.is_empty() && !stays.is_empty() && !is_known(name)) {
            let does = stays.iter().map(|held| format!("{}, {}", held.decision, told(held)));
            let does = does.collect::<Vec<_>>().join("; ");
            let message = format!("target: {name} does not hold in {environment}; name what does: {does}");
            return Err(Problem::new(Reason::Invalid, message));
        }
        let message = match (over.is_empty(), stays.is_empty()) {
            (true, _) => "nothing was held".to_owned(),
            (false, true) => {
                format!("{environment} goes on with what Git asks for; over: {}", words(&over))
            }
            (false, false) => format!("over: {}; what stays: {}", words(&over), words(&stays)),
        };
        let ends = over.into_iter().map(|held| held.action).collect();
        Ok(Answer { ends, ..said(DecisionState::Done, message, ReleaseDecisionStatus::default()) })
    }

    /// What is tried, or takes the place of what ran.
    fn trial(&self) -> Result<&Trial, Problem> {
        self.state.trial.as_ref().ok_or_else(|| {
            let (service, environment) = (&self.situation.service.name, &self.environment.name);
            needless(format!(
                "nothing of {service} is tried in {environment}; what is on its way otherwise is given up by kubectl imaas rollback {service} {environment}, and kept from coming by kubectl imaas hold {service} {environment}"
            ))
        })
    }

    /// A step of it.
    fn step(&self) -> Result<&Trial, Problem> {
        let trial = self.trial()?;
        if trial.passed >= trial.steps {
            let message = format!("{} has passed its steps and takes the place of what ran", trial.release);
            return Err(needless(message));
        }
        Ok(trial)
    }

    fn pause(&self) -> Result<Answer, Problem> {
        let Trial { release, passed, .. } = self.step()?;
        let message = format!("{release} stays at step {} until `resume`", passed + 1);
        let status = ReleaseDecisionStatus { release: Some(release.clone()), ..Default::default() };
        Ok(said(DecisionState::InForce, message, status))
    }

    fn skip(&self) -> Result<Answer, Problem> {
        let Trial { release, passed, .. } = self.step()?;
        let message = format!(
            "step {} of {release} is over once its instances are ready and nothing is suspected of it",
            passed + 1
        );
        let (release, passed) = (Some(release.clone()), Some(*passed));
        let status = ReleaseDecisionStatus { release, passed, ..Default::default() };
        Ok(said(DecisionState::InForce, message, status))
    }

    fn abort(&self) -> Result<Answer, Problem> {
        let release = &self.trial()?.release;
        let spec = &self.decision.spec;
        let why = format!("{} aborted it: {}", spec.author, spec.reason.as_deref().unwrap_or_default());
        let why = cut(&why, LONGEST);
        let past = self.release(release)?;
        if past.failed.as_ref().is_some_and(|failed| *failed != why) {
            return Err(needless(format!("{release} is given up already")));
        }
        let status = ReleaseDecisionStatus { release: Some(release.clone()), ..Default::default() };
        let done = said(DecisionState::Done, format!("{release} is given up: what ran before stays"), status);
        // Where its answer was lost, it failed before.
        let fails = past.failed.is_none().then(|| (release.clone(), why));
        Ok(Answer { fails, ..done })
    }

    fn rollback(&self) -> Result<Answer, Problem> {
        let (service, environment) = (&self.situation.service.name, &self.environment.name);
        if let Some(Rollback { held, release, .. }) = self.on_its_way().filter(|_| self.target().is_none()) {
            return Err(needless(format!(
                "{release} is already on its way, by {}'s {}: to another, kubectl imaas rollback {service} {environment} --to RELEASE",
                held.by, held.decision
            )));
        }
        let current = self.state.current.as_deref();
        if let Some(tried) = self.tried().filter(|tried| current != Some(*tried))
            && self.target().is_none_or(|target| current == Some(target))
        {
            return Err(needless(format!(
                "{tried} is only tried, and what ran before runs on: to end that, kubectl imaas rollout abort {service} {environment}"
            )));
        }
        let to = self.older()?;
        self.accepted(to)?;
        if self.state.current.as_ref() == Some(&to.name) {
            return Err(needless(format!(
                "{} is what runs in {environment}: to keep it, kubectl imaas hold {service} {environment}",
                to.name
            )));
        }
        if self.asked() == Some(&to.name) {
            return Err(needless(format!(
                "{} is what Git asks for, and no rollback: see why it does not run, kubectl imaas why {service} {environment}",
                to.name
            )));
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
        Ok(said(DecisionState::InForce, message, status))
    }

    /// The rollback that holds, while its release is not yet there and may still be.
    fn on_its_way(&self) -> Option<&Rollback> {
        let Situation { history, standing, .. } = self.situation;
        let EnvironmentState { current, last_good, desired, waiting, .. } = self.state;
        let rollback = standing.rollback.as_ref()?;
        let past = history.named(&rollback.release)?;
        let may_come = past.failed.is_none() && standing.rejects(past).is_none();
        let is_it = |name: &Option<String>| name.as_ref() == Some(&rollback.release);
        let rolls_out = waiting.iter().any(|waiting| waiting.reason == Reason::RollingOut.as_str());
        let is_there = is_it(current) && (is_it(last_good) || *desired == 0) && !rolls_out;
        (may_come && !is_there).then_some(rollback)
    }

    /// Nobody rejected it.
    fn accepted(&self, past: &Past) -> Result<(), Problem> {
        let Some(rejection) = self.situation.standing.rejects(past) else { return Ok(()) };
        let (by, environment, way_out) = (&rejection.by, &self.environment.name, rejection.way_out());
        let message =
            format!("{} was rejected by {by} and never runs in {environment} again: {way_out}", past.name);
        Err(Problem::new(Reason::Rejected, message))
    }

    /// What a rollback goes to: the last good one where something else is on its way, else what ran well before.
    fn older(&self) -> Result<&Past, Problem> {
        if let Some(name) = self.target() {
            let past = self.release(name)?;
            let message = || {
                format!(
                    "{name} never ran well in {}: there is nothing to go back to in it",
                    self.environment.name
                )
            };
            return if past.healthy {
                Ok(past)
            } else {
                Err(Problem::new(Reason::ReleaseMissing, message()))
            };
        }
        let Situation { history, standing, service, .. } = self.situation;
        let EnvironmentState { current, last_good, .. } = self.state;
        let is_good = |past: &&Past| {
            let is_asked = self.asked() == Some(&past.name);
            !is_asked && past.healthy && past.failed.is_none() && standing.rejects(past).is_none()
        };
        let last = last_good.as_ref().filter(|good| current.as_ref() != Some(*good));
        let last = last.and_then(|name| history.named(name)).filter(is_good);
        let before = || {
            let all = history.newest_first(&self.environment.name);
            all.skip_while(|past| Some(&past.name) != current.as_ref()).skip(1).find(is_good)
        };
        last.or_else(before).ok_or_else(|| {
            let environment = &self.environment.name;
            let message = format!("nothing of {} ran well in {environment} before what runs", service.name);
            Problem::new(Reason::ReleaseMissing, message)
        })
    }

    fn retry(&self) -> Result<Answer, Problem> {
        let past = self.meant()?;
        self.accepted(past)?;
        let is_answered_again = past.retried_by.as_deref() == Some(&self.decision.name_any());
        let runs = self.state.current.as_ref() == Some(&past.name);
        let is_well = self.state.waiting.iter().all(is_of_others) && self.state.ready == self.state.desired;
        if !is_answered_again && past.failed.is_none() && past.healthy && runs && is_well {
            return Err(needless(format!("{} runs well: there is nothing to try again", past.name)));
        }
        if !is_answered_again && past.failed.is_none() {
            return Err(needless(format!(
                "{} has not failed: what it waits for says kubectl imaas why {} {}, and what Kubernetes refuses is tried again by itself, now and after 5 minutes at the latest",
                past.name, self.situation.service.name, self.environment.name
            )));
        }
        if !is_answered_again && runs {
            return Err(needless(format!(
                "{} is tried all the time, since there is nothing to go back to: push a fix",
                past.name
            )));
        }
        let status = ReleaseDecisionStatus { release: Some(past.name.clone()), ..Default::default() };
        let done = said(DecisionState::Done, format!("{} is tried again", past.name), status);
        Ok(Answer { tried_again: Some(past.name.clone()), ..done })
    }

    fn run(&self) -> Result<Answer, Problem> {
        let Situation { service, workload, jobs, .. } = self.situation;
        let ValidEnvironment { name: environment, namespace, .. } = self.environment;
        let workload = workload.ok_or_else(|| {
            let message = format!("nothing of {} runs in {environment} yet", service.name);
            Problem::new(Reason::ReleaseMissing, message)
        })?;
        let cron_job = workload.cron_job().ok_or_else(|| {
            let message = format!("{} is no batch in {environment}: it runs all the time", service.name);
            Problem::new(Reason::Invalid, message)
        })?;
        let run = names::run(&service.name, &self.decision.uid().unwrap_or_default());
        let is_alone = !cron_job.spec.as_ref().is_some_and(lets_several);
        // Its own is there where its answer was lost.
        if let Some(other) = under_way(jobs).find(|job| job.name_any() != run).filter(|_| is_alone) {
            let message = format!(
                "{run} is not at its end yet: wait for it, end it by kubectl -n {namespace} delete job {run}, or let several run by `schedule: {{concurrency: allow}}`",
                run = other.name_any()
            );
            return Err(Problem::new(Reason::Progressing, message));
        }
        let message = format!("{run} begins: kubectl -n {namespace} logs -f job/{run}");
        let status = ReleaseDecisionStatus { release: workload.release().cloned(), ..Default::default() };
        Ok(Answer { begins: Some(run), ..said(DecisionState::Done, message, status) })
    }

    fn scale(&self) -> Result<Answer, Problem> {
        let Situation { service, release, tried, quota, .. } = self.situation;
        let (name, spec) = (&self.environment.name, &self.decision.spec);
        let number = spec.replicas.unwrap_or_default();
        let release = release.ok_or_else(|| {
            let message = format!("nothing of {} runs in {name} yet", service.name);
            Problem::new(Reason::ReleaseMissing, message)
        })?;
        if release.spec.type_ == WorkloadType::Batch {
            let message = format!("{} is a batch in {name}: a run is one instance", service.name);
            return Err(Problem::new(Reason::Invalid, message));
        }
        if number > 1 && !release.spec.many {
            let message = format!("{} never runs two at a time in {name}: 1 is the most", service.name);
            return Err(Problem::new(Reason::Invalid, message));
        }
        let hard = quota.and_then(|quota| quota.spec.as_ref()?.hard.as_ref());
        // What is tried needs its share of the number, and each as much more as it is replaced by.
        let mut all = [Some(release), tried].into_iter().flatten();
        let short = hard.and_then(|hard| all.find_map(|one| shortage(one, number.into(), hard)));
        if let Some(Shortage { told, field }) = short {
            let message = format!("{told} {}", self.environment.too_small(field));
            return Err(Problem::new(Reason::QuotaExceeded, message));
        }
        let until = spec.expires_at.as_deref().unwrap_or("`resume`");
        let message = format!(
            "{number} instances of {} run in {name} until {until}, then as many as declared",
            service.name
        );
        Ok(said(DecisionState::InForce, message, ReleaseDecisionStatus::default()))
    }

    fn bypass(&self) -> Result<Answer, Problem> {
        let environment = &self.environment.name;
        let source = self.environment.promotes_from.as_ref().ok_or_else(|| {
            needless(format!("{environment} takes its images from nowhere else: nothing is to be passed by"))
        })?;
        let (what, status) = self.let_in()?;
        // On a branch that both read it lets in the head's settings, too.
        let is_shared = shared_source(self.situation.service, self.environment).is_some();
        let was_proven = |digest: &String| self.situation.history.was_proven_in(source, digest);
        if !is_shared && status.digest.as_ref().is_some_and(was_proven) {
            return Err(needless(format!(
                "{what} was healthy in {source}: nothing is to be passed by; what else it waits for says kubectl imaas why {} {environment}",
                self.situation.service.name
            )));
        }
        let message = format!("{what} runs in {environment} without having been healthy in {source}");
        Ok(said(DecisionState::InForce, message, status))
    }

    /// An image: the one that the branch asks for, where no other is named.
    fn let_in(&self) -> Result<(String, ReleaseDecisionStatus), Problem> {
        let Situation { history, service, .. } = self.situation;
        if let Some(target) = self.target() {
            let of_release = || history.named(target).map(|past| past.digest.clone());
            let digest = if is_digest(target) { Some(target.to_owned()) } else { of_release() };
            let digest = digest.ok_or_else(|| {
                let message = format!("there is no release {target} of {}", service.name);
                Problem::new(Reason::ReleaseMissing, message)
            })?;
            let status = ReleaseDecisionStatus { digest: Some(digest.clone()), ..Default::default() };
            return Ok((format!("image {digest}"), status));
        }
        let ValidEnvironment { name, branch, .. } = self.environment;
        let (Some(commit), Some(build_id)) = (self.state.commit.clone(), self.state.build_id.clone()) else {
            let message = format!("the branch {branch} could not be read yet: see what {name} waits for");
            return Err(Problem::new(Reason::Progressing, message));
        };
        let digest = self.state.asked.clone();
        let what = match &digest {
            Some(digest) => format!("image {digest}"),
            None => format!("the first image that is found for what commit {commit} is built of"),
        };
        let status = ReleaseDecisionStatus {
            build_id: Some(build_id),
            commit: Some(commit),
            digest,
            ..Default::default()
        };
        Ok((what, status))
    }
}

/// It would change nothing.
fn needless(message: String) -> Problem {
    Problem::new(Reason::Needless, message)
}

fn is_digest(target: &str) -> bool {
    target.starts_with("sha256:")
}

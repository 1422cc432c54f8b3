//! How a pass went, in the board that people read. Pure: the caller writes it. Equal input gives an equal status.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Problem,
    course::Course,
    ending::Ending,
    instances::Instances,
    promote::Wanted,
    validate::{ValidEnvironment, no_more},
};
use crate::{
    api::{
        IntegrationServiceStatus, OpenWindow, Release, ReleaseSpec,
        integration_service::{EnvironmentState, Held, Trial, Waiting},
    },
    conditions::{Reason, Wellness, merge},
};

/// Hexadecimal digits that name a commit or an image well enough for a reader.
const SHORT_HASH: usize = 12;

/// What was seen of the release that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Instances of it that are ready.
    pub ready: i32,
    /// Instances of it that should be.
    pub desired: i32,
    /// Ready instances of what ran before.
    pub older: i32,
    /// All instances of this release are ready, and no other is left.
    pub well: bool,
    /// What runs; nothing before that was first seen.
    pub instances: Option<Instances>,
    /// Where it is reached from outside: host and path.
    pub exposed: Option<String>,
    /// What is tried beside it.
    pub trial: Option<Trial>,
    /// Until when it sleeps.
    pub asleep: Option<Timestamp>,
    /// In which window of its own hours it is.
    pub window: Option<OpenWindow>,
    /// Why not.
    pub problems: Vec<Problem>,
}

impl Observation {
    /// Is it on its way?
    pub(super) fn rolls_out(&self) -> bool {
        self.problems.iter().any(|problem| problem.reason == Reason::RollingOut)
    }
}

/// The release that was applied last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its name.
    pub release: String,
    /// Its image.
    pub digest: String,
    /// Which revision of its runtime it was rendered with, if that is known.
    pub runtime_revision: Option<String>,
}

impl Running {
    /// `release`, applied.
    pub fn of(release: &Release) -> Self {
        let ReleaseSpec { digest, runtime_revision, .. } = &release.spec;
        Self {
            release: release.name_any(),
            digest: digest.clone(),
            runtime_revision: runtime_revision.clone(),
        }
    }
}

/// One environment after a pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Which.
    pub environment: ValidEnvironment,
    /// What Git asks for.
    pub wanted: Wanted,
    /// The release that was made of it.
    pub target: Option<String>,
    /// What is applied.
    pub running: Option<Running>,
    /// How that does; nothing when it could not be seen.
    pub observed: Option<Observation>,
    /// What went wrong on the way from `wanted` to `running`.
    pub problems: Vec<Problem>,
    /// What became of that among people's decisions and failures; its problems are among `problems`.
    pub course: Course,
    /// What people decided that holds.
    pub held: Vec<Held>,
}

/// A pass over all environments.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    /// In promotion order.
    pub stages: Vec<Stage>,
    /// Git or the registry could not be asked.
    pub failure: Option<Problem>,
    /// Environments that the platform does not define any more.
    pub gone: Vec<String>,
    /// Environments that are the tenant's no more, in which something of the service is.
    pub left: Vec<String>,
    /// Of the service, and of none of the stages.
    pub problems: Vec<Problem>,
    /// Of what is asked for and stops nothing.
    pub hint: Option<String>,
    /// Git no longer has the service, or its tenant.
    pub ending: Option<Ending>,
}

/// The status that follows from `before` and a pass, or from the problem that prevented one.
pub fn status(
    before: Option<&IntegrationServiceStatus>,
    generation: i64,
    outcome: Result<&Pass, &Problem>,
    now: Timestamp,
) -> IntegrationServiceStatus {
    let old = before.cloned().unwrap_or_default();
    let (environments, wellness) = match outcome {
        Ok(pass) => {
            let environments = environments(pass, &old.environments);
            // Before the first look after a start: what is told stays told.
            let unknown = pass.stages.iter().all(|stage| stage.wanted == Wanted::Unknown);
            let news = pass.failure.is_some()
                || pass.ending.is_some()
                || !pass.problems.is_empty()
                || environments != old.environments;
            if unknown && !news && before.is_some() {
                return old;
            }
            let wellness = wellness(pass, &environments);
            (environments, wellness)
        }
        Err(problem) => (old.environments, told_wellness(vec![problem.clone()])),
    };
    IntegrationServiceStatus {
        observed_generation: Some(generation),
        summary: Some(summary(&environments)).filter(|text| !text.is_empty()),
        conditions: merge(&old.conditions, &wellness.claims(), generation, now),
        environments,
    }
}

fn environments(pass: &Pass, before: &[EnvironmentState]) -> Vec<EnvironmentState> {
    let mut states: Vec<_> = pass
        .stages
        .iter()
        .map(|stage| state(stage, before.iter().find(|state| state.name == stage.environment.name)))
        .collect();
    for before in before.iter().filter(|before| before.current.is_some()) {
        let name = &before.name;
        let problem = if pass.gone.contains(name) {
            Problem::new(Reason::EnvironmentMissing, no_more(name))
        } else if pass.left.contains(name) {
            let message = format!("the tenant is no longer in {name}; what runs there stays as it is");
            Problem::new(Reason::Orphaned, message)
        } else {
            continue;
        };
        let waiting = vec![problem.waiting()];
        states.push(EnvironmentState { candidate: None, waiting, ..before.clone() });
    }
    states
}

/// One environment of the board.
fn state(stage: &Stage, before: Option<&EnvironmentState>) -> EnvironmentState {
    let Stage { environment, wanted, target, running, observed, problems, course, held } = stage;
    let old = before.cloned().unwrap_or_default();
    let well = observed.as_ref().is_some_and(|observed| observed.well);
    let current = running.as_ref().map(|running| running.release.clone());
    // What has no instance is as it should be, and proves nothing.
    let is_proven = observed.as_ref().is_some_and(|observed| observed.well && observed.desired > 0);
    let last_good = if is_proven { current.clone() } else { old.last_good };
    let is_there = |candidate: &String| {
        Some(candidate) == current.as_ref() && (well || Some(candidate) == last_good.as_ref())
    };
    let (commit, build_id, candidate, mut waiting) = match wanted {
        Wanted::Unknown => (old.commit, old.build_id, old.candidate, lasting(old.waiting)),
        Wanted::Nothing { commit, build_id, waiting, asked: _, tags: _ } => {
            let build_id = if commit.is_some() { build_id.clone() } else { old.build_id };
            (commit.clone().or(old.commit), build_id, None, waiting.iter().map(Problem::waiting).collect())
        }
        Wanted::Target(asked) => {
            let resolved = &asked.resolved;
            (Some(resolved.commit.clone()), Some(resolved.build_id.clone()), target.clone(), vec![])
        }
    };
    let asked = match wanted {
        Wanted::Unknown | Wanted::Nothing { commit: None, .. } => old.asked,
        Wanted::Nothing { asked, .. } => asked.clone(),
        Wanted::Target(asked) => Some(asked.digest.clone()),
    };
    let tags = match wanted {
        Wanted::Unknown => old.tags,
        Wanted::Nothing { tags, .. } => tags.clone(),
        Wanted::Target(_) => vec![],
    };
    let seen = observed.iter().flat_map(|observed| &observed.problems);
    for problem in problems.iter().chain(seen).map(Problem::waiting) {
        if !waiting.contains(&problem) {
            waiting.push(problem);
        }
    }
    let seen = observed.as_ref().and_then(|observed| observed.instances.as_ref());
    EnvironmentState {
        name: environment.name.clone(),
        branch: environment.branch.clone(),
        commit,
        build_id,
        asked,
        tags,
        candidate: candidate.filter(|candidate| !is_there(candidate)),
        current,
        last_good,
        attempt: course.attempt,
        failed: course.failed.clone(),
        held: held.clone(),
        asleep_until: match observed {
            Some(observed) => observed.asleep.map(|until| until.to_string()),
            None => old.asleep_until,
        },
        window: observed.as_ref().map_or(old.window, |observed| observed.window.clone()),
        frozen: environment.entry.frozen,
        digest: running.as_ref().map(|running| running.digest.clone()),
        ready: observed.as_ref().map_or(old.ready, |observed| observed.ready),
        desired: observed.as_ref().map_or(old.desired, |observed| observed.desired),
        older: observed.as_ref().map_or(old.older, |observed| observed.older),
        instances: seen.map_or(old.instances, Instances::told),
        more_instances: seen.map_or(old.more_instances, |seen| seen.more),
        exposed: observed.as_ref().map_or(old.exposed, |observed| observed.exposed.clone()),
        trial: observed.as_ref().map_or(old.trial, |observed| observed.trial.clone()),
        waiting,
        reported: old.reported,
    }
}

/// Without what every pass sees anew.
fn lasting(waiting: Vec<Waiting>) -> Vec<Waiting> {
    const SEEN: [Reason; 31] = [
        Reason::Held,
        Reason::Paused,
        Reason::RolledBack,
        Reason::Rejected,
        Reason::Failed,
        Reason::ProviderDown,
        Reason::GatewayMissing,
        Reason::RouteRefused,
        Reason::RouteUnsupported,
        Reason::Orphaned,
        Reason::Retiring,
        Reason::Frozen,
        Reason::ImageNotPulled,
        Reason::Unschedulable,
        Reason::NodeLost,
        Reason::ConfigMissing,
        Reason::EnvironmentMissing,
        Reason::Progressing,
        Reason::AwaitingTurn,
        Reason::TenantNotReady,
        Reason::RollingOut,
        Reason::AwaitingRun,
        Reason::Running,
        Reason::Unhealthy,
        Reason::RuntimeDegraded,
        Reason::NotScaling,
        Reason::QuotaExceeded,
        Reason::ApplyFailed,
        Reason::Forbidden,
        Reason::NamespaceForeign,
        Reason::NamespaceTerminating,
    ];
    waiting
        .into_iter()
        .filter(|waiting| SEEN.iter().all(|reason| reason.as_str() != waiting.reason))
        .collect()
}

/// `dev=ok test=waiting prod=failed`.
fn summary(environments: &[EnvironmentState]) -> String {
    let words: Vec<_> = environments.iter().map(|state| format!("{}={}", state.name, word(state))).collect();
    words.join(" ")
}

const OK: &str = "ok";
const ASLEEP: &str = "asleep";

/// `ok`, `asleep`, `rolling`, `scheduled`, `running`, `waiting`, `held`, `degraded`, `failed`, `orphaned` or `retired`.
fn word(state: &EnvironmentState) -> &'static str {
    let awaits = |reason: Reason| state.waiting.iter().any(|waiting| waiting.reason == reason.as_str());
    if awaits(Reason::Retiring) {
        "retired"
    } else if awaits(Reason::Orphaned) {
        "orphaned"
    } else if awaits(Reason::Unhealthy) || awaits(Reason::Failed) {
        "failed"
    } else if awaits(Reason::RuntimeDegraded) || awaits(Reason::ProviderDown) {
        "degraded"
    } else if [Reason::Held, Reason::Paused, Reason::RolledBack, Reason::Rejected].into_iter().any(awaits) {
        "held"
    } else if state.current.is_none() || state.waiting.iter().any(|waiting| !moves(waiting)) {
        "waiting"
    } else if awaits(Reason::AwaitingRun) {
        "scheduled"
    } else if awaits(Reason::Running) {
        "running"
    } else if state.waiting.is_empty()
        && state.candidate.is_none()
        && (state.current == state.last_good || state.desired == 0)
    {
        // What follows what waits may have some all the same.
        let is_of_window = state.desired == 0 && state.window.as_ref().is_some_and(|window| window.min == 0);
        if state.asleep_until.is_some() || is_of_window { ASLEEP } else { OK }
    } else {
        "rolling"
    }
}

/// It says nothing of the service itself.
pub(super) fn is_of_others(waiting: &Waiting) -> bool {
    waiting.reason == Reason::ProviderDown.as_str()
}

/// It comes to its end by itself.
pub(super) fn moves(waiting: &Waiting) -> bool {
    [Reason::RollingOut, Reason::AwaitingRun, Reason::Running, Reason::Progressing]
        .iter()
        .any(|reason| reason.as_str() == waiting.reason)
}

/// Its branch does not exist and never did: the tenant is just not there yet.
fn is_not_begun(state: &EnvironmentState) -> bool {
    let branch_missing = |waiting: &Waiting| waiting.reason == Reason::BranchMissing.as_str();
    state.current.is_none() && state.commit.is_none() && state.waiting.iter().all(branch_missing)
}

fn wellness(pass: &Pass, environments: &[EnvironmentState]) -> Wellness {
    if let Some(ending) = &pass.ending {
        return told_wellness(vec![ending.problem()]);
    }
    let hint = pass.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    let hinted = |message: String| message + &hint;
    match of_stages(pass, environments) {
        Wellness::Ready(message) => Wellness::Ready(hinted(message)),
        Wellness::Reconciling(reason, message) => Wellness::Reconciling(reason, hinted(message)),
        Wellness::Stalled(reason, message) => Wellness::Stalled(reason, hinted(message)),
    }
}

fn of_stages(pass: &Pass, environments: &[EnvironmentState]) -> Wellness {
    let mut problems: Vec<_> = pass.failure.iter().chain(&pass.problems).cloned().collect();
    let begun = pass.stages.iter().zip(environments).filter(|(_, state)| !is_not_begun(state));
    problems.extend(begun.filter_map(|(stage, state)| first_problem(stage, state)));
    if !problems.is_empty() {
        return told_wellness(problems);
    }
    let well = [("healthy", OK), ("asleep", ASLEEP)].into_iter().filter_map(|(told, wanted)| {
        let names =
            environments.iter().filter(|state| word(state) == wanted).map(|state| state.name.as_str());
        let names: Vec<_> = names.collect();
        (!names.is_empty()).then(|| format!("{told} in {}", names.join(", ")))
    });
    let well: Vec<_> = well.collect();
    if !well.is_empty() {
        return Wellness::Ready(well.join("; "));
    }
    let branches: Vec<_> = environments.iter().map(|state| state.branch.as_str()).collect();
    if pass.stages.iter().any(|stage| stage.wanted == Wanted::Unknown) {
        return Wellness::Reconciling(Reason::Progressing, "the repository is being read".to_owned());
    }
    let message = format!("the repository has none of the branches {}: push one", branches.join(", "));
    Wellness::Reconciling(Reason::BranchMissing, message)
}

/// The one to look at first in this environment, with its name. That the tenant left it is no ailment of the service.
fn first_problem(stage: &Stage, told: &EnvironmentState) -> Option<Problem> {
    let ends = stage.environment.ending.is_some();
    let wanted = match &stage.wanted {
        Wanted::Nothing { waiting, .. } if !ends => waiting.as_slice(),
        Wanted::Nothing { .. } | Wanted::Unknown | Wanted::Target(_) => &[],
    };
    let seen = stage.observed.iter().flat_map(|observed| &observed.problems);
    let first =
        wanted.iter().chain(&stage.problems).chain(seen).min_by_key(|problem| !stalls(problem.reason));
    let on_its_way = || {
        (!ends && ![OK, ASLEEP].contains(&word(told)))
            .then(|| Problem::new(Reason::Progressing, "on its way"))
    };
    let problem = first.cloned().or_else(on_its_way)?;
    Some(Problem::new(problem.reason, format!("{}: {}", told.name, problem.message)))
}

/// What needs a person comes first, else what comes first in promotion order: the rest mostly follows from it.
fn told_wellness(mut problems: Vec<Problem>) -> Wellness {
    problems.sort_by_key(|problem| !stalls(problem.reason));
    let more = match problems.len() {
        0 | 1 => String::new(),
        several => format!(" (+{} more)", several - 1),
    };
    let (reason, message) = match problems.first() {
        None => (Reason::Progressing, String::new()),
        Some(first) => (first.reason, brief(&first.message)),
    };
    let message = message + &more;
    if stalls(reason) { Wellness::Stalled(reason, message) } else { Wellness::Reconciling(reason, message) }
}

/// `text` with short hashes. It is not cut: what helps stands at its end.
pub(super) fn brief(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    let mut hash = 0;
    for character in text.chars() {
        hash = if character.is_ascii_hexdigit() { hash + 1 } else { 0 };
        match hash {
            0..=SHORT_HASH => short.push(character),
            _ if hash == SHORT_HASH + 1 => short.push('…'),
            _ => {}
        }
    }
    short
}

/// Can only a change by a person help?
fn stalls(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Invalid
            | Reason::Orphaned
            | Reason::Retiring
            | Reason::Suspended
            | Reason::CredentialsMissing
            | Reason::AuthenticationFailed
            | Reason::RepositoryNotFound
            | Reason::HostRefused
            | Reason::HostVerificationFailed
            | Reason::RepositoryTooLarge
            | Reason::BranchMissing
            | Reason::DescriptorMissing
            | Reason::InvalidDescriptor
            | Reason::InvalidConfig
            | Reason::RegistryRefused
            | Reason::ImageNotPulled
            | Reason::Unschedulable
            | Reason::SecretMissing
            | Reason::ConfigMissing
            | Reason::ProviderMissing
            | Reason::NotExported
            | Reason::GatewayMissing
            | Reason::RouteRefused
            | Reason::RouteUnsupported
            | Reason::PathTaken
            | Reason::Uncoordinated
            | Reason::RuntimeMissing
            | Reason::EnvironmentMissing
            | Reason::NamespaceForeign
            | Reason::QuotaExceeded
            | Reason::RolledBack
            | Reason::Rejected
            | Reason::Failed
            | Reason::Unhealthy
            | Reason::RuntimeDegraded
            | Reason::NotScaling
            | Reason::ScalerMissing
    )
}

#[cfg(test)]
mod tests;

//! How a pass went, in the board that people read. Pure: the caller writes it. Equal input gives an equal status.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{Problem, promote::Wanted, validate::ValidEnvironment};
use crate::{
    api::{
        IntegrationServiceStatus, Release, ReleaseSpec,
        integration_service::{EnvironmentState, Waiting},
    },
    conditions::{Reason, Wellness, merge},
};

/// Longest message of a condition, in characters: two lines of a terminal. The board has everything.
const LONGEST_TOLD: usize = 160;
/// Hexadecimal digits that name a commit or an image well enough for a reader.
const SHORT_HASH: usize = 12;

/// What was seen of the release that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Instances that are ready.
    pub ready: i32,
    /// Instances that should be.
    pub desired: i32,
    /// All instances of this release are ready, and no other is left.
    pub well: bool,
    /// Why not.
    pub problems: Vec<Problem>,
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
}

/// A pass over all environments.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    /// In promotion order.
    pub stages: Vec<Stage>,
    /// Git or the registry could not be asked.
    pub failure: Option<Problem>,
    /// Git no longer has the service; what to tell.
    pub orphaned: Option<String>,
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
            let news = pass.failure.is_some() || pass.orphaned.is_some() || environments != old.environments;
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
    for gone in before.iter().filter(|state| !pass.stages.iter().any(|s| s.environment.name == state.name)) {
        if gone.current.is_some() {
            let message = format!("the tenant is no longer in {}; what runs there stays as it is", gone.name);
            let waiting = vec![Problem::new(Reason::Orphaned, message).waiting()];
            states.push(EnvironmentState { candidate: None, waiting, ..gone.clone() });
        }
    }
    states
}

/// One environment of the board.
fn state(stage: &Stage, before: Option<&EnvironmentState>) -> EnvironmentState {
    let Stage { environment, wanted, target, running, observed, problems } = stage;
    let old = before.cloned().unwrap_or_default();
    let well = observed.as_ref().is_some_and(|observed| observed.well);
    let current = running.as_ref().map(|running| running.release.clone());
    let last_good = if well { current.clone() } else { old.last_good };
    let (commit, build_id, candidate, mut waiting) = match wanted {
        Wanted::Unknown => (old.commit, old.build_id, old.candidate, lasting(old.waiting)),
        Wanted::Nothing { commit, build_id, waiting } => {
            let build_id = if commit.is_some() { build_id.clone() } else { old.build_id };
            (commit.clone().or(old.commit), build_id, None, waiting.iter().map(Problem::waiting).collect())
        }
        Wanted::Target(asked) => {
            let resolved = &asked.resolved;
            (Some(resolved.commit.clone()), Some(resolved.build_id.clone()), target.clone(), vec![])
        }
    };
    let seen = observed.iter().flat_map(|observed| &observed.problems);
    for problem in problems.iter().chain(seen).map(Problem::waiting) {
        if !waiting.contains(&problem) {
            waiting.push(problem);
        }
    }
    EnvironmentState {
        name: environment.name.clone(),
        branch: environment.branch.clone(),
        commit,
        build_id,
        candidate: candidate.filter(|candidate| Some(candidate) != last_good.as_ref()),
        current,
        last_good,
        digest: running.as_ref().map(|running| running.digest.clone()),
        ready: observed.as_ref().map_or(old.ready, |observed| observed.ready),
        desired: observed.as_ref().map_or(old.desired, |observed| observed.desired),
        waiting,
    }
}

/// Without what every pass sees anew.
fn lasting(waiting: Vec<Waiting>) -> Vec<Waiting> {
    const SEEN: [Reason; 8] = [
        Reason::ConfigMissing,
        Reason::RollingOut,
        Reason::Unhealthy,
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

/// `ok`, `rolling`, `waiting`, `failed` or `orphaned`.
fn word(state: &EnvironmentState) -> &'static str {
    let awaits = |reason: Reason| state.waiting.iter().any(|waiting| waiting.reason == reason.as_str());
    if awaits(Reason::Orphaned) {
        "orphaned"
    } else if awaits(Reason::Unhealthy) {
        "failed"
    } else if state.current.is_none()
        || state.waiting.iter().any(|waiting| waiting.reason != Reason::RollingOut.as_str())
    {
        "waiting"
    } else if state.waiting.is_empty() && state.candidate.is_none() && state.current == state.last_good {
        "ok"
    } else {
        "rolling"
    }
}

/// Its branch does not exist and never did: the tenant is just not there yet.
fn is_not_begun(state: &EnvironmentState) -> bool {
    let branch_missing = |waiting: &Waiting| waiting.reason == Reason::BranchMissing.as_str();
    state.current.is_none() && state.commit.is_none() && state.waiting.iter().all(branch_missing)
}

fn wellness(pass: &Pass, environments: &[EnvironmentState]) -> Wellness {
    if let Some(message) = &pass.orphaned {
        return told_wellness(vec![Problem::new(Reason::Orphaned, message.clone())]);
    }
    let mut problems: Vec<_> = pass.failure.iter().cloned().collect();
    let begun = pass.stages.iter().zip(environments).filter(|(_, state)| !is_not_begun(state));
    problems.extend(begun.filter_map(|(stage, state)| first_problem(stage, state)));
    if !problems.is_empty() {
        return told_wellness(problems);
    }
    let well: Vec<_> =
        environments.iter().filter(|state| word(state) == "ok").map(|s| s.name.as_str()).collect();
    if !well.is_empty() {
        return Wellness::Ready(format!("healthy in {}", well.join(", ")));
    }
    let branches: Vec<_> = environments.iter().map(|state| state.branch.as_str()).collect();
    if pass.stages.iter().any(|stage| stage.wanted == Wanted::Unknown) {
        return Wellness::Reconciling(Reason::Progressing, "the repository is being read".to_owned());
    }
    let message = format!("the repository has none of the branches {}: push one", branches.join(", "));
    Wellness::Reconciling(Reason::BranchMissing, message)
}

/// The one to look at first in this environment, with its name.
fn first_problem(stage: &Stage, told: &EnvironmentState) -> Option<Problem> {
    let wanted = match &stage.wanted {
        Wanted::Nothing { waiting, .. } => waiting.as_slice(),
        Wanted::Unknown | Wanted::Target(_) => &[],
    };
    let seen = stage.observed.iter().flat_map(|observed| &observed.problems);
    let first =
        wanted.iter().chain(&stage.problems).chain(seen).min_by_key(|problem| !stalls(problem.reason));
    let on_its_way = || (word(told) != "ok").then(|| Problem::new(Reason::Progressing, "on its way"));
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
        Some(first) => (first.reason, brief(&first.message, LONGEST_TOLD - more.len())),
    };
    let message = message + &more;
    if stalls(reason) { Wellness::Stalled(reason, message) } else { Wellness::Reconciling(reason, message) }
}

/// `text` with short hashes and at most `room` characters.
fn brief(text: &str, room: usize) -> String {
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
    if short.chars().count() <= room {
        return short;
    }
    let cut: String = short.chars().take(room.saturating_sub(1)).collect();
    // Between two words, unless the last is as long as a line.
    let words = cut.rsplit_once(' ').map(|(words, _)| words).filter(|words| words.len() * 2 > cut.len());
    let words = words.unwrap_or(&cut);
    format!("{}…", words.trim_end_matches([':', ';', ',']))
}

/// Can only a change by a person help?
fn stalls(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Invalid
            | Reason::Orphaned
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
            | Reason::SecretMissing
            | Reason::ConfigMissing
            | Reason::RuntimeMissing
            | Reason::EnvironmentMissing
            | Reason::NamespaceForeign
            | Reason::QuotaExceeded
            | Reason::Unhealthy
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        conditions::{READY, RECONCILING, STALLED, is_true},
        service::{promote::Target, resolve::Resolved},
    };

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn environment(name: &str) -> ValidEnvironment {
        ValidEnvironment {
            name: name.to_owned(),
            namespace: format!("acme-{name}"),
            branch: name.to_owned(),
            promotes_from: None,
        }
    }

    fn asked(commit: char) -> Wanted {
        let resolved = Resolved {
            commit: commit.to_string().repeat(40),
            build_id: "A".to_owned(),
            settings: crate::api::DescriptorSpec::default(),
            config: None,
        };
        Wanted::Target(Box::new(Target { resolved, digest: DIGEST.to_owned() }))
    }

    fn nothing(commit: Option<char>, reason: Reason) -> Wanted {
        let commit = commit.map(|letter| letter.to_string().repeat(40));
        Wanted::Nothing { commit, build_id: None, waiting: vec![Problem::new(reason, "as it says")] }
    }

    fn seen(problem: Option<Reason>) -> Observation {
        let ready = if problem.is_some() { 1 } else { 2 };
        let problems = problem.map(|reason| Problem::new(reason, "1 of 2 new instances are ready"));
        Observation { ready, desired: 2, well: problem.is_none(), problems: problems.into_iter().collect() }
    }

    /// `name` is asked to run `wanted`, and runs `release` as `observed`.
    fn stage(name: &str, wanted: Wanted, release: Option<&str>, observed: Option<Observation>) -> Stage {
        let target = if matches!(wanted, Wanted::Target(_)) { release.map(ToOwned::to_owned) } else { None };
        let running = release.map(|release| Running {
            release: release.to_owned(),
            digest: DIGEST.to_owned(),
            runtime_revision: None,
        });
        Stage { environment: environment(name), wanted, target, running, observed, problems: vec![] }
    }

    fn well(name: &str, release: &str) -> Stage {
        stage(name, asked('1'), Some(release), Some(seen(None)))
    }

    fn passed(before: Option<&IntegrationServiceStatus>, stages: Vec<Stage>) -> IntegrationServiceStatus {
        told(before, &Pass { stages, failure: None, orphaned: None })
    }

    fn told(before: Option<&IntegrationServiceStatus>, pass: &Pass) -> IntegrationServiceStatus {
        status(before, 1, Ok(pass), "2026-01-01T00:00:00Z".parse().unwrap())
    }

    fn ready(status: &IntegrationServiceStatus) -> (bool, String) {
        let condition = status.conditions.iter().find(|condition| condition.type_ == READY).unwrap();
        (condition.status == "True", condition.reason.clone())
    }

    #[test]
    fn a_second_pass_says_the_same() {
        let stages = || {
            let rolling =
                stage("test", asked('2'), Some("orders-test-2"), Some(seen(Some(Reason::RollingOut))));
            vec![
                well("dev", "orders-dev-1"),
                rolling,
                stage("prod", nothing(None, Reason::BranchMissing), None, None),
            ]
        };
        let first = passed(None, stages());
        let pass = Pass { stages: stages(), failure: None, orphaned: None };
        assert_eq!(status(Some(&first), 1, Ok(&pass), "2026-06-01T00:00:00Z".parse().unwrap()), first);
    }

    #[test]
    fn the_board_tells_each_environment_in_a_word() {
        let status = passed(
            None,
            vec![
                well("dev", "orders-dev-1"),
                stage("test", asked('2'), Some("orders-test-2"), Some(seen(Some(Reason::RollingOut)))),
                stage(
                    "prod",
                    nothing(Some('2'), Reason::NotPromoted),
                    Some("orders-prod-0"),
                    Some(seen(None)),
                ),
                stage("dr", asked('2'), Some("orders-dr-2"), Some(seen(Some(Reason::Unhealthy)))),
            ],
        );
        assert_eq!(status.summary.as_deref(), Some("dev=ok test=rolling prod=waiting dr=failed"));
        assert_eq!(ready(&status), (false, "Unhealthy".to_owned()), "what needs a person comes first");
        assert!(is_true(&status.conditions, STALLED));
        let [dev, test, prod, _] = &status.environments[..] else { panic!("four environments") };
        assert_eq!((dev.candidate.as_deref(), dev.last_good.as_deref()), (None, Some("orders-dev-1")));
        assert_eq!((test.candidate.as_deref(), test.last_good.as_deref()), (Some("orders-test-2"), None));
        assert_eq!(
            (prod.current.as_deref(), prod.last_good.as_deref()),
            (Some("orders-prod-0"), Some("orders-prod-0"))
        );
        assert_eq!((prod.candidate.as_deref(), prod.waiting[0].reason.as_str()), (None, "NotPromoted"));
    }

    fn message(status: &IntegrationServiceStatus) -> &str {
        &status.conditions.iter().find(|condition| condition.type_ == READY).unwrap().message
    }

    fn says(name: &str, reason: Reason, message: &str) -> Stage {
        let waiting = vec![Problem::new(reason, message)];
        stage(name, Wanted::Nothing { commit: Some("2".repeat(40)), build_id: None, waiting }, None, None)
    }

    #[test]
    fn the_first_thing_to_do_is_told_and_not_what_follows_from_it() {
        let image = format!(
            "image acme/orders:{} is not in the registry yet: let CI push it under the commit's hash, or commit its digest",
            "4f2a".repeat(10)
        );
        let status = passed(
            None,
            vec![
                says("dev", Reason::ImageMissing, &image),
                says("test", Reason::NotPromoted, "images come here from dev"),
                says("prod", Reason::NotPromoted, "images come here from test"),
            ],
        );
        assert_eq!(
            message(&status),
            "dev: image acme/orders:4f2a4f2a4f2a… is not in the registry yet: let CI push it under the commit's hash, or commit its digest (+2 more)"
        );
        assert_eq!(status.environments[0].waiting[0].message, image, "the board has all of it");
        assert_eq!(status.environments[2].waiting[0].message, "images come here from test");
    }

    #[test]
    fn no_message_is_longer_than_two_lines() {
        let long = "röter ".repeat(60);
        for (stages, ends) in [
            (vec![says("dev", Reason::ImageMissing, &long)], "röter…"),
            (
                vec![says("dev", Reason::ImageMissing, &long), says("test", Reason::NotPromoted, "x")],
                "… (+1 more)",
            ),
            (vec![says("dev", Reason::ImageMissing, &"x".repeat(400))], "xxx…"),
        ] {
            let status = passed(None, stages);
            assert!(message(&status).ends_with(ends), "{}", message(&status));
            assert!(message(&status).chars().count() <= LONGEST_TOLD, "{}", message(&status));
        }
    }

    #[test]
    fn a_failing_version_comes_before_what_merely_waits_and_counts_once() {
        let mut dev = stage(
            "dev",
            nothing(Some('2'), Reason::NotPromoted),
            Some("orders-dev-1"),
            Some(seen(Some(Reason::Unhealthy))),
        );
        dev.problems.push(Problem::new(Reason::ApplyFailed, "refused"));
        let status = passed(None, vec![dev]);
        assert_eq!(ready(&status), (false, "Unhealthy".to_owned()));
        assert_eq!(message(&status), "dev: 1 of 2 new instances are ready");
        assert_eq!(status.environments[0].waiting.len(), 3);
    }

    #[test]
    fn what_nobody_merged_yet_is_not_awaited() {
        let status = passed(
            None,
            vec![
                stage("dev", asked('2'), Some("orders-dev-2"), Some(seen(None))),
                well("test", "orders-test-1"),
                well("prod", "orders-prod-1"),
            ],
        );
        assert_eq!(ready(&status), (true, "Succeeded".to_owned()), "Git asks for the older version there");
        assert_eq!(message(&status), "healthy in dev, test, prod");
        assert!(!is_true(&status.conditions, RECONCILING) && !is_true(&status.conditions, STALLED));
        assert!(
            status.environments.iter().all(|state| state.waiting.is_empty() && state.candidate.is_none())
        );
    }

    #[test]
    fn a_missing_secret_leaves_what_runs_and_stays_told_over_a_restart() {
        let mut waiting = stage("dev", asked('2'), Some("orders-dev-1"), Some(seen(None)));
        waiting.target = None;
        waiting
            .problems
            .push(Problem::new(Reason::SecretMissing, "there is no Secret orders-db in acme-dev"));
        let before = passed(Some(&passed(None, vec![well("dev", "orders-dev-1")])), vec![waiting]);
        let dev = &before.environments[0];
        assert_eq!((dev.candidate.as_deref(), dev.current.as_deref()), (None, Some("orders-dev-1")));
        assert_eq!(
            (before.summary.as_deref(), ready(&before)),
            (Some("dev=waiting"), (false, "SecretMissing".to_owned()))
        );
        let unread = stage("dev", Wanted::Unknown, Some("orders-dev-1"), Some(seen(None)));
        assert_eq!(passed(Some(&before), vec![unread]), before);
    }

    #[test]
    fn a_branch_that_was_never_there_is_no_alarm() {
        let only_dev = vec![
            well("dev", "orders-dev-1"),
            stage("prod", nothing(None, Reason::BranchMissing), None, None),
        ];
        let status = passed(None, only_dev);
        assert_eq!((ready(&status).0, status.summary.as_deref()), (true, Some("dev=ok prod=waiting")));
        let none = passed(None, vec![stage("dev", nothing(None, Reason::BranchMissing), None, None)]);
        assert_eq!(ready(&none), (false, "BranchMissing".to_owned()));
        assert!(is_true(&none.conditions, RECONCILING), "somebody may push it any moment");
    }

    #[test]
    fn a_branch_that_is_gone_leaves_what_runs_and_is_an_alarm() {
        let before = passed(None, vec![well("prod", "orders-prod-1")]);
        let gone =
            stage("prod", nothing(None, Reason::BranchMissing), Some("orders-prod-1"), Some(seen(None)));
        let after = passed(Some(&before), vec![gone]);
        assert_eq!(ready(&after), (false, "BranchMissing".to_owned()));
        assert_eq!(after.environments[0].commit, before.environments[0].commit);
        assert_eq!(after.environments[0].current.as_deref(), Some("orders-prod-1"));
    }

    #[test]
    fn an_invalid_descriptor_leaves_the_running_version_and_says_so() {
        let before = passed(None, vec![well("dev", "orders-dev-1")]);
        let broken = stage(
            "dev",
            nothing(Some('2'), Reason::InvalidDescriptor),
            Some("orders-dev-1"),
            Some(seen(None)),
        );
        let after = passed(Some(&before), vec![broken]);
        let dev = &after.environments[0];
        assert_eq!(
            (dev.current.as_deref(), dev.last_good.as_deref()),
            (Some("orders-dev-1"), Some("orders-dev-1"))
        );
        assert_eq!((dev.commit.clone(), dev.ready), (Some("2".repeat(40)), 2));
        assert_eq!(ready(&after), (false, "InvalidDescriptor".to_owned()));
    }

    #[test]
    fn going_back_makes_the_older_release_current_again() {
        let on = |release: &str, observed| vec![stage("dev", asked('1'), Some(release), Some(observed))];
        let a = passed(None, on("orders-dev-a", seen(None)));
        let b = passed(Some(&a), on("orders-dev-b", seen(None)));
        let back = passed(Some(&b), on("orders-dev-a", seen(Some(Reason::RollingOut))));
        let dev = &back.environments[0];
        assert_eq!(dev.candidate.as_deref(), Some("orders-dev-a"));
        assert_eq!(
            (dev.current.as_deref(), dev.last_good.as_deref()),
            (Some("orders-dev-a"), Some("orders-dev-b"))
        );
        assert_eq!(passed(Some(&back), on("orders-dev-a", seen(None))).environments, a.environments);
    }

    #[test]
    fn a_restart_changes_nothing_before_git_was_read() {
        let before = passed(
            None,
            vec![
                well("dev", "orders-dev-1"),
                stage("test", asked('2'), Some("orders-test-2"), Some(seen(Some(Reason::RollingOut)))),
                stage(
                    "prod",
                    nothing(Some('2'), Reason::NotPromoted),
                    Some("orders-prod-0"),
                    Some(seen(None)),
                ),
            ],
        );
        let unread =
            |name, release, problem| stage(name, Wanted::Unknown, Some(release), Some(seen(problem)));
        let after = vec![
            unread("dev", "orders-dev-1", None),
            unread("test", "orders-test-2", Some(Reason::RollingOut)),
            unread("prod", "orders-prod-0", None),
        ];
        let pass = Pass { stages: after, failure: None, orphaned: None };
        assert_eq!(status(Some(&before), 2, Ok(&pass), "2026-06-01T00:00:00Z".parse().unwrap()), before);
        let healed = vec![
            unread("dev", "orders-dev-1", None),
            unread("test", "orders-test-2", None),
            unread("prod", "orders-prod-0", None),
        ];
        let test = &passed(Some(&before), healed).environments[1];
        assert_eq!((test.candidate.as_deref(), test.last_good.as_deref()), (None, Some("orders-test-2")));
        assert_eq!(test.waiting, vec![], "what is seen anew is told anew");
    }

    #[test]
    fn a_failed_look_is_told_and_leaves_the_board_as_it_is() {
        let before = passed(None, vec![well("dev", "orders-dev-1")]);
        let failure = Problem::new(Reason::AuthenticationFailed, "the server refuses the credentials");
        let stages = vec![well("dev", "orders-dev-1")];
        let after = told(Some(&before), &Pass { stages, failure: Some(failure), orphaned: None });
        assert_eq!(after.environments, before.environments);
        assert_eq!(ready(&after), (false, "AuthenticationFailed".to_owned()));
        assert!(is_true(&after.conditions, STALLED));
    }

    #[test]
    fn what_git_no_longer_has_serves_on_and_is_told() {
        let before = passed(None, vec![well("dev", "orders-dev-1"), well("prod", "orders-prod-1")]);
        let unread = vec![stage("dev", Wanted::Unknown, Some("orders-dev-1"), Some(seen(None)))];
        let orphaned = Some("the tenant file has no such service; it serves on as it is".to_owned());
        let after = told(Some(&before), &Pass { stages: unread, failure: None, orphaned });
        assert_eq!(ready(&after), (false, "Orphaned".to_owned()));
        assert_eq!(after.environments[0], before.environments[0]);
        assert_eq!(after.summary.as_deref(), Some("dev=ok prod=orphaned"), "the tenant left prod");
        assert_eq!(after.environments[1].current.as_deref(), Some("orders-prod-1"));
    }

    #[test]
    fn a_service_that_cannot_be_acted_on_keeps_its_board() {
        let before = passed(None, vec![well("dev", "orders-dev-1")]);
        let problem = Problem::new(Reason::TenantNotReady, "there is no Tenant acme");
        let after = status(Some(&before), 2, Err(&problem), "2026-06-01T00:00:00Z".parse().unwrap());
        assert_eq!((after.environments, after.observed_generation), (before.environments, Some(2)));
        assert!(is_true(&after.conditions, RECONCILING) && !is_true(&after.conditions, READY));
    }
}

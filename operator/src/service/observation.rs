//! What is to be told of the release that runs, as its Deployment and its pods say. Pure.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;

use super::{Problem, status::Observation};
use crate::{
    api::{Release, integration_service::EnvironmentState},
    conditions::Reason,
    release::{Observed, Phase, Trouble},
};

/// `was_good`: it is the last that ran well. `place`: what it runs as, and where.
pub(super) fn observation(
    (seen, trouble): (Observed, Option<Trouble>),
    was_good: bool,
    (deployment, place): (Option<&Deployment>, (Kind, &str)),
) -> Observation {
    let Observed { ready, desired, updated: _, phase } = seen;
    let well = matches!(phase, Phase::Healthy | Phase::Stopped);
    let problems = problems((phase, trouble), (ready, desired, was_good), place);
    let all = deployment.and_then(|deployment| deployment.status.as_ref()?.ready_replicas);
    let older = all.map_or(0, |all| (all - ready).max(0));
    Observation { ready, desired, older, well, problems, ..Observation::default() }
}

/// What a release runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Instances that stay.
    Deployment,
    /// Runs that end.
    Batch,
}

impl Kind {
    pub(super) fn of(release: &Release) -> Self {
        if release.spec.schedule.is_some() { Self::Batch } else { Self::Deployment }
    }
}

/// What [`problems`] says, in some phase.
const TOLD: [Reason; 7] = [
    Reason::RollingOut,
    Reason::Unhealthy,
    Reason::QuotaExceeded,
    Reason::ApplyFailed,
    Reason::ImageNotPulled,
    Reason::Unschedulable,
    Reason::SecretMissing,
];

/// As the board tells of `release` already, while its Deployment is [`Phase::Unread`]; nothing where it tells of another.
pub(super) fn as_before(release: &str, before: Option<&EnvironmentState>) -> Option<Observation> {
    let is_it = |name: Option<&String>| name.is_some_and(|name| name == release);
    let before = before.filter(|before| is_it(before.current.as_ref()))?;
    let told = |reason: Reason| {
        let same = before.waiting.iter().filter(move |waiting| waiting.reason == reason.as_str());
        same.map(move |waiting| Problem::new(reason, &waiting.message))
    };
    let problems: Vec<_> = TOLD.into_iter().flat_map(told).collect();
    let EnvironmentState { ready, desired, older, .. } = *before;
    let well = problems.is_empty() && is_it(before.last_good.as_ref());
    Some(Observation { ready, desired, older, well, problems, ..Observation::default() })
}

/// What is to be told of a release, the cause first.
fn problems(
    (phase, trouble): (Phase, Option<Trouble>),
    (ready, desired, was_good): (i32, i32, bool),
    (kind, namespace): (Kind, &str),
) -> Vec<Problem> {
    let rolling = |why: &str| {
        let message = match (kind, desired) {
            (Kind::Deployment, 0) => "the last instances are ending".to_owned(),
            (Kind::Deployment, _) => format!("{ready} of {desired} new instances are ready{why}"),
            (Kind::Batch, 0) => "the last run is ending".to_owned(),
            (Kind::Batch, _) => "its schedule takes the place of what ran before".to_owned(),
        };
        Problem::new(Reason::RollingOut, message)
    };
    let down =
        |why: &str| Problem::new(Reason::Unhealthy, format!("{ready} of {desired} instances are ready{why}"));
    let is_down = phase == Phase::Down && was_good;
    match (phase, trouble) {
        (Phase::Healthy | Phase::Stopped, _) => vec![],
        (Phase::Blocked { reason, message }, _) => vec![Problem::new(reason, message)],
        (Phase::Scheduled { next }, _) => {
            let next = next.map(|next| format!(", which begins at {next}")).unwrap_or_default();
            vec![first_run(Reason::AwaitingRun, &format!("{next}; `kubectl imaas run` begins one now"))]
        }
        (Phase::FirstRun, Some(Trouble::Loops(why, _) | Trouble::Fails(why))) => {
            vec![first_run(Reason::Running, &format!(", which goes on: {why}"))]
        }
        (Phase::FirstRun, Some(Trouble::Unready(_)) | None) => {
            vec![first_run(Reason::Running, ", which goes on")]
        }
        (Phase::Outlasted { run, since }, Some(Trouble::Unready(_)) | None) => {
            vec![outlasted(&run, since, namespace)]
        }
        (_, Some(Trouble::Blocked(reason, message))) if is_down => {
            vec![Problem::new(reason, message), down("")]
        }
        (_, Some(Trouble::Blocked(reason, message))) => vec![Problem::new(reason, message)],
        (_, Some(Trouble::Loops(why, _) | Trouble::Fails(why) | Trouble::Unready(why))) if is_down => {
            vec![down(&format!(": {why}"))]
        }
        (_, Some(Trouble::Loops(why, _) | Trouble::Fails(why)))
        | (Phase::Failed { .. }, Some(Trouble::Unready(why))) => {
            vec![Problem::new(Reason::Unhealthy, why)]
        }
        (Phase::Failed { message }, None) => vec![Problem::new(Reason::Unhealthy, message)],
        (Phase::Down, None) if is_down => vec![down("")],
        (Phase::Down | Phase::RollingOut | Phase::Unread, Some(Trouble::Unready(why))) => {
            vec![rolling(&format!(": {why}"))]
        }
        (Phase::Down | Phase::RollingOut | Phase::Unread, None) => vec![rolling("")],
    }
}

/// What a batch waits for of which no run has ended. `run`: what is known of the first.
fn first_run(reason: Reason, run: &str) -> Problem {
    Problem::new(reason, format!("it is healthy when its first run ends well{run}"))
}

/// A run for which nothing new begins.
fn outlasted(run: &str, since: Option<Timestamp>, namespace: &str) -> Problem {
    let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
    let message = format!(
        "the run {run} of before goes on{since}, and nothing new begins until it ends; to end it: kubectl -n {namespace} delete job {run}"
    );
    Problem::new(Reason::Running, message)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::DeploymentStatus;

    use super::*;
    use crate::api::integration_service::Waiting;

    fn told(phase: Phase, trouble: Option<Trouble>, was_good: bool) -> Vec<(Reason, String)> {
        told_as(Kind::Deployment, phase, (trouble, 1, was_good))
    }

    fn told_as(
        kind: Kind,
        phase: Phase,
        (trouble, desired, was_good): (Option<Trouble>, i32, bool),
    ) -> Vec<(Reason, String)> {
        let problems = problems((phase, trouble), (0, desired, was_good), (kind, "acme-dev"));
        problems.into_iter().map(|problem| (problem.reason, problem.message)).collect()
    }

    fn one(reason: Reason, message: &str) -> Vec<(Reason, String)> {
        vec![(reason, message.to_owned())]
    }

    #[test]
    fn what_ran_before_is_counted_apart_while_it_serves() {
        let counted = |ready: i32, all: i32| {
            let status = DeploymentStatus { ready_replicas: Some(all), ..DeploymentStatus::default() };
            let deployment = Deployment { status: Some(status), ..Deployment::default() };
            let seen = Observed { ready, desired: 2, updated: 1, phase: Phase::RollingOut };
            let told = observation((seen, None), false, (Some(&deployment), (Kind::Deployment, "acme-dev")));
            (told.ready, told.older)
        };
        assert_eq!(counted(0, 2), (0, 2));
        assert_eq!(counted(1, 2), (1, 1));
        assert_eq!(counted(2, 2), (2, 0));
    }

    #[test]
    fn while_nothing_newer_is_known_the_board_stays_as_it_is() {
        let before = |last_good: &str, reasons: &[&str]| {
            let waiting = |reason: &&str| Waiting { reason: (*reason).to_owned(), message: "so".to_owned() };
            EnvironmentState {
                current: Some("b".to_owned()),
                last_good: Some(last_good.to_owned()),
                ready: 2,
                desired: 3,
                older: 1,
                waiting: reasons.iter().map(waiting).collect(),
                ..EnvironmentState::default()
            }
        };
        let told = |release: &str, before: &EnvironmentState| {
            as_before(release, Some(before)).map(|told| {
                let reasons: Vec<_> = told.problems.iter().map(|problem| problem.reason).collect();
                (told.ready, told.desired, told.older, told.well, reasons)
            })
        };
        assert_eq!(told("b", &before("b", &[])), Some((2, 3, 1, true, vec![])));
        assert_eq!(told("b", &before("b", &["GatewayMissing"])), Some((2, 3, 1, true, vec![])), "told anew");
        let rolls = Some((2, 3, 1, false, vec![Reason::RollingOut]));
        assert_eq!(told("b", &before("a", &["RollingOut"])), rolls);
        assert_eq!(told("b", &before("a", &[])), Some((2, 3, 1, false, vec![])), "it was never well");
        assert_eq!(told("c", &before("b", &[])), None, "that was told of another");
    }

    #[test]
    fn what_went_down_is_told_so_with_its_cause() {
        let crashes = || Some(Trouble::Fails("instance a crashes".to_owned()));
        let full = || Some(Trouble::Blocked(Reason::Unschedulable, "no node".to_owned()));
        assert_eq!(told(Phase::Down, None, true), one(Reason::Unhealthy, "0 of 1 instances are ready"));
        let why = "0 of 1 instances are ready: instance a crashes";
        assert_eq!(told(Phase::Down, crashes(), true), one(Reason::Unhealthy, why));
        let both =
            [one(Reason::Unschedulable, "no node"), one(Reason::Unhealthy, "0 of 1 instances are ready")];
        assert_eq!(told(Phase::Down, full(), true), both.concat());
        let starts = one(Reason::RollingOut, "0 of 1 new instances are ready");
        assert_eq!(told(Phase::Down, None, false), starts, "it went back to it a moment ago");
        assert_eq!(told(Phase::Down, crashes(), false), one(Reason::Unhealthy, "instance a crashes"));
    }

    #[test]
    fn the_first_run_of_a_batch_is_awaited_until_its_last_try_ends() {
        let goes_on = "it is healthy when its first run ends well, which goes on";
        assert_eq!(told(Phase::FirstRun, None, false), one(Reason::Running, goes_on));
        let crashes = Trouble::Fails("instance a crashes".to_owned());
        let why = format!("{goes_on}: instance a crashes");
        assert_eq!(told(Phase::FirstRun, Some(crashes), false), one(Reason::Running, &why));
        let full = Trouble::Blocked(Reason::Unschedulable, "no node".to_owned());
        assert_eq!(told(Phase::FirstRun, Some(full), false), one(Reason::Unschedulable, "no node"));
        let scheduled = |next: Option<&str>| {
            let next = next.map(|next| next.parse().unwrap());
            told(Phase::Scheduled { next }, None, false)
        };
        let (ends, now) =
            ("it is healthy when its first run ends well", "; `kubectl imaas run` begins one now");
        assert_eq!(scheduled(None), one(Reason::AwaitingRun, &format!("{ends}{now}")));
        let begins = format!("{ends}, which begins at 2026-05-01T03:00:00Z{now}");
        assert_eq!(scheduled(Some("2026-05-01T03:00:00Z")), one(Reason::AwaitingRun, &begins));
    }

    #[test]
    fn a_batch_on_its_way_has_no_words_of_instances() {
        let told = |desired| told_as(Kind::Batch, Phase::RollingOut, (None, desired, false));
        assert_eq!(told(1), one(Reason::RollingOut, "its schedule takes the place of what ran before"));
        assert_eq!(told(0), one(Reason::RollingOut, "the last run is ending"));
    }

    #[test]
    fn a_run_of_before_is_told_with_its_name_since_when_and_the_way_out() {
        let outlasted = |since: Option<&str>, trouble: Option<Trouble>| {
            let since = since.map(|since| since.parse().unwrap());
            told(Phase::Outlasted { run: "orders-29".to_owned(), since }, trouble, false)
        };
        let way_out =
            "and nothing new begins until it ends; to end it: kubectl -n acme-dev delete job orders-29";
        let message = format!("the run orders-29 of before goes on since 2026-05-01T03:00:00Z, {way_out}");
        for trouble in [None, Some(Trouble::Unready("instance a is not ready".to_owned()))] {
            assert_eq!(outlasted(Some("2026-05-01T03:00:00Z"), trouble), one(Reason::Running, &message));
        }
        let message = format!("the run orders-29 of before goes on, {way_out}");
        assert_eq!(outlasted(None, None), one(Reason::Running, &message));
        let crashes = Trouble::Fails("instance a crashes".to_owned());
        assert_eq!(outlasted(None, Some(crashes)), one(Reason::Unhealthy, "instance a crashes"));
    }

    #[test]
    fn a_roll_out_that_cannot_end_is_told_before_its_deadline() {
        let failed = || Phase::Failed { message: "look at the pods".to_owned() };
        let unready = || Some(Trouble::Unready("instance a is not ready".to_owned()));
        let full = || Some(Trouble::Blocked(Reason::ImageNotPulled, "no image".to_owned()));
        let rolling = one(Reason::RollingOut, "0 of 1 new instances are ready");
        assert_eq!(told(Phase::RollingOut, None, false), rolling);
        let awaited = one(Reason::RollingOut, "0 of 1 new instances are ready: instance a is not ready");
        assert_eq!(told(Phase::RollingOut, unready(), false), awaited);
        for phase in [Phase::RollingOut, failed()] {
            assert_eq!(told(phase, full(), false), one(Reason::ImageNotPulled, "no image"));
        }
        assert_eq!(told(failed(), unready(), false), one(Reason::Unhealthy, "instance a is not ready"));
        assert_eq!(told(failed(), None, false), one(Reason::Unhealthy, "look at the pods"));
        assert_eq!(told(Phase::Healthy, full(), true), vec![]);
    }
}

//! The board after one pass and the next.

use super::*;
use crate::{
    api::{Retirement, RetirementStage},
    conditions::{LONGEST_PRINTED, READY, RECONCILING, STALLED, is_true},
    sample,
    service::{promote::Target, resolve::Resolved},
};

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn environment(name: &str) -> ValidEnvironment {
    sample::environment(name, None)
}

fn asked(commit: char) -> Wanted {
    let resolved = Resolved {
        commit: commit.to_string().repeat(40),
        build_id: "A".to_owned(),
        settings: crate::api::DescriptorSpec::default(),
        config: None,
        uncoordinated: None,
        places: std::collections::BTreeMap::new(),
    };
    Wanted::Target(Box::new(Target { resolved, digest: DIGEST.to_owned() }))
}

fn nothing(commit: Option<char>, reason: Reason) -> Wanted {
    let commit = commit.map(|letter| letter.to_string().repeat(40));
    Wanted::Nothing {
        commit,
        build_id: None,
        asked: None,
        waiting: vec![Problem::new(reason, "as it says")],
        tags: vec![],
    }
}

fn seen(problem: Option<Reason>) -> Observation {
    let ready = if problem.is_some() { 1 } else { 2 };
    let problems = problem.map(|reason| Problem::new(reason, "1 of 2 new instances are ready"));
    Observation {
        ready,
        desired: 2,
        older: 0,
        well: problem.is_none(),
        instances: None,
        exposed: None,
        trial: None,
        asleep: None,
        window: None,
        problems: problems.into_iter().collect(),
    }
}

/// `name` is asked to run `wanted`, and runs `release` as `observed`.
fn stage(name: &str, wanted: Wanted, release: Option<&str>, observed: Option<Observation>) -> Stage {
    let target = if matches!(wanted, Wanted::Target(_)) { release.map(ToOwned::to_owned) } else { None };
    let running = release.map(|release| Running {
        release: release.to_owned(),
        digest: DIGEST.to_owned(),
        runtime_revision: None,
    });
    let (problems, course, held) = (vec![], Course::default(), vec![]);
    Stage { environment: environment(name), wanted, target, running, observed, problems, course, held }
}

fn well(name: &str, release: &str) -> Stage {
    stage(name, asked('1'), Some(release), Some(seen(None)))
}

/// dev is well, test on its way, prod waits.
fn under_way() -> Vec<Stage> {
    let test = stage("test", asked('2'), Some("orders-test-2"), Some(seen(Some(Reason::RollingOut))));
    let waits = nothing(Some('2'), Reason::NotPromoted);
    vec![well("dev", "orders-dev-1"), test, stage("prod", waits, Some("orders-prod-0"), Some(seen(None)))]
}

fn passed(before: Option<&IntegrationServiceStatus>, stages: Vec<Stage>) -> IntegrationServiceStatus {
    told(before, &pass(stages))
}

fn pass(stages: Vec<Stage>) -> Pass {
    Pass { stages, failure: None, gone: vec![], left: vec![], problems: vec![], hint: None, ending: None }
}

fn told(before: Option<&IntegrationServiceStatus>, pass: &Pass) -> IntegrationServiceStatus {
    status(before, 1, Ok(pass), "2026-01-01T00:00:00Z".parse().unwrap())
}

fn ready(status: &IntegrationServiceStatus) -> (bool, String) {
    let condition = status.conditions.iter().find(|condition| condition.type_ == READY).unwrap();
    (condition.status == "True", condition.reason.clone())
}

#[test]
fn what_sleeps_is_as_it_should_be() {
    let until = "2026-01-02T07:00:00Z".parse().unwrap();
    let asleep = Observation { ready: 0, desired: 0, asleep: Some(until), ..seen(None) };
    let of_dev = stage("dev", asked('1'), Some("orders-dev-1"), Some(asleep));
    let board = passed(None, vec![of_dev, well("test", "orders-test-1")]);
    assert_eq!(board.summary.as_deref(), Some("dev=asleep test=ok"));
    let condition = board.conditions.iter().find(|condition| condition.type_ == READY).unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.message.as_str()),
        ("True", "healthy in test; asleep in dev")
    );
    // By its own hours it sleeps as well.
    let window = Some(OpenWindow { min: 0, until: None });
    let by_itself = Observation { ready: 0, desired: 0, window, ..seen(None) };
    let of_dev = stage("dev", asked('1'), Some("orders-dev-1"), Some(by_itself));
    let board_of_hours = passed(None, vec![of_dev, well("test", "orders-test-1")]);
    assert_eq!(board_of_hours.summary.as_deref(), Some("dev=asleep test=ok"));
    // What waits may have brought some.
    let window = Some(OpenWindow { min: 0, until: None });
    let brought = Observation { ready: 3, desired: 3, window, ..seen(None) };
    let of_dev = stage("dev", asked('1'), Some("orders-dev-1"), Some(brought));
    let board_of_hours = passed(None, vec![of_dev, well("test", "orders-test-1")]);
    assert!(!board_of_hours.summary.unwrap().contains("asleep"));
    let few = Some(OpenWindow { min: 1, until: None });
    let of_dev =
        stage("dev", asked('1'), Some("orders-dev-1"), Some(Observation { window: few, ..seen(None) }));
    assert_eq!(passed(None, vec![of_dev]).environments[0].window.as_ref().map(|window| window.min), Some(1));
    // What is not seen in a pass stays told.
    let unseen =
        vec![stage("dev", Wanted::Unknown, Some("orders-dev-1"), None), well("test", "orders-test-1")];
    assert_eq!(passed(Some(&board), unseen).summary, board.summary);
}

#[test]
fn a_second_pass_says_the_same() {
    let first = passed(None, under_way());
    assert_eq!(
        status(Some(&first), 1, Ok(&pass(under_way())), "2026-06-01T00:00:00Z".parse().unwrap()),
        first
    );
}

#[test]
fn the_board_tells_each_environment_in_a_word() {
    let failing = stage("dr", asked('2'), Some("orders-dr-2"), Some(seen(Some(Reason::Unhealthy))));
    let status = passed(None, under_way().into_iter().chain([failing]).collect());
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
    stage(
        name,
        Wanted::Nothing { commit: Some("2".repeat(40)), build_id: None, asked: None, waiting, tags: vec![] },
        None,
        None,
    )
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
fn only_what_is_printed_in_tables_is_cut_and_what_helps_is_told_to_its_end() {
    let long = format!("{}: merge it", "röter ".repeat(60));
    let status =
        passed(None, vec![says("dev", Reason::ImageMissing, &long), says("test", Reason::NotPromoted, "x")]);
    assert!(message(&status).chars().count() <= LONGEST_PRINTED, "{}", message(&status));
    let whole = format!("dev: {long} (+1 more)");
    assert!(status.conditions.iter().any(|condition| condition.message == whole), "{status:?}");
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
    assert!(status.environments.iter().all(|state| state.waiting.is_empty() && state.candidate.is_none()));
}

#[test]
fn a_missing_secret_leaves_what_runs_and_stays_told_over_a_restart() {
    let mut waiting = stage("dev", asked('2'), Some("orders-dev-1"), Some(seen(None)));
    waiting.target = None;
    waiting.problems.push(Problem::new(Reason::SecretMissing, "there is no Secret orders-db in acme-dev"));
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
    let only_dev =
        vec![well("dev", "orders-dev-1"), stage("prod", nothing(None, Reason::BranchMissing), None, None)];
    let status = passed(None, only_dev);
    assert_eq!((ready(&status).0, status.summary.as_deref()), (true, Some("dev=ok prod=waiting")));
    let none = passed(None, vec![stage("dev", nothing(None, Reason::BranchMissing), None, None)]);
    assert_eq!(ready(&none), (false, "BranchMissing".to_owned()));
    assert!(is_true(&none.conditions, RECONCILING), "somebody may push it any moment");
}

#[test]
fn a_branch_that_is_gone_leaves_what_runs_and_is_an_alarm() {
    let before = passed(None, vec![well("prod", "orders-prod-1")]);
    let gone = stage("prod", nothing(None, Reason::BranchMissing), Some("orders-prod-1"), Some(seen(None)));
    let after = passed(Some(&before), vec![gone]);
    assert_eq!(ready(&after), (false, "BranchMissing".to_owned()));
    assert_eq!(after.environments[0].commit, before.environments[0].commit);
    assert_eq!(after.environments[0].current.as_deref(), Some("orders-prod-1"));
}

#[test]
fn an_invalid_descriptor_leaves_the_running_version_and_says_so() {
    let before = passed(None, vec![well("dev", "orders-dev-1")]);
    let broken =
        stage("dev", nothing(Some('2'), Reason::InvalidDescriptor), Some("orders-dev-1"), Some(seen(None)));
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
    let before = passed(None, under_way());
    let unread = |name, release, problem| stage(name, Wanted::Unknown, Some(release), Some(seen(problem)));
    let after = vec![
        unread("dev", "orders-dev-1", None),
        unread("test", "orders-test-2", Some(Reason::RollingOut)),
        unread("prod", "orders-prod-0", None),
    ];
    assert_eq!(status(Some(&before), 2, Ok(&pass(after)), "2026-06-01T00:00:00Z".parse().unwrap()), before);
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
    let after = told(Some(&before), &Pass { failure: Some(failure), ..pass(stages) });
    assert_eq!(after.environments, before.environments);
    assert_eq!(ready(&after), (false, "AuthenticationFailed".to_owned()));
    assert!(is_true(&after.conditions, STALLED));
}

fn ending(stage: RetirementStage) -> Ending {
    let retirement = Retirement { stage, until: "2026-01-05T00:00:00Z".to_owned() };
    Ending { retirement, message: "until 2026-01-05T00:00:00Z".to_owned() }
}

/// `name` runs `release` on its way out.
fn ended(name: &str, release: &str, how: RetirementStage) -> Stage {
    let at_rest = Observation { well: true, ..Observation::default() };
    let observed = if how == RetirementStage::Retiring { at_rest } else { seen(None) };
    let wanted = Wanted::Nothing {
        commit: None,
        build_id: None,
        asked: None,
        waiting: vec![ending(how).problem()],
        tags: vec![],
    };
    let mut stage = stage(name, wanted, Some(release), Some(observed));
    stage.environment.ending = Some(ending(how));
    stage
}

#[test]
fn what_git_no_longer_has_is_told_with_its_stage_and_is_there_again_after_that() {
    let before = passed(None, vec![well("dev", "orders-dev-1")]);
    for (how, reason, word, desired) in [
        (RetirementStage::Orphaned, "Orphaned", "dev=orphaned", 2),
        (RetirementStage::Retiring, "Retiring", "dev=retired", 0),
    ] {
        let stages = vec![ended("dev", "orders-dev-1", how)];
        let after = told(Some(&before), &Pass { ending: Some(ending(how)), ..pass(stages) });
        assert_eq!(ready(&after), (false, reason.to_owned()));
        assert_eq!(after.summary.as_deref(), Some(word));
        let dev = &after.environments[0];
        assert_eq!((dev.waiting.len(), dev.waiting[0].reason.as_str(), dev.desired), (1, reason, desired));
        assert_eq!((&dev.current, &dev.last_good), (&before.environments[0].current, &dev.current));
        // Undone, and Git is not read yet.
        let back =
            passed(Some(&after), vec![stage("dev", Wanted::Unknown, Some("orders-dev-1"), Some(seen(None)))]);
        assert_eq!(back.environments, before.environments);
    }
}

#[test]
fn that_the_tenant_left_an_environment_is_told_there_and_is_no_ailment() {
    let before = passed(None, vec![well("dev", "orders-dev-1"), well("prod", "orders-prod-1")]);
    for (how, word) in [
        (RetirementStage::Orphaned, "dev=ok prod=orphaned"),
        (RetirementStage::Retiring, "dev=ok prod=retired"),
    ] {
        let after =
            passed(Some(&before), vec![well("dev", "orders-dev-1"), ended("prod", "orders-prod-1", how)]);
        assert_eq!((after.summary.as_deref(), ready(&after).0), (Some(word), true));
    }
    let mut sick = ended("prod", "orders-prod-1", RetirementStage::Orphaned);
    sick.observed = Some(seen(Some(Reason::Unhealthy)));
    let sick = passed(Some(&before), vec![well("dev", "orders-dev-1"), sick]);
    assert_eq!(ready(&sick), (false, "Unhealthy".to_owned()), "as long as it serves it is to be well");

    // No longer the tenant's: forgotten, but for what somebody left there.
    let gone = passed(Some(&before), vec![well("dev", "orders-dev-1")]);
    assert_eq!(gone.summary.as_deref(), Some("dev=ok"));
    let left = told(
        Some(&before),
        &Pass { left: vec!["prod".to_owned()], ..pass(vec![well("dev", "orders-dev-1")]) },
    );
    assert_eq!(left.summary.as_deref(), Some("dev=ok prod=orphaned"));
    assert_eq!(left.environments[1].current.as_deref(), Some("orders-prod-1"));
}

#[test]
fn a_service_that_cannot_be_acted_on_keeps_its_board() {
    let before = passed(None, vec![well("dev", "orders-dev-1")]);
    let problem = Problem::new(Reason::TenantNotReady, "there is no Tenant acme");
    let after = status(Some(&before), 2, Err(&problem), "2026-06-01T00:00:00Z".parse().unwrap());
    assert_eq!((after.environments, after.observed_generation), (before.environments, Some(2)));
    assert!(is_true(&after.conditions, RECONCILING) && !is_true(&after.conditions, READY));
}

#[test]
fn what_has_no_instance_is_as_asked_and_never_the_last_good_one() {
    let none = || Observation { well: true, ..Observation::default() };
    let before = passed(None, vec![well("dev", "orders-dev-1")]);
    let after = passed(Some(&before), vec![stage("dev", asked('2'), Some("orders-dev-2"), Some(none()))]);
    let dev = &after.environments[0];
    assert_eq!(
        (dev.candidate.as_deref(), dev.current.as_deref(), dev.last_good.as_deref()),
        (None, Some("orders-dev-2"), Some("orders-dev-1"))
    );
    assert_eq!((after.summary.as_deref(), ready(&after).0), (Some("dev=ok"), true));
    let first = passed(None, vec![stage("dev", asked('2'), Some("orders-dev-2"), Some(none()))]);
    assert_eq!((first.environments[0].last_good.as_deref(), ready(&first).0), (None, true));
}

#[test]
fn an_environment_that_was_deleted_is_told_and_the_others_go_on() {
    let before = passed(None, vec![well("dev", "orders-dev-1"), well("staging", "orders-staging-1")]);
    let pass = |stage| Pass {
        gone: vec!["staging".to_owned()],
        problems: vec![Problem::new(Reason::EnvironmentMissing, "there is no Environment staging any more")],
        ..pass(vec![stage])
    };
    let after = told(Some(&before), &pass(well("dev", "orders-dev-2")));
    assert_eq!(ready(&after), (false, "EnvironmentMissing".to_owned()));
    assert_eq!(after.summary.as_deref(), Some("dev=ok staging=waiting"));
    assert_eq!(after.environments[0].current.as_deref(), Some("orders-dev-2"));
    assert_eq!(after.environments[1].current.as_deref(), Some("orders-staging-1"));
    assert_eq!(after.environments[1].waiting[0].reason, "EnvironmentMissing");
    // Also before Git was read.
    let unread = stage("dev", Wanted::Unknown, Some("orders-dev-1"), Some(seen(None)));
    assert_eq!(ready(&told(Some(&before), &pass(unread))).1, "EnvironmentMissing");
}

#[test]
fn a_hint_is_told_beside_what_ails_the_service() {
    let hint = Some("beta/stock, which this service uses in dev, is retired".to_owned());
    for reason in [Reason::Unhealthy, Reason::RollingOut] {
        let stages = vec![stage("dev", asked('1'), Some("orders-dev-1"), Some(seen(Some(reason))))];
        let status = told(None, &Pass { hint: hint.clone(), ..pass(stages) });
        assert_eq!(ready(&status), (false, reason.as_str().to_owned()));
        let wanted =
            "dev: 1 of 2 new instances are ready; beta/stock, which this service uses in dev, is retired";
        assert_eq!(message(&status), wanted);
    }
}

#[test]
fn a_hint_is_told_and_stops_nothing() {
    let hint = Some("imaas.yaml: environments.prd: there is no Environment \"prd\"".to_owned());
    let stages = vec![well("dev", "orders-dev-1")];
    let status = told(None, &Pass { hint, ..pass(stages) });
    assert_eq!((ready(&status).0, status.summary.as_deref()), (true, Some("dev=ok")));
    assert!(message(&status).starts_with("healthy in dev; imaas.yaml: environments.prd: "));
}

#[test]
fn a_frozen_environment_is_told_before_anything_waits() {
    let mut prod = well("prod", "orders-prod-1");
    prod.environment.entry.frozen = true;
    let state = super::state(&prod, None);
    assert!(state.frozen && state.waiting.is_empty() && word(&state) == "ok", "{state:?}");
}

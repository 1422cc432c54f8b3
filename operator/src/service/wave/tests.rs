//! prod promotes from test, which promotes from dev.

use super::*;
use crate::{
    api::Release,
    sample::{self, environment},
    service::{attempt, course::Course, promote::Wanted, status::Observation},
};
use jiff::Timestamp;

/// A release of `environment` that asks for `content` and was rendered with `revision` of the runtime.
fn release(environment: &str, content: &str, revision: &str) -> Release {
    let name = format!("orders-{environment}-{content}{revision}");
    let spec = format!(
        "environment: {environment}, cause: Runtime, runtimeRevision: {revision}, contentRevision: {content}"
    );
    sample::release(&name, &spec)
}

/// test, which promotes from dev, runs `running`; `ailment` is what is seen of it.
fn test(running: Option<&Release>, ailment: Option<(Reason, &str)>) -> Stage {
    let problems: Vec<_> = ailment.into_iter().map(|(reason, why)| Problem::new(reason, why)).collect();
    Stage {
        environment: environment("test", Some("dev")),
        wanted: Wanted::Unknown,
        target: None,
        running: running.map(Running::of),
        observed: Some(Observation { well: problems.is_empty(), problems, ..Observation::default() }),
        problems: vec![],
        course: Course::default(),
        held: vec![],
    }
}

/// What the new runtime waits for in prod.
fn in_prod(new: &Release, earlier: &[Stage], healthy: &[&Release]) -> Option<String> {
    let mut history = History::of(healthy.iter().copied());
    for release in healthy {
        history.told(&Running::of(release).release, &attempt::healthy(release, None, Timestamp::UNIX_EPOCH));
    }
    let prod = ValidEnvironment { branch: "prod-branch".to_owned(), ..environment("prod", Some("test")) };
    let problem = awaited(&prod, &new.spec, earlier, &history)?;
    assert_eq!(problem.reason, Reason::NotPromoted);
    Some(problem.message)
}

#[test]
fn a_changed_runtime_waits_until_the_environment_before_runs_well_with_it() {
    let (old, new) = (release("test", "a", "p1"), release("test", "b", "p2"));
    let prod = release("prod", "a", "p2");
    assert_eq!(
        in_prod(&prod, &[test(Some(&old), None)], &[&old]).unwrap(),
        "the runtime camel or the Environment prod was changed, and test does not run with the change yet: see what test waits for, or merge what test runs into prod-branch"
    );
    assert_eq!(in_prod(&prod, &[test(Some(&new), None)], &[&old, &new]), None, "whatever commit test is at");
}

#[test]
fn a_source_that_is_not_healthy_is_told_with_its_reason() {
    let new = release("test", "a", "p2");
    let prod = release("prod", "a", "p2");
    let rolling = test(Some(&new), Some((Reason::RollingOut, "1 of 2 new instances are ready")));
    let told = "the runtime camel or the Environment prod was changed, and test, which runs with the change, is not healthy: ";
    let waits = |stage: &Stage, healthy: &[&Release]| in_prod(&prod, std::slice::from_ref(stage), healthy);
    assert_eq!(waits(&rolling, &[]).unwrap(), format!("{told}1 of 2 new instances are ready"));
    assert_eq!(
        waits(&rolling, &[&new]).unwrap(),
        format!("{told}1 of 2 new instances are ready"),
        "it was healthy, and is no longer"
    );
    assert_eq!(
        waits(&test(Some(&new), None), &[]).unwrap(),
        format!("{told}it has no instance"),
        "a source with no instance proves nothing"
    );
    let mut unseen = Stage { observed: None, ..test(Some(&new), None) };
    unseen.problems.push(Problem::new(Reason::ApplyFailed, "refused"));
    assert_eq!(waits(&unseen, &[&new]).unwrap(), format!("{told}refused"));
}

#[test]
fn a_source_that_runs_nothing_or_is_not_there_is_waited_for() {
    let prod = release("prod", "a", "p2");
    for earlier in [vec![test(None, None)], vec![]] {
        assert!(in_prod(&prod, &earlier, &[]).unwrap().contains("test does not run with the change yet"));
    }
}

#[test]
fn where_nothing_promotes_to_and_for_a_commit_or_merge_nothing_is_awaited() {
    let new = release("dev", "a", "p2").spec;
    assert_eq!(awaited(&environment("dev", None), &new, &[], &History::default()), None);
    let merged = ReleaseSpec { cause: Cause::Promotion, ..release("prod", "b", "p2").spec };
    let prod = environment("prod", Some("test"));
    assert_eq!(awaited(&prod, &merged, &[test(None, None)], &History::default()), None);
}

#[test]
fn the_cause_tells_a_commit_a_merge_a_runtime_and_a_secret_apart() {
    assert_eq!(cause(&environment("dev", None)), Cause::Commit);
    assert_eq!(cause(&environment("prod", Some("test"))), Cause::Promotion);
    let spec = |content: &str, runtime: &str, secrets: Option<&str>| ReleaseSpec {
        secrets_revision: secrets.map(ToOwned::to_owned),
        ..release("prod", content, runtime).spec
    };
    let current = spec("a", "p1", Some("s1"));
    for (new, cause) in [
        (spec("a", "p2", Some("s1")), Some(Cause::Runtime)),
        (spec("a", "p1", Some("s2")), Some(Cause::Secret)),
        (spec("a", "p2", Some("s2")), Some(Cause::Secret)),
        (spec("b", "p2", Some("s1")), None),
        (spec("b", "p1", Some("s2")), None),
    ] {
        assert_eq!(cause_without_git(&new, &current), cause, "{new:?}");
    }
    let unasked = spec("a", "p1", None);
    assert_eq!(cause_without_git(&spec("a", "p2", Some("s1")), &unasked), Some(Cause::Runtime));
    let unknown = ReleaseSpec { content_revision: None, ..unasked };
    let told = cause_without_git(&unknown, &unknown);
    assert_eq!(told, None, "of a release that does not say what it was asked for");
}

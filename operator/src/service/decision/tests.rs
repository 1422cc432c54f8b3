//! What each decision comes to, and what holds then.

use k8s_openapi::{
    api::{
        batch::v1::{CronJob, Job},
        core::v1::ResourceQuota,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::json;

use super::*;
use crate::{
    api::{
        IntegrationServiceStatus, Release,
        integration_service::{EnvironmentState, Trial, Waiting},
    },
    cluster::Workload,
    names, sample,
    service::{history::History, validate::ValidService},
};

const NOW: &str = "2026-01-01T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// In `dev` and `prod`, which promotes from `dev`.
fn service() -> ValidService {
    let mut prod = sample::environment("prod", Some("dev"));
    prod.entry.approval = true;
    prod.proof.gates = vec!["load-test".to_owned()];
    sample::service(vec![sample::environment("dev", None), prod])
}

/// Made at this second, in prod.
fn release(second: u8, healthy: bool, failed: bool) -> Release {
    let spec = format!(
        "environment: prod, commit: c{second}, buildId: b{second}, digest: 'sha256:{second}', contentRevision: content{second}, cause: Promotion"
    );
    let mut release = sample::release(&format!("orders-prod-{second}"), &spec);
    let made = at(&format!("2026-01-01T00:00:{second:02}Z"));
    release.metadata.creation_timestamp = Some(Time(made));
    let is = |type_: &str, yes: bool, message: &str| {
        let status = if yes { "True" } else { "False" };
        json!({ "type": type_, "status": status, "reason": "X", "message": message, "lastTransitionTime": NOW })
    };
    let conditions = [is("Healthy", healthy, "x"), is("Failed", failed, "crashes")];
    release.status = serde_json::from_value(json!({ "conditions": conditions })).unwrap();
    release
}

/// Made at this second.
fn decision(name: &str, second: u8, spec: &str) -> Arc<ReleaseDecision> {
    let text = format!(
        "
        apiVersion: imaas.dev/v1alpha1
        kind: ReleaseDecision
        metadata: {{name: {name}, uid: uid-of-{name}, namespace: acme-home, creationTimestamp: '2026-01-01T10:00:{second:02}Z'}}
        spec: {{service: orders, environment: prod, author: nora, {spec}}}
        "
    );
    Arc::new(serde_saphyr::from_str(&text).unwrap())
}

/// Three ran well in prod, the fourth failed: it is back on the third.
struct World {
    service: ValidService,
    history: History,
    board: IntegrationServiceStatus,
    decisions: Vec<Arc<ReleaseDecision>>,
    workload: Option<Workload>,
    jobs: Vec<Arc<Job>>,
    release: Option<Release>,
    tried: Option<Release>,
    quota: Option<ResourceQuota>,
}

impl World {
    fn new() -> Self {
        let releases = [
            release(1, true, false),
            release(2, true, false),
            release(3, true, false),
            release(4, false, true),
        ];
        let prod = EnvironmentState {
            name: "prod".to_owned(),
            branch: "prod".to_owned(),
            commit: Some("c4".to_owned()),
            build_id: Some("b4".to_owned()),
            candidate: Some("orders-prod-4".to_owned()),
            current: Some("orders-prod-3".to_owned()),
            last_good: Some("orders-prod-3".to_owned()),
            ..EnvironmentState::default()
        };
        let board = IntegrationServiceStatus { environments: vec![prod], ..Default::default() };
        let history = History::of(&releases);
        Self {
            service: service(),
            history,
            board,
            decisions: vec![],
            workload: None,
            jobs: vec![],
            release: None,
            tried: None,
            quota: None,
        }
    }

    fn standing(&self) -> Standing {
        standing(&self.decisions, "prod", at(NOW))
    }

    /// The answer, which is kept.
    fn answer(&mut self, name: &str, second: u8, spec: &str) -> Answer {
        let mut decision = decision(name, second, spec);
        let standing = self.standing();
        let situation = Situation {
            service: &self.service,
            board: Some(&self.board),
            history: &self.history,
            decisions: &self.decisions,
            standing: &standing,
            workload: self.workload.as_ref(),
            jobs: &self.jobs,
            release: self.release.as_ref(),
            tried: self.tried.as_ref(),
            quota: self.quota.as_ref(),
            now: at(NOW),
        };
        let answer = answer(&decision, situation);
        Arc::make_mut(&mut decision).status = Some(answer.status.clone());
        self.decisions.push(decision);
        answer
    }

    fn told(&mut self, spec: &str) -> (DecisionState, String) {
        let answer = self.answer("one", 1, spec);
        (answer.status.state.unwrap(), answer.status.message)
    }
}

#[test]
fn a_decision_that_cannot_be_taken_says_why() {
    for (spec, (word, words)) in [
        (
            "action: rollback, reason: x, target: orders-prod-9",
            ("ReleaseMissing", "no release orders-prod-9 of orders in prod: see kubectl imaas history"),
        ),
        (
            "action: rollback, reason: x, target: orders-prod-4",
            ("ReleaseMissing", "orders-prod-4 never ran well in prod"),
        ),
        (
            "action: rollback, reason: x, target: orders-prod-3",
            ("Needless", "to keep it, kubectl imaas hold orders prod"),
        ),
        ("action: retry, target: orders-prod-2", ("Needless", "orders-prod-2 has not failed")),
        ("action: retry, target: orders-prod-3", ("Needless", "orders-prod-3 runs well")),
        (
            "action: hold, reason: x, expiresAt: '2026-01-01T11:00:00Z'",
            ("Expired", "expiresAt: 2026-01-01T11:00:00Z is past"),
        ),
        (
            "action: hold, reason: x, expiresAt: tomorrow",
            ("Invalid", "expiresAt: \"tomorrow\" is no time before 9999-12-30: write one such as"),
        ),
        (
            "action: hold, reason: x, expiresAt: '9999-12-31T23:59:59Z'",
            ("Invalid", "\"9999-12-31T23:59:59Z\" is no time before 9999-12-30: write one such as"),
        ),
        ("action: bypass, reason: x, target: orders-dev-1", ("ReleaseMissing", "no release orders-dev-1")),
    ] {
        let ReleaseDecisionStatus { state, reason, message, .. } = World::new().answer("one", 1, spec).status;
        assert_eq!((state, reason.as_deref()), (Some(DecisionState::Refused), Some(word)), "{spec}");
        assert!(message.contains(words), "{message}");
    }
    let mut world = World::new();
    let in_dev = Arc::make_mut(&mut decision("one", 1, "action: bypass, reason: x")).clone();
    let mut nowhere = in_dev.clone();
    for (environment, words) in [("dev", "nothing is to be passed by"), ("test", "only in dev, prod")] {
        nowhere.spec.environment = environment.to_owned();
        let (service, standing) = (service(), world.standing());
        let (board, history) = (Some(&world.board), &world.history);
        let (service, standing, workload, jobs) = (&service, &standing, None, &[][..]);
        let (release, tried, quota, now) = (None, None, None, at(NOW));
        let situation = Situation {
            service,
            board,
            history,
            decisions: &[],
            standing,
            workload,
            jobs,
            release,
            tried,
            quota,
            now,
        };
        let answer = answer(&nowhere, situation);
        assert_eq!(answer.status.state, Some(DecisionState::Refused));
        assert!(answer.status.message.contains(words), "{answer:?}");
    }
    world.board.environments[0].current = Some("orders-prod-4".to_owned());
    let (state, message) = world.told("action: retry");
    assert_eq!((state, message.contains("all the time")), (DecisionState::Refused, true), "{message}");
}

#[test]
fn without_a_target_it_is_about_what_git_asks_for_or_what_ran_well_before() {
    let about = |spec: &str| World::new().answer("one", 1, spec).status.release.unwrap();
    assert_eq!(about("action: reject, reason: x"), "orders-prod-4");
    assert_eq!(about("action: retry"), "orders-prod-4");
    assert_eq!(about("action: rollback, reason: x"), "orders-prod-2", "the third runs");
    let mut world = World::new();
    world.board.environments[0].current = Some("orders-prod-4".to_owned());
    let answer = world.answer("one", 1, "action: rollback, reason: x");
    assert_eq!(answer.status.release.as_deref(), Some("orders-prod-3"), "what ran well last");
    world.answer("two", 2, "action: reject, reason: x, target: orders-prod-3");
    let answer = world.answer("three", 3, "action: rollback, reason: x");
    assert_eq!(answer.status.release.as_deref(), Some("orders-prod-2"), "past what is rejected");
    let answer = world.answer("four", 4, "action: rollback, reason: x, target: orders-prod-3");
    let never = "orders-prod-3 was rejected by nora and never runs in prod again: push a commit that changes its image, its descriptor or its configuration";
    assert_eq!(answer.status.message, never);
    let retry = world.answer("five", 5, "action: retry, target: orders-prod-3");
    assert_eq!((retry.status.state, retry.status.message.as_str()), (Some(DecisionState::Refused), never));
}

#[test]
fn a_rollback_goes_no_further_while_another_is_on_its_way_and_never_to_what_git_asks_for() {
    let mut world = World::new();
    let all = [1, 2, 3, 4].map(|second| release(second, true, false));
    world.history = History::of(&all);
    let named = |number: u8| Some(format!("orders-prod-{number}"));
    let runs = |world: &mut World, current, last_good, waiting: Vec<Waiting>| {
        let prod = &mut world.board.environments[0];
        prod.candidate = named(4).filter(|_| current != 4);
        (prod.current, prod.last_good, prod.waiting) = (named(current), named(last_good), waiting);
        prod.desired = 1;
    };
    let rolls_out = || vec![Waiting { reason: "RollingOut".to_owned(), message: String::new() }];
    runs(&mut world, 4, 4, vec![]);
    let back = "action: rollback, reason: x";
    assert_eq!(world.answer("ann", 1, back).status.release, named(3));
    for (current, last_good, waiting) in [(4, 4, vec![]), (3, 4, rolls_out()), (3, 3, rolls_out())] {
        runs(&mut world, current, last_good, waiting);
        let second = world.answer("bob", 2, back).status;
        assert_eq!(
            (second.state, second.reason.as_deref()),
            (Some(DecisionState::Refused), Some("Needless"))
        );
        assert_eq!(
            second.message,
            "orders-prod-3 is already on its way, by nora's ann: to another, kubectl imaas rollback orders prod --to RELEASE"
        );
    }
    runs(&mut world, 3, 4, rolls_out());
    let to_asked = world.answer("bob", 3, "action: rollback, reason: x, target: orders-prod-4").status;
    assert!(to_asked.message.starts_with("orders-prod-4 is what Git asks for"), "{to_asked:?}");
    let mut failed = all.clone();
    failed[2] = release(3, true, true);
    world.history = History::of(&failed);
    assert_eq!(world.answer("bob", 3, back).status.release, named(2), "what failed is not on its way");
    world.decisions.pop();
    world.history = History::of(&all);
    runs(&mut world, 3, 3, vec![]);
    assert_eq!(world.answer("bob", 4, back).status.release, named(2), "it is there: one goes further back");
}

#[test]
fn of_two_holds_of_one_second_the_later_holds_whatever_their_names() {
    let made = |name: &str, version: &str| {
        let mut one = decision(name, 1, "action: hold, reason: x");
        Arc::make_mut(&mut one).metadata.resource_version = Some(version.to_owned());
        one
    };
    let mut both = vec![made("a", "10"), made("b", "9")];
    both.sort_by_key(|one| age(one));
    assert_eq!(both.iter().map(|one| one.name_any()).collect::<Vec<_>>(), ["b", "a"]);
    for one in &mut both {
        let order = order(one);
        let decision = Arc::make_mut(one);
        let state = Some(DecisionState::InForce);
        decision.status = Some(ReleaseDecisionStatus { state, order, ..Default::default() });
    }
    Arc::make_mut(&mut both[0]).metadata.resource_version = Some("12".to_owned());
    assert_eq!(standing(&both, "prod", at(NOW)).hold.unwrap().decision, "a");
    let over = ended(&both, at(NOW));
    assert_eq!((over.len(), over[0].0.as_str(), over[0].1.order), (1, "b", Some(9)));
}

#[test]
fn what_was_healthy_before_needs_no_bypass_but_on_a_shared_branch() {
    let mut in_dev = release(5, true, false);
    in_dev.spec.environment = "dev".to_owned();
    let mut world = World { history: History::of([&in_dev]), ..World::new() };
    world.board.environments[0].asked = Some("sha256:5".to_owned());
    for spec in ["action: bypass, reason: x", "action: bypass, reason: x, target: orders-prod-5"] {
        let (state, told) = world.told(spec);
        assert_eq!(state, DecisionState::Refused);
        assert!(told.starts_with("image sha256:5 was healthy in dev: nothing is to be passed by"), "{told}");
    }
    world.service.environments[0].branch = "prod".to_owned();
    assert_eq!(world.told("action: bypass, reason: x").0, DecisionState::InForce, "with its settings");
}

#[test]
fn a_rejection_is_of_the_content_unless_nobody_committed_it() {
    let mut world = World::new();
    world.answer("one", 1, "action: reject, reason: x");
    let of = |content: &str| Past { content: Some(content.to_owned()), ..Past::default() };
    assert!(world.standing().rejects(&of("content4")).is_some(), "under another Secret");
    assert!(world.standing().rejects(&of("content3")).is_none());

    let mut runtime = release(5, false, false);
    runtime.spec.cause = crate::api::Cause::Runtime;
    runtime.spec.content_revision = Some("content3".to_owned());
    let mut world = World { history: History::of([&runtime]), ..World::new() };
    world.answer("one", 1, "action: reject, reason: x, target: orders-prod-5");
    assert!(world.standing().rejects(&of("content3")).is_none(), "it ran well with the runtime before");
    assert!(world.standing().rejects(world.history.named("orders-prod-5").unwrap()).is_some());

    let digest = format!("sha256:{}", "a".repeat(64));
    world.answer("two", 2, &format!("action: reject, reason: x, target: '{digest}'"));
    assert!(world.standing().rejects(&Past { digest, ..Past::default() }).is_some());
}

#[test]
fn resume_ends_a_hold_and_a_rollback_whatever_came_first_of_it() {
    let mut world = World::new();
    world.answer("one", 1, "action: hold, reason: x");
    world.answer("two", 2, "action: rollback, reason: x");
    assert_eq!(world.standing().held().len(), 2);
    let answer = world.answer("three", 3, "action: resume");
    assert_eq!(
        (answer.ends, answer.status.state),
        (vec![DecisionAction::Hold, DecisionAction::Rollback], Some(DecisionState::Done))
    );
    // A crash came between: there is nothing left to end, and that is no mistake.
    world.decisions.clear();
    let again = world.answer("three", 3, "action: resume");
    assert_eq!((again.ends, again.status.state), (vec![], Some(DecisionState::Done)));
}

#[test]
fn resume_of_one_decision_ends_that_alone() {
    let mut world = World::new();
    world.answer("one", 1, "action: hold, reason: x");
    world.answer("two", 2, "action: rollback, reason: x");
    let answer = world.answer("three", 3, "action: resume, target: one");
    assert_eq!(answer.ends, [DecisionAction::Hold]);
    assert_eq!(answer.status.message, "over: the hold of nora; what stays: the rollback of nora");
    let over = over(&world.decisions[0], "resumed by three");
    Arc::make_mut(&mut world.decisions[0]).status = Some(over);
    let again = world.answer("four", 4, "action: resume, target: one");
    assert_eq!((again.ends, again.status.state), (vec![], Some(DecisionState::Done)), "it is over already");
    assert_eq!(again.status.message, "nothing was held");
}

#[test]
fn resume_of_what_never_held_is_refused_with_what_does() {
    let mut world = World::new();
    let other = world.answer("one", 1, "action: resume, target: other");
    assert_eq!(other.status.state, Some(DecisionState::Done), "nothing holds, as it is meant");
    world.answer("two", 2, "action: hold, reason: x");
    world.answer("three", 3, "action: reject, reason: x, target: orders-prod-2");
    world.answer("four", 4, "action: rollback, reason: x, target: orders-prod-9");
    for (name, second) in [("other", 5), ("three", 6), ("four", 7)] {
        let answer = world.answer(&format!("of-{name}"), second, &format!("action: resume, target: {name}"));
        let ReleaseDecisionStatus { state, reason, message, .. } = answer.status;
        let said = (answer.ends, state, reason.as_deref());
        assert_eq!(said, (vec![], Some(DecisionState::Refused), Some("Invalid")));
        let words = "does not hold in prod; name what does: two, the hold of nora";
        assert_eq!(message, format!("target: {name} {words}"));
    }
    assert!(world.standing().hold.is_some());
}

#[test]
fn a_hold_ends_when_it_expires_and_a_newer_one_takes_its_place() {
    let mut world = World::new();
    world.answer("one", 1, "action: hold, reason: x, expiresAt: '2026-01-01T13:00:00Z'");
    world.answer("two", 2, "action: hold, reason: y");
    assert_eq!(world.standing().hold.unwrap().decision, "two");
    let over = ended(&world.decisions, at(NOW));
    assert_eq!(over.len(), 1);
    assert_eq!((over[0].0.as_str(), over[0].1.message.as_str()), ("one", "over: two took its place"));
    world.decisions.pop();
    assert!(ended(&world.decisions, at(NOW)).is_empty());
    let later = at("2026-01-01T13:00:00Z");
    assert_eq!(ended(&world.decisions, later)[0].1.state, Some(DecisionState::Done));
    assert_eq!(standing(&world.decisions, "prod", later), Standing::default());
    assert_eq!(standing(&world.decisions, "dev", at(NOW)), Standing::default(), "only where it was said");
}

#[test]
fn a_retry_whose_answer_was_lost_is_answered_as_the_first_time() {
    let mut world = World::new();
    let first = world.answer("one", 1, "action: retry");
    assert_eq!(first.tried_again.as_deref(), Some("orders-prod-4"));
    let again = release(4, false, true);
    let status = crate::service::attempt::tried_again(&again, "one", at(NOW));
    world.history.told("orders-prod-4", &status);
    assert_eq!(world.answer("one", 1, "action: retry"), first);
    let other = world.answer("two", 2, "action: retry");
    assert_eq!(other.status.state, Some(DecisionState::Refused), "it has not failed since: {other:?}");
}

#[test]
fn a_batch_runs_on_demand_once_a_decision_and_beside_nothing_unless_it_may() {
    let mut world = World::new();
    let (state, message) = world.told("action: run");
    assert_eq!((state, message.as_str()), (DecisionState::Refused, "nothing of orders runs in prod yet"));
    world.workload = Some(Workload::Deployment(Arc::default()));
    let (state, message) = world.told("action: run");
    assert_eq!((state, message.contains("is no batch in prod")), (DecisionState::Refused, true), "{message}");

    let cron_job = |policy: &str| {
        let annotations = json!({ names::RELEASE: "orders-prod-3" });
        let spec = json!({ "schedule": "", "jobTemplate": {}, "concurrencyPolicy": policy });
        let cron_job: CronJob =
            serde_json::from_value(json!({ "metadata": { "annotations": annotations }, "spec": spec }))
                .unwrap();
        Some(Workload::CronJob(Arc::new(cron_job)))
    };
    let job = |name: &str| -> Arc<Job> {
        Arc::new(serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap())
    };
    world.workload = cron_job("Forbid");
    let first = world.answer("one", 1, "action: run");
    let run = first.begins.clone().unwrap();
    assert_eq!(first.status.state, Some(DecisionState::Done));
    assert_eq!(first.status.release.as_deref(), Some("orders-prod-3"), "what runs, not what Git asks for");
    assert_eq!(first.status.message, format!("{run} begins: kubectl -n acme-prod logs -f job/{run}"));
    world.jobs = vec![job(&run)];
    assert_eq!(world.answer("one", 1, "action: run"), first, "its answer was lost");
    let second = world.answer("two", 2, "action: run");
    assert_eq!((second.status.state, second.begins), (Some(DecisionState::Refused), None));
    assert!(
        second.status.message.starts_with(&format!("{run} is not at its end yet")),
        "{}",
        second.status.message
    );
    world.workload = cron_job("Replace");
    assert_eq!(world.answer("two", 2, "action: run").begins, None);
    world.workload = cron_job("Allow");
    let second = world.answer("two", 2, "action: run").begins.unwrap();
    assert_ne!(second, run);
}

#[test]
fn a_bypass_is_of_one_image_of_the_first_that_comes_where_none_is_known_yet() {
    let mut world = World::new();
    world.answer("one", 1, "action: bypass, reason: x");
    let told = &world.decisions[0].status.as_ref().unwrap().message;
    assert!(told.starts_with("the first image that is found for what commit c4 is built of"), "{told}");
    let expires = "expiresAt: '2026-01-01T13:00:00Z'";
    world.answer("two", 2, &format!("action: bypass, reason: x, target: orders-prod-2, {expires}"));
    assert_eq!(world.standing().bypasses, ["b4", "sha256:2"]);
    assert_eq!(standing(&world.decisions, "prod", at("2026-01-01T13:00:00Z")).bypasses, ["b4"]);

    let bound = |world: &World, environment, found| bound(&world.decisions, environment, found);
    assert_eq!(bound(&world, "prod", ("b3", "sha256:9")), []);
    assert_eq!(bound(&world, "dev", ("b4", "sha256:9")), []);
    let [(name, status)] = &bound(&world, "prod", ("b4", "sha256:4"))[..] else { panic!("not bound") };
    assert_eq!(name, "one");
    Arc::make_mut(&mut world.decisions[0]).status = Some(status.clone());
    assert_eq!(world.standing().bypasses, ["sha256:4", "sha256:2"]);
    assert_eq!(bound(&world, "prod", ("b4", "sha256:5")), [], "once");

    world.board.environments[0].asked = Some("sha256:5".to_owned());
    let (_, told) = world.told("action: bypass, reason: x");
    assert_eq!(told, "image sha256:5 runs in prod without having been healthy in dev");
    assert_eq!(world.standing().bypasses, ["sha256:4", "sha256:5", "sha256:2"]);
}

#[test]
fn an_approval_is_of_the_head_with_the_image_that_it_has() {
    let mut world = World::new();
    let approve = |world: &mut World, target: &str| world.told(&format!("action: approve, target: {target}"));
    let (state, told) = approve(&mut world, "c4");
    assert!(
        state == DecisionState::Refused && told.contains("the image of commit c4 is not known"),
        "{told}"
    );
    world.board.environments[0].asked = Some("sha256:4".to_owned());
    let (state, told) = approve(&mut world, "c3");
    assert!(state == DecisionState::Refused && told.contains("which is c4"), "{told}");
    assert_eq!(approve(&mut world, "c4").0, DecisionState::InForce);
    assert_eq!(world.standing().approved, [("c4".to_owned(), "sha256:4".to_owned())]);
}

#[test]
fn a_gate_lets_pass_the_image_that_runs_and_no_other_gate_is_known() {
    let mut world = World::new();
    let (state, told) = world.told("action: pass, gate: audit");
    assert!(state == DecisionState::Refused && told.contains("only load-test"), "{told}");
    let mut without = World::new();
    without.service.environments[1].proof.gates.clear();
    assert_eq!(without.told("action: pass, gate: audit").1, "prod has no gate \"audit\"");
    assert_eq!(world.told("action: pass, gate: load-test").0, DecisionState::InForce);
    assert_eq!(world.standing().passed, [("load-test".to_owned(), "sha256:3".to_owned())]);
}

#[test]
fn beyond_a_number_one_more_is_refused_and_none_is_forgotten() {
    let mut world = World::new();
    world.answer("first", 0, "action: hold, reason: x");
    for _ in 0..HOLDING {
        assert_eq!(world.told("action: reject, reason: x, target: 'sha256:9'").0, DecisionState::InForce);
    }
    let (state, told) = world.told("action: reject, reason: x, target: 'sha256:9'");
    assert!(
        state == DecisionState::Refused && told.starts_with("200 of them hold in prod already"),
        "{told}"
    );
    assert_eq!(surplus(&world.decisions), Vec::<&Arc<ReleaseDecision>>::new());
    assert!(world.standing().hold.is_some());
}

#[test]
fn of_each_environment_the_newest_that_are_over_are_kept() {
    let over = |environment: &str, second: u8| {
        let mut one = decision("one", second, "action: resume");
        let decision = Arc::make_mut(&mut one);
        decision.spec.environment = environment.to_owned();
        decision.status =
            Some(ReleaseDecisionStatus { state: Some(DecisionState::Done), ..Default::default() });
        one
    };
    let mut all = vec![over("prod", 0)];
    all.extend((0..60).map(|second| over("dev", second)));
    let gone = surplus(&all);
    assert_eq!(gone.len(), 60 - KEPT);
    assert!(gone.iter().all(|one| one.spec.environment == "dev"), "{gone:?}");
    assert_eq!(age(gone[0]).0, Some(at("2026-01-01T10:00:00Z")), "the oldest first");
}

#[test]
fn a_number_by_hand_holds_for_its_time_and_within_what_there_is_room_for() {
    let mut world = World::new();
    let scale = |number: u16| {
        format!("action: scale, replicas: {number}, expiresAt: '2026-01-01T14:00:00Z', reason: sale")
    };
    let refused = |world: &mut World, number: u16| match world.told(&scale(number)) {
        (DecisionState::Refused, why) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&mut world, 8), "nothing of orders runs in prod yet");
    world.release = Some(sample::release("orders-prod-3", "type: batch"));
    assert!(refused(&mut world, 8).contains("a run is one instance"));
    world.release = Some(sample::release("orders-prod-3", "many: false"));
    assert!(refused(&mut world, 2).contains("never runs two at a time in prod"));
    world.release = Some(sample::release("orders-prod-3", ""));
    world.quota = serde_saphyr::from_str("spec: {hard: {pods: '9'}}").ok();
    let why = refused(&mut world, 8);
    assert!(why.contains("need pods 10, more than 9, the quota imaas of acme-prod"), "{why}");
    assert!(why.ends_with("raise `spec.environments.prod.quota.pods` in the tenant file"), "{why}");
    let steps = "strategy: blueGreen, steps: [{weight: 0}, {weight: 100}]";
    world.tried = Some(sample::release("orders-prod-4", steps));
    let why = refused(&mut world, 7);
    assert!(why.contains("need pods 16"), "what is tried is shared by the same number: {why}");
    world.tried = None;
    assert_eq!(world.standing().scale, None);

    let (state, message) = world.told(&scale(7));
    assert_eq!(state, DecisionState::InForce, "{message}");
    assert_eq!(world.standing().scale.map(|(_, number)| number), Some(7));
    assert_eq!(world.standing().held().len(), 1, "the board tells it");
    let after = standing(&world.decisions, "prod", at("2026-01-01T14:00:00Z"));
    assert_eq!((after.scale, standing(&world.decisions, "dev", at(NOW)).scale), (None, None));
    world.answer("two", 2, &scale(0));
    assert_eq!(world.standing().scale.map(|(_, number)| number), Some(0), "the newest");
    let (over, _) = ended(&world.decisions, at(NOW)).pop().unwrap();
    assert_eq!(over, "one");
    assert_eq!(world.answer("three", 3, "action: resume").ends, [DecisionAction::Scale]);
}

/// A release that passed so many of two steps is tried beside what runs.
fn trying(passed: u16) -> World {
    let mut world = World::new();
    world.history = History::of(&[release(3, true, false), release(5, false, false)]);
    let trial = Trial {
        release: "orders-prod-5".to_owned(),
        passed,
        steps: 2,
        weight: 10,
        begun: NOW.to_owned(),
        ..Trial::default()
    };
    world.board.environments[0].trial = Some(trial);
    world
}

#[test]
fn what_is_tried_is_paused_skipped_and_resumed() {
    let mut world = trying(1);
    let paused = world.answer("pause", 1, "action: pause, reason: errors");
    assert_eq!(paused.status.release.as_deref(), Some("orders-prod-5"));
    assert_eq!(paused.status.message, "orders-prod-5 stays at step 2 until `resume`");
    assert_eq!(world.standing().pause.unwrap().release, "orders-prod-5");
    assert_eq!(world.standing().held().len(), 1);
    world.answer("skip", 2, "action: skip");
    let skip = Skip { release: "orders-prod-5".to_owned(), passed: 1 };
    assert_eq!(world.standing().skipped, [skip]);
    let skip = world.decisions.iter().find(|one| one.spec.action == DecisionAction::Skip).unwrap();
    let trial = |passed, release: &str| {
        let trial = &world.board.environments[0].trial;
        Trial { passed, release: release.to_owned(), ..trial.clone().unwrap() }
    };
    let said = |trial: Option<Trial>| tried_no_more(skip, trial.as_ref());
    assert_eq!(said(Some(trial(2, "orders-prod-5"))), "step 2 of orders-prod-5 was passed");
    let in_vain = [None, Some(trial(1, "orders-prod-5")), Some(trial(2, "orders-prod-6"))];
    assert_eq!(in_vain.map(said), ["what it was about is not tried any more"; 3]);
    assert_eq!(world.answer("resume", 3, "action: resume").ends, [DecisionAction::Pause]);
    for action in ["pause", "skip", "abort"] {
        let spec = format!("action: {action}, reason: x");
        let (state, message) = World::new().told(&spec);
        assert_eq!(state, DecisionState::Refused);
        let way_out = "nothing of orders is tried in prod; what is on its way otherwise is given up by kubectl imaas rollback";
        assert!(message.starts_with(way_out), "{message}");
    }
    for action in ["pause", "skip"] {
        let (state, message) = trying(2).told(&format!("action: {action}, reason: x"));
        assert!(state == DecisionState::Refused && message.contains("takes the place"), "{message}");
    }
}

#[test]
fn what_is_only_tried_is_aborted_and_not_rolled_back_and_a_reject_means_it() {
    let mut world = trying(1);
    world.board.environments[0].current = Some("orders-prod-3".to_owned());
    world.board.environments[0].last_good = Some("orders-prod-3".to_owned());
    world.board.environments[0].candidate = None;
    for target in ["", ", target: orders-prod-3"] {
        let (state, message) = world.told(&format!("action: rollback, reason: errors{target}"));
        assert_eq!(state, DecisionState::Refused);
        assert!(message.ends_with("kubectl imaas rollout abort orders prod"), "{message}");
    }
    let rejected = world.answer("reject", 1, "action: reject, reason: errors");
    assert_eq!(rejected.status.release.as_deref(), Some("orders-prod-5"));
}

#[test]
fn what_is_aborted_fails_once_and_says_by_whom() {
    for passed in [0, 2] {
        let mut world = trying(passed);
        let aborted = world.answer("abort", 1, "action: abort, reason: errors");
        let why = "nora aborted it: errors".to_owned();
        assert_eq!(aborted.status.state, Some(DecisionState::Done));
        assert_eq!(aborted.fails, Some(("orders-prod-5".to_owned(), why.clone())));
        // Its answer was lost, and the failure was told.
        world.history.0[1].failed = Some(why);
        let again = world.answer("again", 2, "action: abort, reason: errors");
        assert_eq!((again.status.state, again.fails), (Some(DecisionState::Done), None));
        let (state, _) = world.told("action: abort, reason: other");
        assert_eq!(state, DecisionState::Refused, "it is given up already");
    }
}

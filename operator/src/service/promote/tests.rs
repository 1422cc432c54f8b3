//! Decisions over three environments.

mod ending;
mod forgetting;

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::*;
use crate::{sample, service::history::Past};

const IMAGE_OF_A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const IMAGE_OF_B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn orders(branches: [(&str, &str, Option<&str>); 3]) -> ValidService {
    let environment = |(name, branch, promotes_from): (&str, &str, _)| ValidEnvironment {
        branch: branch.to_owned(),
        ..sample::environment(name, promotes_from)
    };
    sample::service(branches.map(environment).to_vec())
}

fn three() -> ValidService {
    orders([("dev", "dev", None), ("test", "test", Some("dev")), ("prod", "prod", Some("test"))])
}

fn commit(letter: char) -> String {
    letter.to_string().repeat(40)
}

fn environments() -> BTreeSet<String> {
    ["dev", "test", "prod", "dr", "far", "sandbox"].map(ToOwned::to_owned).into()
}

/// A branch whose head is `letter`s, built as `build`, with `more` in its descriptor.
fn head(letter: char, build: &str, more: &str) -> Branch {
    let text =
        format!("apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\nscaling: {{min: 2}}\n{more}");
    let descriptor = crate::yaml::descriptor(text.as_bytes()).unwrap();
    let content = Content {
        build_id: build.to_owned(),
        environments: environments(),
        descriptor,
        ..sample::content(&commit(letter), None)
    };
    Branch::Head { commit: commit(letter), content: Ok(Arc::new(content)) }
}

fn snapshot<const N: usize>(branches: [(&str, Branch); N], tags: &[(char, Tag)]) -> Snapshot {
    Snapshot {
        branches: branches.map(|(name, branch)| (name.to_owned(), branch)).into(),
        builds: BTreeMap::new(),
        tags: tags.iter().map(|(letter, tag)| (commit(*letter), tag.clone())).collect(),
        signed: BTreeMap::new(),
        secrets: BTreeMap::new(),
        failure: None,
    }
}

fn made(second: i64, environment: &str, build: &str, digest: &str, healthy: bool) -> Past {
    Past {
        name: format!("orders-{environment}-{second}"),
        environment: environment.to_owned(),
        build_id: build.to_owned(),
        digest: digest.to_owned(),
        healthy,
        made: Some(Timestamp::from_second(second).unwrap()),
        ..Past::default()
    }
}

/// What each environment is to run: a digest, or why none.
fn decided(service: &ValidService, snapshot: &Snapshot, history: &History) -> Vec<Result<String, Problem>> {
    let settled = Settled::default();
    service.environments.iter().map(|e| one(service, e, snapshot, (history, &settled))).collect()
}

fn one(
    service: &ValidService,
    environment: &ValidEnvironment,
    snapshot: &Snapshot,
    before: (&History, &Settled),
) -> Result<String, Problem> {
    match wanted(service, environment, Some(snapshot), before) {
        Wanted::Target(target) => Ok(target.digest),
        Wanted::Nothing { mut waiting, .. } => Err(waiting.remove(0)),
        Wanted::Unknown => panic!("the snapshot has all branches"),
    }
}

#[test]
fn a_merge_keeps_the_digest_whatever_its_own_commit() {
    let seen = snapshot(
        [("dev", head('1', "A", "")), ("test", head('2', "A", "")), ("prod", head('3', "A", ""))],
        &[],
    );
    let history =
        History(vec![made(1, "dev", "A", IMAGE_OF_A, true), made(2, "test", "A", IMAGE_OF_A, true)]);
    assert_eq!(decided(&three(), &seen, &history), vec![Ok(IMAGE_OF_A.to_owned()); 3]);
}

#[test]
fn the_first_environment_asks_the_registry_and_the_next_wait_for_it() {
    let seen =
        snapshot([("dev", head('1', "A", "")), ("test", head('1', "A", "")), ("prod", Branch::Missing)], &[]);
    assert_eq!(untagged(&three(), &seen), BTreeMap::from([("A".to_owned(), vec![&commit('1')])]));
    let reasons: Vec<_> =
        decided(&three(), &seen, &History::default()).into_iter().map(|d| d.unwrap_err().reason).collect();
    assert_eq!(reasons, [Reason::ImageMissing, Reason::NotPromoted, Reason::BranchMissing]);
    let found = snapshot([("dev", head('1', "A", ""))], &[('1', Tag::Found(IMAGE_OF_A.to_owned()))]);
    let dev = &three().environments[0];
    let before = (&History::default(), &Settled::default());
    assert_eq!(one(&three(), dev, &found, before), Ok(IMAGE_OF_A.to_owned()));
    assert!(untagged(&three(), &found).is_empty(), "the first answer is kept");
}

#[test]
fn what_comes_after_an_environment_that_runs_nothing_points_there() {
    let seen =
        snapshot([("dev", head('1', "A", "")), ("test", head('1', "A", "")), ("prod", Branch::Missing)], &[]);
    let message = |history| decided(&three(), &seen, &history).remove(1).unwrap_err().message;
    assert_eq!(
        message(History::default()),
        "images come here from dev, which has run none yet: see what dev waits for"
    );
    assert_eq!(
        message(History(vec![made(1, "dev", "0", IMAGE_OF_B, true)])),
        format!(
            "an image of commit {} was not healthy in dev yet: merge what dev runs into test, or wait until it is",
            commit('1')
        )
    );
}

#[test]
fn what_runs_no_instance_is_told_to_be_given_one() {
    let asleep = "environments: {dev: {scaling: {min: 0}}}\n";
    let seen = snapshot([("dev", head('1', "A", asleep)), ("test", head('1', "A", asleep))], &[]);
    let history = History(vec![made(1, "dev", "A", IMAGE_OF_A, false)]);
    let not = |service: &ValidService, seen: &Snapshot| {
        one(service, &service.environments[1], seen, (&history, &Settled::default())).unwrap_err().message
    };
    let help = "was not healthy in dev yet, where `scaling.min` is 0: what has no instance proves nothing, raise it there";
    assert_eq!(
        not(&three(), &seen),
        format!("the image registry.example.com/acme/orders@{IMAGE_OF_A} {help}")
    );
    let followed = |max: u8| {
        let trigger = "{broker: a, kafka: {topic: a, group: a, lag: 1}}";
        let dev =
            format!("environments: {{dev: {{scaling: {{min: 0, max: {max}, triggers: [{trigger}]}}}}}}\n");
        not(&three(), &snapshot([("dev", head('1', "A", &dev)), ("test", head('1', "A", &dev))], &[]))
    };
    assert!(
        followed(0).ends_with(help) && !followed(3).contains(help),
        "KEDA brings the first: {}",
        followed(3)
    );
    let shared =
        orders([("dev", "main", None), ("test", "main", Some("dev")), ("prod", "prod", Some("test"))]);
    let seen = snapshot([("main", head('1', "A", asleep))], &[]);
    assert_eq!(not(&shared, &seen), format!("commit {} of main {help}", commit('1')));
}

#[test]
fn what_comes_after_an_environment_that_does_not_exist_says_so() {
    let mut service = three();
    service.environments.remove(1);
    let seen = snapshot([("dev", head('1', "A", "")), ("prod", head('1', "A", ""))], &[]);
    let history = History(vec![made(1, "dev", "A", IMAGE_OF_A, true)]);
    let problem = decided(&service, &seen, &history).remove(1).unwrap_err();
    assert_eq!(problem.reason, Reason::EnvironmentMissing);
    assert!(problem.message.starts_with("there is no Environment \"test\""), "{problem:?}");
    let tried = History(vec![made(1, "test", "A", IMAGE_OF_A, true)]);
    assert_eq!(decided(&service, &seen, &tried)[1], Ok(IMAGE_OF_A.to_owned()), "it was healthy there");
}

#[test]
fn a_missing_image_is_named_with_its_tag() {
    let seen = snapshot([("dev", head('1', "A", ""))], &[('1', Tag::Missing)]);
    let dev = &three().environments[0];
    let problem = one(&three(), dev, &seen, (&History::default(), &Settled::default())).unwrap_err();
    let image = format!("image registry.example.com/acme/orders:{} is not in the registry yet", commit('1'));
    assert!(problem.message.starts_with(&image), "{}", problem.message);
    let refused = Problem::new(Reason::RegistryRefused, "the registry refuses the account");
    let unknown = snapshot([("dev", head('1', "A", ""))], &[('1', Tag::Unknown(refused.clone()))]);
    assert_eq!(one(&three(), dev, &unknown, (&History::default(), &Settled::default())), Err(refused));
}

#[test]
fn a_digest_that_the_registry_does_not_have_is_no_image() {
    let own = format!("image: {{digest: \"{IMAGE_OF_B}\"}}\n");
    let mut seen = snapshot([("dev", head('2', "B", &own)), ("test", head('2', "B", &own))], &[]);
    assert_eq!(named_digests(&three(), &seen), BTreeSet::from([IMAGE_OF_B.to_owned()]));
    let dev = &three().environments[0];
    let decision =
        |seen: &Snapshot, history: &History| one(&three(), dev, seen, (history, &Settled::default()));
    let before = History(vec![made(1, "dev", "A", IMAGE_OF_A, true)]);
    for answer in [None, Some(Tag::Missing)] {
        seen.tags = answer.map(|answer| (IMAGE_OF_B.to_owned(), answer)).into_iter().collect();
        let problem = decision(&seen, &before).unwrap_err();
        assert_eq!(problem.reason, Reason::ImageMissing);
        let image =
            format!("image registry.example.com/acme/orders@{IMAGE_OF_B} is not in the registry yet: ");
        assert!(problem.message.starts_with(&image), "{}", problem.message);
    }
    let unreachable = Problem::new(Reason::RegistryUnreachable, "no answer");
    seen.tags.insert(IMAGE_OF_B.to_owned(), Tag::Unknown(unreachable.clone()));
    assert_eq!(decision(&seen, &before), Err(unreachable));
    let known = History(vec![made(1, "test", "C", IMAGE_OF_B, false)]);
    assert_eq!(decision(&seen, &known), Ok(IMAGE_OF_B.to_owned()), "a release of it was made before");
}

#[test]
fn moving_a_tag_changes_nothing() {
    let seen = snapshot([("dev", head('1', "A", ""))], &[('1', Tag::Found(IMAGE_OF_B.to_owned()))]);
    let history = History(vec![made(1, "dev", "A", IMAGE_OF_A, false)]);
    let dev = &three().environments[0];
    assert_eq!(one(&three(), dev, &seen, (&history, &Settled::default())), Ok(IMAGE_OF_A.to_owned()));
}

#[test]
fn without_its_digest_in_the_descriptor_a_build_stays_what_it_is() {
    let seen = snapshot([("dev", head('3', "A", ""))], &[]);
    let dev = &three().environments[0];
    let mut history =
        History(vec![made(1, "dev", "A", IMAGE_OF_A, true), made(2, "dev", "A", IMAGE_OF_B, true)]);
    let decision = |history: &History| one(&three(), dev, &seen, (history, &Settled::default())).unwrap();
    assert_eq!(decision(&history), IMAGE_OF_B, "the newest");
    history.runs("orders-dev-1");
    assert_eq!(decision(&history), IMAGE_OF_A, "it had gone back to it");
}

#[test]
fn another_image_of_the_build_elsewhere_moves_nothing_here() {
    let service = orders([("dev", "dev", None), ("test", "test", Some("dev")), ("sandbox", "sandbox", None)]);
    let own = format!("image: {{digest: \"{IMAGE_OF_B}\"}}\n");
    let seen = snapshot(
        [("dev", head('2', "A", &own)), ("test", head('1', "A", "")), ("sandbox", head('1', "A", ""))],
        &[],
    );
    let mut history = History(vec![
        made(1, "dev", "A", IMAGE_OF_A, true),
        made(2, "test", "A", IMAGE_OF_A, true),
        made(3, "sandbox", "A", IMAGE_OF_A, true),
        made(4, "dev", "A", IMAGE_OF_B, true),
    ]);
    for name in ["orders-test-2", "orders-sandbox-3", "orders-dev-4"] {
        history.runs(name);
    }
    let [b, a, also_a] = [IMAGE_OF_B, IMAGE_OF_A, IMAGE_OF_A].map(|digest| Ok(digest.to_owned()));
    assert_eq!(decided(&service, &seen, &history), [b, a, also_a]);
}

#[test]
fn a_hotfix_on_prod_waits_and_says_the_way_out() {
    let seen = snapshot(
        [("dev", head('1', "A", "")), ("test", head('1', "A", "")), ("prod", head('9', "H", ""))],
        &[],
    );
    let history =
        History(vec![made(1, "dev", "A", IMAGE_OF_A, true), made(2, "test", "A", IMAGE_OF_A, true)]);
    let decisions = decided(&three(), &seen, &history);
    assert!(decisions[0].is_ok() && decisions[1].is_ok());
    let problem = decisions[2].as_ref().unwrap_err();
    assert_eq!(problem.reason, Reason::NotPromoted);
    let told = format!(
        "commit {} was not healthy in test, and its branch test has other files, so it will not be by waiting: merge the commit into test, which tries it in test first, or merge test into prod; to let it in as it is: kubectl imaas bypass orders prod",
        commit('9')
    );
    assert_eq!(problem.message, told);
    assert!(!untagged(&three(), &seen).contains_key("H"), "prod never takes its image from the registry");
}

#[test]
fn what_people_let_in_is_one_image_and_not_the_next_of_the_same_files() {
    let seen = snapshot([("prod", head('9', "H", ""))], &[('9', Tag::Found(IMAGE_OF_A.to_owned()))]);
    let prod = |bypass: &str, history: &History| {
        let mut service = three();
        service.environments[2].bypasses = vec![bypass.to_owned()];
        let prod = &service.environments[2];
        match wanted(&service, prod, Some(&seen), (history, &Settled::default())) {
            Wanted::Target(target) => Ok(target.digest),
            Wanted::Nothing { asked, waiting, .. } => Err((asked, waiting[0].reason)),
            Wanted::Unknown => panic!("the snapshot has it"),
        }
    };
    let image = |digest: &str| digest.to_owned();
    for bypass in [IMAGE_OF_A, "H"] {
        assert_eq!(prod(bypass, &History::default()), Ok(image(IMAGE_OF_A)), "{bypass}");
    }
    let later = History(vec![made(1, "dev", "H", IMAGE_OF_B, true)]);
    let waits = Err((Some(image(IMAGE_OF_B)), Reason::NotPromoted));
    assert_eq!(prod(IMAGE_OF_A, &later), waits, "and it is told which is asked for");
    assert_eq!(prod(IMAGE_OF_B, &later), Ok(image(IMAGE_OF_B)));
    assert_eq!(prod("G", &History::default()), Err((None, Reason::NotPromoted)));
}

#[test]
fn healthy_in_dev_is_not_healthy_in_test() {
    let seen = snapshot(
        [("dev", head('1', "A", "")), ("test", head('1', "A", "")), ("prod", head('1', "A", ""))],
        &[],
    );
    let history =
        History(vec![made(1, "dev", "A", IMAGE_OF_A, true), made(2, "test", "A", IMAGE_OF_A, false)]);
    let decisions = decided(&three(), &seen, &history);
    assert!(decisions[1].is_ok());
    let problem = decisions[2].as_ref().unwrap_err();
    assert!(problem.message.contains(IMAGE_OF_A), "{}", problem.message);
}

#[test]
fn an_omitted_environment_passes_its_place_along() {
    let service = orders([("dev", "dev", None), ("prod", "prod", Some("dev")), ("dr", "dr", Some("prod"))]);
    let seen =
        snapshot([("dev", head('1', "A", "")), ("prod", head('2', "A", "")), ("dr", Branch::Missing)], &[]);
    let history = History(vec![made(1, "dev", "A", IMAGE_OF_A, true)]);
    assert_eq!(decided(&service, &seen, &history)[1], Ok(IMAGE_OF_A.to_owned()));
    let alone = orders([("prod", "prod", None), ("dr", "dr", Some("prod")), ("far", "far", Some("dr"))]);
    assert!(untagged(&alone, &seen)["A"].contains(&&commit('2')), "none left: like the first");
}

#[test]
fn two_environments_on_one_branch_go_one_after_the_other() {
    let service = orders([("dev", "main", None), ("prod", "main", Some("dev")), ("dr", "dr", Some("prod"))]);
    let seen = snapshot([("main", head('2', "B", ""))], &[('2', Tag::Found(IMAGE_OF_B.to_owned()))]);
    let (dev, prod) = (&service.environments[0], &service.environments[1]);
    let mut history =
        History(vec![made(1, "dev", "A", IMAGE_OF_A, true), made(2, "prod", "A", IMAGE_OF_A, true)]);
    let mut settled = Settled::default();
    assert_eq!(one(&service, dev, &seen, (&history, &settled)), Ok(IMAGE_OF_B.to_owned()));
    let problem = one(&service, prod, &seen, (&history, &settled)).unwrap_err();
    assert_eq!(problem.reason, Reason::NotPromoted);
    history.0.push(made(3, "dev", "B", IMAGE_OF_B, true));
    settled.add(&service, "dev", &commit('2'), &seen);
    assert_eq!(one(&service, prod, &seen, (&history, &settled)), Ok(IMAGE_OF_B.to_owned()));
}

#[test]
fn on_a_shared_branch_prod_follows_what_was_last_healthy_however_fast_the_head_moves() {
    let service =
        orders([("dev", "main", None), ("prod", "main", Some("dev")), ("dr", "main", Some("prod"))]);
    let history =
        History(vec![made(1, "dev", "A", IMAGE_OF_A, true), made(2, "prod", "A", IMAGE_OF_A, true)]);
    let old = snapshot([("main", head('1', "A", "env: {MODE: old}\n"))], &[]);
    let mut settled = Settled::default();
    settled.add(&service, "dev", &commit('1'), &old);
    let broken = Err(Problem::new(Reason::InvalidDescriptor, "imaas.yaml:3:1: typ: unknown field"));
    for head in [
        head('2', "B", "env: {MODE: new}\n"),
        head('3', "A", "env: {MODE: new}\n"),
        Branch::Head { commit: commit('4'), content: broken },
    ] {
        let seen = snapshot([("main", head)], &[]);
        let Wanted::Target(prod) =
            wanted(&service, &service.environments[1], Some(&seen), (&history, &settled))
        else {
            panic!("it was healthy")
        };
        assert_eq!((prod.resolved.commit, prod.digest), (commit('1'), IMAGE_OF_A.to_owned()));
        assert_eq!(prod.resolved.settings.env["MODE"], "old", "settings and image go together");
        // And on: what prod runs of an older commit is what dr follows.
        let mut further = settled.clone();
        further.add(&service, "prod", &commit('1'), &seen);
        let dr = one(&service, &service.environments[2], &seen, (&history, &further));
        assert_eq!(dr, Ok(IMAGE_OF_A.to_owned()));
    }
    let mut none = Settled::default();
    none.add(&three(), "dev", &commit('1'), &old);
    assert_eq!(none, Settled::default(), "nothing is kept for a service with a branch an environment");
}

#[test]
fn on_a_shared_branch_it_is_told_what_the_environment_before_waits_for() {
    let service = orders([("dev", "main", None), ("prod", "main", Some("dev")), ("dr", "dr", Some("prod"))]);
    let seen = snapshot([("main", head('1', "A", ""))], &[]);
    let mut history = History(vec![made(1, "dev", "A", IMAGE_OF_A, true)]);
    history.0[0].unproven = Some("it waits for the gate load-test".to_owned());
    let told = |history: &History| {
        let before = (history, &Settled::default());
        one(&service, &service.environments[1], &seen, before).unwrap_err().message
    };
    let begins = format!("commit {} of main does not count as healthy in dev yet", commit('1'));
    let wanted = |why: &str| format!("{begins}, which reads the same branch: {why}");
    assert_eq!(told(&history), wanted("wait until it does"));
    history.runs("orders-dev-1");
    assert_eq!(told(&history), wanted("it waits for the gate load-test"));
}

#[test]
fn new_settings_alone_wait_for_their_turn_on_a_shared_branch() {
    let service = orders([("dev", "main", None), ("prod", "main", Some("dev")), ("dr", "dr", Some("prod"))]);
    let seen = snapshot([("main", head('2', "A", "env: {MODE: new}\n"))], &[]);
    let history = History(vec![made(1, "dev", "A", IMAGE_OF_A, true)]);
    let before = (&history, &Settled::default());
    assert!(one(&service, &service.environments[1], &seen, before).is_err());
}

#[test]
fn a_committed_digest_wins_and_is_promoted_like_any_other() {
    let own = format!("image: {{digest: \"{IMAGE_OF_B}\"}}\n");
    let mut seen = snapshot(
        [("dev", head('2', "A", &own)), ("test", head('2', "A", &own)), ("prod", Branch::Missing)],
        &[],
    );
    seen.tags.insert(IMAGE_OF_B.to_owned(), Tag::Found(IMAGE_OF_B.to_owned()));
    let mut history = History(vec![made(1, "dev", "A", IMAGE_OF_A, true)]);
    let decisions = decided(&three(), &seen, &history);
    assert_eq!(decisions[0], Ok(IMAGE_OF_B.to_owned()));
    assert_eq!(decisions[1].as_ref().unwrap_err().reason, Reason::NotPromoted);
    history.0.push(made(2, "dev", "A", IMAGE_OF_B, true));
    assert_eq!(decided(&three(), &seen, &history)[1], Ok(IMAGE_OF_B.to_owned()));
}

#[test]
fn what_cannot_be_read_asks_for_nothing_and_says_why() {
    let broken = Problem::new(Reason::InvalidDescriptor, "imaas.yaml:3:1: typ: unknown field");
    let branch = Branch::Head { commit: commit('2'), content: Err(broken.clone()) };
    let seen = snapshot([("dev", branch)], &[]);
    let history = History(vec![made(1, "dev", "A", IMAGE_OF_A, true)]);
    let service = three();
    let dev = wanted(&service, &service.environments[0], Some(&seen), (&history, &Settled::default()));
    assert_eq!(
        dev,
        Wanted::Nothing {
            commit: Some(commit('2')),
            build_id: None,
            asked: None,
            waiting: vec![broken],
            tags: vec![]
        }
    );
    let unread = wanted(&service, &service.environments[1], Some(&seen), (&history, &Settled::default()));
    assert_eq!(unread, Wanted::Unknown, "a branch that was not read is not a branch that is missing");
    assert_eq!(
        wanted(&service, &service.environments[0], None, (&history, &Settled::default())),
        Wanted::Unknown
    );
}

/// The head of dev goes on to `letter`s, built as `build`.
fn moved(seen: &mut Snapshot, letter: char, build: &str) {
    seen.branches.insert("dev".to_owned(), head(letter, build, ""));
    seen.add_heads();
}

#[test]
fn an_image_of_the_same_files_under_an_earlier_head_is_found() {
    let (service, mut seen) = (three(), snapshot([], &[]));
    moved(&mut seen, '1', "A");
    moved(&mut seen, '2', "A");
    moved(&mut seen, '3', "A");
    let before = (&History::default(), &Settled::default());
    let dev = &service.environments[0];
    let [one_, two, three_] = ['1', '2', '3'].map(commit);
    assert_eq!(untagged(&service, &seen), BTreeMap::from([("A".to_owned(), vec![&one_, &two, &three_])]));
    let problem = one(&service, dev, &seen, before).unwrap_err();
    let told = format!(
        "image registry.example.com/acme/orders:{three_} is not in the registry yet, nor under {one_}, {two}, built"
    );
    assert!(problem.message.starts_with(&told), "{problem:?}");

    // What was awaited is told, and known to the next run of the operator.
    let Wanted::Nothing { tags, build_id, .. } = wanted(&service, dev, Some(&seen), before) else { panic!() };
    let state = crate::api::integration_service::EnvironmentState {
        branch: "dev".to_owned(),
        build_id,
        tags,
        ..Default::default()
    };
    let board = crate::api::IntegrationServiceStatus { environments: vec![state], ..Default::default() };
    let mut restarted = Snapshot::of_board(Some(&board));
    moved(&mut restarted, '3', "A");
    assert_eq!(restarted, seen);

    seen.tags.insert(one_, Tag::Found(IMAGE_OF_A.to_owned()));
    assert_eq!(one(&service, dev, &seen, before), Ok(IMAGE_OF_A.to_owned()));
    assert!(untagged(&service, &seen).is_empty(), "the first answer is kept");
    seen.tags.insert(three_, Tag::Found(IMAGE_OF_B.to_owned()));
    assert_eq!(one(&service, dev, &seen, before), Ok(IMAGE_OF_A.to_owned()));

    moved(&mut seen, '4', "B");
    let problem = one(&service, dev, &seen, before).unwrap_err();
    assert!(problem.message.contains("registry yet: let CI"), "never an image of other files: {problem:?}");
}

#[test]
fn of_many_heads_of_one_build_the_first_and_the_last_are_remembered() {
    let mut seen = snapshot([], &[]);
    for letter in "0123456789".chars() {
        moved(&mut seen, letter, "A");
    }
    assert_eq!(seen.builds["dev"].commits, ['0', '6', '7', '8', '9'].map(commit));
    seen.branches.insert("dev".to_owned(), Branch::Missing);
    seen.add_heads();
    assert!(seen.builds.is_empty());
}

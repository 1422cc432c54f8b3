//! Which image an environment gets. Pure.
//!
//! The digest is the descriptor's, else that of a release of this service with the same build id (the one that runs here,
//! else the newest), else, only where nothing promotes to, what the registry has under the commit's hash. An environment that promotes from another accepts
//! nothing that was not healthy there.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Problem,
    history::History,
    resolve::{Branch, Content, Resolved, Snapshot, Tag, resolve},
    validate::{ValidEnvironment, ValidService},
};
use crate::conditions::Reason;

/// What an environment is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The commit's settings here.
    pub resolved: Resolved,
    /// `sha256:…`
    pub digest: String,
}

/// What Git asks for in one environment.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// Git was not read yet: everything stays as the status says.
    Unknown,
    /// Nothing new can run: what runs stays.
    Nothing {
        /// Head of the branch, when there is one.
        commit: Option<String>,
        /// Build id of that commit, when it could be read.
        build_id: Option<String>,
        /// Everything that is awaited.
        waiting: Vec<Problem>,
    },
    /// This.
    Target(Box<Target>),
}

/// What was last healthy in environments from whose own branch another one is promoted. In memory: after a start, what
/// runs stays until the source is healthy at its head.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    by_environment: BTreeMap<String, Arc<Content>>,
}

impl Settled {
    /// `environment` runs what `commit` asks for, and well. Kept only where it is asked for.
    pub fn add(&mut self, service: &ValidService, environment: &str, commit: &str, snapshot: &Snapshot) {
        if !service.environments.iter().any(|e| shared_source(service, e) == Some(environment)) {
            return;
        }
        let heads = snapshot.branches.values().filter_map(|branch| match branch {
            Branch::Head { content: Ok(content), .. } => Some(content),
            Branch::Head { .. } | Branch::Missing => None,
        });
        let content = heads.chain(self.by_environment.values()).find(|content| content.commit == commit);
        if let Some(content) = content.cloned() {
            self.by_environment.insert(environment.to_owned(), content);
        }
    }

    fn of(&self, environment: &str) -> Option<&Arc<Content>> {
        self.by_environment.get(environment)
    }
}

/// The environment that `environment` promotes from, where both read one branch.
fn shared_source<'a>(service: &ValidService, environment: &'a ValidEnvironment) -> Option<&'a str> {
    let source = environment.promotes_from.as_deref()?;
    let reads_the_same = |e: &ValidEnvironment| e.name == source && e.branch == environment.branch;
    service.environments.iter().any(reads_the_same).then_some(source)
}

/// What `environment` of `service` is to run, given what Git and the registry said.
pub fn wanted(
    service: &ValidService,
    environment: &ValidEnvironment,
    snapshot: Option<&Snapshot>,
    before: (&History, &Settled),
) -> Wanted {
    let Some(branch) = snapshot.and_then(|snapshot| snapshot.branches.get(&environment.branch)) else {
        return Wanted::Unknown;
    };
    let (commit, content) = match branch {
        Branch::Missing => {
            let message = format!(
                "the branch {} does not exist in {}: push it, or name another under `branches` of the service in the tenant file",
                environment.branch, service.url
            );
            let waiting = vec![Problem::new(Reason::BranchMissing, message)];
            return Wanted::Nothing { commit: None, build_id: None, waiting };
        }
        Branch::Head { commit, content } => (commit, content),
    };
    // On a shared branch it follows what was last healthy there, however fast the head moves.
    let (commit, content) = match shared_source(service, environment).and_then(|source| before.1.of(source)) {
        Some(settled) => (&settled.commit, Ok(settled)),
        None => (commit, content.as_ref()),
    };
    let nothing = |build_id: Option<&str>, problem: Problem| Wanted::Nothing {
        commit: Some(commit.clone()),
        build_id: build_id.map(ToOwned::to_owned),
        waiting: vec![problem],
    };
    let content = match content {
        Ok(content) => content,
        Err(problem) => return nothing(None, problem.clone()),
    };
    let resolved = match resolve(content, &environment.name) {
        Ok(resolved) => resolved,
        Err(problem) => return nothing(Some(&content.build_id), problem),
    };
    let digest = match &environment.promotes_from {
        Some(source) => promoted(service, (environment, source), &resolved, before),
        None => {
            let tag = snapshot.and_then(|s| s.tags.get(commit));
            built(service, (environment, &resolved), tag, before.0)
        }
    };
    match digest {
        Ok(digest) => Wanted::Target(Box::new(Target { resolved, digest })),
        Err(problem) => nothing(Some(&content.build_id), problem),
    }
}

/// The image of an environment that nothing promotes to.
fn built(
    service: &ValidService,
    (environment, resolved): (&ValidEnvironment, &Resolved),
    tag: Option<&Tag>,
    history: &History,
) -> Result<String, Problem> {
    if let Some(image) = &resolved.settings.image {
        return Ok(image.digest.clone());
    }
    if let Some(known) = history.digest_of(&resolved.build_id, &environment.name) {
        return Ok(known.to_owned());
    }
    match tag {
        Some(Tag::Found(digest)) => Ok(digest.clone()),
        Some(Tag::Unknown(problem)) => Err(problem.clone()),
        Some(Tag::Missing) | None => {
            let message = format!(
                "image {}:{} is not in the registry yet: let CI push it under the commit's hash, or commit its digest",
                service.repository(),
                resolved.commit
            );
            Err(Problem::new(Reason::ImageMissing, message))
        }
    }
}

/// The image of an environment that accepts only what was healthy in `source`.
fn promoted(
    service: &ValidService,
    (environment, source): (&ValidEnvironment, &str),
    resolved: &Resolved,
    (history, settled): (&History, &Settled),
) -> Result<String, Problem> {
    let not = |what: String| {
        let message = if history.has_any_in(source) {
            format!(
                "{what} was not healthy in {source} yet: merge what {source} runs into {}, or wait until it is",
                environment.branch
            )
        } else {
            format!("images come here from {source}, which has run none yet: see what {source} waits for")
        };
        Problem::new(Reason::NotPromoted, message)
    };
    let image = |digest: &str| format!("the image {}@{digest}", service.repository());
    let is_shared = shared_source(service, environment).is_some();
    if is_shared && settled.of(source).is_none_or(|settled| settled.commit != resolved.commit) {
        let message = format!(
            "commit {} of {} was not healthy in {source} yet, which reads the same branch: wait until it is",
            resolved.commit, environment.branch
        );
        return Err(Problem::new(Reason::NotPromoted, message));
    }
    if let Some(asked) = &resolved.settings.image {
        let healthy = history.was_healthy_in(source, &asked.digest);
        return if healthy { Ok(asked.digest.clone()) } else { Err(not(image(&asked.digest))) };
    }
    if let Some(digest) = history.healthy_digest_of(&resolved.build_id, source, &environment.name) {
        return Ok(digest.to_owned());
    }
    Err(not(match history.newest_digest_of(&resolved.build_id) {
        Some(digest) => image(digest),
        None => format!("an image of commit {}", resolved.commit),
    }))
}

/// Commits whose image is not known yet, each with its build id: heads of branches of environments that nothing promotes
/// to, without a digest in the descriptor. A release of the same build knows it, else only the registry does.
pub fn untagged(service: &ValidService, snapshot: &Snapshot) -> BTreeMap<String, String> {
    let mut open = BTreeMap::new();
    for environment in service.environments.iter().filter(|environment| environment.promotes_from.is_none()) {
        let Some(Branch::Head { commit, content: Ok(content) }) = snapshot.branches.get(&environment.branch)
        else {
            continue;
        };
        let is_known = matches!(snapshot.tags.get(commit), Some(Tag::Found(_)));
        let names_none =
            resolve(content, &environment.name).is_ok_and(|resolved| resolved.settings.image.is_none());
        if !is_known && names_none {
            open.insert(commit.clone(), content.build_id.clone());
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        git::{GitUrl, UrlPolicy},
        service::{
            history::{Needs, Past, surplus},
            status::{Observation, Running, Stage},
        },
    };

    const IMAGE_OF_A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const IMAGE_OF_B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn orders(branches: [(&str, &str, Option<&str>); 3]) -> ValidService {
        ValidService {
            tenant: "acme".to_owned(),
            name: "orders".to_owned(),
            url: GitUrl::parse("https://git.example.com/acme/orders.git", &UrlPolicy::default()).unwrap(),
            credentials: None,
            path: String::new(),
            runtime: "camel".to_owned(),
            environments: branches
                .map(|(name, branch, promotes_from)| ValidEnvironment {
                    name: name.to_owned(),
                    namespace: format!("acme-{name}"),
                    branch: branch.to_owned(),
                    promotes_from: promotes_from.map(ToOwned::to_owned),
                })
                .to_vec(),
            orphaned: None,
        }
    }

    fn three() -> ValidService {
        orders([("dev", "dev", None), ("test", "test", Some("dev")), ("prod", "prod", Some("test"))])
    }

    fn commit(letter: char) -> String {
        letter.to_string().repeat(40)
    }

    /// A branch whose head is `letter`s, built as `build`, with `more` in its descriptor.
    fn head(letter: char, build: &str, more: &str) -> Branch {
        let text =
            format!("apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\nscaling: {{min: 2}}\n{more}");
        let descriptor = crate::yaml::descriptor(text.as_bytes()).unwrap();
        let content = Content {
            commit: commit(letter),
            build_id: build.to_owned(),
            descriptor,
            configs: BTreeMap::new(),
        };
        Branch::Head { commit: commit(letter), content: Ok(Arc::new(content)) }
    }

    fn snapshot<const N: usize>(branches: [(&str, Branch); N], tags: &[(char, Tag)]) -> Snapshot {
        Snapshot {
            branches: branches.map(|(name, branch)| (name.to_owned(), branch)).into(),
            tags: tags.iter().map(|(letter, tag)| (commit(*letter), tag.clone())).collect(),
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
            runs: false,
            made: Some(Timestamp::from_second(second).unwrap()),
        }
    }

    /// What each environment is to run: a digest, or why none.
    fn decided(
        service: &ValidService,
        snapshot: &Snapshot,
        history: &History,
    ) -> Vec<Result<String, Problem>> {
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
        let seen = snapshot(
            [("dev", head('1', "A", "")), ("test", head('1', "A", "")), ("prod", Branch::Missing)],
            &[],
        );
        assert_eq!(untagged(&three(), &seen), BTreeMap::from([(commit('1'), "A".to_owned())]));
        let reasons: Vec<_> = decided(&three(), &seen, &History::default())
            .into_iter()
            .map(|d| d.unwrap_err().reason)
            .collect();
        assert_eq!(reasons, [Reason::ImageMissing, Reason::NotPromoted, Reason::BranchMissing]);
        let found = snapshot([("dev", head('1', "A", ""))], &[('1', Tag::Found(IMAGE_OF_A.to_owned()))]);
        let dev = &three().environments[0];
        let before = (&History::default(), &Settled::default());
        assert_eq!(one(&three(), dev, &found, before), Ok(IMAGE_OF_A.to_owned()));
        assert!(untagged(&three(), &found).is_empty(), "the first answer is kept");
    }

    #[test]
    fn what_comes_after_an_environment_that_runs_nothing_points_there() {
        let seen = snapshot(
            [("dev", head('1', "A", "")), ("test", head('1', "A", "")), ("prod", Branch::Missing)],
            &[],
        );
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
    fn a_missing_image_is_named_with_its_tag() {
        let seen = snapshot([("dev", head('1', "A", ""))], &[('1', Tag::Missing)]);
        let dev = &three().environments[0];
        let problem = one(&three(), dev, &seen, (&History::default(), &Settled::default())).unwrap_err();
        let image = format!("image acme/orders:{} is not in the registry yet", commit('1'));
        assert!(problem.message.starts_with(&image), "{}", problem.message);
        let refused = Problem::new(Reason::RegistryRefused, "the registry refuses the account");
        let unknown = snapshot([("dev", head('1', "A", ""))], &[('1', Tag::Unknown(refused.clone()))]);
        assert_eq!(one(&three(), dev, &unknown, (&History::default(), &Settled::default())), Err(refused));
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
        let service =
            orders([("dev", "dev", None), ("test", "test", Some("dev")), ("sandbox", "sandbox", None)]);
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
        assert!(
            problem.message.contains("healthy in test") && problem.message.contains("merge what test runs")
        );
        assert!(
            !untagged(&three(), &seen).contains_key(&commit('9')),
            "prod never takes its image from the registry"
        );
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
        let service =
            orders([("dev", "dev", None), ("prod", "prod", Some("dev")), ("dr", "dr", Some("prod"))]);
        let seen = snapshot(
            [("dev", head('1', "A", "")), ("prod", head('2', "A", "")), ("dr", Branch::Missing)],
            &[],
        );
        let history = History(vec![made(1, "dev", "A", IMAGE_OF_A, true)]);
        assert_eq!(decided(&service, &seen, &history)[1], Ok(IMAGE_OF_A.to_owned()));
        let alone = orders([("prod", "prod", None), ("dr", "dr", Some("prod")), ("far", "far", Some("dr"))]);
        assert!(untagged(&alone, &seen).contains_key(&commit('2')), "none left: like the first");
    }

    #[test]
    fn two_environments_on_one_branch_go_one_after_the_other() {
        let service =
            orders([("dev", "main", None), ("prod", "main", Some("dev")), ("dr", "dr", Some("prod"))]);
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
    fn new_settings_alone_wait_for_their_turn_on_a_shared_branch() {
        let service =
            orders([("dev", "main", None), ("prod", "main", Some("dev")), ("dr", "dr", Some("prod"))]);
        let seen = snapshot([("main", head('2', "A", "env: {MODE: new}\n"))], &[]);
        let history = History(vec![made(1, "dev", "A", IMAGE_OF_A, true)]);
        let before = (&history, &Settled::default());
        assert!(one(&service, &service.environments[1], &seen, before).is_err());
    }

    #[test]
    fn a_committed_digest_wins_and_is_promoted_like_any_other() {
        let own = format!("image: {{digest: \"{IMAGE_OF_B}\"}}\n");
        let seen = snapshot(
            [("dev", head('2', "A", &own)), ("test", head('2', "A", &own)), ("prod", Branch::Missing)],
            &[],
        );
        let mut history = History(vec![made(1, "dev", "A", IMAGE_OF_A, true)]);
        let decisions = decided(&three(), &seen, &history);
        assert_eq!(decisions[0], Ok(IMAGE_OF_B.to_owned()));
        assert_eq!(decisions[1].as_ref().unwrap_err().reason, Reason::NotPromoted);
        history.0.push(made(2, "dev", "A", IMAGE_OF_B, true));
        assert_eq!(decided(&three(), &seen, &history)[1], Ok(IMAGE_OF_B.to_owned()));
    }

    fn any_past() -> impl Strategy<Value = Vec<(usize, usize, bool, bool)>> {
        prop::collection::vec((0..3usize, 0..4usize, any::<bool>(), any::<bool>()), 0..40)
    }

    proptest! {
        #[test]
        fn forgetting_what_is_too_old_changes_no_decision(
            made_ in any_past(),
            heads in [0..4usize, 0..4usize, 0..4usize],
            (limit, well) in (1..5u16, any::<bool>()),
        ) {
            const BUILDS: [&str; 4] = ["A", "B", "C", "D"];
            let service = three();
            let past = |(at, (environment, build, of_a, healthy)): (usize, &(usize, usize, bool, bool))| {
                let digest = if *of_a { IMAGE_OF_A } else { IMAGE_OF_B };
                let name = &service.environments[*environment].name;
                made(i64::try_from(at).unwrap(), name, BUILDS[*build], digest, *healthy)
            };
            let mut history = History(made_.iter().enumerate().map(past).collect());
            // What runs is the newest of each environment.
            let newest = |history: &History, name: &str| {
                history.0.iter().rev().find(|past| past.environment == name).cloned()
            };
            for environment in &service.environments {
                if let Some(past) = newest(&history, &environment.name) {
                    history.runs(&past.name);
                }
            }
            let [dev, test, prod] = heads.map(|build| head('1', BUILDS[build], ""));
            let seen = snapshot([("dev", dev), ("test", test), ("prod", prod)], &[]);
            let before = decided(&service, &seen, &history);
            let stage = |environment: &ValidEnvironment| {
                let newest = newest(&history, &environment.name);
                Stage {
                    environment: environment.clone(),
                    wanted: wanted(&service, environment, Some(&seen), (&history, &Settled::default())),
                    target: None,
                    running: newest.map(|past| Running { release: past.name, digest: past.digest, runtime_revision: None }),
                    observed: Some(Observation { well, ..Observation::default() }),
                    problems: vec![],
                }
            };
            let stages = service.environments.iter().map(stage);
            let needs: Vec<_> = stages.map(|stage| Needs::of(&stage, None, Some(limit)).unwrap()).collect();
            let gone: Vec<_> = surplus(&history, &needs).into_iter().map(ToOwned::to_owned).collect();
            // A crash may come after any of them.
            for name in gone {
                history.0.retain(|past| past.name != name);
                prop_assert_eq!(&decided(&service, &seen, &history), &before);
            }
            for environment in &service.environments {
                let left = history.0.iter().filter(|past| past.environment == environment.name).count();
                prop_assert!(left <= usize::from(limit) * 2 + 10, "{left} of {}", environment.name);
            }
        }
    }

    #[test]
    fn prod_runs_on_what_it_runs_after_dev_moved_on_for_long() {
        let heads = [("dev", head('9', "Z", "")), ("test", head('1', "A", "")), ("prod", head('1', "A", ""))];
        let seen = snapshot(heads, &[]);
        let mut made_ = vec![
            made(1, "dev", "A", IMAGE_OF_A, true),
            made(2, "test", "A", IMAGE_OF_A, true),
            made(3, "prod", "A", IMAGE_OF_A, true),
        ];
        made_.extend((10..50).map(|at| made(at, "dev", "Z", IMAGE_OF_B, true)));
        let mut history = History(made_);
        let asked = |environment: &ValidEnvironment, history: &History| {
            wanted(&three(), environment, Some(&seen), (history, &Settled::default()))
        };
        let needs: Vec<_> = three()
            .environments
            .iter()
            .map(|environment| {
                let stage = Stage {
                    environment: environment.clone(),
                    wanted: asked(environment, &history),
                    target: None,
                    running: None,
                    observed: Some(Observation { well: true, ..Observation::default() }),
                    problems: vec![],
                };
                Needs::of(&stage, None, None).unwrap()
            })
            .collect();
        let gone: Vec<_> = surplus(&history, &needs).into_iter().map(ToOwned::to_owned).collect();
        history.0.retain(|past| !gone.contains(&past.name));
        assert_eq!(history.0.len(), 3 + 10, "ten of dev, and what runs elsewhere");
        let after = decided(&three(), &seen, &history);
        assert_eq!(after, [Ok(IMAGE_OF_B.to_owned()), Ok(IMAGE_OF_A.to_owned()), Ok(IMAGE_OF_A.to_owned())]);
    }

    #[test]
    fn what_cannot_be_read_asks_for_nothing_and_says_why() {
        let broken = Problem::new(Reason::InvalidDescriptor, "imaas.yaml:3:1: typ: unknown field");
        let branch = Branch::Head { commit: commit('2'), content: Err(broken.clone()) };
        let seen = snapshot([("dev", branch)], &[]);
        let history = History(vec![made(1, "dev", "A", IMAGE_OF_A, true)]);
        let service = three();
        let dev = wanted(&service, &service.environments[0], Some(&seen), (&history, &Settled::default()));
        assert_eq!(dev, Wanted::Nothing { commit: Some(commit('2')), build_id: None, waiting: vec![broken] });
        let unread = wanted(&service, &service.environments[1], Some(&seen), (&history, &Settled::default()));
        assert_eq!(unread, Wanted::Unknown, "a branch that was not read is not a branch that is missing");
        assert_eq!(
            wanted(&service, &service.environments[0], None, (&history, &Settled::default())),
            Wanted::Unknown
        );
    }
}

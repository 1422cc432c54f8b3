//! Which image an environment gets. Pure.
//!
//! The digest is the descriptor's, else that of a release of this service with the same build id, else, only where
//! nothing promotes to, what the registry has under the commit's hash. An environment that promotes from another accepts
//! nothing that was not healthy there.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Problem,
    resolve::{Branch, Resolved, Snapshot, Tag, resolve},
    validate::{ValidEnvironment, ValidService},
};
use crate::{
    api::{Cause, Release, integration_service::EnvironmentState},
    conditions::{HEALTHY, Reason, is_true},
};

/// One release that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Its name.
    pub name: String,
    /// Its environment.
    pub environment: String,
    /// What it was built from.
    pub build_id: String,
    /// Its image.
    pub digest: String,
    /// It was healthy once.
    pub healthy: bool,
    /// When it was made; nothing for one that the API server has not yet shown.
    pub made: Option<Timestamp>,
}

/// The releases of one service, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(Vec<Past>);

impl History {
    /// From what is stored.
    pub fn of<'a>(releases: impl IntoIterator<Item = &'a Release>) -> Self {
        let mut past: Vec<_> = releases.into_iter().map(past).collect();
        past.sort_by(|a, b| (a.made.is_none(), a.made, &a.name).cmp(&(b.made.is_none(), b.made, &b.name)));
        Self(past)
    }

    /// Adds one that was made a moment ago.
    pub fn add(&mut self, release: &Release) {
        let new = past(release);
        if !self.0.iter().any(|past| past.name == new.name) {
            self.0.push(new);
        }
    }

    /// The release of this name became healthy a moment ago.
    pub fn became_healthy(&mut self, name: &str) {
        for past in self.0.iter_mut().filter(|past| past.name == name) {
            past.healthy = true;
        }
    }

    /// Was this release ever healthy?
    pub fn is_healthy(&self, name: &str) -> bool {
        self.0.iter().any(|past| past.name == name && past.healthy)
    }

    /// The first image made of this build.
    pub fn digest_of(&self, build_id: &str) -> Option<&str> {
        self.0.iter().find(|past| past.build_id == build_id).map(|past| past.digest.as_str())
    }

    fn was_healthy_in(&self, environment: &str, digest: &str) -> bool {
        self.0.iter().any(|past| past.environment == environment && past.digest == digest && past.healthy)
    }

    /// The first image of this build that was healthy in `environment`.
    fn healthy_digest_of(&self, build_id: &str, environment: &str) -> Option<&str> {
        let fits = |past: &&Past| past.build_id == build_id && self.was_healthy_in(environment, &past.digest);
        self.0.iter().find(fits).map(|past| past.digest.as_str())
    }
}

fn past(release: &Release) -> Past {
    let conditions = release.status.as_ref().map_or(&[][..], |status| &status.conditions);
    Past {
        name: release.metadata.name.clone().unwrap_or_default(),
        environment: release.spec.environment.clone(),
        build_id: release.spec.build_id.clone(),
        digest: release.spec.digest.clone(),
        healthy: is_true(conditions, HEALTHY),
        made: release.metadata.creation_timestamp.as_ref().map(|time| time.0),
    }
}

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

/// Where an environment that comes before in promotion order stands in this pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Branch → the head whose content is healthy there.
    by_environment: BTreeMap<String, String>,
}

impl Settled {
    /// `environment` runs what `commit` asks for, and well.
    pub fn add(&mut self, environment: &str, commit: &str) {
        self.by_environment.insert(environment.to_owned(), commit.to_owned());
    }

    fn at(&self, environment: &str, commit: &str) -> bool {
        self.by_environment.get(environment).is_some_and(|settled| settled == commit)
    }
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
                "the branch {} does not exist in {}: push it, or name another in spec.branches",
                environment.branch, service.url
            );
            let waiting = vec![Problem::new(Reason::BranchMissing, message)];
            return Wanted::Nothing { commit: None, build_id: None, waiting };
        }
        Branch::Head { commit, content } => (commit, content),
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
        None => built(service, &resolved, snapshot.and_then(|s| s.tags.get(commit)), before.0),
    };
    match digest {
        Ok(digest) => Wanted::Target(Box::new(Target { resolved, digest })),
        Err(problem) => nothing(Some(&content.build_id), problem),
    }
}

/// The image of an environment that nothing promotes to.
fn built(
    service: &ValidService,
    resolved: &Resolved,
    tag: Option<&Tag>,
    history: &History,
) -> Result<String, Problem> {
    if let Some(image) = &resolved.settings.image {
        return Ok(image.digest.clone());
    }
    if let Some(known) = history.digest_of(&resolved.build_id) {
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
        let message = format!(
            "{what} was not yet healthy in {source}: merge what {source} runs into {}, or wait until it is",
            environment.branch
        );
        Problem::new(Reason::NotPromoted, message)
    };
    let image = |digest: &str| format!("the image {}@{digest}", service.repository());
    let shared = service.environments.iter().any(|e| e.name == source && e.branch == environment.branch);
    if shared && !settled.at(source, &resolved.commit) {
        let message = format!(
            "commit {} of {} was not yet healthy in {source}, which reads the same branch: wait until it is",
            resolved.commit, environment.branch
        );
        return Err(Problem::new(Reason::NotPromoted, message));
    }
    if let Some(asked) = &resolved.settings.image {
        let healthy = history.was_healthy_in(source, &asked.digest);
        return if healthy { Ok(asked.digest.clone()) } else { Err(not(image(&asked.digest))) };
    }
    if let Some(digest) = history.healthy_digest_of(&resolved.build_id, source) {
        return Ok(digest.to_owned());
    }
    Err(not(match history.digest_of(&resolved.build_id) {
        Some(digest) => image(digest),
        None => format!("commit {} was built nowhere before, and its image", resolved.commit),
    }))
}

/// Commits whose image only the registry can name: heads of branches of environments that nothing promotes to, without a
/// digest in the descriptor or a release of the same build. Not those of which the registry said it already.
pub fn untagged(service: &ValidService, snapshot: &Snapshot, history: &History) -> Vec<String> {
    let mut commits: Vec<_> = service
        .environments
        .iter()
        .filter(|environment| environment.promotes_from.is_none())
        .filter_map(|environment| {
            let Some(Branch::Head { commit, content: Ok(content) }) = snapshot.branches.get(&environment.branch) else {
                return None;
            };
            let resolved = resolve(content, &environment.name).ok()?;
            let known = resolved.settings.image.is_some()
                || history.digest_of(&resolved.build_id).is_some()
                || matches!(snapshot.tags.get(commit), Some(Tag::Found(_)));
            (!known).then(|| commit.clone())
        })
        .collect();
    commits.sort();
    commits.dedup();
    commits
}

/// Why a release is made that does not exist yet. `state`: the environment before.
pub fn cause(environment: &ValidEnvironment, target: &Target, state: Option<&EnvironmentState>) -> Cause {
    let same_commit = state.is_some_and(|state| {
        state.current.is_some()
            && state.commit.as_deref() == Some(&target.resolved.commit)
            && state.digest.as_deref() == Some(&target.digest)
    });
    match (same_commit, &environment.promotes_from) {
        (true, _) => Cause::Runtime,
        (false, Some(_)) => Cause::Promotion,
        (false, None) => Cause::Commit,
    }
}

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
    let tag = |commit: &String| snapshot.and_then(|snapshot| snapshot.tags.get(commit));
    let digest = match &environment.promotes_from {
        Some(source) => promoted(service, (environment, source), &resolved, before),
        None => built(service, (environment, &resolved), tag(commit), before.0),
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
        if service.environments.iter().all(|environment| environment.name != source) {
            let message = format!(
                "there is no Environment {source:?}, from which images come here: make it, or correct `promotesFrom` of the Environment {}",
                environment.name
            );
            return Problem::new(Reason::EnvironmentMissing, message);
        }
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
mod tests;

//! Which image an environment gets. Pure.
//!
//! The digest is the descriptor's, once it is seen in the registry, else that of a release of this service with the same build id (the one that runs here,
//! else the newest), else, only where nothing promotes to, what the registry has under the commit's hash. An environment that promotes from another accepts
//! nothing that was not healthy there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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
        Some(source) => promoted(service, (environment, source), (&resolved, snapshot), before),
        None => built(service, (environment, &resolved), snapshot, before.0),
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
    snapshot: Option<&Snapshot>,
    history: &History,
) -> Result<String, Problem> {
    let answer = |reference: &String| snapshot.and_then(|snapshot| snapshot.tags.get(reference));
    let (answer, (mark, reference, help)) = if let Some(image) = &resolved.settings.image {
        if history.has_digest(&image.digest) {
            return Ok(image.digest.clone());
        }
        (answer(&image.digest), ("@", &image.digest, "let CI push it, or correct `image.digest`"))
    } else {
        if let Some(known) = history.digest_of(&resolved.build_id, &environment.name) {
            return Ok(known.to_owned());
        }
        (
            answer(&resolved.commit),
            (":", &resolved.commit, "let CI push it under the commit's hash, or commit its digest"),
        )
    };
    match answer {
        Some(Tag::Found(digest)) => Ok(digest.clone()),
        Some(Tag::Unknown(problem)) => Err(problem.clone()),
        Some(Tag::Missing) | None => {
            let repository = service.repository();
            let message = format!("image {repository}{mark}{reference} is not in the registry yet: {help}");
            Err(Problem::new(Reason::ImageMissing, message))
        }
    }
}

/// The image of an environment that accepts only what was healthy in `source`.
fn promoted(
    service: &ValidService,
    (environment, source): (&ValidEnvironment, &str),
    (resolved, snapshot): (&Resolved, Option<&Snapshot>),
    (history, settled): (&History, &Settled),
) -> Result<String, Problem> {
    let not = |what: String| {
        let message = if runs_none(service, source, snapshot) {
            format!(
                "{what} was not healthy in {source} yet, where `scaling.min` is 0: what has no instance proves nothing, raise it there"
            )
        } else if history.has_any_in(source) {
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
        if runs_none(service, source, snapshot) {
            return Err(not(format!("commit {} of {}", resolved.commit, environment.branch)));
        }
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

/// Does the head that `environment` reads ask for no instance there?
fn runs_none(service: &ValidService, environment: &str, snapshot: Option<&Snapshot>) -> bool {
    let branch = service.environments.iter().find(|one| one.name == environment).map(|one| &one.branch);
    let head = branch.and_then(|branch| snapshot?.branches.get(branch));
    match head {
        Some(Branch::Head { content: Ok(content), .. }) => {
            resolve(content, environment).is_ok_and(|resolved| resolved.settings.scaling.min == 0)
        }
        Some(Branch::Head { content: Err(_), .. } | Branch::Missing) | None => false,
    }
}

/// Commits whose image is not known yet, each with its build id: heads of branches of environments that nothing promotes
/// to, without a digest in the descriptor. A release of the same build knows it, else only the registry does.
pub fn untagged(service: &ValidService, snapshot: &Snapshot) -> BTreeMap<String, String> {
    let is_known = |commit: &String| matches!(snapshot.tags.get(commit), Some(Tag::Found(_)));
    unpromoted(service, snapshot)
        .filter(|resolved| resolved.settings.image.is_none() && !is_known(&resolved.commit))
        .map(|resolved| (resolved.commit, resolved.build_id))
        .collect()
}

/// Digests that the descriptor names where nothing promotes to. Whether they are there a release of this service knows,
/// else only the registry does.
pub fn named_digests(service: &ValidService, snapshot: &Snapshot) -> BTreeSet<String> {
    unpromoted(service, snapshot).filter_map(|resolved| Some(resolved.settings.image?.digest)).collect()
}

/// The heads of the branches of environments that nothing promotes to, as each sees its own.
fn unpromoted<'a>(
    service: &'a ValidService,
    snapshot: &'a Snapshot,
) -> impl Iterator<Item = Resolved> + use<'a> {
    let environments = service.environments.iter().filter(|environment| environment.promotes_from.is_none());
    environments.filter_map(|environment| match snapshot.branches.get(&environment.branch)? {
        Branch::Head { content: Ok(content), .. } => resolve(content, &environment.name).ok(),
        Branch::Head { content: Err(_), .. } | Branch::Missing => None,
    })
}

#[cfg(test)]
mod tests;

//! Which image an environment gets. Pure.
//!
//! The digest is the descriptor's, once it is seen in the registry, else that of a release of this service with the same
//! build id (the one that runs here, else the newest), else, only where nothing promotes to, what the registry has under
//! the hash of the commit or of an earlier head that is built of the same files. An environment that promotes from another accepts
//! nothing that was not healthy there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Problem,
    history::History,
    resolve::{Content, Resolved, resolve},
    snapshot::{Branch, Snapshot, Tag},
    validate::{ValidEnvironment, ValidService},
};
use crate::{api::Scaling, conditions::Reason};

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
        /// The image that the commit asks for, where that is known.
        asked: Option<String>,
        /// Everything that is awaited.
        waiting: Vec<Problem>,
        /// Commits under whose hashes the registry is asked for the image.
        tags: Vec<String>,
    },
    /// This.
    Target(Box<Target>),
}

impl Wanted {
    /// No commit is known that asks for anything.
    fn nothing(waiting: Vec<Problem>) -> Self {
        Self::Nothing { commit: None, build_id: None, asked: None, waiting, tags: vec![] }
    }
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
pub(super) fn shared_source<'a>(
    service: &ValidService,
    environment: &'a ValidEnvironment,
) -> Option<&'a str> {
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
    if let Some(ending) = &environment.ending {
        let waiting = vec![ending.problem()];
        return Wanted::nothing(waiting);
    }
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
            return Wanted::nothing(waiting);
        }
        Branch::Head { commit, content } => (commit, content),
    };
    // On a shared branch it follows what was last healthy there, however fast the head moves; unless people let the head in.
    let settled = shared_source(service, environment).and_then(|source| before.1.of(source));
    let is_let_in = || is_let_in(service, (environment, content.as_ref().ok()?), snapshot?, before.0);
    let (commit, content) = match settled {
        Some(settled) if is_let_in() != Some(true) => (&settled.commit, Ok(settled)),
        Some(_) | None => (commit, content.as_ref()),
    };
    let nothing = |build_id: Option<&str>, problem: Problem| Wanted::Nothing {
        commit: Some(commit.clone()),
        build_id: build_id.map(ToOwned::to_owned),
        asked: None,
        waiting: vec![problem],
        tags: vec![],
    };
    let content = match content {
        Ok(content) => content,
        Err(problem) => return nothing(None, problem.clone()),
    };
    let resolved = match resolve(content, &environment.name) {
        Ok(resolved) => resolved,
        Err(problem) => return nothing(Some(&content.build_id), problem),
    };
    let known = known_image(&resolved, &environment.name, before.0);
    let digest = match (&environment.promotes_from, snapshot) {
        (Some(source), _) => {
            let let_in = snapshot.and_then(|seen| let_in(service, (environment, &resolved), seen, before.0));
            let promoted = || promoted(service, (environment, source), (&resolved, snapshot), before);
            let_in.unwrap_or_else(promoted)
        }
        (None, Some(snapshot)) => built(service, (environment, &resolved), snapshot, before.0),
        (None, None) => return Wanted::Unknown,
    };
    match digest {
        Ok(digest) => Wanted::Target(Box::new(Target { resolved, digest })),
        Err(problem) => match nothing(Some(&content.build_id), problem) {
            Wanted::Nothing { commit: head, build_id, waiting, asked: _, tags: _ } => {
                let asked = snapshot.filter(|_| asks_registry(environment));
                let tags = asked.map(|snapshot| snapshot.commits_of(&environment.branch, commit));
                let tags = tags.into_iter().flatten().cloned().collect();
                Wanted::Nothing { commit: head, build_id, asked: known, waiting, tags }
            }
            other => other,
        },
    }
}

/// What the head that `environment` follows asks for there, whether or not its image is known.
pub fn asked(
    service: &ValidService,
    environment: &ValidEnvironment,
    snapshot: Option<&Snapshot>,
    settled: &Settled,
) -> Option<Resolved> {
    let head = match snapshot?.branches.get(&environment.branch)? {
        Branch::Head { content, .. } if environment.ending.is_none() => content.as_ref().ok(),
        Branch::Head { .. } | Branch::Missing => return None,
    };
    let settled = shared_source(service, environment).and_then(|source| settled.of(source));
    resolve(settled.or(head)?, &environment.name).ok()
}

/// The image that is asked for, as Git or a release of the same build names it, whether or not it may run.
pub fn known_image(resolved: &Resolved, environment: &str, history: &History) -> Option<String> {
    let named = resolved.settings.image.as_ref().map(|image| image.digest.as_str());
    named.or_else(|| history.digest_of(&resolved.build_id, environment)).map(ToOwned::to_owned)
}

/// Does it take images that were not healthy elsewhere?
fn asks_registry(environment: &ValidEnvironment) -> bool {
    environment.promotes_from.is_none() || !environment.bypasses.is_empty()
}

/// The image that people let into `environment`, or what it waits for; nothing where they let in another.
fn let_in(
    service: &ValidService,
    (environment, resolved): (&ValidEnvironment, &Resolved),
    snapshot: &Snapshot,
    history: &History,
) -> Option<Result<String, Problem>> {
    let passes = |what: &String| environment.bypasses.contains(what);
    let digest = (!environment.bypasses.is_empty())
        .then(|| built(service, (environment, resolved), snapshot, history))?;
    (passes(&resolved.build_id) || digest.as_ref().is_ok_and(passes)).then_some(digest)
}

fn is_let_in(
    service: &ValidService,
    (environment, content): (&ValidEnvironment, &Arc<Content>),
    snapshot: &Snapshot,
    history: &History,
) -> Option<bool> {
    let resolved = resolve(content, &environment.name).ok()?;
    Some(let_in(service, (environment, &resolved), snapshot, history).is_some())
}

/// The image of an environment that nothing promotes to.
fn built(
    service: &ValidService,
    (environment, resolved): (&ValidEnvironment, &Resolved),
    snapshot: &Snapshot,
    history: &History,
) -> Result<String, Problem> {
    if let Some(image) = &resolved.settings.image {
        return named(service, &image.digest, snapshot, history);
    }
    if let Some(known) = history.digest_of(&resolved.build_id, &environment.name) {
        return Ok(known.to_owned());
    }
    let commits = snapshot.commits_of(&environment.branch, &resolved.commit);
    if let Some(digest) = found(snapshot, &commits) {
        return Ok(digest.to_owned());
    }
    let unknown = commits.iter().find_map(|commit| match snapshot.tags.get(*commit) {
        Some(Tag::Unknown(problem)) => Some(problem.clone()),
        Some(Tag::Found(_) | Tag::Missing) | None => None,
    });
    Err(unknown.unwrap_or_else(|| {
        let earlier = commits.iter().filter(|commit| ***commit != resolved.commit);
        let earlier: Vec<_> = earlier.map(|commit| commit.as_str()).collect();
        let earlier = match earlier[..] {
            [] => String::new(),
            _ => format!(", nor under {}, built of the same files", earlier.join(", ")),
        };
        let message = format!(
            "image {}:{} is not in the registry yet{earlier}: let CI push it under the commit's hash, or commit its digest",
            service.image,
            resolved.commit
        );
        Problem::new(Reason::ImageMissing, message)
    }))
}

/// The image that the descriptor names, once it is known to be there.
fn named(
    service: &ValidService,
    digest: &String,
    snapshot: &Snapshot,
    history: &History,
) -> Result<String, Problem> {
    if history.has_digest(digest) {
        return Ok(digest.clone());
    }
    match snapshot.tags.get(digest) {
        Some(Tag::Found(digest)) => Ok(digest.clone()),
        Some(Tag::Unknown(problem)) => Err(problem.clone()),
        Some(Tag::Missing) | None => {
            let message = format!(
                "image {}@{digest} is not in the registry yet: let CI push it, or correct `image.digest`",
                service.image
            );
            Err(Problem::new(Reason::ImageMissing, message))
        }
    }
}

/// The image of the oldest of `commits` that has one: what was found first stays, whatever is pushed later.
fn found<'a>(snapshot: &'a Snapshot, commits: &[&String]) -> Option<&'a str> {
    commits.iter().find_map(|commit| match snapshot.tags.get(*commit) {
        Some(Tag::Found(digest)) => Some(digest.as_str()),
        Some(Tag::Missing | Tag::Unknown(_)) | None => None,
    })
}

/// The image of an environment that accepts only what was healthy in `source`.
fn promoted(
    service: &ValidService,
    (environment, source): (&ValidEnvironment, &str),
    (resolved, snapshot): (&Resolved, Option<&Snapshot>),
    (history, settled): (&History, &Settled),
) -> Result<String, Problem> {
    let not = |what: String, digest: Option<&str>| {
        if service.environments.iter().all(|environment| environment.name != source) {
            let message = format!(
                "there is no Environment {source:?}, from which images come here: make it, or correct `promotesFrom` of the Environment {}",
                environment.name
            );
            return Problem::new(Reason::EnvironmentMissing, message);
        }
        let unproven = digest.and_then(|digest| history.unproven_in(source, digest));
        let running = unproven.filter(|past| past.runs).and_then(|past| past.unproven.as_deref());
        let message = if let Some(missing) = running {
            format!("{what} runs in {source}, but {missing}")
        } else if unproven.is_some() {
            format!(
                "{what} ran well in {source}, and runs there no more before it counted: merge what {source} runs into {}; to let it in as it is: kubectl imaas bypass {} {}",
                environment.branch, service.name, environment.name
            )
        } else if runs_none(service, source, snapshot) {
            format!(
                "{what} was not healthy in {source} yet, where `scaling.min` is 0: what has no instance proves nothing, raise it there"
            )
        } else if !history.has_any_in(source) {
            format!("images come here from {source}, which has run none yet: see what {source} waits for")
        } else if let Some(branch) = other_branch(service, source, (resolved, snapshot)) {
            // By what Git holds, and not by what was released: that is forgotten in time.
            format!(
                "commit {} was not healthy in {source}, and its branch {branch} has other files, so it will not be by waiting: merge the commit into {branch}, which tries it in {source} first, or merge {branch} into {}; to let it in as it is: kubectl imaas bypass {} {}",
                resolved.commit, environment.branch, service.name, environment.name
            )
        } else {
            format!(
                "{what} was not healthy in {source} yet: merge what {source} runs into {}, or wait until it is",
                environment.branch
            )
        };
        Problem::new(Reason::NotPromoted, message)
    };
    let image = |digest: &str| format!("the image {}@{digest}", service.image);
    let is_shared = shared_source(service, environment).is_some();
    if is_shared && settled.of(source).is_none_or(|settled| settled.commit != resolved.commit) {
        if runs_none(service, source, snapshot) {
            return Err(not(format!("commit {} of {}", resolved.commit, environment.branch), None));
        }
        let image = known_image(resolved, source, history);
        let runs =
            image.as_ref().and_then(|image| history.unproven_in(source, image)).filter(|past| past.runs);
        let message = format!(
            "commit {} of {} does not count as healthy in {source} yet, which reads the same branch: {}",
            resolved.commit,
            environment.branch,
            runs.and_then(|past| past.unproven.as_deref()).unwrap_or("wait until it does")
        );
        return Err(Problem::new(Reason::NotPromoted, message));
    }
    if let Some(asked) = &resolved.settings.image {
        let proven = history.was_proven_in(source, &asked.digest);
        return if proven {
            Ok(asked.digest.clone())
        } else {
            Err(not(image(&asked.digest), Some(&asked.digest)))
        };
    }
    if let Some(digest) = history.proven_digest_of(&resolved.build_id, source, &environment.name) {
        return Ok(digest.to_owned());
    }
    let newest = history.newest_digest_of(&resolved.build_id);
    let what = newest.map_or_else(|| format!("an image of commit {}", resolved.commit), image);
    Err(not(what, newest))
}

/// The branch of `environment`, where its head is known and is not of the build that is asked for elsewhere.
fn other_branch<'a>(
    service: &'a ValidService,
    environment: &str,
    (asked, snapshot): (&Resolved, Option<&Snapshot>),
) -> Option<&'a str> {
    let branch = service.environments.iter().find(|one| one.name == environment).map(|one| &one.branch)?;
    match snapshot?.branches.get(branch)? {
        Branch::Head { content: Ok(content), .. } if content.build_id != asked.build_id => Some(branch),
        Branch::Head { .. } | Branch::Missing => None,
    }
}

/// Does the head that `environment` reads ask for no instance there?
fn runs_none(service: &ValidService, environment: &str, snapshot: Option<&Snapshot>) -> bool {
    let branch = service.environments.iter().find(|one| one.name == environment).map(|one| &one.branch);
    let head = branch.and_then(|branch| snapshot?.branches.get(branch));
    match head {
        Some(Branch::Head { content: Ok(content), .. }) => {
            resolve(content, environment).is_ok_and(|resolved| {
                let Scaling { min, max, windows, triggers, .. } = resolved.settings.scaling;
                let is_brought = !triggers.is_empty() && max != Some(0);
                min == 0 && !is_brought && windows.iter().all(|window| window.min == 0)
            })
        }
        Some(Branch::Head { content: Err(_), .. } | Branch::Missing) | None => false,
    }
}

/// Builds whose image is not known yet, each with the commits under whose hashes it may be: of the heads of branches of
/// environments that take images from the registry, without a digest in the descriptor. A release of the same build knows it, else
/// only the registry does.
pub fn untagged<'a>(service: &'a ValidService, snapshot: &'a Snapshot) -> BTreeMap<String, Vec<&'a String>> {
    unpromoted(service, snapshot)
        .filter(|(_, resolved)| resolved.settings.image.is_none())
        .map(|(commits, resolved)| (resolved.build_id, commits))
        .filter(|(_, commits)| found(snapshot, commits).is_none())
        .collect()
}

/// Digests that the descriptor names where images come from the registry. Whether they are there a release of this service knows,
/// else only the registry does.
pub fn named_digests(service: &ValidService, snapshot: &Snapshot) -> BTreeSet<String> {
    unpromoted(service, snapshot).filter_map(|(_, resolved)| Some(resolved.settings.image?.digest)).collect()
}

/// The heads of the branches of environments that take images from the registry, as each sees its own, with all commits of
/// the same build.
fn unpromoted<'a>(
    service: &'a ValidService,
    snapshot: &'a Snapshot,
) -> impl Iterator<Item = (Vec<&'a String>, Resolved)> + use<'a> {
    let environments = service.environments.iter().filter(|environment| asks_registry(environment));
    environments.filter_map(|environment| match snapshot.branches.get(&environment.branch)? {
        Branch::Head { commit, content: Ok(content) } => {
            let resolved = resolve(content, &environment.name).ok()?;
            Some((snapshot.commits_of(&environment.branch, commit), resolved))
        }
        Branch::Head { content: Err(_), .. } | Branch::Missing => None,
    })
}

#[cfg(test)]
mod tests;

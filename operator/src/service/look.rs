//! IO: one look at a service: the heads of its branches, its images, its Secrets, and what a configuration holds.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Problem,
    brought::Place,
    images::{look_at_images, look_at_signatures},
    login::told,
    poll::Origins,
    read::{Failure, content, contents, from_git},
    remote::remote,
    resolve::Content,
    secrets::look_at_secrets,
    snapshot::{Branch, Snapshot},
    validate::ValidService,
};
use crate::{
    git::{CommitId, Depth, Git, GitError, Remote, names::joined},
    metrics,
    platform::Platform,
    registry::signature::Seal,
    release::Contents,
};

/// What there is now; what could not be read is as it was in `old`.
pub(super) async fn look(
    (platform, origins): (&Platform, &Origins),
    (service, seals): (&ValidService, BTreeSet<Seal>),
    old: Option<&Snapshot>,
) -> (Snapshot, Option<Failure>) {
    let mut seen = old.cloned().unwrap_or_default();
    let failure = look_at_branches((platform, origins), service, &mut seen).await.err();
    seen.add_heads();
    look_at_images((platform, origins), service, &mut seen).await;
    look_at_signatures(origins, (service, seals), &mut seen).await;
    look_at_secrets(platform, service, &mut seen).await;
    (seen, failure)
}

async fn look_at_branches(
    (platform, origins): (&Platform, &Origins),
    service: &ValidService,
    seen: &mut Snapshot,
) -> Result<(), Failure> {
    let (remote, secret) = remote(platform, service).await?;
    let seen = look_at((&origins.git, platform.settings.largest_config), (service, &remote), seen).await;
    let interval = platform.settings.interval;
    seen.map_err(|failure| told(service, (&remote, secret.as_ref()), failure, interval))
}

/// One request when nothing changed. A branch that cannot be read leaves the others readable.
async fn look_at(
    (git, largest_config): (&Git, u64),
    (service, remote): (&ValidService, &Remote),
    seen: &mut Snapshot,
) -> Result<(), Failure> {
    let heads = counted("heads", git.heads(remote).await)?;
    let before = std::mem::take(&mut seen.branches);
    let mut failure = None;
    for environment in &service.environments {
        let name = &environment.branch;
        if seen.branches.contains_key(name) {
            continue;
        }
        let Some(head) = heads.get(name) else {
            seen.branches.insert(name.clone(), Branch::Missing);
            continue;
        };
        let readers = readers(service, name);
        match before.get(name).and_then(|branch| at(branch, head, &readers)) {
            Some(same) => drop(seen.branches.insert(name.clone(), same)),
            None => match read((git, largest_config), (service, remote), (name, readers)).await {
                Ok(branch) => drop(seen.branches.insert(name.clone(), branch)),
                Err(told) => {
                    failure = Some(told);
                    seen.branches.extend(before.get(name).map(|branch| (name.clone(), branch.clone())));
                }
            },
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Fetches the branch and reads its head, which may be newer than the one that was listed.
async fn read(
    (git, largest_config): (&Git, u64),
    (service, remote): (&ValidService, &Remote),
    (branch, readers): (&str, BTreeSet<String>),
) -> Result<Branch, Failure> {
    let commit = counted("fetch", git.fetch(remote, branch, Depth::One).await)?;
    let content: Result<Content, Problem> =
        content(git, remote, (&service.path, &commit), (readers, largest_config)).await?;
    Ok(Branch::Head { commit: commit.to_string(), content: content.map(Arc::new) })
}

/// What a configuration holds.
pub(super) async fn read_contents(
    (platform, origins): (&Platform, &Origins),
    service: &ValidService,
    (place, seen): (&Place, Option<&Snapshot>),
) -> Result<Contents, Failure> {
    let (git, (remote, _)) = (&origins.git, remote(platform, service).await?);
    let directory = joined(&service.path, &place.directory);
    let missing = || GitError::CommitMissing { url: remote.url.clone(), commit: place.commit.clone() };
    let commit = CommitId::parse(&place.commit).ok_or_else(|| from_git(&missing()))?;
    let first = contents(git, &remote, (&directory, &commit)).await;
    // A mirror that was made anew has what is fetched.
    let branches = seen.iter().flat_map(|seen| &seen.branches);
    let is_head = |(_, branch): &(&String, &Branch)| branch.commit() == Some(&place.commit);
    match (first, branches.into_iter().find(is_head)) {
        (Err(GitError::CommitMissing { .. } | GitError::Corrupt(..)), Some((branch, _))) => {
            counted("fetch", git.fetch(&remote, branch, Depth::One).await)?;
            contents(git, &remote, (&directory, &commit)).await
        }
        (first, _) => first,
    }
    .map_err(|error| from_git(&error))
}

/// The branch, if it was read at this commit for these environments.
fn at(branch: &Branch, head: &CommitId, readers: &BTreeSet<String>) -> Option<Branch> {
    match branch {
        Branch::Head { commit, content } if commit == head.as_str() => {
            let is_same = content.as_ref().map_or(true, |content| content.environments == *readers);
            is_same.then(|| branch.clone())
        }
        Branch::Head { .. } | Branch::Missing => None,
    }
}

/// Names of the environments that have this branch.
fn readers(service: &ValidService, branch: &str) -> BTreeSet<String> {
    let environments = service.environments.iter().filter(|environment| environment.branch == branch);
    environments.map(|environment| environment.name.clone()).collect()
}

/// Counts how a request to a Git host ended.
fn counted<T>(operation: &'static str, answer: Result<T, crate::git::GitError>) -> Result<T, Failure> {
    metrics::counted(operation, answer).map_err(|error| from_git(&error))
}

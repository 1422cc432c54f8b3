//! IO: asks the registry for images, by the hashes of commits or by the digests that descriptors name, and whether they are signed.

use std::collections::BTreeSet;

use super::{
    Problem,
    history::History,
    poll::Origins,
    promote::{named_digests, untagged},
    snapshot::{Signed, Snapshot, Tag},
    validate::ValidService,
};
use crate::{git::CommitId, platform::Platform, registry::signature::Seal};

/// Asks for the images that only the registry can name, and forgets those that nobody asks for any more.
pub(super) async fn look_at_images(
    (platform, origins): (&Platform, &Origins),
    service: &ValidService,
    seen: &mut Snapshot,
) {
    let mut digests = named_digests(service, seen);
    let Snapshot { branches, builds, tags, signed: _, secrets: _, failure: _ } = seen;
    let is_head = |commit: &String| branches.values().any(|branch| branch.commit() == Some(commit));
    let is_asked = |reference: &String| {
        is_head(reference)
            || digests.contains(reference)
            || builds.values().any(|build| build.commits.contains(reference))
    };
    tags.retain(|reference, _| is_asked(reference));
    digests.retain(|digest| !matches!(tags.get(digest), Some(Tag::Found(_))));
    let open = untagged(service, seen);
    if open.is_empty() && digests.is_empty() {
        return;
    }
    let releases = platform.releases.all_in(&service.home());
    let own = releases.iter().filter(|release| release.spec.service == service.name);
    let history = History::of(own.map(AsRef::as_ref));
    let mut answers = Vec::new();
    for (build_id, commits) in open {
        let known = history.newest_digest_of(&build_id).map(|digest| Tag::Found(digest.to_owned()));
        for commit in commits {
            let tag = match &known {
                Some(known) => known.clone(),
                None => tag(origins, service, commit).await,
            };
            let is_found = matches!(tag, Tag::Found(_));
            answers.push((commit.clone(), tag));
            if is_found {
                break;
            }
        }
    }
    for digest in digests.into_iter().filter(|digest| !history.has_digest(digest)) {
        let tag = image(origins, service, &digest).await;
        answers.push((digest, tag));
    }
    seen.tags.extend(answers);
}

/// Asks whether images are as `seals` say. A yes is kept for as long as it is asked for; a key that changes asks anew.
pub(super) async fn look_at_signatures(
    origins: &Origins,
    (service, seals): (&ValidService, BTreeSet<Seal>),
    seen: &mut Snapshot,
) {
    let mut before = std::mem::take(&mut seen.signed);
    for seal in seals {
        let said = match before.remove(&seal) {
            Some(Signed::Yes) => Signed::Yes,
            Some(Signed::No(_) | Signed::Unknown(_)) | None => signed(origins, service, &seal).await,
        };
        seen.signed.insert(seal, said);
    }
}

/// May `reference`, which the registry says it has now, be what an environment waits for? A digest that a descriptor names, or
/// the hash of a commit: CI is often faster than the interval, so that commit need not be known yet.
pub(super) fn may_be_awaited(service: &ValidService, seen: &Snapshot, reference: &str) -> bool {
    let is_found = matches!(seen.tags.get(reference), Some(Tag::Found(_)));
    let is_named = || named_digests(service, seen).contains(reference);
    !is_found && (CommitId::parse(reference).is_some() || is_named())
}

async fn tag(origins: &Origins, service: &ValidService, commit: &str) -> Tag {
    match origins.registry.digest(&service.tenant, &service.name, commit).await {
        Ok(Some(digest)) => Tag::Found(digest.to_string()),
        Ok(None) => Tag::Missing,
        Err(error) => Tag::Unknown(Problem::new(error.reason(), error.to_string())),
    }
}

async fn signed(origins: &Origins, service: &ValidService, seal: &Seal) -> Signed {
    match origins.registry.signed((&service.tenant, &service.name), seal).await {
        Ok(Ok(())) => Signed::Yes,
        Ok(Err(flaw)) => Signed::No(flaw),
        Err(error) => Signed::Unknown(Problem::new(error.reason(), error.to_string())),
    }
}

async fn image(origins: &Origins, service: &ValidService, digest: &str) -> Tag {
    let Ok(named) = digest.parse() else { return Tag::Missing };
    match origins.registry.exists(&service.tenant, &service.name, &named).await {
        Ok(true) => Tag::Found(digest.to_owned()),
        Ok(false) => Tag::Missing,
        Err(error) => Tag::Unknown(Problem::new(error.reason(), error.to_string())),
    }
}

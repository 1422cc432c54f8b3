//! IO: asks the registry for images by the hashes of commits.

use super::{
    Problem,
    history::History,
    poll::Origins,
    promote::untagged,
    resolve::{Branch, Snapshot, Tag},
    validate::ValidService,
};
use crate::platform::Platform;

/// Asks for the images that only the registry can name, and forgets those of commits that nobody asks for any more.
pub(super) async fn look_at_tags(
    (platform, origins): (&Platform, &Origins),
    service: &ValidService,
    seen: &mut Snapshot,
) {
    let Snapshot { branches, builds, tags, failure: _ } = seen;
    let is_head = |commit: &String| {
        branches.values().any(|branch| matches!(branch, Branch::Head { commit: head, .. } if head == commit))
    };
    tags.retain(|commit, _| is_head(commit) || builds.values().any(|build| build.commits.contains(commit)));
    let open = untagged(service, seen);
    if open.is_empty() {
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
    seen.tags.extend(answers);
}

async fn tag(origins: &Origins, service: &ValidService, commit: &str) -> Tag {
    match origins.registry.digest(&service.tenant, &service.name, commit).await {
        Ok(Some(digest)) => Tag::Found(digest.to_string()),
        Ok(None) => Tag::Missing,
        Err(error) => Tag::Unknown(Problem::new(error.reason(), error.to_string())),
    }
}

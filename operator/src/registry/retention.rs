//! Which images nothing needs any more. Pure.
//!
//! Needed is what a Release names (and Releases are kept as far as anybody can go back), what runs, and what the registry
//! has under the commits that are looked for; with it go the manifests that an index refers to, and signatures and the
//! like, which have the tag `sha256-<digest>…` of what they belong to. What is not needed goes when it was so for a
//! while: an image that was pushed a moment ago is not known to any release yet. The while begins anew when somebody
//! pushes it again under another tag, or when it was needed meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, TimestampRound, Unit};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    digest::Digest,
    usage::{Area, Roots},
};
use crate::names::hex;

/// Most images of a tenant that are remembered as not needed: 400 KB. The others begin to wait when these are gone.
const REMEMBERED_MAX: usize = 20_000;
/// Hexadecimal digits by which one is remembered.
const KEY_DIGITS: usize = 16;

/// What retention does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Nothing.
    Off,
    /// Says what it would delete.
    DryRun,
    /// Deletes it.
    Delete,
}

/// How it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// What it does.
    pub mode: Mode,
    /// How long an image must not have been needed.
    pub after: SignedDuration,
}

/// What must stay, of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Those of services that were looked at. Nothing goes from any other.
    pub repositories: BTreeSet<String>,
    /// What releases name and what runs.
    pub digests: BTreeSet<Digest>,
    /// Commits that services look for, or are at.
    pub tags: BTreeSet<String>,
}

impl Needs {
    /// What either needs, in the repositories that both know.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.repositories.retain(|name| other.repositories.contains(name));
        self.digests.extend(other.digests);
        self.tags.extend(other.tags);
        self
    }
}

/// Since when which images are not needed, as it is kept in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unneeded(BTreeMap<Timestamp, BTreeSet<String>>);

/// What follows from one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What goes, by repository, in this order: what an index refers to before the index, so that a crash in between
    /// leaves something by which the rest is found.
    pub doomed: BTreeMap<String, Vec<Digest>>,
    /// Bytes that this frees, once garbage is collected.
    pub bytes: u64,
    /// To be kept.
    pub unneeded: Unneeded,
}

/// What goes from `area`, where `before` is what was not needed so far.
pub fn plan(
    area: &Area,
    needs: &Needs,
    before: &Unneeded,
    (now, after): (Timestamp, SignedDuration),
) -> Plan {
    let (since, full_hour) = (before.by_key(), full_hour(now));
    let mut plan = Plan::default();
    let mut left = BTreeMap::new();
    let mut waiting: Vec<(Timestamp, String)> = Vec::new();
    for (name, roots) in &area.repositories {
        let mut kept = kept(area, name, roots, needs);
        let mut aged = Vec::new();
        let candidates: Vec<_> = roots.iter().filter(|(digest, _)| !kept.contains(digest)).collect();
        for (digest, tags) in candidates {
            let key = key(name, digest, tags);
            let unneeded_since = since.get(key.as_str()).copied().unwrap_or(full_hour);
            if now.duration_since(unneeded_since) >= after {
                aged.push(digest);
            } else {
                kept.insert(digest);
            }
            waiting.push((unneeded_since, key));
        }
        let stays = area.reached(kept.iter().copied().chain(&needs.digests));
        // What belongs to something that cannot be read is not known: it may be any of these.
        if area.is_unread(kept.iter().copied()) {
            aged.clear();
        }
        let goes = area.reached(aged).into_iter().filter(|digest| !stays.contains(digest));
        let goes: Vec<_> = goes.filter(|digest| area.manifests.contains_key(*digest)).collect();
        let stays_here = area.reached(roots.keys()).into_iter().filter(|digest| !goes.contains(digest));
        left.extend(stays_here.filter_map(|digest| Some((digest, area.manifests.get(digest)?))));
        if !goes.is_empty() {
            plan.doomed.insert(name.clone(), children_first(area, &goes));
        }
    }
    plan.bytes = area.bytes(&area.manifests).saturating_sub(area.bytes(left));
    plan.unneeded = Unneeded::of(waiting);
    plan
}

/// Of `roots`, what is needed, and what belongs to it by its tag.
fn kept<'a>(area: &'a Area, name: &str, roots: &'a Roots, needs: &Needs) -> BTreeSet<&'a Digest> {
    if !needs.repositories.contains(name) {
        return roots.keys().collect();
    }
    let is_needed = |(digest, tags): &(&Digest, &BTreeSet<String>)| {
        needs.digests.contains(*digest) || !tags.is_disjoint(&needs.tags)
    };
    let mut kept: BTreeSet<_> = roots.iter().filter(is_needed).map(|(digest, _)| digest).collect();
    loop {
        let reached = area.reached(kept.iter().copied());
        let belongs = |tag: &String| subject(tag).is_some_and(|subject| reached.contains(&subject));
        let more = roots.iter().filter(|(digest, tags)| {
            !kept.contains(digest) && (reached.contains(digest) || tags.iter().any(belongs))
        });
        let more: Vec<_> = more.map(|(digest, _)| digest).collect();
        if more.is_empty() {
            return kept;
        }
        kept.extend(more);
    }
}

/// What a signature or another attachment belongs to: `sha256-<64 digits>`, and whatever follows.
fn subject(tag: &str) -> Option<Digest> {
    let hex = tag.strip_prefix("sha256-")?.get(..64)?;
    format!("sha256:{hex}").parse().ok()
}

/// Deepest first; indexes of indexes are rare, and few.
fn children_first(area: &Area, goes: &[&Digest]) -> Vec<Digest> {
    let depth = |digest: &Digest| area.reached([digest]).len();
    let mut sorted: Vec<_> = goes.iter().map(|digest| (depth(digest), (*digest).clone())).collect();
    sorted.sort();
    sorted.into_iter().map(|(_, digest)| digest).collect()
}

/// All manifests of one repository, in the order of [`Plan::doomed`].
pub fn everything(area: &Area, name: &str) -> Vec<Digest> {
    let roots = area.repositories.get(name);
    let reached = area.reached(roots.into_iter().flat_map(BTreeMap::keys));
    let there: Vec<_> = reached.into_iter().filter(|digest| area.manifests.contains_key(*digest)).collect();
    children_first(area, &there)
}

fn key(repository: &str, digest: &Digest, tags: &BTreeSet<String>) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{repository}\0{digest}"));
    for tag in tags {
        hash.update(format!("\0{tag}"));
    }
    hex(&hash.finalize())[..KEY_DIGITS].to_owned()
}

/// Never earlier than `now`, so that nothing goes too early; so what is kept changes once an hour at the most.
fn full_hour(now: Timestamp) -> Timestamp {
    let up = TimestampRound::new().smallest(Unit::Hour).mode(jiff::RoundMode::Ceil);
    now.round(up).unwrap_or(now)
}

impl Unneeded {
    fn by_key(&self) -> BTreeMap<&str, Timestamp> {
        self.0.iter().flat_map(|(since, keys)| keys.iter().map(|key| (key.as_str(), *since))).collect()
    }

    /// The longest not needed, where there are too many.
    fn of(mut waiting: Vec<(Timestamp, String)>) -> Self {
        waiting.sort();
        waiting.truncate(REMEMBERED_MAX);
        let mut all: BTreeMap<Timestamp, BTreeSet<String>> = BTreeMap::new();
        for (since, key) in waiting {
            all.entry(since).or_default().insert(key);
        }
        Self(all)
    }
}

#[cfg(test)]
mod tests;

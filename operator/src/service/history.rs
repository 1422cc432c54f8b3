//! The releases of one service that were made. Pure.

mod needs;

pub use needs::{Needs, surplus, unreferenced};

use jiff::Timestamp;

use super::decision::retrier;
use crate::{
    api::{Cause, Release, ReleaseStatus},
    conditions::{FAILED, HEALTHY, PROVEN, is_true},
};

/// One release that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// What is missing until it counts as healthy for other environments.
    pub unproven: Option<String>,
    /// Its environment runs it.
    pub runs: bool,
    /// What Git asked for in it.
    pub content: Option<String>,
    /// A commit or a merge asked for it, not a Secret or the runtime alone.
    pub of_git: bool,
    /// Why it was given up.
    pub failed: Option<String>,
    /// What an instance of it said last, where it crashed.
    pub last_words: Option<String>,
    /// How often.
    pub failures: i32,
    /// The decision by which it is tried again.
    pub retried_by: Option<String>,
    /// When it was made; nothing for one that the API server has not yet shown.
    pub made: Option<Timestamp>,
}

/// The releases of one service, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(pub(super) Vec<Past>);

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

    /// The release of this name was told to be so a moment ago.
    pub fn told(&mut self, name: &str, status: &ReleaseStatus) {
        for past in self.0.iter_mut().filter(|past| past.name == name) {
            past.take(status);
        }
    }

    /// The environment of the release of this name runs it.
    pub fn runs(&mut self, name: &str) {
        for past in self.0.iter_mut().filter(|past| past.name == name) {
            past.runs = true;
        }
    }

    /// The release of this name.
    pub fn named(&self, name: &str) -> Option<&Past> {
        self.0.iter().find(|past| past.name == name)
    }

    /// The releases of `environment`, newest first.
    pub fn newest_first<'a>(&'a self, environment: &'a str) -> impl Iterator<Item = &'a Past> {
        self.0.iter().rev().filter(move |past| past.environment == environment)
    }

    /// What ran well last in `environment`, as far as the releases tell: what runs, if it ever did, else the newest that did.
    pub fn last_good<'a>(&'a self, environment: &'a str, runs: Option<&str>) -> Option<&'a Past> {
        let good = |past: &&Past| past.healthy && past.failed.is_none();
        let running = self.newest_first(environment).find(|past| runs == Some(past.name.as_str()));
        running.filter(good).or_else(|| self.newest_first(environment).find(good))
    }

    /// Did this release ever stand what its environment asks for?
    pub fn is_proven(&self, name: &str) -> bool {
        self.named(name).is_some_and(Past::is_proven)
    }

    /// The image of this build: the one that `environment` runs, so that nothing made for another moves it, else the
    /// newest.
    pub fn digest_of(&self, build_id: &str, environment: &str) -> Option<&str> {
        self.newest_for(environment, |past| past.build_id == build_id).map(|past| past.digest.as_str())
    }

    /// The newest image of this build.
    pub fn newest_digest_of(&self, build_id: &str) -> Option<&str> {
        self.newest(|past| past.build_id == build_id).map(|past| past.digest.as_str())
    }

    /// When the first release of this build was made, anywhere.
    pub fn first_made(&self, build_id: &str) -> Option<Timestamp> {
        self.0.iter().filter(|past| past.build_id == build_id).filter_map(|past| past.made).min()
    }

    /// Was a release ever made of this image?
    pub fn has_digest(&self, digest: &str) -> bool {
        self.0.iter().any(|past| past.digest == digest)
    }

    /// Was a release ever made for `environment`?
    pub fn has_any_in(&self, environment: &str) -> bool {
        self.0.iter().any(|past| past.environment == environment)
    }

    /// Did this image ever stand what `environment` asks for?
    pub fn was_proven_in(&self, environment: &str, digest: &str) -> bool {
        self.0.iter().any(|past| past.environment == environment && past.digest == digest && past.is_proven())
    }

    /// The release of this image that was healthy in `environment` and does not count as such elsewhere, the one that runs
    /// before all.
    pub fn unproven_in<'a>(&'a self, environment: &'a str, digest: &'a str) -> Option<&'a Past> {
        self.newest_for(environment, |past| {
            let is_here = past.environment == environment && past.digest == digest;
            is_here && past.healthy && past.unproven.is_some()
        })
    }

    /// Did what `content` asks for ever come to `environment`?
    pub fn was_let_in(&self, environment: &str, content: &str) -> bool {
        self.newest_first(environment).any(|past| past.content.as_deref() == Some(content))
    }

    /// As [`Self::digest_of`], of those images only that stood what `source` asks for.
    pub fn proven_digest_of(&self, build_id: &str, source: &str, environment: &str) -> Option<&str> {
        self.newest_for(environment, |past| self.is_proven_build(past, build_id, source))
            .map(|past| past.digest.as_str())
    }

    fn is_proven_build(&self, past: &Past, build_id: &str, source: &str) -> bool {
        past.build_id == build_id && self.was_proven_in(source, &past.digest)
    }

    fn newest(&self, fits: impl Fn(&Past) -> bool) -> Option<&Past> {
        self.0.iter().rev().find(|past| fits(past))
    }

    fn newest_for(&self, environment: &str, fits: impl Fn(&Past) -> bool) -> Option<&Past> {
        let running = self.newest(|past| past.runs && past.environment == environment && fits(past));
        running.or_else(|| self.newest(&fits))
    }
}

impl Past {
    fn is_proven(&self) -> bool {
        self.healthy && self.unproven.is_none()
    }

    fn take(&mut self, status: &ReleaseStatus) {
        let failed = status.conditions.iter().find(|one| one.type_ == FAILED && one.status == "True");
        self.healthy = is_true(&status.conditions, HEALTHY);
        let unproven = status.conditions.iter().find(|one| one.type_ == PROVEN && one.status != "True");
        self.unproven = unproven.map(|unproven| unproven.message.clone());
        self.failed = failed.map(|failed| failed.message.clone());
        self.last_words.clone_from(&status.last_words);
        self.failures = status.failures;
        let again = status.conditions.iter().find(|one| one.type_ == FAILED && one.status != "True");
        self.retried_by = again.and_then(|again| retrier(&again.message)).map(ToOwned::to_owned);
    }
}

fn past(release: &Release) -> Past {
    let mut past = Past {
        name: release.metadata.name.clone().unwrap_or_default(),
        environment: release.spec.environment.clone(),
        build_id: release.spec.build_id.clone(),
        digest: release.spec.digest.clone(),
        content: release.spec.content_revision.clone(),
        of_git: matches!(release.spec.cause, Cause::Commit | Cause::Promotion),
        made: release.metadata.creation_timestamp.as_ref().map(|time| time.0),
        ..Past::default()
    };
    past.take(release.status.as_ref().unwrap_or(&ReleaseStatus::default()));
    past
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(environment, build, digest, healthy)` of each release, oldest first; it is named by its place.
    pub fn history(releases: &[(&str, &str, &str, bool)]) -> History {
        let past = |(at, (environment, build, digest, healthy)): (usize, &(&str, &str, &str, bool))| Past {
            name: format!("orders-{environment}-{at:02}"),
            environment: (*environment).to_owned(),
            build_id: (*build).to_owned(),
            digest: (*digest).to_owned(),
            healthy: *healthy,
            made: Timestamp::from_second(i64::try_from(at).unwrap()).ok(),
            ..Past::default()
        };
        History(releases.iter().enumerate().map(past).collect())
    }

    #[test]
    fn what_ran_well_last_is_what_runs_if_it_ever_did() {
        let made = [("dev", "A", "A", true), ("dev", "B", "B", true), ("dev", "C", "C", false)];
        let mut history = history(&made);
        let good = |history: &History, runs| history.last_good("dev", runs).map(|past| past.name.clone());
        for (runs, last) in [(Some("orders-dev-00"), "00"), (Some("orders-dev-02"), "01"), (None, "01")] {
            assert_eq!(good(&history, runs), Some(format!("orders-dev-{last}")), "{runs:?}");
        }
        history.0[0].failed = Some("crashes".to_owned());
        assert_eq!(good(&history, Some("orders-dev-00")).as_deref(), Some("orders-dev-01"));
        assert_eq!(history.last_good("prod", None), None);
    }

    #[test]
    fn two_contents_whose_hashes_begin_alike_are_two() {
        let mut history = history(&[("prod", "A", "a", true)]);
        let [one, other] = ["0", "1"].map(|end| "4f2a".repeat(15) + &end.repeat(4));
        history.0[0].content = Some(one.clone());
        assert!(history.was_let_in("prod", &one) && !history.was_let_in("prod", &other));
    }

    #[test]
    fn what_runs_well_and_is_not_proven_counts_for_nothing_elsewhere() {
        let mut history = history(&[("dev", "A", "a", true), ("dev", "B", "b", true)]);
        history.0[1].unproven = Some("it waits for the gate load-test".to_owned());
        assert_eq!(history.proven_digest_of("A", "dev", "test"), Some("a"));
        assert_eq!(history.proven_digest_of("B", "dev", "test"), None);
        assert_eq!([history.was_proven_in("dev", "a"), history.was_proven_in("dev", "b")], [true, false]);
        assert!(history.is_proven("orders-dev-00") && !history.is_proven("orders-dev-01"));
        let told = |digest| history.unproven_in("dev", digest).map(|past| past.name.as_str());
        assert_eq!([told("a"), told("b")], [None, Some("orders-dev-01")]);
    }
}

//! The releases of one service that were made, and which of them nothing needs any more. Pure.
//!
//! Removing one must change no decision: the newest image of a build stays its image, and what was healthy in the
//! environment before stays so for whoever runs it, or asks for it, after.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{decision::retrier, promote::Wanted, status::Stage};
use crate::{
    api::{Cause, Release, ReleaseStatus, integration_service::EnvironmentState},
    conditions::{FAILED, HEALTHY, is_true},
    names::service_of_config_map,
};

/// Releases of a service that an Environment keeps when it does not say.
const DEFAULT_LIMIT: u16 = 10;

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
    /// Its environment runs it.
    pub runs: bool,
    /// What Git asked for in it.
    pub content: Option<String>,
    /// A commit or a merge asked for it, not a Secret or the runtime alone.
    pub of_git: bool,
    /// Why it was given up.
    pub failed: Option<String>,
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

    /// Was this release ever healthy?
    pub fn is_healthy(&self, name: &str) -> bool {
        self.0.iter().any(|past| past.name == name && past.healthy)
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

    /// Was a release ever made of this image?
    pub fn has_digest(&self, digest: &str) -> bool {
        self.0.iter().any(|past| past.digest == digest)
    }

    /// Was a release ever made for `environment`?
    pub fn has_any_in(&self, environment: &str) -> bool {
        self.0.iter().any(|past| past.environment == environment)
    }

    /// Was this image ever healthy in `environment`?
    pub fn was_healthy_in(&self, environment: &str, digest: &str) -> bool {
        self.0.iter().any(|past| past.environment == environment && past.digest == digest && past.healthy)
    }

    /// As [`Self::digest_of`], of those images only that were healthy in `source`.
    pub fn healthy_digest_of(&self, build_id: &str, source: &str, environment: &str) -> Option<&str> {
        self.newest_for(environment, |past| self.is_healthy_build(past, build_id, source))
            .map(|past| past.digest.as_str())
    }

    fn is_healthy_build(&self, past: &Past, build_id: &str, source: &str) -> bool {
        past.build_id == build_id && self.was_healthy_in(source, &past.digest)
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
    fn take(&mut self, status: &ReleaseStatus) {
        let failed = status.conditions.iter().find(|one| one.type_ == FAILED && one.status == "True");
        self.healthy = is_true(&status.conditions, HEALTHY);
        self.failed = failed.map(|failed| failed.message.clone());
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

/// What one environment needs of the past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Its name.
    pub environment: String,
    /// Where its images must have been healthy.
    pub promotes_from: Option<String>,
    /// The newest so many.
    pub limit: usize,
    /// By name: what runs, what ran well last, what is on its way.
    pub names: BTreeSet<String>,
    /// The build that its branch asks for.
    pub build_id: Option<String>,
    /// Images that it runs or is to run.
    pub digests: BTreeSet<String>,
}

impl Needs {
    /// Of an environment after a pass; `None` before Git was read, when it is not known what it needs.
    /// `limit`: of its Environment.
    pub fn of(stage: &Stage, before: Option<&EnvironmentState>, limit: Option<u16>) -> Option<Self> {
        let (build_id, digest) = match &stage.wanted {
            Wanted::Unknown => return None,
            Wanted::Nothing { build_id, .. } => (build_id.clone(), None),
            Wanted::Target(asked) => (Some(asked.resolved.build_id.clone()), Some(asked.digest.clone())),
        };
        let told = before.map(|state| [&state.current, &state.last_good, &state.candidate]);
        let running = stage.running.as_ref();
        let names = told.into_iter().flatten().flatten().chain(&stage.target);
        let limit = usize::from(limit.unwrap_or(DEFAULT_LIMIT));
        // Pods of versions that came and went during one roll-out may still be there.
        let factor = if stage.observed.as_ref().is_some_and(|observed| observed.well) { 1 } else { 2 };
        Some(Self {
            environment: stage.environment.name.clone(),
            promotes_from: stage.environment.promotes_from.clone(),
            limit: limit * factor,
            names: names.chain(running.map(|running| &running.release)).cloned().collect(),
            build_id,
            digests: running.map(|running| running.digest.clone()).into_iter().chain(digest).collect(),
        })
    }
}

/// Names of releases that nobody of `needs` needs, oldest first. Releases of other environments are left out.
pub fn surplus<'a>(history: &'a History, needs: &[Needs]) -> Vec<&'a str> {
    let kept: BTreeSet<_> = needs.iter().flat_map(|needs| history.needed(needs)).collect();
    let concerned = |past: &&Past| needs.iter().any(|needs| needs.environment == past.environment);
    let names = history.0.iter().filter(concerned).map(|past| past.name.as_str());
    names.filter(|name| !kept.contains(name)).collect()
}

impl History {
    fn needed(&self, needs: &Needs) -> Vec<&str> {
        let of_here = |past: &&Past| past.environment == needs.environment;
        let newest_first = || self.0.iter().rev().filter(of_here);
        let mut kept: Vec<_> = newest_first().take(needs.limit).collect();
        kept.extend(newest_first().find(|past| past.healthy));
        kept.extend(self.0.iter().filter(|past| needs.names.contains(&past.name)));
        let mut digests: BTreeSet<_> = needs.digests.iter().map(String::as_str).collect();
        if let Some(build_id) = &needs.build_id {
            kept.extend(self.newest(|past| past.build_id == *build_id));
            if let Some(source) = &needs.promotes_from {
                let newest = self.newest(|past| self.is_healthy_build(past, build_id, source));
                digests.extend(newest.map(|past| past.digest.as_str()));
                kept.extend(newest);
            }
        }
        if let Some(source) = &needs.promotes_from {
            let healthy = |digest: &&str| {
                self.newest(|past| past.healthy && past.environment == *source && past.digest == *digest)
            };
            kept.extend(digests.iter().filter_map(healthy));
        }
        kept.into_iter().map(|past| past.name.as_str()).collect()
    }
}

/// Those of `names` that are configurations of `service` and that none of `releases` refers to. It asks what is left,
/// not what was removed: a crash in between changes nothing.
pub fn unreferenced<'a>(
    service: &str,
    names: &'a [String],
    releases: impl IntoIterator<Item = &'a Release>,
) -> Vec<&'a str> {
    let configs = releases.into_iter().filter_map(|release| release.spec.config.as_ref());
    let referred: BTreeSet<_> = configs.map(|config| config.name.as_str()).collect();
    let of_service = |name: &&str| service_of_config_map(name) == Some(service);
    names.iter().map(String::as_str).filter(of_service).filter(|name| !referred.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{
        course::Course,
        status::{Observation, Running},
        validate::ValidEnvironment,
    };

    /// `(environment, build, digest, healthy)` of each release, oldest first; it is named by its place.
    fn history(releases: &[(&str, &str, &str, bool)]) -> History {
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

    fn needs(environment: &str, promotes_from: Option<&str>, limit: usize) -> Needs {
        Needs {
            environment: environment.to_owned(),
            promotes_from: promotes_from.map(ToOwned::to_owned),
            limit,
            ..Needs::default()
        }
    }

    fn named(mut needs: Needs, names: &[&str]) -> Needs {
        needs.names = names.iter().map(ToString::to_string).collect();
        needs
    }

    fn gone_of(made: &[(&str, &str, &str, bool)], needs: &[Needs]) -> Vec<String> {
        surplus(&history(made), needs).into_iter().map(ToOwned::to_owned).collect()
    }

    const BUILDS: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];

    #[test]
    fn the_newest_stay_and_nothing_of_other_environments_goes() {
        let mut made: Vec<_> = BUILDS.map(|build| ("dev", build, build, false)).to_vec();
        made.extend(BUILDS.map(|build| ("sandbox", build, build, false)));
        let gone = |limit| gone_of(&made, &[needs("dev", None, limit)]).len();
        assert_eq!([gone(1), gone(5), gone(8), gone(100)], [7, 3, 0, 0]);
        assert_eq!(
            gone_of(&made, &[needs("dev", None, 6)]),
            ["orders-dev-00", "orders-dev-01"],
            "the oldest first"
        );
    }

    #[test]
    fn what_runs_what_ran_well_and_what_comes_stay_however_old() {
        let made = BUILDS.map(|build| ("dev", build, build, build == "C"));
        let board = ["orders-dev-00", "orders-dev-01", "orders-dev-03"];
        assert_eq!(
            gone_of(&made, &[named(needs("dev", None, 1), &board)]),
            ["orders-dev-04", "orders-dev-05", "orders-dev-06"],
            "00, 01 and 03 are on the board, 02 is the last that was healthy, 07 is the newest"
        );
    }

    #[test]
    fn what_another_environment_runs_stays_healthy_where_it_comes_from() {
        let mut made = BUILDS.map(|build| ("dev", build, build, true)).to_vec();
        made.push(("prod", "B", "B", true));
        let mut prod = needs("prod", Some("dev"), 1);
        prod.digests.insert("B".to_owned());
        let gone = gone_of(&made, &[needs("dev", None, 1), prod]);
        assert_eq!(gone.len(), 6);
        assert!(
            !gone.contains(&"orders-dev-01".to_owned()) && !gone.contains(&"orders-prod-08".to_owned()),
            "{gone:?}"
        );
    }

    #[test]
    fn what_a_branch_asks_for_stays_where_it_was_healthy() {
        let made = BUILDS.map(|build| ("dev", build, build, build == "B"));
        let mut prod = needs("prod", Some("dev"), 1);
        prod.build_id = Some("B".to_owned());
        let gone = gone_of(&made, &[needs("dev", None, 1), prod.clone()]);
        assert!(gone.len() == 6 && !gone.contains(&"orders-dev-01".to_owned()), "{gone:?}");
        prod.build_id = Some("C".to_owned());
        let gone = gone_of(&made, &[needs("dev", None, 1), prod]);
        assert!(
            !gone.contains(&"orders-dev-02".to_owned()),
            "the newest image of a build stays its image: {gone:?}"
        );
    }

    #[test]
    fn the_newest_image_of_a_build_outlives_later_builds() {
        let made = [("dev", "A", "X", true), ("dev", "A", "Y", false), ("dev", "B", "Z", true)];
        let mut dev = needs("dev", None, 1);
        dev.build_id = Some("A".to_owned());
        let gone = gone_of(&made, &[dev]);
        assert_eq!(gone, ["orders-dev-00"], "else A would be X of a sudden");
    }

    fn stage(wanted: Wanted, well: bool) -> Stage {
        let environment = ValidEnvironment {
            name: "dev".to_owned(),
            namespace: "acme-dev".to_owned(),
            branch: "dev".to_owned(),
            promotes_from: None,
            frozen: false,
            ending: None,
            bypasses: vec![],
        };
        let running =
            Running { release: "orders-dev-09".to_owned(), digest: "Y".to_owned(), runtime_revision: None };
        let observed = Observation { well, ..Observation::default() };
        Stage {
            environment,
            wanted,
            target: None,
            running: Some(running),
            observed: Some(observed),
            problems: vec![],
            course: Course::default(),
            held: vec![],
        }
    }

    #[test]
    fn nothing_is_known_to_be_unneeded_before_git_was_read() {
        assert_eq!(Needs::of(&stage(Wanted::Unknown, true), None, Some(1)), None);
    }

    #[test]
    fn the_board_before_and_what_runs_are_needed() {
        let wanted = || Wanted::Nothing {
            commit: None,
            build_id: Some("B".to_owned()),
            waiting: vec![],
            tags: vec![],
        };
        let before = EnvironmentState {
            current: Some("orders-dev-09".to_owned()),
            last_good: Some("orders-dev-07".to_owned()),
            candidate: Some("orders-dev-08".to_owned()),
            ..EnvironmentState::default()
        };
        let needs = |well, limit| Needs::of(&stage(wanted(), well), Some(&before), limit).unwrap();
        let names: Vec<_> = needs(true, None).names.into_iter().collect();
        assert_eq!(names, ["orders-dev-07", "orders-dev-08", "orders-dev-09"]);
        assert_eq!((needs(true, None).limit, needs(true, Some(3)).limit), (10, 3));
        assert_eq!(needs(false, Some(3)).limit, 6, "pods of the versions in between may be left");
        assert_eq!(needs(true, None).digests, BTreeSet::from(["Y".to_owned()]));
    }

    fn release(name: &str, config: &str) -> Release {
        serde_saphyr::from_str(&format!(
            "
            apiVersion: imaas.dev/v1alpha1
            kind: Release
            metadata: {{name: {name}, namespace: acme-home}}
            spec:
              {{service: orders, environment: dev, commit: c, buildId: b, image: i, digest: d, runtime: camel, cause: Commit,
               type: api, many: true, strategy: rolling, replicas: 2, template: {{}}, config: {{name: {config}}}}}
            "
        ))
        .unwrap()
    }

    #[test]
    fn a_configuration_goes_when_no_release_refers_to_it_whoever_removed_that() {
        let names =
            "orders-aaaaaaaaaaaa orders-bbbbbbbbbbbb orders-eu-cccccccccccc orders-notes orders-dddddddddddd";
        let names: Vec<_> = names.split(' ').map(ToOwned::to_owned).collect();
        let left =
            [release("orders-dev-1", "orders-aaaaaaaaaaaa"), release("orders-dev-2", "orders-aaaaaaaaaaaa")];
        let gone = unreferenced("orders", &names, &left);
        assert_eq!(gone, ["orders-bbbbbbbbbbbb", "orders-dddddddddddd"], "no other service's, no one else's");
    }
}

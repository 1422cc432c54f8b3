//! Which of the releases of one service nothing needs any more. Pure.
//!
//! Removing one must change no decision: the newest image of a build stays its image, and what was healthy in the
//! environment before stays so for whoever runs it, or asks for it, after.

use std::collections::BTreeSet;

use super::{History, Past};
use crate::{
    api::{Release, integration_service::EnvironmentState},
    names::service_of_config_map,
    service::{promote::Wanted, status::Stage},
};

/// Releases of a service that an Environment keeps when it does not say.
const DEFAULT_LIMIT: u16 = 10;

/// What one environment needs of the past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Its name.
    pub environment: String,
    /// Where its images must have been healthy.
    pub promotes_from: Option<String>,
    /// The newest so many.
    pub limit: usize,
    /// By name: what runs, what ran well last, what is on its way, what is tried.
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
        let trial = before.and_then(|state| state.trial.as_ref()).map(|trial| &trial.release);
        let running = stage.running.as_ref();
        let names = told.into_iter().flatten().flatten().chain(trial).chain(&stage.target);
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
                let newest = self.newest(|past| self.is_proven_build(past, build_id, source));
                digests.extend(newest.map(|past| past.digest.as_str()));
                kept.extend(newest);
            }
        }
        if let Some(source) = &needs.promotes_from {
            let proven = |digest: &&str| {
                self.newest(|past| past.is_proven() && past.environment == *source && past.digest == *digest)
            };
            kept.extend(digests.iter().filter_map(proven));
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
    use crate::{
        api::integration_service::Trial,
        sample,
        service::{
            course::Course,
            history::tests::history,
            status::{Observation, Running},
        },
    };

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
        let environment = sample::environment("dev", None);
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
            asked: None,
            build_id: Some("B".to_owned()),
            waiting: vec![],
            tags: vec![],
        };
        let before = EnvironmentState {
            current: Some("orders-dev-09".to_owned()),
            last_good: Some("orders-dev-07".to_owned()),
            candidate: Some("orders-dev-08".to_owned()),
            trial: Some(Trial { release: "orders-dev-05".to_owned(), ..Trial::default() }),
            ..EnvironmentState::default()
        };
        let needs = |well, limit| Needs::of(&stage(wanted(), well), Some(&before), limit).unwrap();
        let names: Vec<_> = needs(true, None).names.into_iter().collect();
        assert_eq!(names, ["orders-dev-05", "orders-dev-07", "orders-dev-08", "orders-dev-09"]);
        assert_eq!((needs(true, None).limit, needs(true, Some(3)).limit), (10, 3));
        assert_eq!(needs(false, Some(3)).limit, 6, "pods of the versions in between may be left");
        assert_eq!(needs(true, None).digests, BTreeSet::from(["Y".to_owned()]));
    }

    fn release(name: &str, config: &str) -> Release {
        sample::release(name, &format!("config: {{name: {config}}}"))
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

//! What a commit says, in one environment. Pure: `poll` brings the bytes.
//!
//! A commit is read once ([`Content`]), whatever the number of environments whose branch points to it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Problem;
use crate::{
    api::{DescriptorSpec, ServiceDescriptor},
    conditions::Reason,
    git::{Directory, File, names::joined},
    release::{ConfigFile, ConfigFiles},
    runtime::stateful,
    yaml,
};

/// Name of the descriptor in the service's directory.
pub const DESCRIPTOR: &str = "imaas.yaml";
/// Largest descriptor, in bytes.
pub const DESCRIPTOR_BYTES: u64 = 64 << 10;
/// What makes no new build where the descriptor does not say.
const DEFAULT_IGNORE: [&str; 2] = ["*.md", "docs"];
/// Git's mode of a file that may be run.
const EXECUTABLE: u32 = 0o100_755;
/// Paths of one configuration directory together, in bytes. They are held for each service and environment.
const LONGEST_PATHS: usize = 64 << 10;
/// At most so many problems of a descriptor are told.
const TOLD_PROBLEMS: usize = 3;

/// What a commit holds for a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// Of the descriptor, from the root of the repository.
    pub file: String,
    /// Environments that the descriptor names and that are not among `environments`.
    pub others: Vec<String>,
    /// Where the descriptor's fields stand, also those of `environments`.
    pub places: BTreeMap<String, (u32, u32)>,
    /// 40 hexadecimal digits.
    pub commit: String,
    /// When that was committed, as its committer's clock said.
    pub committed: Option<Timestamp>,
    /// Hash of everything that makes the image.
    pub build_id: String,
    /// For which it was read: the service's environments that have this branch.
    pub environments: BTreeSet<String>,
    /// As the file says, before any environment's own; without what it says of others than `environments`.
    pub descriptor: ServiceDescriptor,
    /// Every directory that some of `environments` names in `config`. What the files hold is not kept.
    pub configs: BTreeMap<String, Result<ConfigFiles, Problem>>,
    /// What in its source is unsafe to run as many, in short; looked for only where it may run so without a word on it.
    pub stateful: Option<String>,
}

/// What one environment is to run, but for the image's digest.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// 40 hexadecimal digits.
    pub commit: String,
    /// Hash of everything that makes the image.
    pub build_id: String,
    /// After the environment's merge patch.
    pub settings: DescriptorSpec,
    /// Files of the directory that `settings.config` names.
    pub config: Option<ConfigFiles>,
    /// Why it must not run as many as long as the descriptor does not say how its instances agree.
    pub uncoordinated: Option<String>,
    /// Field → `imaas.yaml:7:3`, where it stands for this environment.
    pub places: BTreeMap<String, String>,
}

impl Resolved {
    /// `message`, which begins with the field that it is about, with the place of that in its file.
    pub fn placed(&self, message: &str) -> String {
        let field = message.split([':', '.']).next().unwrap_or_default();
        let place = self.places.get(field).or_else(|| self.places.get(list_of(field)));
        place.map_or_else(|| message.to_owned(), |place| format!("{place}: {message}"))
    }
}

/// The field of `uses[1]`.
fn list_of(field: &str) -> &str {
    field.split('[').next().unwrap_or(field)
}

impl Content {
    /// Where each field stands, the environment's own before what holds everywhere.
    fn places(&self, environment: &str) -> BTreeMap<String, String> {
        let own = format!("environments.{environment}.");
        let mut places = BTreeMap::new();
        for (path, (line, column)) in &self.places {
            let field = path.strip_prefix(&own).unwrap_or(path);
            let is_replaced = || self.places.contains_key(&format!("{own}{}", list_of(field)));
            if !field.contains('.') && (field != path || !is_replaced()) {
                places.insert(field.to_owned(), format!("{}:{line}:{column}", self.file));
            }
        }
        places
    }

    /// What to tell of an environment that `known` does not hold; one that the tenant is not in is no mistake.
    pub fn unknown(&self, known: &BTreeSet<String>) -> Option<String> {
        let name = self.others.iter().find(|name| !known.contains(*name))?;
        let known: Vec<_> = known.iter().map(String::as_str).collect();
        Some(format!(
            "{}: environments.{name}: there is no Environment {name:?}, only {}",
            self.file,
            known.join(", ")
        ))
    }
}

/// The commit as `environment` sees it.
pub fn resolve(content: &Content, environment: &str) -> Result<Resolved, Problem> {
    if !content.environments.contains(environment) {
        let message = format!("the commit {} is being read for {environment}", content.commit);
        return Err(Problem::new(Reason::Progressing, message));
    }
    let settings = yaml::settings(&content.descriptor, environment)
        .map_err(|problems| invalid(&content.file, &problems))?;
    let config = match &settings.config {
        None => None,
        Some(directory) => Some(content.configs.get(directory).cloned().unwrap_or_else(|| {
            Err(Problem::new(
                Reason::InvalidConfig,
                format!("config: the directory {directory:?} was not read"),
            ))
        })?),
    };
    let stateful = content.stateful.as_ref().filter(|_| stateful::is_uncoordinated(&settings));
    let uncoordinated = stateful.map(|found| format!("{found}: in {} {}", content.file, stateful::ADVICE));
    Ok(Resolved {
        commit: content.commit.clone(),
        build_id: content.build_id.clone(),
        settings,
        config,
        uncoordinated,
        places: content.places(environment),
    })
}

/// Is this what some call the descriptor, and nobody reads, such as `imaas.yml` and `Imaas.yaml`?
pub fn is_misnamed(file: &str) -> bool {
    file != DESCRIPTOR && [DESCRIPTOR, "imaas.yml"].contains(&file.to_lowercase().as_str())
}

/// Told of a commit without a descriptor; `misnamed`: what it has in its place.
pub fn no_descriptor(path: &str, misnamed: Option<&str>) -> Problem {
    let message = if let Some(file) = misnamed {
        format!("the commit has {}, which nobody reads: rename it to {DESCRIPTOR}", joined(path, file))
    } else {
        let file = joined(path, DESCRIPTOR);
        format!("the commit has no {file}: add it; docs/descriptor.md of the operator has its fields")
    };
    Problem::new(Reason::DescriptorMissing, message)
}

/// The descriptor from its bytes.
pub fn descriptor(path: &str, bytes: &[u8]) -> Result<ServiceDescriptor, Problem> {
    yaml::descriptor(bytes).map_err(|problems| invalid(&joined(path, DESCRIPTOR), &problems))
}

/// `imaas.yaml:7:3: scaling.min: …`, the first few.
fn invalid(file: &str, problems: &[yaml::Problem]) -> Problem {
    let told: Vec<_> =
        problems.iter().take(TOLD_PROBLEMS).map(|problem| format!("{file}:{problem}")).collect();
    let more = problems.len().saturating_sub(TOLD_PROBLEMS);
    let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    Problem::new(Reason::InvalidDescriptor, format!("{}{more}", told.join("; ")))
}

/// The directories that some environment may name in `config`.
pub fn config_directories(descriptor: &ServiceDescriptor) -> BTreeSet<String> {
    let patches = descriptor.environments.values().filter_map(|patch| patch.get("config")?.as_str());
    descriptor.spec.config.as_deref().into_iter().chain(patches).map(ToOwned::to_owned).collect()
}

/// The directories that are the configuration of `environments`.
pub fn configs_of(descriptor: &ServiceDescriptor, environments: &BTreeSet<String>) -> BTreeSet<String> {
    let of = |environment: &String| yaml::settings(descriptor, environment).ok()?.config;
    environments.iter().filter_map(of).collect()
}

/// Files of a configuration directory as it was read. What is there and cannot be used is a problem, not a gap.
pub fn config(directory: &str, read: Directory) -> Result<ConfigFiles, Problem> {
    let refused = |message| Err(Problem::new(Reason::InvalidConfig, message));
    if let Some((name, why)) = read.ignored.first() {
        return refused(format!(
            "config: {directory}/{name}: {why}: remove it from the directory or make it a file"
        ));
    }
    let paths = read.files.keys().map(String::len).sum::<usize>();
    if paths > LONGEST_PATHS {
        return refused(format!(
            "config: the paths of the files in {directory} have {paths} characters together, more than {LONGEST_PATHS}: shorten them"
        ));
    }
    Ok(read.files.into_iter().map(|(name, file)| (name, config_file(file))).collect())
}

fn config_file(file: File) -> ConfigFile {
    ConfigFile { blob: file.blob, size: file.size, executable: file.mode == EXECUTABLE }
}

/// Which paths, relative to the service's directory, make no new build. It asks the descriptor itself and no
/// environment's patch, so that one commit has one build id.
#[derive(Clone, Debug)]
pub struct Unbuilt {
    configs: BTreeSet<String>,
    patterns: Vec<String>,
}

impl Unbuilt {
    /// `imaas.yaml`, every configuration directory, and what `ignore` names.
    pub fn of(descriptor: &ServiceDescriptor) -> Self {
        let default = || DEFAULT_IGNORE.map(ToOwned::to_owned).to_vec();
        Self {
            configs: config_directories(descriptor),
            patterns: descriptor.spec.ignore.clone().unwrap_or_else(default),
        }
    }

    /// Is this file or directory left out?
    pub fn excludes(&self, path: &str) -> bool {
        path == DESCRIPTOR
            || self.configs.contains(path)
            || self.patterns.iter().any(|pattern| matches(pattern, path))
    }
}

/// `*.md` is every file with that ending, `docs` and `a/b` a file or directory at that place.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(ending) => {
            path.rsplit('/').next().is_some_and(|name| name.len() > ending.len() && name.ends_with(ending))
        }
        None => pattern.trim_end_matches('/') == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: &str = "apiVersion: imaas.dev/v1alpha1
kind: ServiceDescriptor
type: api
scaling: {min: 2}
env: {LOG_LEVEL: info}
config: config
environments:
  prod: {scaling: {min: 3}, config: config-prod, env: {LOG_LEVEL: warn}}
";

    fn content(text: &str) -> Content {
        let descriptor = descriptor("", text.as_bytes()).unwrap();
        let file = |value: &str| {
            let file = ConfigFile { blob: value.to_owned(), size: 7, executable: false };
            Ok(ConfigFiles::from([("app.properties".to_owned(), file)]))
        };
        Content {
            file: "services/orders/imaas.yaml".to_owned(),
            others: vec!["prd".to_owned(), "test".to_owned()],
            places: yaml::places(text.as_bytes()),
            commit: "4f2a".repeat(10),
            committed: None,
            build_id: "b1".to_owned(),
            environments: ["dev", "prod"].map(ToOwned::to_owned).into(),
            descriptor,
            configs: BTreeMap::from([
                ("config".to_owned(), file("for=all")),
                ("config-prod".to_owned(), file("for=prod")),
            ]),
            stateful: None,
        }
    }

    #[test]
    fn an_environment_has_its_own_over_what_holds_everywhere() {
        let content = content(ORDERS);
        let (dev, prod) = (resolve(&content, "dev").unwrap(), resolve(&content, "prod").unwrap());
        assert_eq!((dev.settings.scaling.min, prod.settings.scaling.min), (2, 3));
        assert_eq!(
            (dev.settings.env["LOG_LEVEL"].as_str(), prod.settings.env["LOG_LEVEL"].as_str()),
            ("info", "warn")
        );
        assert_eq!(dev.config.unwrap()["app.properties"].blob, "for=all");
        assert_eq!(prod.config.unwrap()["app.properties"].blob, "for=prod");
        assert_eq!(dev.build_id, prod.build_id);
        let new = resolve(&content, "test").unwrap_err();
        assert_eq!(new.reason, Reason::Progressing, "never without what the file may say of it");
    }

    #[test]
    fn what_is_wrong_in_a_list_is_placed_at_its_own_line() {
        let text = "apiVersion: imaas.dev/v1alpha1
kind: ServiceDescriptor
uses:
  - {service: a, as: A}
  - {service: b, as: B}
environments:
  prod: {uses: [{service: c, as: C}]}
";
        let content = content(text);
        let placed = |environment: &str, message: &str| {
            let placed = resolve(&content, environment).unwrap().placed(message);
            placed.strip_prefix("services/orders/imaas.yaml:").unwrap_or_default().to_owned()
        };
        assert_eq!(placed("dev", "uses[1]: there is no b"), "5:5: uses[1]: there is no b");
        assert_eq!(placed("dev", "uses[0].as: x"), "4:5: uses[0].as: x");
        assert_eq!(placed("prod", "uses[0]: x"), "7:17: uses[0]: x");
        // Of the environment's own list, whatever stands in the other.
        assert_eq!(placed("prod", "uses[1]: x"), "7:16: uses[1]: x");
    }

    #[test]
    fn what_is_unsafe_as_many_is_told_where_nothing_says_how_its_instances_agree() {
        let own = "{scaling: {min: 3}, instances: one,";
        let mut content = content(&ORDERS.replace("{scaling: {min: 3},", own));
        content.stateful = Some("services/orders/a.xml:2: the scheduled task \"a\" starts".to_owned());
        let told = |content: &Content, environment| resolve(content, environment).unwrap().uncoordinated;
        assert_eq!(
            told(&content, "dev").unwrap(),
            "services/orders/a.xml:2: the scheduled task \"a\" starts: in services/orders/imaas.yaml say `instances: one`, or in `coordination` how its instances see to it that one does it"
        );
        assert_eq!(told(&content, "prod"), None, "there it is one");
        content.descriptor.spec.coordination = Some("WSO2_COORDINATION_DB".to_owned());
        assert_eq!(told(&content, "dev"), None);
    }

    #[test]
    fn only_the_configuration_of_the_services_own_environments_is_read() {
        let many: Vec<_> = (1..=16).map(|n| format!("  e{n}: {{config: c{n}}}\n")).collect();
        let many = many.concat();
        let text = "apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\nconfig: c0\nenvironments:\n";
        let descriptor = descriptor("", format!("{text}{many}").as_bytes()).unwrap();
        let of = |names: &[&str]| -> Vec<String> {
            let names = names.iter().map(ToString::to_string).collect();
            configs_of(&descriptor, &names).into_iter().collect()
        };
        assert_eq!(of(&["dev", "prod"]), ["c0"]);
        assert_eq!(of(&["dev", "e7"]), ["c0", "c7"]);
        assert_eq!(of(&["e7"]), ["c7"]);
        assert_eq!(config_directories(&descriptor).len(), 17, "none of them makes a build");
    }

    #[test]
    fn a_broken_descriptor_is_told_with_its_place() {
        let problem = descriptor("", ORDERS.replace("type: api", "typ: api").as_bytes()).unwrap_err();
        assert_eq!(problem.reason, Reason::InvalidDescriptor);
        assert!(problem.message.starts_with("imaas.yaml:3:1: "), "{}", problem.message);
        let text = ORDERS.replace("type: api", "typ: api");
        let below = descriptor("services/orders", text.as_bytes()).unwrap_err();
        assert!(below.message.starts_with("services/orders/imaas.yaml:3:1: "), "{}", below.message);
        let missing = no_descriptor("services/orders", None);
        assert_eq!(missing.reason, Reason::DescriptorMissing);
        assert!(missing.message.contains("services/orders/imaas.yaml"), "{}", missing.message);
    }

    #[test]
    fn what_shows_only_beside_the_platform_is_told_with_its_place() {
        let content = content(ORDERS);
        let told = |environment| resolve(&content, environment).unwrap().placed("env: LANG is kept");
        assert_eq!(told("dev"), "services/orders/imaas.yaml:5:6: env: LANG is kept");
        assert_eq!(told("prod"), "services/orders/imaas.yaml:8:55: env: LANG is kept");
        assert_eq!(
            resolve(&content, "dev").unwrap().placed("the template is large"),
            "the template is large"
        );
    }

    #[test]
    fn an_environment_that_the_platform_does_not_have_is_told_and_another_tenants_is_not() {
        let known: BTreeSet<_> = ["dev", "prod", "test"].map(ToOwned::to_owned).into();
        assert_eq!(
            content(ORDERS).unknown(&known).unwrap(),
            "services/orders/imaas.yaml: environments.prd: there is no Environment \"prd\", only dev, prod, test"
        );
        let known = ["dev", "prd", "prod", "test"].map(ToOwned::to_owned).into();
        assert_eq!(content(ORDERS).unknown(&known), None);
    }

    #[test]
    fn only_what_goes_into_the_image_makes_a_build() {
        let unbuilt = Unbuilt::of(&content(ORDERS).descriptor);
        for path in ["imaas.yaml", "config", "config-prod", "README.md", "src/notes.md", "docs"] {
            assert!(unbuilt.excludes(path), "{path}");
        }
        for path in ["src", "src/docs", "src/imaas.yaml", "documents", "pom.xml", ".md", "configs"] {
            assert!(!unbuilt.excludes(path), "{path}");
        }
        let own = Unbuilt::of(
            &content(&ORDERS.replace("config: config\n", "ignore: [tests/, \"*.txt\"]\n")).descriptor,
        );
        assert!(own.excludes("tests") && own.excludes("a/b.txt") && !own.excludes("README.md"));
    }

    #[test]
    fn a_link_among_the_configuration_is_a_problem_and_not_a_gap() {
        let file = File { mode: 0o100_644, blob: "4f2a".to_owned(), size: 3, content: Vec::new() };
        let mut read =
            Directory { files: BTreeMap::from([("a.properties".to_owned(), file)]), ..Directory::default() };
        assert_eq!(config("config", read.clone()).unwrap()["a.properties"].blob, "4f2a");
        read.ignored.push(("passwd".to_owned(), "is a symbolic link"));
        let problem = config("config", read).unwrap_err();
        assert_eq!(problem.reason, Reason::InvalidConfig);
        assert!(problem.message.contains("config/passwd"), "{}", problem.message);
    }

    #[test]
    fn names_that_take_more_room_than_a_directory_may_are_told() {
        let file = |n: usize| {
            (format!("{n:0>251}"), File { mode: 0o100_644, blob: String::new(), size: 1, content: vec![] })
        };
        let read = |files| Directory { files: (0..files).map(file).collect(), ..Directory::default() };
        assert!(config("config", read(261)).is_ok());
        let problem = config("config", read(262)).unwrap_err();
        assert!(problem.message.contains("shorten"), "{}", problem.message);
    }
}

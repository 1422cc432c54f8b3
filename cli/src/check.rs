//! Tenant files and the platform in, valid tenants and every problem of the others out. Pure. The rules are the operator's.

use std::collections::{BTreeMap, BTreeSet};

use imaas_operator::{
    api::Tenant,
    environment,
    git::UrlPolicy,
    source::{
        check::{Checked, Surroundings, check},
        limits,
        parse::{ENDING, FileProblem, Files, Parsed, parse, tenant_of},
    },
    tenant::validate::{ValidTenant, validate},
    yaml::Problem,
};
use kube::ResourceExt;
use serde::Serialize;

use crate::{
    consumers::{self, Absent},
    cores,
    output::plain,
    owners,
    platform::Platform,
};

/// Files are told by their names in the directory of tenants; where that is, is told by who knows.
const DIRECTORY: &str = "";

/// The longest quoted line, in characters.
pub const QUOTE: usize = 160;

/// The lines of a file, as they are quoted: split once, and cut, however many problems it has and however long its lines.
#[derive(Debug, Default)]
pub struct Lines(Vec<String>);

impl Lines {
    /// Of a whole file.
    pub fn of(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        Self(text.lines().map(|line| line.chars().take(QUOTE).collect()).collect())
    }

    /// `line`, from 1; nothing for 0 and past the end.
    fn quoted(&self, line: u32) -> Option<String> {
        self.0.get((line as usize).checked_sub(1)?).cloned()
    }
}

/// A problem as it is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Told {
    /// Path of the file, as the reader finds it.
    pub file: String,
    /// From 1; 0 where the problem has no place in a file.
    pub line: u32,
    /// In characters, from 1; 0 like `line`.
    pub column: u32,
    /// Such as `spec.services[0].runtime`; empty for the file as a whole.
    pub field: String,
    /// What to change.
    pub message: String,
    /// The line itself, for people.
    #[serde(skip)]
    pub quote: Option<String>,
}

impl Told {
    /// `problem` of `file`, which has `lines`.
    pub fn new(file: String, problem: &Problem, lines: &Lines) -> Self {
        let Problem { line, column, path, message } = problem;
        let quote = lines.quoted(*line);
        Self { file, line: *line, column: *column, field: plain(path), message: plain(message), quote }
    }

    /// A problem of the file as a whole.
    pub fn whole(file: String, message: &str) -> Self {
        let none = Problem { line: 0, column: 0, path: String::new(), message: message.to_owned() };
        Self::new(file, &none, &Lines::default())
    }

    /// The field and what to change.
    pub fn sentence(&self) -> String {
        if self.field.is_empty() { self.message.clone() } else { format!("{}: {}", self.field, self.message) }
    }

    /// `file:line:column`, as far as there is one, on one line whatever the file is called.
    pub fn place(&self) -> String {
        let file = plain(&self.file);
        if self.line == 0 { file } else { format!("{file}:{}:{}", self.line, self.column) }
    }
}

/// Tenant files, examined.
#[derive(Debug, Default)]
pub struct Examined {
    /// What can be applied and what cannot, as the operator's own plan takes it.
    pub checked: Checked,
    /// By name; the same tenants as `checked.valid`.
    pub valid: BTreeMap<String, ValidTenant>,
    /// What is exported to nobody.
    pub absent: Vec<Absent>,
    /// What else may be meant, and is told all the same.
    pub warnings: Vec<FileProblem>,
    /// How many services the readable files have.
    pub services: usize,
    parsed: Parsed,
}

impl Examined {
    /// How many tenants there are, valid or not.
    pub fn tenants(&self) -> usize {
        self.parsed.tenants.len()
    }

    /// Every problem, by file and place. `path` makes a path of a file's name.
    pub fn told(&self, path: impl Fn(&str) -> String) -> Vec<Told> {
        self.each(self.checked.problems(), path)
    }

    /// What nobody reads or is for nobody.
    pub fn strays(&self, path: impl Fn(&str) -> String) -> Vec<Told> {
        self.each(self.checked.strays.values().flatten(), path)
    }

    /// What may be meant, by file and place.
    pub fn warned(&self, path: impl Fn(&str) -> String) -> Vec<Told> {
        self.each(self.absent.iter().map(|absent| &absent.problem).chain(&self.warnings), path)
    }

    /// What of `absent` is told of these.
    pub fn told_absent(&self, is_told: impl Fn(&Absent) -> bool, path: impl Fn(&str) -> String) -> Vec<Told> {
        let told = self.absent.iter().filter(|absent| is_told(absent));
        self.each(told.map(|absent| &absent.problem), path)
    }

    /// Whom a file is about: the tenant whose name it bears, and those whose problem it is.
    pub fn tenants_of(&self, file: &str) -> BTreeSet<String> {
        let by_name = file.strip_suffix(ENDING).map(str::to_owned).or_else(|| tenant_of(file));
        let is_its = |problems: &Vec<FileProblem>| problems.iter().any(|problem| problem.file == file);
        let held = self.checked.broken.iter().filter(|(_, problems)| is_its(problems));
        by_name.into_iter().chain(held.map(|(name, _)| name.clone())).collect()
    }

    /// The problems of one tenant.
    pub fn told_of(&self, tenant: &str, path: impl Fn(&str) -> String) -> Vec<Told> {
        self.each(self.checked.broken.get(tenant).into_iter().flatten(), path)
    }

    fn each<'a>(
        &self,
        problems: impl IntoIterator<Item = &'a FileProblem>,
        path: impl Fn(&str) -> String,
    ) -> Vec<Told> {
        let mut files = BTreeMap::new();
        let told = |FileProblem { file, problem }: &'a FileProblem| {
            let lines = files.entry(file).or_insert_with(|| Lines::of(self.content(file)));
            Told::new(path(file), problem, lines)
        };
        problems.into_iter().map(told).collect()
    }

    /// What stands in a file, as far as it is read.
    fn content(&self, file: &str) -> &[u8] {
        let limits = format!("{}/", limits::directory(DIRECTORY));
        let content = if let Some(file) = file.strip_prefix(&limits) {
            file.strip_suffix(ENDING).and_then(|name| self.parsed.limits.content(name))
        } else {
            file.strip_suffix(ENDING)
                .and_then(|name| self.parsed.tenants.get(name))
                .map(|read| read.content.as_slice())
        };
        content.unwrap_or_default()
    }
}

/// Examines every file. What is the same in `before` is not read again.
pub fn examine(files: &Files, platform: &Platform, urls: &UrlPolicy, before: &Examined) -> Examined {
    let parsed = parse(files, &before.parsed);
    let said = || parsed.tenants.values().filter_map(|file| file.said.as_ref().map(|said| &said.value));
    let knows_environments = platform.knows_environments();
    let platform = platform.assuming(said());
    let stages = environment::check(&platform.environments);
    let runtimes = platform.runtimes.iter().map(ResourceExt::name_any).collect();
    let checked =
        check(&parsed, &Surroundings { directory: DIRECTORY, environments: &stages, runtimes, urls });
    let space = |(name, tenant): (&String, &Tenant)| Some((name.clone(), validate(tenant, &stages).ok()?));
    let valid = checked.valid.iter().filter_map(space).collect();
    let services = said().map(|tenant| tenant.spec.services.len()).sum();
    let mut warnings = owners::missing(&parsed);
    if !knows_environments {
        warnings.extend(cores::many(&parsed));
    }
    Examined { checked, valid, absent: consumers::absent(&parsed), warnings, services, parsed }
}

#[cfg(test)]
mod tests {
    use imaas_operator::source::parse::SourceFile;

    use super::*;

    const PLATFORM: &str = "
{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: dev}, spec: {default: true, quota: {max: {cpu: 8}}}}
---
{apiVersion: imaas.dev/v1alpha1, kind: IntegrationRuntime, metadata: {name: camel}, spec: {profiles: [{user: {uid: 1, gid: 1}}]}}
";

    fn examined(text: &str, platform: &str) -> Examined {
        let mut known = Platform::default();
        known.add("platform.yaml".to_owned(), platform.as_bytes());
        let file = SourceFile { blob: String::new(), content: text.as_bytes().to_vec() };
        let files = Files { regular: [("acme.yaml".to_owned(), file)].into(), ..Files::default() };
        examine(&files, &known, &UrlPolicy::default(), &Examined::default())
    }

    fn told(spec: &str, platform: &str) -> Vec<String> {
        let text =
            format!("apiVersion: imaas.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: acme}}\nspec:\n{spec}");
        let examined = examined(&text, platform);
        assert_eq!(examined.valid.len(), examined.checked.valid.len());
        examined
            .told(|file| format!("tenants/{file}"))
            .iter()
            .map(|t| format!("{}: {}", t.place(), t.sentence()))
            .collect()
    }

    const TWO_RULES: &str = "  environments: {dev: {quota: {cpu: 9, memory: 0}}}
  members: [{kind: User, name: jo, role: owner}, {kind: User, name: jo, role: viewer}]
  services: [{name: a, repository: {url: 'https://git.example.com/a'}, runtime: mule}]
";

    #[test]
    fn every_problem_is_told_at_once_with_its_place() {
        assert_eq!(
            told(TWO_RULES, PLATFORM),
            [
                "tenants/acme.yaml:5:37: spec.environments.dev.quota.cpu: 9 is more than 8, the most that Environment dev gives: ask for less, or ask the platform team",
                "tenants/acme.yaml:5:48: spec.environments.dev.quota.memory: \"0\" is no amount above zero: write it like 512Mi or 16Gi",
                "tenants/acme.yaml:6:69: spec.members[1].name: \"jo\" is listed twice: keep the line with the role that is meant",
                "tenants/acme.yaml:7:81: spec.services[0].runtime: there is no IntegrationRuntime \"mule\", only camel",
            ]
        );
    }

    #[test]
    fn a_tenant_of_which_nobody_is_an_owner_is_warned_of() {
        let warned = |members: &str| {
            let text = format!(
                "apiVersion: imaas.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: acme}}\nspec:\n  {members}\n"
            );
            examined(&text, PLATFORM).warned(str::to_owned)
        };
        let told = warned("members: [{kind: User, name: jo, role: developer}]");
        assert_eq!((told.len(), told[0].place().as_str()), (1, "acme.yaml:5:12"));
        assert!(told[0].sentence().starts_with("spec.members: nobody is an owner"), "{told:?}");
        assert_eq!(warned("contact: jo").len(), 1);
        assert_eq!(warned("members: [{kind: User, name: jo, role: owner}]"), []);
        assert_eq!(warned("members: [{kind: User, name: jo, role: ownr}]"), [], "that is told as it is");
    }

    #[test]
    fn a_tenant_that_leaves_out_every_environment_is_a_problem_where_these_are_known() {
        let spec = "  environments: {dev: {omit: true}}\n";
        let told_of = |platform: &str| told(spec, platform);
        let told = told_of(PLATFORM);
        assert!(
            told.len() == 1
                && told[0]
                    .starts_with("tenants/acme.yaml:5:17: spec.environments: every environment is left out"),
            "{told:?}"
        );
        assert_eq!(told_of("{}"), [""; 0]);
    }

    #[test]
    fn a_file_in_one_line_is_not_repeated_for_each_of_its_problems() {
        let services: Vec<_> = (0..300)
            .map(|i| format!("{{name: s{i}, repository: {{url: 'https://h.example/a'}}, runtime: mule}}"))
            .collect();
        let text = format!(
            "{{apiVersion: imaas.dev/v1alpha1, kind: Tenant, metadata: {{name: acme}}, spec: {{services: [{}]}}}}",
            services.join(", ")
        );
        let told = examined(&text, PLATFORM).told(str::to_owned);
        assert_eq!(told.len(), 300);
        assert!(told.iter().all(|one| one.quote.as_ref().unwrap().chars().count() == QUOTE));
    }

    #[test]
    fn a_typing_error_hides_no_other_mistake() {
        let with = TWO_RULES
            .replace("members:", "membrs:")
            .replace("{cpu: 9,", "{cpu: 9, pods: many,")
            .replace("services: [", "services: [{name: Imaas-x, runtme: y, branches: {dev: a b}}, ");
        let told = told(&with, PLATFORM);
        let fields: Vec<_> = told.iter().map(|problem| problem.split(": ").nth(1).unwrap()).collect();
        let expected = [
            "spec.environments.dev.quota.cpu",
            "spec.environments.dev.quota.memory",
            "spec.environments.dev.quota.pods",
            "spec.membrs",
            "spec.services[0].branches.dev",
            "spec.services[0].name",
            "spec.services[0].repository",
            "spec.services[0].runtme",
            "spec.services[1].runtime",
        ];
        let mut sorted = fields.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "{told:?}");
        assert!(
            told.iter()
                .any(|problem| problem.starts_with("tenants/acme.yaml:7:131: spec.services[1].runtime")),
            "{told:?}"
        );
    }

    #[test]
    fn without_a_platform_its_names_and_bounds_are_nobodys_problem() {
        let names = told(TWO_RULES, "{}");
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names[0].contains("above zero") && names[1].contains("listed twice"), "{names:?}");
    }

    #[test]
    fn without_a_platform_as_many_cores_as_nobody_has_are_warned_of() {
        let warned = |cpu: &str, platform: &str| {
            let text = format!(
                "apiVersion: imaas.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: acme}}\nspec:\n  members: [{{kind: User, name: jo, role: owner}}]\n  environments: {{dev: {{quota: {{cpu: {cpu}}}}}}}\n"
            );
            let warned = examined(&text, platform).warned(str::to_owned);
            warned.iter().map(|told| format!("{}: {}", told.place(), told.sentence())).collect::<Vec<_>>()
        };
        assert_eq!(
            warned("500", "{}"),
            ["acme.yaml:6:37: spec.environments.dev.quota.cpu: 500 are whole cores: did you mean 500m?"]
        );
        assert_eq!(warned("64", "{}"), [""; 0]);
        let roomy = PLATFORM.replace("cpu: 8", "cpu: 1000");
        assert_eq!(warned("500", &roomy), [""; 0], "the platform has them");
        assert_eq!(warned("500", PLATFORM), [""; 0], "that is told as a problem");
    }
}

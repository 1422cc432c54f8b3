//! Tenant files and the platform in, valid tenants and every problem of the others out. Pure. The rules are the operator's.

use std::collections::BTreeMap;

use imaas_operator::{
    api::Tenant,
    environment,
    git::UrlPolicy,
    source::{
        check::{Checked, Surroundings, check},
        limits,
        parse::{ENDING, FileProblem, Files, Parsed, parse},
    },
    tenant::validate::{ValidTenant, validate},
    yaml::Problem,
};
use kube::ResourceExt;
use serde::Serialize;

use crate::{consumers, output::plain, platform::Platform};

/// Files are told by their names in the directory of tenants; where that is, is told by who knows.
const DIRECTORY: &str = "";

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
    /// `problem` of `file`, with its line out of `text`.
    pub fn new(file: String, problem: &Problem, text: &[u8]) -> Self {
        let Problem { line, column, path, message } = problem;
        let quote = (*line > 0)
            .then(|| String::from_utf8_lossy(text).lines().nth(*line as usize - 1).map(str::to_owned))
            .flatten();
        Self { file, line: *line, column: *column, field: plain(path), message: plain(message), quote }
    }

    /// A problem of the file as a whole.
    pub fn whole(file: String, message: &str) -> Self {
        let none = Problem { line: 0, column: 0, path: String::new(), message: message.to_owned() };
        Self::new(file, &none, b"")
    }

    /// The field and what to change.
    pub fn sentence(&self) -> String {
        if self.field.is_empty() { self.message.clone() } else { format!("{}: {}", self.field, self.message) }
    }

    /// `file:line:column`, as far as there is one.
    pub fn place(&self) -> String {
        if self.line == 0 {
            self.file.clone()
        } else {
            format!("{}:{}:{}", self.file, self.line, self.column)
        }
    }
}

/// Tenant files, examined.
#[derive(Debug, Default)]
pub struct Examined {
    /// What can be applied and what cannot, as the operator's own plan takes it.
    pub checked: Checked,
    /// By name; the same tenants as `checked.valid`.
    pub valid: BTreeMap<String, ValidTenant>,
    /// What may be meant, and is told all the same.
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
        self.checked.problems().into_iter().map(|problem| self.one(problem, &path)).collect()
    }

    /// What nobody reads or is for nobody.
    pub fn strays(&self, path: impl Fn(&str) -> String) -> Vec<Told> {
        self.checked.strays.values().flatten().map(|problem| self.one(problem, &path)).collect()
    }

    /// What may be meant, by file and place.
    pub fn warned(&self, path: impl Fn(&str) -> String) -> Vec<Told> {
        self.warnings.iter().map(|problem| self.one(problem, &path)).collect()
    }

    /// The problems of one tenant.
    pub fn told_of(&self, tenant: &str, path: impl Fn(&str) -> String) -> Vec<Told> {
        let problems = self.checked.broken.get(tenant).into_iter().flatten();
        problems.map(|problem| self.one(problem, &path)).collect()
    }

    fn one(&self, FileProblem { file, problem }: &FileProblem, path: impl Fn(&str) -> String) -> Told {
        let limits = format!("{}/", limits::directory(DIRECTORY));
        let content = if let Some(file) = file.strip_prefix(&limits) {
            file.strip_suffix(ENDING).and_then(|name| self.parsed.limits.content(name))
        } else {
            file.strip_suffix(ENDING)
                .and_then(|name| self.parsed.tenants.get(name))
                .map(|read| read.content.as_slice())
        };
        Told::new(path(file), problem, content.unwrap_or_default())
    }
}

/// Examines every file. What is the same in `before` is not read again.
pub fn examine(files: &Files, platform: &Platform, urls: &UrlPolicy, before: &Examined) -> Examined {
    let parsed = parse(files, &before.parsed);
    let said = || parsed.tenants.values().filter_map(|file| file.said.as_ref().map(|said| &said.value));
    let platform = platform.assuming(said());
    let stages = environment::check(&platform.environments);
    let runtimes = platform.runtimes.iter().map(ResourceExt::name_any).collect();
    let checked =
        check(&parsed, &Surroundings { directory: DIRECTORY, environments: &stages, runtimes, urls });
    let space = |(name, tenant): (&String, &Tenant)| Some((name.clone(), validate(tenant, &stages).ok()?));
    let valid = checked.valid.iter().filter_map(space).collect();
    let services = said().map(|tenant| tenant.spec.services.len()).sum();
    let warnings = consumers::absent(&parsed);
    Examined { checked, valid, warnings, services, parsed }
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

    fn told(spec: &str, platform: &str) -> Vec<String> {
        let mut known = Platform::default();
        known.add(platform).unwrap();
        let text =
            format!("apiVersion: imaas.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: acme}}\nspec:\n{spec}");
        let file = SourceFile { blob: String::new(), content: text.into_bytes() };
        let files = Files { regular: [("acme.yaml".to_owned(), file)].into(), ..Files::default() };
        let examined = examine(&files, &known, &UrlPolicy::default(), &Examined::default());
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
}

//! Parsed files beside what the platform defines: environments, runtimes, quota bounds, allowed hosts. Pure.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::parse::{FileProblem, Parsed, ParsedFile, file_name};
use crate::{
    api::{Environment, Quantity, Quota, Tenant},
    git::{GitUrl, UrlPolicy, names::is_plain_branch},
    yaml::{self, Problem},
};

/// What the platform defines, as far as a tenant file speaks of it.
pub struct Surroundings<'a> {
    /// By name.
    pub environments: BTreeMap<String, &'a Environment>,
    /// Names of the runtimes.
    pub runtimes: Vec<String>,
    /// Where repositories may be.
    pub urls: &'a UrlPolicy,
}

/// All tenants of a commit: those that can be applied, and those whose file cannot.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// By name.
    pub valid: BTreeMap<String, Tenant>,
    /// By name of the tenant; never empty lists.
    pub broken: BTreeMap<String, Vec<FileProblem>>,
}

impl Checked {
    /// Every problem, by file and place.
    pub fn problems(&self) -> Vec<&FileProblem> {
        let mut problems: Vec<_> = self.broken.values().flatten().collect();
        problems.sort();
        problems
    }
}

/// Checks every file. A problem with one tenant is not a problem of the others.
pub fn check(parsed: &Parsed, surroundings: &Surroundings<'_>) -> Checked {
    let mut checked = Checked::default();
    for (name, file) in &parsed.tenants {
        let problems = match &file.outcome {
            Ok(tenant) => tenant_problems(tenant, file, surroundings),
            Err(problems) => problems.clone(),
        };
        match &file.outcome {
            Ok(tenant) if problems.is_empty() => {
                checked.valid.insert(name.clone(), tenant.clone());
            }
            _ => {
                let file = file_name(name);
                let told = |problem| FileProblem { file: file.clone(), problem };
                checked.broken.insert(name.clone(), problems.into_iter().map(told).collect());
            }
        }
    }
    for (name, problem) in &parsed.misplaced {
        checked.broken.entry(name.clone()).or_default().push(problem.clone());
    }
    checked
}

fn tenant_problems(tenant: &Tenant, file: &ParsedFile, surroundings: &Surroundings<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    for (name, own) in &tenant.spec.environments {
        let path = format!("spec.environments.{name}");
        match surroundings.environments.get(name) {
            None => found.push((path, unknown("Environment", name, surroundings.environments.keys()))),
            Some(environment) => {
                if let Some(quota) = &own.quota {
                    found.extend(quota_problems(&format!("{path}.quota"), quota, environment));
                }
            }
        }
    }
    for (index, service) in tenant.spec.services.iter().enumerate() {
        let path = format!("spec.services[{index}]");
        if let Err(error) = GitUrl::parse(&service.spec.repository.url, surroundings.urls) {
            let message = error.to_string();
            let message = message.strip_prefix("url: ").unwrap_or(&message).to_owned();
            found.push((format!("{path}.repository.url"), message));
        }
        if !surroundings.runtimes.contains(&service.spec.runtime) {
            let message = unknown("IntegrationRuntime", &service.spec.runtime, surroundings.runtimes.iter());
            found.push((format!("{path}.runtime"), message));
        }
        for (environment, branch) in &service.spec.branches {
            let path = format!("{path}.branches.{environment}");
            if !surroundings.environments.contains_key(environment) {
                let message = unknown("Environment", environment, surroundings.environments.keys());
                found.push((path.clone(), message));
            }
            if !is_plain_branch(branch) {
                found.push((path, "is not a plain branch name, such as `main` or `release/1.x`".to_owned()));
            }
        }
    }
    let mut problems: Vec<_> = found
        .into_iter()
        .map(|(path, message)| {
            let (line, column) = yaml::place(&file.content, &path);
            Problem { line, column, path, message }
        })
        .collect();
    problems.sort();
    problems
}

/// `quota` beside the most that `environment` gives; what it does not say of a maximum is the default.
fn quota_problems(path: &str, quota: &Quota, environment: &Environment) -> Vec<(String, String)> {
    let Quota { cpu, memory, pods } = quota;
    let default = &environment.spec.quota.default;
    let most = environment.spec.quota.max.clone().unwrap_or_default();
    let name = environment.name_any();
    let too_much = |field: &str, asked: &str, most: &str| {
        let message = format!(
            "{asked} is more than {most}, the most that Environment {name} gives; ask for less, or ask the platform team"
        );
        (format!("{path}.{field}"), message)
    };
    let mut problems = Vec::new();
    let quantities = [
        ("cpu", cpu, most.cpu.as_ref().or(default.cpu.as_ref())),
        ("memory", memory, most.memory.as_ref().or(default.memory.as_ref())),
    ];
    for (field, asked, most) in quantities {
        if let (Some(asked), Some(most)) = (asked, most)
            && asked.millis() > most.millis()
        {
            let (Quantity(asked), Quantity(most)) = (asked, most);
            problems.push(too_much(field, asked, most));
        }
    }
    if let (Some(asked), Some(most)) = (pods, most.pods.or(default.pods))
        && *asked > most
    {
        problems.push(too_much("pods", &asked.to_string(), &most.to_string()));
    }
    problems
}

/// There is no such object; `known` are those that there are.
fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<_> = known.map(String::as_str).take(20).collect();
    if known.is_empty() {
        return format!("there is no {kind} {name:?}, nor any other: the platform team defines them");
    }
    format!("there is no {kind} {name:?}, only {}", known.join(", "))
}

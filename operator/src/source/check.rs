//! Parsed files beside what the platform defines: environments, runtimes, quota bounds, allowed hosts. Pure.

use std::collections::BTreeMap;

use super::parse::{FileProblem, Parsed, ParsedFile, file_name};
use crate::{
    api::Tenant,
    environment::{self, check::granted},
    git::{
        GitUrl, UrlPolicy,
        names::{is_plain_branch, joined},
    },
    yaml::{self, Problem},
};

/// What the platform defines, as far as a tenant file speaks of it.
pub struct Surroundings<'a> {
    /// Where the tenant files are, from the root of the repository.
    pub directory: &'a str,
    /// All of them.
    pub environments: &'a environment::Checked,
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
    for problem in checked.broken.values_mut().flatten() {
        problem.file = joined(surroundings.directory, &problem.file);
    }
    checked
}

fn tenant_problems(tenant: &Tenant, file: &ParsedFile, surroundings: &Surroundings<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    for (name, own) in &tenant.spec.environments {
        let path = format!("spec.environments.{name}");
        match surroundings.environments.named(name) {
            None => found.push((path, unknown("Environment", name, surroundings.environments.names()))),
            Some(Ok(environment)) => {
                let mut problems = Vec::new();
                if let Some(quota) = &own.quota {
                    granted(quota, environment, &format!("{path}.quota"), &mut problems);
                }
                found.extend(problems.into_iter().map(|problem| (problem.field, problem.message)));
            }
            // What it gives is not known; the tenant is held there.
            Some(Err(_)) => {}
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
            let message = unknown(
                "IntegrationRuntime",
                &service.spec.runtime,
                surroundings.runtimes.iter().map(String::as_str),
            );
            found.push((format!("{path}.runtime"), message));
        }
        for (environment, branch) in &service.spec.branches {
            let path = format!("{path}.branches.{environment}");
            if surroundings.environments.named(environment).is_none() {
                let message = unknown("Environment", environment, surroundings.environments.names());
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

/// There is no such object; `known` are those that there are.
fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.take(20).collect();
    if known.is_empty() {
        return format!("there is no {kind} {name:?}, nor any other: the platform team defines them");
    }
    format!("there is no {kind} {name:?}, only {}", known.join(", "))
}

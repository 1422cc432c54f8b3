//! Parsed files beside what the platform defines: environments, runtimes, quota bounds, allowed hosts. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::parse::{FileProblem, Parsed, ParsedFile, file_name};
use crate::{
    api::Tenant,
    environment,
    git::{
        GitUrl, UrlPolicy,
        names::{is_plain_branch, joined},
    },
    tenant::validate::{unknown, validate},
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
    /// Names of tenants whose file the commit changed.
    pub changed: BTreeSet<String>,
}

impl Checked {
    /// Every problem: the first of each file before the second of any, so that one bad file hides no other in a list
    /// that is cut, and what the commit changed before what was so already.
    pub fn problems(&self) -> Vec<&FileProblem> {
        let of_each = self.broken.iter().flat_map(|(name, problems)| {
            let mut problems: Vec<_> = problems.iter().collect();
            problems.sort();
            let was_so = !self.changed.contains(name);
            problems.into_iter().enumerate().map(move |(nth, problem)| (nth, was_so, problem))
        });
        let mut ranked: Vec<_> = of_each.collect();
        ranked.sort();
        ranked.into_iter().map(|(_, _, problem)| problem).collect()
    }
}

/// Checks every file. A problem with one tenant is not a problem of the others.
pub fn check(parsed: &Parsed, surroundings: &Surroundings<'_>) -> Checked {
    let mut checked = Checked { changed: parsed.changed.clone(), ..Checked::default() };
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
    // What the tenant's own stage would refuse later is told here, where it has a place.
    let refused = match validate(tenant, surroundings.environments) {
        Ok(valid) => [valid.unknown, valid.exceeding].concat(),
        Err(problems) => problems.0,
    };
    let mut found: Vec<_> = refused.into_iter().map(|problem| (problem.field, problem.message)).collect();
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

//! Parsed files beside what the platform defines: environments, runtimes, quota bounds, allowed hosts. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    limits::{self, AllLimits},
    parse::{FileProblem, Parsed, ParsedFile, file_name},
};
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
    /// Limits of tenants that have no file, by the name that they are for. Nothing but told.
    pub strays: BTreeMap<String, FileProblem>,
    /// Names of tenants whose file, or limits, the commit changed.
    pub changed: BTreeSet<String>,
}

impl Checked {
    /// Do the files have this tenant, valid or not?
    fn has(&self, name: &str) -> bool {
        self.valid.contains_key(name) || self.broken.contains_key(name)
    }

    /// Every problem: the first of each file before the second of any, so that one bad file hides no other in a list
    /// that is cut, and what the commit changed before what was so already.
    pub fn problems(&self) -> Vec<&FileProblem> {
        let broken = self.broken.iter().map(|(name, problems)| (name, problems.iter().collect::<Vec<_>>()));
        let strays = self.strays.iter().map(|(name, problem)| (name, vec![problem]));
        let of_each = broken.chain(strays).flat_map(|(name, mut problems)| {
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
    let limits = limits::directory(surroundings.directory);
    for (name, file) in &parsed.tenants {
        match checked_tenant((name, file), (&parsed.limits, &limits), surroundings) {
            Ok(tenant) => drop(checked.valid.insert(name.clone(), tenant)),
            Err(problems) => drop(checked.broken.insert(name.clone(), problems)),
        }
    }
    for (name, problem) in &parsed.misplaced {
        let file = joined(surroundings.directory, &problem.file);
        let problem = FileProblem { file, problem: problem.problem.clone() };
        checked.broken.entry(name.clone()).or_default().push(problem);
    }
    for name in parsed.limits.names().filter(|name| !checked.has(name)).cloned().collect::<BTreeSet<_>>() {
        let problem = parsed.limits.without_tenant(&name, &limits);
        checked.strays.insert(name, problem);
    }
    checked
}

/// The tenant with its limits, or what is wrong with the files of the two, by file and place.
fn checked_tenant(
    (name, file): (&str, &ParsedFile),
    (limits, directory): (&AllLimits, &str),
    surroundings: &Surroundings<'_>,
) -> Result<Tenant, Vec<FileProblem>> {
    let mut problems = limits.problems(name, directory);
    let path = joined(surroundings.directory, &file_name(name));
    let told = |problem| FileProblem { file: path.clone(), problem };
    let mut tenant = match &file.outcome {
        Ok(tenant) => tenant.clone(),
        Err(found) => {
            problems.extend(found.iter().cloned().map(told));
            problems.sort();
            return Err(problems);
        }
    };
    tenant.spec.limits = limits.of(name).cloned();
    let are_known = problems.is_empty();
    for (field, message) in found(&tenant, surroundings, are_known) {
        problems.push(match limits.place(name, &field, &message) {
            Some(problem) => FileProblem { file: joined(directory, &file_name(name)), problem },
            None => told(placed(&file.content, field, message)),
        });
    }
    problems.sort();
    if problems.is_empty() { Ok(tenant) } else { Err(problems) }
}

/// Field and message of what is wrong. Where the tenant's limits are not known, it may ask for whatever it likes.
fn found(tenant: &Tenant, surroundings: &Surroundings<'_>, limits_are_known: bool) -> Vec<(String, String)> {
    // What the tenant's own stage would refuse later is told here, where it has a place.
    let refused = match validate(tenant, surroundings.environments) {
        Ok(valid) if limits_are_known => [valid.unknown, valid.exceeding].concat(),
        Ok(valid) => valid.unknown,
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
    found
}

fn placed(content: &[u8], path: String, message: String) -> Problem {
    let (line, column) = yaml::place(content, &path);
    Problem { line, column, path, message }
}

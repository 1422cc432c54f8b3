//! Parsed files beside what the platform defines: environments, runtimes, quota bounds, allowed hosts. Pure.

use std::{
    cell::LazyCell,
    collections::{BTreeMap, BTreeSet},
};

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
    tenant::validate::{ValidTenant, examined, unknown},
    yaml::Composed,
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
    /// What nobody reads or is for nobody, by the tenant that it may be meant for. Nothing but told.
    pub strays: BTreeMap<String, Vec<FileProblem>>,
    /// Names of tenants whose file, or limits, the commit changed.
    pub changed: BTreeSet<String>,
}

impl Checked {
    /// Do the files have this tenant, valid or not?
    fn has(&self, name: &str) -> bool {
        self.valid.contains_key(name) || self.broken.contains_key(name)
    }

    /// Every problem: the first of each file before the second of any, so that one bad file hides no other in a list
    /// that is cut, and what the commit changed before what was so already. One that holds two tenants is told once.
    pub fn problems(&self) -> Vec<&FileProblem> {
        let broken = self.broken.iter().map(|(name, problems)| (name, problems.iter().collect::<Vec<_>>()));
        let strays = self.strays.iter().map(|(name, problems)| (name, problems.iter().collect::<Vec<_>>()));
        let of_each = broken.chain(strays).flat_map(|(name, mut problems)| {
            problems.sort();
            let was_so = !self.changed.contains(name);
            problems.into_iter().enumerate().map(move |(nth, problem)| (nth, was_so, problem))
        });
        let mut ranked: Vec<_> = of_each.collect();
        ranked.sort();
        let mut told = BTreeSet::new();
        ranked.into_iter().map(|(_, _, problem)| problem).filter(|problem| told.insert(*problem)).collect()
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
    for (name, problem) in &parsed.misplaced.instead {
        checked.broken.entry(name.clone()).or_default().push(within(surroundings.directory, problem));
    }
    for name in parsed.limits.names().filter(|name| !checked.has(name)).cloned().collect::<BTreeSet<_>>() {
        let problem = parsed.limits.without_tenant(&name, &limits);
        checked.strays.entry(name).or_default().push(problem);
    }
    let beside = parsed.misplaced.beside.iter().map(|one| (surroundings.directory, one));
    for (directory, (name, problem)) in beside.chain(parsed.limits.beside().iter().map(|one| (&*limits, one)))
    {
        checked.strays.entry(name.clone()).or_default().push(within(directory, problem));
    }
    checked
}

fn within(directory: &str, FileProblem { file, problem }: &FileProblem) -> FileProblem {
    FileProblem { file: joined(directory, file), problem: problem.clone() }
}

/// The tenant with its limits, or what is wrong with the files of the two, by file and place. What they mean is judged as far as
/// they are well-formed.
fn checked_tenant(
    (name, file): (&str, &ParsedFile),
    (limits, directory): (&AllLimits, &str),
    surroundings: &Surroundings<'_>,
) -> Result<Tenant, Vec<FileProblem>> {
    let mut problems = limits.problems(name, directory);
    let are_known = problems.is_empty();
    let path = joined(surroundings.directory, &file_name(name));
    let told = |problem| FileProblem { file: path.clone(), problem };
    problems.extend(file.problems.iter().cloned().map(told));
    // One file may have a problem in each of its lines.
    let composed = LazyCell::new(|| Composed::of(&file.content));
    let composed_limits = LazyCell::new(|| limits.content(name).map(Composed::of));
    let tenant = file.said.as_ref().map(|said| {
        let mut tenant = said.value.clone();
        tenant.spec.limits = limits.said(name).map(|limits| limits.value.clone());
        for (field, message) in found(&tenant, surroundings, are_known) {
            let in_limits = limits::field(&field).zip(composed_limits.as_ref());
            problems.extend(match in_limits {
                Some((path, composed)) => {
                    limits.said(name).filter(|limits| limits.is_news(&path)).map(|_| {
                        let file = joined(directory, &file_name(name));
                        FileProblem { file, problem: composed.problem(path, message) }
                    })
                }
                None => said.is_news(&field).then(|| told(composed.problem(field, message))),
            });
        }
        tenant
    });
    problems.sort();
    tenant.filter(|_| problems.is_empty()).ok_or(problems)
}

/// Field and message of what is wrong. Where the tenant's limits are not known, it may ask for whatever it likes.
fn found(tenant: &Tenant, surroundings: &Surroundings<'_>, limits_are_known: bool) -> Vec<(String, String)> {
    // What the tenant's own stage would refuse later is told here, where it has a place.
    let (ValidTenant { unknown: nowhere, exceeding, .. }, refused) =
        examined(tenant, surroundings.environments);
    let exceeding = exceeding.into_iter().filter(|_| limits_are_known);
    let mut found: Vec<_> = refused
        .into_iter()
        .chain(nowhere)
        .chain(exceeding)
        .map(|problem| (problem.field, problem.message))
        .collect();
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

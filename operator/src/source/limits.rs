//! Files of the directory of limits → what each gives its tenant. Pure. They stand beside the directory of the tenants, where
//! CODEOWNERS keeps them the platform team's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::parse::{ENDING, FileProblem, Files, SourceFile, file_name, misplaced};
use crate::{
    api::Limits,
    git::names::joined,
    yaml::{self, Problem},
};

/// Name of the directory.
pub const DIRECTORY: &str = "limits";
/// Where a Tenant has what a file of limits says.
const FIELD: &str = "spec.limits.";

/// The directory of the limits that belong to the tenant files in `tenants`, from the root of the repository; from that
/// directory itself where `tenants` is empty.
///
/// ```
/// # use imaas_operator::source::limits::directory;
/// assert_eq!(directory("tenants"), "limits");
/// assert_eq!(directory("emea/tenants"), "emea/limits");
/// assert_eq!(directory(""), "../limits");
/// ```
pub fn directory(tenants: &str) -> String {
    match tenants.rsplit_once('/') {
        Some((parent, _)) => joined(parent, DIRECTORY),
        None if tenants.is_empty() => format!("../{DIRECTORY}"),
        None => DIRECTORY.to_owned(),
    }
}

/// One file of limits, read.
#[derive(Clone, Debug)]
struct ParsedLimits {
    blob: String,
    content: Vec<u8>,
    outcome: Result<Limits, Vec<Problem>>,
}

/// All files of limits of a commit, by the tenant that the file's name says.
#[derive(Clone, Debug, Default)]
pub struct AllLimits {
    files: BTreeMap<String, Arc<ParsedLimits>>,
    /// What looks like a file of limits and is none.
    misplaced: BTreeMap<String, FileProblem>,
}

/// Reads the files. One that `before` holds with the same content is not read again; names of the others go to `changed`.
pub(super) fn parse(files: &Files, before: &AllLimits, changed: &mut BTreeSet<String>) -> AllLimits {
    let mut all = AllLimits::default();
    for (file, source) in &files.regular {
        let Some(name) = file.strip_suffix(ENDING) else { continue };
        let known = before.files.get(name).filter(|known| known.blob == source.blob).cloned();
        if known.is_none() {
            changed.insert(name.to_owned());
        }
        all.files.insert(name.to_owned(), known.unwrap_or_else(|| Arc::new(read(name, source))));
    }
    all.misplaced = misplaced(files, "the limits", |name| all.files.contains_key(name));
    let gone = before.files.keys().filter(|name| !all.files.contains_key(*name));
    changed.extend(gone.cloned());
    let is_new = |(name, problem): &(&String, &FileProblem)| before.misplaced.get(*name) != Some(*problem);
    changed.extend(all.misplaced.iter().filter(is_new).map(|(name, _)| name.clone()));
    all
}

fn read(name: &str, source: &SourceFile) -> ParsedLimits {
    let outcome = yaml::limits(&source.content).and_then(|limits| {
        let inside = limits.metadata.name;
        if inside == name {
            return Ok(limits.spec);
        }
        let message = format!("{inside:?} is not the file's name: this file is {}", file_name(name));
        Err(vec![placed(&source.content, "metadata.name", message)])
    });
    ParsedLimits { blob: source.blob.clone(), content: source.content.clone(), outcome }
}

impl AllLimits {
    /// Names of the tenants that there are files for.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.files.keys().chain(self.misplaced.keys())
    }

    /// What the platform gives `tenant` beside what every tenant may have; nothing where its file is not valid.
    pub(super) fn of(&self, tenant: &str) -> Option<&Limits> {
        self.files.get(tenant)?.outcome.as_ref().ok()
    }

    /// The text of a file, to show a line of it.
    pub fn content(&self, tenant: &str) -> Option<&[u8]> {
        Some(&self.files.get(tenant)?.content)
    }

    /// What is wrong with the file of `tenant`, with its name in `directory`.
    pub(super) fn problems(&self, tenant: &str, directory: &str) -> Vec<FileProblem> {
        let found = self.files.get(tenant).and_then(|file| file.outcome.as_ref().err());
        let told = |problem: &Problem| FileProblem {
            file: joined(directory, &file_name(tenant)),
            problem: problem.clone(),
        };
        let misplaced = self
            .misplaced
            .get(tenant)
            .map(|one| FileProblem { file: joined(directory, &one.file), problem: one.problem.clone() });
        found.into_iter().flatten().map(told).chain(misplaced).collect()
    }

    /// The place in the limits of `tenant` of a problem with the Tenant's field; nothing where that stands in its own file.
    pub(super) fn place(&self, tenant: &str, field: &str, message: &str) -> Option<Problem> {
        let path = format!("spec.{}", field.strip_prefix(FIELD)?);
        let content = self.content(tenant)?;
        Some(placed(content, &path, message.to_owned()))
    }

    /// There are limits, and nobody whose they are.
    pub(super) fn without_tenant(&self, tenant: &str, directory: &str) -> FileProblem {
        let wanted = file_name(tenant);
        let file = self.misplaced.get(tenant).map_or(&wanted, |one| &one.file);
        let message = format!(
            "there is no tenant file {wanted}, so these limits are nobody's: remove them or name them for a tenant"
        );
        FileProblem::whole(&joined(directory, file), message)
    }
}

fn placed(content: &[u8], path: &str, message: String) -> Problem {
    let (line, column) = yaml::place(content, path);
    Problem { line, column, path: path.to_owned(), message }
}

#[cfg(test)]
mod tests;

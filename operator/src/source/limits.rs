//! Files of the directory of limits → what each gives its tenant. Pure. They stand beside the directory of the tenants, where
//! CODEOWNERS keeps them the platform team's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::parse::{ENDING, FileProblem, Files, Misplaced, SourceFile, file_name, misnamed};
use crate::{
    api::Limits,
    git::names::joined,
    yaml::{
        self, Composed, Problem,
        sound::{self, Sound},
    },
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
    problems: Vec<Problem>,
    said: Option<Sound<Limits>>,
}

/// All files of limits of a commit, by the tenant that the file's name says.
#[derive(Clone, Debug, Default)]
pub struct AllLimits {
    files: BTreeMap<String, Arc<ParsedLimits>>,
    /// What looks like a file of limits and is none.
    misplaced: Misplaced,
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
    all.misplaced = Misplaced::of(files, "the limits", |name| all.files.contains_key(name), |_| None);
    let gone = before.files.keys().filter(|name| !all.files.contains_key(*name));
    changed.extend(gone.cloned());
    changed.extend(all.misplaced.since(&before.misplaced));
    all
}

fn read(name: &str, source: &SourceFile) -> ParsedLimits {
    let SourceFile { blob, content } = source.clone();
    let (mut problems, said) = match yaml::limits(&content) {
        Ok(limits) if limits.metadata.name == name => (Vec::new(), Some(Sound::whole(limits.spec))),
        Ok(limits) => {
            let message = misnamed(&limits.metadata.name, name);
            (
                vec![Composed::of(&content).problem("metadata.name".to_owned(), message)],
                Some(Sound::whole(limits.spec)),
            )
        }
        Err(problems) => (problems, sound::limits(&content)),
    };
    problems.sort();
    ParsedLimits { blob, content, problems, said }
}

impl AllLimits {
    /// Names of the tenants that there are files for.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.files.keys().chain(self.misplaced.instead.keys())
    }

    /// What the platform gives `tenant` beside what every tenant may have, as far as its file is well-formed.
    pub(super) fn said(&self, tenant: &str) -> Option<&Sound<Limits>> {
        self.files.get(tenant)?.said.as_ref()
    }

    /// What nobody reads beside the files that are, by the tenant.
    pub(super) fn beside(&self) -> &BTreeMap<String, FileProblem> {
        &self.misplaced.beside
    }

    /// The text of a file, to show a line of it.
    pub fn content(&self, tenant: &str) -> Option<&[u8]> {
        Some(&self.files.get(tenant)?.content)
    }

    /// What is wrong with the file of `tenant`, with its name in `directory`.
    pub(super) fn problems(&self, tenant: &str, directory: &str) -> Vec<FileProblem> {
        let found = self.files.get(tenant).map(|file| &file.problems);
        let told = |problem: &Problem| FileProblem {
            file: joined(directory, &file_name(tenant)),
            problem: problem.clone(),
        };
        let misplaced = self
            .misplaced
            .instead
            .get(tenant)
            .map(|one| FileProblem { file: joined(directory, &one.file), problem: one.problem.clone() });
        found.into_iter().flatten().map(told).chain(misplaced).collect()
    }

    /// There are limits, and nobody whose they are.
    pub(super) fn without_tenant(&self, tenant: &str, directory: &str) -> FileProblem {
        let wanted = file_name(tenant);
        let file = self.misplaced.instead.get(tenant).map_or(&wanted, |one| &one.file);
        let message = format!(
            "there is no tenant file {wanted}, so these limits are nobody's: remove them or name them for a tenant"
        );
        FileProblem::whole(&joined(directory, file), message)
    }
}

/// The field of limits that `field` of a Tenant is; nothing where that stands in the tenant's own file.
pub(super) fn field(field: &str) -> Option<String> {
    field.strip_prefix(FIELD).map(|rest| format!("spec.{rest}"))
}

#[cfg(test)]
mod tests;

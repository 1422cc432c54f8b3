//! Files of the directory of tenants → what each says. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use kube::ResourceExt;

use super::limits::{self, AllLimits};
use crate::{
    api::Tenant,
    git::Directory,
    tenant::validate::name_problem,
    yaml::{
        self, Composed, MAX_BYTES, Problem,
        sound::{self, Sound},
    },
};

/// A problem and the file that it is in. Ordered by file, then by place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileProblem {
    /// Name within the directory of tenants; after the check, its path from the root of the repository.
    pub file: String,
    /// What and where.
    pub problem: Problem,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.problem.line > 0 { "" } else { " " };
        write!(f, "{}:{space}{}", self.file, self.problem)
    }
}

impl FileProblem {
    /// A problem with the file itself, which has no line.
    pub(super) fn whole(file: &str, message: impl Into<String>) -> Self {
        let problem = Problem { line: 0, column: 0, path: String::new(), message: message.into() };
        Self { file: file.to_owned(), problem }
    }
}

/// One file as it was read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Id of the content: the same id is the same content.
    pub blob: String,
    /// All of it.
    pub content: Vec<u8>,
}

/// What a commit's directory of tenants holds, as far as it is read.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// By name.
    pub regular: BTreeMap<String, SourceFile>,
    /// Links, submodules and names that are not plain, and what they are.
    pub unreadable: Vec<(String, &'static str)>,
    /// Files that are too large to be read.
    pub too_large: Vec<String>,
    /// What the directory of limits beside it holds, where there is one.
    pub limits: Option<Box<Self>>,
}

impl Files {
    /// Is this a file that is read?
    fn is_read(&self, file: &str) -> bool {
        file.ends_with(ENDING) && self.regular.contains_key(file)
    }
}

impl From<Directory> for Files {
    fn from(directory: Directory) -> Self {
        let Directory { files, ignored, too_large } = directory;
        let regular = files
            .into_iter()
            .map(|(name, file)| (name, SourceFile { blob: file.blob, content: file.content }))
            .collect();
        Self { regular, unreadable: ignored, too_large, limits: None }
    }
}

/// One tenant file, read.
#[derive(Clone, Debug)]
pub struct ParsedFile {
    blob: String,
    /// The text, to find the place of what only shows later.
    pub content: Vec<u8>,
    /// The tenant that it names, where that is not the one of its file name, and what is wrong with that.
    named: Option<(String, Problem)>,
    /// Everything that is wrong with its form.
    pub problems: Vec<Problem>,
    /// What it says, as far as that is well-formed; nothing where it cannot be read at all.
    pub said: Option<Sound<Tenant>>,
}

/// All tenant files of a commit.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// By name of the tenant that the file's name says.
    pub tenants: BTreeMap<String, Arc<ParsedFile>>,
    /// What looks like a tenant's file and is none, by the tenant that it may have been.
    pub misplaced: Misplaced,
    /// What the platform gives single tenants.
    pub limits: AllLimits,
    /// Names among these that are not as they were read before: who pushed last looks for these.
    pub changed: BTreeSet<String>,
}

/// Where a file names its tenant.
const NAME: &str = "metadata.name";
/// The ending of a tenant file.
pub const ENDING: &str = ".yaml";

/// The name of a tenant's file.
pub fn file_name(tenant: &str) -> String {
    format!("{tenant}{ENDING}")
}

/// Reads the files. One that `before` holds with the same content is not read again.
///
/// A tenant file ends in `.yaml` and is named for its tenant. One that is not holds the tenant that it names as well as the one
/// that its name says, so that a mistyped name retires nobody. Files that are no YAML or JSON (a README, CODEOWNERS) are
/// nobody's business.
pub fn parse(files: &Files, before: &Parsed) -> Parsed {
    let mut parsed = Parsed::default();
    for (file, source) in &files.regular {
        if let Some(name) = file.strip_suffix(ENDING) {
            let known = before.tenants.get(name).filter(|known| known.blob == source.blob);
            let read = known.cloned().unwrap_or_else(|| {
                parsed.changed.insert(name.to_owned());
                Arc::new(read(name, source))
            });
            parsed.tenants.insert(name.to_owned(), read);
        }
    }
    let named = |file: &SourceFile| named(&sound::tenant(&file.content)?);
    parsed.misplaced = Misplaced::of(files, "the file", |name| parsed.tenants.contains_key(name), named);
    for (name, read) in &parsed.tenants {
        // Renamed inside but not outside, or the other way round: neither tenant is gone.
        if let Some((inside, problem)) =
            read.named.as_ref().filter(|(inside, _)| !parsed.tenants.contains_key(inside))
        {
            let problem = FileProblem { file: file_name(name), problem: problem.clone() };
            parsed.misplaced.instead.entry(inside.clone()).or_insert(problem);
        }
    }
    parsed.changed.extend(parsed.misplaced.since(&before.misplaced));
    let nothing = Files::default();
    let of_limits = files.limits.as_deref().unwrap_or(&nothing);
    parsed.limits = limits::parse(of_limits, &before.limits, &mut parsed.changed);
    parsed
}

/// What looks like a file of a tenant and is none, by that tenant.
#[derive(Clone, Debug, Default)]
pub struct Misplaced {
    /// Of tenants that have no other.
    pub instead: BTreeMap<String, FileProblem>,
    /// Beside the tenant's own.
    pub beside: BTreeMap<String, FileProblem>,
}

impl Misplaced {
    /// What looks like `what` of a tenant; `is_read` says whose is read, and `named` which one a file names.
    pub(super) fn of(
        files: &Files,
        what: &str,
        is_read: impl Fn(&str) -> bool,
        named: impl Fn(&SourceFile) -> Option<String>,
    ) -> Self {
        let mut misplaced = Self::default();
        let others =
            files.regular.iter().map(|(file, source)| (file, "this ending is not read", Some(source)));
        let others = others.chain(files.unreadable.iter().map(|(file, why)| (file, *why, None)));
        for (file, why, source) in others.filter(|(file, ..)| !files.is_read(file)) {
            let Some(of_file) = tenant_of(file) else { continue };
            let name = source.and_then(&named).unwrap_or_else(|| of_file.clone());
            let wanted = file_name(&name);
            let message = if is_read(&name) {
                format!("{why}: {what} of tenant {name} is {wanted} beside it, so remove this one")
            } else {
                format!("{why}: {what} of tenant {name} must be a regular file named {wanted}")
            };
            let problem = FileProblem::whole(file, message);
            if is_read(&name) && is_read(&of_file) {
                misplaced.beside.insert(name, problem);
                continue;
            }
            // Whichever of the two it was, neither is gone.
            if !is_read(&name) {
                misplaced.instead.entry(name).or_insert_with(|| problem.clone());
            }
            if !is_read(&of_file) {
                misplaced.instead.insert(of_file, problem);
            }
        }
        for file in &files.too_large {
            if let Some(name) = tenant_of(file).filter(|name| !is_read(name)) {
                let message =
                    format!("is larger than a tenant file can be, {} KiB: make it smaller", MAX_BYTES >> 10);
                misplaced.instead.insert(name, FileProblem::whole(file, message));
            }
        }
        misplaced
    }

    /// Names of tenants of which something else is misplaced than was `before`.
    pub(super) fn since(&self, before: &Self) -> BTreeSet<String> {
        let new = |now: &BTreeMap<String, FileProblem>, before: &BTreeMap<String, FileProblem>| {
            let is_new = |(name, problem): &(&String, &FileProblem)| before.get(*name) != Some(*problem);
            now.iter().filter(is_new).map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let instead = new(&self.instead, &before.instead).into_iter();
        instead.chain(new(&self.beside, &before.beside)).collect()
    }
}

/// The tenant whose file this would be, with another ending or in small letters.
pub fn tenant_of(file: &str) -> Option<String> {
    let file = file.to_lowercase();
    let name = [ENDING, ".yml", ".json"].iter().find_map(|ending| file.strip_suffix(ending))?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The tenant that a file names, as far as that is well-formed.
fn named(said: &Sound<Tenant>) -> Option<String> {
    let is_tenant = said.is_news("kind") && said.is_news(NAME);
    is_tenant.then(|| said.value.name_any())
}

/// Told of a file that is named for `file` and names `inside`.
pub(super) fn misnamed(inside: &str, file: &str) -> String {
    let rename = format!("rename the file to {}", file_name(inside));
    if name_problem(file).is_some() {
        return format!("{inside:?} is not the file's name: {rename}");
    }
    format!("{inside:?} is not the file's name: write {file} here, or {rename}")
}

fn read(name: &str, source: &SourceFile) -> ParsedFile {
    let SourceFile { blob, content } = source.clone();
    let (mut problems, mut said) = match yaml::tenant(&content) {
        Ok(tenant) => (Vec::new(), Some(Sound::whole(tenant))),
        Err(problems) => (problems, sound::tenant(&content)),
    };
    let named = said.as_ref().and_then(named).filter(|named| named != name);
    let named = named.map(|named| {
        let problem = Composed::of(&content).problem(NAME.to_owned(), misnamed(&named, name));
        (named, problem)
    });
    problems.extend(named.iter().map(|(_, problem)| problem.clone()));
    problems.sort();
    if let Some(said) = said.as_mut().filter(|_| !problems.is_empty()) {
        said.value.metadata.name = Some(name.to_owned());
        said.set_aside(NAME);
    }
    ParsedFile { blob, content, named, problems, said }
}

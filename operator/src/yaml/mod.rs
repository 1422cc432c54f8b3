//! Files that tenants write: bytes in, a valid value or every problem with its position out. Pure.
//!
//! Strict where the API server is lenient: an unknown field is an error, and so is everything of YAML that a
//! description never needs (anchors, tags, merge keys, several documents), since each of them has been an attack.
//! The schema is the one that the CRD carries, so Git and `kubectl apply` cannot disagree about a field.

mod check;
mod editor;
mod merge;
mod node;
mod paths;
mod platform;
mod schema;
mod slip;
pub mod sound;
#[cfg(test)]
mod tests;
mod words;

use std::{collections::BTreeMap, fmt};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::{DescriptorSpec, ServiceDescriptor, Tenant, TenantLimits};

pub use editor::{descriptor_schema, limits_schema, tenant_schema};
use node::{Content, Node};
pub use platform::{Definitions, Origin, definitions};
use schema::Form;

/// The most that is read of one file, in bytes.
pub const MAX_BYTES: usize = 64 << 10;
/// How many problems of one file are told; nobody reads more.
const MAX_PROBLEMS: usize = 50;

/// What is wrong in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// From 1; 0 where the problem has no place in a file.
    pub line: u32,
    /// In characters, from 1; 0 like `line`.
    pub column: u32,
    /// Such as `spec.services[0].runtime`; empty for the file as a whole.
    pub path: String,
    /// What to change.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Reads a tenant file. All problems are told, in the order of the file.
pub fn tenant(text: &[u8]) -> Result<Tenant, Vec<Problem>> {
    let (tree, problems) = read(&schema::TENANT, text)?;
    typed(&tree, problems)
}

/// Reads a file of limits. All problems are told, in the order of the file.
pub fn limits(text: &[u8]) -> Result<TenantLimits, Vec<Problem>> {
    let (tree, problems) = read(&schema::LIMITS, text)?;
    typed(&tree, problems)
}

/// Reads `imaas.yaml`. What stands under `environments` is checked as it is after the merge, for each of them.
pub fn descriptor(text: &[u8]) -> Result<ServiceDescriptor, Vec<Problem>> {
    let (tree, mut problems) = read(&schema::DESCRIPTOR, text)?;
    let (base, patches) = merge::split(&tree);
    // More than may be there are refused already, and each costs a merge and a check.
    let most = check::most(&schema::DESCRIPTOR.schema["properties"]["environments"], "maxProperties");
    for (environment, patch) in patches.into_iter().take(most) {
        let merged = merge::patched(&base, patch);
        let found = check::check(&schema::SETTINGS, &merged).problems;
        let inside = |problem: &Problem| patch.contains(problem.line, problem.column);
        problems.extend(found.into_iter().filter(inside).map(|problem| Problem {
            path: format!("environments.{environment}.{}", problem.path),
            ..problem
        }));
    }
    typed(&tree, problems)
}

/// What `descriptor` says for `environment`: its patch merged over the rest (RFC 7386), and checked again.
///
/// A descriptor that [`descriptor`] returned cannot fail here.
pub fn settings(descriptor: &ServiceDescriptor, environment: &str) -> Result<DescriptorSpec, Vec<Problem>> {
    let Some(patch) = descriptor.environments.get(environment) else { return Ok(descriptor.spec.clone()) };
    let base = serde_json::to_value(&descriptor.spec).unwrap_or_default();
    let tree = merge::patched(&Node::of(&base), &Node::of(&Value::Object(patch.clone())));
    let mut problems = check::check(&schema::SETTINGS, &tree).problems;
    for problem in &mut problems {
        problem.path = format!("environments.{environment}.{}", problem.path);
    }
    typed(&tree, problems)
}

/// A file whose places are asked for: read once, however many that are.
pub struct Composed(Result<Node, Problem>);

impl Composed {
    /// Reads it; where that fails, every place is that of the failure.
    pub fn of(text: &[u8]) -> Self {
        Self(node::compose(text).map(|(tree, _)| tree))
    }

    /// Line and column of the value at `path`, or of the nearest above it; for problems that only show beside other files.
    pub fn place(&self, path: &str) -> (u32, u32) {
        match &self.0 {
            Ok(tree) => {
                let start = check::located(tree, path).start;
                (start.line, start.column)
            }
            Err(problem) => (problem.line, problem.column),
        }
    }

    /// What is wrong with the value at `path`.
    pub fn problem(&self, path: String, message: String) -> Problem {
        let (line, column) = self.place(&path);
        Problem { line, column, path, message }
    }
}

/// Line and column of each field of a descriptor, and of what stands in it where it is a list, also of each under
/// `environments.<name>`.
pub fn places(text: &[u8]) -> BTreeMap<String, (u32, u32)> {
    let Ok((tree, _)) = node::compose(text) else { return BTreeMap::new() };
    let mut places = BTreeMap::new();
    for entry in tree.entries() {
        places.extend(placed(&entry.key, &entry.value));
    }
    for environment in tree.entry("environments").into_iter().flat_map(|entry| entry.value.entries()) {
        for entry in environment.value.entries() {
            places.extend(placed(&format!("environments.{}.{}", environment.key, entry.key), &entry.value));
        }
    }
    places
}

fn placed(path: &str, value: &Node) -> Vec<(String, (u32, u32))> {
    let place = |node: &Node| (node.start.line, node.start.column);
    let items = match &value.content {
        Content::Sequence(items) => items.as_slice(),
        Content::Scalar(_) | Content::Mapping(_) => &[],
    };
    let items = items.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), place(item)));
    std::iter::once((path.to_owned(), place(value))).chain(items).collect()
}

/// The tree of a file, and what is wrong with its YAML and its form. Of YAML that is not accepted nothing else is told.
fn read(form: &Form, text: &[u8]) -> Result<(Node, Vec<Problem>), Vec<Problem>> {
    let (tree, mut problems) = node::compose(text).map_err(|problem| vec![problem])?;
    let mut of_form = check::check(form, &tree).problems;
    of_form.retain(|one| {
        !problems.iter().any(|of_yaml| (of_yaml.line, of_yaml.column) == (one.line, one.column))
    });
    problems.append(&mut of_form);
    Ok((tree, problems))
}

/// The value, where there is no problem.
fn typed<T: DeserializeOwned>(tree: &Node, mut problems: Vec<Problem>) -> Result<T, Vec<Problem>> {
    if problems.is_empty() {
        match serde_json::from_value(tree.json()) {
            Ok(value) => return Ok(value),
            // The schema says more than the type, so this is a defect of ours; the author still gets an answer.
            Err(error) => problems.push(tree.problem(String::new(), error.to_string())),
        }
    }
    problems.sort();
    problems.dedup();
    problems.truncate(MAX_PROBLEMS);
    Err(problems)
}

//! What the platform defines, as its team keeps it in a file: YAML documents, or a list as `kubectl get -o yaml` prints it. Pure.
//!
//! The operator reads these from the cluster; whoever checks tenant files beside them wants to hear of a field that the API
//! server would have refused.

use kube::ResourceExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Problem, check,
    node::{self, Content, Node},
    schema::{ENVIRONMENT, Form, RUNTIME},
    sound::{self, Sound},
};
use crate::api::{Environment, IntegrationRuntime};

/// All of one file.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    /// As far as they are well-formed.
    pub environments: Vec<(Environment, Origin)>,
    /// As far as they are well-formed.
    pub runtimes: Vec<(IntegrationRuntime, Origin)>,
    /// By place.
    pub problems: Vec<Problem>,
}

/// Where an object stands.
#[derive(Clone, Debug)]
pub struct Origin {
    tree: Node,
    sound: Sound<()>,
}

impl Origin {
    /// What is wrong with the value at `path` of the object; nothing where that only follows from its form.
    pub fn problem(&self, path: &str, message: &str) -> Option<Problem> {
        let at = check::located(&self.tree, path);
        self.sound.is_news(path).then(|| at.problem(path.to_owned(), message))
    }
}

/// Reads a file. Objects of other kinds are left out.
pub fn definitions(text: &[u8]) -> Definitions {
    let mut found = Definitions::default();
    match node::documents(text) {
        Ok((documents, problems)) => {
            for object in documents.iter().flat_map(objects) {
                if found.add(object) {
                    let inside = |one: &&Problem| object.contains(one.line, one.column);
                    found.problems.extend(problems.iter().filter(inside).cloned());
                }
            }
        }
        Err(problem) => found.problems.push(problem),
    }
    found.problems.sort();
    found.problems.dedup();
    found
}

/// The entries of a list, or the document itself.
fn objects(document: &Node) -> &[Node] {
    match document.entry("items").map(|entry| &entry.value.content) {
        Some(Content::Sequence(items)) => items,
        _ => std::slice::from_ref(document),
    }
}

impl Definitions {
    /// Is it one of ours?
    fn add(&mut self, object: &Node) -> bool {
        let text = |field: &str| match &object.entry(field)?.value.content {
            Content::Scalar(Value::String(text)) => Some(text.as_str()),
            _ => None,
        };
        let is_ours = text("apiVersion").is_some_and(|version| version.starts_with("imaas.dev/"));
        match text("kind").filter(|_| is_ours) {
            Some("Environment") => self.environments.extend(read(&ENVIRONMENT, object, &mut self.problems)),
            Some("IntegrationRuntime") => self.runtimes.extend(read(&RUNTIME, object, &mut self.problems)),
            _ => return false,
        }
        true
    }
}

/// What is well-formed of an object; one without a name is none.
fn read<K>(form: &Form, object: &Node, problems: &mut Vec<Problem>) -> Option<(K, Origin)>
where
    K: DeserializeOwned + ResourceExt,
{
    problems.append(&mut check::check(form, object).problems);
    let (value, sound) = sound::of_form::<K>(form, object)?.parted();
    let is_named = value.meta().name.as_ref().is_some_and(|name| !name.is_empty());
    is_named.then(|| (value, Origin { tree: object.clone(), sound }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(found: &Definitions) -> Vec<String> {
        found.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_mistake_in_what_the_platform_defines_is_told_at_its_place_and_hides_nothing_else() {
        let text = "\
apiVersion: imaas.dev/v1alpha1
kind: Environment
metadata: {name: prod, annotations: {a: b}}
spec:
  approvals: true
  promotesFrom: dev
  bakeTime: 30
  windows: [{schedule: '0 22 * * *', duration: 2h, timezone: UTC}]
---
apiVersion: v1
kind: List
items:
- apiVersion: imaas.dev/v1alpha1
  kind: IntegrationRuntime
  metadata: {name: camel}
  spec: {profiles: [{versions: '*', user: {uid: 1000, gid: many}}]}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: &x y}, dta: *x}
- {apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: dev}, spec: {default: true}, status: {any: thing}}
";
        let found = definitions(text.as_bytes());
        assert_eq!(
            told(&found),
            [
                "5:3: spec.approvals: unknown field, did you mean \"approval\"?",
                "7:13: spec.bakeTime: expected text, found 30: write it in quotes, as \"30\"",
                "8:52: spec.windows[0].timezone: unknown field, did you mean \"timeZone\"?",
                "16:60: spec.profiles[0].user.gid: expected a whole number, found \"many\"",
            ]
        );
        let names: Vec<_> = found.environments.iter().map(|(one, _)| one.name_any()).collect();
        assert_eq!((names, found.runtimes.len()), (vec!["prod".to_owned(), "dev".to_owned()], 1));
        let (prod, origin) = &found.environments[0];
        assert_eq!(prod.spec.promotes_from.as_deref(), Some("dev"), "the rest is known");
        let circle = origin.problem("spec.promotesFrom", "a circle").map(|told| told.to_string());
        assert_eq!(circle.as_deref(), Some("6:17: spec.promotesFrom: a circle"));
        assert_eq!(origin.problem("spec.bakeTime", "is missing"), None, "that follows");
    }

    #[test]
    fn what_is_no_yaml_is_told_at_its_place() {
        let found = definitions(b"apiVersion: v1\nkind: [\n");
        assert_eq!((found.problems.len(), found.environments.len()), (1, 0));
        assert!(found.problems[0].line > 0, "{found:?}");
        assert!(definitions(b"# nothing yet\n").problems.is_empty());
    }
}

//! A tree against a schema: every problem, each with its place and words for the author. Pure.
//!
//! Structural schemas use a score of keywords, and a test holds that ours use no other; a library for all of JSON
//! Schema would bring thirty crates, and its words are for people who write schemas.

use std::collections::HashMap;

use kube::core::cel::{ErrorKind, Validator};
use serde_json::Value;

use super::{
    MAX_PROBLEMS, Problem,
    node::{Content, Entry, Node},
    paths::{is_within, join, without_indices},
    schema::Form,
    words::{mismatch, misshapen, nearest, no_schedule, quoted, sheltered, unspaced},
};
use crate::api::Quantity;

/// What a look at a tree found.
#[derive(Default)]
pub(super) struct Found {
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// Paths of fields that are not there, since the author wrote something else that was probably meant for them.
    pub meant: Vec<String>,
}

/// What is wrong with `tree`.
pub(super) fn check(form: &Form, tree: &Node) -> Found {
    let mut checker = Checker { form, found: Found::default() };
    checker.value(&form.schema, tree, "");
    let mut found = checker.found;
    if found.problems.len() < MAX_PROBLEMS {
        rules(form, tree, &mut found.problems);
    }
    found
}

/// How many entries `schema` accepts by `limit`, a keyword of it; no more are judged.
pub(super) fn most(schema: &Value, limit: &str) -> usize {
    schema[limit].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}

struct Checker<'a> {
    form: &'a Form,
    found: Found,
}

impl Checker<'_> {
    fn tell(&mut self, node: &Node, path: &str, message: impl Into<String>) {
        self.found.problems.push(node.problem(path.to_owned(), message));
    }

    fn value(&mut self, schema: &Value, node: &Node, path: &str) {
        if schema["x-kubernetes-int-or-string"] == true {
            return self.quantity(schema, node, path);
        }
        match (schema["type"].as_str(), &node.content) {
            (_, Content::Scalar(Value::Null)) if schema["nullable"] == true => {
                let bare = self.form.bare.iter().find(|(field, _)| *field == path);
                if let Some((_, told)) = bare {
                    self.tell(node, path, *told);
                }
            }
            (Some("object"), Content::Mapping(entries)) => self.mapping(schema, node, entries, path),
            (Some("array"), Content::Sequence(items)) => self.sequence(schema, node, items, path),
            (Some("string"), Content::Scalar(Value::String(text))) => self.text(schema, node, text, path),
            (Some("integer"), Content::Scalar(Value::Number(number))) if !number.is_f64() => {
                self.bounds(schema, node, number.as_f64(), path);
            }
            (Some("number"), Content::Scalar(Value::Number(number))) => {
                self.bounds(schema, node, number.as_f64(), path);
            }
            // A schema without a type takes anything: what it means is checked after the merge.
            (Some("boolean"), Content::Scalar(Value::Bool(_))) | (None, _) => {}
            (Some(_), _) => self.tell(node, path, mismatch(schema, node, path)),
        }
    }

    fn mapping(&mut self, schema: &Value, node: &Node, entries: &[Entry], path: &str) {
        let no_fields = serde_json::Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&no_fields);
        let others = &schema["additionalProperties"];
        for entry in entries.iter().take(most(schema, "maxProperties")) {
            // Nobody is told more, and words for an unknown field are looked for among all known ones.
            if self.found.problems.len() >= MAX_PROBLEMS {
                break;
            }
            let inner = join(path, &entry.key);
            if let Some(schema) = properties.get(&entry.key) {
                self.value(schema, &entry.value, &inner);
            } else if others.is_object() {
                self.value(others, &entry.value, &inner);
            } else if others != true && schema["x-kubernetes-preserve-unknown-fields"] != true {
                let message = self.unknown(schema, node, (path, &entry.key));
                self.found.problems.push(entry.problem(inner, message));
            }
        }
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let inner = join(path, required);
            let is_meant = || self.found.meant.iter().any(|meant| is_within(meant, &inner));
            if node.entry(required).is_none() && !is_meant() {
                self.tell(node, &inner, "missing");
            }
        }
        self.count(schema, node, entries.len(), ["minProperties", "maxProperties"], path);
    }

    fn sequence(&mut self, schema: &Value, node: &Node, items: &[Node], path: &str) {
        self.count(schema, node, items.len(), ["minItems", "maxItems"], path);
        let keys: Vec<_> = schema["x-kubernetes-list-map-keys"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut seen = HashMap::new();
        for (index, item) in items.iter().take(most(schema, "maxItems")).enumerate() {
            let inner = format!("{path}[{index}]");
            self.value(&schema["items"], item, &inner);
            let identity: Option<Vec<_>> =
                keys.iter().map(|key| item.entry(key).map(|entry| entry.value.json().to_string())).collect();
            if let (Some(identity), Some(key)) = (identity, keys.first())
                && let Some(first) = seen.insert(identity.join(" "), item.start.line)
                && let Some(entry) = item.entry(key)
            {
                let message = format!("{} is listed twice, first in line {first}", identity.join(" "));
                self.found.problems.push(entry.value.problem(join(&inner, key), message));
            }
        }
    }

    fn text(&mut self, schema: &Value, node: &Node, text: &str, path: &str) {
        if let Some(allowed) = schema["enum"].as_array() {
            if !allowed.iter().any(|value| value == text) {
                let message = Self::not_allowed(text, allowed);
                self.tell(node, path, message);
            }
            return;
        }
        if let Some(told) = no_schedule(schema, text, path) {
            return self.tell(node, path, told);
        }
        self.count(schema, node, text.chars().count(), ["minLength", "maxLength"], path);
        if let Some(pattern) = schema["pattern"].as_str()
            && !text.is_empty()
            && !self.form.patterns.get(pattern).is_some_and(|regex| regex.is_match(text))
        {
            self.tell(node, path, misshapen(text, pattern));
        }
    }

    fn quantity(&mut self, schema: &Value, node: &Node, path: &str) {
        let text = match &node.content {
            Content::Scalar(Value::Null) if schema["nullable"] == true => return,
            Content::Scalar(Value::String(text)) => text.clone(),
            Content::Scalar(other) => other.to_string(),
            Content::Sequence(_) | Content::Mapping(_) => {
                return self.tell(node, path, mismatch(schema, node, path));
            }
        };
        let fits = schema["pattern"]
            .as_str()
            .is_none_or(|pattern| self.form.patterns.get(pattern).is_some_and(|regex| regex.is_match(&text)));
        let asked = Quantity(text);
        if !fits || asked.millis().is_none() {
            let example = if path.ends_with("memory") { "512Mi or 16Gi" } else { "8 or 250m" };
            self.tell(node, path, format!("{} is not a quantity such as {example}", quoted(&asked.0)));
        } else if let Some((_, problem)) = self.form.amounts.iter().find(|(field, _)| *field == path)
            && let Some(message) = problem(&asked)
        {
            self.tell(node, path, message);
        }
    }

    fn bounds(&mut self, schema: &Value, node: &Node, number: Option<f64>, path: &str) {
        let Some(number) = number else { return };
        let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
            let message = match (least, most) {
                (Some(least), Some(most)) => format!("must be between {least} and {most}"),
                (Some(least), None) => format!("must be at least {least}"),
                (_, most) => format!("must be at most {}", most.unwrap_or_default()),
            };
            self.tell(node, path, message);
        }
    }

    fn count(&mut self, schema: &Value, node: &Node, count: usize, limits: [&str; 2], path: &str) {
        let [least, most] = limits.map(|limit| schema[limit].as_u64());
        let count = count as u64;
        let what = match limits[1] {
            "maxLength" => "characters",
            "maxItems" => "entries",
            _ => "fields",
        };
        if least.is_some_and(|least| count < least) {
            let message =
                if count == 0 { "must not be empty".to_owned() } else { format!("has too few {what}") };
            self.tell(node, path, message);
        }
        if let Some(most) = most.filter(|most| count > *most) {
            self.tell(node, path, format!("has {count} {what}, at most {most} are accepted"));
        }
    }

    /// Words for a field that is not known in what stands at `path`.
    fn unknown(&mut self, schema: &Value, node: &Node, (path, key): (&str, &str)) -> String {
        let inner = join(path, key);
        let without_indices = without_indices(&inner);
        if let Some((_, told)) =
            self.form.fields_elsewhere.iter().find(|(field, _)| *field == without_indices)
        {
            return (*told).to_owned();
        }
        let known: Vec<_> = schema["properties"].as_object().into_iter().flat_map(|all| all.keys()).collect();
        let known: Vec<_> = known.into_iter().map(String::as_str).collect();
        if let Some(field) = unspaced(key).filter(|field| known.contains(field)) {
            self.found.meant.push(join(path, field));
            return format!("a space is missing after the colon: write `{field}: …`");
        }
        if let Some(near) = nearest(key, &known) {
            self.found.meant.extend(node.entry(near).is_none().then(|| join(path, near)));
            return format!("unknown field, did you mean {near:?}?");
        }
        let value = node.entry(key).map(|entry| entry.value.json()).unwrap_or_default();
        if let Some(shelter) = sheltered(schema, key, &value) {
            self.found.meant.push(join(&join(path, shelter), key));
            return format!("stands under `{shelter}`: write it as `{shelter}: {{{key}: …}}`");
        }
        match known.as_slice() {
            [only] => format!("unknown field, only `{only}` is accepted here"),
            [_, _] | [_, _, _] => format!("unknown field, accepted here are {}", known.join(", ")),
            _ => "unknown field".to_owned(),
        }
    }

    fn not_allowed(text: &str, allowed: &[Value]) -> String {
        let allowed: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
        match (nearest(text, &allowed), allowed.as_slice()) {
            (_, [only]) => format!("must be {only}"),
            (Some(near), _) => {
                format!("{} is not one of {}, did you mean {near:?}?", quoted(text), allowed.join(", "))
            }
            (None, _) => format!("{} is not one of {}", quoted(text), allowed.join(", ")),
        }
    }
}

/// The schema's CEL rules. Where the schema already found something, a rule that could not be evaluated says nothing.
fn rules(form: &Form, tree: &Node, problems: &mut Vec<Problem>) {
    let Err(errors) = Validator::new().validate_compiled(&form.rules, &tree.json(), None) else { return };
    let shaped = problems.is_empty();
    for error in errors.into_vec() {
        if error.kind != ErrorKind::ValidationFailure && !shaped {
            continue;
        }
        // A rule of the whole object names its field in the message.
        let (path, message) = match error.message.split_once(": ") {
            Some((path, rest)) if error.field_path.is_empty() && !path.contains(' ') => (path, rest),
            _ => (error.field_path.as_str(), error.message.as_str()),
        };
        if !problems.iter().any(|problem| problem.path == path) {
            problems.push(located(tree, path).problem(path.to_owned(), message));
        }
    }
}

/// The value at `path`, or the nearest above it.
pub(super) fn located<'a>(tree: &'a Node, path: &str) -> &'a Node {
    let mut node = tree;
    for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
        let next = match (&node.content, part.strip_suffix(']')) {
            (Content::Sequence(items), Some(index)) => {
                index.parse::<usize>().ok().and_then(|at| items.get(at))
            }
            _ => node.entry(part).map(|entry| &entry.value),
        };
        match next {
            Some(next) => node = next,
            None => break,
        }
    }
    node
}

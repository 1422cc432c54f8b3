//! A file with mistakes of form in it → what is well-formed of it, so that what it means can be judged, too. Pure.
//!
//! A part that is not well-formed is left out, or, where its type needs it, replaced by something of the right type. Whoever judges the
//! rest asks of each problem whether it is news: one at, in or around such a part only follows from what is told already.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    MAX_PROBLEMS, check,
    node::{self, Content, Entry, Node},
    paths::{is_within, join},
    schema::{self, Form},
};
use crate::api::{DescriptorSpec, Limits, Tenant, TenantLimits};

/// Fields that decide what those beside them mean.
const DECIDING: [(&str, &str); 1] = [("spec.members[", ".kind")];

/// What is well-formed of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sound<T> {
    /// Has something of the right type wherever the file has not.
    pub value: T,
    /// Paths of what is not as the file says.
    unsound: Vec<String>,
}

impl<T> Sound<T> {
    /// All of it.
    pub fn whole(value: T) -> Self {
        Self { value, unsound: Vec::new() }
    }

    /// The value, and what is not as the file says.
    pub(super) fn parted(self) -> (T, Sound<()>) {
        (self.value, Sound { value: (), unsound: self.unsound })
    }

    /// Does a problem at `path` say more than what is wrong with the form?
    pub fn is_news(&self, path: &str) -> bool {
        !self.unsound.iter().any(|unsound| is_within(unsound, path) || is_within(path, unsound))
    }

    /// What stands at `path` is wrong as well.
    pub fn set_aside(&mut self, path: &str) {
        self.unsound.push(path.to_owned());
    }
}

/// What is well-formed of a tenant file; nothing where it cannot be read, or has so many mistakes that nobody reads more.
pub fn tenant(text: &[u8]) -> Option<Sound<Tenant>> {
    of_form(&schema::TENANT, &node::compose(text).ok()?.0)
}

/// What is well-formed of a file of limits.
pub fn limits(text: &[u8]) -> Option<Sound<Limits>> {
    let Sound { value, unsound } = of_form::<TenantLimits>(&schema::LIMITS, &node::compose(text).ok()?.0)?;
    Some(Sound { value: value.spec, unsound })
}

/// What is well-formed of a descriptor.
#[derive(Clone, Debug)]
pub struct SoundDescriptor {
    base: Sound<DescriptorSpec>,
    environments: BTreeMap<String, (Value, Sound<DescriptorSpec>)>,
}

impl SoundDescriptor {
    /// The environments for which it says something of its own.
    pub fn environments(&self) -> impl Iterator<Item = &str> {
        self.environments.keys().map(String::as_str)
    }

    /// Does it say something of its own for `environment` about `field`?
    pub fn differs(&self, environment: &str, field: &str) -> bool {
        let Some((patch, _)) = self.environments.get(environment) else { return false };
        let mut value = patch;
        for part in field.split(['.', '[']) {
            match value.get(part) {
                Some(inner) => value = inner,
                // Lists are replaced as a whole.
                None => return !value.is_object(),
            }
        }
        true
    }

    /// What it says for `environment`. Paths are those of the merged settings.
    pub fn settings(&self, environment: &str) -> &Sound<DescriptorSpec> {
        self.environments.get(environment).map_or(&self.base, |(_, settings)| settings)
    }
}

/// What is well-formed of an `imaas.yaml`, by itself and merged for each environment.
pub fn descriptor(text: &[u8]) -> Option<SoundDescriptor> {
    let (tree, _) = node::compose(text).ok()?;
    let (base, patches) = super::merge::split(&tree);
    let merged = |(environment, patch): (&str, &Node)| {
        let settings = of_form(&schema::SETTINGS, &super::merge::patched(&base, patch))?;
        Some((environment.to_owned(), (patch.json(), settings)))
    };
    let most = check::most(&schema::DESCRIPTOR.schema["properties"]["environments"], "maxProperties");
    let environments = patches.into_iter().take(most).filter_map(merged).collect();
    Some(SoundDescriptor { base: of_form(&schema::SETTINGS, &base)?, environments })
}

/// What is well-formed of `tree`.
pub(super) fn of_form<T: DeserializeOwned>(form: &Form, tree: &Node) -> Option<Sound<T>> {
    let found = check::check(form, tree);
    if found.problems.len() >= MAX_PROBLEMS {
        return None;
    }
    let told = found.problems.into_iter().map(|problem| problem.path);
    let mut unsound: Vec<_> = told.chain(found.meant).filter(|path| !path.is_empty()).collect();
    let decided = |path: &String| {
        let by = DECIDING.iter().find(|(list, field)| path.starts_with(list) && path.ends_with(field));
        by.and_then(|(_, field)| path.strip_suffix(field)).map(str::to_owned)
    };
    let decided: Vec<_> = unsound.iter().filter_map(decided).collect();
    unsound.extend(decided);
    let value = serde_json::from_value(left(&form.schema, tree, ("", &unsound))?).ok()?;
    Some(Sound { value, unsound })
}

/// What is left of `node`; nothing where all of it is unsound.
fn left(schema: &Value, node: &Node, (path, unsound): (&str, &[String])) -> Option<Value> {
    if unsound.iter().any(|known| known == path) {
        return None;
    }
    Some(match &node.content {
        Content::Scalar(value) => value.clone(),
        Content::Sequence(items) => {
            let item = |(index, item): (usize, &Node)| {
                let schema = &schema["items"];
                left(schema, item, (&format!("{path}[{index}]"), unsound)).unwrap_or_else(|| filler(schema))
            };
            items.iter().enumerate().map(item).collect()
        }
        Content::Mapping(entries) => {
            let field = |entry: &Entry| {
                let named = &schema["properties"][&entry.key];
                let schema = if named.is_null() { &schema["additionalProperties"] } else { named };
                let value = left(schema, &entry.value, (&join(path, &entry.key), unsound))?;
                Some((entry.key.clone(), value))
            };
            let mut fields: Map<_, _> = entries.iter().filter_map(field).collect();
            fill(schema, &mut fields);
            Value::Object(fields)
        }
    })
}

/// Adds what has to be there.
fn fill(schema: &Value, fields: &mut Map<String, Value>) {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in required {
        if !fields.contains_key(name) {
            fields.insert(name.to_owned(), filler(&schema["properties"][name]));
        }
    }
}

/// Something of the right type.
fn filler(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let mut fields = Map::new();
            fill(schema, &mut fields);
            Value::Object(fields)
        }
        Some("array") => Value::Array(Vec::new()),
        // Not its `minimum`: schemas have that as `1.0`, of which no whole number is read.
        Some("integer" | "number") => 1.into(),
        Some("boolean") => Value::Bool(false),
        Some("string") => Value::String(String::new()),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_well_formed_is_left_at_its_place_beside_what_is_not() {
        let text = b"apiVersion: x\nkind: Tenant\nmetadata: {nam: acme}\nmore: 1\nspec:
  membrs: 1
  contact: 5
  environments: {dev: {omit: 1, quota: {cpu: 3}}, test: {omit: true}}
  services:
    - {name: a, repository: https://git.example.com/a, runtime: mule}
    - 7
    - {name: c, runtme: x, exportTo: [{tenant: beta, service: d}]}
";
        let sound = tenant(text).unwrap();
        let spec = &sound.value.spec;
        let names: Vec<_> = spec.services.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["a", "", "c"], "each keeps its index");
        assert_eq!((spec.services[0].spec.runtime.as_str(), spec.contact.as_deref()), ("mule", None));
        assert_eq!(spec.services[2].spec.export_to.len(), 1);
        assert_eq!(spec.environments["dev"].quota.as_ref().unwrap().cpu.as_ref().unwrap().0, "3");
        assert!(spec.environments["test"].omit);
        for news in [
            "spec.services[0].runtime",
            "spec.environments.dev.quota.cpu",
            "spec.services[2].exportTo[0].tenant",
        ] {
            assert!(sound.is_news(news), "{news}");
        }
        for known in [
            "spec.services[0].repository.url",
            "spec.services[1].name",
            "spec.services[2].runtime",
            "spec.members[0].name",
            "spec.contact",
            "spec.environments",
            "metadata.name",
        ] {
            assert!(!sound.is_news(known), "{known} is known, or follows from what is");
        }
    }

    #[test]
    fn what_decides_about_the_fields_beside_it_takes_them_along() {
        let text = b"spec:\n  members: [{kind: Robot, name: ci, namespace: build, role: owner}]\n";
        assert!(!tenant(text).unwrap().is_news("spec.members[0].namespace"));
    }

    #[test]
    fn yaml_that_is_refused_but_read_hides_nothing() {
        let text = b"kind: Tenant\nkind: Tenant\nspec:\n  contact: &a x\n  services: [{name: a, repository: {url: 'https://h/a'}, runtime: mule}]\n";
        assert_eq!(tenant(text).unwrap().value.spec.services[0].spec.runtime, "mule");
        assert!(tenant(b"spec: {").is_none());
    }

    #[test]
    fn each_environment_has_what_is_well_formed_of_the_merge() {
        let text = b"ports: [{name: http, port: 0}]\nenv: {A: x}\nenvironments:\n  dev: {ports: [{name: http, port: 80}], env: {B: 1}}\n  prod: {scaling: {mim: 2}}\n";
        let sound = descriptor(text).unwrap();
        assert_eq!(sound.environments().collect::<Vec<_>>(), ["dev", "prod"]);
        let (dev, prod) = (sound.settings("dev"), sound.settings("prod"));
        assert_eq!((dev.value.ports[0].port, dev.is_news("ports"), dev.is_news("env.B")), (80, true, false));
        assert_eq!(
            (prod.is_news("ports"), prod.is_news("scaling.min"), prod.is_news("env.A")),
            (false, false, true)
        );
        assert!(!sound.settings("test").is_news("ports[0]"));
        assert!(sound.differs("dev", "ports[0].port") && sound.differs("dev", "env.B"));
        assert!(!sound.differs("dev", "env.A") && !sound.differs("prod", "env.A"));
    }
}

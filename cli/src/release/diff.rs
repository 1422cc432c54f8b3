//! What differs between two releases: field by field, and the files of their configurations line by line. Pure but for
//! [`run`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use anyhow::{Context, Result};
use imaas_operator::{
    api::ReleaseSpec,
    names::{SERVICE, TENANT, content_hash, tenant_of_home},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::{args, home::Home};
use crate::{
    Outcome, cluster,
    output::{self, Meaning, Style, plain},
};

/// Where the configuration of a release is named, and the hash of all that Git asked for.
const CONFIG: &str = "config.name";
const CONTENT: &str = "contentRevision";
/// After it the lines of two files are told less closely.
const PATIENCE: Duration = Duration::from_secs(2);

/// A release, and its files by their keys in its `ConfigMap`, or why they are not known.
struct Seen {
    spec: Value,
    files: Result<Files, String>,
}

type Files = BTreeMap<String, String>;

/// IO: reads and tells.
pub fn run(options: &args::Diff) -> Result<Outcome> {
    let (old, new) = cluster::block_on(async {
        let home = Home::open(&options.home).await?;
        Ok((seen(&home, &options.old).await?, seen(&home, &options.new).await?))
    })?;
    let style = Style::of_stdout();
    let text = told(&old, &new, style).map(|text| sides((&options.old, &options.new), style) + &text);
    output::print(text.as_deref().unwrap_or("no difference\n"))?;
    Ok(if text.is_none() { Outcome::Fine } else { Outcome::Problems })
}

/// IO: that of this name.
async fn seen(home: &Home, name: &str) -> Result<Seen> {
    let spec = home.release(name).await?.spec;
    let files = match &spec.config {
        Some(config) => files(home, &spec, &config.name).await.map_err(|error| format!("{error:#}")),
        None => Ok(Files::new()),
    };
    Ok(Seen { spec: serde_json::to_value(spec)?, files })
}

/// IO: those of the `ConfigMap` `name`. What is no text is told by its size and hash.
async fn files(home: &Home, spec: &ReleaseSpec, name: &str) -> Result<Files> {
    let tenant = tenant_of_home(&home.namespace).unwrap_or_default();
    let labels = format!("{TENANT}={tenant},{SERVICE}={}", spec.service);
    let all = home.all_in::<ConfigMap>(&spec.environment, &labels).await?;
    let found = all.into_iter().find(|map| map.name_any() == name);
    let ConfigMap { data, binary_data, .. } =
        found.with_context(|| format!("the ConfigMap {name} is there no more"))?;
    let binary = binary_data.into_iter().flatten().map(|(key, bytes)| {
        let told = format!("{} bytes that are no text, {}\n", bytes.0.len(), content_hash(&bytes));
        (key, told)
    });
    Ok(data.into_iter().flatten().chain(binary).collect())
}

/// Which mark is whose.
fn sides((old, new): (&str, &str), style: Style) -> String {
    let side =
        |mark: &str, meaning, name: &str| style.paint(meaning, &format!("{mark} {}", plain(name))) + "\n";
    side("---", Meaning::Bad, old) + &side("+++", Meaning::Good, new)
}

/// Nothing where nothing differs.
fn told(old: &Seen, new: &Seen, style: Style) -> Option<String> {
    let mut differences = differences(&told_once(&old.spec), &told_once(&new.spec));
    if differences.len() > 1 {
        differences.retain(|(path, ..)| path != CONTENT);
    }
    if differences.is_empty() {
        return None;
    }
    let has_other_files = differences.iter().any(|(path, ..)| path == CONFIG);
    let files = match (&old.files, &new.files) {
        _ if !has_other_files => String::new(),
        (Ok(old), Ok(new)) => {
            differences.retain(|(path, ..)| path != CONFIG);
            files_told(old, new, style)
        }
        (Err(why), _) | (_, Err(why)) => {
            format!("the files of the configuration are not known: {}\n", plain(why))
        }
    };
    Some(fields_told(&differences, style) + &files)
}

/// `spec` without what only repeats another of its fields: the image's digest, the image and the configuration in the template.
fn told_once(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let repeated = [spec["image"].clone(), spec["config"]["name"].clone()];
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("digest");
        fields.get_mut("template").into_iter().for_each(|template| clear(template, &repeated));
    }
    spec
}

fn clear(value: &mut Value, repeated: &[Value]) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|field| clear(field, repeated)),
        Value::Array(items) => items.iter_mut().for_each(|item| clear(item, repeated)),
        _ if repeated.contains(value) => *value = Value::Null,
        _ => {}
    }
}

fn files_told(old: &Files, new: &Files, style: Style) -> String {
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let other = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    let text = |files: &Files, key: &str| files.get(key).cloned().unwrap_or_default();
    other.map(|key| file_told(key, (&text(old, key), &text(new, key)), style)).collect()
}

fn file_told(key: &str, (old, new): (&str, &str), style: Style) -> String {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(old, new);
    let mut told = style.paint(Meaning::Heading, &format!("config file {}", plain(key))) + "\n";
    for hunk in diff.unified_diff().iter_hunks() {
        let _ = writeln!(told, "{}", hunk.header());
        for change in hunk.iter_changes() {
            let text = format!("{} {}", change.tag(), plain(change.value().trim_end_matches(['\r', '\n'])));
            told += &match change.tag() {
                ChangeTag::Delete => style.paint(Meaning::Bad, &text),
                ChangeTag::Insert => style.paint(Meaning::Good, &text),
                ChangeTag::Equal => text,
            };
            told.push('\n');
        }
    }
    told
}

/// Where, what was and what is.
type Difference = (String, Option<String>, Option<String>);

fn fields_told(differences: &[Difference], style: Style) -> String {
    let line = |mark: &str, meaning, path: &str, value: &Option<String>| {
        let text = value.as_ref().map(|value| format!("{mark} {path}: {}", plain(value)));
        text.map(|text| style.paint(meaning, &text) + "\n").unwrap_or_default()
    };
    let both = |(path, old, new): &Difference| {
        line("-", Meaning::Bad, path, old) + &line("+", Meaning::Good, path, new)
    };
    differences.iter().map(both).collect()
}

fn differences(old: &Value, new: &Value) -> Vec<Difference> {
    let mut all = Vec::new();
    compare(String::new(), Some(old), Some(new), &mut all);
    all
}

fn compare(path: String, old: Option<&Value>, new: Option<&Value>, all: &mut Vec<Difference>) {
    if old == new {
        return;
    }
    let keys: BTreeSet<String> = keys(old).into_iter().chain(keys(new)).collect();
    let leaf = |value: Option<&Value>| value.is_some_and(|value| !value.is_object() && !value.is_array());
    if keys.is_empty() || leaf(old) || leaf(new) {
        let text = |value: Option<&Value>| {
            value.map(|value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned))
        };
        all.push((path, text(old), text(new)));
        return;
    }
    for key in keys {
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        compare(below, child(old, &key), child(new, &key), all);
    }
}

/// Of a list of things that have names, these: another one in between moves none.
fn name(item: &Value, at: usize) -> String {
    item["name"].as_str().map_or_else(|| at.to_string(), ToOwned::to_owned)
}

fn keys(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Object(fields)) => fields.keys().cloned().collect(),
        Some(Value::Array(items)) => items.iter().enumerate().map(|(at, item)| name(item, at)).collect(),
        _ => vec![],
    }
}

fn child<'a>(value: Option<&'a Value>, key: &str) -> Option<&'a Value> {
    match value? {
        Value::Object(fields) => fields.get(key),
        Value::Array(items) => {
            items.iter().enumerate().find(|(at, item)| name(item, *at) == key).map(|(_, item)| item)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Style = Style { coloured: false };

    fn seen(spec: Value, files: Result<&[(&str, &str)], &str>) -> Seen {
        let owned = |(key, text): &(&str, &str)| ((*key).to_owned(), (*text).to_owned());
        let files = files.map(|files| files.iter().map(owned).collect()).map_err(ToOwned::to_owned);
        Seen { spec, files }
    }

    #[test]
    fn each_mark_has_its_release() {
        assert_eq!(sides(("orders-dev-a", "orders-dev-b"), PLAIN), "--- orders-dev-a\n+++ orders-dev-b\n");
    }

    #[test]
    fn only_what_differs_is_told_and_a_variable_by_its_name() {
        let release = |image: &str, env: Value| {
            let template = json!({ "env": env, "image": image });
            seen(json!({ "image": image, "digest": image, "replicas": 2, "template": template }), Ok(&[]))
        };
        let level = json!({ "name": "LOG_LEVEL", "value": "info" });
        let old = release("orders@sha256:a", json!([level]));
        let new = release("orders@sha256:b", json!([{ "name": "FIRST", "value": "1" }, level]));
        assert_eq!(
            told(&old, &new, PLAIN).as_deref(),
            Some(
                "- image: orders@sha256:a\n+ image: orders@sha256:b\n+ template.env.FIRST.name: FIRST\n+ template.env.FIRST.value: 1\n"
            )
        );
        assert_eq!(told(&old, &old, PLAIN), None);
    }

    #[test]
    fn of_a_configuration_the_lines_are_told_or_why_they_are_not_known() {
        let release = |name: &str, files: Result<&[(&str, &str)], &str>| {
            let template = json!({ "volumes": [{ "name": "config", "configMap": { "name": name } }] });
            let spec = json!({ "config": { "name": name }, "contentRevision": name, "template": template });
            seen(spec, files)
        };
        let old = release("orders-a", Ok(&[("a.properties", "a=1\nb=1\n"), ("same", "x\n")]));
        let new =
            release("orders-b", Ok(&[("a.properties", "a=1\nb=2\n"), ("new", "c\u{1b}=3"), ("same", "x\n")]));
        let lines = "config file a.properties\n@@ -1,2 +1,2 @@\n  a=1\n- b=1\n+ b=2\nconfig file new\n@@ -0,0 +1 @@\n+ c\u{fffd}=3\n";
        assert_eq!(told(&old, &new, PLAIN).as_deref(), Some(lines));
        let gone = release("orders-b", Err("the ConfigMap orders-b is there no more"));
        let names = "- config.name: orders-a\n+ config.name: orders-b\nthe files of the configuration are not known: the ConfigMap orders-b is there no more\n";
        assert_eq!(told(&old, &gone, PLAIN).as_deref(), Some(names));
    }

    #[test]
    fn a_hash_is_told_where_it_is_all_that_differs() {
        let release = |hash: &str| seen(json!({ "contentRevision": hash }), Ok(&[]));
        let wanted = "- contentRevision: a\n+ contentRevision: b\n";
        assert_eq!(told(&release("a"), &release("b"), PLAIN).as_deref(), Some(wanted));
    }
}

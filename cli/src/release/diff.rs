//! What differs between two releases, field by field. Pure but for [`run`].

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;

use super::{args, home::Home};
use crate::{
    Outcome, cluster,
    output::{self, Meaning, Style, plain},
};

/// IO: reads and tells.
pub fn run(options: &args::Diff) -> Result<Outcome> {
    let (old, new) = cluster::block_on(async {
        let home = Home::open(&options.home).await?;
        let (old, new) = (home.release(&options.old).await?, home.release(&options.new).await?);
        Ok((serde_json::to_value(old.spec)?, serde_json::to_value(new.spec)?))
    })?;
    let differences = differences(&old, &new);
    output::print(&told(&differences, Style::of_stdout()))?;
    Ok(if differences.is_empty() { Outcome::Fine } else { Outcome::Problems })
}

/// Where, what was and what is.
type Difference = (String, Option<String>, Option<String>);

fn told(differences: &[Difference], style: Style) -> String {
    if differences.is_empty() {
        return "no difference\n".to_owned();
    }
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

    #[test]
    fn only_what_differs_is_told_and_a_variable_by_its_name() {
        let release =
            |digest: &str, env: Value| json!({ "digest": digest, "replicas": 2, "template": { "env": env } });
        let level = json!({ "name": "LOG_LEVEL", "value": "info" });
        let old = release("sha256:a", json!([level]));
        let new = release("sha256:b", json!([{ "name": "FIRST", "value": "1" }, level]));
        let none = Style { coloured: false };
        assert_eq!(
            told(&differences(&old, &new), none),
            "- digest: sha256:a\n+ digest: sha256:b\n+ template.env.FIRST.name: FIRST\n+ template.env.FIRST.value: 1\n"
        );
        assert_eq!(told(&differences(&old, &old), none), "no difference\n");
    }
}

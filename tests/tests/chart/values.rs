//! The chart's values, as they are written down: an Environment among them has the fields of its kind, and the README has a
//! row for each.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::root;

fn schema() -> Result<Value> {
    let text = fs::read_to_string(root().join("charts/imaas-operator/values.schema.json"))?;
    serde_json::from_str(&text).context("the schema of the values is JSON")
}

/// Names of all fields that `schema`, a part of `whole`, lists, as `registry.auth.realm`; of a list, those of its entries.
fn fields(schema: &Value, whole: &Value) -> BTreeSet<String> {
    let definition = schema["$ref"].as_str().and_then(|place| whole.pointer(place.trim_start_matches('#')));
    let schema = definition.unwrap_or(schema);
    let mut found = schema.get("items").map(|entry| fields(entry, whole)).unwrap_or_default();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        found.extend(fields(field, whole).iter().map(|below| format!("{name}.{below}")));
        found.insert(name.clone());
    }
    found
}

/// Names in the first column of the README's table; `.branch` after `tenantSource.name` is `tenantSource.branch`.
fn rows(readme: &str) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for line in readme.lines().filter_map(|line| line.strip_prefix("| `")) {
        let names = line.split('|').next().unwrap_or_default();
        let mut before = String::new();
        for name in names.split('`').step_by(2) {
            before = match (name.strip_prefix('.'), before.rsplit_once('.')) {
                (Some(last), Some((group, _))) => format!("{group}.{last}"),
                _ => name.to_owned(),
            };
            rows.insert(before.clone());
        }
    }
    rows
}

#[test]
fn an_environment_of_the_values_has_the_fields_of_its_kind() -> Result<()> {
    let schema = schema()?;
    let kinds = imaas_operator::api::crds();
    let kind = kinds.iter().find(|kind| kind.spec.names.kind == "Environment").context("no Environment")?;
    let kind = serde_json::to_value(kind)?;
    let spec = kind
        .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
        .context("the kind has no schema")?;
    assert_eq!(fields(&schema["definitions"]["environment"], &schema), fields(spec, spec));
    Ok(())
}

#[test]
fn the_readme_has_a_row_for_each_value_and_no_other() -> Result<()> {
    let schema = schema()?;
    let mut values = fields(&schema, &schema);
    // Helm's own.
    values.remove("global");
    let rows = rows(&fs::read_to_string(root().join("charts/imaas-operator/README.md"))?);
    let is_in = |name: &str, group: &str| {
        name.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let untold: Vec<_> = values
        .iter()
        .filter(|value| !rows.iter().any(|row| is_in(value, row) || is_in(row, value)))
        .collect();
    assert!(untold.is_empty(), "values without a row: {untold:?}");
    let unknown: Vec<_> = rows.difference(&values).collect();
    assert!(unknown.is_empty(), "rows of no value: {unknown:?}");
    Ok(())
}

//! The schemas of tenant file, limits and descriptor as editors read them: JSON Schema, draft 7. Pure.
//!
//! Made from the schemas that files are checked against, so an editor never says what the operator does not. Rules that
//! JSON Schema has no word for (CEL) stand in the description; `kubectl imaas validate` checks them.

use serde_json::{Map, Value, json};

use super::schema::{DESCRIPTOR, LIMITS, SETTINGS, TENANT};

/// What means the same in both.
const ALIKE: [&str; 13] = [
    "required",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minimum",
    "maximum",
    "default",
    "description",
];

/// JSON Schema of a tenant file.
pub fn tenant_schema() -> Value {
    published("Tenant file", json_schema(&TENANT.schema))
}

/// JSON Schema of a file of limits.
pub fn limits_schema() -> Value {
    published("Limits of a tenant", json_schema(&LIMITS.schema))
}

/// JSON Schema of `imaas.yaml`. What stands under an environment may be any part of the rest, or null to remove it.
pub fn descriptor_schema() -> Value {
    let mut schema = json_schema(&DESCRIPTOR.schema);
    schema["properties"]["environments"]["additionalProperties"] = patch(&json_schema(&SETTINGS.schema));
    published("Service descriptor, imaas.yaml", schema)
}

fn published(title: &str, mut schema: Value) -> Value {
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!(title);
    schema
}

/// A structural schema in words of JSON Schema.
fn json_schema(structural: &Value) -> Value {
    let mut schema: Map<String, Value> = ALIKE
        .into_iter()
        .filter_map(|keyword| Some((keyword.to_owned(), structural.get(keyword)?.clone())))
        .collect();
    let is_quantity = structural["x-kubernetes-int-or-string"] == true;
    match &structural["type"] {
        _ if is_quantity => drop(schema.insert("type".to_owned(), json!(["string", "number"]))),
        Value::String(name) => drop(schema.insert("type".to_owned(), json!(name))),
        _ => {}
    }
    if let Some(items) = structural.get("items") {
        schema.insert("items".to_owned(), json_schema(items));
    }
    if structural["type"] == "object" {
        if let Some(properties) = structural["properties"].as_object() {
            let properties: Map<_, _> =
                properties.iter().map(|(name, value)| (name.clone(), json_schema(value))).collect();
            schema.insert("properties".to_owned(), Value::Object(properties));
        }
        schema.insert("additionalProperties".to_owned(), others(structural));
    }
    describe_rules(structural, &mut schema);
    let schema = Value::Object(schema);
    if structural["nullable"] == true { nullable(schema) } else { schema }
}

/// What may stand beside the named fields: nothing, unless the schema says otherwise.
fn others(structural: &Value) -> Value {
    match &structural["additionalProperties"] {
        Value::Object(values) => json_schema(&Value::Object(values.clone())),
        Value::Bool(true) => json!(true),
        _ => json!(structural["x-kubernetes-preserve-unknown-fields"] == true),
    }
}

fn describe_rules(structural: &Value, schema: &mut Map<String, Value>) {
    let rules = structural["x-kubernetes-validations"].as_array().into_iter().flatten();
    let told: Vec<&str> = rules.filter_map(|rule| rule["message"].as_str()).collect();
    if !told.is_empty() {
        let own = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        let described = format!("{own}\n\nRules: {}.", told.join("; "));
        schema.insert("description".to_owned(), json!(described.trim()));
    }
}

fn nullable(mut schema: Value) -> Value {
    let mut types = match schema.get("type") {
        Some(Value::Array(types)) => types.clone(),
        Some(name @ Value::String(_)) => vec![name.clone()],
        _ => return schema,
    };
    if !types.contains(&json!("null")) {
        types.push(json!("null"));
    }
    schema["type"] = Value::Array(types);
    if let Some(allowed) = schema.get_mut("enum").and_then(Value::as_array_mut)
        && !allowed.contains(&Value::Null)
    {
        allowed.push(Value::Null);
    }
    schema
}

/// A JSON merge patch (RFC 7386) of what `schema` describes: any part of it, null removes, lists are whole.
fn patch(schema: &Value) -> Value {
    let mut patch = schema.clone();
    let Some(fields) = patch.as_object_mut() else { return patch };
    fields.remove("default");
    let is =
        |types: &Value| *types == "object" || types.as_array().is_some_and(|t| t.contains(&json!("object")));
    if fields.get("type").is_some_and(is) {
        fields.remove("required");
        fields.remove("minProperties");
        if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
            properties.values_mut().for_each(|value| *value = nullable(self::patch(value)));
        }
        if let Some(others) = fields.get_mut("additionalProperties").filter(|others| others.is_object()) {
            *others = nullable(self::patch(others));
        }
    }
    patch
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::yaml::{descriptor, limits, node, tenant};

    /// JSON Schema's meaning of the words that are used here; any other word fails the test.
    fn accepts(schema: &Value, value: &Value) -> bool {
        schema
            .as_object()
            .is_none_or(|words| words.iter().all(|(word, want)| keeps(schema, (word, want), value)))
    }

    fn keeps(schema: &Value, (word, want): (&str, &Value), value: &Value) -> bool {
        let most = || want.as_u64().unwrap();
        let length = value.as_str().map(|text| text.chars().count() as u64);
        match word {
            "type" => want
                .as_array()
                .map_or_else(|| is(want, value), |names| names.iter().any(|name| is(name, value))),
            "enum" => want.as_array().unwrap().contains(value),
            "pattern" => {
                value.as_str().is_none_or(|text| Regex::new(want.as_str().unwrap()).unwrap().is_match(text))
            }
            "minLength" => length.is_none_or(|length| length >= most()),
            "maxLength" => length.is_none_or(|length| length <= most()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= most()),
            "maxProperties" => value.as_object().is_none_or(|fields| fields.len() as u64 <= most()),
            "minimum" => value.as_f64().is_none_or(|found| found >= want.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|found| found <= want.as_f64().unwrap()),
            "items" => value.as_array().is_none_or(|items| items.iter().all(|item| accepts(want, item))),
            "required" => value.as_object().is_none_or(|fields| {
                want.as_array().unwrap().iter().all(|name| fields.contains_key(name.as_str().unwrap()))
            }),
            "properties" => value.as_object().is_none_or(|fields| {
                fields.iter().all(|(name, value)| want.get(name).is_none_or(|schema| accepts(schema, value)))
            }),
            "additionalProperties" => value.as_object().is_none_or(|fields| {
                let named = |name: &str| schema["properties"].get(name).is_some();
                let fits = |value| if want.is_object() { accepts(want, value) } else { *want == true };
                fields.iter().all(|(name, value)| named(name) || fits(value))
            }),
            "$schema" | "title" | "description" | "default" => true,
            other => panic!("{other} is not known here"),
        }
    }

    fn is(name: &Value, value: &Value) -> bool {
        match name.as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            _ => value.is_null(),
        }
    }

    const TENANT_FILE: &str = "apiVersion: imaas.dev/v1alpha1
kind: Tenant
metadata: {name: acme}
spec:
  members: [{kind: Group, name: leads, role: owner}]
  environments: {prod: {quota: {cpu: 8, memory: 16Gi, pods: 10}}, test: {omit: true}}
  services: [{name: orders, repository: {url: \"https://git.example.com/x.git\"}, runtime: camel, branches: {prod: main}, exportTo: [{tenant: beta, service: billing}]}]
";
    const DESCRIPTOR_FILE: &str = "apiVersion: imaas.dev/v1alpha1
kind: ServiceDescriptor
type: api
ports: [{name: http, port: 8080}]
resources: {cpu: 0.5, memory: 256Mi}
image: {digest: \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"}
connects: [erp]
uses: [{tenant: beta, service: stock, as: STOCK_URL, port: http}]
environments:
  dev: {scaling: {min: 0}, connects: null, image: null, env: {A: null}, resources: {cpu: null}, type: worker}
  prod: {image: {}}
";

    /// An editor and the operator both take `text`, and both refuse it after each change.
    fn agree(text: &str, schema: &Value, operator: impl Fn(&[u8]) -> bool, changes: &[(&str, &str)]) {
        let both = |text: &str| {
            let value = node::compose(text.as_bytes()).unwrap().0.json();
            (operator(text.as_bytes()), accepts(schema, &value))
        };
        assert_eq!(both(text), (true, true));
        for (old, new) in changes {
            let broken = text.replacen(old, new, 1);
            assert_ne!(broken, text, "{old}");
            assert_eq!(both(&broken), (false, false), "{old} → {new}");
        }
    }

    #[test]
    fn an_editor_says_of_a_tenant_file_what_the_operator_says() {
        let changes = [
            ("kind: Tenant", "kind: Tennant"),
            ("metadata:", "metdata:"),
            ("{name: acme}", "{name: acme, labels: {a: b}}"),
            ("role: owner", "role: boss"),
            ("cpu: 8", "cpu: lots"),
            ("pods: 10", "pods: 0"),
            ("omit: true", "omit: maybe"),
            ("runtime: camel, ", ""),
            ("name: orders", "name: Orders"),
            ("prod: main", "prod: 1"),
            ("branches:", "branch:"),
            ("service: billing", "services: billing"),
        ];
        agree(TENANT_FILE, &tenant_schema(), |text| tenant(text).is_ok(), &changes);
    }

    #[test]
    fn an_editor_says_of_limits_what_the_operator_says() {
        let file = "apiVersion: imaas.dev/v1alpha1
kind: TenantLimits
metadata: {name: acme}
spec:
  environments: {prod: {max: {cpu: 64, memory: 128Gi, pods: 10}}}
  total: {cpu: 80}
";
        let changes = [
            ("kind: TenantLimits", "kind: Tenant"),
            ("{name: acme}", "{name: acme, namespace: b}"),
            ("max:", "quota:"),
            ("cpu: 64", "cpu: lots"),
            ("pods: 10", "pods: 0"),
            ("total:", "totals:"),
            ("spec:", "specs:"),
        ];
        agree(file, &limits_schema(), |text| limits(text).is_ok(), &changes);
    }

    #[test]
    fn an_editor_says_of_a_descriptor_what_the_operator_says() {
        let changes = [
            ("type: api", "type: job"),
            ("port: 8080", "port: 0"),
            ("memory: 256Mi", "memory: 256MB"),
            ("sha256:0", "sha256:x"),
            ("connects: [erp]", "connects: [1]"),
            ("as: STOCK_URL", "as: STOCK-URL"),
            ("as: STOCK_URL, ", ""),
            ("min: 0", "mim: 0"),
            ("min: 0", "min: -1"),
            ("type: worker", "type: cron"),
            ("env: {A: null}", "env: {A: 1}"),
        ];
        agree(DESCRIPTOR_FILE, &descriptor_schema(), |text| descriptor(text).is_ok(), &changes);
    }
}

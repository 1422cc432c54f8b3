//! The schemas of tenant file and descriptor as editors read them: JSON Schema, draft 7. Pure.
//!
//! Made from the schemas that files are checked against, so an editor never says what the operator does not. Rules that
//! JSON Schema has no word for (CEL) stand in the description; `kubectl imaas validate` checks them.

use serde_json::{Map, Value, json};

use super::schema::{DESCRIPTOR, SETTINGS, TENANT};

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

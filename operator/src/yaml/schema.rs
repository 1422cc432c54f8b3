//! The schemas that files are checked against: the CRD's own for a tenant, the types' own for a descriptor.

use std::{collections::HashMap, sync::LazyLock};

use kube::{
    CustomResourceExt,
    core::{
        cel::{CompiledSchema, compile_schema},
        schema::{OptionalEnum, OptionalIntOrString, StructuralSchemaRewriter},
    },
};
use regex::Regex;
use schemars::{JsonSchema, generate::SchemaSettings, transform::AddNullable};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    amount,
    api::{
        API_VERSION, DescriptorSpec, Environment, IntegrationRuntime, Quantity, ServiceDescriptor, Tenant,
    },
};

/// A kind of file.
pub(super) struct Form {
    /// Structural: nothing but types, fields, bounds and CEL rules, without references.
    pub schema: Value,
    /// Its CEL rules.
    pub rules: CompiledSchema,
    /// Its patterns. One that does not compile is missing here, and refuses every value.
    pub patterns: HashMap<String, Regex>,
    /// Fields that are written elsewhere, as `spec.services[].uses`, and where.
    pub fields_elsewhere: &'static [(&'static str, &'static str)],
    /// Fields that are none where nothing stands below them, which nobody means, and what to write.
    pub bare: &'static [(&'static str, &'static str)],
    /// Amounts, and what is wrong with one that nobody means.
    pub amounts: &'static [(&'static str, Judge)],
}

/// Why an amount is refused.
type Judge = fn(&Quantity) -> Option<String>;

impl Form {
    fn new(schema: Value) -> Self {
        let mut patterns = HashMap::new();
        collect_patterns(&schema, &mut patterns);
        let rules = compile_schema(&schema);
        Self { rules, schema, patterns, fields_elsewhere: &[], bare: &[], amounts: &[] }
    }
}

fn collect_patterns(schema: &Value, patterns: &mut HashMap<String, Regex>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(pattern)) = fields.get("pattern")
                && let Ok(regex) = Regex::new(pattern)
            {
                patterns.insert(pattern.clone(), regex);
            }
            fields.values().for_each(|value| collect_patterns(value, patterns));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_patterns(item, patterns)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

const OWNER: &str = "is written as `members: [{kind: User, name: …, role: owner}]`";
const BRANCH: &str =
    "stands at the service, by environment: write it as `branches: {prod: main}` beside `repository`";

/// Of a tenant file.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "spec.limits",
        "stands in limits/<tenant>.yaml beside the directory of the tenant files, which the platform team writes: remove it here",
    ),
    (
        "spec.quota",
        "is asked for by environment: write it as spec.environments.<name>.quota; a total is the platform team's, in limits/<tenant>.yaml",
    ),
    ("spec.owner", OWNER),
    ("spec.owners", OWNER),
    ("spec.services[].branch", BRANCH),
    ("spec.services[].repository.branch", BRANCH),
];

/// A tenant file: the Tenant's spec without what the platform writes, and of `metadata` the name only.
pub(super) static TENANT: LazyLock<Form> = LazyLock::new(|| {
    let crd = serde_json::to_value(Tenant::crd()).unwrap_or_default();
    let stored = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut spec = stored["properties"]["spec"].clone();
    if let Some(fields) = spec["properties"].as_object_mut() {
        fields.remove("limits");
    }
    let mut schema = document("Tenant", &spec);
    schema["x-kubernetes-validations"] = stored["x-kubernetes-validations"].clone();
    Form { fields_elsewhere: ELSEWHERE, ..Form::new(schema) }
});

/// A file of limits: what the Tenant's schema has of them.
pub(super) static LIMITS: LazyLock<Form> = LazyLock::new(|| {
    let crd = serde_json::to_value(Tenant::crd()).unwrap_or_default();
    let stored = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut spec = stored["properties"]["spec"]["properties"]["limits"].clone();
    spec["nullable"] = json!(false);
    Form::new(document("TenantLimits", &spec))
});

/// An Environment as the API server takes and prints it.
pub(super) static ENVIRONMENT: LazyLock<Form> = LazyLock::new(|| stored("Environment", Environment::crd()));

/// An IntegrationRuntime as the API server takes and prints it.
pub(super) static RUNTIME: LazyLock<Form> =
    LazyLock::new(|| stored("IntegrationRuntime", IntegrationRuntime::crd()));

/// With all of `metadata` and `status`, which others write.
fn stored(kind: &str, crd: impl Serialize) -> Form {
    let crd = serde_json::to_value(crd).unwrap_or_default();
    let stored = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut schema = document(kind, &stored["properties"]["spec"]);
    schema["properties"]["metadata"]["x-kubernetes-preserve-unknown-fields"] = json!(true);
    schema["properties"]["status"] = json!({});
    schema["x-kubernetes-validations"] = stored["x-kubernetes-validations"].clone();
    Form::new(schema)
}

/// The schema of a file that has nothing but a kind, a name and a spec.
fn document(kind: &str, spec: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": { "type": "string", "enum": [API_VERSION] },
            "kind": { "type": "string", "enum": [kind] },
            "metadata": {
                "type": "object",
                "required": ["name"],
                "properties": { "name": { "type": "string" } },
            },
            "spec": spec,
        },
    })
}

/// `imaas.yaml`.
pub(super) static DESCRIPTOR: LazyLock<Form> = LazyLock::new(|| {
    let mut schema = structural::<ServiceDescriptor>();
    schema["properties"]["apiVersion"]["enum"] = json!([API_VERSION]);
    schema["properties"]["kind"]["enum"] = json!(["ServiceDescriptor"]);
    Form { bare: BARE, ..settings(schema) }
});

/// `imaas.yaml` for one environment, after the merge.
pub(super) static SETTINGS: LazyLock<Form> = LazyLock::new(|| settings(structural::<DescriptorSpec>()));

fn settings(schema: Value) -> Form {
    let form = Form::new(schema);
    Form { fields_elsewhere: SETTINGS_ELSEWHERE, amounts: AMOUNTS, ..form }
}

/// Under `environments` that is how one is removed.
const BARE: &[(&str, &str)] = &[
    (
        "rollout.analysis",
        "has nothing below it, and so there would be none: write `analysis: {}` for the defaults, or remove the line",
    ),
    (
        "rollout.smoke",
        "has nothing below it, and so there would be none: write `smoke: {path: …}`, or remove the line",
    ),
];

/// Told with the form, so that neither hides the other, each at its place.
const AMOUNTS: &[(&str, Judge)] =
    &[("resources.cpu", amount::instance_cpu_problem), ("resources.memory", amount::memory_problem)];

/// Of a descriptor.
const SETTINGS_ELSEWHERE: &[(&str, &str)] = &[
    ("replicas", "is written as `scaling: {min: …}`"),
    ("scaling.schedule", "is written as `scaling: {windows: [{schedule: …, duration: …, min: …}]}`"),
    ("runtime", "stands in the tenant file, at the service; here only its version does, as `runtimeVersion`"),
    ("name", "stands in the tenant file, at the service: remove it here"),
    ("metadata", "the name of a service stands in the tenant file: remove it here"),
    ("spec", "there is none in this file: write its fields without it, at the beginning of the line"),
];

/// The schema of `T` by the steps with which kube makes a CRD's.
fn structural<T: JsonSchema>() -> Value {
    SchemaSettings::openapi3()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .with_transform(AddNullable::default())
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum)
        .with_transform(OptionalIntOrString)
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `check` looks at, and what says nothing about a value.
    const KNOWN: &[&str] = &[
        "type",
        "properties",
        "required",
        "items",
        "additionalProperties",
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
        "nullable",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-validations",
        "description",
        "title",
        "default",
        "format",
        "x-kubernetes-list-type",
        "x-kubernetes-preserve-unknown-fields",
    ];

    fn every_keyword(schema: &Value, path: &str) {
        let fields = schema.as_object().unwrap_or_else(|| panic!("{path}: {schema}"));
        for (keyword, value) in fields {
            match keyword.as_str() {
                "properties" => value
                    .as_object()
                    .unwrap()
                    .iter()
                    .for_each(|(name, schema)| every_keyword(schema, &format!("{path}.{name}"))),
                "items" => every_keyword(value, &format!("{path}[]")),
                "additionalProperties" if value.is_object() => every_keyword(value, &format!("{path}.*")),
                "anyOf" => assert!(fields.contains_key("x-kubernetes-int-or-string"), "{path}: anyOf"),
                known => assert!(KNOWN.contains(&known), "{path}: `{known}` is not checked"),
            }
        }
    }

    #[test]
    fn every_keyword_of_our_schemas_is_checked() {
        for form in [&*TENANT, &*LIMITS, &*DESCRIPTOR, &*SETTINGS, &*ENVIRONMENT, &*RUNTIME] {
            every_keyword(&form.schema, "");
            assert!(!form.patterns.is_empty());
        }
    }

    /// A reference to what is in another namespace cannot be written: there is no field for it. A member's is that of an
    /// account.
    #[test]
    fn no_field_names_a_namespace() {
        fn named(schema: &Value, path: &str, found: &mut Vec<String>) {
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                if name.to_lowercase().contains("namespace") {
                    found.push(format!("{path}.{name}"));
                }
                named(inner, &format!("{path}.{name}"), found);
            }
            let others = ["items", "additionalProperties"].into_iter().filter_map(|word| schema.get(word));
            others.for_each(|inner| named(inner, &format!("{path}[]"), found));
        }
        let mut found = Vec::new();
        for form in [&*TENANT, &*LIMITS, &*DESCRIPTOR, &*SETTINGS] {
            named(&form.schema, "", &mut found);
        }
        assert_eq!(found, [".spec.members[].namespace"]);
    }

    /// The CEL library compiles it anew for each value: of what there are 300 in a file, that was most of what reading it took.
    #[test]
    fn no_rule_of_what_there_are_many_of_has_a_regular_expression() {
        fn look(schema: &Value, are_many: bool, path: &str) {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                assert!(!are_many || !rule.to_string().contains("matches("), "{path}: {rule}");
            }
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                look(inner, are_many, &format!("{path}.{name}"));
            }
            let each = ["items", "additionalProperties"].into_iter().filter_map(|word| schema.get(word));
            for inner in each {
                look(inner, true, &format!("{path}[]"));
            }
        }
        for form in [&*TENANT, &*LIMITS, &*DESCRIPTOR, &*SETTINGS] {
            look(&form.schema, false, "");
        }
    }

    #[test]
    fn every_pattern_and_rule_of_our_schemas_compiles() {
        fn rules(schema: &CompiledSchema) {
            assert!(schema.compilation_errors().is_empty(), "{:?}", schema.compilation_errors());
            schema.properties.values().for_each(rules);
            schema.items.iter().for_each(|items| rules(items));
            schema.additional_properties.iter().for_each(|values| rules(values));
        }
        fn patterns(schema: &Value, form: &Form) {
            if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
                assert!(form.patterns.contains_key(pattern), "{pattern}");
            }
            match schema {
                Value::Object(fields) => fields.values().for_each(|value| patterns(value, form)),
                Value::Array(items) => items.iter().for_each(|item| patterns(item, form)),
                _ => {}
            }
        }
        for form in [&*TENANT, &*LIMITS, &*DESCRIPTOR, &*SETTINGS, &*ENVIRONMENT, &*RUNTIME] {
            rules(&form.rules);
            patterns(&form.schema, form);
        }
        assert!(!TENANT.rules.validations.is_empty(), "the rules of metadata.name are there");
    }
}

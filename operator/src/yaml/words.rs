//! What is wrong with a file, in words for its author. Pure.

use regex::Regex;
use serde_json::Value;

use super::node::{Content, Node};

/// The word that was probably meant.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 2);
    known
        .iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), *candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// A value for a message: short, whatever was written.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("\"{}…\"", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// `node` is not of the type that `schema` says.
pub(super) fn mismatch(schema: &Value, node: &Node, path: &str) -> String {
    let found = match &node.content {
        Content::Scalar(Value::Null) => "nothing".to_owned(),
        Content::Scalar(Value::String(text)) => quoted(text),
        Content::Scalar(other) => other.to_string(),
        Content::Sequence(_) => "a list".to_owned(),
        Content::Mapping(_) => "fields".to_owned(),
    };
    if let Some(allowed) = schema["enum"].as_array() {
        let allowed: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
        return format!("expected one of {}, found {found}", allowed.join(", "));
    }
    match (schema["type"].as_str(), &node.content) {
        (Some("object"), Content::Scalar(value)) => match only_field(schema, value) {
            Some(field) => {
                let is_fit = is_fit(&schema["properties"][field], value);
                let value = if is_fit { value.to_string() } else { "…".to_owned() };
                format!("expected fields, found {found}: write `{}: {{{field}: {value}}}`", last(path))
            }
            None if value.is_null() => {
                format!("expected fields, found {found}: write some below it, or `{{}}`")
            }
            None => {
                let way = needed(schema).map(|fields| format!(": write `{fields}`")).unwrap_or_default();
                format!("expected fields, found {found}{way}")
            }
        },
        (Some("object"), _) => format!("expected fields, found {found}"),
        (Some("array"), Content::Mapping(_)) => {
            format!("expected a list, found {found}: begin each entry with `- `")
        }
        (Some("array"), Content::Scalar(Value::String(text))) if schema["items"]["type"] == "string" => {
            format!("expected a list, found {found}: write `{}: [{text}]`", last(path))
        }
        (Some("array"), _) => {
            let way = needed(&schema["items"]).map(|fields| format!(": write `{}: [{fields}]`", last(path)));
            format!("expected a list, found {found}{}", way.unwrap_or_default())
        }
        (Some("integer"), _) => format!("expected a whole number, found {found}"),
        (Some("boolean"), _) => format!("expected true or false, found {found}"),
        (_, Content::Scalar(Value::Number(_) | Value::Bool(_))) => {
            format!("expected text, found {found}: write it in quotes, as \"{found}\"")
        }
        _ => format!("expected text, found {found}"),
    }
}

/// The fields that an object must have, as they are written.
fn needed(schema: &Value) -> Option<String> {
    let needed = schema["required"].as_array()?.iter().filter_map(Value::as_str);
    let needed: Vec<_> = needed.map(|name| format!("{name}: …")).collect();
    Some(format!("{{{}}}", needed.join(", ")))
}

/// What the parser says, with the way out where it is known.
pub(super) fn of_parser(told: &str) -> String {
    const RESERVED: [char; 3] = ['@', '`', '%'];
    let found = told.strip_prefix("unexpected character: `").and_then(|rest| rest.chars().next());
    match found.filter(|found| RESERVED.contains(found)) {
        Some(found) => {
            format!("text that begins with {found} must stand in quotes: write it as \"{found}…\"")
        }
        None => told.to_owned(),
    }
}

/// The only field of an object that needs saying, where `value` may be meant for it.
fn only_field<'a>(schema: &'a Value, value: &Value) -> Option<&'a str> {
    let properties = schema["properties"].as_object()?;
    let required: Vec<_> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let name = match (required.as_slice(), properties.len()) {
        ([only], _) => only,
        ([], 1) => properties.keys().next()?.as_str(),
        _ => return None,
    };
    let fits = match properties[name]["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        _ => false,
    };
    fits.then_some(name)
}

fn is_fit(schema: &Value, value: &Value) -> bool {
    let pattern = schema["pattern"].as_str().and_then(|pattern| Regex::new(pattern).ok());
    pattern.zip(value.as_str()).is_none_or(|(pattern, text)| pattern.is_match(text))
}

/// The name of the field at `path`.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The only field below which `key` is known.
pub(super) fn sheltered<'a>(schema: &'a Value, key: &str) -> Option<&'a str> {
    let properties = schema["properties"].as_object()?;
    let knows = |(_, inner): &(&String, &Value)| inner["properties"].get(key).is_some();
    let mut shelters = properties.iter().filter(knows);
    shelters.next().filter(|_| shelters.next().is_none()).map(|(name, _)| name.as_str())
}

/// A pattern in words.
pub(super) fn shape(pattern: &str) -> String {
    match pattern {
        r"^[a-z]([-a-z0-9]*[a-z0-9])?$" => {
            "a name: lower-case letters, digits and `-`, beginning with a letter and not ending in `-`"
                .to_owned()
        }
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" | r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$" => {
            "the name of a Kubernetes object: lower-case letters, digits and `-`".to_owned()
        }
        r"^[A-Za-z0-9._][A-Za-z0-9._/-]*$" => "a plain relative path, such as `services/orders`".to_owned(),
        r"^/([A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*)?$" => {
            "an absolute path of letters, digits and `._~-`, without `/` at the end, such as `/orders`"
                .to_owned()
        }
        r"^[A-Za-z_][A-Za-z0-9_]*$" => {
            "the name of a variable: letters, digits and `_`, not beginning with a digit".to_owned()
        }
        r"^[^\p{Z}\p{Cc}\p{Cf}]+( +[^\p{Z}\p{Cc}\p{Cf}]+)*$" => {
            "a name as it is seen: without invisible characters, and without white space but spaces between words: type it anew"
                .to_owned()
        }
        r"^sha256:[0-9a-f]{64}$" => "a digest: `sha256:` and 64 hexadecimal digits".to_owned(),
        other => format!("of the form {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Problem, descriptor, tenant};

    fn told(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_newcomer_writes_in_a_tenant_file_is_told_with_the_way_out() {
        let head = "apiVersion: imaas.dev/v1alpha1\nkind: Tenant\nmetadata: {name: acme}\n";
        for (text, expected) in [
            (
                "members: [{kind: User, name: jo, role: owner}]\n",
                &["4:1: members: stands under `spec`: write it as `spec: {members: …}`"][..],
            ),
            ("spec:\n", &["4:5: spec: expected fields, found nothing: write some below it, or `{}`"]),
            (
                "spec:\n  services: [{name: a, runtime: camel, repository: 'https://h/x'}]\n",
                &[
                    "5:52: spec.services[0].repository: expected fields, found \"https://h/x\": write `repository: {url: \"https://h/x\"}`",
                ],
            ),
            (
                "spec:\n  services: [{name: a, runtime: camel, url: 'https://h/x'}]\n",
                &[
                    "5:40: spec.services[0].url: stands under `repository`: write it as `repository: {url: …}`",
                ],
            ),
            (
                "spec:\n  services: {orders: {runtime: camel}}\n",
                &["5:13: spec.services: expected a list, found fields: begin each entry with `- `"],
            ),
            (
                "spec:\n  services: [{name: a, runtme: camel, repository: {url: 'https://h/x'}}]\n",
                &["5:24: spec.services[0].runtme: unknown field, did you mean \"runtime\"?"],
            ),
            (
                "spec:\n  services: [{name: a, runtime: camel, repository: {url: 'https://h/x'}, exportTo: [beta]}]\n",
                &[
                    "5:85: spec.services[0].exportTo[0]: expected fields, found \"beta\": write `{service: …, tenant: …}`",
                ],
            ),
            (
                "spec:\n  members: acme-leads\n",
                &[
                    "5:12: spec.members: expected a list, found \"acme-leads\": write `members: [{kind: …, name: …, role: …}]`",
                ],
            ),
            (
                "spec:\n  members: [{kind: User, name: @jo, role: owner}]\n",
                &["5:32: text that begins with @ must stand in quotes: write it as \"@…\""],
            ),
            (
                "spec:\n  members: [{kind: User, name: jo, namespace: build, role: owner}]\n",
                &[
                    "5:13: spec.members[0]: only a ServiceAccount is in a namespace: leave `namespace` out, or write `kind: ServiceAccount`",
                ],
            ),
            ("spec:\n  contact: *x\n", &["5:12: aliases (`*name`) are not accepted: write the value out"]),
        ] {
            assert_eq!(told(&tenant(format!("{head}{text}").as_bytes()).unwrap_err()), expected, "{text}");
        }
    }

    #[test]
    fn what_a_newcomer_writes_in_a_descriptor_is_told_with_the_way_out() {
        let head = "apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\n";
        for (text, expected) in [
            ("replicas: 3\n", "3:1: replicas: is written as `scaling: {min: …}`"),
            ("scaling: 3\n", "3:10: scaling: expected fields, found 3: write `scaling: {min: 3}`"),
            ("instances: 3\n", "3:12: instances: expected one of one, many, found 3"),
            (
                "image: registry/x:1\n",
                "3:8: image: expected fields, found \"registry/x:1\": write `image: {digest: …}`",
            ),
            (
                "secrets: orders-db\n",
                "3:10: secrets: expected a list, found \"orders-db\": write `secrets: [orders-db]`",
            ),
            ("memory: 1Gi\n", "3:1: memory: stands under `resources`: write it as `resources: {memory: …}`"),
            (
                "rollout: recreate\n",
                "3:10: rollout: expected fields, found \"recreate\": write `rollout: {strategy: \"recreate\"}`",
            ),
            (
                "environments: {prod: {replicas: 3}}\n",
                "3:23: environments.prod.replicas: is written as `scaling: {min: …}`",
            ),
            (
                "resources: {limits: {memory: 1Gi}}\n",
                "3:13: resources.limits: unknown field, accepted here are cpu, memory",
            ),
        ] {
            assert_eq!(
                told(&descriptor(format!("{head}{text}").as_bytes()).unwrap_err()),
                [expected],
                "{text}"
            );
        }
    }
}

//! What is wrong with a file, in words for its author. Pure.

use regex::Regex;
use serde_json::Value;

use super::node::{Content, Node};
use crate::cron::Cron;

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
    if let Content::Scalar(Value::String(text)) = &node.content
        && let Some(key) = unspaced(text).filter(|key| schema["properties"].get(key).is_some())
    {
        return format!("a space is missing after the colon: write `{key}: …`");
    }
    match (schema["type"].as_str(), &node.content) {
        (Some("object"), Content::Scalar(value)) => match only_field(schema, value) {
            Some(field) => {
                let is_fit = is_fit(&schema["properties"][field], value);
                let value = if is_fit { value.to_string() } else { "…".to_owned() };
                format!("expected fields, found {found}: write `{}: {{{field}: {value}}}`", last(path))
            }
            None if value.is_null() || *value == true && needed(schema).is_none() => {
                format!("expected fields, found {found}: write some below it, or `{{}}`")
            }
            None if *value == false => format!("expected fields, found {found}: remove the line"),
            None => {
                let way = needed(schema).map(|fields| format!(": write `{fields}`")).unwrap_or_default();
                format!("expected fields, found {found}{way}")
            }
        },
        (Some("object"), Content::Sequence(items)) if schema["additionalProperties"].is_object() => {
            let names = items.iter().filter_map(|item| match &item.content {
                Content::Scalar(Value::String(name)) => Some(format!("{name}: {{…}}")),
                Content::Scalar(_) | Content::Sequence(_) | Content::Mapping(_) => None,
            });
            let names: Vec<_> = names.collect();
            let names = if names.is_empty() { "NAME: {…}".to_owned() } else { names.join(", ") };
            format!("expected fields, found {found}: write `{}: {{{names}}}`", last(path))
        }
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
        (_, Content::Scalar(value @ (Value::Number(_) | Value::Bool(_))))
            if !is_fit(schema, &Value::String(value.to_string())) =>
        {
            let way = match schema["pattern"].as_str().and_then(known_shape) {
                _ if last(path) == "port" => ": write the name of one of `ports`".to_owned(),
                Some(shape) => format!(": write {shape}"),
                None => String::new(),
            };
            format!("expected text, found {found}{way}")
        }
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

/// Told of a quote where it begins.
pub(super) const UNCLOSED: &str =
    "the quote that begins here is not closed: write it again at the end of the text";

/// The key of `text` where only the space after its colon is missing, as in `name:orders`.
pub(super) fn unspaced(text: &str) -> Option<&str> {
    let (key, value) = text.split_once(':')?;
    let is_word = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric());
    (is_word && !value.is_empty() && !value.starts_with([' ', '/'])).then_some(key)
}

/// What the parser says, with the way out where it is known.
pub(super) fn of_parser(told: &str) -> String {
    const RESERVED: [char; 3] = ['@', '`', '%'];
    if told == "unclosed quote" {
        return UNCLOSED.to_owned();
    }
    let found = told.strip_prefix("unexpected character: `").and_then(|rest| rest.chars().next());
    match found.filter(|found| RESERVED.contains(found)) {
        Some(found) => {
            format!("text that begins with {found} must stand in quotes: write it as \"{found}…\"")
        }
        None => told.to_owned(),
    }
}

/// The only field of an object that needs saying, or that is no list and never without a value, or that has such a word, where
/// `value` may be meant for it.
fn only_field<'a>(schema: &'a Value, value: &Value) -> Option<&'a str> {
    let properties = schema["properties"].as_object()?;
    let required: Vec<_> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    // A list may be empty, and is no place for a scalar.
    let is_certain = |(_, inner): &(&String, &Value)| inner["nullable"] != true && inner["type"] != "array";
    let certain: Vec<_> = properties.iter().filter(is_certain).map(|(name, _)| name.as_str()).collect();
    let name = match (required.as_slice(), certain.as_slice(), properties.len()) {
        ([only], _, _) => only,
        ([], [only], _) if properties[*only]["enum"].is_null() => only,
        ([], _, 1) => properties.keys().next()?.as_str(),
        _ => {
            let has_it = |(_, field): &(&String, &Value)| {
                field["enum"].as_array().is_some_and(|words| words.contains(value))
            };
            let mut fields = properties.iter().filter(has_it);
            fields.next().filter(|_| fields.next().is_none())?.0.as_str()
        }
    };
    fits(&properties[name], value).then_some(name)
}

/// May a scalar be meant for a field of this schema?
fn fits(schema: &Value, value: &Value) -> bool {
    match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        _ => schema["x-kubernetes-int-or-string"] == true && (value.is_string() || value.is_number()),
    }
}

fn is_fit(schema: &Value, value: &Value) -> bool {
    let pattern = schema["pattern"].as_str().and_then(|pattern| Regex::new(pattern).ok());
    pattern.zip(value.as_str()).is_none_or(|(pattern, text)| pattern.is_match(text))
}

/// The name of the field at `path`.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The only field below which `key` is known, or of several the only one where `value` may be meant.
pub(super) fn sheltered<'a>(schema: &'a Value, key: &str, value: &Value) -> Option<&'a str> {
    let properties = schema["properties"].as_object()?;
    let known = |(name, inner): (&'a String, &'a Value)| Some((name.as_str(), inner["properties"].get(key)?));
    let shelters: Vec<_> = properties.iter().filter_map(known).collect();
    let mut fitting = shelters.iter().filter(|(_, inner)| shelters.len() == 1 || fits(inner, value));
    fitting.next().filter(|_| fitting.next().is_none()).map(|(name, _)| *name)
}

/// What is wrong with a schedule that is shorter than any, such as `@daily`.
pub(super) fn no_schedule(schema: &Value, text: &str, path: &str) -> Option<String> {
    let is_schedule = ["schedule", "cron"].contains(&last(path));
    let is_short = schema["minLength"].as_u64().is_some_and(|least| (text.chars().count() as u64) < least);
    if is_schedule && is_short { Cron::parse(text, None).err().map(|error| error.to_string()) } else { None }
}

/// Of an address in which a password may stand: of what is written nothing is told back.
const PROMETHEUS: &str = r"^https?://[^\s@?#]+$";

/// `text` is not of `pattern`.
pub(super) fn misshapen(text: &str, pattern: &str) -> String {
    if pattern == PROMETHEUS {
        return "is no address, or has a user, a password, a `?` or a `#` in it: write it like http://prometheus.monitoring.svc:9090".to_owned();
    }
    format!("{} is not {}", quoted(text), shape(pattern))
}

/// A pattern in words.
fn shape(pattern: &str) -> String {
    known_shape(pattern).unwrap_or_else(|| format!("of the form {pattern}"))
}

fn known_shape(pattern: &str) -> Option<String> {
    let shape = match pattern {
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
        r"^[A-Za-z0-9_][A-Za-z0-9._-]*$" => named("letters, digits and `._-`"),
        r"^[A-Za-z0-9_][A-Za-z0-9._:-]*$" => named("letters, digits and `._:-`"),
        r"^[A-Za-z0-9_][A-Za-z0-9._:/-]*$" => named("letters, digits and `._:/-`"),
        r"^sha256:[0-9a-f]{64}$" => "a digest: `sha256:` and 64 hexadecimal digits".to_owned(),
        _ => return None,
    };
    Some(shape)
}

/// What a broker has names for. `of`: what they may hold.
fn named(of: &str) -> String {
    format!(
        "a name by which a broker is asked here: {of}, beginning with a letter, a digit or `_`, though the broker may know others"
    )
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Problem, descriptor, tenant},
        UNCLOSED,
    };

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
            (
                "spec:\n  environments: [dev, prod]\n",
                &[
                    "5:17: spec.environments: expected fields, found a list: write `environments: {dev: {…}, prod: {…}}`",
                ],
            ),
            (
                "spec:\n  environments: [{name: dev}]\n",
                &[
                    "5:17: spec.environments: expected fields, found a list: write `environments: {NAME: {…}}`",
                ],
            ),
            (
                "spec:\n  owner: jo\n",
                &["5:3: spec.owner: is written as `members: [{kind: User, name: …, role: owner}]`"],
            ),
            (
                "spec:\n  services: [{name: a, runtime: camel, repository: {url: 'https://h/x', branch: main}}]\n",
                &[
                    "5:73: spec.services[0].repository.branch: stands at the service, by environment: write it as `branches: {prod: main}` beside `repository`",
                ],
            ),
            (
                "spec:\n  members: [{kind: User, name:jo, role: owner}]\n",
                &["5:26: spec.members[0].name:jo: a space is missing after the colon: write `name: …`"],
            ),
            (
                "spec:\n  services:\n    - name:orders\n",
                &["6:7: spec.services[0]: a space is missing after the colon: write `name: …`"],
            ),
            ("spec:\n  contact: *x\n", &["5:12: aliases (`*name`) are not accepted: write the value out"]),
        ] {
            assert_eq!(told(&tenant(format!("{head}{text}").as_bytes()).unwrap_err()), expected, "{text}");
        }
    }

    #[test]
    fn a_slip_of_the_hand_is_told_where_it_was_made() {
        let head = "apiVersion: imaas.dev/v1alpha1\nkind: Tenant\nmetadata: {name: acme}\nspec:\n";
        let space = |key: &str| format!("a space is missing after the colon: write `{key}: …`");
        let columns = |at: u32, line: u32, other: u32| {
            format!(
                "this line begins at column {at}, and line {line} at column {other}: begin both at the same, or this one further right if it belongs to that"
            )
        };
        for (text, place, message) in [
            ("  services:\n    - name:orders\n      runtime: camel\n", "6:11", space("name")),
            ("  members:\n    - kind: Group\n      name:leads\n      role: owner\n", "7:11", space("name")),
            ("  contact:a\n  members: []\n", "5:10", space("contact")),
            ("  contact\n  members: []\n", "5:10", "a colon is missing: write `contact: …`".to_owned()),
            ("  members: []\n  contact\n", "6:10", "a colon is missing: write `contact: …`".to_owned()),
            ("  contact: \"a\n  members: []\n", "5:12", UNCLOSED.to_owned()),
            ("  contact: 'it\n  members: []\n", "5:12", UNCLOSED.to_owned()),
            ("  contact: \"a\n", "5:12", UNCLOSED.to_owned()),
            ("  contact: \"a", "5:12", UNCLOSED.to_owned()),
            (
                "  services:\n    - repository: {url: \"https://h/x}\n      runtime: \"camel\"\n",
                "6:25",
                UNCLOSED.to_owned(),
            ),
            (
                "  contact: 'it's me'\n",
                "5:16",
                "the text ended at the quote before this: write all of it in one pair of quotes, as \"it's me\""
                    .to_owned(),
            ),
            (
                "  contact: x: y\n",
                "5:12",
                "text that holds a `: ` must stand in quotes: write `contact: \"x: y\"`".to_owned(),
            ),
            ("  contact: a\n   members: []\n", "6:4", columns(4, 5, 3)),
            ("   contact: a\n  members: []\n", "6:3", columns(3, 5, 4)),
            ("  services:\n    - name: orders\n       runtime: camel\n", "7:8", columns(8, 6, 7)),
            ("  services:\n    - name: orders\n     runtime: camel\n", "7:6", columns(6, 6, 7)),
            (
                "  services:\n    - name: a\n      repository:\n        url: b\n     runtime: c\n",
                "9:6",
                columns(6, 7, 7),
            ),
            ("  members:\n    - kind: Group\n     - kind: Group\n", "7:6", columns(6, 6, 5)),
            ("  members:\n    - kind: Group\n   - kind: Group\n", "7:4", columns(4, 6, 5)),
        ] {
            let told = told(&tenant(format!("{head}{text}").as_bytes()).unwrap_err());
            assert_eq!(told, [format!("{place}: {message}")], "{text}");
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
            ("cpu: 70\n", "3:1: cpu: unknown field"),
            ("memory: 1Gi\n", "3:1: memory: stands under `resources`: write it as `resources: {memory: …}`"),
            (
                "rollout: recreate\n",
                "3:10: rollout: expected fields, found \"recreate\": write `rollout: {strategy: \"recreate\"}`",
            ),
            (
                "rollout: {strategy: canary, analysis: true}\n",
                "3:39: rollout.analysis: expected fields, found true: write some below it, or `{}`",
            ),
            (
                "rollout: {strategy: canary, analysis: }\n",
                "3:37: rollout.analysis: has nothing below it, and so there would be none: write `analysis: {}` for the defaults, or remove the line",
            ),
            (
                "rollout: {strategy: blueGreen, smoke: }\n",
                "3:37: rollout.smoke: has nothing below it, and so there would be none: write `smoke: {path: …}`, or remove the line",
            ),
            (
                "rollout: {strategy: blueGreen, smoke: {path: /health, port: 8080}}\n",
                "3:61: rollout.smoke.port: expected text, found 8080: write the name of one of `ports`",
            ),
            (
                "scaling: {windows: [{schedule: '@daily', duration: 8h, min: 1}]}\n",
                "3:32: scaling.windows[0].schedule: \"@daily\" is understood elsewhere only: write 0 0 * * *",
            ),
            (
                "scaling: {windows: [{schedule: daily, duration: 8h, min: 1}]}\n",
                "3:32: scaling.windows[0].schedule: \"daily\" is no schedule: write minute, hour, day of the month, month and day of the week, such as 0 22 * * MON-FRI",
            ),
            (
                "scaling: {max: 2, triggers: [{broker: a, rabbitmq: {queue: orders/new, messages: 1}}]}\n",
                "3:60: scaling.triggers[0].rabbitmq.queue: \"orders/new\" is not a name by which a broker is asked here: letters, digits and `._:-`, beginning with a letter, a digit or `_`, though the broker may know others",
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

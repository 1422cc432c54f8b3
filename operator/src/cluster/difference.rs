//! Does a live object hold what is wanted? Pure. The API server adds defaults and drops empty values, so wanted is
//! looked for in live, not compared with it.

use serde_json::Value;

use crate::{api::Quantity, names::APPLIED};

/// Path of the first wanted value that live does not have, such as `spec.replicas`; `None` when it has all. The hash
/// of what is applied, which differs whenever anything does, is named only when nothing else can be: something is no
/// longer wanted.
pub fn first_difference(mut wanted: Value, live: &Value) -> Option<String> {
    let told = |path: String| path.trim_start_matches('.').to_owned();
    let wanted_hash = wanted
        .pointer_mut("/metadata/annotations")
        .and_then(|annotations| annotations.as_object_mut()?.remove(APPLIED));
    let live_hash = live.pointer("/metadata/annotations").and_then(|annotations| annotations.get(APPLIED));
    let by_hash = wanted_hash.is_some() && wanted_hash.as_ref() != live_hash;
    difference(&wanted, Some(live))
        .map(told)
        .or_else(|| by_hash.then(|| format!("metadata.annotations.{APPLIED}")))
}

fn difference(wanted: &Value, live: Option<&Value>) -> Option<String> {
    match (wanted, live) {
        // What is not wanted; and `omitempty`: the API server does not store what is zero.
        (Value::Null, _) | (Value::Bool(false), None) => None,
        (Value::Object(wanted), live) => {
            let live = live.and_then(Value::as_object);
            wanted.iter().find_map(|(key, value)| {
                difference(value, live.and_then(|live| live.get(key))).map(|path| format!(".{key}{path}"))
            })
        }
        (Value::Array(wanted), live) => {
            let live = live.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            if wanted.len() != live.len() {
                return Some(String::new());
            }
            wanted.iter().zip(live).enumerate().find_map(|(index, (wanted, live))| {
                difference(wanted, Some(live)).map(|path| format!("[{index}]{path}"))
            })
        }
        (wanted, Some(live)) if equal(wanted, live) => None,
        (Value::String(text), None) if text.is_empty() => None,
        (Value::Number(number), None) if number.as_i64() == Some(0) => None,
        _ => Some(String::new()),
    }
}

/// Equal, or two spellings of one quantity: `1000m` comes back as `1`.
fn equal(wanted: &Value, live: &Value) -> bool {
    let millis = |value: &Value| Quantity(value.as_str()?.to_owned()).millis();
    wanted == live || matches!((millis(wanted), millis(live)), (Some(a), Some(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_and_other_spellings_are_no_difference() {
        let wanted = json!({ "spec": { "cpu": "1000m", "labels": {}, "gone": null, "list": [{ "a": 1 }], "off": false } });
        let live = json!({ "spec": { "cpu": "1", "extra": true, "list": [{ "a": 1, "default": "x" }] } });
        assert_eq!(first_difference(wanted, &live), None);
    }

    #[test]
    fn a_changed_missing_or_added_value_is_named() {
        let live = json!({ "spec": { "replicas": 2, "list": [{ "a": 1 }, { "a": 2 }] } });
        assert_eq!(
            first_difference(json!({ "spec": { "replicas": 3 } }), &live).as_deref(),
            Some("spec.replicas")
        );
        assert_eq!(
            first_difference(json!({ "spec": { "list": [{ "a": 1 }] } }), &live).as_deref(),
            Some("spec.list")
        );
        let wanted = json!({ "spec": { "list": [{ "a": 1 }, { "a": 3 }] } });
        assert_eq!(first_difference(wanted, &live).as_deref(), Some("spec.list[1].a"));
        assert_eq!(first_difference(json!({ "new": "x" }), &live).as_deref(), Some("new"));
    }

    #[test]
    fn the_hash_is_named_only_when_nothing_else_differs() {
        let hashed = |hash: &str, spec: Value| json!({ "metadata": { "annotations": { APPLIED: hash } }, "spec": spec });
        let live = hashed("old", json!({ "replicas": 2, "paused": true }));
        let path = |wanted| first_difference(wanted, &live);
        assert_eq!(path(hashed("new", json!({ "replicas": 3 }))).as_deref(), Some("spec.replicas"));
        let hash = format!("metadata.annotations.{APPLIED}");
        assert_eq!(path(hashed("new", json!({ "replicas": 2 }))), Some(hash), "`paused` is no longer wanted");
        assert_eq!(path(hashed("old", json!({ "replicas": 2 }))), None);
    }
}

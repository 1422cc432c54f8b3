//! What somebody else added to an object that is wholly ours. Pure: the wanted and the live object in, a merge patch that
//! takes it out again.
//!
//! Server-side apply never removes what another manager owns, so an opened network policy or a second container would
//! stay. `metadata.managedFields` tells whose each field is: what others own and is not wanted goes, with their claim to
//! it. Defaults of the API server belong to nobody, and what admission adds to our own requests belongs to us. Left
//! alone: metadata, whatever is written by way of a subresource (status, scale), and [`LEFT`].

use serde_json::{Map, Value, json};

use crate::names::MANAGER;

/// Fields that others may own: the number of replicas, which an autoscaler sets (where it is wanted, its value is compared
/// anyway), the mark of `kubectl rollout restart`, which changes nothing and whose removal would restart again, and the
/// platform's stop buttons of a Tenant from Git.
const LEFT: [&[&str]; 4] = [
    &["f:spec", "f:replicas"],
    &["f:spec", "f:suspend"],
    &["f:spec", "f:cordon"],
    &["f:spec", "f:template", "f:metadata", "f:annotations", "f:kubectl.kubernetes.io/restartedAt"],
];

/// What takes away what others added.
#[derive(Debug, PartialEq)]
pub struct Repair {
    /// The first field that goes, such as `spec.egress`.
    pub path: String,
    /// For the object as it was read, and for no later one.
    pub merge_patch: Value,
}

/// Did we ever apply it? Without that, whoever restored it from a backup owns all of it.
pub fn is_applied_by_us(live: &Value) -> bool {
    managers(live).iter().any(is_ours)
}

fn is_ours(entry: &Value) -> bool {
    entry["manager"] == MANAGER && entry["operation"] == "Apply"
}

fn is_of_others(entry: &Value) -> bool {
    entry["manager"] != MANAGER && entry["subresource"].is_null()
}

fn others(live: &Value) -> impl Iterator<Item = Value> {
    managers(live).iter().filter(|entry| is_of_others(entry)).cloned()
}

/// The first wanted field that somebody else changed: others own it and we no longer do. A value compared with what is
/// wanted does not tell all of them, since a list may be one value as a whole, and hold more than is wanted.
pub fn taken(wanted: &Value, live: &Value) -> Option<String> {
    let ours = managers(live).iter().find(|entry| is_ours(entry));
    let ours = ours.map_or(&Value::Null, |entry| &entry["fieldsV1"]);
    others(live).find_map(|mut entry| taken_in(wanted, ours, &content(&mut entry)))
}

fn taken_in(wanted: &Value, ours: &Value, fields: &Map<String, Value>) -> Option<String> {
    fields.iter().find_map(|(step, below)| {
        let place = find(wanted, step)?;
        let (wanted, ours) = (place.get(wanted)?, &ours[step]);
        let below = below.as_object()?;
        if below.keys().all(|step| step == ".") {
            return ours.is_null().then(|| place.name());
        }
        taken_in(wanted, ours, below).map(|path| format!("{}.{path}", place.name()))
    })
}

/// Nothing when all that others own is wanted, or is left to them.
pub fn repair(wanted: &Value, live: &Value) -> Option<Repair> {
    let (mut kept, mut repaired, mut paths) = (Vec::new(), live.clone(), Vec::new());
    for entry in managers(live) {
        let mut entry = entry.clone();
        if is_of_others(&entry) {
            let fields = content(&mut entry);
            take_out(&mut repaired, wanted, &fields, ("", &mut paths));
        }
        if entry["fieldsV1"].as_object().is_some_and(|fields| !fields.is_empty()) {
            kept.push(entry);
        }
    }
    let path = paths.into_iter().next()?;
    let mut merge_patch = difference(live, &repaired);
    merge_patch["metadata"] = json!({
        "managedFields": kept, "resourceVersion": live["metadata"]["resourceVersion"], "uid": live["metadata"]["uid"],
    });
    Some(Repair { path, merge_patch })
}

/// The apply with which another manager takes over `spec.replicas` at the value that it has, where we alone own it and
/// `wanted` leaves it out: a field that its last owner lets go becomes what the API server has for one that nobody sets.
/// Whoever changes it from then on, such as an autoscaler, owns it.
pub fn handed_over(wanted: &Value, live: &Value) -> Option<Value> {
    let owns = |entry: &&Value| !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null();
    let mut owners = managers(live).iter().filter(owns);
    let is_let_go =
        wanted["spec"]["replicas"].is_null() && owners.next().is_some_and(is_ours) && owners.next().is_none();
    is_let_go.then(|| {
        let (live, metadata) = (&live["spec"]["replicas"], &live["metadata"]);
        let metadata = json!({ "name": metadata["name"], "namespace": metadata["namespace"],
            "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"] });
        json!({ "apiVersion": wanted["apiVersion"], "kind": wanted["kind"], "metadata": metadata,
            "spec": { "replicas": live } })
    })
}

fn managers(live: &Value) -> &[Value] {
    live["metadata"]["managedFields"].as_array().map_or(&[], Vec::as_slice)
}

/// Takes all fields but those of the metadata out of a manager's entry, and returns those that it may not own.
fn content(entry: &mut Value) -> Map<String, Value> {
    let mut content = Map::new();
    if let Some(fields) = entry["fieldsV1"].as_object_mut() {
        fields.retain(|step, below| {
            let stays = step == "f:metadata" || step == "f:status";
            if !stays {
                content.insert(step.clone(), below.take());
            }
            stays
        });
    }
    for path in LEFT {
        drop_path(&mut content, path);
    }
    content
}

/// Removes a path, and what is then empty above it.
fn drop_path(fields: &mut Map<String, Value>, path: &[&str]) {
    let Some((first, rest)) = path.split_first() else { return };
    if let Some(below) = fields.get_mut(*first).and_then(Value::as_object_mut) {
        drop_path(below, rest);
        if below.keys().all(|step| step == ".") {
            fields.remove(*first);
        }
    }
}

/// Removes from `live` what `fields` names and `wanted` does not have. What is not wanted at all goes whole, with the
/// defaults that came with it: a part of it might not be valid.
fn take_out(
    live: &mut Value,
    wanted: &Value,
    fields: &Map<String, Value>,
    (path, gone): (&str, &mut Vec<String>),
) {
    for (step, below) in fields {
        let Some(here) = find(live, step) else { continue };
        let wanted = find(wanted, step).and_then(|there| there.get(wanted));
        let path = format!("{path}{}{}", if path.is_empty() { "" } else { "." }, here.name());
        match (wanted, below.as_object()) {
            (None, _) => {
                here.remove(live);
                gone.push(path);
            }
            (Some(wanted), Some(below)) => {
                if let Some(live) = here.get_mut(live) {
                    take_out(live, wanted, below, (&path, gone));
                }
            }
            (Some(_), None) => {}
        }
    }
}

/// Where a step of `fieldsV1` leads: `f:<field>`, `k:<keys of an item>` or `v:<item>`.
enum Place {
    Field(String),
    Item(usize),
}

fn find(value: &Value, step: &str) -> Option<Place> {
    let (kind, text) = step.split_once(':')?;
    if kind == "f" {
        return value.get(text).filter(|field| !field.is_null()).map(|_| Place::Field(text.to_owned()));
    }
    let key: Value = serde_json::from_str(text).ok()?;
    let is_it = |item: &Value| match (kind, key.as_object()) {
        // An item that leaves a key out has its default, as the protocol of a port.
        ("k", Some(keys)) => keys.iter().all(|(name, value)| item.get(name).is_none_or(|own| own == value)),
        ("v", _) => *item == key,
        _ => false,
    };
    value.as_array()?.iter().position(is_it).map(Place::Item)
}

impl Place {
    fn name(&self) -> String {
        match self {
            Self::Field(name) => name.clone(),
            Self::Item(index) => index.to_string(),
        }
    }

    fn get<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Field(name) => value.get(name),
            Self::Item(index) => value.get(index),
        }
    }

    fn get_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        match self {
            Self::Field(name) => value.get_mut(name),
            Self::Item(index) => value.get_mut(index),
        }
    }

    fn remove(&self, value: &mut Value) {
        match (self, value) {
            (Self::Field(name), Value::Object(fields)) => drop(fields.remove(name)),
            (Self::Item(index), Value::Array(items)) => drop(items.remove(*index)),
            _ => {}
        }
    }
}

/// The merge patch (RFC 7386) that makes `to` of `from`, which has more.
fn difference(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let changed = from.iter().filter(|(key, value)| to.get(*key) != Some(value));
    let patch = |(key, value): (&String, &Value)| {
        (key.clone(), to.get(key).map_or(Value::Null, |to| difference(value, to)))
    };
    Value::Object(changed.map(patch).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(spec: &Value, entries: &[Value]) -> Value {
        json!({ "metadata": { "resourceVersion": "7", "uid": "u", "managedFields": entries }, "spec": spec })
    }

    fn own(fields: &Value) -> Value {
        json!({ "manager": MANAGER, "operation": "Apply", "fieldsV1": { "f:spec": fields } })
    }

    fn entry(manager: &str, fields: &Value) -> Value {
        json!({ "manager": manager, "operation": "Update", "fieldsV1": { "f:spec": fields } })
    }

    #[test]
    fn an_added_field_goes_with_the_claim_to_it_and_nothing_else() {
        let wanted = json!({ "spec": { "podSelector": {}, "policyTypes": ["Ingress"] } });
        let own = own(&json!({ "f:podSelector": {}, "f:policyTypes": {} }));
        let mut others =
            entry("kubectl", &json!({ "f:egress": {}, "f:podSelector": { "f:matchLabels": {} } }));
        others["fieldsV1"]["f:metadata"] = json!({ "f:labels": { "f:team": {} } });
        let status = json!({ "manager": "kube-controller-manager", "subresource": "status", "fieldsV1": { "f:status": {} } });
        let spec = json!({ "podSelector": { "matchLabels": { "a": "b" } }, "policyTypes": ["Ingress"], "egress": [{}], "default": 1 });
        let live = live(&spec, &[own.clone(), others, status.clone()]);
        let Repair { path, merge_patch } = repair(&wanted, &live).unwrap();
        assert_eq!(path, "spec.egress");
        let left = json!({ "manager": "kubectl", "operation": "Update", "fieldsV1": { "f:metadata": { "f:labels": { "f:team": {} } } } });
        let metadata = json!({ "managedFields": [own, left, status], "resourceVersion": "7", "uid": "u" });
        let spec = json!({ "egress": null, "podSelector": { "matchLabels": null } });
        assert_eq!(merge_patch, json!({ "metadata": metadata, "spec": spec }));
    }

    #[test]
    fn an_added_item_and_a_part_of_one_go_from_their_list() {
        let wanted = json!({ "spec": { "containers": [{ "name": "orders", "image": "a" }] } });
        let spec = json!({ "containers": [
            { "name": "orders", "image": "b", "tty": true, "env": [{ "name": "FOO" }], "default": 1 }, { "name": "spy" }] });
        let fields = json!({ "f:containers": {
            "k:{\"name\":\"orders\"}": { ".": {}, "f:image": {}, "f:tty": {}, "f:env": { ".": {}, "k:{\"name\":\"FOO\"}": { ".": {} } } },
            "k:{\"name\":\"spy\"}": { ".": {}, "f:name": {} } } });
        let live = live(&spec, &[own(&json!({})), entry("kubectl-edit", &fields)]);
        let repair = repair(&wanted, &live).unwrap();
        // The image is wanted, so it is for the apply to set back.
        assert_eq!(
            repair.merge_patch["spec"]["containers"],
            json!([{ "name": "orders", "image": "b", "default": 1 }])
        );
    }

    #[test]
    fn replicas_are_handed_over_only_where_nobody_else_has_them() {
        let wanted = |spec: Value| json!({ "apiVersion": "apps/v1", "kind": "Deployment", "spec": spec });
        let own = own(&json!({ "f:replicas": {}, "f:paused": {} }));
        let scaled = json!({ "manager": "kube-controller-manager", "operation": "Update", "subresource": "scale",
            "fieldsV1": { "f:spec": { "f:replicas": {} } } });
        let spec = json!({ "replicas": 3, "paused": false });
        let handed =
            |spec_wanted: Value, entries: &[Value]| handed_over(&wanted(spec_wanted), &live(&spec, entries));
        let apply = handed(json!({}), std::slice::from_ref(&own)).unwrap();
        assert_eq!((&apply["spec"], &apply["kind"]), (&json!({ "replicas": 3 }), &json!("Deployment")));
        assert_eq!(
            (&apply["metadata"]["resourceVersion"], &apply["metadata"]["uid"]),
            (&json!("7"), &json!("u"))
        );
        assert_eq!(handed(json!({ "replicas": 3 }), std::slice::from_ref(&own)), None, "it stays ours");
        assert_eq!(handed(json!({}), &[own, scaled.clone()]), None, "it stays theirs");
        assert_eq!(handed(json!({}), &[scaled]), None, "it is not ours");
    }

    #[test]
    fn what_others_may_own_is_left() {
        let wanted = json!({ "spec": { "template": { "metadata": { "labels": {} } }, "same": 1 } });
        let mark = "kubectl.kubernetes.io/restartedAt";
        let annotations = json!({ ".": {}, format!("f:{mark}"): {} });
        let fields = json!({ "f:replicas": {}, "f:same": {}, "f:gone": {},
            "f:template": { "f:metadata": { "f:annotations": annotations } } });
        let spec = json!({ "replicas": 3, "same": 1, "template": { "metadata": { "annotations": { mark: "now" } } } });
        let mut scaled = entry("hpa", &json!({ "f:anything": {} }));
        scaled["subresource"] = json!("scale");
        let mut webhook = entry(MANAGER, &json!({ "f:injected": {} }));
        webhook["operation"] = json!("Update");
        assert_eq!(repair(&wanted, &live(&spec, &[entry("kubectl", &fields), scaled, webhook])), None);
    }

    #[test]
    fn a_wanted_field_that_others_changed_is_told_and_one_that_is_shared_is_not() {
        let wanted = json!({ "spec": { "limits": [{ "type": "Pod" }], "same": 1 } });
        let spec = json!({ "limits": [{ "type": "Pod", "max": 2 }], "same": 1, "replicas": 2 });
        let fields = json!({ "f:limits": {}, "f:same": {}, "f:replicas": {}, "f:added": {} });
        let told = |ours: &Value| taken(&wanted, &live(&spec, &[own(ours), entry("kubectl", &fields)]));
        assert_eq!(told(&json!({ "f:same": {} })).as_deref(), Some("spec.limits"));
        assert_eq!(told(&json!({ "f:same": {}, "f:limits": {} })), None);
    }

    #[test]
    fn one_that_was_restored_is_ours_only_after_we_applied_it() {
        let restored = live(&json!({}), &[entry("velero-server", &json!({ "f:x": {} }))]);
        assert!(!is_applied_by_us(&restored));
        assert!(is_applied_by_us(&live(&json!({}), &[own(&json!({}))])));
    }
}

//! Feeds the events of watches in and compares what comes out.

use k8s_openapi::api::{
    core::v1::{ConfigMap, LimitRange, Secret},
    policy::v1::PodDisruptionBudget,
};
use kube::api::PartialObjectMeta;
use serde::de::DeserializeOwned;

use super::*;
use crate::api::IntegrationService;

/// An object in `acme-dev` of this name, version and owner.
fn object<O: DeserializeOwned>(name: &str, version: &str, (tenant, service): (&str, &str)) -> O {
    let labels = serde_json::json!({ MANAGED_BY: MANAGER, TENANT: tenant, SERVICE: service });
    serde_json::from_value(serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "namespace": "acme-dev", "name": name, "resourceVersion": version, "labels": labels },
        "spec": { "repository": { "url": "https://git.example.com/acme/orders.git" }, "runtime": "container" },
    }))
    .unwrap()
}

fn config(name: &str, version: &str, owner: (&str, &str)) -> PartialObjectMeta<ConfigMap> {
    object(name, version, owner)
}

const ORDERS: (&str, &str) = ("acme", "orders");
const BILLING: (&str, &str) = ("acme", "billing");

fn list<O: Resource<DynamicType = ()> + Serialize>(seen: &mut Seen, objects: Vec<O>) -> Vec<String> {
    let mut listing = Listing::default();
    let events = objects.into_iter().map(Event::InitApply);
    let touches = [Event::Init].into_iter().chain(events).chain([Event::InitDone]);
    told(touches.flat_map(|event| seen.take(&mut listing, &event)).collect())
}

fn after<O: Resource<DynamicType = ()> + Serialize>(seen: &mut Seen, event: &Event<O>) -> Vec<String> {
    told(seen.take(&mut Listing::default(), event))
}

/// `name tenant/service`, in order.
fn told(touches: Vec<Touch>) -> Vec<String> {
    let label = |touch: &Touch, label: &str| touch.labels.get(label).cloned().unwrap_or_default();
    let one =
        |touch: Touch| format!("{} {}/{}", touch.object.name, label(&touch, TENANT), label(&touch, SERVICE));
    let mut told: Vec<_> = touches.into_iter().map(one).collect();
    told.sort();
    told
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::named::<ConfigMap>(Some("acme-dev"), name)
}

#[test]
fn a_list_after_an_interruption_tells_what_changed_or_vanished_and_nothing_else() {
    let mut seen = Seen::default();
    let first =
        vec![config("same", "1", ORDERS), config("edited", "2", ORDERS), config("gone", "3", BILLING)];
    list(&mut seen, first);
    list(&mut seen, vec![object::<PartialObjectMeta<LimitRange>>("other-kind", "4", ORDERS)]);
    let again = vec![config("same", "1", ORDERS), config("edited", "7", ORDERS), config("new", "8", ORDERS)];
    assert_eq!(list(&mut seen, again), ["edited acme/orders", "gone acme/billing", "new acme/orders"]);
    assert!(!seen.shows(&key("gone")));
    assert_eq!(seen.names_from(&key("")), ["edited", "new", "same"]);
    assert!(seen.objects.keys().any(|key| key.name == "other-kind"), "each watch speaks for its kind only");
}

#[test]
fn a_list_that_breaks_off_is_not_believed_and_the_next_tells_all() {
    let mut seen = Seen::default();
    list(&mut seen, vec![config("one", "1", ORDERS), config("two", "2", BILLING)]);
    let mut listing = Listing::default();
    for event in [Event::Init, Event::InitApply(config("one", "5", ORDERS))] {
        assert_eq!(seen.take(&mut listing, &event), []);
    }
    assert!(seen.shows(&key("two")));
    // The watch begins anew.
    let events = [Event::Init, Event::InitApply(config("two", "2", BILLING)), Event::InitDone];
    let touches = events.iter().flat_map(|event| seen.take(&mut listing, event)).collect();
    assert_eq!(told(touches), ["one acme/orders"]);
}

#[test]
fn one_that_is_relabelled_is_told_to_both_owners() {
    let mut seen = Seen::default();
    list(&mut seen, vec![config("one", "1", ORDERS)]);
    assert_eq!(after(&mut seen, &Event::Apply(config("one", "2", ORDERS))), ["one acme/orders"]);
    let stolen = Event::Apply(config("one", "3", ("beta", "orders")));
    assert_eq!(after(&mut seen, &stolen), ["one acme/orders", "one beta/orders"]);
    let deleted = Event::Delete(config("one", "4", ("beta", "orders")));
    assert_eq!(after(&mut seen, &deleted), ["one beta/orders"]);
    assert!(!seen.shows(&key("one")));
}

#[test]
fn a_custom_object_that_lost_our_label_is_told_to_the_owner_it_had() {
    let service = |version: &str, is_ours: bool| {
        let mut service: IntegrationService = object("orders", version, ORDERS);
        if !is_ours {
            service.metadata.labels = None;
        }
        service
    };
    let mut seen = Seen::default();
    let key = ObjectKey::of(&service("1", true));
    list(&mut seen, vec![service("1", true)]);
    assert_eq!(after(&mut seen, &Event::Apply(service("2", false))), ["orders acme/orders"]);
    assert!(!seen.shows(&key));
    // Meanwhile, so that only the next list shows it.
    list(&mut seen, vec![service("3", true)]);
    assert_eq!(list(&mut seen, vec![service("4", false)]), ["orders acme/orders"]);
    assert!(!seen.shows(&key));
    // One that somebody applied by hand was never ours.
    assert_eq!(after(&mut seen, &Event::Apply(service("5", false))), Vec::<String>::new());
}

#[test]
fn nothing_is_remembered_of_what_is_gone() {
    let written = || Written { hash: "h".into(), mark: "1".into() };
    let mut seen = Seen::default();
    list(
        &mut seen,
        vec![config("kept", "1", ORDERS), config("deleted", "1", ORDERS), config("gone", "1", ORDERS)],
    );
    for name in ["kept", "deleted", "gone", "never-shown"] {
        seen.wrote(key(name), written(), Instant::now());
    }
    let other_kind = ObjectKey::named::<LimitRange>(Some("acme-dev"), "imaas");
    seen.wrote(other_kind.clone(), written(), Instant::now());
    seen.wrote(
        ObjectKey::named::<Secret>(Some("acme-dev"), "imaas-registry-pull"),
        written(),
        Instant::now(),
    );
    after(&mut seen, &Event::Delete(config("deleted", "2", ORDERS)));
    assert!(seen.written(&key("deleted")).is_none() && seen.is_applied(&key("gone"), "h"));
    list(&mut seen, vec![config("kept", "1", ORDERS)]);
    let mut left: Vec<_> = seen.written.keys().cloned().collect();
    left.sort();
    assert_eq!(left, [key("kept"), other_kind]);
    assert!(seen.is_applied(&key("kept"), "h") && !seen.is_applied(&key("kept"), "other"));
}

#[test]
fn our_own_write_that_comes_back_is_no_news_and_a_hand_is() {
    let (mut seen, key) = (Seen::default(), key("orders"));
    let shown = |version| Event::Apply(config("orders", version, ORDERS));
    let is_news = |seen: &Seen| !seen.is_as_written(&key);
    after(&mut seen, &shown("1"));
    assert!(is_news(&seen), "not ours, as far as is known");
    let written = Written { hash: "h".into(), mark: mark(&config("orders", "2", ORDERS)) };
    seen.wrote(key.clone(), written, Instant::now());
    assert!(is_news(&seen), "the watch is behind");
    after(&mut seen, &shown("2"));
    assert!(!is_news(&seen));
    after(&mut seen, &shown("3"));
    assert!(is_news(&seen), "edited");
    after(&mut seen, &shown("2"));
    after(&mut seen, &Event::Delete(config("orders", "4", ORDERS)));
    assert!(is_news(&seen), "gone");
}

#[test]
fn a_secret_is_known_for_a_moment_and_looked_for_once_even_in_a_namespace_that_we_made() {
    let (mut seen, made) = (Seen::default(), Instant::now());
    let secret = ObjectKey::named::<Secret>(Some("acme-dev"), "imaas-registry-pull");
    let namespace = |name: &str| ObjectKey::named::<Namespace>(None, name);
    let written = |hash: &str| Written { hash: hash.into(), mark: "1".into() };
    let soon = made + Duration::from_secs(9);
    assert!(!seen.is_in_new_namespace(&secret, made), "somebody else's namespace");
    seen.made(namespace("acme-dev"), written("n"), made);
    assert!(seen.is_in_new_namespace(&secret, soon) && !seen.is_in_new_namespace(&secret, made + FRESH));
    assert!(!seen.is_known(&secret, "h", made));

    seen.wrote(secret.clone(), written("h"), made);
    assert!(!seen.is_in_new_namespace(&secret, made), "it is there since");
    assert!(seen.is_known(&secret, "h", soon) && !seen.is_known(&secret, "another generation", soon));
    assert!(!seen.is_known(&secret, "h", made + FRESH));
    assert!(!seen.is_applied(&secret, "h"), "no watch shows it");

    // One that is only written was not made now: what is in it is not known.
    let later = made + FRESH;
    seen.wrote(namespace("acme-dev"), written("n2"), later);
    assert!(!seen.is_in_new_namespace(&secret, later));
    assert!(seen.fresh.is_empty(), "nothing is kept longer");
}

#[test]
fn a_status_that_moves_is_told_but_leaves_what_was_applied_applied() {
    fn is_applied_after<O>(written: serde_json::Value, seen_as: serde_json::Value) -> bool
    where
        O: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        let object = |value: serde_json::Value| -> O {
            let mut base = serde_json::json!({ "metadata": {
                "namespace": "acme-dev", "name": "x", "uid": "u", "labels": { MANAGED_BY: MANAGER, TENANT: "acme" }
            } });
            merge(&mut base, value);
            serde_json::from_value(base).unwrap()
        };
        let (written, now) = (object(written), object(seen_as));
        let (mut seen, key) = (Seen::default(), ObjectKey::of(&written));
        seen.wrote(key.clone(), Written { hash: "h".into(), mark: mark(&written) }, Instant::now());
        list(&mut seen, vec![written]);
        assert!(seen.is_applied(&key, "h"));
        assert_eq!(list(&mut seen, vec![now]), ["x acme/"]);
        seen.is_applied(&key, "h")
    }
    let quota = |version: &str, cpu: &str, used: &str| {
        serde_json::json!({
            "metadata": { "resourceVersion": version }, "spec": { "hard": { "cpu": cpu } }, "status": { "used": { "cpu": used } }
        })
    };
    assert!(is_applied_after::<ResourceQuota>(quota("1", "4", "1"), quota("2", "4", "2")));
    assert!(!is_applied_after::<ResourceQuota>(quota("1", "4", "1"), quota("2", "8", "1")));
    let budget = |version: &str, generation: i64| serde_json::json!({ "metadata": { "resourceVersion": version, "generation": generation } });
    assert!(is_applied_after::<PartialObjectMeta<PodDisruptionBudget>>(budget("1", 1), budget("2", 1)));
    assert!(!is_applied_after::<PartialObjectMeta<PodDisruptionBudget>>(budget("1", 1), budget("2", 2)));
    let edited = serde_json::json!({ "metadata": { "resourceVersion": "2", "generation": 1, "labels": { "by": "hand" } } });
    assert!(!is_applied_after::<PartialObjectMeta<PodDisruptionBudget>>(budget("1", 1), edited));
    // A kind that has neither: any write may have changed what we wrote.
    let config = |version: &str| serde_json::json!({ "metadata": { "resourceVersion": version } });
    assert!(!is_applied_after::<PartialObjectMeta<ConfigMap>>(config("1"), config("2")));
}

fn merge(base: &mut serde_json::Value, value: serde_json::Value) {
    match (base, value) {
        (serde_json::Value::Object(base), serde_json::Value::Object(value)) => {
            for (key, value) in value {
                merge(base.entry(key).or_insert_with(Default::default), value);
            }
        }
        (base, value) => *base = value,
    }
}

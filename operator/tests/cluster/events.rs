//! Events, as somebody reads them who describes an object.

use imaas_operator::{
    api::Environment,
    conditions::{Reason, Wellness, merge},
};
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_has_its_own_words_also_when_the_reason_was_there_before() {
    let (lab, cluster, watches) = started().await;
    let environment: Environment = serde_json::from_value(json!({
        "apiVersion": "imaas.dev/v1alpha1", "kind": "Environment", "metadata": { "name": "dev", "uid": "u" }, "spec": {}
    }))
    .unwrap();
    let states =
        ["dev: 0 of 2 are ready", "dev: 1 of 2 are ready", "prod: 0 of 2 are ready", "dev: 1 of 2 are ready"];
    let conditions = |message: &str| {
        let claims = Wellness::Reconciling(Reason::RollingOut, message.to_owned()).claims();
        merge(&[], &claims, 1, Timestamp::UNIX_EPOCH)
    };
    let mut old = Vec::new();
    for message in states {
        let new = conditions(message);
        cluster.tell_change(&environment, &old, &new).await;
        old = new;
    }
    let events = Api::<Event>::namespaced(cluster.client(), "default");
    let events = events.list(&ListParams::default()).await.unwrap().items.into_iter();
    let ours = events
        .filter(|event| event.regarding.as_ref().is_some_and(|object| object.name.as_deref() == Some("dev")));
    let mut notes: Vec<_> = ours.filter_map(|event| Some((event.event_time?.0, event.note?))).collect();
    notes.sort();
    let notes: Vec<_> = notes.into_iter().map(|(_, note)| note).collect();
    assert_eq!(notes, [states[0], states[2], states[3]]);
    watches.abort();
    lab.stop().await.unwrap();
}

#![expect(clippy::disallowed_types, reason = "IO: a real API server")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test: says what it waits for")]
//! What the operator knows of its own writes, on a real API server.

#[path = "cluster/events.rs"]
mod events;
#[path = "cluster/foreign.rs"]
mod foreign;

use std::{collections::BTreeMap, time::Duration};

use imaas_operator::{
    cluster::{Applied, Cluster, Object},
    names::{MANAGED_BY, MANAGER},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{apps::v1::Deployment, core::v1::ResourceQuota, policy::v1::PodDisruptionBudget},
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use lab::{Lab, LabOptions, Progress};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const NAMESPACE: &str = "acme-dev";

async fn until(what: &str, is: impl Fn() -> bool) {
    for _ in 0..3000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not come");
}

/// Applies an object of this spec, moves its status, then edits its spec.
async fn a_status_moves<K>(cluster: &Cluster, spec: Value, status: Value, edit: Value)
where
    K: Object + kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let kind = K::kind(&()).into_owned();
    let object = |name: &str| -> K {
        let labels = BTreeMap::from([(MANAGED_BY, MANAGER)]);
        let metadata = json!({ "name": name, "namespace": NAMESPACE, "labels": labels });
        let api_version = K::api_version(&());
        serde_json::from_value(
            json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec }),
        )
        .unwrap()
    };
    let api = Api::<K>::namespaced(cluster.client(), NAMESPACE);
    let wanted = object("orders");
    assert_eq!(cluster.apply(wanted.clone()).await.unwrap(), Applied::Created);
    until(&format!("{kind} as applied"), || cluster.is_applied(&wanted)).await;

    let before = api.get("orders").await.unwrap().resource_version();
    let patch = Patch::Merge(json!({ "status": status }));
    let moved = api.patch_status("orders", &PatchParams::default(), &patch).await.unwrap();
    assert_ne!(moved.resource_version(), before, "{kind}: the status moved");
    // A watch shows changes in their order: what it shows of this one comes after the status.
    api.create(&PostParams::default(), &object("fence")).await.unwrap();
    until(&format!("{kind} fence"), || cluster.shows::<K>(Some(NAMESPACE), "fence")).await;
    assert!(cluster.is_applied(&wanted), "{kind}: a status that moved costs no request");

    let patch = Patch::Merge(json!({ "spec": edit }));
    api.patch("orders", &PatchParams::default(), &patch).await.unwrap();
    until(&format!("{kind} edited by hand"), || !cluster.is_applied(&wanted)).await;
    assert!(matches!(cluster.apply(wanted.clone()).await.unwrap(), Applied::Changed(_)), "{kind}");
    until(&format!("{kind} as applied again"), || cluster.is_applied(&wanted)).await;
}

/// An API server with one namespace, and what the operator knows of it.
async fn started() -> (Lab, Cluster, JoinHandle<()>) {
    let progress = Progress::new(|line| println!("{line}"));
    let lab = Lab::start(LabOptions::default(), &progress).await.unwrap();
    lab.kubectl().run(&["create", "namespace", NAMESPACE], None).await.unwrap();
    let kubeconfig = Kubeconfig::read_from(lab.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let (cluster, background, listed) = Cluster::observe(Client::try_from(config).unwrap());
    let watches = tokio::spawn(background);
    listed.await;
    (lab, cluster, watches)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_moves_costs_no_request_and_an_edit_is_undone() {
    let (lab, cluster, watches) = started().await;
    let used = |pods: &str| json!({ "used": { "pods": pods } });
    a_status_moves::<ResourceQuota>(
        &cluster,
        json!({ "hard": { "pods": "5" } }),
        used("3"),
        json!({ "hard": { "pods": "50" } }),
    )
    .await;
    let selector = json!({ "matchLabels": { "app": "orders" } });
    a_status_moves::<PodDisruptionBudget>(
        &cluster,
        json!({ "maxUnavailable": 1, "selector": selector }),
        json!({ "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2 }),
        json!({ "maxUnavailable": 2 }),
    )
    .await;
    let template = json!({
        "metadata": { "labels": { "app": "orders" } }, "spec": { "containers": [{ "name": "orders", "image": "orders" }] }
    });
    Box::pin(a_status_moves::<Deployment>(
        &cluster,
        json!({ "replicas": 0, "selector": selector, "template": template }),
        json!({ "conditions": [{ "type": "Moved", "status": "True" }] }),
        json!({ "replicas": 3 }),
    ))
    .await;
    watches.abort();
    lab.stop().await.unwrap();
}

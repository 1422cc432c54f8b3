#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "IO: a real API server and its controllers"
)]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, which says what it waits for")]
//! Where a real scheduler puts the instances of a release, and what a real node controller does when a node is lost. No node
//! has a kubelet: that they answer, and that pods on them are ready, is said by the test.

use std::{collections::BTreeSet, fmt::Debug, time::Duration};

use imaas_operator::{
    api::{Cause, Release},
    conditions::Reason,
    environment::Placement,
    names::ZONE,
    release::{Input, Trouble, lost_node, of_lost, render},
};
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use lab::{Lab, LabOptions, Progress};
use serde_json::json;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_mins(3);
/// As many nodes of one zone as of another would hide how instances are spread over zones.
const NODES: [(&str, &str); 7] =
    [("a1", "a"), ("a2", "a"), ("a3", "a"), ("a4", "a"), ("a5", "a"), ("b1", "b"), ("b2", "b")];

struct Scene {
    lab: Lab,
    client: Client,
}

impl Scene {
    async fn start() -> Self {
        let lab = Lab::start(LabOptions::default(), &Progress::new(|line| println!("{line}"))).await.unwrap();
        let kubeconfig = Kubeconfig::read_from(lab.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let scene = Self { lab, client };
        scene
            .apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "acme-prod" } }))
            .await;
        for (name, zone) in NODES {
            let labels = json!({ "kubernetes.io/hostname": name, ZONE: zone });
            scene.apply(&json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels } })).await;
            let ready = json!({ "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "" });
            let status = json!({ "status": {
                "conditions": [ready], "allocatable": { "cpu": "8", "memory": "32Gi", "pods": "100" },
                "capacity": { "cpu": "8", "memory": "32Gi", "pods": "100" },
            } });
            let patch =
                ["patch", "node", name, "--subresource=status", "--type=merge", "-p", &status.to_string()];
            scene.lab.kubectl().run(&patch, None).await.unwrap();
        }
        scene.all_take_pods().await;
        scene
    }

    /// A node is tainted until its controller has seen that it is ready.
    async fn all_take_pods(&self) {
        let end = Instant::now() + PATIENCE;
        loop {
            let nodes = self.nodes().await;
            let is_tainted = |node: &Node| node.spec.as_ref().is_some_and(|spec| spec.taints.is_some());
            if nodes.len() == NODES.len() && !nodes.iter().any(is_tainted) {
                return;
            }
            assert!(Instant::now() < end, "not within {PATIENCE:?}: {nodes:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn apply(&self, object: &serde_json::Value) {
        self.lab.kubectl().apply(&object.to_string()).await.unwrap();
    }

    /// Every node but the lost ones tells that it lives.
    async fn heartbeat(&self, lost: &[&str]) {
        let leases = Api::<Lease>::namespaced(self.client.clone(), "kube-node-lease");
        for (name, _) in NODES.iter().filter(|(name, _)| !lost.contains(name)) {
            let renewed = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": name },
                "spec": { "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renewed },
            });
            leases.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&lease)).await.unwrap();
        }
    }

    async fn run(&self, release: &Release, replicas: u8) {
        let template = &release.spec.template;
        self.apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "orders", "namespace": "acme-prod" },
            "spec": {
                "replicas": replicas, "template": template,
                "selector": { "matchLabels": template.metadata.as_ref().unwrap().labels },
            },
        }))
        .await;
    }

    async fn nodes(&self) -> Vec<Node> {
        Api::all(self.client.clone()).list(&ListParams::default()).await.unwrap().items
    }

    async fn pods(&self) -> Vec<Pod> {
        Api::namespaced(self.client.clone(), "acme-prod").list(&ListParams::default()).await.unwrap().items
    }

    /// What a kubelet says of pods that run, are ready and are to stay.
    async fn are_ready(&self) {
        let pods = Api::<Pod>::namespaced(self.client.clone(), "acme-prod");
        let ready =
            json!({ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let container =
            json!({ "name": "service", "image": "i", "imageID": "", "restartCount": 0, "ready": true });
        let status = json!({ "status": { "phase": "Running", "conditions": [ready], "containerStatuses": [container] } });
        let stays = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
        for pod in self.pods().await.into_iter().filter(stays) {
            pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&status))
                .await
                .unwrap();
        }
    }
}

fn release() -> Release {
    let runtime = include_str!("../../charts/imaas-operator/files/runtimes/container.yaml");
    let rendered = render(&Input {
        tenant: "acme",
        service: "orders",
        environment: "prod",
        settings: &serde_saphyr::from_str("ports: [{name: http, port: 8080}]").unwrap(),
        runtime: &serde_saphyr::from_str(runtime).unwrap(),
        networks: &[],
        sources: None,
        placement: &Placement { evict_after_seconds: Some(5), ..Placement::default() },
        called: &[],
        image_repository: "registry.example.com/acme/orders",
        digest: &format!("sha256:{}", "4f2a".repeat(16)),
        config: None,
        commit: "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
        build_id: "b1d",
        cause: Cause::Commit,
    });
    rendered.unwrap().release
}

fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn zone(pod: &Pod) -> Option<&'static str> {
    NODES.iter().find(|(name, _)| Some(*name) == node(pod)).map(|(_, zone)| *zone)
}

/// While nothing is heard of the `lost` nodes.
async fn until<T: Debug>(
    (scene, lost): (&Scene, &[&str]),
    what: &str,
    mut probe: impl FnMut(&[Pod], &[Node]) -> Option<T>,
) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        scene.heartbeat(lost).await;
        let (pods, nodes) = (scene.pods().await, scene.nodes().await);
        if let Some(answer) = probe(&pods, &nodes) {
            return answer;
        }
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}: {pods:?} {nodes:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What is told of nodes that do not answer, if it contains `part`.
fn told(pods: &[Pod], nodes: &[Node], part: &str) -> Option<String> {
    match of_lost(pods, nodes) {
        Some(Trouble::Blocked(Reason::NodeLost, told)) => told.contains(part).then_some(told),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_spread_over_zones_and_nodes_and_a_lost_node_and_a_lost_zone_are_told() {
    let scene = Scene::start().await;
    scene.run(&release(), 2).await;
    let lost = until((&scene, &[]), "one instance in each zone", |pods, _| {
        let zones: Vec<_> = pods.iter().filter_map(zone).collect();
        (zones.len() == 2).then(|| {
            let zones: BTreeSet<_> = zones.into_iter().collect();
            assert_eq!(zones, ["a", "b"].into(), "of seven nodes five are of one zone: {pods:?}");
            pods.iter().find(|pod| zone(pod) == Some("b")).and_then(node).unwrap().to_owned()
        })
    })
    .await;
    scene.are_ready().await;

    let one = &[lost.as_str()];
    let words = until((&scene, one), "the node is lost", |pods, nodes| {
        told(pods, nodes, "5 seconds after it was lost another one takes")
    })
    .await;
    assert!(words.starts_with(&format!("the node {lost} does not answer: ")), "{words}");
    until((&scene, one), "its instance is taken", |pods, nodes| {
        assert!(lost_node(pods).is_none_or(|node| node == lost), "{pods:?}");
        told(pods, nodes, "does not answer: another one takes the place")
    })
    .await;
    until((&scene, one), "another instance is on a node that answers", |pods, _| {
        let living = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let answers = |node: &&str| *node != lost;
        (living.filter_map(node).filter(answers).count() == 2).then_some(())
    })
    .await;

    // The zone's other node, on which an instance is or comes to be.
    scene.run(&release(), 4).await;
    until((&scene, one), "an instance is on the zone's other node", |pods, _| {
        let on_other = |pod: &Pod| zone(pod) == Some("b") && node(pod) != Some(&lost);
        pods.iter().any(on_other).then_some(())
    })
    .await;
    scene.are_ready().await;
    let words = until((&scene, &["b1", "b2"]), "the zone is lost", |pods, nodes| {
        told(pods, nodes, "zone b: 2 of 2 nodes do not answer; instances there: ")
    })
    .await;
    assert!(words.contains("1 replaced elsewhere"), "that of the first node is still to go: {words}");
    until((&scene, &["b1", "b2"]), "all that was there is taken", |pods, nodes| {
        let number = pods.iter().filter(|pod| zone(pod) == Some("b")).count();
        told(pods, nodes, &format!("instances there: {number} replaced elsewhere"))
    })
    .await;
    until((&scene, &["b1", "b2"]), "all instances are in the other zone", |pods, _| {
        let living = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        (living.filter_map(zone).filter(|zone| *zone == "a").count() == 4).then_some(())
    })
    .await;
    scene.lab.stop().await.unwrap();
}

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "IO: a real API server and its controllers"
)]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, which says what it waits for")]
//! From one release to the next on a real API server with its real controllers: what pods count on is there as long as
//! they run. The node has no kubelet: that a pod runs and is ready is said by the test, and one that is told to end stays.

mod drain;
mod scaling;
mod trial;

use std::{fmt::Debug, time::Duration};

use imaas_operator::{
    api::{self, Cause, Release, environment::Network},
    cluster::Cluster,
    environment::Placement,
    names::{APPLIED, RUNNING},
    release::{Input, Outside, Phase, Reach, RolledOut, Target, Trial, Trouble, render, roll_out, troubled},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Pod, Service},
        discovery::v1::EndpointSlice,
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use lab::{Lab, LabOptions, Progress};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::{task::JoinHandle, time::Instant};

const PATIENCE: Duration = Duration::from_mins(1);
const PLACES: &str = r"
{apiVersion: v1, kind: List, items: [
  {apiVersion: v1, kind: Namespace, metadata: {name: acme-home}},
  {apiVersion: v1, kind: Namespace, metadata: {name: acme-dev}},
  {apiVersion: v1, kind: Node, metadata: {name: somewhere}}]}
";

/// The cluster, and the operator's part of it under test.
struct Scene {
    lab: Lab,
    client: Client,
    cluster: Cluster,
    watches: JoinHandle<()>,
    /// Who comes in from outside.
    outside: Outside,
}

impl Scene {
    async fn start() -> Self {
        let lab = Lab::start(LabOptions::default(), &Progress::new(|line| println!("{line}"))).await.unwrap();
        let kubeconfig = Kubeconfig::read_from(lab.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let kinds = json!({ "apiVersion": "v1", "kind": "List", "items": api::crds() });
        lab.kubectl().apply(&kinds.to_string()).await.unwrap();
        lab.kubectl().apply(PLACES).await.unwrap();
        let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
        lab.kubectl().run(&wait, None).await.unwrap();
        let (cluster, watches) = observe(&client).await;
        Self { lab, client, cluster, watches, outside: Outside::default() }
    }

    /// As after the operator's end at any moment.
    async fn restart(&mut self) {
        self.watches.abort();
        (self.cluster, self.watches) = observe(&self.client).await;
    }

    /// Stores the release that a descriptor gives.
    async fn release(&self, descriptor: &str) -> Release {
        let runtime = include_str!("../../../charts/imaas-operator/files/runtimes/container.yaml");
        let rendered = render(&Input {
            tenant: "acme",
            service: "orders",
            environment: "dev",
            settings: &serde_saphyr::from_str(descriptor).unwrap(),
            runtime: &serde_saphyr::from_str(runtime).unwrap(),
            networks: &networks(),
            sources: None,
            placement: &Placement::default(),
            called: &[],
            image_repository: "registry.example.com/acme/orders",
            digest: &format!("sha256:{}", "4f2a".repeat(16)),
            config: None,
            commit: "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
            build_id: "b1d",
            cause: Cause::Commit,
        });
        let release = rendered.unwrap().release;
        self.cluster.apply(release.clone()).await.unwrap();
        release
    }

    async fn roll_out(&self, release: &Release) -> Phase {
        self.roll_out_at(release, Timestamp::now()).await.0
    }

    /// The phase, and whether pods may still be ending.
    async fn roll_out_at(&self, release: &Release, now: Timestamp) -> (Phase, bool) {
        self.roll_out_beside(release, Trial::default(), now).await
    }

    /// The same while another is tried.
    async fn roll_out_beside(&self, release: &Release, trial: Trial<'_>, now: Timestamp) -> (Phase, bool) {
        let (networks, reach) = (networks(), Reach::default());
        let target = Target {
            tenant: "acme",
            release,
            config: None,
            networks: &networks,
            reach: &reach,
            outside: &self.outside,
        };
        let RolledOut { seen, again, route, scaler } =
            Box::pin(roll_out(&self.cluster, &target, &trial, now)).await.unwrap();
        route.unwrap();
        scaler.unwrap();
        (seen.phase, again.is_some())
    }

    /// Why it is not ready, as its pods tell.
    async fn trouble(&self, release: &Release) -> Option<Trouble> {
        let (networks, reach) = (networks(), Reach::default());
        let (config, outside) = (None, &self.outside);
        let target = Target { tenant: "acme", release, config, networks: &networks, reach: &reach, outside };
        let live = self.cluster.workload("acme-dev", "orders");
        troubled(&self.cluster, &target, (live, None, Timestamp::now())).await.unwrap()
    }

    /// Names of the pods with this first port that are not told to end.
    async fn pods_with(&self, port: i32) -> Vec<String> {
        let pods = self.pods().list(&ListParams::default()).await.unwrap().into_iter();
        let first = |pod: &Pod| Some(pod.spec.as_ref()?.containers[0].ports.as_ref()?[0].container_port);
        let living = pods.filter(|pod| pod.metadata.deletion_timestamp.is_none());
        living.filter(|pod| first(pod) == Some(port)).map(|pod| pod.name_any()).collect()
    }

    /// Room for so many pods.
    async fn room(&self, pods: u8) {
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "room", "namespace": "acme-dev" },
            "spec": { "hard": { "pods": pods.to_string() } },
        });
        self.lab.kubectl().apply(&quota.to_string()).await.unwrap();
        let told = format!("jsonpath={{.status.hard.pods}}={pods}");
        let wait = ["wait", "-nacme-dev", "quota/room", "--timeout=30s", &format!("--for={told}")];
        self.lab.kubectl().run(&wait, None).await.unwrap();
    }

    /// Passes until the release is all that is counted; pods of the one before are told to end.
    async fn healthy(&self, release: &Release) {
        until("it is healthy", async || {
            self.say_ready(release.spec.ports.first().map(|port| port.port)).await;
            (self.roll_out(release).await == Phase::Healthy).then_some(())
        })
        .await;
    }

    /// Passes until nothing is kept for another release, long after its pods were told to end.
    async fn settle(&self, release: &Release) {
        self.healthy(release).await;
        let later = Timestamp::now() + SignedDuration::from_hours(1);
        assert_eq!(self.roll_out_at(release, later).await, (Phase::Healthy, false));
        let deployment = self.get::<Deployment>("orders").await.unwrap();
        assert_eq!(deployment.annotations().get(RUNNING), None);
    }

    /// Says that all pods with this first port are ready.
    async fn say_ready(&self, port: Option<u16>) {
        for pod in self.pods().list(&ListParams::default()).await.unwrap() {
            let container = &pod.spec.as_ref().unwrap().containers[0];
            let first = container.ports.iter().flatten().next().map(|port| port.container_port);
            if first == port.map(i32::from) && pod.status.as_ref().is_none_or(|s| s.pod_ip.is_none()) {
                let condition = json!({ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" });
                let address = format!("10.0.0.{}", port.unwrap_or_default() % 200 + 1);
                let status = json!({
                    "phase": "Running", "conditions": [condition], "podIP": address, "podIPs": [{ "ip": address }],
                });
                let status = Patch::Merge(json!({ "status": status }));
                self.bind(&pod.name_any()).await;
                let said = self.pods().patch_status(&pod.name_any(), &PatchParams::default(), &status).await;
                // It may be gone meanwhile, if its release is.
                println!("{} is ready: {}", pod.name_any(), said.is_ok());
            }
        }
    }

    /// Only a pod on a node is found by a Service.
    async fn bind(&self, pod: &str) {
        let path = format!("/api/v1/namespaces/acme-dev/pods/{pod}/binding");
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": { "name": pod },
            "target": { "apiVersion": "v1", "kind": "Node", "name": "somewhere" },
        });
        let bound =
            self.lab.kubectl().run(&["create", "--raw", &path, "-f", "-"], Some(&binding.to_string())).await;
        println!("{pod} has a node: {}", bound.is_ok());
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "acme-dev")
    }

    async fn get<K>(&self, name: &str) -> Option<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        Api::namespaced(self.client.clone(), "acme-dev").get_opt(name).await.unwrap()
    }

    /// `port name target` of the Service; nothing when there is none.
    async fn ports(&self) -> Vec<String> {
        let service = self.get::<Service>("orders").await;
        let ports = service.and_then(|service| service.spec?.ports).unwrap_or_default();
        let told = |port: k8s_openapi::api::core::v1::ServicePort| {
            let target = match port.target_port.unwrap() {
                IntOrString::Int(number) => number.to_string(),
                IntOrString::String(name) => name,
            };
            format!("{} {} {target}", port.port, port.name.unwrap())
        };
        ports.into_iter().map(told).collect()
    }

    /// Ports and address blocks that the policy opens.
    async fn opened(&self) -> (Vec<i32>, Vec<String>) {
        let spec = self.get::<NetworkPolicy>("orders").await.unwrap().spec.unwrap();
        let ports = spec.ingress.into_iter().flatten().flat_map(|rule| rule.ports.unwrap_or_default());
        let number = |port| if let Some(IntOrString::Int(number)) = port { number } else { -1 };
        let peers = spec.egress.into_iter().flatten().flat_map(|rule| rule.to.unwrap_or_default());
        (
            ports.map(|port| number(port.port)).collect(),
            peers.filter_map(|peer| Some(peer.ip_block?.cidr)).collect(),
        )
    }

    /// `name number` of the ports at which the Service finds the pod with this address.
    async fn found_at(&self, address: &str) -> Vec<String> {
        let slices = Api::<EndpointSlice>::namespaced(self.client.clone(), "acme-dev");
        let mut found = Vec::new();
        for slice in slices.list(&ListParams::default()).await.unwrap() {
            if slice.endpoints.iter().any(|endpoint| endpoint.addresses.iter().any(|a| a == address)) {
                let told = |port: k8s_openapi::api::discovery::v1::EndpointPort| {
                    format!("{} {}", port.name.unwrap(), port.port.unwrap())
                };
                found.extend(slice.ports.into_iter().flatten().map(told));
            }
        }
        found.sort();
        found
    }

    /// resourceVersion or, where another controller writes too, what we applied.
    async fn written(&self) -> Vec<Option<String>> {
        let applied = |object: Option<&Deployment>| object?.annotations().get(APPLIED).cloned();
        vec![
            self.get::<Service>("orders").await.and_then(|object| object.resource_version()),
            self.get::<NetworkPolicy>("orders").await.and_then(|object| object.resource_version()),
            self.get::<PodDisruptionBudget>("orders")
                .await
                .and_then(|o| o.annotations().get(APPLIED).cloned()),
            applied(self.get::<Deployment>("orders").await.as_ref()),
        ]
    }
}

async fn observe(client: &Client) -> (Cluster, JoinHandle<()>) {
    let (cluster, watches, listed) = Cluster::observe(client.clone());
    let watches = tokio::spawn(watches);
    listed.await;
    (cluster, watches)
}

fn networks() -> Vec<Network> {
    let yaml = "[{name: erp, cidrs: [10.20.0.0/16]}, {name: crm, cidrs: [10.30.0.0/16]}]";
    serde_saphyr::from_str(yaml).unwrap()
}

async fn until<T: Debug>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// As the operator tells on a release that ran well.
fn well(mut release: Release) -> Release {
    let status = json!({ "conditions": [{
        "type": "Healthy", "status": "True", "reason": "Succeeded", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }] });
    release.status = serde_json::from_value(status).unwrap();
    release
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_keep_what_they_count_on_until_their_successors_are_all_that_runs() {
    let mut scene = Scene::start().await;
    let a =
        scene.release("{ports: [{name: http, port: 8000}, {name: grpc, port: 9000}], connects: [erp]}").await;
    scene.settle(&a).await;
    assert_eq!(scene.ports().await, ["8000 http 8000", "9000 grpc 9000"]);
    assert_eq!(scene.opened().await, (vec![8000, 9000], texts(&["10.20.0.0/16"])));

    // Other ports and networks: both sides have theirs, and both numbers lead to the pods that there are.
    let b =
        scene.release("{ports: [{name: grpc, port: 9000}, {name: http, port: 8001}], connects: [crm]}").await;
    for _ in 0..3 {
        assert_eq!(scene.roll_out(&b).await, Phase::RollingOut);
        assert_eq!(scene.ports().await, ["8000 http http", "9000 grpc 9000", "8001 http--8001 http"]);
        let both = (vec![8000, 9000, 8001], texts(&["10.20.0.0/16", "10.30.0.0/16"]));
        assert_eq!(scene.opened().await, both);
        scene.restart().await;
    }
    let old = texts(&["grpc 9000", "http 8000", "http--8001 8000"]);
    until("the old pod is found by all", async || (scene.found_at("10.0.0.1").await == old).then_some(()))
        .await;
    let before = scene.written().await;
    scene.roll_out(&b).await;
    assert_eq!(scene.written().await, before, "a pass that learns nothing new writes nothing");
    // Healthy, but the old pod may still finish its work, and does so by its old network.
    scene.healthy(&b).await;
    assert_eq!(scene.roll_out_at(&b, Timestamp::now()).await, (Phase::Healthy, true));
    assert_eq!(scene.written().await, before);
    scene.settle(&b).await;
    assert_eq!(scene.ports().await, ["9000 grpc 9000", "8001 http 8001"]);
    assert_eq!(scene.opened().await, (vec![9000, 8001], texts(&["10.30.0.0/16"])));
    let settled = scene.written().await;
    scene.restart().await;
    scene.roll_out(&b).await;
    assert_eq!(scene.written().await, settled, "nor does a restart");

    // Faster than the watch, which stands still here: one comes, and the one that it still shows as healthy comes back.
    let never = scene.release("{ports: [{name: http, port: 7000}]}").await;
    scene.watches.abort();
    scene.roll_out(&never).await;
    for _ in 0..2 {
        scene.roll_out(&b).await;
        assert_eq!(scene.ports().await, ["9000 grpc grpc", "8001 http http", "7000 http--7000 http"]);
    }
    scene.restart().await;
    scene.settle(&b).await;
    assert_eq!(scene.ports().await, ["9000 grpc 9000", "8001 http 8001"]);

    // One that never gets ready takes nothing away, nor does the next one after it.
    scene.roll_out(&never).await;
    let worker = scene.release("{type: worker, instances: many}").await;
    until("the version that never gets ready has its pod", async || {
        scene.roll_out(&never).await;
        let pods = scene.pods().list(&ListParams::default()).await.unwrap();
        (pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count() == 2).then_some(())
    })
    .await;
    for release in [&never, &worker, &worker] {
        scene.roll_out(release).await;
        assert_eq!(scene.ports().await, ["9000 grpc grpc", "8001 http http", "7000 http--7000 http"]);
        assert_eq!(scene.opened().await, (vec![9000, 8001, 7000], texts(&["10.30.0.0/16"])));
        scene.restart().await;
    }
    scene.settle(&worker).await;
    assert!(scene.get::<Service>("orders").await.is_none(), "a worker is called by nobody");
    assert_eq!(scene.opened().await, (vec![], vec![]));

    scene.watches.abort();
    scene.lab.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_befalls_an_older_version_is_not_told_of_the_one_that_is_rolled_out() {
    let scene = Scene::start().await;
    let good = scene.release("{ports: [{name: http, port: 8000}]}").await;
    scene.settle(&good).await;
    let never = scene.release("{ports: [{name: http, port: 7000}]}").await;
    let pod = until("the version that never gets ready has its pod", async || {
        scene.roll_out(&never).await;
        scene.pods_with(7000).await.pop()
    })
    .await;
    // Somebody restarts the old instance, and the new one has taken the room that it had.
    scene.room(1).await;
    let old = scene.pods_with(8000).await.remove(0);
    let force = ["delete", "pod", &old, "-nacme-dev", "--force", "--grace-period=0"];
    scene.lab.kubectl().run(&force, None).await.unwrap();
    until("the old version's pod is refused, as the Deployment tells", async || {
        let status = scene.cluster.workload("acme-dev", "orders")?.deployment()?.status.clone()?;
        status.conditions?.iter().any(|one| one.type_ == "ReplicaFailure").then_some(())
    })
    .await;
    assert_eq!(scene.roll_out(&never).await, Phase::RollingOut);

    // There again it is the newest pod, and crashes: that is not the new version's trouble.
    scene.bind(&pod).await;
    scene.room(2).await;
    let old = until("the old version has a pod again", async || scene.pods_with(8000).await.pop()).await;
    let crashes = json!({ "status": { "phase": "Running", "containerStatuses": [{
        "name": "orders", "image": "i", "imageID": "", "ready": false, "restartCount": 1,
        "state": { "terminated": { "exitCode": 3 } },
    }] } });
    let crashes = Patch::Merge(crashes);
    scene.bind(&old).await;
    scene.pods().patch_status(&old, &PatchParams::default(), &crashes).await.unwrap();
    assert_eq!(scene.trouble(&never).await, None);
    scene.pods().patch_status(&pod, &PatchParams::default(), &crashes).await.unwrap();
    let trouble = scene.trouble(&never).await;
    assert!(matches!(&trouble, Some(Trouble::Fails(text)) if text.contains(&pod)), "{trouble:?}");

    scene.watches.abort();
    scene.lab.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_waits_for_no_room_that_a_failed_version_holds_and_takes_nothing_that_serves() {
    let scene = Scene::start().await;
    let good = well(scene.release("{ports: [{name: http, port: 8000}]}").await);
    scene.settle(&good).await;
    let never = scene.release("{ports: [{name: http, port: 7000}]}").await;
    until("the version that never gets ready has its pod", async || {
        scene.roll_out(&never).await;
        scene.pods_with(7000).await.pop()
    })
    .await;
    scene.room(1).await;
    let old = scene.pods_with(8000).await.remove(0);
    let force = ["delete", "pod", &old, "-nacme-dev", "--force", "--grace-period=0"];
    scene.lab.kubectl().run(&force, None).await.unwrap();
    until("the version that never gets ready has all the room", async || {
        let status = scene.cluster.workload("acme-dev", "orders")?.deployment()?.status.clone()?;
        status.conditions?.iter().any(|one| one.type_ == "ReplicaFailure").then_some(())
    })
    .await;
    until("the last good version has its instance again", async || {
        scene.roll_out(&good).await;
        scene.pods_with(8000).await.pop()
    })
    .await;
    assert_eq!(scene.pods_with(7000).await, [""; 0]);
    scene.settle(&good).await;
    let strategy = scene.get::<Deployment>("orders").await.unwrap().spec.unwrap().strategy.unwrap();
    assert_eq!(strategy.rolling_update.unwrap().max_unavailable, Some(IntOrString::Int(0)));

    // What serves stays until the one that it goes back to does.
    scene.room(2).await;
    let older = well(scene.release("{ports: [{name: http, port: 6000}]}").await);
    until("the older version has its pod", async || {
        scene.roll_out(&older).await;
        scene.pods_with(6000).await.pop()
    })
    .await;
    for _ in 0..20 {
        assert_eq!(scene.roll_out(&older).await, Phase::RollingOut);
        assert_eq!(scene.pods_with(8000).await.len(), 1);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.settle(&older).await;

    scene.watches.abort();
    scene.lab.stop().await.unwrap();
}

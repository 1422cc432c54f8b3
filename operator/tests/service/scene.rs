//! The cluster, the Git host, a developer's clone, and the stage under test as a process would run it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    path::Path,
    sync::Arc,
    time::Duration,
};

use imaas_operator::{
    api::{self, IntegrationService, Release, integration_service::EnvironmentState},
    git::{Git, Limits, UrlPolicy},
    health::Health,
    lease::Mandate,
    platform::{Platform, Settings},
    policies::Policies,
    registry::{
        accounts::AccountKey,
        client::{RegistryClient, RegistryEndpoint},
        generations::{Generations, Issued},
    },
    service::{commit_status::host::Hosts, poll::Origins, run::run},
    webhook::Push,
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use lab::{
    Lab, LabOptions, Progress,
    git_server::{Credentials, GitServer, Options, WorkTree},
};
use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use crate::registry::Registry;

const PATIENCE: Duration = Duration::from_mins(1);
pub const IMAGE_OF_A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const IMAGE_OF_B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// Of an image that is only named.
pub fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// What the platform and the tenant stage would have made.
const PLATFORM: &str = r#"
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: acme-home, labels: {app.kubernetes.io/managed-by: imaas-operator, imaas.dev/tenant: acme}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: acme-dev, labels: {app.kubernetes.io/managed-by: imaas-operator, imaas.dev/tenant: acme}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: acme-test, labels: {app.kubernetes.io/managed-by: imaas-operator, imaas.dev/tenant: acme}}}
- {apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: dev}, spec: {default: true}}
- {apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: test}, spec: {default: true, promotesFrom: dev}}
- apiVersion: imaas.dev/v1alpha1
  kind: IntegrationRuntime
  metadata: {name: container}
  spec:
    profiles:
    - {versions: "*", ports: [{name: http, port: 8080}], configMount: /config, probes: {readiness: {path: /ready}}}
- {apiVersion: imaas.dev/v1alpha1, kind: Tenant, metadata: {name: acme}, spec: {contact: integrations@acme.example}}
"#;

pub fn descriptor(digest: &str, more: &str) -> String {
    format!(
        "apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\nimage: {{digest: \"{digest}\"}}\nconfig: config\n{more}"
    )
}

/// The cluster, the Git host and a developer's clone.
pub struct Scene {
    pub lab: Lab,
    pub git: GitServer,
    clone: WorkTree,
    pub client: Client,
    pub registry: Registry,
    /// Whether images of a service go with it.
    pub deletes_images: bool,
    /// Hosts that are told what became of commits, as the option says them.
    pub statuses: Vec<String>,
    /// Between two looks at a repository.
    pub interval: Duration,
    /// The operator's clock.
    pub now: fn() -> Timestamp,
    pub scratch: tempfile::TempDir,
    /// What the proof of the chart's policies, which are not installed here, would have given.
    pub policies: Policies,
}

impl Scene {
    pub async fn start() -> Self {
        let progress = Progress::new(|line| println!("{line}"));
        let lab = Lab::start(LabOptions::default(), &progress).await.unwrap();
        let kubeconfig = Kubeconfig::read_from(lab.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let directory = scratch.path().join("repositories");
        let options =
            Options { address, directory: &directory, authority: None, names: &[], users: vec![everybody()] };
        let git = GitServer::start(options).unwrap();
        let tree = scratch.path().join("tree");
        for (path, text) in [
            ("imaas.yaml", descriptor(IMAGE_OF_A, "")),
            ("main.go", "package main".to_owned()),
            ("config/app.properties", "greeting=hello".to_owned()),
        ] {
            std::fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
            std::fs::write(tree.join(path), text).unwrap();
        }
        git.create("/acme/orders.git", &tree, &["dev", "test"]).unwrap();
        let login =
            Credentials { user: "ci".to_owned(), password: "orders-password".to_owned(), authority: None };
        let clone =
            WorkTree::clone(&git.url("/acme/orders.git"), &scratch.path().join("clone"), login).unwrap();
        let registry = Registry::start().await;
        let policies = Policies::new(Health::default());
        policies.learn(&Ok(()));
        let scene = Self {
            lab,
            git,
            clone,
            client,
            registry,
            deletes_images: true,
            statuses: vec![],
            interval: Duration::from_secs(1),
            now: Timestamp::now,
            scratch,
            policies,
        };
        scene.install().await;
        scene
    }

    /// With `orders`, and an operator.
    pub async fn onboarded() -> (Self, Operator) {
        let scene = Self::start().await;
        let operator = scene.operator().await;
        scene.onboard(true).await;
        scene.onboard(false).await;
        (scene, operator)
    }

    async fn install(&self) {
        let kinds = Api::<CustomResourceDefinition>::all(self.client.clone());
        for kind in api::crds() {
            kinds.create(&PostParams::default(), &kind).await.unwrap();
        }
        let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
        self.lab.kubectl().run(&wait, None).await.unwrap();
        self.lab.kubectl().run(&["apply", "-f", "-"], Some(PLATFORM)).await.unwrap();
        let environments = json!([
            { "name": "dev", "namespace": "acme-dev" },
            { "name": "test", "namespace": "acme-test", "promotesFrom": "dev" },
        ]);
        let status = Patch::Merge(json!({ "status": { "environments": environments } }));
        let tenants = Api::<api::Tenant>::all(self.client.clone());
        tenants.patch_status("acme", &PatchParams::default(), &status).await.unwrap();
    }

    pub async fn onboard(&self, credentials: bool) {
        let secret = "{apiVersion: v1, kind: Secret, metadata: {name: orders-git, namespace: acme-home}, stringData: {username: ci, password: orders-password}}";
        if credentials {
            self.lab.kubectl().run(&["apply", "-f", "-"], Some(secret)).await.unwrap();
            return;
        }
        let service = json!({
            "apiVersion": api::API_VERSION, "kind": "IntegrationService",
            "metadata": { "name": "orders", "namespace": "acme-home" },
            "spec": {
                "repository": { "url": self.git.url("/acme/orders.git"), "credentials": "orders-git" },
                "runtime": "container",
            },
        });
        let service: IntegrationService = serde_json::from_value(service).unwrap();
        self.services().create(&PostParams::default(), &service).await.unwrap();
    }

    pub fn services(&self) -> Api<IntegrationService> {
        Api::namespaced(self.client.clone(), "acme-home")
    }

    pub fn releases(&self) -> Api<Release> {
        Api::namespaced(self.client.clone(), "acme-home")
    }

    pub fn deployments(&self, environment: &str) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &format!("acme-{environment}"))
    }

    pub async fn board(&self) -> api::IntegrationServiceStatus {
        self.services().get("orders").await.unwrap().status.unwrap_or_default()
    }

    /// The board's line of one environment.
    pub async fn state(&self, environment: &str) -> Option<EnvironmentState> {
        self.board().await.environments.into_iter().find(|state| state.name == environment)
    }

    /// Image of the Deployment, without the repository; nothing when there is none.
    pub async fn image(&self, environment: &str) -> Option<String> {
        let deployment = self.deployments(environment).get_opt("orders").await.unwrap()?;
        let image = deployment.spec?.template.spec?.containers.remove(0).image?;
        Some(image.rsplit_once('@')?.1.to_owned())
    }

    /// Writes files on `branch` and pushes; returns the commit.
    pub fn push(&self, branch: &str, files: &[(&str, &str)]) -> String {
        self.clone.checkout(branch).unwrap();
        for (path, text) in files {
            self.clone.write(path, text).unwrap();
        }
        let commit = self.clone.commit("change").unwrap();
        self.clone.push(branch).unwrap();
        commit
    }

    /// Any git command in the developer's clone; what it says.
    pub fn in_clone(&self, arguments: &[&str]) -> String {
        self.clone.git(arguments).unwrap()
    }

    pub fn delete_branch(&self, branch: &str) {
        self.clone.git(&["push", "--quiet", "origin", "--delete", branch]).unwrap();
    }

    /// Says that every release of `environment` was healthy.
    pub async fn healthy(&self, environment: &str) {
        let condition = json!({
            "type": "Healthy", "status": "True", "reason": "Succeeded", "message": "the test says so",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let status = Patch::Merge(json!({ "status": { "conditions": [condition] } }));
        for release in self.releases().list(&kube::api::ListParams::default()).await.unwrap() {
            if release.spec.environment == environment {
                self.releases()
                    .patch_status(&release.name_any(), &PatchParams::default(), &status)
                    .await
                    .unwrap();
            }
        }
    }

    pub async fn limit_history(&self, environment: &str, limit: u16) {
        let environments = Api::<api::Environment>::all(self.client.clone());
        let patch = Patch::Merge(json!({ "spec": { "historyLimit": limit } }));
        environments.patch(environment, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Names of the releases and of the configurations of an environment.
    pub async fn history(&self, environment: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let all = kube::api::ListParams::default();
        let ours = kube::api::ListParams::default().labels("app.kubernetes.io/managed-by=imaas-operator");
        let releases = self.releases().list(&all).await.unwrap().into_iter();
        let configs = Api::<ConfigMap>::namespaced(self.client.clone(), &format!("acme-{environment}"));
        (
            releases.filter(|r| r.spec.environment == environment).map(|r| r.name_any()).collect(),
            configs.list(&ours).await.unwrap().into_iter().map(|config| config.name_any()).collect(),
        )
    }

    /// resourceVersion of everything that the operator wrote, and of the Deployments their generation: their status is
    /// another controller's.
    pub async fn written(&self) -> BTreeMap<String, String> {
        let all = kube::api::ListParams::default();
        let mut versions = BTreeMap::new();
        for release in self.releases().list(&all).await.unwrap() {
            versions.insert(format!("Release {}", release.name_any()), release.resource_version().unwrap());
        }
        for service in self.services().list(&all).await.unwrap() {
            versions.insert("IntegrationService".to_owned(), service.resource_version().unwrap());
        }
        let ours = kube::api::ListParams::default().labels("app.kubernetes.io/managed-by=imaas-operator");
        for map in Api::<ConfigMap>::all(self.client.clone()).list(&ours).await.unwrap() {
            let name = format!("ConfigMap {}/{}", map.namespace().unwrap(), map.name_any());
            versions.insert(name, map.resource_version().unwrap());
        }
        for deployment in Api::<Deployment>::all(self.client.clone()).list(&ours).await.unwrap() {
            let name = format!("Deployment {}", deployment.namespace().unwrap());
            versions.insert(name, deployment.metadata.generation.unwrap_or_default().to_string());
        }
        versions
    }

    /// The stage under test, as a process would run it.
    pub async fn operator(&self) -> Operator {
        self.operator_by(self.client.clone()).await
    }

    /// The same, by a client of its own.
    pub async fn operator_by(&self, client: Client) -> Operator {
        let (platform, watches) = platform(client, (self.interval, self.now)).await;
        let mirrors = self.scratch.path().join("mirrors");
        let statuses = Hosts(self.statuses.iter().map(|host| host.parse().unwrap()).collect());
        let deletes_images = self.deletes_images;
        let origins = Origins { deletes_images, statuses, ..origins(&mirrors, &self.registry.url) };
        let (stop, mut stopped) = watch::channel(false);
        let shutdown = async move { drop(stopped.wait_for(|stop| *stop).await) };
        let (registry, pushes) = mpsc::channel(16);
        let stage = tokio::spawn(run(platform, (origins, pushes), self.policies.clone(), shutdown));
        Operator { stop, stage, watches, registry }
    }

    /// Lets the operator look at the repository at least twice.
    pub async fn two_looks(&self) {
        self.git.clear_requests();
        until("two looks", async || (self.git.requests().len() >= 3).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

pub struct Operator {
    stop: watch::Sender<bool>,
    stage: JoinHandle<()>,
    watches: JoinHandle<()>,
    registry: mpsc::Sender<Push>,
}

impl Operator {
    /// As the registry tells it.
    pub async fn hears(&self, service: &str, reference: &str) {
        let (tenant, service, references) =
            ("acme".to_owned(), service.to_owned(), vec![reference.to_owned()]);
        self.registry.send(Push { tenant, service, references }).await.unwrap();
    }

    /// Where it is.
    pub fn kill(self) {
        self.stage.abort();
        self.watches.abort();
    }

    pub async fn stop(self) {
        self.stop.send(true).unwrap();
        self.stage.await.unwrap();
        self.watches.abort();
    }
}

fn everybody() -> lab::git_server::User {
    lab::git_server::User {
        name: "ci".to_owned(),
        password: "orders-password".to_owned(),
        reads: vec!["/acme/".to_owned()],
        pushes: vec!["/acme/".to_owned()],
    }
}

async fn platform(
    client: Client,
    (interval, now): (Duration, fn() -> Timestamp),
) -> (Platform, JoinHandle<()>) {
    let settings = Settings {
        namespace: "imaas-system".to_owned(),
        service_account: "imaas-operator".to_owned(),
        registry_host: "registry.example.com".to_owned(),
        largest_config: 1_000_000,
        runtime_wave: 1,
        interval,
        retirement: imaas_operator::retirement::Periods::default(),
        development: true,
    };
    let (platform, watches, listed) = Platform::observe(client, settings, now, || 0.5);
    let watches = tokio::spawn(watches);
    listed.await;
    (platform, watches)
}

fn origins(mirrors: &Path, registry: &str) -> Origins {
    let urls = UrlPolicy { development: true, allowed_hosts: vec!["127.0.0.1".to_owned()] };
    let endpoint = RegistryEndpoint {
        url: registry.parse().unwrap(),
        realm: "https://token.example.invalid/token".parse().unwrap(),
        ca: None,
        development: true,
    };
    let key = AccountKey::new(*b"the account key of the tests, 32+").unwrap();
    let registry = RegistryClient::new(
        endpoint,
        Issued { key, generations: Generations::default() },
        Mandate::unlimited(),
    )
    .unwrap();
    let git = Git::new(mirrors, urls.clone(), Limits::default(), Mandate::unlimited()).unwrap();
    let (git, registry) = (Arc::new(git), Arc::new(registry));
    Origins { git, registry, deletes_images: false, urls, statuses: Hosts::default() }
}

/// The first answer that is one, within the patience of a test.
pub async fn until<T: Debug>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Of what an environment waits for.
pub fn reasons(board: &api::IntegrationServiceStatus, environment: &str) -> Vec<String> {
    let state = board.environments.iter().find(|state| state.name == environment);
    state.map(|state| state.waiting.iter().map(|w| w.reason.clone()).collect()).unwrap_or_default()
}

impl Scene {
    /// Leaves nothing behind.
    pub async fn end(self) {
        let Self { lab, git, .. } = self;
        git.stop();
        lab.stop().await.unwrap();
    }

    /// Says of every instance in `environment` what a kubelet would say of one that answers.
    pub async fn instances_are_ready(&self, environment: &str) {
        self.instances_are_ready_in(&format!("acme-{environment}")).await;
    }

    /// The same of a namespace.
    pub async fn instances_are_ready_in(&self, namespace: &str) {
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let ready =
            json!({ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let status = Patch::Merge(json!({ "status": { "phase": "Running", "conditions": [ready] } }));
        for pod in pods.list(&kube::api::ListParams::default()).await.unwrap() {
            // One that its controller removed meanwhile needs nothing.
            let _ = pods.patch_status(&pod.name_any(), &PatchParams::default(), &status).await;
        }
    }

    /// As somebody at a terminal.
    pub async fn kubectl(&self, arguments: &[&str]) {
        self.lab.kubectl().run(arguments, None).await.unwrap();
    }
}

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "IO: a real API server and a real Git server"
)]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, which says what it measures")]
//! A service from a push to a Deployment, on a real API server and a real Git server. No pod runs here: that a release
//! is healthy is said by the test.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    path::Path,
    sync::Arc,
    time::Duration,
};

use imaas_operator::{
    api::{self, IntegrationService, Release},
    git::{Git, Limits, UrlPolicy},
    platform::{Platform, Settings},
    registry::{
        accounts::{AccountKey, Generations},
        client::{RegistryClient, RegistryEndpoint},
    },
    service::{poll::Origins, run::run},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::ConfigMap},
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
use tokio::{sync::watch, task::JoinHandle, time::Instant};

const PATIENCE: Duration = Duration::from_mins(1);
const IMAGE_OF_A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const IMAGE_OF_B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// What the platform and the tenant stage would have made.
const PLATFORM: &str = r#"
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: acme-home}}
- {apiVersion: v1, kind: Namespace, metadata: {name: acme-dev}}
- {apiVersion: v1, kind: Namespace, metadata: {name: acme-test}}
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

fn descriptor(digest: &str, more: &str) -> String {
    format!(
        "apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\nimage: {{digest: \"{digest}\"}}\nconfig: config\n{more}"
    )
}

/// The cluster, the Git host and a developer's clone.
struct Scene {
    lab: Lab,
    git: GitServer,
    clone: WorkTree,
    client: Client,
    scratch: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
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
        let scene = Self { lab, git, clone, client, scratch };
        scene.install().await;
        scene
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

    async fn onboard(&self, credentials: bool) {
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

    fn services(&self) -> Api<IntegrationService> {
        Api::namespaced(self.client.clone(), "acme-home")
    }

    fn releases(&self) -> Api<Release> {
        Api::namespaced(self.client.clone(), "acme-home")
    }

    fn deployments(&self, environment: &str) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &format!("acme-{environment}"))
    }

    async fn board(&self) -> api::IntegrationServiceStatus {
        self.services().get("orders").await.unwrap().status.unwrap_or_default()
    }

    /// Image of the Deployment, without the repository; nothing when there is none.
    async fn image(&self, environment: &str) -> Option<String> {
        let deployment = self.deployments(environment).get_opt("orders").await.unwrap()?;
        let image = deployment.spec?.template.spec?.containers.remove(0).image?;
        Some(image.rsplit_once('@')?.1.to_owned())
    }

    /// Writes files on `branch` and pushes; returns the commit.
    fn push(&self, branch: &str, files: &[(&str, &str)]) -> String {
        self.clone.checkout(branch).unwrap();
        for (path, text) in files {
            self.clone.write(path, text).unwrap();
        }
        let commit = self.clone.commit("change").unwrap();
        self.clone.push(branch).unwrap();
        commit
    }

    /// Says that every release of `environment` was healthy.
    async fn healthy(&self, environment: &str) {
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

    async fn limit_history(&self, environment: &str, limit: u16) {
        let environments = Api::<api::Environment>::all(self.client.clone());
        let patch = Patch::Merge(json!({ "spec": { "historyLimit": limit } }));
        environments.patch(environment, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Names of the releases and of the configurations of an environment.
    async fn history(&self, environment: &str) -> (BTreeSet<String>, BTreeSet<String>) {
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
    async fn written(&self) -> BTreeMap<String, String> {
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
    async fn operator(&self) -> Operator {
        let (platform, watches) = platform(self.client.clone()).await;
        let origins = origins(&self.scratch.path().join("mirrors"));
        let (stop, mut stopped) = watch::channel(false);
        let shutdown = async move { drop(stopped.wait_for(|stop| *stop).await) };
        let stage = tokio::spawn(run(platform, origins, shutdown));
        Operator { stop, stage, watches }
    }

    /// Lets the operator look at the repository at least twice.
    async fn two_looks(&self) {
        self.git.clear_requests();
        until("two looks", async || (self.git.requests().len() >= 3).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

struct Operator {
    stop: watch::Sender<bool>,
    stage: JoinHandle<()>,
    watches: JoinHandle<()>,
}

impl Operator {
    async fn stop(self) {
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

async fn platform(client: Client) -> (Platform, JoinHandle<()>) {
    let settings = Settings {
        namespace: "imaas-system".to_owned(),
        service_account: "imaas-operator".to_owned(),
        registry_host: "registry.example.com".to_owned(),
        interval: Duration::from_secs(1),
        development: true,
    };
    let (platform, watches, listed) = Platform::observe(client, settings, Timestamp::now, || 0.5);
    let watches = tokio::spawn(watches);
    listed.await;
    (platform, watches)
}

fn origins(mirrors: &Path) -> Origins {
    let urls = UrlPolicy { development: true, allowed_hosts: vec!["127.0.0.1".to_owned()] };
    let endpoint = RegistryEndpoint {
        url: "https://registry.example.invalid".parse().unwrap(),
        realm: "https://token.example.invalid/token".parse().unwrap(),
        ca: None,
        development: false,
    };
    let key = AccountKey::new(*b"the account key of the tests, 32+").unwrap();
    let registry = RegistryClient::new(endpoint, key, Generations::new(1, 1).unwrap()).unwrap();
    let git = Git::new(mirrors, urls.clone(), Limits::default()).unwrap();
    Origins { git: Arc::new(git), registry: Arc::new(registry), urls }
}

/// The first answer that is one, within the patience of a test.
async fn until<T: Debug>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn reasons(board: &api::IntegrationServiceStatus, environment: &str) -> Vec<String> {
    let state = board.environments.iter().find(|state| state.name == environment);
    state.map(|state| state.waiting.iter().map(|w| w.reason.clone()).collect()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::too_many_lines,
    reason = "one story on one cluster, whose start takes longer than the story"
)]
async fn a_push_becomes_a_deployment_and_nothing_else_is_written() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;

    // Without its Secret nothing is read, and that is said; with it, the look comes by itself.
    scene.onboard(false).await;
    until("the missing Secret is told", async || {
        let board = scene.board().await;
        let ready = board.conditions.iter().find(|c| c.type_ == "Ready")?;
        (ready.reason == "CredentialsMissing" && ready.message.contains("orders-git")).then_some(())
    })
    .await;
    scene.onboard(true).await;
    until("dev runs the first image", async || scene.image("dev").await.filter(|i| i == IMAGE_OF_A)).await;
    let board = until("test waits for dev", async || {
        let board = scene.board().await;
        (reasons(&board, "test") == ["NotPromoted"]).then_some(board)
    })
    .await;
    assert_eq!(board.summary.as_deref(), Some("dev=rolling test=waiting"));
    assert_eq!(scene.image("test").await, None, "nothing passes before dev is healthy");

    // Healthy in dev: the same digest in test.
    scene.healthy("dev").await;
    until("test runs what dev ran", async || scene.image("test").await.filter(|i| i == IMAGE_OF_A)).await;

    // A commit that changes no image, no setting and no configuration rolls nothing.
    scene.two_looks().await;
    let before = scene.written().await;
    let docs = scene.push("dev", &[("README.md", "# Orders")]);
    until("the commit is seen", async || {
        (scene.board().await.environments[0].commit.as_deref() == Some(&docs)).then_some(())
    })
    .await;
    let mut after = scene.written().await;
    after.insert("IntegrationService".to_owned(), before["IntegrationService"].clone());
    assert_eq!(after, before);

    // Settings of one environment alone: a new release of the same image there, nothing elsewhere.
    let test_before = scene.deployments("test").get("orders").await.unwrap().metadata.generation;
    let begun = Instant::now();
    scene
        .push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "environments: {dev: {env: {MODE: try}}}\n"))]);
    until("dev has the setting", async || {
        let deployment = scene.deployments("dev").get("orders").await.unwrap();
        let env = deployment.spec?.template.spec?.containers.remove(0).env.unwrap_or_default();
        env.iter().any(|variable| variable.name == "MODE").then_some(())
    })
    .await;
    println!("push to applied Deployment at an interval of 1 s: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(scene.image("dev").await.as_deref(), Some(IMAGE_OF_A));
    assert_eq!(scene.deployments("test").get("orders").await.unwrap().metadata.generation, test_before);

    // A restart and more looks write nothing.
    scene.two_looks().await;
    let before = scene.written().await;
    operator.stop().await;
    let operator = scene.operator().await;
    scene.two_looks().await;
    scene.two_looks().await;
    assert_eq!(scene.written().await, before);

    // A broken descriptor leaves what runs, and says where.
    scene.push(
        "dev",
        &[("imaas.yaml", "apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\ntyp: api\n")],
    );
    let board = until("the broken descriptor is told", async || {
        let board = scene.board().await;
        reasons(&board, "dev").contains(&"InvalidDescriptor".to_owned()).then_some(board)
    })
    .await;
    assert!(board.environments[0].waiting[0].message.contains("imaas.yaml:3:1"), "{board:?}");
    assert_eq!(scene.image("dev").await.as_deref(), Some(IMAGE_OF_A));

    // There and back: the older release is current again, and none is made twice.
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, ""))]);
    let first = until("the first release is back", async || {
        let current = scene.board().await.environments[0].current.clone()?;
        let release = scene.releases().get(&current).await.unwrap();
        release
            .spec
            .template
            .spec?
            .containers
            .remove(0)
            .env
            .unwrap_or_default()
            .iter()
            .all(|v| v.name != "MODE")
            .then_some(current)
    })
    .await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    until("dev runs the second image", async || scene.image("dev").await.filter(|i| i == IMAGE_OF_B)).await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, ""))]);
    until("dev is back", async || scene.image("dev").await.filter(|i| i == IMAGE_OF_A)).await;
    until("the board says so", async || {
        (scene.board().await.environments[0].current.as_ref() == Some(&first)).then_some(())
    })
    .await;
    let names: Vec<_> = scene
        .releases()
        .list(&kube::api::ListParams::default())
        .await
        .unwrap()
        .into_iter()
        .map(|r| r.name_any())
        .collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("orders-dev-")).count(), 3, "{names:?}");

    // Beyond the limit only what is needed stays: what runs, the newest (twice as many while a roll-out is under way, as
    // it is for ever here), and what was healthy, since test takes its image from it.
    scene.limit_history("dev", 1).await;
    let mut newest = Vec::new();
    for greeting in ["a", "b", "c", "d"] {
        let before = scene.board().await.environments[0].current.clone();
        scene.push("dev", &[("config/app.properties", greeting)]);
        let current = until("dev has the configuration", async || {
            scene.board().await.environments[0].current.clone().filter(|now| Some(now) != before.as_ref())
        })
        .await;
        newest.push(current);
    }
    let [_, _, last, current] = &newest[..] else { panic!("four releases") };
    let kept: BTreeSet<_> = [&first, last, current].into_iter().cloned().collect();
    until("what is too old is gone", async || (scene.history("dev").await.0 == kept).then_some(())).await;
    until("so are its configurations", async || (scene.history("dev").await.1.len() == 3).then_some(()))
        .await;
    // As after a crash between the two: the release is gone, its configuration is not.
    scene.releases().delete(last, &kube::api::DeleteParams::default()).await.unwrap();
    until("nobody refers to it", async || (scene.history("dev").await.1.len() == 2).then_some(())).await;
    assert_eq!(scene.history("test").await.0.len(), 1);
    assert_eq!(scene.image("test").await.as_deref(), Some(IMAGE_OF_A));
    scene.two_looks().await;
    let before = scene.written().await;
    scene.two_looks().await;
    assert_eq!(scene.written().await, before, "and then it is quiet");

    // A Secret that is missing holds a version back; what runs stays, and the Secret alone sets it going.
    let with_secret = descriptor(IMAGE_OF_A, "secrets: [orders-db]\n");
    scene.push("dev", &[("imaas.yaml", &with_secret)]);
    let board = until("the missing Secret is told", async || {
        let board = scene.board().await;
        reasons(&board, "dev").contains(&"SecretMissing".to_owned()).then_some(board)
    })
    .await;
    assert_eq!(board.environments[0].current.as_ref(), Some(current), "{board:?}");
    assert!(board.environments[0].waiting[0].message.contains("orders-db in acme-dev"), "{board:?}");
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: orders-db, namespace: acme-dev}, stringData: {PASSWORD: orders-password}}";
    scene.lab.kubectl().run(&["apply", "-f", "-"], Some(secret)).await.unwrap();
    until("the version with the Secret is applied", async || {
        let board = scene.board().await;
        let state = &board.environments[0];
        (state.current.as_ref() != Some(current)
            && !reasons(&board, "dev").contains(&"SecretMissing".to_owned()))
        .then_some(())
    })
    .await;

    // Somebody removes the Deployment: it is back, without a look at Git.
    scene.deployments("dev").delete("orders", &kube::api::DeleteParams::default()).await.unwrap();
    until("the Deployment is repaired", async || scene.image("dev").await.filter(|i| i == IMAGE_OF_A)).await;

    operator.stop().await;
    let Scene { lab, git, .. } = scene;
    git.stop();
    lab.stop().await.unwrap();
}

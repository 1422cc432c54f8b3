//! The cluster, the repositories of the tenants, and the stages as the operator's process would run them. Time goes on when a
//! test says so.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use imaas_operator::{
    environment,
    git::{Git, Limits, UrlPolicy},
    health::Health,
    lease::Mandate,
    platform::{Platform, Settings},
    policies::Policies,
    registry::usages::Usages,
    retirement::Periods,
    source, tenant,
};
use jiff::{SignedDuration, Timestamp};
use lab::{Lab, LabOptions, Progress, User};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    chart::{OPERATOR, install, until},
    registry,
    server::{Repository, Server},
};

const PLATFORM: &str = r"
apiVersion: imaas.dev/v1alpha1
kind: Environment
metadata: {name: dev}
spec: {default: true}
---
apiVersion: imaas.dev/v1alpha1
kind: Environment
metadata: {name: prod}
spec: {promotesFrom: dev}
---
apiVersion: imaas.dev/v1alpha1
kind: IntegrationRuntime
metadata: {name: container}
spec: {profiles: [{versions: '*'}]}
";

/// How far the operator's clock is ahead.
static AHEAD: AtomicI64 = AtomicI64::new(0);

fn now() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(AHEAD.load(Ordering::SeqCst))
}

/// Lets time pass for the operator.
pub fn later(hours: i64) {
    AHEAD.fetch_add(hours * 3600 + 1, Ordering::SeqCst);
}

pub struct Scene {
    pub lab: Lab,
    server: Server,
    repositories: BTreeMap<&'static str, Repository>,
    pub registry: registry::Lab,
    /// Of the registry's token service.
    trust: registry::KeyPair,
    data: tempfile::TempDir,
    tasks: Vec<JoinHandle<()>>,
}

/// A tenant file: its name and its spec.
pub type File<'a> = (&'a str, &'a str);

fn text((name, spec): File<'_>) -> (String, String) {
    let text =
        format!("{{apiVersion: imaas.dev/v1alpha1, kind: Tenant, metadata: {{name: {name}}}, spec: {spec}}}");
    (name.to_owned(), text)
}

impl Scene {
    /// With a TenantSource for each of `sources`, whose repository is empty but for a page.
    pub async fn start(sources: &[&'static str]) -> Self {
        // What the other test let pass has nothing to do with this cluster.
        AHEAD.store(0, Ordering::SeqCst);
        let progress = Progress::new(|line| println!("{line}"));
        let users =
            vec![User::new(OPERATOR, &["system:serviceaccounts", "system:serviceaccounts:imaas-system"])];
        let lab = Lab::start(LabOptions { users, ..LabOptions::default() }, &progress).await.unwrap();
        install(&lab, &progress, PLATFORM).await;
        let rules = std::fs::read_to_string(lab.data_dir().join("policies.yaml")).unwrap();
        lab.kubectl().apply(&rules).await.unwrap();
        let (server, data) = (Server::start().await, tempfile::tempdir().unwrap());
        let repositories = sources.iter().map(|name| (*name, server.repository(name))).collect();
        let trust = registry::es256();
        let registry = registry::Lab::start(&trust).await;
        let mut scene = Self { lab, server, repositories, registry, trust, data, tasks: Vec::new() };
        scene.tasks = scene.run().await;
        scene
    }

    /// The operator's stages up to the tenants, as its ServiceAccount.
    async fn run(&self) -> Vec<JoinHandle<()>> {
        let file: PathBuf = self.lab.user_kubeconfig(OPERATOR).unwrap();
        let config = kube::Config::from_custom_kubeconfig(
            kube::config::Kubeconfig::read_from(file).unwrap(),
            &kube::config::KubeConfigOptions::default(),
        )
        .await
        .unwrap();
        let settings = Settings {
            namespace: "imaas-system".into(),
            service_account: "imaas-operator".into(),
            registry_host: "registry.example.com".into(),
            largest_config: 256 << 10,
            runtime_wave: 10,
            interval: Duration::from_mins(1),
            retirement: Periods::default(),
            development: true,
        };
        let client = kube::Client::try_from(config).unwrap();
        let (platform, background, listed) = Platform::observe(client, settings.clone(), now, || 0.5);
        let mut tasks = vec![tokio::spawn(background)];
        listed.await;
        let policies = Policies::new(Health::default());
        let logins = registry::issued(registry::account_key());
        let urls = UrlPolicy { development: true, allowed_hosts: vec!["127.0.0.1".into()] };
        let git = Arc::new(
            Git::new(self.data.path(), urls.clone(), Limits::default(), Mandate::unlimited()).unwrap(),
        );
        let sources = Arc::new(source::Sources::new(platform.clone(), git, urls));
        let registry = tenant::Registry {
            logins: Some(logins),
            usages: Usages::counted(),
            images: Some(Arc::new(self.registry.client())),
        };
        let ctx = Arc::new(tenant::Context::new(platform.clone(), policies.clone(), registry));
        let never = std::future::pending;
        tasks.push(tokio::spawn(source::run(sources, futures::stream::pending().boxed(), never())));
        tasks.push(tokio::spawn(tenant::run(ctx, never())));
        tasks.push(tokio::spawn(environment::run(platform.clone(), never())));
        tasks.push(tokio::spawn(policies.run(platform.cluster, settings, never())));
        tasks
    }

    /// Kills the stages where they are, and starts them with nothing known.
    pub async fn restart(&mut self) {
        self.kill();
        self.tasks = self.run().await;
    }

    pub fn kill(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }

    /// All that the repository of `source` holds from now on.
    /// As while its garbage is collected, or no more.
    pub async fn registry_is_read_only(&mut self, is: bool) {
        let environment = [("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{\"enabled\": true}")];
        let environment = if is { &environment[..] } else { &[] };
        self.registry.restart_registry_with(&[&self.trust], environment).await;
    }

    pub fn commit(&self, source: &str, files: &[File<'_>]) -> String {
        self.commit_in(source, "tenants", files)
    }

    pub fn commit_in(&self, source: &str, directory: &str, files: &[File<'_>]) -> String {
        let files: Vec<_> = files.iter().map(|file| text(*file)).collect();
        let files: Vec<_> =
            files.iter().map(|(name, text)| (format!("{directory}/{name}.yaml"), text.as_str())).collect();
        let mut all = vec![("README.md", "Tenants.")];
        all.extend(files.iter().map(|(path, text)| (path.as_str(), *text)));
        self.repositories[source].commit("main", &all)
    }

    /// Begins another history, with nothing in it.
    pub fn forget_history(&self, source: &str) {
        let repository = &self.repositories[source];
        repository.git(&["update-ref", "-d", "refs/heads/main"]);
    }

    pub async fn declare(&self, source: &str, path: &str) {
        let spec = json!({ "url": self.server.url(source), "interval": "1s", "path": path });
        let source = json!({ "apiVersion": "imaas.dev/v1alpha1", "kind": "TenantSource", "metadata": { "name": source }, "spec": spec });
        self.lab.kubectl().apply(&source.to_string()).await.unwrap();
    }

    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.lab.kubectl().run(arguments, None).await.unwrap()
    }

    /// The source, once its status speaks of `commit` and its condition `Stalled` contains `words`.
    pub async fn source_says(&self, source: &str, commit: &str, words: &str) -> Value {
        until(&self.lab, &["tenantsources.imaas.dev", source], |object| {
            object["status"]["commit"] == commit && message(object, "Stalled").contains(words)
        })
        .await
    }

    /// The tenant, once the reason of its condition `InSync` is this.
    pub async fn in_sync(&self, tenant: &str, reason: &str) -> Value {
        until(&self.lab, &["tenants.imaas.dev", tenant], |object| {
            condition(object, "InSync").is_some_and(|condition| condition["reason"] == reason)
        })
        .await
    }

    pub async fn ready(&self, tenant: &str, reason: &str) -> Value {
        until(&self.lab, &["tenants.imaas.dev", tenant], |object| super::chart::reason(object) == reason)
            .await
    }

    pub async fn annotations(&self, kind: &str, name: &str) -> Value {
        self.lab.kubectl().get(&[kind, name]).await.unwrap()["metadata"]["annotations"].clone()
    }

    /// Makes the tenant's stage look again.
    pub async fn look(&self, tenant: &str) {
        let again = format!("imaas.dev/reconcile-requested={}", Timestamp::now().as_nanosecond());
        self.kubectl(&["annotate", "--overwrite", "tenants.imaas.dev", tenant, &again]).await;
    }

    pub async fn gone(&self, what: &[&str]) {
        for _ in 0..900 {
            let found = self.lab.kubectl().get(what).await;
            if found.is_err_and(|error| format!("{error:#}").contains("NotFound")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{what:?} did not go: {:#?}", self.lab.kubectl().get(what).await);
    }

    pub async fn uid(&self, what: &[&str]) -> String {
        uid(&self.lab.kubectl().get(what).await.unwrap())
    }
}

pub fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

pub fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
}

pub fn message<'a>(object: &'a Value, type_: &str) -> &'a str {
    condition(object, type_).and_then(|condition| condition["message"].as_str()).unwrap_or_default()
}

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    reason = "a test: says what it waits for; parts of a shared scene"
)]
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "IO: a test on a real API server")]
//! Limits come from Git with the tenant whose they are, on a real Git host and a real API server.

#[path = "tenant_cluster/scene.rs"]
mod chart;

use std::{future::pending, sync::Arc, time::Duration};

use chart::until;
use futures::StreamExt;
use imaas_operator::{
    api,
    git::{Git, Limits, UrlPolicy},
    lease::Mandate,
    platform::{Platform, Settings},
    source::{self, Sources},
};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use lab::{
    Lab, LabOptions, Progress,
    git_server::{Credentials, GitServer, Options, User, WorkTree},
};
use serde_json::{Value, json};

const PLATFORM: &str = "
apiVersion: imaas.dev/v1alpha1
kind: Environment
metadata: {name: prod}
spec: {default: true, quota: {default: {cpu: '4'}, max: {cpu: '8'}}}
---
apiVersion: v1
kind: Namespace
metadata: {name: imaas-system}
---
apiVersion: v1
kind: Secret
metadata: {name: tenants-git, namespace: imaas-system}
stringData: {username: platform, password: platform-password}
";
const ACME: &str = "apiVersion: imaas.dev/v1alpha1
kind: Tenant
metadata: {name: acme}
spec:
  environments: {prod: {quota: {cpu: 12}}}
";
const LIMITS: &str = "apiVersion: imaas.dev/v1alpha1
kind: TenantLimits
metadata: {name: acme}
spec:
  environments: {prod: {max: {cpu: 16}}}
";

/// The central repository and the platform team's clone of it.
fn repository(scratch: &std::path::Path) -> (GitServer, WorkTree) {
    let tree = scratch.join("tree");
    for (path, text) in [("in/tenants/acme.yaml", ACME), ("in/limits/acme.yaml", LIMITS)] {
        std::fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
        std::fs::write(tree.join(path), text).unwrap();
    }
    let (address, directory) = ("127.0.0.1:0".parse().unwrap(), scratch.join("repositories"));
    let users = vec![User::writer("platform", "platform-password", "/platform/")];
    let git =
        GitServer::start(Options { address, directory: &directory, authority: None, names: &[], users })
            .unwrap();
    git.create("/platform/tenants.git", &tree, &["main"]).unwrap();
    let login =
        Credentials { user: "platform".into(), password: "platform-password".into(), authority: None };
    let clone = WorkTree::clone(&git.url("/platform/tenants.git"), &scratch.join("clone"), login).unwrap();
    (git, clone)
}

/// The stage that reads the repository, as the administrator.
async fn start(lab: &Lab, mirrors: &std::path::Path) {
    let kubeconfig = Kubeconfig::read_from(lab.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let settings = Settings {
        namespace: "imaas-system".into(),
        service_account: "imaas-operator".into(),
        registry_host: "registry.example.com".into(),
        largest_config: 256 << 10,
        runtime_wave: 10,
        interval: Duration::from_mins(1),
        development: true,
        retirement: imaas_operator::retirement::Periods::default(),
    };
    let client = Client::try_from(config).unwrap();
    let (platform, background, listed) = Platform::observe(client, settings, jiff::Timestamp::now, || 0.5);
    tokio::spawn(background);
    listed.await;
    let urls = UrlPolicy { development: true, allowed_hosts: vec!["127.0.0.1".into()] };
    let git = Arc::new(Git::new(mirrors, urls.clone(), Limits::default(), Mandate::unlimited()).unwrap());
    let sources = Arc::new(Sources::new(platform, git, urls));
    tokio::spawn(source::run(sources, futures::stream::pending().boxed(), pending()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_published_and_wrong_ones_change_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let (git, clone) = repository(scratch.path());
    let progress = Progress::new(|line| println!("{line}"));
    let lab = Lab::start(LabOptions::default(), &progress).await.unwrap();
    let crds = json!({ "apiVersion": "v1", "kind": "List", "items": api::crds() });
    lab.kubectl().apply(&crds.to_string()).await.unwrap();
    let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    lab.kubectl().run(&wait, None).await.unwrap();
    lab.kubectl().apply(PLATFORM).await.unwrap();
    let source = json!({
        "apiVersion": api::API_VERSION, "kind": "TenantSource", "metadata": { "name": "central" },
        "spec": {
            "url": git.url("/platform/tenants.git"), "credentials": "tenants-git", "branch": "main",
            "path": "in/tenants", "interval": "1s",
        },
    });
    lab.kubectl().apply(&source.to_string()).await.unwrap();
    start(&lab, &scratch.path().join("mirrors")).await;

    let acme = ["tenants.imaas.dev", "acme"];
    let max = |tenant: &Value| tenant["spec"]["limits"]["environments"]["prod"]["max"]["cpu"].clone();
    let push = |path: &str, text: &str| {
        clone.write(path, text).unwrap();
        clone.commit("change").unwrap();
        clone.push("main").unwrap();
    };
    let told = |tenant: &Value| {
        let told = tenant["metadata"]["annotations"]["imaas.dev/source-problem"].as_str();
        told.unwrap_or_default().to_owned()
    };
    until(&lab, &acme, |tenant| max(tenant) == "16").await;

    push("in/limits/acme.yaml", &LIMITS.replace("max: {cpu: 16}", "mx: {cpu: 20}"));
    let kept = until(&lab, &acme, |tenant| !told(tenant).is_empty()).await;
    assert!(
        told(&kept).starts_with("in/limits/acme.yaml:5:25: spec.environments.prod.mx: "),
        "{}",
        told(&kept)
    );
    assert_eq!(max(&kept), "16", "the last good state");
    push("in/limits/acme.yaml", &LIMITS.replace("16", "20"));
    until(&lab, &acme, |tenant| max(tenant) == "20" && told(tenant).is_empty()).await;

    clone.remove("in/limits/acme.yaml").unwrap();
    clone.commit("no limits").unwrap();
    clone.push("main").unwrap();
    let kept = until(&lab, &acme, |tenant| !told(tenant).is_empty()).await;
    assert!(told(&kept).contains("12 is more than 8"), "{}", told(&kept));
    assert_eq!(max(&kept), "20");
    push("in/tenants/acme.yaml", &ACME.replace("12", "8"));
    until(&lab, &acme, |tenant| max(tenant).is_null() && told(tenant).is_empty()).await;
    lab.stop().await.unwrap();
}

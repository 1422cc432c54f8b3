#![expect(clippy::disallowed_types, reason = "IO: a test on a real API server")]
//! Counting and retention on a real registry and a real API server, by the rights of the chart and never more.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use imaas_operator::{
    api::{self, Quantity},
    platform::{Platform, Settings},
    registry::{
        client::{RegistryClient, RegistryEndpoint},
        error::RegistryError,
        logins::Logins,
        quota::StorageBounds,
        retain::Retainer,
        retention::{Mode, Retention},
        survey::Survey,
        sweep::Sweep,
        usages::Usages,
        window::Window,
    },
};
use jiff::{SignedDuration, Timestamp};
use lab::{
    LabOptions, Progress, User, cache,
    helm::Release,
    kubectl::Kubectl,
    process::{Process, free_port, http_status, wait_until},
};
use serde_json::{Value, json};
use url::Url;

use crate::scene::*;

const OPERATOR: &str = "system:serviceaccount:imaas-system:imaas-operator";
const COLLECTOR: &str = "system:serviceaccount:imaas-system:imaas-registry-collect";

/// What the operator's clock is ahead.
static AHEAD: AtomicI64 = AtomicI64::new(0);

fn clock() -> Timestamp {
    now() + SignedDuration::from_hours(AHEAD.load(Ordering::Relaxed))
}

/// Kinds and rights of the chart, the objects of two tenants, and a Deployment that no release explains.
async fn install(lab: &lab::Lab, progress: &Progress) {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/imaas-operator");
    let release = Release {
        name: "imaas",
        namespace: "imaas-system",
        chart: chart.to_str().unwrap(),
        values: &[],
        set: &[
            "registry.host=registry.example.com",
            "registry.auth.realm=https://registry.example.com/token",
            "registry.bundled.enabled=true",
            "registry.bundled.image=images.example.com/distribution:3",
        ],
    };
    let rendered = lab.helm(progress).await.unwrap().template(&release).await.unwrap();
    let kinds = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ConfigMap"];
    let is_wanted =
        |part: &&str| kinds.iter().any(|kind| part.lines().any(|line| line == format!("kind: {kind}")));
    let wanted = rendered.split("\n---").filter(is_wanted).collect::<Vec<_>>().join("\n---\n");
    let crds = json!({ "apiVersion": "v1", "kind": "List", "items": api::crds() });
    let kubectl = lab.kubectl();
    kubectl.apply(&crds.to_string()).await.unwrap();
    for namespace in ["imaas-system", "acme-home", "acme-dev", "beta-home"] {
        kubectl.run(&["create", "namespace", namespace], None).await.unwrap();
        let owner = namespace.split('-').next().unwrap();
        let tenant = format!("imaas.dev/tenant={owner}");
        let labels = [tenant.as_str(), "app.kubernetes.io/managed-by=imaas-operator"];
        if owner != "imaas" {
            kubectl.run(&[&["label", "namespace", namespace], &labels[..]].concat(), None).await.unwrap();
        }
    }
    kubectl.apply(&wanted).await.unwrap();
    for namespace in ["acme-home", "beta-home"] {
        let binding = ["create", "rolebinding", "imaas-operator", "--clusterrole=imaas-operator-tenant"];
        let whom = ["--serviceaccount=imaas-system:imaas-operator", "-n", namespace];
        kubectl.run(&[&binding[..], &whom].concat(), None).await.unwrap();
    }
    kubectl
        .run(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"], None)
        .await
        .unwrap();
    for tenant in ["acme", "beta"] {
        let tenant = json!({
            "apiVersion": "imaas.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": tenant }, "spec": {},
        });
        kubectl.apply(&tenant.to_string()).await.unwrap();
    }
    let service = json!({
        "apiVersion": "imaas.dev/v1alpha1", "kind": "IntegrationService",
        "metadata": { "name": "orders", "namespace": "acme-home" },
        "spec": { "repository": { "url": "https://git.example.com/acme/orders.git" }, "runtime": "container" },
    });
    kubectl.apply(&service.to_string()).await.unwrap();
}

/// A service that was looked at, whose branch is at the commit `head`; another asks for an image that is not let in yet.
async fn look_at_service(kubectl: &Kubectl, asked: &str) {
    let status = json!({ "status": {
        "observedGeneration": 1, "conditions": [],
        "environments": [
            { "name": "dev", "branch": "dev", "commit": "head", "ready": 0, "desired": 0, "waiting": [] },
            { "name": "prod", "branch": "prod", "commit": "c1", "asked": asked, "ready": 0, "desired": 0, "waiting": [] },
        ],
    }});
    let patch = ["patch", "isvc", "orders", "-n", "acme-home", "--subresource=status", "--type=merge", "-p"];
    kubectl.run(&[&patch[..], &[&status.to_string()]].concat(), None).await.unwrap();
}

async fn add_release(kubectl: &Kubectl, digest: &str) {
    let release = json!({
        "apiVersion": "imaas.dev/v1alpha1", "kind": "Release",
        "metadata": { "name": "orders-dev-1", "namespace": "acme-home" },
        "spec": {
            "service": "orders", "environment": "dev", "commit": "c", "buildId": "b", "image": "i", "digest": digest,
            "runtime": "container", "cause": "Commit", "type": "api", "many": true, "strategy": "rolling",
            "replicas": 1, "template": {},
        },
    });
    kubectl.apply(&release.to_string()).await.unwrap();
}

/// It stands in a namespace that the tenant's status does not name, so only the list of all shows it.
async fn add_deployment(kubectl: &Kubectl, digest: &str) {
    let labels = json!({ "app": "stray" });
    let container = json!({ "name": "app", "image": format!("registry.example.com/acme/orders@{digest}") });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "stray", "namespace": "acme-dev", "labels": { "imaas.dev/tenant": "acme" } },
        "spec": {
            "replicas": 0, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        },
    });
    kubectl.apply(&deployment.to_string()).await.unwrap();
}

async fn client(lab: &lab::Lab, user: &str) -> kube::Client {
    let file = lab.user_kubeconfig(user).unwrap();
    let config = kube::config::Kubeconfig::read_from(file).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default())
        .await
        .unwrap();
    kube::Client::try_from(config).unwrap()
}

struct Operator {
    platform: Platform,
    watches: tokio::task::JoinHandle<()>,
}

async fn operator(lab: &lab::Lab) -> Operator {
    let settings = Settings {
        namespace: "imaas-system".into(),
        service_account: "imaas-operator".into(),
        registry_host: "registry.example.com".into(),
        largest_config: 256 << 10,
        runtime_wave: 10,
        interval: Duration::from_mins(1),
        retirement: imaas_operator::retirement::Periods::default(),
        development: true,
    };
    let (platform, background, listed) =
        Platform::observe(client(lab, OPERATOR).await, settings, clock, || 0.5);
    let watches = tokio::spawn(background);
    listed.await;
    Operator { platform, watches }
}

fn sweep(registry: &Lab, operator: &Operator, mode: Mode) -> Sweep {
    let megabytes = |number: u32| Some(Quantity(format!("{number}Mi")));
    Sweep {
        platform: operator.platform.clone(),
        survey: Survey::new(Arc::new(registry.client())),
        usages: Usages::counted(),
        bounds: StorageBounds { default: megabytes(8), max: megabytes(16) },
        retainer: Retainer::new(Retention { mode, after: SignedDuration::from_hours(24) }),
        interval: Duration::from_mins(10),
    }
}

async fn told(kubectl: &Kubectl) -> Value {
    let map = kubectl.get(&["configmap", "imaas-registry-over-quota", "-n", "imaas-system"]).await.unwrap();
    serde_json::from_str(map["data"]["over-quota.json"].as_str().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_needs_is_told_then_deleted_and_who_is_over_quota_is_known() {
    let progress = Progress::silent();
    let groups: &[&str] = &["system:serviceaccounts", "system:serviceaccounts:imaas-system"];
    let users = vec![User::new(OPERATOR, groups), User::new(COLLECTOR, groups)];
    let cluster = lab::Lab::start(LabOptions { users, ..LabOptions::default() }, &progress).await.unwrap();
    install(&cluster, &progress).await;
    let (kubectl, mut registry) = (cluster.kubectl(), Lab::start(&es256()).await);

    for (tag, letter) in [("live", 'a'), ("old", 'b'), ("head", 'c'), ("stray", 'd'), ("main-42", 'g')] {
        let image = format!("acme/orders:{tag}");
        assert_done(&registry.push_layers("acme.push", &image, &[(letter, 1), ('z', 1)]).await);
    }
    assert_done(&registry.push_layers("acme.push", "acme/base:one", &[('e', 1)]).await);
    assert_done(&registry.push_layers("beta.push", "beta/big:one", &[('f', 9)]).await);
    let digest = async |tag: &str| registry.client().digest("acme", "orders", tag).await.unwrap();
    let live = digest("live").await.unwrap();
    add_release(kubectl, live.as_str()).await;
    add_deployment(kubectl, digest("stray").await.unwrap().as_str()).await;

    // Of a service that nobody looked at yet it is not known what it needs.
    let first = operator(&cluster).await;
    let dry = sweep(&registry, &first, Mode::DryRun);
    dry.once().await.unwrap();
    let usage = |sweep: &Sweep, tenant: &str| sweep.usages.of(tenant, None).unwrap();
    let (acme, beta) = (usage(&dry, "acme"), usage(&dry, "beta"));
    assert_eq!((acme.images, acme.repositories, acme.is_over()), (6, 2, false));
    assert_eq!((acme.used.0.as_str(), acme.quota.unwrap().0.as_str()), ("8Mi", "8Mi"));
    assert!(beta.is_over());
    assert_eq!(told(kubectl).await, json!({ "beta": { "used": "10Mi", "quota": "8Mi" } }));
    look_at_service(kubectl, digest("main-42").await.unwrap().as_str()).await;
    first.watches.abort();

    // The dry run remembers, and says after the time what it would delete.
    let second = operator(&cluster).await;
    let dry = sweep(&registry, &second, Mode::DryRun);
    dry.once().await.unwrap();
    assert_eq!(usage(&dry, "acme").removable.unwrap().0, "0Mi", "nothing at first sight");
    let record = ["configmap", "imaas-registry-unneeded", "-n", "acme-home"];
    let version = kubectl.get(&record).await.unwrap()["metadata"]["resourceVersion"].clone();
    dry.once().await.unwrap();
    assert_eq!(
        kubectl.get(&record).await.unwrap()["metadata"]["resourceVersion"],
        version,
        "no second write"
    );
    AHEAD.store(26, Ordering::Relaxed);
    second.watches.abort();
    let third = operator(&cluster).await;
    let dry = sweep(&registry, &third, Mode::DryRun);
    dry.once().await.unwrap();
    assert_eq!(usage(&dry, "acme").removable.unwrap().0, "3Mi", "layers b and d, a restart later");
    assert!(digest("old").await.is_some(), "a dry run deletes nothing");

    // Deleted is what the API server knows of no need for, whatever the watches show.
    let delete = sweep(&registry, &third, Mode::Delete);
    delete.once().await.unwrap();
    assert_eq!(digest("old").await, None);
    for tag in ["live", "head", "stray", "main-42"] {
        let image = registry.image(&format!("acme/orders:{tag}"));
        assert_done(&registry.crane("acme.pull", &["validate", "--remote", &image]).await);
    }
    assert!(
        registry.client().digest("acme", "base", "one").await.unwrap().is_some(),
        "no service's repository"
    );
    delete.once().await.unwrap();
    assert_eq!(usage(&delete, "acme").images, 5);

    // More room, and beta is let again.
    let roomy =
        Sweep { bounds: StorageBounds { default: Some(Quantity("1Gi".into())), max: None }, ..delete };
    roomy.once().await.unwrap();
    assert_eq!(told(kubectl).await, json!({}));
    window_opens_and_closes(&cluster).await;
    an_external_registry_is_read_with_the_secret_of_the_home(&cluster, &third, &mut registry).await;
}

/// One that wants passwords, with a prefix before the tenants.
async fn an_external_registry_is_read_with_the_secret_of_the_home(
    cluster: &lab::Lab,
    operator: &Operator,
    registry: &mut Lab,
) {
    registry.registry = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let _external = start_basic_registry(registry.dir.path(), registry.registry).await;
    let login = Some(("jo", "the password"));
    let layer = registry.layer("external");
    let image = registry.image("team/imaas/acme/orders:one");
    let append = ["append", "--new_layer", layer.to_str().unwrap(), "--new_tag", &image];
    assert_done(&registry.crane_as(login, &append).await);
    let seen = assert_done(&registry.crane_as(login, &["digest", &image]).await);

    let host = registry.registry.to_string();
    let url: Url = format!("http://{host}").parse().unwrap();
    let endpoint = RegistryEndpoint { realm: url.clone(), url, ca: None, development: true };
    let logins = Logins::Secrets { cluster: operator.platform.cluster.clone(), host: host.clone() };
    let client = RegistryClient::external(endpoint, logins, "team/imaas").unwrap();
    let error = client.digest("acme", "orders", "one").await.unwrap_err();
    assert!(matches!(error, RegistryError::NoLogin { .. }), "{error}");
    for (password, is_right) in [("wrong", false), ("the password", true)] {
        let secret = ["create", "secret", "docker-registry", "imaas-registry-pull", "-n", "acme-home"];
        let (server, password) = (format!("--docker-server={host}"), format!("--docker-password={password}"));
        let login = [server.as_str(), "--docker-username=jo", &password];
        cluster.kubectl().run(&[&secret[..], &login].concat(), None).await.unwrap();
        let answer = client.digest("acme", "orders", "one").await;
        if is_right {
            assert_eq!(answer.unwrap().unwrap().as_str(), seen);
            assert_eq!(client.digest("acme", "orders", "two").await.unwrap(), None);
        } else {
            assert!(matches!(answer, Err(RegistryError::Refused { status: 401, .. })), "{answer:?}");
        }
        let secret = ["secret", "imaas-registry-pull", "-n", "acme-home"];
        cluster.kubectl().delete(&secret, Duration::from_secs(10)).await.unwrap();
    }
}

async fn start_basic_registry(dir: &Path, address: SocketAddr) -> Process {
    let (file, passwords) = (dir.join("external.yaml"), dir.join("htpasswd"));
    // Of "the password", at the lowest cost.
    std::fs::write(&passwords, "jo:$2b$04$u.aDmok3CRDf6oDHkADhrOK3RNY6CLN2J28DObvbidSz5KRVnphKa\n").unwrap();
    let config = json!({
        "version": "0.1", "storage": {"filesystem": {"rootdirectory": dir.join("external")}},
        "http": {"addr": address.to_string(), "secret": "of the tests"},
        "auth": {"htpasswd": {"realm": "external", "path": passwords}},
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let program = cache::binary_async("registry", &Progress::silent()).await.unwrap();
    let mut command = std::process::Command::new(program);
    command.arg("serve").arg(&file).env("OTEL_TRACES_EXPORTER", "none");
    let process = Process::spawn("registry", &command, &dir.join("external.log")).unwrap();
    let ready = || async { http_status(address, "/v2/").await == Some(401) };
    wait_until("registry", Duration::from_secs(20), &[&process], ready).await.unwrap();
    process
}

/// Without a pod, the Deployment's own controller says that none is left to replace.
async fn window_opens_and_closes(cluster: &lab::Lab) {
    let kubectl = cluster.kubectl();
    let labels = json!({ "app": "registry" });
    let env = json!([{ "name": "OTHER", "value": "stays" }]);
    let container = json!({ "name": "registry", "image": "images.example.com/distribution:3", "env": env });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "imaas-registry", "namespace": "imaas-system" },
        "spec": {
            "replicas": 0, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        },
    });
    kubectl.apply(&deployment.to_string()).await.unwrap();
    let variables = async || {
        let live = kubectl.get(&["deployment", "imaas-registry", "-n", "imaas-system"]).await.unwrap();
        let variables = live["spec"]["template"]["spec"]["containers"][0]["env"].clone();
        let map =
            kubectl.get(&["configmap", "imaas-registry-over-quota", "-n", "imaas-system"]).await.unwrap();
        (variables.as_array().cloned().unwrap_or_default(), map["data"].clone())
    };
    let before = variables().await;
    let window = Window {
        namespace: "imaas-system".into(),
        deployment: "imaas-registry".into(),
        container: "registry".into(),
        deadline: Duration::from_secs(30),
    };
    let client = client(cluster, COLLECTOR).await;
    // Opened twice: a run that crashed in the window, and the next.
    for _ in 0..2 {
        window.open(&client).await.unwrap();
        let (variables, told) = variables().await;
        assert_eq!(variables.len(), 2);
        let set =
            variables.iter().find(|one| one["name"] == "REGISTRY_STORAGE_MAINTENANCE_READONLY").unwrap();
        assert_eq!(set["value"], "{\"enabled\": true}");
        assert_eq!((&told["read-only"], &told["over-quota.json"]), (&json!("true"), &json!("{}")));
    }
    window.close(&client).await.unwrap();
    assert_eq!(variables().await, before, "all that was set is taken back, and nothing else");
    let late = Window { deadline: Duration::ZERO, ..window };
    kubectl
        .run(&["scale", "deployment", "imaas-registry", "-n", "imaas-system", "--replicas=1"], None)
        .await
        .unwrap();
    late.open(&client).await.unwrap_err();
    assert_eq!(variables().await, before, "what does not succeed is taken back");
}

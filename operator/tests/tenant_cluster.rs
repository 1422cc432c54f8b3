#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test: says what it waits for")]
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "IO: a test on a real API server")]
//! A tenant on a real API server, by the rights and under the policies of the chart and never more.

#[path = "tenant_cluster/scene.rs"]
mod scene;

use std::{path::PathBuf, sync::Arc, time::Duration};

use imaas_operator::{
    environment,
    health::Health,
    platform::{Platform, Settings},
    policies::{self, Policies},
    registry::{accounts::AccountKey, generations::Issued, usages::Usages},
    tenant,
};
use lab::{Lab, LabOptions, Progress, User};
use scene::{OPERATOR, install, reason, until};
use serde_json::Value;

const PLATFORM: &str = r"
apiVersion: imaas.dev/v1alpha1
kind: Environment
metadata: {name: dev}
spec: {default: true}
---
apiVersion: imaas.dev/v1alpha1
kind: Environment
metadata: {name: prod}
spec: {default: true, promotesFrom: dev, roles: {developer: viewer}}
---
apiVersion: v1
kind: Namespace
metadata: {name: beta-dev}
";

const ACME: &str = r#"
apiVersion: imaas.dev/v1alpha1
kind: Tenant
metadata: {name: acme}
spec:
  members: [{kind: User, name: jo, role: owner}]
  services:
    - {name: orders, repository: {url: "https://git.example.com/acme/orders.git"}, runtime: container}
"#;

const BETA: &str = "{apiVersion: imaas.dev/v1alpha1, kind: Tenant, metadata: {name: beta}, spec: {}}";

/// The stages of this page, as the operator's ServiceAccount; without generations, the registry is somebody else's.
async fn start(
    lab: &Lab,
    generations: impl Into<Option<&str>>,
) -> (Health, Vec<tokio::task::JoinHandle<()>>) {
    let file: PathBuf = lab.user_kubeconfig(OPERATOR).unwrap();
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
        retirement: imaas_operator::retirement::Periods::default(),
        development: true,
    };
    let client = kube::Client::try_from(config).unwrap();
    let (platform, background, listed) =
        Platform::observe(client, settings.clone(), jiff::Timestamp::now, || 0.5);
    let mut tasks = vec![tokio::spawn(background)];
    listed.await;
    let cluster = platform.cluster.clone();
    let health = Health::default();
    let policies = Policies::new(health.clone());
    let issued =
        |text: &str| Issued { key: AccountKey::new([7; 32]).unwrap(), generations: text.parse().unwrap() };
    let logins = generations.into().map(issued);
    let registry = tenant::Registry { logins, usages: Usages::counted(), images: None };
    let ctx = Arc::new(tenant::Context::new(platform.clone(), policies.clone(), registry));
    tasks.push(tokio::spawn(tenant::run(ctx, std::future::pending())));
    tasks.push(tokio::spawn(environment::run(platform, std::future::pending())));
    tasks.push(tokio::spawn(policies.run(cluster, settings, std::future::pending())));
    (health, tasks)
}

/// kind/namespace/name → resourceVersion of everything that the operator wrote, and of what it wrote about.
async fn versions(lab: &Lab) -> Vec<String> {
    let kinds = "namespaces,resourcequotas,limitranges,networkpolicies,rolebindings,clusterroles,clusterrolebindings,secrets,tenants.imaas.dev,environments.imaas.dev,integrationservices.imaas.dev";
    let list = lab.kubectl().get(&[kinds, "-A"]).await.unwrap();
    let mut versions: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["metadata"]["namespace"] != "kube-system")
        .map(|item| {
            let metadata = &item["metadata"];
            format!(
                "{} {} {} {}",
                item["kind"], metadata["namespace"], metadata["name"], metadata["resourceVersion"]
            )
        })
        .collect();
    versions.sort();
    versions
}

/// Also where the tenant left, where the Environment is not valid, and where the tenant itself is not.
async fn members_follow_the_file_everywhere(lab: &Lab) {
    let kubectl = lab.kubectl();
    let owner_is = async |name: &str, namespaces: &[&str]| {
        for namespace in namespaces {
            until(lab, &["rolebinding", "imaas-owner", "-n", namespace], |binding| {
                binding["subjects"].as_array().is_some_and(|all| all.len() == 1 && all[0]["name"] == name)
            })
            .await;
        }
    };
    let with = |owner: &str, environments: &str| {
        ACME.replace("name: jo", &format!("name: {owner}"))
            .replace("spec:", &format!("spec:\n  environments: {environments}"))
    };
    owner_is("jo", &["acme-home", "acme-dev", "acme-prod"]).await;
    kubectl.apply(&with("kim", "{prod: {omit: true}}")).await.unwrap();
    owner_is("kim", &["acme-home", "acme-dev", "acme-prod"]).await;

    kubectl.apply(&PLATFORM.replacen("default: true", "default: true, promotesFrom: gone", 1)).await.unwrap();
    until(lab, &["environments.imaas.dev", "dev"], |object| reason(object) == "Invalid").await;
    kubectl.apply(&with("lee", "{prod: {omit: true}}")).await.unwrap();
    owner_is("lee", &["acme-dev", "acme-prod"]).await;

    kubectl.apply(PLATFORM).await.unwrap();
    kubectl.apply(&with("max", "{dev: {quota: {cpu: '0'}}}")).await.unwrap();
    owner_is("max", &["acme-home", "acme-dev", "acme-prod"]).await;
    until(lab, &["clusterrolebinding", "imaas-tenant-own-acme"], |binding| {
        binding["subjects"].as_array().is_some_and(|all| all.len() == 1 && all[0]["name"] == "max")
    })
    .await;
    until(lab, &["tenants.imaas.dev", "acme"], |tenant| reason(tenant) == "Invalid").await;

    kubectl.apply(ACME).await.unwrap();
    owner_is("jo", &["acme-home", "acme-dev", "acme-prod"]).await;
    until(lab, &["tenants.imaas.dev", "acme"], |tenant| reason(tenant) == "Succeeded").await;
}

/// The platform lowers what a tenant has: it gets what there is, is told, and the rest of it goes on. Its limits give more
/// again.
async fn a_lowered_max_bounds_the_quota_and_holds_up_nothing_else(lab: &Lab) {
    let kubectl = lab.kubectl();
    let with = |limits: &str, service: &str| {
        ACME.replace(
            "spec:",
            &format!("spec:\n  environments: {{dev: {{quota: {{cpu: '3'}}}}}}\n  limits: {limits}"),
        )
        .replace("name: orders", &format!("name: {service}"))
    };
    let cpu_is = async |cpu: &str| {
        until(lab, &["resourcequota", "imaas", "-n", "acme-dev"], |quota| {
            quota["spec"]["hard"]["requests.cpu"] == cpu
        })
        .await;
    };
    kubectl.apply(&with("{}", "orders")).await.unwrap();
    cpu_is("3").await;
    let lowered = "default: true, quota: {default: {cpu: '1'}, max: {cpu: '2'}}";
    kubectl.apply(&PLATFORM.replacen("default: true", lowered, 1)).await.unwrap();
    cpu_is("2").await;
    let acme = until(lab, &["tenants.imaas.dev", "acme"], |tenant| reason(tenant) == "QuotaTooLarge").await;
    let told = acme["status"]["conditions"].to_string();
    assert!(told.contains("spec.environments.dev.quota.cpu: 3 is more than 2"), "{told}");
    kubectl.apply(&with("{}", "billing")).await.unwrap();
    until(lab, &["integrationservices.imaas.dev", "billing", "-n", "acme-home"], |_| true).await;

    kubectl.apply(&with("{environments: {dev: {max: {cpu: '3'}}}}", "billing")).await.unwrap();
    cpu_is("3").await;
    until(lab, &["tenants.imaas.dev", "acme"], |tenant| reason(tenant) == "Succeeded").await;
    kubectl.apply(PLATFORM).await.unwrap();
    kubectl.apply(ACME).await.unwrap();
    cpu_is("4").await;
}

/// A rotation goes on when no Secret says the old generation any more.
async fn another_generation_reaches_every_secret(lab: &Lab) {
    let secrets = [
        ["secret", "imaas-registry-push", "-n", "acme-home"],
        ["secret", "imaas-registry-pull", "-n", "acme-dev"],
        ["secret", "imaas-registry-pull", "-n", "acme-prod"],
    ];
    let generation =
        |secret: &Value| secret["metadata"]["annotations"]["imaas.dev/registry-generation"].clone();
    let mut before = Vec::new();
    for secret in &secrets {
        before.push(lab.kubectl().get(secret).await.unwrap());
    }
    assert!(before.iter().all(|secret| generation(secret) == "1"));
    let (_, tasks) = start(lab, "2").await;
    for (secret, before) in secrets.iter().zip(before) {
        let after = until(lab, secret, |secret| generation(secret) == "2").await;
        assert_ne!(after["data"], before["data"]);
        assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"], "pods name it: it never goes");
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Told on the tenant; what does not need that Environment is repaired and changed as ever.
async fn a_deleted_environment_holds_up_nothing_else(lab: &Lab) {
    let kubectl = lab.kubectl();
    kubectl.apply(&ACME.replace("spec:", "spec:\n  environments: {prod: {}}")).await.unwrap();
    kubectl.run(&["delete", "environments.imaas.dev", "prod"], None).await.unwrap();
    let acme =
        until(lab, &["tenants.imaas.dev", "acme"], |tenant| reason(tenant) == "EnvironmentMissing").await;
    let published = acme["status"]["environments"].as_array().unwrap();
    assert_eq!(published.iter().map(|e| &e["name"]).collect::<Vec<_>>(), ["dev", "prod"]);

    kubectl.run(&["delete", "networkpolicy", "imaas-default-deny", "-n", "acme-dev"], None).await.unwrap();
    until(lab, &["networkpolicy", "imaas-default-deny", "-n", "acme-dev"], |_| true).await;
    kubectl.get(&["resourcequota", "imaas", "-n", "acme-prod"]).await.unwrap();

    kubectl.apply(PLATFORM).await.unwrap();
    kubectl.apply(ACME).await.unwrap();
    until(lab, &["tenants.imaas.dev", "acme"], |tenant| reason(tenant) == "Succeeded").await;
}

/// Told where it is named; tenants go on.
async fn a_priority_that_is_not_there_is_told_on_its_environment(lab: &Lab) {
    let (kubectl, dev) = (lab.kubectl(), ["environments.imaas.dev", "dev"]);
    kubectl
        .apply(&PLATFORM.replacen("default: true", "default: true, priorityClass: production", 1))
        .await
        .unwrap();
    let told = until(lab, &dev, |dev| reason(dev) == "Invalid").await["status"]["conditions"].to_string();
    assert!(told.contains("spec.priorityClass: there is no PriorityClass production"), "{told}");
    assert_eq!(reason(&kubectl.get(&["tenants.imaas.dev", "acme"]).await.unwrap()), "Succeeded");
    kubectl
        .apply("{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: production}, value: 1000}")
        .await
        .unwrap();
    until(lab, &dev, |dev| reason(dev) == "Succeeded").await;
    kubectl.apply(PLATFORM).await.unwrap();
}

/// With an external registry no login is given out; what the platform has to provide is told by name.
async fn the_secrets_of_an_external_registry_are_awaited(lab: &Lab) {
    let (_, tasks) = start(lab, None).await;
    let (kubectl, tenant) = (lab.kubectl(), ["tenants.imaas.dev", "gamma"]);
    kubectl.apply(&BETA.replace("beta", "gamma")).await.unwrap();
    // A namespace whose rights are a moment old is told of in a later pass.
    let namespaces = ["gamma-home", "gamma-dev", "gamma-prod"];
    let gamma = until(lab, &tenant, |tenant| {
        let message = tenant["status"]["conditions"][1]["message"].as_str().unwrap_or_default();
        let told = |namespace| {
            let wanted =
                format!("Secret imaas-registry-pull is missing in {namespace}: the registry is external");
            message.contains(&wanted)
        };
        reason(tenant) == "SecretMissing" && namespaces.into_iter().all(told)
    })
    .await;
    for namespace in namespaces {
        let secret = ["create", "secret", "docker-registry", "imaas-registry-pull", "-n", namespace];
        let login = ["--docker-server=registry.example.com", "--docker-username=x", "--docker-password=x"];
        kubectl.run(&[&secret[..], &login].concat(), None).await.unwrap();
    }
    assert_eq!(
        gamma["status"]["environments"].as_array().unwrap().len(),
        2,
        "its services may run meanwhile"
    );
    let look = ["annotate", "tn", "gamma", "imaas.dev/reconcile-requested=now"];
    kubectl.run(&look, None).await.unwrap();
    until(lab, &tenant, |tenant| reason(tenant) == "Succeeded").await;
    assert!(kubectl.get(&["secret", "imaas-registry-push", "-n", "gamma-home"]).await.is_err());
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_gets_its_space_by_the_charts_rights_alone() {
    let progress = Progress::new(|line| println!("{line}"));
    let users = vec![User::new(OPERATOR, &["system:serviceaccounts", "system:serviceaccounts:imaas-system"])];
    let lab = Lab::start(LabOptions { users, ..LabOptions::default() }, &progress).await.unwrap();
    install(&lab, &progress, PLATFORM).await;
    let (health, tasks) = start(&lab, "1").await;
    let kubectl = lab.kubectl();

    // Without policies nothing is made, and both the tenant and readiness say why.
    kubectl.apply(ACME).await.unwrap();
    until(&lab, &["tenants.imaas.dev", "acme"], |tenant| reason(tenant) == "PoliciesMissing").await;
    assert!(!health.is_open(policies::GATE));
    assert!(kubectl.get(&["namespace", "acme-home"]).await.is_err());

    let rules = std::fs::read_to_string(lab.data_dir().join("policies.yaml")).unwrap();
    kubectl.apply(&rules).await.unwrap();
    until(&lab, &["tenants.imaas.dev", "acme"], |tenant| reason(tenant) == "Succeeded").await;
    assert!(health.is_open(policies::GATE));
    let service = kubectl.get(&["integrationservices.imaas.dev", "orders", "-n", "acme-home"]).await.unwrap();
    assert_eq!(service["metadata"]["labels"]["imaas.dev/tenant"], "acme");
    for environment in ["dev", "prod"] {
        until(&lab, &["environments.imaas.dev", environment], |object| reason(object) == "Succeeded").await;
    }

    // A foreign namespace is not touched, and the rest of that tenant is made.
    let foreign = kubectl.get(&["namespace", "beta-dev"]).await.unwrap();
    kubectl.apply(BETA).await.unwrap();
    let beta =
        until(&lab, &["tenants.imaas.dev", "beta"], |tenant| reason(tenant) == "NamespaceForeign").await;
    let published = beta["status"]["environments"].as_array().unwrap();
    assert_eq!(published.iter().map(|e| &e["namespace"]).collect::<Vec<_>>(), ["beta-prod"]);
    kubectl.get(&["resourcequota", "imaas", "-n", "beta-prod"]).await.unwrap();
    let after = kubectl.get(&["namespace", "beta-dev"]).await.unwrap();
    assert_eq!(after["metadata"]["resourceVersion"], foreign["metadata"]["resourceVersion"]);
    assert!(kubectl.get(&["resourcequota", "imaas", "-n", "beta-dev"]).await.is_err());

    members_follow_the_file_everywhere(&lab).await;
    a_priority_that_is_not_there_is_told_on_its_environment(&lab).await;
    a_deleted_environment_holds_up_nothing_else(&lab).await;
    a_lowered_max_bounds_the_quota_and_holds_up_nothing_else(&lab).await;

    // What somebody removes or edits comes back.
    kubectl.run(&["delete", "networkpolicy", "imaas-default-deny", "-n", "acme-dev"], None).await.unwrap();
    until(&lab, &["networkpolicy", "imaas-default-deny", "-n", "acme-dev"], |_| true).await;
    let privileged = "pod-security.kubernetes.io/enforce=privileged";
    kubectl.run(&["label", "--overwrite", "namespace", "acme-dev", privileged], None).await.unwrap();
    until(&lab, &["namespace", "acme-dev"], |namespace| {
        namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    })
    .await;

    // A restart changes nothing.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = versions(&lab).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let (_, tasks) = start(&lab, "1").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(versions(&lab).await, before);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    another_generation_reaches_every_secret(&lab).await;
    the_secrets_of_an_external_registry_are_awaited(&lab).await;
    lab.stop().await.unwrap();
}

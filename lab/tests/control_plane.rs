//! A lab without pods: starts in seconds, several at once, nothing stays.
#![expect(clippy::print_stdout, reason = "a test: says what is built")]
use std::{path::Path, time::Duration};

use lab::{Lab, LabOptions, Nodes, Progress, SIMULATED_NODE, User, helm::Release, process::wait_until};

fn progress() -> Progress {
    Progress::new(|line| println!("{line}"))
}

fn is_running(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[tokio::test]
async fn two_labs_at_once_do_not_see_each_other_and_leave_nothing() {
    let progress = progress();
    let (first, second) = tokio::join!(
        Lab::start(LabOptions::default(), &progress),
        Lab::start(LabOptions::default(), &progress)
    );
    let (first, second) = (first.unwrap(), second.unwrap());

    first.kubectl().run(&["create", "namespace", "acme"], None).await.unwrap();
    let children = first.processes();
    wait_until("its default service account", Duration::from_secs(10), &children, || async {
        first.kubectl().get(&["serviceaccount", "default", "-n", "acme"]).await.is_ok()
    })
    .await
    .unwrap();
    assert!(second.kubectl().get(&["namespace", "acme"]).await.is_err());

    let pids: Vec<u32> =
        first.processes().iter().chain(&second.processes()).map(|child| child.pid()).collect();
    assert!(pids.iter().copied().all(is_running));
    let folders = [first.data_dir().to_owned(), second.data_dir().to_owned()];
    first.stop().await.unwrap();
    drop(second);
    assert!(!pids.iter().copied().any(is_running));
    assert!(!folders.iter().any(|folder| folder.exists()));
}

#[tokio::test]
async fn a_user_is_known_by_name_and_groups_and_may_do_nothing_yet() {
    let users = vec![User::new("alice@acme.example", &["acme:developers", "everyone"])];
    let lab = Lab::start(LabOptions { users, ..LabOptions::default() }, &progress()).await.unwrap();

    let alice = lab.kubectl_as("alice@acme.example").unwrap();
    let who = alice.run(&["auth", "whoami", "-o", "json"], None).await.unwrap();
    let who: serde_json::Value = serde_json::from_str(&who).unwrap();
    assert_eq!(who["status"]["userInfo"]["username"], "alice@acme.example");
    assert_eq!(who["status"]["userInfo"]["groups"][0], "acme:developers");
    assert_eq!(who["status"]["userInfo"]["groups"][1], "everyone");
    let refused = alice.get(&["secrets", "-n", "default"]).await.unwrap_err().to_string();
    assert!(refused.contains("forbidden"), "{refused}");
    assert!(lab.kubectl_as("mallory").is_err());
    lab.stop().await.unwrap();
}

#[tokio::test]
async fn an_admission_policy_is_enforced_and_the_version_is_reported() {
    let lab = Lab::start(LabOptions::default(), &progress()).await.unwrap();
    let version = lab.kubectl().run(&["version", "-o", "json"], None).await.unwrap();
    let version: serde_json::Value = serde_json::from_str(&version).unwrap();
    assert_eq!(version["serverVersion"]["gitVersion"], lab::cache::KUBERNETES_VERSION);

    lab.kubectl().apply(include_str!("no-config-maps.yaml")).await.unwrap();
    let children = lab.processes();
    // A policy takes effect a moment after it was accepted.
    wait_until("the policy", Duration::from_secs(20), &children, || async {
        let made = lab.kubectl().run(&["create", "configmap", "forbidden", "--dry-run=server"], None).await;
        made.is_err_and(|error| error.to_string().contains("no config maps here"))
    })
    .await
    .unwrap();
    lab.stop().await.unwrap();
}

#[tokio::test]
async fn helm_installs_and_uninstalls_and_says_why_it_cannot() {
    let lab = Lab::start(LabOptions::default(), &progress()).await.unwrap();
    let helm = lab.helm(&progress()).await.unwrap();
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart");
    let release =
        Release { name: "hello", namespace: "charts", chart, values: &[], set: &["greeting=good evening"] };
    let manifests = helm.template(&release).await.unwrap();
    assert!(manifests.contains("good evening") && manifests.contains("kubernetes: v1.34"), "{manifests}");

    helm.install(&release, Some(Duration::from_secs(20))).await.unwrap();
    let config_map = lab.kubectl().get(&["configmap", "hello", "-n", "charts"]).await.unwrap();
    assert_eq!(config_map["data"]["greeting"], "good evening");

    let refused =
        helm.install(&Release { set: &["greeting="], ..release }, None).await.unwrap_err().to_string();
    assert!(refused.contains("a greeting is needed"), "{refused}");

    helm.uninstall("hello", "charts", Duration::from_secs(20)).await.unwrap();
    assert!(lab.kubectl().get(&["configmap", "hello", "-n", "charts"]).await.is_err());
    lab.stop().await.unwrap();
}

#[tokio::test]
async fn simulated_pods_turn_ready_and_go_and_their_node_says_what_it_is() {
    let lab = Lab::start(LabOptions { nodes: Nodes::Simulated, ..LabOptions::default() }, &progress())
        .await
        .unwrap();
    let (kubectl, patience) = (lab.kubectl(), Duration::from_mins(1));
    kubectl
        .run(&["create", "deployment", "echo", "--image=nowhere.example/none", "--replicas=3"], None)
        .await
        .unwrap();
    kubectl.rollout("default", "deployment/echo", patience).await.unwrap();
    let pods = kubectl.get(&["pods", "-l", "app=echo"]).await.unwrap();
    let pods = pods["items"].as_array().unwrap();
    assert_eq!(pods.len(), 3);
    assert!(
        pods.iter()
            .all(|pod| pod["spec"]["nodeName"] == SIMULATED_NODE && pod["status"]["podIP"].is_string())
    );

    kubectl.delete(&["deployment", "echo", "--cascade=foreground"], patience).await.unwrap();
    assert_eq!(
        kubectl.get(&["pods", "-l", "app=echo"]).await.unwrap()["items"].as_array().map(Vec::len),
        Some(0)
    );
    lab.stop().await.unwrap();
}

#[tokio::test]
async fn requests_of_an_audited_user_are_written_down_and_nobody_elses() {
    let options = LabOptions {
        users: vec![User::new("alice", &["system:masters"])],
        audited: vec!["alice".to_owned()],
        ..LabOptions::default()
    };
    let lab = Lab::start(options, &progress()).await.unwrap();
    lab.kubectl().run(&["create", "namespace", "unseen"], None).await.unwrap();
    lab.kubectl_as("alice").unwrap().run(&["create", "namespace", "seen"], None).await.unwrap();
    let log = std::fs::read_to_string(lab.audit_log()).unwrap();
    assert!(log.contains("/api/v1/namespaces?") && log.contains("\"name\":\"seen\""), "{log}");
    assert!(!log.contains("unseen"), "{log}");
    lab.stop().await.unwrap();
}

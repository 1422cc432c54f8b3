//! The samples' images as pods, under the restrictions that the operator puts on every tenant.
#![cfg(target_os = "linux")]

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use lab::{
    Lab, LabOptions, Progress, camel,
    image::{self, Pusher},
    process,
    registry::Registry,
};

/// The name that nodes pull by; the address behind it is the lab's.
const REGISTRY: &str = "registry.imaas.lab:5000";

fn deployment(name: &str, image: &str, (path, port): (&str, u16)) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: acme-dev}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      automountServiceAccountToken: false
      securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
        - name: main
          image: {image}
          readinessProbe: {{httpGet: {{path: {path}, port: {port}}}, periodSeconds: 1}}
          resources: {{limits: {{memory: 256Mi}}}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {{drop: [ALL]}}
          volumeMounts: [{{name: tmp, mountPath: /tmp}}]
      volumes: [{{name: tmp, emptyDir: {{}}}}]
---
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_run_restricted_with_a_read_only_root() {
    if !lab::may_run_pods("sample_pods") {
        return;
    }
    let progress = Progress::new(|line| println!("{line}"));
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/services");
    let orders = camel::image(&services.join("orders"), &progress).unwrap();
    let inventory = image::go_image(&services.join("inventory"), "inventory", &[8080]).unwrap();

    let lab = Lab::start(LabOptions::real(), &progress).await.unwrap();
    let address = (lab.host_ip(), 5000).into();
    let registry = Registry::start(&lab.data_dir().join("registry"), address, None, &progress).await.unwrap();
    let endpoint = registry.endpoint();
    lab.node().unwrap().trust_registry(REGISTRY, &format!("http://{endpoint}")).unwrap();
    let pusher = Pusher::new(&endpoint, None, &progress).unwrap();
    let orders = pusher.push(&orders, "acme/orders", "1").unwrap();
    let inventory = pusher.push(&inventory, "acme/inventory", "1").unwrap();

    let namespace = "apiVersion: v1
kind: Namespace
metadata: {name: acme-dev, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
";
    let orders = format!("{REGISTRY}/acme/orders@{orders}");
    let inventory = format!("{REGISTRY}/acme/inventory@{inventory}");
    let documents = [
        namespace.to_owned(),
        deployment("orders", &orders, ("/observe/health/ready", 9876)),
        deployment("inventory", &inventory, ("/healthz", 8080)),
    ];
    let began = Instant::now();
    lab.kubectl().apply(&documents.concat()).await.unwrap();
    for (name, expected) in [
        ("inventory", r#""version":"1""#),
        ("orders", r#""version": "1", "greeting": "greetings from the image""#),
    ] {
        let deadline = Duration::from_mins(2);
        lab.kubectl().rollout("acme-dev", &format!("deployment/{name}"), deadline).await.unwrap();
        println!("{name} is ready after {:.1} s", began.elapsed().as_secs_f64());
        let selector = format!("--selector=app={name}");
        let pods = lab.kubectl().get(&["pods", "--namespace=acme-dev", &selector]).await.unwrap();
        let ip = pods["items"][0]["status"]["podIP"].as_str().unwrap();
        let mut curl = Command::new("curl");
        let answer =
            process::run(curl.args(["--silent", "--fail", &format!("http://{ip}:8080/{name}")])).unwrap();
        assert!(answer.contains(expected), "{answer}");
    }
    let log = lab.kubectl().run(&["logs", "--namespace=acme-dev", "deployment/orders"], None).await.unwrap();
    assert!(log.contains("started in") && !log.contains("Unable to use shared archive"), "{log}");
    registry.stop().await;
    lab.stop().await.unwrap();
}

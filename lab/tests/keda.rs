//! KEDA asks a real broker how many messages wait, and instances follow.
#![expect(clippy::unwrap_used, reason = "a test: its helpers too")]
use std::{process::Command, time::Duration};

use lab::{
    Lab, LabOptions, Nodes, Progress,
    keda::{self, Keda},
    process,
    rabbitmq::RabbitMq,
};

fn objects(broker: &RabbitMq) -> String {
    let (user, password) = RabbitMq::ACCOUNT;
    let address = broker.amqp();
    format!(
        r#"
apiVersion: v1
kind: Secret
metadata: {{name: orders-events, namespace: default}}
stringData: {{host: "amqp://{user}:{password}@{address}/%2f"}}
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata: {{name: orders, namespace: default}}
spec: {{secretTargetRef: [{{parameter: host, name: orders-events, key: host}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: orders, namespace: default}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: orders}}}}
  template:
    metadata: {{labels: {{app: orders}}}}
    spec: {{containers: [{{name: main, image: none.example/orders}}]}}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: orders, namespace: default}}
spec:
  scaleTargetRef: {{name: orders}}
  pollingInterval: 1
  minReplicaCount: 0
  maxReplicaCount: 3
  triggers:
    - type: rabbitmq
      metadata: {{queueName: orders, mode: QueueLength, value: "2", protocol: amqp}}
      authenticationRef: {{name: orders}}
"#
    )
}

/// Asks the broker's management API, as its account.
fn ask(broker: &RabbitMq, (method, path, body): (&str, &str, &str)) {
    let (user, password) = RabbitMq::ACCOUNT;
    let url = format!("http://{}{path}", broker.management());
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--user", &format!("{user}:{password}"), "--request", method]);
    curl.args(["--header", "content-type: application/json", "--data", body, &url]);
    process::run(&mut curl).unwrap();
}

#[tokio::test]
async fn instances_follow_what_waits_in_a_queue() {
    if !lab::may_run_pods("instances_follow_what_waits_in_a_queue") {
        return;
    }
    let progress = Progress::new(|line| println!("{line}"));
    // An API of the cluster may not be served at a loopback address.
    let options = LabOptions { nodes: Nodes::Real, wait: Duration::from_mins(10), ..LabOptions::default() };
    let lab = Lab::start(options, &progress).await.unwrap();
    keda::install_kinds(lab.kubectl(), &progress).await.unwrap();
    let broker = RabbitMq::start(&lab, &progress).await.unwrap();
    let keda = Keda::start(&lab, &progress).await.unwrap();
    ask(&broker, ("PUT", "/api/queues/%2f/orders", r#"{"durable": true}"#));
    lab.kubectl().apply(&objects(&broker)).await.unwrap();
    let number = async || {
        let found = lab.kubectl().get(&["deployment", "orders"]).await.unwrap();
        found["spec"]["replicas"].as_i64().unwrap()
    };
    let ready = ["scaledobject/orders", "--for=condition=Ready", "--timeout=60s"];
    lab.kubectl().run(&[&["wait"], &ready[..]].concat(), None).await.unwrap();
    assert_eq!(number().await, 0, "nothing waits");
    let message =
        r#"{"properties": {}, "routing_key": "orders", "payload": "one", "payload_encoding": "string"}"#;
    for _ in 0..6 {
        ask(&broker, ("POST", "/api/exchanges/%2f/amq.default/publish", message));
    }
    process::wait_until("3 instances of 6 messages", Duration::from_mins(2), &[], async || {
        number().await == 3
    })
    .await
    .unwrap();
    // Whoever asks as its autoscaler does is told the same, under the name that its status has.
    let object = lab.kubectl().get(&["scaledobject", "orders"]).await.unwrap();
    assert_eq!(object["status"]["externalMetricNames"], serde_json::json!(["s0-rabbitmq-orders"]));
    let place = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/s0-rabbitmq-orders";
    let question = format!("{place}?labelSelector=scaledobject.keda.sh%2Fname%3Dorders");
    let told = lab.kubectl().run(&["get", "--raw", &question], None).await.unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["items"][0]["value"], &told["items"][1]),
        (&"6".into(), &serde_json::Value::Null),
        "{told}"
    );
    keda.stop().await.unwrap();
    broker.stop().await;
    lab.stop().await.unwrap();
}

//! The gateway answers for a route that leads to it, and says so in the route's status.
use std::{net::SocketAddr, time::Duration};

use lab::{Lab, LabOptions, Progress, gateway, process};

fn objects(port: u16) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: lab}}
spec: {{controllerName: {}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: public, namespace: default}}
spec: {{gatewayClassName: lab, listeners: [{{name: web, port: {port}, protocol: HTTP}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: orders, namespace: default}}
spec:
  parentRefs: [{{name: public}}]
  hostnames: [acme.example.com]
  rules: [{{backendRefs: [{{name: orders, port: 8080}}]}}]
",
        gateway::Traefik::CONTROLLER
    )
}

#[tokio::test]
async fn a_route_is_accepted_by_the_gateway_that_it_names() {
    let progress = Progress::new(|line| println!("{line}"));
    let lab = Lab::start(LabOptions::default(), &progress).await.unwrap();
    gateway::install_kinds(lab.kubectl(), &progress).await.unwrap();
    let address = SocketAddr::from((lab.host_ip(), process::free_port().unwrap()));
    let traefik =
        gateway::Traefik::start(lab.data_dir(), address, lab.kubeconfig(), &progress).await.unwrap();
    lab.kubectl().apply(&objects(address.port())).await.unwrap();
    let path = "jsonpath={.status.parents[0].conditions[?(@.type=='Accepted')].status}=True";
    let wait = ["wait", "httproute", "orders", "--for", path, "--timeout=60s"];
    lab.kubectl().run(&wait, None).await.unwrap();
    process::wait_until("an answer", Duration::from_secs(10), &[], || async {
        // It has nothing to lead to, and no host asked for any.
        process::http_status(address, "/").await == Some(404)
    })
    .await
    .unwrap();
    traefik.stop().await;
    lab.stop().await.unwrap();
}

//! The way in from outside: a real gateway in front of real pods.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use flows::{Caller, until};
use lab::{
    HOST_IP,
    gateway::{Traefik, install_kinds},
    process::free_port,
};
use serde_json::Value;

use crate::{Flow, PATIENCE};

/// Of acme in dev.
pub const HOST: &str = "acme.dev.example.com";

/// What the platform team brings: a Gateway that takes routes of dev only.
fn platform(port: u16) -> String {
    format!(
        "
apiVersion: v1
kind: Namespace
metadata: {{name: gateway-system}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: traefik}}
spec: {{controllerName: {}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: public, namespace: gateway-system}}
spec:
  gatewayClassName: traefik
  listeners:
    - name: web
      port: {port}
      protocol: HTTP
      hostname: '*.dev.example.com'
      allowedRoutes: {{namespaces: {{from: Selector, selector: {{matchLabels: {{imaas.dev/environment: dev}}}}}}}}
",
        Traefik::CONTROLLER
    )
}

/// Runs `case` while dev has a gateway at the address that it is given.
pub async fn with_entrance(
    flow: &Flow,
    case: impl AsyncFnOnce(&Flow, SocketAddr) -> Result<String>,
) -> Result<String> {
    let kubectl = &flow.stand.kubectl;
    install_kinds(kubectl, &flow.progress).await?;
    let address = SocketAddr::from((HOST_IP, free_port()?));
    let lab = &flow.stand.lab;
    let traefik = Traefik::start(lab.data_dir(), address, lab.kubeconfig(), &flow.progress).await?;
    kubectl.apply(&platform(address.port())).await?;
    let entrance =
        r#"{"spec":{"domain":"dev.example.com","gateway":{"name":"public","namespace":"gateway-system"}}}"#;
    environment(flow, entrance).await?;
    let outcome = Box::pin(case(flow, address)).await;
    environment(flow, r#"{"spec":{"domain":null,"gateway":null}}"#).await?;
    traefik.stop().await;
    outcome
}

/// Promise: an exposed service answers through the gateway at its tenant's host and its path; no other host and no other
/// path does; and when it is exposed no more, nothing does.
pub async fn exposed(flow: &Flow) -> Result<String> {
    with_entrance(flow, reached).await
}

async fn environment(flow: &Flow, patch: &str) -> Result<()> {
    let arguments = ["patch", "environments.imaas.dev", "dev", "--type=merge", "-p", patch];
    flow.stand.kubectl.run(&arguments, None).await.map(drop)
}

async fn reached(flow: &Flow, address: SocketAddr) -> Result<String> {
    let clone = flow.inventory.work_tree();
    clone.checkout("dev")?;
    let plain = clone.read("imaas.yaml")?;
    let template = async || -> Result<Value> {
        let deployment = flow.stand.kubectl.get(&["-n", "acme-dev", "deployment", "inventory"]).await?;
        Ok(deployment["spec"]["template"].clone())
    };
    let before = template().await?;
    let commit = pushed(flow, &format!("{plain}expose: {{path: /inventory}}\n"))?;
    let board = flow.stand.deployed(("acme", "inventory", "dev"), &commit, PATIENCE).await?;
    ensure!(board["exposed"] == format!("{HOST}/inventory"), "the board says where: {board}");
    ensure!(template().await? == before, "no pod is replaced for a route");
    answers(address, HOST, 200).await?;
    let mut refused = Vec::new();
    for (host, path) in [
        ("globex.dev.example.com", "/inventory"),
        ("dev.example.com", "/inventory"),
        ("acme.test.example.com", "/inventory"),
        (HOST, "/"),
        (HOST, "/inventoryx"),
    ] {
        let answer = Caller::new(address)?.of(host)?.get(path).await?;
        ensure!(answer.status == 404, "{host}{path}: {answer:?}");
        refused.push(format!("{host}{path}"));
    }
    let commit = pushed(flow, &plain)?;
    flow.stand.deployed(("acme", "inventory", "dev"), &commit, PATIENCE).await?;
    answers(address, HOST, 404).await?;
    Ok(format!("{HOST}/inventory answered, {} others did not", refused.len()))
}

/// Commits this descriptor to dev; returns the commit.
pub fn pushed(flow: &Flow, descriptor: &str) -> Result<String> {
    let clone = flow.inventory.work_tree();
    clone.write("imaas.yaml", descriptor)?;
    let commit = clone.commit("feat: who reaches it")?;
    clone.push("dev")?;
    Ok(commit)
}

/// Waits until the gateway, which hears of a route a moment after the board, answers so.
pub async fn answers(address: SocketAddr, host: &str, status: u16) -> Result<()> {
    let caller = Caller::new(address)?.of(host)?;
    until(&format!("{status} from {host}"), PATIENCE, || async {
        let answer = caller.get("/inventory").await.map_err(|error| format!("{error:#}"))?;
        if answer.status == status { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
}

//! A service for WSO2 Micro Integrator. Its image cannot be had here, so its pods are of a stand-in that has its ports and
//! its health answers: what is tried is the chart's profile, as a kubelet, a Service and the operator take it.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use flows::{Developer, Sample, get};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::{Flow, PATIENCE, waiting};

const AT: (&str, &str, &str) = ("acme", "payments", "dev");
const SERVICE: &str = "{apiVersion: imaas.dev/v1alpha1, kind: IntegrationService, \
     metadata: {name: payments, namespace: acme-home}, spec: {runtime: wso2-mi, \
     repository: {url: 'https://git.example.com/acme/payments.git', credentials: inventory-git}}}";
const FAULTY: &str = "payments_1.0.0";
const MANAGEMENT_API: u16 = 9164;

/// Commits this descriptor to dev; returns the commit.
fn commit(developer: &Developer, descriptor: &str) -> Result<String> {
    let clone = developer.work_tree();
    clone.write("imaas.yaml", descriptor)?;
    let commit = clone.commit("feat: run it otherwise")?;
    clone.push("dev")?;
    Ok(commit)
}

/// What it answers at its HTTP port.
async fn answer(address: SocketAddr) -> Result<Value> {
    let answer = get(address, "/payments").await?;
    ensure!(answer.status == 200, "{answer:?}");
    serde_json::from_str(&answer.body).context("the answer")
}

/// The address of the one pod that is ready.
async fn pod(flow: &Flow) -> Result<String> {
    let pods = ["-n", "acme-dev", "pods", "-l", "imaas.dev/service=payments"];
    let pods = flow.stand.kubectl.get(&pods).await?;
    Ok(pods["items"][0]["status"]["podIP"].as_str().context("no pod has an address")?.to_owned())
}

/// Promise: by the profile alone it gets ready and serves, its management API has no way in by the Service, and a
/// faulty carbon application gets no request and is named.
pub async fn by_its_profile(flow: &Flow) -> Result<String> {
    let stand = &flow.stand;
    stand.git.create("/acme/payments.git", &Sample::Payments.directory(), &["dev"])?;
    stand.kubectl.run(&["apply", "-f", "-"], Some(SERVICE)).await?;
    let developer = Developer::new(stand, "acme", Sample::Payments)?;
    let sample = developer.work_tree().read("imaas.yaml")?;
    let small = sample.replace("{cpu: 500m, memory: 1Gi}", "{cpu: 50m, memory: 64Mi}");
    ensure!(small != sample, "the sample's descriptor asks for other resources: {sample}");
    let of_good = commit(&developer, &small)?;
    developer.build(stand, &flow.progress).await?;
    let good = stand.deployed(AT, &of_good, PATIENCE).await?["current"].clone();

    let service = stand.kubectl.get(&["-n", "acme-dev", "service", "payments"]).await?;
    let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let ports: Vec<_> = ports.iter().filter_map(|port| port["port"].as_u64()).collect();
    ensure!(ports == [8290, 8253], "the Service's ports: {ports:?}");
    let address = stand.service_address(AT.0, AT.2, AT.1).await?;
    let told = answer(address).await?;
    let memory = told["memory"].as_str().unwrap_or_default();
    ensure!(told["standIn"] == true && told["user"] == 10802 && told["deploymentToml"] == true, "{told}");
    ensure!(memory.contains("-XX:MaxRAMPercentage=60"), "{told}");
    TcpStream::connect((pod(flow).await?.as_str(), MANAGEMENT_API)).await.context("the pod listens there")?;
    let by_service = answer(SocketAddr::new(address.ip(), MANAGEMENT_API)).await;
    ensure!(by_service.is_err(), "the management API answers by the Service: {by_service:?}");

    let of_faulty = commit(
        &developer,
        &small.replace("{min: 1}}", &format!("{{min: 1}}, env: {{FAULTY_CAPPS: {FAULTY}}}}}")),
    )?;
    let named = |board: &Value| {
        waiting(board).into_iter().find(|line| line.starts_with("RuntimeDegraded") && line.contains(FAULTY))
    };
    let degraded = flow
        .board(AT, "the faulty application", |board| named(board).is_some() && board["commit"] == of_faulty)
        .await?;
    ensure!(
        degraded["lastGood"] == good && degraded["ready"] == 0 && answer(address).await.is_ok(),
        "it serves on: {degraded}"
    );
    let of_repaired = commit(&developer, &small)?;
    stand.deployed(AT, &of_repaired, PATIENCE).await?;
    Ok(format!("of the stand-in: ports {ports:?}; told `{}`", named(&degraded).unwrap_or_default()))
}

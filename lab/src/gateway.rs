//! The Gateway API: its kinds, and Traefik as the gateway, a process of this machine that reaches pods as a node does.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::{
    Progress, cache,
    kubectl::Kubectl,
    process::{self, Process},
};

/// Installs the Gateway API's kinds of the standard channel, and waits until they are served.
///
/// # Errors
/// Where they cannot be had, and what kubectl says.
pub async fn install_kinds(kubectl: &Kubectl, progress: &Progress) -> Result<()> {
    let told = progress.clone();
    let kinds = tokio::task::spawn_blocking(move || cache::gateway_api(&told)).await.context("ended")??;
    kubectl.install_kinds(&kinds).await
}

/// A running gateway, plain HTTP. Dropping it kills the process.
#[derive(Debug)]
pub struct Traefik {
    address: SocketAddr,
    process: Process,
}

impl Traefik {
    /// Of its `GatewayClass`es.
    pub const CONTROLLER: &str = "traefik.io/gateway-controller";

    /// Starts on `address`, with its log in `directory`, for the cluster of `kubeconfig`, which has the kinds; waits until
    /// it answers (30 s at most). A Gateway's listener must have the port of `address`.
    ///
    /// # Errors
    /// When the binary cannot be had, or the address is taken.
    pub async fn start(
        directory: &Path,
        address: SocketAddr,
        kubeconfig: &Path,
        progress: &Progress,
    ) -> Result<Self> {
        let mut command = Command::new(cache::binary_async("traefik", progress).await?);
        command
            .arg(format!("--entryPoints.web.address={address}"))
            .args(["--providers.kubernetesgateway=true", "--ping=true", "--ping.entryPoint=web"])
            .args(["--global.checkNewVersion=false", "--global.sendAnonymousUsage=false", "--log.level=INFO"])
            .arg(format!("--providers.kubernetesgateway.statusaddress.ip={}", address.ip()))
            .env("KUBECONFIG", kubeconfig)
            .env("NO_PROXY", "*");
        let process = Process::spawn("traefik", &command, &directory.join("traefik.log"))?;
        process::wait_until("Traefik", Duration::from_secs(30), &[&process], || async {
            process::http_status(address, "/ping").await == Some(200)
        })
        .await?;
        Ok(Self { address, process })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets requests end (2 s), then ends it.
    pub async fn stop(self) {
        self.process.stop(Duration::from_secs(2)).await;
    }
}

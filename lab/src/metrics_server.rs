//! metrics-server as a process of this machine: the aggregated API `metrics.k8s.io`, by which an autoscaler sees what pods use.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::Result;

use crate::{
    Lab, Progress, aggregated, cache,
    kubectl::Kubectl,
    process::{Process, free_port, wait_until},
};

/// Between two measurements: the least that goes with its 10 s for a kubelet's answer, which has no newer ones more often.
const RESOLUTION: &str = "--metric-resolution=12s";

/// A running metrics-server. Dropping it kills the process.
#[derive(Debug)]
pub struct MetricsServer {
    process: Process,
    kubectl: Kubectl,
}

impl MetricsServer {
    /// Starts it for `lab`, whose pods are real, and waits until it knows the node (90 s at most).
    ///
    /// # Errors
    /// When the binary cannot be had, and what kubectl says.
    pub async fn start(lab: &Lab, progress: &Progress) -> Result<Self> {
        let port = free_port()?;
        let file = |name: &str, path: PathBuf| format!("--{name}={}", path.display());
        let mut command = Command::new(cache::binary_async("metrics-server", progress).await?);
        command
            .arg(format!("--bind-address={}", lab.host_ip()))
            .arg(format!("--secure-port={port}"))
            .arg(file("cert-dir", lab.data_dir().join("metrics-server")))
            .args(
                ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"]
                    .map(|name| file(name, lab.kubeconfig().to_owned())),
            )
            .args(["--kubelet-insecure-tls", "--kubelet-preferred-address-types=InternalIP"])
            .args(["--kubelet-use-node-status-port", RESOLUTION])
            .env("NO_PROXY", "*");
        let log = lab.data_dir().join("metrics-server.log");
        let process = Process::spawn("metrics-server", &command, &log)?;
        let api = ("metrics.k8s.io", "v1beta1");
        let at = (&*lab.host_ip().to_string(), port);
        lab.kubectl().apply(&aggregated::objects("metrics-server", api, at)).await?;
        let node = ["get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"];
        wait_until("metrics-server", Duration::from_secs(90), &[&process], || async {
            lab.kubectl().run(&node, None).await.is_ok_and(|answer| answer.contains("\"usage\""))
        })
        .await?;
        Ok(Self { process, kubectl: lab.kubectl().clone() })
    }

    /// Takes its API away and ends it: while an API does not answer, no namespace comes to its end.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn stop(self) -> Result<()> {
        self.kubectl.run(&["delete", "apiservice", "v1beta1.metrics.k8s.io"], None).await?;
        self.process.stop(Duration::from_secs(2)).await;
        Ok(())
    }
}

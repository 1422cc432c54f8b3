//! KEDA as two processes of this machine: its operator, which asks what waits and makes autoscalers, and the aggregated API
//! `external.metrics.k8s.io`, by which these see what it was told.

use std::{net::IpAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::{
    Lab, Progress, aggregated, cache,
    certificates::{Authority, Subject},
    kubectl::Kubectl,
    process::{Process, free_port, http_status, wait_until},
};

const API: (&str, &str) = ("external.metrics.k8s.io", "v1beta1");

/// Installs KEDA's kinds and waits until they are served.
///
/// # Errors
/// Where they cannot be had, and what kubectl says.
pub async fn install_kinds(kubectl: &Kubectl, progress: &Progress) -> Result<()> {
    let told = progress.clone();
    let kinds = tokio::task::spawn_blocking(move || cache::keda_kinds(&told)).await.context("ended")??;
    kubectl.install_kinds(&kinds).await
}

/// A running KEDA. Dropping it kills its processes.
#[derive(Debug)]
pub struct Keda {
    operator: Process,
    adapter: Process,
    kubectl: Kubectl,
}

impl Keda {
    /// Starts it for `lab`, whose cluster has its kinds, and waits until its API answers (90 s at most).
    ///
    /// # Errors
    /// When a binary cannot be had, and what kubectl says.
    pub async fn start(lab: &Lab, progress: &Progress) -> Result<Self> {
        let directory = lab.data_dir().join("keda");
        std::fs::create_dir_all(&directory).context("KEDA's folder")?;
        certify(&directory, lab.host_ip().into())?;
        let at = |port: u16| format!("{}:{port}", lab.host_ip());
        let (health, between, api) = (free_port()?, free_port()?, free_port()?);
        let mut command = Command::new(cache::binary_async("keda", progress).await?);
        command
            .arg(format!("--health-probe-bind-address={}", at(health)))
            .arg(format!("--metrics-service-bind-address={}", at(between)))
            .arg("--metrics-bind-address=0")
            .arg(format!("--cert-dir={}", directory.display()));
        let operator = Process::spawn("keda", in_cluster(&mut command, lab), &directory.join("keda.log"))?;
        let mut command = Command::new(cache::binary_async("keda-adapter", progress).await?);
        let file = |name: &str, file: &str| format!("--{name}={}", directory.join(file).display());
        let kubeconfig = lab.kubeconfig().display();
        command
            .arg(format!("--bind-address={}", lab.host_ip()))
            .arg(format!("--secure-port={api}"))
            .arg(format!("--port={}", free_port()?))
            .arg(format!("--metrics-service-address={}", at(between)))
            .arg(format!("--cert-dir={}", directory.display()))
            .args([file("tls-cert-file", "tls.crt"), file("tls-private-key-file", "tls.key")])
            .args(
                ["lister", "authentication", "authorization"]
                    .map(|of| format!("--{of}-kubeconfig={kubeconfig}")),
            );
        let adapter =
            Process::spawn("keda-adapter", in_cluster(&mut command, lab), &directory.join("adapter.log"))?;
        let host = lab.host_ip().to_string();
        lab.kubectl().apply(&aggregated::objects("keda-metrics", API, (&host, api))).await?;
        let question = ["get", "--raw", "/apis/external.metrics.k8s.io/v1beta1"];
        wait_until("KEDA", Duration::from_secs(90), &[&operator, &adapter], || async {
            http_status((lab.host_ip(), health).into(), "/readyz").await == Some(200)
                && lab.kubectl().run(&question, None).await.is_ok()
        })
        .await?;
        Ok(Self { operator, adapter, kubectl: lab.kubectl().clone() })
    }

    /// Takes its API away and ends it: while an API does not answer, no namespace comes to its end.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn stop(self) -> Result<()> {
        let (group, version) = API;
        self.kubectl.run(&["delete", "apiservice", &format!("{version}.{group}")], None).await?;
        self.adapter.stop(Duration::from_secs(2)).await;
        self.operator.stop(Duration::from_secs(2)).await;
        Ok(())
    }
}

/// `ca.crt`, `tls.crt` and `tls.key`, by which the two know each other.
fn certify(directory: &Path, address: IpAddr) -> Result<()> {
    let subject = Subject { common_name: "keda", organization: None, names: &[], addresses: &[address] };
    Authority::create(directory, "ca")?.issue(directory, "tls", &subject).map(drop)
}

/// As where it is a pod that watches the whole cluster.
fn in_cluster<'a>(command: &'a mut Command, lab: &Lab) -> &'a Command {
    command.env("KUBECONFIG", lab.kubeconfig()).env("NO_PROXY", "*").envs([
        ("POD_NAMESPACE", "kube-system"),
        ("KEDA_CLUSTER_OBJECT_NAMESPACE", "kube-system"),
        ("WATCH_NAMESPACE", ""),
    ])
}

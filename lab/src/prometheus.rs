//! Prometheus as a process of this machine, Debian's. That build knows no Kubernetes, so kubectl tells it which pods there are.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    Lab, Progress,
    kubectl::Kubectl,
    packages,
    process::{Process, free_port, http_status, wait_until},
};

/// Between two looks at which pods there are.
const LOOK: Duration = Duration::from_secs(2);

/// Whose metrics are collected: every second, with the labels `namespace` and `pod`.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// Of the pods.
    pub namespace: String,
    /// As kubectl's `--selector`.
    pub selector: String,
    /// Where each answers.
    pub port: u16,
    /// Of the request.
    pub path: String,
}

/// A running Prometheus. Dropping it kills the process.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    process: Process,
    looks: JoinHandle<()>,
}

impl Prometheus {
    /// Starts it for pods of `lab`, whose pods are real, and waits until it answers (30 s at most).
    ///
    /// # Errors
    /// When it cannot be installed, and where a file cannot be written.
    pub async fn start(lab: &Lab, scrape: Scrape, progress: &Progress) -> Result<Self> {
        let told = progress.clone();
        let needed = [("prometheus", "/usr/bin/prometheus")];
        tokio::task::spawn_blocking(move || packages::ensure(&needed, &told)).await.context("ended")??;
        let directory = lab.data_dir().join("prometheus");
        fs::create_dir_all(&directory).context("Prometheus' folder")?;
        let targets = directory.join("targets.json");
        write(&targets, &json!([]))?;
        let config = directory.join("prometheus.json");
        write(&config, &configuration(&scrape, &targets))?;
        let address = SocketAddr::new(lab.host_ip().into(), free_port()?);
        let mut command = Command::new("/usr/bin/prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address={address}"));
        let process = Process::spawn("prometheus", &command, &directory.join("prometheus.log"))?;
        wait_until("Prometheus", Duration::from_secs(30), &[&process], || async {
            http_status(address, "/-/ready").await == Some(200)
        })
        .await?;
        let looks = tokio::spawn(look(lab.kubectl().clone(), scrape, targets));
        Ok(Self { address, process, looks })
    }

    /// Where it answers.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it.
    pub async fn stop(self) {
        self.process.stop(Duration::from_secs(2)).await;
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.looks.abort();
    }
}

fn configuration(scrape: &Scrape, targets: &std::path::Path) -> Value {
    json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{
            "job_name": "pods",
            "metrics_path": scrape.path,
            "file_sd_configs": [{"files": [targets], "refresh_interval": "1s"}],
        }],
    })
}

/// Writes down again and again which pods there are. One look that fails changes nothing.
async fn look(kubectl: Kubectl, scrape: Scrape, targets: PathBuf) {
    loop {
        let question = ["-n", &scrape.namespace, "pods", "--selector", &scrape.selector];
        if let Ok(pods) = kubectl.get(&question).await {
            let pods = pods["items"].as_array().into_iter().flatten();
            let found: Vec<_> = pods.filter_map(|pod| target(pod, &scrape)).collect();
            let _what_was_written_stays = write(&targets, &json!(found));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn target(pod: &Value, scrape: &Scrape) -> Option<Value> {
    let address = pod["status"]["podIP"].as_str()?;
    let labels = json!({"namespace": scrape.namespace, "pod": pod["metadata"]["name"]});
    Some(json!({"targets": [format!("{address}:{}", scrape.port)], "labels": labels}))
}

/// Under another name first: whoever reads sees one or the other, whole.
fn write(file: &std::path::Path, value: &Value) -> Result<()> {
    let half = file.with_extension("half");
    fs::write(&half, value.to_string()).with_context(|| format!("write {}", half.display()))?;
    fs::rename(&half, file).with_context(|| format!("rename to {}", file.display()))
}

//! `kubectl` of the lab's own version against one kubeconfig.
use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{Progress, cache};

/// Runs kubectl. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// Kubectl for a kubeconfig file; builds kubectl when it is not in the cache.
    ///
    /// # Errors
    /// As [`cache::binary`].
    pub async fn new(kubeconfig: &Path, progress: &Progress) -> anyhow::Result<Self> {
        Ok(Self {
            program: cache::binary_async("kubectl", progress).await?,
            kubeconfig: kubeconfig.to_owned(),
        })
    }

    /// The program itself.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The same program for another user's kubeconfig.
    #[must_use]
    pub fn with_kubeconfig(&self, kubeconfig: &Path) -> Self {
        Self { program: self.program.clone(), kubeconfig: kubeconfig.to_owned() }
    }

    /// Runs it with any arguments; a failing kubectl is no error here.
    ///
    /// # Errors
    /// When it cannot be started or fed.
    pub async fn output(&self, arguments: &[&str], stdin: Option<&str>) -> anyhow::Result<Output> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", self.kubeconfig.with_extension("cache"))
            .env("NO_PROXY", "*")
            .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().context("start kubectl")?;
        if let (Some(mut pipe), Some(text)) = (child.stdin.take(), stdin) {
            // It may end without reading; then its exit status says why.
            let _closed = pipe.write_all(text.as_bytes()).await;
        }
        child.wait_with_output().await.context("wait for kubectl")
    }

    /// Runs it and returns its standard output.
    ///
    /// # Errors
    /// When it fails; then with its standard error.
    pub async fn run(&self, arguments: &[&str], stdin: Option<&str>) -> anyhow::Result<String> {
        let output = self.output(arguments, stdin).await?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("`kubectl {}` failed: {}", arguments.join(" "), stderr.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `apply --server-side` of one or more YAML or JSON documents.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn apply(&self, documents: &str) -> anyhow::Result<()> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.run(&arguments, Some(documents)).await.map(drop)
    }

    /// Installs the kinds in the files of `folder` and waits until they are served (60 s at most).
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn install_kinds(&self, folder: &Path) -> anyhow::Result<()> {
        let folder = folder.to_str().context("path of the folder is not UTF-8")?;
        self.run(&["apply", "--server-side", "-f", folder], None).await?;
        self.run(&["wait", "--for=condition=Established", "--timeout=60s", "-f", folder], None)
            .await
            .map(drop)
    }

    /// `get … -o json`, for example `&["pods", "-n", "acme"]`.
    ///
    /// # Errors
    /// When there is no such object or it may not be read.
    pub async fn get(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let arguments = [&["get", "-o", "json"], arguments].concat();
        serde_json::from_str(&self.run(&arguments, None).await?).context("kubectl's JSON")
    }

    /// `delete …`; waits until the objects are gone, what is not there is fine.
    ///
    /// # Errors
    /// When the server refuses, or `deadline` passes.
    pub async fn delete(&self, arguments: &[&str], deadline: Duration) -> anyhow::Result<()> {
        let timeout = format!("--timeout={}s", deadline.as_secs());
        let arguments = [&["delete", "--ignore-not-found", "--wait", &timeout], arguments].concat();
        self.run(&arguments, None).await.map(drop)
    }

    /// All log lines so far of one pod's containers.
    ///
    /// # Errors
    /// When the pod is not there or has not started.
    pub async fn logs(&self, namespace: &str, pod: &str) -> anyhow::Result<String> {
        self.run(&["logs", "-n", namespace, pod, "--all-containers"], None).await
    }

    /// Waits until a rollout (`deployment/echo`) is complete.
    ///
    /// # Errors
    /// When it failed or is not complete by `deadline`.
    pub async fn rollout(&self, namespace: &str, workload: &str, deadline: Duration) -> anyhow::Result<()> {
        let timeout = format!("--timeout={}s", deadline.as_secs());
        self.run(&["rollout", "status", "-n", namespace, workload, &timeout], None).await.map(drop)
    }

    /// Waits for a condition: `wait("condition=Ready", &["pod/echo", "-n", "acme"], …)`.
    ///
    /// # Errors
    /// When the object is not there or the condition not met by `deadline`.
    pub async fn wait(&self, condition: &str, arguments: &[&str], deadline: Duration) -> anyhow::Result<()> {
        let timeout = format!("--timeout={}s", deadline.as_secs());
        let condition = format!("--for={condition}");
        let arguments = [&["wait", &condition, &timeout], arguments].concat();
        self.run(&arguments, None).await.map(drop)
    }
}

//! Helm of the lab's own version against one kubeconfig.
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::{Progress, cache};

/// Runs Helm with caches and settings of its own, those of the user are left alone.
#[derive(Debug, Clone)]
pub struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

/// One release of a chart.
#[derive(Debug, Clone)]
pub struct Release<'a> {
    /// The release's name.
    pub name: &'a str,
    /// Its namespace; created when missing.
    pub namespace: &'a str,
    /// Folder, archive or `oci://` address of the chart.
    pub chart: &'a str,
    /// Values files, later ones win.
    pub values: &'a [&'a Path],
    /// `key=value`, wins over files.
    pub set: &'a [&'a str],
}

impl Helm {
    /// Helm for a kubeconfig file; builds Helm when it is not in the cache.
    ///
    /// # Errors
    /// As [`cache::binary`].
    pub async fn new(kubeconfig: &Path, progress: &Progress) -> anyhow::Result<Self> {
        Ok(Self {
            program: cache::binary_async("helm", progress).await?,
            kubeconfig: kubeconfig.to_owned(),
            home: kubeconfig.with_extension("helm"),
        })
    }

    /// `upgrade --install`; with `wait` until everything is ready, at most that long.
    ///
    /// # Errors
    /// Helm's standard error.
    pub async fn install(&self, release: &Release<'_>, wait: Option<Duration>) -> anyhow::Result<String> {
        let timeout = wait.map(|wait| format!("{}s", wait.as_secs()));
        let mut arguments = vec!["upgrade", "--install", "--create-namespace"];
        if let Some(timeout) = &timeout {
            arguments.extend(["--wait", "--timeout", timeout]);
        }
        self.run(&[arguments, release.arguments()?].concat()).await
    }

    /// `uninstall --wait`.
    ///
    /// # Errors
    /// Helm's standard error, also when there is no such release.
    pub async fn uninstall(&self, name: &str, namespace: &str, wait: Duration) -> anyhow::Result<()> {
        let timeout = format!("{}s", wait.as_secs());
        self.run(&["uninstall", name, "--namespace", namespace, "--wait", "--timeout", &timeout])
            .await
            .map(drop)
    }

    /// The manifests that an installation would send, without asking the cluster.
    ///
    /// # Errors
    /// Helm's standard error.
    pub async fn template(&self, release: &Release<'_>) -> anyhow::Result<String> {
        self.run(&[vec!["template", "--include-crds"], release.arguments()?].concat()).await
    }

    /// Runs it with any arguments and returns its standard output.
    ///
    /// # Errors
    /// When it fails; then with its standard error.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.program)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HELM_CACHE_HOME", self.home.join("cache"))
            .env("HELM_CONFIG_HOME", self.home.join("config"))
            .env("HELM_DATA_HOME", self.home.join("data"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("start helm")?;
        if !output.status.success() {
            let verb = arguments.first().copied().unwrap_or_default();
            bail!("`helm {verb}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl<'a> Release<'a> {
    fn arguments(&self) -> anyhow::Result<Vec<&'a str>> {
        let mut arguments = vec![self.name, self.chart, "--namespace", self.namespace];
        for file in self.values {
            arguments.extend(["--values", file.to_str().context("path of a values file is not UTF-8")?]);
        }
        for assignment in self.set {
            arguments.extend(["--set", *assignment]);
        }
        Ok(arguments)
    }
}

//! A real image registry: CNCF Distribution, with its token authentication or open.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    Progress, cache,
    process::{self, Process},
};

/// Who gives out tokens; the words of Distribution's `auth.token`.
#[derive(Clone, Debug)]
pub struct TokenAuth {
    /// URL of the token service, as clients reach it.
    pub realm: String,
    /// Name of this registry in tokens (`aud`).
    pub service: String,
    /// Name of the token service in tokens (`iss`).
    pub issuer: String,
    /// PEM file with the certificates that may sign; read at the start.
    pub root_certificates: PathBuf,
}

/// A running registry, plain HTTP. Dropping it kills the process; what was pushed stays on disk.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    process: Process,
}

impl Registry {
    /// Starts on `address` with its storage in `directory`, and waits until it answers (10 s at most).
    ///
    /// # Errors
    /// When the binary cannot be had, the address is taken, or `auth` names a file that is not there.
    pub async fn start(
        directory: &Path,
        address: SocketAddr,
        auth: Option<&TokenAuth>,
        progress: &Progress,
    ) -> Result<Self> {
        let binary = cache::binary_async("registry", progress).await?;
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let config = directory.join("config.json");
        fs::write(&config, configuration(directory, address, auth).to_string())
            .with_context(|| format!("write {}", config.display()))?;
        let mut command = Command::new(binary);
        command.arg("serve").arg(&config).env("OTEL_TRACES_EXPORTER", "none");
        let process = Process::spawn("registry", &command, &directory.join("registry.log"))?;
        let wanted = if auth.is_some() { 401 } else { 200 };
        process::wait_until("registry", Duration::from_secs(10), &[&process], || async {
            process::http_status(address, "/v2/").await == Some(wanted)
        })
        .await?;
        Ok(Self { address, process })
    }

    /// `host:port`, the first part of every image reference.
    pub fn endpoint(&self) -> String {
        self.address.to_string()
    }

    /// Its output.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// Lets uploads end (2 s), then ends it.
    pub async fn stop(self) {
        self.process.stop(Duration::from_secs(2)).await;
    }
}

/// JSON is YAML too.
fn configuration(directory: &Path, address: SocketAddr, auth: Option<&TokenAuth>) -> serde_json::Value {
    let mut configuration = json!({
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": true}},
        "storage": {
            "filesystem": {"rootdirectory": directory.join("storage")},
            "delete": {"enabled": true},
        },
        "http": {"addr": address.to_string(), "secret": "one replica needs no shared secret"},
    });
    if let Some(auth) = auth {
        configuration["auth"] = json!({"token": {
            "realm": auth.realm,
            "service": auth.service,
            "issuer": auth.issuer,
            "rootcertbundle": auth.root_certificates,
        }});
    }
    configuration
}

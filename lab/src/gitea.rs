//! A real Git host with an API: Gitea, of its own module, with its database in a file.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::{
    Progress, cache,
    process::{self, Process},
};

/// A running Gitea, plain HTTP, with one administrator. Dropping it kills the process.
#[derive(Debug)]
pub struct Gitea {
    address: SocketAddr,
    process: Process,
}

impl Gitea {
    /// Name and password of its first account.
    pub const ADMINISTRATOR: (&str, &str) = ("acme", "acme-password");

    /// Starts on `address` with everything in `directory`, and waits until it answers (a minute at most).
    ///
    /// # Errors
    /// When the binary cannot be had, or the address is taken.
    pub async fn start(directory: &Path, address: SocketAddr, progress: &Progress) -> Result<Self> {
        let binary = cache::binary_async("gitea", progress).await?;
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let config = directory.join("app.ini");
        let static_files = binary.parent().context("folder of the binary")?;
        fs::write(&config, configuration(directory, static_files, address))
            .with_context(|| format!("write {}", config.display()))?;
        let gitea = |arguments: &[&str]| {
            let mut gitea = Command::new(&binary);
            // It puts its hooks' and SSH's settings below the home directory else.
            gitea.args(arguments).arg("--config").arg(&config).arg("--work-path").arg(directory);
            gitea.env("HOME", directory).env("GITEA_I_AM_BEING_UNSAFE_RUNNING_AS_ROOT", "true");
            gitea
        };
        let (name, password) = Self::ADMINISTRATOR;
        let account = ["admin", "user", "create", "--admin", "--username", name, "--password", password];
        let mail = ["--email", "acme@acme.example", "--must-change-password=false"];
        for mut before in [gitea(&["migrate"]), gitea(&[&account[..], &mail].concat())] {
            tokio::task::spawn_blocking(move || process::run(&mut before)).await.context("ended")??;
        }
        let process = Process::spawn("gitea", &gitea(&["web"]), &directory.join("gitea.log"))?;
        process::wait_until("Gitea", Duration::from_mins(1), &[&process], || async {
            process::http_status(address, "/api/healthz").await == Some(200)
        })
        .await?;
        Ok(Self { address, process })
    }

    /// `http://<address>`, without a slash at the end.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets requests end (5 s), then ends it.
    pub async fn stop(self) {
        self.process.stop(Duration::from_secs(5)).await;
    }
}

fn configuration(directory: &Path, static_files: &Path, address: SocketAddr) -> String {
    let (directory, static_files, ip, port) =
        (directory.display(), static_files.display(), address.ip(), address.port());
    format!(
        "
[server]
PROTOCOL = http
HTTP_ADDR = {ip}
HTTP_PORT = {port}
ROOT_URL = http://{address}/
STATIC_ROOT_PATH = {static_files}
APP_DATA_PATH = {directory}/data
DISABLE_SSH = true
OFFLINE_MODE = true
[database]
DB_TYPE = sqlite3
PATH = {directory}/gitea.db
SQLITE_JOURNAL_MODE = WAL
[repository]
ROOT = {directory}/repositories
DEFAULT_BRANCH = dev
[security]
INSTALL_LOCK = true
SECRET_KEY = nothing in this laboratory is secret
[service]
DISABLE_REGISTRATION = true
[log]
MODE = console
LEVEL = warn
ROOT_PATH = {directory}/log
[cron]
ENABLED = false
[actions]
ENABLED = false
[packages]
ENABLED = false
[indexer]
ISSUE_INDEXER_TYPE = db
[session]
PROVIDER = memory
"
    )
}

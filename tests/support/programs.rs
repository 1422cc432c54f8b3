//! The chart's two programs as plain processes, where no pod runs: with the arguments and the environment that the chart
//! gave their Deployments, but for paths and addresses, and with the rights of the operator's `ServiceAccount` alone.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use lab::{kubectl::Kubectl, process, process::Process};

/// Where the chart mounts its Secret with keys.
const MOUNTS: [&str; 3] = ["/etc/imaas/accounts", "/etc/imaas/auth", "/etc/imaas/registry-events"];
const READY: Duration = Duration::from_mins(1);

/// What differs between a pod and this machine.
pub(crate) struct Surroundings<'a> {
    pub binary: &'a Path,
    /// Files named as in the chart's Secret.
    pub keys: &'a Path,
    /// Logs and mirrors.
    pub folder: &'a Path,
    /// The operator's login.
    pub kubeconfig: &'a Path,
    /// Where the token service listens.
    pub tokens: SocketAddr,
}

/// Both, running. Dropping them kills them.
pub(crate) struct Programs {
    operator: Process,
    command: Command,
    listen: SocketAddr,
    log: PathBuf,
    _tokens: Process,
}

impl Programs {
    /// Takes the pods' place, and waits until both are ready.
    pub(crate) async fn start(kubectl: &Kubectl, namespace: &str, around: &Surroundings<'_>) -> Result<Self> {
        // Nobody is to believe that a pod which only seems to run is the operator.
        kubectl.run(&["-n", namespace, "scale", "deployment", "--all", "--replicas=0"], None).await?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()?));
        let log = around.folder.join("operator.log");
        let command = command(kubectl, (namespace, "imaas-operator"), around, listen).await?;
        let served = command_of_tokens(kubectl, namespace, around).await?;
        let tokens = Process::spawn("registry-auth", &served, &around.folder.join("registry-auth.log"))?;
        is_ready(&tokens, around.tokens).await?;
        let operator = Process::spawn("imaas-operator", &command, &log)?;
        is_ready(&operator, listen).await?;
        Ok(Self { operator, command, listen, log, _tokens: tokens })
    }

    pub(crate) const fn operator(&self) -> &Process {
        &self.operator
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Ends the operator, as a pod's end does, and starts it anew.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.operator.stop(Duration::from_secs(30)).await;
        self.operator = Process::spawn("imaas-operator", &self.command, &self.log)?;
        is_ready(&self.operator, self.listen).await
    }
}

async fn command_of_tokens(kubectl: &Kubectl, namespace: &str, around: &Surroundings<'_>) -> Result<Command> {
    command(kubectl, (namespace, "imaas-registry-auth"), around, around.tokens).await
}

/// What the first container of a Deployment would run.
async fn command(
    kubectl: &Kubectl,
    (namespace, deployment): (&str, &str),
    around: &Surroundings<'_>,
    listen: SocketAddr,
) -> Result<Command> {
    let found = kubectl.get(&["-n", namespace, "deployment", deployment]).await?;
    let container = &found["spec"]["template"]["spec"]["containers"][0];
    let mut command = Command::new(around.binary);
    for argument in container["args"].as_array().context("the chart gives no arguments")? {
        command.arg(argument.as_str().context("an argument is no text")?);
    }
    let variables = container["env"].as_array().context("the chart gives no environment")?;
    // What is taken from the pod's own fields, here is not.
    for variable in variables.iter().filter(|variable| variable["valueFrom"].is_null()) {
        let (name, value) = (&variable["name"], &variable["value"]);
        let (name, value) = name.as_str().zip(value.as_str()).context("a variable without a value")?;
        command.env(name, here(value, around.keys));
    }
    command
        .env("IMAAS_LISTEN", listen.to_string())
        .env("IMAAS_DATA_DIR", around.folder.join("mirrors"))
        .env("KUBECONFIG", around.kubeconfig)
        .env("NO_PROXY", "*");
    Ok(command)
}

/// A file of a mounted Secret is in `keys` on this machine.
fn here(value: &str, keys: &Path) -> PathBuf {
    let file = MOUNTS.iter().find_map(|mount| value.strip_prefix(mount)?.strip_prefix('/'));
    file.map_or_else(|| PathBuf::from(value), |file| keys.join(file))
}

async fn is_ready(program: &Process, listen: SocketAddr) -> Result<()> {
    process::wait_until(program.name(), READY, &[program], || async {
        process::http_status(listen, "/readyz").await == Some(200)
    })
    .await
    .map(drop)
}

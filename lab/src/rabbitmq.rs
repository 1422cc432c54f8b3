//! A real message broker: RabbitMQ with its management API, as a process of this machine, Debian's.

use std::{fs, net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::{
    Lab, Progress, packages,
    process::{Process, free_port, http_status, wait_until},
};

/// A running RabbitMQ with one account. Dropping it kills its processes.
#[derive(Debug)]
pub struct RabbitMq {
    amqp: SocketAddr,
    management: SocketAddr,
    broker: Process,
    /// By which Erlang's processes find each other; without one of our own the broker would leave one behind.
    names: Process,
}

impl RabbitMq {
    /// Name and password of its account.
    pub const ACCOUNT: (&str, &str) = ("lab", "lab-password");

    /// Starts it in the folder of `lab`, reachable as the lab's host, and waits until it answers (a minute at most).
    ///
    /// # Errors
    /// When it cannot be installed or started.
    pub async fn start(lab: &Lab, progress: &Progress) -> Result<Self> {
        const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
        let told = progress.clone();
        let needed = [("rabbitmq-server", SERVER)];
        tokio::task::spawn_blocking(move || packages::ensure(&needed, &told)).await.context("ended")??;
        let directory = lab.data_dir().join("rabbitmq");
        fs::create_dir_all(&directory).context("RabbitMQ's folder")?;
        let at = |port: u16| SocketAddr::new(lab.host_ip().into(), port);
        let (amqp, management) = (at(free_port()?), at(free_port()?));
        let (user, password) = Self::ACCOUNT;
        let config = directory.join("rabbitmq.conf");
        let text = format!(
            "listeners.tcp.1 = {amqp}\nmanagement.tcp.ip = {}\nmanagement.tcp.port = {}\n\
             default_user = {user}\ndefault_pass = {password}\nloopback_users = none\n",
            management.ip(),
            management.port(),
        );
        fs::write(&config, text).context("RabbitMQ's configuration")?;
        let plugins = directory.join("enabled_plugins");
        fs::write(&plugins, "[rabbitmq_management].").context("RabbitMQ's plugins")?;
        let by_name = free_port()?.to_string();
        let mut command = Command::new("/usr/bin/epmd");
        command.env("ERL_EPMD_PORT", &by_name).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        let names = Process::spawn("epmd", &command, &directory.join("epmd.log"))?;
        let mut command = Command::new(SERVER);
        command
            .env("HOME", &directory)
            .env("ERL_EPMD_PORT", &by_name)
            .env("RABBITMQ_NODENAME", "imaas-lab@localhost")
            .env("RABBITMQ_DIST_PORT", free_port()?.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", &config)
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", &plugins)
            .env("RABBITMQ_MNESIA_BASE", directory.join("data"))
            .env("RABBITMQ_LOG_BASE", directory.join("log"))
            .env("RABBITMQ_LOGS", "-")
            // As under systemd its script becomes the broker: one process, which dies with this one.
            .env("NOTIFY_SOCKET", directory.join("nobody"));
        let broker = Process::spawn("rabbitmq", &command, &directory.join("rabbitmq.log"))?;
        wait_until("RabbitMQ", Duration::from_mins(1), &[&names, &broker], || async {
            http_status(management, "/api/overview").await == Some(401)
        })
        .await?;
        Ok(Self { amqp, management, broker, names })
    }

    /// Where messages are sent and consumed.
    pub const fn amqp(&self) -> SocketAddr {
        self.amqp
    }

    /// Where its management API answers, plain HTTP.
    pub const fn management(&self) -> SocketAddr {
        self.management
    }

    /// Ends it.
    pub async fn stop(self) {
        self.broker.stop(Duration::from_secs(5)).await;
        self.names.stop(Duration::ZERO).await;
    }
}

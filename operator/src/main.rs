//! The process: reads the command line, starts logging, runs one of the commands until it is told to stop.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use imaas_operator::{
    args::{Cli, Command},
    run, telemetry,
};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start(cli.log_format, &cli.log);
    match start(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "stopped");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn start(command: Command) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: what is under way is finished");
    };
    match command {
        Command::Run(options) => Box::pin(run::operator(*options, stop)).await?,
        Command::RegistryAuth(options) => run::registry_auth(options, stop).await?,
        Command::RegistryWindow(options) => run::registry_window(options).await?,
    }
    Ok(())
}

//! `cargo xtask`: everything about this repository that is more than one cargo command.

mod bench;
mod crds;
mod demo;
mod invitation;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    /// What to do.
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measures the operator on a control plane of this machine, beside a bare client in the same run.
    Bench(bench::Bench),
    /// Writes the custom resource definitions and the JSON Schemas from the Rust types: `crds/`, the chart, `schemas/`.
    Crds(crds::Options),
    /// Shows the whole way of a tenant and its services on a real Kubernetes on this machine.
    Demo(demo::Demo),
    /// Runs every test, then the linters.
    Test,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Bench(bench) => bench.run().await,
        Task::Crds(options) => crds::run(&options),
        Task::Demo(demo) => demo.run().await,
        Task::Test => test::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error);
            ExitCode::FAILURE
        }
    }
}

/// One line a cause; a backtrace helps nobody who runs a task.
#[expect(clippy::print_stderr, reason = "the person who runs the task reads it")]
fn tell(error: &anyhow::Error) {
    eprintln!("\nfailed: {error:#}");
}

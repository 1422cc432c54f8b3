//! `cargo xtask`: everything about this repository that is more than one cargo command.

mod crds;

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
    /// Writes the custom resource definitions from the Rust types, into `crds/` and the chart.
    Crds(crds::Options),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Crds(options) => crds::run(&options),
    }
}

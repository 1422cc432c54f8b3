#![expect(clippy::print_stdout, reason = "figures are there to be read")]
//! `cargo xtask bench`: figures for `docs/performance.md`.

use std::time::Instant;

use anyhow::{Result, bail};
use bench::onboarding;
use clap::{Args, Subcommand};
use lab::Progress;
use tokio::signal;

/// Options of `bench`.
#[derive(Debug, Args)]
pub struct Bench {
    /// What is measured.
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Tenants that come with one commit: time, requests per created object, share of a bare client's rate, and what a
    /// restart writes. Needs no root. Give it the machine for itself: about 6 minutes on 2 cores, once it is built.
    #[command(
        after_help = "Examples:\n  cargo xtask bench onboarding                 300 tenants in 3 environments each\n  cargo xtask bench onboarding --tenants 50    a smaller commit\n  cargo xtask bench onboarding --services 1    with a service in each file\n  cargo xtask bench onboarding --small         only tries the benchmark itself, with the operator as it is developed"
    )]
    Onboarding(onboarding::Options),
}

impl Bench {
    /// Measures, prints, and removes everything that was started, also after Ctrl-C.
    pub async fn run(self) -> Result<()> {
        let begun = Instant::now();
        let progress = Progress::new(move |line| println!("{:6.1} s  {line}", begun.elapsed().as_secs_f64()));
        let What::Onboarding(options) = self.what;
        let report = tokio::select! {
            report = onboarding::run(options, &progress) => report?,
            _ = signal::ctrl_c() => bail!("interrupted"),
        };
        println!("\n{report}");
        Ok(())
    }
}

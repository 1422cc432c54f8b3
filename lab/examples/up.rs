//! A lab with real pods until Ctrl-C: `cargo run -p lab --example up`. With `--simulated`: pods that KWOK pretends; with
//! `--no-pods`: only a control plane.
#![expect(clippy::print_stdout, reason = "a program for a person at a terminal")]
use std::time::Instant;

use lab::{Lab, LabOptions, Nodes, Progress};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let asked = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    let nodes = match (asked("--no-pods"), asked("--simulated")) {
        (true, _) => Nodes::None,
        (false, true) => Nodes::Simulated,
        (false, false) => Nodes::Real,
    };
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let progress = Progress::new(|line| println!("{line}"));
    let began = Instant::now();
    let options = LabOptions { nodes, ..LabOptions::default() };
    let lab = tokio::select! {
        lab = Lab::start(options, &progress) => lab?,
        _ = terminated.recv() => return Ok(()),
        _ = interrupted.recv() => return Ok(()),
    };
    println!("ready after {:.1} s; Ctrl-C ends it", began.elapsed().as_secs_f64());
    for process in lab.processes() {
        println!("  {:24} {:>4} MB", process.name(), process.resident_bytes() / 1_000_000);
    }
    println!("export KUBECONFIG={}", lab.kubeconfig().display());
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    let began = Instant::now();
    lab.stop().await?;
    println!("stopped in {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

#![expect(clippy::print_stdout, reason = "a demo is there to be read")]
//! `cargo xtask demo`: the main job on real input, told as it happens.

use std::{
    io::{IsTerminal, Write},
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use flows::{Developer, Sample, Stand, StandOptions, Trickle, TrickleReport, get, until};
use lab::Progress;
use serde_json::Value;
use tokio::signal;

use crate::invitation::{NEWCOMER, Places, invitation};

/// Two minutes for what takes seconds: a busy machine is not a failure.
const PATIENCE: Duration = Duration::from_mins(2);
const ENVIRONMENTS: [&str; 3] = ["dev", "test", "prod"];

/// Shows the whole way of a tenant and its services on a real Kubernetes on this machine.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask demo          stays up for you to try things, Ctrl-C ends it\n  cargo xtask demo --once   ends by itself, status 0 when all went well"
)]
pub struct Demo {
    /// End when the story is told, and remove everything.
    #[arg(long)]
    once: bool,
}

/// Prints one line a step, with its time.
struct Teller {
    begun: Instant,
}

impl Teller {
    fn chapter(title: &str) {
        println!("\n{title}");
    }

    fn told(&self, step: &str, since: Instant) {
        let (total, took) = (self.begun.elapsed().as_secs_f64(), since.elapsed().as_secs_f64());
        println!("  {total:6.1} s  {step}  ({took:.1} s)");
    }
}

impl Demo {
    /// Tells the story; whatever happens, ends what it started.
    pub async fn run(self) -> Result<()> {
        let teller = Teller { begun: Instant::now() };
        println!("IMaaS: from one commit to a running service, on a real Kubernetes on this machine.");
        Teller::chapter("Setting up (the first time builds Kubernetes and its tools: about 15 minutes)");
        let progress = progress(teller.begun);
        let begun = Instant::now();
        let options =
            StandOptions { interval: "1s", tenants: vec!["acme", NEWCOMER], ..StandOptions::default() };
        let stand = tokio::select! {
            stand = Stand::start(options, &progress) => stand?,
            _ = signal::ctrl_c() => bail!("interrupted while setting up"),
        };
        teller.told("Kubernetes, registry, Git server and operator are ready", begun);
        let told = tokio::select! {
            told = story(&stand, &teller, &progress) => told,
            _ = signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        };
        let told = match told {
            Ok(()) if !self.once => stay(&stand, &progress).await,
            told => told,
        };
        if told.is_err()
            && let Ok(log) = stand.operator_log().await
        {
            let lines: Vec<&str> = log.lines().collect();
            println!("\nThe operator's last lines:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
        println!("\nRemoving everything that was started …");
        let stopped = stand.stop().await;
        told?;
        stopped?;
        println!("Done in {:.0} s.", teller.begun.elapsed().as_secs_f64());
        Ok(())
    }
}

/// On a terminal a line that changes, else a line each time.
fn progress(begun: Instant) -> Progress {
    let out = Arc::new(Mutex::new(std::io::stdout()));
    Progress::new(move |line| {
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        let dim = if out.is_terminal() { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        let _ = writeln!(out, "  {}{:6.1} s  {line}{}", dim.0, begun.elapsed().as_secs_f64(), dim.1);
    })
}

async fn story(stand: &Stand, teller: &Teller, progress: &Progress) -> Result<()> {
    Teller::chapter("A tenant onboards: one file, merged into the tenants repository");
    onboard(stand, teller).await?;
    Teller::chapter("Its services come up in dev: CI pushes an image under the commit's hash");
    let inventory = Developer::new(stand, "acme", Sample::Inventory)?;
    let orders = Developer::new(stand, "acme", Sample::Orders)?;
    for (developer, sample) in [(&inventory, Sample::Inventory), (&orders, Sample::Orders)] {
        deliver(stand, teller, developer, sample, progress).await?;
    }
    Teller::chapter(
        "A new version of orders, a real Camel integration, under a constant trickle of requests",
    );
    let load = Load::on(stand, "dev").await?;
    let begun = Instant::now();
    let commit = orders.release_version("dev", "2")?;
    let digest = orders.build(stand, progress).await?;
    let pushed = Instant::now();
    stand.deployed(("acme", "orders", "dev"), &commit, PATIENCE).await?;
    teller.told(&format!("commit {} is in dev, image {}", &commit[..8], &digest[..19]), begun);
    teller.told("of that, from the image in the registry to the last old instance gone", pushed);
    load.end().await?;
    latency(stand, teller, &orders).await?;
    Teller::chapter("Release: dev is merged into test, test into prod; the image stays the same");
    let load = Load::on(stand, "prod").await?;
    for (from, into) in [("dev", "test"), ("test", "prod")] {
        let begun = Instant::now();
        let commit = orders.promote(from, into)?;
        let board = stand.deployed(("acme", "orders", into), &commit, PATIENCE).await?;
        ensure!(board["digest"] == digest.as_str(), "{into} runs {} and not {digest}", board["digest"]);
        teller.told(&format!("{from} merged into {into}: it runs the same image {}", &digest[..19]), begun);
    }
    load.end().await?;
    table(stand).await
}

/// Commits the tenant's file and waits for its space.
async fn onboard(stand: &Stand, teller: &Teller) -> Result<()> {
    let begun = Instant::now();
    let tenants = stand.tenants()?;
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tenants/tenants/acme.yaml");
    tenants.write("tenants/acme.yaml", std::fs::read(&sample).context("read the sample tenant")?)?;
    tenants.commit("feat: onboard acme")?;
    tenants.push("main")?;
    until("the namespace acme-home", PATIENCE, || async {
        stand.kubectl.get(&["namespace", "acme-home"]).await.map_err(|error| format!("{error:#}"))
    })
    .await?;
    // What an owner of the tenant does once: how its repositories are read.
    for service in ["orders", "inventory"] {
        stand.create_git_secret("acme-home", &format!("{service}-git"), "acme").await?;
    }
    until("tenant acme", PATIENCE, || async {
        let tenant = stand.kubectl.get(&["tenant", "acme"]).await.map_err(|error| format!("{error:#}"))?;
        let environments = tenant["status"]["environments"].as_array().map_or(0, Vec::len);
        if environments == ENVIRONMENTS.len() { Ok(()) } else { Err(tenant["status"].to_string()) }
    })
    .await?;
    teller.told("tenant acme has its namespaces, quota, access, network walls and registry area", begun);
    Ok(())
}

/// The first commit of a service reaches all three environments by the branches that it stands on.
async fn deliver(
    stand: &Stand,
    teller: &Teller,
    developer: &Developer,
    sample: Sample,
    progress: &Progress,
) -> Result<()> {
    let begun = Instant::now();
    let commit = developer.work_tree().head()?;
    developer.build(stand, progress).await?;
    for environment in ENVIRONMENTS {
        stand.deployed(("acme", sample.name(), environment), &commit, PATIENCE).await?;
        teller.told(&format!("{} runs in {environment}", sample.name()), begun);
    }
    Ok(())
}

/// From the end of a push to the Deployment that it changes: a change of the configuration only needs no build.
async fn latency(stand: &Stand, teller: &Teller, orders: &Developer) -> Result<()> {
    let generation = |found: &Value| found["metadata"]["generation"].as_i64();
    let read = || stand.kubectl.get(&["-n", "acme-dev", "deployment", "orders"]);
    let before = generation(&read().await?);
    let clone = orders.work_tree();
    clone.checkout("dev")?;
    let file = "config/orders.properties";
    clone.write(file, clone.read(file)? + "# looked at again\n")?;
    let commit = clone.commit("chore: another configuration")?;
    clone.push("dev")?;
    let pushed = Instant::now();
    until("the changed Deployment", PATIENCE, || async {
        let now = read().await.map(|found| generation(&found)).map_err(|error| format!("{error:#}"))?;
        if now == before { Err("unchanged".to_owned()) } else { Ok(()) }
    })
    .await?;
    teller.told("git push → changed Deployment, with an interval of 1 s", pushed);
    stand.deployed(("acme", "orders", "dev"), &commit, PATIENCE).await.map(drop)
}

/// Requests to orders in one environment, a new connection each, while it changes.
struct Load {
    address: SocketAddr,
    trickle: Trickle,
}

impl Load {
    async fn on(stand: &Stand, environment: &str) -> Result<Self> {
        let address = stand.service_address("acme", environment, "orders").await?;
        println!("             {environment} before: {}", one_line(&get(address, "/orders").await?.body));
        Ok(Self { address, trickle: Trickle::start(address, "/orders", Duration::from_millis(50)) })
    }

    /// Ends it, and the demo with it if one request failed.
    async fn end(self) -> Result<()> {
        // Requests that come after the change count too.
        tokio::time::sleep(Duration::from_secs(2)).await;
        println!("             after: {}", one_line(&get(self.address, "/orders").await?.body));
        let TrickleReport { sent, failures, bodies } = self.trickle.finish().await?;
        println!("             {sent} requests, each on a new connection, {} failed", failures.len());
        for (body, times) in &bodies {
            println!("             {times:>4} × {}", one_line(body));
        }
        ensure!(failures.is_empty(), "requests failed during the roll-out: {failures:?}");
        ensure!(bodies.len() > 1, "the trickle saw only one version");
        Ok(())
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What runs where.
async fn table(stand: &Stand) -> Result<()> {
    println!(
        "\n{:<8} {:<10} {:<12} {:<10} {:<21} {:<6}",
        "TENANT", "SERVICE", "ENVIRONMENT", "COMMIT", "IMAGE", "READY"
    );
    for service in ["inventory", "orders"] {
        for environment in ENVIRONMENTS {
            let board = stand.board("acme", service, environment).await?;
            let text = |key: &str, length: usize| {
                board[key].as_str().map_or("-".to_owned(), |t| t.chars().take(length).collect())
            };
            println!(
                "{:<8} {service:<10} {environment:<12} {:<10} {:<21} {}/{}",
                "acme",
                text("commit", 8),
                text("digest", 19),
                board["ready"],
                board["desired"]
            );
        }
    }
    Ok(())
}

/// Says how to go on, and waits for Ctrl-C.
async fn stay(stand: &Stand, progress: &Progress) -> Result<()> {
    let text = invitation(&Places {
        kubeconfig: stand.lab.kubeconfig(),
        kubectl: stand.kubectl.program(),
        crane: &lab::cache::binary("crane", progress)?,
        authority: stand.authority(),
        git: &stand.git.address().to_string(),
        repositories: &stand.git.directory(""),
        registry: &stand.registry.endpoint(),
    });
    println!("{text}");
    signal::ctrl_c().await.context("wait for Ctrl-C")
}

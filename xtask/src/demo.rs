#![expect(clippy::print_stdout, reason = "a demo is there to be read")]
//! `cargo xtask demo`: the main job on real input, told as it happens. Without root, or when asked to, pods are simulated:
//! then it is the story of the tenant's space ([`space`]), and nothing is served.

mod services;
mod space;

use std::{
    io::{IsTerminal, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use flows::{Stand, StandOptions, until};
use lab::{Nodes, Progress};
use tokio::signal;

use crate::invitation::{Places, invitation};

/// Two minutes for what takes seconds: a busy machine is not a failure.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long another lab with real pods on this machine may go on first: longer than the flows, the longest that ends by itself.
const TURN: Duration = Duration::from_mins(30);
const ENVIRONMENTS: [&str; 3] = ["dev", "test", "prod"];

/// Shows the whole way of a tenant and its services on a real Kubernetes on this machine.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask demo               stays up for you to try things, Ctrl-C ends it\n  cargo xtask demo --once        ends by itself, status 0 when all went well\n  cargo xtask demo --simulated   as without root: pods are simulated, nothing is served"
)]
pub struct Demo {
    /// End when the story is told, and remove everything.
    #[arg(long)]
    once: bool,
    /// Simulate the pods: no container runs and nothing is served. Needs no root, and is so where there is none.
    #[arg(long)]
    simulated: bool,
}

/// Said at the beginning and at the end, so that nobody takes it for more than it is.
const SIMULATED: &str = "\
Pods are SIMULATED here (by KWOK): they are scheduled and turn Ready, but no container runs, nothing answers and there is
no traffic. Everything else is real: API server, controllers, admission, the operator, its token service, the registry and
the Git server, as processes of this machine.";

/// Prints one line a step, with its time; remembers what was promised and not kept.
struct Teller {
    begun: Instant,
    failed_requests: AtomicUsize,
}

impl Teller {
    fn chapter(title: &str) {
        println!("\n{title}");
    }

    fn told(&self, step: &str, since: Instant) {
        let (total, took) = (self.begun.elapsed().as_secs_f64(), since.elapsed().as_secs_f64());
        println!("  {total:6.1} s  {step}  ({took:.1} s)");
    }

    /// Requests that failed do not end the story, but the demo did not go well then.
    fn judged(&self) -> Result<()> {
        match self.failed_requests.load(Ordering::Relaxed) {
            0 => Ok(()),
            failed => bail!(
                "{failed} requests failed during roll-outs (above, each with its time): on a machine that has nothing else to do, none does"
            ),
        }
    }
}

impl Demo {
    /// Tells the story; whatever happens, ends what it started.
    pub async fn run(self) -> Result<()> {
        let teller = Teller { begun: Instant::now(), failed_requests: AtomicUsize::new(0) };
        let is_simulated = self.simulated || !lab::is_root();
        if is_simulated {
            let why = if self.simulated { "" } else { "This is not root, so there are no real pods.\n" };
            println!(
                "IMaaS: from one commit to a tenant's space, on a real control plane on this machine.\n{why}{SIMULATED}"
            );
        } else {
            println!("IMaaS: from one commit to a running service, on a real Kubernetes on this machine.");
        }
        Teller::chapter(
            "Setting up (the first time builds Kubernetes and its tools: 15 to 25 minutes on 2 cores)",
        );
        let progress = progress(teller.begun);
        let begun = Instant::now();
        let stand = tokio::select! {
            stand = Stand::start(stand_options(is_simulated), &progress) => stand?,
            _ = signal::ctrl_c() => bail!("interrupted while setting up"),
        };
        stand.git.open_sign_up();
        teller.told("Kubernetes, registry, Git server and operator are ready", begun);
        let told = tokio::select! {
            told = story(&stand, &teller, &progress, is_simulated) => told,
            _ = signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        };
        let told = match told {
            Ok(()) if !self.once => stay(&stand, &progress).await,
            told => told,
        };
        let told = told.and_then(|()| teller.judged());
        if is_simulated {
            println!("\n{SIMULATED}");
        }
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

fn stand_options(is_simulated: bool) -> StandOptions {
    StandOptions {
        interval: "1s",
        nodes: if is_simulated { Nodes::Simulated } else { Nodes::Real },
        wait: TURN,
        ..StandOptions::default()
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

async fn story(stand: &Stand, teller: &Teller, progress: &Progress, is_simulated: bool) -> Result<()> {
    Teller::chapter("A tenant onboards: one file, merged into the tenants repository");
    onboard(stand, teller).await?;
    if is_simulated {
        space::story(stand, teller, progress).await
    } else {
        services::story(stand, teller, progress).await
    }
}

/// Commits the tenant's file and waits for its space.
async fn onboard(stand: &Stand, teller: &Teller) -> Result<()> {
    let begun = Instant::now();
    let tenants = stand.tenants()?;
    tenants.write("tenants/acme.yaml", stand.sample_tenant("acme")?)?;
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
        let conditions = tenant["status"]["conditions"].as_array();
        let is_ready =
            conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
        if is_ready { Ok(()) } else { Err(tenant["status"].to_string()) }
    })
    .await?;
    teller.told("tenant acme has its namespaces, quota, access, network walls and registry area", begun);
    Ok(())
}

/// Says how to go on, and waits for Ctrl-C.
async fn stay(stand: &Stand, progress: &Progress) -> Result<()> {
    let invite = async {
        let plugin = flows::kubectl_imaas(progress).await?;
        let crane = lab::cache::binary_async("crane", progress).await?;
        let text = invitation(&Places {
            kubeconfig: stand.lab.kubeconfig(),
            programs: [stand.kubectl.program(), &plugin, &crane],
            authority: stand.authority(),
            git: &stand.git.address().to_string(),
            git_name: stand.git_name(),
            follow_log: &stand.follow_log(),
            registry: &stand.registry.endpoint(),
        });
        println!("{text}");
        std::future::pending::<Result<()>>().await
    };
    tokio::select! {
        failed = invite => failed,
        ended = signal::ctrl_c() => ended.context("wait for Ctrl-C"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use imaas_operator::{api::DescriptorSpec, yaml};

    use super::{Duration, ENVIRONMENTS, stand_options};

    /// The operator and two token services, as the chart asks for them.
    const PLATFORM: i128 = 100 + 2 * 20;
    /// The smallest machine.
    const NODE: i128 = 2000;

    /// Thousandths of a core of a sample service in all environments.
    fn requests(sample: &str) -> i128 {
        let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/services");
        let text = std::fs::read(services.join(sample).join("imaas.yaml")).unwrap();
        let descriptor = yaml::descriptor(&text).unwrap();
        let in_each = ENVIRONMENTS.map(|environment| {
            let settings = yaml::settings(&descriptor, environment).unwrap();
            settings.resources.cpu.millis().unwrap() * i128::from(settings.scaling.min)
        });
        in_each.iter().sum()
    }

    #[test]
    fn beside_the_story_and_the_invited_tenant_a_new_service_has_room_to_change() {
        let told = requests("orders") + requests("inventory");
        let invited = requests("inventory");
        let new = DescriptorSpec::default().resources.cpu.millis().unwrap();
        // One in each environment, and while one of them changes, the next version beside it.
        let asked = PLATFORM + told + invited + new * 4;
        assert!(asked <= NODE, "{asked}m");
    }

    #[test]
    fn another_lab_is_waited_for_as_long_as_the_flows_take() {
        assert!(stand_options(false).wait > Duration::from_mins(20));
    }
}

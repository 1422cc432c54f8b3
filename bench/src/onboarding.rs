#![expect(clippy::disallowed_types, reason = "IO: clients, and the clock of a benchmark")]
//! How fast, and with how many requests, do tenants get their space from one commit? And what does a restart cost?

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use flows::{OPERATOR, Stand, StandOptions};
use imaas_operator::{api::Environment, environment::check};
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use lab::{Nodes, Progress};

use crate::{
    audit::{Log, Requests, sum},
    bare::{self, Lane},
    input,
    ready::Watch,
};

pub use crate::report::Report;

const BARE: &str = "bare-client";
const NAMESPACE: &str = "imaas-system";
/// An operator that asks nothing for so long has nothing left to do.
const QUIET: Duration = Duration::from_secs(3);
/// Between two Tenants that become Ready, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(5);

/// What is onboarded, and by which build.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Tenants in the commit; each gets a home and three environments.
    #[arg(long, default_value_t = 300)]
    pub tenants: usize,
    /// Services in each tenant's file. Nobody gives their repositories a login, so they wait for it.
    #[arg(long, default_value_t = 0)]
    pub services: usize,
    /// Pods that are simulated (KWOK), instead of none. Onboarding starts none.
    #[arg(long)]
    pub simulated: bool,
    /// To try the benchmark itself: 20 tenants, and the operator as it is developed. Its times mean nothing.
    #[arg(long)]
    pub small: bool,
}

/// Runs it on a control plane of its own; nothing is left.
///
/// # Errors
/// What does not start; tenants that do not become Ready.
pub async fn run(options: Options, progress: &Progress) -> Result<Report> {
    let options = if options.small { Options { tenants: 20, ..options } } else { options };
    let mut stand = Stand::start(stand(&options), progress).await?;
    let outcome = measure(&mut stand, options, progress).await;
    let stopped = stand.stop().await;
    let report = outcome?;
    stopped?;
    Ok(report)
}

fn stand(options: &Options) -> StandOptions {
    StandOptions {
        interval: "1s",
        service_interval: "60s",
        tenants: Vec::new(),
        nodes: if options.simulated { Nodes::Simulated } else { Nodes::None },
        release: !options.small,
        users: vec![lab::User::new(BARE, &[])],
        audited: vec![OPERATOR.to_owned(), BARE.to_owned()],
        ..StandOptions::default()
    }
}

async fn measure(stand: &mut Stand, options: Options, progress: &Progress) -> Result<Report> {
    let conditions = conditions(&options);
    let grant = ["create", "clusterrolebinding", BARE, "--clusterrole=cluster-admin", "--user", BARE];
    stand.kubectl.run(&grant, None).await?;
    let client = client(&stand.lab.user_kubeconfig(BARE)?).await?;
    let half = options.tenants.div_ceil(2);
    progress.say("the bare client, first half …");
    let before = floor(&client, 0..half).await?;

    let mut log = Log::new(stand.lab.audit_log());
    quiet(&mut log).await?;
    progress.say("the operator: one commit …");
    let watch = Watch::start(self::client(stand.lab.kubeconfig()).await?, options.tenants, PATIENCE).await?;
    let pushed = push(stand, &options)?;
    let took = watch.last().await?.duration_since(pushed);
    let (first, _) = quiet(&mut log).await?;
    let operator = |stand: &Stand| stand.operator().map_or(0, lab::process::Process::peak_resident_bytes);
    let memory_first = operator(stand);

    progress.say("the operator: a restart …");
    let restarted = Instant::now();
    stand.restart_operator().await?;
    let (second, last) = quiet(&mut log).await?;
    let memory_second = operator(stand);
    progress.say("the bare client, second half …");
    let after = floor(&client, half..options.tenants.max(half + 1)).await?;
    let server = stand.lab.processes().into_iter().find(|process| process.name() == "kube-apiserver");
    let server = server.context("no API server")?.peak_resident_bytes();
    Ok(Report {
        tenants: options.tenants,
        options,
        conditions,
        bare: [before, after],
        took,
        first,
        second,
        caught_up: last.duration_since(restarted),
        memory: [memory_first, memory_second, server],
    })
}

/// The bare client on these tenants.
async fn floor(client: &Client, numbers: std::ops::Range<usize>) -> Result<Lane> {
    let environments: Vec<Environment> = Api::all(client.clone()).list(&ListParams::default()).await?.items;
    let environments = check(&environments);
    let mut spaces = Vec::new();
    for number in numbers {
        spaces.extend(input::spaces(&input::name(input::BARE, number), &environments)?);
    }
    ensure!(!spaces.is_empty(), "nothing to do: --tenants must be at least 1");
    bare::run(client, spaces).await
}

/// One commit with all files; returns when the push had ended.
fn push(stand: &Stand, options: &Options) -> Result<Instant> {
    let tenants = stand.tenants()?;
    for number in 0..options.tenants {
        let name = input::name(input::OPERATORS, number);
        let text = input::file(&name, options.services, stand.git_name());
        tenants.write(&format!("tenants/{name}.yaml"), text)?;
    }
    tenants.commit("feat: onboard everybody")?;
    tenants.push("main")?;
    Ok(Instant::now())
}

/// Waits until the operator asks nothing more; what it asked since the last time, and when that was last.
async fn quiet(log: &mut Log) -> Result<(Requests, Instant)> {
    let (mut requests, mut last) = (Requests::default(), Instant::now());
    while last.elapsed() < QUIET {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (more, is_busy) = log.next(OPERATOR, NAMESPACE)?;
        requests = sum(more, &requests);
        if is_busy {
            last = Instant::now();
        }
    }
    Ok((requests, last))
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).context("a kubeconfig")?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Client::try_from(config).context("a client")
}

fn conditions(options: &Options) -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{cores} cores, load before {}; Kubernetes {}, etcd without fsync; {} pods; operator built for {}",
        load.split(' ').next().unwrap_or("unknown"),
        lab::cache::KUBERNETES_VERSION,
        if options.simulated { "simulated" } else { "no" },
        if options.small { "development" } else { "release" },
    )
}

//! A real Kubernetes on this machine, for the demo, the tests and the benchmarks.
//!
//! [`Lab::start`] gives an API server of its own in seconds, with [`Nodes::Real`] one that runs pods; [`Lab::stop`]
//! leaves nothing behind. Everything runs as plain processes that this process owns. See README.md.
mod aggregated;
pub mod cache;
pub mod camel;
pub mod certificates;
pub mod control_plane;
mod data_dir;
pub mod dns;
pub mod gateway;
pub mod git_server;
pub mod gitea;
pub mod helm;
mod host;
pub mod image;
mod iptables;
pub mod keda;
pub mod kubectl;
pub mod metrics_server;
mod network;
pub mod node;
pub mod packages;
pub mod process;
mod progress;
pub mod prometheus;
pub mod rabbitmq;
pub mod registry;
mod simulation;

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;

pub use self::{
    control_plane::User, data_dir::DataDir, host::HOST_IP, progress::Progress, simulation::SIMULATED_NODE,
};
use self::{
    control_plane::{ControlPlane, Settings},
    helm::Helm,
    host::{Host, Turn},
    kubectl::Kubectl,
    node::{Node, Runtime},
    process::Process,
    simulation::Simulation,
};

/// Where a lab with real pods lives unless told otherwise: container file systems want a real disk.
const NODE_DIR: &str = "/var/lib/imaas-lab";

/// Is this process root? Real pods need it.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Can this process run real pods? If not, says on standard error, past any capture, that `test` is skipped.
pub fn may_run_pods(test: &str) -> bool {
    let may = cfg!(target_os = "linux") && is_root();
    if !may {
        // Nobody to tell when standard error is closed.
        let _ = writeln!(std::io::stderr(), "skipped: {test} needs root on Linux");
    }
    may
}

/// What runs the lab's pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nodes {
    /// Nothing: objects and controllers only. No root needed, several labs side by side.
    #[default]
    None,
    /// KWOK: pods turn Ready, nothing runs in them and nothing answers. No root needed, several labs side by side.
    Simulated,
    /// This machine. Root on Linux, one lab at a time.
    Real,
}

/// What kind of lab to start.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// What runs the pods.
    pub nodes: Nodes,
    /// The lab's folder; it must not exist and is removed at the end. Default: below the system's temporary folder,
    /// with real pods `/var/lib/imaas-lab`.
    pub data_dir: Option<PathBuf>,
    /// Who may log in beside the administrator, for tests that act as a tenant's member.
    pub users: Vec<User>,
    /// Users each of whose requests the API server writes down in [`Lab::audit_log`].
    pub audited: Vec<String>,
    /// Names that resolve to the lab's address in pods (real nodes only).
    pub host_names: Vec<String>,
    /// How long to wait while another lab with real pods runs on this machine; else that is an error at once.
    pub wait: Duration,
}

impl Default for LabOptions {
    fn default() -> Self {
        let host_names = vec!["git.imaas.lab".to_owned(), "registry.imaas.lab".to_owned()];
        Self {
            nodes: Nodes::None,
            data_dir: None,
            users: Vec::new(),
            audited: Vec::new(),
            host_names,
            wait: Duration::ZERO,
        }
    }
}

impl LabOptions {
    /// A lab with real pods.
    pub fn real() -> Self {
        Self { nodes: Nodes::Real, ..Self::default() }
    }
}

/// A running lab. Call [`Lab::stop`]; a dropped one is ended too, but blocks while it does and only logs errors.
#[derive(Debug)]
pub struct Lab {
    // Fields drop in this order: the folder goes when nobody writes into it, the turn when it is gone.
    node: Option<Node>,
    dns: Option<Process>,
    host: Option<Host>,
    simulation: Option<Simulation>,
    control_plane: ControlPlane,
    kubeconfig: PathBuf,
    dir: DataDir,
    _turn: Option<Arc<Turn>>,
}

impl Lab {
    /// Starts a lab and waits until it is usable. The first one on a machine builds Kubernetes: minutes.
    ///
    /// # Errors
    /// Go or Debian packages missing; with real pods also: not root, not Linux, another such lab running. A part that
    /// does not start is named with its last log lines. What had been started is ended again.
    pub async fn start(options: LabOptions, progress: &Progress) -> anyhow::Result<Self> {
        if options.nodes == Nodes::Real {
            node::check_machine()?;
        }
        control_plane::prepare(progress).await?;
        match options.nodes {
            Nodes::None | Nodes::Simulated => Self::start_unprivileged(&options, progress).await,
            Nodes::Real => Self::start_real(&options, progress).await,
        }
    }

    async fn start_unprivileged(options: &LabOptions, progress: &Progress) -> anyhow::Result<Self> {
        if options.nodes == Nodes::Simulated {
            simulation::prepare(progress).await?;
        }
        let dir = DataDir::create(options.data_dir.as_deref())?;
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let settings =
            Settings { dir: dir.path(), address, users: &options.users, audited: &options.audited };
        let control_plane = ControlPlane::start(&settings, progress).await?;
        let simulation = match options.nodes {
            Nodes::Simulated => Some(Simulation::start(dir.path(), &control_plane, progress).await?),
            Nodes::None | Nodes::Real => None,
        };
        let kubeconfig = control_plane.kubeconfig();
        Ok(Self {
            node: None,
            dns: None,
            host: None,
            simulation,
            kubeconfig,
            control_plane,
            dir,
            _turn: None,
        })
    }

    async fn start_real(options: &LabOptions, progress: &Progress) -> anyhow::Result<Self> {
        node::prepare(progress).await?;
        let turn = Arc::new(Turn::take(options.wait, progress).await?);
        let wanted = options.data_dir.as_deref().unwrap_or(Path::new(NODE_DIR));
        let dir = DataDir::create(Some(wanted))?;
        let host = Host::prepare(&turn, dir.path())?;
        let mut users = options.users.clone();
        users.extend(node::users());
        let address = HOST_IP.into();
        let settings = Settings { dir: dir.path(), address, users: &users, audited: &options.audited };
        let (control_plane, runtime) =
            tokio::try_join!(ControlPlane::start(&settings, progress), Runtime::start(dir.path(), progress))?;
        let kubeconfig = control_plane.kubeconfig();
        let (node, dns) = tokio::try_join!(
            Node::start(&control_plane, runtime, progress),
            dns::start(dir.path(), control_plane.kubectl(), &kubeconfig, &options.host_names, progress)
        )?;
        Ok(Self {
            node: Some(node),
            dns: Some(dns),
            host: Some(host),
            simulation: None,
            kubeconfig,
            control_plane,
            dir,
            _turn: Some(turn),
        })
    }

    /// The administrator's kubeconfig file.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The kubeconfig file of one of [`LabOptions::users`].
    ///
    /// # Errors
    /// When there is no such user.
    pub fn user_kubeconfig(&self, name: &str) -> anyhow::Result<PathBuf> {
        self.control_plane.user_kubeconfig(name)
    }

    /// The address on which the lab's servers are reached, by pods too when they are real.
    pub fn host_ip(&self) -> Ipv4Addr {
        if self.node.is_some() { HOST_IP } else { Ipv4Addr::LOCALHOST }
    }

    /// The lab's folder: logs, certificates. Other parts may keep their files in it too; it goes with the lab.
    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// What [`LabOptions::audited`] asked for, one JSON object a line (`audit.k8s.io/v1`).
    pub fn audit_log(&self) -> PathBuf {
        self.control_plane.audit_log()
    }

    /// The control plane.
    pub const fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The node, with real pods only.
    pub const fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// Starts a second node with real pods: a kubelet, a containerd and a kube-proxy in a network of their own, one cable
    /// away. End it with [`Node::stop`] before the lab.
    ///
    /// # Errors
    /// In a lab without real pods, and when a part does not start.
    pub async fn second_node(&self, progress: &Progress) -> anyhow::Result<Node> {
        self.host.as_ref().context("a second node needs a lab with real pods")?;
        Node::start_second(&self.control_plane, self.dir.path(), progress).await
    }

    /// Kubectl as administrator.
    pub const fn kubectl(&self) -> &Kubectl {
        self.control_plane.kubectl()
    }

    /// Kubectl as one of [`LabOptions::users`].
    ///
    /// # Errors
    /// When there is no such user.
    pub fn kubectl_as(&self, user: &str) -> anyhow::Result<Kubectl> {
        Ok(self.kubectl().with_kubeconfig(&self.user_kubeconfig(user)?))
    }

    /// Helm as administrator; builds it when it is not in the cache.
    ///
    /// # Errors
    /// As [`cache::binary`].
    pub async fn helm(&self, progress: &Progress) -> anyhow::Result<Helm> {
        Helm::new(&self.kubeconfig, progress).await
    }

    /// All processes that the lab started itself, for their memory and logs.
    pub fn processes(&self) -> Vec<&Process> {
        let plane = self.control_plane.processes();
        let simulation = self.simulation.iter().map(Simulation::process);
        let node = self.node.iter().flat_map(Node::processes);
        plane.into_iter().chain(simulation).chain(node).chain(&self.dns).collect()
    }

    /// Ends everything and removes what it left on the machine.
    ///
    /// # Errors
    /// When something could not be taken back; the next start tries again.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        // Killing and unmounting block.
        tokio::task::spawn_blocking(move || {
            if let Some(simulation) = &self.simulation {
                simulation.process().kill();
            }
            self.control_plane.kill();
            if let Some(node) = &self.node {
                node.kill();
            }
            if let Some(dns) = &self.dns {
                dns.kill();
            }
            self.host.as_mut().map_or(Ok(()), Host::clean)
        })
        .await
        .context("the lab's end was interrupted")?
    }
}

//! A node that KWOK pretends to be: its pods turn Ready at once, and nothing runs in them. No root needed.
use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::Context;
use serde_json::json;

use crate::{Progress, cache, control_plane::ControlPlane, node::wait_for_node, process::Process};

/// The node's name, which says what it is wherever it is listed.
pub const SIMULATED_NODE: &str = "simulated";

const DEADLINE: Duration = Duration::from_mins(1);
const STAGES: &str = include_str!("../simulation/stages.yaml");

/// Builds KWOK when it is not in the cache yet.
pub(crate) async fn prepare(progress: &Progress) -> anyhow::Result<()> {
    cache::binary_async("kwok", progress).await.map(drop)
}

/// A running KWOK with one node. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Simulation(Process);

impl Simulation {
    /// Starts KWOK and waits until its node takes pods.
    pub(crate) async fn start(dir: &Path, plane: &ControlPlane, progress: &Progress) -> anyhow::Result<Self> {
        let program = cache::binary_async("kwok", progress).await?;
        let stages = dir.join("stages.yaml");
        fs::write(&stages, STAGES).with_context(|| format!("write {}", stages.display()))?;
        let mut command = Command::new(program);
        command
            .arg(format!("--kubeconfig={}", plane.kubeconfig().display()))
            .arg(format!("--config={}", stages.display()))
            .arg(format!("--manage-single-node={SIMULATED_NODE}"))
            // Leases, without which the controller manager takes the node for dead.
            .args(["--node-ip=10.0.0.1", "--cidr=10.0.0.1/16", "--node-lease-duration-seconds=40"])
            .env("NO_PROXY", "*");
        let simulation = Self(Process::spawn("kwok", &command, &dir.join("kwok.log"))?);
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": SIMULATED_NODE, "labels": {
                "kubernetes.io/hostname": SIMULATED_NODE, "kubernetes.io/os": "linux", "type": "kwok",
            } } });
        plane.kubectl().apply(&node.to_string()).await?;
        wait_for_node(SIMULATED_NODE, plane.kubectl(), &[&simulation.0], DEADLINE).await?;
        Ok(simulation)
    }

    pub(crate) const fn process(&self) -> &Process {
        &self.0
    }
}

//! A network of its own for the second node of a machine, and the cable between both.
use std::{ffi::OsStr, fs, net::Ipv4Addr, path::Path, process::Command, time::Duration};

use crate::{
    host::{BRIDGE, CABLE, HOST_IP, ip},
    process::{self, Process, wait_until},
};

/// The second node's address.
pub(crate) const SECOND_IP: Ipv4Addr = Ipv4Addr::new(10, 231, 0, 2);

/// A network namespace, for as long as this lives. Not one of `ip netns add`: that mounts `/run/netns` over itself, and the
/// pods of a running node could not be ended any more.
#[derive(Debug)]
pub(crate) struct Network {
    holder: Process,
}

impl Network {
    /// Makes it, with a bridge that has [`SECOND_IP`] and the cable's other end.
    pub(crate) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "infinity"]);
        let holder = Process::spawn("network", &command, &dir.join("network.log"))?;
        let network = Self { holder };
        let ours = fs::read_link("/proc/self/ns/net")?;
        wait_until("network namespace", Duration::from_secs(10), &[&network.holder], || async {
            fs::read_link(network.path()).is_ok_and(|theirs| theirs != ours)
        })
        .await?;
        let pid = network.holder.pid().to_string();
        ip(&["link", "add", CABLE, "type", "veth", "peer", "name", "eth0", "netns", &pid])?;
        ip(&["link", "set", CABLE, "master", BRIDGE, "up"])?;
        // Its bridge and the machine's are one network: addresses of pods need no routes.
        network.run(&format!(
            "echo 1 > /proc/sys/net/ipv4/ip_forward
             test ! -e /proc/sys/net/bridge || echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables
             ip link set lo up
             ip link add {BRIDGE} address 02:00:0a:e7:00:02 type bridge
             ip link set eth0 master {BRIDGE} up
             ip addr add {SECOND_IP}/16 dev {BRIDGE}
             ip link set {BRIDGE} up
             ip route add default via {HOST_IP}"
        ))?;
        Ok(network)
    }

    /// A command that runs `program` there.
    pub(crate) fn command(&self, program: &OsStr) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg("--").arg(program);
        command
    }

    /// Pulls the cable, or puts it back: while it is out nothing reaches the node, and what runs there runs on.
    pub(crate) fn connect(is_connected: bool) -> anyhow::Result<()> {
        ip(&["link", "set", CABLE, if is_connected { "up" } else { "down" }])
    }

    pub(crate) const fn process(&self) -> &Process {
        &self.holder
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.pid())
    }

    fn run(&self, script: &str) -> anyhow::Result<()> {
        process::run(self.command(OsStr::new("sh")).args(["-euc", script])).map(drop)
    }
}

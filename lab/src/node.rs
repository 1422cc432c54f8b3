//! A real node on this machine: containerd, CNI, kubelet and kube-proxy. Root on Linux only, one at a time.
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::json;

use crate::{
    Progress, cache,
    cache::sha256_hex,
    control_plane::{ControlPlane, ONE_LOOK},
    dns,
    host::{BRIDGE, CGROUP, HOST_IP, Host, NETWORK, POD_RANGE},
    kubectl::Kubectl,
    packages,
    process::{self, Process, free_port, http_status, wait_until},
};

/// The node's name.
pub const NODE_NAME: &str = "imaas-lab";
/// An image that is on the node from the start: a process that waits for SIGTERM.
pub const PAUSE_IMAGE: &str = "imaas.lab/pause:1";
/// Users of the API server that a node needs beside the administrator.
pub(crate) const KUBELET_USER: (&str, &str) = ("system:node:imaas-lab", "system:nodes");
pub(crate) const PROXY_USER: (&str, &str) = ("system:kube-proxy", "system:node-proxiers");

const DEADLINE: Duration = Duration::from_secs(90);
const GO_TOOLS: [&str; 4] = ["kubelet", "kube-proxy", "coredns", "pause"];
const PACKAGES: [(&str, &str); 7] = [
    ("containerd", "/usr/bin/containerd"),
    ("runc", "/usr/sbin/runc"),
    ("containernetworking-plugins", "/usr/lib/cni/bridge"),
    ("iptables", "/usr/sbin/iptables"),
    ("iproute2", "/usr/sbin/ip"),
    ("conntrack", "/usr/sbin/conntrack"),
    ("mount", "/usr/bin/mount"),
];

/// Fails early, with what to do about it, where no real node can run.
pub(crate) fn check_machine() -> anyhow::Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("real pods need Linux: use Nodes::Simulated here");
    }
    if !crate::is_root() {
        bail!("real pods need root: run as root, or use Nodes::Simulated");
    }
    Ok(())
}

/// Builds and installs what a node needs and is not there yet.
pub(crate) async fn prepare(progress: &Progress) -> anyhow::Result<()> {
    for tool in GO_TOOLS {
        cache::binary_async(tool, progress).await?;
    }
    let progress = progress.clone();
    tokio::task::spawn_blocking(move || packages::ensure(&PACKAGES, &progress))
        .await
        .context("apt-get was ended")?
}

/// The container runtime, ready, with the pause image in it.
#[derive(Debug)]
pub(crate) struct Runtime {
    process: Process,
    dir: PathBuf,
}

impl Runtime {
    pub(crate) async fn start(dir: &Path, progress: &Progress) -> anyhow::Result<Self> {
        let registries = dir.join("registries");
        let cni = dir.join("cni");
        for folder in [&registries, &cni] {
            fs::create_dir_all(folder).with_context(|| format!("folder {}", folder.display()))?;
        }
        fs::write(cni.join("10-lab.conflist"), network(dir).to_string())
            .context("write the CNI configuration")?;
        let file = dir.join("containerd.toml");
        fs::write(&file, runtime_configuration(dir)).context("write containerd's configuration")?;
        let mut command = Command::new("containerd");
        command.arg("--config").arg(&file);
        let process = Process::spawn("containerd", &command, &dir.join("containerd.log"))?;
        let runtime = Self { process, dir: dir.to_owned() };
        wait_until("containerd", DEADLINE, &[&runtime.process], || async {
            runtime.ctr(&["version"]).is_ok()
        })
        .await?;
        let pause = cache::binary_async("pause", progress).await?;
        runtime.import(&pause_archive(dir, &pause)?)?;
        Ok(runtime)
    }

    fn import(&self, archive: &Path) -> anyhow::Result<()> {
        let archive = archive.to_str().context("path of an image archive is not UTF-8")?;
        self.ctr(&["images", "import", archive]).map(drop)
    }

    fn ctr(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.dir.join("containerd.sock")).args(["--namespace", "k8s.io"]);
        process::run(command.args(arguments))
    }
}

/// A running node. Dropping it kills it and takes back what it changed on the machine.
#[derive(Debug)]
pub struct Node {
    // Fields drop in this order: the processes end before the machine is cleaned up.
    kubelet: Process,
    proxy: Process,
    dns: Process,
    runtime: Runtime,
    host: Host,
}

impl Node {
    /// Starts kubelet, kube-proxy and `CoreDNS` and waits until the node is ready.
    pub(crate) async fn start(
        plane: &ControlPlane,
        (host, runtime): (Host, Runtime),
        names: &[String],
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let dir = runtime.dir.clone();
        let admin = plane.kubeconfig();
        let kubelet = start_kubelet(&dir, plane, progress).await?;
        let (proxy, proxy_health) = start_proxy(&dir, plane, progress).await?;
        let dns = dns::start(&dir, plane.kubectl(), &admin, names, progress).await?;
        let children = [&runtime.process, &kubelet, &proxy, &dns];
        wait_for_node(NODE_NAME, plane.kubectl(), &children, DEADLINE).await?;
        wait_until("kube-proxy", DEADLINE, &children, || async {
            http_status(proxy_health, "/healthz").await == Some(200)
        })
        .await?;
        Ok(Self { kubelet, proxy, dns, runtime, host })
    }

    /// Lets the node pull images named `NAME/…` (`registry.imaas.lab:5000`) over plain HTTP from another address
    /// (`http://10.231.0.1:5000`). At any time: it is read at each pull.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub fn trust_registry(&self, name: &str, endpoint: &str) -> anyhow::Result<()> {
        let dir = self.runtime.dir.join("registries").join(name);
        fs::create_dir_all(&dir).with_context(|| format!("folder {}", dir.display()))?;
        let text = format!(
            "server = \"{endpoint}\"\n\n[host.\"{endpoint}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
        );
        fs::write(dir.join("hosts.toml"), text).with_context(|| format!("trust registry {name}"))
    }

    /// Puts the images of a Docker or OCI archive on the node, without a registry.
    ///
    /// # Errors
    /// What containerd says.
    pub fn import_image(&self, archive: &Path) -> anyhow::Result<()> {
        self.runtime.import(archive)
    }

    /// containerd's `ctr` in the kubelet's namespace, to look inside: `ctr(&["containers", "ls"])`.
    ///
    /// # Errors
    /// What containerd says.
    pub fn ctr(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.runtime.ctr(arguments)
    }

    /// The processes of the node itself; those of pods are not among them.
    pub fn processes(&self) -> [&Process; 4] {
        [&self.runtime.process, &self.kubelet, &self.proxy, &self.dns]
    }

    /// Ends the node and takes back what it changed on the machine. Blocks for about a second.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        for process in [&self.kubelet, &self.proxy, &self.dns, &self.runtime.process] {
            process.kill();
        }
        self.host.clean()
    }
}

/// Waits until a node is ready and takes pods.
pub(crate) async fn wait_for_node(
    name: &str,
    kubectl: &Kubectl,
    children: &[&Process],
    deadline: Duration,
) -> anyhow::Result<()> {
    let node = format!("node/{name}");
    wait_until("node", deadline, children, || async {
        kubectl.wait("create", &[&node], ONE_LOOK).await.is_ok()
            && kubectl.wait("condition=Ready", &[&node], ONE_LOOK).await.is_ok()
    })
    .await?;
    wait_until("node without taints", deadline, children, || async {
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status} {.spec.taints}";
        let state = kubectl.run(&["get", "node", name, "-o", path], None).await;
        state.is_ok_and(|state| state.trim() == "True")
    })
    .await
    .map(drop)
}

async fn start_kubelet(dir: &Path, plane: &ControlPlane, progress: &Progress) -> anyhow::Result<Process> {
    let program = cache::binary_async("kubelet", progress).await?;
    let root = dir.join("kubelet");
    fs::create_dir_all(&root).with_context(|| format!("folder {}", root.display()))?;
    let file = dir.join("kubelet.json");
    fs::write(&file, kubelet_configuration(dir, plane.ca_file())?.to_string())
        .context("write the kubelet's configuration")?;
    let mut command = Command::new(program);
    command
        .arg(format!("--config={}", file.display()))
        .arg(format!("--kubeconfig={}", plane.user_kubeconfig(KUBELET_USER.0)?.display()))
        .arg(format!("--root-dir={}", root.display()))
        .arg(format!("--cert-dir={}", root.join("pki").display()))
        .arg(format!("--hostname-override={NODE_NAME}"))
        .arg(format!("--node-ip={HOST_IP}"))
        .env("NO_PROXY", "*");
    Process::spawn("kubelet", &command, &dir.join("kubelet.log"))
}

async fn start_proxy(
    dir: &Path,
    plane: &ControlPlane,
    progress: &Progress,
) -> anyhow::Result<(Process, SocketAddr)> {
    let program = cache::binary_async("kube-proxy", progress).await?;
    let health = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut command = Command::new(program);
    command
        .arg(format!("--kubeconfig={}", plane.user_kubeconfig(PROXY_USER.0)?.display()))
        .arg(format!("--hostname-override={NODE_NAME}"))
        .arg(format!("--cluster-cidr={POD_RANGE}"))
        .arg(format!("--healthz-bind-address={health}"))
        .arg(format!("--metrics-bind-address=127.0.0.1:{}", free_port()?))
        .args(["--proxy-mode=iptables", "--iptables-localhost-nodeports=false", "--oom-score-adj=0"])
        // Node ports are for this machine, not for the network it is in.
        .arg("--nodeport-addresses=primary")
        // Connection tracking's limits are the machine's, not the lab's.
        .args(["--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0"])
        .arg("--conntrack-tcp-timeout-close-wait=0")
        .env("NO_PROXY", "*");
    Ok((Process::spawn("kube-proxy", &command, &dir.join("kube-proxy.log"))?, health))
}

fn kubelet_configuration(dir: &Path, ca: &Path) -> anyhow::Result<serde_json::Value> {
    Ok(json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": HOST_IP,
        "port": free_port()?,
        "healthzPort": free_port()?,
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": true}, "x509": {"clientCAFile": ca},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": format!("unix://{}", dir.join("containerd.sock").display()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{CGROUP}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        // What dies is started again after a second and not, the fifth time, after minutes.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
        // The first: without the right to lower an OOM score (CAP_SYS_RESOURCE) it would not start.
        "featureGates": {"KubeletInUserNamespace": true, "KubeletCrashLoopBackOffMax": true},
        "oomScoreAdj": 0,
        "evictionHard": {
            "memory.available": "100Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "clusterDNS": [dns::SERVICE_IP],
        "clusterDomain": "cluster.local",
        "makeIPTablesUtilChains": false,
        "maxPods": 250,
        "podLogsDir": dir.join("pod-logs"),
        "volumePluginDir": dir.join("volume-plugins"),
        "serializeImagePulls": false,
    }))
}

fn runtime_configuration(dir: &Path) -> String {
    let plugins = ["/usr/lib/cni", "/opt/cni/bin"];
    let plugins =
        plugins.into_iter().find(|path| Path::new(path).join("bridge").exists()).unwrap_or(plugins[0]);
    format!(
        r#"version = 2
root = "{dir}/containerd"
state = "{dir}/containerd-state"

[grpc]
  address = "{dir}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "{dir}/containerd-opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{plugins}"
  conf_dir = "{dir}/cni"

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = "{dir}/runc"

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{dir}/registries"
"#,
        dir = dir.display(),
    )
}

fn network(dir: &Path) -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0",
        "name": NETWORK,
        "plugins": [
            {
                "type": "bridge", "bridge": BRIDGE, "isGateway": true, "ipMasq": true, "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": dir.join("addresses"),
                    "ranges": [[{"subnet": POD_RANGE, "rangeStart": "10.231.1.1", "gateway": HOST_IP}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

/// An image archive as `docker save` writes it, with one program in it.
fn pause_archive(dir: &Path, program: &Path) -> anyhow::Result<PathBuf> {
    let image = dir.join("pause-image");
    let root = image.join("root");
    fs::create_dir_all(&root).with_context(|| format!("folder {}", root.display()))?;
    fs::copy(program, root.join("pause")).context("copy the pause program")?;
    fs::set_permissions(root.join("pause"), fs::Permissions::from_mode(0o755)).context("pause program")?;
    tar(&image.join("layer.tar"), &root, &["pause"])?;
    let layer = fs::read(image.join("layer.tar")).context("read the layer")?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let configuration = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256_hex(&layer))]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"]}]);
    fs::write(image.join("config.json"), configuration.to_string()).context("write the image")?;
    fs::write(image.join("manifest.json"), manifest.to_string()).context("write the image")?;
    let archive = dir.join("pause.tar");
    tar(&archive, &image, &["manifest.json", "config.json", "layer.tar"])?;
    Ok(archive)
}

fn tar(archive: &Path, dir: &Path, files: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("tar");
    command.arg("--create").arg("--file").arg(archive).arg("--directory").arg(dir);
    process::run(command.args(["--owner=0", "--group=0"]).args(files)).map(drop)
}

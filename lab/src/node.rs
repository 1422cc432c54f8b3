//! Real nodes on this machine: containerd, CNI, kubelet and kube-proxy each. Root on Linux only, one lab at a time.
use std::{
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, SocketAddr},
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
    control_plane::{ControlPlane, ONE_LOOK, User},
    dns,
    host::{self, BRIDGE, CGROUP, HOST_IP, NETWORK, POD_RANGE},
    kubectl::Kubectl,
    network::{Network, SECOND_IP},
    packages,
    process::{self, Process, free_port, http_status, wait_until},
};

/// The first node's name.
pub const NODE_NAME: &str = "imaas-lab";
/// The name of [`Lab::second_node`](crate::Lab::second_node).
pub const SECOND_NODE_NAME: &str = host::SECOND;
/// An image that is on the node from the start: a process that waits for SIGTERM.
pub const PAUSE_IMAGE: &str = "imaas.lab/pause:1";
const PROXY_USER: &str = "system:kube-proxy";

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

/// Users of the API server that nodes need beside the administrator.
pub(crate) fn users() -> [User; 3] {
    let kubelet = |node| User::new(&kubelet_user(node), &["system:nodes"]);
    [kubelet(NODE_NAME), kubelet(SECOND_NODE_NAME), User::new(PROXY_USER, &["system:node-proxiers"])]
}

fn kubelet_user(node: &str) -> String {
    format!("system:node:{node}")
}

/// What is a node's own.
#[derive(Debug)]
struct Site {
    name: &'static str,
    address: Ipv4Addr,
    /// First and last address of its pods.
    pods: [&'static str; 2],
    cgroup: String,
    dir: PathBuf,
    /// Which registries are trusted, for all nodes of a lab.
    registries: PathBuf,
    /// `None`: the machine's.
    network: Option<Network>,
}

impl Site {
    fn first(dir: &Path) -> Self {
        Self {
            name: NODE_NAME,
            address: HOST_IP,
            pods: ["10.231.1.1", "10.231.127.254"],
            cgroup: CGROUP.to_owned(),
            dir: dir.to_owned(),
            registries: dir.join("registries"),
            network: None,
        }
    }

    async fn second(lab_dir: &Path) -> anyhow::Result<Self> {
        let dir = lab_dir.join(SECOND_NODE_NAME);
        fs::create_dir_all(&dir).with_context(|| format!("folder {}", dir.display()))?;
        let cgroup = format!("{CGROUP}/{SECOND_NODE_NAME}");
        host::make_cgroups(&cgroup)?;
        Ok(Self {
            name: SECOND_NODE_NAME,
            address: SECOND_IP,
            pods: ["10.231.128.1", "10.231.255.254"],
            cgroup,
            network: Some(Network::start(&dir).await?),
            dir,
            registries: lab_dir.join("registries"),
        })
    }

    fn command(&self, program: &OsStr) -> Command {
        self.network.as_ref().map_or_else(|| Command::new(program), |network| network.command(program))
    }
}

/// The container runtime, ready, with the pause image in it.
#[derive(Debug)]
pub(crate) struct Runtime {
    process: Process,
    site: Site,
}

impl Runtime {
    /// The first node's, in a lab's folder.
    pub(crate) async fn start(lab_dir: &Path, progress: &Progress) -> anyhow::Result<Self> {
        Self::start_at(Site::first(lab_dir), progress).await
    }

    async fn start_at(site: Site, progress: &Progress) -> anyhow::Result<Self> {
        let dir = &site.dir;
        let cni = dir.join("cni");
        for folder in [&site.registries, &cni] {
            fs::create_dir_all(folder).with_context(|| format!("folder {}", folder.display()))?;
        }
        fs::write(cni.join("10-lab.conflist"), network(&site).to_string())
            .context("write the CNI configuration")?;
        let file = dir.join("containerd.toml");
        fs::write(&file, runtime_configuration(&site)).context("write containerd's configuration")?;
        let mut command = site.command(OsStr::new("containerd"));
        command.arg("--config").arg(&file);
        let process = Process::spawn("containerd", &command, &dir.join("containerd.log"))?;
        let runtime = Self { process, site };
        wait_until("containerd", DEADLINE, &[&runtime.process], || async {
            runtime.ctr(&["version"]).is_ok()
        })
        .await?;
        let pause = cache::binary_async("pause", progress).await?;
        runtime.import(&pause_archive(&runtime.site.dir, &pause)?)?;
        Ok(runtime)
    }

    fn import(&self, archive: &Path) -> anyhow::Result<()> {
        let archive = archive.to_str().context("path of an image archive is not UTF-8")?;
        self.ctr(&["images", "import", archive]).map(drop)
    }

    fn ctr(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.site.dir.join("containerd.sock")).args(["--namespace", "k8s.io"]);
        process::run(command.args(arguments))
    }
}

/// A running node. Dropping it kills its own processes; its pods end with [`Node::stop`], or with the lab.
#[derive(Debug)]
pub struct Node {
    kubelet: Process,
    proxy: Process,
    runtime: Runtime,
}

impl Node {
    /// Starts kubelet and kube-proxy and waits until the node is ready.
    pub(crate) async fn start(
        plane: &ControlPlane,
        runtime: Runtime,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let kubelet = start_kubelet(&runtime.site, plane, progress).await?;
        let (proxy, proxy_health) = start_proxy(&runtime.site, plane, progress).await?;
        let node = Self { kubelet, proxy, runtime };
        let children = node.processes();
        wait_for_node(node.name(), plane.kubectl(), &children, DEADLINE).await?;
        wait_until("kube-proxy", DEADLINE, &children, || async {
            http_status(proxy_health, "/healthz").await == Some(200)
        })
        .await?;
        Ok(node)
    }

    /// A second one, beside the first of a running lab.
    pub(crate) async fn start_second(
        plane: &ControlPlane,
        lab_dir: &Path,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let runtime = Runtime::start_at(Site::second(lab_dir).await?, progress).await?;
        Self::start(plane, runtime, progress).await
    }

    /// As the cluster calls it.
    pub const fn name(&self) -> &'static str {
        self.runtime.site.name
    }

    /// Lets all nodes of the lab pull images named `NAME/…` (`registry.imaas.lab:5000`) over plain HTTP from another
    /// address (`http://10.231.0.1:5000`). At any time: it is read at each pull.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub fn trust_registry(&self, name: &str, endpoint: &str) -> anyhow::Result<()> {
        let dir = self.runtime.site.registries.join(name);
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

    /// The second node's cable out, or in again: while it is out nobody reaches the node and its pods, which run on.
    ///
    /// # Errors
    /// On the first node, which is the machine itself.
    pub fn connect(&self, is_connected: bool) -> anyhow::Result<()> {
        if self.runtime.site.network.is_none() {
            bail!("the node {} is this machine: it has no cable", self.name());
        }
        Network::connect(is_connected)
    }

    /// The processes of the node itself; those of pods are not among them.
    pub fn processes(&self) -> Vec<&Process> {
        let network = self.runtime.site.network.as_ref().map(Network::process);
        network.into_iter().chain([&self.runtime.process, &self.kubelet, &self.proxy]).collect()
    }

    /// Ends a second node and its pods and takes back what they changed on the machine; the first ends with its lab. The
    /// cluster still has its Node: `kubectl delete node`. Blocks for about a second.
    ///
    /// # Errors
    /// When something could not be taken back; the lab's end tries again.
    pub fn stop(self) -> anyhow::Result<()> {
        self.kill();
        let Site { dir, cgroup, .. } = &self.runtime.site;
        host::clean_node(dir, cgroup)
    }

    /// Kills its own processes now; pods run on.
    pub(crate) fn kill(&self) {
        for process in self.processes().into_iter().rev() {
            process.kill();
        }
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

async fn start_kubelet(site: &Site, plane: &ControlPlane, progress: &Progress) -> anyhow::Result<Process> {
    let dir = &site.dir;
    let program = cache::binary_async("kubelet", progress).await?;
    let root = dir.join("kubelet");
    fs::create_dir_all(&root).with_context(|| format!("folder {}", root.display()))?;
    let file = dir.join("kubelet.json");
    fs::write(&file, kubelet_configuration(site, plane.ca_file())?.to_string())
        .context("write the kubelet's configuration")?;
    let mut command = site.command(program.as_os_str());
    command
        .arg(format!("--config={}", file.display()))
        .arg(format!("--kubeconfig={}", plane.user_kubeconfig(&kubelet_user(site.name))?.display()))
        .arg(format!("--root-dir={}", root.display()))
        .arg(format!("--cert-dir={}", root.join("pki").display()))
        .arg(format!("--hostname-override={}", site.name))
        .arg(format!("--node-ip={}", site.address))
        .env("NO_PROXY", "*");
    Process::spawn("kubelet", &command, &dir.join("kubelet.log"))
}

async fn start_proxy(
    site: &Site,
    plane: &ControlPlane,
    progress: &Progress,
) -> anyhow::Result<(Process, SocketAddr)> {
    let program = cache::binary_async("kube-proxy", progress).await?;
    let health = SocketAddr::from((site.address, free_port()?));
    let mut command = site.command(program.as_os_str());
    command
        .arg(format!("--kubeconfig={}", plane.user_kubeconfig(PROXY_USER)?.display()))
        .arg(format!("--hostname-override={}", site.name))
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
    Ok((Process::spawn("kube-proxy", &command, &site.dir.join("kube-proxy.log"))?, health))
}

fn kubelet_configuration(site: &Site, ca: &Path) -> anyhow::Result<serde_json::Value> {
    let dir = &site.dir;
    Ok(json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": site.address,
        "port": free_port()?,
        "healthzPort": free_port()?,
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": true}, "x509": {"clientCAFile": ca},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": format!("unix://{}", dir.join("containerd.sock").display()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", site.cgroup),
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

fn runtime_configuration(site: &Site) -> String {
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
  config_path = "{registries}"
"#,
        dir = site.dir.display(),
        registries = site.registries.display(),
    )
}

fn network(site: &Site) -> serde_json::Value {
    let [first, last] = site.pods;
    let range = json!({"subnet": POD_RANGE, "rangeStart": first, "rangeEnd": last, "gateway": site.address});
    json!({
        "cniVersion": "1.0.0",
        "name": NETWORK,
        "plugins": [
            {
                "type": "bridge", "bridge": BRIDGE, "isGateway": true, "ipMasq": true, "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": site.dir.join("addresses"),
                    "ranges": [[range]],
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

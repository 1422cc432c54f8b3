//! What a node changes on the machine, outside its own processes, and how all of it is taken back: bridge, settings,
//! packet filter, control groups, mounts, container processes.
//!
//! The same clean-up runs at a lab's end and, at the next start, after a lab that was killed. It needs nothing but what
//! is in the lab's folder and ends only processes that are in the lab's control group or are shims of its containerd.
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io::{Read, Seek, Write},
    net::Ipv4Addr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::{
    mount::{UnmountFlags, unmount},
    process::{Pid, Signal, kill_process},
};

use crate::{Progress, data_dir, iptables, process};

/// The machine's address inside the lab: pods reach it, and the lab's servers listen on it.
pub const HOST_IP: Ipv4Addr = Ipv4Addr::new(10, 231, 0, 1);
pub(crate) const POD_RANGE: &str = "10.231.0.0/16";
pub(crate) const BRIDGE: &str = "imaas0";
/// This machine's end of the second node's cable.
pub(crate) const CABLE: &str = "imaas-node-2";
pub(crate) const CGROUP: &str = "imaas-lab";
/// The second node's name, folder in the lab's, and control group in [`CGROUP`].
pub(crate) const SECOND: &str = "imaas-lab-2";
pub(crate) const NETWORK: &str = "imaas-lab";

const HOLDER: &str = "/run/imaas-lab.lock";
const CHAINS_BEFORE: &str = data_dir::NOTE;
const SETTINGS_BEFORE: &str = "settings-before";
const SETTINGS: [&str; 2] = ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/bridge/bridge-nf-call-iptables"];
/// Folders that programs make wherever the lab's own folder is.
const ELSEWHERE: [&str; 8] = [
    "/run/containerd/s",
    "/run/containerd",
    "/var/lib/cni/results",
    "/var/lib/cni",
    "/var/log/containers",
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet",
    "/run/netns",
];

/// The machine while it is the lab's node: one at a time. Taken back when dropped.
#[derive(Debug)]
pub(crate) struct Host {
    dir: PathBuf,
    turn: Arc<Turn>,
    cleaned: bool,
}

/// The right to be the one lab with real pods on this machine, until the last clone is dropped.
#[derive(Debug)]
pub(crate) struct Turn(File);

impl Turn {
    /// Takes it, when another lab has it only after that one's end and at most after `wait`.
    pub(crate) async fn take(wait: Duration, progress: &Progress) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut said = false;
        loop {
            match Self::try_take(progress)? {
                Ok(turn) => return Ok(turn),
                Err(holder) if began.elapsed() >= wait => {
                    bail!("a lab with real pods is running already: {holder}; stop that one first")
                }
                Err(holder) if !said => {
                    progress.say(&format!("waiting for the end of another lab with real pods: {holder} …"));
                    said = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Takes it or tells who has it. Cleans up behind a lab that was killed.
    fn try_take(progress: &Progress) -> anyhow::Result<Result<Self, String>> {
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(HOLDER)
            .with_context(|| format!("lock {HOLDER}"))?;
        let taken = file.try_lock().is_ok();
        let mut text = String::new();
        file.read_to_string(&mut text).context("read the lock")?;
        let mut lines = text.lines();
        let (pid, dir) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        if !taken {
            return Ok(Err(format!("process {pid}, folder {dir}")));
        }
        if !dir.is_empty() {
            progress
                .say(&format!("cleaning up behind a lab that was killed (process {pid}, folder {dir}) …"));
            clean(Path::new(dir))?;
            data_dir::remove_if_left(Path::new(dir))?;
            record(&file, "")?;
        }
        Ok(Ok(Self(file)))
    }
}

impl Host {
    /// Notes the state of the machine in `dir`, then makes the bridge with [`HOST_IP`] and the control group.
    pub(crate) fn prepare(turn: &Arc<Turn>, dir: &Path) -> anyhow::Result<Self> {
        let before = iptables::chains();
        if before.iter().any(|chain| chain.contains("KUBE-SERVICES")) {
            bail!(
                "another kube-proxy writes this machine's packet filter: a lab with real pods cannot run beside it"
            );
        }
        let lines: Vec<&str> = before.iter().map(String::as_str).collect();
        fs::write(dir.join(CHAINS_BEFORE), lines.join("\n")).context("note the packet filter's chains")?;
        let settings: Vec<String> = SETTINGS
            .iter()
            .filter_map(|path| Some(format!("{path}={}", fs::read_to_string(path).ok()?.trim())))
            .collect();
        fs::write(dir.join(SETTINGS_BEFORE), settings.join("\n")).context("note the kernel's settings")?;
        record(&turn.0, &format!("{}\n{}\n", std::process::id(), dir.display()))?;
        let host = Self { dir: dir.to_owned(), turn: Arc::clone(turn), cleaned: false };
        for path in SETTINGS {
            // The bridge setting is missing where the kernel has no bridge filter.
            if Path::new(path).exists() {
                fs::write(path, "1").with_context(|| format!("write {path}"))?;
            }
        }
        let address = format!("{HOST_IP}/16");
        // An address of its own: else the bridge takes over the lowest of its ports', and pods lose their gateway.
        ip(&["link", "add", BRIDGE, "address", "02:00:0a:e7:00:01", "type", "bridge"])?;
        ip(&["addr", "add", &address, "dev", BRIDGE])?;
        ip(&["link", "set", BRIDGE, "up"])?;
        make_cgroups(CGROUP)?;
        Ok(host)
    }

    /// Takes everything back. The lab's own processes must have ended.
    pub(crate) fn clean(&mut self) -> anyhow::Result<()> {
        if !self.cleaned {
            clean(&self.dir)?;
            record(&self.turn.0, "")?;
            self.cleaned = true;
        }
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = self.clean() {
            tracing::warn!(error = format!("{error:#}"), "the lab's node could not be cleaned up");
        }
    }
}

fn record(mut file: &File, text: &str) -> anyhow::Result<()> {
    file.set_len(0).context("write the lock")?;
    file.rewind().context("write the lock")?;
    file.write_all(text.as_bytes()).context("write the lock")
}

fn clean(dir: &Path) -> anyhow::Result<()> {
    clean_node(dir, CGROUP)?;
    for link in [CABLE, BRIDGE] {
        if Path::new("/sys/class/net").join(link).exists() {
            ip(&["link", "delete", link])?;
        }
    }
    if let Ok(before) = fs::read_to_string(dir.join(CHAINS_BEFORE)) {
        iptables::remove_chains_since(&before.lines().map(ToOwned::to_owned).collect())?;
    }
    let settings = fs::read_to_string(dir.join(SETTINGS_BEFORE)).unwrap_or_default();
    for (path, value) in settings.lines().filter_map(|line| line.split_once('=')) {
        fs::write(path, value).with_context(|| format!("write {path}"))?;
    }
    remove_elsewhere(dir);
    let note = dir.join(CHAINS_BEFORE);
    if note.exists() {
        fs::remove_file(&note).with_context(|| format!("remove {}", note.display()))?;
    }
    Ok(())
}

/// Ends what a node with its files in `dir` left running in `cgroup`, and takes back its mounts and control groups. The
/// first node's are around those of the second.
pub(crate) fn clean_node(dir: &Path, cgroup: &str) -> anyhow::Result<()> {
    end_processes(dir, cgroup)?;
    for mount in data_dir::mounts_below(dir) {
        unmount(&mount, UnmountFlags::DETACH).with_context(|| format!("unmount {}", mount.display()))?;
    }
    for hierarchy in cgroup_hierarchies() {
        remove_cgroups(&hierarchy.join(cgroup))?;
    }
    Ok(())
}

/// Kills the shims of containerds that live in `dir` and then what still runs in the control group.
fn end_processes(dir: &Path, cgroup: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let mut pids = shims(dir);
        for hierarchy in cgroup_hierarchies() {
            members(&hierarchy.join(cgroup), &mut pids);
        }
        if pids.is_empty() {
            return Ok(());
        }
        if began.elapsed() > Duration::from_secs(10) {
            bail!("these processes of the lab do not end: {pids:?}");
        }
        for pid in pids.into_iter().filter_map(Pid::from_raw) {
            // It may end between the look and the signal.
            let _gone = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn shims(dir: &Path) -> BTreeSet<i32> {
    let is_ours = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let shim = words.first().is_some_and(|program| program.ends_with(b"containerd-shim-runc-v2"));
        shim && words.iter().any(|word| Path::new(OsStr::from_bytes(word)).starts_with(dir))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_ours).collect()
}

fn members(cgroup: &Path, pids: &mut BTreeSet<i32>) {
    let listed = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    pids.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 1));
    for below in folders(cgroup) {
        members(&below, pids);
    }
}

fn remove_cgroups(cgroup: &Path) -> anyhow::Result<()> {
    if !cgroup.exists() {
        return Ok(());
    }
    for below in folders(cgroup) {
        remove_cgroups(&below)?;
    }
    // Its last process may still be on its way out.
    let began = Instant::now();
    while let Err(error) = fs::remove_dir(cgroup) {
        if began.elapsed() > Duration::from_secs(5) {
            return Err(error).with_context(|| format!("remove control group {}", cgroup.display()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Mount points of one version of control groups: `cgroup` (each a hierarchy of its own) or `cgroup2`.
fn cgroup_mounts(version: &str) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fields = table.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields.filter(|field| field.get(2) == Some(&version)).map(|field| PathBuf::from(field[1])).collect()
}

/// All of them: beside version 1's there may be an empty one of version 2, which runc uses as well.
fn cgroup_hierarchies() -> Vec<PathBuf> {
    [cgroup_mounts("cgroup"), cgroup_mounts("cgroup2")].concat()
}

/// Makes a control group in each hierarchy; the one around it must be there.
pub(crate) fn make_cgroups(name: &str) -> anyhow::Result<()> {
    for hierarchy in cgroup_hierarchies() {
        let cgroup = hierarchy.join(name);
        fs::create_dir_all(&cgroup).with_context(|| format!("control group {}", cgroup.display()))?;
        // A new group of version 1's cpuset may use nothing and so takes no process.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(all) = fs::read_to_string(hierarchy.join(file)) {
                fs::write(cgroup.join(file), all.trim())
                    .with_context(|| format!("{file} of {}", cgroup.display()))?;
            }
        }
    }
    Ok(())
}

/// Removes the lab's own files in folders of the system, then those of these folders that are empty.
fn remove_elsewhere(dir: &Path) {
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let of_nodes = [dir.to_owned(), dir.join(SECOND)];
    let sandboxes: Vec<String> = of_nodes
        .iter()
        .flat_map(|dir| folders(&dir.join("containerd/io.containerd.grpc.v1.cri/sandboxes")))
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    let unused = |path: &Path| !sockets.contains(&*path.to_string_lossy());
    let is_ours = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match path.parent().and_then(Path::to_str) {
            Some("/run/containerd/s") => unused(path),
            Some("/var/lib/cni/results") => {
                name.starts_with(NETWORK) || sandboxes.iter().any(|sandbox| name.contains(sandbox))
            }
            Some("/var/log/containers") => fs::read_link(path).is_ok_and(|target| target.starts_with(dir)),
            Some("/var/lib/kubelet/device-plugins") => name == "kubelet.sock" && unused(path),
            _ => false,
        }
    };
    for folder in ELSEWHERE {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if is_ours(&entry.path()) {
                let _gone = fs::remove_file(entry.path());
            }
        }
        // Refused when something is in it: then it is not only ours.
        let _in_use = fs::remove_dir(folder);
    }
}

pub(crate) fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    process::run(Command::new("ip").args(arguments)).map(drop)
}

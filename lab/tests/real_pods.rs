//! A lab with real pods: what runs, runs; what it changed on the machine is taken back, also after `kill -9`.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test: its helpers too")]
use std::{
    collections::BTreeSet,
    fs, io,
    net::{SocketAddr, TcpStream, UdpSocket},
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use lab::{HOST_IP, Lab, LabOptions, Progress, node, process};

/// The tests of this file take turns: one lab with real pods at a time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Waits until no other process has a lab with real pods: the tests compare the whole machine.
async fn nobody_elses_lab() {
    let deadline = Instant::now() + Duration::from_mins(10);
    while fs::File::open("/run/imaas-lab.lock").is_ok_and(|file| file.try_lock().is_err()) {
        assert!(
            Instant::now() < deadline,
            "another lab runs: {:?}",
            fs::read_to_string("/run/imaas-lab.lock")
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn progress() -> Progress {
    Progress::new(|line| println!("{line}"))
}

/// What a lab could leave behind: mounts, interfaces, packet filter, control groups, settings, processes.
fn machine() -> BTreeSet<String> {
    let mut state = BTreeSet::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    state.extend(mounts.lines().map(|line| format!("mount {}", line.split(' ').nth(4).unwrap())));
    let links = fs::read_dir("/sys/class/net").unwrap().flatten();
    state.extend(links.map(|link| format!("interface {}", link.file_name().display())));
    for program in ["iptables-save", "ip6tables-save"] {
        let rules = process::run(&mut Command::new(program)).unwrap();
        let rules = rules
            .lines()
            .filter(|line| line.starts_with("-A") || line.contains("KUBE") || line.contains("CNI"));
        state.extend(rules.map(|rule| format!("{program} {rule}")));
    }
    for (name, path) in [
        ("groups", "/sys/fs/cgroup"),
        ("unified", "/sys/fs/cgroup/unified"),
        ("groups", "/sys/fs/cgroup/memory"),
        ("pids", "/sys/fs/cgroup/pids"),
    ] {
        let below = fs::read_dir(path).into_iter().flatten().flatten();
        state.extend(below.map(|entry| format!("{name} {}", entry.path().display())));
    }
    for setting in ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/bridge/bridge-nf-call-iptables"] {
        state.insert(format!("{setting}={}", fs::read_to_string(setting).unwrap_or_default().trim()));
    }
    for path in [
        "/var/lib/imaas-lab",
        "/var/lib/cni",
        "/var/lib/kubelet",
        "/run/containerd",
        "/run/netns",
        "/var/log/containers",
    ] {
        state.insert(format!("{path} exists: {}", Path::new(path).exists()));
    }
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains("/var/lib/imaas-lab") || line.contains("containerd-shim") {
            state.insert(format!("process {} {line}", entry.file_name().display()));
        }
    }
    state
}

fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: default, labels: {{app: {name}}}}}
spec:
  containers:
    - name: main
      image: {image}
      imagePullPolicy: Never
      ports: [{{containerPort: 8080, hostPort: 18080}}]
      resources: {{limits: {{memory: 32Mi}}}}
",
        image = node::PAUSE_IMAGE
    )
}

/// Asks a DNS server for a name's first IPv4 address.
fn resolve(server: SocketAddr, name: &str) -> Option<String> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket.send_to(&query, server).ok()?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).ok()?;
    let answers = u16::from_be_bytes([answer[6], answer[7]]);
    let address = &answer[length.checked_sub(4)?..length];
    (answers == 1).then(|| address.iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_run_names_resolve_and_a_stopped_lab_leaves_the_machine_as_it_was() {
    if !lab::may_run_pods("real_pods") {
        return;
    }
    let _turn = TURN.lock().await;
    nobody_elses_lab().await;
    let before = machine();
    let began = Instant::now();
    let lab = Lab::start(LabOptions::real(), &progress()).await.unwrap();
    println!("node ready after {:.1} s", began.elapsed().as_secs_f64());

    lab.kubectl().apply(&pod("echo")).await.unwrap();
    lab.kubectl().wait("condition=Ready", &["pod/echo"], Duration::from_secs(30)).await.unwrap();
    println!("pod ready after {:.1} s", began.elapsed().as_secs_f64());

    // Through kube-proxy to CoreDNS, and to CoreDNS itself.
    let service: SocketAddr = format!("{}:53", lab::dns::SERVICE_IP).parse().unwrap();
    let direct = SocketAddr::from((HOST_IP, 53));
    for server in [service, direct] {
        let resolved = resolve(server, "kubernetes.default.svc.cluster.local");
        assert_eq!(resolved.as_deref(), Some("10.96.0.1"), "asked {server}");
        assert_eq!(resolve(server, "git.imaas.lab"), Some(HOST_IP.to_string()), "asked {server}");
    }
    assert_eq!(resolve(service, "nothing.default.svc.cluster.local"), None);

    let second = Lab::start(LabOptions::real(), &progress()).await.unwrap_err().to_string();
    assert!(
        second.contains("running already") && second.contains(&std::process::id().to_string()),
        "{second}"
    );

    let resident: u64 = lab.processes().iter().map(|child| child.resident_bytes()).sum();
    println!("{} MB resident", resident / 1_000_000);
    let began = Instant::now();
    let patient = LabOptions { wait: Duration::from_mins(1), ..LabOptions::real() };
    let silent = Progress::silent();
    let (stopped, next) = tokio::join!(lab.stop(), Lab::start(patient, &silent));
    stopped.unwrap();
    println!("stopped, and the next is ready, in {:.1} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    next.unwrap().stop().await.unwrap();
    println!("stopped in {:.1} s", began.elapsed().as_secs_f64());
    let left: Vec<String> = machine().symmetric_difference(&before).cloned().collect();
    assert!(left.is_empty(), "{left:#?}");
}

/// A pod of the second node, or of the first.
fn pod_on(node: &str, name: &str) -> String {
    pod(name).replace("spec:\n", &format!("spec:\n  nodeName: {node}\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_runs_pods_one_cable_away() {
    if !lab::may_run_pods("real_pods") {
        return;
    }
    let _turn = TURN.lock().await;
    nobody_elses_lab().await;
    let before = machine();
    let lab = Lab::start(LabOptions::real(), &progress()).await.unwrap();
    let began = Instant::now();
    let second = lab.second_node(&progress()).await.unwrap();
    println!("second node ready after {:.1} s", began.elapsed().as_secs_f64());
    let kubectl = lab.kubectl();
    for (node, name) in [(node::NODE_NAME, "here"), (second.name(), "there")] {
        kubectl.apply(&pod_on(node, name)).await.unwrap();
    }
    let ready = ["pod/here", "pod/there"];
    kubectl.wait("condition=Ready", &ready, Duration::from_secs(30)).await.unwrap();
    let address =
        kubectl.get(&["pod", "there"]).await.unwrap()["status"]["podIP"].as_str().unwrap().to_owned();
    // Nothing listens there: the pod's network refuses, and says so.
    let address = SocketAddr::new(address.parse().unwrap(), 80);
    let refuses = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    let answers = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err_and(refuses);
    assert!(answers());

    second.connect(false).unwrap();
    assert!(!answers());
    let lost = Instant::now();
    let node = format!("node/{}", second.name());
    kubectl.wait("condition=Ready=Unknown", &[&node], Duration::from_mins(2)).await.unwrap();
    println!("told as lost after {:.1} s", lost.elapsed().as_secs_f64());
    second.connect(true).unwrap();
    kubectl.wait("condition=Ready", &[&node], Duration::from_mins(1)).await.unwrap();
    assert!(answers());
    assert!(lab.node().unwrap().connect(false).is_err());

    second.stop().unwrap();
    lab.stop().await.unwrap();
    let left: Vec<String> = machine().symmetric_difference(&before).cloned().collect();
    assert!(left.is_empty(), "{left:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lab_that_was_killed_is_cleaned_up_by_the_next() {
    if !lab::may_run_pods("real_pods") {
        return;
    }
    let _turn = TURN.lock().await;
    nobody_elses_lab().await;
    let before = machine();
    // This test binary once more, as the process that is killed.
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "a_lab_that_waits_to_be_killed", "--nocapture"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_mins(2);
    let shims = || {
        machine()
            .iter()
            .filter(|line| line.starts_with("process") && line.contains("containerd-shim"))
            .count()
    };
    while shims() == 0 {
        assert!(
            Instant::now() < deadline && victim.try_wait().unwrap().is_none(),
            "the other lab has no pod"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(shims() > 0, "nothing was left to clean up");

    let said = std::sync::Arc::new(Mutex::new(String::new()));
    let heard = said.clone();
    let progress = Progress::new(move |line| heard.lock().unwrap().push_str(line));
    let lab = Lab::start(LabOptions::real(), &progress).await.unwrap();
    assert!(said.lock().unwrap().contains("cleaning up behind a lab that was killed"), "{said:?}");
    assert_eq!(shims(), 0);
    lab.stop().await.unwrap();
    let left: Vec<String> = machine().symmetric_difference(&before).cloned().collect();
    assert!(left.is_empty(), "{left:#?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started and killed by a_lab_that_was_killed_is_cleaned_up_by_the_next"]
async fn a_lab_that_waits_to_be_killed() {
    let lab = Lab::start(LabOptions::real(), &progress()).await.unwrap();
    lab.kubectl().apply(&pod("orphan")).await.unwrap();
    tokio::time::sleep(Duration::from_mins(10)).await;
}

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test: says what it waits for")]
//! Two operators on a real API server: one of them writes, whatever becomes of it.

use std::{net::SocketAddr, process::Command, time::Duration};

use imaas_operator::api;
use lab::{
    Lab, LabOptions, Progress, User,
    process::{Process, free_port, http_status, wait_until},
};
use serde_json::{Value, json};

const NAMESPACE: &str = "imaas-system";
const NORTH: &str = "north";
const SOUTH: &str = "south";
/// Longer than a lease lasts, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// What the leader finds to do: it tells each of them that it is usable.
const MANY: usize = 30;

/// A process of the operator, with a login of its own.
struct Operator {
    process: Process,
    address: SocketAddr,
    name: &'static str,
}

impl Operator {
    /// Starts it; returns once it is ready, be it as leader or as standby.
    async fn start(lab: &Lab, name: &'static str) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let data = lab.data_dir().join(name);
        let token = lab.data_dir().join("token");
        std::fs::write(&token, "0123456789abcdef".repeat(4)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_imaas-operator"));
        command
            .args(["--log-format=text", "run", "--registry-mode=external", "--registry-host=r.example.com"])
            .arg(format!("--identity={name}"))
            .arg(format!("--listen={address}"))
            .arg(format!("--data-dir={}", data.display()))
            .arg(format!("--registry-events-token-file={}", token.display()))
            .env("KUBECONFIG", lab.user_kubeconfig(name).unwrap())
            .env("NO_PROXY", "*");
        let process = Process::spawn(name, &command, &data.with_extension("log")).unwrap();
        let operator = Self { process, address, name };
        operator
            .until("known who leads", async || {
                let told = operator.get("/readyz").await;
                // Nothing proves the chart's policies here: they are not installed.
                told.is_some_and(|told| told == "ok\n" || told.starts_with("policies: "))
            })
            .await;
        operator
    }

    async fn until(&self, what: &str, is: impl AsyncFn() -> bool) {
        wait_until(what, PATIENCE, &[&self.process], || is()).await.unwrap();
    }

    async fn get(&self, path: &str) -> Option<String> {
        let answer = reqwest::get(format!("http://{}{path}", self.address)).await.ok()?;
        answer.text().await.ok()
    }

    /// Does it say that it leads?
    async fn leads(&self) -> bool {
        self.get("/metrics").await.is_some_and(|text| text.lines().any(|line| line == "imaas_leader 1"))
    }

    fn signal(&self, signal: &str) {
        let id = self.process.pid().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Waits until it ended by itself; says whether well.
    async fn ended(&self) -> bool {
        for _ in 0..1200 {
            if let Some(status) = self.process.exited() {
                return status.success();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{} does not end: {}", self.name, self.process.log_tail());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.process.log()).unwrap()
    }
}

/// `MANY` Environments of such names.
async fn environments(lab: &Lab, name: &str) {
    let environment = |number: usize| {
        let metadata = json!({ "name": format!("{name}{number}") });
        json!({ "apiVersion": "imaas.dev/v1alpha1", "kind": "Environment", "metadata": metadata, "spec": { "branch": name } })
    };
    let all: Vec<Value> = (0..MANY).map(environment).collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": all });
    lab.kubectl().apply(&list.to_string()).await.unwrap();
}

/// Waits until each of them was told what it is.
async fn told(lab: &Lab, name: &str) {
    let last = format!("{name}{}", MANY - 1);
    for number in 0..MANY {
        let one = format!("environment/{name}{number}");
        let ready = ["wait", "--for=condition=Ready", &one, "--timeout=120s"];
        lab.kubectl().run(&ready, None).await.unwrap_or_else(|error| panic!("{last}: {error:#}"));
    }
}

async fn holder(lab: &Lab) -> String {
    let lease = lab.kubectl().get(&["lease", "imaas-operator", "-n", NAMESPACE]).await.unwrap();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// What `user` wrote after the first `from` bytes of the audit log, refused writes to the Lease left out.
fn writes(lab: &Lab, user: &str, from: u64) -> Vec<String> {
    let log = std::fs::read(lab.audit_log()).unwrap();
    let lines = log[usize::try_from(from).unwrap()..].split(|byte| *byte == b'\n');
    let is_write = |line: &Value| {
        let is_read = ["get", "list", "watch"].iter().any(|verb| line["verb"] == *verb);
        let is_refusal = line["responseStatus"]["code"].as_u64().is_some_and(|code| code >= 400);
        line["user"]["username"] == user
            && !is_read
            && !(is_refusal && line["objectRef"]["resource"] == "leases")
    };
    let lines = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok()).filter(is_write);
    lines.map(|line| format!("{} {}", line["verb"], line["requestURI"])).collect()
}

fn written(lab: &Lab) -> u64 {
    std::fs::metadata(lab.audit_log()).unwrap().len()
}

async fn started() -> Lab {
    let progress = Progress::new(|line| println!("{line}"));
    let users = [NORTH, SOUTH].map(|name| User::new(name, &["system:masters"])).to_vec();
    let audited = vec![NORTH.to_owned(), SOUTH.to_owned()];
    let lab = Lab::start(LabOptions { users, audited, ..LabOptions::default() }, &progress).await.unwrap();
    let kinds = json!({ "apiVersion": "v1", "kind": "List", "items": api::crds() });
    lab.kubectl().apply(&kinds.to_string()).await.unwrap();
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    lab.kubectl().run(&established, None).await.unwrap();
    lab.kubectl().run(&["create", "namespace", NAMESPACE], None).await.unwrap();
    lab
}

/// A standby writes nothing, and is ready; what is told to it is not taken.
async fn a_standby_stands_by(lab: &Lab, leader: &Operator, standby: &Operator) {
    leader.until("it leads", async || leader.leads().await).await;
    assert_eq!(holder(lab).await, leader.name);
    assert_eq!(http_status(standby.address, "/readyz").await, Some(200));
    assert!(!standby.leads().await);
    assert_eq!(writes(lab, standby.name, 0), [""; 0]);
    let hook = format!("http://{}/hooks/registry", standby.address);
    let request = reqwest::Client::new().post(hook).bearer_auth("0123456789abcdef".repeat(4));
    assert_eq!(request.body(r#"{"events": []}"#).send().await.unwrap().status(), 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_writes_and_the_other_takes_over() {
    let lab = started().await;
    let north = Operator::start(&lab, NORTH).await;
    let south = Operator::start(&lab, SOUTH).await;
    a_standby_stands_by(&lab, &north, &south).await;
    environments(&lab, "first").await;
    told(&lab, "first").await;
    assert!(!writes(&lab, NORTH, 0).is_empty());

    // A clean stop: the lease is given back.
    north.signal("-TERM");
    assert!(north.ended().await, "{}", north.log());
    assert!(north.log().contains("lease released"));
    let released = written(&lab);
    south.until("south leads", async || south.leads().await).await;
    environments(&lab, "second").await;
    told(&lab, "second").await;

    // No stop at all.
    let north = Operator::start(&lab, NORTH).await;
    assert_eq!(writes(&lab, NORTH, released), [""; 0], "it writes nothing at its start either");
    south.process.kill();
    let killed = written(&lab);
    environments(&lab, "third").await;
    north.until("north leads", async || north.leads().await).await;
    told(&lab, "third").await;
    assert_eq!((holder(&lab).await.as_str(), writes(&lab, SOUTH, killed).len()), (NORTH, 0));

    // It is stopped, and goes on when another leads.
    let south = Operator::start(&lab, SOUTH).await;
    north.signal("-STOP");
    environments(&lab, "fourth").await;
    south.until("south leads", async || south.leads().await).await;
    told(&lab, "fourth").await;
    let woken = written(&lab);
    north.signal("-CONT");
    assert!(!north.ended().await, "{}", north.log());
    assert!(north.log().contains("the lease imaas-operator was not renewed in time"), "{}", north.log());
    assert_eq!(writes(&lab, NORTH, woken), [""; 0]);
    assert_eq!(holder(&lab).await, SOUTH);

    drop(south);
    lab.stop().await.unwrap();
}

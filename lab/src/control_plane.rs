//! etcd, API server, controller manager and scheduler as plain processes. No root needed; several run side by side.
use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD};

use tokio::{net::TcpStream, time::sleep};

use crate::{
    Progress, cache,
    certificates::{self, Authority, Pair, Subject},
    kubectl::Kubectl,
    process::{Process, free_port, http_status, wait_until},
};

const DEADLINE: Duration = Duration::from_mins(1);
/// How long one kubectl watches before the children are looked at again.
pub(crate) const ONE_LOOK: Duration = Duration::from_secs(5);
const SERVICE_RANGE: &str = "10.96.0.0/16";
const SERVICE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1));
const ADMIN: &str = "lab-admin";
const AUDIT_LOG: &str = "audit.log";

/// Someone who may log in to the lab's API server with a token of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user name that RBAC sees.
    pub name: String,
    /// The groups that RBAC sees, beside `system:authenticated`.
    pub groups: Vec<String>,
}

impl User {
    /// A user with some groups.
    pub fn new(name: &str, groups: &[&str]) -> Self {
        Self { name: name.to_owned(), groups: groups.iter().map(|group| (*group).to_owned()).collect() }
    }
}

/// Where and for whom a control plane starts.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    /// Its folder: certificates, data, logs.
    pub dir: &'a Path,
    /// The API server's address.
    pub address: IpAddr,
    /// Besides the administrator.
    pub users: &'a [User],
    /// Those of them whose requests are written down.
    pub audited: &'a [String],
}

/// A running control plane. Dropping it kills it.
#[derive(Debug)]
pub struct ControlPlane {
    // Fields drop in this order: clients first.
    scheduler: Process,
    controller_manager: Process,
    api_server: Process,
    etcd: Process,
    endpoint: String,
    ca_file: PathBuf,
    dir: PathBuf,
    kubectl: Kubectl,
    users: Vec<User>,
}

struct Files {
    ca: Authority,
    front: Authority,
    serving: Pair,
    kubelet_client: Pair,
    front_client: Pair,
    token_key: PathBuf,
    token_public: PathBuf,
    tokens: PathBuf,
    audit_policy: Option<PathBuf>,
}

/// Builds what a control plane needs and is not in the cache yet.
pub(crate) async fn prepare(progress: &Progress) -> anyhow::Result<()> {
    for tool in ["etcd", "kube-apiserver"] {
        cache::binary_async(tool, progress).await?;
    }
    Ok(())
}

impl ControlPlane {
    /// Starts all four and waits until the API server is ready and the first service account is there.
    pub(crate) async fn start(settings: &Settings<'_>, progress: &Progress) -> anyhow::Result<Self> {
        let dir = settings.dir;
        let etcd_program = cache::binary_async("etcd", progress).await?;
        let api_program = cache::binary_async("kube-apiserver", progress).await?;
        let admin = User::new(ADMIN, &["system:masters"]);
        let users: Vec<User> = std::iter::once(&admin).chain(settings.users).cloned().collect();
        let files = files(settings, &users)?;

        let address = SocketAddr::new(settings.address, free_port()?);
        let endpoint = format!("https://{address}");
        for user in &users {
            write_kubeconfig(dir, &user.name, &endpoint, &files.ca.pem())?;
        }
        let kubeconfig = kubeconfig_file(dir, ADMIN);
        let kubectl = Kubectl::new(&kubeconfig, progress).await?;

        let (etcd, etcd_address) = start_etcd(dir, &etcd_program).await?;
        let api_server = start_api_server(dir, &api_program, &files, etcd_address, address)?;
        wait_for_api(&[&etcd, &api_server], address, &kubectl).await?;
        let controller_manager = start_controller_manager(dir, &api_program, &files, &kubeconfig)?;
        let scheduler = start_scheduler(dir, &api_program, &kubeconfig)?;
        let children = [&etcd, &api_server, &controller_manager, &scheduler];
        wait_until("first service account", DEADLINE, &children, || async {
            kubectl.wait("create", &["serviceaccount/default", "-n", "default"], ONE_LOOK).await.is_ok()
        })
        .await?;
        let (ca_file, dir) = (files.ca.certificate, dir.to_owned());
        Ok(Self { scheduler, controller_manager, api_server, etcd, endpoint, ca_file, dir, kubectl, users })
    }

    /// The administrator's kubeconfig file.
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig_file(&self.dir, ADMIN)
    }

    /// The kubeconfig file of one of the users given at the start.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn user_kubeconfig(&self, name: &str) -> anyhow::Result<PathBuf> {
        self.known(name)?;
        Ok(kubeconfig_file(&self.dir, name))
    }

    /// The bearer token of one of the users given at the start, or of `lab-admin`.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn token(&self, name: &str) -> anyhow::Result<String> {
        self.known(name)?;
        token(&self.dir, name)
    }

    /// `https://ADDRESS:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The file of the authority that signed the API server's certificate.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The requests of the users that are audited.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.dir.join(AUDIT_LOG)
    }

    /// Kubectl as administrator.
    pub const fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// The four processes.
    pub fn processes(&self) -> [&Process; 4] {
        [&self.etcd, &self.api_server, &self.controller_manager, &self.scheduler]
    }

    /// Ends all four. They keep nothing, so they are killed.
    pub(crate) fn kill(&self) {
        for process in self.processes().into_iter().rev() {
            process.kill();
        }
    }

    fn known(&self, name: &str) -> anyhow::Result<()> {
        let known = self.users.iter().any(|user| user.name == name);
        known
            .then_some(())
            .with_context(|| format!("{name:?} is not among the users given at the lab's start"))
    }
}

fn files(settings: &Settings<'_>, users: &[User]) -> anyhow::Result<Files> {
    let dir = settings.dir;
    let ca = Authority::create(dir, "ca")?;
    let front = Authority::create(dir, "front-proxy-ca")?;
    let client =
        |common_name, organization| Subject { common_name, organization, names: &[], addresses: &[] };
    let serving = ca.issue(
        dir,
        "apiserver",
        &Subject {
            common_name: "kube-apiserver",
            organization: None,
            names: &[
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
                "localhost",
            ],
            addresses: &[settings.address, SERVICE_ADDRESS, IpAddr::V4(Ipv4Addr::LOCALHOST)],
        },
    )?;
    let kubelet_client =
        ca.issue(dir, "kubelet-client", &client("kube-apiserver-kubelet-client", Some("system:masters")))?;
    let front_client = front.issue(dir, "front-proxy-client", &client("front-proxy-client", None))?;
    let (token_key, token_public) = certificates::signing_key(dir, "service-account")?;
    let mut lines = String::new();
    for user in users {
        if dir.join(token_file(&user.name)).exists() {
            bail!(
                "users: {:?} differs from an earlier one only in punctuation, or is given twice",
                user.name
            );
        }
        let secret = random_token()?;
        certificates::write_secret(dir, &token_file(&user.name), &secret)?;
        let (name, groups) = (&user.name, user.groups.join(","));
        writeln!(lines, "{secret},\"{name}\",\"{name}\",\"{groups}\"")?;
    }
    let tokens = certificates::write_secret(dir, "tokens.csv", &lines)?;
    let audit_policy = (!settings.audited.is_empty()).then(|| audit_policy(settings)).transpose()?;
    Ok(Files {
        ca,
        front,
        serving,
        kubelet_client,
        front_client,
        token_key,
        token_public,
        tokens,
        audit_policy,
    })
}

/// Who, what and how it ended; once for each request.
fn audit_policy(settings: &Settings<'_>) -> anyhow::Result<PathBuf> {
    let policy = serde_json::json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [{ "level": "Metadata", "users": settings.audited }, { "level": "None" }],
    });
    let file = settings.dir.join("audit-policy.json");
    fs::write(&file, policy.to_string()).context("write the audit policy")?;
    Ok(file)
}

/// A random token.
fn random_token() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 24];
    let mut random = fs::File::open("/dev/urandom").context("/dev/urandom")?;
    std::io::Read::read_exact(&mut random, &mut bytes).context("/dev/urandom")?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

async fn wait_for_api(children: &[&Process], address: SocketAddr, kubectl: &Kubectl) -> anyhow::Result<()> {
    wait_until("API server's port", DEADLINE, children, || async {
        TcpStream::connect(address).await.is_ok()
    })
    .await?;
    wait_until("API server", DEADLINE, children, || async {
        // Each question is a process; asking without a pause would slow down what it waits for.
        sleep(Duration::from_millis(100)).await;
        kubectl.run(&["get", "--raw", "/readyz"], None).await.is_ok_and(|answer| answer == "ok")
    })
    .await
    .map(drop)
}

async fn start_etcd(dir: &Path, program: &Path) -> anyhow::Result<(Process, SocketAddr)> {
    let client = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let mut command = Command::new(program);
    command
        .arg(format!("--data-dir={}", dir.join("etcd").display()))
        .arg(format!("--listen-client-urls=http://{client}"))
        .arg(format!("--advertise-client-urls=http://{client}"))
        .arg(format!("--listen-peer-urls=http://{peer}"))
        .arg(format!("--initial-advertise-peer-urls=http://{peer}"))
        .arg(format!("--initial-cluster=default=http://{peer}"))
        .args(["--unsafe-no-fsync", "--log-level=warn"]);
    let etcd = Process::spawn("etcd", &command, &dir.join("etcd.log"))?;
    wait_until("etcd", DEADLINE, &[&etcd], || async { http_status(client, "/health").await == Some(200) })
        .await?;
    Ok((etcd, client))
}

fn start_api_server(
    dir: &Path,
    program: &Path,
    files: &Files,
    etcd: SocketAddr,
    address: SocketAddr,
) -> anyhow::Result<Process> {
    let file = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let mut command = Command::new(program);
    command
        .arg(format!("--etcd-servers=http://{etcd}"))
        .arg(format!("--bind-address={}", address.ip()))
        .arg(format!("--advertise-address={}", address.ip()))
        .arg(format!("--secure-port={}", address.port()))
        .arg(file("cert-dir", dir))
        .arg(file("tls-cert-file", &files.serving.certificate))
        .arg(file("tls-private-key-file", &files.serving.key))
        .arg(file("client-ca-file", &files.ca.certificate))
        .arg(file("kubelet-client-certificate", &files.kubelet_client.certificate))
        .arg(file("kubelet-client-key", &files.kubelet_client.key))
        .arg("--kubelet-preferred-address-types=InternalIP")
        .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
        .arg(file("service-account-key-file", &files.token_public))
        .arg(file("service-account-signing-key-file", &files.token_key))
        .arg(file("token-auth-file", &files.tokens))
        .args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"])
        .arg(format!("--service-cluster-ip-range={SERVICE_RANGE}"))
        .arg("--allow-privileged=true")
        .arg(file("requestheader-client-ca-file", &files.front.certificate))
        .args([
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            // Aggregated servers and webhooks are called at their endpoints: works without kube-proxy.
            "--enable-aggregator-routing=true",
        ])
        .arg(file("proxy-client-cert-file", &files.front_client.certificate))
        .arg(file("proxy-client-key-file", &files.front_client.key))
        .env("NO_PROXY", "*");
    if let Some(policy) = &files.audit_policy {
        command.arg(file("audit-policy-file", policy)).arg(file("audit-log-path", &dir.join(AUDIT_LOG)));
    }
    if address.ip().is_loopback() {
        // An endpoint must not be a loopback address; nobody but this machine calls.
        command.arg("--endpoint-reconciler-type=none");
    }
    Process::spawn("kube-apiserver", &command, &dir.join("kube-apiserver.log"))
}

fn start_controller_manager(
    dir: &Path,
    api_program: &Path,
    files: &Files,
    kubeconfig: &Path,
) -> anyhow::Result<Process> {
    let file = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let mut command = Command::new(api_program.with_file_name("kube-controller-manager"));
    command
        .arg(file("kubeconfig", kubeconfig))
        .arg(file("service-account-private-key-file", &files.token_key))
        .arg(file("root-ca-file", &files.ca.certificate))
        .arg(file("cluster-signing-cert-file", &files.ca.certificate))
        .arg(file("cluster-signing-key-file", &files.ca.key))
        // Its default of 20 requests a second makes namespaces the bottleneck.
        .args(["--leader-elect=false", "--secure-port=0", "--kube-api-qps=1000", "--kube-api-burst=2000"])
        .env("NO_PROXY", "*");
    Process::spawn("kube-controller-manager", &command, &dir.join("kube-controller-manager.log"))
}

fn start_scheduler(dir: &Path, api_program: &Path, kubeconfig: &Path) -> anyhow::Result<Process> {
    let mut command = Command::new(api_program.with_file_name("kube-scheduler"));
    command
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .args(["--leader-elect=false", "--secure-port=0"])
        .env("NO_PROXY", "*");
    Process::spawn("kube-scheduler", &command, &dir.join("kube-scheduler.log"))
}

fn file_name(user: &str) -> String {
    user.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

fn token_file(user: &str) -> String {
    format!("{}.token", file_name(user))
}

fn token(dir: &Path, user: &str) -> anyhow::Result<String> {
    fs::read_to_string(dir.join(token_file(user))).with_context(|| format!("token of {user:?}"))
}

fn kubeconfig_file(dir: &Path, user: &str) -> PathBuf {
    dir.join(format!("{}.kubeconfig", file_name(user)))
}

fn write_kubeconfig(dir: &Path, user: &str, endpoint: &str, ca: &str) -> anyhow::Result<()> {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
         contexts: [{{name: lab, context: {{cluster: lab, user: \"{user}\"}}}}]\n\
         clusters: [{{name: lab, cluster: {{server: \"{endpoint}\", certificate-authority-data: {ca}}}}}]\n\
         users: [{{name: \"{user}\", user: {{token: \"{token}\"}}}}]\n",
        ca = STANDARD.encode(ca),
        token = token(dir, user)?,
    );
    let file = kubeconfig_file(dir, user);
    let name = file.file_name().and_then(|name| name.to_str()).context("kubeconfig file name")?;
    certificates::write_secret(dir, name, &text).map(drop)
}

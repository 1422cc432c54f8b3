//! Lab, registry, Git server and the installed operator, started together and stopped together.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use lab::{
    DataDir, Lab, LabOptions, Progress,
    certificates::{Authority, Pair, Subject},
    git_server::{self, Credentials, GitServer, User, WorkTree},
    helm::Release,
    image,
    kubectl::Kubectl,
    process,
    registry::{Registry, TokenAuth},
};
use serde_json::Value;

use crate::people::tenants_clone;

/// The operator's namespace.
const NAMESPACE: &str = "imaas-system";
/// Name of the registry in image references, and of the Git server in repository URLs: as in the samples.
const REGISTRY: &str = "registry.example.com";
const GIT: &str = "git.example.com";
/// Fixed, so that the registry can be told before the cluster has the Service.
const TOKEN_SERVICE: &str = "10.96.0.15";
/// How long an installation may take on a busy machine.
const INSTALL: Duration = Duration::from_mins(3);
/// The platform team's password on the lab's Git server; a tenant's is `<tenant>-password`.
const PLATFORM_PASSWORD: &str = "platform-password";

/// What differs between stands.
#[derive(Clone, Debug)]
pub struct StandOptions {
    /// How often repositories are looked at.
    pub interval: &'static str,
    /// Tenants that get repositories of the sample services, with a login of the same name.
    pub tenants: Vec<&'static str>,
    /// How long to wait while another lab with real pods runs on this machine.
    pub wait: Duration,
}

impl Default for StandOptions {
    fn default() -> Self {
        Self { interval: "1s", tenants: vec!["acme"], wait: Duration::ZERO }
    }
}

/// The whole platform. Call [`Stand::stop`].
pub struct Stand {
    /// Kubernetes.
    pub lab: Lab,
    /// The private registry.
    pub registry: Registry,
    /// The Git host.
    pub git: GitServer,
    /// As the cluster's administrator.
    pub kubectl: Kubectl,
    authority: Authority,
    scratch: DataDir,
}

impl Stand {
    /// Starts everything and waits until the operator is ready.
    ///
    /// # Errors
    /// What could not be had or did not start, with its last words.
    pub async fn start(options: StandOptions, progress: &Progress) -> Result<Self> {
        let scratch = DataDir::temporary("imaas-stand-").context("a scratch directory")?;
        let archive = operator_archive(scratch.path(), progress).await?;
        let host_names = vec![GIT.to_owned(), REGISTRY.to_owned()];
        let lab_options = LabOptions { host_names, wait: options.wait, ..LabOptions::real() };
        let lab = Lab::start(lab_options, progress).await?;
        let address = IpAddr::V4(lab.host_ip());
        let tokens = Authority::create(scratch.path(), "tokens")?;
        let subject =
            Subject { common_name: "registry-auth", organization: None, names: &[], addresses: &[] };
        let signing = tokens.issue(scratch.path(), "registry-auth", &subject)?;
        let auth = TokenAuth {
            realm: format!("http://{TOKEN_SERVICE}/token"),
            service: "imaas-registry".to_owned(),
            issuer: "imaas".to_owned(),
            root_certificates: tokens.certificate.clone(),
        };
        let registry = Registry::start(
            &scratch.path().join("registry"),
            SocketAddr::new(address, 5000),
            Some(&auth),
            progress,
        )
        .await?;
        let node = lab.node().context("a stand needs real pods")?;
        node.trust_registry(REGISTRY, &format!("http://{}", registry.endpoint()))?;
        node.import_image(&archive)?;
        let authority = Authority::create(scratch.path(), "git")?;
        let git = git_server(address, scratch.path(), &authority, &options)?;
        progress.say("registry and Git server are up");
        let kubectl = lab.kubectl().clone();
        let stand = Self { lab, registry, git, kubectl, authority, scratch };
        stand.install(&options, &signing, progress).await?;
        Ok(stand)
    }

    /// Installs or upgrades the chart, as a platform team would.
    async fn install(&self, options: &StandOptions, signing: &Pair, progress: &Progress) -> Result<()> {
        let accounts = self.scratch.path().join("accounts.key");
        std::fs::write(&accounts, "0123456789abcdef".repeat(4)).context("write the accounts key")?;
        self.kubectl.run(&["create", "namespace", NAMESPACE], None).await?;
        let file = |key: &str, path: &Path| format!("--from-file={key}={}", path.display());
        let arguments = ["-n", NAMESPACE, "create", "secret", "generic"];
        let auth = [
            file("tls.key", &signing.key),
            file("tls.crt", &signing.certificate),
            file("accounts.key", &accounts),
        ];
        let auth: Vec<&str> =
            arguments.into_iter().chain(["registry-keys"]).chain(auth.iter().map(String::as_str)).collect();
        self.kubectl.run(&auth, None).await?;
        self.create_git_secret(NAMESPACE, "tenants-git", "platform").await?;
        let values = self.scratch.path().join("values.yaml");
        std::fs::write(&values, Self::values(options)).context("write the values")?;
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/imaas-operator");
        let chart = chart.to_string_lossy();
        let values = [values.as_path()];
        let release =
            Release { name: "imaas", namespace: NAMESPACE, chart: &chart, values: &values, set: &[] };
        self.lab.helm(progress).await?.install(&release, Some(INSTALL)).await.map(drop)
    }

    fn values(options: &StandOptions) -> String {
        let interval = options.interval;
        format!(
            "image: {{repository: {REGISTRY}/platform/imaas-operator, tag: lab, pullPolicy: Never}}\n\
             development: true\n\
             log: {{format: text, level: 'info,imaas_operator=debug'}}\n\
             git: {{interval: {interval}, allowedHosts: [{GIT}]}}\n\
             tenantSource: {{url: 'https://{GIT}/platform/tenants.git', interval: {interval}, credentials: tenants-git}}\n\
             registry:\n  host: {REGISTRY}\n  url: http://{REGISTRY}:5000\n  \
             auth: {{realm: 'http://{TOKEN_SERVICE}/token', clusterIP: {TOKEN_SERVICE}, existingSecret: registry-keys}}\n"
        )
    }

    /// A Secret with the login of `user` on the Git server, and its authority.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn create_git_secret(&self, namespace: &str, name: &str, user: &str) -> Result<()> {
        let login = self.git_login(user);
        let manifest = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": namespace, "name": name },
            "stringData": { "username": login.user, "password": login.password, "ca.crt": self.authority.pem() },
        });
        self.kubectl.apply(&manifest.to_string()).await
    }

    /// The login of a tenant, or of `platform`, on the Git server.
    pub fn git_login(&self, user: &str) -> Credentials {
        Credentials {
            user: user.to_owned(),
            password: password(user),
            authority: Some(self.authority.certificate.clone()),
        }
    }

    /// A new clone of the tenants repository, as the platform team.
    ///
    /// # Errors
    /// What git says.
    pub fn tenants(&self) -> Result<WorkTree> {
        let login = self.git_login("platform");
        tenants_clone(
            &self.git.url("/platform/tenants.git"),
            &self.scratch.path().join("tenants-clone"),
            login,
        )
    }

    /// User and password in a registry Secret of `<tenant>-<place>`.
    ///
    /// # Errors
    /// When there is no such Secret or it is not a registry login.
    pub async fn registry_account(
        &self,
        tenant: &str,
        secret: &str,
        place: &str,
    ) -> Result<(String, String)> {
        let secret = self.kubectl.get(&["-n", &format!("{tenant}-{place}"), "secret", secret]).await?;
        let config =
            STANDARD.decode(secret["data"][".dockerconfigjson"].as_str().context("not a registry login")?)?;
        let config: Value = serde_json::from_slice(&config)?;
        let auth = STANDARD
            .decode(config["auths"][REGISTRY]["auth"].as_str().context("no login for the registry")?)?;
        let auth = String::from_utf8(auth)?;
        let (user, password) = auth.split_once(':').context("not user:password")?;
        Ok((user.to_owned(), password.to_owned()))
    }

    /// Where a service answers inside the cluster; this machine reaches it too.
    ///
    /// # Errors
    /// When it has no Service.
    pub async fn service_address(
        &self,
        tenant: &str,
        environment: &str,
        service: &str,
    ) -> Result<SocketAddr> {
        let found = self.kubectl.get(&["-n", &format!("{tenant}-{environment}"), "service", service]).await?;
        let ip = found["spec"]["clusterIP"].as_str().context("no clusterIP")?.parse()?;
        let port = found["spec"]["ports"][0]["port"].as_u64().context("no port")?;
        Ok(SocketAddr::new(ip, u16::try_from(port)?))
    }

    /// What the board says of one environment of one service.
    ///
    /// # Errors
    /// What kubectl says; an environment that is not on the board is `null`.
    pub async fn board(&self, tenant: &str, service: &str, environment: &str) -> Result<Value> {
        let found =
            self.kubectl.get(&["-n", &format!("{tenant}-home"), "integrationservice", service]).await?;
        let environments = found["status"]["environments"].as_array().cloned().unwrap_or_default();
        Ok(environments.into_iter().find(|e| e["name"] == environment).unwrap_or_default())
    }

    /// Waits until `commit` runs and is good in `environment`, which waits for nothing more; returns the board's line.
    ///
    /// # Errors
    /// When it does not within `deadline`; the message holds the board's last line.
    pub async fn deployed(&self, at: (&str, &str, &str), commit: &str, deadline: Duration) -> Result<Value> {
        let (tenant, service, environment) = at;
        until(&format!("{tenant}/{service} at {commit} in {environment}"), deadline, || async {
            let board = self.board(tenant, service, environment).await.unwrap_or_default();
            let good = board["commit"] == commit
                && board["current"].is_string()
                && board["current"] == board["lastGood"]
                && board["candidate"].is_null()
                && board["waiting"].as_array().is_none_or(Vec::is_empty)
                && board["ready"] == board["desired"];
            if good { Ok(board) } else { Err(board.to_string()) }
        })
        .await
    }

    /// The PEM file of the authority that signed the Git server's certificate.
    pub fn authority(&self) -> &Path {
        &self.authority.certificate
    }

    /// A directory that goes with the stand.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The operator's log so far.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn operator_log(&self) -> Result<String> {
        self.kubectl.run(&["-n", NAMESPACE, "logs", "deployment/imaas-operator", "--tail=-1"], None).await
    }

    /// Ends everything that was started.
    ///
    /// # Errors
    /// What could not be removed.
    pub async fn stop(self) -> Result<()> {
        let Self { lab, registry, git, kubectl: _, authority: _, scratch } = self;
        let stopped = lab.stop().await;
        registry.stop().await;
        git.stop();
        drop(scratch);
        stopped
    }
}

/// Asks every 100 ms until the answer is `Ok`.
///
/// # Errors
/// When it is not within `deadline`, with the last answer.
pub async fn until<T, Fut>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Fut) -> Result<T>
where
    Fut: Future<Output = Result<T, String>>,
{
    let begun = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(last) if begun.elapsed() > deadline => {
                bail!("waited {} s for {what}; last seen: {last}", deadline.as_secs())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn password(user: &str) -> String {
    if user == "platform" { PLATFORM_PASSWORD.to_owned() } else { format!("{user}-password") }
}

/// The operator as it is in this work tree, in an archive that a node can import.
async fn operator_archive(scratch: &Path, progress: &Progress) -> Result<PathBuf> {
    let (archive, binary, progress) =
        (scratch.join("operator.tar"), scratch.join("imaas-operator"), progress.clone());
    tokio::task::spawn_blocking(move || {
        progress.say("building the operator and its image …");
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args([
            "build",
            "--quiet",
            "--package",
            "imaas-operator",
            "--bin",
            "imaas-operator",
            "--manifest-path",
        ]);
        cargo.arg(&manifest).args(["--message-format", "json-render-diagnostics"]);
        let messages = process::run(&mut cargo)?;
        let built = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .context("cargo names no executable")?;
        process::run(Command::new("strip").args(["--strip-debug", "-o"]).arg(&binary).arg(built))?;
        let reference = format!("{REGISTRY}/platform/imaas-operator:lab");
        image::operator_image(&binary, &progress)?.archive(&reference, &archive)?;
        Ok(archive)
    })
    .await
    .context("the build died")?
}

fn git_server(
    address: IpAddr,
    scratch: &Path,
    authority: &Authority,
    options: &StandOptions,
) -> Result<GitServer> {
    let mut users = vec![User::writer("platform", PLATFORM_PASSWORD, "/platform/")];
    users.extend(
        options.tenants.iter().map(|tenant| User::writer(tenant, &password(tenant), &format!("/{tenant}/"))),
    );
    let git = GitServer::start(git_server::Options {
        address: SocketAddr::new(address, 443),
        directory: &scratch.join("git"),
        authority: Some(authority),
        names: &[GIT],
        users,
    })?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let empty = scratch.join("empty");
    std::fs::create_dir_all(empty.join("tenants")).context("an empty tenants repository")?;
    std::fs::copy(root.join("tenants/README.md"), empty.join("README.md"))
        .context("the tenants repository's README")?;
    git.create("/platform/tenants.git", &empty, &["main"])?;
    for tenant in &options.tenants {
        for sample in [crate::Sample::Orders, crate::Sample::Inventory] {
            git.create(
                &format!("/{tenant}/{}.git", sample.name()),
                &sample.directory(),
                &["dev", "test", "prod"],
            )?;
        }
    }
    Ok(git)
}

//! Lab, registry, Git server and the installed operator, started together and stopped together.

use std::{
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use lab::{
    DataDir, Lab, Nodes, Progress,
    certificates::{Authority, Pair, Subject},
    git_server::{Credentials, GitServer, WorkTree},
    helm::Release,
    kubectl::Kubectl,
    node::Node,
    process::Process,
    registry::{Registry, TokenAuth},
};
use serde_json::Value;

use crate::{
    binary,
    parts::{git_server, lab_options, password},
    people::tenants_clone,
    places::{GIT, Places, REGISTRY},
    programs::{Programs, Surroundings},
};

/// The operator's namespace.
const NAMESPACE: &str = "imaas-system";
/// The operator, as the API server names it.
pub const OPERATOR: &str = "system:serviceaccount:imaas-system:imaas-operator";
/// How long an installation may take on a busy machine.
const INSTALL: Duration = Duration::from_mins(3);
/// What differs between stands.
#[derive(Clone, Debug)]
pub struct StandOptions {
    /// How often the tenants repository is looked at.
    pub interval: &'static str,
    /// How often those of services are.
    pub service_interval: &'static str,
    /// Tenants that get repositories of the sample services, with a login of the same name.
    pub tenants: Vec<&'static str>,
    /// How long to wait while another lab with real pods runs on this machine.
    pub wait: Duration,
    /// What runs pods. Where they are not real, the operator and its token service are processes of this machine.
    pub nodes: Nodes,
    /// The operator as it is released, and not as it is developed.
    pub release: bool,
    /// Who may log in to the cluster beside its administrator and the operator.
    pub users: Vec<lab::User>,
    /// Users whose requests the API server writes down.
    pub audited: Vec<String>,
}

impl Default for StandOptions {
    fn default() -> Self {
        Self {
            interval: "1s",
            service_interval: "1s",
            tenants: vec!["acme"],
            wait: Duration::ZERO,
            nodes: Nodes::Real,
            release: false,
            users: Vec::new(),
            audited: Vec::new(),
        }
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
    programs: Option<Programs>,
    places: Places,
    authority: Authority,
    /// Of the operator's image, where pods are real.
    archive: Option<PathBuf>,
    scratch: DataDir,
}

impl Stand {
    /// Starts everything and waits until the operator is ready.
    ///
    /// # Errors
    /// What could not be had or did not start, with its last words.
    pub async fn start(options: StandOptions, progress: &Progress) -> Result<Self> {
        let scratch = DataDir::temporary("imaas-stand-").context("a scratch directory")?;
        let binary = binary::operator(options.release, progress).await?;
        let is_real = options.nodes == Nodes::Real;
        let reference = format!("{REGISTRY}/platform/imaas-operator:lab");
        let archive = if is_real {
            Some(binary::archive(binary.clone(), reference, scratch.path(), progress).await?)
        } else {
            None
        };
        let lab = Lab::start(lab_options(&options), progress).await?;
        let places = if is_real { Places::of_pods(lab.host_ip()) } else { Places::of_processes()? };
        let tokens = Authority::create(scratch.path(), "tokens")?;
        let subject =
            Subject { common_name: "registry-auth", organization: None, names: &[], addresses: &[] };
        let signing = tokens.issue(scratch.path(), "registry-auth", &subject)?;
        let auth = TokenAuth {
            realm: places.realm.clone(),
            service: "imaas-registry".to_owned(),
            issuer: "imaas".to_owned(),
            root_certificates: tokens.certificate.clone(),
        };
        let storage = scratch.path().join("registry");
        let registry = Registry::start(&storage, places.registry, Some(&auth), progress).await?;
        if let Some((node, archive)) = lab.node().zip(archive.as_deref()) {
            node.trust_registry(REGISTRY, &format!("http://{}", registry.endpoint()))?;
            node.import_image(archive)?;
        }
        let authority = Authority::create(scratch.path(), "git")?;
        let git = git_server(places.git, scratch.path(), &authority, &options)?;
        progress.say("registry and Git server are up");
        let kubectl = lab.kubectl().clone();
        let mut stand =
            Self { lab, registry, git, kubectl, programs: None, places, authority, archive, scratch };
        let keys = stand.keys(&signing)?;
        stand.install(&options, &keys, progress).await?;
        if !is_real {
            stand.programs = Some(stand.start_programs(&binary, &keys).await?);
        }
        Ok(stand)
    }

    /// Starts a second node with real pods, on which the operator can run as well.
    ///
    /// # Errors
    /// As [`Lab::second_node`].
    pub async fn second_node(&self, progress: &Progress) -> Result<Node> {
        let node = self.lab.second_node(progress).await?;
        node.import_image(self.archive.as_deref().context("the operator has no image")?)?;
        Ok(node)
    }

    /// What the chart's Secret holds, as files of the same names.
    fn keys(&self, signing: &Pair) -> Result<PathBuf> {
        let keys = self.scratch.path().join("keys");
        std::fs::create_dir(&keys).context("a directory for keys")?;
        std::fs::copy(&signing.key, keys.join("tls.key")).context("copy the signing key")?;
        std::fs::copy(&signing.certificate, keys.join("tls.crt")).context("copy the certificate")?;
        std::fs::write(keys.join("accounts.key"), "0123456789abcdef".repeat(4))
            .context("write the accounts key")?;
        std::fs::write(keys.join("token"), "fedcba9876543210".repeat(4))
            .context("write the registry's token")?;
        Ok(keys)
    }

    async fn start_programs(&self, binary: &Path, keys: &Path) -> Result<Programs> {
        let kubeconfig = self.lab.user_kubeconfig(OPERATOR)?;
        let around = Surroundings {
            binary,
            keys,
            folder: self.scratch.path(),
            kubeconfig: &kubeconfig,
            tokens: self.places.tokens,
        };
        Programs::start(&self.kubectl, NAMESPACE, &around).await
    }

    /// Installs or upgrades the chart, as a platform team would.
    async fn install(&self, options: &StandOptions, keys: &Path, progress: &Progress) -> Result<()> {
        self.kubectl.run(&["create", "namespace", NAMESPACE], None).await?;
        let files = format!("--from-file={}", keys.display());
        let secret = ["-n", NAMESPACE, "create", "secret", "generic", "registry-keys", &files];
        self.kubectl.run(&secret, None).await?;
        self.create_git_secret(NAMESPACE, "tenants-git", "platform").await?;
        let values = self.scratch.path().join("values.yaml");
        std::fs::write(&values, self.places.values(options)).context("write the values")?;
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/imaas-operator");
        let chart = chart.to_string_lossy();
        let values = [values.as_path()];
        let release =
            Release { name: "imaas", namespace: NAMESPACE, chart: &chart, values: &values, set: &[] };
        let wait = (options.nodes == Nodes::Real).then_some(INSTALL);
        self.lab.helm(progress).await?.install(&release, wait).await.map(drop)
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

    /// The sample tenant of this name, with its repositories where this stand has them.
    ///
    /// # Errors
    /// When there is no such sample.
    pub fn sample_tenant(&self, name: &str) -> Result<String> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tenants/tenants/{name}.yaml"));
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        Ok(text.replace(GIT, &self.places.git_name))
    }

    /// The Git server as the URLs of repositories name it.
    pub fn git_name(&self) -> &str {
        &self.places.git_name
    }

    /// The operator, where it is a process of this machine.
    pub fn operator(&self) -> Option<&Process> {
        self.programs.as_ref().map(Programs::operator)
    }

    /// Ends the operator and starts it anew.
    ///
    /// # Errors
    /// When it is no process of this machine, or does not get ready.
    pub async fn restart_operator(&mut self) -> Result<()> {
        self.programs.as_mut().context("the operator runs in a pod")?.restart().await
    }

    /// The operator's log so far.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn operator_log(&self) -> Result<String> {
        if let Some(programs) = &self.programs {
            return std::fs::read_to_string(programs.log()).context("read the operator's log");
        }
        self.kubectl.run(&["-n", NAMESPACE, "logs", "deployment/imaas-operator", "--tail=-1"], None).await
    }

    /// The command that follows the operator's log.
    pub fn follow_log(&self) -> String {
        self.programs.as_ref().map_or_else(
            || format!("kubectl -n {NAMESPACE} logs -f deploy/imaas-operator"),
            |programs| format!("tail -f {}", programs.log().display()),
        )
    }

    /// Ends everything that was started.
    ///
    /// # Errors
    /// What could not be removed.
    pub async fn stop(self) -> Result<()> {
        let Self { lab, registry, git, kubectl: _, programs, places: _, authority: _, archive: _, scratch } =
            self;
        drop(programs);
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

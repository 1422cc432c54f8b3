//! A real Git server: `git http-backend` behind a small HTTP(S) front that knows accounts, keeps a log and can misbehave.
//!
//! Everything here blocks; the server itself runs on a thread of its own, so it answers whatever its caller does.

mod access;
mod backend;
mod fault;
mod sign_up;
mod work_tree;

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use axum_server::{Handle, tls_rustls::RustlsConfig};

pub use self::{
    access::User,
    fault::Fault,
    work_tree::{Credentials, WorkTree},
};
use self::{
    access::{Accounts, Verdict},
    backend::Traffic,
};
pub use crate::certificates::Authority;
use crate::certificates::Subject;

/// How a [`GitServer`] is started.
pub struct Options<'a> {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Bare repositories live here; made when missing.
    pub directory: &'a Path,
    /// Serves HTTPS with a certificate of this authority; plain HTTP without.
    pub authority: Option<&'a Authority>,
    /// DNS names that the certificate holds beside the address and `localhost`.
    pub names: &'a [&'a str],
    /// Accounts; more may follow by [`GitServer::add_user`].
    pub users: Vec<User>,
}

/// One line of the request log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// `GET` or `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Status of the answer; 0 while there is none.
    pub status: u16,
    /// Bytes of the request's body so far.
    pub received: u64,
    /// Bytes of the answer's body so far.
    pub sent: u64,
}

struct Entry {
    method: String,
    path: String,
    status: AtomicU16,
    traffic: Arc<Traffic>,
}

struct Shared {
    directory: PathBuf,
    accounts: Mutex<Accounts>,
    faults: Mutex<HashMap<String, Fault>>,
    log: Mutex<Vec<Arc<Entry>>>,
}

/// A running server; it stops when dropped.
pub struct GitServer {
    address: SocketAddr,
    url: String,
    shared: Arc<Shared>,
    handle: Handle<SocketAddr>,
    thread: Option<JoinHandle<()>>,
}

impl GitServer {
    /// Listens before it returns.
    pub fn start(options: Options<'_>) -> Result<Self> {
        let Options { address, directory, authority, names, users } = options;
        std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
        listener.set_nonblocking(true).context("make the listener non-blocking")?;
        let address = listener.local_addr().context("address of the listener")?;
        let tls = authority.map(|authority| tls(authority, directory, (address, names))).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            directory: directory.to_owned(),
            accounts: Mutex::new(Accounts { users, is_open: false }),
            faults: Mutex::default(),
            log: Mutex::default(),
        });
        let handle = Handle::new();
        let app = Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let thread = spawn(listener, tls, app, handle.clone())?;
        Ok(Self { address, url: format!("{scheme}://{address}"), shared, handle, thread: Some(thread) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://<address>`, without a slash at the end.
    pub fn endpoint(&self) -> &str {
        &self.url
    }

    /// The URL of a repository, e.g. of `/acme/orders.git`.
    pub fn url(&self, repository: &str) -> String {
        format!("{}/{}", self.url, repository.trim_start_matches('/'))
    }

    /// Makes a bare repository whose branches all stand on one first commit with the files of `tree`
    /// (less what its `.gitignore` names). The first branch is the default. Returns the commit.
    pub fn create(&self, repository: &str, tree: &Path, branches: &[&str]) -> Result<String> {
        let bare = self.directory(repository);
        let Some((first, _)) = branches.split_first() else { bail!("{repository}: no branch is named") };
        if bare.exists() {
            bail!("{repository}: exists already");
        }
        self::bare(&bare, first)?;
        git(&bare, Some(tree), &["add", "--all", "."])?;
        let tree = git(&bare, None, &["write-tree"])?;
        let commit = git(&bare, None, &["commit-tree", &tree, "-m", "first commit"])?;
        for branch in branches {
            git(&bare, None, &["update-ref", &format!("refs/heads/{branch}"), &commit])?;
        }
        Ok(commit)
    }

    /// The bare repository on disk.
    pub fn directory(&self, repository: &str) -> PathBuf {
        self.shared.directory.join(repository.trim_start_matches('/'))
    }

    /// One more account.
    pub fn add_user(&self, user: User) {
        lock(&self.shared.accounts).users.push(user);
    }

    /// From now on whoever comes as `NAME` with the password `NAME-password` has `/NAME/`, where a first push makes a repository.
    pub fn open_sign_up(&self) {
        lock(&self.shared.accounts).is_open = true;
    }

    /// Misbehaves for every path that starts with `prefix`, until told otherwise; `None` behaves again.
    pub fn set_fault(&self, prefix: &str, fault: Option<Fault>) {
        let mut faults = lock(&self.shared.faults);
        match fault {
            Some(fault) => faults.insert(prefix.to_owned(), fault),
            None => faults.remove(prefix),
        };
    }

    /// What was asked so far, oldest first.
    pub fn requests(&self) -> Vec<Exchange> {
        lock(&self.shared.log).iter().map(|entry| entry.exchange()).collect()
    }

    /// Forgets the log.
    pub fn clear_requests(&self) {
        lock(&self.shared.log).clear();
    }

    /// Ends every connection and waits for the thread.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the git server's thread ended badly");
        }
    }
}

impl Entry {
    fn exchange(&self) -> Exchange {
        Exchange {
            method: self.method.clone(),
            path: self.path.clone(),
            status: self.status.load(Relaxed),
            received: self.traffic.received.load(Relaxed),
            sent: self.traffic.sent.load(Relaxed),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tls(
    authority: &Authority,
    directory: &Path,
    (address, names): (SocketAddr, &[&str]),
) -> Result<RustlsConfig> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let names = [&["localhost"], names].concat();
    let subject =
        Subject { common_name: "git", organization: None, names: &names, addresses: &[address.ip()] };
    let issued = authority.issue(directory, "git-server", &subject)?;
    let chain = vec![CertificateDer::from_pem_file(&issued.certificate).context("certificate")?];
    let key = PrivateKeyDer::from_pem_file(&issued.key).context("private key")?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("TLS certificate")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}

fn spawn(
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    app: Router,
    handle: Handle<SocketAddr>,
) -> Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("git-server")
        .enable_all()
        .build()
        .context("runtime of the git server")?;
    let serve = move || {
        let outcome = runtime.block_on(async move {
            let service = app.into_make_service();
            match tls {
                Some(tls) => axum_server::from_tcp_rustls(listener, tls)?.handle(handle).serve(service).await,
                None => axum_server::from_tcp(listener)?.handle(handle).serve(service).await,
            }
        });
        if let Err(error) = outcome {
            tracing::error!(%error, "the git server stopped");
        }
        runtime.shutdown_timeout(Duration::from_secs(1));
    };
    std::thread::Builder::new().name("git-server".into()).spawn(serve).context("thread of the git server")
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path_and_query().map_or("/", |both| both.as_str()).to_owned();
    let method = request.method().to_string();
    let entry =
        Arc::new(Entry { method, path: path.clone(), status: AtomicU16::new(0), traffic: Arc::default() });
    lock(&shared.log).push(Arc::clone(&entry));
    let fault = shared.fault(&path);
    let mut response = match &fault {
        Some(fault) => fault::answer(fault, &path).await,
        None => None,
    };
    if response.is_none() {
        response = Some(answer(&shared, request, &entry).await);
    }
    let response = response.unwrap_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    entry.status.store(response.status().as_u16(), Relaxed);
    if fault == Some(Fault::OneByteASecond) { fault::slowed(response) } else { response }
}

async fn answer(shared: &Shared, request: Request, entry: &Entry) -> Response {
    let path = request.uri().path().to_owned();
    // Prefixes of accounts are compared with the path as it is: refuse every other spelling of one.
    if path.contains(['%', '\\']) || path.contains("..") || path.contains("//") {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let is_push = path.ends_with("/git-receive-pack")
        || request.uri().query().is_some_and(|query| query.contains("service=git-receive-pack"));
    let (verdict, is_open) = {
        let accounts = lock(&shared.accounts);
        (access::verdict(&accounts, request.headers(), &path, is_push), accounts.is_open)
    };
    let user = match verdict {
        Verdict::Allowed(user) => user,
        Verdict::Unknown => return fault::unauthorized(),
        Verdict::Forbidden => return StatusCode::FORBIDDEN.into_response(),
    };
    if is_push
        && is_open
        && let Err(error) = sign_up::repository(&shared.directory, &path)
    {
        tracing::error!(error = %format!("{error:#}"), "no repository could be made");
    }
    match backend::run(&shared.directory, &user, request, Arc::clone(&entry.traffic)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(error = %format!("{error:#}"), "git http-backend failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

impl Shared {
    /// The fault with the longest prefix that fits.
    fn fault(&self, path: &str) -> Option<Fault> {
        let faults = lock(&self.faults);
        let fitting = faults.iter().filter(|(prefix, _)| path.starts_with(prefix.as_str()));
        fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(_, fault)| fault.clone())
    }
}

/// A new empty bare repository that takes pushes.
fn bare(directory: &Path, branch: &str) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    git(directory, None, &["init", "--quiet", "--bare", "-b", branch, "."])?;
    for (key, value) in [("http.receivepack", "true"), ("receive.autogc", "false"), ("gc.auto", "0")] {
        git(directory, None, &["config", key, value])?;
    }
    Ok(())
}

/// Runs git in a bare repository, with the files of `tree` when given; returns its output, trimmed.
fn git(bare: &Path, tree: Option<&Path>, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    work_tree::neutral(&mut command).current_dir(tree.unwrap_or(bare)).env("GIT_DIR", bare).args(arguments);
    if let Some(tree) = tree {
        command.env("GIT_WORK_TREE", tree);
    }
    work_tree::output(&mut command)
}

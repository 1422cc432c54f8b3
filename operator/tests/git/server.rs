//! A real Git server for the tests: `git http-backend` behind HTTP or HTTPS, with a log of requests and faults to inject.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use axum::serve::Listener;
use futures::stream;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What the server does instead of answering well.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Only this status.
    Status(u16),
    /// A redirect to there.
    Redirect(u16, String),
    /// Packets without end, after the right content type.
    EndlessPackets,
    /// One byte every 50 ms, of a packet that never ends.
    SlowBytes,
    /// Accepts, and says nothing.
    Hang,
    /// Answers well, but changes the last but `n`-th byte of the answer to a POST whose request has `done`.
    CorruptPack(usize),
    /// Answers well, but only the first `n` bytes of such an answer.
    Truncate(usize),
    /// This, as the body of every answer.
    Body(Vec<u8>),
    /// This, as the answer to a fetch.
    Pack(Vec<u8>),
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub authorization: Option<String>,
    /// Bytes of the answer's body.
    pub answered: usize,
}

struct Shared {
    root: PathBuf,
    seen: Mutex<Vec<Seen>>,
    fault: Mutex<Option<Fault>>,
    auth: Mutex<Option<String>>,
    protocol_v2: bool,
}

/// Runs until dropped.
pub struct Server {
    pub address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    work: TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::with(None, true).await
    }

    pub async fn old_protocol() -> Self {
        Self::with(None, false).await
    }

    pub async fn tls(acceptor: TlsAcceptor) -> Self {
        Self::with(Some(acceptor), true).await
    }

    async fn with(tls: Option<TlsAcceptor>, protocol_v2: bool) -> Self {
        let work = TempDir::new().unwrap();
        let shared = Arc::new(Shared {
            root: work.path().join("served"),
            seen: Mutex::default(),
            fault: Mutex::default(),
            auth: Mutex::default(),
            protocol_v2,
        });
        std::fs::create_dir(&shared.root).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let task = match tls {
            Some(acceptor) => tokio::spawn(async move {
                let _ = axum::serve(TlsListener { listener, acceptor }, app).await;
            }),
            None => tokio::spawn(async move {
                let _ = axum::serve(listener, app).await;
            }),
        };
        Self { address, scheme, shared, work, task }
    }

    pub fn url(&self, repository: &str) -> String {
        format!("{}://{}/{repository}.git", self.scheme, self.address)
    }

    /// The same, with a host name in place of the address.
    pub fn url_at(&self, host: &str, repository: &str) -> String {
        format!("{}://{host}:{}/{repository}.git", self.scheme, self.address.port())
    }

    pub fn fail(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = Some(fault);
    }

    pub fn heal(&self) {
        *self.shared.fault.lock().unwrap() = None;
    }

    /// Asks for this user and password from now on.
    pub fn protect(&self, user: &str, password: &str) {
        *self.shared.auth.lock().unwrap() = Some(basic(user, password));
    }

    /// Requests since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.shared.seen.lock().unwrap())
    }

    /// An empty repository.
    pub fn repository(&self, name: &str) -> Repository {
        let path = self.shared.root.join(format!("{name}.git"));
        let repository = Repository { path };
        git(
            self.work.path(),
            &["init", "-q", "--bare", "-b", "main", &repository.path.to_string_lossy()],
            b"",
        );
        repository.git(&["config", "uploadpack.allowFilter", "true"]);
        repository.git(&["config", "transfer.fsckObjects", "false"]);
        repository
    }
}

pub fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// A repository as its owner sees it. Objects are made with plumbing, so that also evil ones can be made.
#[derive(Clone)]
pub struct Repository {
    pub path: PathBuf,
}

impl Repository {
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.path, arguments, b"")
    }

    pub fn git_in(&self, arguments: &[&str], input: &[u8]) -> String {
        git(&self.path, arguments, input)
    }

    pub fn blob(&self, content: &[u8]) -> String {
        self.git_in(&["hash-object", "-w", "--stdin"], content)
    }

    /// A tree of these entries exactly: mode, name, id.
    pub fn raw_tree(&self, entries: &[(&str, &[u8], &str)]) -> String {
        let mut tree = vec![];
        for (mode, name, id) in entries {
            tree.extend_from_slice(mode.as_bytes());
            tree.push(b' ');
            tree.extend_from_slice(name);
            tree.push(0);
            tree.extend((0..20).map(|at| u8::from_str_radix(&id[at * 2..at * 2 + 2], 16).unwrap()));
        }
        self.git_in(&["hash-object", "-w", "-t", "tree", "--literally", "--stdin"], &tree)
    }

    /// A tree of files by path.
    pub fn tree(&self, files: &[(&str, &str)]) -> String {
        self.tree_of(files.iter().map(|(path, text)| (path.to_string(), text.as_bytes().to_vec())).collect())
    }

    fn tree_of(&self, files: BTreeMap<String, Vec<u8>>) -> String {
        let mut lines = vec![];
        let mut deeper: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
        for (path, content) in files {
            match path.split_once('/') {
                Some((directory, rest)) => {
                    deeper.entry(directory.to_owned()).or_default().insert(rest.to_owned(), content);
                }
                None => lines.push(format!("100644 blob {}\t{path}\n", self.blob(&content))),
            }
        }
        for (directory, files) in deeper {
            lines.push(format!("040000 tree {}\t{directory}\n", self.tree_of(files)));
        }
        self.git_in(&["mktree"], lines.concat().as_bytes())
    }

    /// A commit of a tree on a branch, with the branch's head as parent, if there is one.
    pub fn commit_tree(&self, branch: &str, tree: &str) -> String {
        let parent = self.git(&["for-each-ref", "--format=%(objectname)", &format!("refs/heads/{branch}")]);
        let mut arguments = vec!["commit-tree", tree, "-m", "change"];
        if !parent.is_empty() {
            arguments.extend(["-p", &parent]);
        }
        let commit = self.git(&arguments);
        self.point(branch, &commit);
        commit
    }

    pub fn commit(&self, branch: &str, files: &[(&str, &str)]) -> String {
        self.commit_tree(branch, &self.tree(files))
    }

    pub fn point(&self, branch: &str, commit: &str) {
        self.git(&["update-ref", &format!("refs/heads/{branch}"), commit]);
    }

    /// Writes a ref without any check.
    pub fn point_unchecked(&self, branch: &str, id: &str) {
        std::fs::write(self.path.join("refs/heads").join(branch), format!("{id}\n")).unwrap();
    }
}

fn git(directory: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("git")
        .current_dir(directory)
        .args(arguments)
        .envs([("GIT_AUTHOR_NAME", "t"), ("GIT_AUTHOR_EMAIL", "t@t"), ("GIT_COMMITTER_NAME", "t")])
        .envs([
            ("GIT_COMMITTER_EMAIL", "t@t"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let at = {
        let mut seen = shared.seen.lock().unwrap();
        let (method, target) = (parts.method.to_string(), parts.uri.to_string());
        seen.push(Seen { method, target, authorization: header("authorization"), answered: 0 });
        seen.len() - 1
    };
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let auth = shared.auth.lock().unwrap().clone();
    if auth.is_some() && auth != header("authorization") {
        return status(401);
    }
    let is_get = parts.method == "GET";
    let kind = if is_get { "advertisement" } else { "result" };
    let content_type = format!("application/x-git-upload-pack-{kind}");
    let is_fetch = body.windows(8).any(|window| window == b"0009done");
    let fault = shared.fault.lock().unwrap().clone();
    let stream = |body| Response::builder().header("content-type", &content_type).body(body).unwrap();
    match &fault {
        Some(Fault::Status(code)) => return status(*code),
        Some(Fault::Redirect(code, to)) => {
            return Response::builder().status(*code).header("location", to).body(Body::empty()).unwrap();
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::EndlessPackets) => {
            let lines = "003d1111111111111111111111111111111111111111 refs/heads/main\n".repeat(1000);
            let bytes = Bytes::from(lines);
            return stream(Body::from_stream(stream::repeat_with(move || {
                Ok::<_, std::io::Error>(bytes.clone())
            })));
        }
        Some(Fault::SlowBytes) => {
            let slow = stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b"1")), ()))
            });
            return stream(Body::from_stream(slow));
        }
        Some(Fault::Body(bytes)) => return stream(Body::from(bytes.clone())),
        Some(Fault::Pack(bytes)) if is_fetch => return stream(Body::from(bytes.clone())),
        Some(Fault::Pack(_) | Fault::CorruptPack(_) | Fault::Truncate(_)) | None => {}
    }
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let protocol = header("git-protocol").filter(|_| shared.protocol_v2);
    let (head, mut body) =
        backend(&shared.root, parts.uri.path(), &query, header("content-type").as_ref(), protocol, body)
            .await;
    match fault {
        Some(Fault::CorruptPack(from_end)) if is_fetch => {
            let at = body.len() - from_end;
            body[at] ^= 0xff;
        }
        Some(Fault::Truncate(length)) if is_fetch => body.truncate(length),
        _ => {}
    }
    if let Some(seen) = shared.seen.lock().unwrap().get_mut(at) {
        seen.answered = body.len();
    }
    let mut response = Response::builder();
    for line in head.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value[..3].parse::<u16>().unwrap()),
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(body)).unwrap()
}

fn status(code: u16) -> Response<Body> {
    Response::builder()
        .status(StatusCode::from_u16(code).unwrap())
        .body(Body::from("hunter2 said the server"))
        .unwrap()
}

/// Git's own server side, over CGI.
async fn backend(
    root: &Path,
    path: &str,
    query: &str,
    content_type: Option<&String>,
    protocol: Option<String>,
    body: Bytes,
) -> (String, Vec<u8>) {
    use tokio::io::AsyncWriteExt;
    let method = if content_type.is_some() { "POST" } else { "GET" };
    let mut command = tokio::process::Command::new("git");
    command.arg("http-backend").env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("PATH_INFO", path).env("QUERY_STRING", query).env("REQUEST_METHOD", method);
    command
        .env("CONTENT_TYPE", content_type.cloned().unwrap_or_default())
        .env("CONTENT_LENGTH", body.len().to_string());
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    if let Some(protocol) = protocol {
        command.env("GIT_PROTOCOL", protocol);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    tokio::spawn(async move {
        let _ = stdin.write_all(&body).await;
    });
    let output = child.wait_with_output().await.unwrap().stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (String::from_utf8(output[..end].to_vec()).unwrap().replace('\r', ""), output[end + 4..].to_vec())
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

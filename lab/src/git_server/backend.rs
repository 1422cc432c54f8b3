//! One request handed to `git http-backend` (CGI, RFC 3875): body in as it comes, answer out as it comes.

use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed},
};

use anyhow::{Context, Result, bail};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, Response, StatusCode},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdout, Command},
};
use tokio_util::io::ReaderStream;

/// Bytes of one exchange, counted while they flow.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Of the request's body.
    pub received: AtomicU64,
    /// Of the answer's body.
    pub sent: AtomicU64,
}

/// Runs the backend for `request`. The child ends with the answer, or with the client.
pub(super) async fn run(
    root: &Path,
    user: &str,
    request: Request,
    traffic: Arc<Traffic>,
) -> Result<Response<Body>> {
    let mut command = command(root, user, &request);
    let mut child = command.spawn().context("start git http-backend")?;
    let stdin = child.stdin.take().context("stdin of git http-backend")?;
    let stdout = child.stdout.take().context("stdout of git http-backend")?;
    tokio::spawn(feed(request.into_body(), stdin, Arc::clone(&traffic)));
    let mut stdout = BufReader::new(stdout);
    let (status, headers) = head(&mut stdout).await?;
    let (sink, source) = tokio::io::duplex(64 * 1024);
    tokio::spawn(drain(child, stdout, sink, traffic));
    let mut response = Response::new(Body::from_stream(ReaderStream::new(source)));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn command(root: &Path, user: &str, request: &Request) -> Command {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", root)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", request.method().as_str())
        .env("PATH_INFO", request.uri().path())
        .env("QUERY_STRING", request.uri().query().unwrap_or(""))
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_USER", user)
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    // A chunked body has no length: the backend then reads to the end of its input.
    let length = header("content-length");
    if !length.is_empty() {
        command.env("CONTENT_LENGTH", length);
    }
    command
}

async fn feed(body: Body, mut stdin: tokio::process::ChildStdin, traffic: Arc<Traffic>) {
    let mut body = std::pin::pin!(body);
    loop {
        use axum::body::HttpBody;
        let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await;
        let Some(Ok(frame)) = frame else { break };
        let Ok(data) = frame.into_data() else { continue };
        traffic.received.fetch_add(data.len() as u64, Relaxed);
        // The backend may answer before it has read everything; the rest has no reader then.
        if stdin.write_all(&data).await.is_err() {
            break;
        }
    }
}

async fn head(stdout: &mut BufReader<ChildStdout>) -> Result<(StatusCode, HeaderMap)> {
    let mut status = StatusCode::OK;
    let mut headers = HeaderMap::new();
    loop {
        let mut line = String::new();
        if stdout.read_line(&mut line).await.context("read the answer's head")? == 0 {
            bail!("git http-backend ended without an answer");
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').context("the answer's head has a line without a colon")?;
        if name.eq_ignore_ascii_case("status") {
            let code = value.trim().split(' ').next().unwrap_or_default();
            status = code.parse().context("status of the answer")?;
        } else {
            let name: axum::http::HeaderName = name.parse().context("header of the answer")?;
            headers.append(name, value.trim().parse().context("header value of the answer")?);
        }
    }
}

async fn drain(
    mut child: Child,
    mut stdout: BufReader<ChildStdout>,
    mut sink: tokio::io::DuplexStream,
    traffic: Arc<Traffic>,
) {
    let mut buffer = vec![0_u8; 32 * 1024];
    while let Ok(count) = stdout.read(&mut buffer).await {
        if count == 0 || sink.write_all(&buffer[..count]).await.is_err() {
            break;
        }
        traffic.sent.fetch_add(count as u64, Relaxed);
    }
    drop(stdout);
    drop(sink);
    if let Err(error) = child.wait().await {
        tracing::warn!(%error, "git http-backend could not be awaited");
    }
}

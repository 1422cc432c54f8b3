//! An HTTP client that opens a new connection for every request, and a trickle of such requests.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

/// Longer than any answer of a sample service.
const DEADLINE: Duration = Duration::from_secs(10);

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Everything after the head.
    pub body: String,
}

/// One GET on a connection of its own.
///
/// # Errors
/// When there is no connection, no whole answer within 10 s, or no HTTP in it.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    get_of(address, &address.to_string(), path).await
}

/// The same of a server that has several hosts.
///
/// # Errors
/// As [`get`].
pub async fn get_of(address: SocketAddr, host: &str, path: &str) -> Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.context("connect")?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.context("send")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.context("receive")?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let Some((head, body)) = answer.split_once("\r\n\r\n") else {
            bail!("the answer ended early: {answer:?}")
        };
        let status =
            head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status in the answer")?;
        Ok(Answer { status, body: body.to_owned() })
    };
    tokio::time::timeout(DEADLINE, exchange).await.context("no answer within 10 s")?
}

/// Requests that go on until they are stopped.
#[derive(Debug)]
pub struct Trickle {
    stop: Arc<AtomicBool>,
    report: Arc<Mutex<TrickleReport>>,
    task: JoinHandle<()>,
}

/// What became of them.
#[derive(Clone, Debug, Default)]
pub struct TrickleReport {
    /// All requests.
    pub sent: u64,
    /// No connection, no answer, or no 200, in words.
    pub failures: Vec<String>,
    /// How often each body was seen.
    pub bodies: BTreeMap<String, u64>,
}

impl Trickle {
    /// A request every `period`, each on a new connection; the next does not wait for the one before.
    pub fn start(address: SocketAddr, path: &'static str, period: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let report = Arc::new(Mutex::new(TrickleReport::default()));
        let (stopped, into) = (stop.clone(), report.clone());
        let begun = Instant::now();
        let task = tokio::spawn(async move {
            let mut clock = tokio::time::interval(period);
            let mut under_way = tokio::task::JoinSet::new();
            while !stopped.load(Ordering::Relaxed) {
                clock.tick().await;
                let into = into.clone();
                under_way.spawn(async move {
                    let answer = get(address, path).await;
                    let mut report = into.lock().unwrap_or_else(PoisonError::into_inner);
                    report.sent += 1;
                    match answer {
                        Ok(Answer { status: 200, body }) => *report.bodies.entry(body).or_default() += 1,
                        Ok(Answer { status, body }) => {
                            let at = begun.elapsed().as_secs_f32();
                            report.failures.push(format!("{at:.1} s: status {status}: {body}"));
                        }
                        Err(error) => {
                            let at = begun.elapsed().as_secs_f32();
                            report.failures.push(format!("{at:.1} s: {error:#}"));
                        }
                    }
                });
            }
            under_way.join_all().await;
        });
        Self { stop, report, task }
    }

    /// What happened so far.
    pub fn so_far(&self) -> TrickleReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it; the requests under way are waited for.
    ///
    /// # Errors
    /// When the task died.
    pub async fn finish(self) -> Result<TrickleReport> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.context("the trickle died")?;
        Ok(self.report.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

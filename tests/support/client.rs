//! An HTTP client for tests, and a trickle of requests.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use reqwest::{
    Client,
    header::{HOST, HeaderMap, HeaderName, HeaderValue},
};
use tokio::task::JoinHandle;

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

/// Who asks one server.
#[derive(Clone, Debug)]
pub struct Caller {
    client: Client,
    address: SocketAddr,
    headers: HeaderMap,
}

impl Caller {
    /// Each request on a connection of its own.
    ///
    /// # Errors
    /// What the library says of its set-up.
    pub fn new(address: SocketAddr) -> Result<Self> {
        Self::keeping(0, address)
    }

    /// Connections are kept for the next request.
    ///
    /// # Errors
    /// As [`Caller::new`].
    pub fn kept(address: SocketAddr) -> Result<Self> {
        Self::keeping(usize::MAX, address)
    }

    fn keeping(idle: usize, address: SocketAddr) -> Result<Self> {
        let client = Client::builder().no_proxy().timeout(DEADLINE).pool_max_idle_per_host(idle).build()?;
        Ok(Self { client, address, headers: HeaderMap::new() })
    }

    /// Asks for this host of a server that has several.
    ///
    /// # Errors
    /// Where it is no host.
    pub fn of(self, host: &str) -> Result<Self> {
        self.with((HOST, host))
    }

    /// With this header.
    ///
    /// # Errors
    /// Where it is no value of one.
    pub fn with(mut self, (name, value): (HeaderName, &str)) -> Result<Self> {
        self.headers.insert(name, HeaderValue::from_str(value)?);
        Ok(self)
    }

    /// One GET.
    ///
    /// # Errors
    /// When there is no connection, no whole answer within 10 s, or no HTTP in it.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        let url = format!("http://{}{path}", self.address);
        let request = self.client.get(&url).headers(self.headers.clone());
        let answer = async {
            let answer = request.send().await?;
            Ok(Answer { status: answer.status().as_u16(), body: answer.text().await? })
        };
        // Some of the library's errors name the address, and some do not.
        answer
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(|| format!("no whole answer from {url}"))
    }
}

/// One GET on a connection of its own.
///
/// # Errors
/// As [`Caller::get`].
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    Caller::new(address)?.get(path).await
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
    /// A request of `caller` every `period`; the next does not wait for the one before.
    pub fn start(caller: Caller, path: &'static str, period: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let report = Arc::new(Mutex::new(TrickleReport::default()));
        let (stopped, into) = (stop.clone(), report.clone());
        let begun = Instant::now();
        let task = tokio::spawn(async move {
            let mut clock = tokio::time::interval(period);
            let mut under_way = tokio::task::JoinSet::new();
            while !stopped.load(Ordering::Relaxed) {
                clock.tick().await;
                let (into, caller) = (into.clone(), caller.clone());
                under_way.spawn(async move {
                    let answer = caller.get(path).await;
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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    #[tokio::test]
    async fn whoever_does_not_answer_to_the_end_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let half = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let _ = connection.read(&mut [0; 1024]).unwrap();
            connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").unwrap();
        });
        let named = format!("no whole answer from http://{address}/inventory: ");
        for when in ["while it answers", "before it does"] {
            let error = get(address, "/inventory").await.unwrap_err();
            let told = format!("{error:#}");
            assert!(told.starts_with(&named) && told.matches("/inventory").count() == 1, "{when}: {told}");
        }
        half.join().unwrap();
    }
}

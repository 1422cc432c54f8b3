//! IO: the one small HTTP server: `/livez`, `/readyz`, `/metrics`, and what a subcommand adds to it.

use std::{
    future::{Future, Ready, ready},
    net::{SocketAddr, TcpListener},
    pin::Pin,
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use axum_server::{Handle, accept::Accept};
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_io_timeout::TimeoutStream;
use tower_http::timeout::TimeoutLayer;

use crate::health::Health;

/// For the head of a request, also of the next one on a connection that is kept.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// For what is under way at the end; a reader who takes nothing is not waited for.
const LAST_ANSWERS: Duration = Duration::from_secs(10);
/// From the head of a request to its answer, the body included.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// For a reader to take some more of what is said.
const READER_DEADLINE: Duration = Duration::from_secs(30);

/// How long the server waits for a client.
#[derive(Clone, Copy)]
struct Deadlines {
    head: Duration,
    answer: Duration,
    reader: Duration,
}

/// The server could not start or broke.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve on {address}: is the port taken?")]
pub struct ServeError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Serves `routes` and the three paths above on `address` until `shutdown`; what is under way is finished.
///
/// A connection whose next request has no head after [`HEAD_DEADLINE`] is closed: kept ones are asked more often. So is one
/// whose client takes nothing of the answers for [`READER_DEADLINE`].
pub async fn serve(
    address: SocketAddr,
    health: Health,
    routes: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let failed = |source| ServeError { address, source };
    let listener = listener(address).map_err(failed)?;
    let app = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(|| async { crate::metrics::text() }))
        .with_state(health)
        .merge(routes);
    let deadlines = Deadlines { head: HEAD_DEADLINE, answer: ANSWER_DEADLINE, reader: READER_DEADLINE };
    serve_on(listener, app, deadlines, shutdown).await.map_err(failed)
}

fn listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn serve_on(
    listener: TcpListener,
    app: Router,
    Deadlines { head, answer, reader }: Deadlines,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let handle = Handle::new();
    let stopping = handle.clone();
    tokio::spawn(async move {
        shutdown.await;
        stopping.graceful_shutdown(Some(LAST_ANSWERS));
    });
    let app = app.layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, answer));
    // What speaks HTTP/2 or nothing is not waited for either: only HTTP/1 is spoken here.
    let mut server =
        axum_server::from_tcp(listener)?.acceptor(Impatient { reader }).http1_only().handle(handle);
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(head);
    server.serve(app.into_make_service()).await
}

/// Takes every connection, and breaks one whose other end takes nothing for so long.
#[derive(Clone)]
struct Impatient {
    reader: Duration,
}

impl<I: AsyncRead + AsyncWrite, S> Accept<I, S> for Impatient {
    type Stream = Pin<Box<TimeoutStream<I>>>;
    type Service = S;
    type Future = Ready<std::io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.reader));
        ready(Ok((Box::pin(stream), service)))
    }
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    let problems = health.problems();
    if problems.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n")
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Bytes, routing::post};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::oneshot,
        time::timeout,
    };

    use super::*;

    const LONG: Duration = Duration::from_mins(1);
    const SHORT: Duration = Duration::from_millis(50);
    const PATIENT: Deadlines = Deadlines { head: LONG, answer: LONG, reader: LONG };

    /// All that the server says on a connection on which `said` is said, until it closes it.
    async fn answer(said: &str, deadlines: Deadlines) -> String {
        let listener = listener("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/", post(|_: Bytes| async { "taken" }));
        let server = tokio::spawn(serve_on(listener, app, deadlines, std::future::pending()));
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(said.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(LONG, connection.read_to_string(&mut answer)).await.expect("closed in time").unwrap();
        server.abort();
        answer
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_or_half_a_head_is_closed() {
        for said in ["", "POST / HTTP/1.1\r\nHost: a\r\n", "PRI * HTTP/2.0\r\n"] {
            let answer = answer(said, Deadlines { head: SHORT, ..PATIENT }).await;
            assert!(!answer.contains("200"), "{said:?}: {answer}");
        }
    }

    #[tokio::test]
    async fn a_kept_connection_is_closed_after_the_last_answer() {
        let said = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        let answer = answer(said, Deadlines { head: SHORT, ..PATIENT }).await;
        assert!(answer.ends_with("taken"), "{answer}");
    }

    #[tokio::test]
    async fn a_body_that_never_comes_is_not_waited_for() {
        let said = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
        let answer = answer(said, Deadlines { answer: SHORT, ..PATIENT }).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }

    #[tokio::test]
    async fn a_reader_who_takes_nothing_is_not_waited_for() {
        const REQUESTS: usize = 400;
        // More than both ends keep of a connection.
        const LENGTH: usize = 1 << 16;
        let listener = listener("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/", get(|| async { "a".repeat(LENGTH) }));
        let deadlines = Deadlines { head: SHORT, reader: SHORT, ..PATIENT };
        let server = tokio::spawn(serve_on(listener, app, deadlines, std::future::pending()));
        let mut connection = TcpStream::connect(address).await.unwrap();
        let said = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(REQUESTS);
        connection.write_all(said.as_bytes()).await.unwrap();
        tokio::time::sleep(10 * SHORT).await;
        let mut answers = Vec::new();
        // That the connection broke is told as an error, or not at all.
        let _ = timeout(LONG, connection.read_to_end(&mut answers)).await.expect("closed in time");
        assert!(answers.len() < REQUESTS * LENGTH, "{}", answers.len());
        server.abort();
    }

    #[tokio::test]
    async fn what_is_under_way_is_finished_before_the_end() {
        let listener = listener("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/", post(|_: Bytes| async { "taken" }));
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { stopped.await.unwrap() };
        let server = tokio::spawn(serve_on(listener, app, PATIENT, shutdown));
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n").await.unwrap();
        // Only once the request is under way: before, a connection has nothing to finish.
        tokio::time::sleep(Duration::from_millis(200)).await;
        stop.send(()).unwrap();
        connection.write_all(b"1").await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("taken"), "{answer}");
        server.await.unwrap().unwrap();
    }
}

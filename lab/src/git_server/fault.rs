//! Misbehaviour on demand, so that tests can ask what a client does about it.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio_util::io::ReaderStream;

/// What the server does instead of answering well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status and no body; 401 comes with `WWW-Authenticate`.
    Status(u16),
    /// Advertises references without end.
    EndlessBody,
    /// Sends the true answer, one byte a second.
    OneByteASecond,
    /// 302 to this URL plus the request's path and query.
    Redirect(String),
    /// Accepts the request and never answers.
    Silence,
}

/// The answer of a fault that needs no repository; `None` when the true answer is only slowed down.
pub(super) async fn answer(fault: &Fault, path_and_query: &str) -> Option<Response> {
    match fault {
        Fault::Status(401) => Some(unauthorized()),
        Fault::Status(code) => {
            Some(StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response())
        }
        Fault::EndlessBody => Some(endless()),
        Fault::OneByteASecond => None,
        Fault::Redirect(to) => {
            let location = format!("{}{path_and_query}", to.trim_end_matches('/'));
            Some((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
        }
        Fault::Silence => {
            std::future::pending::<()>().await;
            None
        }
    }
}

/// 401 in the words that make a Git client ask for credentials.
pub(super) fn unauthorized() -> Response {
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"lab\"")]).into_response()
}

fn endless() -> Response {
    let (mut sink, source) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let mut number: u64 = 0;
        let mut sent = sink.write_all(b"001e# service=git-upload-pack\n0000").await;
        while sent.is_ok() {
            let capabilities = if number == 0 { "\0ofs-delta" } else { "" };
            let line = format!("{:040x} refs/heads/{number:020}{capabilities}\n", number + 1);
            sent = sink.write_all(format!("{:04x}{line}", line.len() + 4).as_bytes()).await;
            number += 1;
        }
    });
    let kind = [(header::CONTENT_TYPE, "application/x-git-upload-pack-advertisement")];
    (kind, Body::from_stream(ReaderStream::new(source))).into_response()
}

/// The same answer, one byte a second.
pub(super) fn slowed(response: Response) -> Response {
    let (head, body) = response.into_parts();
    let (mut sink, source) = tokio::io::duplex(1);
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let all: Bytes = axum::body::to_bytes(body, 64 * 1024 * 1024).await.unwrap_or_default();
        for byte in all {
            if sink.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    Response::from_parts(head, Body::from_stream(ReaderStream::new(source)))
}

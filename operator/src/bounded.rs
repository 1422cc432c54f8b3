//! IO: a client for those whose answers are not trusted: bounded in time and size, and led nowhere else.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, Response, redirect};

/// For the whole answer.
pub const DEADLINE: Duration = Duration::from_secs(3);
/// Longest answer, in bytes.
pub const LARGEST: usize = 64 * 1024;

/// Why an answer was not read.
#[derive(Debug)]
pub enum Unread {
    /// It broke off, or did not come in time.
    Broken(reqwest::Error),
    /// It is longer than [`LARGEST`].
    TooLong,
}

/// What every such client is.
pub fn client() -> ClientBuilder {
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .timeout(DEADLINE)
        .user_agent(concat!("imaas-operator-", env!("CARGO_PKG_VERSION")))
}

/// The body of `response`.
pub async fn body(response: &mut Response) -> Result<Vec<u8>, Unread> {
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Unread::Broken)? {
        answer.extend_from_slice(&chunk);
        if answer.len() > LARGEST {
            return Err(Unread::TooLong);
        }
    }
    Ok(answer)
}

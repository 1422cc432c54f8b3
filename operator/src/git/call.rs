//! IO: one request to the API of a repository's host, beside Git's protocol: by the same client, with the same bounds.

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::transport::{Bounds, failure};
use super::{Git, GitError, Remote};

/// What is posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Where: the host of the repository, or what stands in for it in its provider's documentation.
    pub url: Url,
    /// How the repository's login is presented there.
    pub login: Login,
    /// JSON.
    pub body: String,
}

/// A way to present a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// User and password, or a token in its place.
    Basic,
    /// The password as `Authorization: Bearer …`.
    Bearer,
    /// The password as a header of this name.
    Header(&'static str),
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The beginning of the body. Never told to anybody: it is the host's text.
    pub body: String,
}

impl Git {
    /// Posts `call` with the login of `remote`, while the mandate is held. Any status of the answer is a reply.
    pub async fn call(&self, remote: &Remote, call: &Call) -> Result<Reply, GitError> {
        self.admit(remote)?;
        let client = self.transport.client(remote)?;
        let _turn = self.queue.calls.turn(&remote.owner, call.url.host_str().unwrap_or_default()).await?;
        let bounds = Bounds { deadline: Instant::now() + self.limits.call, bytes: self.limits.call_bytes };
        let request = client.post(call.url.clone()).header(ACCEPT, "application/json");
        let request = request.header(CONTENT_TYPE, "application/json").body(call.body.clone());
        let request = match (&remote.credentials, call.login) {
            (None, _) => request,
            (Some(login), Login::Basic) => request.basic_auth(&login.username, Some(&login.password)),
            (Some(login), Login::Bearer) => request.bearer_auth(&login.password),
            (Some(login), Login::Header(name)) => request.header(name, secret(&login.password)),
        };
        let url = &remote.url;
        let answered = async {
            let mut response = request.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let mut body = Vec::new();
            while (body.len() as u64) < bounds.bytes
                && let Some(chunk) = response.chunk().await?
            {
                body.extend_from_slice(&chunk);
            }
            Ok(Reply { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
        };
        let answered = self.mandate.during(timeout_at(bounds.deadline, answered)).await;
        let answered = answered.map_err(|_| GitError::Stopped)?;
        answered.map_err(|_| GitError::TimedOut(url.clone()))?.map_err(|error| failure(url, &error))
    }
}

/// A value that no log shows. What a header cannot hold was refused when the Secret was read.
fn secret(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_bytes(text.as_bytes()).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

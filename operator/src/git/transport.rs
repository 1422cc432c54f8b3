//! IO: HTTP to Git servers. Address filtered where it is connected, no redirect, no proxy, TLS verified, one deadline for the
//! whole operation, a cap on what is read.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Certificate, Client, Response, StatusCode};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::packet::{Decoder, Packet};
use super::protocol::ProtocolError;
use super::url::{GitUrl, UrlPolicy};
use super::{GitError, Remote, address};

/// One client per set of trusted authorities; connections are shared.
pub struct Transport {
    policy: Arc<UrlPolicy>,
    connect_timeout: Duration,
    clients: Mutex<HashMap<Option<[u8; 32]>, Client>>,
}

/// Clients beyond this many are dropped and made anew when needed.
const MAX_CLIENTS: usize = 64;

/// What bounds one operation.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// When it ends, whatever the server does.
    pub deadline: Instant,
    /// Most bytes of one answer.
    pub bytes: u64,
}

/// Which request of Git's smart HTTP.
#[derive(Debug)]
pub enum Ask {
    /// `GET info/refs?service=git-upload-pack`.
    Advertisement,
    /// `POST git-upload-pack` in protocol version 2 or 0.
    UploadPack {
        /// Packets.
        body: Vec<u8>,
        /// Say that it is version 2.
        v2: bool,
    },
}

impl Transport {
    /// No connection is made yet.
    pub fn new(policy: UrlPolicy, connect_timeout: Duration) -> Self {
        Self { policy: Arc::new(policy), connect_timeout, clients: Mutex::default() }
    }

    /// Sends one request; the answer's status and type are those of a Git server.
    pub async fn send(&self, remote: &Remote, ask: Ask, bounds: Bounds) -> Result<Answer, GitError> {
        let url = &remote.url;
        let client = self.client(remote)?;
        let (request, wanted) = match ask {
            Ask::Advertisement => {
                let address = format!("{}/info/refs?service=git-upload-pack", url.as_str());
                let request = client.get(address).header("git-protocol", "version=2");
                (request, "application/x-git-upload-pack-advertisement")
            }
            Ask::UploadPack { body, v2 } => {
                let address = format!("{}/git-upload-pack", url.as_str());
                let request =
                    client.post(address).header(CONTENT_TYPE, "application/x-git-upload-pack-request");
                let request = if v2 { request.header("git-protocol", "version=2") } else { request };
                (request.body(body), "application/x-git-upload-pack-result")
            }
        };
        let request = match &remote.credentials {
            Some(credentials) => request.basic_auth(&credentials.username, Some(&credentials.password)),
            None => request,
        };
        let sent = timeout_at(bounds.deadline, request.header(ACCEPT, wanted).send()).await;
        let response =
            sent.map_err(|_| GitError::TimedOut(url.clone()))?.map_err(|error| failure(url, &error))?;
        check_status(url, response.status())?;
        if response.headers().get(CONTENT_TYPE).is_none_or(|found| found.as_bytes() != wanted.as_bytes()) {
            return Err(GitError::NotGit(url.clone(), "it does not speak Git's smart HTTP protocol"));
        }
        Ok(Answer { response, url: url.clone(), bounds, read: 0, decoder: Decoder::default() })
    }

    /// The client that trusts what `remote` says.
    pub(super) fn client(&self, remote: &Remote) -> Result<Client, GitError> {
        let key = remote.ca.as_deref().map(|pem| Sha256::digest(pem).into());
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .http1_only()
            .https_only(!self.policy.development)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(Duration::from_secs(90))
            .pool_max_idle_per_host(4)
            .user_agent(concat!("git/imaas-operator-", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(FilteringResolver { policy: Arc::clone(&self.policy) }));
        if let Some(pem) = &remote.ca {
            let bundle = Certificate::from_pem_bundle(pem).unwrap_or_default();
            if bundle.is_empty() {
                return Err(GitError::CaInvalid(remote.url.clone()));
            }
            builder = builder.tls_certs_only(bundle);
        }
        let client = builder.build().map_err(|error| match remote.ca {
            Some(_) => GitError::CaInvalid(remote.url.clone()),
            None => GitError::Client(root(&error)),
        })?;
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }
}

fn check_status(url: &GitUrl, status: StatusCode) -> Result<(), GitError> {
    match status.as_u16() {
        200 => Ok(()),
        300..=399 => Err(GitError::Redirected(url.clone())),
        401 | 403 | 407 => Err(GitError::AuthenticationFailed(url.clone())),
        404 | 410 => Err(GitError::NotFound(url.clone())),
        code => Err(GitError::Unreachable(url.clone(), format!("HTTP status {code}"))),
    }
}

/// The body of an answer, packet by packet.
pub struct Answer {
    response: Response,
    url: GitUrl,
    bounds: Bounds,
    read: u64,
    decoder: Decoder,
}

impl Answer {
    /// The next packet. The end of the stream is an error: the protocol says when it is over.
    pub async fn packet(&mut self) -> Result<Packet, GitError> {
        loop {
            let packet = self.decoder.packet();
            match packet.map_err(|_| GitError::NotGit(self.url.clone(), "a packet has no valid length"))? {
                Some(packet) => return Ok(packet),
                None => self.more().await?,
            }
        }
    }

    async fn more(&mut self) -> Result<(), GitError> {
        let chunk = timeout_at(self.bounds.deadline, self.response.chunk()).await;
        let chunk = chunk.map_err(|_| GitError::TimedOut(self.url.clone()))?;
        let Some(chunk) = chunk.map_err(|error| failure(&self.url, &error))? else {
            return Err(GitError::Unreachable(self.url.clone(), "the answer is cut off".to_owned()));
        };
        self.read = self.read.saturating_add(chunk.len() as u64);
        if self.read > self.bounds.bytes {
            let (url, cap) = (self.url.clone(), self.bounds.bytes);
            return Err(GitError::RepositoryTooLarge { url, cap, what: "bytes in one answer" });
        }
        self.decoder.push(&chunk);
        Ok(())
    }

    /// Turns a protocol error into one about this repository.
    pub fn error(&self, error: ProtocolError) -> GitError {
        protocol_error(&self.url, error)
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.read
    }
}

/// Turns a protocol error into one about `url`.
pub fn protocol_error(url: &GitUrl, error: ProtocolError) -> GitError {
    match error {
        ProtocolError::Unexpected(what) => GitError::NotGit(url.clone(), what),
        ProtocolError::Refused => GitError::Unreachable(url.clone(), error.to_string()),
    }
}

/// Resolves like the system does, and drops the addresses that a tenant may not reach. The connection is made to what
/// this returns, so a name that changes between check and use gains nothing.
struct FilteringResolver {
    policy: Arc<UrlPolicy>,
}

/// Every address of a name is refused.
#[derive(Debug, thiserror::Error)]
#[error("every address of the host is private")]
struct AddressRefused;

impl Resolve for FilteringResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.policy);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed = permitted(&policy, name.as_str(), found)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn permitted(
    policy: &UrlPolicy,
    host: &str,
    found: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, AddressRefused> {
    if policy.allows_host(host) {
        return Ok(found);
    }
    let allowed: Vec<_> = found.into_iter().filter(|found| !address::is_refused(found.ip())).collect();
    if allowed.is_empty() { Err(AddressRefused) } else { Ok(allowed) }
}

/// Classes an HTTP failure by what caused it. Its own text is used only where it cannot hold anything of the request.
pub(super) fn failure(url: &GitUrl, error: &reqwest::Error) -> GitError {
    if has_cause::<AddressRefused>(error) {
        return GitError::HostRefused(url.clone());
    }
    match cause::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            return GitError::HostVerificationFailed(url.clone());
        }
        Some(_) => return GitError::Unreachable(url.clone(), "no TLS session".to_owned()),
        None => {}
    }
    if error.is_timeout() {
        return GitError::TimedOut(url.clone());
    }
    let what = match cause::<std::io::Error>(error) {
        _ if error.is_dns() => "the host's name is not found".to_owned(),
        Some(io) => io.kind().to_string(),
        None if error.is_connect() => "no connection".to_owned(),
        None => "the connection broke".to_owned(),
    };
    GitError::Unreachable(url.clone(), what)
}

fn has_cause<E: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    cause::<E>(error).is_some()
}

/// The deepest cause of type `E`; an `io::Error` hides its inner error from `source`, so it is opened.
fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(inner) = inner
            && let Some(found) = cause::<E>(inner)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Text of the innermost cause, for errors of setting up only.
fn root(error: &dyn StdError) -> String {
    match error.source() {
        Some(source) => root(source),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g04_private_answers_of_a_name_are_dropped() {
        let addresses =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let policy = UrlPolicy { development: false, allowed_hosts: vec!["git.corp.example".into()] };
        let mixed = addresses(&["10.0.0.1:0", "1.1.1.1:0", "[::ffff:127.0.0.1]:0"]);
        assert_eq!(permitted(&policy, "rebind.example", mixed.clone()).unwrap(), addresses(&["1.1.1.1:0"]));
        assert!(permitted(&policy, "rebind.example", addresses(&["169.254.169.254:0"])).is_err());
        assert_eq!(permitted(&policy, "git.corp.example", mixed.clone()).unwrap(), mixed);
    }

    #[tokio::test]
    async fn g04_a_name_that_leads_inside_is_never_connected() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lenient = UrlPolicy { development: true, allowed_hosts: vec!["localhost".into()] };
        let url = GitUrl::parse(&format!("http://localhost:{port}/a"), &lenient).unwrap();
        let remote = Remote { owner: "acme".into(), url, credentials: None, ca: None };
        let strict = UrlPolicy { development: true, allowed_hosts: vec![] };
        let bounds = Bounds { deadline: Instant::now() + Duration::from_secs(2), bytes: 100 };
        let refused =
            Transport::new(strict, Duration::from_secs(1)).send(&remote, Ask::Advertisement, bounds).await;
        assert_eq!(refused.err().map(|error| error.reason()), Some(crate::conditions::Reason::HostRefused));
        let soon = Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, listener.accept()).await.is_err(), "nobody connected");
    }
}

//! IO: what the operator asks the registry: which digest has a tag, and is a digest there.
//!
//! It logs in with the tenant's own pull account, so an answer about one tenant never comes from another's area. A
//! password goes to the configured token service only, whatever the registry's challenge says; redirects are not
//! followed. API: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use reqwest::{
    Certificate, Client, Method, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, CONNECTION, HeaderMap, WWW_AUTHENTICATE},
    redirect::Policy,
};
use serde::Deserialize;
use url::Url;

use super::{
    accounts::Account,
    challenge::bearer_parameters,
    digest::Digest,
    error::RegistryError,
    generations::Issued,
    logins::Logins,
    question::{Question, Repository, is_tag},
};
use crate::{lease::Mandate, names::repository_prefix};

const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const REQUEST_DEADLINE: Duration = Duration::from_secs(15);
/// Bytes of the token service's answer.
const TOKEN_MAX: usize = 64 * 1024;
/// A token is renewed this long before its end.
const TOKEN_MARGIN: Duration = Duration::from_secs(15);
/// What a token without `expires_in` lives, by the specification.
const TOKEN_LIFETIME_DEFAULT: u64 = 60;

/// Where the registry is and whom its passwords may be shown to.
#[derive(Clone, Debug)]
pub struct RegistryEndpoint {
    /// `https://host[:port]`, without a path.
    pub url: Url,
    /// The token service, exactly as in the registry's `auth.token.realm`. No other ever sees a password.
    pub realm: Url,
    /// PEM of the only CAs trusted, for both; the system's when none.
    pub ca: Option<Vec<u8>>,
    /// Allows `http`.
    pub development: bool,
}

/// Asks the registry in the name of tenants. Cheap to share, keeps connections and tokens.
pub struct RegistryClient {
    http: Client,
    endpoint: RegistryEndpoint,
    logins: Logins,
    /// Before the tenant in names of repositories; with a slash at its end, or empty.
    prefix: String,
    /// Without it nothing is deleted.
    pub(super) mandate: Mandate,
    tokens: Mutex<HashMap<String, Token>>,
}

/// What the registry asks for.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    /// A token for the service of this name.
    Bearer(String),
    /// The password itself.
    Basic,
}

/// What is sent with a request.
enum Authorization {
    Bearer(String),
    Basic((String, String)),
}

#[derive(Clone)]
struct Token {
    value: String,
    until: Instant,
}

impl RegistryClient {
    /// Of the operator's own registry. Checks the settings; connects to nothing yet.
    /// Nothing is deleted from it while `mandate` is not held.
    pub fn new(endpoint: RegistryEndpoint, issued: Issued, mandate: Mandate) -> Result<Self, RegistryError> {
        Self::with(endpoint, Logins::Issued(issued), String::new(), mandate)
    }

    /// Of another one. `prefix` is what stands before the tenant in names of repositories, such as `team/imaas`.
    pub fn external(endpoint: RegistryEndpoint, logins: Logins, prefix: &str) -> Result<Self, RegistryError> {
        // Of that one nothing is ever deleted.
        Self::with(endpoint, logins, repository_prefix(prefix), Mandate::default())
    }

    fn with(
        endpoint: RegistryEndpoint,
        logins: Logins,
        prefix: String,
        mandate: Mandate,
    ) -> Result<Self, RegistryError> {
        check(&endpoint)?;
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_DEADLINE)
            .timeout(REQUEST_DEADLINE)
            .https_only(!endpoint.development);
        if let Some(pem) = &endpoint.ca {
            let certificates = Certificate::from_pem_bundle(pem).map_err(RegistryError::Client)?;
            if certificates.is_empty() {
                return Err(RegistryError::Settings { field: "ca", problem: "holds no PEM certificate" });
            }
            builder = builder.tls_certs_only(certificates);
        }
        let http = builder.build().map_err(RegistryError::Client)?;
        Ok(Self { http, endpoint, logins, prefix, mandate, tokens: Mutex::default() })
    }

    /// The digest that `tag` has now in `<tenant>/<service>`, `None` when there is no such tag or repository. One
    /// request, three at the first time.
    pub async fn digest(
        &self,
        tenant: &str,
        service: &str,
        tag: &str,
    ) -> Result<Option<Digest>, RegistryError> {
        if !is_tag(tag) {
            return Err(RegistryError::Name(format!("{tenant}/{service}:{tag}")));
        }
        self.manifest(tenant, service, tag).await
    }

    /// Whether a manifest with `digest` is in `<tenant>/<service>`.
    pub async fn exists(&self, tenant: &str, service: &str, digest: &Digest) -> Result<bool, RegistryError> {
        match self.manifest(tenant, service, digest.as_str()).await? {
            Some(found) if found == *digest => Ok(true),
            Some(_) => Err(self.answer_error("another digest than the one asked for".to_owned())),
            None => Ok(false),
        }
    }

    async fn manifest(
        &self,
        tenant: &str,
        service: &str,
        reference: &str,
    ) -> Result<Option<Digest>, RegistryError> {
        let repository = self.repository(tenant, service)?;
        let path = format!("/v2/{}/manifests/{reference}", repository.name);
        let response = self.ask(&repository.question(Method::HEAD, &path)).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            _ => self.content_digest(response.headers()).map(Some),
        }
    }

    pub(super) fn repository(&self, tenant: &str, service: &str) -> Result<Repository, RegistryError> {
        Repository::of(tenant, &format!("{}{tenant}/{service}", self.prefix))
    }

    /// What the registry answers: a success, or 404.
    pub(super) async fn ask(&self, question: &Question<'_>) -> Result<Response, RegistryError> {
        let Question { method: _, path, account, scope } = question;
        let url = self.endpoint.url.join(path).map_err(|_| RegistryError::Name((*path).to_owned()))?;
        let known = self.cached(scope).map(Authorization::Bearer);
        let mut response = self.asked(question, &url, known).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let authorization = match self.challenged(response.headers())? {
                Challenge::Bearer(service) => {
                    Authorization::Bearer(self.login(account, scope, &service).await?)
                }
                Challenge::Basic => Authorization::Basic(self.logins.of(account).await?),
            };
            response = self.asked(question, &url, Some(authorization)).await?;
        }
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_FOUND {
            return Ok(response);
        }
        self.forget(scope);
        Err(refused(self.registry(), account, status))
    }

    async fn asked(
        &self,
        question: &Question<'_>,
        url: &Url,
        authorization: Option<Authorization>,
    ) -> Result<Response, RegistryError> {
        let request = self.http.request(question.method.clone(), url.clone()).header(ACCEPT, MANIFESTS);
        let request = match authorization {
            Some(Authorization::Bearer(token)) => request.bearer_auth(token),
            Some(Authorization::Basic((user, password))) => request.basic_auth(user, Some(password)),
            None => request,
        };
        send(request, self.registry()).await
    }

    /// How the registry wants to be logged in to, if that is where a password may go.
    fn challenged(&self, headers: &HeaderMap) -> Result<Challenge, RegistryError> {
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<_> = challenges.collect();
        let Some(parameters) = challenges.iter().copied().find_map(bearer_parameters) else {
            let is_basic = |challenge: &&str| challenge.to_ascii_lowercase().starts_with("basic");
            if self.logins.may_be_basic() && challenges.iter().any(is_basic) {
                return Ok(Challenge::Basic);
            }
            return Err(self
                .answer_error("401 without a Bearer challenge; is its token authentication on?".to_owned()));
        };
        let realm = parameters.get("realm").and_then(|realm| Url::parse(realm).ok());
        if realm.as_ref() != Some(&self.endpoint.realm) {
            let registry = host(&self.endpoint.url);
            return Err(RegistryError::Realm { registry, realm: self.endpoint.realm.to_string() });
        }
        Ok(Challenge::Bearer(parameters.get("service").cloned().unwrap_or_default()))
    }

    /// Asks the token service for a token and keeps it.
    async fn login(&self, account: &Account, scope: &str, service: &str) -> Result<String, RegistryError> {
        let who = || format!("token service {}", host(&self.endpoint.realm));
        let mut url = self.endpoint.realm.clone();
        url.query_pairs_mut().append_pair("service", service).append_pair("scope", scope);
        let (user, password) = self.logins.of(account).await?;
        let asked = Instant::now();
        // Kept, a connection would outlive a change of what is behind that address, and stay with one replica.
        let request = self.http.get(url).basic_auth(user, Some(password)).header(CONNECTION, "close");
        let response = send(request, who()).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(who(), account, response.status()));
        }
        let body = capped(response, TOKEN_MAX, who()).await?;
        // The parser's message could quote the token.
        let answer: TokenAnswer = serde_json::from_slice(&body).map_err(|_| RegistryError::Answer {
            who: who(),
            problem: "not the JSON of a token".to_owned(),
        })?;
        let token = answer.token.or(answer.access_token);
        let token =
            token.ok_or_else(|| RegistryError::Answer { who: who(), problem: "no token".to_owned() })?;
        let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(TOKEN_LIFETIME_DEFAULT).min(86_400));
        let until = asked + lifetime.saturating_sub(TOKEN_MARGIN);
        let mut tokens = self.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.retain(|_, token| token.until > asked);
        tokens.insert(scope.to_owned(), Token { value: token.clone(), until });
        Ok(token)
    }

    fn cached(&self, scope: &str) -> Option<String> {
        let tokens = self.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.get(scope).filter(|token| token.until > Instant::now()).map(|token| token.value.clone())
    }

    fn forget(&self, scope: &str) {
        self.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(scope);
    }

    fn content_digest(&self, headers: &HeaderMap) -> Result<Digest, RegistryError> {
        let value = headers.get("docker-content-digest").and_then(|value| value.to_str().ok());
        let value =
            value.ok_or_else(|| self.answer_error("a manifest without Docker-Content-Digest".to_owned()))?;
        value.parse().map_err(|problem| self.answer_error(format!("Docker-Content-Digest: {problem}")))
    }

    pub(super) fn answer_error(&self, problem: String) -> RegistryError {
        RegistryError::Answer { who: self.registry(), problem }
    }

    pub(super) fn registry(&self) -> String {
        format!("registry {}", host(&self.endpoint.url))
    }
}

impl std::fmt::Debug for RegistryClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryClient").field("registry", &host(&self.endpoint.url)).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    /// The name of the same in OAuth; a service may send both.
    access_token: Option<String>,
    expires_in: Option<u64>,
}

fn check(endpoint: &RegistryEndpoint) -> Result<(), RegistryError> {
    for (field, url) in [("url", &endpoint.url), ("realm", &endpoint.realm)] {
        let problem = match url.scheme() {
            "https" => None,
            "http" if endpoint.development => None,
            "http" => Some("http is for --development only; use https"),
            _ => Some("not an https address"),
        };
        let has_login = !url.username().is_empty() || url.password().is_some();
        let problem = problem.or(has_login.then_some("must not hold a user or a password"));
        if let Some(problem) = problem {
            return Err(RegistryError::Settings { field, problem });
        }
    }
    Ok(())
}

/// Host and port of a URL; nothing else of it belongs in a message.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

async fn send(request: RequestBuilder, who: String) -> Result<Response, RegistryError> {
    request.send().await.map_err(|source| RegistryError::Unreachable { who, source: source.without_url() })
}

/// An answer of at most `max` bytes.
pub(super) async fn capped(response: Response, max: usize, who: String) -> Result<Vec<u8>, RegistryError> {
    let body = body(response, max, &who).await?;
    body.ok_or_else(|| RegistryError::Answer { who, problem: format!("more than {max} bytes") })
}

/// An answer; nothing where it has more than `max` bytes.
pub(super) async fn body(
    mut response: Response,
    max: usize,
    who: &str,
) -> Result<Option<Vec<u8>>, RegistryError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= max => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Ok(None),
            Ok(None) => return Ok(Some(body)),
            Err(source) => {
                let who = who.to_owned();
                return Err(RegistryError::Unreachable { who, source: source.without_url() });
            }
        }
    }
}

fn refused(who: String, account: &Account, status: StatusCode) -> RegistryError {
    let account = account.to_string();
    match status.as_u16() {
        status @ (408 | 429 | 500..) => RegistryError::Busy { who, status },
        status @ 400..=499 => RegistryError::Refused { who, account, status },
        300..=399 => RegistryError::Redirects(who),
        status => RegistryError::Answer { who, problem: format!("status {status}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{accounts::AccountKey, generations::Generations};

    fn issued() -> Issued {
        Issued { key: AccountKey::new([1; 32]).unwrap(), generations: Generations::default() }
    }

    fn endpoint(url: &str, realm: &str, development: bool) -> RegistryEndpoint {
        RegistryEndpoint { url: url.parse().unwrap(), realm: realm.parse().unwrap(), ca: None, development }
    }

    #[test]
    fn a_challenge_for_another_token_service_is_not_followed() {
        let endpoint = endpoint("https://registry.example.com", "https://auth.example.com/token", false);
        let client = RegistryClient::new(endpoint, issued(), Mandate::default()).unwrap();
        let challenged = |realm: &str| {
            let value = format!("Bearer realm=\"{realm}\",service=\"s\"").parse().unwrap();
            client.challenged(&HeaderMap::from_iter([(WWW_AUTHENTICATE, value)]))
        };
        assert_eq!(challenged("https://auth.example.com/token").unwrap(), Challenge::Bearer("s".into()));
        assert_eq!(challenged("https://auth.example.com:443/token").unwrap(), Challenge::Bearer("s".into()));
        for realm in [
            "https://evil.example/token",
            "http://auth.example.com/token",
            "https://auth.example.com:444/token",
            "https://auth.example.com.evil.example/token",
            "https://auth.example.com@evil.example/token",
            "https://auth.example.com/other",
            "",
        ] {
            let error = challenged(realm).unwrap_err();
            assert!(matches!(error, RegistryError::Realm { .. }), "{realm}");
        }
    }

    #[test]
    fn plain_http_and_logins_in_addresses_are_refused() {
        let reason = |endpoint| {
            RegistryClient::new(endpoint, issued(), Mandate::default())
                .map(drop)
                .map_err(|error| error.to_string())
        };
        let auth = "https://auth.example.com/token";
        assert_eq!(reason(endpoint("http://r.example.com", auth, true)), Ok(()));
        let refused = reason(endpoint("http://r.example.com", auth, false)).unwrap_err();
        assert_eq!(refused, "registry url: http is for --development only; use https");
        let refused = reason(endpoint("https://u:geheim@r.example.com", auth, false)).unwrap_err();
        assert!(!refused.contains("geheim"), "{refused}");
        assert!(reason(endpoint("https://r.example.com", "http://auth.example.com/token", false)).is_err());
    }
}

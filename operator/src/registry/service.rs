//! IO: the registry's token service over HTTP. A login in, a signed token with the granted part of its scopes out.
//!
//! Protocol: <https://distribution.github.io/distribution/spec/auth/token/> (`GET`, Basic) and `…/spec/auth/oauth/`
//! (`POST`, grant type `password`; containerd asks this way first). It needs nothing but its keys and, for pushes, the
//! file that says who is over quota: no cluster, so any number of replicas serve. It speaks plain HTTP: put TLS before it, passwords pass through it.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use prometheus::{IntCounterVec, Opts, Registry};
use serde_json::json;
use tracing::{debug, error, warn};
use url::form_urlencoded;

use super::{
    accounts::{Account, Usage},
    generations::{Accepted, Opened},
    over_quota::PushStops,
    quota::Excess,
    scope::{asks_to_push, granted},
    token::TokenSigner,
};

/// Bytes of a query or a form. A push that mounts layers of several repositories asks for several scopes.
const PARAMETERS_MAX: usize = 8 * 1024;
/// Bytes of an `Authorization` header; a right one has under 200.
const AUTHORIZATION_MAX: usize = 1024;

/// Everything that answers depend on.
#[derive(Debug)]
pub struct TokenService {
    /// Which passwords are valid.
    pub accepted: Accepted,
    /// Who may not push now.
    pub stops: PushStops,
    /// Signs the answers.
    pub signer: TokenSigner,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// Counts the answers.
    pub metrics: TokenMetrics,
}

/// How often the service answered in which way.
#[derive(Clone, Debug)]
pub struct TokenMetrics {
    requests: IntCounterVec,
    logins: IntCounterVec,
}

/// The closed set of answers, label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A token with all that was asked.
    Granted,
    /// A token with less than was asked: also a cross-tenant attempt looks like this.
    Reduced,
    /// No login, or a wrong one.
    Unauthorized,
    /// No token to push with: the tenant's images take more than its quota.
    OverQuota,
    /// No token to push with: nobody pushes now.
    ReadOnly,
    /// Not a request that this service knows.
    Invalid,
    /// No token because of a fault here.
    Failed,
}

impl Outcome {
    const ALL: [Self; 7] = [
        Self::Granted,
        Self::Reduced,
        Self::Unauthorized,
        Self::OverQuota,
        Self::ReadOnly,
        Self::Invalid,
        Self::Failed,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Reduced => "reduced",
            Self::Unauthorized => "unauthorized",
            Self::OverQuota => "over_quota",
            Self::ReadOnly => "read_only",
            Self::Invalid => "invalid",
            Self::Failed => "failed",
        }
    }
}

impl TokenMetrics {
    /// Registers `imaas_registry_token_requests_total` and `imaas_registry_logins_total` with `registry`, every line at
    /// zero.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts =
            Opts::new("imaas_registry_token_requests_total", "Answers of the registry's token service.");
        let requests = IntCounterVec::new(opts, &["outcome"])?;
        for outcome in Outcome::ALL {
            requests.with_label_values(&[outcome.label()]).reset();
        }
        let opts = Opts::new("imaas_registry_logins_total", "Right passwords, by what they are made of.");
        let logins = IntCounterVec::new(opts, &["generation", "key"])?;
        for (next, overlap) in [(false, false), (false, true), (true, false), (true, true)] {
            logins.with_label_values(&labels(Opened { next, overlap })).reset();
        }
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(logins.clone()))?;
        Ok(Self { requests, logins })
    }

    /// How many answers were `outcome` since the start.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.requests.with_label_values(&[outcome.label()]).get()
    }

    fn add(&self, outcome: Outcome) {
        self.requests.with_label_values(&[outcome.label()]).inc();
    }

    /// How many logins were by such a password since the start.
    pub fn logins(&self, opened: Opened) -> u64 {
        self.logins.with_label_values(&labels(opened)).get()
    }

    fn login(&self, opened: Opened) {
        self.logins.with_label_values(&labels(opened)).inc();
    }
}

fn labels(Opened { next, overlap }: Opened) -> [&'static str; 2] {
    [if next { "next" } else { "lowest" }, if overlap { "overlap" } else { "own" }]
}

/// `/token` alone, to be merged into the process's one server. The service is ready once it exists: its keys were proved
/// when the signer was made.
pub fn router(service: Arc<TokenService>) -> Router {
    Router::new()
        .route("/token", get(by_query).post(by_form))
        .layer(DefaultBodyLimit::max(PARAMETERS_MAX))
        .with_state(service)
}

/// Why there is no token. The texts are for the person behind `docker login`; they say nothing of what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("log in with the tenant's registry account: <tenant>.push or <tenant>.pull, and its password")]
    NoLogin,
    #[error("the user name or the password is wrong: take both from the tenant's registry Secret")]
    WrongLogin,
    #[error("the parameter \"service\" names another registry than the one this token service signs for")]
    WrongService,
    #[error("the images of {0} {1}")]
    OverQuota(String, Excess),
    #[error("the registry is read-only for some minutes while it frees space: push again after that")]
    ReadOnly,
    #[error("grant_type: only \"password\" is known")]
    WrongGrantType,
    #[error("the request has more than {PARAMETERS_MAX} bytes of parameters")]
    TooLong,
    #[error("the token could not be made; the log of the token service says why")]
    Fault,
}

impl Refusal {
    fn answer(&self) -> (StatusCode, &'static str, Outcome) {
        match self {
            Self::NoLogin | Self::WrongLogin => {
                (StatusCode::UNAUTHORIZED, "UNAUTHORIZED", Outcome::Unauthorized)
            }
            // 403 says better what it is, but podman, buildah and skopeo show the words of a 401 only.
            Self::ReadOnly => (StatusCode::UNAUTHORIZED, "DENIED", Outcome::ReadOnly),
            Self::OverQuota(..) => (StatusCode::UNAUTHORIZED, "DENIED", Outcome::OverQuota),
            Self::WrongService | Self::WrongGrantType => {
                (StatusCode::BAD_REQUEST, "UNSUPPORTED", Outcome::Invalid)
            }
            Self::TooLong => (StatusCode::URI_TOO_LONG, "UNSUPPORTED", Outcome::Invalid),
            Self::Fault => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", Outcome::Failed),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, _) = self.answer();
        let body = Json(json!({"errors": [{"code": code, "message": self.to_string(), "detail": null}]}));
        let mut response = (status, body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"registry\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// A login and what it asks for.
#[derive(Default)]
struct Request {
    user: String,
    password: String,
    service: Option<String>,
    scopes: Vec<String>,
}

async fn by_query(
    State(service): State<Arc<TokenService>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    service.respond(query_request(&query.unwrap_or_default(), &headers))
}

async fn by_form(State(service): State<Arc<TokenService>>, form: String) -> Response {
    service.respond(form_request(&form))
}

fn query_request(query: &str, headers: &HeaderMap) -> Result<Request, Refusal> {
    if query.len() > PARAMETERS_MAX {
        return Err(Refusal::TooLong);
    }
    let (user, password) = headers.get(header::AUTHORIZATION).and_then(basic).ok_or(Refusal::NoLogin)?;
    let mut request = Request { user, password, ..Request::default() };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "service" => request.service = Some(value.into_owned()),
            "scope" => request.scopes.push(value.into_owned()),
            _ => {}
        }
    }
    Ok(request)
}

fn form_request(form: &str) -> Result<Request, Refusal> {
    let mut request = Request::default();
    let mut grant_type = String::new();
    for (name, value) in form_urlencoded::parse(form.as_bytes()) {
        match name.as_ref() {
            "grant_type" => grant_type = value.into_owned(),
            "username" => request.user = value.into_owned(),
            "password" => request.password = value.into_owned(),
            "service" => request.service = Some(value.into_owned()),
            "scope" => request.scopes.push(value.into_owned()),
            _ => {}
        }
    }
    if grant_type == "password" { Ok(request) } else { Err(Refusal::WrongGrantType) }
}

fn basic(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, credentials) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || credentials.len() > AUTHORIZATION_MAX {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

impl TokenService {
    fn respond(&self, request: Result<Request, Refusal>) -> Response {
        match request.and_then(|request| self.token(&request)) {
            Ok((outcome, body)) => {
                self.metrics.add(outcome);
                ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
            }
            Err(refusal) => {
                self.metrics.add(refusal.answer().2);
                refusal.into_response()
            }
        }
    }

    fn token(&self, request: &Request) -> Result<(Outcome, serde_json::Value), Refusal> {
        let account = self.login(request)?;
        if request.service.as_deref().is_some_and(|service| service != self.signer.service()) {
            return Err(Refusal::WrongService);
        }
        if account.usage() == Usage::Push && asks_to_push(request.scopes.iter().map(String::as_str)) {
            self.may_push(&account)?;
        }
        let grant = granted(&account, request.scopes.iter().map(String::as_str));
        let outcome = if grant.complete { Outcome::Granted } else { Outcome::Reduced };
        debug!(%account, outcome = outcome.label(), repositories = grant.access.len(), "registry token");
        let now = (self.now)();
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|problem| {
            error!(%problem, "no random identifier for a registry token");
            Refusal::Fault
        })?;
        let token =
            self.signer.token(&account, grant.access, u128::from_be_bytes(id), now).map_err(|problem| {
                error!(error = &problem as &dyn std::error::Error, "registry token not signed");
                Refusal::Fault
            })?;
        let expires_in = self.signer.lifetime().as_secs();
        let body = json!({"token": token, "access_token": token, "expires_in": expires_in, "issued_at": now});
        Ok((outcome, body))
    }

    fn may_push(&self, account: &Account) -> Result<(), Refusal> {
        let refusal = match self.stops.of(account.tenant()) {
            _ if self.stops.is_read_only() => Refusal::ReadOnly,
            Some(excess) => Refusal::OverQuota(account.tenant().to_owned(), excess),
            None => return Ok(()),
        };
        debug!(%account, %refusal, "no token to push with");
        Err(refusal)
    }

    fn login(&self, request: &Request) -> Result<Account, Refusal> {
        let account: Account = request.user.parse().map_err(|_| Refusal::WrongLogin)?;
        if let Some(opened) = self.accepted.opens(&account, &request.password) {
            self.metrics.login(opened);
            let [generation, key] = labels(opened);
            debug!(%account, generation, key, "registry login");
            return Ok(account);
        }
        warn!(%account, "wrong password at the registry's token service");
        Err(Refusal::WrongLogin)
    }
}

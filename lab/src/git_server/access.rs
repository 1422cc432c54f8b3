//! Who may read and push what. Anonymous clients get nothing, as on a private Git host.

use axum::http::HeaderMap;
use base64::{Engine, engine::general_purpose::STANDARD};

use super::sign_up;

/// An account of the Git server.
#[derive(Clone)]
pub struct User {
    /// Basic auth user.
    pub name: String,
    /// Basic auth password.
    pub password: String,
    /// Path prefixes that it may clone and fetch, e.g. `/acme/` or `/platform/tenants.git`.
    pub reads: Vec<String>,
    /// Path prefixes that it may push to; includes reading.
    pub pushes: Vec<String>,
}

impl User {
    /// An account that reads under `prefix`.
    pub fn reader(name: &str, password: &str, prefix: &str) -> Self {
        Self { name: name.into(), password: password.into(), reads: vec![prefix.into()], pushes: Vec::new() }
    }

    /// An account that reads and pushes under `prefix`.
    pub fn writer(name: &str, password: &str, prefix: &str) -> Self {
        Self { name: name.into(), password: password.into(), reads: Vec::new(), pushes: vec![prefix.into()] }
    }
}

/// What a request is allowed.
pub(super) enum Verdict {
    /// Go on as this user.
    Allowed(String),
    /// 401: no or wrong credentials.
    Unknown,
    /// 403: known, but not for this path.
    Forbidden,
}

/// Who may come.
pub(super) struct Accounts {
    pub users: Vec<User>,
    /// Names that are nobody's yet sign up by coming.
    pub is_open: bool,
}

/// Judges a request for `path`.
pub(super) fn verdict(accounts: &Accounts, headers: &HeaderMap, path: &str, is_push: bool) -> Verdict {
    let Some((name, password)) = basic(headers) else { return Verdict::Unknown };
    let known = accounts.users.iter().find(|user| user.name == name).cloned();
    let user = known.or_else(|| sign_up::account(&name).filter(|_| accounts.is_open));
    let Some(user) = user.filter(|user| user.password == password) else { return Verdict::Unknown };
    let may_push = user.pushes.iter().any(|prefix| path.starts_with(prefix));
    let may_read = may_push || user.reads.iter().any(|prefix| path.starts_with(prefix));
    if may_push || (may_read && !is_push) { Verdict::Allowed(name) } else { Verdict::Forbidden }
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get("authorization")?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

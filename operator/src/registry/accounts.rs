//! Registry accounts: two per tenant and the operator's own, with passwords that are computed, never stored. Pure.
//!
//! The token service verifies a password with the key alone, so pulling an image depends on no other service.

use std::{fmt, str::FromStr};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The secret from which every account's password is computed. Prints nothing of itself.
#[derive(Clone)]
pub struct AccountKey(Vec<u8>);

/// The key is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registry's account key has {0} bytes: give at least {min} random bytes", min = AccountKey::MIN_BYTES)]
pub struct WeakKey(usize);

impl AccountKey {
    /// Fewer bytes are refused.
    pub const MIN_BYTES: usize = 32;

    /// Takes the bytes as they are: trim a line end before.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, WeakKey> {
        let bytes = bytes.into();
        if bytes.len() < Self::MIN_BYTES { Err(WeakKey(bytes.len())) } else { Ok(Self(bytes)) }
    }

    fn mac(&self, account: &Account, generation: u32) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        let Account { tenant, usage } = account;
        mac.update(format!("imaas-registry\0{tenant}\0{usage}\0{generation}").as_bytes());
        Some(mac)
    }

    /// Whether `claimed` is the password of `account`, decoded. Takes the same time wherever the first wrong byte is.
    pub(super) fn verifies(&self, account: &Account, generation: u32, claimed: &[u8]) -> bool {
        self.mac(account, generation).is_some_and(|mac| mac.verify_slice(claimed).is_ok())
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKey(..)")
    }
}

/// What an account is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Usage {
    /// The tenant's CI: push, and pull for layers that are there already.
    Push,
    /// The tenant's nodes and the operator: pull only.
    Pull,
    /// The operator alone: the list of repositories, and what retention deletes. It pulls and pushes nothing.
    Operate,
}

/// The name before the dot of the operator's own account; no tenant may have it.
const OPERATOR: &str = "imaas";

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Operate => "operator",
        })
    }
}

/// One login. Its user name is `<tenant>.push` or `<tenant>.pull`; a tenant's name has no dot. The operator's own is
/// `imaas.operator`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    tenant: String,
    usage: Usage,
}

/// The text names no account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a registry account: it is the tenant's name with \".push\" or \".pull\"")]
pub struct NotAnAccount;

impl Account {
    /// `tenant` must be a DNS label (RFC 1123). No tenant has an account to operate with: see [`Self::operator`].
    pub fn new(tenant: &str, usage: Usage) -> Result<Self, NotAnAccount> {
        let is_one = is_dns_label(tenant) && usage != Usage::Operate;
        if is_one { Ok(Self { tenant: tenant.to_owned(), usage }) } else { Err(NotAnAccount) }
    }

    /// The operator's own.
    pub fn operator() -> Self {
        Self { tenant: OPERATOR.to_owned(), usage: Usage::Operate }
    }

    /// The tenant whose area it opens.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// What it is for.
    pub fn usage(&self) -> Usage {
        self.usage
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.tenant, self.usage)
    }
}

impl FromStr for Account {
    type Err = NotAnAccount;

    fn from_str(user: &str) -> Result<Self, NotAnAccount> {
        match user.split_once('.') {
            Some((tenant, "push")) => Self::new(tenant, Usage::Push),
            Some((tenant, "pull")) => Self::new(tenant, Usage::Pull),
            Some((OPERATOR, "operator")) => Ok(Self::operator()),
            _ => Err(NotAnAccount),
        }
    }
}

fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The password of `account`: base64url of HMAC-SHA256, 43 characters. A secret.
pub fn password(key: &AccountKey, account: &Account, generation: u32) -> String {
    let mac = key.mac(account, generation);
    mac.map(|mac| URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())).unwrap_or_default()
}

/// The content of `.dockerconfigjson` in a Secret of type `kubernetes.io/dockerconfigjson`. A secret.
///
/// `registry_host` is the registry's host, with its port if that is not 443, as it stands in image names.
pub fn docker_config_json(registry_host: &str, user: &str, password: &str) -> String {
    let auth = STANDARD.encode(format!("{user}:{password}"));
    serde_json::json!({"auths": {registry_host: {"username": user, "password": password, "auth": auth}}})
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fill: u8) -> AccountKey {
        AccountKey::new([fill; 32]).unwrap()
    }

    fn account(user: &str) -> Account {
        user.parse().unwrap()
    }

    #[test]
    fn a_short_key_is_refused_and_a_key_never_prints() {
        assert_eq!(AccountKey::new([7; 31]).unwrap_err(), WeakKey(31));
        assert_eq!(format!("{:?}", key(b'k')), "AccountKey(..)");
    }

    #[test]
    fn a_user_name_names_exactly_one_account() {
        assert_eq!(account("a-b.push").tenant(), "a-b");
        assert_eq!(account("acme.pull").to_string(), "acme.pull");
        for user in [
            "",
            "acme",
            "acme.",
            ".push",
            "acme.admin",
            "acme.push.pull",
            "acme.operator",
            "imaas.operator.operator",
            "a/b.push",
            "Acme.push",
            "-a.push",
            "a\0.push",
        ] {
            assert_eq!(user.parse::<Account>(), Err(NotAnAccount), "{user:?}");
        }
        assert_eq!(format!("{}.push", "a".repeat(64)).parse::<Account>(), Err(NotAnAccount));
        assert_eq!(account("imaas.operator"), Account::operator());
        assert_eq!(Account::new("acme", Usage::Operate), Err(NotAnAccount));
    }

    /// A changed formula would lock every tenant out at the update of the operator.
    #[test]
    fn the_formula_of_passwords_stays() {
        let password = password(&key(1), &account("acme.push"), 1);
        assert_eq!(password, "RjqmgX6PSr6m_cMjQ7PRf6fjsNiGKuIq93_Jg1xrKxE");
    }

    #[test]
    fn docker_finds_its_login_by_host() {
        let json: serde_json::Value =
            serde_json::from_str(&docker_config_json("registry.example.com:5000", "acme.pull", "s3"))
                .unwrap();
        let login = &json["auths"]["registry.example.com:5000"];
        assert_eq!(login["username"], "acme.pull");
        assert_eq!(login["auth"], "YWNtZS5wdWxsOnMz");
    }
}

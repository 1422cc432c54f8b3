//! What is asked of the registry, and in whose name. Pure.

use reqwest::Method;

use super::{
    accounts::{Account, Usage},
    error::RegistryError,
    scope::is_repository,
};

/// One request, and with which login it is made.
pub(super) struct Question<'a> {
    pub method: Method,
    /// With its query.
    pub path: &'a str,
    pub account: &'a Account,
    /// What the token must open.
    pub scope: &'a str,
}

/// A repository, read with the pull account of the tenant in whose area it is.
pub(super) struct Repository {
    pub name: String,
    account: Account,
    scope: String,
}

impl Repository {
    /// `name`: with the tenant's.
    pub fn of(tenant: &str, name: &str) -> Result<Self, RegistryError> {
        let no_name = || RegistryError::Name(name.to_owned());
        let account = Account::new(tenant, Usage::Pull).map_err(|_| no_name())?;
        if !is_repository(name) {
            return Err(no_name());
        }
        Ok(Self { name: name.to_owned(), account, scope: format!("repository:{name}:pull") })
    }

    pub fn question<'a>(&'a self, method: Method, path: &'a str) -> Question<'a> {
        Question { method, path, account: &self.account, scope: &self.scope }
    }
}

/// `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`
pub(super) fn is_tag(tag: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|b| is_word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tags_are_tags() {
        for tag in ["latest", "4f2a0c", "_x", &"a".repeat(128)] {
            assert!(is_tag(tag), "{tag}");
        }
        for tag in ["", ".x", "-x", "a/b", "a?b", "a#b", "a%2fb", "..", "a b", &"a".repeat(129)] {
            assert!(!is_tag(tag), "{tag}");
        }
    }
}

//! Data of a Secret in, a user and password for one repository out. Nothing here ever prints a value.

use std::collections::BTreeMap;
use std::fmt;

/// User and password (or token) of a repository.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// For tokens usually any word; the Git host's documentation says which.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// What a Secret for Git may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// From `username` and `password`.
    pub credentials: Option<Credentials>,
    /// From `ca.crt`: PEM of the authorities that are trusted for this repository, in place of the system's.
    pub ca: Option<Vec<u8>>,
}

/// What the Secret's owner has to change. Names keys, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Only one of the two keys, or neither and no `ca.crt`.
    #[error(
        "the Secret lacks {0}: it needs the keys `username` and `password`, or `ca.crt` alone for a public repository"
    )]
    Missing(&'static str),
    /// Not text, empty, or with a line break.
    #[error("the Secret's key `{0}` must be one line of text that is not empty")]
    NotText(&'static str),
    /// A `:` in the user cannot be sent (RFC 7617).
    #[error("the Secret's key `username` must not contain `:`")]
    Colon,
    /// Not PEM.
    #[error("the Secret's key `ca.crt` must be PEM with at least one certificate")]
    Ca,
}

impl Access {
    /// Reads the keys `username`, `password` and `ca.crt`. A line break at the end of a value is dropped: editors add it.
    pub fn from_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, CredentialsError> {
        let username = line(data, "username")?;
        let password = line(data, "password")?;
        let ca = data.get("ca.crt").cloned();
        if ca.as_deref().is_some_and(|pem| !is_pem(pem)) {
            return Err(CredentialsError::Ca);
        }
        let credentials = match (username, password) {
            (Some(username), Some(_)) if username.contains(':') => return Err(CredentialsError::Colon),
            (Some(username), Some(password)) => Some(Credentials { username, password }),
            (None, None) if ca.is_some() => None,
            (None, None) => return Err(CredentialsError::Missing("`username` and `password`")),
            (None, Some(_)) => return Err(CredentialsError::Missing("`username`")),
            (Some(_), None) => return Err(CredentialsError::Missing("`password`")),
        };
        Ok(Self { credentials, ca })
    }
}

fn line(data: &BTreeMap<String, Vec<u8>>, key: &'static str) -> Result<Option<String>, CredentialsError> {
    let Some(bytes) = data.get(key) else { return Ok(None) };
    let text = std::str::from_utf8(bytes).map_err(|_| CredentialsError::NotText(key))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(CredentialsError::NotText(key));
    }
    Ok(Some(text.to_owned()))
}

fn is_pem(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.contains("-----BEGIN CERTIFICATE-----"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn user_and_password_are_read_and_never_printed() {
        let access = Access::from_secret(&secret(&[("username", "ci"), ("password", "hunter2\n")])).unwrap();
        assert_eq!(access.credentials.as_ref().unwrap().password, "hunter2");
        assert!(!format!("{access:?}").contains("hunter2"));
        assert!(!format!("{access:?}").contains("ci\""));
    }

    #[test]
    fn the_error_names_every_missing_key() {
        let missing = |pairs| Access::from_secret(&secret(pairs)).unwrap_err();
        assert_eq!(missing(&[("password", "x")]), CredentialsError::Missing("`username`"));
        assert_eq!(missing(&[("username", "x")]), CredentialsError::Missing("`password`"));
        assert_eq!(missing(&[("token", "x")]), CredentialsError::Missing("`username` and `password`"));
    }

    #[test]
    fn values_that_cannot_be_sent_are_refused_without_being_repeated() {
        for (pairs, wanted) in [
            (vec![("username", "a:b"), ("password", "hunter2")], CredentialsError::Colon),
            (vec![("username", "a"), ("password", "hunter2\r\nX: y")], CredentialsError::NotText("password")),
            (vec![("username", ""), ("password", "hunter2")], CredentialsError::NotText("username")),
            (vec![("ca.crt", "hunter2")], CredentialsError::Ca),
        ] {
            let error = Access::from_secret(&secret(&pairs)).unwrap_err();
            assert_eq!(error, wanted);
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn an_authority_alone_is_enough_for_a_public_repository() {
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let access = Access::from_secret(&secret(&[("ca.crt", pem)])).unwrap();
        assert_eq!(access, Access { credentials: None, ca: Some(pem.as_bytes().to_vec()) });
    }
}

//! The content address of an image manifest: `sha256:` and 64 hexadecimal digits. Pure.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

const PREFIX: &str = "sha256:";
const HEX_DIGITS: usize = 64;

/// A checked digest. Two digests are equal exactly when they name the same bytes.
///
/// Deserializing checks too. A wire type that must survive a foreign value holds a `String` and parses it in its
/// `validate`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// The text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an image digest: write \"sha256:\" and 64 hexadecimal digits in lower case")]
pub struct NotADigest;

impl Digest {
    /// `sha256:…`
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hexadecimal digits alone, as they fit into names.
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let hex = text.strip_prefix(PREFIX).ok_or(NotADigest)?;
        let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() == HEX_DIGITS && is_hex { Ok(Self(text.to_owned())) } else { Err(NotADigest) }
    }
}

impl TryFrom<String> for Digest {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sha256_with_64_lower_case_digits_is_a_digest() {
        let hex = "0123456789abcdef".repeat(4);
        assert_eq!(format!("sha256:{hex}").parse::<Digest>().unwrap().hex(), hex);
        for text in [
            hex.clone(),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{hex}0"),
            format!("sha512:{hex}"),
            format!(" sha256:{hex}"),
            format!("sha256:{}/", &hex[1..]),
            "latest".to_owned(),
            String::new(),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(NotADigest), "{text:?}");
        }
    }

    #[test]
    fn a_digest_is_a_plain_string_in_json() {
        let json = format!("\"sha256:{}\"", "0".repeat(64));
        let digest: Digest = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&digest).unwrap(), json);
        assert!(serde_json::from_str::<Digest>("\"latest\"").is_err());
    }
}

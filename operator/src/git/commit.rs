//! The id of a commit, checked once.

use std::fmt;

use serde::{Deserialize, Serialize};

/// 40 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

impl CommitId {
    /// `None` when `text` is not 40 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 40 && text.bytes().all(hex)).then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CommitId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a commit id is 40 lower-case hexadecimal digits")
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_ids_are_ids() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(CommitId::parse(id).unwrap().to_string(), id);
        assert_eq!(serde_json::to_string(&CommitId::parse(id).unwrap()).unwrap(), format!("\"{id}\""));
        for text in ["", "abc", &id.to_uppercase(), &format!("{id}0"), "refs/heads/main"] {
            assert_eq!(CommitId::parse(text), None);
            assert!(serde_json::from_str::<CommitId>(&format!("\"{text}\"")).is_err());
        }
    }
}

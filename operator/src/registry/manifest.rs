//! A manifest or index, as far as it counts: what it refers to. Pure.
//!
//! It is read as Distribution reads it, in Go: fields have their names in any case, and a list may be `null`. Of a field
//! that is there twice Go takes the last; here each counts, so that nothing hides behind another. What cannot be read is a
//! manifest all the same: it takes its own room, and says what is wrong with it.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::digest::Digest;
use crate::names::hex;

/// More references in one manifest are not read; a large image has a hundred layers.
pub const REFERENCES_MAX: usize = 5_000;
/// Hexadecimal digits of the longest digest that there is, SHA-512.
const HEX_MAX: usize = 128;

/// The content address of a blob, of whatever algorithm; small, since there are many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blob {
    /// The usual one.
    Sha256([u8; 32]),
    /// As it is written.
    Other(Box<str>),
}

/// A reference to a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Which.
    pub blob: Blob,
    /// How many bytes it has, as whoever pushed the manifest says; no registry checks that.
    pub said: u64,
}

/// A manifest or index, as far as it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Bytes of its own.
    pub size: u64,
    /// Configuration and layers.
    pub blobs: Box<[Reference]>,
    /// The manifests that an index refers to.
    pub children: Box<[Digest]>,
    /// What it refers to is not known.
    pub problem: Option<NotAManifest>,
}

/// The text is no manifest that can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAManifest {
    /// No JSON of a manifest.
    #[error("it is not the JSON of a manifest or index with sha256 digests")]
    Form,
    /// Too long a list.
    #[error("it has more than {REFERENCES_MAX} references")]
    TooMany,
}

impl Manifest {
    /// From the bytes that the registry gives out.
    pub fn read(body: &[u8]) -> Self {
        let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let read = serde_json::from_slice::<Wire>(body).map_err(|_| NotAManifest::Form).and_then(checked);
        let (blobs, children, problem) = match read {
            Ok((blobs, children)) => (blobs, children, None),
            Err(problem) => (Vec::new(), Vec::new(), Some(problem)),
        };
        Self { size, blobs: blobs.into(), children: children.into(), problem }
    }

    /// How much memory it takes, in references.
    pub fn references(&self) -> usize {
        1 + self.blobs.len() + self.children.len()
    }
}

fn checked(wire: Wire) -> Result<(Vec<Reference>, Vec<Digest>), NotAManifest> {
    let Wire { blobs, manifests } = wire;
    if blobs.len() + manifests.len() > REFERENCES_MAX {
        return Err(NotAManifest::TooMany);
    }
    let blob = |Descriptor { digest, size }: Descriptor| -> Result<Reference, NotAManifest> {
        Ok(Reference { blob: digest.parse()?, said: size.try_into().unwrap_or_default() })
    };
    let child = |child: Descriptor| child.digest.parse().map_err(|_| NotAManifest::Form);
    let blobs = blobs.into_iter().map(blob).collect::<Result<_, _>>()?;
    Ok((blobs, manifests.into_iter().map(child).collect::<Result<_, _>>()?))
}

impl FromStr for Blob {
    type Err = NotAManifest;

    fn from_str(text: &str) -> Result<Self, NotAManifest> {
        if let Ok(digest) = text.parse::<Digest>() {
            return Ok(Self::from(&digest));
        }
        let (algorithm, digits) = text.split_once(':').ok_or(NotAManifest::Form)?;
        let is_algorithm = algorithm != "sha256"
            && (1..=16).contains(&algorithm.len())
            && algorithm.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let are_digits = (1..=HEX_MAX).contains(&digits.len())
            && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_algorithm && are_digits { Ok(Self::Other(text.into())) } else { Err(NotAManifest::Form) }
    }
}

impl From<&Digest> for Blob {
    fn from(digest: &Digest) -> Self {
        let digits = digest.hex();
        let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap_or_default();
        Self::Sha256(std::array::from_fn(byte))
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(bytes) => write!(f, "sha256:{}", hex(bytes)),
            Self::Other(text) => f.write_str(text),
        }
    }
}

#[derive(Default)]
struct Wire {
    blobs: Vec<Descriptor>,
    manifests: Vec<Descriptor>,
}

#[derive(Default)]
struct Descriptor {
    digest: String,
    size: i64,
}

/// Whether Go takes `key` for the field `name`: it folds letters as Unicode does.
fn is(key: &str, name: &str) -> bool {
    let folded = key.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    folded.eq(name.chars())
}

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self::default())
    }
}

impl<'de> Visitor<'de> for Wire {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest or index")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if is(&key, "config") {
                self.blobs.extend(map.next_value::<Option<Descriptor>>()?);
            } else if is(&key, "layers") {
                self.blobs.extend(map.next_value::<Option<Vec<Descriptor>>>()?.into_iter().flatten());
            } else if is(&key, "manifests") {
                self.manifests.extend(map.next_value::<Option<Vec<Descriptor>>>()?.into_iter().flatten());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(self)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self::default())
    }
}

impl<'de> Visitor<'de> for Descriptor {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a descriptor")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if is(&key, "digest") {
                self.digest = map.next_value()?;
            } else if is(&key, "size") {
                self.size = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(fill: char) -> String {
        format!("sha256:{}", fill.to_string().repeat(64))
    }

    fn blobs(json: &str) -> Vec<(String, u64)> {
        let manifest = Manifest::read(json.as_bytes());
        assert_eq!(manifest.problem, None, "{json}");
        manifest.blobs.iter().map(|one| (one.blob.to_string(), one.said)).collect()
    }

    #[test]
    fn an_image_refers_to_its_configuration_and_layers_and_an_index_to_manifests() {
        let (a, b) = (digest('a'), digest('b'));
        let image = format!(
            r#"{{"config": {{"digest": "{a}", "size": 3}}, "layers": [{{"digest": "{b}", "size": 5, "urls": ["x"]}}], "annotations": {{"digest": "x"}}}}"#
        );
        assert_eq!(blobs(&image), [(a.clone(), 3), (b, 5)]);
        let index = Manifest::read(format!(r#"{{"manifests": [{{"digest": "{a}"}}]}}"#).as_bytes());
        assert_eq!((index.blobs.len(), index.children[0].as_str(), index.references()), (0, a.as_str(), 2));
    }

    #[test]
    fn what_go_reads_as_a_layer_is_one_however_it_is_written() {
        let (a, b) = (digest('a'), digest('b'));
        let layer = |digest: &str| format!(r#"[{{"Digest": "{digest}", "SIZE": 1}}]"#);
        assert_eq!(blobs(&format!(r#"{{"Layers": {}, "layers": null}}"#, layer(&a))), [(a.clone(), 1)]);
        assert_eq!(blobs(&format!("{{\"layer\u{17f}\": {}}}", layer(&a))), [(a.clone(), 1)], "long s");
        let twice = format!(r#"{{"layers": {}, "layers": {}}}"#, layer(&a), layer(&b));
        assert_eq!(blobs(&twice), [(a.clone(), 1), (b, 1)], "neither hides the other");
        let less_than_nothing = format!(r#"{{"layers": [{{"digest": "{a}", "size": -5}}], "config": null}}"#);
        assert_eq!(blobs(&less_than_nothing), [(a, 0)]);
    }

    #[test]
    fn a_layer_may_have_another_algorithm_and_is_asked_for_by_it() {
        for (text, is_one) in [
            (format!("sha512:{}", "0a".repeat(64)), true),
            (digest('f'), true),
            (format!("sha512:{}", "0a".repeat(65)), false),
            ("sha256:00".to_owned(), false),
            ("sha512:../../x".to_owned(), false),
            ("sha512:".to_owned(), false),
            (":00".to_owned(), false),
            (String::new(), false),
        ] {
            let blob = text.parse::<Blob>().map(|blob| blob.to_string());
            assert_eq!(blob, if is_one { Ok(text) } else { Err(NotAManifest::Form) });
        }
    }

    #[test]
    fn what_cannot_be_read_takes_its_own_room_and_says_why() {
        let child = "{\"manifests\": [{\"digest\": \"sha512:00\"}]}";
        for text in ["", "[]", "{\"layers\": 3}", "{\"layers\": [{}]}", child] {
            let manifest = Manifest::read(text.as_bytes());
            assert_eq!(manifest.problem, Some(NotAManifest::Form), "{text}");
            assert_eq!((manifest.size, manifest.references()), (text.len() as u64, 1), "{text}");
        }
        let layer = serde_json::json!({"digest": digest('a'), "size": 1});
        let many = |count| serde_json::json!({"layers": vec![layer.clone(); count]}).to_string();
        assert_eq!(Manifest::read(many(REFERENCES_MAX).as_bytes()).problem, None);
        let over = Manifest::read(many(REFERENCES_MAX + 1).as_bytes());
        assert_eq!((over.problem, over.blobs.len()), (Some(NotAManifest::TooMany), 0));
    }
}

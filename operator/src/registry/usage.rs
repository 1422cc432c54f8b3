//! What a tenant's area of the registry holds, and how many bytes that is. Pure.
//!
//! Counted is what tags and Releases name, with all that an index refers to: each blob and manifest once in a tenant's
//! area, whoever else has it too. The registry's API lists no manifest that was pushed without a tag.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::digest::Digest;
use crate::api::Quantity;

/// More references in one manifest are refused; a large image has a hundred layers.
const REFERENCES_MAX: usize = 5_000;
const MEBIBYTE: u64 = 1 << 20;

/// A digest of whatever algorithm in 32 bytes: there are many.
type Key = [u8; 32];

/// A manifest or index, as far as it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    size: u64,
    blobs: Box<[(Key, u64)]>,
    /// The manifests that an index refers to.
    pub children: Box<[Digest]>,
}

/// The text is no manifest that can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAManifest {
    /// No JSON of a manifest.
    #[error("not the JSON of a manifest or index with sha256 digests")]
    Form,
    /// Too long a list.
    #[error("a manifest with more than {REFERENCES_MAX} references")]
    TooMany,
}

#[derive(Deserialize)]
struct Wire {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    size: u64,
}

impl Manifest {
    /// From the bytes that the registry gives out.
    pub fn parse(body: &[u8]) -> Result<Self, NotAManifest> {
        let Wire { config, layers, manifests } =
            serde_json::from_slice(body).map_err(|_| NotAManifest::Form)?;
        if layers.len() + manifests.len() > REFERENCES_MAX {
            return Err(NotAManifest::TooMany);
        }
        let children = manifests.iter().map(|child| child.digest.parse());
        let children = children.collect::<Result<_, _>>().map_err(|_| NotAManifest::Form)?;
        let blobs = config.iter().chain(&layers).map(|blob| (key(&blob.digest), blob.size)).collect();
        Ok(Self { size: u64::try_from(body.len()).unwrap_or(u64::MAX), blobs, children })
    }

    /// How much memory it takes, in references.
    pub fn references(&self) -> usize {
        1 + self.blobs.len() + self.children.len()
    }
}

fn key(digest: &str) -> Key {
    Sha256::digest(digest.as_bytes()).into()
}

/// The manifests of one repository that something names, with their tags; what only a Release names has none.
pub type Roots = BTreeMap<Digest, BTreeSet<String>>;

/// What was seen of one tenant's area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// By full name, `<tenant>/…`.
    pub repositories: BTreeMap<String, Roots>,
    /// Everything that roots and indexes refer to, as far as the registry has it.
    pub manifests: BTreeMap<Digest, Arc<Manifest>>,
    /// There is more than is looked at.
    pub cut: bool,
}

/// How much that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of configurations, layers, manifests and indexes.
    pub bytes: u64,
    /// What is named, in each repository: an index is one image.
    pub images: usize,
    /// Those with an image.
    pub repositories: usize,
    /// There is more than was counted.
    pub cut: bool,
}

impl Area {
    /// All of it.
    pub fn usage(&self) -> Usage {
        let images = self.repositories.values().map(|roots| self.present(roots).count());
        let images: Vec<_> = images.filter(|images| *images > 0).collect();
        Usage {
            bytes: bytes(&self.manifests),
            images: images.iter().sum(),
            repositories: images.len(),
            cut: self.cut,
        }
    }

    fn present<'a>(&'a self, roots: &'a Roots) -> impl Iterator<Item = &'a Digest> {
        roots.keys().filter(|digest| self.manifests.contains_key(digest))
    }

    /// `roots` and what they refer to, through indexes of indexes.
    pub fn reached<'a>(&'a self, roots: impl IntoIterator<Item = &'a Digest>) -> BTreeSet<&'a Digest> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<_> = roots.into_iter().collect();
        while let Some(digest) = open.pop() {
            if reached.insert(digest) {
                open.extend(self.manifests.get(digest).into_iter().flat_map(|manifest| &manifest.children));
            }
        }
        reached
    }
}

/// Each blob and manifest once.
pub fn bytes<'a>(manifests: impl IntoIterator<Item = (&'a Digest, &'a Arc<Manifest>)>) -> u64 {
    let mut counted = HashSet::new();
    let mut sum = 0_u64;
    for (digest, manifest) in manifests {
        let own = (key(digest.as_str()), manifest.size);
        for (key, size) in std::iter::once(&own).chain(&manifest.blobs) {
            if counted.insert(*key) {
                sum = sum.saturating_add(*size);
            }
        }
    }
    sum
}

/// In whole MiB, rounded up: what is told moves only when that does.
pub fn rounded(bytes: u64) -> Quantity {
    Quantity(format!("{}Mi", bytes.div_ceil(MEBIBYTE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(fill: char) -> Digest {
        format!("sha256:{}", fill.to_string().repeat(64)).parse().unwrap()
    }

    fn image(config: (char, u64), layers: &[(char, u64)]) -> Arc<Manifest> {
        let descriptor =
            |(fill, size): (char, u64)| serde_json::json!({"digest": digest(fill), "size": size});
        let layers: Vec<_> = layers.iter().copied().map(descriptor).collect();
        let json = serde_json::json!({"config": descriptor(config), "layers": layers}).to_string();
        Arc::new(Manifest { size: 7, ..Manifest::parse(json.as_bytes()).unwrap() })
    }

    fn index(children: &[char]) -> Arc<Manifest> {
        let manifests: Vec<_> =
            children.iter().map(|fill| serde_json::json!({"digest": digest(*fill), "size": 7})).collect();
        let json = serde_json::json!({ "manifests": manifests }).to_string();
        Arc::new(Manifest { size: 3, ..Manifest::parse(json.as_bytes()).unwrap() })
    }

    fn roots(named: &[(char, &str)]) -> Roots {
        let root = |(fill, tag): &(char, &str)| (digest(*fill), BTreeSet::from([(*tag).to_owned()]));
        named.iter().map(root).collect()
    }

    #[test]
    fn a_blob_counts_once_in_an_area_and_an_index_with_all_it_refers_to() {
        let area = Area {
            repositories: BTreeMap::from([
                ("acme/orders".to_owned(), roots(&[('1', "one"), ('9', "multi")])),
                ("acme/billing".to_owned(), roots(&[('1', "same"), ('8', "gone")])),
                ("acme/empty".to_owned(), Roots::new()),
            ]),
            manifests: BTreeMap::from([
                (digest('1'), image(('a', 10), &[('b', 100)])),
                (digest('2'), image(('c', 20), &[('b', 100), ('d', 1000)])),
                (digest('9'), index(&['1', '2'])),
            ]),
            cut: false,
        };
        let usage = area.usage();
        assert_eq!(usage.bytes, 10 + 20 + 100 + 1000 + 7 + 7 + 3);
        assert_eq!((usage.images, usage.repositories, usage.cut), (3, 2, false));
        let from_index: Vec<_> = area.reached([&digest('9')]).into_iter().cloned().collect();
        assert_eq!(from_index, [digest('1'), digest('2'), digest('9')]);
    }

    #[test]
    fn indexes_that_refer_to_each_other_end() {
        let manifests = BTreeMap::from([(digest('1'), index(&['2'])), (digest('2'), index(&['1']))]);
        let area = Area { manifests, ..Area::default() };
        assert_eq!(area.reached([&digest('1')]).len(), 2);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for text in ["", "[]", "{\"layers\": 3}", "{\"manifests\": [{\"digest\": \"sha512:00\"}]}"] {
            assert_eq!(Manifest::parse(text.as_bytes()), Err(NotAManifest::Form), "{text}");
        }
        let layer = serde_json::json!({"digest": digest('a'), "size": 1});
        let many = serde_json::json!({"layers": vec![layer; REFERENCES_MAX + 1]}).to_string();
        assert_eq!(Manifest::parse(many.as_bytes()), Err(NotAManifest::TooMany));
        let foreign = br#"{"layers": [{"digest": "sha512:00", "size": 5}]}"#;
        assert_eq!(Manifest::parse(foreign).unwrap().blobs.len(), 1, "a layer may have another algorithm");
    }

    #[test]
    fn what_is_told_is_whole_mebibytes_rounded_up() {
        for (bytes, told) in [(0, "0Mi"), (1, "1Mi"), (MEBIBYTE, "1Mi"), (MEBIBYTE + 1, "2Mi")] {
            assert_eq!(rounded(bytes), Quantity(told.to_owned()));
        }
    }
}

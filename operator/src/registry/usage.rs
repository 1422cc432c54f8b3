//! What a tenant's area of the registry holds, and how many bytes that is. Pure.
//!
//! Counted is what tags and Releases name, with all that an index refers to: each blob and manifest once in a tenant's
//! area, whoever else has it too. A blob has the size that the registry tells, and not what a manifest says of it: whoever
//! pushes writes that. The registry's API lists no manifest that was pushed without a tag.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use super::{
    catalog::AREA_MAX,
    digest::Digest,
    manifest::{Blob, Manifest, NotAManifest},
    survey::TAGS_MAX,
};
use crate::api::Quantity;

const MEBIBYTE: u64 = 1 << 20;
/// Most tags of an image that are told.
const TOLD_MAX: usize = 3;

/// The manifests of one repository that something names, with their tags; what only a Release names has none.
pub type Roots = BTreeMap<Digest, BTreeSet<String>>;

/// What was seen of one tenant's area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// By full name, `<tenant>/…`.
    pub repositories: BTreeMap<String, Roots>,
    /// Everything that roots and indexes refer to, as far as the registry has it.
    pub manifests: BTreeMap<Digest, Arc<Manifest>>,
    /// Bytes of blobs, as the registry tells them; none for one that it does not have.
    pub sizes: HashMap<Blob, u64>,
    /// There is more than is looked at.
    pub cut: Option<Cut>,
}

/// What there is too much of to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// In the whole area.
    #[error("there are more than {AREA_MAX} repositories")]
    Repositories,
    /// In this repository, with those before it.
    #[error("with {0} there are more than {TAGS_MAX} tags")]
    Tags(String),
    /// In this repository, with those before it.
    #[error("with {0} there are too many layers and indexes")]
    References(String),
}

/// What of an area is not counted, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncounted {
    /// The rest of it.
    #[error("{0}: the platform team deletes what is too much")]
    Cut(Cut),
    /// What a manifest refers to. Retention judges services' repositories only: of any other nobody knows what is needed,
    /// and what cannot be read here may run elsewhere.
    #[error(
        "{0}: in the repository of a service it goes by itself when nothing needs it, where the platform's retention has mode delete; else the platform team deletes it"
    )]
    Unread(Unread),
}

/// A manifest that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// In which repository.
    pub repository: String,
    /// Which.
    pub digest: Digest,
    /// Its tags, or those of an index that refers to it.
    pub tags: BTreeSet<String>,
    /// Why.
    pub problem: NotAManifest,
    /// How many more there are.
    pub others: usize,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repository, digest, tags, problem, others } = self;
        write!(f, "{repository}@{digest}")?;
        let told: Vec<_> = tags.iter().take(TOLD_MAX).map(String::as_str).collect();
        match tags.len() {
            0 => f.write_str(" (no tag)")?,
            1..=TOLD_MAX => write!(f, " (tag {})", told.join(", "))?,
            all => write!(f, " (tag {} and {} more)", told.join(", "), all - TOLD_MAX)?,
        }
        write!(f, " cannot be counted: {problem}")?;
        if *others > 0 { write!(f, " (and {others} more manifests)") } else { Ok(()) }
    }
}

/// How much that is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of configurations, layers, manifests and indexes.
    pub bytes: u64,
    /// What is named, in each repository: an index is one image.
    pub images: usize,
    /// Those with an image.
    pub repositories: usize,
    /// There is more than was counted.
    pub uncounted: Option<Uncounted>,
}

impl Area {
    /// All of it.
    pub fn usage(&self) -> Usage {
        let images = self.repositories.values().map(|roots| self.present(roots).count());
        let images: Vec<_> = images.filter(|images| *images > 0).collect();
        let unread = || self.unread().map(Uncounted::Unread);
        Usage {
            bytes: self.bytes(&self.manifests),
            images: images.iter().sum(),
            repositories: images.len(),
            uncounted: self.cut.clone().map(Uncounted::Cut).or_else(unread),
        }
    }

    fn present<'a>(&'a self, roots: &'a Roots) -> impl Iterator<Item = &'a Digest> {
        roots.keys().filter(|digest| self.manifests.contains_key(digest))
    }

    /// The first manifest that cannot be read.
    fn unread(&self) -> Option<Unread> {
        let is_unread =
            |(digest, manifest): (&Digest, &Arc<Manifest>)| Some((digest.clone(), manifest.problem?));
        let mut unread = self.manifests.iter().filter_map(is_unread);
        let (digest, problem) = unread.next()?;
        let others = unread.count();
        let mut named = self
            .repositories
            .iter()
            .flat_map(|(name, roots)| roots.iter().map(move |(root, tags)| (name, root, tags)));
        let (repository, _, tags) = named.find(|(_, root, _)| self.reached([*root]).contains(&digest))?;
        Some(Unread { repository: repository.clone(), digest, tags: tags.clone(), problem, others })
    }

    /// Is there one that cannot be read in what `roots` refer to? Then it is not known what belongs to them.
    pub fn is_unread<'a>(&'a self, roots: impl IntoIterator<Item = &'a Digest>) -> bool {
        let manifests = self.reached(roots).into_iter().filter_map(|digest| self.manifests.get(digest));
        manifests.into_iter().any(|manifest| manifest.problem.is_some())
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

    /// Bytes of `manifests` and their blobs, each once. Of a blob that the registry tells no size of, the largest that is
    /// said.
    pub fn bytes<'a>(&self, manifests: impl IntoIterator<Item = (&'a Digest, &'a Arc<Manifest>)>) -> u64 {
        let mut counted: HashMap<Blob, u64> = HashMap::new();
        let mut count = |blob: Blob, size: u64| {
            let most = counted.entry(blob).or_default();
            *most = size.max(*most);
        };
        for (digest, manifest) in manifests {
            count(Blob::from(digest), manifest.size);
            for reference in &manifest.blobs {
                let told = self.sizes.get(&reference.blob).copied();
                count(reference.blob.clone(), told.unwrap_or(reference.said));
            }
        }
        counted.into_values().fold(0, u64::saturating_add)
    }
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
        Arc::new(Manifest { size: 7, ..Manifest::read(json.as_bytes()) })
    }

    fn index(children: &[char]) -> Arc<Manifest> {
        let manifests: Vec<_> =
            children.iter().map(|fill| serde_json::json!({"digest": digest(*fill), "size": 7})).collect();
        let json = serde_json::json!({ "manifests": manifests }).to_string();
        Arc::new(Manifest { size: 3, ..Manifest::read(json.as_bytes()) })
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
            ..Area::default()
        };
        let usage = area.usage();
        assert_eq!(usage.bytes, 10 + 20 + 100 + 1000 + 7 + 7 + 3);
        assert_eq!((usage.images, usage.repositories, usage.uncounted), (3, 2, None));
        let from_index: Vec<_> = area.reached([&digest('9')]).into_iter().cloned().collect();
        assert_eq!(from_index, [digest('1'), digest('2'), digest('9')]);
    }

    #[test]
    fn a_blob_has_the_size_that_the_registry_tells_and_else_the_largest_that_is_said() {
        let blob = |fill| Blob::from(&digest(fill));
        let area = Area {
            manifests: BTreeMap::from([
                (digest('1'), image(('a', 1), &[('b', 1), ('c', 1), ('d', 30)])),
                (digest('2'), image(('a', 1), &[('d', 3)])),
            ]),
            sizes: HashMap::from([(blob('a'), 2000), (blob('b'), 500), (blob('c'), 0)]),
            ..Area::default()
        };
        assert_eq!(area.usage().bytes, 2000 + 500 + 30 + 7 + 7, "c is not there, d is not told");
    }

    #[test]
    fn indexes_that_refer_to_each_other_end() {
        let manifests = BTreeMap::from([(digest('1'), index(&['2'])), (digest('2'), index(&['1']))]);
        let area = Area { manifests, ..Area::default() };
        assert_eq!(area.reached([&digest('1')]).len(), 2);
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_named_with_the_way_out_and_the_rest_is_counted() {
        let area = Area {
            repositories: BTreeMap::from([
                ("acme/billing".to_owned(), roots(&[('1', "one")])),
                ("acme/orders".to_owned(), roots(&[('9', "multi")])),
            ]),
            manifests: BTreeMap::from([
                (digest('1'), image(('a', 10), &[('b', 100)])),
                (digest('2'), Arc::new(Manifest::read(b"no manifest"))),
                (digest('3'), Arc::new(Manifest::read(b"nor this"))),
                (digest('9'), index(&['2', '3'])),
            ]),
            ..Area::default()
        };
        let usage = area.usage();
        assert_eq!((usage.bytes, usage.images), (10 + 100 + 7 + 11 + 8 + 3, 2));
        assert_eq!(
            usage.uncounted.unwrap().to_string(),
            format!(
                "acme/orders@{} (tag multi) cannot be counted: it is not the JSON of a manifest or index with sha256 digests \
                 (and 1 more manifests): in the repository of a service it goes by itself when nothing needs it, where the \
                 platform's retention has mode delete; else the platform team deletes it",
                digest('2')
            )
        );
        assert!(area.is_unread([&digest('9')]) && !area.is_unread([&digest('1')]));
    }

    #[test]
    fn what_is_told_is_whole_mebibytes_rounded_up() {
        for (bytes, told) in [(0, "0Mi"), (1, "1Mi"), (MEBIBYTE, "1Mi"), (MEBIBYTE + 1, "2Mi")] {
            assert_eq!(rounded(bytes), Quantity(told.to_owned()));
        }
    }
}

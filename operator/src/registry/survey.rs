//! IO: looks at a tenant's area of the registry. A manifest is read once, and the size of a blob asked for once, since what
//! a digest names never changes; each tag is asked for its digest each time, and so is what was not there.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    catalog::Names,
    client::RegistryClient,
    digest::Digest,
    error::RegistryError,
    listing::BlobSize,
    manifest::{Blob, Manifest},
    usage::{Area, Cut, Roots},
};

/// Requests at a time.
const AT_A_TIME: usize = 8;
/// Most tags of one tenant that are looked at.
pub const TAGS_MAX: usize = 20_000;
/// Tags of a repository that are looked at together where all of it is to go.
const PART: usize = 1_000;
/// Most references of one tenant's manifests: 48 bytes each, while it is looked at.
const REFERENCES_MAX: usize = 500_000;
/// Most references that are remembered from one look to the next, of all tenants.
const REMEMBERED_MAX: usize = 1_000_000;
/// Most blobs whose size is remembered, of all tenants: 64 bytes each.
const SIZES_MAX: usize = 1_000_000;
/// Most blobs of one tenant whose size is asked for in one look. What was asked for is known in the next.
const ASKED_MAX: usize = 50_000;
/// Most manifests of one tenant that are looked for in vain, in one look.
const ABSENT_MAX: usize = 50_000;

/// Looks, and remembers what it read.
pub struct Survey {
    registry: Arc<RegistryClient>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    manifests: HashMap<Digest, Remembered<Arc<Manifest>>>,
    references: usize,
    sizes: HashMap<Blob, Remembered<u64>>,
}

struct Remembered<T> {
    value: T,
    /// Since [`Survey::forget_unseen`] was called last.
    is_seen: bool,
}

/// What is left of what one look may take.
struct Left {
    tags: usize,
    references: usize,
    absent: usize,
}

impl Survey {
    /// Asks `registry`.
    pub fn new(registry: Arc<RegistryClient>) -> Self {
        Self { registry, memory: Mutex::default() }
    }

    /// Whom it asks.
    pub fn registry(&self) -> &RegistryClient {
        &self.registry
    }

    /// What `repositories` of `tenant` hold under their tags, and of what `named` names besides, by repository.
    pub async fn area(
        &self,
        tenant: &str,
        repositories: impl IntoIterator<Item = &str>,
        named: &BTreeMap<String, BTreeSet<Digest>>,
    ) -> Result<Area, RegistryError> {
        let mut area = Area::default();
        let mut left = Left { tags: TAGS_MAX, references: REFERENCES_MAX, absent: ABSENT_MAX };
        for name in repositories {
            let Names { names, cut } = self.registry.tags((tenant, name), None, left.tags).await?;
            if cut || names.len() > left.tags {
                area.cut = Some(Cut::Tags(name.to_owned()));
                break;
            }
            left.tags -= names.len();
            if !self.add((tenant, name), (names, named.get(name)), (&mut area, &mut left)).await? {
                break;
            }
        }
        Ok(area)
    }

    /// Of one repository what some of its tags hold, those behind `after`, and what is `named` besides. With the last of these
    /// tags, where there may be more.
    pub async fn part(
        &self,
        (tenant, name): (&str, &str),
        after: Option<&str>,
        named: Option<&BTreeSet<Digest>>,
    ) -> Result<(Area, Option<String>), RegistryError> {
        let mut left = Left { tags: PART, references: REFERENCES_MAX, absent: ABSENT_MAX };
        // One page: a full one says that there may be more.
        let Names { mut names, cut } = self.registry.tags((tenant, name), after, PART - 1).await?;
        names.truncate(PART);
        let last = names.last().filter(|_| cut).cloned();
        let is_stuck = cut && last.is_none();
        let mut area = Area { cut: is_stuck.then(|| Cut::Tags(name.to_owned())), ..Area::default() };
        self.add((tenant, name), (names, named), (&mut area, &mut left)).await?;
        Ok((area, last))
    }

    /// Adds one repository; whether there was room for it.
    async fn add(
        &self,
        (tenant, name): (&str, &str),
        (tags, named): (Vec<String>, Option<&BTreeSet<Digest>>),
        (area, left): (&mut Area, &mut Left),
    ) -> Result<bool, RegistryError> {
        let mut roots = self.roots(tenant, name, tags).await?;
        for digest in named.into_iter().flatten() {
            roots.entry(digest.clone()).or_default();
        }
        if !self.read(tenant, name, &roots, (&mut area.manifests, left)).await? {
            area.cut = Some(Cut::References(name.to_owned()));
            return Ok(false);
        }
        area.repositories.insert(name.to_owned(), roots);
        Ok(true)
    }

    /// Asks how large the blobs of `area` are, each in a repository that refers to it.
    pub async fn weigh(&self, tenant: &str, area: &mut Area) -> Result<(), RegistryError> {
        let mut left = ASKED_MAX;
        for (name, roots) in &area.repositories {
            let manifests = area.reached(roots.keys()).into_iter().filter_map(|one| area.manifests.get(one));
            let blobs: HashSet<_> = manifests.flat_map(|one| one.blobs.iter().map(|one| &one.blob)).collect();
            // What another repository did not have may be in this one.
            let is_open = |blob: &&Blob| area.sizes.get(*blob).is_none_or(|size| *size == 0);
            let mut open: Vec<_> = blobs.into_iter().filter(is_open).cloned().collect();
            open.retain(|blob| match self.known(blob) {
                Some(size) => {
                    area.sizes.insert(blob.clone(), size);
                    false
                }
                None => true,
            });
            if open.len() > left {
                area.cut.get_or_insert_with(|| Cut::References(name.clone()));
                open.truncate(left);
            }
            left -= open.len();
            if !self.ask(tenant, name, open, &mut area.sizes).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Asks for each of `blobs`; whether the registry tells sizes at all.
    async fn ask(
        &self,
        tenant: &str,
        name: &str,
        blobs: Vec<Blob>,
        sizes: &mut HashMap<Blob, u64>,
    ) -> Result<bool, RegistryError> {
        let asked = stream::iter(blobs).map(|blob| async move {
            let size = self.registry.size(tenant, name, &blob).await?;
            Ok::<_, RegistryError>((blob, size))
        });
        let mut asked = asked.buffer_unordered(AT_A_TIME);
        while let Some((blob, size)) = asked.try_next().await? {
            match size {
                BlobSize::Bytes(bytes) => {
                    self.remember(&blob, bytes);
                    sizes.insert(blob, bytes);
                }
                BlobSize::Absent => drop(sizes.entry(blob).or_default()),
                BlobSize::Untold => return Ok(false),
            }
        }
        Ok(true)
    }

    fn known(&self, blob: &Blob) -> Option<u64> {
        let mut memory = self.memory();
        let known = memory.sizes.get_mut(blob)?;
        known.is_seen = true;
        Some(known.value)
    }

    fn remember(&self, blob: &Blob, bytes: u64) {
        let mut memory = self.memory();
        if memory.sizes.len() < SIZES_MAX {
            memory.sizes.insert(blob.clone(), Remembered { value: bytes, is_seen: true });
        }
    }

    async fn roots(&self, tenant: &str, name: &str, tags: Vec<String>) -> Result<Roots, RegistryError> {
        let path = name.strip_prefix(tenant).map_or(name, |path| path.trim_start_matches('/'));
        let digests = stream::iter(tags).map(|tag| async move {
            let digest = self.registry.digest(tenant, path, &tag).await?;
            Ok::<_, RegistryError>((tag, digest))
        });
        let mut digests = digests.buffer_unordered(AT_A_TIME);
        let mut roots = Roots::new();
        while let Some((tag, digest)) = digests.try_next().await? {
            if let Some(digest) = digest {
                roots.entry(digest).or_default().insert(tag);
            }
        }
        Ok(roots)
    }

    /// Reads what `roots` refer to into `manifests`; whether there was room for all of it.
    async fn read(
        &self,
        tenant: &str,
        name: &str,
        roots: &Roots,
        (manifests, left): (&mut BTreeMap<Digest, Arc<Manifest>>, &mut Left),
    ) -> Result<bool, RegistryError> {
        let mut open: BTreeSet<Digest> = roots.keys().cloned().collect();
        while !open.is_empty() {
            open.retain(|digest| !manifests.contains_key(digest));
            let asked = stream::iter(std::mem::take(&mut open)).map(|digest| async move {
                let manifest = self.manifest(tenant, name, &digest).await?;
                Ok::<_, RegistryError>((digest, manifest))
            });
            let mut asked = asked.buffer_unordered(AT_A_TIME);
            while let Some((digest, manifest)) = asked.try_next().await? {
                let Some(manifest) = manifest else {
                    let Some(rest) = left.absent.checked_sub(1) else { return Ok(false) };
                    left.absent = rest;
                    continue;
                };
                let Some(rest) = left.references.checked_sub(manifest.references()) else { return Ok(false) };
                left.references = rest;
                open.extend(manifest.children.iter().cloned());
                manifests.insert(digest, manifest);
            }
        }
        Ok(true)
    }

    async fn manifest(
        &self,
        tenant: &str,
        name: &str,
        digest: &Digest,
    ) -> Result<Option<Arc<Manifest>>, RegistryError> {
        if let Some(known) = self.memory().manifests.get_mut(digest) {
            known.is_seen = true;
            return Ok(Some(known.value.clone()));
        }
        let Some(manifest) = self.registry.manifest_of(tenant, name, digest).await? else { return Ok(None) };
        let manifest = Arc::new(manifest);
        let mut memory = self.memory();
        if memory.references + manifest.references() <= REMEMBERED_MAX {
            let remembered = Remembered { value: manifest.clone(), is_seen: true };
            if memory.manifests.insert(digest.clone(), remembered).is_none() {
                memory.references += manifest.references();
            }
        }
        Ok(Some(manifest))
    }

    /// Forgets what no look since the last call asked for.
    pub fn forget_unseen(&self) {
        let mut memory = self.memory();
        memory.manifests.retain(|_, known| std::mem::replace(&mut known.is_seen, false));
        memory.references = memory.manifests.values().map(|known| known.value.references()).sum();
        memory.sizes.retain(|_, known| std::mem::replace(&mut known.is_seen, false));
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

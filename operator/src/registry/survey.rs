//! IO: looks at a tenant's area of the registry. A manifest is read once, since what a digest names never changes; each
//! tag is asked for its digest each time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    client::RegistryClient,
    digest::Digest,
    error::RegistryError,
    listing::Tags,
    usage::{Area, Manifest, Roots},
};

/// Requests at a time.
const AT_A_TIME: usize = 8;
/// Most tags of one tenant that are looked at.
pub const TAGS_MAX: usize = 20_000;
/// Most references of one tenant's manifests: 40 bytes each, while it is looked at.
const REFERENCES_MAX: usize = 500_000;
/// Most references that are remembered from one look to the next, of all tenants.
const REMEMBERED_MAX: usize = 1_000_000;

/// Looks, and remembers what it read.
pub struct Survey {
    registry: Arc<RegistryClient>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    manifests: HashMap<Digest, Remembered>,
    references: usize,
}

struct Remembered {
    manifest: Arc<Manifest>,
    /// Since [`Survey::forget_unseen`] was called last.
    is_seen: bool,
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
        let (mut tags_left, mut references_left) = (TAGS_MAX, REFERENCES_MAX);
        for name in repositories {
            let Tags { names, cut } = self.registry.tags(tenant, name, tags_left).await?;
            if cut || names.len() > tags_left {
                area.cut = true;
                break;
            }
            tags_left -= names.len();
            let mut roots = self.roots(tenant, name, names).await?;
            for digest in named.get(name).into_iter().flatten() {
                roots.entry(digest.clone()).or_default();
            }
            if !self.read(tenant, name, &roots, (&mut area.manifests, &mut references_left)).await? {
                area.cut = true;
                break;
            }
            area.repositories.insert(name.to_owned(), roots);
        }
        Ok(area)
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
        (manifests, left): (&mut BTreeMap<Digest, Arc<Manifest>>, &mut usize),
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
                let Some(manifest) = manifest else { continue };
                let Some(rest) = left.checked_sub(manifest.references()) else { return Ok(false) };
                *left = rest;
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
            return Ok(Some(known.manifest.clone()));
        }
        let Some(manifest) = self.registry.manifest_of(tenant, name, digest).await? else { return Ok(None) };
        let manifest = Arc::new(manifest);
        let mut memory = self.memory();
        if memory.references + manifest.references() <= REMEMBERED_MAX {
            let remembered = Remembered { manifest: manifest.clone(), is_seen: true };
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
        memory.references = memory.manifests.values().map(|known| known.manifest.references()).sum();
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What the watches last saw of our objects, and what we wrote of them last. Pure: the events of a watch in, whom to
//! tell out. It holds nothing of what is gone.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

use k8s_openapi::{
    Resource as Kind,
    api::{
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{Namespace, ResourceQuota, Secret},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, ResourceExt, runtime::watcher::Event};
use serde::Serialize;
use tokio::time::Instant;

use crate::names::{MANAGED_BY, MANAGER, SERVICE, TENANT, content_hash};

/// For how long a Secret that was found right is not read again, and a namespace that we made is taken for empty: passes
/// follow each other closely while a tenant is set up, and each would read every Secret.
const FRESH: Duration = Duration::from_secs(10);

/// An object by kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Kind, such as `Deployment`.
    pub kind: String,
    /// None for what is cluster-scoped.
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectKey {
    /// The key of `object`.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::named::<K>(object.namespace().as_deref(), &object.name_any())
    }

    /// The key of the object of kind `K` with this name.
    pub fn named<K: Resource<DynamicType = ()>>(namespace: Option<&str>, name: &str) -> Self {
        Self {
            kind: K::kind(&()).into_owned(),
            namespace: namespace.map(ToOwned::to_owned),
            name: name.to_owned(),
        }
    }

    /// The kind `K` itself, whatever there is of it.
    pub fn all<K: Resource<DynamicType = ()>>() -> Self {
        Self::named::<K>(None, "")
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// An object of ours changed or went; by whose hand is not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Which.
    pub object: ObjectKey,
    /// Those of its labels from which the stages know whose it is: [`TENANT`] and [`SERVICE`].
    pub labels: BTreeMap<String, String>,
}

/// Whose an object is, by label; there may be a hundred thousand of them.
type Owner = Box<[(&'static str, Box<str>)]>;

/// An object as a watch showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sighting {
    version: Box<str>,
    mark: Box<str>,
    owner: Owner,
    is_ending: bool,
}

impl Sighting {
    /// Nothing of what does not carry our label: a watch of our own kinds shows those too.
    fn of<O: Resource<DynamicType = ()> + Serialize>(object: &O) -> Option<Self> {
        let is_ours = object.labels().get(MANAGED_BY).map(String::as_str) == Some(MANAGER);
        is_ours.then(|| Self {
            version: object.resource_version().unwrap_or_default().into(),
            mark: mark(object).into(),
            owner: owner(object),
            is_ending: object.meta().deletion_timestamp.is_some(),
        })
    }
}

/// The list of one watch while it arrives. Nothing is believed of a part of it.
#[derive(Debug, Default)]
pub struct Listing(HashMap<ObjectKey, Sighting>);

/// Our own last write of an object, or how we last found it right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Of what was applied.
    pub hash: String,
    /// Its [`mark`] then.
    pub mark: String,
}

/// All objects that carry our label, as the watches last showed them.
#[derive(Debug, Default)]
pub struct Seen {
    objects: BTreeMap<ObjectKey, Sighting>,
    written: HashMap<ObjectKey, Written>,
    /// What was written or found right less than [`FRESH`] ago and no watch shows: Secrets, and namespaces by their creation.
    fresh: HashMap<ObjectKey, (String, Instant)>,
}

impl Seen {
    /// Is there one?
    pub fn shows(&self, key: &ObjectKey) -> bool {
        self.objects.contains_key(key)
    }

    /// The tenant whose label it carries, as the watch shows it.
    pub fn tenant_of(&self, key: &ObjectKey) -> Option<&str> {
        let owner = &self.objects.get(key)?.owner;
        owner.iter().find(|(label, _)| *label == TENANT).map(|(_, tenant)| &**tenant)
    }

    /// Is it there, and being deleted?
    pub fn is_ending(&self, key: &ObjectKey) -> bool {
        self.objects.get(key).is_some_and(|sighting| sighting.is_ending)
    }

    /// Names of the objects of this kind and namespace that begin as `first` does, in order.
    pub fn names_from(&self, first: &ObjectKey) -> Vec<String> {
        let fits = |key: &&ObjectKey| {
            key.kind == first.kind && key.namespace == first.namespace && key.name.starts_with(&first.name)
        };
        let from = self.objects.range(first..).map(|(key, _)| key);
        from.take_while(fits).map(|key| key.name.clone()).collect()
    }

    /// Keeps what was written; of Secrets, which are never watched, only for a moment, since nobody says when to forget it.
    pub fn wrote(&mut self, key: ObjectKey, written: Written, now: Instant) {
        self.fresh.retain(|_, (_, since)| now - *since < FRESH);
        if key.kind == Secret::KIND {
            self.fresh.insert(key, (written.hash, now));
            return;
        }
        self.written.insert(key, written);
    }

    /// Keeps that we made this namespace, which nobody else can have put anything into yet.
    pub fn made(&mut self, namespace: ObjectKey, written: Written, now: Instant) {
        self.fresh.insert(namespace.clone(), (written.hash.clone(), now));
        self.wrote(namespace, written, now);
    }

    /// Was this Secret written so, or found so, a moment ago?
    pub fn is_known(&self, key: &ObjectKey, hash: &str, now: Instant) -> bool {
        let fresh = self.fresh.get(key).filter(|(_, since)| now - *since < FRESH);
        key.kind == Secret::KIND && fresh.is_some_and(|(known, _)| known == hash)
    }

    /// Did we make its namespace a moment ago, and not write it since?
    pub fn is_in_new_namespace(&self, key: &ObjectKey, now: Instant) -> bool {
        let namespace = key.namespace.as_deref().map(|name| ObjectKey::named::<Namespace>(None, name));
        let made = namespace.and_then(|namespace| self.fresh.get(&namespace));
        made.is_some_and(|(_, since)| now - *since < FRESH) && !self.fresh.contains_key(key)
    }

    /// Is it, as the watch shows it, as we wrote it last?
    pub fn is_as_written(&self, key: &ObjectKey) -> bool {
        let (written, shown) = (self.written.get(key), self.objects.get(key));
        written.zip(shown).is_some_and(|(written, shown)| *written.mark == *shown.mark)
    }

    /// Whatever was written is not so any more.
    pub fn forget(&mut self, key: &ObjectKey) {
        self.fresh.remove(key);
        self.written.remove(key);
    }

    /// What was written last.
    pub fn written(&self, key: &ObjectKey) -> Option<&Written> {
        self.written.get(key)
    }

    /// Was this content applied last, and is the object untouched since? Never true of a Secret.
    pub fn is_applied(&self, key: &ObjectKey, hash: &str) -> bool {
        self.is_as_written(key) && self.written.get(key).is_some_and(|written| written.hash == hash)
    }

    /// Takes in one event of the watch of `O`, and says what it touched. A list that comes after an interruption
    /// touches what it shows otherwise than it was, and what it no longer shows. An object is told to whom it belongs
    /// and to whom it belonged before.
    pub fn take<O>(&mut self, listing: &mut Listing, event: &Event<O>) -> Vec<Touch>
    where
        O: Resource<DynamicType = ()> + Serialize,
    {
        match event {
            Event::Init => {
                listing.0.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                listing.0.extend(Sighting::of(object).map(|sighting| (ObjectKey::of(object), sighting)));
                Vec::new()
            }
            Event::InitDone => self.listed(&O::kind(&()), std::mem::take(&mut listing.0)),
            Event::Apply(object) => {
                let key = ObjectKey::of(object);
                match Sighting::of(object) {
                    Some(sighting) => self.saw(&key, sighting),
                    None => self.lost(&key, None),
                }
            }
            Event::Delete(object) => self.lost(&ObjectKey::of(object), Some(owner(object))),
        }
    }

    fn listed(&mut self, kind: &str, list: HashMap<ObjectKey, Sighting>) -> Vec<Touch> {
        let gone = |key: &&ObjectKey| key.kind == kind && !list.contains_key(key);
        let gone: Vec<_> = self.objects.keys().filter(gone).cloned().collect();
        // Also what was written and went before any watch showed it.
        self.written.retain(|key, _| key.kind != kind || list.contains_key(key));
        let mut touches: Vec<_> = gone.into_iter().flat_map(|key| self.lost(&key, None)).collect();
        for (key, sighting) in list {
            if self.objects.get(&key) != Some(&sighting) {
                touches.extend(self.saw(&key, sighting));
            }
        }
        touches
    }

    fn saw(&mut self, key: &ObjectKey, sighting: Sighting) -> Vec<Touch> {
        let now = sighting.owner.clone();
        let before = self.objects.insert(key.clone(), sighting).map(|sighting| sighting.owner);
        touches(key, before, Some(now))
    }

    /// `last`: whose it says it was when it went.
    fn lost(&mut self, key: &ObjectKey, last: Option<Owner>) -> Vec<Touch> {
        self.forget(key);
        let before = self.objects.remove(key).map(|sighting| sighting.owner);
        touches(key, before, last)
    }
}

/// One for each of its owners.
fn touches(object: &ObjectKey, before: Option<Owner>, now: Option<Owner>) -> Vec<Touch> {
    let before = before.filter(|before| now.as_ref() != Some(before));
    let touch = |owner: Owner| Touch {
        object: object.clone(),
        labels: owner.iter().map(|(label, value)| ((*label).to_owned(), value.to_string())).collect(),
    };
    before.into_iter().chain(now).map(touch).collect()
}

/// Another one whenever anything changed that we may have written, and the same one when only its status moved, which
/// of some kinds it does with every pod that starts. The API server counts changes of the spec in `generation`; of kinds
/// without one it is the resourceVersion, but for quotas and autoscalers, whose status moves most.
pub fn mark<O: Resource<DynamicType = ()> + Serialize>(object: &O) -> String {
    let is_by_spec = [ResourceQuota::KIND, HorizontalPodAutoscaler::KIND].contains(&&*O::kind(&()));
    if object.meta().generation.is_none() && !is_by_spec {
        return object.resource_version().unwrap_or_default();
    }
    let spec = is_by_spec.then(|| serde_json::to_value(object).map(|mut object| object["spec"].take()).ok());
    let mut metadata = ObjectMeta { resource_version: None, managed_fields: None, ..object.meta().clone() };
    // The Deployment controller's own, written together with the status.
    metadata
        .annotations
        .iter_mut()
        .for_each(|all| all.retain(|key, _| !key.starts_with("deployment.kubernetes.io/")));
    content_hash(&(metadata, spec))
}

fn owner<O: Resource>(object: &O) -> Owner {
    let labels = object.labels();
    [TENANT, SERVICE]
        .into_iter()
        .filter_map(|label| Some((label, labels.get(label)?.as_str().into())))
        .collect()
}

#[cfg(test)]
mod tests;

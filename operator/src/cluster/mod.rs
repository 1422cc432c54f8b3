//! Everything that talks to the API server for the stages: connect, observe, apply, delete, status, events.

mod apply;
mod client;
mod control;
mod difference;
mod event;
mod observe;
mod watched;

pub use apply::{Applied, ApplyError, CreatedNamespace, Object};
pub use client::{ConnectError, connect};
pub use control::{Control, ReconcileError, control};
pub use observe::{Background, ObjectKey, Touch};
pub use watched::Watched;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace};
use kube::{
    ResourceExt,
    runtime::{events::Recorder, reflector::Store},
};
use tokio::sync::mpsc;

use crate::names;

/// One cluster: its client, and what is known of the operator's own objects in it. Cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    #[expect(clippy::disallowed_types, reason = "IO: this is where the client lives")]
    client: kube::Client,
    /// What the watches last saw of objects with our label.
    seen: Mutex<BTreeMap<ObjectKey, String>>,
    /// Hash and resourceVersion of our own last write, or of the last time we looked and found it right.
    known: Mutex<HashMap<ObjectKey, (String, String)>>,
    /// Who wants to hear of changes of our objects.
    listeners: Mutex<Vec<mpsc::UnboundedSender<Touch>>>,
    deployments: Store<Deployment>,
    recorder: Recorder,
}

impl Cluster {
    /// The client, for the IO files of the stages.
    #[expect(clippy::disallowed_types, reason = "IO: this is where the client lives")]
    pub fn client(&self) -> kube::Client {
        self.0.client.clone()
    }

    fn seen_version(&self, key: &ObjectKey) -> Option<String> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Names of our objects of kind `K` in `namespace` that begin with `prefix`, as the watch shows them.
    pub fn names_of<K: Object>(&self, namespace: &str, prefix: &str) -> Vec<String> {
        self.names_from(&ObjectKey::named::<K>(Some(namespace), prefix))
    }

    /// Names of the namespaces with our label that, by their names, are those of `tenant`, as the watch shows them.
    pub fn namespaces_of(&self, tenant: &str) -> Vec<String> {
        let mut names = self.names_from(&ObjectKey::named::<Namespace>(None, &format!("{tenant}-")));
        names.retain(|name| name.rsplit_once('-').is_some_and(|(of, _)| of == tenant));
        names
    }

    /// `first` and what follows it with a name that begins with its name.
    fn names_from(&self, first: &ObjectKey) -> Vec<String> {
        let fits = |key: &&ObjectKey| {
            key.kind == first.kind && key.namespace == first.namespace && key.name.starts_with(&first.name)
        };
        let seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.range(first..).map(|(key, _)| key).take_while(fits).map(|key| key.name.clone()).collect()
    }

    /// A custom object that carries our label counts as seen, like any child.
    fn saw_custom<K: Object>(&self, object: &K) {
        if object.labels().get(names::MANAGED_BY).map(String::as_str) == Some(names::MANAGER) {
            let version = object.resource_version().unwrap_or_default();
            self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(ObjectKey::of(object), version);
        }
    }

    fn lost_custom<K: Object>(&self, object: &K) {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&ObjectKey::of(object));
    }

    fn known(&self, key: &ObjectKey) -> Option<(String, String)> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn remember(&self, key: ObjectKey, hash: String, version: String) {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (hash, version));
    }

    fn forget(&self, key: &ObjectKey) {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#![expect(clippy::disallowed_types, reason = "IO: opens the watches")]
//! The watches of what the operator wrote: one a kind, of objects with its label only. They keep a version an
//! object and nothing else, but for Deployments, of which status is read. Secrets are never watched.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt, Stream, StreamExt, future::BoxFuture};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, LimitRange, Namespace, ResourceQuota, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        events::{Recorder, Reporter},
        reflector, watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};

use super::{Cluster, Inner};
use crate::names::{MANAGED_BY, MANAGER};

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
    /// Its labels, from which the stages know whose it is.
    pub labels: BTreeMap<String, String>,
}

/// A future that runs as long as the operator.
pub type Background = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Cluster {
    /// Starts to observe. The first future runs the watches; the second is done when each has listed once, and
    /// nothing may be applied before.
    pub fn observe(client: Client) -> (Self, Background, BoxFuture<'static, ()>) {
        let (deployments, writer) = reflector::store();
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: None };
        let cluster = Self(Arc::new(Inner {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            seen: Mutex::default(),
            known: Mutex::default(),
            listeners: Mutex::default(),
            deployments,
        }));
        let mut listed = Vec::new();
        let mut watches: Vec<Background> = vec![
            cluster.watch::<Namespace>(&mut listed),
            cluster.watch::<ResourceQuota>(&mut listed),
            cluster.watch::<LimitRange>(&mut listed),
            cluster.watch::<NetworkPolicy>(&mut listed),
            cluster.watch::<RoleBinding>(&mut listed),
            cluster.watch::<ConfigMap>(&mut listed),
            cluster.watch::<Service>(&mut listed),
            cluster.watch::<PodDisruptionBudget>(&mut listed),
        ];
        watches.push(cluster.watch_deployments(writer, &mut listed));
        let ready = async move {
            for mut one in listed {
                // An error means that the watch is gone, and with it the operator.
                let _ = one.wait_for(|done| *done).await;
            }
        };
        (cluster, futures::future::join_all(watches).map(drop).boxed(), ready.boxed())
    }

    /// Every change of our objects from now on.
    pub fn touches(&self) -> impl Stream<Item = Touch> + Send + use<> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        futures::stream::poll_fn(move |context| receiver.poll_recv(context))
    }

    /// The Deployment as last seen, with labels, generation and status; its template is not kept.
    pub fn deployment(&self, namespace: &str, name: &str) -> Option<Arc<Deployment>> {
        self.0.deployments.get(&reflector::ObjectRef::new(name).within(namespace))
    }

    fn watch<K>(&self, listed: &mut Vec<watch::Receiver<bool>>) -> Background
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
    {
        let stream =
            watcher::watcher(Api::<PartialObjectMeta<K>>::all(self.client()), config()).default_backoff();
        self.follow::<K, PartialObjectMeta<K>>(stream.boxed(), listed)
    }

    fn watch_deployments(
        &self,
        writer: reflector::store::Writer<Deployment>,
        listed: &mut Vec<watch::Receiver<bool>>,
    ) -> Background {
        let stream = watcher::watcher(Api::<Deployment>::all(self.client()), config())
            .default_backoff()
            .modify(|deployment| {
                deployment.metadata.managed_fields = None;
                if let Some(spec) = &mut deployment.spec {
                    spec.template.spec = None;
                }
            })
            .reflect(writer);
        self.follow::<Deployment, Deployment>(stream.boxed(), listed)
    }

    /// Keeps `seen` true and tells the listeners.
    fn follow<K, O>(
        &self,
        mut stream: futures::stream::BoxStream<'static, watcher::Result<watcher::Event<O>>>,
        listed: &mut Vec<watch::Receiver<bool>>,
    ) -> Background
    where
        K: Resource<DynamicType = ()>,
        O: ResourceExt + Send + 'static,
    {
        let (done, receiver) = watch::channel(false);
        listed.push(receiver);
        let cluster = self.clone();
        Box::pin(async move {
            let mut list: HashMap<ObjectKey, Touch> = HashMap::new();
            while let Some(event) = stream.next().await {
                match event {
                    Ok(watcher::Event::Init) => list.clear(),
                    Ok(watcher::Event::InitApply(object)) => {
                        let touch = cluster.saw::<K, O>(&object);
                        list.insert(touch.object.clone(), touch);
                    }
                    Ok(watcher::Event::InitDone) => {
                        cluster.keep_only::<K>(&list.drain().map(|(key, _)| key).collect());
                        let _ = done.send(true);
                    }
                    Ok(watcher::Event::Apply(object)) => cluster.tell(&cluster.saw::<K, O>(&object)),
                    Ok(watcher::Event::Delete(object)) => {
                        let touch = touch_of::<K, O>(&object);
                        cluster.0.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&touch.object);
                        cluster.tell(&touch);
                    }
                    Err(error) => {
                        crate::metrics::WATCH_ERRORS.with_label_values(&[K::kind(&()).as_ref()]).inc();
                        tracing::warn!(kind = %K::kind(&()), error = &error as &dyn std::error::Error, "watch interrupted");
                    }
                }
            }
        })
    }

    fn saw<K: Resource<DynamicType = ()>, O: ResourceExt>(&self, object: &O) -> Touch {
        let touch = touch_of::<K, O>(object);
        let version = object.resource_version().unwrap_or_default();
        let old = self
            .0
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(touch.object.clone(), version.clone());
        if old.is_some_and(|old| old != version) {
            tracing::trace!(object = %touch.object, version, "seen");
        }
        touch
    }

    /// After a list: what it does not name is gone, and everything it names may have changed meanwhile.
    fn keep_only<K: Resource<DynamicType = ()>>(&self, listed: &HashSet<ObjectKey>) {
        let kind = K::kind(&());
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<_> =
            seen.keys().filter(|key| key.kind == kind && !listed.contains(key)).cloned().collect();
        for key in &gone {
            seen.remove(key);
        }
        drop(seen);
        for object in gone {
            self.tell(&Touch { object, labels: BTreeMap::new() });
        }
    }

    fn tell(&self, touch: &Touch) {
        self.0
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|listener| listener.send(touch.clone()).is_ok());
    }
}

fn touch_of<K: Resource<DynamicType = ()>, O: ResourceExt>(object: &O) -> Touch {
    Touch {
        object: ObjectKey::named::<K>(object.namespace().as_deref(), &object.name_any()),
        labels: object.labels().clone(),
    }
}

fn config() -> watcher::Config {
    watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}"))
}

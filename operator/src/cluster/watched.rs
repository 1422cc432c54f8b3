#![expect(clippy::disallowed_types, reason = "IO: opens a watch")]
//! One watch of one of our own kinds, with what it last showed. All controllers share it.
//!
//! An object that does not parse is counted, told and left out, or stays as it last was: the kind keeps working for
//! everybody else.

use std::sync::{Arc, Mutex, PoisonError};

use futures::{FutureExt, Stream, StreamExt, future::BoxFuture};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::{self, Event},
    },
};
use tokio::sync::{mpsc, watch};

use super::{
    Cluster,
    apply::Object,
    observe::{Background, interrupted},
    seen::Listing,
};

/// The objects of kind `K`. Cheap to clone.
#[derive(Clone)]
pub struct Watched<K: Object> {
    store: Store<K>,
    listeners: Arc<Mutex<Vec<mpsc::UnboundedSender<ObjectRef<K>>>>>,
}

impl<K: Object> Watched<K> {
    /// Starts the watch. The first future runs it; the second is done when it has listed once.
    pub fn start(cluster: &Cluster) -> (Self, Background, BoxFuture<'static, ()>) {
        let (store, writer) = reflector::store();
        let watched = Self { store, listeners: Arc::default() };
        let (done, mut listed) = watch::channel(false);
        let background = watched.clone().follow(cluster.clone(), writer, done);
        let ready = async move {
            // An error means that the watch is gone, and with it the operator.
            let _ = listed.wait_for(|done| *done).await;
        };
        (watched, Box::pin(background), ready.boxed())
    }

    /// These objects, as if a watch had shown them.
    #[cfg(test)]
    pub fn of(objects: Vec<K>) -> Self {
        Self::written(objects).0
    }

    /// The same, and what tells of more.
    #[cfg(test)]
    pub(super) fn written(objects: Vec<K>) -> (Self, Writer<K>) {
        let (store, mut writer) = reflector::store();
        let listed = objects.into_iter().map(Event::InitApply);
        [Event::Init]
            .into_iter()
            .chain(listed)
            .chain([Event::InitDone])
            .for_each(|event| writer.apply_watcher_event(&event));
        (Self { store, listeners: Arc::default() }, writer)
    }

    /// The cluster-scoped object of this name.
    pub fn named(&self, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name))
    }

    /// The object of this name in this namespace.
    pub fn named_in(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// All of them, in no order.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    /// All of them in one namespace, in no order.
    pub fn all_in(&self, namespace: &str) -> Vec<Arc<K>> {
        self.store.state_filter(|object| object.namespace().as_deref() == Some(namespace))
    }

    /// Everything there is, then every object that changes or goes.
    pub fn changes(&self) -> impl Stream<Item = ObjectRef<K>> + Send + use<K> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        // Listen first: what changes in between is told twice rather than never.
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        let there: Vec<_> = self.all().iter().map(|object| ObjectRef::from_obj(object.as_ref())).collect();
        futures::stream::iter(there)
            .chain(futures::stream::poll_fn(move |context| receiver.poll_recv(context)))
    }

    /// The store, for the controller that owns the kind.
    pub(super) fn store(&self) -> Store<K> {
        self.store.clone()
    }

    async fn follow(self, cluster: Cluster, mut writer: Writer<K>, done: watch::Sender<bool>) {
        let api = Api::<DeserializeGuard<K>>::all(cluster.client());
        let mut events = watcher::watcher(api, watcher::Config::default()).default_backoff().boxed();
        let (mut before, mut listing) = (Vec::new(), Listing::default());
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    interrupted::<K>(&error);
                    continue;
                }
            };
            let last = |meta: &ObjectMeta| match (&meta.namespace, meta.name.as_deref()?) {
                (Some(namespace), name) => self.named_in(namespace, name),
                (None, name) => self.named(name),
            };
            let Some(event) = parsed(event, last) else { continue };
            if matches!(event, Event::Init) {
                before = self.store.state();
            }
            writer.apply_watcher_event(&event);
            // Whoever wants to hear of all changes of the kind listens here; its labels tell where it no longer is ours.
            cluster.take(&mut listing, &event, |seen, touch| !seen.shows(&touch.object));
            match event {
                Event::Init | Event::InitApply(_) => {}
                Event::InitDone => {
                    let _ = done.send(true);
                    for object in before.drain(..).chain(self.store.state()) {
                        self.tell(&object);
                    }
                }
                Event::Apply(object) | Event::Delete(object) => self.tell(&object),
            }
        }
    }

    fn tell(&self, object: &K) {
        let reference = ObjectRef::from_obj(object);
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|listener| listener.send(reference.clone()).is_ok());
    }
}

/// The event without the guard, and without managed fields, which are two thirds of an object's size. One that no longer
/// parses stays as it was, which `last` tells, and goes as it was.
fn parsed<K: Object>(
    event: Event<DeserializeGuard<K>>,
    last: impl Fn(&ObjectMeta) -> Option<Arc<K>>,
) -> Option<Event<K>> {
    let opened = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(mut object) => {
            object.meta_mut().managed_fields = None;
            Some(object)
        }
        Err(invalid) => {
            let name = invalid.metadata.name.as_deref().unwrap_or_default();
            tracing::error!(kind = %K::kind(&()), name, error = invalid.error, "stored object does not parse and is left out");
            crate::metrics::UNREADABLE.with_label_values(&[K::kind(&()).as_ref()]).inc();
            None
        }
    };
    match event {
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
        Event::InitApply(object) => opened(object).map(Event::InitApply),
        Event::Apply(object) => opened(object).map(Event::Apply),
        Event::Delete(DeserializeGuard(Err(invalid))) => {
            last(&invalid.metadata).map(|last| Event::Delete((*last).clone()))
        }
        Event::Delete(object) => opened(object).map(Event::Delete),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::IntegrationService;

    #[test]
    fn one_that_no_longer_parses_stays_as_it_was_and_goes_when_it_is_deleted() {
        let guarded = |spec: serde_json::Value| -> DeserializeGuard<IntegrationService> {
            let metadata = serde_json::json!({ "namespace": "acme-home", "name": "orders" });
            let (api_version, kind) = ("imaas.dev/v1alpha1", "IntegrationService");
            serde_json::from_value(serde_json::json!({
                "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec
            }))
            .unwrap()
        };
        let good = serde_json::json!({ "repository": { "url": "https://git.example.com/a.git" }, "runtime": "camel" });
        let stored = Arc::new(guarded(good).0.unwrap());
        let last = |meta: &ObjectMeta| (meta.name.as_deref() == Some("orders")).then(|| stored.clone());
        let broken = || guarded(serde_json::json!(3));
        assert!(broken().0.is_err());
        assert!(parsed(Event::Apply(broken()), last).is_none());
        assert!(parsed(Event::InitApply(broken()), last).is_none());
        let Some(Event::Delete(gone)) = parsed(Event::Delete(broken()), last) else { panic!("not told") };
        assert_eq!(gone.name_any(), "orders");
        assert!(
            parsed::<IntegrationService>(Event::Delete(broken()), |_| None).is_none(),
            "it was never shown"
        );
    }
}

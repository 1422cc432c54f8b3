#![expect(clippy::disallowed_types, reason = "IO: asks for a kind, and opens its watch")]
//! The watch of objects of ours whose kind is not Kubernetes' own: it may come later, and it may go, while everything else
//! works. Where it is not there it is asked for now and then, and nothing waits for it. That it is there, and in which form, the
//! API server's `OpenAPI` document tells, which whoever may log in may read.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Resource,
    api::GetParams,
    core::Request,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, interval_at},
};

use super::{
    Cluster, Object, ObjectKey,
    apply_error::is_code,
    observe::{Background, config, interrupted},
    seen::{Listing, Touch},
};

/// Between two looks for the kind where it is not there. A watch of definitions would tell at once, and be a right to read them
/// all; a kind is installed once, and whoever does waits half a minute.
const ABSENT: Duration = Duration::from_secs(30);
/// When it is asked again after no answer: the operator is not ready before the first.
const UNANSWERED: Duration = Duration::from_secs(5);
/// Between two looks at its form: a few hundred kilobytes, which change with a new version of the kind.
const FORM: Duration = Duration::from_mins(5);

/// A kind that may not be there.
pub(super) trait Guest: Object + PartialEq + Resource<Scope = NamespaceResourceScope> {
    /// What differs by what is installed.
    type Form: Copy + PartialEq + Debug + Send + Sync + 'static;
    /// `<group>/<version>`.
    const VERSION: &'static str;

    /// `None` where `document`, of the group's version, does not have the kind.
    fn form(document: &Value) -> Option<Self::Form>;

    /// Where the cluster keeps them.
    fn guests(cluster: &Cluster) -> &Guests<Self>;
}

/// What was last seen of a kind that may not be there.
pub(super) struct Guests<K: Guest> {
    /// Without managed fields and version.
    pub(super) seen: Store<K>,
    form: Mutex<Option<K::Form>>,
}

impl<K: Guest> Guests<K> {
    /// None yet, and what adds some.
    pub(super) fn new() -> (Self, Writer<K>) {
        let (seen, writer) = reflector::store();
        (Self { seen, form: Mutex::default() }, writer)
    }

    /// Of the kind as it is installed; `None` where it is not.
    pub(super) fn form(&self) -> Option<K::Form> {
        *self.form.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Follows our objects of a kind as long as the operator runs. Listed is also that there are none, for want of the kind.
    pub(super) fn watch_guests<K: Guest>(
        &self,
        mut writer: Writer<K>,
        listed: &mut Vec<watch::Receiver<bool>>,
    ) -> Background {
        let (done, receiver) = watch::channel(false);
        listed.push(receiver);
        let cluster = self.clone();
        Box::pin(async move {
            let mut listing = Listing::default();
            loop {
                let again = match cluster.served::<K>().await {
                    Ok(Some(form)) => {
                        cluster.follow_guests(form, (&mut writer, &mut listing), (&done, FORM)).await;
                        ABSENT
                    }
                    Ok(None) => {
                        let _ = done.send(true);
                        ABSENT
                    }
                    Err(error) => {
                        unanswered::<K>(&error);
                        UNANSWERED
                    }
                };
                tokio::time::sleep(again).await;
            }
        })
    }

    /// In which form the API server has the kind.
    async fn served<K: Guest>(&self) -> Result<Option<K::Form>, kube::Error> {
        let request = Request::new("/openapi/v3/apis").get(K::VERSION, &GetParams::default());
        match self.client().request(request.map_err(kube::Error::BuildRequest)?).await {
            Ok(document) => Ok(K::form(&document)),
            Err(error) if is_code(&error, 404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends when the kind has gone. Once in `every` it looks at its form.
    async fn follow_guests<K: Guest>(
        &self,
        mut form: K::Form,
        (writer, listing): (&mut Writer<K>, &mut Listing),
        (done, every): (&watch::Sender<bool>, Duration),
    ) {
        let mut events = watcher(Api::<K>::all(self.client()), config())
            .default_backoff()
            .modify(|object| {
                object.meta_mut().managed_fields = None;
                object.meta_mut().resource_version = None;
            })
            .boxed();
        let mut looks = interval_at(Instant::now() + every, every);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = looks.tick() => {
                    match self.served::<K>().await {
                        Ok(served) => form = served.unwrap_or(form),
                        Err(error) => unanswered::<K>(&error),
                    }
                    if K::guests(self).form().is_some() {
                        self.guests_are::<K>(Some(form));
                    }
                    continue;
                }
            };
            match event {
                // What changes nothing that is read wakes nobody: KEDA writes the time of what it saw every few seconds.
                Some(Ok(Event::Apply(object))) if is_known(&K::guests(self).seen, &object) => {}
                Some(Ok(event)) => {
                    writer.apply_watcher_event(&event);
                    self.take(listing, &event, |_, _| true);
                    if matches!(event, Event::InitDone) {
                        let _ = done.send(true);
                        self.guests_are::<K>(Some(form));
                    }
                }
                Some(Err(error)) if is_gone(&error) => break,
                Some(Err(error)) => interrupted::<K>(&error),
                None => break,
            }
        }
        for event in [Event::Init, Event::InitDone] {
            writer.apply_watcher_event(&event);
            self.take(listing, &event, |_, _| true);
        }
        self.guests_are::<K>(None);
    }

    /// Tells everybody, when that is news.
    fn guests_are<K: Guest>(&self, form: Option<K::Form>) {
        let mut kept = K::guests(self).form.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = mem::replace(&mut *kept, form) != form;
        drop(kept);
        if is_news {
            tracing::info!(kind = %K::kind(&()), ?form, "a kind came, went or changed");
            self.tell(&Touch { object: ObjectKey::all::<K>(), labels: BTreeMap::new() });
        }
    }
}

fn is_known<K: Guest>(seen: &Store<K>, object: &K) -> bool {
    seen.get(&ObjectRef::from_obj(object)).is_some_and(|seen| *seen == *object)
}

fn unanswered<K: Guest>(error: &kube::Error) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, kind = %K::kind(&()), "the API server does not say whether it has the kind, and of which form");
}

/// Does the API server know the kind no more?
fn is_gone(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => is_code(error, 404),
        watcher::Error::WatchError(status) => status.code == 404,
        watcher::Error::NoResourceVersion => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending, sync::Arc};

    use axum::http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use tokio::time::timeout;
    use tower::service_fn;

    use super::*;
    use crate::api::{HttpRoute, http_route::RuleFields};

    /// An API server that has the kind of routes, of which rules have these fields, and no route.
    fn server(fields: Arc<Mutex<Vec<&'static str>>>) -> kube::Client {
        let answer = move |request: Request<Body>| {
            let fields: serde_json::Map<_, _> = fields
                .lock()
                .unwrap()
                .iter()
                .map(|field| ((*field).to_owned(), json!({ "type": "object" })))
                .collect();
            async move {
                let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
                if query.contains("watch=true") {
                    pending::<()>().await;
                }
                let rules = json!({ "type": "array", "items": { "type": "object", "properties": fields } });
                let spec = json!({ "type": "object", "properties": { "rules": rules } });
                let schema = json!({ "type": "object", "properties": { "spec": spec } });
                let schemas = json!({ "io.k8s.networking.gateway.v1.HTTPRoute": schema });
                let list = json!({
                    "apiVersion": HttpRoute::VERSION, "kind": "HTTPRouteList", "metadata": { "resourceVersion": "1" }, "items": [],
                });
                let document = json!({ "components": { "schemas": schemas } });
                let told = if path.starts_with("/openapi/") { document } else { list };
                Ok::<_, Infallible>(Response::new(Body::from(told.to_string().into_bytes())))
            }
        };
        kube::Client::new(service_fn(answer), "default")
    }

    #[tokio::test]
    async fn another_form_of_the_kind_is_seen_at_the_next_look_and_told_to_everybody() {
        let fields = Arc::new(Mutex::new(vec!["timeouts"]));
        let (cluster, _watches, _listed) = Cluster::observe(server(fields.clone()));
        let mut touches = Box::pin(cluster.touches());
        let (_guests, mut writer) = Guests::<HttpRoute>::new();
        let (done, _receiver) = watch::channel(false);
        let form = cluster.served::<HttpRoute>().await.unwrap().unwrap();
        let follows = async {
            let mut listing = Listing::default();
            let every = Duration::from_millis(10);
            cluster.follow_guests(form, (&mut writer, &mut listing), (&done, every)).await;
        };
        let mut next = async || {
            let touch = timeout(Duration::from_secs(20), touches.next()).await;
            touch.expect("everybody is told").unwrap()
        };
        let told = async {
            let touch = next().await;
            assert_eq!(touch.object, ObjectKey::all::<HttpRoute>(), "it is there");
            assert_eq!(cluster.route_fields().rule, RuleFields { timeouts: true, retry: false });
            fields.lock().unwrap().push("retry");
            next().await;
            assert_eq!(cluster.route_fields().rule, RuleFields::ALL);
        };
        tokio::select! {
            () = follows => panic!("it is there"),
            () = told => {}
        }
    }
}

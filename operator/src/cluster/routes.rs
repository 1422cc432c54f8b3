#![expect(clippy::disallowed_types, reason = "IO: asks for a kind, and opens its watch")]
//! The watch of our routes. Their kind is not Kubernetes' own: it may come later, and it may go, while everything else works.
//! Where it is not there it is asked for now and then, and nothing waits for it.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::StreamExt;
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::watch;

use super::{
    Cluster, ObjectKey,
    apply_error::is_code,
    observe::{Background, config, interrupted},
    seen::{Listing, Touch},
};
use crate::api::{HttpRoute, http_route::GATEWAY_API};

/// Between two looks for the kind where it is not there. A watch of definitions would tell at once, and be a right to read them
/// all; a kind is installed once, and whoever does waits half a minute.
const ABSENT: Duration = Duration::from_secs(30);
/// When it is asked again after no answer: the operator is not ready before the first.
const UNANSWERED: Duration = Duration::from_secs(5);

impl Cluster {
    /// Has the cluster routes?
    pub fn has_routes(&self) -> bool {
        self.0.has_routes.load(Ordering::Acquire)
    }

    /// Our route as last seen, with what gateways say of it.
    pub fn route(&self, namespace: &str, name: &str) -> Option<Arc<HttpRoute>> {
        self.0.routes.get(&ObjectRef::new(name).within(namespace))
    }

    /// Follows the routes as long as the operator runs. Listed is also that there are none, for want of the kind.
    pub(super) fn watch_routes(
        &self,
        mut writer: Writer<HttpRoute>,
        listed: &mut Vec<watch::Receiver<bool>>,
    ) -> Background {
        let (done, receiver) = watch::channel(false);
        listed.push(receiver);
        let cluster = self.clone();
        Box::pin(async move {
            let mut listing = Listing::default();
            loop {
                let again = match cluster.serves_routes().await {
                    Ok(true) => {
                        cluster.follow_routes(&mut writer, &mut listing, &done).await;
                        ABSENT
                    }
                    Ok(false) => {
                        let _ = done.send(true);
                        ABSENT
                    }
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the API server does not say whether it has HTTPRoutes"
                        );
                        UNANSWERED
                    }
                };
                tokio::time::sleep(again).await;
            }
        })
    }

    async fn serves_routes(&self) -> Result<bool, kube::Error> {
        match self.client().list_api_group_resources(GATEWAY_API).await {
            Ok(list) => Ok(list.resources.iter().any(|resource| resource.name == "httproutes")),
            Err(error) if is_code(&error, 404) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Ends when the kind has gone.
    async fn follow_routes(
        &self,
        writer: &mut Writer<HttpRoute>,
        listing: &mut Listing,
        done: &watch::Sender<bool>,
    ) {
        let mut events = watcher(Api::<HttpRoute>::all(self.client()), config()).default_backoff().boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    writer.apply_watcher_event(&event);
                    self.take(listing, &event, |_, _| true);
                    if matches!(event, Event::InitDone) {
                        let _ = done.send(true);
                        self.routes_are(true);
                    }
                }
                Err(error) if is_gone(&error) => break,
                Err(error) => interrupted::<HttpRoute>(&error),
            }
        }
        for event in [Event::Init, Event::InitDone] {
            writer.apply_watcher_event(&event);
            self.take(listing, &event, |_, _| true);
        }
        self.routes_are(false);
    }

    /// Tells everybody, when that is news.
    fn routes_are(&self, there: bool) {
        if self.0.has_routes.swap(there, Ordering::AcqRel) != there {
            tracing::info!(there, "the kind HTTPRoute came or went");
            self.tell(&Touch { object: ObjectKey::all::<HttpRoute>(), labels: BTreeMap::new() });
        }
    }
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

#![expect(clippy::disallowed_types, reason = "IO: asks for a kind, and opens its watch")]
//! The watch of our routes. Their kind is not Kubernetes' own: it may come later, and it may go, while everything else works.
//! Where it is not there it is asked for now and then, and nothing waits for it. What its rules may say differs by version and
//! channel: the API server's `OpenAPI` document tells it, which whoever may log in may read.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use kube::{
    Api,
    api::GetParams,
    core::Request,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, interval_at},
};

use super::{
    Cluster, ObjectKey,
    apply_error::is_code,
    observe::{Background, config, interrupted},
    seen::{Listing, Touch},
};
use crate::api::{
    HttpRoute,
    http_route::{GATEWAY_API, RuleFields},
};

/// Between two looks for the kind where it is not there. A watch of definitions would tell at once, and be a right to read them
/// all; a kind is installed once, and whoever does waits half a minute.
const ABSENT: Duration = Duration::from_secs(30);
/// When it is asked again after no answer: the operator is not ready before the first.
const UNANSWERED: Duration = Duration::from_secs(5);
/// Between two looks at what its rules may say: a few hundred kilobytes, which change with a new version of the kind.
const RULES: Duration = Duration::from_mins(5);
/// Where the `OpenAPI` document has the fields of a rule.
const RULE: &str = "/components/schemas/io.k8s.networking.gateway.v1.HTTPRoute/properties/spec/properties/rules/items/properties";

impl Cluster {
    /// Has the cluster routes?
    pub fn has_routes(&self) -> bool {
        self.route_rules().is_some()
    }

    /// What their rules may say.
    pub fn rule_fields(&self) -> RuleFields {
        self.route_rules().unwrap_or_default()
    }

    fn route_rules(&self) -> MutexGuard<'_, Option<RuleFields>> {
        self.0.route_rules.lock().unwrap_or_else(PoisonError::into_inner)
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
                let again = match cluster.served_rules().await {
                    Ok(Some(rules)) => {
                        cluster.follow_routes(rules, (&mut writer, &mut listing), &done).await;
                        ABSENT
                    }
                    Ok(None) => {
                        let _ = done.send(true);
                        ABSENT
                    }
                    Err(error) => {
                        unanswered(&error);
                        UNANSWERED
                    }
                };
                tokio::time::sleep(again).await;
            }
        })
    }

    /// What rules may say, where the API server has the kind.
    async fn served_rules(&self) -> Result<Option<RuleFields>, kube::Error> {
        let request = Request::new("/openapi/v3/apis").get(GATEWAY_API, &GetParams::default());
        match self.client().request(request.map_err(kube::Error::BuildRequest)?).await {
            Ok(document) => Ok(rule_fields(&document)),
            Err(error) if is_code(&error, 404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends when the kind has gone.
    async fn follow_routes(
        &self,
        mut rules: RuleFields,
        (writer, listing): (&mut Writer<HttpRoute>, &mut Listing),
        done: &watch::Sender<bool>,
    ) {
        let mut events = watcher(Api::<HttpRoute>::all(self.client()), config()).default_backoff().boxed();
        let mut looks = interval_at(Instant::now() + RULES, RULES);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = looks.tick() => {
                    match self.served_rules().await {
                        Ok(served) => rules = served.unwrap_or(rules),
                        Err(error) => unanswered(&error),
                    }
                    if self.has_routes() {
                        self.routes_are(Some(rules));
                    }
                    continue;
                }
            };
            match event {
                Some(Ok(event)) => {
                    writer.apply_watcher_event(&event);
                    self.take(listing, &event, |_, _| true);
                    if matches!(event, Event::InitDone) {
                        let _ = done.send(true);
                        self.routes_are(Some(rules));
                    }
                }
                Some(Err(error)) if is_gone(&error) => break,
                Some(Err(error)) => interrupted::<HttpRoute>(&error),
                None => break,
            }
        }
        for event in [Event::Init, Event::InitDone] {
            writer.apply_watcher_event(&event);
            self.take(listing, &event, |_, _| true);
        }
        self.routes_are(None);
    }

    /// Tells everybody, when that is news.
    fn routes_are(&self, rules: Option<RuleFields>) {
        if mem::replace(&mut *self.route_rules(), rules) != rules {
            tracing::info!(?rules, "the kind HTTPRoute came, went or changed");
            self.tell(&Touch { object: ObjectKey::all::<HttpRoute>(), labels: BTreeMap::new() });
        }
    }
}

/// `None` where `document`, of the group's version, does not have the kind.
fn rule_fields(document: &Value) -> Option<RuleFields> {
    let rule = document.pointer(RULE)?;
    let has = |field| rule.get(field).is_some();
    Some(RuleFields { timeouts: has("timeouts"), retry: has("retry") })
}

fn unanswered(error: &kube::Error) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "the API server does not say whether it has HTTPRoutes, and of which form");
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
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_rule_may_say_is_what_the_installed_kind_has() {
        let document = |kind: &str, rule: Value| {
            let rules = json!({ "type": "array", "items": { "type": "object", "properties": rule } });
            let spec = json!({ "type": "object", "properties": { "rules": rules } });
            let schema = json!({ "type": "object", "properties": { "spec": spec } });
            rule_fields(&json!({ "components": { "schemas": { kind: schema } } }))
        };
        let route = "io.k8s.networking.gateway.v1.HTTPRoute";
        let (matches, timeouts, retry) =
            (json!([]), json!({ "type": "object" }), json!({ "type": "object" }));
        let fields = |timeouts, retry| Some(RuleFields { timeouts, retry });
        assert_eq!(document("io.k8s.networking.gateway.v1.GRPCRoute", json!({ "timeouts": timeouts })), None);
        assert_eq!(document(route, json!({ "matches": matches })), fields(false, false));
        assert_eq!(document(route, json!({ "timeouts": timeouts })), fields(true, false));
        assert_eq!(document(route, json!({ "timeouts": timeouts, "retry": retry })), fields(true, true));
    }
}

//! IO: what a gateway heeds of a route, as its class says. It is asked when a service has to know, and kept for a while.

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{ApplyError, Cluster, ObjectKey};
use crate::api::{
    environment,
    gateway::{Gateway, GatewayClass},
    http_route::RouteFields,
};

/// How long an answer is kept.
pub const KEPT: Duration = Duration::from_mins(5);

/// Of gateways, by namespace and name: when it was asked, and what they heed.
pub(super) type Heeded = BTreeMap<(String, String), (Instant, RouteFields)>;

impl Cluster {
    /// What of a route `gateway` heeds; [`RouteFields::SILENT`] where nobody says.
    pub async fn heeds(&self, gateway: &environment::Gateway) -> RouteFields {
        let key = (gateway.namespace.clone(), gateway.name.clone());
        let known = self.heeded().get(&key).copied();
        if let Some((_, heeds)) = known.filter(|(asked, _)| asked.elapsed() < KEPT) {
            return heeds;
        }
        let heeds = self.said(&key).await.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the class of a gateway was not read");
            known.map_or(RouteFields::SILENT, |(_, heeds)| heeds)
        });
        self.heeded().insert(key, (Instant::now(), heeds));
        heeds
    }

    async fn said(&self, (namespace, name): &(String, String)) -> Result<RouteFields, ApplyError> {
        let gateway = self.read::<Gateway>(&ObjectKey::named::<Gateway>(Some(namespace), name)).await?;
        let Some(Gateway { spec, .. }) = gateway else { return Ok(RouteFields::SILENT) };
        let class = ObjectKey::named::<GatewayClass>(None, &spec.gateway_class_name);
        let class = self.read::<GatewayClass>(&class).await?;
        Ok(class.map_or(RouteFields::SILENT, |class| class.heeds()))
    }

    fn heeded(&self) -> MutexGuard<'_, Heeded> {
        self.0.heeded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

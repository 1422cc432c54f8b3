//! Everything that talks to the API server for the stages: connect, observe, apply, delete, status, events.

mod amend;
mod apply;
mod apply_error;
mod client;
mod control;
mod difference;
mod event;
mod external;
mod fence;
mod finalizer;
mod foreign;
mod guests;
mod heeded;
mod observe;
mod pods;
mod remove;
mod routes;
mod scalers;
mod seen;
mod watched;
mod workload;

pub use apply::{Applied, CreatedNamespace, Object};
pub use apply_error::ApplyError;
pub use client::{ConnectError, connect};
pub use control::{Control, ReconcileError, control};
pub use external::NoNumber;
pub use finalizer::{has_finalizer, with_finalizer, without_finalizer};
pub use heeded::KEPT as HEEDED_FOR;
pub use observe::Background;
pub use seen::{ObjectKey, Touch};
pub use watched::Watched;
pub use workload::Workload;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::{CronJob, Job},
    core::v1::{Namespace, ResourceQuota},
};
use kube::{
    Resource,
    runtime::{reflector::Store, watcher::Event},
};
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};

use self::{
    event::Budget,
    guests::Guests,
    heeded::Heeded,
    seen::{Listing, Seen},
};
use crate::api::{HttpRoute, ScaledObject, TriggerAuthentication};

/// One cluster: its client, and what is known of the operator's own objects in it. Cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    #[expect(clippy::disallowed_types, reason = "IO: this is where the client lives")]
    client: kube::Client,
    /// What the watches last saw of objects with our label, and what we wrote.
    seen: Mutex<Seen>,
    /// Who wants to hear of changes of our objects.
    listeners: Mutex<Vec<mpsc::UnboundedSender<Touch>>>,
    deployments: Store<Deployment>,
    cron_jobs: Store<CronJob>,
    /// Made by `CronJob`s of ours, and by us.
    jobs: Store<Job>,
    autoscalers: Store<HorizontalPodAutoscaler>,
    quotas: Store<ResourceQuota>,
    routes: Guests<HttpRoute>,
    scalers: Guests<ScaledObject>,
    scaler_logins: Guests<TriggerAuthentication>,
    /// What gateways heed, as was told last.
    heeded: Mutex<Heeded>,
    /// Places for those who ask others by way of the API server.
    external: Semaphore,
    /// Events that may still be written.
    budget: Mutex<Budget>,
}

impl Cluster {
    /// The client, for the IO files of the stages.
    #[expect(clippy::disallowed_types, reason = "IO: this is where the client lives")]
    pub fn client(&self) -> kube::Client {
        self.0.client.clone()
    }

    /// Names of our objects of kind `K` in `namespace` that begin with `prefix`, as the watch shows them.
    pub fn names_of<K: Object>(&self, namespace: &str, prefix: &str) -> Vec<String> {
        self.seen().names_from(&ObjectKey::named::<K>(Some(namespace), prefix))
    }

    /// Names of the namespaces with our label that, by their names, are those of `tenant`, as the watch shows them.
    pub fn namespaces_of(&self, tenant: &str) -> Vec<String> {
        let mut names = self.seen().names_from(&ObjectKey::named::<Namespace>(None, &format!("{tenant}-")));
        names.retain(|name| name.rsplit_once('-').is_some_and(|(of, _)| of == tenant));
        names
    }

    /// Does the watch show that this namespace carries our label, for `tenant`? It may lose that at any time.
    pub fn belongs(&self, namespace: &str, tenant: &str) -> bool {
        self.seen().tenant_of(&ObjectKey::named::<Namespace>(None, namespace)) == Some(tenant)
    }

    /// Does the watch show that this namespace is being deleted? Nothing new is let into it.
    pub fn is_ending(&self, namespace: &str) -> bool {
        self.seen().is_ending(&ObjectKey::named::<Namespace>(None, namespace))
    }

    /// Is this namespace of `tenant`, and to stay?
    pub fn takes(&self, namespace: &str, tenant: &str) -> bool {
        self.belongs(namespace, tenant) && !self.is_ending(namespace)
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.0.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an event of a watch and tells the listeners what it touched, as far as `concerns` them.
    fn take<O: Resource<DynamicType = ()> + Serialize>(
        &self,
        listing: &mut Listing,
        event: &Event<O>,
        concerns: impl Fn(&Seen, &Touch) -> bool,
    ) {
        let touches = {
            let mut seen = self.seen();
            let mut touches = seen.take(listing, event);
            touches.retain(|touch| concerns(&seen, touch));
            touches
        };
        for touch in touches {
            self.tell(&touch);
        }
    }

    /// Tells the listeners.
    fn tell(&self, touch: &Touch) {
        let mut listeners = self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.send(touch.clone()).is_ok());
    }
}

//! What was counted last, in memory: written by the sweep, read by the tenants' statuses, which it wakes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::Stream;
use tokio::sync::mpsc;

use crate::api::RegistryUsage;

/// By tenant. Cheap to clone.
#[derive(Clone, Default)]
pub struct Usages(Option<Arc<Mutex<Counted>>>);

#[derive(Default)]
struct Counted {
    tenants: BTreeMap<String, RegistryUsage>,
    listeners: Vec<mpsc::UnboundedSender<String>>,
}

impl Usages {
    /// Nothing is counted yet.
    pub fn counted() -> Self {
        Self(Some(Arc::default()))
    }

    /// Nothing ever is: the registry is not the operator's.
    pub fn never() -> Self {
        Self(None)
    }

    /// What was counted for `tenant`, or what its status said `before` that.
    pub fn of(&self, tenant: &str, before: Option<&RegistryUsage>) -> Option<RegistryUsage> {
        let counted = self.lock()?;
        counted.tenants.get(tenant).or(before).cloned()
    }

    /// Wakes the tenant where that is news.
    pub fn set(&self, tenant: &str, usage: RegistryUsage) {
        let Some(mut counted) = self.lock() else { return };
        if counted.tenants.get(tenant) == Some(&usage) {
            return;
        }
        counted.tenants.insert(tenant.to_owned(), usage);
        counted.listeners.retain(|listener| listener.send(tenant.to_owned()).is_ok());
    }

    /// Forgets all tenants but `those`, and says which.
    pub fn keep(&self, those: impl Fn(&str) -> bool) -> Vec<String> {
        let Some(mut counted) = self.lock() else { return Vec::new() };
        counted.tenants.extract_if(.., |tenant, _| !those(tenant)).map(|(tenant, _)| tenant).collect()
    }

    /// Every tenant whose count changes.
    pub fn changes(&self) -> impl Stream<Item = String> + Send + use<> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        // Where nothing is counted the sender goes here, and the stream ends.
        if let Some(mut counted) = self.lock() {
            counted.listeners.push(sender);
        }
        futures::stream::poll_fn(move |context| receiver.poll_recv(context))
    }

    fn lock(&self) -> Option<MutexGuard<'_, Counted>> {
        Some(self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

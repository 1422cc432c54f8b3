#![expect(clippy::disallowed_types, reason = "IO: a watch of its own, and its clock")]
//! A watcher that has nothing to do with the operator: when was each Tenant Ready?

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use imaas_operator::{
    api::Tenant,
    conditions::{READY, is_true},
};
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::{sync::oneshot, task::JoinHandle};

/// A watch that is under way.
pub(crate) struct Watch(JoinHandle<Result<BTreeMap<String, Instant>>>);

impl Watch {
    /// Listens before it returns. Ends when `wanted` tenants are Ready, or nothing became Ready within `patience`.
    pub(crate) async fn start(client: Client, wanted: usize, patience: Duration) -> Result<Self> {
        let (listening, listens) = oneshot::channel();
        let watch = tokio::spawn(until_ready(client, wanted, patience, listening));
        listens.await.context("the watch of Tenants did not begin")?;
        Ok(Self(watch))
    }

    /// When the last one was Ready.
    pub(crate) async fn last(self) -> Result<Instant> {
        let seen = self.0.await.context("the watch of Tenants died")??;
        seen.into_values().max().context("no Tenant")
    }
}

async fn until_ready(
    client: Client,
    wanted: usize,
    patience: Duration,
    listening: oneshot::Sender<()>,
) -> Result<BTreeMap<String, Instant>> {
    let mut listening = Some(listening);
    let mut seen = BTreeMap::new();
    let mut events =
        watcher(Api::<Tenant>::all(client), watcher::Config::default()).default_backoff().boxed();
    while seen.len() < wanted {
        let event = tokio::time::timeout(patience, events.next()).await;
        let Ok(Some(event)) = event else {
            bail!("{} of {wanted} tenants are Ready, and no more come", seen.len())
        };
        match event.context("the watch of Tenants")? {
            watcher::Event::InitDone => {
                // Nobody waits any more when a list comes again.
                let _ = listening.take().map(|listening| listening.send(()));
            }
            watcher::Event::Apply(tenant) | watcher::Event::InitApply(tenant) => {
                if tenant.status.as_ref().is_some_and(|status| is_true(&status.conditions, READY)) {
                    seen.entry(tenant.name_any()).or_insert_with(Instant::now);
                }
            }
            watcher::Event::Init | watcher::Event::Delete(_) => {}
        }
    }
    Ok(seen)
}

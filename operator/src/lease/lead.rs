#![expect(clippy::disallowed_types, reason = "IO: reads and writes the Lease")]
//! Stands for the lease, keeps it while there is work, and gives it back.
//!
//! A task of its own keeps it, with a client of its own: neither work that takes long nor a queue of requests delays a
//! renewal.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, ResourceExt, api::PostParams};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{
    Mandate,
    candidate::{Candidate, NAME, RENEW_DEADLINE, RETRY},
};
use crate::{health::Health, metrics::LEADER, retry::spread};

/// The gate of `/readyz` that opens when it is known who leads.
pub const GATE: &str = "lease";
/// For one request, so that two fit before the renewal's deadline.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);

/// The lease was held, and is no more.
#[derive(Debug, thiserror::Error)]
#[error(
    "the lease {NAME} was not renewed in time or was taken away, so another operator may lead: this one ends, and stands by when it is started again"
)]
pub struct Lost;

/// A request about the lease that failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("no answer within {} s", REQUEST_DEADLINE.as_secs())]
    Late,
    #[error(transparent)]
    Request(#[from] kube::Error),
}

/// One that may lead.
pub struct Standing {
    /// Not one that needs the mandate.
    pub client: Client,
    /// Where the Lease is.
    pub namespace: String,
    /// No other that runs has it.
    pub identity: String,
    /// What is given and taken.
    pub mandate: Mandate,
    /// Whose gate is opened while it stands by.
    pub health: Health,
    /// The clock on the wall, for people who read the Lease.
    pub now: fn() -> Timestamp,
    /// Randomness in `0.0..=1.0`.
    pub jitter: fn() -> f64,
}

impl Standing {
    /// Stands by until it leads, then does `work`, and releases the lease when that is done. `work` is not begun when
    /// `stop` comes first, and left off when the lease is lost.
    pub async fn lead<E: From<Lost>>(
        self,
        work: impl Future<Output = Result<(), E>>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), E> {
        self.health.close(GATE, "who leads is not known yet");
        let mandate = self.mandate.clone();
        let (done, is_done) = oneshot::channel();
        let keeper = tokio::spawn(self.keep(is_done));
        let led = async {
            tokio::select! {
                () = stop => return Ok(()),
                () = mandate.begun() => {}
            }
            tokio::select! {
                biased;
                () = mandate.ended() => Err(Lost.into()),
                ended = work => ended,
            }
        };
        let ended = led.await;
        // An error means that the keeper has ended, and then there is nothing to give back.
        let _ = done.send(());
        let _ = keeper.await;
        ended
    }

    async fn keep(self, mut done: oneshot::Receiver<()>) {
        LEADER.set(0);
        let mut candidate = Candidate::new(self.identity.clone());
        let mut leader = None;
        loop {
            if let Err(error) = self.round(&mut candidate).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "lease neither read nor renewed");
            }
            let holder = candidate.holder().map(str::to_owned);
            if holder != leader {
                leader = holder;
                tracing::info!(leader, identity = self.identity, "who leads");
            }
            let pause = spread(RETRY, (self.jitter)());
            tokio::select! {
                _ = &mut done => break,
                () = sleep(pause) => {}
            }
        }
        // Nothing more is written from here on, so that another may begin.
        self.mandate.end();
        LEADER.set(0);
        if let Some(lease) = candidate.released((self.now)()) {
            match self.write(&lease).await {
                Ok(_) => tracing::info!(identity = self.identity, "lease released"),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "lease not released");
                }
            }
        }
    }

    /// One look or renewal.
    async fn round(&self, candidate: &mut Candidate) -> Result<(), Failed> {
        if !candidate.holds() {
            self.look(candidate).await?;
        }
        let Some(wanted) = candidate.wanted(Instant::now(), (self.now)()) else {
            // Where it led, somebody else was given the lease.
            self.mandate.end();
            self.health.open(GATE);
            return Ok(());
        };
        // The others count from a later moment: when they see what is written now.
        let sent = Instant::now();
        match self.write(&wanted).await {
            Ok(written) => candidate.saw(Some(written), Instant::now()),
            Err(error) => {
                candidate.doubts();
                self.look(candidate).await?;
                if !candidate.holds() {
                    // Somebody else was given it, who may begin soon.
                    self.mandate.end();
                }
                return Err(error);
            }
        }
        self.mandate.hold(sent + RENEW_DEADLINE);
        LEADER.set(1);
        Ok(())
    }

    async fn look(&self, candidate: &mut Candidate) -> Result<(), Failed> {
        let found = bounded(self.leases().get_opt(NAME)).await?;
        candidate.saw(found, Instant::now());
        Ok(())
    }

    async fn write(&self, lease: &Lease) -> Result<Lease, Failed> {
        let params = PostParams::default();
        match lease.resource_version() {
            Some(_) => bounded(self.leases().replace(NAME, &params, lease)).await,
            None => bounded(self.leases().create(&params, lease)).await,
        }
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

async fn bounded<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failed> {
    timeout(REQUEST_DEADLINE, request).await.map_err(|_| Failed::Late)?.map_err(Failed::from)
}

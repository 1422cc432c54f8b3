#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "IO: starts everything; the only reader of the clock")]
//! The two commands, from their options to the last task that ends.

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;

use crate::{
    api,
    args::{RegistryAuth, Run},
    cluster::{self, Background, Cluster, Watched},
    environment,
    git::{Git, Limits, UrlPolicy},
    health::Health,
    http, metrics,
    platform::{Platform, Settings},
    policies,
    registry::{
        accounts::{AccountKey, Generations},
        client::{RegistryClient, RegistryEndpoint},
        service::{TokenMetrics, TokenService, router},
        token::{TokenSettings, TokenSigner},
    },
    runtime, service, source, tenant,
};

/// How long a registry token lives.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);
/// Between two looks for what is missing at the start.
const START_INTERVAL: Duration = Duration::from_secs(2);
/// Between two proofs that the admission policies enforce.
const POLICY_INTERVAL: Duration = Duration::from_secs(300);

/// Why a command ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file that an option names.
    #[error("cannot read {path}")]
    File {
        /// As the option says.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The accounts key.
    #[error("--accounts-key-file")]
    Accounts(#[source] crate::registry::accounts::WeakKey),
    /// Settings of the registry.
    #[error(transparent)]
    Registry(#[from] crate::registry::client::RegistryError),
    /// Signing key or certificate.
    #[error(transparent)]
    Token(#[from] crate::registry::token::TokenError),
    /// Directory of the mirrors.
    #[error(transparent)]
    Git(#[from] crate::git::GitError),
    /// The API server.
    #[error(transparent)]
    Connect(#[from] cluster::ConnectError),
    /// The HTTP server.
    #[error(transparent)]
    Serve(#[from] http::ServeError),
    /// A metric of the token service.
    #[error("metrics")]
    Metrics(#[from] prometheus::Error),
}

/// `imaas-operator registry-auth`: serves tokens until `stop`.
pub async fn registry_auth(options: RegistryAuth, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), RunError> {
    let settings = TokenSettings { issuer: options.issuer, service: options.service, lifetime: TOKEN_LIFETIME };
    let service = TokenService {
        key: accounts_key(&options.accounts_key_file)?,
        generations: Generations::default(),
        signer: TokenSigner::new(&read(&options.signing_key_file)?, &read(&options.signing_cert_file)?, settings)?,
        now: Timestamp::now,
        metrics: TokenMetrics::new(metrics::registry())?,
    };
    tracing::info!(listen = %options.listen, "serving tokens");
    Ok(http::serve(options.listen, Health::default(), router(Arc::new(service)), stop).await?)
}

/// `imaas-operator run`: reconciles until `stop`, then finishes what is under way.
///
/// What is missing in the cluster (kinds, policies) is told by `/readyz` and waited for; it is no reason to end.
pub async fn operator(options: Run, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), RunError> {
    let health = Health::default();
    health.close("start", "watches have not listed yet");
    let (stopping, stopped) = watch::channel(false);
    let server = http::serve(options.listen, health.clone(), axum::Router::new(), told(stopped.clone()));
    let work = work(options, health, stopped);
    let stop = async move {
        stop.await;
        let _ = stopping.send(true);
        // Longer than any pass; the pod's grace period is longer still.
        tokio::time::sleep(Duration::from_secs(25)).await;
        tracing::warn!("not everything under way was finished in time");
    };
    let both = async { tokio::try_join!(async { server.await.map_err(RunError::from) }, work).map(|_| ()) };
    tokio::select! {
        result = both => result,
        () = stop => Ok(()),
    }
}

async fn work(options: Run, health: Health, stopped: watch::Receiver<bool>) -> Result<(), RunError> {
    let client = cluster::connect().await?;
    tokio::select! {
        () = kinds_are_there(&client, &health) => {}
        () = told(stopped.clone()) => return Ok(()),
    }
    let (platform, background, listed) = platform(client, options)?;
    tokio::select! {
        () = listed => health.open("start"),
        () = background => return Ok(()),
        () = told(stopped.clone()) => return Ok(()),
    }
    Ok(())
}

/// Resolves when the operator is to stop.
fn told(mut stopped: watch::Receiver<bool>) -> BoxFuture<'static, ()> {
    async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    }
    .boxed()
}

fn read(path: &Path) -> Result<Vec<u8>, RunError> {
    std::fs::read(path).map_err(|source| RunError::File { path: path.display().to_string(), source })
}

fn accounts_key(path: &Path) -> Result<AccountKey, RunError> {
    AccountKey::new(read(path)?).map_err(RunError::Accounts)
}

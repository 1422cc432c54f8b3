#![expect(clippy::disallowed_types, reason = "IO: makes the client")]
//! The client: bounded requests in flight, and a retry policy of our own, since the library's default may wait
//! for a quarter of an hour.

use std::time::Duration;

use kube::{
    Client, Config,
    client::{ClientBuilder, retry::RetryPolicy},
};
use tower::{buffer::BufferLayer, limit::ConcurrencyLimitLayer, retry::RetryLayer};

use super::fence::Fence;
use crate::lease::Mandate;

/// More in flight makes the API server slower, not faster (measured: 4 at a time 357 objects/s, 32 at a time 233).
const IN_FLIGHT: usize = 8;
/// Longer than any answer of a healthy API server, shorter than anybody's patience.
const READ_TIMEOUT: Duration = Duration::from_secs(305);

/// The cluster cannot be reached at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a service account.
    #[error("no cluster: set KUBECONFIG, or run in a pod with a service account")]
    Config(#[source] kube::config::InferConfigError),
    /// The configuration is there but cannot be used.
    #[error("the cluster's configuration cannot be used")]
    Client(#[source] kube::Error),
    /// A constant of this file is wrong.
    #[error("retry policy")]
    Retry(#[source] kube::client::retry::InvalidBackoff),
}

/// Connects by kubeconfig or, in a pod, by its service account. Nothing is written while `mandate` is not held.
pub async fn connect(mandate: Mandate) -> Result<Client, ConnectError> {
    let mut config = Config::infer().await.map_err(ConnectError::Config)?;
    config.default_retry = false;
    // Watches are ended by the server within 295 s; anything longer is a dead connection.
    config.read_timeout = Some(READ_TIMEOUT);
    let retry = RetryPolicy::new(Duration::from_millis(50), Duration::from_secs(2), 3, true)
        .map_err(ConnectError::Retry)?;
    Ok(ClientBuilder::try_from(config)
        .map_err(ConnectError::Client)?
        .with_layer(&Fence(mandate))
        // The retry clones what is below it, and the plain connection cannot be cloned.
        .with_layer(&BufferLayer::new(1024))
        .with_layer(&RetryLayer::new(retry))
        .with_layer(&ConcurrencyLimitLayer::new(IN_FLIGHT))
        .build())
}

//! IO: the one small HTTP server: `/livez`, `/readyz`, `/metrics`, and what a subcommand adds to it.

use std::{future::Future, net::SocketAddr};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::net::TcpListener;

use crate::health::Health;

/// The server could not start or broke.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve on {address}: is the port taken?")]
pub struct ServeError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Serves `routes` and the three paths above on `address` until `shutdown`; what is under way is finished.
pub async fn serve(
    address: SocketAddr,
    health: Health,
    routes: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let failed = |source| ServeError { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let app = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(|| async { crate::metrics::text() }))
        .with_state(health)
        .merge(routes);
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await.map_err(failed)
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    let problems = health.problems();
    if problems.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n")
    }
}

//! What every stage is given: the cluster, the shared watches, Git, the registry, the settings and the clock.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    api::{Environment, IntegrationRuntime, IntegrationService, Release, Tenant, TenantSource},
    cluster::{Cluster, Watched},
};

/// Set once at start, from the command line.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's own namespace.
    pub namespace: String,
    /// Name of its ServiceAccount there.
    pub service_account: String,
    /// The registry as images name it, such as `registry.example.com` or `registry.imaas.lab:5000`.
    pub registry_host: String,
    /// How often a service repository is looked at.
    pub interval: Duration,
    /// Plain `http` is accepted for repositories and the registry.
    pub development: bool,
}

/// Shared by all stages. Cheap to clone.
#[derive(Clone)]
pub struct Platform {
    /// Writes and the watches of children.
    pub cluster: Cluster,
    /// Central repositories.
    pub sources: Watched<TenantSource>,
    /// Stages, as the platform team defines them.
    pub environments: Watched<Environment>,
    /// Engines.
    pub runtimes: Watched<IntegrationRuntime>,
    /// Business units.
    pub tenants: Watched<Tenant>,
    /// Their services.
    pub services: Watched<IntegrationService>,
    /// What is or was deployed.
    pub releases: Watched<Release>,
    /// Command line.
    pub settings: Arc<Settings>,
    /// The clock, so that tests own the time.
    pub now: fn() -> Timestamp,
    /// Randomness in `0.0..=1.0`.
    pub jitter: fn() -> f64,
}

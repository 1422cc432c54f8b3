#![expect(clippy::disallowed_types, reason = "IO: starts every watch")]
//! What every stage is given: the cluster, the shared watches, the settings and the clock.

use std::{sync::Arc, time::Duration};

use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use jiff::Timestamp;
use kube::Client;

use crate::{
    api::{
        Environment, IntegrationRuntime, IntegrationService, Release, ReleaseDecision, Tenant, TenantSource,
    },
    cluster::{Background, Cluster, Watched},
    retirement::Periods,
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
    /// Bytes that the configuration of a service may have at a commit.
    pub largest_config: u64,
    /// Services of an environment that get a changed runtime at a time.
    pub runtime_wave: usize,
    /// How long what Git no longer has is kept.
    pub retirement: Periods,
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
    /// What people decided.
    pub decisions: Watched<ReleaseDecision>,
    /// Command line.
    pub settings: Arc<Settings>,
    /// The clock, so that tests own the time.
    pub now: fn() -> Timestamp,
    /// Randomness in `0.0..=1.0`.
    pub jitter: fn() -> f64,
}

impl Platform {
    /// Starts every watch. The first future runs them, the second is done when each has listed once.
    pub fn observe(
        client: Client,
        settings: Settings,
        now: fn() -> Timestamp,
        jitter: fn() -> f64,
    ) -> (Self, Background, BoxFuture<'static, ()>) {
        let (cluster, children, children_listed) = Cluster::observe(client);
        let (sources, sources_watch, sources_listed) = Watched::start(&cluster);
        let (environments, environments_watch, environments_listed) = Watched::start(&cluster);
        let (runtimes, runtimes_watch, runtimes_listed) = Watched::start(&cluster);
        let (tenants, tenants_watch, tenants_listed) = Watched::start(&cluster);
        let (services, services_watch, services_listed) = Watched::start(&cluster);
        let (releases, releases_watch, releases_listed) = Watched::start(&cluster);
        let (decisions, decisions_watch, decisions_listed) = Watched::start(&cluster);
        let settings = Arc::new(settings);
        let platform = Self {
            cluster,
            sources,
            environments,
            runtimes,
            tenants,
            services,
            releases,
            decisions,
            settings,
            now,
            jitter,
        };
        let watches = [
            children,
            sources_watch,
            environments_watch,
            runtimes_watch,
            tenants_watch,
            services_watch,
            releases_watch,
            decisions_watch,
        ];
        let listed = [
            children_listed,
            sources_listed,
            environments_listed,
            runtimes_listed,
            tenants_listed,
            services_listed,
            releases_listed,
            decisions_listed,
        ];
        (platform, join_all(watches).map(drop).boxed(), join_all(listed).map(drop).boxed())
    }
}

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "IO: starts everything; the only reader of the clock"
)]
//! The commands, from their options to the last task that ends.

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::sync::{mpsc, watch};
use url::Url;

use crate::{
    api,
    args::{RegistryAuth, RegistryMode, RegistryWindow, Run, WindowStep},
    cluster, environment,
    git::{Git, Limits, UrlPolicy},
    health::Health,
    http,
    lease::{self, Mandate, Standing},
    metrics,
    platform::{Platform, Settings},
    policies,
    registry::{
        accounts::AccountKey,
        client::{RegistryClient, RegistryEndpoint},
        generations::{Accepted, Issued},
        logins::Logins,
        over_quota::PushStops,
        quota::StorageBounds,
        retain::Retainer,
        retention::{Mode, Retention},
        service::{TokenMetrics, TokenService, router},
        survey::Survey,
        sweep::Sweep,
        token::{LIFETIME, TokenSettings, TokenSigner},
        usages::Usages,
        window::Window,
    },
    retirement::Periods,
    runtime,
    service::{self, commit_status::host::Hosts},
    source, tenant,
    webhook::{self, Hook, Push, Token, WeakToken},
};

/// Between two looks for what is missing at the start.
const START_INTERVAL: Duration = Duration::from_secs(2);

/// Gate: our kinds are served.
const KINDS: &str = "kinds";
/// Gate: every watch has listed.
const STARTED: &str = "start";

/// Pushes that are told and not yet looked at.
const PUSHES: usize = 1024;

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
    /// An accounts key.
    #[error("{path}")]
    Accounts {
        /// As the option says.
        path: String,
        /// What is wrong with it.
        source: crate::registry::accounts::WeakKey,
    },
    /// The registry's token.
    #[error("{path}")]
    EventsToken {
        /// As the option says.
        path: String,
        /// What is wrong with it.
        source: WeakToken,
    },
    /// `--registry-host` is no host.
    #[error("--registry-host")]
    RegistryHost(#[source] url::ParseError),
    /// Settings of the registry.
    #[error(transparent)]
    Registry(#[from] crate::registry::error::RegistryError),
    /// Signing key or certificate.
    #[error(transparent)]
    Token(#[from] crate::registry::token::TokenError),
    /// Directory of the mirrors.
    #[error(transparent)]
    Git(#[from] crate::git::GitError),
    /// Nothing is left to tell this operator from others by.
    #[error("no random identity ({0}): give one by --identity")]
    Identity(getrandom::Error),
    /// Another operator may lead.
    #[error(transparent)]
    Lost(#[from] lease::Lost),
    /// The API server.
    #[error(transparent)]
    Connect(#[from] cluster::ConnectError),
    /// The registry's read-only window.
    #[error(transparent)]
    Window(#[from] crate::registry::window::WindowError),
    /// The registry is writable again, but nothing was freed.
    #[error("garbage was not collected; the log of the container `collect` says why")]
    Collect,
    /// The HTTP server.
    #[error(transparent)]
    Serve(#[from] http::ServeError),
    /// A metric of the token service.
    #[error("metrics")]
    Metrics(#[from] prometheus::Error),
}

/// `imaas-operator registry-auth`: serves tokens until `stop`.
pub async fn registry_auth(
    options: RegistryAuth,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let settings = TokenSettings { issuer: options.issuer, service: options.service, lifetime: LIFETIME };
    let accepted = Accepted {
        key: accounts_key(&options.accounts_key_file)?,
        overlap_key: options.accounts_overlap_key_file.as_deref().map_or(Ok(None), overlap_key)?,
        lowest: options.lowest_generation,
    };
    let has_overlap_key = accepted.overlap_key.is_some();
    let service = TokenService {
        accepted,
        stops: PushStops::new(options.over_quota_file),
        signer: TokenSigner::new(
            &read(&options.signing_key_file)?,
            &read(&options.signing_cert_file)?,
            settings,
        )?,
        now: Timestamp::now,
        metrics: TokenMetrics::new(metrics::registry())?,
    };
    tracing::info!(listen = %options.listen, has_overlap_key, "serving tokens");
    let service = Arc::new(service);
    let serving = http::serve(options.listen, Health::default(), router(service.clone()), stop);
    tokio::select! {
        served = serving => Ok(served?),
        () = service.stops.follow() => Ok(()),
    }
}

/// `imaas-operator registry-window`: one end of the window in which the registry is read-only.
pub async fn registry_window(options: RegistryWindow) -> Result<(), RunError> {
    let RegistryWindow { step, namespace, deployment, container, deadline, failed_file } = options;
    let client = cluster::connect(Mandate::unlimited()).await?;
    let window = Window { namespace, deployment, container, deadline };
    match step {
        WindowStep::Open => window.open(&client).await?,
        WindowStep::Close => window.close(&client).await?,
    }
    if failed_file.is_some_and(|file| file.exists()) { Err(RunError::Collect) } else { Ok(()) }
}

/// `imaas-operator run`: stands by until it leads, reconciles until `stop`, then finishes what is under way.
///
/// What is missing in the cluster (kinds, policies) is told by `/readyz` and waited for; it is no reason to end.
pub async fn operator(options: Run, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), RunError> {
    let (health, mandate) = (Health::default(), Mandate::default());
    health.close(KINDS, "not looked for yet");
    let (stopping, stopped) = watch::channel(false);
    let (sender, pushes) = mpsc::channel(PUSHES);
    let routes = hooks(&options, sender, mandate.clone())?;
    let server = http::serve(options.listen, health.clone(), routes, told(stopped.clone()));
    let work = work(options, (health, pushes), mandate, stopped);
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

/// What the registry may tell, where it has a token for it.
fn hooks(options: &Run, pushed: mpsc::Sender<Push>, mandate: Mandate) -> Result<axum::Router, RunError> {
    let Some(file) = &options.registry_events_token_file else { return Ok(axum::Router::new()) };
    let token = Token::new(&read(file)?)
        .map_err(|source| RunError::EventsToken { path: file.display().to_string(), source })?;
    Ok(webhook::router(Hook::new(token, &options.registry_prefix, pushed, mandate)))
}

/// Makes ready, so that what is wrong with the options is told by a standby too; stands by; works while it leads.
async fn work(
    options: Run,
    (health, pushes): (Health, mpsc::Receiver<Push>),
    mandate: Mandate,
    stopped: watch::Receiver<bool>,
) -> Result<(), RunError> {
    let client = cluster::connect(mandate.clone()).await?;
    tokio::select! {
        () = kinds_are_there(&client, &health) => {}
        () = told(stopped.clone()) => return Ok(()),
    }
    let standing = standing(&options, &health, &mandate).await?;
    let logins = match (options.registry_mode, &options.accounts_key_file) {
        (RegistryMode::Managed, Some(file)) => {
            Some(Issued { key: accounts_key(file)?, generations: options.current_generation.clone() })
        }
        _ => None,
    };
    let urls =
        UrlPolicy { development: options.development, allowed_hosts: options.allowed_git_hosts.clone() };
    // The rest is for indexes, and for what the file system itself takes.
    let limits = Limits { mirrors_bytes: options.data_size / 4 * 3, ..Limits::default() };
    let git = Arc::new(Git::new(&options.data_dir, urls.clone(), limits, mandate.clone())?);
    let (platform, background, listed) =
        Platform::observe(client, settings(&options), Timestamp::now, jitter);
    let registry = Arc::new(registry(&options, logins.clone(), &platform, mandate)?);
    let usages = if logins.is_some() { Usages::counted() } else { Usages::never() };
    let watches = async {
        tokio::select! {
            () = background => {}
            () = told(stopped.clone()) => {}
        }
    };
    let stages = async {
        tokio::select! {
            () = listed => {}
            () = told(stopped.clone()) => return,
        }
        health.open(STARTED);
        tracing::info!("the cluster is known; reconciling");
        let proof = policies::Policies::new(health.clone());
        let sources = Arc::new(source::Sources::new(platform.clone(), git.clone(), urls.clone()));
        let deletes_images = deletes_images(&options);
        let images = deletes_images.then(|| registry.clone());
        let of_tenants = tenant::Registry { logins, usages: usages.clone(), images };
        let tenants = Arc::new(tenant::Context::new(platform.clone(), proof.clone(), of_tenants));
        let sweep = swept(&options, platform.clone(), (registry.clone(), usages), stopped.clone());
        let statuses = Hosts(options.commit_status.clone());
        let origins = service::poll::Origins { git: git.clone(), registry, deletes_images, urls, statuses };
        // Push notifications of Git hosts will come this way.
        let wake = futures::stream::pending().boxed();
        futures::join!(
            proof.clone().run(platform.cluster.clone(), (*platform.settings).clone(), told(stopped.clone())),
            environment::run::run(platform.clone(), told(stopped.clone())),
            runtime::run::run(platform.clone(), told(stopped.clone())),
            source::run(sources, wake, told(stopped.clone())),
            tenant::run(tenants, told(stopped.clone())),
            service::run::run(platform.clone(), (origins, pushes), proof.clone(), told(stopped.clone())),
            git.tidy(told(stopped.clone())),
            sweep,
        );
    };
    // No watch is open before: nothing that the leader knows is older than its lease.
    let leading = Box::pin(async {
        health.close(STARTED, "the cluster was not listed yet");
        health.open(lease::GATE);
        futures::join!(watches, stages);
        Ok(())
    });
    standing.lead(leading, told(stopped.clone())).await
}

async fn standing(options: &Run, health: &Health, mandate: &Mandate) -> Result<Standing, RunError> {
    Ok(Standing {
        client: cluster::connect(Mandate::unlimited()).await?,
        namespace: options.namespace.clone(),
        identity: options.identity.clone().map_or_else(random_identity, Ok)?,
        mandate: mandate.clone(),
        health: health.clone(),
        now: Timestamp::now,
        jitter,
    })
}

/// Waits until the API server knows every kind; says meanwhile which it does not.
async fn kinds_are_there(client: &Client, health: &Health) {
    loop {
        let served = match client.list_api_group_resources(api::API_VERSION).await {
            Ok(list) => list.resources.into_iter().map(|resource| resource.name).collect(),
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the API server does not answer");
                health.close(KINDS, "the API server does not answer");
                tokio::time::sleep(START_INTERVAL).await;
                continue;
            }
        };
        let missing: Vec<String> = api::crds()
            .iter()
            .filter(|kind| !served.contains(&kind.spec.names.plural))
            .filter_map(|kind| kind.metadata.name.clone())
            .collect();
        if missing.is_empty() {
            health.open(KINDS);
            return;
        }
        let message = format!("missing: {}; install the chart's crds/", missing.join(", "));
        tracing::warn!(message, "waiting for kinds");
        health.close(KINDS, message);
        tokio::time::sleep(START_INTERVAL).await;
    }
}

fn settings(options: &Run) -> Settings {
    Settings {
        namespace: options.namespace.clone(),
        service_account: options.service_account.clone(),
        registry_host: image_host(options),
        interval: options.interval,
        largest_config: options.largest_config,
        runtime_wave: options.runtime_wave,
        retirement: Periods { orphaned: options.orphaned_for, retiring: options.retiring_for },
        development: options.development,
    }
}

/// What stands before the tenant in image names.
fn image_host(options: &Run) -> String {
    match (options.registry_mode, options.registry_prefix.as_str()) {
        (RegistryMode::External, prefix) if !prefix.is_empty() => {
            format!("{}/{prefix}", options.registry_host)
        }
        _ => options.registry_host.clone(),
    }
}

fn registry(
    options: &Run,
    logins: Option<Issued>,
    platform: &Platform,
    mandate: Mandate,
) -> Result<RegistryClient, RunError> {
    let url = match &options.registry_url {
        Some(url) => url.clone(),
        None => Url::parse(&format!("https://{}", options.registry_host)).map_err(RunError::RegistryHost)?,
    };
    let endpoint = RegistryEndpoint {
        // No registry sends to itself for a token, so without a realm there are none.
        realm: options.registry_realm.clone().unwrap_or_else(|| url.clone()),
        url,
        ca: options.registry_ca_file.as_deref().map(read).transpose()?,
        development: options.development,
    };
    if let Some(issued) = logins {
        return Ok(RegistryClient::new(endpoint, issued, mandate)?);
    }
    let logins = Logins::Secrets { cluster: platform.cluster.clone(), host: options.registry_host.clone() };
    Ok(RegistryClient::external(endpoint, logins, &options.registry_prefix)?)
}

/// A dry run is retention's: it judges what nothing needs any more, and of a service that is gone nobody has to judge.
fn deletes_images(options: &Run) -> bool {
    options.registry_mode == RegistryMode::Managed && options.registry_retention != Mode::Off
}

/// Counts until `stopped`; not where the registry is somebody else's.
async fn swept(
    options: &Run,
    platform: Platform,
    (registry, usages): (Arc<RegistryClient>, Usages),
    stopped: watch::Receiver<bool>,
) {
    if options.registry_mode == RegistryMode::External {
        return;
    }
    let bounds =
        StorageBounds { default: options.registry_quota.clone(), max: options.registry_quota_max.clone() };
    let after = SignedDuration::try_from(options.registry_retention_after).unwrap_or(SignedDuration::MAX);
    let retainer = Retainer::new(Retention { mode: options.registry_retention, after });
    let interval = options.registry_interval;
    let sweep = Sweep { platform, survey: Survey::new(registry), usages, bounds, retainer, interval };
    sweep.run(told(stopped)).await;
}

/// Randomness in `0.0..=1.0`. Without it, nothing is spread but everything still runs.
fn jitter() -> f64 {
    f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX)
}

/// By which others are told from this operator.
fn random_identity() -> Result<String, RunError> {
    getrandom::u64().map(|number| format!("{number:016x}")).map_err(RunError::Identity)
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

/// Without the line end that an editor leaves: both commands must see the same key.
fn accounts_key(path: &Path) -> Result<AccountKey, RunError> {
    AccountKey::new(read(path)?.trim_ascii_end())
        .map_err(|source| RunError::Accounts { path: path.display().to_string(), source })
}

/// `None` where there is no such file: no key is being exchanged.
fn overlap_key(path: &Path) -> Result<Option<AccountKey>, RunError> {
    match accounts_key(path) {
        Err(RunError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        key => key.map(Some),
    }
}

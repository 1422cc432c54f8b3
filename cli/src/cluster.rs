#![expect(
    clippy::disallowed_types,
    reason = "IO: reads the platform's definitions and the Tenants of a cluster"
)]
//! IO: the cluster of the current kubeconfig context. Reads only, and only kinds of `imaas.dev`.

use std::{fmt::Debug, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use imaas_operator::api::{Environment, IntegrationRuntime, Tenant, TenantSource};
use kube::{
    Api, Client, Config, Resource,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;

use crate::platform::Platform;

/// Longer than any answer of a healthy API server, shorter than anybody's patience.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a cluster has.
#[derive(Debug)]
pub struct Live {
    /// The platform's definitions.
    pub platform: Platform,
    /// All of them, of whatever origin.
    pub tenants: Vec<Arc<Tenant>>,
    /// The central repositories.
    pub sources: Vec<TenantSource>,
}

/// The platform's definitions.
pub fn platform(context: Option<&str>) -> Result<Platform> {
    block_on(async { definitions(&connect(context).await?).await })
}

/// Everything that a plan needs.
pub fn live(context: Option<&str>) -> Result<Live> {
    block_on(async {
        let client = connect(context).await?;
        let platform = definitions(&client).await?;
        let tenants = list::<Tenant>(&client).await?.into_iter().map(Arc::new).collect();
        Ok(Live { platform, tenants, sources: list(&client).await? })
    })
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

async fn definitions(client: &Client) -> Result<Platform> {
    let environments: Vec<Environment> = list(client).await?;
    let runtimes: Vec<IntegrationRuntime> = list(client).await?;
    Ok(Platform { environments, runtimes, from: Some("the cluster".to_owned()) })
}

async fn connect(context: Option<&str>) -> Result<Client> {
    let none = || "no cluster: set KUBECONFIG or name a context of it with --context".to_owned();
    let mut config = match context {
        None => Config::infer().await.with_context(none)?,
        Some(name) => {
            let options =
                KubeConfigOptions { context: Some(name.to_owned()), ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(Kubeconfig::read().with_context(none)?, &options)
                .await
                .with_context(|| format!("the kubeconfig's context {name:?} cannot be used"))?
        }
    };
    config.default_retry = false;
    config.connect_timeout = Some(PATIENCE);
    config.read_timeout = Some(PATIENCE);
    Client::try_from(config).context("the kubeconfig cannot be used")
}

async fn list<K>(client: &Client) -> Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let found = Api::<K>::all(client.clone()).list(&ListParams::default()).await.with_context(|| {
        let kind = K::plural(&());
        format!(
            "cannot list {kind}.imaas.dev: the operator's chart must be installed there, and you need the right to list them (the platform team has it); without it, ask for a platform.yaml and use --platform"
        )
    })?;
    Ok(found.items)
}

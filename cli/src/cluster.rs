#![expect(
    clippy::disallowed_types,
    reason = "IO: reads the platform's definitions and the Tenants of a cluster, and adopts namespaces"
)]
//! IO: the cluster of the current kubeconfig context. Reads kinds of `imaas.dev`; `adopt` also reads namespaces, and changes
//! whose they are. What is about releases is in `release/home.rs`.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use imaas_operator::{
    api::{Environment, IntegrationRuntime, IntegrationService, Release, Tenant, TenantSource},
    names::{HOME, environment_namespace},
};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::Namespace,
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

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
    /// What the tenants have, and what runs of it or ran; why not, for whom it is not to be seen.
    pub running: Result<(Vec<IntegrationService>, Vec<Release>)>,
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
        let sources = list(&client).await?;
        let running = async { Ok((list(&client).await?, list(&client).await?)) }.await;
        Ok(Live { platform, tenants, sources, running })
    })
}

/// What an adoption looks at.
pub struct Adoption {
    /// The tenant.
    pub tenant: Tenant,
    /// Namespaces that are, by their names, its home or one of its environments.
    pub namespaces: Vec<Namespace>,
    /// Has the user the right to adopt?
    pub may_adopt: bool,
}

/// Everything that an adoption needs.
pub fn adoption(context: Option<&str>, tenant: &str) -> Result<Adoption> {
    block_on(async {
        let client = connect(context).await?;
        let found =
            Api::<Tenant>::all(client.clone()).get_opt(tenant).await.context("cannot read the Tenant")?;
        let tenant = found.with_context(|| {
            format!(
                "there is no Tenant {tenant:?}: restore it, or let its TenantSource make it, and then adopt"
            )
        })?;
        let environments: Vec<Environment> = list(&client).await?;
        let known =
            tenant.status.iter().flat_map(|status| status.environments.iter().map(|one| one.name.clone()));
        let names: BTreeSet<String> =
            environments.iter().map(ResourceExt::name_any).chain(known).chain([HOME.to_owned()]).collect();
        let mut namespaces = Vec::new();
        for name in names {
            let name = environment_namespace(&tenant.name_any(), &name);
            let found = Api::<Namespace>::all(client.clone()).get_opt(&name).await;
            namespaces.extend(found.with_context(|| format!("cannot read namespace {name}"))?);
        }
        let may_adopt = may_adopt(&client).await?;
        Ok(Adoption { tenant, namespaces, may_adopt })
    })
}

async fn may_adopt(client: &Client) -> Result<bool> {
    let resource = ResourceAttributes {
        group: Some("imaas.dev".to_owned()),
        resource: Some("tenants".to_owned()),
        verb: Some("adopt".to_owned()),
        ..ResourceAttributes::default()
    };
    let spec =
        SelfSubjectAccessReviewSpec { resource_attributes: Some(resource), non_resource_attributes: None };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer =
        Api::<SelfSubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await;
    let answer = answer.context("cannot ask the API server whether you may adopt")?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// Changes namespaces as they were read.
pub fn adopt(context: Option<&str>, changes: &[(&Namespace, Value)]) -> Result<()> {
    block_on(async {
        let client = connect(context).await?;
        for (namespace, change) in changes {
            let (name, mut change) = (namespace.name_any(), change.clone());
            change["metadata"]["resourceVersion"] = json!(namespace.resource_version());
            let patched = Api::<Namespace>::all(client.clone())
                .patch(&name, &PatchParams::default(), &Patch::Merge(&change))
                .await;
            patched.with_context(|| format!("namespace {name} is not adopted"))?;
        }
        Ok(())
    })
}

/// Waits for `work`.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

async fn definitions(client: &Client) -> Result<Platform> {
    let environments: Vec<Environment> = list(client).await?;
    let runtimes: Vec<IntegrationRuntime> = list(client).await?;
    Ok(Platform::of(environments, runtimes, "the cluster"))
}

async fn connect(context: Option<&str>) -> Result<Client> {
    Ok(connect_to(context).await?.0)
}

/// A client, and the namespace that the context names.
pub async fn connect_to(context: Option<&str>) -> Result<(Client, String)> {
    let none = || "no cluster: set KUBECONFIG or name a context of it with --context".to_owned();
    let mut config = match context {
        // Who is not in a pod wants to hear what is wrong with the kubeconfig.
        None => match Config::from_kubeconfig(&KubeConfigOptions::default()).await {
            Ok(config) => config,
            Err(error) => Config::incluster().map_err(|_| error).with_context(none)?,
        },
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
    let namespace = config.default_namespace.clone();
    Ok((Client::try_from(config).context("the kubeconfig cannot be used")?, namespace))
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

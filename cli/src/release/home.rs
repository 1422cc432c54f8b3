#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "IO: reads a tenant's home namespace and makes decisions in it, some of which end at a time"
)]
//! IO: a tenant's home namespace, in the cluster of a kubeconfig context.

use std::{fmt::Debug, time::Duration};

use anyhow::{Context, Result, bail};
use imaas_operator::{
    api::{IntegrationService, Release, ReleaseDecision, Tenant, integration_service::EnvironmentState},
    names::{environment_namespace, home_namespace, tenant_of_home},
    tenant::validate::unknown,
};
use jiff::Timestamp;
use k8s_openapi::{NamespaceResourceScope, api::authentication::v1::SelfSubjectReview};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, PostParams},
};
use serde::de::DeserializeOwned;

use super::args;
use crate::cluster;

/// Between two looks for an answer.
const PAUSE: Duration = Duration::from_millis(200);

/// The clock.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A tenant's home.
pub struct Home {
    client: Client,
    /// Its namespace.
    pub namespace: String,
}

impl Home {
    /// As the options say, else as the kubeconfig context does. Of a tenant that is not to be seen nothing is known here.
    pub async fn open(options: &args::Home) -> Result<Self> {
        let (client, default) = cluster::connect_to(options.context.as_deref()).await?;
        let namespace = options.namespace.as_ref().unwrap_or(&default);
        let namespace = match &options.tenant {
            Some(tenant) => home_namespace(tenant),
            None => home_of(namespace).with_context(|| {
                format!("{namespace} is no namespace of a tenant: say --tenant NAME, or -n NAME-home")
            })?,
        };
        let (name, tenants) =
            (tenant_of_home(&namespace).unwrap_or_default(), Api::<Tenant>::all(client.clone()));
        if let Ok(None) = tenants.get_opt(name).await {
            let Ok(seen) = tenants.list(&ListParams::default()).await else {
                bail!("there is no Tenant {name:?}")
            };
            let names: Vec<_> = seen.iter().map(ResourceExt::name_any).collect();
            bail!(unknown("Tenant", name, names.iter().map(String::as_str)));
        }
        Ok(Self { client, namespace })
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The service of this name.
    pub async fn service(&self, name: &str) -> Result<IntegrationService> {
        if let Some(service) = self.found(name).await? {
            return Ok(service);
        }
        let all: Vec<IntegrationService> = self.all().await?;
        let names: Vec<_> = all.iter().map(ResourceExt::name_any).collect();
        let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        bail!("there is no service {name:?} in {}: it has {has}", self.namespace)
    }

    /// The release of this name.
    pub async fn release(&self, name: &str) -> Result<Release> {
        let missing =
            || format!("there is no release {name:?} in {}: see kubectl imaas history", self.namespace);
        self.found(name).await?.with_context(missing)
    }

    /// The object of this name, where there is one.
    pub async fn found<K>(&self, name: &str) -> Result<Option<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let found = self.api::<K>().get_opt(name).await;
        found.with_context(|| format!("cannot read {name} in {}", self.namespace))
    }

    /// All of a kind.
    pub async fn all<K>(&self) -> Result<Vec<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let found = self.api::<K>().list(&ListParams::default()).await;
        let cannot = || format!("cannot list {}.imaas.dev in {}", K::plural(&()), self.namespace);
        Ok(found.with_context(cannot)?.items)
    }

    /// All of a kind with these labels in one of the tenant's environments.
    pub async fn all_in<K>(&self, environment: &str, labels: &str) -> Result<Vec<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let tenant = tenant_of_home(&self.namespace).unwrap_or_default();
        let namespace = environment_namespace(tenant, environment);
        let api = Api::<K>::namespaced(self.client.clone(), &namespace);
        let found = api.list(&ListParams::default().labels(labels)).await;
        Ok(found.with_context(|| format!("cannot list {} in {namespace}", K::plural(&())))?.items)
    }

    /// Whom the cluster takes the user for.
    pub async fn user(&self) -> Result<String> {
        let review = SelfSubjectReview::default();
        let api = Api::<SelfSubjectReview>::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await.context("cannot ask who you are")?;
        let user = answer.status.and_then(|status| status.user_info).and_then(|user| user.username);
        user.context("the cluster does not say who you are")
    }

    /// Where the service stands in the environment, as soon as the operator tells it without this decision; nothing where it
    /// does not in time.
    pub async fn board_without(
        &self,
        decision: &str,
        (service, environment): (&str, &str),
        patience: Duration,
    ) -> Result<Option<EnvironmentState>> {
        let end = tokio::time::Instant::now() + patience;
        loop {
            let states = self.service(service).await?.status.unwrap_or_default().environments;
            let state = states.into_iter().find(|state| state.name == environment).unwrap_or_default();
            if !state.held.iter().any(|held| held.decision == decision) {
                return Ok(Some(state));
            }
            if tokio::time::Instant::now() >= end {
                return Ok(None);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Makes it, and waits for the operator's answer. The decision without one, where there is none in time.
    pub async fn decide(&self, decision: &ReleaseDecision, patience: Duration) -> Result<ReleaseDecision> {
        let api = self.api::<ReleaseDecision>();
        let mut made =
            api.create(&PostParams::default(), decision).await.context("the decision is not taken")?;
        let end = tokio::time::Instant::now() + patience;
        while made.status.as_ref().is_none_or(|status| status.state.is_none())
            && tokio::time::Instant::now() < end
        {
            tokio::time::sleep(PAUSE).await;
            made =
                api.get(&made.name_any()).await.context("the decision is made; its answer cannot be read")?;
        }
        Ok(made)
    }
}

/// The home of the tenant that a namespace is of, by its name.
fn home_of(namespace: &str) -> Option<String> {
    let environment_of = || namespace.rsplit_once('-').map(|(tenant, _)| tenant);
    tenant_of_home(namespace).or_else(environment_of).map(home_namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_namespace_of_a_tenant_leads_home() {
        for (namespace, home) in
            [("acme-home", Some("acme-home")), ("acme-eu-prod", Some("acme-eu-home")), ("default", None)]
        {
            assert_eq!(home_of(namespace).as_deref(), home);
        }
    }
}

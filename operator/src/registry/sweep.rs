#![expect(clippy::disallowed_types, reason = "IO: writes the one ConfigMap that the token service reads")]
//! Counts the images of all tenants, now and then, and tells: the tenants' statuses, the metrics, the token service. What
//! nothing needs goes by the way.
//!
//! A tenant that cannot be counted stays as it was counted last, and holds up no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};

use super::{
    catalog::Names,
    digest::Digest,
    error::RegistryError,
    quota::{OverQuota, StorageBounds},
    retain::{RetainError, Retainer},
    survey::Survey,
    usage::{Cut, rounded},
    usages::Usages,
};
use crate::{
    api::{Quantity, RegistryUsage, Release, Tenant},
    conditions::Reason,
    metrics::{REGISTRY_BYTES, REGISTRY_QUOTA, REGISTRY_REMOVABLE, REGISTRY_SWEEPS},
    names,
    platform::Platform,
};

/// Looks at the registry, again and again.
pub struct Sweep {
    /// Which tenants and releases there are.
    pub platform: Platform,
    /// Asks the registry.
    pub survey: Survey,
    /// Where the counts go.
    pub usages: Usages,
    /// What a tenant may have.
    pub bounds: StorageBounds,
    /// What goes.
    pub retainer: Retainer,
    /// From the end of one look to the next.
    pub interval: Duration,
}

/// By repository, what releases name.
type Named = BTreeMap<String, BTreeSet<Digest>>;

impl Sweep {
    /// Until `shutdown` resolves; a look that is under way then is not finished.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let forever = async {
            loop {
                let outcome = self.once().await;
                let reason = outcome.as_ref().map_or_else(RegistryError::reason, |()| Reason::Succeeded);
                REGISTRY_SWEEPS.with_label_values(&[reason.as_str()]).inc();
                if let Err(error) = outcome {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the registry's images are not counted; tried again");
                }
                tokio::time::sleep(self.interval).await;
            }
        };
        tokio::select! {
            () = forever => {}
            () = shutdown => {}
        }
    }

    /// One look at everything.
    pub async fn once(&self) -> Result<(), RegistryError> {
        let mut areas = self.survey.registry().repositories().await?;
        let mut named = named(&self.platform.releases.all());
        let tenants = self.platform.tenants.all();
        let mut over = OverQuota::default();
        let mut first = Ok(());
        for tenant in &tenants {
            let name = tenant.name_any();
            let (repositories, named) =
                (areas.remove(&name).unwrap_or_default(), named.remove(&name).unwrap_or_default());
            match self.tenant(tenant, &repositories, &named).await {
                Ok(usage) => {
                    over.add(&name, &usage);
                    self.usages.set(&name, usage);
                }
                Err(error) => {
                    let problem = &error as &dyn std::error::Error;
                    tracing::warn!(tenant = name, error = problem, "images not counted; as before");
                    let before = tenant.status.as_ref().and_then(|status| status.registry.as_ref());
                    if let Some(before) = self.usages.of(&name, before) {
                        over.add(&name, &before);
                    }
                    first = first.and(Err(error));
                }
            }
        }
        self.survey.forget_unseen();
        for gone in self.usages.keep(|name| tenants.iter().any(|tenant| tenant.name_any() == name)) {
            let _ =
                (REGISTRY_BYTES.remove_label_values(&[&gone]), REGISTRY_QUOTA.remove_label_values(&[&gone]));
        }
        let removable = self.usages.sum(|usage| usage.removable.as_ref());
        REGISTRY_REMOVABLE.set(removable);
        self.publish(&over).await;
        first
    }

    async fn tenant(
        &self,
        tenant: &Tenant,
        repositories: &Names,
        named: &Named,
    ) -> Result<RegistryUsage, RegistryError> {
        let name = tenant.name_any();
        let all: BTreeSet<_> = repositories.names.iter().chain(named.keys()).map(String::as_str).collect();
        let mut area = self.survey.area(&name, all, named).await?;
        self.survey.weigh(&name, &mut area).await?;
        if repositories.cut {
            area.cut = Some(Cut::Repositories);
        }
        let counted = area.usage();
        let mut usage = self.bounds.judged(tenant, &counted);
        match self.retainer.retain((&self.platform, &self.survey), tenant, &area).await {
            Ok(removable) => usage.removable = removable.map(rounded),
            Err(RetainError::Record(home, error)) if error.is_forbidden() => {
                tracing::debug!(tenant = name, home, "the right to the record is not in force yet");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(tenant = name, error, "retention did not end; tried again");
            }
        }
        measure(&name, counted.bytes, usage.quota.as_ref());
        tracing::debug!(tenant = name, bytes = counted.bytes, images = counted.images, "images counted");
        Ok(usage)
    }

    /// Says whose pushes are refused, where that is news.
    async fn publish(&self, over: &OverQuota) {
        let Ok(content) = serde_json::to_string(over) else { return };
        let namespace = &self.platform.settings.namespace;
        let maps = Api::<ConfigMap>::namespaced(self.platform.cluster.client(), namespace);
        let written = async {
            let known = maps.get(names::OVER_QUOTA).await?;
            if known.data.is_some_and(|data| data.get(names::OVER_QUOTA_FILE) == Some(&content)) {
                return Ok(());
            }
            let patch = serde_json::json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": names::OVER_QUOTA },
                "data": { names::OVER_QUOTA_FILE: content },
            });
            let params = PatchParams::apply(names::MANAGER).force();
            maps.patch(names::OVER_QUOTA, &params, &Patch::Apply(patch)).await?;
            tracing::info!(tenants = over.len(), "told the token service who is over quota");
            Ok::<_, kube::Error>(())
        };
        if let Err(error) = written.await {
            let error = &error as &dyn std::error::Error;
            let name = names::OVER_QUOTA;
            tracing::error!(namespace, name, error, "who is over quota is not told: is the ConfigMap there?");
        }
    }
}

fn measure(tenant: &str, bytes: u64, quota: Option<&Quantity>) {
    REGISTRY_BYTES.with_label_values(&[tenant]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
    match quota.and_then(Quantity::millis).and_then(|millis| i64::try_from(millis / 1000).ok()) {
        Some(quota) => REGISTRY_QUOTA.with_label_values(&[tenant]).set(quota),
        None => drop(REGISTRY_QUOTA.remove_label_values(&[tenant])),
    }
}

/// By tenant.
fn named(releases: &[Arc<Release>]) -> BTreeMap<String, Named> {
    let mut all: BTreeMap<String, Named> = BTreeMap::new();
    for release in releases {
        let namespace = release.namespace().unwrap_or_default();
        let Some(tenant) = names::tenant_of_home(&namespace) else { continue };
        let Ok(digest) = release.spec.digest.parse() else { continue };
        let repository = format!("{tenant}/{}", release.spec.service);
        all.entry(tenant.to_owned()).or_default().entry(repository).or_default().insert(digest);
    }
    all
}

#![expect(clippy::disallowed_types, reason = "IO: reads afresh what is needed, before anything is deleted")]
//! IO: retention of one tenant's images. Since when an image is not needed is kept in a ConfigMap of the tenant's home, so
//! that a restart changes nothing. Before anything is deleted, what is needed is read from the API server and not from
//! watches; what cannot be read, or does not parse, keeps everything.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        batch::v1::{CronJob, Job},
        core::v1::{ConfigMap, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Resource, ResourceExt, api::ListParams};

use super::{
    digest::Digest,
    error::RegistryError,
    retention::{Mode, Needs, Plan, Retention, Unneeded, plan},
    survey::Survey,
    usage::Area,
};
use crate::{
    api::{IntegrationService, Release, Tenant},
    cluster::{ApplyError, Object, ObjectKey},
    metrics::REGISTRY_DELETED,
    names::{self, home_namespace},
    platform::Platform,
};

/// Objects in one answer: a Release has up to 16 KiB.
const PAGE: u32 = 100;

/// Why nothing, or not all, was deleted.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// The record is not readable or writable.
    #[error("since when images are not needed, in ConfigMap {UNNEEDED} of {0}")]
    Record(String, #[source] ApplyError),
    /// What is needed could not be read.
    #[error("what is needed of {0}'s images could not be read")]
    Needs(String, #[source] kube::Error),
    /// A release without a digest.
    #[error("release {0} names no digest: everything is kept")]
    Unreadable(String),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Name of the record, and of the one entry in it.
const UNNEEDED: &str = "imaas-registry-unneeded";
const UNNEEDED_FILE: &str = "unneeded.json";

/// Retention, with the records of all tenants as they were read or written last.
pub struct Retainer {
    retention: Retention,
    records: Mutex<BTreeMap<String, Unneeded>>,
}

impl Retainer {
    /// As it is set.
    pub fn new(retention: Retention) -> Self {
        Self { retention, records: Mutex::default() }
    }

    /// Deletes what nothing needs of `area`, or says what that would be; none where retention is off. Bytes that are left
    /// to be deleted.
    pub async fn retain(
        &self,
        (platform, survey): (&Platform, &Survey),
        tenant: &Tenant,
        area: &Area,
    ) -> Result<Option<u64>, RetainError> {
        let name = tenant.name_any();
        // Somebody else's home, or none yet: there is no record, so nothing is old enough.
        if self.retention.mode == Mode::Off || !platform.cluster.takes(&home_namespace(&name), &name) {
            return Ok(None);
        }
        let before = self.record(platform, &name).await?;
        let times = ((platform.now)(), self.retention.after);
        let watched = watched(platform, tenant);
        let mut outcome = plan(area, &watched, &before, times);
        if self.retention.mode == Mode::Delete && !outcome.doomed.is_empty() {
            outcome = plan(area, &watched.and(fresh(platform, &name).await?), &before, times);
        }
        let Plan { doomed, bytes, unneeded } = outcome;
        // First what tells the next pass; a deleted image is no longer asked for in it.
        self.keep(platform, &name, &before, unneeded).await?;
        let images: usize = doomed.values().map(Vec::len).sum();
        if self.retention.mode == Mode::DryRun {
            tracing::debug!(tenant = name, images, bytes, ?doomed, "images that retention would delete");
            return Ok(Some(bytes));
        }
        for (repository, digests) in &doomed {
            delete(survey, repository, digests).await?;
        }
        if images > 0 {
            tracing::info!(tenant = name, images, bytes, "images deleted that nothing needs");
        }
        Ok(Some(0))
    }

    async fn record(&self, platform: &Platform, tenant: &str) -> Result<Unneeded, RetainError> {
        if let Some(known) = self.records.lock().unwrap_or_else(PoisonError::into_inner).get(tenant) {
            return Ok(known.clone());
        }
        let home = home_namespace(tenant);
        let key = ObjectKey::named::<ConfigMap>(Some(&home), UNNEEDED);
        let stored = platform.cluster.read::<ConfigMap>(&key).await;
        let stored = stored.map_err(|error| RetainError::Record(home, error))?;
        let content = stored.and_then(|map| map.data?.remove(UNNEEDED_FILE));
        // One that somebody broke is begun anew: everything waits longer.
        Ok(content.and_then(|content| serde_json::from_str(&content).ok()).unwrap_or_default())
    }

    async fn keep(
        &self,
        platform: &Platform,
        tenant: &str,
        before: &Unneeded,
        unneeded: Unneeded,
    ) -> Result<(), RetainError> {
        let (home, cluster) = (home_namespace(tenant), &platform.cluster);
        let written = if *before == unneeded {
            Ok(())
        } else if unneeded == Unneeded::default() && cluster.shows::<ConfigMap>(Some(&home), UNNEEDED) {
            cluster.delete::<ConfigMap>(&home, UNNEEDED).await
        } else {
            cluster.apply(record(tenant, &home, &unneeded)).await.map(drop)
        };
        written.map_err(|error| RetainError::Record(home, error))?;
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.insert(tenant.to_owned(), unneeded);
        Ok(())
    }
}

fn record(tenant: &str, home: &str, unneeded: &Unneeded) -> ConfigMap {
    let content = serde_json::to_string(unneeded).unwrap_or_default();
    let labels =
        [(names::MANAGED_BY, names::MANAGER), (names::TENANT, tenant), (names::ENVIRONMENT, names::HOME)];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(UNNEEDED.to_owned()),
            namespace: Some(home.to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        data: Some([(UNNEEDED_FILE.to_owned(), content)].into()),
        ..ConfigMap::default()
    }
}

/// Deletes these manifests, in this order; how many there were.
pub(super) async fn delete(
    survey: &Survey,
    repository: &str,
    digests: &[Digest],
) -> Result<usize, RegistryError> {
    let mut deleted = 0;
    for digest in digests {
        if survey.registry().delete(repository, digest).await? {
            tracing::info!(repository, %digest, "image deleted");
            REGISTRY_DELETED.inc();
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// As the watches show it.
fn watched(platform: &Platform, tenant: &Tenant) -> Needs {
    let name = tenant.name_any();
    let home = home_namespace(&name);
    let services = platform.services.all_in(&home);
    let mut needs = Needs::default();
    for service in &services {
        add_service(&mut needs, &name, service);
    }
    let releases = platform.releases.all_in(&home);
    needs.digests.extend(releases.iter().filter_map(|release| release.spec.digest.parse().ok()));
    needs
}

/// As the API server has it now.
async fn fresh(platform: &Platform, tenant: &str) -> Result<Needs, RetainError> {
    let client = platform.cluster.client();
    let failed = |error| RetainError::Needs(tenant.to_owned(), error);
    let home = home_namespace(tenant);
    let mut needs = Needs::default();
    let mut problem = None;
    let services = namespaced::<IntegrationService>(platform, &home);
    pages(&services, "", |service| add_service(&mut needs, tenant, &service)).await.map_err(failed)?;
    let releases = namespaced::<Release>(platform, &home);
    let add = |release: Release| match release.spec.digest.parse() {
        Ok(digest) => drop(needs.digests.insert(digest)),
        Err(_) => problem = Some(RetainError::Unreadable(release.name_any())),
    };
    pages(&releases, "", add).await.map_err(failed)?;
    let selector = format!("{}={tenant}", names::TENANT);
    let deployments = Api::<Deployment>::all(client.clone());
    let add = |live: Deployment| needs.digests.extend(images(live.spec.map(|spec| spec.template).as_ref()));
    pages(&deployments, &selector, add).await.map_err(failed)?;
    let cron_jobs = Api::<CronJob>::all(client.clone());
    let add = |live: CronJob| {
        let job = live.spec.and_then(|spec| spec.job_template.spec);
        needs.digests.extend(images(job.map(|job| job.template).as_ref()));
    };
    pages(&cron_jobs, &selector, add).await.map_err(failed)?;
    // Of runs that are not at their end.
    let jobs = Api::<Job>::all(client);
    let add = |live: Job| needs.digests.extend(images(live.spec.map(|spec| spec.template).as_ref()));
    pages(&jobs, &selector, add).await.map_err(failed)?;
    problem.map_or(Ok(needs), Err)
}

fn namespaced<K: Object + Resource<Scope = NamespaceResourceScope>>(
    platform: &Platform,
    namespace: &str,
) -> Api<K> {
    Api::namespaced(platform.cluster.client(), namespace)
}

async fn pages<K: Object>(api: &Api<K>, labels: &str, mut each: impl FnMut(K)) -> Result<(), kube::Error> {
    let mut params = ListParams::default().labels(labels).limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        page.items.into_iter().for_each(&mut each);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(()),
        }
    }
}

/// A service whose repository in Git was never read keeps everything: it is not known what it needs.
fn add_service(needs: &mut Needs, tenant: &str, service: &IntegrationService) {
    let states = service.status.as_ref().map_or(&[][..], |status| &status.environments);
    if states.iter().any(|state| state.commit.is_some()) {
        needs.repositories.insert(format!("{tenant}/{}", service.name_any()));
    }
    for state in states {
        needs.tags.extend(state.commit.iter().chain(&state.tags).cloned());
        // What waits to be let in has no release here yet, and may have no tag that is asked for.
        let images = state.digest.iter().chain(&state.asked);
        needs.digests.extend(images.filter_map(|digest| digest.parse().ok()));
    }
}

/// Digests of the images that pods made by `template` name.
fn images(template: Option<&PodTemplateSpec>) -> impl Iterator<Item = Digest> {
    let pods = template.and_then(|template| template.spec.as_ref());
    let containers =
        pods.into_iter().flat_map(|pods| pods.containers.iter().chain(pods.init_containers.iter().flatten()));
    containers.filter_map(|container| container.image.as_deref()?.rsplit_once('@')?.1.parse().ok())
}

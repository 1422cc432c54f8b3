//! IO: what this run of the operator wrote and saw of each service, which the watches may not show yet, and what it makes
//! again of that.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::{poll::Key, promote::Settled};
use crate::{
    api::{
        IntegrationService, IntegrationServiceStatus, Release, ReleaseDecision, ReleaseDecisionStatus,
        ReleaseStatus,
    },
    cluster::{ApplyError, Cluster},
    release::Trouble,
};

/// Our own last writes, and what was last seen healthy, by service.
#[derive(Default)]
pub struct Written(Mutex<HashMap<Key, Last>>);

/// A look at the pods of a release that is not well.
#[derive(Clone)]
pub(super) struct Look {
    pub release: String,
    pub trouble: Option<Trouble>,
    /// Not before then again.
    pub next: Timestamp,
}

#[derive(Clone, Default)]
pub(super) struct Last {
    /// Of the service: what was written for another of the same name does not count.
    pub uid: Option<String>,
    /// resourceVersion of the service that the status was written over.
    pub over: Option<String>,
    pub status: Option<IntegrationServiceStatus>,
    /// Environment → name of the release that was applied there.
    pub applied: BTreeMap<String, String>,
    /// The releases that run or are to run.
    pub releases: Vec<Arc<Release>>,
    /// What was written of releases, by name.
    pub told: BTreeMap<String, ReleaseStatus>,
    /// What was answered to decisions, by uid.
    pub answered: BTreeMap<String, ReleaseDecisionStatus>,
    /// Environment → the release that runs there, and since when, where it began in this run of the operator.
    pub begun: BTreeMap<String, (String, Timestamp)>,
    /// Environment → since when instances come there where none ran.
    pub woken: BTreeMap<String, Timestamp>,
    /// Environment → since when a deployment that failed there is not made good.
    pub failing: BTreeMap<String, Timestamp>,
    /// Environment → what its pods told, the newest look first.
    pub looks: BTreeMap<String, Vec<Look>>,
    /// Of environments from whose branch another is promoted.
    pub settled: Settled,
}

impl Last {
    /// `decisions` as they were answered last, which the watch may not show yet.
    pub(super) fn as_answered(&mut self, decisions: &mut [Arc<ReleaseDecision>]) {
        let shown: BTreeSet<_> = decisions.iter().filter_map(|decision| decision.uid()).collect();
        self.answered.retain(|uid, _| shown.contains(uid));
        for decision in decisions {
            let uid = decision.uid().unwrap_or_default();
            match self.answered.get(&uid) {
                Some(answer) if decision.status.as_ref() != Some(answer) => {
                    Arc::make_mut(decision).status = Some(answer.clone());
                }
                Some(_) => drop(self.answered.remove(&uid)),
                None => {}
            }
        }
    }

    /// `releases` as they were written last, which the watch may not show yet.
    pub(super) fn as_told(&mut self, releases: &mut [Arc<Release>]) {
        let known: BTreeSet<_> = releases.iter().chain(&self.releases).map(|one| one.name_any()).collect();
        self.told.retain(|name, _| known.contains(name));
        for release in releases {
            let name = release.name_any();
            match self.told.get(&name) {
                Some(told) if release.status.as_ref() != Some(told) => {
                    Arc::make_mut(release).status = Some(told.clone());
                }
                Some(_) => drop(self.told.remove(&name)),
                None => {}
            }
        }
    }

    /// Makes those releases again that somebody removed, as they were: what runs, or is to, may be of a commit that
    /// Git no longer has. One that no watch showed yet is not gone.
    pub(super) async fn remake(&mut self, cluster: &Cluster, stored: &[Arc<Release>]) -> Vec<ApplyError> {
        let mut errors = Vec::new();
        for release in &mut self.releases {
            let name = release.name_any();
            if let Some(stored) = stored.iter().find(|stored| stored.name_any() == name) {
                *release = stored.clone();
                continue;
            }
            if cluster.has_written::<Release>(release.namespace().as_deref(), &name) {
                continue;
            }
            let metadata = ObjectMeta {
                name: release.metadata.name.clone(),
                namespace: release.namespace(),
                labels: release.metadata.labels.clone(),
                ..ObjectMeta::default()
            };
            let mut again = Release { metadata, spec: release.spec.clone(), status: None };
            let status = self.told.get(&name).or(release.status.as_ref()).cloned();
            let status = status.filter(|status| !status.conditions.is_empty());
            match remade(cluster, &again, status.as_ref()).await {
                Ok(()) => {
                    again.status = status;
                    *release = Arc::new(again);
                }
                Err(error) => errors.push(error),
            }
        }
        errors
    }
}

async fn remade(
    cluster: &Cluster,
    release: &Release,
    status: Option<&ReleaseStatus>,
) -> Result<(), ApplyError> {
    cluster.apply(release.clone()).await?;
    match status {
        Some(status) => cluster.write_status(release, status).await,
        None => Ok(()),
    }
}

impl Written {
    pub(super) fn of(&self, key: &Key, service: &IntegrationService) -> Last {
        let last = self.lock().get(key).filter(|last| last.uid == service.uid()).cloned();
        last.unwrap_or_else(|| Last { uid: service.uid(), ..Last::default() })
    }

    pub(super) fn keep(&self, key: Key, last: Last) {
        self.lock().insert(key, last);
    }

    /// Drops what was written for services that are gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

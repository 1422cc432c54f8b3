//! What runs a service in one environment: a Deployment, or of a batch a `CronJob`. Pure.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, batch::v1::CronJob};
use kube::{Resource, ResourceExt};

use crate::names::RELEASE;

/// One of the two.
#[derive(Clone, Debug)]
pub enum Workload {
    /// Of an api or a worker.
    Deployment(Arc<Deployment>),
    /// Of a batch.
    CronJob(Arc<CronJob>),
}

impl Workload {
    /// The one that was made last: while a service becomes a batch, or is one no more, both are there.
    pub fn newest(deployment: Option<Arc<Deployment>>, cron_job: Option<Arc<CronJob>>) -> Option<Self> {
        let all = deployment.map(Self::Deployment).into_iter().chain(cron_job.map(Self::CronJob));
        all.max_by_key(Self::made)
    }

    /// The Deployment, if it is one.
    pub fn deployment(&self) -> Option<&Deployment> {
        match self {
            Self::Deployment(deployment) => Some(deployment),
            Self::CronJob(_) => None,
        }
    }

    /// The `CronJob`, if it is one.
    pub fn cron_job(&self) -> Option<&CronJob> {
        match self {
            Self::Deployment(_) => None,
            Self::CronJob(cron_job) => Some(cron_job),
        }
    }

    /// Its annotations.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Deployment(deployment) => deployment.annotations(),
            Self::CronJob(cron_job) => cron_job.annotations(),
        }
    }

    /// Name of the Release that it was given last.
    pub fn release(&self) -> Option<&String> {
        self.annotations().get(RELEASE)
    }

    /// When it was made.
    pub fn made(&self) -> Option<Timestamp> {
        let meta = match self {
            Self::Deployment(deployment) => deployment.meta(),
            Self::CronJob(cron_job) => cron_job.meta(),
        };
        meta.creation_timestamp.as_ref().map(|at| at.0)
    }
}

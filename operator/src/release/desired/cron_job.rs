//! How the pods of a batch come to run. Pure.

use k8s_openapi::{
    api::batch::v1::{
        CronJob, CronJobSpec, JobSpec, JobTemplateSpec, PodFailurePolicy,
        PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;
use std::collections::BTreeMap;

use super::{Footprint, Target};
use crate::{
    api::{Concurrency, Schedule},
    names::RELEASE,
    release::batch::timeout,
};

/// A run that could not begin within an hour of its time, as while the control plane was down, is left out: at the next
/// time it is due again.
const LATEST_START: i64 = 3600;

/// The `CronJob` of `target`, whose release has this schedule. What runs when the release changes runs on to its end, with
/// what it was begun with.
pub(super) fn cron_job(target: &Target, running: &[Footprint], schedule: &Schedule) -> CronJob {
    let Schedule { cron, time_zone, concurrency, retries, timeout: _, history } = schedule;
    CronJob {
        metadata: super::metadata(target, running),
        spec: Some(CronJobSpec {
            schedule: cron.clone(),
            // Never the clock of a node.
            time_zone: Some(time_zone.clone().unwrap_or_else(|| "Etc/UTC".to_owned())),
            concurrency_policy: Some(policy(*concurrency).to_owned()),
            suspend: Some(target.release.spec.replicas == 0),
            starting_deadline_seconds: Some(LATEST_START),
            successful_jobs_history_limit: Some(i32::from(*history)),
            failed_jobs_history_limit: Some(i32::from(*history)),
            job_template: job(target, (i32::from(*retries), timeout(schedule))),
        }),
        status: None,
    }
}

fn job(target: &Target, (retries, timeout): (i32, Option<i64>)) -> JobTemplateSpec {
    let annotations = BTreeMap::from([(RELEASE.to_owned(), target.release.name_any())]);
    JobTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: target.metadata().labels,
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(JobSpec {
            backoff_limit: Some(retries),
            active_deadline_seconds: timeout,
            // A node that is drained or lost is no failure of the run.
            pod_failure_policy: Some(PodFailurePolicy {
                rules: vec![PodFailurePolicyRule {
                    action: "Ignore".to_owned(),
                    on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                        type_: "DisruptionTarget".to_owned(),
                        status: "True".to_owned(),
                    }]),
                    on_exit_codes: None,
                }],
            }),
            template: target.release.spec.template.clone(),
            ..JobSpec::default()
        }),
    }
}

fn policy(concurrency: Concurrency) -> &'static str {
    match concurrency {
        Concurrency::Forbid => "Forbid",
        Concurrency::Replace => "Replace",
        Concurrency::Allow => "Allow",
    }
}

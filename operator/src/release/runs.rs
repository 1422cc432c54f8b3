//! What became of a release of a batch, as its runs tell: the Jobs that its `CronJob` made. Pure.
//!
//! It is healthy when its last run ended well; before the first has ended, nothing is known of it. What was healthy once
//! and has no run of its own left to tell, after a while with another release, is so still.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::batch::v1::{CronJob, CronJobSpec, Job, JobTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, ResourceExt};

use super::observe::{Observed, Phase};
use crate::{
    api::{Concurrency, Release, Schedule},
    conditions::{FAILED, HEALTHY, is_true},
    cron::Cron,
    names::RELEASE,
};

/// Annotation of a run that no schedule began, with [`ON_DEMAND`], as kubectl writes it.
const INSTANTIATE: &str = "cronjob.kubernetes.io/instantiate";
const ON_DEMAND: &str = "manual";

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// When.
    pub at: Timestamp,
    /// With exit code 0.
    pub is_well: bool,
}

/// Reads `jobs`, all of the service in its environment, as far as they are about `release`.
pub fn observed(cron_job: &CronJob, jobs: &[Arc<Job>], release: &Release, now: Timestamp) -> Observed {
    let desired = release.spec.replicas;
    let name = release.name_any();
    let own = under_way(jobs).filter(|job| is_of(job, &name)).count();
    let outlasting = under_way(jobs).filter(|job| !is_of(job, &name));
    let outlasted = outlasting.min_by_key(|job| begin(job)).map(|run| (run.name_any(), begin(run)));
    let updated = i32::try_from(own).unwrap_or(i32::MAX);
    let is_applied = cron_job.annotations().get(RELEASE) == Some(&name);
    let phase = match (outlasted, last_end(jobs, release)) {
        _ if !is_applied => Phase::RollingOut,
        (Some((run, since)), _) => Phase::Outlasted { run, since },
        _ if desired == 0 && own > 0 => Phase::RollingOut,
        _ if desired == 0 => Phase::Stopped,
        (None, Some(End { is_well: true, .. })) => Phase::Healthy,
        (None, Some(End { is_well: false, .. })) => {
            Phase::Failed { message: "its last run failed".to_owned() }
        }
        (None, None) if ran_well(release) => Phase::Healthy,
        (None, None) if own > 0 => Phase::FirstRun,
        (None, None) => {
            Phase::Scheduled { next: release.spec.schedule.as_ref().and_then(|one| next(one, now)) }
        }
    };
    let ready = i32::from(phase == Phase::Healthy);
    Observed { ready, desired, updated, phase }
}

/// The run `name` of what `cron_job` runs, now: as `kubectl create job --from` makes one.
pub fn on_demand(cron_job: &CronJob, name: &str) -> Job {
    let JobTemplateSpec { metadata, spec } =
        cron_job.spec.as_ref().map(|spec| spec.job_template.clone()).unwrap_or_default();
    let ObjectMeta { labels, annotations, .. } = metadata.unwrap_or_default();
    let annotations =
        annotations.into_iter().flatten().chain([(INSTANTIATE.to_owned(), ON_DEMAND.to_owned())]);
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: cron_job.namespace(),
        labels,
        annotations: Some(annotations.collect()),
        owner_references: cron_job.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    Job { metadata, spec, status: None }
}

/// Runs on demand that go on, of a batch whose schedule replaces what goes on, each with the time at which it is to give way:
/// the `CronJob`'s controller ends its own only.
pub fn replaced<'a>(
    jobs: &'a [Arc<Job>],
    release: &Release,
) -> impl Iterator<Item = (&'a Job, Timestamp)> + use<'a> {
    let schedule = release
        .spec
        .schedule
        .clone()
        .filter(|schedule| schedule.concurrency == Concurrency::Replace && release.spec.replicas > 0);
    let on_demand = under_way(jobs).filter(|job| is_on_demand(job));
    on_demand.filter_map(move |job| Some((job, next(schedule.as_ref()?, begin(job)?)?)))
}

/// `cron_job`, which begins nothing while a run on demand goes on that is to be alone: its controller counts its own only.
pub fn beside(mut cron_job: CronJob, jobs: &[Arc<Job>]) -> CronJob {
    if let Some(spec) = cron_job.spec.as_mut().filter(|spec| !lets_several(spec))
        && under_way(jobs).any(is_on_demand)
    {
        spec.suspend = Some(true);
    }
    cron_job
}

fn is_on_demand(job: &Job) -> bool {
    job.annotations().get(INSTANTIATE).is_some_and(|how| how == ON_DEMAND)
}

/// Those of `jobs` that are not at their end.
pub fn under_way(jobs: &[Arc<Job>]) -> impl Iterator<Item = &Job> {
    jobs.iter().map(AsRef::as_ref).filter(|job| end(job).is_none())
}

/// May a run begin while another goes on?
pub fn lets_several(spec: &CronJobSpec) -> bool {
    spec.concurrency_policy.as_deref() == Some("Allow")
}

/// Since when all runs of `release` that are known ended well, of a batch whose last did.
pub fn well_since(jobs: &[Arc<Job>], release: &Release) -> Option<Timestamp> {
    let ends = ends(jobs, release);
    let failed = ends.iter().filter(|end| !end.is_well).map(|end| end.at).max();
    ends.iter()
        .filter(|end| end.is_well && failed.is_none_or(|failed| failed < end.at))
        .map(|end| end.at)
        .min()
}

/// The run of `release` that failed, where that was its last.
pub fn failed<'a>(jobs: &'a [Arc<Job>], release: &Release) -> Option<&'a Job> {
    let last = last_end(jobs, release).filter(|end| !end.is_well)?;
    jobs.iter().find(|job| is_of(job, &release.name_any()) && end(job) == Some(last)).map(AsRef::as_ref)
}

/// The run of `release` that ended last, however long ago, and how.
pub fn last<'a>(jobs: &'a [Arc<Job>], release: &Release) -> Option<(&'a Job, End)> {
    let name = release.name_any();
    let ended = jobs.iter().filter(|job| is_of(job, &name)).filter_map(|job| Some((job.as_ref(), end(job)?)));
    ended.max_by_key(|(_, end)| end.at)
}

/// A run of `release` that is under way.
pub fn active<'a>(jobs: &'a [Arc<Job>], release: &Release) -> Option<&'a Job> {
    let mut own = jobs.iter().filter(|job| is_of(job, &release.name_any()));
    own.find(|job| end(job).is_none()).map(AsRef::as_ref)
}

/// The labels of its pods.
pub fn pods_of(job: &Job) -> BTreeMap<String, String> {
    BTreeMap::from([("batch.kubernetes.io/job-name".to_owned(), job.name_any())])
}

/// The next time that `schedule` names.
pub fn next(schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
    Cron::parse(&schedule.cron, schedule.time_zone.as_deref()).ok()?.next_after(now)
}

fn is_of(job: &Job, release: &str) -> bool {
    job.annotations().get(RELEASE).is_some_and(|name| name == release)
}

fn ran_well(release: &Release) -> bool {
    release.status.as_ref().is_some_and(|status| is_true(&status.conditions, HEALTHY))
}

fn last_end(jobs: &[Arc<Job>], release: &Release) -> Option<End> {
    ends(jobs, release).into_iter().max_by_key(|end| end.at)
}

/// Without failures that are over: those before another release ran, and those before it was tried again.
fn ends(jobs: &[Arc<Job>], release: &Release) -> Vec<End> {
    let name = release.name_any();
    let other = jobs.iter().filter(|job| !is_of(job, &name)).filter_map(|job| begin(job)).max();
    let conditions = release.status.iter().flat_map(|status| &status.conditions);
    let again = conditions.into_iter().find(|one| one.type_ == FAILED && one.status == "False");
    let over = other.max(again.map(|again| again.last_transition_time.0));
    let own = jobs.iter().filter(|job| is_of(job, &name)).filter_map(|job| end(job));
    own.filter(|end| end.is_well || over.is_none_or(|over| over < end.at)).collect()
}

fn begin(job: &Job) -> Option<Timestamp> {
    job.metadata.creation_timestamp.as_ref().map(|at| at.0)
}

/// Nothing while it runs.
fn end(job: &Job) -> Option<End> {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().filter(|condition| condition.status == "True").find_map(|condition| {
        let is_well = match condition.type_.as_str() {
            "Complete" => true,
            "Failed" => false,
            _ => return None,
        };
        Some(End { at: condition.last_transition_time.as_ref()?.0, is_well })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sample;

    const NOW: &str = "2026-05-01T12:00:00Z";

    fn release(status: &Value) -> Release {
        let mut release = sample::release(
            "orders-dev-a",
            "type: batch, many: false, replicas: 1, schedule: {cron: 0 3 * * *}",
        );
        release.status = serde_json::from_value(status.clone()).unwrap();
        release
    }

    fn condition(type_: &str, status: &str, at: &str) -> Value {
        json!({ "type": type_, "status": status, "lastTransitionTime": at, "reason": "R", "message": "" })
    }

    fn healthy() -> Value {
        json!({ "conditions": [condition("Healthy", "True", "2026-04-01T00:00:00Z")] })
    }

    /// `begun` and `ended`: hours of the first of May.
    fn job(release: &str, begun: u8, end: Option<(&str, u8)>) -> Arc<Job> {
        let hour = |hour: u8| format!("2026-05-01T{hour:02}:00:00Z");
        let conditions: Vec<_> = end.iter().map(|(type_, at)| condition(type_, "True", &hour(*at))).collect();
        let annotations = json!({ RELEASE: format!("orders-dev-{release}") });
        let job = json!({
            "metadata": { "name": format!("orders-{release}-{begun}"), "annotations": annotations,
                "creationTimestamp": hour(begun) },
            "status": { "conditions": conditions },
        });
        Arc::new(serde_json::from_value(job).unwrap())
    }

    fn phase(jobs: &[Arc<Job>], release: &Release) -> Phase {
        let mut live = CronJob::default();
        live.annotations_mut().insert(RELEASE.to_owned(), release.name_any());
        observed(&live, jobs, release, NOW.parse().unwrap()).phase
    }

    fn failed_phase() -> Phase {
        Phase::Failed { message: "its last run failed".to_owned() }
    }

    #[test]
    fn a_release_is_as_its_last_run_ended() {
        let new = release(&Value::Null);
        let next = Some("2026-05-02T03:00:00Z".parse().unwrap());
        assert_eq!(phase(&[], &new), Phase::Scheduled { next });
        assert_eq!(phase(&[job("a", 1, None)], &new), Phase::FirstRun);
        let well = job("a", 1, Some(("Complete", 2)));
        assert_eq!(phase(std::slice::from_ref(&well), &new), Phase::Healthy);
        assert_eq!(
            phase(&[well.clone(), job("a", 3, None)], &new),
            Phase::Healthy,
            "while the next one runs"
        );
        let bad = job("a", 3, Some(("Failed", 4)));
        assert_eq!(phase(&[well.clone(), bad.clone()], &new), failed_phase());
        assert_eq!(phase(&[bad, well, job("a", 5, Some(("Complete", 6)))], &new), Phase::Healthy);
    }

    #[test]
    fn runs_of_others_tell_nothing_of_it_but_are_waited_for() {
        let new = release(&Value::Null);
        let other = job("b", 1, Some(("Failed", 2)));
        assert!(matches!(phase(std::slice::from_ref(&other), &new), Phase::Scheduled { .. }));
        let outlasted = |begun: u8| {
            let since = format!("2026-05-01T{begun:02}:00:00Z").parse().ok();
            Phase::Outlasted { run: format!("orders-b-{begun}"), since }
        };
        let own = job("a", 4, Some(("Complete", 5)));
        assert_eq!(
            phase(&[own, other, job("b", 6, None), job("b", 3, None)], &new),
            outlasted(3),
            "the oldest"
        );
    }

    #[test]
    fn what_failed_before_it_was_left_or_tried_again_is_over() {
        let bad = job("a", 1, Some(("Failed", 2)));
        let between = [bad.clone(), job("b", 3, Some(("Complete", 4)))];
        assert!(matches!(phase(&between, &release(&Value::Null)), Phase::Scheduled { .. }));
        assert_eq!(phase(&between, &release(&healthy())), Phase::Healthy, "it was once");
        let again = json!({ "conditions": [condition("Failed", "False", "2026-05-01T05:00:00Z")] });
        assert!(matches!(phase(std::slice::from_ref(&bad), &release(&again)), Phase::Scheduled { .. }));
        assert_eq!(phase(&[bad, job("a", 6, Some(("Failed", 7)))], &release(&again)), failed_phase());
    }

    #[test]
    fn it_is_well_since_the_first_run_after_the_last_that_failed() {
        let at = |hour: u8| format!("2026-05-01T{hour:02}:00:00Z").parse::<Timestamp>().unwrap();
        let jobs = [
            job("a", 1, Some(("Complete", 2))),
            job("a", 3, Some(("Failed", 4))),
            job("a", 5, Some(("Complete", 6))),
            job("a", 7, Some(("Complete", 8))),
        ];
        let release = release(&Value::Null);
        assert_eq!(well_since(&jobs, &release), Some(at(6)));
        assert_eq!(well_since(&jobs[..1], &release), Some(at(2)));
        assert_eq!(well_since(&jobs[..2], &release), None);
        assert_eq!(failed(&jobs[..2], &release).unwrap().name_any(), "orders-a-3");
        assert!(failed(&jobs, &release).is_none());
    }

    #[test]
    fn a_schedule_that_rests_lets_what_runs_end() {
        let mut resting = release(&Value::Null);
        resting.spec.replicas = 0;
        assert_eq!(phase(&[job("a", 1, None)], &resting), Phase::RollingOut);
        assert_eq!(phase(&[job("a", 1, Some(("Complete", 2)))], &resting), Phase::Stopped);
    }

    #[test]
    fn a_run_on_demand_gives_way_to_the_next_time_where_that_replaces() {
        let on_demand = |begun: u8, end: Option<(&str, u8)>| {
            let mut run = job("a", begun, end);
            Arc::make_mut(&mut run).annotations_mut().insert(INSTANTIATE.to_owned(), ON_DEMAND.to_owned());
            run
        };
        let jobs =
            [on_demand(1, Some(("Failed", 2))), job("a", 2, None), on_demand(4, None), on_demand(2, None)];
        let replaced = |concurrency: Concurrency, replicas: i32| {
            let mut release = release(&Value::Null);
            release.spec.replicas = replicas;
            release.spec.schedule.as_mut().unwrap().concurrency = concurrency;
            replaced(&jobs, &release).map(|(job, at)| (job.name_any(), at.to_string())).collect::<Vec<_>>()
        };
        let own = |name: &str, at: &str| (name.to_owned(), at.to_owned());
        assert_eq!(
            replaced(Concurrency::Replace, 1),
            [own("orders-a-4", "2026-05-02T03:00:00Z"), own("orders-a-2", "2026-05-01T03:00:00Z")],
            "what goes on and was begun by somebody"
        );
        for (concurrency, replicas) in
            [(Concurrency::Replace, 0), (Concurrency::Forbid, 1), (Concurrency::Allow, 1)]
        {
            assert_eq!(replaced(concurrency, replicas), [], "{concurrency:?} {replicas}");
        }
    }

    #[test]
    fn a_run_on_demand_is_of_the_same_release_and_keeps_the_schedule_waiting_unless_several_may_run() {
        let cron_job = |policy: &str| -> CronJob {
            let template = json!({
                "metadata": { "labels": { "a": "b" }, "annotations": { RELEASE: "orders-dev-a" } },
                "spec": { "backoffLimit": 2, "template": {} },
            });
            let metadata = json!({ "name": "orders", "namespace": "acme-dev", "uid": "u" });
            let spec = json!({
                "schedule": "0 3 * * *", "concurrencyPolicy": policy, "suspend": false, "jobTemplate": template,
            });
            serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
        };
        let run = on_demand(&cron_job("Forbid"), "orders-run-1");
        let owner = json!([{
            "apiVersion": "batch/v1", "kind": "CronJob", "name": "orders", "uid": "u", "controller": true,
        }]);
        let annotations = json!({ RELEASE: "orders-dev-a", "cronjob.kubernetes.io/instantiate": "manual" });
        let wanted = json!({
            "apiVersion": "batch/v1", "kind": "Job", "spec": { "backoffLimit": 2, "template": {} },
            "metadata": { "name": "orders-run-1", "namespace": "acme-dev", "labels": { "a": "b" },
                "annotations": annotations, "ownerReferences": owner },
        });
        assert_eq!(serde_json::to_value(&run).unwrap(), wanted);

        let rests = |policy: &str, jobs: &[Arc<Job>]| {
            beside(cron_job(policy), jobs).spec.unwrap().suspend == Some(true)
        };
        let ended = job("a", 1, Some(("Complete", 2)));
        let mut over = run.clone();
        over.status.clone_from(&ended.status);
        let (own, run, over) = (job("a", 3, None), Arc::new(run), Arc::new(over));
        assert!(!rests("Forbid", &[own.clone(), over]), "it counts those that it began");
        assert!(rests("Forbid", &[own.clone(), run.clone()]));
        assert!(rests("Replace", std::slice::from_ref(&run)));
        assert!(!rests("Allow", &[own, run]));
    }
}

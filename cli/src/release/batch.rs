//! The runs of a batch, in words: the last, those that go on, and the next. Pure.

use std::sync::Arc;

use imaas_operator::{
    api::{Concurrency, Release, Schedule},
    release::runs::{End, last, next, under_way},
};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;

/// A title and what stands below it.
pub type Line = (&'static str, String);

/// Of a batch that runs `release` by `schedule`. `jobs`: all of the service in its environment, or why they are not known.
pub fn lines(
    release: &Release,
    schedule: &Schedule,
    (jobs, now): (Result<&[Arc<Job>], String>, Timestamp),
) -> Vec<Line> {
    let alone = jobs.as_ref().ok().and_then(|jobs| alone(schedule, jobs));
    let mut lines = match jobs {
        Ok(jobs) => begun(release, jobs),
        Err(why) => vec![("last run", format!("not known: {why}"))],
    };
    let next = match release.spec.replicas {
        0 => Some("only on demand: `scaling.min` is 0".to_owned()),
        _ => next(schedule, now).map(|next| match alone {
            None => next.to_string(),
            Some(run) => format!("{next}, if {run} has ended by then"),
        }),
    };
    lines.extend(next.map(|next| ("next run", next)));
    lines
}

/// Name of a run that goes on and beside which none begins.
fn alone(schedule: &Schedule, jobs: &[Arc<Job>]) -> Option<String> {
    let mut runs = under_way(jobs).filter(|_| schedule.concurrency == Concurrency::Forbid);
    runs.next().map(ResourceExt::name_any)
}

fn begun(release: &Release, jobs: &[Arc<Job>]) -> Vec<Line> {
    let last = match last(jobs, release) {
        Some((job, End { at, is_well: true })) => format!("{} ended well at {at}", job.name_any()),
        Some((job, End { at, is_well: false })) => format!("{} failed at {at}", job.name_any()),
        None => "none yet, of this release".to_owned(),
    };
    let goes_on = |job: &Job| {
        let since = job.creation_timestamp().map(|since| format!(" since {}", since.0)).unwrap_or_default();
        ("goes on", format!("{}{since}", job.name_any()))
    };
    [("last run", last)].into_iter().chain(under_way(jobs).map(goes_on)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn release(replicas: i32) -> Release {
        let spec = json!({ "service": "bills", "environment": "dev", "commit": "4f2a", "buildId": "b",
            "image": "i", "digest": "d", "runtime": "container", "cause": "Promotion", "type": "batch", "many": false,
            "strategy": "rolling", "replicas": replicas, "schedule": { "cron": "*/2 * * * *" }, "template": {} });
        let object = json!({ "apiVersion": "imaas.dev/v1alpha1", "kind": "Release",
            "metadata": { "name": "bills-dev-a" }, "spec": spec });
        serde_json::from_value(object).unwrap()
    }

    /// `ended`: the condition's type and the minute after nine.
    fn job(release: &str, begun: u8, ended: Option<(&str, u8)>) -> Arc<Job> {
        let minute = |minute: u8| format!("2026-05-01T09:{minute:02}:00Z");
        let condition = |(type_, at): (&str, u8)| json!({ "type": type_, "status": "True", "lastTransitionTime": minute(at) });
        let conditions: Vec<Value> = ended.into_iter().map(condition).collect();
        let metadata = json!({ "name": format!("bills-{begun}"), "creationTimestamp": minute(begun),
            "annotations": { "imaas.dev/release": release } });
        Arc::new(
            serde_json::from_value(json!({ "metadata": metadata, "status": { "conditions": conditions } }))
                .unwrap(),
        )
    }

    fn told(replicas: i32, jobs: Result<&[Arc<Job>], String>) -> Vec<String> {
        let release = release(replicas);
        let schedule = release.spec.schedule.clone().unwrap();
        let lines = lines(&release, &schedule, (jobs, "2026-05-01T09:03:00Z".parse().unwrap()));
        lines.into_iter().map(|(title, text)| format!("{title}: {text}")).collect()
    }

    #[test]
    fn the_last_run_those_that_go_on_and_the_next_are_told() {
        let next = "next run: 2026-05-01T09:04:00Z";
        let well = job("bills-dev-a", 0, Some(("Complete", 1)));
        let other = job("bills-dev-0", 1, Some(("Failed", 2)));
        let last = "last run: bills-0 ended well at 2026-05-01T09:01:00Z";
        assert_eq!(told(1, Ok(&[other.clone(), well.clone()])), [last, next]);
        let goes_on = job("bills-dev-a", 2, None);
        assert_eq!(
            told(1, Ok(&[well, goes_on])),
            [
                last,
                "goes on: bills-2 since 2026-05-01T09:02:00Z",
                &format!("{next}, if bills-2 has ended by then")
            ]
        );
        let failed = job("bills-dev-a", 1, Some(("Failed", 2)));
        assert_eq!(told(1, Ok(&[failed])), ["last run: bills-1 failed at 2026-05-01T09:02:00Z", next]);
        assert_eq!(told(1, Ok(&[other])), ["last run: none yet, of this release", next]);
        let rests = "next run: only on demand: `scaling.min` is 0";
        assert_eq!(told(0, Err("forbidden".to_owned())), ["last run: not known: forbidden", rests]);
    }
}

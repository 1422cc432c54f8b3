//! What the descriptor of a batch may say. Pure.

use std::time::Duration;

use super::render_error::RenderError;
use crate::{
    api::{Concurrency, DescriptorSpec, Instances, Scaling, Schedule, WorkloadType},
    cron::{Cron, CronError},
    span::span,
};

/// Bounds of `timeout`.
const SHORTEST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(24 * 7);
/// What cron's form has for months and days of the week, in the Kubernetes that runs it.
const NAMES: [&str; 19] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC", "SUN", "MON", "TUE",
    "WED", "THU", "FRI", "SAT",
];

/// What is wrong with what a batch has and others do not, or the other way round.
pub(super) fn check(settings: &DescriptorSpec) -> Result<(), RenderError> {
    let wrong =
        |field: &'static str, problem: &str| Err(RenderError::Batch { field, problem: problem.to_owned() });
    let (schedule, instances) = match (settings.type_, &settings.schedule) {
        (WorkloadType::Api | WorkloadType::Worker, None) => return Ok(()),
        (WorkloadType::Api | WorkloadType::Worker, Some(_)) => {
            return wrong("schedule", "only a batch has one: say `type: batch`, or remove it");
        }
        (WorkloadType::Batch, None) => {
            return wrong("schedule", "a batch runs by one: add `schedule: {cron: \"0 3 * * *\"}`");
        }
        (WorkloadType::Batch, Some(schedule)) => (schedule, settings.instances),
    };
    cron(schedule)?;
    if schedule.timeout.is_some() && timeout(schedule).is_none() {
        let text = schedule.timeout.as_deref().unwrap_or_default();
        return wrong(
            "schedule.timeout",
            &format!("{text:?} is no duration of 1m to 168h: write it like 90m or 2h"),
        );
    }
    let allows = schedule.concurrency == Concurrency::Allow;
    if instances.is_some_and(|instances| (instances == Instances::Many) != allows) {
        return wrong(
            "instances",
            "of a batch follows from `schedule.concurrency`: `allow` lets several run, else one does; remove it",
        );
    }
    if settings.scaling.min > 1 {
        return wrong("scaling.min", "a run is one instance: 1, or 0 for a schedule that rests");
    }
    let Scaling { min: _, max: _, windows: _, cpu, memory, down_after, triggers, fallback } =
        &settings.scaling;
    let of_load = [
        ("scaling.triggers", !triggers.is_empty()),
        ("scaling.fallback", fallback.is_some()),
        ("scaling.cpu", cpu.is_some()),
        ("scaling.memory", memory.is_some()),
        ("scaling.downAfter", down_after.is_some()),
    ];
    if let Some((field, _)) = of_load.into_iter().find(|(_, is_said)| *is_said) {
        return wrong(
            field,
            "a batch runs at the times of its `schedule`, whatever waits or the load is: remove it",
        );
    }
    if settings.scaling.max.is_some() {
        return wrong("scaling.max", "a run is one instance, whatever the load: remove it");
    }
    if !settings.scaling.windows.is_empty() {
        return wrong("scaling.windows", "a batch runs at the times of its `schedule`: remove them");
    }
    if !settings.ports.is_empty() {
        return wrong("ports", "a batch serves nobody: remove them, or say `type: worker`");
    }
    Ok(())
}

fn cron(schedule: &Schedule) -> Result<(), RenderError> {
    let problem = match Cron::parse(&schedule.cron, schedule.time_zone.as_deref()) {
        Err(error @ (CronError::TimeZone(_) | CronError::Spelling(..))) => {
            ("schedule.timeZone", error.to_string())
        }
        Err(error) => ("schedule.cron", error.to_string()),
        Ok(_) => match unknown(&schedule.cron) {
            None => return Ok(()),
            Some(part) => {
                let problem = format!(
                    "{part:?} is not understood by Kubernetes: digits, `*`, `,`, `-`, `/` and names such as MON or JAN are; Sunday is 0"
                );
                ("schedule.cron", problem)
            }
        },
    };
    Err(RenderError::Batch { field: problem.0, problem: problem.1 })
}

/// The part that other crons know and that of Kubernetes does not.
fn unknown(cron: &str) -> Option<&str> {
    let is_separator = |c: char| c.is_whitespace() || matches!(c, '*' | ',' | '-' | '/');
    let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let is_known = |part: &&str| is_number(part) || NAMES.iter().any(|name| name.eq_ignore_ascii_case(part));
    let days = cron.split_whitespace().next_back().unwrap_or_default();
    let day = days.split(is_separator).find(|part| *part == "7");
    cron.split(is_separator).find(|part| !is_known(part)).or(day)
}

/// Longest that a run may take, in whole seconds.
pub(super) fn timeout(schedule: &Schedule) -> Option<i64> {
    let longest = span(schedule.timeout.as_deref()?, SHORTEST..=LONGEST)?;
    i64::try_from(longest.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(settings: &str) -> String {
        let settings: DescriptorSpec = serde_saphyr::from_str(settings).unwrap();
        check(&settings).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn a_batch_says_when_it_runs_and_nothing_that_it_does_not_have() {
        for (settings, words) in [
            ("{type: batch, schedule: {cron: 0 3 * * MON-fri, timeZone: Europe/Zurich}}", "fine"),
            ("{type: batch, schedule: {cron: '*/15 8-18 1,15 JAN 0-6', timeout: 1h30m}}", "fine"),
            ("{type: batch, schedule: {cron: 0 3 * * *}, scaling: {min: 0}}", "fine"),
            ("{type: batch, instances: many, schedule: {cron: 0 3 * * *, concurrency: allow}}", "fine"),
            ("{type: worker}", "fine"),
            ("{type: batch}", "schedule: a batch runs by one"),
            ("{type: worker, schedule: {cron: 0 3 * * *}}", "schedule: only a batch has one"),
            (
                "{type: batch, schedule: {cron: '@daily'}}",
                "schedule.cron: \"@daily\" is understood elsewhere only: write 0 0 * * *",
            ),
            ("{type: batch, schedule: {cron: 0 3 31 2 *}}", "no schedule that ever comes"),
            ("{type: batch, schedule: {cron: 0 3 L * *}}", "schedule.cron: \"L\" is not understood"),
            ("{type: batch, schedule: {cron: 0 3 * * 7}}", "schedule.cron: \"7\" is not understood"),
            ("{type: batch, schedule: {cron: 0 3 * * *, timeZone: CEST}}", "schedule.timeZone: \"CEST\""),
            ("{type: batch, schedule: {cron: 0 3 * * *, timeout: 30s}}", "schedule.timeout: \"30s\""),
            ("{type: batch, instances: many, schedule: {cron: 0 3 * * *}}", "instances: of a batch"),
            (
                "{type: batch, instances: one, schedule: {cron: 0 3 * * *, concurrency: allow}}",
                "instances: of a batch",
            ),
            ("{type: batch, schedule: {cron: 0 3 * * *}, scaling: {min: 2}}", "scaling.min: a run is one"),
            ("{type: batch, schedule: {cron: 0 3 * * *}, scaling: {max: 2}}", "scaling.max: a run is one"),
            (
                "{type: batch, schedule: {cron: 0 3 * * *}, scaling: {triggers: [{broker: a, kafka: {topic: a, group: a, lag: 1}}]}}",
                "scaling.triggers: a batch runs at the times of its `schedule`, whatever waits",
            ),
            (
                "{type: batch, schedule: {cron: 0 3 * * *}, scaling: {max: 3, cpu: 50}}",
                "scaling.cpu: a batch runs at the times of its `schedule`",
            ),
            (
                "{type: batch, schedule: {cron: 0 3 * * *}, scaling: {windows: [{schedule: 0 8 * * *, duration: 1h, min: 1}]}}",
                "scaling.windows: a batch runs at the times of its `schedule`",
            ),
            (
                "{type: batch, schedule: {cron: 0 3 * * *}, ports: [{name: http, port: 80}]}",
                "ports: a batch serves nobody",
            ),
        ] {
            let told = told(settings);
            assert!(told.contains(words), "{settings}: {told}");
        }
    }
}

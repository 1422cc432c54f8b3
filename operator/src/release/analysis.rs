//! What the steps of a canary are judged by. Pure.

use super::{
    render_error::RenderError,
    triggers::{self, asked_of_metrics},
};
use crate::api::{
    Analysis, DescriptorSpec, ReleaseAnalysis, RuntimeProfile, Strategy,
    analysis::{Counts, Latency, ReleaseLatency},
    runtime::Metrics,
};

/// Of an analysis that says nothing: percentage points, percent, and requests.
const ERRORS: u16 = 1;
const LATENCY: u16 = 50;
const REQUESTS: u32 = 50;

/// What `settings` ask for, with every default and the names that `profile`, which is one of `runtime`, has for it.
pub(super) fn analysis(
    settings: &DescriptorSpec,
    (runtime, profile): (&str, &RuntimeProfile),
) -> Result<Option<ReleaseAnalysis>, RenderError> {
    let Some(asked) = &settings.rollout.analysis else { return Ok(None) };
    let Analysis { errors, latency, requests, waiting } = asked;
    match settings.rollout.strategy {
        Strategy::Canary => {}
        Strategy::BlueGreen => {
            return wrong(
                "analysis",
                "with `blueGreen` the new one has no requests until it has all of them: say `canary`, or remove it, in one environment by `analysis: null`",
            );
        }
        Strategy::Rolling | Strategy::Recreate => {
            return wrong(
                "analysis",
                "only `strategy: canary` has it: remove it, in one environment by `analysis: null`",
            );
        }
    }
    if waiting.is_some() && !triggers::watches(&settings.scaling) {
        return wrong(
            "analysis.waiting",
            "nobody counts what waits for it: add `scaling.triggers` at a broker with a `max` above `min`, or remove it, in one environment by `waiting: null`",
        );
    }
    let (counts, told) = counted(asked, (runtime, profile))?;
    if latency.is_some() && told.is_none() {
        return wrong(
            "analysis.latency",
            &format!(
                "nobody knows which metrics of the runtime {runtime} tell how long requests take: remove it, or ask the platform team for `metrics.latency` in its profile"
            ),
        );
    }
    Ok(Some(ReleaseAnalysis {
        errors: errors.unwrap_or(ERRORS),
        requests: requests.unwrap_or(REQUESTS),
        counts: counts.cloned(),
        latency: told.cloned().map(|metrics| ReleaseLatency { longer: latency.unwrap_or(LATENCY), metrics }),
        waiting: *waiting,
    }))
}

/// The names of what counts requests, and of what tells how long they take. Without the first, `waiting` may judge alone where
/// nothing is said of requests.
fn counted<'a>(
    asked: &Analysis,
    (runtime, profile): (&str, &'a RuntimeProfile),
) -> Result<(Option<&'a Counts>, Option<&'a Latency>), RenderError> {
    if let Some(Metrics { port: _, path: _, counts: Some(counts), latency }) = &profile.metrics {
        return Ok((Some(counts), latency.as_ref()));
    }
    let Analysis { errors, latency, requests, waiting } = asked;
    let of_requests =
        [("errors", errors.is_some()), ("latency", latency.is_some()), ("requests", requests.is_some())];
    let said = of_requests.into_iter().find(|(_, is_said)| *is_said);
    let (field, way_out) = match (waiting, said) {
        (Some(_), None) => return Ok((None, None)),
        (Some(_), Some((field, _))) => {
            (format!("analysis.{field}"), "remove it, and it is judged by `waiting` alone")
        }
        (None, _) => ("analysis".to_owned(), "remove it"),
    };
    wrong(
        &field,
        &format!(
            "nobody knows which metrics of the runtime {runtime} count requests: {way_out}, or ask the platform team for `metrics.counts` in its profile"
        ),
    )
}

/// `profile` as far as what `settings` ask for is made of it: neither names of metrics by which nobody judges and nothing scales,
/// nor a timeout of what is not exposed or has its own, make another release.
pub(super) fn as_asked(profile: &RuntimeProfile, settings: &DescriptorSpec) -> RuntimeProfile {
    let mut profile = profile.clone();
    let (requests, latency) = asked_of_metrics(&settings.scaling.triggers);
    if let Some(metrics) = profile.metrics.as_mut().filter(|_| settings.rollout.analysis.is_none()) {
        metrics.counts = metrics.counts.take().filter(|_| requests);
        metrics.latency = metrics.latency.take().filter(|_| latency);
    }
    if settings.expose.as_ref().is_none_or(|expose| expose.timeout.is_some()) {
        profile.request_timeout_seconds = None;
    }
    profile
}

fn wrong<T>(field: &str, problem: &str) -> Result<T, RenderError> {
    Err(RenderError::Rollout { field: field.to_owned(), problem: problem.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: &str = "counts: {requests: a_total, failures: a_failed_total}";
    const LATENCIES: &str = "latency: {sum: a_seconds_sum, count: a_seconds_count}";

    fn made(settings: &str, metrics: &str) -> Result<Option<ReleaseAnalysis>, String> {
        let scaling = "min: 0, max: 4, triggers: [{broker: a, kafka: {topic: a, group: a, lag: 1}}]";
        made_with(settings, (metrics, scaling))
    }

    fn made_with(
        settings: &str,
        (metrics, scaling): (&str, &str),
    ) -> Result<Option<ReleaseAnalysis>, String> {
        let settings = format!("{{rollout: {settings}, scaling: {{{scaling}}}}}");
        let settings: DescriptorSpec = serde_saphyr::from_str(&settings).unwrap();
        let profile: RuntimeProfile = serde_saphyr::from_str(metrics).unwrap();
        analysis(&settings, ("go", &profile)).map_err(|error| error.to_string())
    }

    fn with(names: &str) -> String {
        format!("{{metrics: {{port: 1, path: /m, {names}}}}}")
    }

    #[test]
    fn what_is_not_said_has_its_default_and_who_asks_for_none_has_none() {
        let both = with(&format!("{COUNTS}, {LATENCIES}"));
        let made = |settings: &str, metrics: &str| made(settings, metrics).unwrap();
        let numbers =
            |made: ReleaseAnalysis| (made.errors, made.requests, made.latency.map(|latency| latency.longer));
        let canary = |analysis: &str| format!("{{strategy: canary, analysis: {analysis}}}");
        assert_eq!(made(&canary("{}"), &both).map(numbers), Some((1, 50, Some(50))));
        assert_eq!(made(&canary("{}"), &with(COUNTS)).map(numbers), Some((1, 50, None)));
        let own = canary("{errors: 0, latency: 20, requests: 7}");
        assert_eq!(made(&own, &both).map(numbers), Some((0, 7, Some(20))));
        assert_eq!(made("{strategy: canary}", &both), None);
        assert_eq!(made("{strategy: rolling}", "{}"), None);
    }

    #[test]
    fn what_cannot_be_judged_is_told_with_the_way_out() {
        let both = with(&format!("{COUNTS}, {LATENCIES}"));
        let bare = "{metrics: {port: 1, path: /m}}".to_owned();
        for (settings, metrics, words) in [
            ("{analysis: {}}", &both, "rollout.analysis: only `strategy: canary` has it"),
            ("{strategy: recreate, analysis: {}}", &both, "rollout.analysis: only `strategy: canary` has it"),
            (
                "{strategy: blueGreen, analysis: {}}",
                &both,
                "rollout.analysis: with `blueGreen` the new one has no",
            ),
            (
                "{strategy: canary, analysis: {}}",
                &bare,
                "rollout.analysis: nobody knows which metrics of the runtime go",
            ),
            (
                "{strategy: canary, analysis: {}}",
                &"{}".to_owned(),
                "rollout.analysis: nobody knows which metrics",
            ),
            (
                "{strategy: canary, analysis: {latency: 10}}",
                &with(COUNTS),
                "rollout.analysis.latency: nobody knows which metrics of the runtime go",
            ),
        ] {
            let told = made(settings, metrics).unwrap_err();
            assert!(told.starts_with(words) && told.contains("remove it"), "{settings}: {told}");
        }
    }

    #[test]
    fn what_waits_judges_alone_where_nobody_counts_requests_and_only_of_what_follows_a_broker() {
        let canary = |analysis: &str| format!("{{strategy: canary, analysis: {analysis}}}");
        let waits = |analysis: &str, metrics: &str| made(&canary(analysis), metrics);
        let parts = |made: ReleaseAnalysis| (made.counts.is_some(), made.waiting);
        assert_eq!(waits("{waiting: 100}", "{}").unwrap().map(parts), Some((false, Some(100))));
        assert_eq!(
            waits("{waiting: 100, errors: 2}", &with(COUNTS)).unwrap().map(parts),
            Some((true, Some(100)))
        );
        assert_eq!(
            waits("{}", &with(COUNTS)).unwrap().map(parts),
            Some((true, None)),
            "left out, it does not count"
        );
        for field in ["errors", "latency", "requests"] {
            let told = waits(&format!("{{waiting: 100, {field}: 1}}"), "{}").unwrap_err();
            let begins = format!(
                "rollout.analysis.{field}: nobody knows which metrics of the runtime go count requests"
            );
            assert!(told.starts_with(&begins) && told.contains("judged by `waiting` alone"), "{told}");
        }
        let rolling = made("{analysis: {waiting: 100}}", "{}").unwrap_err();
        assert!(rolling.starts_with("rollout.analysis: only `strategy: canary` has it"), "{rolling}");
        let trigger = "triggers: [{broker: a, kafka: {topic: a, group: a, lag: 1}}]";
        for scaling in ["min: 2", "min: 2, max: 4", &format!("min: 2, max: 2, {trigger}")] {
            let told = made_with(&canary("{waiting: 100}"), (&with(COUNTS), scaling)).unwrap_err();
            let begins = "rollout.analysis.waiting: nobody counts what waits for it: add `scaling.triggers`";
            assert!(told.starts_with(begins), "{scaling}: {told}");
        }
    }

    #[test]
    fn names_of_metrics_are_of_what_is_judged_by_them_only() {
        let named: RuntimeProfile = serde_saphyr::from_str(&with(COUNTS)).unwrap();
        let bare: RuntimeProfile = serde_saphyr::from_str("{metrics: {port: 1, path: /m}}").unwrap();
        let settings = |rollout: &str| serde_saphyr::from_str(&format!("{{rollout: {rollout}}}")).unwrap();
        assert_eq!(as_asked(&named, &settings("{strategy: canary}")), bare);
        assert_eq!(as_asked(&named, &settings("{strategy: canary, analysis: {}}")), named);
    }

    #[test]
    fn names_of_metrics_are_of_what_scales_by_them_only() {
        let profile = |names: &str| serde_saphyr::from_str::<RuntimeProfile>(&with(names)).unwrap();
        let kept = |triggers: &str| {
            let settings = format!("{{scaling: {{max: 4, triggers: [{triggers}]}}}}");
            as_asked(&profile(&format!("{COUNTS}, {LATENCIES}")), &serde_saphyr::from_str(&settings).unwrap())
        };
        assert_eq!(kept("{broker: a, kafka: {topic: a, group: a, lag: 1}}"), profile(""));
        assert_eq!(kept("{requests: {perSecond: 1}}"), profile(COUNTS));
        assert_eq!(kept("{latency: {milliseconds: 1}}"), profile(LATENCIES));
    }
}

//! What the steps of a canary are judged by. Pure.

use super::render_error::RenderError;
use crate::api::{
    Analysis, DescriptorSpec, ReleaseAnalysis, RuntimeProfile, Strategy, analysis::ReleaseLatency,
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
    let Some(Analysis { errors, latency, requests }) = &settings.rollout.analysis else { return Ok(None) };
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
    let (counts, told) = match &profile.metrics {
        Some(Metrics { port: _, path: _, counts: Some(counts), latency }) => (counts, latency),
        Some(Metrics { counts: None, .. }) | None => {
            return wrong(
                "analysis",
                &format!(
                    "nobody knows which metrics of the runtime {runtime} count requests: remove it, or ask the platform team for `metrics.counts` in its profile"
                ),
            );
        }
    };
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
        counts: counts.clone(),
        latency: told.clone().map(|metrics| ReleaseLatency { longer: latency.unwrap_or(LATENCY), metrics }),
    }))
}

/// `profile` as far as what `settings` ask for is made of it: neither names of metrics that nobody judges by, nor a timeout of
/// what is not exposed or has its own, make another release.
pub(super) fn as_asked(profile: &RuntimeProfile, settings: &DescriptorSpec) -> RuntimeProfile {
    let mut profile = profile.clone();
    if let Some(metrics) = profile.metrics.as_mut().filter(|_| settings.rollout.analysis.is_none()) {
        (metrics.counts, metrics.latency) = (None, None);
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
        let settings: DescriptorSpec = serde_saphyr::from_str(&format!("{{rollout: {settings}}}")).unwrap();
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
    fn names_of_metrics_are_of_what_is_judged_by_them_only() {
        let named: RuntimeProfile = serde_saphyr::from_str(&with(COUNTS)).unwrap();
        let bare: RuntimeProfile = serde_saphyr::from_str("{metrics: {port: 1, path: /m}}").unwrap();
        let settings = |rollout: &str| serde_saphyr::from_str(&format!("{{rollout: {rollout}}}")).unwrap();
        assert_eq!(as_asked(&named, &settings("{strategy: canary}")), bare);
        assert_eq!(as_asked(&named, &settings("{strategy: canary, analysis: {}}")), named);
    }
}

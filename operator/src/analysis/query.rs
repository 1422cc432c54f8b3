//! The one question about a step of a trial, in `PromQL`. Pure.
//!
//! Every series is of the pods of one ReplicaSet: those of a trial that ended a moment ago do not count.

use std::{collections::BTreeMap, time::Duration};

use super::{
    answer::{Part, Side, TELLS},
    comparison::Comparison,
    series::{self, pods, taken},
};
use crate::{
    api::analysis::{Counts, ReleaseLatency},
    environment::ValidPrometheus,
};

/// Shortest time that is looked back: two scrapes, where they are made as often as usual.
const SHORTEST: Duration = Duration::from_secs(30);
/// Longest: what goes wrong late in a long step is not lost in what went well before.
const LONGEST: Duration = Duration::from_mins(10);

/// Whose requests.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The environment's namespace.
    pub namespace: &'a str,
    /// Name of the ReplicaSet of what is tried.
    pub tried: &'a str,
    /// Of what runs.
    pub stable: &'a str,
}

/// What tells how both releases of `subject` fared in the time that the step lasts, or in the end of a long one. It is one
/// question, so that all is of one moment; each sample of the answer says what it is by the label [`TELLS`].
pub fn query(
    comparison: &Comparison,
    prometheus: &ValidPrometheus,
    (subject, lasts): (Subject, Duration),
) -> String {
    let Comparison { errors: _, requests: _, counts, latency } = comparison;
    let Counts { requests, failures, labels } = counts;
    let seconds = lasts.clamp(SHORTEST, LONGEST).as_secs();
    let of_side = |side: Side| {
        let series = |metric: &str, labels: &BTreeMap<String, String>| {
            format!("{metric}{{{}}}", selector(labels, prometheus, (subject, side)))
        };
        let grown = |metric: &str, labels: &BTreeMap<String, String>| {
            format!("increase({}[{seconds}s])", series(metric, labels))
        };
        let counted = |metric: &str| match side {
            Side::Tried => begun(&series(metric, labels), seconds),
            Side::Stable => grown(metric, labels),
        };
        let counted = [(Part::Requests, requests), (Part::Failures, failures)]
            .map(|(part, metric)| (part, format!("sum({})", counted(metric))));
        let taken = latency.as_ref().and_then(|ReleaseLatency { longer: _, metrics }| taken(metrics, grown));
        let all = counted.into_iter().chain(taken.map(|taken| (Part::Latency, taken)));
        all.map(move |(part, told)| {
            format!(r#"label_replace({told}, "{TELLS}", "{}", "", "")"#, part.name(side))
        })
    };
    let all: Vec<_> = [Side::Tried, Side::Stable].into_iter().flat_map(of_side).collect();
    all.join(" or ")
}

/// How much each counter of `series` grew: `increase` begins with the first scrape, so that of one which is new, as those of
/// new pods and of a first failure are, what it began with would be lost.
fn begun(series: &str, seconds: u64) -> String {
    let window = format!("{seconds}s");
    let before = format!("{series} offset {window}");
    format!("increase({series}[{window}]) and {before} or last_over_time({series}[{window}]) unless {before}")
}

fn selector(
    labels: &BTreeMap<String, String>,
    prometheus: &ValidPrometheus,
    (Subject { namespace, tried, stable }, side): (Subject, Side),
) -> String {
    let set = match side {
        Side::Tried => tried,
        Side::Stable => stable,
    };
    series::selector(prometheus, (namespace, &pods(set)), labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(analysis: &str, lasts: u64) -> String {
        let comparison = Comparison::of(&serde_saphyr::from_str(analysis).unwrap()).unwrap();
        let prometheus = ValidPrometheus {
            url: "http://p/api/v1/query".parse().unwrap(),
            namespace_label: "namespace".to_owned(),
            pod_label: "pod".to_owned(),
        };
        let subject =
            Subject { namespace: "acme-prod", tried: "orders-canary-7d9f8b6c5", stable: "orders-64f5b9d7c" };
        query(&comparison, &prometheus, (subject, Duration::from_secs(lasts)))
    }

    #[test]
    fn both_are_counted_in_the_time_that_the_step_lasts_with_what_the_profile_names() {
        let camel = "{errors: 1, requests: 50, counts: {requests: a_total, failures: f_total, labels: {eventType: route}}, latency: {longer: 50, metrics: {sum: s_sum, count: s_count}}}";
        let (tried, stable) = (
            r#"namespace="acme-prod",pod=~"orders-canary-7d9f8b6c5-[a-z0-9]{5}""#,
            r#"namespace="acme-prod",pod=~"orders-64f5b9d7c-[a-z0-9]{5}""#,
        );
        let grown = |metric: &str, of: &str| format!(r#"increase({metric}{{{of},eventType="route"}}[300s])"#);
        let begun = |metric: &str, of: &str| {
            let series = format!(r#"{metric}{{{of},eventType="route"}}"#);
            format!(
                "increase({series}[300s]) and {series} offset 300s or last_over_time({series}[300s]) unless {series} offset 300s"
            )
        };
        let side = |name: &str, of: &str, counted: &dyn Fn(&str, &str) -> String| {
            let (requests, failures) = (counted("a_total", of), counted("f_total", of));
            format!(
                r#"label_replace(sum({requests}), "tells", "{name} requests", "", "") or label_replace(sum({failures}), "tells", "{name} failures", "", "") or label_replace(sum(increase(s_sum{{{of}}}[300s])) / sum(increase(s_count{{{of}}}[300s])), "tells", "{name} latency", "", "")"#
            )
        };
        let wanted = format!("{} or {}", side("tried", tried, &begun), side("stable", stable, &grown));
        assert_eq!(asked(camel, 300), wanted);
    }

    #[test]
    fn of_buckets_the_99th_percentile_is_asked_and_without_latency_only_counts() {
        let counts = "errors: 1, requests: 50, counts: {requests: a_total, failures: f_total}";
        let buckets = format!("{{{counts}, latency: {{longer: 50, metrics: {{buckets: s_bucket}}}}}}");
        let buckets = asked(&buckets, 60);
        assert!(buckets.contains("histogram_quantile(0.99, sum by (le) (increase(s_bucket{"), "{buckets}");
        let bare = asked(&format!("{{{counts}}}"), 60);
        assert!(!bare.contains("latency") && bare.matches("label_replace").count() == 4, "{bare}");
    }

    #[test]
    fn less_than_two_scrapes_is_not_looked_back_nor_more_than_ten_minutes() {
        let bare = "{errors: 1, requests: 50, counts: {requests: a_total, failures: f_total}}";
        assert!(asked(bare, 0).contains("[30s]") && asked(bare, 31).contains("[31s]"));
        assert!(asked(bare, 600).contains("[600s]") && asked(bare, 86_400).contains("[600s]"));
    }
}

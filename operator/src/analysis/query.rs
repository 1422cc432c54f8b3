//! The one question about a step of a trial, in `PromQL`. Pure.
//!
//! Nothing that a tenant writes is in it but the name of its service: the metrics' names and labels are the platform's, and
//! every series is of one namespace and of the pods of one ReplicaSet: those of a trial that ended a moment ago do not count.

use std::{collections::BTreeMap, time::Duration};

use super::{
    answer::{Part, Side, TELLS},
    comparison::Comparison,
};
use crate::{
    api::analysis::{Counts, Latency, ReleaseLatency},
    environment::ValidPrometheus,
};

/// Shortest time that is looked back: two scrapes, where they are made as often as usual.
const SHORTEST: Duration = Duration::from_secs(30);
/// Longest: what goes wrong late in a long step is not lost in what went well before.
const LONGEST: Duration = Duration::from_mins(10);
/// The API server cuts what it makes a pod's name of to so many characters, and appends five.
const LONGEST_BASE: usize = 58;

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

/// Seconds that a request takes: the mean, or what all but one in a hundred take.
fn taken(metrics: &Latency, grown: impl Fn(&str, &BTreeMap<String, String>) -> String) -> Option<String> {
    let Latency { sum, count, buckets, labels } = metrics;
    match (sum, count, buckets) {
        (_, _, Some(buckets)) => {
            Some(format!("histogram_quantile(0.99, sum by (le) ({}))", grown(buckets, labels)))
        }
        (Some(sum), Some(count), None) => {
            Some(format!("sum({}) / sum({})", grown(sum, labels), grown(count, labels)))
        }
        (None, _, None) | (_, None, None) => None,
    }
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
    let ValidPrometheus { url: _, namespace_label, pod_label } = prometheus;
    let own =
        [format!("{namespace_label}={}", quoted(namespace)), format!("{pod_label}=~{}", quoted(&pods(set)))];
    let more = labels.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
    own.into_iter().chain(more).collect::<Vec<_>>().join(",")
}

/// The names of a ReplicaSet's pods, `<set>-<five>`, and of no other's: Prometheus compares from beginning to end.
fn pods(set: &str) -> String {
    let base: String = format!("{set}-").chars().take(LONGEST_BASE).collect();
    format!("{base}[a-z0-9]{{5}}")
}

/// As a string of `PromQL`, whatever it holds.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;
    use crate::names;

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

    #[test]
    fn a_value_never_leaves_its_quotes() {
        assert_eq!(quoted("a\"} or up{b=\"\\\nc"), r#""a\"} or up{b=\"\\\nc""#);
    }

    /// As Prometheus compares.
    fn is_of(set: &str, pod: &str) -> bool {
        Regex::new(&format!("^(?:{})$", pods(set))).unwrap().is_match(pod)
    }

    /// As the API server names it.
    fn pod(set: &str, random: &str) -> String {
        let base: String = format!("{set}-").chars().take(LONGEST_BASE).collect();
        format!("{base}{random}")
    }

    #[test]
    fn the_longest_name_has_its_pods_too() {
        for hash in ["7d9f8b6c5x", "7d9f8b6c5"] {
            let longest = format!("{}-{hash}", names::beside(&"a".repeat(40)));
            assert!(is_of(&longest, &pod(&longest, "abcde")));
        }
    }

    proptest! {
        #[test]
        fn no_pod_is_of_two_versions_nor_of_two_services(
            (service, more) in ("[a-z]([-a-z0-9]{0,18}[a-z0-9])?", "(-[a-z0-9]{1,10}){1,2}"),
            (hash, other_hash, random) in ("[b-z2-9]{1,10}", "[b-z2-9]{1,10}", "[b-z2-9]{5}"),
        ) {
            prop_assume!(hash != other_hash);
            let of = |deployment: &str, hash: &str| format!("{deployment}-{hash}");
            let (beside, longer) = (names::beside(&service), format!("{service}{more}"));
            for (own, other) in [
                (of(&beside, &hash), of(&beside, &other_hash)),
                (of(&service, &hash), of(&longer, &hash)),
                (of(&service, &hash), of(&beside, &hash)),
                (of(&beside, &hash), of(&names::beside(&longer), &hash)),
            ] {
                let (ours, theirs) = (pod(&own, &random), pod(&other, &random));
                prop_assert!(is_of(&own, &ours) && is_of(&other, &theirs));
                prop_assert!(!is_of(&own, &theirs) && !is_of(&other, &ours), "{} and {}", own, other);
            }
        }
    }
}

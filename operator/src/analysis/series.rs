//! Which series are of a service's pods, and what of them tells how long requests take, in `PromQL`. Pure.
//!
//! Nothing that a tenant writes is in it but the name of its service: the metrics' names and labels are the platform's, and
//! every series is of one namespace and of the pods of one ReplicaSet, or of one Deployment.

use std::collections::BTreeMap;

use crate::{api::analysis::Latency, environment::ValidPrometheus};

/// The API server cuts what it makes a pod's name of to so many characters, and appends five.
pub(super) const LONGEST_BASE: usize = 58;
/// Of a ReplicaSet's name, behind its Deployment's: the hash of its template.
const LONGEST_HASH: usize = 10;

/// What stands between the braces of a series in `namespace`, of the pods whose names match `pods`, with these labels besides.
pub(super) fn selector(
    prometheus: &ValidPrometheus,
    (namespace, pods): (&str, &str),
    labels: &BTreeMap<String, String>,
) -> String {
    let ValidPrometheus { url: _, namespace_label, pod_label } = prometheus;
    let own = [format!("{namespace_label}={}", quoted(namespace)), format!("{pod_label}=~{}", quoted(pods))];
    let more = labels.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
    own.into_iter().chain(more).collect::<Vec<_>>().join(",")
}

/// Seconds that a request takes: the mean, or what all but one in a hundred take. `grown` is of a counter with labels.
pub(super) fn taken(
    metrics: &Latency,
    grown: impl Fn(&str, &BTreeMap<String, String>) -> String,
) -> Option<String> {
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

/// The names of a ReplicaSet's pods, `<set>-<five>`, and of no other's: Prometheus compares from beginning to end.
pub(super) fn pods(set: &str) -> String {
    let base: String = format!("{set}-").chars().take(LONGEST_BASE).collect();
    format!("{base}[a-z0-9]{{5}}")
}

/// The names of the pods of a Deployment, whichever its ReplicaSet. No hash has a `-`, so no other service's are among them.
pub(super) fn pods_of_any(deployment: &str) -> String {
    // For the hash and the `-` behind it.
    let room = LONGEST_BASE.saturating_sub(deployment.len() + 1);
    let whole = LONGEST_HASH.min(room.saturating_sub(1));
    let cut = if whole < LONGEST_HASH { format!("|[a-z0-9]{{{}}}", room + 5) } else { String::new() };
    format!("{deployment}-([a-z0-9]{{1,{whole}}}-[a-z0-9]{{5}}{cut})")
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

    #[test]
    fn a_value_never_leaves_its_quotes() {
        assert_eq!(quoted("a\"} or up{b=\"\\\nc"), r#""a\"} or up{b=\"\\\nc""#);
    }

    /// As Prometheus compares.
    fn is_among(pods: &str, pod: &str) -> bool {
        Regex::new(&format!("^(?:{pods})$")).unwrap().is_match(pod)
    }

    fn is_of(set: &str, pod: &str) -> bool {
        is_among(&pods(set), pod)
    }

    /// As the API server names it.
    fn pod(set: &str, random: &str) -> String {
        let base: String = format!("{set}-").chars().take(LONGEST_BASE).collect();
        format!("{base}{random}")
    }

    #[test]
    fn the_longest_name_has_its_pods_too() {
        for hash in ["7d9f8b6c5x", "7d9f8b6c5", "7"] {
            let beside = names::beside(&"a".repeat(40));
            let longest = format!("{beside}-{hash}");
            assert!(is_of(&longest, &pod(&longest, "abcde")));
            assert!(is_among(&pods_of_any(&beside), &pod(&longest, "abcde")));
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

        #[test]
        fn a_deployment_has_the_pods_of_each_of_its_versions_and_no_other_deployments(
            (service, more) in ("[a-z]([-a-z0-9]{0,30}[a-z0-9])?", "(-[a-z0-9]{1,10}){1,2}"),
            (hash, random) in ("[b-z2-9]{1,10}", "[b-z2-9]{5}"),
        ) {
            let longer: String = format!("{service}{more}").chars().take(40).collect();
            let longer = longer.trim_end_matches('-').to_owned();
            prop_assume!(longer != service);
            let all = [names::beside(&service), names::beside(&longer), service, longer];
            for own in &all {
                for other in &all {
                    let pod = pod(&format!("{other}-{hash}"), &random);
                    prop_assert_eq!(is_among(&pods_of_any(own), &pod), own == other, "{} and {}", own, pod);
                }
            }
        }

        #[test]
        fn a_run_is_no_pod_of_a_deployment(
            (service, more) in ("[a-z]([-a-z0-9]{0,30}[a-z0-9])?", "(-[a-z0-9]{1,10})?"),
            (number, random) in ("[0-9]{8}", "[b-z2-9]{5}"),
        ) {
            // Of a batch by its schedule, whose name is another one's with more, and by hand.
            let scheduled = format!("{service}-x{more}-{number}");
            let by_hand = names::run(&format!("{service}{more}"), "f00");
            for run in [scheduled, by_hand] {
                prop_assert!(!is_among(&pods_of_any(&service), &pod(&run, &random)), "{}", run);
            }
        }
    }
}

//! How many requests a service has, and how long they take, in `PromQL`: what KEDA asks so that the number of instances follows.
//! Pure.
//!
//! An answer is one number. None is where nobody collects the metrics, or not often enough: an engine that had no request yet may
//! have no series of them, and that it is collected is then told by `up`, which Prometheus writes of each scrape.

use std::collections::BTreeMap;

use super::series::{pods_of_any, selector, taken};
use crate::{
    api::analysis::{Counts, Latency},
    environment::ValidPrometheus,
    names,
};

/// Looked back: two scrapes, where they are a minute apart, and not longer, since instances are to come soon.
const WINDOW: &str = "2m";

/// Whose requests: those of all its pods, with what is tried beside it. What a trial takes of them is to come back some time,
/// and what runs keeps room for it.
#[derive(Clone, Copy, Debug)]
pub struct Served<'a> {
    /// The environment's namespace.
    pub namespace: &'a str,
    /// Name of the service.
    pub service: &'a str,
    /// Where they are counted.
    pub prometheus: &'a ValidPrometheus,
}

/// Requests in a second, of all instances together.
pub fn requests(counts: &Counts, served: Served) -> String {
    let Counts { requests, failures: _, labels } = counts;
    format!("sum({}) or {}", served.rate(requests, labels), served.none_yet(requests, labels))
}

/// Milliseconds that a request takes, the mean or what all but one in a hundred take, for each instance of the service's own:
/// divided among these, it is more than it may be where it is, whatever is tried beside them. Nothing where `metrics` name
/// neither.
pub fn latency(metrics: &Latency, served: Served) -> Option<String> {
    let seconds = taken(metrics, |metric, labels| served.rate(metric, labels))?;
    let Latency { sum: _, count, buckets, labels } = metrics;
    let counted = buckets.as_ref().or(count.as_ref())?;
    let (own, rate, none_yet) =
        (served.own(), served.rate(counted, labels), served.none_yet(counted, labels));
    // Without a request it is no number, which is not less than anything.
    Some(format!("1000 * ({seconds} < Inf) * sum(up{{{own}}} == 1) or 0 * sum({rate}) or {none_yet}"))
}

impl Served<'_> {
    fn rate(self, metric: &str, labels: &BTreeMap<String, String>) -> String {
        format!("rate({}[{WINDOW}])", self.series(metric, labels))
    }

    /// 0 while some of the pods are collected and have no such series yet. Where they have, a rate without an answer is no 0:
    /// it was not looked often enough.
    fn none_yet(self, metric: &str, labels: &BTreeMap<String, String>) -> String {
        let up = self.series("up", &BTreeMap::new());
        format!("(0 * sum({up} == 1) unless sum({}))", self.series(metric, labels))
    }

    fn series(self, metric: &str, labels: &BTreeMap<String, String>) -> String {
        let Self { namespace, service, prometheus } = self;
        let pods = [service.to_owned(), names::beside(service)].map(|one| pods_of_any(&one)).join("|");
        format!("{metric}{{{}}}", selector(prometheus, (namespace, &pods), labels))
    }

    /// Without what is tried beside them.
    fn own(self) -> String {
        let Self { namespace, service, prometheus } = self;
        selector(prometheus, (namespace, &pods_of_any(service)), &BTreeMap::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prometheus() -> ValidPrometheus {
        ValidPrometheus {
            url: "http://p/api/v1/query".parse().unwrap(),
            namespace_label: "namespace".to_owned(),
            pod_label: "pod".to_owned(),
        }
    }

    const ALL: &str = r#"namespace="acme-prod",pod=~"orders-([a-z0-9]{1,10}-[a-z0-9]{5})|orders-canary-([a-z0-9]{1,10}-[a-z0-9]{5})""#;
    const OWN: &str = r#"namespace="acme-prod",pod=~"orders-([a-z0-9]{1,10}-[a-z0-9]{5})""#;

    #[test]
    fn requests_of_all_pods_are_counted_and_none_is_told_from_nobody_collects() {
        let counts: Counts =
            serde_saphyr::from_str("{requests: a_total, failures: f_total, labels: {eventType: route}}")
                .unwrap();
        let asked = requests(
            &counts,
            Served { namespace: "acme-prod", service: "orders", prometheus: &prometheus() },
        );
        let series = format!(r#"a_total{{{ALL},eventType="route"}}"#);
        let wanted = format!("sum(rate({series}[2m])) or (0 * sum(up{{{ALL}}} == 1) unless sum({series}))");
        assert_eq!(asked, wanted);
    }

    #[test]
    fn how_long_they_take_is_in_milliseconds_of_each_own_instance_and_no_number_is_none() {
        let prometheus = prometheus();
        let asked = |metrics: &str| {
            let metrics: Latency = serde_saphyr::from_str(metrics).unwrap();
            latency(&metrics, Served { namespace: "acme-prod", service: "orders", prometheus: &prometheus })
        };
        let series = |metric: &str| format!("{metric}{{{ALL}}}");
        let rate = |metric: &str| format!("sum(rate({}[2m]))", series(metric));
        let wanted = |seconds: &str, counted: &str| {
            let none = format!("(0 * sum(up{{{ALL}}} == 1) unless sum({}))", series(counted));
            let own = format!("sum(up{{{OWN}}} == 1)");
            Some(format!("1000 * ({seconds} < Inf) * {own} or 0 * {} or {none}", rate(counted)))
        };
        let mean = format!("{} / {}", rate("s_sum"), rate("s_count"));
        assert_eq!(asked("{sum: s_sum, count: s_count}"), wanted(&mean, "s_count"));
        let slowest = format!("histogram_quantile(0.99, sum by (le) (rate({}[2m])))", series("s_bucket"));
        assert_eq!(asked("{buckets: s_bucket}"), wanted(&slowest, "s_bucket"));
        assert_eq!(asked("{sum: s_sum}"), None);
    }
}

//! How many requests a service has, and how long they take, in `PromQL`: what KEDA asks so that the number of instances follows.
//! Pure.
//!
//! An answer is one number. None is where nobody collects the metrics, or could: an engine that had no request yet may have
//! no series of them, and that it is collected is then told by `up`, which Prometheus writes of each scrape.

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
    served.or_none(&format!("sum({})", served.rate(requests, labels)))
}

/// Milliseconds that a request takes: the mean, or what all but one in a hundred take. Nothing where `metrics` name neither.
pub fn latency(metrics: &Latency, served: Served) -> Option<String> {
    let seconds = taken(metrics, |metric, labels| served.rate(metric, labels))?;
    // Without a request it is no number, which is not less than anything.
    Some(served.or_none(&format!("1000 * ({seconds} < Inf)")))
}

impl Served<'_> {
    fn rate(self, metric: &str, labels: &BTreeMap<String, String>) -> String {
        format!("rate({metric}{{{}}}[{WINDOW}])", self.selector(labels))
    }

    /// `told`, or 0 while some of the pods are collected and tell nothing.
    fn or_none(self, told: &str) -> String {
        format!("{told} or 0 * sum(up{{{}}} == 1)", self.selector(&BTreeMap::new()))
    }

    fn selector(self, labels: &BTreeMap<String, String>) -> String {
        let Self { namespace, service, prometheus } = self;
        let pods = [service.to_owned(), names::beside(service)].map(|one| pods_of_any(&one)).join("|");
        selector(prometheus, (namespace, &pods), labels)
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

    const OWN: &str = r#"namespace="acme-prod",pod=~"orders-([a-z0-9]{1,10}-[a-z0-9]{5})|orders-canary-([a-z0-9]{1,10}-[a-z0-9]{5})""#;

    #[test]
    fn requests_of_all_pods_are_counted_and_none_is_told_from_nobody_collects() {
        let counts: Counts =
            serde_saphyr::from_str("{requests: a_total, failures: f_total, labels: {eventType: route}}")
                .unwrap();
        let asked = requests(
            &counts,
            Served { namespace: "acme-prod", service: "orders", prometheus: &prometheus() },
        );
        let wanted =
            format!(r#"sum(rate(a_total{{{OWN},eventType="route"}}[2m])) or 0 * sum(up{{{OWN}}} == 1)"#);
        assert_eq!(asked, wanted);
    }

    #[test]
    fn how_long_they_take_is_in_milliseconds_and_no_number_is_none() {
        let prometheus = prometheus();
        let asked = |metrics: &str| {
            let metrics: Latency = serde_saphyr::from_str(metrics).unwrap();
            latency(&metrics, Served { namespace: "acme-prod", service: "orders", prometheus: &prometheus })
        };
        let rate = |metric: &str| format!("rate({metric}{{{OWN}}}[2m])");
        let none = format!("0 * sum(up{{{OWN}}} == 1)");
        let mean = format!("1000 * (sum({}) / sum({}) < Inf) or {none}", rate("s_sum"), rate("s_count"));
        assert_eq!(asked("{sum: s_sum, count: s_count}"), Some(mean));
        let slowest =
            format!("1000 * (histogram_quantile(0.99, sum by (le) ({})) < Inf) or {none}", rate("s_bucket"));
        assert_eq!(asked("{buckets: s_bucket}"), Some(slowest));
        assert_eq!(asked("{sum: s_sum}"), None);
    }
}

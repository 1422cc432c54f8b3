//! What is wrong with an `IntegrationRuntime` that schema and CEL cannot see. Pure: spec in, sentences out.

use std::collections::BTreeSet;

use semver::VersionReq;

use crate::{
    api::{
        IntegrationRuntimeSpec, RuntimeProfile,
        analysis::{Counts, Latency},
        runtime::{Health, Metrics, Probe},
    },
    environment::is_label_name,
};

/// One sentence a problem, each beginning with the field; empty when the runtime can be used.
pub fn problems(spec: &IntegrationRuntimeSpec) -> Vec<String> {
    if spec.profiles.is_empty() {
        return vec!["spec.profiles: at least one is needed".to_owned()];
    }
    let mut found = Vec::new();
    for (index, profile) in spec.profiles.iter().enumerate() {
        let at = format!("spec.profiles[{index}]");
        if let Err(error) = VersionReq::parse(&profile.versions) {
            found.push(format!(
                "{at}.versions: {:?} is not a range such as \">=4.2\" ({error})",
                profile.versions
            ));
        }
        ports(&at, profile, &mut found);
        probes(&at, profile, &mut found);
        told(&at, profile, &mut found);
        measures(&at, profile, &mut found);
        paths(&at, profile, &mut found);
        stopping(&at, profile, &mut found);
    }
    found
}

/// A container has every port and every port's name once.
fn ports(at: &str, profile: &RuntimeProfile, found: &mut Vec<String>) {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (list, port) in named_ports(profile) {
        if port.port == 0 {
            found.push(format!("{at}.{list}: port {:?} has number 0", port.name));
        }
        if !names.insert(&port.name) || !numbers.insert(port.port) {
            found.push(format!(
                "{at}.{list}: name {:?} or number {} is there twice, among ports and managementPorts",
                port.name, port.port
            ));
        }
    }
}

fn named_ports(profile: &RuntimeProfile) -> impl Iterator<Item = (&'static str, &crate::api::Port)> {
    let business = profile.ports.iter().map(|port| ("ports", port));
    business.chain(profile.management_ports.iter().map(|port| ("managementPorts", port)))
}

/// A probe of a port that the profile does not name would be a typing error more often than not.
fn probes(at: &str, profile: &RuntimeProfile, found: &mut Vec<String>) {
    let known: BTreeSet<u16> = named_ports(profile).map(|(_, port)| port.port).collect();
    let probes = &profile.probes;
    let each =
        [("startup", &probes.startup), ("readiness", &probes.readiness), ("liveness", &probes.liveness)];
    for (name, probe) in each.into_iter().filter_map(|(name, probe)| Some((name, probe.as_ref()?))) {
        let Probe { path, port, period_seconds, timeout_seconds, failure_threshold } = probe;
        if let Some(port) = port.filter(|port| !known.contains(port)) {
            found.push(format!("{at}.probes.{name}.port: {port} is neither in ports nor in managementPorts"));
        }
        if path.as_ref().is_some_and(|path| !path.starts_with('/')) {
            found.push(format!("{at}.probes.{name}.path: must begin with `/`"));
        }
        if *period_seconds == 0 || *timeout_seconds == 0 || *failure_threshold == 0 {
            found.push(format!(
                "{at}.probes.{name}: periodSeconds, timeoutSeconds and failureThreshold are at least 1"
            ));
        }
    }
}

/// As with probes.
fn told(at: &str, profile: &RuntimeProfile, found: &mut Vec<String>) {
    let metrics = profile.metrics.as_ref();
    let metrics = metrics.map(|Metrics { port, path, counts: _, latency: _ }| ("metrics", port, path));
    let health = profile.health.as_ref().map(|Health { port, path, reads: _ }| ("health", port, path));
    for (field, port, path) in metrics.into_iter().chain(health) {
        if named_ports(profile).all(|(_, known)| known.port != *port) {
            found.push(format!("{at}.{field}.port: {port} is neither in ports nor in managementPorts"));
        }
        if !path.starts_with('/') {
            found.push(format!("{at}.{field}.path: must begin with `/`"));
        }
    }
}

/// Names of metrics and of labels, as Prometheus' data model says them. They become part of a question to it.
fn measures(at: &str, profile: &RuntimeProfile, found: &mut Vec<String>) {
    let Some(Metrics { port: _, path: _, counts, latency }) = &profile.metrics else { return };
    let (mut names, mut labels) = (Vec::new(), Vec::new());
    if let Some(Counts { requests, failures, labels: of_counts }) = counts {
        names.extend([("counts.requests", requests), ("counts.failures", failures)]);
        labels.push(("counts", of_counts));
    }
    if let Some(Latency { sum, count, buckets, labels: of_latency }) = latency {
        let told = [("latency.sum", sum), ("latency.count", count), ("latency.buckets", buckets)];
        names.extend(told.into_iter().filter_map(|(field, name)| Some((field, name.as_ref()?))));
        labels.push(("latency", of_latency));
        if !matches!((sum, count, buckets), (Some(_), Some(_), None) | (None, None, Some(_))) {
            found.push(format!("{at}.metrics.latency: has either `sum` and `count`, or `buckets`"));
        }
        if buckets.as_ref().is_some_and(|name| !name.ends_with("_bucket")) {
            found.push(format!("{at}.metrics.latency.buckets: a histogram's buckets end in `_bucket`"));
        }
        if counts.is_none() {
            found.push(format!("{at}.metrics.latency: without `counts` nobody asks for it: add them"));
        }
    }
    for (field, name) in names.into_iter().filter(|(_, name)| !is_metric_name(name)) {
        found.push(format!(
            "{at}.metrics.{field}: {name:?} is no name of a metric: write letters, digits, `_` and `:`, not beginning with a digit"
        ));
    }
    for (field, name) in labels.into_iter().flat_map(|(field, of)| of.keys().map(move |name| (field, name))) {
        if !is_label_name(name) {
            found.push(format!(
                "{at}.metrics.{field}.labels: {name:?} is no name of a label: write letters, digits and `_`, not beginning with a digit or `__`"
            ));
        }
    }
}

fn is_metric_name(name: &str) -> bool {
    is_variable(&name.replace(':', "_"))
}

/// Mounts are absolute, plain, and do not hide each other.
fn paths(at: &str, profile: &RuntimeProfile, found: &mut Vec<String>) {
    let writable =
        profile.writable_paths.iter().enumerate().map(|(i, path)| (format!("{at}.writablePaths[{i}]"), path));
    let mounts: Vec<_> =
        profile.config_mount.iter().map(|path| (format!("{at}.configMount"), path)).chain(writable).collect();
    for (index, (field, path)) in mounts.iter().enumerate() {
        if !is_mountable(path) {
            found.push(format!(
                "{field}: {path:?} must be an absolute directory other than `/`, without `:`, `.`, `..` or empty parts"
            ));
        }
        for (_, other) in &mounts[..index] {
            if within(path, other) || within(other, path) {
                found.push(format!("{field}: {path:?} and {other:?} hide each other"));
            }
        }
    }
    if profile.config_mount.is_none() && !profile.files.is_empty() {
        found.push(format!("{at}.files: there is no configMount to put them in"));
    }
    for path in profile.files.keys().filter(|path| !is_relative(path)) {
        found.push(format!("{at}.files: {path:?} must be a relative path without `.`, `..` or empty parts"));
    }
}

fn is_mountable(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(is_relative) && !path.contains(':')
}

/// A path below a directory: no part is empty, `.` or begins with `..` (which the kubelet keeps for itself).
pub(crate) fn is_relative(path: &str) -> bool {
    !path.is_empty()
        && !path.contains('\0')
        && path.split('/').all(|part| !part.is_empty() && part != "." && !part.starts_with(".."))
}

fn within(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Nobody runs as root, and nobody is killed while still waiting for the traffic to end.
fn stopping(at: &str, profile: &RuntimeProfile, found: &mut Vec<String>) {
    if profile.user.uid <= 0 || profile.user.gid <= 0 {
        found.push(format!("{at}.user: uid and gid are at least 1, no engine runs as root"));
    }
    let drain = &profile.drain;
    if drain.grace_seconds <= drain.sleep_seconds {
        found.push(format!(
            "{at}.drain.graceSeconds: {} must be more than sleepSeconds, {}",
            drain.grace_seconds, drain.sleep_seconds
        ));
    }
    if drain.stop_command.as_ref().is_some_and(|command| command.trim().is_empty()) {
        found.push(format!("{at}.drain.stopCommand: is empty"));
    }
    for name in profile.env.keys().filter(|name| !is_variable(name)) {
        found.push(format!("{at}.env: {name:?} is not the name of an environment variable"));
    }
}

/// Letters, digits and `_`, not beginning with a digit: what every shell and runtime can read.
pub(crate) fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{IntegrationRuntime, Port, runtime::HealthFormat};

    fn good() -> RuntimeProfile {
        let text = include_str!("../../../charts/imaas-operator/files/runtimes/camel.yaml");
        let runtime: IntegrationRuntime = serde_saphyr::from_str(text).unwrap();
        runtime.spec.profiles[0].clone()
    }

    /// What is told after `change` of a good profile.
    fn told(change: impl FnOnce(&mut RuntimeProfile)) -> String {
        let mut profile = good();
        change(&mut profile);
        problems(&IntegrationRuntimeSpec { profiles: vec![profile] }).join("; ")
    }

    #[test]
    fn a_good_profile_has_no_problem() {
        assert_eq!(told(|_| ()), "");
    }

    #[test]
    fn each_mistake_is_told_with_its_field() {
        let port = |name: &str, port| Port { name: name.into(), port };
        assert!(told(|p| p.versions = "four".into()).starts_with("spec.profiles[0].versions: \"four\""));
        assert!(told(|p| p.ports.push(port("other", 9876))).contains("number 9876 is there twice"));
        assert!(told(|p| p.management_ports.push(port("http", 9000))).contains("name \"http\""));
        assert!(told(|p| p.management_ports.clear()).contains("probes.liveness.port: 9876 is neither"));
        let metrics =
            |port, path: &str| Some(Metrics { port, path: path.into(), counts: None, latency: None });
        let health =
            |port, path: &str| Some(Health { port, path: path.into(), reads: HealthFormat::CamelHealth });
        assert!(told(|p| p.health = health(9999, "/h")).contains("health.port: 9999 is neither"));
        assert!(told(|p| p.health = health(9876, "h")).contains("health.path: must begin"));
        assert!(told(|p| p.metrics = metrics(9999, "/m")).contains("metrics.port: 9999 is neither"));
        assert!(told(|p| p.metrics = metrics(9876, "m")).contains("metrics.path: must begin"));
        assert!(told(|p| p.config_mount = Some("etc/x".into())).contains("configMount: \"etc/x\""));
        assert!(told(|p| p.config_mount = Some("/a/../b".into())).contains("configMount"));
        assert!(told(|p| p.config_mount = None).contains("files: there is no configMount"));
        assert!(told(|p| p.writable_paths.push("/tmp/x".into())).contains("hide each other"));
        assert!(told(|p| p.user.uid = 0).contains("no engine runs as root"));
        assert!(told(|p| p.drain.sleep_seconds = 60).contains("graceSeconds: 60 must be more"));
        assert!(told(|p| drop(p.files.insert("../x".into(), String::new()))).contains("files: \"../x\""));
        assert!(told(|p| drop(p.env.insert("A-B".into(), String::new()))).contains("env: \"A-B\""));
        assert!(problems(&IntegrationRuntimeSpec::default())[0].contains("at least one"));
    }

    #[test]
    fn names_of_metrics_that_prometheus_does_not_have_are_told() {
        let told = |names: &str| {
            let text = format!("{{port: 9876, path: /m, {names}}}");
            told(|profile| profile.metrics = Some(serde_saphyr::from_str(&text).unwrap()))
        };
        let counts = "counts: {requests: a_total, failures: 'ns:f_total', labels: {kind: 'it''s \"any\"'}}";
        assert_eq!(told(counts), "");
        assert_eq!(told(&format!("{counts}, latency: {{sum: s_sum, count: s_count}}")), "");
        assert_eq!(told(&format!("{counts}, latency: {{buckets: s_bucket}}")), "");
        for (names, words) in [
            (
                "counts: {requests: 'up} or a', failures: f}",
                "counts.requests: \"up} or a\" is no name of a metric",
            ),
            ("counts: {requests: a, failures: 5xx}", "counts.failures: \"5xx\" is no name"),
            ("counts: {requests: a, failures: ''}", "counts.failures: \"\" is no name"),
            (
                "counts: {requests: a, failures: f, labels: {__name__: b}}",
                "counts.labels: \"__name__\" is no",
            ),
            (
                "counts: {requests: a, failures: f, labels: {'a:b': c}}",
                "counts.labels: \"a:b\" is no name of a label",
            ),
            ("latency: {buckets: s_bucket}", "latency: without `counts`"),
            (
                "counts: {requests: a, failures: f}, latency: {sum: s}",
                "latency: has either `sum` and `count`",
            ),
            ("counts: {requests: a, failures: f}, latency: {}", "latency: has either `sum` and `count`"),
            (
                "counts: {requests: a, failures: f}, latency: {sum: s, count: c, buckets: s_bucket}",
                "latency: has either `sum` and `count`",
            ),
            ("counts: {requests: a, failures: f}, latency: {buckets: s}", "latency.buckets: a histogram's"),
        ] {
            let told = told(names);
            assert!(told.starts_with(&format!("spec.profiles[0].metrics.{words}")), "{names}: {told}");
        }
    }

    #[test]
    fn directories_with_a_common_beginning_do_not_hide_each_other() {
        assert_eq!(told(|p| p.writable_paths.push("/tmpfiles".into())), "");
    }
}

//! What `/metrics` tells. Labels come from closed sets; a tenant's name is allowed, error text and object names are not.

use std::sync::LazyLock;

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::{conditions::Reason, git::GitError};

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

/// `imaas_leader`: 1 where this operator leads, 0 where it stands by.
pub static LEADER: LazyLock<IntGauge> =
    LazyLock::new(|| registered(IntGauge::new("imaas_leader", "Whether this operator leads")));

/// `imaas_watch_errors_total{kind}`: interruptions of watches; a rising line is a blind operator.
pub static WATCH_ERRORS: LazyLock<IntCounterVec> =
    LazyLock::new(|| counter("imaas_watch_errors_total", "Interruptions of watches", &["kind"]));

/// `imaas_unreadable_objects_total{kind}`: stored objects that do not parse and are left out.
pub static UNREADABLE: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter("imaas_unreadable_objects_total", "Stored objects that do not parse", &["kind"])
});

/// `imaas_reconciles_total{controller,reason}`: passes by how they ended.
pub static RECONCILES: LazyLock<IntCounterVec> =
    LazyLock::new(|| counter("imaas_reconciles_total", "Passes by outcome", &["controller", "reason"]));

/// `imaas_reconcile_seconds{controller}`: duration of passes.
pub static RECONCILE_SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let options = HistogramOpts::new("imaas_reconcile_seconds", "Duration of passes in seconds")
        .buckets(vec![0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]);
    registered(HistogramVec::new(options, &["controller"]))
});

/// `imaas_git_requests_total{operation,reason}`: looks at Git hosts by how they ended.
static GIT_REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter("imaas_git_requests_total", "Requests to Git hosts by outcome", &["operation", "reason"])
});

/// `imaas_registry_sweeps_total{reason}`: looks at all images of the registry by how they ended.
pub static REGISTRY_SWEEPS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter("imaas_registry_sweeps_total", "Looks at all images of the registry by outcome", &["reason"])
});

/// `imaas_registry_bytes{tenant}`: what a tenant's images take.
pub static REGISTRY_BYTES: LazyLock<IntGaugeVec> =
    LazyLock::new(|| gauge("imaas_registry_bytes", "Bytes of a tenant's images", &["tenant"]));

/// `imaas_registry_quota_bytes{tenant}`: what they may take.
pub static REGISTRY_QUOTA: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge("imaas_registry_quota_bytes", "Bytes that a tenant's images may have", &["tenant"])
});

/// `imaas_registry_removable_bytes`: what retention would delete, of all tenants.
pub static REGISTRY_REMOVABLE: LazyLock<IntGauge> = LazyLock::new(|| {
    registered(IntGauge::new("imaas_registry_removable_bytes", "Bytes that retention would delete"))
});

/// `imaas_registry_deleted_total`: manifests and indexes that retention deleted.
pub static REGISTRY_DELETED: LazyLock<IntCounter> = LazyLock::new(|| {
    registered(IntCounter::new("imaas_registry_deleted_total", "Manifests that retention deleted"))
});

/// `imaas_hook_requests_total{hook,code}`: notifications from outside by the status of the answer.
pub static HOOK_REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter("imaas_hook_requests_total", "Notifications by the answer's status", &["hook", "code"])
});

/// `imaas_decisions_total{tenant,action,outcome}`: decisions of people by their answer. No environment: one that is refused
/// may name any.
pub static DECISIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter("imaas_decisions_total", "Decisions of people by their answer", &["tenant", "action", "outcome"])
});

/// `imaas_rollbacks_total{tenant,environment,reason}`: times that an environment went back to another release than Git asks
/// for: what it ran was given up (`Failed`), or people said so (`Rejected`, `RolledBack`).
pub static ROLLBACKS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let labels = ["tenant", "environment", "reason"];
    counter("imaas_rollbacks_total", "Times that an environment went back to another release", &labels)
});

/// `imaas_deployments_total{tenant,environment,outcome}`: deployments that Git asked for, by how they ended: `healthy` the
/// first time that all instances were ready, or `failed` each time that one was given up.
pub static DEPLOYMENTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let labels = ["tenant", "environment", "outcome"];
    counter("imaas_deployments_total", "Deployments that Git asked for, by outcome", &labels)
});

/// `imaas_lead_time_seconds{tenant,environment}`: from what was committed until it was healthy in the environment.
pub static LEAD_TIME: LazyLock<HistogramVec> = LazyLock::new(|| {
    days("imaas_lead_time_seconds", "From a commit until it was healthy in the environment, in seconds")
});

/// `imaas_restore_time_seconds{tenant,environment}`: from a deployment that failed until the environment was well again, by
/// going back or by a mend.
pub static RESTORE_TIME: LazyLock<HistogramVec> = LazyLock::new(|| {
    days("imaas_restore_time_seconds", "From a failed deployment until all was well again, in seconds")
});

/// `imaas_commit_statuses_total{host,outcome}`: statuses that hosts were told, by what the host is: `accepted`, `refused` or
/// `again`.
pub static COMMIT_STATUSES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter("imaas_commit_statuses_total", "Commit statuses by outcome", &["host", "outcome"])
});

/// Counts how a request to a Git host ended, and hands it on.
pub fn counted<T>(operation: &'static str, outcome: Result<T, GitError>) -> Result<T, GitError> {
    let reason = outcome.as_ref().map_or_else(GitError::reason, |_| Reason::Succeeded);
    GIT_REQUESTS.with_label_values(&[operation, reason.as_str()]).inc();
    outcome
}

fn counter(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(IntCounterVec::new(Opts::new(name, help), labels))
}

/// By tenant and environment, of what takes from half a minute to a month.
fn days(name: &str, help: &str) -> HistogramVec {
    let buckets = vec![30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0, 604_800.0, 2_592_000.0];
    registered(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), &["tenant", "environment"]))
}

fn gauge(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(IntGaugeVec::new(Opts::new(name, help), labels))
}

/// The names and labels are constants of this file and a test collects them all, so this cannot fail in a release.
#[expect(clippy::expect_used, reason = "constants of this file, covered by a test")]
fn registered<C: prometheus::core::Collector + Clone + 'static>(collector: prometheus::Result<C>) -> C {
    let collector = collector.expect("a metric's name and labels are valid");
    REGISTRY.register(Box::new(collector.clone())).expect("a metric is registered once");
    collector
}

/// For metrics that are registered elsewhere.
pub fn registry() -> &'static Registry {
    &REGISTRY
}

/// The text exposition of all of it.
pub fn text() -> String {
    let mut buffer = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&REGISTRY.gather(), &mut buffer) {
        tracing::error!(error = &error as &dyn std::error::Error, "metrics not encoded");
    }
    String::from_utf8(buffer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_registers_and_is_told() {
        WATCH_ERRORS.with_label_values(&["Namespace"]).inc();
        UNREADABLE.with_label_values(&["Tenant"]).inc();
        RECONCILES.with_label_values(&["tenant", "Succeeded"]).inc();
        RECONCILE_SECONDS.with_label_values(&["tenant"]).observe(0.01);
        GIT_REQUESTS.with_label_values(&["heads", "Succeeded"]).inc();
        REGISTRY_SWEEPS.with_label_values(&["Succeeded"]).inc();
        REGISTRY_BYTES.with_label_values(&["acme"]).set(1);
        REGISTRY_QUOTA.with_label_values(&["acme"]).set(2);
        REGISTRY_REMOVABLE.set(3);
        REGISTRY_DELETED.inc();
        HOOK_REQUESTS.with_label_values(&["registry", "204"]).inc();
        DECISIONS.with_label_values(&["acme", "hold", "InForce"]).inc();
        ROLLBACKS.with_label_values(&["acme", "prod", "Failed"]).inc();
        DEPLOYMENTS.with_label_values(&["acme", "prod", "healthy"]).inc();
        LEAD_TIME.with_label_values(&["acme", "prod"]).observe(61.0);
        RESTORE_TIME.with_label_values(&["acme", "prod"]).observe(20.0);
        COMMIT_STATUSES.with_label_values(&["gitea", "accepted"]).inc();
        let text = text();
        for name in [
            "imaas_watch_errors_total",
            "imaas_reconciles_total",
            "imaas_reconcile_seconds",
            "imaas_git_requests_total",
            "imaas_registry_sweeps_total",
            "imaas_registry_removable_bytes 3",
            "imaas_registry_deleted_total",
            "imaas_hook_requests_total{code=\"204\",hook=\"registry\"} 1",
            "imaas_decisions_total{action=\"hold\",outcome=\"InForce\",tenant=\"acme\"} 1",
            "imaas_rollbacks_total{environment=\"prod\",reason=\"Failed\",tenant=\"acme\"} 1",
            "imaas_deployments_total{environment=\"prod\",outcome=\"healthy\",tenant=\"acme\"} 1",
            "imaas_lead_time_seconds_bucket{environment=\"prod\",tenant=\"acme\",le=\"300\"} 1",
            "imaas_restore_time_seconds_count{environment=\"prod\",tenant=\"acme\"} 1",
            "imaas_registry_bytes{tenant=\"acme\"} 1",
            "imaas_registry_quota_bytes{tenant=\"acme\"} 2",
        ] {
            assert!(text.contains(name), "{name}");
        }
    }
}

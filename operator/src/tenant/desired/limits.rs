//! How much may be in a namespace, and how large a container is that says nothing. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{LimitRange, LimitRangeItem, LimitRangeSpec, ResourceQuota, ResourceQuotaSpec},
    apimachinery::pkg::api::resource::Quantity as Amount,
};

use super::Place;
use crate::{api::Quantity, environment::ValidQuota, names::LIMITS};

/// Counts are a bound against floods, not a budget: far above what 300 services with their history need.
const ENVIRONMENT_COUNTS: [(&str, &str); 9] = [
    ("configmaps", "5000"),
    ("count/deployments.apps", "700"),
    ("count/jobs.batch", "1000"),
    ("count/replicasets.apps", "10000"),
    ("persistentvolumeclaims", "0"),
    ("secrets", "1000"),
    ("services", "700"),
    ("services.loadbalancers", "0"),
    ("services.nodeports", "0"),
];

/// A home holds descriptions and credentials; nothing runs in it.
///
/// Our own kinds are not counted. No member may make them, and the operator is bounded by the tenant file. Worse, a
/// quota that counts a kind which the quota controller has not discovered yet refuses every object of that kind until
/// the controller's next full pass: seen, more than three minutes after an installation.
const HOME_COUNTS: [(&str, &str); 7] = [
    ("configmaps", "100"),
    ("persistentvolumeclaims", "0"),
    ("pods", "0"),
    ("secrets", "1000"),
    ("services", "0"),
    ("services.loadbalancers", "0"),
    ("services.nodeports", "0"),
];

/// What a container is given that does not say: small enough for every quota that is of any use.
const CPU_REQUEST: &str = "100m";
const MEMORY: &str = "256Mi";

pub(super) fn quota(place: &Place<'_>, quota: &ValidQuota) -> ResourceQuota {
    let mut hard = counts(&ENVIRONMENT_COUNTS);
    hard.extend(quota.hard());
    resource_quota(place, hard)
}

pub(super) fn home_quota(place: &Place<'_>) -> ResourceQuota {
    resource_quota(place, counts(&HOME_COUNTS))
}

/// The default makes a pod that says nothing schedulable under the quota. CPU has no limit and no max: one would be
/// imposed as a limit on every container, and throttles a starting JVM; the sum of requests is bounded anyway.
pub(super) fn limit_range(place: &Place<'_>, quota: &ValidQuota) -> LimitRange {
    let memory = smaller(MEMORY, &quota.memory);
    let container = LimitRangeItem {
        type_: "Container".to_owned(),
        default: Some(amounts(&[("memory", &memory)])),
        default_request: Some(amounts(&[("cpu", &smaller(CPU_REQUEST, &quota.cpu)), ("memory", &memory)])),
        max: Some(amounts(&[("memory", &quota.memory.0)])),
        ..LimitRangeItem::default()
    };
    LimitRange { metadata: place.metadata(LIMITS), spec: Some(LimitRangeSpec { limits: vec![container] }) }
}

fn resource_quota(place: &Place<'_>, hard: BTreeMap<String, Amount>) -> ResourceQuota {
    ResourceQuota {
        metadata: place.metadata(LIMITS),
        spec: Some(ResourceQuotaSpec { hard: Some(hard), ..ResourceQuotaSpec::default() }),
        status: None,
    }
}

fn counts(list: &[(&str, &str)]) -> BTreeMap<String, Amount> {
    amounts(list)
}

fn amounts<V: AsRef<str>>(list: &[(&str, V)]) -> BTreeMap<String, Amount> {
    list.iter().map(|(name, amount)| ((*name).to_owned(), Amount(amount.as_ref().to_owned()))).collect()
}

fn smaller(usual: &str, most: &Quantity) -> String {
    if Quantity(usual.to_owned()).millis() > most.millis() { most.0.clone() } else { usual.to_owned() }
}

//! How a canary is judged by numbers: what a descriptor asks for, what a runtime's profile names, and what of both is
//! frozen in a release.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What of a canary's requests is compared with those of what runs, and whether more waits; `{}` takes every default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// So many percentage points more of its requests may fail; without it, 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub errors: Option<u16>,
    /// So many percent longer its requests may take; without it, 50 where the runtime tells how long they take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub latency: Option<u16>,
    /// So many requests it must have had in a step before it is judged; without it, 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: Option<u32>,
    /// So many percent more may wait in the brokers of `scaling.triggers` than when the step began, before it is given up;
    /// without it, what waits does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub waiting: Option<u16>,
}

/// The engine's own names of the counters that tell how many requests it had, and how many of them failed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Counter of requests, the failed ones too.
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub requests: String,
    /// Counter of those that failed.
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub failures: String,
    /// Labels of the series that count, where others would count the same again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub labels: BTreeMap<String, String>,
}

/// The engine's own names of what tells how long requests take: `sum` and `count`, or `buckets`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Seconds of all requests, of which with `count` the mean is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub sum: Option<String>,
    /// Number of requests in `sum`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub count: Option<String>,
    /// A histogram's buckets, in seconds, of which the 99th percentile is made; its name ends in `_bucket`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub buckets: Option<String>,
    /// Labels of the series that count.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub labels: BTreeMap<String, String>,
}

/// How the steps of a release's trial are judged, with the names of the metrics as they were when it was made. Without `counts`
/// and with `waiting` it is judged by what waits alone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseAnalysis {
    /// So many percentage points more of its requests may fail.
    pub errors: u16,
    /// So few requests are not judged.
    pub requests: u32,
    /// What tells how many there were; missing where its requests are not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// How long they may take; missing where the runtime does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<ReleaseLatency>,
    /// So many percent more may wait than when the step began; missing where that does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u16>,
}

/// How long the requests of a release that is tried may take.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseLatency {
    /// So many percent longer.
    pub longer: u16,
    /// What tells it.
    pub metrics: Latency,
}

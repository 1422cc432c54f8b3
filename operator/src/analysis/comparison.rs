//! What of a release's analysis is about its requests. Pure.

use crate::api::{
    ReleaseAnalysis,
    analysis::{Counts, ReleaseLatency},
};

/// By what the requests of what is tried are compared with those of what runs. See [`ReleaseAnalysis`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// So many percentage points more of them may fail.
    pub errors: u16,
    /// So few are not judged.
    pub requests: u32,
    /// What tells how many there were.
    pub counts: Counts,
    /// How long they may take.
    pub latency: Option<ReleaseLatency>,
}

impl Comparison {
    /// Nothing where nobody counts them.
    pub fn of(analysis: &ReleaseAnalysis) -> Option<Self> {
        let ReleaseAnalysis { errors, requests, counts, latency, waiting: _ } = analysis;
        let (counts, latency) = (counts.clone()?, latency.clone());
        Some(Self { errors: *errors, requests: *requests, counts, latency })
    }
}

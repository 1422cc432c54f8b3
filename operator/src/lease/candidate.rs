//! What is written into the Lease, and when: client-go's rules, as a state machine from what was seen of it. Pure: times are
//! arguments.
//!
//! A record of somebody else counts until it was not seen to change for as long as it says. That is judged by our own
//! monotonic clock: clocks of two machines may differ, so the times that stand in it are for people only.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{ResourceExt, api::ObjectMeta};

/// Name of the Lease.
pub const NAME: &str = "imaas-operator";
/// Between two looks, or two renewals.
pub const RETRY: Duration = Duration::from_secs(2);
/// From when a renewal was sent until its sender writes no more. Well before any other may lead.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How long a record counts that is not seen to change.
const DURATION: i32 = 15;
/// No record counts longer, whatever a person wrote into it: nobody of us writes a longer one.
const LONGEST: Duration = Duration::from_mins(1);
/// The least that there is: what was released counts no longer.
const RELEASED: i32 = 1;

/// One that may lead.
pub struct Candidate {
    identity: String,
    seen: Option<Seen>,
    /// Nothing was sent since whose end is not known.
    is_sure: bool,
}

struct Seen {
    /// Without a resourceVersion: it was deleted since.
    lease: Lease,
    /// When it was first seen so.
    since: Instant,
}

impl Candidate {
    /// `identity`: no other that runs has it.
    pub fn new(identity: String) -> Self {
        Self { identity, seen: None, is_sure: false }
    }

    /// Takes in what there was at `now`, or before.
    pub fn saw(&mut self, lease: Option<Lease>, now: Instant) {
        self.is_sure = true;
        let Some(lease) = lease.or_else(|| self.deleted()) else { return };
        let is_known = |seen: &Seen| seen.lease.resource_version() == lease.resource_version();
        let since = self.seen.as_ref().filter(|seen| is_known(seen)).map_or(now, |seen| seen.since);
        self.seen = Some(Seen { lease, since });
    }

    /// A write failed, or so it seems.
    pub fn doubts(&mut self) {
        self.is_sure = false;
    }

    /// Who holds the lease, as far as was seen.
    pub fn holder(&self) -> Option<&str> {
        self.spec()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// Does it hold the lease, for all that it knows? Then there is nothing to ask before it is renewed.
    pub fn holds(&self) -> bool {
        self.is_sure && self.is_holder()
    }

    /// The Lease as it is to be: created where it has no resourceVersion, else put in the place of that one. `None` while
    /// somebody else holds it. `at` is what the clock on the wall says.
    pub fn wanted(&self, now: Instant, at: Timestamp) -> Option<Lease> {
        let is_free = self.is_released() || self.is_holder() || self.is_over(now);
        is_free.then(|| {
            let before = self.spec().cloned().unwrap_or_default();
            let transitions = before.lease_transitions;
            let spec = LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(DURATION),
                renew_time: Some(MicroTime(at)),
                ..before
            };
            let taken_over = |spec: LeaseSpec| LeaseSpec {
                acquire_time: Some(MicroTime(at)),
                lease_transitions: Some(
                    self.seen.as_ref().map_or(0, |_| transitions.unwrap_or(0).saturating_add(1)),
                ),
                ..spec
            };
            self.with(if self.is_holder() { spec } else { taken_over(spec) })
        })
    }

    /// The Lease as it is to be when this one leaves: anybody may take it at once. `None` where it is not this one's.
    pub fn released(&self, at: Timestamp) -> Option<Lease> {
        let before = self.spec().filter(|_| self.holds())?.clone();
        Some(self.with(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(RELEASED),
            renew_time: Some(MicroTime(at)),
            acquire_time: Some(MicroTime(at)),
            ..before
        }))
    }

    /// What is known of one that is gone: it counts on, since whoever held it last may not know yet.
    fn deleted(&self) -> Option<Lease> {
        let spec = LeaseSpec { lease_duration_seconds: Some(DURATION), ..self.spec()?.clone() };
        Some(Lease { metadata: ObjectMeta::default(), spec: Some(spec) })
    }

    /// There is none, or its holder gave it back: one that a person emptied counts on, since who held it may not know yet.
    fn is_released(&self) -> bool {
        let is_given_back = |seen: &Seen| {
            let spec = seen.lease.spec.as_ref();
            let duration = spec.and_then(|spec| spec.lease_duration_seconds);
            seen.lease.resource_version().is_some() && duration == Some(RELEASED)
        };
        self.holder().is_none() && self.seen.as_ref().is_none_or(is_given_back)
    }

    fn spec(&self) -> Option<&LeaseSpec> {
        self.seen.as_ref()?.lease.spec.as_ref()
    }

    fn is_holder(&self) -> bool {
        self.holder() == Some(&self.identity)
    }

    /// Was it not seen to change for as long as it says?
    fn is_over(&self, now: Instant) -> bool {
        let seconds = self.spec().and_then(|spec| spec.lease_duration_seconds).unwrap_or(DURATION);
        let duration = Duration::from_secs(seconds.unsigned_abs().into()).min(LONGEST);
        self.seen.as_ref().is_none_or(|seen| now >= seen.since + duration)
    }

    fn with(&self, spec: LeaseSpec) -> Lease {
        let metadata = self.seen.as_ref().map(|seen| seen.lease.metadata.clone()).unwrap_or_default();
        let metadata = ObjectMeta { name: Some(NAME.to_owned()), managed_fields: None, ..metadata };
        Lease { metadata, spec: Some(spec) }
    }
}

#[cfg(test)]
mod tests;

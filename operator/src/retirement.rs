//! How a tenant, a service or an environment ends: it serves on, then it is scaled to zero, then it is removed. Pure.
//!
//! What ends bears annotations, on the object itself or, for an environment, on its namespace: since when, by what, and
//! since when it is scaled to zero. Taking them off undoes it at any stage. Each stage is seen to begin before it can
//! end: neither a stopped operator nor a shorter period skips one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{Retirement, RetirementStage},
    conditions::cut,
    names::{self, ORPHANED, ORPHANED_BY, RETIRING},
};

/// What is told of a confirmation that somebody wrote, in characters.
const LONGEST_CONFIRMATION: usize = 20;

/// How long each stage lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// It serves on, and the platform is told.
    pub orphaned: Duration,
    /// It is scaled to zero; what it is stays.
    pub retiring: Duration,
}

/// A day and three days.
impl Default for Periods {
    fn default() -> Self {
        Self { orphaned: Duration::from_hours(24), retiring: Duration::from_hours(72) }
    }
}

/// When and by what something was taken out of Git, as its annotations say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// When the operator saw it.
    pub since: Timestamp,
    /// A reader's words for it, such as `commit 4f2a…` or `generation 7 of the Tenant`.
    pub by: String,
    /// When the second stage began.
    pub retiring: Option<Timestamp>,
}

/// Where a retirement stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// In a stage, which ends at the time that it says, or as soon as [`Left::advance`] is asked after it.
    Underway(Retirement),
    /// Every stage is over: it is to be removed.
    Due,
}

impl Left {
    /// It ends, as of `now`.
    pub fn now(now: Timestamp, by: impl Into<String>) -> Self {
        Self { since: in_seconds(now), by: by.into(), retiring: None }
    }

    /// `None` where nothing ends. A time that nobody can read is no time: whoever marks it next writes a new one.
    pub fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let time = |key| annotations.get(key).and_then(|text: &String| text.parse().ok());
        let by = annotations.get(ORPHANED_BY).cloned().unwrap_or_default();
        Some(Self { since: time(ORPHANED)?, by, retiring: time(RETIRING) })
    }

    /// Writes it down; [`Left::of`] reads it.
    pub fn mark(&self, annotations: &mut BTreeMap<String, String>) {
        annotations.insert(ORPHANED.to_owned(), self.since.to_string());
        annotations.insert(ORPHANED_BY.to_owned(), self.by.clone());
        if let Some(retiring) = self.retiring {
            annotations.insert(RETIRING.to_owned(), retiring.to_string());
        }
    }

    /// Begins the second stage when the first is over.
    #[must_use]
    pub fn advance(mut self, periods: &Periods, now: Timestamp) -> Self {
        if self.retiring.is_none() && now >= after(self.since, periods.orphaned) {
            self.retiring = Some(in_seconds(now));
        }
        self
    }

    /// Where it stands at `now`.
    pub fn progress(&self, periods: &Periods, now: Timestamp) -> Progress {
        let (stage, end) = self.stage(periods);
        if stage == RetirementStage::Retiring && now >= end {
            return Progress::Due;
        }
        Progress::Underway(self.retirement(periods))
    }

    /// Its stage, whether or not that is over.
    pub fn retirement(&self, periods: &Periods) -> Retirement {
        let (stage, end) = self.stage(periods);
        Retirement { stage, until: end.to_string() }
    }

    /// How long until the stage of `now` ends; nothing where it is to go on at once.
    pub fn wait(&self, periods: &Periods, now: Timestamp) -> Duration {
        self.stage(periods).1.duration_since(now).try_into().unwrap_or_default()
    }

    /// How long ago the last stage ended; nothing where it did not.
    pub fn overdue(&self, periods: &Periods, now: Timestamp) -> Duration {
        let (stage, end) = self.stage(periods);
        match stage {
            RetirementStage::Orphaned => Duration::ZERO,
            RetirementStage::Retiring => now.duration_since(end).try_into().unwrap_or_default(),
        }
    }

    fn stage(&self, periods: &Periods) -> (RetirementStage, Timestamp) {
        match self.retiring {
            None => (RetirementStage::Orphaned, after(self.since, periods.orphaned)),
            Some(since) => (RetirementStage::Retiring, after(since, periods.retiring)),
        }
    }
}

fn in_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn after(start: Timestamp, period: Duration) -> Timestamp {
    let period = SignedDuration::try_from(period).unwrap_or(SignedDuration::MAX);
    start.checked_add(period).unwrap_or(Timestamp::MAX)
}

/// Of `owned` things, how many may be gone at once without a doubt: five, or a tenth. More wait for a confirmation.
pub fn allowed_to_vanish(owned: usize) -> usize {
    (owned / 10).max(5)
}

/// What confirms the removal of exactly these, in whatever order: the value of [`names::CONFIRM_REMOVAL`].
pub fn confirmation<'a>(gone: impl IntoIterator<Item = &'a str>) -> String {
    let gone: BTreeSet<&str> = gone.into_iter().collect();
    names::content_hash(&gone)
}

/// Told beside how to confirm a removal, where somebody confirmed another one; with a space before it.
pub fn misconfirmed(annotations: &BTreeMap<String, String>, confirmation: &str) -> String {
    match annotations.get(names::CONFIRM_REMOVAL) {
        Some(told) if told != confirmation => {
            format!(" (it is {:?} now, which is another set)", cut(told, LONGEST_CONFIRMATION))
        }
        Some(_) | None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn it_serves_on_then_is_scaled_down_then_is_due() {
        let mut left = Left::now(at("2026-01-01T00:00:00Z"), "commit 4f2a");
        for (now, stage, hours) in [
            ("2025-12-31T00:00:00Z", "Orphaned until 2026-01-02T00:00:00Z", 48),
            ("2026-01-01T00:00:00Z", "Orphaned until 2026-01-02T00:00:00Z", 24),
            ("2026-01-02T00:00:00Z", "Retiring until 2026-01-05T00:00:00Z", 72),
            ("2026-01-04T23:00:00Z", "Retiring until 2026-01-05T00:00:00Z", 1),
            ("2026-01-05T00:00:00Z", "due", 0),
        ] {
            let now_at = at(now);
            left = left.advance(&Periods::default(), now_at);
            let told = match left.progress(&Periods::default(), now_at) {
                Progress::Underway(Retirement { stage, until }) => format!("{stage:?} until {until}"),
                Progress::Due => "due".to_owned(),
            };
            let wait = left.wait(&Periods::default(), now_at).as_secs() / 3600;
            assert_eq!((told.as_str(), wait), (stage, hours), "{now}");
        }
    }

    #[test]
    fn an_operator_that_was_stopped_for_both_stages_still_gives_the_second() {
        let left = Left::now(at("2026-01-01T00:00:00Z"), "");
        let (late, later) = (at("2027-01-01T00:00:00Z"), at("2027-01-04T00:00:00Z"));
        let serves = left.progress(&Periods::default(), late);
        assert!(matches!(serves, Progress::Underway(Retirement { stage: RetirementStage::Orphaned, .. })));
        assert_eq!(left.wait(&Periods::default(), late), Duration::ZERO);
        let left = left.advance(&Periods::default(), late);
        assert!(matches!(left.progress(&Periods::default(), late), Progress::Underway(_)));
        assert_eq!(left.progress(&Periods::default(), later), Progress::Due);
    }

    #[test]
    fn periods_beyond_time_never_end() {
        let endless = Periods { orphaned: Duration::MAX, retiring: Duration::MAX };
        let late = at("9999-01-01T00:00:00Z");
        let left = Left::now(at("2026-01-01T00:00:00Z"), "").advance(&endless, late);
        assert_eq!(left.retiring, None);
    }

    #[test]
    fn what_is_marked_is_read_back_in_whole_seconds() {
        let left = Left::now(at("2026-01-01T00:00:00.7Z"), "commit 4f2a");
        let retiring = left.clone().advance(&Periods::default(), at("2026-01-03T00:00:00.7Z"));
        for left in [left, retiring] {
            let mut annotations = BTreeMap::new();
            left.mark(&mut annotations);
            assert_eq!(annotations[ORPHANED], "2026-01-01T00:00:00Z");
            assert_eq!(Left::of(&annotations), Some(left));
        }
        let unreadable = BTreeMap::from([(ORPHANED.to_owned(), "4f2a".to_owned())]);
        assert_eq!(Left::of(&unreadable), None);
    }

    #[test]
    fn a_confirmation_is_for_exactly_one_set() {
        assert_eq!(confirmation(["acme", "beta"]), confirmation(["beta", "acme", "acme"]));
        assert_ne!(confirmation(["acme", "beta"]), confirmation(["acme"]));
        assert_ne!(confirmation(["a", "b"]), confirmation(["a\",\"b"]));
    }

    #[test]
    fn five_or_a_tenth_may_vanish() {
        assert_eq!([0, 5, 59, 60, 300].map(allowed_to_vanish), [5, 5, 5, 6, 30]);
    }
}

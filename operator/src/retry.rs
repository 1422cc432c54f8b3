//! When to try again: the one question a controller asks of an error.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// What an error says about the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Only a change of the object can help: `Stalled=True`, no requeue.
    Never,
    /// Something else must happen first, and a watch or this timer will tell.
    After(Duration),
    /// The world misbehaved: exponential backoff per object.
    Backoff,
}

impl Retry {
    /// The longest that the first attempt after the error waits: of several errors, the one with the least is the most
    /// urgent.
    pub fn urgency(self) -> Duration {
        match self {
            Self::Never => Duration::MAX,
            Self::After(delay) => delay,
            Self::Backoff => backoff(0, 1.0),
        }
    }
}

/// Delay before attempt `failures + 1`: 1 s, 2 s, 4 s .. 5 min, spread by `jitter` in `0.0..=1.0`
/// over the upper half so that objects which failed together do not retry together.
pub fn backoff(failures: u32, jitter: f64) -> Duration {
    let full = Duration::from_secs(1u64 << failures.min(9)).min(Duration::from_mins(5));
    full / 2 + full.mul_f64(jitter.clamp(0.0, 1.0) / 2.0)
}

/// `interval` spread over ±10 % by `jitter` in `0.0..=1.0`, never longer than one second more than asked.
pub fn spread(interval: Duration, jitter: f64) -> Duration {
    let tenth = (interval / 10).min(Duration::from_secs(1));
    interval.saturating_sub(tenth) + (tenth * 2).mul_f64(jitter.clamp(0.0, 1.0))
}

/// For whoever mends what was refused: how soon that is seen.
pub fn asked_again(longest: Duration) -> String {
    format!("it is asked again at least every {} s", longest.as_secs())
}

/// Consecutive failures by object, until it succeeds.
#[derive(Debug)]
pub struct Failures<K>(Mutex<HashMap<K, u32>>);

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Failures<K> {
    /// Counts one more failure of `object`; returns how many came before it.
    pub fn count(&self, object: K) -> u32 {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object).or_default();
        *count = count.saturating_add(1);
        *count - 1
    }

    /// It succeeded, or is gone.
    pub fn forget(&self, object: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_then_stays_at_five_minutes() {
        assert_eq!(backoff(0, 1.0), Duration::from_secs(1));
        assert_eq!(backoff(3, 1.0), Duration::from_secs(8));
        assert_eq!(backoff(30, 1.0), Duration::from_mins(5));
        assert_eq!(backoff(30, 0.0), Duration::from_secs(150));
    }

    #[test]
    fn what_may_pass_at_once_is_more_urgent_than_what_waits_for_a_person() {
        let foreign = Retry::After(Duration::from_mins(1));
        let uncounted = Retry::After(Duration::from_millis(500));
        let mut retries = [Retry::Never, foreign, Retry::Backoff, uncounted];
        retries.sort_by_key(|retry| retry.urgency());
        assert_eq!(retries, [uncounted, Retry::Backoff, foreign, Retry::Never]);
    }

    #[test]
    fn an_interval_is_spread_but_little() {
        assert_eq!(spread(Duration::from_secs(1), 0.5), Duration::from_secs(1));
        assert_eq!(spread(Duration::from_mins(1), 1.0), Duration::from_secs(61));
        assert_eq!(spread(Duration::from_mins(1), 0.0), Duration::from_secs(59));
    }

    #[test]
    fn failures_count_by_object_until_forgotten() {
        let failures = Failures::default();
        assert_eq!((failures.count("a"), failures.count("a"), failures.count("b")), (0, 1, 0));
        failures.forget(&"a");
        assert_eq!(failures.count("a"), 0);
    }
}

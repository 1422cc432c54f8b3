//! Whose turn it is: each key once at a time, at its own moment. Pure: the caller brings the clock.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    time::{Duration, Instant},
};

use crate::retry::{backoff, spread};

/// A failing repository is asked at least this often, so that it is back soon after its host is.
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);

/// What is due when.
#[derive(Debug)]
pub struct Schedule<K> {
    turns: HashMap<K, Turn>,
    /// By moment, then by order of arrival.
    due: BTreeMap<(Instant, u64), K>,
    arrivals: u64,
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    Due(Instant, u64),
    /// Under way; `again` when it was asked for meanwhile.
    Running {
        again: bool,
    },
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Self { turns: HashMap::new(), due: BTreeMap::new(), arrivals: 0 }
    }
}

impl<K: Clone + Eq + Hash> Schedule<K> {
    /// Asks for a turn at `when` at the latest. What is under way runs once more after it.
    pub fn ask(&mut self, key: K, when: Instant) {
        match self.turns.get_mut(&key) {
            Some(Turn::Running { again }) => *again = true,
            Some(Turn::Due(at, _)) if *at <= when => {}
            Some(Turn::Due(at, arrival)) => {
                let old = (*at, *arrival);
                self.due.remove(&old);
                self.put(key, when);
            }
            None => self.put(key, when),
        }
    }

    /// The next key whose moment has come; it is under way until [`Self::done`].
    pub fn take(&mut self, now: Instant) -> Option<K> {
        let (moment, _) = self.due.first_key_value()?;
        if moment.0 > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        self.turns.insert(key.clone(), Turn::Running { again: false });
        Some(key)
    }

    /// It ran; the next turn is at `next`, or `now` when it was asked for meanwhile. `None`: never again.
    pub fn done(&mut self, key: K, now: Instant, next: Option<Instant>) {
        let again = matches!(self.turns.remove(&key), Some(Turn::Running { again: true }));
        match (again, next) {
            (true, _) => self.put(key, now),
            (false, Some(next)) => self.put(key, next),
            (false, None) => {}
        }
    }

    /// The moment of the next turn.
    pub fn next(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((moment, _), _)| *moment)
    }

    fn put(&mut self, key: K, when: Instant) {
        self.arrivals += 1;
        self.due.insert((when, self.arrivals), key.clone());
        self.turns.insert(key, Turn::Due(when, self.arrivals));
    }
}

/// Time until the next look after `failures` in a row: the interval with jitter, or a longer backoff.
pub fn pause(interval: Duration, failures: u32, jitter: f64) -> Duration {
    let regular = spread(interval, jitter);
    match failures.checked_sub(1) {
        None => regular,
        Some(before) => regular.max(backoff(before, jitter).min(LONGEST_BACKOFF)),
    }
}

/// The longest [`pause`], but for its jitter.
pub fn longest_pause(interval: Duration) -> Duration {
    interval.max(LONGEST_BACKOFF)
}

/// Time until the first look: at once at what was never looked at; the rest spread over one interval, so that a start
/// is no stampede.
pub fn first_pause(interval: Duration, looked_before: bool, jitter: f64) -> Duration {
    if looked_before { interval.mul_f64(jitter.clamp(0.0, 1.0)) } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_key_never_runs_twice_at_a_time_and_no_request_is_lost() {
        let (start, mut schedule) = (Instant::now(), Schedule::default());
        schedule.ask("orders", start);
        assert_eq!(schedule.take(start), Some("orders"));
        schedule.ask("orders", start);
        schedule.ask("orders", start);
        assert_eq!(schedule.take(start + 60 * SECOND), None, "it is under way");
        schedule.done("orders", start + SECOND, Some(start + 60 * SECOND));
        assert_eq!(schedule.take(start + SECOND), Some("orders"), "asked for meanwhile");
        schedule.done("orders", start + 2 * SECOND, Some(start + 60 * SECOND));
        assert_eq!((schedule.take(start + 59 * SECOND), schedule.next()), (None, Some(start + 60 * SECOND)));
    }

    #[test]
    fn the_sooner_of_two_requests_wins() {
        let (start, mut schedule) = (Instant::now(), Schedule::default());
        schedule.ask("orders", start + 60 * SECOND);
        schedule.ask("orders", start + SECOND);
        schedule.ask("orders", start + 30 * SECOND);
        assert_eq!(schedule.take(start + SECOND), Some("orders"));
        schedule.done("orders", start + SECOND, None);
        assert_eq!(schedule.next(), None, "and none is left over");
    }

    #[test]
    fn turns_come_in_the_order_of_their_moments() {
        let (start, mut schedule) = (Instant::now(), Schedule::default());
        for (key, at) in [("c", 3), ("a", 1), ("b", 2), ("a2", 1)] {
            schedule.ask(key, start + at * SECOND);
        }
        let order: Vec<_> = std::iter::from_fn(|| schedule.take(start + 9 * SECOND)).collect();
        assert_eq!(order, ["a", "a2", "b", "c"]);
    }

    #[test]
    fn a_failing_host_is_asked_less_often_but_soon_enough() {
        let minute = 60 * SECOND;
        assert_eq!(pause(SECOND, 0, 0.5), SECOND);
        assert_eq!(pause(SECOND, 1, 1.0), SECOND.mul_f64(1.1));
        assert_eq!(pause(SECOND, 4, 1.0), 8 * SECOND);
        assert_eq!(pause(SECOND, 40, 1.0), minute);
        assert_eq!(pause(10 * minute, 40, 0.5), 10 * minute, "never more often than the interval");
    }

    #[test]
    fn a_start_is_spread_and_a_new_service_is_not_kept_waiting() {
        let minute = 60 * SECOND;
        assert_eq!(first_pause(minute, false, 0.7), Duration::ZERO);
        assert_eq!(first_pause(minute, true, 0.5), 30 * SECOND);
    }
}

//! When the services of an environment sleep: `sleep` of an Environment, and of a tenant file in its place. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::{Moment, Problem, Windows, opens_often};
use crate::{
    api::{self, environment::Window},
    names::content_digest,
    span::span,
};

/// How long what is new is looked at where nothing is said.
const WAKES_FOR: Duration = Duration::from_hours(1);
/// Longest that something new keeps a service awake.
const LONGEST: Duration = Duration::from_hours(24);
/// The most that a service wakes before the hours of sleep are over. All at once they would starve each other of processors.
pub const EARLIEST: Duration = Duration::from_mins(10);
/// Of a digest, for a number that is evenly spread.
const DIGITS: usize = 12;

/// The hours of sleep of one environment.
#[derive(Debug)]
pub struct Sleep {
    /// Nothing where there is a mistake in them.
    windows: Option<Windows>,
    wakes_for: Duration,
}

/// What they say of a service at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// No instance runs.
    Asleep {
        /// By itself.
        until: Timestamp,
    },
    /// Instances run.
    Awake {
        /// Nothing where it never sleeps again.
        until: Option<Timestamp>,
    },
}

impl Sleep {
    /// From a file, where it is `field`, and what is wrong with it: whoever has a mistake in it does not sleep, nor does who has
    /// no window.
    pub fn valid(wire: &api::Sleep, field: &str) -> (Self, Vec<Problem>) {
        let (windows, mut problems) = Windows::valid(&wire.windows, &format!("{field}.windows"));
        for (index, Window { schedule, .. }) in wire.windows.iter().enumerate() {
            if opens_often(schedule) {
                let message = format!(
                    "{schedule:?} opens more than once an hour, and nothing sleeps so: write one minute, such as `0 20 * * *`"
                );
                problems.push(Problem::new(format!("{field}.windows[{index}].schedule"), message));
            }
        }
        let wakes_for = match wire.wake_for.as_ref().map(|text| (text, span(text, ..=LONGEST))) {
            None => WAKES_FOR,
            Some((_, Some(wakes_for))) => wakes_for,
            Some((text, None)) => {
                let message = format!("{text:?} is no duration of 0s to 24h: write it like 30m or 2h");
                problems.push(Problem::new(format!("{field}.wakeFor"), message));
                WAKES_FOR
            }
        };
        (Self { windows: problems.is_empty().then_some(windows), wakes_for }, problems)
    }

    /// What is so at `now` of a service in which something new came at `news`. It wakes so `early`.
    pub fn at(&self, now: Timestamp, news: Option<Timestamp>, early: Duration) -> Rest {
        let Some(windows) = &self.windows else { return Rest::Awake { until: None } };
        let Some(morning) = windows.open_until(now) else {
            let Moment::OpensAt(evening) = windows.at(now) else { return Rest::Awake { until: None } };
            return Rest::Awake { until: Some(evening) };
        };
        let wakes = morning.checked_sub(early).unwrap_or(morning);
        let seen = news.and_then(|news| news.checked_add(self.wakes_for).ok()).filter(|seen| *seen > now);
        match seen {
            _ if now >= wakes => Rest::Awake { until: Some(morning) },
            Some(seen) => Rest::Awake { until: Some(seen.min(wakes)) },
            None => Rest::Asleep { until: wakes },
        }
    }
}

/// How much before the hours of sleep are over a service of a tenant wakes: always the same, and evenly spread over
/// ten minutes.
pub fn early(tenant: &str, service: &str) -> Duration {
    let digest = content_digest(&(tenant, service));
    let number = u64::from_str_radix(&digest[..DIGITS], 16).unwrap_or_default();
    Duration::from_secs(number % EARLIEST.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleep(yaml: &str) -> (Sleep, Vec<String>) {
        let (sleep, problems) =
            Sleep::valid(&serde_saphyr::from_str(yaml).unwrap(), "spec.environments.dev.sleep");
        (sleep, problems.iter().map(ToString::to_string).collect())
    }

    const NIGHTS: &str =
        r#"{windows: [{schedule: "0 20 * * *", duration: 11h}, {schedule: "0 6 * * SAT", duration: 30h}]}"#;

    fn told(yaml: &str, news: Option<&str>, now: &str) -> String {
        told_of((yaml, 0), news, now)
    }

    fn told_of((yaml, minutes): (&str, u64), news: Option<&str>, now: &str) -> String {
        let (sleep, problems) = sleep(yaml);
        assert_eq!(problems, [""; 0]);
        let early = Duration::from_mins(minutes);
        match sleep.at(now.parse().unwrap(), news.map(|news| news.parse().unwrap()), early) {
            Rest::Asleep { until } => format!("asleep until {until}"),
            Rest::Awake { until: Some(until) } => format!("awake until {until}"),
            Rest::Awake { until: None } => "awake".to_owned(),
        }
    }

    #[test]
    fn it_sleeps_through_all_hours_that_touch() {
        // 2026-01-09 is a Friday.
        for (now, wanted) in [
            ("2026-01-07T19:59:59Z", "awake until 2026-01-07T20:00:00Z"),
            ("2026-01-07T20:00:00Z", "asleep until 2026-01-08T07:00:00Z"),
            ("2026-01-08T07:00:00Z", "awake until 2026-01-08T20:00:00Z"),
            ("2026-01-09T23:00:00Z", "asleep until 2026-01-11T12:00:00Z"),
        ] {
            assert_eq!(told(NIGHTS, None, now), wanted, "{now}");
        }
        let always = r#"{windows: [{schedule: "0 0 * * *", duration: 24h}]}"#;
        assert!(told(always, None, "2026-01-07T19:00:00Z").starts_with("asleep until 2026-"));
    }

    #[test]
    fn what_is_new_keeps_it_awake_for_a_time() {
        let at = |yaml, news, now| told(yaml, Some(news), now);
        let (evening, night) = ("2026-01-07T19:30:00Z", "2026-01-07T22:00:00Z");
        assert_eq!(at(NIGHTS, night, "2026-01-07T22:59:59Z"), "awake until 2026-01-07T23:00:00Z");
        assert_eq!(at(NIGHTS, night, "2026-01-07T23:00:00Z"), "asleep until 2026-01-08T07:00:00Z");
        assert_eq!(at(NIGHTS, evening, "2026-01-07T20:00:00Z"), "awake until 2026-01-07T20:30:00Z");
        let never = NIGHTS.replace("{windows", "{wakeFor: 0s, windows");
        assert_eq!(at(&never, night, night), "asleep until 2026-01-08T07:00:00Z");
        let long = NIGHTS.replace("{windows", "{wakeFor: 24h, windows");
        assert_eq!(at(&long, night, "2026-01-08T06:00:00Z"), "awake until 2026-01-08T07:00:00Z");
    }

    #[test]
    fn a_service_wakes_by_its_own_minutes_before_the_others_and_goes_on_into_the_day() {
        let at = |now| told_of((NIGHTS, 8), None, now);
        assert_eq!(at("2026-01-08T06:51:59Z"), "asleep until 2026-01-08T06:52:00Z");
        assert_eq!(at("2026-01-08T06:52:00Z"), "awake until 2026-01-08T07:00:00Z");
        assert_eq!(at("2026-01-08T07:00:00Z"), "awake until 2026-01-08T20:00:00Z");
        let news = |now| told_of((NIGHTS, 8), Some("2026-01-08T06:50:00Z"), now);
        assert_eq!(news("2026-01-08T06:50:00Z"), "awake until 2026-01-08T06:52:00Z");
        let of_tenth = |n: u64| {
            let services = (0..1000).map(|service| early("acme", &format!("orders-{service}")));
            services.filter(|early| early.as_secs() / 60 == n).count()
        };
        assert!((0..10).all(|n| (70..130).contains(&of_tenth(n))), "{:?}", [0, 1, 2].map(of_tenth));
        assert_eq!(early("acme", "orders"), early("acme", "orders"));
        assert_ne!(early("acme", "orders"), early("globex", "orders"));
    }

    #[test]
    fn who_has_no_window_never_sleeps() {
        assert_eq!(told("{windows: []}", None, "2026-01-07T22:00:00Z"), "awake");
    }

    #[test]
    fn what_opens_again_and_again_is_refused() {
        for schedule in ["* 20 * * *", "*/5 * * * *", "0,30 * * * *"] {
            let yaml = format!(r#"{{windows: [{{schedule: "{schedule}", duration: 168h}}]}}"#);
            let (sleep, problems) = sleep(&yaml);
            assert!(problems.len() == 1 && problems[0].contains("more than once an hour"), "{problems:?}");
            assert_eq!(
                sleep.at("2026-01-07T19:30:00Z".parse().unwrap(), None, Duration::ZERO),
                Rest::Awake { until: None }
            );
        }
    }

    #[test]
    fn whoever_has_one_mistake_in_it_does_not_sleep() {
        for (from, to) in [("{windows", "{wakeFor: soon, windows"), ("0 6 * * SAT", "0 66 * * SAT")] {
            let (sleep, problems) = sleep(&NIGHTS.replace(from, to));
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(
                sleep.at("2026-01-07T22:00:00Z".parse().unwrap(), None, Duration::ZERO),
                Rest::Awake { until: None }
            );
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place_and_keeps_it_awake() {
        let (sleep, problems) =
            sleep(r#"{wakeFor: soon, windows: [{schedule: "0 25 * * *", duration: 1h}]}"#);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("spec.environments.dev.sleep.windows[0].schedule: "), "{problems:?}");
        let words = r#"spec.environments.dev.sleep.wakeFor: "soon" is no duration of 0s to 24h"#;
        assert!(problems[1].starts_with(words), "{problems:?}");
        assert_eq!(
            sleep.at("2026-01-07T19:30:00Z".parse().unwrap(), None, Duration::ZERO),
            Rest::Awake { until: None }
        );
    }
}

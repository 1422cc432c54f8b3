//! When something new may begin to run: `windows` of an Environment → is one open, and when does the next open? Pure.
//!
//! When one opens is of the clock on the wall; how long it lasts is time that passes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Problem;
use crate::{
    api::environment::Window,
    cron::{Cron, CronError},
    span::span,
};

/// Shortest that one is open.
const SHORTEST: Duration = Duration::from_mins(1);
/// Longest that one is open.
const LONGEST: Duration = Duration::from_hours(24 * 7);
/// A clock on the wall is never put back or forth by more.
const CLOCK_CHANGE: SignedDuration = SignedDuration::from_hours(24);

/// All windows of one Environment; without any, something new may always begin to run.
#[derive(Debug, Default)]
pub struct Windows {
    valid: Vec<ValidWindow>,
    /// One cannot be read, so that nobody can tell when nothing new was to run: never does it.
    is_broken: bool,
}

/// Does a window of this `schedule` open more than once an hour?
pub fn opens_often(schedule: &str) -> bool {
    let minute = schedule.split_whitespace().next().unwrap_or_default();
    minute.contains(['*', ',', '-', '/'])
}

/// One that can be looked at.
#[derive(Debug)]
struct ValidWindow {
    openings: Cron,
    duration: Duration,
}

/// What windows say of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Something new may begin to run.
    Open,
    /// Not before then.
    OpensAt(Timestamp),
    /// None ever opens, or one cannot be read.
    Never,
}

impl Windows {
    /// Those of an Environment, and what is wrong with the others.
    ///
    /// `field`: where they are, such as `spec.windows`.
    pub fn valid(windows: &[Window], field: &str) -> (Self, Vec<Problem>) {
        let (mut valid, mut problems) = (Vec::with_capacity(windows.len()), Vec::new());
        for (index, window) in windows.iter().enumerate() {
            match ValidWindow::new(window) {
                Ok(window) => valid.push(window),
                Err((part, message)) => {
                    problems.push(Problem::new(format!("{field}[{index}].{part}"), message));
                }
            }
        }
        (Self { valid, is_broken: !problems.is_empty() }, problems)
    }

    /// What they say of `now`.
    pub fn at(&self, now: Timestamp) -> Moment {
        if self.is_broken {
            return Moment::Never;
        }
        let moments = self.valid.iter().map(|window| window.at(now));
        moments
            .min_by_key(|moment| match moment {
                Moment::Open => (0, Timestamp::MIN),
                Moment::OpensAt(when) => (1, *when),
                Moment::Never => (2, Timestamp::MAX),
            })
            .unwrap_or(Moment::Open)
    }

    /// Until when one or another of them is open without a pause, where one is at `now`.
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        // Windows that touch each other all around the clock come to no end.
        const MOST: usize = 10;
        let end = |at: &Timestamp| self.valid.iter().filter_map(|window| window.open_until(*at)).max();
        std::iter::successors(end(&now), end).take(MOST).last()
    }
}

impl ValidWindow {
    fn new(wire: &Window) -> Result<Self, (&'static str, String)> {
        let Window { schedule, duration, time_zone } = wire;
        let openings = Cron::parse(schedule, time_zone.as_deref()).map_err(|error| {
            let field = match error {
                CronError::Form(_)
                | CronError::Nickname(..)
                | CronError::Field { .. }
                | CronError::Never(_) => "schedule",
                CronError::TimeZone(_) | CronError::Spelling(..) => "timeZone",
            };
            (field, error.to_string())
        })?;
        let duration = span(duration, SHORTEST..=LONGEST).ok_or_else(|| {
            ("duration", format!("{duration:?} is no duration of 1m to 168h: write it like 4h or 1h30m"))
        })?;
        Ok(Self { openings, duration })
    }

    fn at(&self, now: Timestamp) -> Moment {
        let Ok(from) = now.checked_sub(self.duration).and_then(|start| start.checked_sub(CLOCK_CHANGE))
        else {
            return Moment::Never;
        };
        let mut clock = self.openings.clock(from);
        loop {
            let Some((next, opening)) = self.openings.after(clock) else { return Moment::Never };
            if opening > now {
                return Moment::OpensAt(opening);
            }
            if self.lasts(opening, now).is_some() {
                return Moment::Open;
            }
            clock = next;
        }
    }

    /// Until when it is open that was opened before `now`, the latest.
    fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        let from = now.checked_sub(self.duration).and_then(|start| start.checked_sub(CLOCK_CHANGE)).ok()?;
        let first = self.openings.after(self.openings.clock(from));
        let openings = std::iter::successors(first, |(clock, _)| self.openings.after(*clock));
        openings
            .map(|(_, opening)| opening)
            .take_while(|opening| *opening <= now)
            .filter_map(|opening| self.lasts(opening, now))
            .max()
    }

    /// Its end after this opening, where that is after `now`.
    fn lasts(&self, opening: Timestamp, now: Timestamp) -> Option<Timestamp> {
        opening.checked_add(self.duration).ok().filter(|end| now < *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(text: &[(&str, &str, &str)]) -> Windows {
        let window = |(schedule, duration, zone): &(&str, &str, &str)| Window {
            schedule: (*schedule).to_owned(),
            duration: (*duration).to_owned(),
            time_zone: Some((*zone).to_owned()),
        };
        let (windows, problems) =
            Windows::valid(&text.iter().map(window).collect::<Vec<_>>(), "spec.windows");
        assert_eq!(problems, []);
        windows
    }

    /// What one window says of each moment.
    fn told(window: (&str, &str, &str), moments: &[(&str, &str)]) {
        let windows = windows(&[window]);
        for (now, wanted) in moments {
            let told = match windows.at(now.parse().unwrap()) {
                Moment::Open => "open".to_owned(),
                Moment::OpensAt(when) => when.to_string(),
                Moment::Never => "never".to_owned(),
            };
            assert_eq!(told, *wanted, "{window:?} at {now}");
        }
    }

    #[test]
    fn one_is_open_from_its_opening_until_its_duration_has_passed() {
        told(
            ("0 22 * * MON-FRI", "4h", "Europe/Zurich"),
            &[
                ("2026-01-06T20:59:59Z", "2026-01-06T21:00:00Z"),
                ("2026-01-06T21:00:00Z", "open"),
                ("2026-01-07T00:59:59Z", "open"),
                ("2026-01-07T01:00:00Z", "2026-01-07T21:00:00Z"),
                ("2026-01-10T00:30:00Z", "open"),
                ("2026-01-10T01:00:00Z", "2026-01-12T21:00:00Z"),
                ("2026-07-06T19:59:59Z", "2026-07-06T20:00:00Z"),
            ],
        );
    }

    #[test]
    fn an_opening_in_the_hour_that_is_left_out_comes_an_hour_later() {
        // On 2026-03-29 the clock in Zurich goes from 02:00 to 03:00, which is 01:00 UTC.
        told(
            ("30 2 * * *", "1h", "Europe/Zurich"),
            &[
                ("2026-03-29T01:29:59Z", "2026-03-29T01:30:00Z"),
                ("2026-03-29T01:30:00Z", "open"),
                ("2026-03-29T02:30:00Z", "2026-03-30T00:30:00Z"),
            ],
        );
    }

    #[test]
    fn an_opening_in_the_hour_that_comes_twice_comes_once() {
        // On 2026-10-25 the clock in Zurich goes from 03:00 back to 02:00, which is 01:00 UTC.
        told(
            ("30 2 * * *", "30m", "Europe/Zurich"),
            &[
                ("2026-10-25T00:30:00Z", "open"),
                ("2026-10-25T01:00:00Z", "2026-10-26T01:30:00Z"),
                ("2026-10-25T01:40:00Z", "2026-10-26T01:30:00Z"),
            ],
        );
    }

    #[test]
    fn how_long_it_lasts_is_time_that_passes_whatever_the_clock_shows() {
        told(
            ("0 0 * * SUN", "6h", "Europe/Zurich"),
            &[("2026-03-29T04:59:59Z", "open"), ("2026-03-29T05:00:00Z", "2026-04-04T22:00:00Z")],
        );
    }

    #[test]
    fn one_that_opens_again_while_it_is_open_stays_open() {
        told(("* * * * *", "1m", "UTC"), &[("2026-01-06T21:00:30Z", "open")]);
        told(("0 */6 * * *", "24h", "UTC"), &[("2026-01-06T21:00:30Z", "open")]);
    }

    #[test]
    fn a_clock_that_is_set_finds_what_it_shows_then_whatever_it_showed_before() {
        let opens = ("2026-01-06T20:00:00Z", "2026-01-06T22:00:00Z");
        let after = ("2026-01-07T01:00:00Z", "2026-01-07T22:00:00Z");
        let open = ("2026-01-06T22:30:00Z", "open");
        told(("0 22 * * *", "2h", "UTC"), &[open, opens, open, after, opens, open]);
    }

    #[test]
    fn of_several_the_one_that_opens_first_counts_and_without_any_it_is_always_open() {
        let two = windows(&[("0 22 * * *", "1h", "UTC"), ("0 12 * * *", "1h", "UTC")]);
        let at = |now: &str| two.at(now.parse().unwrap());
        assert_eq!(at("2026-01-06T11:00:00Z"), Moment::OpensAt("2026-01-06T12:00:00Z".parse().unwrap()));
        assert_eq!(at("2026-01-06T12:30:00Z"), Moment::Open);
        assert_eq!(at("2026-01-06T22:30:00Z"), Moment::Open);
        assert_eq!(Windows::default().at(Timestamp::UNIX_EPOCH), Moment::Open);
    }

    #[test]
    fn every_mistake_names_its_field_and_the_way_out() {
        for (schedule, duration, zone, wanted) in [
            ("0 22 * *", "4h", "UTC", "spec.windows[0].schedule: \"0 22 * *\" is no schedule: write minute"),
            ("0 22 * * * UTC", "4h", "UTC", "spec.windows[0].schedule: "),
            ("0 25 * * *", "4h", "UTC", "spec.windows[0].schedule: "),
            (
                "0 0 30 2 *",
                "4h",
                "UTC",
                "spec.windows[0].schedule: \"0 0 30 2 *\" is no schedule that ever comes",
            ),
            ("0 22 * * *", "4", "UTC", "spec.windows[0].duration: \"4\" is no duration of 1m to 168h"),
            ("0 22 * * *", "59s", "UTC", "spec.windows[0].duration: "),
            ("0 22 * * *", "-4h", "UTC", "spec.windows[0].duration: "),
            ("0 22 * * *", "169h", "UTC", "spec.windows[0].duration: "),
            (
                "0 22 * * *",
                "4h",
                "Zurich",
                "spec.windows[0].timeZone: \"Zurich\" is no time zone: write a name such as",
            ),
        ] {
            let window = Window {
                schedule: schedule.to_owned(),
                duration: duration.to_owned(),
                time_zone: Some(zone.to_owned()),
            };
            let (windows, problems) = Windows::valid(&[window], "spec.windows");
            assert_eq!(windows.at(Timestamp::UNIX_EPOCH), Moment::Never, "{schedule} {duration} {zone}");
            let told = problems.first().map(ToString::to_string).unwrap_or_default();
            assert!(told.starts_with(wanted), "{told:?} for {schedule} {duration} {zone}");
        }
    }
}

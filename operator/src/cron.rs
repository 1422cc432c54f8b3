//! The times that a schedule in cron's form names, on the clock of a time zone. Pure.
//!
//! A schedule is of the clock on the wall, so each of its times comes once, whatever the clock does: one that falls into an
//! hour that is left out comes an hour later, and one in an hour that comes twice at the first.

use cronexpr::Crontab;
use jiff::{Timestamp, civil, tz::TimeZone};

/// Which times.
#[derive(Clone, Debug)]
pub struct Cron {
    /// Of the clock on the wall, read as if it were UTC.
    times: Crontab,
    zone: TimeZone,
}

/// What to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not five fields of cron's.
    #[error(
        "{0:?} is no schedule: write minute, hour, day of the month, month and day of the week, such as 0 22 * * MON-FRI"
    )]
    Form(String),
    /// A word for one, which other programs have.
    #[error("{0:?} is understood elsewhere only: write {1}")]
    Nickname(String, &'static str),
    /// Five, of which one is not what stands there.
    #[error(
        "{schedule:?} is no schedule: {part:?} is no {field}; write minute, hour, day of the month, month and day of the week, such as 0 22 * * MON-FRI"
    )]
    Field {
        /// All of it.
        schedule: String,
        /// Which.
        field: &'static str,
        /// What stands there.
        part: String,
    },
    /// Such as the 30th of February.
    #[error(
        "{0:?} is no schedule that ever comes: write minute, hour, day of the month, month and day of the week, such as 0 22 * * MON-FRI"
    )]
    Never(String),
    /// Not one that is known.
    #[error("{0:?} is no time zone: write a name such as Europe/Zurich, or leave it out for UTC")]
    TimeZone(String),
    /// It is known under another spelling only: Kubernetes tells large letters from small ones.
    #[error("{0:?} is no time zone: write {1}")]
    Spelling(String, String),
}

/// In their order.
const FIELDS: [&str; 5] = ["minute", "hour", "day of the month", "month", "day of the week"];

/// Words of other crons, and what they mean.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Cron {
    /// `schedule`: minute, hour, day of the month, month, day of the week. `zone`: without it, UTC.
    pub fn parse(schedule: &str, zone: Option<&str>) -> Result<Self, CronError> {
        if let Some((_, written)) = NICKNAMES.iter().find(|(name, _)| *name == schedule.trim()) {
            return Err(CronError::Nickname(schedule.to_owned(), written));
        }
        let parts: Vec<_> = schedule.split_whitespace().collect();
        if parts.len() != FIELDS.len() {
            return Err(CronError::Form(schedule.to_owned()));
        }
        let times = times(&parts).ok_or_else(|| wrong(schedule, &parts))?;
        times.find_next(Timestamp::UNIX_EPOCH).map_err(|_| CronError::Never(schedule.to_owned()))?;
        let zone = zone.unwrap_or("UTC");
        Ok(Self { times, zone: time_zone(zone)? })
    }

    /// The first of its times after `now`.
    pub fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        let mut clock = self.clock(now);
        loop {
            let (next, time) = self.after(clock)?;
            if time > now {
                return Some(time);
            }
            clock = next;
        }
    }

    /// What the clock on the wall shows.
    pub fn clock(&self, at: Timestamp) -> civil::DateTime {
        self.zone.to_datetime(at)
    }

    /// The next time that the clock on the wall shows after `clock` and the schedule names, and when that is.
    pub fn after(&self, clock: civil::DateTime) -> Option<(civil::DateTime, Timestamp)> {
        let read_as_utc = clock.to_zoned(TimeZone::UTC).ok()?.timestamp();
        let next = self.times.find_next(read_as_utc).ok()?.datetime();
        // A time that is left out comes as much later as the clock jumps; one that comes twice is the first.
        Some((next, next.to_zoned(self.zone.clone()).ok()?.timestamp()))
    }
}

fn times(parts: &[&str]) -> Option<Crontab> {
    cronexpr::parse_crontab(&format!("{} UTC", parts.join(" "))).ok()
}

/// Which of `parts` is wrong, also beside others that are not.
fn wrong(schedule: &str, parts: &[&str]) -> CronError {
    let alone = |index: usize| {
        let mut any = ["*"; FIELDS.len()];
        any[index] = parts[index];
        times(&any)
    };
    match (0..FIELDS.len()).find(|index| alone(*index).is_none()) {
        None => CronError::Form(schedule.to_owned()),
        Some(index) => {
            let (schedule, part) = (schedule.to_owned(), parts[index].to_owned());
            CronError::Field { schedule, field: FIELDS[index], part }
        }
    }
}

/// The zone of this name, spelt as Go's `time.LoadLocation` knows it, which Kubernetes asks.
fn time_zone(name: &str) -> Result<TimeZone, CronError> {
    let unknown = || CronError::TimeZone(name.to_owned());
    let zone = TimeZone::get(name).map_err(|_| unknown())?;
    match zone.iana_name() {
        Some(known) if known == name && !zone.is_unknown() => Ok(zone),
        Some(known) if known != name => Err(CronError::Spelling(name.to_owned(), known.to_owned())),
        Some(_) | None => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, zone: &str, now: &str) -> String {
        let next = Cron::parse(schedule, Some(zone)).unwrap().next_after(now.parse().unwrap());
        next.unwrap().to_string()
    }

    #[test]
    fn each_time_of_the_clock_comes_once() {
        assert_eq!(next("0 3 * * *", "UTC", "2026-05-01T03:00:00Z"), "2026-05-02T03:00:00Z");
        assert_eq!(next("0 3 * * *", "Europe/Zurich", "2026-05-01T00:59:59Z"), "2026-05-01T01:00:00Z");
        // In the spring half past two is left out, in autumn it comes twice.
        assert_eq!(next("30 2 * * *", "Europe/Zurich", "2026-03-28T12:00:00Z"), "2026-03-29T01:30:00Z");
        assert_eq!(next("30 2 * * *", "Europe/Zurich", "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00Z");
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_write() {
        let told = |schedule, zone| Cron::parse(schedule, zone).unwrap_err().to_string();
        assert!(told("daily", None).contains("such as 0 22 * * MON-FRI"));
        assert!(told("@daily", None).ends_with("write 0 0 * * *"));
        for (name, written) in NICKNAMES {
            assert!(Cron::parse(written, None).is_ok(), "{name}");
        }
        for (schedule, named) in [
            ("60 3 * * *", "\"60\" is no minute; write"),
            ("0 24 * * *", "\"24\" is no hour; write"),
            ("0 3 32 * *", "\"32\" is no day of the month; write"),
            ("0 3 * FEBR MON-FRI", "\"FEBR\" is no month; write"),
            ("0 3 * * MON-FRY", "\"MON-FRY\" is no day of the week; write"),
        ] {
            let told = told(schedule, None);
            assert!(told.starts_with(&format!("{schedule:?} is no schedule: {named}")), "{told}");
        }
        assert!(told("0 0 30 2 *", None).contains("no schedule that ever comes"));
        for unknown in ["Mars", "Etc/Unknown", ""] {
            assert!(told("0 0 * * *", Some(unknown)).contains("is no time zone: write a name such as"));
        }
        for (written, known) in
            [("europe/zurich", "Europe/Zurich"), ("utc", "UTC"), ("America/new_york", "America/New_York")]
        {
            let told = told("0 0 * * *", Some(written));
            assert_eq!(told, format!("{written:?} is no time zone: write {known}"));
            assert!(Cron::parse("0 0 * * *", Some(known)).is_ok());
        }
    }
}

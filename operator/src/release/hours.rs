//! How many instances a release has at what hours: its `windows` and a moment → the number that takes the place of its
//! own. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::{render_error::RenderError, triggers::counts_requests};
use crate::{
    api::{Instances, Release, Scaling, ScalingWindow, WorkloadType},
    environment::{Moment, Windows, opens_often},
};

/// What its windows say of a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hours {
    /// So many instances at least, and until when a window says so; nothing while none is open.
    pub min: Option<(u16, Option<Timestamp>)>,
    /// When one opens or closes next.
    pub next: Option<Timestamp>,
}

/// A moment ago they said something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    /// How much longer that counts as a moment.
    pub left: Duration,
    /// What they said then; nothing where none was open.
    pub before: Option<u16>,
}

/// Are the windows of `scaling` such as a service of this type and these `instances` can have?
pub(super) fn check(
    scaling: &Scaling,
    (instances, type_): (Instances, WorkloadType),
) -> Result<(), RenderError> {
    let wrong = |field: String, problem: String| Err(RenderError::Scaling { field, problem });
    let all: Vec<_> = scaling.windows.iter().map(|one| one.window.clone()).collect();
    if let Some(problem) = Windows::valid(&all, "windows").1.into_iter().next() {
        return wrong(problem.field, problem.message);
    }
    // KEDA brings the first instance of what consumes.
    let is_brought =
        type_ == WorkloadType::Worker && !scaling.triggers.is_empty() && !counts_requests(&scaling.triggers);
    for (index, ScalingWindow { window, min }) in scaling.windows.iter().enumerate() {
        let field = |name: &str| format!("windows[{index}].{name}");
        if opens_often(&window.schedule) {
            let problem = format!(
                "{:?} opens more than once an hour, and no number of instances follows so fast: write one minute, such as `0 8 * * MON-FRI`",
                window.schedule
            );
            return wrong(field("schedule"), problem);
        }
        let problem = match (scaling.max, instances) {
            (_, Instances::One) if *min > 1 => format!(
                "{min} instances, but this service never runs two at a time; set it to 1 or say `instances: many`"
            ),
            (Some(max), _) if *min > max => {
                format!("{min} is more than `scaling.max`, which is {max}: write at most {max}")
            }
            (Some(_), _) if *min == 0 && !is_brought => {
                "with 0 nothing runs of which load could be measured: write 1, or remove `scaling.max`"
                    .to_owned()
            }
            (Some(_) | None, Instances::One | Instances::Many) => continue,
        };
        return wrong(field("min"), problem);
    }
    Ok(())
}

/// What the windows of `release` say of `now`. One that cannot be read says nothing.
pub fn at(release: &Release, now: Timestamp) -> Hours {
    let mut hours = Hours::default();
    for ScalingWindow { window, min } in &release.spec.windows {
        let windows = Windows::valid(std::slice::from_ref(window), "windows").0;
        let change = match windows.at(now) {
            Moment::Never => None,
            Moment::OpensAt(opening) => Some(opening),
            Moment::Open => {
                let until = windows.open_until(now);
                let is_more = hours.min.is_none_or(|(other, end)| (*min, until) > (other, end));
                if is_more {
                    hours.min = Some((*min, until));
                }
                until
            }
        };
        hours.next = hours.next.into_iter().chain(change).min();
    }
    hours
}

/// When the windows of `release` say another number next after `now`, and which; nothing then where none is open.
pub fn ahead(release: &Release, now: Timestamp) -> Option<(Timestamp, Option<u16>)> {
    // Windows may touch each other without a change.
    const MOST: usize = 20;
    let said = |time: Timestamp| at(release, time).min.map(|(min, _)| min);
    let changes = std::iter::successors(at(release, now).next, |time| at(release, *time).next);
    changes.take(MOST).map(|time| (time, said(time))).find(|(_, min)| *min != said(now))
}

/// The last change of the number that the windows of `release` made within `moment` before `now`.
pub(super) fn changed(release: &Release, (now, moment): (Timestamp, Duration)) -> Option<Changed> {
    let said = |time: Timestamp| at(release, time).min.map(|(min, _)| min);
    let first = now.checked_sub(moment).ok()?;
    let changes = std::iter::successors(at(release, first).next, |time| at(release, *time).next);
    let changes = changes.take_while(|time| *time <= now);
    let (when, before) = changes
        .scan(said(first), |before, time| Some((time, std::mem::replace(before, said(time)))))
        .filter(|(time, before)| said(*time) != *before)
        .last()?;
    let left = when.checked_add(moment).ok()?.duration_since(now);
    let left = Duration::try_from(left).ok().filter(|left| !left.is_zero())?;
    Some(Changed { left, before })
}

/// The most instances that `release` has without load, at any hour.
pub(super) fn greatest(release: &Release) -> i32 {
    let spec = &release.spec;
    spec.windows.iter().map(|window| i32::from(window.min)).fold(spec.replicas, i32::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    const DAYS: &str = "{schedule: 0 8 * * MON-FRI, duration: 10h, timeZone: Europe/Zurich, min: 4}";
    const MONTHS_END: &str = "{schedule: 0 12 28 * *, duration: 2h, min: 6}";
    const NIGHTS: &str = "{schedule: 0 22 * * *, duration: 8h, min: 0}";

    fn release(windows: &[&str]) -> Release {
        sample::release("orders-dev-a", &format!("replicas: 2, windows: [{}]", windows.join(", ")))
    }

    /// `least until end, next change`.
    fn told(windows: &[&str], now: &str) -> String {
        let Hours { min, next } = at(&release(windows), now.parse().unwrap());
        let min = match min {
            Some((min, until)) => {
                format!("{min} until {}", until.map(|until| until.to_string()).unwrap_or_default())
            }
            None => "-".to_owned(),
        };
        format!("{min}, {}", next.map(|next| next.to_string()).unwrap_or_default())
    }

    #[test]
    fn of_the_windows_that_are_open_the_greatest_number_counts_until_it_closes() {
        let all = [DAYS, MONTHS_END, NIGHTS];
        for (now, wanted) in [
            // 2026-01-28 is a Wednesday.
            ("2026-01-28T06:59:59Z", "-, 2026-01-28T07:00:00Z"),
            ("2026-01-28T07:00:00Z", "4 until 2026-01-28T17:00:00Z, 2026-01-28T12:00:00Z"),
            ("2026-01-28T12:00:00Z", "6 until 2026-01-28T14:00:00Z, 2026-01-28T14:00:00Z"),
            ("2026-01-28T14:00:00Z", "4 until 2026-01-28T17:00:00Z, 2026-01-28T17:00:00Z"),
            ("2026-01-28T22:00:00Z", "0 until 2026-01-29T06:00:00Z, 2026-01-29T06:00:00Z"),
        ] {
            assert_eq!(told(&all, now), wanted, "{now}");
        }
        assert_eq!(told(&[], "2026-01-28T12:00:00Z"), "-, ");
        let broken = "{schedule: 0 25 * * *, duration: 1h, min: 9}";
        assert_eq!(told(&[broken], "2026-01-28T12:00:00Z"), "-, ", "it says nothing");
    }

    #[test]
    fn there_is_room_for_the_most_of_any_hour() {
        assert_eq!([greatest(&release(&[])), greatest(&release(&[NIGHTS]))], [2, 2]);
        assert_eq!(greatest(&release(&[DAYS, MONTHS_END, NIGHTS])), 6);
    }

    #[test]
    fn the_next_hour_that_says_another_number_is_known() {
        let told = |windows: &[&str], now: &str| {
            let (time, min) = ahead(&release(windows), now.parse().unwrap())?;
            Some(format!("{time} {min:?}"))
        };
        let wanted = |text: &str| Some(text.to_owned());
        assert_eq!(told(&[DAYS], "2026-01-30T17:00:00Z"), wanted("2026-02-02T07:00:00Z Some(4)"));
        assert_eq!(told(&[DAYS], "2026-01-28T12:00:00Z"), wanted("2026-01-28T17:00:00Z None"));
        let half = "{schedule: 0 20 * * *, duration: 2h, min: 0}";
        assert_eq!(told(&[half, NIGHTS], "2026-01-28T20:00:00Z"), wanted("2026-01-29T06:00:00Z None"));
        assert_eq!(told(&[], "2026-01-28T12:00:00Z"), None);
    }

    fn checked(scaling: &str, instances: Instances) -> String {
        let scaling: Scaling = serde_saphyr::from_str(scaling).unwrap();
        check(&scaling, (instances, WorkloadType::Worker))
            .map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn what_cannot_be_is_told_with_its_place_and_the_way_out() {
        let many = |scaling: &str| checked(scaling, Instances::Many);
        assert_eq!(many(&format!("{{max: 6, windows: [{DAYS}, {MONTHS_END}]}}")), "");
        assert_eq!(many(&format!("{{windows: [{DAYS}, {NIGHTS}]}}")), "");
        for (scaling, words) in [
            (
                format!("{{max: 5, windows: [{DAYS}, {MONTHS_END}]}}"),
                "scaling.windows[1].min: 6 is more than `scaling.max`, which is 5: write at most 5",
            ),
            (format!("{{max: 6, windows: [{NIGHTS}]}}"), "scaling.windows[0].min: with 0 nothing runs"),
            (
                format!("{{max: 6, triggers: [{{requests: {{perSecond: 1}}}}], windows: [{NIGHTS}]}}"),
                "scaling.windows[0].min: with 0 nothing runs",
            ),
            (
                "{windows: [{schedule: 0 25 * * *, duration: 1h, min: 1}]}".to_owned(),
                "scaling.windows[0].schedule: ",
            ),
            (
                "{windows: [{schedule: 0 8 * * *, duration: soon, min: 1}]}".to_owned(),
                "scaling.windows[0].duration: \"soon\" is no duration",
            ),
            (
                "{windows: [{schedule: '*/5 8 * * *', duration: 1h, min: 1}]}".to_owned(),
                "scaling.windows[0].schedule: \"*/5 8 * * *\" opens more than once an hour",
            ),
        ] {
            let told = many(&scaling);
            assert!(told.starts_with(words), "{scaling}: {told}");
        }
        let alone = checked(&format!("{{windows: [{NIGHTS}, {DAYS}]}}"), Instances::One);
        assert!(alone.starts_with("scaling.windows[1].min: 4 instances, but this service never"), "{alone}");
    }
}

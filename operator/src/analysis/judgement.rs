//! Is a step's canary as good as what runs? Pure: numbers in, a judgement out.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    answer::{Fared, Measured},
    comparison::Comparison,
};
use crate::{
    api::analysis::{Latency, ReleaseLatency},
    release::verdict::{Judgement, Verdict},
};

/// A second bad judgement counts once so much time has passed since the first: the series were scraped again.
pub const CONFIRMED: Duration = Duration::from_secs(30);
/// So long a step lasts at least before no requests mean more than that nothing was scraped.
const SCRAPED: Duration = Duration::from_mins(1);
/// Of a step without a pause: how long requests take counts once it has lasted so long.
const WARM: Duration = Duration::from_mins(5);
/// Seconds; what takes less than so much longer is never bad, whatever the share.
const FLOOR: f64 = 0.01;
/// What floating point may be wrong by.
pub(super) const NOTHING: f64 = 1e-9;

/// How far a step is.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// What is tried.
    pub release: &'a str,
    /// Since its instances are ready.
    pub lasts: Duration,
    /// So long it is to last; nothing where somebody ends it.
    pub pause: Option<Duration>,
}

impl Moment<'_> {
    /// May it be good? What went well for a part of the pause says nothing of the rest.
    pub(super) fn is_due(self) -> bool {
        self.pause.is_none_or(|pause| self.lasts >= pause)
    }

    /// Does it count how long requests take? An engine's first ones are slow.
    fn is_warm(self) -> bool {
        self.lasts >= self.pause.unwrap_or(WARM)
    }
}

/// Of what is tried; an error where the numbers are not there that would say it, with the words for that.
pub fn judged(comparison: &Comparison, measured: &Measured, moment: Moment) -> Result<Judgement, String> {
    let Comparison { errors, requests, counts: _, latency } = comparison;
    let Measured { tried, stable } = measured;
    let release = moment.release;
    let is_enough = |had: f64| had.round() >= f64::from(*requests);
    let had = match tried.requests {
        None if moment.lasts < SCRAPED => return Err(format!("{release} was not scraped yet")),
        None => {
            return Err(format!(
                "Prometheus has no requests of {release}: are its pods scraped, with labels of namespace and pod?"
            ));
        }
        Some(had) if !is_enough(had) => return Ok(open(too_few(had, *requests, release))),
        Some(had) => had,
    };
    // Of few nothing follows, for better or worse.
    let stable = stable.requests.filter(|had| is_enough(*had)).map(|had| (had, stable));
    let failed = failed((had, tried), (stable, *errors), release);
    let old = stable.and_then(|(_, stable)| stable.latency);
    let slow = latency.as_ref().map_or_else(|| Ok(good()), |latency| slow(latency, (tried, old), moment));
    let Some(words) = failed else {
        let is_early = |judged: &Judgement| judged.verdict == Verdict::Good && !moment.is_due();
        return slow.map(
            |judged| if is_early(&judged) { open(format!("so far {}", judged.message)) } else { judged },
        );
    };
    let slow = slow.ok().filter(|slow| slow.verdict == Verdict::Bad);
    Ok(bad(slow.map_or_else(|| words.clone(), |slow| format!("{words}; {}", slow.message))))
}

/// The words change seldom, however often they are asked for: each change is written to the board.
fn too_few(had: f64, requests: u32, release: &str) -> String {
    let steps =
        (0..).flat_map(|power| [1, 2, 5].map(|step| 10_u32.saturating_pow(power).saturating_mul(step)));
    let more = steps.take_while(|step| *step < requests).find(|step| had.round() < f64::from(*step));
    match more {
        _ if had.round() < 1.0 => format!("{release} had no requests, it is judged by {requests}"),
        Some(more) => {
            let more = count(f64::from(more));
            format!("{release} had fewer than {more} requests, it is judged by {requests}")
        }
        None => format!("{release} had fewer than the {requests} requests that it is judged by"),
    }
}

fn good() -> Judgement {
    Judgement {
        verdict: Verdict::Good,
        message: "its requests go no worse than those of what runs".to_owned(),
    }
}

/// Not known, for the reason that `message` says.
pub fn open(message: String) -> Judgement {
    Judgement { verdict: Verdict::Open, message }
}

/// It is worse, as `message` says.
pub(super) fn bad(message: String) -> Judgement {
    Judgement { verdict: Verdict::Bad, message }
}

/// Bad once: `message` says how.
pub fn suspect(message: String) -> Judgement {
    Judgement { verdict: Verdict::Suspect, message }
}

/// How more of its requests fail than may. `stable`: what runs and how many it had, where these are enough.
fn failed(
    (had, tried): (f64, &Fared),
    (stable, errors): (Option<(f64, &Fared)>, u16),
    release: &str,
) -> Option<String> {
    let share = |(had, fared): (f64, &Fared)| (fared.failures / had * 100.0).min(100.0);
    let (new, old) = (share((had, tried)), stable.map_or(0.0, share));
    let beside = match stable {
        Some((had, _)) => format!("{old:.1}% of {} of what runs", count(had)),
        None => "and what runs had too few to compare".to_owned(),
    };
    let points = if errors == 1 { "point" } else { "points" };
    (new > old + f64::from(errors) + NOTHING).then(|| {
        format!(
            "{new:.1}% of {} requests of {release} failed, {beside}: more than {errors} {points}",
            count(had)
        )
    })
}

/// Do its requests take longer than they may? Where those of what runs are not known, nothing says what is long.
fn slow(
    latency: &ReleaseLatency,
    (tried, old): (&Fared, Option<f64>),
    moment: Moment,
) -> Result<Judgement, String> {
    let ReleaseLatency { longer, metrics: Latency { sum: _, count: _, buckets, labels: _ } } = latency;
    let release = moment.release;
    let Some(new) = tried.latency else {
        return Err(format!("Prometheus does not know how long requests of {release} take"));
    };
    let Some(old) = old.filter(|old| *old > 0.0) else { return Ok(good()) };
    let most = (old * (1.0 + f64::from(*longer) / 100.0)).max(old + FLOOR);
    if new <= most + NOTHING {
        return Ok(good());
    }
    let which = if buckets.is_some() { "99 of 100 requests of" } else { "the mean request of" };
    let take = if buckets.is_some() { "take up to" } else { "takes" };
    if !moment.is_warm() {
        let words = format!("so far {which} {release} {take} more than {longer}% longer than of what runs");
        return Ok(open(words));
    }
    let (new, old) = (seconds(new), seconds(old));
    Ok(bad(format!("{which} {release} {take} {new}, of what runs {old}: more than {longer}% longer")))
}

/// Bad is what was bad before, and no scrape ago; one that was bad once is suspected until something else is measured: that
/// nobody knows (an error) clears nobody. Returns since when it is, for the next one.
pub fn confirmed(
    judged: Result<Judgement, String>,
    bad: Option<Timestamp>,
    now: Timestamp,
) -> (Judgement, Option<Timestamp>) {
    let judgement = match (judged, bad) {
        (Ok(judgement), _) => judgement,
        (Err(words), None) => return (open(words), None),
        (Err(words), Some(_)) => {
            return (suspect(format!("{words}; it was worse before and is judged once more")), bad);
        }
    };
    match judgement.verdict {
        Verdict::Good | Verdict::Asked | Verdict::Open => (judgement, None),
        Verdict::Bad | Verdict::Suspect => {
            let since = bad.unwrap_or(now);
            let is_confirmed = since.checked_add(CONFIRMED).is_ok_and(|from| from <= now);
            let again = || suspect(format!("{}; it is judged once more", judgement.message));
            (if is_confirmed { judgement.clone() } else { again() }, Some(since))
        }
    }
}

/// Such as `3,700`.
pub(super) fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups = digits.len().div_ceil(3);
    let mut told = String::with_capacity(digits.len() + groups);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

/// Such as `320 ms` or `1.4 s`.
fn seconds(number: f64) -> String {
    match number * 1000.0 {
        small if small < 10.0 => format!("{small:.1} ms"),
        some if some < 1000.0 => format!("{some:.0} ms"),
        _ => format!("{number:.1} s"),
    }
}

#[cfg(test)]
mod tests;

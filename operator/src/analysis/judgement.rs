//! Is a step's canary as good as what runs? Pure: numbers in, a judgement out.

use std::time::Duration;

use jiff::Timestamp;

use super::answer::{Fared, Measured};
use crate::{
    api::{
        ReleaseAnalysis,
        analysis::{Latency, ReleaseLatency},
    },
    release::verdict::{Judgement, Verdict},
};

/// A second bad judgement counts once so much time has passed since the first: the series were scraped again.
pub const CONFIRMED: Duration = Duration::from_secs(30);
/// What floating point may be wrong by.
const NOTHING: f64 = 1e-9;

/// Of `release`, which is tried.
pub fn judged(analysis: &ReleaseAnalysis, measured: &Measured, release: &str) -> Judgement {
    let ReleaseAnalysis { errors, requests, counts: _, latency } = analysis;
    let Measured { tried, stable } = measured;
    let had = match tried.requests {
        None => {
            return open(format!(
                "Prometheus has no requests of {release}: are its pods scraped, with labels of namespace and pod?"
            ));
        }
        Some(had) if had.round() < f64::from(*requests) => {
            return open(format!("{release} had {} requests, it is judged by {requests}", count(had)));
        }
        Some(had) => had,
    };
    let failed = failed((had, tried), (stable, *errors), release);
    let slow = latency.as_ref().map_or_else(good, |latency| slow(latency, (tried, stable), release));
    match (failed, slow.verdict) {
        (Some(words), Verdict::Bad) => bad(format!("{words}; {}", slow.message)),
        (Some(words), Verdict::Good | Verdict::Open) => bad(words),
        (None, _) => slow,
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

fn bad(message: String) -> Judgement {
    Judgement { verdict: Verdict::Bad, message }
}

/// How more of its requests fail than may.
fn failed((had, tried): (f64, &Fared), (stable, errors): (&Fared, u16), release: &str) -> Option<String> {
    let share = |fared: &Fared, had: f64| (fared.failures / had * 100.0).min(100.0);
    let compared = stable.requests.filter(|had| *had >= 1.0);
    let (new, old) = (share(tried, had), compared.map_or(0.0, |had| share(stable, had)));
    let beside = match compared {
        Some(had) => format!("{old:.1}% of {} of what runs", count(had)),
        None => "and what runs had none".to_owned(),
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
fn slow(latency: &ReleaseLatency, (tried, stable): (&Fared, &Fared), release: &str) -> Judgement {
    let ReleaseLatency { longer, metrics: Latency { sum: _, count: _, buckets, labels: _ } } = latency;
    let Some(new) = tried.latency else {
        return open(format!("Prometheus does not know how long requests of {release} take"));
    };
    let Some(old) = stable.latency.filter(|old| *old > 0.0) else { return good() };
    if new <= old * (1.0 + f64::from(*longer) / 100.0) + NOTHING {
        return good();
    }
    let which = if buckets.is_some() { "99 of 100 requests of" } else { "the mean request of" };
    let take = if buckets.is_some() { "take up to" } else { "takes" };
    let (new, old) = (seconds(new), seconds(old));
    bad(format!("{which} {release} {take} {new}, of what runs {old}: more than {longer}% longer"))
}

/// Bad is what was bad before, and no scrape ago. Returns since when it is, for the next one.
pub fn confirmed(
    judgement: Judgement,
    bad: Option<Timestamp>,
    now: Timestamp,
) -> (Judgement, Option<Timestamp>) {
    match judgement.verdict {
        Verdict::Good | Verdict::Open => (judgement, None),
        Verdict::Bad => {
            let since = bad.unwrap_or(now);
            let is_confirmed = since.checked_add(CONFIRMED).is_ok_and(|from| from <= now);
            let again = || open(format!("{}; it is judged once more", judgement.message));
            (if is_confirmed { judgement.clone() } else { again() }, Some(since))
        }
    }
}

/// Such as `3,700`.
fn count(number: f64) -> String {
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
mod tests {
    use super::*;

    fn analysis(errors: u16, latency: Option<&str>) -> ReleaseAnalysis {
        let latency = latency.map(|metrics| format!(", latency: {{longer: 50, metrics: {metrics}}}"));
        let text = format!(
            "{{errors: {errors}, requests: 50, counts: {{requests: a, failures: f}}{}}}",
            latency.unwrap_or_default()
        );
        serde_saphyr::from_str(&text).unwrap()
    }

    const MEAN: Option<&str> = Some("{sum: s_sum, count: s_count}");
    const BUCKETS: Option<&str> = Some("{buckets: s_bucket}");

    fn fared(requests: impl Into<Option<f64>>, failures: f64, latency: impl Into<Option<f64>>) -> Fared {
        Fared { requests: requests.into(), failures, latency: latency.into() }
    }

    fn told(analysis: &ReleaseAnalysis, tried: Fared, stable: Fared) -> String {
        let Judgement { verdict, message } = judged(analysis, &Measured { tried, stable }, "b");
        match verdict {
            Verdict::Good => "good".to_owned(),
            Verdict::Open => format!("open: {message}"),
            Verdict::Bad => format!("bad: {message}"),
        }
    }

    #[test]
    fn what_fails_no_more_often_than_it_may_is_good_and_what_does_is_bad() {
        let none = fared(None, 0.0, None);
        for (errors, tried, stable, wanted) in [
            (1, fared(410.0, 0.0, None), fared(3700.0, 0.0, None), "good"),
            (1, fared(400.0, 4.0, None), fared(3700.0, 0.0, None), "good"),
            (
                1,
                fared(410.0, 13.12, None),
                fared(3700.0, 3.7, None),
                "bad: 3.2% of 410 requests of b failed, 0.1% of 3,700 of what runs: more than 1 point",
            ),
            (5, fared(410.0, 13.0, None), fared(3700.0, 3.7, None), "good"),
            (0, fared(100.0, 0.0, None), none, "good"),
            (
                0,
                fared(1_234_567.0, 12_346.0, None),
                fared(0.0, 0.0, None),
                "bad: 1.0% of 1,234,567 requests of b failed, and what runs had none: more than 0 points",
            ),
            (1, fared(100.0, 50.0, None), fared(100.0, 50.0, None), "good"),
            (
                2,
                fared(50.0, 80.0, None),
                none,
                "bad: 100.0% of 50 requests of b failed, and what runs had none: more than 2 points",
            ),
        ] {
            assert_eq!(told(&analysis(errors, None), tried, stable), wanted);
        }
    }

    #[test]
    fn too_few_or_none_are_no_success_whatever_else_is_known() {
        let stable = fared(3700.0, 0.0, 0.1);
        for (tried, wanted) in [
            (
                fared(None, 0.0, 0.1),
                "open: Prometheus has no requests of b: are its pods scraped, with labels of namespace and pod?",
            ),
            (fared(0.0, 0.0, None), "open: b had 0 requests, it is judged by 50"),
            (fared(49.4, 49.4, None), "open: b had 49 requests, it is judged by 50"),
            (fared(49.6, 0.0, 0.1), "good"),
            (fared(410.0, 0.0, None), "open: Prometheus does not know how long requests of b take"),
        ] {
            assert_eq!(told(&analysis(1, MEAN), tried, stable), wanted);
        }
    }

    #[test]
    fn what_takes_longer_than_it_may_is_bad_where_it_is_known_what_is_long() {
        for (metrics, new, old, wanted) in [
            (MEAN, 0.15, Some(0.1), "good"),
            (MEAN, 0.01, Some(0.1), "good"),
            (MEAN, 9.0, None, "good"),
            (MEAN, 9.0, Some(0.0), "good"),
            (None, 9.0, Some(0.1), "good"),
            (
                MEAN,
                0.32,
                Some(0.0095),
                "bad: the mean request of b takes 320 ms, of what runs 9.5 ms: more than 50% longer",
            ),
            (
                BUCKETS,
                1.42,
                Some(0.2),
                "bad: 99 of 100 requests of b take up to 1.4 s, of what runs 200 ms: more than 50% longer",
            ),
        ] {
            let (tried, stable) = (fared(100.0, 0.0, new), fared(100.0, 0.0, old));
            assert_eq!(told(&analysis(1, metrics), tried, stable), wanted);
        }
    }

    #[test]
    fn all_that_is_bad_is_told_and_what_fails_counts_without_its_latency() {
        let stable = fared(100.0, 0.0, 0.1);
        let both = told(&analysis(1, MEAN), fared(100.0, 5.0, 0.2), stable);
        assert!(
            both.contains("5.0% of 100") && both.contains("; the mean request of b takes 200 ms"),
            "{both}"
        );
        let silent = told(&analysis(1, MEAN), fared(100.0, 5.0, None), stable);
        assert!(silent.starts_with("bad: 5.0%"), "{silent}");
    }

    #[test]
    fn one_that_is_bad_once_may_be_an_outlier_and_twice_in_a_row_is_not() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let bad = || bad("worse".to_owned());
        let again = open("worse; it is judged once more".to_owned());
        assert_eq!(confirmed(bad(), None, at(0)), (again.clone(), Some(at(0))));
        assert_eq!(confirmed(bad(), Some(at(0)), at(29)), (again.clone(), Some(at(0))));
        assert_eq!(confirmed(bad(), Some(at(0)), at(30)), (bad(), Some(at(0))));
        assert_eq!(
            confirmed(bad(), Some(at(100)), at(0)),
            (again, Some(at(100))),
            "a clock that is set back"
        );
        assert_eq!(confirmed(good(), Some(at(0)), at(30)), (good(), None));
        let silent = open("no answer".to_owned());
        assert_eq!(confirmed(silent.clone(), Some(at(0)), at(30)), (silent, None), "not in a row");
    }
}

use super::*;

fn analysis(errors: u16, latency: Option<&str>) -> Comparison {
    let latency = latency.map(|metrics| format!(", latency: {{longer: 50, metrics: {metrics}}}"));
    let text = format!(
        "{{errors: {errors}, requests: 50, counts: {{requests: a, failures: f}}{}}}",
        latency.unwrap_or_default()
    );
    Comparison::of(&serde_saphyr::from_str(&text).unwrap()).unwrap()
}

const MEAN: Option<&str> = Some("{sum: s_sum, count: s_count}");
const BUCKETS: Option<&str> = Some("{buckets: s_bucket}");

fn fared(requests: impl Into<Option<f64>>, failures: f64, latency: impl Into<Option<f64>>) -> Fared {
    Fared { requests: requests.into(), failures, latency: latency.into() }
}

fn told(analysis: &Comparison, tried: Fared, stable: Fared) -> String {
    told_at((600, Some(600)), analysis, tried, stable)
}

/// In a second of a step with such a pause.
fn told_at(
    (second, pause): (u64, Option<u64>),
    analysis: &Comparison,
    tried: Fared,
    stable: Fared,
) -> String {
    let (lasts, pause) = (Duration::from_secs(second), pause.map(Duration::from_secs));
    match judged(analysis, &Measured { tried, stable }, Moment { release: "b", lasts, pause }) {
        Err(words) => format!("unknown: {words}"),
        Ok(Judgement { verdict: Verdict::Good, .. }) => "good".to_owned(),
        Ok(Judgement { verdict, message }) => format!("{verdict:?}: {message}").replace("Bad", "bad"),
    }
}

#[test]
fn what_goes_well_before_its_pause_is_over_is_not_good_yet() {
    let at = |second, pause| {
        told_at((second, pause), &analysis(1, None), fared(410.0, 0.0, None), fared(3700.0, 0.0, None))
    };
    let so_far = "Open: so far its requests go no worse than those of what runs";
    assert_eq!([at(599, Some(600)), at(600, Some(600)), at(1, None)], [so_far, "good", "good"]);
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
            "bad: 1.0% of 1,234,567 requests of b failed, and what runs had too few to compare: more than 0 points",
        ),
        (
            1,
            fared(100.0, 2.0, None),
            fared(49.0, 49.0, None),
            "bad: 2.0% of 100 requests of b failed, and what runs had too few to compare: more than 1 point",
        ),
        (1, fared(100.0, 2.0, None), fared(49.6, 49.6, None), "good"),
        (1, fared(100.0, 50.0, None), fared(100.0, 50.0, None), "good"),
        (
            2,
            fared(50.0, 80.0, None),
            none,
            "bad: 100.0% of 50 requests of b failed, and what runs had too few to compare: more than 2 points",
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
            "unknown: Prometheus has no requests of b: are its pods scraped, with labels of namespace and pod?",
        ),
        (fared(0.0, 0.0, None), "Open: b had no requests, it is judged by 50"),
        (fared(0.6, 0.0, None), "Open: b had fewer than 2 requests, it is judged by 50"),
        (fared(19.0, 19.0, None), "Open: b had fewer than 20 requests, it is judged by 50"),
        (fared(20.0, 0.0, None), "Open: b had fewer than the 50 requests that it is judged by"),
        (fared(49.4, 49.4, None), "Open: b had fewer than the 50 requests that it is judged by"),
        (fared(49.6, 0.0, 0.1), "good"),
        (fared(410.0, 0.0, None), "unknown: Prometheus does not know how long requests of b take"),
    ] {
        assert_eq!(told(&analysis(1, MEAN), tried, stable), wanted);
    }
    let early = told_at((59, None), &analysis(1, MEAN), fared(None, 0.0, None), stable);
    assert_eq!(early, "unknown: b was not scraped yet");
    assert_eq!(
        too_few(4_999.0, u32::MAX, "b"),
        "b had fewer than 5,000 requests, it is judged by 4294967295"
    );
}

#[test]
fn how_long_requests_take_counts_once_the_pause_is_over_and_what_fails_at_once() {
    let stable = fared(100.0, 0.0, 0.1);
    let slow = |at| told_at(at, &analysis(1, MEAN), fared(100.0, 0.0, 0.2), stable);
    let so_far = "Open: so far the mean request of b takes more than 50% longer than of what runs";
    let bad = "bad: the mean request of b takes 200 ms, of what runs 100 ms: more than 50% longer";
    for (at, wanted) in [
        ((59, Some(60)), so_far),
        ((60, Some(60)), bad),
        ((0, Some(0)), bad),
        ((299, None), so_far),
        ((300, None), bad),
    ] {
        assert_eq!(slow(at), wanted, "{at:?}");
    }
    let fails = told_at((0, Some(60)), &analysis(1, MEAN), fared(100.0, 5.0, 0.2), stable);
    assert!(fails.starts_with("bad: 5.0%") && !fails.contains("mean"), "{fails}");
}

#[test]
fn of_what_runs_with_few_requests_nothing_follows_for_how_long_they_take() {
    let told = |had| told(&analysis(1, MEAN), fared(100.0, 0.0, 9.0), fared(had, 0.0, 0.1));
    assert_eq!(told(49.0), "good");
    assert!(told(50.0).starts_with("bad: "), "{}", told(50.0));
}

#[test]
fn what_takes_longer_than_it_may_is_bad_where_it_is_known_what_is_long() {
    for (metrics, new, old, wanted) in [
        (MEAN, 0.15, Some(0.1), "good"),
        (MEAN, 0.01, Some(0.1), "good"),
        (MEAN, 0.0119, Some(0.002), "good"),
        (BUCKETS, 0.0119, Some(0.002), "good"),
        (
            MEAN,
            0.0121,
            Some(0.002),
            "bad: the mean request of b takes 12 ms, of what runs 2.0 ms: more than 50% longer",
        ),
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
    assert!(both.contains("5.0% of 100") && both.contains("; the mean request of b takes 200 ms"), "{both}");
    let silent = told(&analysis(1, MEAN), fared(100.0, 5.0, None), stable);
    assert!(silent.starts_with("bad: 5.0%"), "{silent}");
}

#[test]
fn one_that_is_bad_once_may_be_an_outlier_and_twice_in_a_row_is_not() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let bad = || bad("worse".to_owned());
    let again = suspect("worse; it is judged once more".to_owned());
    assert_eq!(confirmed(Ok(bad()), None, at(0)), (again.clone(), Some(at(0))));
    assert_eq!(confirmed(Ok(bad()), Some(at(0)), at(29)), (again.clone(), Some(at(0))));
    assert_eq!(confirmed(Ok(bad()), Some(at(0)), at(30)), (bad(), Some(at(0))));
    assert_eq!(
        confirmed(Ok(bad()), Some(at(100)), at(0)),
        (again, Some(at(100))),
        "a clock that is set back"
    );
}

#[test]
fn only_what_is_measured_clears_what_was_bad() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let few = open("too few".to_owned());
    for cleared in [good(), few] {
        assert_eq!(confirmed(Ok(cleared.clone()), Some(at(0)), at(30)), (cleared, None));
    }
    let silent = || Err("no answer".to_owned());
    assert_eq!(confirmed(silent(), None, at(30)), (open("no answer".to_owned()), None));
    let kept = suspect("no answer; it was worse before and is judged once more".to_owned());
    for now in [30, 3000] {
        assert_eq!(confirmed(silent(), Some(at(0)), at(now)), (kept.clone(), Some(at(0))));
    }
}

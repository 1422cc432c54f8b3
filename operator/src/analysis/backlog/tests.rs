use std::time::Duration;

use super::*;
use crate::api::scaled_object::ScaledObjectSpec;

fn places_of(triggers: &str) -> Vec<Place> {
    places(&serde_saphyr::from_str::<Vec<_>>(triggers).unwrap())
}

/// A queue of which an instance works off 20, and a topic of which it works off 50.
fn two() -> Vec<Place> {
    places_of(
        "[{broker: rabbit, rabbitmq: {queue: orders, messages: 20}}, {broker: events, kafka: {topic: prices, group: g, lag: 50}}]",
    )
}

fn object(status: &str) -> ScaledObject {
    let text = format!(
        "{{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {{}}, spec: {{}}, status: {{{status}}}}}"
    );
    serde_saphyr::from_str(&text).unwrap()
}

/// Of a step that began at second 0, with these looks.
fn told_of(pause: Option<Duration>, first: (i64, [u32; 2]), last: (i64, [u32; 2])) -> String {
    let look = |(second, [queue, topic]): (i64, [u32; 2])| Look {
        at: Timestamp::from_second(second).unwrap(),
        waits: Backlog::from([(0, f64::from(queue)), (1, f64::from(topic))]),
    };
    let moment = Moment { release: "b", lasts: Duration::from_secs(last.0.unsigned_abs()), pause };
    match judged((100, &two()), (&look(first), &look(last)), moment) {
        Judgement { verdict: Verdict::Good, .. } => "good".to_owned(),
        Judgement { verdict, message } => format!("{verdict:?}: {message}"),
    }
}

/// In a second of a step of 10 minutes, of which the first look is its beginning.
fn told_at(second: i64, began: [u32; 2], waits: [u32; 2]) -> String {
    told_of(Some(Duration::from_mins(10)), (0, began), (second, waits))
}

fn told(began: [u32; 2], waits: [u32; 2]) -> String {
    told_at(600, began, waits)
}

#[test]
fn more_than_may_is_bad_in_any_place_and_its_own_beginning_counts() {
    let bad = |words: &str| format!("Bad: what waits is {words} when the step began: more than 100% more");
    for (began, waits, wanted) in [
        ([40, 0], [40, 0], "good".to_owned()),
        ([40, 0], [0, 0], "good".to_owned()),
        ([40, 0], [80, 0], "good".to_owned()),
        ([40, 0], [280, 0], bad("14 instances' worth (queue orders: 280), 2")),
        // Twice of nothing is nothing: less than an instance's worth more is none.
        ([0, 0], [20, 50], "good".to_owned()),
        ([0, 0], [21, 0], bad("1.1 instances' worth (queue orders: 21), 0")),
        ([10, 0], [30, 0], "good".to_owned()),
        ([10, 0], [35, 0], bad("1.8 instances' worth (queue orders: 35), 0.5")),
        // What one place works off does not make up for another, and the worst is told.
        ([2000, 0], [0, 100], bad("2 instances' worth (topic prices: 100), 0")),
        ([0, 0], [100, 60_000], bad("1,200 instances' worth (topic prices: 60,000), 0")),
    ] {
        assert_eq!(told(began, waits), wanted, "{began:?} {waits:?}");
    }
}

#[test]
fn what_is_bad_is_so_at_once_and_good_only_once_the_pause_is_over() {
    let so_far = "Open: so far no more waits than may, since 1970-01-01T00:00:00Z";
    assert_eq!([told_at(599, [0, 0], [0, 0]), told_at(600, [0, 0], [0, 0])], [so_far, "good"]);
    assert!(told_at(1, [0, 0], [280, 0]).starts_with("Bad: "));
}

/// As after a restart of the operator, or where a broker was silent for the whole pause and answers once.
#[test]
fn a_first_look_passes_nothing_however_late_it_is() {
    let told = |second, waits| told_of(Some(Duration::from_mins(10)), (600, [0, 0]), (second, waits));
    for second in [600, 615, 1199] {
        let so_far = "Open: so far no more waits than may, since 1970-01-01T00:10:00Z";
        assert_eq!(told(second, [0, 0]), so_far, "{second}");
    }
    assert_eq!(told(1200, [0, 0]), "good", "a pause later");
    assert!(told(601, [280, 0]).starts_with("Bad: "));
    let without_end = |second| told_of(None, (600, [0, 0]), (second, [0, 0]));
    assert!(without_end(600).starts_with("Open: "), "compared with itself");
    assert_eq!(without_end(615), "good", "somebody ends it");
}

#[test]
fn of_what_is_open_no_number_is_told_that_changes_with_each_look() {
    assert_eq!(told_at(1, [0, 0], [0, 0]), told_at(16, [0, 0], [12, 3]));
}

#[test]
fn each_place_has_the_number_whose_name_begins_with_its_index() {
    let places = two();
    let names = "externalMetricNames: [s10-kafka-x, s1-kafka-prices, s0-rabbitmq-orders]";
    let found: Vec<_> = places.iter().map(|place| place.metric(&object(names)).unwrap().to_owned()).collect();
    assert_eq!(found, ["s0-rabbitmq-orders", "s1-kafka-prices"]);
    let unasked = Err(Uncounted::Unasked("topic prices".to_owned()));
    assert_eq!(places[1].metric(&object("externalMetricNames: [s0-rabbitmq-orders]")), unasked);
    assert_eq!(places[1].metric(&ScaledObject::new("orders", ScaledObjectSpec::default())), unasked);
    let led_away = object("externalMetricNames: ['s0-../../secrets?a=b']");
    assert_eq!(places[0].metric(&led_away), Err(Uncounted::Unreadable("queue orders".to_owned())));
}

/// As the API server of KEDA 2.21 writes it (`k8s.io/metrics`, `external_metrics/v1beta1`); quantities are canonical.
#[test]
fn an_answer_is_read_as_an_autoscaler_reads_it() {
    let counted = |items: &str| {
        let answer = format!(
            r#"{{"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1","metadata":{{}},"items":[{items}]}}"#
        );
        two()[0].counted(answer.as_bytes())
    };
    let item = |value: &str| {
        format!(
            r#"{{"metricName":"s0-rabbitmq-orders","metricLabels":null,"timestamp":"2026-05-01T03:00:00Z","value":"{value}"}}"#
        )
    };
    for (value, wanted) in
        [("280", 280.0), ("0", 0.0), ("12k", 12_000.0), ("280500m", 280.0), ("9T", 4_294_967_295.0)]
    {
        assert_eq!(counted(&item(value)), Ok(wanted), "{value}");
    }
    assert_eq!(counted(&format!("{},{}", item("1"), item("2"))), Ok(3.0));
    let unreadable = Err(Uncounted::Unreadable("queue orders".to_owned()));
    for items in ["", &item("many"), &item("-1"), r#"{"metricName":"a"}"#] {
        assert_eq!(counted(items), unreadable, "{items}");
    }
    assert_eq!(two()[0].counted(b"<html>"), unreadable);
}

#[test]
fn numbers_of_a_fallback_are_made_up() {
    let is_so = |conditions: &str| is_made_up(&object(&format!("conditions: [{conditions}]")));
    assert!(is_so("{type: Ready, status: 'True'}, {type: Fallback, status: 'True'}"));
    assert!(!is_so("{type: Ready, status: 'True'}, {type: Fallback, status: 'False'}"));
    assert!(!is_so("") && !is_made_up(&ScaledObject::new("orders", ScaledObjectSpec::default())));
}

#[test]
fn what_is_not_known_is_told_with_what_to_look_at() {
    let place = &two()[0];
    let refused = place.unanswered(NoNumber::Status(403)).to_string();
    let words = "external.metrics.k8s.io answers 403 when asked how much waits in queue orders: does the broker answer";
    assert!(refused.starts_with(words), "{refused}");
    let silent = place.unanswered(NoNumber::Silent).to_string();
    assert_eq!(silent, "KEDA does not say in time how much waits in queue orders: does the broker answer?");
    assert_eq!(place.unanswered(NoNumber::TooLong), Uncounted::Unreadable("queue orders".to_owned()));
    assert!(Uncounted::Fallback.to_string().contains("those of `scaling.fallback`"));
}

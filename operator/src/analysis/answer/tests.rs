//! Answers as Prometheus 2.42 gave them, to questions as [`super::super::query`] makes them.

use proptest::prelude::*;

use super::*;

/// Both had requests; two scrapes and more lie in the time that was asked for.
const BOTH: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"tells":"tried requests"},"value":[1795993093.599,"60.9629"]},{"metric":{"tells":"tried failures"},"value":[1795993093.599,"1.4868999999999999"]},{"metric":{"tells":"tried latency"},"value":[1795993093.599,"0.3199861373901367"]},{"metric":{"tells":"stable requests"},"value":[1795993093.599,"513.301"]},{"metric":{"tells":"stable failures"},"value":[1795993093.599,"1.1373"]},{"metric":{"tells":"stable latency"},"value":[1795993093.599,"0.10001240491867065"]}]}}"#;
/// The new one is scraped and had no requests, nothing is known of what runs.
const QUIET: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"tells":"tried requests"},"value":[1795993093.602,"0"]},{"metric":{"tells":"tried failures"},"value":[1795993093.602,"0"]},{"metric":{"tells":"tried latency"},"value":[1795993093.602,"NaN"]}]}}"#;
/// Of what is tried one pod came within the time, scraped first with 3 failures and 40 requests and last with 106; one came and
/// went with 7; one is older, had 35 more, and no more failures than its 700. `increase` alone told 101 and no failures.
const BEGUN: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"tells":"tried requests"},"value":[1795997194.949,"147.97736758567987"]},{"metric":{"tells":"tried failures"},"value":[1795997194.949,"3"]},{"metric":{"tells":"stable requests"},"value":[1795997194.949,"349.77367585679855"]}]}}"#;
/// No pods of such a name, or one scrape only.
const NOTHING: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
/// With 400.
const REFUSED: &str = r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis"}"#;

fn told(status: u16, body: &str) -> Result<Measured, String> {
    measured(status, body.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn what_both_did_is_told_apart() {
    let Measured { tried, stable } = told(200, BOTH).unwrap();
    let wanted = Fared {
        requests: Some(60.9629),
        failures: 1.486_899_999_999_999_9,
        latency: Some(0.319_986_137_390_136_7),
    };
    assert_eq!(tried, wanted);
    assert_eq!((stable.requests, stable.failures), (Some(513.301), 1.1373));
}

#[test]
fn the_answer_to_the_question_of_today_is_read() {
    let tried = told(200, BEGUN).unwrap().tried;
    assert_eq!((tried.requests.map(f64::round), tried.failures), (Some(148.0), 3.0));
}

#[test]
fn what_is_no_number_or_not_there_is_nothing() {
    let quiet =
        Measured { tried: Fared { requests: Some(0.0), ..Fared::default() }, stable: Fared::default() };
    assert_eq!(told(200, QUIET), Ok(quiet));
    assert_eq!(told(200, NOTHING), Ok(Measured::default()));
    for number in ["NaN", "+Inf", "-Inf", "-1", "", "many"] {
        let answer = BOTH.replace("60.9629", number);
        assert_eq!(told(200, &answer).unwrap().tried.requests, None, "{number}");
    }
}

#[test]
fn what_is_no_answer_is_told_as_that_and_says_nothing_of_itself() {
    assert_eq!(told(400, REFUSED), Err("answers 400, bad_data".to_owned()));
    assert_eq!(
        told(503, &REFUSED.replace("bad_data", "timeout\\u001b[31m")),
        Err("answers 503, timeout[31m".into())
    );
    assert_eq!(told(502, "<html>secret</html>"), Err("answers 502".to_owned()));
    assert_eq!(told(302, ""), Err("answers 302".to_owned()));
    assert_eq!(told(500, BOTH), Err("answers 500".to_owned()), "whatever the body says");
    let unreadable = Err("gives an answer that cannot be read: does `prometheus.url` lead to it?".to_owned());
    for body in [
        "",
        "<html>",
        "[]",
        r#"{"status":"success"}"#,
        r#"{"status":"success","data":{"resultType":"scalar","result":[1795993093.6,"1"]}}"#,
        r#"{"status":"pending","data":{"resultType":"vector","result":[]}}"#,
    ] {
        assert_eq!(told(200, body), unreadable, "{body}");
    }
}

proptest! {
    #[test]
    fn no_answer_whatever_does_harm(status: u16, body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = measured(status, &body);
    }
}

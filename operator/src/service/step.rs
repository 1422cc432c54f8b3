//! What the board tells of the step at which a release is tried. Pure.

use jiff::Timestamp;

use super::Problem;
use crate::{
    api::{WorkloadType, integration_service::Share},
    conditions::Reason,
    release::{
        trial::{Awaits, State},
        verdict::{Judgement, Verdict, words},
    },
};

/// A step, and whoever looks at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    /// What is tried.
    pub state: &'a State,
    /// How many steps it has.
    pub steps: usize,
    /// What runs meanwhile, and as what.
    pub own: (&'a str, WorkloadType),
    /// Why it stays at its step.
    pub paused: Option<&'a str>,
    /// Somebody skipped it.
    pub is_skipped: bool,
    /// What is thought of it.
    pub judgements: &'a [Judgement],
    /// Where its instances are its share of the requests.
    pub share: Option<Share>,
}

/// What `told` waits for, in the `environment` of a `service`.
pub(super) fn awaited(awaits: Awaits, (service, environment): (&str, &str), told: Told<'_>) -> Problem {
    let Told { state, steps, own, paused, is_skipped, judgements, share } = told;
    let State { release, passed, weight, since: _, ready: _ } = state;
    let step = format!("{release} is tried, step {} of {steps}", passed + 1);
    let share = match (own.1, share) {
        (WorkloadType::Worker, _) => String::new(),
        (WorkloadType::Api | WorkloadType::Batch, Some(Share { instances, of })) => {
            format!(" as {instances} of {of} instances")
        }
        (WorkloadType::Api | WorkloadType::Batch, None) => format!(" with {weight} of 100 requests"),
    };
    let skip = format!("kubectl imaas rollout skip {service} {environment}");
    let [bad, suspected, open, asked] = [Verdict::Bad, Verdict::Suspect, Verdict::Open, Verdict::Asked]
        .map(|verdict| words(judgements, verdict));
    let until_cleared = if is_skipped { "; the skip takes effect once that is cleared" } else { "" };
    let suspected = suspected.map(|words| words + until_cleared);
    let said = [&suspected, &open, &asked].into_iter().flatten();
    let unsure: String = said.flat_map(|words| ["; ", words.as_str()]).collect();
    let rolls = |message: String| Problem::new(Reason::RollingOut, message);
    match awaits {
        Awaits::End => rolls(format!("{release} is tried once what was tried before has ended")),
        Awaits::Settled => rolls(format!("{release} is tried once {} is all that runs", own.0)),
        Awaits::Ready { ready, need } => rolls(format!("{step}: {ready} of {need} instances are ready")),
        Awaits::Gateway { is_refused: false } => {
            rolls(format!("{step}{share} once the gateway has taken the route"))
        }
        Awaits::Gateway { is_refused: true } => {
            let message = format!(
                "{step}, and no request comes, since the gateway refuses the route; to go on all the same: {skip}"
            );
            Problem::new(Reason::Paused, message)
        }
        Awaits::Until(until) => rolls(format!("{step}{share} until {}{unsure}", whole(until))),
        Awaits::Skip => {
            Problem::new(Reason::Paused, format!("{step}{share} until somebody says: {skip}{unsure}"))
        }
        Awaits::Judged => match (bad, suspected) {
            (Some(bad), _) => Problem::new(Reason::Unhealthy, format!("{step}: {bad}")),
            // What a person may have to end is not on its way.
            (None, Some(words)) => Problem::new(
                Reason::Paused,
                format!(
                    "{step}{share}, and no further: {words}; to give it up: kubectl imaas rollout abort {service} {environment}"
                ),
            ),
            (None, None) if open.is_none() => {
                let asked = asked.unwrap_or_default();
                rolls(format!("{step}{share} until it is judged: {asked}; to go on without: {skip}"))
            }
            (None, None) => {
                let open = open.unwrap_or_default();
                let message =
                    format!("{step}{share} until it is judged good: {open}; to go on without: {skip}");
                Problem::new(Reason::Paused, message)
            }
        },
        Awaits::Resume => {
            let why = paused.unwrap_or_default();
            Problem::new(Reason::Paused, format!("{step}{share}: {why}{unsure}"))
        }
    }
}

/// Nobody reads a fraction of a second.
pub(super) fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::integration_service::Waiting, service::status::moves};

    fn said(awaits: Awaits, judged: &[(Verdict, &str)]) -> String {
        said_where(false, awaits, judged)
    }

    fn said_where(is_skipped: bool, awaits: Awaits, judged: &[(Verdict, &str)]) -> String {
        shared((is_skipped, None), awaits, judged)
    }

    fn shared(
        (is_skipped, share): (bool, Option<Share>),
        awaits: Awaits,
        judged: &[(Verdict, &str)],
    ) -> String {
        let state =
            State { release: "orders-prod-b".to_owned(), passed: 0, since: None, weight: 0, ready: 0 };
        let one = |(verdict, message): &(Verdict, &str)| Judgement {
            verdict: *verdict,
            message: (*message).to_owned(),
        };
        let judgements: Vec<_> = judged.iter().map(one).collect();
        let told = Told {
            state: &state,
            steps: 2,
            own: ("orders-prod-a", WorkloadType::Api),
            paused: Some("paused by nora"),
            is_skipped,
            judgements: &judgements,
            share,
        };
        let Problem { reason, message, .. } = awaited(awaits, ("orders", "prod"), told);
        let message = message.strip_prefix("orders-prod-b is tried, step 1 of 2").unwrap();
        format!("{}{message}", reason.as_str())
    }

    #[test]
    fn what_nobody_can_judge_yet_is_told_with_what_was_seen_last_and_the_way_past_it() {
        let open = [(Verdict::Good, "errors are few"), (Verdict::Open, "GET / answered 503")];
        assert_eq!(
            said(Awaits::Judged, &open),
            "Paused with 0 of 100 requests until it is judged good: GET / answered 503; to go on without: kubectl imaas rollout skip orders prod"
        );
        let until = Awaits::Until("2026-01-01T10:00:00.5Z".parse().unwrap());
        assert_eq!(
            said(until, &open),
            "RollingOut with 0 of 100 requests until 2026-01-01T10:00:00Z; GET / answered 503"
        );
        assert_eq!(
            said(Awaits::Resume, &open),
            "Paused with 0 of 100 requests: paused by nora; GET / answered 503"
        );
        assert_eq!(said(Awaits::Resume, &open[..1]), "Paused with 0 of 100 requests: paused by nora");
    }

    /// Its place among those that roll out, and in what hosts are told, is of what ends by itself.
    #[test]
    fn what_nobody_but_a_person_may_end_is_not_on_its_way() {
        let open = [(Verdict::Open, "nobody called it")];
        let is_on_its_way = |awaits| {
            let reason = said(awaits, &open).split(' ').next().unwrap().to_owned();
            moves(&Waiting { reason, message: String::new() })
        };
        assert!(!is_on_its_way(Awaits::Judged) && !is_on_its_way(Awaits::Skip));
        let asked = [(Verdict::Good, "errors are few"), (Verdict::Asked, "GET / is asked")];
        let words = "RollingOut with 0 of 100 requests until it is judged: GET / is asked; to go on without: kubectl imaas rollout skip orders prod";
        assert_eq!(said(Awaits::Judged, &asked), words);
        let both = [asked[1], open[0]];
        assert!(said(Awaits::Judged, &both).starts_with("Paused "), "an answer does not end it");
        assert!(is_on_its_way(Awaits::Until("2026-01-01T10:00:00Z".parse().unwrap())));
    }

    #[test]
    fn what_is_suspected_is_told_with_the_way_out_and_not_with_a_way_past_it() {
        let both =
            [(Verdict::Open, "nobody called it"), (Verdict::Suspect, "5% failed; it is judged once more")];
        assert_eq!(
            said(Awaits::Judged, &both),
            "Paused with 0 of 100 requests, and no further: 5% failed; it is judged once more; to give it up: kubectl imaas rollout abort orders prod"
        );
        assert_eq!(
            said(Awaits::Resume, &both),
            "Paused with 0 of 100 requests: paused by nora; 5% failed; it is judged once more; nobody called it"
        );
    }

    #[test]
    fn a_skip_that_waits_until_nothing_is_suspected_is_told_so() {
        let suspect = [(Verdict::Suspect, "5% failed; it is judged once more")];
        let waits = "5% failed; it is judged once more; the skip takes effect once that is cleared";
        for awaits in [Awaits::Judged, Awaits::Resume] {
            let told = said_where(true, awaits, &suspect);
            assert!(told.contains(waits), "{told}");
            assert!(!said(awaits, &suspect).contains("the skip"));
        }
        let open = [(Verdict::Open, "nobody called it")];
        assert!(!said_where(true, Awaits::Judged, &open).contains("the skip takes"));
    }

    #[test]
    fn without_a_gateway_its_share_is_told_as_instances() {
        let share = Some(Share { instances: 1, of: 2 });
        let skip = "until somebody says: kubectl imaas rollout skip orders prod";
        assert_eq!(shared((false, share), Awaits::Skip, &[]), format!("Paused as 1 of 2 instances {skip}"));
        assert_eq!(shared((false, None), Awaits::Skip, &[]), format!("Paused with 0 of 100 requests {skip}"));
    }

    #[test]
    fn what_the_gateway_refuses_is_told_with_the_way_past_it() {
        let told = |is_refused| said(Awaits::Gateway { is_refused }, &[]);
        assert_eq!(told(false), "RollingOut with 0 of 100 requests once the gateway has taken the route");
        let refused = told(true);
        assert!(refused.starts_with("Paused, and no request comes"), "{refused}");
        assert!(refused.ends_with("kubectl imaas rollout skip orders prod"), "{refused}");
    }

    #[test]
    fn what_is_bad_is_told_alone() {
        let bad =
            [(Verdict::Open, "nobody called it"), (Verdict::Bad, "GET / answered 503 five times in a row")];
        assert_eq!(said(Awaits::Judged, &bad), "Unhealthy: GET / answered 503 five times in a row");
    }
}

//! A smoke check: one request that a release must answer as it says before anybody else's go to it. What was answered in,
//! what follows of it out. Pure; [`rounds`](super::rounds) asks.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{Release, ReleaseSmoke},
    release::verdict::{Judgement, Verdict},
};

/// So often in a row another answer counts, and the word for it.
const MOST: (u8, &str) = (5, "five");
/// So long they are to last, from the first to the last: an engine that is a moment late is not given up.
const LASTS: Duration = Duration::from_secs(20);

/// What is asked of an instance of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub release: String,
    /// What it says of that.
    pub smoke: ReleaseSmoke,
}

/// What came of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This status; of a redirect too, which is not followed.
    Status(u16),
    /// Nothing in time.
    Late,
    /// Nobody listens there.
    Refused,
    /// Something that is not HTTP, or breaks off.
    Broken,
    /// It was not sent: the operator has no client, and gets none while it runs.
    Unsent,
}

/// What was answered so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    last: Option<Answer>,
    /// So many in a row are not as they are to be.
    wrong: u8,
    /// When the first of these came.
    since: Option<Timestamp>,
    /// How long after it the last of them did.
    lasted: Duration,
}

impl Answers {
    /// Was one ready to be asked?
    pub fn is_any(&self) -> bool {
        self.last.is_some()
    }
}

impl Check {
    /// Of `release`, which has passed so many of its steps; nothing where it asks for none, or gets requests already.
    pub fn of(release: &Release, passed: usize) -> Option<Self> {
        let smoke = release.spec.smoke.clone()?;
        let is_previewed = release.spec.steps.get(passed).is_some_and(|step| step.weight == 0);
        is_previewed.then(|| Self { release: release.name_any(), smoke })
    }

    fn is_well(&self, answer: &Answer) -> bool {
        match (answer, self.smoke.status) {
            (Answer::Status(status), Some(wanted)) => *status == wanted,
            (Answer::Status(status), None) => (200..300).contains(status),
            (Answer::Late | Answer::Refused | Answer::Broken | Answer::Unsent, _) => false,
        }
    }

    /// `answers` and one more, at `now`; nothing where no instance is ready to be asked: what one said that is gone proves
    /// nothing.
    pub fn answered(&self, answers: &Answers, (answer, now): (Option<Answer>, Timestamp)) -> Answers {
        let Answers { last: _, wrong, since, lasted } = *answers;
        match &answer {
            None => Answers { last: answer, wrong, since, lasted },
            // That says nothing of the instance.
            Some(Answer::Unsent) => Answers { last: answer, ..Answers::default() },
            Some(said) if self.is_well(said) => Answers { last: answer, ..Answers::default() },
            Some(_) => {
                let since = since.unwrap_or(now);
                let lasted = Duration::try_from(now.duration_since(since)).unwrap_or_default();
                let wrong = wrong.saturating_add(1).min(MOST.0);
                Answers { last: answer, wrong, since: Some(since), lasted: lasted.min(LASTS) }
            }
        }
    }

    /// What follows of `answers`.
    pub fn judgement(&self, answers: &Answers) -> Judgement {
        let asked = format!("smoke check GET {}", self.smoke.path);
        let Answers { last, wrong, since: _, lasted } = answers;
        let judged = |verdict, message: String| Judgement { verdict, message };
        let Some(answer) = last else {
            return judged(Verdict::Asked, format!("{asked} is asked as soon as an instance is ready"));
        };
        let got = told(answer);
        match *wrong {
            _ if *answer == Answer::Unsent => judged(Verdict::Open, format!("{asked} {got}")),
            0 => judged(Verdict::Good, format!("{asked} {got}")),
            wrong if wrong < MOST.0 => {
                judged(Verdict::Asked, format!("{asked} {got}, {wrong} of {} times in a row", MOST.0))
            }
            _ if *lasted < LASTS => {
                let message =
                    format!("{asked} {got} {} times in a row, and may for {} s", MOST.1, LASTS.as_secs());
                judged(Verdict::Asked, message)
            }
            _ => judged(Verdict::Bad, format!("{asked} {got} {} times in a row", MOST.1)),
        }
    }
}

/// The same words at each attempt, and nothing of what was answered.
fn told(answer: &Answer) -> String {
    match answer {
        Answer::Status(status) => format!("answered {status}"),
        Answer::Late => "was not answered in time".to_owned(),
        Answer::Refused => "could not connect".to_owned(),
        Answer::Broken => "was not answered in HTTP".to_owned(),
        Answer::Unsent => {
            "cannot be asked: the operator can make no HTTP client, its log says why".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn check(more: &str) -> Check {
        let smoke = format!("smoke: {{path: /orders/health, port: 8080{more}}}");
        let steps = "steps: [{weight: 0, pause: 0s}, {weight: 100, pause: 1h}]";
        Check::of(&sample::release("orders-dev-a", &format!("{steps}, {smoke}")), 0).unwrap()
    }

    fn judged(check: &Check, answers: &[Option<Answer>]) -> (Verdict, String) {
        judged_every(5, check, answers)
    }

    /// One answer after so many seconds, each time.
    fn judged_every(seconds: i64, check: &Check, answers: &[Option<Answer>]) -> (Verdict, String) {
        let times = (0..).map(|number| Timestamp::from_second(number * seconds).unwrap());
        let all = answers.iter().cloned().zip(times);
        let answers = all.fold(Answers::default(), |answers, answer| check.answered(&answers, answer));
        let Judgement { verdict, message } = check.judgement(&answers);
        (verdict, message.strip_prefix("smoke check GET /orders/health ").unwrap().to_owned())
    }

    #[test]
    fn only_the_answer_that_is_expected_is_good_and_five_others_in_a_row_are_bad() {
        use Verdict::{Asked, Bad, Good};
        let status = |status| Some(Answer::Status(status));
        let refused = || Some(Answer::Refused);
        let five = |answer: Answer| vec![Some(answer); 5];
        for (more, answers, verdict, words) in [
            ("", vec![], Asked, "is asked as soon as an instance is ready"),
            ("", vec![status(200)], Good, "answered 200"),
            ("", vec![status(204)], Good, "answered 204"),
            ("", vec![status(302)], Asked, "answered 302, 1 of 5 times in a row"),
            (", status: 302", vec![status(302)], Good, "answered 302"),
            (", status: 200", vec![status(204)], Asked, "answered 204, 1 of 5 times in a row"),
            ("", [five(Answer::Status(503)), vec![]].concat(), Bad, "answered 503 five times in a row"),
            ("", five(Answer::Late), Bad, "was not answered in time five times in a row"),
            ("", five(Answer::Broken), Bad, "was not answered in HTTP five times in a row"),
            ("", five(Answer::Refused)[1..].to_vec(), Asked, "could not connect, 4 of 5 times in a row"),
            (
                "",
                [&five(Answer::Refused)[1..], &[status(200), refused()]].concat(),
                Asked,
                "could not connect, 1 of 5 times in a row",
            ),
            (
                "",
                [five(Answer::Late), vec![refused()]].concat(),
                Bad,
                "could not connect five times in a row",
            ),
        ] {
            assert_eq!(judged(&check(more), &answers), (verdict, words.to_owned()), "{more} {answers:?}");
        }
    }

    #[test]
    fn what_an_instance_said_that_is_gone_proves_nothing() {
        let well = Some(Answer::Status(200));
        assert_eq!(judged(&check(""), &[well.clone(), None]).0, Verdict::Asked);
        let late = || Some(Answer::Late);
        assert_eq!(judged(&check(""), &[late(), late(), None, late(), late(), late()]).0, Verdict::Bad);
    }

    #[test]
    fn what_nobody_can_ask_is_a_persons_to_judge() {
        let told = judged(&check(""), &vec![Some(Answer::Unsent); 9]);
        let words = "cannot be asked: the operator can make no HTTP client, its log says why";
        assert_eq!(told, (Verdict::Open, words.to_owned()));
    }

    #[test]
    fn five_in_a_moment_are_not_yet_bad() {
        let wrong = |number| vec![Some(Answer::Status(503)); number];
        let check = check("");
        let told = |seconds, number| judged_every(seconds, &check, &wrong(number));
        let waits = "answered 503 five times in a row, and may for 20 s";
        assert_eq!(told(1, 5), (Verdict::Asked, waits.to_owned()));
        assert_eq!(told(1, 20), (Verdict::Asked, waits.to_owned()));
        assert_eq!(told(1, 21), (Verdict::Bad, "answered 503 five times in a row".to_owned()));
        assert_eq!(told(10, 4).0, Verdict::Asked, "four are not five");
        let well = [wrong(4), vec![Some(Answer::Status(200))], wrong(5)].concat();
        assert_eq!(judged_every(4, &check, &well).0, Verdict::Asked, "it begins anew");
        assert_eq!(told(-1, 30).0, Verdict::Asked, "the clock was set back");
    }

    #[test]
    fn it_is_asked_as_long_as_it_gets_no_requests_and_only_where_it_says_so() {
        let smoke = "smoke: {path: /, port: 8080}";
        let release = |more: &str| sample::release("orders-dev-a", more);
        let green = release(&format!("steps: [{{weight: 0}}, {{weight: 100}}], {smoke}"));
        let asked = |passed| Check::of(&green, passed).is_some();
        assert_eq!([0, 1, 2].map(asked), [true, false, false]);
        assert_eq!(Check::of(&release("steps: [{weight: 0}, {weight: 100}]"), 0), None);
    }
}

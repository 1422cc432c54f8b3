//! What is asked about a step of a trial, of whom, and when again. Pure.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    analysis::{Comparison, Look, Place},
    api::Release,
    environment::ValidPrometheus,
    release::{
        self,
        trial::State,
        verdict::{Judgement, Verdict},
    },
    service::{step::whole, validate::ValidEnvironment},
};

/// Between the beginning of a step and the first question.
pub(super) const SOON: Duration = Duration::from_secs(1);
/// Between two questions about one step.
pub(super) const PAUSE: Duration = Duration::from_secs(15);

/// Who says how what is tried fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// Prometheus, which counts requests.
    Prometheus,
    /// KEDA, which counts what waits.
    Keda,
}

impl Source {
    /// Each of them.
    pub(super) const ALL: [Self; 2] = [Self::Prometheus, Self::Keda];

    /// Of a step about which it was not asked yet.
    pub(super) fn unseen(self) -> Judgement {
        let message = match self {
            Self::Prometheus => "its requests are looked at for the first time",
            Self::Keda => "how much waits is looked at for the first time",
        };
        Judgement { verdict: Verdict::Asked, message: message.to_owned() }
    }
}

/// What it is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asked {
    /// How the requests of both went.
    Requests(ValidPrometheus, Box<Comparison>),
    /// Whether so many percent more wait in these places, which KEDA watches for what runs.
    Backlog(u16, Vec<Place>),
}

impl Asked {
    /// Who.
    pub(super) fn source(&self) -> Source {
        match self {
            Self::Requests(..) => Source::Prometheus,
            Self::Backlog(..) => Source::Keda,
        }
    }
}

/// A step that is to be judged.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Question {
    pub(super) asked: Asked,
    pub(super) namespace: String,
    pub(super) release: String,
    passed: usize,
    /// Nothing while the step has not its instances: it is not asked about, and what was said of it is kept.
    pub(super) since: Option<Timestamp>,
    pub(super) pause: Option<Duration>,
}

impl Question {
    /// Nothing where this release is at no step.
    pub(super) fn of(
        environment: &ValidEnvironment,
        (release, state): (&Release, Option<&State>),
        asked: Asked,
    ) -> Option<Self> {
        let name = release.name_any();
        let state = state.filter(|state| state.release == name)?;
        Some(Self {
            asked,
            namespace: environment.namespace.clone(),
            release: name,
            passed: state.passed,
            since: state.since.map(whole),
            pause: release::pause(release, state.passed),
        })
    }

    /// When its pause is over: good is what is so then. Where it is compared with a `first` look, since that as well.
    fn due(&self, first: Option<&Look>) -> Option<Timestamp> {
        let since = self.since?;
        let since = first.map_or(since, |first| since.max(first.at));
        since.checked_add(self.pause?).ok()
    }

    /// How long until it is to be asked again: a `pause`, or until it is due.
    pub(super) fn next(&self, first: Option<&Look>, (now, pause): (Timestamp, Duration)) -> Duration {
        let left = self.due(first).and_then(|due| Duration::try_from(due.duration_since(now)).ok());
        left.filter(|left| !left.is_zero()).map_or(pause, |left| pause.min(left + SOON))
    }

    /// Of the same step, whenever that began: it begins anew with each instance that is lost.
    fn is_of_step_of(&self, other: &Self) -> bool {
        *other == Self { since: other.since, ..self.clone() }
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) judgement: Judgement,
    pub(super) at: Timestamp,
    /// Since when it is bad, every time that it was measured.
    pub(super) bad: Option<Timestamp>,
    /// The first look at what waits, with which each other is compared; nothing before that.
    pub(super) began: Option<Look>,
}

impl Told {
    /// Not to be asked again yet. A clock that is set back makes nothing fresh for long.
    pub(super) fn is_fresh(&self, question: &Question, now: Timestamp) -> bool {
        let next = self.at.checked_add(PAUSE).unwrap_or(Timestamp::MAX);
        let is_due = question.due(self.began.as_ref()).is_some_and(|due| self.at < due && due <= now);
        !is_due && (self.at..next).contains(&now)
    }
}

/// Of what was told of the question before: where the step only begins anew, what speaks against its release, and what waited
/// when it first began. It begins anew with each instance that is lost, as where a probe ends what hangs.
pub(super) fn kept(told: &Told, (before, question): (&Question, &Question)) -> Option<Told> {
    let told = Some(told.clone()).filter(|_| question.is_of_step_of(before))?;
    if told.bad.is_some() {
        return Some(told);
    }
    let began = Some(told.began?);
    Some(Told { judgement: question.asked.source().unseen(), at: Timestamp::UNIX_EPOCH, bad: None, began })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::{Backlog, open, places},
        sample,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn found(url: &str) -> ValidPrometheus {
        ValidPrometheus {
            url: format!("{url}/api/v1/query").parse().unwrap(),
            namespace_label: "namespace".to_owned(),
            pod_label: "pod".to_owned(),
        }
    }

    fn requests(url: &str) -> Asked {
        let analysis = "{errors: 1, requests: 50, counts: {requests: a, failures: f}}";
        let comparison = Comparison::of(&serde_saphyr::from_str(analysis).unwrap()).unwrap();
        Asked::Requests(found(url), Box::new(comparison))
    }

    fn waits(queue: &str) -> Asked {
        let triggers = format!("[{{broker: b, rabbitmq: {{queue: {queue}, messages: 20}}}}]");
        Asked::Backlog(100, places(&serde_saphyr::from_str::<Vec<_>>(&triggers).unwrap()))
    }

    /// Of the release `b`, whose steps are one of a minute and one without end.
    fn question(asked: Asked, state: Option<&State>) -> Option<Question> {
        let release = sample::release("b", "steps: [{weight: 10, pause: 1m}, {weight: 50}]");
        Question::of(&sample::environment("prod", None), (&release, state), asked)
    }

    fn state(release: &str, passed: usize, since: Option<Timestamp>) -> State {
        State { release: release.to_owned(), passed, since, weight: 10, ready: 0 }
    }

    /// Of 40 messages.
    fn look(second: i64) -> Look {
        Look { at: at(second), waits: Backlog::from([(0, 40.0)]) }
    }

    fn told(bad: Option<Timestamp>, began: Option<Look>) -> Told {
        Told { judgement: open("worse".to_owned()), at: at(20), bad, began }
    }

    #[test]
    fn a_step_is_asked_about_once_its_instances_are_ready_and_each_is_another() {
        let asked = |state: Option<&State>| question(requests("http://p"), state);
        assert_eq!(asked(None), None);
        assert_eq!(asked(Some(&state("a", 0, Some(at(5))))), None, "another release's");
        assert_eq!(asked(Some(&state("b", 0, None))).unwrap().since, None, "its instances are not ready");
        let first = asked(Some(&state("b", 0, Some(at(5))))).unwrap();
        assert_eq!((first.namespace.as_str(), first.release.as_str()), ("acme-prod", "b"));
        assert_eq!(first.pause, Some(Duration::from_mins(1)));
        let late = at(5).checked_add(Duration::from_millis(700)).unwrap();
        assert_eq!(asked(Some(&state("b", 0, Some(late)))).unwrap(), first, "as the status tells it");
        let second = asked(Some(&state("b", 1, Some(at(5))))).unwrap();
        assert_ne!(second, first);
        assert_eq!(second.pause, None);
        assert_ne!(asked(Some(&state("b", 0, Some(at(6))))).unwrap(), first, "it began anew");
    }

    #[test]
    fn it_is_asked_again_when_its_pause_is_over_at_the_latest() {
        let next = |passed, now| {
            let question = question(requests("http://p"), Some(&state("b", passed, Some(at(50))))).unwrap();
            question.next(None, (at(now), PAUSE)).as_secs()
        };
        assert_eq!([next(0, 60), next(0, 95), next(0, 100), next(0, 110)], [15, 15, 11, 15]);
        assert_eq!(next(1, 100), 15, "somebody ends it");
    }

    /// As after a restart of the operator, or once a broker answers again.
    #[test]
    fn where_a_first_look_is_late_the_pause_is_over_so_much_later() {
        let question = question(waits("a"), Some(&state("b", 0, Some(at(50))))).unwrap();
        let next = |first, now| question.next(Some(&look(first)), (at(now), PAUSE)).as_secs();
        assert_eq!([next(80, 105), next(80, 130), next(80, 139), next(80, 145)], [15, 11, 2, 15]);
        assert_eq!(next(40, 105), 6, "of a step that began anew since");
        let told = Told { at: at(130), ..told(None, Some(look(80))) };
        assert_eq!([139, 140].map(|now| told.is_fresh(&question, at(now))), [true, false]);
    }

    #[test]
    fn a_step_that_begins_anew_clears_nobody_and_the_next_one_does() {
        let of = |asked: Asked, passed, since| question(asked, Some(&state("b", passed, since))).unwrap();
        let question = |passed, since| of(requests("http://p"), passed, since);
        let first = question(0, Some(at(5)));
        let is_kept = |bad, next: &Question| kept(&told(bad, None), (&first, next)).is_some();
        for since in [None, Some(at(60))] {
            assert!(is_kept(Some(at(20)), &question(0, since)), "{since:?}");
            assert!(!is_kept(None, &question(0, since)), "nothing speaks against it");
        }
        assert!(!is_kept(Some(at(20)), &question(1, Some(at(60)))));
        assert!(!is_kept(Some(at(20)), &of(requests("http://q"), 0, Some(at(60)))));
    }

    /// What hangs makes more wait until a probe ends it, and with each instance that is lost the step begins anew.
    #[test]
    fn what_waited_when_a_step_first_began_is_kept_and_no_judgement_that_is_not_against_it() {
        let question =
            |queue, passed, since| question(waits(queue), Some(&state("b", passed, since))).unwrap();
        let (first, began) = (question("a", 0, Some(at(5))), Some(look(6)));
        let good = told(None, began.clone());
        for since in [None, Some(at(60))] {
            let again = question("a", 0, since);
            let kept_of = |told: &Told| kept(told, (&first, &again)).unwrap();
            let new = kept_of(&good);
            assert_eq!((new.began.clone(), new.bad), (began.clone(), None), "{since:?}");
            assert_eq!(new.judgement, Source::Keda.unseen());
            assert!(!new.is_fresh(&again, at(21)), "it is asked about soon");
            let bad = told(Some(at(20)), began.clone());
            assert_eq!(kept_of(&bad), bad);
        }
        assert_eq!(kept(&good, (&first, &question("a", 1, Some(at(60))))), None, "another step");
        assert_eq!(kept(&good, (&first, &question("b", 0, Some(at(60))))), None, "another queue");
    }

    #[test]
    fn nothing_is_asked_twice_within_the_pause_whatever_the_clock_does() {
        let told = Told { at: at(100), ..told(None, None) };
        let fresh = |passed, since| {
            let question =
                question(requests("http://p"), Some(&state("b", passed, Some(at(since))))).unwrap();
            [99, 100, 109, 110, 114, 115].map(|now| told.is_fresh(&question, at(now)))
        };
        assert_eq!(fresh(1, 50), [false, true, true, true, true, false]);
        assert_eq!(fresh(0, 50), [false, true, true, false, false, false], "the pause ends at 110");
        assert_eq!(fresh(0, 40), [false, true, true, true, true, false], "it was over");
    }
}

//! IO: has the requests of what is tried compared with those of what runs, as long as a step lasts that is judged by them. It
//! writes nothing and no pass waits for it: a judgement that is another one wakes the service's reconcile. What was judged is
//! kept in memory only: after a restart a step is judged anew.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::ResourceExt;
use tokio::sync::mpsc;

use super::{pass::Work, poll::Key, step::whole, turns, validate::ValidEnvironment};
use crate::{
    analysis::{Asker, Subject, confirmed, judged, open},
    api::{Release, ReleaseAnalysis},
    environment::ValidPrometheus,
    names,
    platform::Platform,
    release::{
        trial::{Next, State},
        verdict::{Judgement, Verdict},
    },
};

/// Services at a time.
const ASKED: usize = 16;
/// Between the beginning of a step and the first question.
const SOON: Duration = Duration::from_secs(1);
/// Between two questions about one step.
const PAUSE: Duration = Duration::from_secs(15);

/// A step that is to be judged.
#[derive(Clone, Debug, PartialEq)]
struct Question {
    prometheus: ValidPrometheus,
    namespace: String,
    release: String,
    passed: usize,
    since: Timestamp,
    analysis: ReleaseAnalysis,
}

/// What became of it.
#[derive(Clone, Debug)]
struct Told {
    judgement: Judgement,
    at: Timestamp,
    /// Since when it is bad, every time that it was asked.
    bad: Option<Timestamp>,
}

/// By service and environment.
type Questions = HashMap<Key, BTreeMap<String, (Question, Option<Told>)>>;

/// Has steps judged and knows what was said. Cheap to clone.
#[derive(Clone)]
pub(super) struct Analyses(Arc<Inner>);

struct Inner {
    platform: Platform,
    /// Nothing where none can be made.
    asker: Option<Asker>,
    questions: Mutex<Questions>,
    asks: mpsc::UnboundedSender<(Key, Duration)>,
    news: mpsc::UnboundedSender<Key>,
}

/// The two ends that the loops need.
pub(super) struct Ends {
    /// Requests for judgements, for [`run`].
    pub asks: mpsc::UnboundedReceiver<(Key, Duration)>,
    /// Services of which something new was judged, for the controller.
    pub news: mpsc::UnboundedReceiver<Key>,
}

impl Analyses {
    /// Knows nothing yet.
    pub(super) fn new(platform: Platform) -> (Self, Ends) {
        let (asks, asked) = mpsc::unbounded_channel();
        let (news, told) = mpsc::unbounded_channel();
        let inner = Inner { platform, asker: Asker::new(), questions: Mutex::default(), asks, news };
        (Self(Arc::new(inner)), Ends { asks: asked, news: told })
    }

    /// From now on this is asked about a service's environment, and nothing else; soon where it is new.
    fn ask(&self, (key, environment): (&Key, &str), question: Option<Question>) {
        let mut all = self.questions();
        let Some(question) = question else {
            if let Some(of_service) = all.get_mut(key) {
                of_service.remove(environment);
            }
            return;
        };
        let of_service = all.entry(key.clone()).or_default();
        if of_service.get(environment).is_none_or(|(before, _)| *before != question) {
            of_service.insert(environment.to_owned(), (question, None));
            // An error means that the loop has ended, and with it the operator.
            let _ = self.0.asks.send((key.clone(), SOON));
        }
    }

    /// What was last said of this.
    fn judgement(&self, (key, environment): (&Key, &str), question: &Question) -> Option<Judgement> {
        let all = self.questions();
        let (asked, told) = all.get(key)?.get(environment)?;
        told.as_ref().filter(|_| asked == question).map(|told| told.judgement.clone())
    }

    /// Judges nothing of this service any more.
    pub(super) fn forget(&self, key: &Key) {
        self.questions().remove(key);
    }

    fn questions(&self) -> MutexGuard<'_, Questions> {
        self.0.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges all that is asked about a service. Returns the time until the next time.
    async fn turn(&self, key: &Key) -> Option<Duration> {
        let asked = self.questions().get(key)?.clone();
        let mut is_news = false;
        for (environment, (question, before)) in asked {
            if self.0.platform.cluster.workload(&question.namespace, &names::beside(&key.name)).is_none() {
                self.ask((key, &environment), None);
                continue;
            }
            let now = (self.0.platform.now)();
            if before.as_ref().is_some_and(|told| told.is_fresh(now)) {
                continue;
            }
            let told = self.told((key, &environment), (&question, before.as_ref()), now).await;
            is_news |= before.is_none_or(|before| before.judgement != told.judgement);
            if let Some((same, known)) = self.questions().get_mut(key)?.get_mut(&environment)
                && *same == question
            {
                *known = Some(told);
            }
        }
        if is_news {
            // An error means that the controller has ended, and with it the operator.
            let _ = self.0.news.send(key.clone());
        }
        let is_empty = self.questions().get(key)?.is_empty();
        (!is_empty).then(|| PAUSE + SOON.mul_f64((self.0.platform.jitter)()))
    }

    async fn told(
        &self,
        (key, environment): (&Key, &str),
        (question, before): (&Question, Option<&Told>),
        now: Timestamp,
    ) -> Told {
        let Question { prometheus, namespace, release, passed: _, since, analysis } = question;
        let subject = Subject { namespace, service: &key.name };
        let lasts = Duration::try_from(now.duration_since(*since)).unwrap_or_default();
        let judgement = match &self.0.asker {
            None => open("metrics are not asked: the operator's log says why".to_owned()),
            Some(asker) => match asker.fared(analysis, prometheus, (subject, lasts)).await {
                Ok(measured) => judged(analysis, &measured, release),
                Err(error) => open(format!("the Prometheus of {environment} {error}")),
            },
        };
        let (judgement, bad) = confirmed(judgement, before.and_then(|before| before.bad), now);
        if judgement.verdict == Verdict::Bad {
            tracing::info!(service = %key, environment, release, "judged bad by its metrics");
        }
        Told { judgement, at: now, bad }
    }
}

impl Told {
    /// Not to be asked again yet. A clock that is set back makes nothing fresh for long.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let next = self.at.checked_add(PAUSE).unwrap_or(Timestamp::MAX);
        (self.at..next).contains(&now)
    }
}

impl Work<'_> {
    /// What the metrics of `release`, which is at this step, say of it; nothing where they are not to say anything.
    pub(super) fn analysed(
        &self,
        environment: &ValidEnvironment,
        (release, state): (&Release, Option<&State>),
    ) -> Option<Judgement> {
        let analysis = release.spec.analysis.as_ref()?;
        let name = release.name_any();
        let prometheus = match self.prometheus(environment) {
            Ok(prometheus) => prometheus,
            Err(problem) => return Some(open(problem)),
        };
        let question = question(environment, (&name, state), (analysis, prometheus));
        let told =
            question.and_then(|question| self.analyses.judgement((&self.key, &environment.name), &question));
        Some(told.unwrap_or_else(|| open("its requests were not looked at yet".to_owned())))
    }

    /// Has the step of `next` judged, if it is one and judged by metrics.
    pub(super) fn analyse(&self, environment: &ValidEnvironment, release: &Release, next: Option<&Next>) {
        let state = next.filter(|next| !next.is_passed).and_then(|next| next.state.as_ref());
        let asked = release.spec.analysis.as_ref().zip(self.prometheus(environment).ok());
        let name = release.name_any();
        let question = asked.and_then(|asked| question(environment, (&name, state), asked));
        self.analyses.ask((&self.key, &environment.name), question);
    }

    /// As the Environment says now.
    fn prometheus(&self, environment: &ValidEnvironment) -> Result<ValidPrometheus, String> {
        let name = &environment.name;
        let stage = self.platform.environments.named(name);
        match stage.as_ref().map(|stage| ValidPrometheus::valid(&stage.spec)).transpose() {
            Ok(Some(Some(prometheus))) => Ok(prometheus),
            Ok(Some(None) | None) => Err(format!(
                "nothing says where its requests are counted: ask the platform team for `spec.prometheus` in the Environment {name}"
            )),
            Err(problem) => Err(format!("the Environment {name} is not valid: {problem}")),
        }
    }
}

/// Nothing while the step has not its instances.
fn question(
    environment: &ValidEnvironment,
    (release, state): (&str, Option<&State>),
    (analysis, prometheus): (&ReleaseAnalysis, ValidPrometheus),
) -> Option<Question> {
    let state = state.filter(|state| state.release == release)?;
    Some(Question {
        prometheus,
        namespace: environment.namespace.clone(),
        release: release.to_owned(),
        passed: state.passed,
        since: whole(state.since?),
        analysis: analysis.clone(),
    })
}

/// Judges until `shutdown` resolves.
pub(super) async fn run(
    analyses: Analyses,
    asks: mpsc::UnboundedReceiver<(Key, Duration)>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let turn = |key: Key| {
        let analyses = analyses.clone();
        async move { analyses.turn(&key).await }
    };
    turns::run(ASKED, asks, turn, shutdown).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_step_is_asked_about_once_its_instances_are_ready_and_each_is_another() {
        let analysis: ReleaseAnalysis =
            serde_saphyr::from_str("{errors: 1, requests: 50, counts: {requests: a, failures: f}}").unwrap();
        let prometheus = ValidPrometheus {
            url: "http://p/api/v1/query".parse().unwrap(),
            namespace_label: "namespace".to_owned(),
            pod_label: "pod".to_owned(),
        };
        let environment = sample::environment("prod", None);
        let state =
            |release: &str, passed, since| State { release: release.to_owned(), passed, since, weight: 10 };
        let asked =
            |state: Option<&State>| question(&environment, ("b", state), (&analysis, prometheus.clone()));
        assert_eq!(asked(None), None);
        assert_eq!(asked(Some(&state("b", 0, None))), None, "its instances are not ready");
        assert_eq!(asked(Some(&state("a", 0, Some(at(5))))), None, "another release's");
        let first = asked(Some(&state("b", 0, Some(at(5))))).unwrap();
        assert_eq!((first.namespace.as_str(), first.release.as_str()), ("acme-prod", "b"));
        let late = at(5).checked_add(Duration::from_millis(700)).unwrap();
        assert_eq!(asked(Some(&state("b", 0, Some(late)))).unwrap(), first, "as the status tells it");
        assert_ne!(asked(Some(&state("b", 1, Some(at(5))))).unwrap(), first);
        assert_ne!(asked(Some(&state("b", 0, Some(at(6))))).unwrap(), first, "it began anew");
    }

    #[test]
    fn nothing_is_asked_twice_within_the_pause_whatever_the_clock_does() {
        let judgement = open("not yet".to_owned());
        let told = Told { judgement, at: at(100), bad: None };
        assert_eq!([99, 100, 114, 115].map(|now| told.is_fresh(at(now))), [false, true, true, false]);
    }
}

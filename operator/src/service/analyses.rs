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
    analysis::{Asker, Moment, Subject, confirmed, judged, open},
    api::{self, IntegrationService, Release, ReleaseAnalysis},
    cluster::{Watched, Workload},
    environment::ValidPrometheus,
    names,
    platform::Platform,
    release::{
        self,
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
    /// Nothing while the step has not its instances: it is not asked about, and what was said of it is kept.
    since: Option<Timestamp>,
    pause: Option<Duration>,
    analysis: ReleaseAnalysis,
}

impl Question {
    /// When its pause is over: good is what is so then.
    fn due(&self) -> Option<Timestamp> {
        self.since?.checked_add(self.pause?).ok()
    }

    /// How long until it is to be asked again: a `pause`, or until it is due.
    fn next(&self, now: Timestamp, pause: Duration) -> Duration {
        let left = self.due().and_then(|due| Duration::try_from(due.duration_since(now)).ok());
        left.filter(|left| !left.is_zero()).map_or(pause, |left| pause.min(left + SOON))
    }

    /// Of the same step, whenever that began: it begins anew with each instance that load brings.
    fn is_of_step_of(&self, other: &Self) -> bool {
        *other == Self { since: other.since, ..self.clone() }
    }

    /// The service is there, and the Environment names this Prometheus still.
    fn stands(
        &self,
        (key, environment): (&Key, &str),
        (services, environments): (&Watched<IntegrationService>, &Watched<api::Environment>),
    ) -> bool {
        let namespace = key.namespace.as_deref().unwrap_or_default();
        services.named_in(namespace, &key.name).is_some()
            && prometheus(environments, environment).is_ok_and(|prometheus| prometheus == self.prometheus)
    }
}

/// What became of it.
#[derive(Clone, Debug)]
struct Told {
    judgement: Judgement,
    at: Timestamp,
    /// Since when it is bad, every time that it was measured.
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

    /// From now on this is asked about a service's environment, and nothing else; soon where it is new. Whoever is
    /// suspected at a step stays that where it begins anew.
    fn ask(&self, (key, environment): (&Key, &str), question: Option<Question>) {
        let mut all = self.questions();
        let Some(question) = question else {
            if let Some(of_service) = all.get_mut(key) {
                of_service.remove(environment);
            }
            return;
        };
        let of_service = all.entry(key.clone()).or_default();
        let before = of_service.get(environment);
        if before.is_none_or(|(before, _)| *before != question) {
            let kept = before.and_then(|(before, told)| kept(told.as_ref()?, (before, &question)));
            of_service.insert(environment.to_owned(), (question, kept));
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
            if !self.stands((key, &environment), &question) {
                self.questions().get_mut(key)?.retain(|_, (same, _)| *same != question);
                continue;
            }
            let now = (self.0.platform.now)();
            let is_fresh = before.as_ref().is_some_and(|told| told.is_fresh(&question, now));
            let Some(since) = question.since.filter(|_| !is_fresh) else { continue };
            let lasts = Duration::try_from(now.duration_since(since)).unwrap_or_default();
            let told = self.told((key, &environment), (&question, before.as_ref()), (lasts, now)).await;
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
        let (now, pause) = ((self.0.platform.now)(), PAUSE + SOON.mul_f64((self.0.platform.jitter)()));
        let questions = self.questions();
        let asked = questions.get(key)?.values().filter(|(question, _)| question.since.is_some());
        asked.map(|(question, _)| question.next(now, pause)).min()
    }

    /// As long as there is something to ask about, and somebody to ask.
    fn stands(&self, (key, environment): (&Key, &str), question: &Question) -> bool {
        let Platform { cluster, services, environments, .. } = &self.0.platform;
        cluster.workload(&question.namespace, &names::beside(&key.name)).is_some()
            && question.stands((key, environment), (services, environments))
    }

    async fn told(
        &self,
        (key, environment): (&Key, &str),
        (question, before): (&Question, Option<&Told>),
        (lasts, now): (Duration, Timestamp),
    ) -> Told {
        let Question { prometheus, namespace, release, passed: _, since: _, pause, analysis } = question;
        let sets = self.sets((key, namespace), release).await;
        let judged = match (&self.0.asker, sets) {
            (None, _) => Err("metrics are not asked: the operator's log says why".to_owned()),
            (Some(_), None) => Err(format!("it is not known which instances are of {release}")),
            (Some(asker), Some([tried, stable])) => {
                let subject = Subject { namespace, tried: &tried, stable: &stable };
                match asker.fared(analysis, prometheus, (subject, lasts)).await {
                    Ok(measured) => judged(analysis, &measured, Moment { release, lasts, pause: *pause }),
                    Err(error) => Err(format!("the Prometheus of {environment} {error}")),
                }
            }
        };
        let (judgement, bad) = confirmed(judged, before.and_then(|before| before.bad), now);
        if judgement.verdict == Verdict::Bad {
            tracing::info!(service = %key, environment, release, "judged bad by its metrics");
        }
        Told { judgement, at: now, bad }
    }
}

impl Analyses {
    /// Names of the sets of `release`, which is tried, and of what runs: one request. Nothing where they are not known,
    /// as for a moment after each change.
    async fn sets(&self, (key, namespace): (&Key, &str), release: &str) -> Option<[String; 2]> {
        let cluster = &self.0.platform.cluster;
        let live = |name: &str| cluster.workload(namespace, name);
        let (beside, own) = (live(&names::beside(&key.name))?, live(&key.name)?);
        if beside.release().is_none_or(|of| of != release) {
            return None;
        }
        let labels = [(names::SERVICE.to_owned(), key.name.clone())].into();
        let sets = match cluster.replica_sets(namespace, &labels).await {
            Ok(sets) => sets,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, service = %key, "sets not read");
                return None;
            }
        };
        let of = |live: &Workload| release::current(live.deployment()?, &sets).map(ResourceExt::name_any);
        Some([of(&beside)?, of(&own)?])
    }
}

/// Of what was told of the question before: where the step only begins anew, what speaks against its release.
fn kept(told: &Told, (before, question): (&Question, &Question)) -> Option<Told> {
    (told.bad.is_some() && question.is_of_step_of(before)).then(|| told.clone())
}

impl Told {
    /// Not to be asked again yet. A clock that is set back makes nothing fresh for long.
    fn is_fresh(&self, question: &Question, now: Timestamp) -> bool {
        let next = self.at.checked_add(PAUSE).unwrap_or(Timestamp::MAX);
        let is_due = question.due().is_some_and(|due| self.at < due && due <= now);
        !is_due && (self.at..next).contains(&now)
    }
}

impl Work<'_> {
    /// What the metrics of `release`, which is at this step, say of it; nothing where they are not to say anything.
    pub(super) fn analysed(
        &self,
        environment: &ValidEnvironment,
        (release, state): (&Release, Option<&State>),
    ) -> Option<Judgement> {
        release.spec.analysis.as_ref()?;
        let prometheus = match prometheus(&self.platform.environments, &environment.name) {
            Ok(prometheus) => prometheus,
            Err(problem) => return Some(open(problem)),
        };
        let question = question(environment, (release, state), prometheus);
        let told =
            question.and_then(|question| self.analyses.judgement((&self.key, &environment.name), &question));
        Some(told.unwrap_or_else(|| open("its requests were not looked at yet".to_owned())))
    }

    /// Has the step of `next` judged, if it is one and judged by metrics.
    pub(super) fn analyse(&self, environment: &ValidEnvironment, release: &Release, next: Option<&Next>) {
        let state = next.filter(|next| !next.is_passed).and_then(|next| next.state.as_ref());
        let prometheus = prometheus(&self.platform.environments, &environment.name).ok();
        let question = prometheus.and_then(|prometheus| question(environment, (release, state), prometheus));
        self.analyses.ask((&self.key, &environment.name), question);
    }
}

/// As the Environment of this name says now.
fn prometheus(environments: &Watched<api::Environment>, name: &str) -> Result<ValidPrometheus, String> {
    let stage = environments.named(name);
    match stage.as_ref().map(|stage| ValidPrometheus::valid(&stage.spec)).transpose() {
        Ok(Some(Some(prometheus))) => Ok(prometheus),
        Ok(Some(None) | None) => Err(format!(
            "nothing says where its requests are counted: ask the platform team for `spec.prometheus` in the Environment {name}"
        )),
        Err(problem) => Err(format!("the Environment {name} is not valid: {problem}")),
    }
}

/// Nothing where no step of this release is judged by its metrics.
fn question(
    environment: &ValidEnvironment,
    (release, state): (&Release, Option<&State>),
    prometheus: ValidPrometheus,
) -> Option<Question> {
    let name = release.name_any();
    let analysis = release.spec.analysis.clone()?;
    let state = state.filter(|state| state.release == name)?;
    Some(Question {
        prometheus,
        namespace: environment.namespace.clone(),
        release: name,
        passed: state.passed,
        since: state.since.map(whole),
        pause: release::pause(release, state.passed),
        analysis,
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

    fn found(url: &str) -> ValidPrometheus {
        ValidPrometheus {
            url: format!("{url}/api/v1/query").parse().unwrap(),
            namespace_label: "namespace".to_owned(),
            pod_label: "pod".to_owned(),
        }
    }

    /// What is asked of the release `b`, whose steps are one of a minute and one without end.
    fn asked(state: Option<&State>) -> Option<Question> {
        let steps = "steps: [{weight: 10, pause: 1m}, {weight: 50}]";
        let analysis = "analysis: {errors: 1, requests: 50, counts: {requests: a, failures: f}}";
        let release = sample::release("b", &format!("{steps}, {analysis}"));
        question(&sample::environment("prod", None), (&release, state), found("http://p"))
    }

    fn state(release: &str, passed: usize, since: Option<Timestamp>) -> State {
        State { release: release.to_owned(), passed, since, weight: 10, ready: 0 }
    }

    #[test]
    fn a_step_is_asked_about_once_its_instances_are_ready_and_each_is_another() {
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
            let question = asked(Some(&state("b", passed, Some(at(50))))).unwrap();
            question.next(at(now), PAUSE).as_secs()
        };
        assert_eq!([next(0, 60), next(0, 95), next(0, 100), next(0, 110)], [15, 15, 11, 15]);
        assert_eq!(next(1, 100), 15, "somebody ends it");
    }

    #[test]
    fn a_step_that_begins_anew_clears_nobody_and_the_next_one_does() {
        let question = |passed, since| asked(Some(&state("b", passed, since))).unwrap();
        let first = question(0, Some(at(5)));
        let told = |bad| Told { judgement: open("worse".to_owned()), at: at(20), bad };
        let is_kept = |bad, next: &Question| kept(&told(bad), (&first, next)).is_some();
        for since in [None, Some(at(60))] {
            assert!(is_kept(Some(at(20)), &question(0, since)), "{since:?}");
            assert!(!is_kept(None, &question(0, since)), "nothing speaks against it");
        }
        assert!(!is_kept(Some(at(20)), &question(1, Some(at(60)))));
        let moved = Question { prometheus: found("http://q"), ..question(0, Some(at(60))) };
        assert!(!is_kept(Some(at(20)), &moved));
    }

    #[test]
    fn nobody_is_asked_whom_the_environment_does_not_name_any_more() {
        let question = asked(Some(&state("b", 0, Some(at(5))))).unwrap();
        let spec = "{runtime: camel, repository: {url: 'https://git.example.com/acme/orders.git'}}";
        let mut service = IntegrationService::new("orders", serde_saphyr::from_str(spec).unwrap());
        service.metadata.namespace = Some("acme-home".to_owned());
        let key = Key::from_obj(&service);
        let environment = |spec: &str| {
            let spec = format!("{{domain: dev.example.com{spec}}}");
            api::Environment::new("prod", serde_saphyr::from_str(&spec).unwrap())
        };
        let named = environment(", prometheus: {url: 'http://p'}");
        for (services, environments, wanted) in [
            (vec![service.clone()], vec![named.clone()], true),
            (vec![], vec![named], false),
            (vec![service.clone()], vec![], false),
            (vec![service.clone()], vec![environment("")], false),
            (vec![service.clone()], vec![environment(", prometheus: {url: 'http://q'}")], false),
            (vec![service], vec![environment(", prometheus: {url: 'nowhere'}")], false),
        ] {
            let case = format!("{} {environments:?}", services.len());
            let (services, environments) = (Watched::of(services), Watched::of(environments));
            assert_eq!(question.stands((&key, "prod"), (&services, &environments)), wanted, "{case}");
        }
    }

    #[test]
    fn nothing_is_asked_twice_within_the_pause_whatever_the_clock_does() {
        let judgement = open("not yet".to_owned());
        let told = Told { judgement, at: at(100), bad: None };
        let fresh = |passed, since| {
            let question = asked(Some(&state("b", passed, Some(at(since))))).unwrap();
            [99, 100, 109, 110, 114, 115].map(|now| told.is_fresh(&question, at(now)))
        };
        assert_eq!(fresh(1, 50), [false, true, true, true, true, false]);
        assert_eq!(fresh(0, 50), [false, true, true, false, false, false], "the pause ends at 110");
        assert_eq!(fresh(0, 40), [false, true, true, true, true, false], "it was over");
    }
}

//! IO: has the requests of what is tried compared with those of what runs, and what waits with what waited before, as long as a
//! step lasts that is judged by them. It writes nothing and no pass waits for it: a judgement that is another one wakes the
//! service's reconcile. What was judged is kept in memory only: after a restart a step is judged anew.

mod measured;
mod question;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::ResourceExt;
use tokio::sync::mpsc;

use self::question::{Asked, PAUSE, Question, SOON, Source, Told, kept};
use super::{pass::Work, poll::Key, step::whole, turns, validate::ValidEnvironment};
use crate::{
    analysis::{Asker, Comparison, Look, Moment, backlog, confirmed, open, places},
    api::{self, IntegrationService, Release},
    cluster::Watched,
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

/// An environment of a service, and who is asked about it.
type Where = (String, Source);
/// By service.
type Questions = HashMap<Key, BTreeMap<Where, (Question, Option<Told>)>>;

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

    /// From now on this is asked there, and nothing else; soon where it is new. Whoever is suspected at a step stays that
    /// where it begins anew.
    fn ask(&self, (key, place): (&Key, Where), question: Option<Question>) {
        let mut all = self.questions();
        let Some(question) = question else {
            if let Some(of_service) = all.get_mut(key) {
                of_service.remove(&place);
            }
            return;
        };
        let of_service = all.entry(key.clone()).or_default();
        let before = of_service.get(&place);
        if before.is_none_or(|(before, _)| *before != question) {
            let kept = before.and_then(|(before, told)| kept(told.as_ref()?, (before, &question)));
            of_service.insert(place, (question, kept));
            // An error means that the loop has ended, and with it the operator.
            let _ = self.0.asks.send((key.clone(), SOON));
        }
    }

    /// What was last said of this.
    fn judgement(&self, (key, place): (&Key, &Where), question: &Question) -> Option<Judgement> {
        let all = self.questions();
        let (asked, told) = all.get(key)?.get(place)?;
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
        for (place, (question, before)) in asked {
            if !self.stands((key, &place.0), &question) {
                self.questions().get_mut(key)?.retain(|_, (same, _)| *same != question);
                continue;
            }
            let now = (self.0.platform.now)();
            let is_fresh = before.as_ref().is_some_and(|told| told.is_fresh(&question, now));
            let Some(since) = question.since.filter(|_| !is_fresh) else { continue };
            let lasts = Duration::try_from(now.duration_since(since)).unwrap_or_default();
            let told = self.told((key, &place.0), (&question, before.as_ref()), (lasts, now)).await;
            is_news |= before.is_none_or(|before| before.judgement != told.judgement);
            if let Some((same, known)) = self.questions().get_mut(key)?.get_mut(&place)
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
        let next = |(question, told): &(Question, Option<Told>)| {
            question.next(told.as_ref().and_then(|told| told.began.as_ref()), (now, pause))
        };
        asked.map(next).min()
    }

    /// As long as there is something to ask about, and somebody to ask.
    fn stands(&self, (key, environment): (&Key, &str), question: &Question) -> bool {
        let Platform { cluster, services, environments, .. } = &self.0.platform;
        cluster.workload(&question.namespace, &names::beside(&key.name)).is_some()
            && stands(question, (key, environment), (services, environments))
    }

    async fn told(
        &self,
        (key, environment): (&Key, &str),
        (question, before): (&Question, Option<&Told>),
        (lasts, now): (Duration, Timestamp),
    ) -> Told {
        let Question { asked, namespace, release, pause, .. } = question;
        let moment = Moment { release, lasts, pause: *pause };
        let mut began = before.and_then(|before| before.began.clone());
        let judged = match asked {
            Asked::Requests(prometheus, comparison) => {
                self.compared((key, environment), (prometheus, &**comparison), (namespace, moment)).await
            }
            Asked::Backlog(more, places) => {
                let waits = self.waits((key, namespace), places).await;
                waits.map_err(|error| error.to_string()).map(|waits| {
                    let last = Look { at: whole(now), waits };
                    let first = began.get_or_insert_with(|| last.clone());
                    backlog::judged((*more, places), (first, &last), moment)
                })
            }
        };
        let (judgement, bad) = confirmed(judged, before.and_then(|before| before.bad), now);
        if judgement.verdict == Verdict::Bad {
            tracing::info!(service = %key, environment, release, "judged bad by its metrics");
        }
        Told { judgement, at: now, bad, began }
    }
}

/// The service is there, and the Environment names this Prometheus still, where one is asked.
fn stands(
    question: &Question,
    (key, environment): (&Key, &str),
    (services, environments): (&Watched<IntegrationService>, &Watched<api::Environment>),
) -> bool {
    let namespace = key.namespace.as_deref().unwrap_or_default();
    let is_asked = match &question.asked {
        Asked::Requests(asked, _) => prometheus(environments, environment).is_ok_and(|found| found == *asked),
        Asked::Backlog(..) => true,
    };
    is_asked && services.named_in(namespace, &key.name).is_some()
}

impl Work<'_> {
    /// What numbers say of `release`, which is at this step beside `base`; nothing where they are not to say anything.
    pub(super) fn analysed(
        &self,
        environment: &ValidEnvironment,
        (release, base): (&Release, Option<&Release>),
        state: Option<&State>,
    ) -> Vec<Judgement> {
        let judgement = |source: Source| {
            let asked = match self.asked(environment, (release, base), source)? {
                Ok(asked) => asked,
                Err(problem) => return Some(open(problem)),
            };
            let question = Question::of(environment, (release, state), asked);
            let place = (environment.name.clone(), source);
            let told = question.and_then(|question| self.analyses.judgement((&self.key, &place), &question));
            Some(told.unwrap_or_else(|| source.unseen()))
        };
        Source::ALL.into_iter().filter_map(judgement).collect()
    }

    /// Has the step of `next` judged, if it is one and judged by numbers.
    pub(super) fn analyse(
        &self,
        environment: &ValidEnvironment,
        (release, base): (&Release, Option<&Release>),
        next: Option<&Next>,
    ) {
        let state = next.filter(|next| !next.is_passed).and_then(|next| next.state.as_ref());
        for source in Source::ALL {
            let asked = self.asked(environment, (release, base), source).and_then(Result::ok);
            let question = asked.and_then(|asked| Question::of(environment, (release, state), asked));
            self.analyses.ask((&self.key, (environment.name.clone(), source)), question);
        }
    }

    /// What is to be asked about the steps of `release`; nothing where it is not judged by that, and why it cannot be.
    fn asked(
        &self,
        environment: &ValidEnvironment,
        (release, base): (&Release, Option<&Release>),
        source: Source,
    ) -> Option<Result<Asked, String>> {
        let analysis = release.spec.analysis.as_ref()?;
        match source {
            Source::Prometheus => {
                let comparison = Comparison::of(analysis)?;
                let prometheus = prometheus(&self.platform.environments, &environment.name);
                Some(prometheus.map(|prometheus| Asked::Requests(prometheus, Box::new(comparison))))
            }
            Source::Keda => Some(backlog_of(base?, analysis.waiting?)),
        }
    }
}

/// KEDA watches what `base`, which runs, follows; of that it may be that nothing is said by hand.
fn backlog_of(base: &Release, more: u16) -> Result<Asked, String> {
    let triggers = base.spec.scaling.as_ref().map(|scaling| scaling.triggers.as_slice());
    match places(triggers.unwrap_or_default()) {
        none if none.is_empty() => Err(format!(
            "nobody counts what waits, since the number of instances of {}, which runs, follows no broker now",
            base.name_any()
        )),
        places => Ok(Asked::Backlog(more, places)),
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
    use crate::{analysis::Place, sample};

    fn asked(asked: Asked) -> Question {
        let state = State { release: "b".to_owned(), passed: 0, since: None, weight: 10, ready: 0 };
        let release = sample::release("b", "steps: [{weight: 10}]");
        Question::of(&sample::environment("prod", None), (&release, Some(&state)), asked).unwrap()
    }

    #[test]
    fn nobody_is_asked_whom_the_environment_does_not_name_any_more() {
        let analysis = "{errors: 1, requests: 50, counts: {requests: a, failures: f}}";
        let comparison = Comparison::of(&serde_saphyr::from_str(analysis).unwrap()).unwrap();
        let spec: api::EnvironmentSpec =
            serde_saphyr::from_str("{domain: dev.example.com, prometheus: {url: 'http://p'}}").unwrap();
        let found = ValidPrometheus::valid(&spec).unwrap().unwrap();
        let (requests, waits) =
            (asked(Asked::Requests(found, Box::new(comparison))), asked(Asked::Backlog(100, vec![])));
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
            (vec![service.clone()], vec![named.clone()], [true, true]),
            (vec![], vec![named], [false, false]),
            (vec![service.clone()], vec![], [false, true]),
            (vec![service.clone()], vec![environment("")], [false, true]),
            (vec![service.clone()], vec![environment(", prometheus: {url: 'http://q'}")], [false, true]),
            (vec![service], vec![environment(", prometheus: {url: 'nowhere'}")], [false, true]),
        ] {
            let case = format!("{} {environments:?}", services.len());
            let (services, environments) = (Watched::of(services), Watched::of(environments));
            let stands =
                |question: &Question| super::stands(question, (&key, "prod"), (&services, &environments));
            assert_eq!([&requests, &waits].map(stands), wanted, "{case}");
        }
    }

    #[test]
    fn what_waits_is_asked_of_whom_the_one_that_runs_follows() {
        let base = |scaling: &str| sample::release("orders-prod-a", scaling);
        let kafka = "{broker: a, kafka: {topic: orders, group: g, lag: 50}}";
        let rabbit = "{broker: b, rabbitmq: {queue: orders, messages: 20}}";
        let scaling = format!("scaling: {{max: 4, downAfterSeconds: 300, triggers: [{kafka}, {rabbit}]}}");
        let asked = backlog_of(&base(&scaling), 100).unwrap();
        let place = |index, told: &str, share| Place { index, told: told.to_owned(), share };
        assert_eq!(
            asked,
            Asked::Backlog(100, vec![place(0, "topic orders", 50), place(1, "queue orders", 20)])
        );
        for other in ["", "scaling: {max: 4, cpu: 70, downAfterSeconds: 300}"] {
            let told = backlog_of(&base(other), 100).unwrap_err();
            assert!(told.contains("instances of orders-prod-a, which runs, follows no broker now"), "{told}");
        }
    }
}

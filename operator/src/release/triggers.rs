//! By what waits in a broker, and by which requests, a release may follow, and what KEDA says of that. Pure.
//!
//! KEDA asks from its own place in the cluster, past the walls of every tenant. So where it asks is the Environment's word, what
//! it asks of Prometheus is the operator's, and of a tenant's Secret it gets the parts of a login and nothing that is an address
//! (`desired/scaler.rs`).

use jiff::Timestamp;

use super::{render_error::RenderError, scaling::Stuck, template::RESERVED_SECRETS};
use crate::{
    api::{
        Broker, EnvironmentSpec, Release, ReleaseScaling, RuntimeProfile, ScaledObject, Scaling, Trigger,
        WorkloadType,
        analysis::{Counts, Latency},
        broker::{KINDS, Place, RabbitmqBroker},
        runtime::Metrics,
        scaled_object::ScalerCondition,
        trigger::{Asks, Waits},
    },
    conditions::{HEALTHY, PROVEN, cut, is_true},
    names,
};

/// The most that is told of what KEDA says, in characters.
const LONGEST: usize = 300;

/// What an Environment names by which numbers of instances may follow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// Where work waits.
    pub brokers: &'a [Broker],
    /// Is there something that counts requests?
    pub has_prometheus: bool,
}

impl<'a> Sources<'a> {
    /// Those of an Environment.
    pub fn of(spec: &'a EnvironmentSpec) -> Self {
        Self { brokers: &spec.brokers, has_prometheus: spec.prometheus.is_some() }
    }

    /// Does it name any?
    pub fn is_any(self) -> bool {
        let Self { brokers, has_prometheus } = self;
        has_prometheus || !brokers.is_empty()
    }
}

/// What is wrong with the triggers of `asked` and what belongs to them, whatever an Environment names. It has a `max` above `min`.
pub(super) fn check(asked: &Scaling, type_: WorkloadType) -> Result<(), RenderError> {
    let Scaling { min, max, windows: _, triggers, fallback, cpu: _, memory: _, down_after: _ } = asked;
    let wrong = |field: &str, problem: &str| {
        Err(RenderError::Scaling { field: field.to_owned(), problem: problem.to_owned() })
    };
    if triggers.is_empty() {
        return match (fallback, min) {
            (Some(_), _) => wrong(
                "fallback",
                "holds while nobody says how much waits, and without `triggers` nobody is asked: remove it",
            ),
            (None, 0) => wrong(
                "min",
                "with 0 nothing runs of which load could be measured: write 1, or `max: 0` as well",
            ),
            (None, _) => Ok(()),
        };
    }
    if *min == 0 && type_ == WorkloadType::Api {
        return wrong(
            "min",
            "an api keeps 1 instance at least, since requests are lost that come while there is none: write 1",
        );
    }
    if *min == 0 && counts_requests(triggers) {
        return wrong(
            "min",
            "with 0 nothing runs whose requests could be counted, so nothing would bring the first instance: write 1, or remove `requests` and `latency` from `triggers`",
        );
    }
    if let Some(fallback) = fallback.as_ref().filter(|fallback| Some(fallback.instances) > *max) {
        let problem = format!("instances: {} is more than `max`: lower it", fallback.instances);
        return wrong("fallback", &problem);
    }
    if let Some(fallback) = fallback.as_ref().filter(|fallback| fallback.instances < *min) {
        let problem =
            format!("instances: {} is less than `min`, which is {min}: raise it", fallback.instances);
        return wrong("fallback", &problem);
    }
    let mistaken = |(index, trigger)| Some(RenderError::Trigger { index, problem: mistake(trigger)? });
    triggers.iter().enumerate().find_map(mistaken).map_or(Ok(()), Err)
}

/// What is wrong with `trigger` alone: its field, and what to change.
fn mistake(trigger: &Trigger) -> Option<String> {
    let Some(asks) = trigger.asks() else { return Some(mixed(trigger)) };
    let secret = trigger.secret.as_ref();
    match asks {
        Asks::Broker(_, waits) if secret.is_none() && asks_who(waits) => Some(
            ".secret: this kind of broker answers only to who logs in: name a Secret with the login"
                .to_owned(),
        ),
        Asks::Broker(..) => secret.filter(|name| name.starts_with(RESERVED_SECRETS)).map(|name| {
            format!(
                ".secret: {name} is the platform's; names that begin with `{RESERVED_SECRETS}` cannot be used"
            )
        }),
        Asks::Requests(_) | Asks::Latency(_) => {
            secret.map(|_| format!(".secret: `{}` is asked without a login: remove it", asks.field()))
        }
    }
}

/// Why it is not told what `trigger` asks for.
fn mixed(trigger: &Trigger) -> String {
    let (requests, latency) = (trigger.requests.is_some(), trigger.latency.is_some());
    let field = if requests { "requests" } else { "latency" };
    if requests && latency {
        ".latency: stands beside `requests`: write two triggers, each with one of them".to_owned()
    } else if requests || latency {
        format!(
            ".{field}: is counted by the platform and waits in no broker: remove what stands beside it, or write two triggers"
        )
    } else if let kinds @ [_, _, ..] = &*trigger.waits().iter().map(Waits::kind).collect::<Vec<_>>() {
        format!(": is of {} at once: write a trigger for each", kinds.join(" and "))
    } else {
        format!(
            ".broker: says which broker, and one of {KINDS} beside it what waits there: write one of them; or, without a broker, `requests` or `latency`"
        )
    }
}

/// Has KEDA no question of this kind without a login?
fn asks_who(waits: Waits) -> bool {
    match waits {
        Waits::Kafka(_) | Waits::Rabbitmq(_) => false,
        Waits::Activemq(_) | Waits::Artemis(_) | Waits::Postgresql(_) | Waits::Mysql(_) | Waits::Mssql(_) => {
            true
        }
    }
}

/// Is one of `triggers` by the service's own requests?
pub(super) fn counts_requests(triggers: &[Trigger]) -> bool {
    triggers.iter().filter_map(Trigger::asks).any(|asks| match asks {
        Asks::Requests(_) | Asks::Latency(_) => true,
        Asks::Broker(..) => false,
    })
}

/// What `triggers` ask of metrics: their number of requests, and how long they take.
pub(super) fn asked_of_metrics(triggers: &[Trigger]) -> (bool, bool) {
    let asks = |field| triggers.iter().filter_map(Trigger::asks).any(|asks| asks.field() == field);
    (asks("requests"), asks("latency"))
}

/// The names of the metrics by which `scaling` follows requests, as `profile` has them, which is one of `runtime`.
pub(super) fn metrics(
    scaling: &Scaling,
    (runtime, profile): (&str, &RuntimeProfile),
) -> Result<(Option<Counts>, Option<Latency>), RenderError> {
    let (counts, latency) = match &profile.metrics {
        Some(Metrics { port: _, path: _, counts, latency }) => (counts.as_ref(), latency.as_ref()),
        None => (None, None),
    };
    let unknown = |(index, trigger): (usize, &Trigger)| {
        let asks = trigger.asks()?;
        let (is_named, name, tell) = match asks {
            Asks::Broker(..) => return None,
            Asks::Requests(_) => (counts.is_some(), "counts", "count requests"),
            Asks::Latency(_) => (latency.is_some(), "latency", "tell how long requests take"),
        };
        let problem = format!(
            ".{}: nobody knows which metrics of the runtime {runtime} {tell}: remove the trigger, or ask the platform team for `metrics.{name}` in its profile",
            asks.field()
        );
        (!is_named).then_some(RenderError::Trigger { index, problem })
    };
    if let Some(error) = scaling.triggers.iter().enumerate().find_map(unknown) {
        return Err(error);
    }
    let (of_requests, of_latency) = asked_of_metrics(&scaling.triggers);
    Ok((counts.filter(|_| of_requests).cloned(), latency.filter(|_| of_latency).cloned()))
}

/// Does the number of instances follow what waits, by what is asked for?
pub fn asks(scaling: &Scaling) -> bool {
    let Scaling { min, max, windows, triggers, cpu: _, memory: _, down_after: _, fallback: _ } = scaling;
    !triggers.is_empty() && *max != Some(0) && (*max != Some(*min) || !windows.is_empty())
}

/// Does it follow what waits in a broker, of all that a trigger may be?
pub(super) fn watches(scaling: &Scaling) -> bool {
    asks(scaling) && scaling.triggers.iter().any(|trigger| matches!(trigger.asks(), Some(Asks::Broker(..))))
}

/// Does the Environment name what each of the triggers of `scaling` asks, and is a broker of its kind, and one that tells enough?
pub(super) fn named(scaling: &Scaling, sources: Sources) -> Result<(), RenderError> {
    let may_end = scaling.min == 0 || scaling.windows.iter().any(|window| window.min == 0);
    let lacks = |(index, trigger): (usize, &Trigger)| {
        let problem = lacks(trigger, sources, may_end)?;
        Some(RenderError::Trigger { index, problem: format!(".{}: {problem}", trigger.asks()?.field()) })
    };
    scaling.triggers.iter().enumerate().find_map(lacks).map_or(Ok(()), Err)
}

/// What `trigger` lacks among `sources`. `may_end`: at times, no instance is to be there.
pub(super) fn lacks(trigger: &Trigger, sources: Sources, may_end: bool) -> Option<String> {
    let Sources { brokers, has_prometheus } = sources;
    match trigger.asks()? {
        Asks::Broker(name, waits) => {
            let unseen = || unseen(name, brokers).filter(|_| may_end);
            missing((name, waits), brokers).or_else(unseen)
        }
        Asks::Requests(_) | Asks::Latency(_) => (!has_prometheus).then(|| {
            "this environment has no Prometheus, which counts requests: the platform team sets `prometheus` in the Environment, or remove the trigger".to_owned()
        }),
    }
}

/// Why KEDA does not see what instances have in hand: of its own protocol it asks only how much is ready
/// (`rabbitmq_scaler.go`, `getQueueStatus`).
fn unseen(name: &str, brokers: &[Broker]) -> Option<String> {
    let Some(Place::Rabbitmq(RabbitmqBroker { url })) =
        brokers.iter().find(|broker| broker.name == name)?.place()
    else {
        return None;
    };
    url.starts_with("amqp").then(|| {
        format!(
            "{name:?} is asked by amqp, which does not tell what instances have in hand, so with 0 as the least the last one would be ended at its work: the platform team names the management's address (`http://` or `https://`) in the Environment; or write at least 1 for `min`, in `windows` as well"
        )
    })
}

/// Is there to be no instance of `release` at times?
pub(super) fn may_end(release: &Release) -> bool {
    release.spec.replicas == 0 || release.spec.windows.iter().any(|window| window.min == 0)
}

/// What is missing of the broker `name`, in which it waits.
fn missing((name, waits): (&str, Waits), brokers: &[Broker]) -> Option<String> {
    let Some(broker) = brokers.iter().find(|broker| broker.name == name) else {
        let known: Vec<_> = brokers.iter().map(|broker| broker.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Some(format!("{name:?} is no broker of this environment; it has {known}"));
    };
    let (is, asked) = (broker.place()?.kind(), waits.kind());
    (is != asked).then(|| {
        format!("{name:?} is {is}, and the trigger asks for {asked}: say `{is}`, or name another broker")
    })
}

/// Does its number follow what waits, or its requests?
pub fn follows(release: &Release) -> bool {
    release.spec.scaling.as_ref().is_some_and(|scaling| !scaling.triggers.is_empty())
}

/// The fewest instances of a release that follows what waits where nobody asks how much does: as many as where no broker answers.
pub fn alone(release: &Release) -> Option<i32> {
    let scaling = release.spec.scaling.as_ref().filter(|_| follows(release))?;
    Some(scaling.fallback.as_ref().map_or(1, |fallback| i32::from(fallback.instances)))
}

/// The fewest instances that `release` is to have now. Until it has proven itself, in what its environment asks for, that is
/// one at least: what has none proves nothing.
pub fn least(release: &Release) -> i32 {
    let least = release.spec.replicas;
    let told = release.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let is_open = told.iter().any(|condition| condition.type_ == PROVEN && condition.status != "True");
    let is_proven = is_true(told, HEALTHY) && !is_open;
    if follows(release) && !is_proven { least.max(1) } else { least }
}

/// The fewest with which it ever is to work.
pub(super) fn working(release: &Release) -> i32 {
    if follows(release) { release.spec.replicas.max(1) } else { release.spec.replicas }
}

/// Name of what moves its number.
pub fn autoscaler(release: &Release) -> String {
    let service = &release.spec.service;
    if follows(release) { names::keda_autoscaler(service) } else { service.clone() }
}

/// What the number of instances follows, for people.
fn followed(triggers: &[Trigger]) -> &'static str {
    let is_at_broker = triggers.iter().any(|trigger| trigger.broker.is_some());
    match (is_at_broker, counts_requests(triggers)) {
        (true, true) => "what waits, nor the requests",
        (false, true) => "the requests",
        (_, false) => "what waits",
    }
}

/// What may be wrong where KEDA gets no answer.
fn doubts(triggers: &[Trigger]) -> &'static str {
    let is_at_broker = triggers.iter().any(|trigger| trigger.broker.is_some());
    match (is_at_broker, counts_requests(triggers)) {
        (true, true) => {
            "are the names in `scaling.triggers` and the keys of its Secrets right, and does the Environment's Prometheus collect the metrics of the pods?"
        }
        (false, true) => {
            "the platform team: does KEDA reach the Environment's Prometheus, and does that collect the metrics of the pods?"
        }
        (_, false) => "are the names in `scaling.triggers` and the keys of its Secrets right?",
    }
}

/// Since when KEDA asks for the requests of `release`: what begins is not collected at once, and KEDA's first words of that say
/// nothing.
pub fn counted_since(release: &Release, object: Option<&ScaledObject>) -> Option<Timestamp> {
    let scaling = release.spec.scaling.as_ref()?;
    let begun = object?.metadata.creation_timestamp.as_ref()?.0;
    counts_requests(&scaling.triggers).then_some(begun)
}

/// What keeps the number of `release` from following what waits: what there is of KEDA, of `sources`, and KEDA's own words.
pub fn unanswered(
    release: &Release,
    (sources, is_there): (Sources, bool),
    object: Option<&ScaledObject>,
) -> Vec<String> {
    let Some(scaling) = release.spec.scaling.as_ref().filter(|_| follows(release)) else { return vec![] };
    let stays = format!("the number of instances does not follow {}", followed(&scaling.triggers));
    if !is_there {
        return vec![format!(
            "{stays}: the cluster has no ScaledObject of keda.sh any more; the platform team installs KEDA again"
        )];
    }
    let mut told: Vec<_> = scaling
        .triggers
        .iter()
        .filter_map(|trigger| lacks(trigger, sources, may_end(release)))
        .map(|problem| format!("{stays} as the Environment says now: {problem}"))
        .collect();
    told.dedup();
    told.extend(object.and_then(|object| said(scaling, object)));
    told
}

/// What KEDA says against it.
fn said(scaling: &ReleaseScaling, object: &ScaledObject) -> Option<String> {
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let said = |type_: &str, is: &str| {
        let is_it = |one: &&ScalerCondition| one.type_ == type_ && one.status == is;
        let said = conditions.iter().find(is_it)?;
        Some((seen(&said.message), said.reason.as_str()))
    };
    let (followed, doubts) = (followed(&scaling.triggers), doubts(&scaling.triggers));
    if let Some((message, _)) = said("Fallback", "True") {
        let so_many = scaling.fallback.as_ref().map(|fallback| format!(", {} instances", fallback.instances));
        return Some(format!(
            "what `scaling.triggers` ask does not answer, so `scaling.fallback` holds{}; KEDA says: {message}",
            so_many.unwrap_or_default()
        ));
    }
    if let Some((message, _)) = said("Ready", "False") {
        return Some(format!(
            "the number of instances does not follow {followed}; KEDA says: {message}: {doubts}"
        ));
    }
    let (message, _) = said("Ready", "Unknown").filter(|(_, reason)| *reason == PARTIAL)?;
    Some(format!(
        "of `scaling.triggers` not each gives a number, so the number of instances follows the others; KEDA says: {message}: {doubts}"
    ))
}

/// A foreign text in one line, and not much of it.
fn seen(text: &str) -> String {
    let plain: String = text.chars().map(|c| if names::is_invisible(c) { ' ' } else { c }).collect();
    cut(&plain, LONGEST)
}

/// What KEDA leaves undone of `object`, since when: its operator does not run, or cannot.
pub fn left(release: &Release, object: Option<&ScaledObject>) -> Option<Stuck> {
    let metadata = &object?.metadata;
    let service = &release.spec.service;
    if let Some(deleted) = &metadata.deletion_timestamp {
        let message = format!(
            "the number of instances does not follow the load: KEDA has not let go of the ScaledObject {service}; the platform team: does KEDA's operator run?"
        );
        return Some(Stuck { since: deleted.0, message });
    }
    let is_read = object?.status.as_ref().is_some_and(|status| !status.conditions.is_empty());
    if is_read || !follows(release) {
        return None;
    }
    let followed = followed(&release.spec.scaling.as_ref()?.triggers);
    let message = format!(
        "the number of instances does not follow {followed}: KEDA says nothing of the ScaledObject {service}; the platform team: does KEDA's operator run?"
    );
    Some(Stuck { since: metadata.creation_timestamp.as_ref()?.0, message })
}

/// KEDA's reason where some of several triggers fail (`scale_scaledobjects.go`).
const PARTIAL: &str = "PartialTriggerError";

/// Of a release that cannot begin without KEDA.
pub const NO_SCALER: &str = "scaling.triggers: KEDA is not installed in this cluster, which asks what they name (there is no ScaledObject of keda.sh/v1alpha1): ask the platform team, or set scaling without `triggers`; what runs stays";

#[cfg(test)]
mod tests;

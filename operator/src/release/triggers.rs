//! By what waits in a broker a release may follow, and what KEDA says of that. Pure.
//!
//! KEDA asks brokers from its own place in the cluster, past the walls of every tenant. So where they are is the Environment's
//! word, and of a tenant's Secret it gets the parts of a login and nothing that is an address (`desired/scaler.rs`).

use super::{render_error::RenderError, scaling::Stuck, template::RESERVED_SECRETS};
use crate::{
    api::{
        Broker, Release, ScaledObject, Scaling, Trigger, WorkloadType,
        broker::{Place, RabbitmqBroker},
        scaled_object::ScalerCondition,
        trigger::Waits,
    },
    conditions::{HEALTHY, PROVEN, cut, is_true},
    names,
};

/// The most that is told of what KEDA says, in characters.
const LONGEST: usize = 300;

/// What is wrong with the triggers of `asked` and what belongs to them, whatever brokers there are. It has a `max` above `min`.
pub(super) fn check(asked: &Scaling, type_: WorkloadType) -> Result<(), RenderError> {
    let Scaling { min, max, windows: _, triggers, fallback, cpu: _, memory: _, down_after: _ } = asked;
    let wrong = |field: &str, problem: &str| {
        Err(RenderError::Scaling { field: field.to_owned(), problem: problem.to_owned() })
    };
    if triggers.is_empty() {
        return match (fallback, min) {
            (Some(_), _) => wrong(
                "fallback",
                "holds while a broker does not answer, and without `triggers` none is asked: remove it",
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
    if let Some(fallback) = fallback.as_ref().filter(|fallback| Some(fallback.instances) > *max) {
        let problem = format!("instances: {} is more than `max`: lower it", fallback.instances);
        return wrong("fallback", &problem);
    }
    if let Some(fallback) = fallback.as_ref().filter(|fallback| fallback.instances < *min) {
        let problem =
            format!("instances: {} is less than `min`, which is {min}: raise it", fallback.instances);
        return wrong("fallback", &problem);
    }
    for (index, trigger) in triggers.iter().enumerate() {
        let wrong = |problem: String| Err(RenderError::Trigger { index, problem });
        let kinds = kinds(trigger);
        if kinds.len() > 1 {
            return wrong(format!(": is of {} at once: write a trigger for each", kinds.join(" and ")));
        }
        if trigger.waits().is_none() {
            return wrong(".broker: says which broker, and one of kafka, rabbitmq, activemq, artemis and postgresql beside it what waits there: write one of them".to_owned());
        }
        if trigger.secret.is_none() && trigger.waits().is_some_and(asks_who) {
            return wrong(
                ".secret: this kind of broker answers only to who logs in: name a Secret with the login"
                    .to_owned(),
            );
        }
        if let Some(name) = trigger.secret.as_ref().filter(|name| name.starts_with(RESERVED_SECRETS)) {
            return wrong(format!(
                ".secret: {name} is the platform's; names that begin with `{RESERVED_SECRETS}` cannot be used"
            ));
        }
    }
    Ok(())
}

/// What it says of what waits: everything but where, and by whose login.
fn kinds(trigger: &Trigger) -> Vec<String> {
    let fields = serde_json::to_value(trigger).ok().and_then(|value| value.as_object().cloned());
    let mut kinds: Vec<_> = fields.unwrap_or_default().into_iter().map(|(name, _)| name).collect();
    kinds.retain(|name| !["broker", "secret"].contains(&name.as_str()));
    kinds
}

/// Has KEDA no question of this kind without a login?
fn asks_who(waits: Waits) -> bool {
    match waits {
        Waits::Kafka(_) | Waits::Rabbitmq(_) => false,
        Waits::Activemq(_) | Waits::Artemis(_) | Waits::Postgresql(_) => true,
    }
}

/// Does the number of instances follow what waits, by what is asked for?
pub fn asks(scaling: &Scaling) -> bool {
    let Scaling { min, max, windows, triggers, cpu: _, memory: _, down_after: _, fallback: _ } = scaling;
    !triggers.is_empty() && (*max != Some(*min) || !windows.is_empty())
}

/// Is each of the triggers of `scaling` at a broker of the Environment, of its kind, and one that tells enough?
pub(super) fn named(scaling: &Scaling, brokers: &[Broker]) -> Result<(), RenderError> {
    let may_end = scaling.min == 0 || scaling.windows.iter().any(|window| window.min == 0);
    let lacks = |(index, trigger): (usize, &Trigger)| {
        let problem = lacks(trigger, brokers, may_end)?;
        Some(RenderError::Trigger { index, problem: format!(".broker: {problem}") })
    };
    scaling.triggers.iter().enumerate().find_map(lacks).map_or(Ok(()), Err)
}

/// What `trigger` lacks among `brokers`. `may_end`: at times, no instance is to be there.
pub(super) fn lacks(trigger: &Trigger, brokers: &[Broker], may_end: bool) -> Option<String> {
    missing(trigger, brokers).or_else(|| unseen(trigger, brokers).filter(|_| may_end))
}

/// Why KEDA does not see what instances have in hand: of its own protocol it asks only how much is ready
/// (`rabbitmq_scaler.go`, `getQueueStatus`).
fn unseen(trigger: &Trigger, brokers: &[Broker]) -> Option<String> {
    let name = &trigger.broker;
    let Some(Place::Rabbitmq(RabbitmqBroker { url })) =
        brokers.iter().find(|broker| broker.name == *name)?.place()
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

/// What `trigger` misses among `brokers`.
fn missing(trigger: &Trigger, brokers: &[Broker]) -> Option<String> {
    let name = &trigger.broker;
    let Some(broker) = brokers.iter().find(|broker| broker.name == *name) else {
        let known: Vec<_> = brokers.iter().map(|broker| broker.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Some(format!("{name:?} is no broker of this environment; it has {known}"));
    };
    let kinds = broker.place().map(Place::kind).zip(trigger.waits().map(Waits::kind));
    let (is, asked) = kinds?;
    (is != asked).then(|| {
        format!("{name:?} is {is}, and the trigger asks for {asked}: say `{is}`, or name another broker")
    })
}

/// Does its number follow what waits in a broker?
pub fn follows(release: &Release) -> bool {
    release.spec.scaling.as_ref().is_some_and(|scaling| !scaling.triggers.is_empty())
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

/// What keeps the number of `release` from following what waits: what there is of KEDA, of `brokers`, and KEDA's own words.
pub fn unanswered(
    release: &Release,
    (brokers, is_there): (&[Broker], bool),
    object: Option<&ScaledObject>,
) -> Vec<String> {
    let Some(scaling) = release.spec.scaling.as_ref().filter(|_| follows(release)) else { return vec![] };
    let stays = "the number of instances does not follow what waits";
    if !is_there {
        return vec![format!(
            "{stays}: the cluster has no ScaledObject of keda.sh any more; the platform team installs KEDA again"
        )];
    }
    let mut told: Vec<_> = scaling
        .triggers
        .iter()
        .filter_map(|trigger| lacks(trigger, brokers, may_end(release)))
        .map(|problem| format!("{stays} as the Environment says now: {problem}"))
        .collect();
    told.dedup();
    let conditions =
        object.and_then(|object| object.status.as_ref()).map(|status| status.conditions.as_slice());
    let said = |type_: &str, is: &str| {
        let is_it = |one: &&ScalerCondition| one.type_ == type_ && one.status == is;
        let said = conditions.unwrap_or_default().iter().find(is_it)?;
        Some((seen(&said.message), said.reason.as_str()))
    };
    if let Some((message, _)) = said("Fallback", "True") {
        let so_many = scaling.fallback.as_ref().map(|fallback| format!(", {} instances", fallback.instances));
        told.push(format!(
            "a broker does not say how much waits, so `scaling.fallback` holds{}; KEDA says: {message}",
            so_many.unwrap_or_default()
        ));
    } else if let Some((message, _)) = said("Ready", "False") {
        told.push(format!("{stays}; KEDA says: {message}: are the names in `scaling.triggers` and the keys of its Secrets right?"));
    } else if let Some((message, _)) = said("Ready", "Unknown").filter(|(_, reason)| *reason == PARTIAL) {
        told.push(format!(
            "of `scaling.triggers` not each gives a number, so the number of instances follows the others; KEDA says: {message}: are its names and the keys of its Secret right?"
        ));
    }
    told
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
    let message = format!(
        "the number of instances does not follow what waits: KEDA says nothing of the ScaledObject {service}; the platform team: does KEDA's operator run?"
    );
    Some(Stuck { since: metadata.creation_timestamp.as_ref()?.0, message })
}

/// KEDA's reason where some of several triggers fail (`scale_scaledobjects.go`).
const PARTIAL: &str = "PartialTriggerError";

/// Of a release that cannot begin without KEDA.
pub const NO_SCALER: &str = "scaling.triggers: KEDA is not installed in this cluster, which asks brokers how much waits (there is no ScaledObject of keda.sh/v1alpha1): ask the platform team, or set scaling without `triggers`; what runs stays";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    const KAFKA: &str = "{broker: events, kafka: {topic: orders, group: orders, lag: 50}}";

    fn brokers() -> Vec<Broker> {
        let text = "[{name: events, kafka: {servers: ['kafka:9092']}}, {name: rabbit, rabbitmq: {url: 'http://rabbit:15672/'}},
            {name: plain, rabbitmq: {url: 'amqp://rabbit:5672/'}}]";
        serde_saphyr::from_str(text).unwrap()
    }

    fn checked(scaling: &str, type_: WorkloadType) -> String {
        let scaling: Scaling = serde_saphyr::from_str(scaling).unwrap();
        let told = check(&scaling, type_).and_then(|()| named(&scaling, &brokers()));
        told.map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn a_trigger_is_at_a_broker_of_its_kind_and_only_a_worker_has_none() {
        let worker = |scaling: &str| checked(scaling, WorkloadType::Worker);
        let with = |trigger: &str| worker(&format!("{{min: 0, max: 9, triggers: [{KAFKA}, {trigger}]}}"));
        assert_eq!(with("{broker: rabbit, rabbitmq: {queue: orders, messages: 20}, secret: login}"), "fine");
        for (trigger, expected) in [
            (
                "{broker: crm, rabbitmq: {queue: orders, messages: 20}}",
                "scaling.triggers[1].broker: \"crm\" is no broker of this environment; it has events, rabbit, plain",
            ),
            (
                "{broker: rabbit, kafka: {topic: a, group: a, lag: 1}}",
                "scaling.triggers[1].broker: \"rabbit\" is rabbitmq, and the trigger asks for kafka",
            ),
            ("{broker: rabbit}", "scaling.triggers[1].broker: says which broker, and one of kafka"),
            (
                "{broker: rabbit, rabbitmq: {queue: a, messages: 1}, artemis: {queue: a, messages: 1}}",
                "scaling.triggers[1]: is of artemis and rabbitmq at once: write a trigger for each",
            ),
            ("{broker: rabbit, artemis: {queue: a, messages: 1}}", "scaling.triggers[1].secret: this kind"),
            (
                "{broker: rabbit, rabbitmq: {queue: a, messages: 1}, secret: imaas-registry-pull}",
                "scaling.triggers[1].secret: imaas-registry-pull is the platform's",
            ),
        ] {
            assert!(with(trigger).starts_with(expected), "{trigger}: {}", with(trigger));
        }
        let api =
            |min: u8| checked(&format!("{{min: {min}, max: 9, triggers: [{KAFKA}]}}"), WorkloadType::Api);
        assert_eq!(api(1), "fine");
        assert!(api(0).starts_with("scaling.min: an api keeps 1 instance"), "{}", api(0));
        assert!(worker("{min: 0, max: 9}").starts_with("scaling.min: with 0 nothing runs"));
        let fallback =
            |more: &str| worker(&format!("{{min: 0, max: 3, fallback: {{after: 3, instances: 4}}{more}}}"));
        assert!(fallback("").starts_with("scaling.fallback: holds while a broker"), "{}", fallback(""));
        let high = fallback(&format!(", triggers: [{KAFKA}]"));
        assert_eq!(high, "scaling.fallback: instances: 4 is more than `max`: lower it");
        let low =
            worker(&format!("{{min: 2, max: 3, fallback: {{after: 3, instances: 1}}, triggers: [{KAFKA}]}}"));
        assert_eq!(low, "scaling.fallback: instances: 1 is less than `min`, which is 2: raise it");
    }

    #[test]
    fn nobody_has_none_at_a_broker_that_does_not_tell_what_is_in_hand() {
        let told = |settings: &str| {
            let trigger = "{broker: plain, rabbitmq: {queue: orders, messages: 20}}";
            checked(&format!("{{max: 9, triggers: [{trigger}], {settings}}}"), WorkloadType::Worker)
        };
        let night = "windows: [{schedule: 0 22 * * *, duration: 8h, min: 0}]";
        for none in ["min: 0", &format!("min: 1, {night}")] {
            let told = told(none);
            let begins = "scaling.triggers[0].broker: \"plain\" is asked by amqp";
            assert!(told.starts_with(begins) && told.contains("`https://`"), "{told}");
        }
        assert_eq!(told("min: 1"), "fine");
        let moved = |min: u8| {
            let brokers = serde_saphyr::from_str::<Vec<Broker>>(
                "[{name: rabbit, rabbitmq: {url: 'amqps://rabbit:5671/'}}]",
            );
            let trigger = "{broker: rabbit, rabbitmq: {queue: orders, messages: 20}}";
            let scaling = format!("scaling: {{max: 5, downAfterSeconds: 300, triggers: [{trigger}]}}");
            let release =
                sample::release("orders-dev-a", &format!("type: worker, replicas: {min}, {scaling}"));
            unanswered(&release, (&brokers.unwrap(), true), None).join("; ")
        };
        assert!(moved(0).contains("is asked by amqp"), "{}", moved(0));
        assert_eq!(moved(1), "");
    }

    #[test]
    fn a_number_follows_what_waits_also_where_only_the_hours_leave_it_room() {
        let asks = |settings: &str| {
            asks(&serde_saphyr::from_str(&format!("{{triggers: [{KAFKA}], {settings}}}")).unwrap())
        };
        assert!(asks("min: 0, max: 2") && !asks("min: 2, max: 2"));
        assert!(asks("min: 2, max: 2, windows: [{schedule: 0 22 * * *, duration: 8h, min: 0}]"));
        assert!(!super::asks(&Scaling::default()));
    }

    #[test]
    fn what_keda_leaves_undone_is_told_since_when() {
        let object = |metadata: &str, status: &str| -> ScaledObject {
            let text = format!(
                "{{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {{creationTimestamp: '2026-05-01T03:00:00Z'{metadata}}}, spec: {{}}{status}}}"
            );
            serde_saphyr::from_str(&text).unwrap()
        };
        let deleted = ", deletionTimestamp: '2026-05-01T04:00:00Z'";
        let (follows, load) = (
            following(0, ""),
            sample::release("orders-dev-a", "scaling: {max: 5, cpu: 70, downAfterSeconds: 300}"),
        );
        let told = |release: &Release, object: ScaledObject| {
            left(release, Some(&object)).map(|Stuck { since, message }| format!("{since} {message}"))
        };
        let held = told(&load, object(deleted, "")).unwrap();
        assert!(held.starts_with("2026-05-01T04:00:00Z") && held.contains("has not let go"), "{held}");
        for status in ["", ", status: {conditions: []}"] {
            let unread = told(&follows, object("", status)).unwrap();
            assert!(
                unread.starts_with("2026-05-01T03:00:00Z") && unread.contains("KEDA says nothing"),
                "{unread}"
            );
        }
        let read = ", status: {conditions: [{type: Ready, status: Unknown}]}";
        assert_eq!(told(&follows, object("", read)), None);
        assert_eq!(left(&follows, None), None);
    }

    fn following(min: u8, conditions: &str) -> Release {
        let scaling = format!(
            "scaling: {{max: 5, downAfterSeconds: 300, triggers: [{KAFKA}], fallback: {{after: 3, instances: 2}}}}"
        );
        let mut release =
            sample::release("orders-dev-a", &format!("type: worker, replicas: {min}, {scaling}"));
        release.status = serde_saphyr::from_str(&format!("conditions: [{conditions}]")).unwrap();
        release
    }

    #[test]
    fn what_has_not_proven_itself_has_an_instance() {
        let condition = |type_: &str, status: &str| {
            format!(
                "{{type: {type_}, status: '{status}', reason: R, message: '', lastTransitionTime: '2026-05-01T03:00:00Z'}}"
            )
        };
        let (healthy, failed) = (condition("Healthy", "True"), condition("Failed", "True"));
        let (bakes, proven) = (condition("Proven", "False"), condition("Proven", "True"));
        for (conditions, expected) in [
            (String::new(), 1),
            (failed, 1),
            (healthy.clone(), 0),
            (format!("{healthy}, {bakes}"), 1),
            (format!("{healthy}, {proven}"), 0),
        ] {
            assert_eq!(least(&following(0, &conditions)), expected, "{conditions}");
            assert_eq!(least(&following(2, &conditions)), 2, "{conditions}");
        }
        let off = sample::release("orders-dev-a", "replicas: 0");
        assert_eq!((least(&off), working(&off)), (0, 0), "it is switched off");
        assert_eq!(working(&following(0, &healthy)), 1);
    }

    #[test]
    fn what_keeps_the_number_is_told_with_kedas_words() {
        let release = following(0, "");
        let object = |conditions: &str| -> ScaledObject {
            let text = format!(
                "{{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {{}}, spec: {{}}, status: {{conditions: [{conditions}]}}}}"
            );
            serde_saphyr::from_str(&text).unwrap()
        };
        let told =
            |conditions: &str| unanswered(&release, (&brokers(), true), Some(&object(conditions))).join("; ");
        assert_eq!(told("{type: Ready, status: 'True'}, {type: Fallback, status: 'False'}"), "");
        assert_eq!(told("{type: Ready, status: Unknown}"), "", "it has not asked yet");
        let partly = told("{type: Ready, status: Unknown, reason: PartialTriggerError, message: some}");
        assert!(partly.contains("follows the others; KEDA says: some"), "{partly}");
        let blind = told("{type: Ready, status: 'False', message: no such topic}");
        assert!(blind.contains("KEDA says: no such topic"), "{blind}");
        let long =
            told(&format!("{{type: Ready, status: 'False', message: \"one\\ntwo {}\"}}", "a ".repeat(900)));
        assert!(long.contains("KEDA says: one two a") && long.chars().count() < 600, "{long}");
        let kept =
            told("{type: Ready, status: 'False', message: a}, {type: Fallback, status: 'True', message: b}");
        assert!(
            kept.contains("`scaling.fallback` holds, 2 instances; KEDA says: b") && !kept.contains(": a"),
            "{kept}"
        );
        let lost = unanswered(&release, (&[], true), None);
        assert!(lost.len() == 1 && lost[0].contains("\"events\" is no broker"), "{lost:?}");
        let gone = unanswered(&release, (&[], false), None);
        assert!(gone.len() == 1 && gone[0].contains("installs KEDA again"), "{gone:?}");
        assert_eq!(unanswered(&sample::release("orders-dev-a", ""), (&[], false), None), [""; 0]);
    }
}

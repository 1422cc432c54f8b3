//! What moves the number of instances with what waits in a broker, for KEDA. Pure. The names of what it is asked are those of
//! KEDA 2.21 (`pkg/scalers`, <https://keda.sh/docs/2.21/scalers/>).
//!
//! The address is the Environment's, always. Of the tenant's Secret come the parts of a login that are listed here and nothing
//! else: KEDA would take an address from there as well, and ask it from where no wall of a tenant is.

use std::collections::BTreeMap;

use super::{Target, autoscaler::behavior};
use crate::{
    api::{
        Broker, Fallback, ReleaseScaling, ScaledObject, Trigger, TriggerAuthentication,
        broker::{ActivemqBroker, KafkaBroker, Place, PostgresqlBroker, RabbitmqBroker},
        scaled_object::{
            Advanced, AuthenticationRef, AutoscalerConfig, ScaleFallback, ScaleTarget, ScaleTrigger,
            ScaledObjectSpec, SecretKey, TriggerAuthenticationSpec,
        },
        trigger::{KafkaTrigger, QueryTrigger, QueueTrigger, Waits},
    },
    names,
    release::triggers::{follows, lacks, least, may_end},
};

/// Seconds between two questions while nothing runs; Kubernetes' autoscaler asks as often while something does.
const POLLING: i32 = 15;
/// Certificates, where TLS asks for one's own.
const CERTIFICATES: [&str; 4] = ["ca", "cert", "key", "keyPassword"];

/// A `ScaledObject`, and the logins that it names.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaler {
    /// Of the service's name.
    pub object: ScaledObject,
    /// One for each trigger that names a Secret.
    pub logins: Vec<TriggerAuthentication>,
}

/// Of a release that follows what waits. Nothing where a broker is not as it was: what is there then stays as it is.
pub(super) fn scaler(target: &Target) -> Option<Scaler> {
    let scaling = target.release.spec.scaling.as_ref().filter(|_| follows(target.release))?;
    let ReleaseScaling { max, cpu, memory, down_after_seconds, triggers, fallback } = scaling;
    let is_lost =
        |trigger: &Trigger| lacks(trigger, &target.outside.brokers, may_end(target.release)).is_some();
    if triggers.iter().any(is_lost) {
        return None;
    }
    let asked = triggers.iter().enumerate().map(|(index, trigger)| waiting(target, (index, trigger)));
    let mut asked = asked.collect::<Option<Vec<_>>>()?;
    let used = [("cpu", cpu), ("memory", memory)];
    asked.extend(used.into_iter().filter_map(|(name, percent)| Some(utilization(name, (*percent)?))));
    let fallback = fallback.as_ref().map(|Fallback { after, instances }| ScaleFallback {
        // It falls back when there are more.
        failure_threshold: i32::from(*after) - 1,
        replicas: i32::from(*instances),
    });
    let spec = ScaledObjectSpec {
        scale_target_ref: ScaleTarget { name: target.release.spec.service.clone() },
        min_replica_count: least(target.release),
        max_replica_count: *max,
        polling_interval: POLLING,
        cooldown_period: *down_after_seconds,
        initial_cooldown_period: *down_after_seconds,
        advanced: Advanced {
            horizontal_pod_autoscaler_config: AutoscalerConfig { behavior: behavior(*down_after_seconds) },
        },
        triggers: asked,
        fallback,
    };
    let object = ScaledObject { metadata: target.metadata(), spec, status: None };
    let logins = triggers.iter().enumerate().filter_map(|(index, trigger)| login(target, (index, trigger)));
    Some(Scaler { object, logins: logins.collect() })
}

fn utilization(name: &str, percent: i32) -> ScaleTrigger {
    ScaleTrigger {
        type_: name.to_owned(),
        metadata: [("value".to_owned(), percent.to_string())].into(),
        metric_type: Some("Utilization".to_owned()),
        authentication_ref: None,
    }
}

fn waiting(target: &Target, (index, trigger): (usize, &Trigger)) -> Option<ScaleTrigger> {
    let is_it = |broker: &&Broker| broker.name == trigger.broker;
    let place = target.outside.brokers.iter().find(is_it)?.place()?;
    let (type_, metadata) = question(trigger.waits()?, place)?;
    let name = names::login(&target.release.spec.service, index);
    Some(ScaleTrigger {
        type_: type_.to_owned(),
        metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        metric_type: None,
        authentication_ref: trigger.secret.is_some().then_some(AuthenticationRef { name }),
    })
}

/// KEDA's name of the kind, and what it is asked; nothing where the broker is of another kind.
fn question(waits: Waits, place: Place) -> Option<(&'static str, BTreeMap<&'static str, String>)> {
    match (waits, place) {
        (Waits::Kafka(waits), Place::Kafka(broker)) => Some(("kafka", kafka(waits, broker))),
        (Waits::Rabbitmq(waits), Place::Rabbitmq(broker)) => Some(("rabbitmq", rabbitmq(waits, broker))),
        (Waits::Activemq(waits), Place::Activemq(broker)) => Some(("activemq", activemq(waits, broker))),
        (Waits::Artemis(waits), Place::Artemis(broker)) => Some(("artemis-queue", artemis(waits, broker))),
        (Waits::Postgresql(waits), Place::Postgresql(broker)) => postgresql(waits, broker),
        (
            Waits::Kafka(_)
            | Waits::Rabbitmq(_)
            | Waits::Activemq(_)
            | Waits::Artemis(_)
            | Waits::Postgresql(_),
            Place::Kafka(_)
            | Place::Rabbitmq(_)
            | Place::Activemq(_)
            | Place::Artemis(_)
            | Place::Postgresql(_),
        ) => None,
    }
}

fn kafka(waits: &KafkaTrigger, broker: &KafkaBroker) -> BTreeMap<&'static str, String> {
    let (KafkaTrigger { topic, group, lag }, KafkaBroker { servers, tls }) = (waits, broker);
    [
        ("bootstrapServers", servers.join(",")),
        ("topic", topic.clone()),
        ("consumerGroup", group.clone()),
        ("lagThreshold", lag.to_string()),
        ("tls", if *tls { "enable" } else { "disable" }.to_owned()),
    ]
    .into()
}

fn rabbitmq(waits: &QueueTrigger, broker: &RabbitmqBroker) -> BTreeMap<&'static str, String> {
    let (QueueTrigger { queue, messages }, RabbitmqBroker { url }) = (waits, broker);
    [
        ("host", url.clone()),
        ("queueName", queue.clone()),
        ("mode", "QueueLength".to_owned()),
        ("value", messages.to_string()),
    ]
    .into()
}

fn activemq(waits: &QueueTrigger, broker: &ActivemqBroker) -> BTreeMap<&'static str, String> {
    let (QueueTrigger { queue, messages }, ActivemqBroker { management, broker_name }) = (waits, broker);
    [
        ("managementEndpoint", management.clone()),
        ("brokerName", broker_name.clone()),
        ("destinationName", queue.clone()),
        ("targetQueueSize", messages.to_string()),
    ]
    .into()
}

fn artemis(waits: &QueueTrigger, broker: &ActivemqBroker) -> BTreeMap<&'static str, String> {
    let (QueueTrigger { queue, messages }, ActivemqBroker { management, broker_name }) = (waits, broker);
    [
        ("managementEndpoint", management.clone()),
        ("brokerName", broker_name.clone()),
        ("brokerAddress", queue.clone()),
        ("queueName", queue.clone()),
        ("queueLength", messages.to_string()),
        // Without it, the first ten wait for an eleventh while nothing runs.
        ("activationQueueLength", "0".to_owned()),
    ]
    .into()
}

fn postgresql(
    waits: &QueryTrigger,
    broker: &PostgresqlBroker,
) -> Option<(&'static str, BTreeMap<&'static str, String>)> {
    let (QueryTrigger { query, rows }, PostgresqlBroker { server, database, tls }) = (waits, broker);
    let (host, port) = server.rsplit_once(':')?;
    let asked = [
        ("host", host.trim_matches(['[', ']']).to_owned()),
        ("port", port.to_owned()),
        ("dbName", database.clone()),
        ("sslmode", if *tls { "verify-full" } else { "disable" }.to_owned()),
        ("query", query.clone()),
        ("targetQueryValue", rows.to_string()),
    ];
    Some(("postgresql", asked.into()))
}

/// The parts of a login that a Secret may hold. None of them is an address, or where a login is asked for.
fn parts(waits: Waits) -> Vec<&'static str> {
    let login: &[_] = match waits {
        Waits::Kafka(_) => &["sasl", "username", "password"],
        // Certificates count only where it says `tls: enable`, which KEDA takes from here alone.
        Waits::Rabbitmq(_) => &["username", "password", "tls"],
        Waits::Activemq(_) | Waits::Artemis(_) => &["username", "password"],
        Waits::Postgresql(_) => &["userName", "password"],
    };
    let certificates: &[_] = match waits {
        Waits::Kafka(_) | Waits::Rabbitmq(_) => &CERTIFICATES,
        // The first two are asked by HTTP, without TLS.
        Waits::Activemq(_) | Waits::Artemis(_) | Waits::Postgresql(_) => &[],
    };
    [login, certificates].concat()
}

fn login(target: &Target, (index, trigger): (usize, &Trigger)) -> Option<TriggerAuthentication> {
    let secret = trigger.secret.as_ref()?;
    let key =
        |part: &str| SecretKey { parameter: part.to_owned(), name: secret.clone(), key: part.to_owned() };
    let mut metadata = target.metadata();
    metadata.name = Some(names::login(&target.release.spec.service, index));
    let secret_target_ref = parts(trigger.waits()?).into_iter().map(key).collect();
    Some(TriggerAuthentication { metadata, spec: TriggerAuthenticationSpec { secret_target_ref } })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        release::desired::{Footprint, Outside, Reach, desired},
        sample,
    };

    const BROKERS: &str = "[{name: events, kafka: {servers: ['a:9092', 'b:9092'], tls: true}}, {name: rabbit, rabbitmq: {url: 'https://rabbit:15671/shop'}},
        {name: classic, activemq: {management: 'classic:8161'}}, {name: artemis, artemis: {management: 'artemis:8161', brokerName: '0.0.0.0'}},
        {name: erp, postgresql: {server: '[fd00::1]:5432', database: erp}}, {name: safe, postgresql: {server: 'a:5432', database: erp, tls: true}}]";

    fn made(scaling: &str, brokers: &str) -> Option<Scaler> {
        let reach = Reach::default();
        let brokers: Vec<Broker> = serde_saphyr::from_str(brokers).unwrap();
        let outside = Outside { brokers, ..Outside::default() };
        let more = format!("type: worker, replicas: 0, scaling: {{max: 5, downAfterSeconds: 900{scaling}}}");
        let release = &sample::release("orders-dev-abc", &more);
        let target =
            Target { tenant: "acme", release, config: None, networks: &[], reach: &reach, outside: &outside };
        let children = desired(&target, &[Footprint::of(release)], None);
        assert_eq!(children.autoscaler.is_some(), !follows(release), "never two");
        children.scaler
    }

    fn asked(trigger: &str) -> Value {
        let scaler = made(&format!(", triggers: [{trigger}]"), BROKERS).unwrap();
        let trigger = &scaler.object.spec.triggers[0];
        json!({ &trigger.type_: trigger.metadata })
    }

    #[test]
    fn each_kind_is_asked_at_the_address_of_the_environment() {
        for (trigger, expected) in [
            (
                "{broker: events, kafka: {topic: t, group: g, lag: 50}}",
                json!({ "kafka": { "bootstrapServers": "a:9092,b:9092", "topic": "t", "consumerGroup": "g", "lagThreshold": "50", "tls": "enable" } }),
            ),
            (
                "{broker: rabbit, rabbitmq: {queue: q, messages: 20}}",
                json!({ "rabbitmq": { "host": "https://rabbit:15671/shop", "queueName": "q", "mode": "QueueLength", "value": "20" } }),
            ),
            (
                "{broker: classic, activemq: {queue: q, messages: 20}}",
                json!({ "activemq": { "managementEndpoint": "classic:8161", "brokerName": "localhost", "destinationName": "q", "targetQueueSize": "20" } }),
            ),
            (
                "{broker: artemis, artemis: {queue: q, messages: 20}}",
                json!({ "artemis-queue": { "managementEndpoint": "artemis:8161", "brokerName": "0.0.0.0", "brokerAddress": "q", "queueName": "q",
                    "queueLength": "20", "activationQueueLength": "0" } }),
            ),
            (
                "{broker: erp, postgresql: {query: SELECT 1, rows: 9}}",
                json!({ "postgresql": { "host": "fd00::1", "port": "5432", "dbName": "erp", "sslmode": "disable", "query": "SELECT 1", "targetQueryValue": "9" } }),
            ),
        ] {
            assert_eq!(asked(trigger), expected, "{trigger}");
        }
        let safe = asked("{broker: safe, postgresql: {query: SELECT 1, rows: 9}}");
        assert_eq!(safe["postgresql"]["sslmode"], json!("verify-full"), "whoever answers proves who it is");
    }

    #[test]
    fn a_secret_gives_a_login_and_never_an_address() {
        let login = |trigger: &str| {
            let scaler = made(&format!(", triggers: [{trigger}]"), BROKERS).unwrap();
            let named = scaler.object.spec.triggers[0].authentication_ref.clone().unwrap().name;
            let login = &scaler.logins[0];
            assert_eq!((&named, login.metadata.name.as_ref()), (&"orders-0".to_owned(), Some(&named)));
            let parts = login.spec.secret_target_ref.iter();
            parts
                .map(|part| {
                    assert_eq!((&part.parameter, &*part.name), (&part.key, "mine"));
                    part.key.clone()
                })
                .collect::<Vec<_>>()
                .join(" ")
        };
        let certificates = "ca cert key keyPassword";
        let queue = "{queue: q, messages: 1}, secret: mine}";
        for (trigger, expected) in [
            (
                "{broker: events, kafka: {topic: t, group: g, lag: 1}, secret: mine}".to_owned(),
                format!("sasl username password {certificates}"),
            ),
            (format!("{{broker: rabbit, rabbitmq: {queue}"), format!("username password tls {certificates}")),
            (format!("{{broker: classic, activemq: {queue}"), "username password".to_owned()),
            (format!("{{broker: artemis, artemis: {queue}"), "username password".to_owned()),
            (
                "{broker: erp, postgresql: {query: SELECT 1, rows: 1}, secret: mine}".to_owned(),
                "userName password".to_owned(),
            ),
        ] {
            assert_eq!(login(&trigger), expected, "{trigger}");
        }
        let open =
            made(", triggers: [{broker: events, kafka: {topic: t, group: g, lag: 1}}]", BROKERS).unwrap();
        assert!(open.logins.is_empty() && open.object.spec.triggers[0].authentication_ref.is_none());
    }

    #[test]
    fn it_is_of_the_deployment_and_within_the_bounds_of_the_release() {
        let trigger = "{broker: events, kafka: {topic: t, group: g, lag: 1}}";
        let Scaler { object, logins: _ } =
            made(&format!(", cpu: 70, fallback: {{after: 3, instances: 2}}, triggers: [{trigger}]"), BROKERS)
                .unwrap();
        let spec = serde_json::to_value(&object.spec).unwrap();
        assert_eq!(object.metadata.name.as_deref(), Some("orders"));
        assert_eq!(spec["scaleTargetRef"], json!({ "name": "orders" }));
        assert_eq!(
            (&spec["minReplicaCount"], &spec["maxReplicaCount"]),
            (&json!(1), &json!(5)),
            "it is to prove itself"
        );
        assert_eq!((&spec["cooldownPeriod"], &spec["pollingInterval"]), (&json!(900), &json!(15)));
        assert_eq!(spec["initialCooldownPeriod"], json!(900), "also of what is new");
        assert_eq!(spec["fallback"], json!({ "failureThreshold": 2, "replicas": 2 }));
        assert_eq!(
            spec["triggers"][1],
            json!({ "type": "cpu", "metadata": { "value": "70" }, "metricType": "Utilization" })
        );
        let down = &spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"];
        assert_eq!(down["stabilizationWindowSeconds"], json!(900), "as an autoscaler of ours has it");
    }

    #[test]
    fn of_a_broker_that_is_gone_or_another_one_nothing_is_made() {
        let triggers = ", triggers: [{broker: events, kafka: {topic: t, group: g, lag: 1}}]";
        assert!(made(triggers, BROKERS).is_some());
        for brokers in ["[]", "[{name: events, artemis: {management: 'a:8161'}}]", "[{name: events}]"] {
            assert_eq!(made(triggers, brokers), None, "{brokers}");
        }
        let rabbit = ", triggers: [{broker: rabbit, rabbitmq: {queue: q, messages: 1}}]";
        assert!(made(rabbit, BROKERS).is_some());
        let plain = BROKERS.replace("https://rabbit:15671", "amqps://rabbit:5671");
        assert_eq!(made(rabbit, &plain), None, "it does not tell what is in hand");
        assert_eq!(made("", BROKERS), None, "it follows the load");
    }
}

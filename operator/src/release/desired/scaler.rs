//! What moves the number of instances with what waits in a broker, and with requests, for KEDA. Pure. The names of what it is asked
//! are those of KEDA 2.21 (`pkg/scalers`, <https://keda.sh/docs/2.21/scalers/>).
//!
//! The address is the Environment's, always, and what Prometheus is asked is the operator's (`analysis/demand.rs`). Of the
//! tenant's Secret come the parts of a login that are listed here and nothing else: KEDA would take an address from there as
//! well, and ask it from where no wall of a tenant is.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::{Target, autoscaler::behavior};
use crate::{
    analysis::demand::{self, Served},
    api::{
        Fallback, ReleaseScaling, ScaledObject, Trigger, TriggerAuthentication,
        broker::{ActivemqBroker, DatabaseBroker, KafkaBroker, Place, PostgresqlBroker, RabbitmqBroker},
        scaled_object::{
            Advanced, AuthenticationRef, AutoscalerConfig, ScaleFallback, ScaleTarget, ScaleTrigger,
            ScaledObjectSpec, SecretKey, TriggerAuthenticationSpec,
        },
        trigger::{Asks, KafkaTrigger, LatencyTrigger, QueryTrigger, QueueTrigger, RequestsTrigger, Waits},
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

/// Of a release that follows what waits, or requests. Nothing where a broker is not as it was, or Prometheus gone: what is there then
/// stays as it is.
pub(super) fn scaler(target: &Target) -> Option<Scaler> {
    let scaling = target.release.spec.scaling.as_ref().filter(|_| follows(target.release))?;
    let ReleaseScaling { max, cpu, memory, down_after_seconds, triggers, counts: _, latency: _, fallback } =
        scaling;
    let is_lost =
        |trigger: &Trigger| lacks(trigger, target.outside.sources(), may_end(target.release)).is_some();
    if triggers.iter().any(is_lost) {
        return None;
    }
    let asked = triggers.iter().enumerate().map(|(index, trigger)| match trigger.asks()? {
        Asks::Broker(name, waits) => waiting(target, (name, waits), login(target, (index, trigger))),
        Asks::Requests(asked) => requests((target, scaling), asked),
        Asks::Latency(asked) => latency((target, scaling), asked),
    });
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

fn waiting(
    target: &Target,
    (name, waits): (&str, Waits),
    login: Option<TriggerAuthentication>,
) -> Option<ScaleTrigger> {
    let place = target.outside.brokers.iter().find(|broker| broker.name == name)?.place()?;
    let (type_, metadata) = question(waits, place)?;
    Some(ScaleTrigger {
        type_: type_.to_owned(),
        metadata: named(metadata),
        metric_type: None,
        authentication_ref: login.map(|login| AuthenticationRef { name: login.name_any() }),
    })
}

fn named(metadata: BTreeMap<&'static str, String>) -> BTreeMap<String, String> {
    metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// So many of all requests to an instance, as KEDA asks of a queue.
fn requests(
    (target, scaling): (&Target, &ReleaseScaling),
    RequestsTrigger { per_second }: &RequestsTrigger,
) -> Option<ScaleTrigger> {
    let counts = scaling.counts.as_ref()?;
    counted(target, *per_second, |served| Some(demand::requests(counts, served)))
}

/// So long for each instance: a `Value`, for which no such product would be needed, is taken times all pods that bear our labels,
/// also those that are tried beside, and would grow with them.
fn latency(
    (target, scaling): (&Target, &ReleaseScaling),
    LatencyTrigger { milliseconds }: &LatencyTrigger,
) -> Option<ScaleTrigger> {
    let metrics = scaling.latency.as_ref()?;
    counted(target, *milliseconds, |served| demand::latency(metrics, served))
}

fn counted(
    target: &Target,
    threshold: u32,
    query: impl Fn(Served) -> Option<String>,
) -> Option<ScaleTrigger> {
    let prometheus = target.outside.prometheus.as_ref()?;
    let (namespace, service) = (target.namespace(), target.release.spec.service.as_str());
    let asked = [
        ("serverAddress", prometheus.address().to_owned()),
        ("query", query(Served { namespace: &namespace, service, prometheus })?),
        ("threshold", threshold.to_string()),
        // No answer is no 0: the query tells those apart.
        ("ignoreNullValues", "false".to_owned()),
    ];
    Some(ScaleTrigger {
        type_: "prometheus".to_owned(),
        metadata: named(asked.into()),
        metric_type: None,
        authentication_ref: None,
    })
}

/// KEDA's name of the kind, and what it is asked; nothing where the broker is of another kind.
fn question(waits: Waits, place: Place) -> Option<(&'static str, BTreeMap<&'static str, String>)> {
    match (waits, place) {
        (Waits::Kafka(waits), Place::Kafka(broker)) => Some(("kafka", kafka(waits, broker))),
        (Waits::Rabbitmq(waits), Place::Rabbitmq(broker)) => Some(("rabbitmq", rabbitmq(waits, broker))),
        (Waits::Activemq(waits), Place::Activemq(broker)) => Some(("activemq", activemq(waits, broker))),
        (Waits::Artemis(waits), Place::Artemis(broker)) => Some(("artemis-queue", artemis(waits, broker))),
        (Waits::Postgresql(waits), Place::Postgresql(broker)) => {
            Some(("postgresql", postgresql(waits, broker)?))
        }
        (Waits::Mysql(waits), Place::Mysql(broker)) => {
            Some(("mysql", database(waits, broker, ("dbName", "queryValue"))?))
        }
        (Waits::Mssql(waits), Place::Mssql(broker)) => {
            Some(("mssql", database(waits, broker, ("database", "targetValue"))?))
        }
        (
            Waits::Kafka(_)
            | Waits::Rabbitmq(_)
            | Waits::Activemq(_)
            | Waits::Artemis(_)
            | Waits::Postgresql(_)
            | Waits::Mysql(_)
            | Waits::Mssql(_),
            Place::Kafka(_)
            | Place::Rabbitmq(_)
            | Place::Activemq(_)
            | Place::Artemis(_)
            | Place::Postgresql(_)
            | Place::Mysql(_)
            | Place::Mssql(_),
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

fn postgresql(waits: &QueryTrigger, broker: &PostgresqlBroker) -> Option<BTreeMap<&'static str, String>> {
    let (QueryTrigger { query, rows }, PostgresqlBroker { server, database, tls }) = (waits, broker);
    let (host, port) = host_and_port(server)?;
    let asked = [
        ("host", host),
        ("port", port),
        ("dbName", database.clone()),
        ("sslmode", if *tls { "verify-full" } else { "disable" }.to_owned()),
        ("query", query.clone()),
        ("targetQueryValue", rows.to_string()),
    ];
    Some(asked.into())
}

/// Of one of which KEDA takes TLS by a whole connection string alone, and that would hold an address. The last two are
/// its words for the database and for the number.
fn database(
    waits: &QueryTrigger,
    broker: &DatabaseBroker,
    (of_database, of_number): (&'static str, &'static str),
) -> Option<BTreeMap<&'static str, String>> {
    let (QueryTrigger { query, rows }, DatabaseBroker { server, database }) = (waits, broker);
    let (host, port) = host_and_port(server)?;
    let asked = [
        ("host", host),
        ("port", port),
        (of_database, database.clone()),
        ("query", query.clone()),
        (of_number, rows.to_string()),
    ];
    Some(asked.into())
}

fn host_and_port(server: &str) -> Option<(String, String)> {
    let (host, port) = server.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']).to_owned(), port.to_owned()))
}

/// The parts of a login that a Secret may hold. None of them is an address, or where a login is asked for.
fn parts(waits: Waits) -> Vec<&'static str> {
    let login: &[_] = match waits {
        Waits::Kafka(_) => &["sasl", "username", "password"],
        // Certificates count only where it says `tls: enable`, which KEDA takes from here alone.
        Waits::Rabbitmq(_) => &["username", "password", "tls"],
        Waits::Activemq(_) | Waits::Artemis(_) | Waits::Mysql(_) | Waits::Mssql(_) => {
            &["username", "password"]
        }
        Waits::Postgresql(_) => &["userName", "password"],
    };
    let certificates: &[_] = match waits {
        Waits::Kafka(_) | Waits::Rabbitmq(_) => &CERTIFICATES,
        // The first two are asked by HTTP, without TLS.
        Waits::Activemq(_) | Waits::Artemis(_) | Waits::Postgresql(_) | Waits::Mysql(_) | Waits::Mssql(_) => {
            &[]
        }
    };
    [login, certificates].concat()
}

/// Of a trigger at a broker that names a Secret.
fn login(target: &Target, (index, trigger): (usize, &Trigger)) -> Option<TriggerAuthentication> {
    let (secret, Asks::Broker(_, waits)) = (trigger.secret.as_ref()?, trigger.asks()?) else { return None };
    let key =
        |part: &str| SecretKey { parameter: part.to_owned(), name: secret.clone(), key: part.to_owned() };
    let mut metadata = target.metadata();
    metadata.name = Some(names::login(&target.release.spec.service, index));
    let secret_target_ref = parts(waits).into_iter().map(key).collect();
    Some(TriggerAuthentication { metadata, spec: TriggerAuthenticationSpec { secret_target_ref } })
}

#[cfg(test)]
mod tests;

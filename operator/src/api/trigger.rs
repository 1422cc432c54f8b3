//! What waits for a service outside of it, and how much it is asked, by which the number of its instances may follow: what a
//! descriptor says of it, and what a release keeps.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::broker::OfKind;

/// What waits in one place of a broker that the Environment names, or the service's own requests as its Prometheus counts them.
/// With `broker`, one of `kafka`, `rabbitmq`, `activemq`, `artemis`, `postgresql`, `mysql` and `mssql` says where; it is what the
/// broker is. One of `requests` and `latency` stands alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// Name of one of the Environment's `brokers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub broker: Option<String>,
    /// A topic of Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaTrigger>,
    /// A queue of RabbitMQ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rabbitmq: Option<QueueTrigger>,
    /// A queue of ActiveMQ Classic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activemq: Option<QueueTrigger>,
    /// A queue of ActiveMQ Artemis, whose address has the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artemis: Option<QueueTrigger>,
    /// Rows of PostgreSQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgresql: Option<QueryTrigger>,
    /// Rows of MySQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mysql: Option<QueryTrigger>,
    /// Rows of SQL Server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mssql: Option<QueryTrigger>,
    /// How many requests its instances have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<RequestsTrigger>,
    /// How long its requests take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyTrigger>,
    /// Name of a Secret in the environment's namespace with the login at the broker. Its keys are KEDA's own: `username` and
    /// `password`, of PostgreSQL `userName`; of Kafka also `sasl`; of RabbitMQ also `tls`, which is `enable`; of both `ca`, `cert`,
    /// `key` and `keyPassword` where TLS asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret: Option<String>,
}

/// See [`Trigger`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaTrigger {
    /// Name of the topic.
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"))]
    pub topic: String,
    /// The consumer group by which this service reads it.
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._:/-]*$"))]
    pub group: String,
    /// Messages behind that one instance works off. There are never more instances than the topic has partitions.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub lag: u32,
}

/// See [`Trigger`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueTrigger {
    /// Name of the queue. It becomes a part of addresses that are asked.
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._:-]*$"))]
    pub queue: String,
    /// Messages that wait, of which one instance works off so many.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub messages: u32,
}

/// See [`Trigger`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryTrigger {
    /// A query that gives one number, such as `SELECT count(*) FROM outbox WHERE sent IS NULL`.
    #[schemars(length(min = 1, max = 1000))]
    pub query: String,
    /// So much of that number one instance works off.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rows: u32,
}

/// See [`Trigger`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestsTrigger {
    /// Requests in a second, of which one instance works off so many.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub per_second: u32,
}

/// See [`Trigger`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatencyTrigger {
    /// So long a request is to take: there are more instances while they take longer. It is the mean, or what all but one in a
    /// hundred take where the runtime tells that.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub milliseconds: u32,
}

/// How many instances there are while it is not said how much waits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// About so often in a row no answer came, every 15 seconds.
    #[schemars(range(min = 1, max = 1000))]
    pub after: u16,
    /// So many, from `min`, and 1 at the least, to `max`.
    #[schemars(range(min = 1, max = 100))]
    pub instances: u16,
}

/// What a trigger asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks<'a> {
    /// What waits at the broker of this name.
    Broker(&'a str, Waits<'a>),
    /// See [`Trigger::requests`].
    Requests(&'a RequestsTrigger),
    /// See [`Trigger::latency`].
    Latency(&'a LatencyTrigger),
}

impl Asks<'_> {
    /// The field that says it.
    pub fn field(self) -> &'static str {
        match self {
            Self::Broker(..) => "broker",
            Self::Requests(_) => "requests",
            Self::Latency(_) => "latency",
        }
    }
}

/// What waits at a broker.
pub type Waits<'a> =
    OfKind<&'a KafkaTrigger, &'a QueueTrigger, &'a QueueTrigger, &'a QueryTrigger, &'a QueryTrigger>;

impl Waits<'_> {
    /// The topic or queue, for people.
    pub fn place(self) -> String {
        match self {
            Self::Kafka(KafkaTrigger { topic, .. }) => format!("topic {topic}"),
            Self::Rabbitmq(QueueTrigger { queue, .. })
            | Self::Activemq(QueueTrigger { queue, .. })
            | Self::Artemis(QueueTrigger { queue, .. }) => format!("queue {queue}"),
            Self::Postgresql(_) | Self::Mysql(_) | Self::Mssql(_) => "its query".to_owned(),
        }
    }

    /// So much of it one instance works off.
    pub fn share(self) -> u32 {
        match self {
            Self::Kafka(KafkaTrigger { lag, .. }) => *lag,
            Self::Rabbitmq(QueueTrigger { messages, .. })
            | Self::Activemq(QueueTrigger { messages, .. })
            | Self::Artemis(QueueTrigger { messages, .. }) => *messages,
            Self::Postgresql(QueryTrigger { rows, .. })
            | Self::Mysql(QueryTrigger { rows, .. })
            | Self::Mssql(QueryTrigger { rows, .. }) => *rows,
        }
    }
}

impl Trigger {
    /// What it asks for; nothing where it says none, more than one, or no broker of what waits at one.
    pub fn asks(&self) -> Option<Asks<'_>> {
        match (self.broker.as_deref(), &*self.waits(), &self.requests, &self.latency) {
            (Some(broker), &[waits], None, None) => Some(Asks::Broker(broker, waits)),
            (None, [], Some(requests), None) => Some(Asks::Requests(requests)),
            (None, [], None, Some(latency)) => Some(Asks::Latency(latency)),
            _ => None,
        }
    }

    /// Each place of a broker that it names.
    pub fn waits(&self) -> Vec<Waits<'_>> {
        let Self {
            broker: _,
            kafka,
            rabbitmq,
            activemq,
            artemis,
            postgresql,
            mysql,
            mssql,
            requests: _,
            latency: _,
            secret: _,
        } = self;
        let all = [
            kafka.as_ref().map(Waits::Kafka),
            rabbitmq.as_ref().map(Waits::Rabbitmq),
            activemq.as_ref().map(Waits::Activemq),
            artemis.as_ref().map(Waits::Artemis),
            postgresql.as_ref().map(Waits::Postgresql),
            mysql.as_ref().map(Waits::Mysql),
            mssql.as_ref().map(Waits::Mssql),
        ];
        all.into_iter().flatten().collect()
    }
}

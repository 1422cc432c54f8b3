//! Where work waits outside of the tenants, as the platform names it in an Environment. An address is never a tenant's word:
//! what asks it stands outside of every tenant's walls.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A broker by the name under which a service asks for it. One of `kafka`, `rabbitmq`, `activemq`, `artemis`, `postgresql`,
/// `mysql` and `mssql` says what it is and where. Logins are the tenants', in Secrets of theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Broker {
    /// What `broker` of a descriptor's `scaling.triggers` says.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Apache Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaBroker>,
    /// RabbitMQ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rabbitmq: Option<RabbitmqBroker>,
    /// ActiveMQ Classic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activemq: Option<ActivemqBroker>,
    /// ActiveMQ Artemis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artemis: Option<ActivemqBroker>,
    /// PostgreSQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgresql: Option<PostgresqlBroker>,
    /// MySQL, or MariaDB. KEDA asks it without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mysql: Option<DatabaseBroker>,
    /// Microsoft SQL Server. KEDA encrypts the login and nothing else, and checks no certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mssql: Option<DatabaseBroker>,
}

/// See [`Broker`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaBroker {
    /// `host:port` of its bootstrap servers.
    #[schemars(length(min = 1, max = 16), inner(length(min = 3, max = 260)))]
    pub servers: Vec<String>,
    /// They are asked by TLS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
}

/// See [`Broker`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RabbitmqBroker {
    /// `amqp://host:5672/vhost`, or `http://host:15672/vhost` of its management; with TLS `amqps` or `https`. Without a user.
    #[schemars(length(min = 8, max = 500))]
    pub url: String,
}

/// See [`Broker`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActivemqBroker {
    /// `host:port` of its web console, which is asked by HTTP.
    #[schemars(length(min = 3, max = 260))]
    pub management: String,
    /// The broker's own name, which is in the names of what it tells.
    #[serde(default = "localhost")]
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"))]
    pub broker_name: String,
}

fn localhost() -> String {
    "localhost".to_owned()
}

/// See [`Broker`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresqlBroker {
    /// `host:port`.
    #[schemars(length(min = 3, max = 260))]
    pub server: String,
    /// Name of the database.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_-]*$"))]
    pub database: String,
    /// It is asked by TLS, and is to prove by its certificate who it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
}

/// See [`Broker`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseBroker {
    /// `host:port`.
    #[schemars(length(min = 3, max = 260))]
    pub server: String,
    /// Name of the database.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_-]*$"))]
    pub database: String,
}

/// The kinds, for people.
pub const KINDS: &str = "kafka, rabbitmq, activemq, artemis, postgresql, mysql and mssql";

/// One of the kinds, with what is said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfKind<Kafka, Rabbitmq, Activemq, Postgresql, Database> {
    /// See [`Broker::kafka`].
    Kafka(Kafka),
    /// See [`Broker::rabbitmq`].
    Rabbitmq(Rabbitmq),
    /// See [`Broker::activemq`].
    Activemq(Activemq),
    /// See [`Broker::artemis`].
    Artemis(Activemq),
    /// See [`Broker::postgresql`].
    Postgresql(Postgresql),
    /// See [`Broker::mysql`].
    Mysql(Database),
    /// See [`Broker::mssql`].
    Mssql(Database),
}

/// What a broker is, and where.
pub type Place<'a> =
    OfKind<&'a KafkaBroker, &'a RabbitmqBroker, &'a ActivemqBroker, &'a PostgresqlBroker, &'a DatabaseBroker>;

impl<Kafka, Rabbitmq, Activemq, Postgresql, Database>
    OfKind<Kafka, Rabbitmq, Activemq, Postgresql, Database>
{
    /// The kind, as it is written.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kafka(_) => "kafka",
            Self::Rabbitmq(_) => "rabbitmq",
            Self::Activemq(_) => "activemq",
            Self::Artemis(_) => "artemis",
            Self::Postgresql(_) => "postgresql",
            Self::Mysql(_) => "mysql",
            Self::Mssql(_) => "mssql",
        }
    }
}

impl Broker {
    /// What it is; nothing where it says nothing, or more than one.
    pub fn place(&self) -> Option<Place<'_>> {
        let Self { name: _, kafka, rabbitmq, activemq, artemis, postgresql, mysql, mssql } = self;
        let all = [
            kafka.as_ref().map(Place::Kafka),
            rabbitmq.as_ref().map(Place::Rabbitmq),
            activemq.as_ref().map(Place::Activemq),
            artemis.as_ref().map(Place::Artemis),
            postgresql.as_ref().map(Place::Postgresql),
            mysql.as_ref().map(Place::Mysql),
            mssql.as_ref().map(Place::Mssql),
        ];
        let mut there = all.into_iter().flatten();
        there.next().filter(|_| there.next().is_none())
    }
}

//! Camel's consumers: which of them do the same work in every instance. Pure. By the component's name, from its documentation:
//! <https://camel.apache.org/components/4.18.x/>.

use super::{Found, LONGEST_NAME, Risk, Source};

/// Start by the clock.
const CLOCKS: [&str; 4] = ["timer", "scheduler", "quartz", "cron"];

/// Look at one place and take what is there, with no word of who else does.
const TAKERS: [&str; 44] = [
    "atom",
    "aws2-kinesis",
    "aws2-s3",
    "azure-files",
    "azure-storage-blob",
    "azure-storage-datalake",
    "box",
    "cql",
    "couchbase",
    "dropbox",
    "file",
    "ftp",
    "ftps",
    "git",
    "github",
    "google-calendar-stream",
    "google-drive",
    "google-mail-stream",
    "google-sheets-stream",
    "google-storage",
    "hdfs",
    "imap",
    "imaps",
    "jdbc",
    "jira",
    "jpa",
    "jt400",
    "minio",
    "mongodb-gridfs",
    "mybatis",
    "pop3",
    "pop3s",
    "rss",
    "scp",
    "sftp",
    "slack",
    "smb",
    "snmp",
    "splunk",
    "sql",
    "sql-stored",
    "telegram",
    "twitter-search",
    "zendesk",
];

/// Send all to each who listens.
const BROADCASTS: [&str; 26] = [
    "aws2-ddbstream",
    "couchdb",
    "debezium-db2",
    "debezium-mongodb",
    "debezium-mysql",
    "debezium-oracle",
    "debezium-postgres",
    "debezium-sqlserver",
    "docker",
    "etcd3",
    "file-watch",
    "hazelcast-topic",
    "infinispan",
    "kubernetes-events",
    "milo-client",
    "mongodb",
    "nats",
    "paho",
    "paho-mqtt5",
    "pg-replication-slot",
    "pgevent",
    "plc4x",
    "salesforce",
    "spring-redis",
    "xmpp",
    "zookeeper",
];

/// Messaging in which a queue is shared and a topic is not.
const BROKERS: [&str; 9] =
    ["activemq", "activemq6", "amqp", "jms", "sjms", "sjms2", "stomp", "ironmq", "solace"];

/// Why `uri` must not be consumed twice. `master:` lets one instance consume at a time, and a queue shares what it has.
pub(super) fn risk(uri: &str) -> Option<Risk> {
    let scheme = scheme(uri);
    let is = |list: &[&str]| list.contains(&scheme);
    let is_shared = uri.contains("queueName=") || uri.contains("$share/");
    let is_topic = is(&BROKERS) && rest(uri).starts_with("topic:");
    if is(&CLOCKS) {
        Some(Risk::Clock)
    } else if is(&TAKERS) {
        Some(Risk::Takes)
    } else if is_topic || (is(&BROADCASTS) && !is_shared) {
        Some(Risk::Broadcast)
    } else {
        None
    }
}

/// Where the work of `uri` waits, where it is a queue or a topic that instances share.
fn source(uri: &str) -> Option<Source> {
    let place = rest(uri).split('?').next().unwrap_or_default().trim_start_matches('/');
    match scheme(uri) {
        _ if uri.starts_with("kamelet:") => None,
        "kafka" => Source::kafka(place, option(uri, "groupId")),
        "spring-rabbitmq" => Source::rabbitmq(option(uri, "queues")?),
        "rabbitmq" => Source::rabbitmq(option(uri, "queue")?),
        "activemq" | "activemq6" | "amqp" | "jms" | "sjms" | "sjms2" => {
            Source::jms(place.strip_prefix("queue:").unwrap_or(place))
        }
        _ => None,
    }
}

fn option<'a>(uri: &'a str, name: &str) -> Option<&'a str> {
    let options = uri.split_once('?')?.1.split('&').map(|option| option.trim_start_matches("amp;"));
    options.filter_map(|option| option.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Adds what `uri` consumes, if two must not, and where it waits.
pub(super) fn add(found: &mut Found, line: u32, uri: &str) {
    let uri = uri.trim();
    found.takes(line, source(uri));
    if let Some(risk) = risk(uri) {
        found.add(line, format!("Camel route from {:?}", shown(uri)), risk);
    } else if uri.starts_with("{{") || uri.starts_with("${") {
        let name: String = uri.chars().take(LONGEST_NAME).collect();
        found.not_known(line, format!("the route is from {name:?}, which is set elsewhere"));
    }
}

/// The component, of a Kamelet that of the same name: `kamelet:timer-source/id?period=1` is `timer`.
fn scheme(uri: &str) -> &str {
    let end = |text: &str| text.find([':', '?', '/']).unwrap_or(text.len());
    let Some(kamelet) = uri.strip_prefix("kamelet:") else { return &uri[..end(uri)] };
    let name = &kamelet[..end(kamelet)];
    match name.strip_suffix("-source") {
        Some("aws-s3") => "aws2-s3",
        Some("aws-kinesis") => "aws2-kinesis",
        Some("mqtt") => "paho",
        Some("mqtt5") => "paho-mqtt5",
        Some(component) => component,
        None => "",
    }
}

fn rest(uri: &str) -> &str {
    uri.split_once(':').map_or("", |(_, rest)| rest)
}

/// Without options and without who logs in: both may hold a password.
fn shown(uri: &str) -> String {
    let plain = uri.split('?').next().unwrap_or_default();
    if plain.contains('@') {
        return format!("{}:…", scheme(uri));
    }
    plain.chars().take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_every_instance_would_do_again_is_a_risk() {
        for (uri, expected) in [
            ("timer:tick?period=3s", Some(Risk::Clock)),
            ("timer", Some(Risk::Clock)),
            ("quartz:group/nightly?cron=0+0+3+*+*+?", Some(Risk::Clock)),
            ("kamelet:cron-source", Some(Risk::Clock)),
            ("kamelet:aws-s3-source/in?bucket=a", Some(Risk::Takes)),
            ("file:inbox?readLock=idempotent", Some(Risk::Takes)),
            ("sftp://erp.example.com/out", Some(Risk::Takes)),
            ("jms:topic:prices", Some(Risk::Broadcast)),
            ("paho-mqtt5:sensors/#", Some(Risk::Broadcast)),
            ("paho-mqtt5:$share/orders/sensors/#", None),
            ("nats:orders?queueName=workers", None),
            ("nats:orders", Some(Risk::Broadcast)),
            ("jms:queue:orders", None),
            ("jms:orders", None),
            ("kafka:orders?groupId=a", None),
            ("master:nightly:timer:tick", None),
            ("platform-http:/orders", None),
            ("direct:timer", None),
            ("kamelet:log-sink", None),
            ("timers:tick", None),
            ("", None),
        ] {
            assert_eq!(risk(uri), expected, "{uri}");
        }
    }

    #[test]
    fn where_work_waits_is_told_where_it_is_written_and_shared() {
        for (uri, expected) in [
            (
                "kafka:orders?brokers=a:9092&groupId=shop",
                Some("{broker: …, kafka: {topic: orders, group: shop, lag: 50}}"),
            ),
            ("kafka:orders", Some("{broker: …, kafka: {topic: orders, group: …, lag: 50}}")),
            ("kafka:{{topic}}?groupId=shop", None),
            ("kafka:a,b?groupId=shop", None),
            ("kamelet:kafka-source/in?topic=orders", None),
            (
                "spring-rabbitmq:shop?queues=orders",
                Some("{broker: …, rabbitmq: {queue: orders, messages: 20}}"),
            ),
            ("spring-rabbitmq:shop", None),
            ("jms:queue:orders", Some("{broker: …, artemis: {queue: orders, messages: 20}, secret: …}")),
            (
                "activemq:orders?concurrentConsumers=3",
                Some("{broker: …, artemis: {queue: orders, messages: 20}, secret: …}"),
            ),
            ("jms:topic:prices", None),
            ("timer:tick", None),
        ] {
            assert_eq!(source(uri).map(|source| source.trigger()).as_deref(), expected, "{uri}");
        }
    }

    #[test]
    fn no_password_of_an_address_is_told() {
        for uri in ["ftp://jo:secret@erp.example.com/out", "sql:select?dataSource=#a&password=secret"] {
            let mut found = Found::default();
            add(&mut found, 1, uri);
            let told = format!("{found:?}");
            assert!(told.contains(scheme(uri)) && !told.contains("secret"), "{told}");
        }
    }
}

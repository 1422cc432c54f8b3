//! Where work waits, as an Environment names it. Pure.

use std::net::Ipv6Addr;

use super::check::Problem;
use crate::{
    api::{
        Broker,
        broker::{
            ActivemqBroker, DatabaseBroker, KINDS, KafkaBroker, Place, PostgresqlBroker, RabbitmqBroker,
        },
    },
    names::is_label,
};

/// By which RabbitMQ is asked: its own protocol, or its management.
const SCHEMES: [&str; 4] = ["amqp", "amqps", "http", "https"];

/// What is wrong with `brokers`, which stand at `field`.
pub(super) fn problems(brokers: &[Broker], field: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, broker) in brokers.iter().enumerate() {
        let field = format!("{field}[{index}]");
        if brokers[..index].iter().any(|before| before.name == broker.name) {
            problems
                .push(Problem::new(format!("{field}.name"), format!("{:?} is listed twice", broker.name)));
        }
        if !is_label(&broker.name, 40) {
            let message = "must be at most 40 lower-case letters, digits and `-`, beginning with a letter";
            problems.push(Problem::new(format!("{field}.name"), message));
        }
        if let Some(place) = broker.place() {
            problems.extend(place_problems(place, &field));
        } else {
            let message = format!("is one of {KINDS}: write one of them, with where it is");
            problems.push(Problem::new(field, message));
        }
    }
    problems
}

fn place_problems(place: Place, broker: &str) -> Vec<Problem> {
    let field = format!("{broker}.{}", place.kind());
    match place {
        Place::Kafka(KafkaBroker { servers, tls: _ }) => {
            if servers.is_empty() {
                return vec![Problem::new(format!("{field}.servers"), "is empty: name at least one server")];
            }
            let servers = servers.iter().enumerate();
            servers.filter_map(|(index, text)| server(text, format!("{field}.servers[{index}]"))).collect()
        }
        Place::Rabbitmq(RabbitmqBroker { url }) => {
            url_problem(url, format!("{field}.url")).into_iter().collect()
        }
        Place::Activemq(ActivemqBroker { management, broker_name: _ })
        | Place::Artemis(ActivemqBroker { management, broker_name: _ }) => {
            server(management, format!("{field}.management")).into_iter().collect()
        }
        Place::Postgresql(PostgresqlBroker { server: text, database: _, tls: _ })
        | Place::Mysql(DatabaseBroker { server: text, database: _ })
        | Place::Mssql(DatabaseBroker { server: text, database: _ }) => {
            server(text, format!("{field}.server")).into_iter().collect()
        }
    }
}

fn server(text: &str, field: String) -> Option<Problem> {
    let what = match text.split_once("://") {
        // Nothing of the text is told: it may hold a password.
        Some(_) => "is an address with `://`, and a host and a port alone are asked for",
        None => "is no host and port",
    };
    (!is_server(text)).then(|| {
        let message = format!("{what}: write it like broker.example.com:9092, without a user or a path");
        Problem::new(field, message)
    })
}

fn is_server(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    is_host(host)
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

/// Nothing of the text is told: it may hold a password.
fn url_problem(url: &str, field: String) -> Option<Problem> {
    if url.contains('@') {
        return Some(Problem::new(
            field,
            "must not hold a user or password: each service names a Secret with its own",
        ));
    }
    let is_url = url.split_once("://").is_some_and(|(scheme, rest)| {
        let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_path = |b: u8| b.is_ascii_alphanumeric() || b"-._~%/".contains(&b);
        SCHEMES.contains(&scheme) && (is_server(server) || is_host(server)) && path.bytes().all(is_path)
    });
    (!is_url).then(|| {
        let message = "is no address of RabbitMQ: write it like amqp://rabbitmq.example.com:5672/vhost or https://rabbitmq.example.com/vhost";
        Problem::new(field, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(brokers: &str) -> Vec<String> {
        let brokers: Vec<Broker> = serde_saphyr::from_str(brokers).unwrap();
        problems(&brokers, "spec.brokers").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_broker_has_a_name_a_kind_and_a_place() {
        let good = "[{name: events, kafka: {servers: ['a:9092', '10.0.0.1:9092', '[fd00::1]:9092'], tls: true}},
            {name: rabbit, rabbitmq: {url: 'amqps://rabbit.example.com:5671/shop'}}, {name: managed, rabbitmq: {url: 'https://rabbit.example.com/%2F'}},
            {name: classic, activemq: {management: 'classic:8161'}}, {name: artemis, artemis: {management: 'artemis:8161', brokerName: '0.0.0.0'}},
            {name: erp, postgresql: {server: 'erp:5432', database: erp}}, {name: crm, mysql: {server: 'crm:3306', database: crm}},
            {name: ledger, mssql: {server: 'ledger:1433', database: ledger}}]";
        assert_eq!(told(good), [""; 0]);
        for (brokers, expected) in [
            ("[{name: a}]", "spec.brokers[0]: is one of kafka"),
            (
                "[{name: a, kafka: {servers: ['a:1']}, artemis: {management: 'a:1'}}]",
                "spec.brokers[0]: is one of kafka",
            ),
            ("[{name: A, kafka: {servers: ['a:1']}}]", "spec.brokers[0].name: must be at most 40"),
            (
                "[{name: a, kafka: {servers: ['a:1']}}, {name: a, artemis: {management: 'a:1'}}]",
                "spec.brokers[1].name: \"a\" is listed twice",
            ),
            ("[{name: a, kafka: {servers: []}}]", "spec.brokers[0].kafka.servers: is empty"),
            ("[{name: a, rabbitmq: {url: 'ftp://a/'}}]", "spec.brokers[0].rabbitmq.url: is no address"),
            ("[{name: a, rabbitmq: {url: 'amqp://a/?x=1'}}]", "spec.brokers[0].rabbitmq.url: is no address"),
            (
                "[{name: a, artemis: {management: 'http://a:1'}}]",
                "spec.brokers[0].artemis.management: is an address with `://`, and a host and a port alone",
            ),
            (
                "[{name: a, postgresql: {server: a, database: a}}]",
                "spec.brokers[0].postgresql.server: is no host and port",
            ),
            (
                "[{name: a, mysql: {server: 'a@b:1', database: a}}]",
                "spec.brokers[0].mysql.server: is no host and port",
            ),
            (
                "[{name: a, mssql: {server: 'a\\b:1', database: a}}]",
                "spec.brokers[0].mssql.server: is no host and port",
            ),
        ] {
            let told = told(brokers);
            assert!(told.len() == 1 && told[0].starts_with(expected), "{brokers}: {told:?}");
        }
        for server in [
            "a", "a:", ":1", "a:0", "a:65536", "a:+1", "jo@a:1", "a/b:1", "a b:1", "a:1,b:1", "[a]:1",
            "a:1:2",
        ] {
            assert_eq!(
                told(&format!("[{{name: a, kafka: {{servers: ['{server}']}}}}]")).len(),
                1,
                "{server}"
            );
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_told() {
        let told = told("[{name: a, rabbitmq: {url: 'amqp://jo:geheim@rabbit:5672/'}}]");
        assert!(
            told.len() == 1 && told[0].contains("user or password") && !told[0].contains("geheim"),
            "{told:?}"
        );
    }
}

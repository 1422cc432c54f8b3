use serde_json::{Value, json};

use super::*;
use crate::{
    api::{Broker, EnvironmentSpec},
    release::desired::{Footprint, Outside, Reach, desired},
    sample,
};

const BROKERS: &str = "[{name: events, kafka: {servers: ['a:9092', 'b:9092'], tls: true}}, {name: rabbit, rabbitmq: {url: 'https://rabbit:15671/shop'}},
    {name: classic, activemq: {management: 'classic:8161'}}, {name: artemis, artemis: {management: 'artemis:8161', brokerName: '0.0.0.0'}},
    {name: erp, postgresql: {server: '[fd00::1]:5432', database: erp}}, {name: safe, postgresql: {server: 'a:5432', database: erp, tls: true}},
    {name: crm, mysql: {server: '[fd00::2]:3306', database: crm}}, {name: ledger, mssql: {server: 'ledger:1433', database: main}}]";

fn made(scaling: &str, brokers: &str) -> Option<Scaler> {
    let brokers: Vec<Broker> = serde_saphyr::from_str(brokers).unwrap();
    made_in(scaling, &Outside { brokers, ..Outside::default() })
}

fn made_in(scaling: &str, outside: &Outside) -> Option<Scaler> {
    let reach = Reach::default();
    let more = format!("type: worker, replicas: 0, scaling: {{max: 5, downAfterSeconds: 900{scaling}}}");
    let release = &sample::release("orders-dev-abc", &more);
    let target = Target { tenant: "acme", release, config: None, networks: &[], reach: &reach, outside };
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
        (
            "{broker: crm, mysql: {query: SELECT 1, rows: 9}}",
            json!({ "mysql": { "host": "fd00::2", "port": "3306", "dbName": "crm", "query": "SELECT 1", "queryValue": "9" } }),
        ),
        (
            "{broker: ledger, mssql: {query: SELECT 1, rows: 9}}",
            json!({ "mssql": { "host": "ledger", "port": "1433", "database": "main", "query": "SELECT 1", "targetValue": "9" } }),
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
        (
            "{broker: crm, mysql: {query: SELECT 1, rows: 1}, secret: mine}".to_owned(),
            "username password".to_owned(),
        ),
        (
            "{broker: ledger, mssql: {query: SELECT 1, rows: 1}, secret: mine}".to_owned(),
            "username password".to_owned(),
        ),
    ] {
        assert_eq!(login(&trigger), expected, "{trigger}");
    }
    let open = made(", triggers: [{broker: events, kafka: {topic: t, group: g, lag: 1}}]", BROKERS).unwrap();
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

const METRICS: &str =
    ", counts: {requests: a_total, failures: f_total}, latency: {sum: s_sum, count: s_count}";

#[test]
fn requests_and_how_long_they_take_are_asked_of_the_environments_prometheus() {
    let outside = |prometheus: &str| {
        let spec: EnvironmentSpec =
            serde_saphyr::from_str(&format!("{{prometheus: {prometheus}, brokers: {BROKERS}}}")).unwrap();
        Outside::of(&spec, "imaas-system")
    };
    let by = |triggers: &str| format!("{METRICS}, triggers: [{triggers}]");
    let both = by("{requests: {perSecond: 20}}, {latency: {milliseconds: 500}}");
    let there = outside("{url: 'https://mimir.example.com/prometheus/', podLabel: instance_pod}");
    let Scaler { object, logins } = made_in(&both, &there).unwrap();
    assert!(logins.is_empty(), "nobody logs in");
    let asked = |index: usize| {
        let asked = &object.spec.triggers[index];
        let metadata = |key: &str| asked.metadata.get(key).unwrap().as_str();
        assert_eq!((asked.type_.as_str(), metadata("ignoreNullValues")), ("prometheus", "false"));
        assert_eq!(metadata("serverAddress"), "https://mimir.example.com/prometheus");
        assert!(metadata("query").contains(r#"namespace="acme-dev",instance_pod=~"orders-("#));
        assert_eq!(asked.metric_type, None, "to an instance each");
        (metadata("threshold"), metadata("query"))
    };
    let (requests, query) = asked(0);
    assert_eq!(requests, "20");
    assert!(query.starts_with("sum(rate(a_total{"), "{query}");
    let (milliseconds, query) = asked(1);
    assert_eq!(milliseconds, "500");
    assert!(query.starts_with("1000 * (sum(rate(s_sum{"), "{query}");

    assert_eq!(made_in(&both, &outside("null")), None, "nobody counts any more: what is there stays");
    let unnamed = ", triggers: [{requests: {perSecond: 20}}]";
    assert_eq!(made_in(unnamed, &there), None);
    let mixed = by(
        "{requests: {perSecond: 20}}, {broker: events, kafka: {topic: t, group: g, lag: 1}, secret: mine}",
    );
    let Scaler { object, logins } = made_in(&mixed, &there).unwrap();
    let login = object.spec.triggers[1].authentication_ref.clone().unwrap().name;
    assert_eq!((login, logins.len()), ("orders-1".to_owned(), 1));
}

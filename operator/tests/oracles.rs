//! E04 to E06: every property of a descriptor's schema, set, changed, set beside every other, and unset again, shows in
//! what runs the service, or is refused by its name. A property that is added to the schema and to no row here fails.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;

use imaas_operator::{
    api::{Cause, Port, Use, environment::Network},
    environment::Placement,
    release::{ConfigFile, ConfigFiles, Footprint, Input, Outside, Reach, Target, desired, render},
    yaml,
};
use serde_json::{Map, Value, json};

const SCHEMA: &str = include_str!("../../schemas/descriptor.schema.json");
const RUNTIME: &str = include_str!("../../charts/imaas-operator/files/runtimes/camel.yaml");

/// One property, with two values of it.
struct Row {
    /// As in the schema: `[]` is an item of a list, `*` a value of a map.
    path: &'static str,
    /// What must be said besides, so that it means anything.
    beside: Value,
    /// Each merged into a descriptor.
    values: [Value; 2],
    /// Where it shows.
    shows: Shows,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    /// In the objects around the pods, or in their template.
    Objects,
    /// In the release alone: nothing that runs depends on it.
    Release,
    /// Nowhere, since it is for whoever builds or reviews.
    Nowhere,
}

fn row(path: &'static str, shows: Shows, values: [Value; 2]) -> Row {
    Row { path, beside: json!({}), values, shows }
}

fn with(beside: Value, row: Row) -> Row {
    Row { beside, ..row }
}

/// A field `a.b` beside others.
fn below(beside: &Value, path: &'static str, values: [Value; 2]) -> Row {
    let (group, field) = path.split_once('.').unwrap();
    let values = values.map(|value| json!({ group: { field: value } }));
    with(beside.clone(), row(path, Shows::Objects, values))
}

fn rows() -> Vec<Row> {
    [of_pods(), of_rollouts(), of_schedules(), of_numbers(), of_triggers()].into_iter().flatten().collect()
}

fn of_schedules() -> Vec<Row> {
    let batch = json!({ "type": "batch", "schedule": { "cron": "0 3 * * *" } });
    let scheduled = |path, values| below(&batch, path, values);
    vec![
        scheduled("schedule.cron", [json!("0 4 * * *"), json!("*/5 * * * *")]),
        scheduled("schedule.timeZone", [json!("Europe/Zurich"), json!("UTC")]),
        scheduled("schedule.concurrency", [json!("replace"), json!("allow")]),
        scheduled("schedule.retries", [json!(0), json!(5)]),
        scheduled("schedule.timeout", [json!("30m"), json!("2h")]),
        scheduled("schedule.history", [json!(1), json!(9)]),
    ]
}

fn of_numbers() -> Vec<Row> {
    use Shows::Release;
    let (one, many) = (json!({}), json!({ "scaling": { "max": 4 } }));
    let window = |field: &str, value: Value| {
        let mut window = json!({ "schedule": "0 8 * * *", "duration": "8h", "min": 1 });
        window[field] = value;
        json!({ "scaling": { "windows": [window] } })
    };
    vec![
        below(&one, "scaling.min", [json!(2), json!(3)]),
        below(&one, "scaling.max", [json!(4), json!(6)]),
        row(
            "scaling.windows[].schedule",
            Release,
            ["0 8 * * *", "0 9 * * MON"].map(|text| window("schedule", json!(text))),
        ),
        row("scaling.windows[].duration", Release, ["1h", "10h"].map(|text| window("duration", json!(text)))),
        row(
            "scaling.windows[].timeZone",
            Release,
            ["Europe/Zurich", "UTC"].map(|zone| window("timeZone", json!(zone))),
        ),
        row("scaling.windows[].min", Release, [2, 3].map(|number| window("min", json!(number)))),
        below(&many, "scaling.cpu", [json!(50), json!(90)]),
        below(&many, "scaling.memory", [json!(60), json!(80)]),
        below(&many, "scaling.downAfter", [json!("1m"), json!("30m")]),
    ]
}

fn of_triggers() -> Vec<Row> {
    let many = json!({ "scaling": { "max": 4 } });
    let fields = |value: &Value| value.as_object().unwrap().clone();
    let following = |trigger: Value| json!({ "scaling": { "triggers": [trigger] } });
    let trigger = |broker: &str, more: Value| {
        let all = fields(&json!({ "broker": broker })).into_iter().chain(fields(&more));
        following(Value::Object(all.collect()))
    };
    let topic = |topic: &str, group: &str, lag: u8| json!({ "kafka": { "topic": topic, "group": group, "lag": lag } });
    let kafka = |one: &str, group: &str, lag: u8| trigger("events", topic(one, group, lag));
    let queue = |kind: &str, queue: &str, messages: u8| {
        let waits = json!({ "queue": queue, "messages": messages });
        trigger(kind, json!({ kind: waits, "secret": "login" }))
    };
    let of_rows = |kind: &str, query: &str, rows: u8| {
        let waits = json!({ "query": query, "rows": rows });
        trigger(kind, json!({ kind: waits, "secret": "login" }))
    };
    let queries = |kind: &str| ["SELECT 1", "SELECT 2"].map(|query| of_rows(kind, query, 1));
    let numbers = |kind: &str| [1, 2].map(|rows| of_rows(kind, "SELECT 1", rows));
    let secret = |name: &str| {
        let all = fields(&topic("a", "a", 1)).into_iter().chain(fields(&json!({ "secret": name })));
        trigger("events", Value::Object(all.collect()))
    };
    let requests = |number: u8| following(json!({ "requests": { "perSecond": number } }));
    let latency = |milliseconds: u16| following(json!({ "latency": { "milliseconds": milliseconds } }));
    let mut follows = many.clone();
    merge(&mut follows, &kafka("a", "a", 1));
    let falls_back = |after: u8, instances: u8| json!({ "scaling": { "fallback": { "after": after, "instances": instances } } });
    let row = |path, values| with(many.clone(), row(path, Shows::Objects, values));
    vec![
        row("scaling.triggers[].broker", ["events", "other"].map(|name| trigger(name, topic("a", "a", 1)))),
        row("scaling.triggers[].kafka.topic", [kafka("a", "a", 1), kafka("b", "a", 1)]),
        row("scaling.triggers[].kafka.group", [kafka("a", "a", 1), kafka("a", "b", 1)]),
        row("scaling.triggers[].kafka.lag", [kafka("a", "a", 1), kafka("a", "a", 2)]),
        row("scaling.triggers[].rabbitmq.queue", ["a", "b"].map(|name| queue("rabbitmq", name, 1))),
        row("scaling.triggers[].rabbitmq.messages", [1, 2].map(|number| queue("rabbitmq", "a", number))),
        row("scaling.triggers[].activemq.queue", ["a", "b"].map(|name| queue("activemq", name, 1))),
        row("scaling.triggers[].activemq.messages", [1, 2].map(|number| queue("activemq", "a", number))),
        row("scaling.triggers[].artemis.queue", ["a", "b"].map(|name| queue("artemis", name, 1))),
        row("scaling.triggers[].artemis.messages", [1, 2].map(|number| queue("artemis", "a", number))),
        row("scaling.triggers[].postgresql.query", queries("postgresql")),
        row("scaling.triggers[].postgresql.rows", numbers("postgresql")),
        row("scaling.triggers[].mysql.query", queries("mysql")),
        row("scaling.triggers[].mysql.rows", numbers("mysql")),
        row("scaling.triggers[].mssql.query", queries("mssql")),
        row("scaling.triggers[].mssql.rows", numbers("mssql")),
        row("scaling.triggers[].requests.perSecond", [1, 2].map(requests)),
        row("scaling.triggers[].latency.milliseconds", [100, 200].map(latency)),
        row("scaling.triggers[].secret", ["one", "other"].map(secret)),
        Row {
            beside: follows.clone(),
            ..row("scaling.fallback.after", [falls_back(1, 2), falls_back(3, 2)])
        },
        Row { beside: follows, ..row("scaling.fallback.instances", [falls_back(1, 2), falls_back(1, 3)]) },
    ]
}

/// Where all that waits is, and what counts requests.
fn outside() -> Outside {
    let brokers = "[{name: events, kafka: {servers: ['a:9092']}}, {name: other, kafka: {servers: ['b:9092']}},
        {name: rabbitmq, rabbitmq: {url: 'http://a:15672/'}}, {name: activemq, activemq: {management: 'a:8161'}},
        {name: artemis, artemis: {management: 'a:8161'}}, {name: postgresql, postgresql: {server: 'a:5432', database: erp}},
        {name: mysql, mysql: {server: 'a:3306', database: crm}}, {name: mssql, mssql: {server: 'a:1433', database: main}}]";
    let spec = format!("{{brokers: {brokers}, prometheus: {{url: 'http://prometheus:9090'}}}}");
    Outside { monitoring: None, operator: None, ..Outside::of(&serde_saphyr::from_str(&spec).unwrap(), "") }
}

fn ports() -> Value {
    json!({ "ports": [{ "name": "http", "port": 8000 }, { "name": "grpc", "port": 9000 }] })
}

fn of_rollouts() -> Vec<Row> {
    use Shows::{Objects, Release};
    let by = |strategy: &str| json!({ "rollout": { "strategy": strategy } });
    let smoke = |path: &str| json!({ "rollout": { "smoke": { "path": path } } });
    let analysis = |field: &str, number: u16| json!({ "rollout": { "analysis": { field: number } } });
    let steps = |step: Value| json!({ "rollout": { "steps": [step] } });
    let trigger = json!({ "broker": "events", "kafka": { "topic": "a", "group": "a", "lag": 1 } });
    let following = json!({ "scaling": { "max": 4, "triggers": [trigger] } });
    vec![
        row(
            "rollout.strategy",
            Objects,
            ["recreate", "rolling"].map(|way| json!({ "rollout": { "strategy": way } })),
        ),
        with(
            by("canary"),
            row("rollout.steps[].weight", Release, [5, 6].map(|weight| steps(json!({ "weight": weight })))),
        ),
        with(
            by("canary"),
            row(
                "rollout.steps[].pause",
                Release,
                ["1m", "2m"].map(|pause| steps(json!({ "weight": 5, "pause": pause }))),
            ),
        ),
        with(
            by("blueGreen"),
            row(
                "rollout.preview",
                Release,
                ["1m", "2m"].map(|time| json!({ "rollout": { "preview": time } })),
            ),
        ),
        with(
            by("blueGreen"),
            row("rollout.keep", Release, ["1m", "2m"].map(|time| json!({ "rollout": { "keep": time } }))),
        ),
        with(
            by("canary"),
            row("rollout.analysis.errors", Release, [0, 5].map(|most| analysis("errors", most))),
        ),
        with(
            by("canary"),
            row("rollout.analysis.latency", Release, [20, 100].map(|most| analysis("latency", most))),
        ),
        with(
            by("canary"),
            row("rollout.analysis.requests", Release, [20, 500].map(|least| analysis("requests", least))),
        ),
        with(
            descriptor(&[&by("canary"), &following]),
            row("rollout.analysis.waiting", Release, [50, 100].map(|more| analysis("waiting", more))),
        ),
        with(by("blueGreen"), row("rollout.smoke.path", Release, ["/health", "/orders/health"].map(smoke))),
        with(
            json!({ "rollout": { "strategy": "blueGreen", "smoke": { "path": "/health" } } }),
            row(
                "rollout.smoke.status",
                Release,
                [200, 204].map(|status| json!({ "rollout": { "smoke": { "status": status } } })),
            ),
        ),
        with(
            descriptor(&[&ports(), &by("blueGreen"), &smoke("/health")]),
            row(
                "rollout.smoke.port",
                Release,
                ["grpc", "http"].map(|port| json!({ "rollout": { "smoke": { "port": port } } })),
            ),
        ),
    ]
}

fn of_pods() -> Vec<Row> {
    use Shows::{Nowhere, Objects, Release};
    let used = |one: Value| json!({ "uses": [one] });
    let port = |name: &str, port: u16| json!({ "ports": [{ "name": name, "port": port }] });
    let ports = ports();
    let digest = |digit: &str| json!({ "image": { "digest": format!("sha256:{}", digit.repeat(64)) } });
    vec![
        row("type", Objects, [json!({ "type": "worker" }), json!({ "type": "api" })]),
        row("runtimeVersion", Release, ["4.10", "4.14"].map(|version| json!({ "runtimeVersion": version }))),
        row("instances", Objects, ["one", "many"].map(|instances| json!({ "instances": instances }))),
        row("coordination", Nowhere, ["a lock", "a queue"].map(|words| json!({ "coordination": words }))),
        row("image.digest", Objects, ["a", "b"].map(digest)),
        row("ports[].name", Objects, [port("http", 8000), port("web", 8000)]),
        row("ports[].port", Objects, [port("http", 8000), port("http", 8001)]),
        row("resources.cpu", Objects, ["250m", "2"].map(|cpu| json!({ "resources": { "cpu": cpu } }))),
        row(
            "resources.memory",
            Objects,
            ["512Mi", "1Gi"].map(|memory| json!({ "resources": { "memory": memory } })),
        ),
        row("env.*", Objects, ["fast", "slow"].map(|mode| json!({ "env": { "MODE": mode } }))),
        row("secrets[]", Objects, ["orders-db", "orders-mq"].map(|name| json!({ "secrets": [name] }))),
        row("config", Objects, ["config", "other"].map(|directory| json!({ "config": directory }))),
        row("ignore[]", Nowhere, ["docs", "*.txt"].map(|path| json!({ "ignore": [path] }))),
        row("connects[]", Objects, ["erp", "mail"].map(|network| json!({ "connects": [network] }))),
        row("expose.path", Release, ["/orders", "/offers"].map(|path| json!({ "expose": { "path": path } }))),
        with(
            json!({ "expose": { "path": "/orders" } }),
            row(
                "expose.timeout",
                Release,
                ["30s", "2m"].map(|timeout| json!({ "expose": { "timeout": timeout } })),
            ),
        ),
        with(
            json!({ "expose": { "path": "/orders" } }),
            row("expose.retries", Release, [1, 5].map(|retries| json!({ "expose": { "retries": retries } }))),
        ),
        with(
            ports,
            row(
                "expose.port",
                Release,
                ["grpc", "http"].map(|port| json!({ "expose": { "path": "/", "port": port } })),
            ),
        ),
        row(
            "uses[].tenant",
            Objects,
            ["beta", "gamma"]
                .map(|tenant| used(json!({ "tenant": tenant, "service": "stock", "as": "STOCK" }))),
        ),
        row(
            "uses[].service",
            Objects,
            ["stock", "prices"].map(|service| used(json!({ "service": service, "as": "STOCK" }))),
        ),
        row(
            "uses[].as",
            Objects,
            ["STOCK", "STOCK_URL"].map(|variable| used(json!({ "service": "stock", "as": variable }))),
        ),
        row(
            "uses[].port",
            Objects,
            ["http", "grpc"].map(|port| used(json!({ "service": "stock", "as": "STOCK", "port": port }))),
        ),
    ]
}

/// Every property of the schema that has a value of its own; what `environments` holds is all of it again.
fn properties(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if !["apiVersion", "kind", "environments"].contains(&path.as_str()) {
                properties_below(property, &path, found);
            }
        }
        return;
    }
    found.insert(path.to_owned());
}

fn properties_below(property: &Value, path: &str, found: &mut BTreeSet<String>) {
    if property["items"].is_object() {
        properties(&property["items"], &format!("{path}[]"), found);
    } else if property["additionalProperties"].is_object() {
        properties(&property["additionalProperties"], &format!("{path}.*"), found);
    } else {
        properties(property, path, found);
    }
}

/// RFC 7386, as far as it is needed here: lists replace each other.
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

fn descriptor(parts: &[&Value]) -> Value {
    let mut all = json!({ "apiVersion": "imaas.dev/v1alpha1", "kind": "ServiceDescriptor" });
    for part in parts {
        merge(&mut all, part);
    }
    all
}

fn port_of(used: &Use) -> Port {
    let number = if used.port.as_deref() == Some("grpc") { 9000 } else { 8080 };
    Port { name: used.port.clone().unwrap_or_else(|| "http".to_owned()), port: number }
}

/// What runs in dev for a descriptor: the release and the objects, or what is wrong.
fn outcome(descriptor: &Value) -> Result<[Value; 2], String> {
    let text = serde_json::to_vec(descriptor).unwrap();
    let sentence = |problems: Vec<yaml::Problem>| problems[0].to_string();
    let descriptor = yaml::descriptor(&text).map_err(sentence)?;
    let settings = yaml::settings(&descriptor, "dev").map_err(sentence)?;
    let networks: Vec<Network> =
        serde_saphyr::from_str("[{name: erp, cidrs: [10.1.0.0/16]}, {name: mail, cidrs: [10.2.0.0/16]}]")
            .unwrap();
    let config: Option<ConfigFiles> = settings.config.as_ref().map(|directory| {
        let file = ConfigFile { blob: directory.clone(), size: 1, ..ConfigFile::default() };
        ConfigFiles::from([("app.properties".to_owned(), file)])
    });
    let fixed = "sha256:".to_owned() + &"4f2a".repeat(16);
    let rendered = render(&Input {
        tenant: "acme",
        service: "orders",
        environment: "dev",
        runtime: &serde_saphyr::from_str(RUNTIME).unwrap(),
        networks: &networks,
        sources: None,
        placement: &Placement::default(),
        called: &settings.uses.iter().map(port_of).collect::<Vec<_>>(),
        image_repository: "registry.example.com/acme/orders",
        digest: settings.image.as_ref().map_or(&fixed, |image| &image.digest),
        config: config.as_ref(),
        commit: "c",
        build_id: "b",
        cause: Cause::Commit,
        settings: &settings,
    });
    let release = rendered.map_err(|error| error.to_string())?.release;
    let target = Target {
        tenant: "acme",
        release: &release,
        config: None,
        networks: &networks,
        reach: &Reach::default(),
        outside: &outside(),
    };
    let objects = desired(&target, &[Footprint::of(&release)], None);
    let (deployment, cron_job) = (objects.deployment.map(|one| json!(one)), objects.cron_job);
    let mut pods = deployment.or_else(|| cron_job.map(|one| json!(one))).unwrap();
    // The release's name, which changes with whatever is in it.
    pods["metadata"].as_object_mut().unwrap().remove("annotations");
    if let Some(job) = pods["spec"]["jobTemplate"]["metadata"].as_object_mut() {
        job.remove("annotations");
    }
    let objects = json!([
        pods,
        objects.service,
        objects.disruption_budget,
        objects.network_policies,
        objects.autoscaler,
        objects.scaler.map(|scaler| json!([scaler.object, scaler.logins]))
    ]);
    Ok([serde_json::to_value(&release.spec).unwrap(), objects])
}

fn shown(descriptor: &Value) -> [Value; 2] {
    outcome(descriptor).unwrap_or_else(|problem| panic!("{problem}: {descriptor}"))
}

#[test]
fn every_property_of_the_schema_is_tried() {
    let mut wanted = BTreeSet::new();
    properties(&serde_json::from_str(SCHEMA).unwrap(), "", &mut wanted);
    let tried: BTreeSet<_> = rows().iter().map(|row| row.path.to_owned()).collect();
    assert_eq!(tried, wanted);
}

#[test]
fn what_is_set_or_changed_shows_and_what_is_unset_is_as_if_it_had_never_been() {
    for Row { path, beside, values: [one, other], shows } in rows() {
        let base = shown(&descriptor(&[&beside]));
        let [one, other] = [one, other].map(|value| shown(&descriptor(&[&beside, &value])));
        let differs = |a: &[Value; 2], b: &[Value; 2]| (a[0] != b[0], a[1] != b[1]);
        let wanted = match shows {
            Shows::Objects => (true, true),
            Shows::Release => (true, false),
            Shows::Nowhere => (false, false),
        };
        assert_eq!(differs(&one, &other), wanted, "{path}: changed");
        // One of two values may be the default.
        assert!(differs(&one, &base) == wanted || differs(&other, &base) == wanted, "{path}: set");
        // By an environment's lines, and taken away by them.
        let [value, _] = rows().into_iter().find(|row| row.path == path).unwrap().values;
        let patch = json!({ "environments": { "dev": value } });
        if !["ignore[]", "coordination"].contains(&path) {
            assert_eq!(shown(&descriptor(&[&beside, &patch])), one, "{path}: in one environment");
        }
        let field = value.as_object().unwrap().keys().next().unwrap().clone();
        let unset = json!({ "environments": { "dev": Map::from_iter([(field.clone(), Value::Null)]) } });
        // `ignore` counts only outside of `environments`.
        if !beside.as_object().unwrap().contains_key(&field) && field != "ignore" {
            assert_eq!(shown(&descriptor(&[&beside, &value, &unset])), base, "{path}: unset");
        }
    }
}

#[test]
fn two_properties_at_a_time_both_show_or_are_refused_by_name() {
    let all = rows();
    for (index, first) in all.iter().enumerate() {
        for second in &all[index + 1..] {
            // The same field replaces the other's value.
            let field = |row: &Row| row.path.split(['.', '[']).next().unwrap().to_owned();
            if field(first) == field(second) {
                continue;
            }
            for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let pair =
                    format!("{} {} and {} {}", first.path, first.values[a], second.path, second.values[b]);
                let beside = [&first.beside, &second.beside];
                let together = [beside[0], beside[1], &first.values[a], &second.values[b]];
                let [release, objects] = match outcome(&descriptor(&together)) {
                    Ok(shown) => shown,
                    Err(problem) => {
                        let said = beside.iter().flat_map(|said| said.as_object().unwrap().keys().cloned());
                        let mut named = said.chain([field(first), field(second)]);
                        let is_named = named.any(|name| problem.contains(&name));
                        assert!(is_named, "{pair}: {problem}");
                        continue;
                    }
                };
                // Of one instance there is nothing to roll, whatever is asked for.
                let is_single = release["many"] == false;
                // Each still shows: with its other value it is another release, or is refused.
                for (row, value, rest) in [
                    (first, &first.values[1 - a], &second.values[b]),
                    (second, &second.values[1 - b], &first.values[a]),
                ] {
                    let Ok(changed) = outcome(&descriptor(&[beside[0], beside[1], rest, value])) else {
                        continue;
                    };
                    let is_moot = is_single && row.path == "rollout.strategy";
                    let stays = is_moot || row.shows == Shows::Nowhere;
                    assert_eq!(changed[0] == release, stays, "{pair}: {}", row.path);
                    assert!(row.shows == Shows::Objects || changed[1] == objects, "{pair}: {}", row.path);
                }
            }
        }
    }
}

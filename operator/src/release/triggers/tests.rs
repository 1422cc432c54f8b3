use super::*;
use crate::sample;

const KAFKA: &str = "{broker: events, kafka: {topic: orders, group: orders, lag: 50}}";

fn brokers() -> Vec<Broker> {
    let text = "[{name: events, kafka: {servers: ['kafka:9092']}}, {name: rabbit, rabbitmq: {url: 'http://rabbit:15672/'}},
        {name: plain, rabbitmq: {url: 'amqp://rabbit:5672/'}}]";
    serde_saphyr::from_str(text).unwrap()
}

/// Of an Environment without a Prometheus.
fn sources(brokers: &[Broker]) -> Sources<'_> {
    Sources { brokers, has_prometheus: false }
}

fn checked(scaling: &str, type_: WorkloadType) -> String {
    let scaling: Scaling = serde_saphyr::from_str(scaling).unwrap();
    let told = check(&scaling, type_).and_then(|()| named(&scaling, sources(&brokers())));
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
            "scaling.triggers[1]: is of rabbitmq and artemis at once: write a trigger for each",
        ),
        ("{broker: rabbit, artemis: {queue: a, messages: 1}}", "scaling.triggers[1].secret: this kind"),
        ("{broker: rabbit, mysql: {query: SELECT 1, rows: 1}}", "scaling.triggers[1].secret: this kind"),
        ("{broker: rabbit, mssql: {query: SELECT 1, rows: 1}}", "scaling.triggers[1].secret: this kind"),
        (
            "{broker: rabbit, mssql: {query: SELECT 1, rows: 1}, secret: login}",
            "scaling.triggers[1].broker: \"rabbit\" is rabbitmq, and the trigger asks for mssql",
        ),
        (
            "{broker: rabbit, rabbitmq: {queue: a, messages: 1}, secret: imaas-registry-pull}",
            "scaling.triggers[1].secret: imaas-registry-pull is the platform's",
        ),
    ] {
        assert!(with(trigger).starts_with(expected), "{trigger}: {}", with(trigger));
    }
    let api = |min: u8| checked(&format!("{{min: {min}, max: 9, triggers: [{KAFKA}]}}"), WorkloadType::Api);
    assert_eq!(api(1), "fine");
    assert!(api(0).starts_with("scaling.min: an api keeps 1 instance"), "{}", api(0));
    assert!(worker("{min: 0, max: 9}").starts_with("scaling.min: with 0 nothing runs"));
    let fallback =
        |more: &str| worker(&format!("{{min: 0, max: 3, fallback: {{after: 3, instances: 4}}{more}}}"));
    assert!(fallback("").starts_with("scaling.fallback: holds while nobody says"), "{}", fallback(""));
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
        let release = sample::release("orders-dev-a", &format!("type: worker, replicas: {min}, {scaling}"));
        unanswered(&release, (sources(&brokers.unwrap()), true), None).join("; ")
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
fn what_keda_leaves_undone_is_told_after_three_minutes() {
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
        left(release, Some(&object)).map(|stuck| format!("{} {}", stuck.told_at(), stuck.message))
    };
    let held = told(&load, object(deleted, "")).unwrap();
    assert!(held.starts_with("2026-05-01T04:03:00Z") && held.contains("has not let go"), "{held}");
    for status in ["", ", status: {conditions: []}"] {
        let unread = told(&follows, object("", status)).unwrap();
        assert!(
            unread.starts_with("2026-05-01T03:03:00Z") && unread.contains("KEDA says nothing"),
            "{unread}"
        );
    }
    let read = ", status: {conditions: [{type: Ready, status: Unknown}]}";
    assert_eq!(told(&follows, object("", read)), None);
    assert_eq!(left(&follows, None), None);
    assert_eq!(told(&load, object("", "")), None, "what load moves is not KEDA's");
}

fn following(min: u8, conditions: &str) -> Release {
    let scaling = format!(
        "scaling: {{max: 5, downAfterSeconds: 300, triggers: [{KAFKA}], fallback: {{after: 3, instances: 2}}}}"
    );
    let mut release = sample::release("orders-dev-a", &format!("type: worker, replicas: {min}, {scaling}"));
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
    let told = |conditions: &str| {
        unanswered(&release, (sources(&brokers()), true), Some(&object(conditions))).join("; ")
    };
    assert_eq!(told("{type: Ready, status: 'True'}, {type: Fallback, status: 'False'}"), "");
    assert_eq!(told("{type: Ready, status: Unknown}"), "", "it has not asked yet");
    let mut two = release.clone();
    let triggers = &mut two.spec.scaling.as_mut().unwrap().triggers;
    triggers.push(triggers[0].clone());
    let missed = unanswered(&two, (sources(&[]), true), None);
    assert!(matches!(&missed[..], [once] if once.contains("\"events\" is no broker")), "{missed:?}");
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
    let lost = unanswered(&release, (sources(&[]), true), None);
    assert!(lost.len() == 1 && lost[0].contains("\"events\" is no broker"), "{lost:?}");
    let gone = unanswered(&release, (sources(&[]), false), None);
    assert!(gone.len() == 1 && gone[0].contains("installs KEDA again"), "{gone:?}");
    assert_eq!(unanswered(&sample::release("orders-dev-a", ""), (sources(&[]), false), None), [""; 0]);
}

const BOTH: &str = "{requests: {perSecond: 20}}, {latency: {milliseconds: 500}}";

#[test]
fn requests_stand_alone_are_asked_without_a_login_and_never_of_none() {
    let (worker, api) = (WorkloadType::Worker, WorkloadType::Api);
    let settings = |scaling: &str| serde_saphyr::from_str::<Scaling>(scaling).unwrap();
    let told = |scaling: &str, type_| {
        let told = check(&settings(scaling), type_);
        told.map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    };
    let with = |trigger: &str| told(&format!("{{min: 1, max: 9, triggers: [{KAFKA}, {trigger}]}}"), api);
    for good in ["{requests: {perSecond: 20}}", "{latency: {milliseconds: 500}}", BOTH] {
        assert_eq!(with(good), "fine", "{good}");
    }
    for (trigger, expected) in [
        (
            "{broker: events, requests: {perSecond: 1}}",
            "scaling.triggers[1].requests: is counted by the platform and waits in no broker: remove what stands beside it",
        ),
        (
            "{latency: {milliseconds: 1}, kafka: {topic: a, group: a, lag: 1}}",
            "scaling.triggers[1].latency: is counted by the platform and waits in no broker: remove what stands beside it",
        ),
        (
            "{latency: {milliseconds: 1}, requests: {perSecond: 1}}",
            "scaling.triggers[1].latency: stands beside `requests`: write two triggers",
        ),
        (
            "{requests: {perSecond: 1}, secret: login}",
            "scaling.triggers[1].secret: `requests` is asked without a login: remove it",
        ),
        (
            "{kafka: {topic: a, group: a, lag: 1}}",
            "scaling.triggers[1].broker: says which broker, and one of",
        ),
        ("{}", "scaling.triggers[1].broker: says which broker, and one of"),
    ] {
        assert!(with(trigger).starts_with(expected), "{trigger}: {}", with(trigger));
    }
    for none in [BOTH, "{requests: {perSecond: 20}}", &format!("{KAFKA}, {{latency: {{milliseconds: 9}}}}")] {
        let told = told(&format!("{{min: 0, max: 9, triggers: [{none}]}}"), worker);
        assert!(
            told.starts_with("scaling.min: with 0 nothing runs whose requests could be counted"),
            "{told}"
        );
    }
}

#[test]
fn metrics_are_those_of_the_profile_that_a_trigger_asks_for_or_it_is_told_whose_they_are() {
    let profile = |names: &str| -> RuntimeProfile {
        serde_saphyr::from_str(&format!("{{metrics: {{port: 1, path: /m{names}}}}}")).unwrap()
    };
    let (counts, latency) =
        (", counts: {requests: a_total, failures: f_total}", ", latency: {buckets: a_seconds_bucket}");
    let found = |triggers: &str, profile: &RuntimeProfile| {
        let scaling: Scaling =
            serde_saphyr::from_str(&format!("{{max: 9, triggers: [{triggers}]}}")).unwrap();
        let found = metrics(&scaling, ("go", profile)).map_err(|error| error.to_string())?;
        Ok::<_, String>((found.0.map(|counts| counts.requests), found.1.and_then(|latency| latency.buckets)))
    };
    let all = profile(&format!("{counts}{latency}"));
    let (total, bucket) = (Some("a_total".to_owned()), Some("a_seconds_bucket".to_owned()));
    assert_eq!(found(BOTH, &all), Ok((total.clone(), bucket.clone())));
    assert_eq!(found("{requests: {perSecond: 1}}", &all), Ok((total, None)));
    assert_eq!(found("{latency: {milliseconds: 1}}", &all), Ok((None, bucket)));
    assert_eq!(found(KAFKA, &all), Ok((None, None)));
    for (names, expected) in [
        (
            latency,
            "scaling.triggers[0].requests: nobody knows which metrics of the runtime go count requests",
        ),
        (counts, "scaling.triggers[1].latency: nobody knows which metrics of the runtime go tell how long"),
    ] {
        let told = found(BOTH, &profile(names)).unwrap_err();
        assert!(told.starts_with(expected) && told.contains("remove the trigger, or ask"), "{told}");
    }
    assert!(found(BOTH, &RuntimeProfile::default()).is_err());
}

#[test]
fn an_environment_without_a_prometheus_counts_no_requests() {
    let scaling = format!("{{max: 9, triggers: [{KAFKA}, {{requests: {{perSecond: 1}}}}]}}");
    let scaling: Scaling = serde_saphyr::from_str(&scaling).unwrap();
    let all = brokers();
    assert_eq!(named(&scaling, Sources { brokers: &all, has_prometheus: true }), Ok(()));
    let told = named(&scaling, sources(&all)).unwrap_err().to_string();
    let expected = "scaling.triggers[1].requests: this environment has no Prometheus";
    assert!(told.starts_with(expected) && told.contains("sets `prometheus`"), "{told}");
}

#[test]
fn of_requests_nothing_is_said_of_what_waits() {
    let release = |triggers: &str| {
        let scaling = format!("scaling: {{max: 5, downAfterSeconds: 300, triggers: [{triggers}]}}");
        sample::release("orders-dev-a", &format!("type: worker, replicas: 1, {scaling}"))
    };
    let blind: ScaledObject = serde_saphyr::from_str(
        "{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {creationTimestamp: '2026-05-01T03:00:00Z'}, spec: {}, status: {conditions: [{type: Ready, status: 'False', message: empty}]}}",
    )
    .unwrap();
    let told = |triggers: &str, has_prometheus: bool| {
        let sources = Sources { brokers: &brokers(), has_prometheus };
        unanswered(&release(triggers), (sources, true), Some(&blind)).join("; ")
    };
    let by_requests = told(BOTH, true);
    let expected = "the number of instances does not follow the requests; KEDA says: empty: the platform team: does KEDA reach";
    assert!(by_requests.starts_with(expected), "{by_requests}");
    assert!(!by_requests.contains("waits") && !by_requests.contains("Secret"), "{by_requests}");
    let by_both = told(&format!("{KAFKA}, {BOTH}"), true);
    assert!(
        by_both.contains("follow what waits, nor the requests; KEDA says: empty: are the names"),
        "{by_both}"
    );
    let gone = told(BOTH, false);
    assert!(
        gone.starts_with("the number of instances does not follow the requests as the Environment says now: this environment has no Prometheus"),
        "{gone}"
    );
    let begun = Some("2026-05-01T03:00:00Z".parse().unwrap());
    assert_eq!(counted_since(&release(BOTH), Some(&blind)), begun);
    assert_eq!(counted_since(&release(KAFKA), Some(&blind)), None, "a broker answers from the first");
}

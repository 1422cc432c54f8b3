//! A service that follows what waits in a broker, or its requests. KEDA's kinds are here and KEDA is not: what it does and says is the test's.

use std::time::Duration;

use imaas_operator::api::{DecisionAction, DecisionState, ScaledObject, TriggerAuthentication};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use lab::{Progress, keda};
use serde_json::{Value, json};

use crate::{
    scaling::boards,
    scene::{IMAGE_OF_A, Scene, descriptor, reasons, until},
};

const ORDERS: (&str, &str) = ("acme", "orders");
pub const SECRET: &str = "{apiVersion: v1, kind: Secret, metadata: {name: orders-events, namespace: acme-dev}, stringData: {username: jo, password: geheim}}";

fn following(scaling: &str) -> String {
    let trigger = "{broker: events, rabbitmq: {queue: orders, messages: 20}, secret: orders-events}";
    let scaling = format!("scaling: {{min: 0, max: 5, triggers: [{trigger}]{scaling}}}\n");
    descriptor(IMAGE_OF_A, &format!("type: worker\ninstances: many\n{scaling}"))
}

pub fn broker(url: &str) -> Value {
    json!({ "brokers": [{ "name": "events", "rabbitmq": { "url": url } }] })
}

impl Scene {
    pub fn scalers(&self) -> Api<ScaledObject> {
        Api::namespaced(self.client.clone(), "acme-dev")
    }

    pub async fn scaler(&self) -> Option<ScaledObject> {
        self.scalers().get_opt("orders").await.unwrap()
    }

    /// The fewest and where it is asked; of one that is there.
    async fn is_asked(&self, least: i32, host: &str) {
        let mut asked = None;
        until(&format!("at least {least}, asked at {host}"), async || {
            self.instances_are_ready("dev").await;
            let spec = self.scaler().await?.spec;
            asked = Some((spec.min_replica_count, spec.triggers.first()?.metadata.get("host")?.clone()));
            (asked == Some((least, host.to_owned()))).then_some(())
        })
        .await;
    }

    async fn has_none(&self) {
        until("there is no ScaledObject", async || self.scaler().await.is_none().then_some(())).await;
    }

    /// KEDA takes the last instance away, and brings the first.
    async fn keda_makes_it(&self, replicas: i32) {
        let params = PatchParams { field_manager: Some("keda".to_owned()), ..PatchParams::default() };
        let scale = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        self.deployments("dev").patch_scale("orders", &params, &scale).await.unwrap();
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap().to_string();
        let (is, reason) =
            if replicas > 0 { ("True", "ValidMetricFound") } else { ("False", "ScalingDisabled") };
        let active = json!({ "type": "ScalingActive", "status": is, "reason": reason, "message": "", "lastTransitionTime": now });
        let status = json!({ "desiredReplicas": replicas, "currentReplicas": replicas, "lastScaleTime": now, "conditions": [active] });
        let status = Patch::Merge(json!({ "status": status }));
        self.autoscalers().patch_status("keda-hpa-orders", &PatchParams::default(), &status).await.unwrap();
    }

    /// The autoscaler that KEDA makes, with the labels of the `ScaledObject`.
    async fn keda_has_its_own(&self) {
        let labels = self.scaler().await.unwrap().metadata.labels;
        let metadata = json!({ "name": "keda-hpa-orders", "labels": labels });
        let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "orders" });
        let external = json!({ "metric": { "name": "s0-rabbitmq-orders" }, "target": { "type": "AverageValue", "averageValue": "20" } });
        let metrics = json!([{ "type": "External", "external": external }]);
        let spec =
            json!({ "scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 5, "metrics": metrics });
        let own = serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap();
        self.autoscalers().create(&PostParams::default(), &own).await.unwrap();
    }

    async fn keda_has_none_of_its_own(&self) {
        until("what would move the number, too, is gone", async || {
            self.autoscalers().get_opt("keda-hpa-orders").await.unwrap().is_none().then_some(())
        })
        .await;
    }

    async fn keda_lets_go(&self) {
        self.keda_holds(json!(null)).await;
        self.has_none().await;
    }

    /// Nobody makes a `ScaledObject` any more, or anybody again.
    async fn refuses_scalers(&self, is_so: bool) {
        let rules = "{apiGroups: [keda.sh], apiVersions: ['*'], operations: [CREATE, UPDATE], resources: [scaledobjects]}";
        let policy = format!(
            "{{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {{name: no-scalers}}, \
             spec: {{matchConstraints: {{resourceRules: [{rules}]}}, validations: [{{expression: 'false', message: not today}}]}}}}"
        );
        let binding = "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: no-scalers}, \
             spec: {policyName: no-scalers, validationActions: [Deny]}}";
        let verb = if is_so { "apply" } else { "delete" };
        let both = format!("{policy}\n---\n{binding}\n");
        self.lab.kubectl().run(&[verb, "-f", "-"], Some(&both)).await.unwrap();
        let tried = "{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: tried, namespace: acme-dev}, \
             spec: {scaleTargetRef: {name: tried}, triggers: [{type: cron, metadata: {timezone: UTC}}]}}";
        until("it is in force", async || {
            let told = self.lab.kubectl().run(&["create", "--dry-run=server", "-f", "-"], Some(tried)).await;
            (told.is_err_and(|error| format!("{error:#}").contains("not today")) == is_so).then_some(())
        })
        .await;
    }

    async fn keda_says(&self, conditions: Value) {
        let status = Patch::Merge(json!({ "status": { "conditions": conditions } }));
        self.scalers().patch_status("orders", &PatchParams::default(), &status).await.unwrap();
    }

    async fn keda_holds(&self, finalizers: Value) {
        let patch = Patch::Merge(json!({ "metadata": { "finalizers": finalizers } }));
        self.scalers().patch("orders", &PatchParams::default(), &patch).await.unwrap();
    }

    /// What is missing is told by name, one after the other, until only KEDA is.
    async fn lacks_one_after_the_other(&self) {
        self.push("dev", &[("imaas.yaml", &following(""))]);
        let told = self.waiting(ORDERS, "InvalidDescriptor").await;
        assert!(
            told.contains(
                "scaling.triggers[0].broker: \"events\" is no broker of this environment; it has none"
            ),
            "{told}"
        );
        self.environment(broker("amqp://rabbit:5672/")).await;
        until("what is in hand would not be seen", async || {
            let told = self.waiting(ORDERS, "InvalidDescriptor").await;
            told.contains("\"events\" is asked by amqp").then_some(())
        })
        .await;
        self.environment(
            json!({ "brokers": [{ "name": "events", "rabbitmq": { "url": "ftp://rabbit/" } }] }),
        )
        .await;
        let told = self.waiting(ORDERS, "EnvironmentMissing").await;
        assert!(told.contains("the Environment dev is not valid"), "{told}");
        self.environment(broker("http://rabbit:15672/")).await;
        let told = self.waiting(ORDERS, "ScalerMissing").await;
        assert!(told.contains("KEDA is not installed in this cluster"), "{told}");
        let told = self.waiting(ORDERS, "SecretMissing").await;
        assert!(
            told.contains("there is no Secret orders-events in acme-dev, which `scaling.triggers` name"),
            "{told}"
        );
        self.lab.kubectl().run(&["apply", "-f", "-"], Some(SECRET)).await.unwrap();
        until("only KEDA is missing", async || {
            (reasons(&self.board().await, "dev") == ["ScalerMissing"]).then_some(())
        })
        .await;
    }

    async fn nothing_is_awaited(&self) {
        until("nothing is awaited", async || {
            self.instances_are_ready("dev").await;
            reasons(&self.board().await, "dev").is_empty().then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_moves_the_number_once_there_is_keda_a_broker_and_a_login() {
    let (scene, operator) = Scene::onboarded().await;
    let before = scene.settled("dev", IMAGE_OF_A).await;

    scene.lacks_one_after_the_other().await;
    assert_eq!(scene.state("dev").await.unwrap().current, Some(before));

    // KEDA comes, and nothing else wakes the service. One instance proves it, then there may be none.
    keda::install_kinds(scene.lab.kubectl(), &Progress::silent()).await.unwrap();
    until("it is made", async || scene.scaler().await).await;
    scene.is_asked(0, "http://rabbit:15672/").await;
    scene.runs_so_many(1).await;
    assert!(!scene.has_autoscaler().await, "KEDA makes its own");
    let logins = Api::<TriggerAuthentication>::namespaced(scene.client.clone(), "acme-dev");
    let login = logins.get("orders-0").await.unwrap();
    assert!(login.spec.secret_target_ref.iter().all(|part| part.name == "orders-events"));

    // The number is KEDA's, also none, and that is no news of its health.
    scene.keda_has_its_own().await;
    let seen = boards(&scene);
    for number in [0, 1, 3, 0, 1] {
        scene.keda_makes_it(number).await;
        // Instances take their time to start.
        tokio::time::sleep(Duration::from_secs(2)).await;
        scene.runs_so_many(number).await;
        assert_eq!(scene.replicas().await, Some(number));
    }
    let seen = seen.borrow().clone();
    assert!(seen.iter().all(|(summary, _)| summary.starts_with("dev=ok")), "{seen:?}");
    assert!(seen.iter().any(|(_, desired)| *desired == 0), "{seen:?}");

    // Where it is stands in the Environment, now.
    let version = scene.state("dev").await.unwrap().current;
    scene.environment(broker("http://other:15672/")).await;
    scene.is_asked(0, "http://other:15672/").await;
    scene.environment(json!({ "brokers": [] })).await;
    let told = scene.waiting(ORDERS, "NotScaling").await;
    assert!(told.contains("\"events\" is no broker of this environment"), "{told}");
    scene.is_asked(0, "http://other:15672/").await;
    scene.environment(broker("http://rabbit:15672/")).await;
    scene.is_asked(0, "http://rabbit:15672/").await;
    assert_eq!(scene.state("dev").await.unwrap().current, version, "an address makes no release");

    // What KEDA says against it.
    scene.nothing_is_awaited().await;
    scene
        .keda_says(json!([{ "type": "Ready", "status": "False", "reason": "R", "message": "no such queue" }]))
        .await;
    let told = scene.waiting(ORDERS, "NotScaling").await;
    assert!(told.contains("KEDA says: no such queue"), "{told}");
    scene.keda_says(json!([{ "type": "Ready", "status": "True", "reason": "R", "message": "" }])).await;
    scene.nothing_is_awaited().await;

    // A pass, and a restart, that learn nothing write nothing, also where KEDA marked the object as its own.
    scene.keda_holds(json!(["finalizer.keda.sh"])).await;
    let (object, login) = (scene.scaler().await, logins.get("orders-0").await.unwrap().resource_version());
    operator.stop().await;
    let operator = scene.operator().await;
    scene.two_looks().await;
    assert_eq!(scene.scaler().await, object);
    assert_eq!(logins.get("orders-0").await.unwrap().resource_version(), login);

    // Load takes its place: not before KEDA let go.
    let load = "type: worker\ninstances: many\nscaling: {min: 1, max: 3}\n";
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, load))]);
    until("it is to go", async || scene.scaler().await?.metadata.deletion_timestamp).await;
    scene.two_looks().await;
    scene.keda_has_none_of_its_own().await;
    assert!(!scene.has_autoscaler().await, "never two of them");
    scene.keda_lets_go().await;
    until("load decides", async || scene.has_autoscaler().await.then_some(())).await;
    assert!(logins.get_opt("orders-0").await.unwrap().is_none());
    scene.runs_so_many(1).await;

    // And the other way round. What is refused of KEDA's keeps nothing else from being done and told.
    scene.refuses_scalers(true).await;
    let by_load = scene.state("dev").await.unwrap().current;
    scene.push("dev", &[("imaas.yaml", &(following("") + "env: {MODE: careful}\n"))]);
    let told = scene.waiting(ORDERS, "ApplyFailed").await;
    assert!(told.contains("not today"), "{told}");
    until("it runs, and is known as good", async || {
        scene.instances_are_ready("dev").await;
        let state = scene.state("dev").await?;
        (state.current != by_load && state.current == state.last_good).then_some(())
    })
    .await;
    scene.refuses_scalers(false).await;
    // A commit comes sooner than what was refused again and again is tried again.
    scene.push("dev", &[("README.md", "orders")]);
    until("it is made again", async || scene.scaler().await).await;
    assert!(!scene.has_autoscaler().await, "never two of them");
    scene.is_asked(0, "http://rabbit:15672/").await;
    let uid = scene.is_held().await;
    scene.keda_holds(json!(["finalizer.keda.sh"])).await;
    tokio::join!(scene.delete(Some(&uid)), async {
        until("it is to go", async || scene.scaler().await?.metadata.deletion_timestamp).await;
        // It goes on when KEDA lets go, and forgets nothing before.
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(scene.services().get_opt("orders").await.unwrap().is_some());
        scene.keda_lets_go().await;
    });
    assert!(scene.scaler().await.is_none(), "it goes with the service");
    assert!(logins.get_opt("orders-0").await.unwrap().is_none());

    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_by_hand_replaces_what_waits_until_it_is_over() {
    let scene = Scene::start().await;
    keda::install_kinds(scene.lab.kubectl(), &Progress::silent()).await.unwrap();
    scene.environment(broker("http://rabbit:15672/")).await;
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    scene.settled("dev", IMAGE_OF_A).await;
    scene.lab.kubectl().run(&["apply", "-f", "-"], Some(SECRET)).await.unwrap();
    let fallen_back = following(", fallback: {after: 3, instances: 2}");
    scene.push("dev", &[("imaas.yaml", &fallen_back)]);
    scene.is_asked(0, "http://rabbit:15672/").await;
    scene.keda_has_its_own().await;
    scene.keda_makes_it(0).await;
    scene.runs_so_many(0).await;

    let later =
        Timestamp::from_second((Timestamp::now() + SignedDuration::from_hours(1)).as_second()).unwrap();
    let by_hand = json!({ "replicas": 4, "expiresAt": later.to_string() });
    let scale = scene.decide("dev", DecisionAction::Scale, by_hand).await;
    scene.answer(&scale, DecisionState::InForce).await;
    scene.has_none().await;
    scene.keda_has_none_of_its_own().await;
    scene.runs_so_many(4).await;
    scene.decide("dev", DecisionAction::Resume, json!({})).await;
    scene.is_asked(0, "http://rabbit:15672/").await;
    assert_eq!(scene.replicas().await, Some(4), "it is handed over as it is");
    scene.keda_has_its_own().await;
    scene.keda_makes_it(0).await;
    scene.runs_so_many(0).await;

    // What is new proves itself by an instance, also where nothing waits.
    scene.push("dev", &[("imaas.yaml", &(fallen_back + "env: {MODE: careful}\n"))]);
    until("one runs", async || (scene.replicas().await == Some(1)).then_some(())).await;
    scene.runs_so_many(1).await;
    scene.is_asked(0, "http://rabbit:15672/").await;

    // Nobody would bring the first any more.
    scene.keda_makes_it(0).await;
    scene.runs_so_many(0).await;
    scene.kubectl(&["delete", "crd", "scaledobjects.keda.sh", "triggerauthentications.keda.sh"]).await;
    until("as many run as without an answer", async || (scene.replicas().await == Some(2)).then_some(()))
        .await;
    let told = scene.waiting(ORDERS, "NotScaling").await;
    assert!(told.contains("no ScaledObject of keda.sh any more"), "{told}");

    operator.stop().await;
    scene.end().await;
}

const COUNTS: &str = r#"[{"op": "add", "path": "/spec/profiles/0/metrics", "value": {"port": 8080, "path": "/metrics",
    "counts": {"requests": "a_total", "failures": "f_total", "labels": {"kind": "route"}}}}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn requests_move_the_number_once_the_runtime_and_the_environment_tell_them() {
    let (scene, operator) = Scene::onboarded().await;
    keda::install_kinds(scene.lab.kubectl(), &Progress::silent()).await.unwrap();
    let before = scene.settled("dev", IMAGE_OF_A).await;
    let scaling = "scaling: {min: 1, max: 5, triggers: [{requests: {perSecond: 20}}]}\n";
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, scaling))]);
    let told = scene.waiting(ORDERS, "InvalidDescriptor").await;
    let unnamed = "scaling.triggers[0].requests: nobody knows which metrics of the runtime container count";
    assert!(told.contains(unnamed) && told.contains("`metrics.counts`"), "{told}");
    scene.kubectl(&["patch", "integrationruntime", "container", "--type=json", "-p", COUNTS]).await;
    until("the way out is told", async || {
        let told = scene.waiting(ORDERS, "InvalidDescriptor").await;
        let lacks = "scaling.triggers[0].requests: this environment has no Prometheus";
        (told.contains(lacks) && told.contains("sets `prometheus`")).then_some(())
    })
    .await;
    assert_eq!(scene.state("dev").await.unwrap().current, Some(before));
    assert!(scene.scaler().await.is_none());

    scene.environment(json!({ "prometheus": { "url": "https://mimir.example.com/prometheus/" } })).await;
    let asked = until("it is made", async || scene.scaler().await).await.spec.triggers.remove(0);
    assert_eq!(
        (asked.type_.as_str(), asked.metric_type.as_deref()),
        ("prometheus", None),
        "to an instance each"
    );
    let pods = r#"namespace="acme-dev",pod=~"orders-([a-z0-9]{1,10}-[a-z0-9]{5})|orders-canary-([a-z0-9]{1,10}-[a-z0-9]{5})""#;
    let wanted = json!({
        "serverAddress": "https://mimir.example.com/prometheus",
        "query": format!(
            r#"sum(rate(a_total{{{pods},kind="route"}}[2m])) or (0 * sum(up{{{pods}}} == 1) unless sum(a_total{{{pods},kind="route"}}))"#
        ),
        "threshold": "20",
        "ignoreNullValues": "false",
    });
    assert_eq!(json!(asked.metadata), wanted);
    scene.nothing_is_awaited().await;
    assert!(!scene.has_autoscaler().await, "KEDA makes its own");

    // Nobody has collected what has just begun.
    let conditions = json!([{ "type": "Ready", "status": "False", "reason": "R", "message": "empty" }]);
    scene.keda_says(conditions).await;
    scene.two_looks().await;
    scene.nothing_is_awaited().await;

    scene.environment(json!({ "prometheus": null })).await;
    let told = scene.waiting(ORDERS, "NotScaling").await;
    let lost = "the number of instances does not follow the requests as the Environment says now: this environment has no Prometheus";
    assert!(told.contains(lost) && told.contains("sets `prometheus`"), "{told}");
    assert_eq!(scene.scaler().await.unwrap().spec.triggers, [asked], "it stays as it is");
    operator.stop().await;
    scene.end().await;
}

//! A service that follows the load, on its board and in people's hands. There are no metrics in this cluster: what load asks
//! for is said by the test, as Kubernetes' autoscaler says it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use futures::StreamExt;
use imaas_operator::api::{DecisionAction, DecisionState, IntegrationService, OpenWindow, Tenant};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::ResourceQuota};
use kube::{
    Api,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use tokio::sync::watch;

use crate::scene::{IMAGE_OF_A, Scene, descriptor, until};

impl Scene {
    pub(super) fn autoscalers(&self) -> Api<HorizontalPodAutoscaler> {
        Api::namespaced(self.client.clone(), "acme-dev")
    }

    pub(super) async fn has_autoscaler(&self) -> bool {
        self.autoscalers().get_opt("orders").await.unwrap().is_some()
    }

    /// The autoscaler writes the number first, and what it did after that.
    pub(super) async fn load_asks_for(&self, replicas: i32) {
        let params = PatchParams {
            field_manager: Some("kube-controller-manager".to_owned()),
            ..PatchParams::default()
        };
        let scale = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        self.deployments("dev").patch_scale("orders", &params, &scale).await.unwrap();
        self.autoscaler_tells(replicas, Some(Timestamp::now())).await;
    }

    async fn autoscaler_tells(&self, replicas: i32, at: Option<Timestamp>) {
        let at = at.map(|at| Timestamp::from_second(at.as_second()).unwrap().to_string());
        let status = json!({ "desiredReplicas": replicas, "currentReplicas": replicas, "lastScaleTime": at });
        let status = Patch::Merge(json!({ "status": status }));
        self.autoscalers().patch_status("orders", &PatchParams::default(), &status).await.unwrap();
    }

    /// So many are there, all ready, and nothing is awaited.
    pub(super) async fn runs_so_many(&self, number: i32) {
        until(&format!("{number} instances are ready"), async || {
            self.instances_are_ready("dev").await;
            let state = self.state("dev").await?;
            let is_so = state.ready == number && state.desired == number && state.waiting.is_empty();
            (is_so && state.current == state.last_good && state.candidate.is_none()).then_some(())
        })
        .await;
    }

    pub(super) async fn replicas(&self) -> Option<i32> {
        self.deployments("dev").get("orders").await.unwrap().spec?.replicas
    }
}

/// All environments in a word each, and how many there should be in dev, of every state of the board from now on.
pub(super) fn boards(scene: &Scene) -> watch::Receiver<Vec<(String, i32)>> {
    let (seen, told) = watch::channel(Vec::new());
    let mut events = watcher(scene.services(), watcher::Config::default()).applied_objects().boxed();
    tokio::spawn(async move {
        while let Some(Ok(service)) = events.next().await {
            let told = one_of(&service);
            seen.send_modify(|all| all.push(told));
        }
    });
    told
}

fn one_of(service: &IntegrationService) -> (String, i32) {
    let status = service.status.clone().unwrap_or_default();
    let desired = status.environments.iter().find(|one| one.name == "dev").map(|one| one.desired);
    (status.summary.unwrap_or_default(), desired.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_load_asks_for_is_on_the_board_and_no_news_of_its_health() {
    let (scene, operator) = Scene::onboarded().await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "scaling: {min: 2, max: 5}\n"))]);
    until("there is an autoscaler", async || scene.has_autoscaler().await.then_some(())).await;
    scene.runs_so_many(2).await;
    scene.autoscaler_tells(2, None).await;

    let seen = boards(&scene);
    for number in [4, 3, 5, 2] {
        scene.load_asks_for(number).await;
        // Instances take their time to start.
        tokio::time::sleep(Duration::from_secs(2)).await;
        scene.runs_so_many(number).await;
    }
    let seen = seen.borrow().clone();
    println!("{seen:?}");
    assert!(seen.iter().all(|(summary, _)| summary.starts_with("dev=ok")), "{seen:?}");
    for number in [4, 3, 5, 2] {
        assert!(seen.iter().any(|(_, desired)| *desired == number), "{number}: {seen:?}");
    }
    let uid = scene.is_held().await;
    scene.delete(Some(&uid)).await;
    assert!(!scene.has_autoscaler().await, "it goes with the service");

    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_by_hand_replaces_the_load_until_it_is_over() {
    let (scene, operator) = Scene::onboarded().await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "scaling: {min: 2, max: 3}\n"))]);
    until("there is an autoscaler", async || scene.has_autoscaler().await.then_some(())).await;
    scene.runs_so_many(2).await;

    let until_when = |after: SignedDuration| {
        Timestamp::from_second((Timestamp::now() + after).as_second()).unwrap().to_string()
    };
    let by_hand = json!({ "replicas": 5, "expiresAt": until_when(SignedDuration::from_hours(1)) });
    let scale = scene.decide("dev", DecisionAction::Scale, by_hand).await;
    let told = scene.answer(&scale, DecisionState::InForce).await;
    assert!(told.starts_with("5 instances of orders run in dev until "), "{told}");
    scene.runs_so_many(5).await;
    assert!(!scene.has_autoscaler().await);
    let held = scene.state("dev").await.unwrap().held;
    assert_eq!((held.len(), held[0].action), (1, DecisionAction::Scale));

    // The next takes its place, and its end comes by itself.
    let soon = json!({ "replicas": 1, "expiresAt": until_when(SignedDuration::from_secs(8)) });
    let next = scene.decide("dev", DecisionAction::Scale, soon).await;
    scene.answer(&scale, DecisionState::Done).await;
    until("one runs", async || (scene.replicas().await == Some(1)).then_some(())).await;
    assert_eq!(scene.answer(&next, DecisionState::Done).await, "over: it expired");
    until("load decides again", async || scene.has_autoscaler().await.then_some(())).await;
    until("nothing is held", async || scene.state("dev").await?.held.is_empty().then_some(())).await;
    // From one on it is the autoscaler's own: there must be two.
    scene.runs_so_many(2).await;

    let away = json!({ "replicas": 0, "expiresAt": until_when(SignedDuration::from_hours(1)) });
    scene.decide("dev", DecisionAction::Scale, away).await;
    until("none runs", async || (scene.replicas().await == Some(0)).then_some(())).await;
    scene.decide("dev", DecisionAction::Resume, json!({})).await;
    scene.runs_so_many(2).await;
    until("load decides again", async || scene.has_autoscaler().await.then_some(())).await;

    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_hours_of_sleep_none_runs_and_what_is_new_wakes_it() {
    let (scene, operator) = Scene::onboarded().await;
    scene.settled("dev", IMAGE_OF_A).await;
    let tenants = Api::<Tenant>::all(scene.client.clone());
    let always = json!([{ "schedule": "0 0 * * *", "duration": "24h" }]);
    let sleeps = async |wake_for: Option<&str>| {
        let sleep = wake_for.map(|wake_for| json!({ "windows": always, "wakeFor": wake_for }));
        let patch = Patch::Merge(json!({ "spec": { "environments": { "dev": { "sleep": sleep } } } }));
        tenants.patch("acme", &PatchParams::default(), &patch).await.unwrap();
    };
    let seen = boards(&scene);
    let is_asleep = async || {
        until("none runs", async || {
            let state = scene.state("dev").await?;
            (state.asleep_until.is_some() && state.desired == 0 && state.waiting.is_empty()).then_some(())
        })
        .await;
        assert_eq!(scene.replicas().await, Some(0));
        let board = scene.board().await;
        assert!(board.summary.is_some_and(|summary| summary.starts_with("dev=asleep")));
    };
    sleeps(Some("0s")).await;
    is_asleep().await;

    // Something new keeps it awake, and proves itself.
    sleeps(Some("24h")).await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "env: {MODE: careful}\n"))]);
    scene.runs_so_many(1).await;
    assert_eq!(scene.state("dev").await.unwrap().asleep_until, None);

    sleeps(Some("0s")).await;
    is_asleep().await;
    let soon = Timestamp::now() + SignedDuration::from_hours(1);
    let by_hand =
        json!({ "replicas": 2, "expiresAt": Timestamp::from_second(soon.as_second()).unwrap().to_string() });
    scene.decide("dev", DecisionAction::Scale, by_hand).await;
    scene.runs_so_many(2).await;
    scene.decide("dev", DecisionAction::Resume, json!({})).await;
    is_asleep().await;
    sleeps(None).await;
    scene.runs_so_many(1).await;
    let seen = seen.borrow().clone();
    assert!(
        seen.iter().all(|(summary, _)| !summary.starts_with("dev=failed")),
        "waking is no failure: {seen:?}"
    );

    operator.stop().await;
    scene.end().await;
}

/// Between the operator's clock in one test and that of this machine, in seconds.
static AHEAD: AtomicI64 = AtomicI64::new(0);

fn clock() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(AHEAD.load(Ordering::SeqCst))
}

/// From now on it is `time` for the operator, and the clock goes on from there.
fn is_at(time: &str) {
    let time: Timestamp = time.parse().unwrap();
    AHEAD.store(time.as_second() - Timestamp::now().as_second(), Ordering::SeqCst);
}

impl Scene {
    async fn looks_at(&self, time: &str) {
        is_at(time);
        let look = format!("imaas.dev/reconcile-requested={time}");
        self.kubectl(&["annotate", "isvc", "orders", "-nacme-home", "--overwrite", &look]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_of_its_own_change_the_number_and_neither_what_runs_nor_the_release() {
    is_at("2040-01-02T07:30:00Z");
    let mut scene = Scene::start().await;
    scene.now = clock;
    let by_day = "scaling: {min: 1, windows: [{schedule: 0 8 * * *, duration: 10h, min: 3}]}\n";
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, by_day))]);
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    let shown = async || {
        let state = scene.state("dev").await.unwrap();
        let template = scene.deployments("dev").get("orders").await.unwrap().spec.unwrap().template;
        (state.window, (state.current, serde_json::to_value(template).unwrap()))
    };
    scene.runs_so_many(1).await;
    // From then on nothing but the hour wakes the service.
    until("nothing is awaited in test", async || {
        scene.instances_are_ready("test").await;
        let test = scene.state("test").await?;
        (test.waiting.is_empty() && test.current == test.last_good).then_some(())
    })
    .await;
    let (window, before) = shown().await;
    assert_eq!(window, None);

    let seen = boards(&scene);
    scene.looks_at("2040-01-02T07:59:55Z").await;
    scene.runs_so_many(3).await;
    let until = Some("2040-01-02T18:00:00Z".to_owned());
    assert_eq!(shown().await, (Some(OpenWindow { min: 3, until }), before.clone()));
    scene.looks_at("2040-01-02T17:59:55Z").await;
    scene.runs_so_many(1).await;
    assert_eq!(shown().await, (None, before));
    let seen = seen.borrow().clone();
    assert!(seen.iter().all(|(summary, _)| !summary.starts_with("dev=failed")), "{seen:?}");
    with_load_hours_are_no_news_of_its_health(&scene).await;

    operator.stop().await;
    scene.end().await;
}

/// Until the autoscaler, which is the test, has followed and what it asked for has started.
async fn with_load_hours_are_no_news_of_its_health(scene: &Scene) {
    let by_day = "scaling: {min: 1, max: 5, windows: [{schedule: 0 8 * * *, duration: 10h, min: 3}]}\n";
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, by_day))]);
    until("there is an autoscaler", async || scene.has_autoscaler().await.then_some(())).await;
    scene.runs_so_many(1).await;

    let seen = boards(scene);
    scene.looks_at("2040-01-03T07:59:55Z").await;
    let least = until("the autoscaler may go no lower", async || {
        let spec = scene.autoscalers().get("orders").await.unwrap().spec?;
        spec.min_replicas.filter(|least| *least > 1)
    })
    .await;
    assert_eq!((least, scene.replicas().await), (3, Some(1)), "the number is not the operator's");
    let state = until("the board counts what there is", async || {
        scene.state("dev").await.filter(|state| state.desired == 3)
    })
    .await;
    assert_eq!((state.ready, state.waiting), (1, vec![]));
    scene.load_asks_for(3).await;
    // Instances take their time to start.
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.runs_so_many(3).await;
    let seen = seen.borrow().clone();
    assert!(seen.iter().all(|(summary, _)| summary.starts_with("dev=ok")), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_have_room_waits_and_names_the_quota() {
    let (scene, operator) = Scene::onboarded().await;
    let good = scene.settled("dev", IMAGE_OF_A).await;
    let quota = |pods: &str| -> ResourceQuota {
        let labels = json!({ "app.kubernetes.io/managed-by": "imaas-operator", "imaas.dev/tenant": "acme" });
        let metadata = json!({ "name": "imaas", "namespace": "acme-dev", "labels": labels });
        serde_json::from_value(json!({ "metadata": metadata, "spec": { "hard": { "pods": pods } } })).unwrap()
    };
    let quotas = Api::<ResourceQuota>::namespaced(scene.client.clone(), "acme-dev");
    let params = PatchParams::apply("platform").force();
    let set =
        async |pods: &str| drop(quotas.patch("imaas", &params, &Patch::Apply(quota(pods))).await.unwrap());
    set("6").await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, "scaling: {min: 1, max: 5}\n"))]);
    let told = until("the quota is named", async || {
        let waiting = scene.state("dev").await?.waiting;
        waiting.into_iter().find(|one| one.reason == "QuotaExceeded").map(|one| one.message)
    })
    .await;
    let why = "scaling.max: 5 instances, and 2 more while they are replaced, need pods 7, more than 6, the quota imaas of acme-dev: ask for less, or raise `spec.environments.dev.quota.pods` in the tenant file";
    assert!(told.ends_with(why), "{told}");
    let state = scene.state("dev").await.unwrap();
    assert_eq!((state.current, scene.has_autoscaler().await), (Some(good), false));
    set("7").await;
    until("it has room", async || scene.has_autoscaler().await.then_some(())).await;

    // Where nothing is replaced a quota that is full is no reason to wait.
    set("8").await;
    let fixed = |number| descriptor(IMAGE_OF_A, &format!("scaling: {{min: {number}}}\n"));
    scene.push("dev", &[("imaas.yaml", &fixed(6))]);
    scene.runs_so_many(6).await;
    set("6").await;
    scene.push("dev", &[("imaas.yaml", &fixed(5))]);
    scene.runs_so_many(5).await;

    operator.stop().await;
    scene.end().await;
}

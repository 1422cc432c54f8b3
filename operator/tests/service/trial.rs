//! A release that is tried beside what runs: two Deployments, who is led to which, and how that ends. No gateway runs here:
//! what is looked at is what it is told.

use std::fmt::Debug;

use imaas_operator::{
    api::{self, DecisionAction, HttpRoute, integration_service::Trial},
    names::{MANAGED_BY, RELEASE, TRACK},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use lab::{Progress, gateway};
use serde_json::json;

use crate::scene::{IMAGE_OF_A, IMAGE_OF_B, Scene, descriptor, until};

const CANARY: &str = "rollout: {strategy: canary, steps: [{weight: 30}, {weight: 60, pause: 1s}]}";
const BLUE_GREEN: &str = "rollout: {strategy: blueGreen, keep: 2s}";

fn serving(image: &str, more: &str) -> String {
    descriptor(image, &format!("scaling: {{min: 2}}\nexpose: {{path: /orders}}\n{more}\n"))
}

/// What is there, as far as a trial is about it.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    /// First digit of the image, and instances.
    own: String,
    /// The same of what is beside it.
    beside: Option<String>,
    /// The label, besides the usual ones, by which the Service finds pods.
    called: Vec<String>,
    /// `backend weight`s of the route without a header.
    routed: Vec<String>,
}

fn shown(own: &str, beside: &str, called: &[&str], routed: &[&str]) -> Shown {
    let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
    let beside = Some(beside.to_owned()).filter(|beside| !beside.is_empty());
    Shown { own: own.to_owned(), beside, called: owned(called), routed: owned(routed) }
}

impl Scene {
    async fn deployment(&self, name: &str) -> Option<Deployment> {
        self.deployments("dev").get_opt(name).await.unwrap()
    }

    /// First digit of the image, and instances, of what runs and of what is beside it.
    pub async fn sizes(&self) -> (Option<String>, Option<String>) {
        let told = |deployment: Deployment| {
            let spec = deployment.spec.unwrap();
            let image = spec.template.spec.unwrap().containers.remove(0).image.unwrap();
            let digest = image.rsplit_once("sha256:").unwrap().1;
            format!("{} {}", &digest[..1], spec.replicas.unwrap())
        };
        (self.deployment("orders").await.map(told), self.deployment("orders-canary").await.map(told))
    }

    async fn shown(&self) -> Option<Shown> {
        let services = Api::<Service>::namespaced(self.client.clone(), "acme-dev");
        let routes = Api::<HttpRoute>::namespaced(self.client.clone(), "acme-dev");
        let selector = services.get_opt("orders").await.unwrap()?.spec?.selector?;
        let rules = routes.get_opt("orders").await.unwrap()?.spec.rules;
        let plain = rules.iter().find(|rule| rule.matches[0].headers.is_empty())?;
        let backend = |one: &api::http_route::BackendRef| match one.weight {
            Some(weight) if plain.backend_refs.len() > 1 => format!("{} {weight}", one.name),
            Some(_) | None => one.name.clone(),
        };
        let (own, beside) = self.sizes().await;
        Some(Shown {
            own: own?,
            beside,
            called: selector.into_keys().filter(|label| [TRACK, MANAGED_BY].contains(&&**label)).collect(),
            routed: plain.backend_refs.iter().map(backend).collect(),
        })
    }

    /// While every instance gets ready.
    async fn ready_until<T: Debug>(&self, what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
        until(what, async || {
            self.instances_are_ready("dev").await;
            probe().await
        })
        .await
    }

    async fn shows(&self, wanted: Shown) {
        self.ready_until(&format!("{wanted:?}"), async || {
            (self.shown().await.as_ref() == Some(&wanted)).then_some(())
        })
        .await;
    }

    /// The release that a Deployment was given.
    async fn release_of(&self, name: &str) -> Option<String> {
        self.deployment(name).await?.annotations().get(RELEASE).cloned()
    }

    async fn awaits(&self, reason: &str, words: &str) {
        self.ready_until(words, async || {
            let waiting = self.state("dev").await?.waiting;
            waiting.into_iter().find(|one| one.reason == reason && one.message.contains(words))
        })
        .await;
    }

    /// Whoever wants to look at what is tried is told how, in a browser as well.
    async fn tells_how_to_look_at_it(&self, trial: &Trial) {
        let address = "https://acme.dev.example.com/orders";
        let command = format!("curl -H 'imaas-preview: orders' {address}");
        assert_eq!(trial.preview.as_ref(), Some(&command));
        assert_eq!(trial.preview_url, Some(format!("{address}?imaas-preview=orders")));
        let route =
            Api::<HttpRoute>::namespaced(self.client.clone(), "acme-dev").get("orders").await.unwrap();
        let asks = &route.spec.rules[0].matches;
        assert_eq!((asks[0].headers.len(), asks[1].query.len(), asks.len()), (1, 1, 2), "{asks:?}");
    }

    /// Back to an older one, amid the trial of another: it takes its turn once what was tried has gone.
    async fn goes_back_amid_a_trial(&self, next: impl Fn(&str, &str) -> String) {
        let older = self.state("dev").await.unwrap().current.unwrap();
        self.push("dev", &[("imaas.yaml", &next("newer", "rollout: {strategy: rolling}"))]);
        self.ready_until("it is the last good one", async || {
            let dev = self.state("dev").await?;
            (dev.trial.is_none() && dev.current == dev.last_good && dev.current? != older).then_some(())
        })
        .await;
        let runs = self.release_of("orders").await;
        self.push("dev", &[("imaas.yaml", &next("newest", CANARY))]);
        self.shows(shown("b 2", "b 1", NARROWED, &["orders 70", "orders-canary 30"])).await;
        let rollback = json!({ "target": older });
        self.decide("dev", DecisionAction::Rollback, rollback).await;
        until("the older one runs", async || {
            self.instances_are_ready("dev").await;
            match self.release_of("orders").await {
                Some(now) if now == older => {
                    assert_eq!(self.sizes().await.1, None, "a third version beside what was tried");
                    Some(())
                }
                now => {
                    assert_eq!(now, runs, "what runs stays until then");
                    None
                }
            }
        })
        .await;
    }
}

const NARROWED: &[&str] = &[MANAGED_BY];

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_tried_step_by_step_and_what_ran_before_serves_until_it_passed() {
    let scene = Scene::start().await;
    gateway::install_kinds(scene.lab.kubectl(), &Progress::silent()).await.unwrap();
    let environments = Api::<api::Environment>::all(scene.client.clone());
    let gateway = json!({ "name": "public", "namespace": "gateway-system" });
    let patch = Patch::Merge(json!({ "spec": { "domain": "dev.example.com", "gateway": gateway } }));
    environments.patch("dev", &PatchParams::default(), &patch).await.unwrap();
    scene.gateway_names(&["HTTPRouteQueryParamMatching"]).await;
    scene.push("dev", &[("imaas.yaml", &serving(IMAGE_OF_A, CANARY))]);
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    // The gateway says nothing here, which is told and stops nothing.
    scene.shows(shown("a 2", "", &[], &["orders"])).await;
    scene.ready_until("it is well", async || scene.state("dev").await?.last_good).await;

    // One of two instances, called by nobody until it is ready, then by 30 of 100, until somebody says so.
    scene.push("dev", &[("imaas.yaml", &serving(IMAGE_OF_B, CANARY))]);
    until("it is called by nobody", async || {
        (scene.shown().await? == shown("a 2", "b 1", NARROWED, &["orders"])).then_some(())
    })
    .await;
    scene.shows(shown("a 2", "b 1", NARROWED, &["orders 70", "orders-canary 30"])).await;
    scene.awaits("Paused", "step 1 of 2 with 30 of 100 requests").await;
    let trial = scene.state("dev").await.unwrap().trial.unwrap();
    scene.tells_how_to_look_at_it(&trial).await;

    // An operator that begins anew goes on where it was, also before it has read Git.
    let before = scene.deployment("orders-canary").await.unwrap();
    operator.kill();
    let operator = scene.operator().await;
    scene.two_looks().await;
    assert_eq!(scene.state("dev").await.unwrap().trial.unwrap(), trial);
    assert_eq!(
        scene.deployment("orders-canary").await.unwrap().metadata.generation,
        before.metadata.generation
    );
    assert_eq!(scene.deployment("orders-canary").await.unwrap().uid(), before.uid());

    // Paused, it does not go on but by a skip; the next step has both instances.
    scene.decide("dev", DecisionAction::Pause, json!({})).await;
    scene.awaits("Paused", "paused by nora").await;
    scene.decide("dev", DecisionAction::Skip, json!({})).await;
    scene.shows(shown("a 2", "b 2", NARROWED, &["orders 40", "orders-canary 60"])).await;
    scene.awaits("Paused", "step 2 of 2 with 60 of 100 requests: paused by nora").await;

    // A gateway that refuses the route sends it no request: its pause, which is short, does not begin.
    scene.gateway_says("orders", "False").await;
    scene.decide("dev", DecisionAction::Resume, json!({})).await;
    scene.awaits("Paused", "step 2 of 2, and no request comes, since the gateway refuses the route").await;
    scene.two_looks().await;
    let Trial { passed, since, weight, .. } = scene.state("dev").await.unwrap().trial.unwrap();
    assert_eq!((passed, since, weight), (1, None, 60));
    assert_eq!(scene.shown().await, Some(shown("a 2", "b 2", NARROWED, &["orders 40", "orders-canary 60"])));
    scene.gateway_says("orders", "True").await;

    // What passed takes the place of what ran, which everybody may call meanwhile.
    until("it takes its place", async || {
        (scene.shown().await? == shown("b 2", "b 2", &[], &["orders 40", "orders-canary 60"])).then_some(())
    })
    .await;
    scene.shows(shown("b 2", "", &[], &["orders"])).await;
    until("nothing holds", async || scene.state("dev").await?.held.is_empty().then_some(())).await;

    // A gateway that says nothing holds nothing.
    scene.gateway_is_silent("orders").await;

    // Another one is given up by a person: what ran before never left.
    let generation = scene.deployment("orders").await.unwrap().metadata.generation;
    let failing = format!("env: {{MODE: worse}}\n{CANARY}");
    scene.push("dev", &[("imaas.yaml", &serving(IMAGE_OF_B, &failing))]);
    scene.shows(shown("b 2", "b 1", NARROWED, &["orders 70", "orders-canary 30"])).await;
    scene.decide("dev", DecisionAction::Abort, json!({})).await;
    scene.shows(shown("b 2", "", &[], &["orders"])).await;
    scene.awaits("Failed", "nora aborted it: as the test says").await;
    assert_eq!(scene.deployment("orders").await.unwrap().metadata.generation, generation);

    // A newer commit takes the turn of one that is tried, at once.
    let next = |mode: &str, rollout: &str| serving(IMAGE_OF_B, &format!("env: {{MODE: {mode}}}\n{rollout}"));
    scene.push("dev", &[("imaas.yaml", &next("better", CANARY))]);
    scene.shows(shown("b 2", "b 1", NARROWED, &["orders 70", "orders-canary 30"])).await;
    let better = scene.state("dev").await.unwrap().trial.unwrap().release;
    scene.push("dev", &[("imaas.yaml", &next("best", BLUE_GREEN))]);

    // Blue/green: it stands whole, then all requests go to it, then it takes the place.
    scene.shows(shown("b 2", "b 2", &[TRACK], &["orders 0", "orders-canary 100"])).await;
    assert_ne!(scene.state("dev").await.unwrap().trial.unwrap().release, better);
    scene.awaits("RollingOut", "step 2 of 2 with 100 of 100 requests until ").await;
    scene
        .ready_until("it is done", async || {
            let best = scene.deployment("orders").await?.spec?.template.spec?.containers.remove(0).env?;
            let is_best = best.iter().any(|one| one.value.as_deref() == Some("best"));
            (is_best && scene.shown().await? == shown("b 2", "", &[], &["orders"])).then_some(())
        })
        .await;

    scene.goes_back_amid_a_trial(next).await;
    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_give_way_to_what_is_tried_and_come_back_when_it_crashes() {
    let consuming = |image: &str, more: &str| {
        let canary = "rollout: {strategy: canary, steps: [{weight: 30}]}";
        descriptor(image, &format!("type: worker\ninstances: many\nscaling: {{min: 3}}\n{canary}\n{more}"))
    };
    let scene = Scene::start().await;
    scene.push("dev", &[("imaas.yaml", &consuming(IMAGE_OF_A, ""))]);
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    let pods = Api::<Pod>::namespaced(scene.client.clone(), "acme-dev");
    let living = async || {
        let pods = pods.list(&ListParams::default()).await.unwrap();
        pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count()
    };
    let are = async |own: &str, beside: Option<&str>, most: usize| {
        scene
            .ready_until(&format!("{own} {beside:?}"), async || {
                assert!(living().await <= most, "more consume than are to");
                let sizes = scene.sizes().await;
                ((sizes.0.as_deref(), sizes.1.as_deref()) == (Some(own), beside)).then_some(())
            })
            .await;
    };
    are("a 3", None, 3).await;
    scene.ready_until("it is well", async || scene.state("dev").await?.last_good).await;

    scene.push("dev", &[("imaas.yaml", &consuming(IMAGE_OF_B, ""))]);
    are("a 2", Some("b 1"), 3).await;
    scene.awaits("Paused", "step 1 of 1 until somebody says: kubectl imaas rollout skip orders dev").await;
    until("it is given up", async || {
        scene.instances_crash("dev", IMAGE_OF_B).await;
        scene.state("dev").await?.failed
    })
    .await;
    are("a 3", None, 3).await;
    scene.awaits("Failed", "crashes").await;

    // The next one passes: first it makes room again, then it is rolled out as ever, with one more for a moment.
    scene.push("dev", &[("imaas.yaml", &consuming(IMAGE_OF_B, "env: {MODE: mended}\n"))]);
    are("a 2", Some("b 1"), 3).await;
    scene.awaits("Paused", "step 1 of 1").await;
    scene.decide("dev", DecisionAction::Skip, json!({})).await;
    are("b 3", None, 4).await;
    scene
        .ready_until("it is the last good one", async || {
            let dev = scene.state("dev").await?;
            (dev.trial.is_none() && dev.current == dev.last_good && dev.failed.is_none()).then_some(())
        })
        .await;
    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_follows_the_load_and_the_number_of_what_runs_stays_the_autoscalers() {
    let following = |image: &str| {
        let canary = "rollout: {strategy: canary, steps: [{weight: 50}]}";
        let text = format!("type: worker\ninstances: many\nscaling: {{min: 2, max: 9}}\n{canary}\n");
        descriptor(image, &text)
    };
    let scene = Scene::start().await;
    scene.push("dev", &[("imaas.yaml", &following(IMAGE_OF_A))]);
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    let are = async |own: &str, beside: Option<&str>| {
        scene
            .ready_until(&format!("{own} {beside:?}"), async || {
                let sizes = scene.sizes().await;
                ((sizes.0.as_deref(), sizes.1.as_deref()) == (Some(own), beside)).then_some(())
            })
            .await;
    };
    are("a 2", None).await;
    scene.ready_until("it is well", async || scene.state("dev").await?.last_good).await;

    // Nobody gives way to what is tried, whose share follows.
    scene.push("dev", &[("imaas.yaml", &following(IMAGE_OF_B))]);
    are("a 2", Some("b 1")).await;
    scene.awaits("Paused", "step 1 of 1 until").await;
    scene.load_asks_for(5).await;
    are("a 5", Some("b 3")).await;
    scene.awaits("Paused", "step 1 of 1 until").await;
    let most =
        async || scene.autoscalers().get_opt("orders").await.unwrap()?.spec.map(|spec| spec.max_replicas);
    scene.ready_until("what runs leaves room", async || most().await.filter(|most| *most == 6)).await;

    // By hand it is a share of that number, and what is left is the autoscaler's again.
    let until_then = (Timestamp::now() + SignedDuration::from_hours(1)).to_string();
    let by_hand = json!({ "replicas": 4, "expiresAt": until_then });
    scene.decide("dev", DecisionAction::Scale, by_hand).await;
    are("a 4", Some("b 2")).await;
    assert!(!scene.has_autoscaler().await);
    scene.decide("dev", DecisionAction::Resume, json!({})).await;
    until("load decides again", async || scene.has_autoscaler().await.then_some(())).await;
    scene.load_asks_for(3).await;
    are("a 3", Some("b 2")).await;

    // What passed has as many as there are.
    scene.awaits("Paused", "step 1 of 1 until").await;
    scene.decide("dev", DecisionAction::Skip, json!({})).await;
    are("b 3", None).await;
    scene.ready_until("all is its own again", async || most().await.filter(|most| *most == 9)).await;
    operator.stop().await;
    scene.end().await;
}

//! The operator dies after any of its writes, while a release gives way or people decide: the end is the same.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll},
};

use imaas_operator::api::{DecisionAction, DecisionState};
use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use tower::{Layer, Service};

use crate::scene::{IMAGE_OF_A, IMAGE_OF_B, Scene, descriptor, until};

/// Of each story, at least: the release or the decision, the Deployment, the board, an event.
const WRITES: i64 = 4;
const ENVIRONMENTS: &str = "environments.imaas.dev";

/// Lets so many writes pass, and then nothing at all.
#[derive(Clone)]
pub struct Death {
    left: Arc<AtomicI64>,
    /// What passes and is not answered yet, with what is left.
    open: Arc<AtomicI64>,
}

impl Death {
    fn after(writes: i64) -> Self {
        let count = || Arc::new(AtomicI64::new(writes));
        Self { left: count(), open: count() }
    }

    /// The last write is stored.
    fn has_come(&self) -> bool {
        self.open.load(Ordering::Relaxed) <= 0
    }
}

/// A connection that dies.
#[derive(Clone)]
pub struct Dying<S> {
    inner: S,
    death: Death,
}

impl<S> Layer<S> for Death {
    type Service = Dying<S>;

    fn layer(&self, inner: S) -> Dying<S> {
        Dying { inner, death: self.clone() }
    }
}

impl<S, B> Service<http::Request<B>> for Dying<S>
where
    S: Service<http::Request<B>>,
    S::Response: 'static,
    S::Error: 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let is_write = request.method() != http::Method::GET;
        let one = i64::from(is_write);
        if self.death.left.fetch_sub(one, Ordering::Relaxed) <= 0 {
            return Box::pin(std::future::pending());
        }
        let (answer, open) = (self.inner.call(request), self.death.open.clone());
        Box::pin(async move {
            let answer = answer.await;
            open.fetch_sub(one, Ordering::Relaxed);
            answer
        })
    }
}

impl Scene {
    async fn dying(&self, death: &Death) -> Client {
        let kubeconfig = Kubeconfig::read_from(self.lab.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        ClientBuilder::try_from(config).unwrap().with_layer(death).build()
    }

    /// An operator works until its death, or until `done`; then another one does.
    async fn dies(&self, writes: i64, mut done: impl AsyncFnMut() -> bool) -> crate::scene::Operator {
        let death = Death::after(writes);
        let operator = self.operator_by(self.dying(&death).await).await;
        until("its death, or the end", async || {
            let is_over = death.has_come() || done().await;
            is_over.then_some(())
        })
        .await;
        operator.kill();
        self.operator().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_it_dies_a_failed_release_gives_way_once() {
    let (scene, operator) = Scene::onboarded().await;
    let good = scene.settled("dev", IMAGE_OF_A).await;
    operator.stop().await;
    for writes in 1..=WRITES {
        let operator = scene.operator().await;
        let own = format!("environments: {{dev: {{env: {{TRY: \"{writes}\"}}}}}}\n");
        scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, &own))]);
        until("the second runs", async || scene.image("dev").await.filter(|live| live == IMAGE_OF_B)).await;
        let bad = until("it is told", async || {
            let state = scene.state("dev").await?;
            state.candidate.filter(|candidate| Some(candidate) == state.current.as_ref())
        })
        .await;
        operator.stop().await;

        let operator = scene
            .dies(writes, async || {
                scene.instances_crash("dev", IMAGE_OF_B).await;
                scene.state("dev").await.is_some_and(|state| state.current.as_ref() == Some(&good))
            })
            .await;
        let state = scene.gives_way("dev", (IMAGE_OF_B, IMAGE_OF_A)).await;
        assert_eq!(state.failed.unwrap().release, bad, "after {writes} writes");
        let told = scene.releases().get(&bad).await.unwrap().status.unwrap();
        assert_eq!(told.failures, 1, "after {writes} writes: {told:?}");
        scene.settled_on("dev", &good).await;

        // Tried again, wherever that ends.
        operator.stop().await;
        let retry = scene.decide("dev", DecisionAction::Retry, json!({})).await;
        let runs = async || scene.image("dev").await.is_some_and(|live| live == IMAGE_OF_B);
        let operator = scene.dies(writes, runs).await;
        scene.answer(&retry, DecisionState::Done).await;
        until("it is tried again", async || runs().await.then_some(())).await;
        scene.gives_way("dev", (IMAGE_OF_B, IMAGE_OF_A)).await;
        scene.settled_on("dev", &good).await;
        operator.stop().await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_it_dies_a_decision_is_taken_once() {
    let (scene, operator) = Scene::onboarded().await;
    let first = scene.settled("dev", IMAGE_OF_A).await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    let second = scene.settled("dev", IMAGE_OF_B).await;
    operator.stop().await;
    for writes in 1..=WRITES {
        let back = scene.decide("dev", DecisionAction::Rollback, json!({})).await;
        let runs = async |release: &str| {
            scene.state("dev").await.is_some_and(|state| state.current.as_deref() == Some(release))
        };
        let operator = scene.dies(writes, async || runs(&first).await).await;
        scene.answer(&back, DecisionState::InForce).await;
        scene.settled_on("dev", &first).await;
        operator.stop().await;

        let resume = scene.decide("dev", DecisionAction::Resume, json!({})).await;
        let operator = scene.dies(writes, async || runs(&second).await).await;
        scene.answer(&resume, DecisionState::Done).await;
        scene.answer(&back, DecisionState::Done).await;
        scene.settled_on("dev", &second).await;
        let state = scene.state("dev").await.unwrap();
        assert!(state.held.is_empty(), "after {writes} writes: {state:?}");
        operator.stop().await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_it_dies_a_gate_and_an_approval_let_in_once() {
    let (scene, operator) = Scene::onboarded().await;
    scene.settled("dev", IMAGE_OF_A).await;
    scene.settled("test", IMAGE_OF_A).await;
    scene.set(ENVIRONMENTS, "dev", r#""gates": ["load-test"]"#).await;
    scene.set(ENVIRONMENTS, "test", r#""approval": true"#).await;
    operator.stop().await;
    let mut image = IMAGE_OF_A;
    for writes in 1..=WRITES {
        image = if image == IMAGE_OF_A { IMAGE_OF_B } else { IMAGE_OF_A };
        let own = format!("environments: {{test: {{env: {{TRY: \"{writes}\"}}}}}}\n");
        let text = descriptor(image, &own);
        scene.push("dev", &[("imaas.yaml", &text)]);
        let commit = scene.push("test", &[("imaas.yaml", &text)]);
        let is_asked =
            async || scene.state("test").await.is_some_and(|state| state.asked.as_deref() == Some(image));
        let operator = scene.operator().await;
        scene.settled("dev", image).await;
        until("it is asked for", async || is_asked().await.then_some(())).await;
        operator.stop().await;

        let pass = scene.decide("dev", DecisionAction::Pass, json!({ "gate": "load-test" })).await;
        let approval = scene.decide("test", DecisionAction::Approve, json!({ "target": commit })).await;
        let runs = async || scene.image("test").await.is_some_and(|live| live == image);
        let operator = scene.dies(writes, runs).await;
        scene.answer(&pass, DecisionState::InForce).await;
        scene.answer(&approval, DecisionState::InForce).await;
        scene.settled("test", image).await;
        assert_eq!(
            scene.history("test").await.0.len(),
            usize::try_from(writes).unwrap() + 1,
            "one release each"
        );
        operator.stop().await;
    }
    scene.end().await;
}

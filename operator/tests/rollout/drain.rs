//! A node is drained while instances are missing: what the eviction API of a real API server lets go, with the real
//! controllers behind it.

use imaas_operator::release::down_since;

use super::*;

impl Scene {
    /// As a drain does; whether it is let.
    async fn evict(&self, pod: &str) -> bool {
        let path = format!("/api/v1/namespaces/acme-dev/pods/{pod}/eviction");
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": pod, "namespace": "acme-dev" },
        });
        let told =
            self.lab.kubectl().run(&["create", "--raw", &path, "-f", "-"], Some(&eviction.to_string())).await;
        let refused = told.as_ref().err().map(ToString::to_string);
        assert!(refused.is_none_or(|refused| refused.contains("disruption budget")), "{told:?}");
        told.is_ok()
    }

    /// `expected`, `healthy` and how many may go, once the budget of this name is as written.
    async fn budget(&self, name: &str) -> Option<(i32, i32, i32)> {
        let budget = self.get::<PodDisruptionBudget>(name).await?;
        let status =
            budget.status.filter(|status| status.observed_generation == budget.metadata.generation)?;
        Some((status.expected_pods, status.current_healthy, status.disruptions_allowed))
    }

    async fn most(&self) -> Option<IntOrString> {
        self.get::<PodDisruptionBudget>("orders").await?.spec?.max_unavailable
    }

    /// Since when the budget, as it is written now, lets none go, and when that is for as long as a start may take.
    async fn refused(&self) -> (Timestamp, Timestamp) {
        let PodDisruptionBudget { metadata, status, spec: _ } = self.get("orders").await.unwrap();
        let writers = metadata.managed_fields.unwrap().into_iter();
        let written = writers.filter(|one| one.subresource.is_none()).map(|one| one.time.unwrap().0).max();
        let refused = status.unwrap().conditions.unwrap().remove(0);
        assert_eq!((refused.status.as_str(), refused.reason.as_str()), ("False", "InsufficientPods"));
        let deployment = self.get::<Deployment>("orders").await.unwrap();
        let start = deployment.spec.as_ref().unwrap().progress_deadline_seconds.unwrap();
        let since = refused.last_transition_time.0.max(written.unwrap());
        let start = SignedDuration::from_secs(start.into());
        let over = down_since(&deployment).unwrap().max(since + start);
        (over - start, over)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_each_instance_that_does_not_come_as_long_as_a_start_may_take_and_never_takes_the_last()
 {
    let scene = Scene::start().await;
    let scaled = scene.release("{ports: [{name: http, port: 8000}], scaling: {min: 2, max: 6}}").await;
    scene.settle(&scaled).await;
    until("one may go", async || (scene.budget("orders").await == Some((2, 2, 1))).then_some(())).await;

    scene.room(3).await;
    scene.load_asks_for(5).await;
    until("two are missing", async || {
        scene.say_ready(Some(8000)).await;
        scene.roll_out(&scaled).await;
        let deployment = scene.get::<Deployment>("orders").await?;
        (scene.budget("orders").await? == (5, 3, 0) && down_since(&deployment).is_some()).then_some(())
    })
    .await;
    let (_, over) = scene.refused().await;
    let early = over - SignedDuration::from_secs(1);
    assert!(scene.roll_out_at(&scaled, early).await.1, "it looks again by itself");
    assert_eq!(scene.most().await, Some(IntOrString::Int(1)));
    let pods = scene.pods_with(8000).await;
    assert!(!scene.evict(&pods[0]).await, "they may be starting");

    // One that is missing is waited for no more, and the other as long again.
    assert!(scene.roll_out_at(&scaled, over).await.1, "it looks again by itself");
    assert_eq!(scene.most().await, Some(IntOrString::Int(2)));
    until("it says so", async || (scene.budget("orders").await == Some((5, 3, 0))).then_some(())).await;
    let (since, over) = scene.refused().await;
    scene.roll_out_at(&scaled, over).await;
    assert_eq!(scene.most().await, Some(IntOrString::Int(3)));
    until("one may go", async || (scene.budget("orders").await == Some((5, 3, 1))).then_some(())).await;
    // Kubernetes tells times in whole seconds.
    let another = since + SignedDuration::from_secs(1);
    until("this is another second", async || (Timestamp::now() > another).then_some(())).await;
    assert!(scene.evict(&pods[0]).await);
    assert!(!scene.evict(&pods[1]).await, "one at a time");
    until("it is counted no more", async || (scene.budget("orders").await == Some((5, 2, 0))).then_some(()))
        .await;

    // Nor the next one before the first had the time to come back.
    let (_, next) = scene.refused().await;
    assert!(next > over);
    scene.roll_out_at(&scaled, next - SignedDuration::from_secs(1)).await;
    assert_eq!(scene.most().await, Some(IntOrString::Int(3)));
    assert!(!scene.evict(&pods[1]).await);
    scene.roll_out_at(&scaled, next).await;
    until("one may go", async || (scene.budget("orders").await == Some((5, 2, 1))).then_some(())).await;

    // The last one stays.
    assert!(scene.evict(&pods[1]).await);
    until("it is counted no more", async || (scene.budget("orders").await == Some((5, 1, 0))).then_some(()))
        .await;
    let (_, next) = scene.refused().await;
    scene.roll_out_at(&scaled, next).await;
    assert_eq!(scene.most().await, Some(IntOrString::Int(4)));
    assert!(!scene.evict(&pods[2]).await);

    // All are there again.
    scene.room(9).await;
    scene.load_asks_for(2).await;
    scene.healthy(&scaled).await;
    assert_eq!(scene.most().await, Some(IntOrString::Int(1)));

    scene.watches.abort();
    scene.lab.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_tried_and_does_not_get_ready_stops_no_drain() {
    let scene = Scene::start().await;
    let runs = scene.release("{ports: [{name: http, port: 8000}], scaling: {min: 2}}").await;
    scene.settle(&runs).await;
    let mut tried = scene.release("{ports: [{name: http, port: 8001}], scaling: {min: 2}}").await;
    let beside = async |tried: &Release| {
        let trial = Trial { release: Some(tried), ..Trial::default() };
        scene.roll_out_beside(&runs, trial, Timestamp::now()).await;
    };
    until("it is there and not ready", async || {
        beside(&tried).await;
        (scene.budget("orders-canary").await == Some((2, 0, 0))).then_some(())
    })
    .await;
    until("one of what runs may go", async || {
        (scene.budget("orders").await == Some((2, 2, 1))).then_some(())
    })
    .await;
    assert!(scene.evict(&scene.pods_with(8000).await[0]).await);

    // Once it is called, one at a time.
    until("it is ready", async || {
        beside(&tried).await;
        scene.say_ready(Some(8001)).await;
        (scene.budget("orders-canary").await == Some((2, 2, 1))).then_some(())
    })
    .await;
    let pods = scene.pods_with(8001).await;
    assert!(scene.evict(&pods[0]).await);
    assert!(!scene.evict(&pods[1]).await);

    tried.spec.replicas = 0;
    beside(&tried).await;
    scene.settle(&runs).await;
    assert!(scene.get::<PodDisruptionBudget>("orders-canary").await.is_none());

    scene.watches.abort();
    scene.lab.stop().await.unwrap();
}

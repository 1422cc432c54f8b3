//! The number of instances of what load scales: whose it is, on a real API server with its real autoscaler. There are no
//! metrics in this cluster, so it does by itself what the bounds ask for; what load asks for is said by the test, in its
//! name and in its way.

use imaas_operator::release::scaling::stuck;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;

use super::*;

const AUTOSCALER: &str = "kube-controller-manager";
/// Between two looks of the autoscaler are 15 seconds.
const LOOKS: Duration = Duration::from_secs(20);

impl Scene {
    /// As the autoscaler does when load asks for so many.
    pub(super) async fn load_asks_for(&self, replicas: i32) {
        self.scale(replicas, AUTOSCALER).await;
    }

    async fn scale(&self, replicas: i32, manager: &str) {
        let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        let scale = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        let deployments = Api::<Deployment>::namespaced(self.client.clone(), "acme-dev");
        deployments.patch_scale("orders", &params, &scale).await.unwrap();
    }

    /// The number, and who owns it.
    async fn replicas(&self) -> (i32, Vec<String>) {
        let deployment = self.get::<Deployment>("orders").await.unwrap();
        let owns = |fields: &serde_json::Value| !fields["f:spec"]["f:replicas"].is_null();
        let managers = deployment.metadata.managed_fields.unwrap().into_iter();
        let owners = managers.filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| owns(&fields.0)));
        (deployment.spec.unwrap().replicas.unwrap(), owners.filter_map(|entry| entry.manager).collect())
    }

    async fn autoscaler(&self) -> Option<HorizontalPodAutoscaler> {
        self.get("orders").await
    }

    /// Passes, also after a restart, change neither the number nor its owner.
    async fn is_left_alone(&mut self, release: &Release, (number, owner): (i32, &str)) {
        for _ in 0..3 {
            for _ in 0..3 {
                self.roll_out(release).await;
                assert_eq!(self.replicas().await, (number, vec![owner.to_owned()]));
            }
            self.restart().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_instances_has_one_writer_from_a_fixed_one_to_load_and_back() {
    let mut scene = Scene::start().await;
    let fixed = scene.release("{ports: [{name: http, port: 8000}], scaling: {min: 2}}").await;
    scene.settle(&fixed).await;
    scene.is_left_alone(&fixed, (2, "imaas-operator")).await;

    // It is handed over as it is, and stays so until load asks for another number.
    let scaled = scene.release("{ports: [{name: http, port: 8000}], scaling: {min: 1, max: 6}}").await;
    scene.roll_out(&scaled).await;
    scene.is_left_alone(&scaled, (2, "imaas-handed-over")).await;
    let bounds = |autoscaler: HorizontalPodAutoscaler| {
        let spec = autoscaler.spec.unwrap();
        (spec.min_replicas, spec.max_replicas)
    };
    assert_eq!(scene.autoscaler().await.map(bounds), Some((Some(1), 6)));
    scene.load_asks_for(5).await;
    scene.is_left_alone(&scaled, (5, AUTOSCALER)).await;
    assert_eq!(scene.pods_with(8000).await.len(), 5);
    scene.settle(&scaled).await;

    // Another version has as many, none of which leaves before there is another.
    let next = scene.release("{ports: [{name: http, port: 8001}], scaling: {min: 1, max: 6}}").await;
    until("the next version has its first pod", async || {
        scene.roll_out(&next).await;
        scene.pods_with(8001).await.pop()
    })
    .await;
    assert_eq!(scene.pods_with(8000).await.len(), 5);
    scene.is_left_alone(&next, (5, AUTOSCALER)).await;
    scene.settle(&next).await;
    assert_eq!(scene.pods_with(8001).await.len(), 5);

    // Nobody else takes what is out of bounds back: the autoscaler does.
    let less = scene.release("{ports: [{name: http, port: 8001}], scaling: {min: 1, max: 3}}").await;
    scene.roll_out(&less).await;
    until("the autoscaler takes away what is too many", async || {
        let phase = scene.roll_out(&less).await;
        let (number, owners) = scene.replicas().await;
        assert_eq!(owners, [AUTOSCALER]);
        (number == 3 && phase == Phase::Healthy).then_some(())
    })
    .await;
    assert_eq!(scene.autoscaler().await.map(bounds), Some((Some(1), 3)));
    let blind = until("the autoscaler says that it has nothing to measure", async || {
        stuck(&scene.autoscaler().await?)
    })
    .await;
    assert!(blind.message.contains("metrics"), "{}", blind.message);

    // Switched off by hand it would stay so for ever.
    scene.scale(0, "kubectl").await;
    until("it runs again, and the number is handed over again", async || {
        scene.roll_out(&less).await;
        (scene.replicas().await == (1, texts(&["imaas-handed-over"]))).then_some(())
    })
    .await;

    // Back: the autoscaler goes, and never sees the number that is the operator's again.
    scene.load_asks_for(3).await;
    scene.roll_out(&fixed).await;
    assert!(scene.autoscaler().await.is_none());
    assert_eq!(scene.replicas().await, (2, texts(&["imaas-operator"])));
    tokio::time::sleep(LOOKS).await;
    scene.is_left_alone(&fixed, (2, "imaas-operator")).await;

    // And from nothing: there are as many as there must be from the first moment on.
    scene.lab.kubectl().run(&["delete", "deployment", "orders", "-nacme-dev"], None).await.unwrap();
    until("it is gone", async || scene.get::<Deployment>("orders").await.is_none().then_some(())).await;
    let many = scene.release("{ports: [{name: http, port: 8000}], scaling: {min: 3, max: 6}}").await;
    until("it is made, and its number handed over", async || {
        scene.roll_out(&many).await;
        let deployment = scene.get::<Deployment>("orders").await?;
        assert_eq!(deployment.spec?.replicas, Some(3));
        (scene.replicas().await.1 == ["imaas-handed-over"]).then_some(())
    })
    .await;

    scene.watches.abort();
    scene.lab.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_stops_what_load_asks_for_is_named_and_what_runs_serves_on() {
    let scene = Scene::start().await;
    let scaled = scene.release("{ports: [{name: http, port: 8000}], scaling: {min: 1, max: 6}}").await;
    scene.settle(&scaled).await;
    scene.room(2).await;
    scene.load_asks_for(4).await;
    let told = until("the quota is named", async || {
        scene.say_ready(Some(8000)).await;
        match scene.roll_out(&scaled).await {
            Phase::Blocked { message, .. } => Some(message),
            _ => None,
        }
    })
    .await;
    assert!(told.contains("exceeded quota: room"), "{told}");
    assert_eq!(scene.pods_with(8000).await.len(), 2);
    assert_eq!(scene.replicas().await, (4, texts(&[AUTOSCALER])));
    scene.load_asks_for(2).await;
    scene.healthy(&scaled).await;

    scene.watches.abort();
    scene.lab.stop().await.unwrap();
}

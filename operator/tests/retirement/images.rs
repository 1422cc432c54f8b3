//! A tenant's area of the registry, when the tenant goes.

use imaas_operator::registry::digest::Digest;
use serde_json::json;

use super::{
    chart::until,
    registry::assert_done,
    scene::{Scene, later, message},
};

const NOT_YET: &str = "its images are not deleted yet";

impl Scene {
    async fn has_tenant(&self, name: &str) {
        let tenant = json!({
            "apiVersion": "imaas.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name }, "spec": {},
        });
        self.lab.kubectl().apply(&tenant.to_string()).await.unwrap();
        self.ready(name, "Succeeded").await;
    }

    async fn has_image(&self, image: &str) -> Digest {
        let tenant = image.split_once('/').unwrap().0;
        assert_done(&self.registry.push(&format!("{tenant}.push"), image).await);
        self.digest(image).await.unwrap()
    }

    /// `<tenant>/<repository>:<tag>`
    async fn digest(&self, image: &str) -> Option<Digest> {
        let (tenant, rest) = image.split_once('/').unwrap();
        let (repository, tag) = rest.split_once(':').unwrap();
        self.registry.client().digest(tenant, repository, tag).await.unwrap()
    }

    async fn is_meant_to_go(&self, tenant: &str) {
        let confirm = format!("imaas.dev/confirm-delete={}", self.uid(&["tenants.imaas.dev", tenant]).await);
        self.kubectl(&["annotate", "tenants.imaas.dev", tenant, &confirm]).await;
        self.kubectl(&["delete", "tenants.imaas.dev", tenant, "--wait=false"]).await;
    }

    async fn waits_for_images(&self, tenant: &str) {
        let is_waiting = |object: &serde_json::Value| message(object, "Ready").contains(NOT_YET);
        until(&self.lab, &["tenants.imaas.dev", tenant], is_waiting).await;
        let home = format!("{tenant}-home");
        let home = self.lab.kubectl().get(&["namespace", &home]).await.unwrap();
        assert!(home["metadata"].get("deletionTimestamp").is_none(), "what names the images stays");
    }
}

pub async fn those_of_a_tenant_go_with_it_when_it_is_meant(scene: &mut Scene) {
    for tenant in ["shop", "shop-b", "kept"] {
        scene.has_tenant(tenant).await;
    }
    // The first of these has a tag no more: a release alone names it.
    let released = scene.has_image("shop/orders:head").await;
    let layer = scene.registry.layer("another");
    let image = scene.registry.image("shop/orders:head");
    let append = ["append", "--new_layer", layer.to_str().unwrap(), "--new_tag", &image];
    assert_done(&scene.registry.crane("shop.push", &append).await);
    let release = json!({
        "apiVersion": "imaas.dev/v1alpha1", "kind": "Release",
        "metadata": { "name": "orders-dev-1", "namespace": "shop-home" },
        "spec": {
            "service": "orders", "environment": "dev", "commit": "c", "buildId": "b", "image": "i", "digest": released,
            "runtime": "container", "cause": "Commit", "type": "api", "many": true, "strategy": "rolling",
            "replicas": 1, "template": {},
        },
    });
    scene.lab.kubectl().apply(&release.to_string()).await.unwrap();
    for image in ["shop/0/base:one", "shop-b/orders:head", "kept/orders:head"] {
        scene.has_image(image).await;
    }

    // Where nobody said that it is meant, nothing goes.
    scene.kubectl(&["delete", "tenants.imaas.dev", "kept", "--timeout=30s"]).await;
    assert!(scene.digest("kept/orders:head").await.is_some());

    // What is read-only is waited for, also by an operator that knows nothing of it yet.
    scene.registry_is_read_only(true).await;
    scene.is_meant_to_go("shop").await;
    scene.waits_for_images("shop").await;
    scene.kill();
    scene.registry_is_read_only(false).await;
    assert!(scene.digest("shop/0/base:one").await.is_some());
    scene.restart().await;
    scene.gone(&["tenants.imaas.dev", "shop"]).await;
    for image in ["shop/orders:head", "shop/0/base:one"] {
        assert_eq!(scene.digest(image).await, None, "{image}");
    }
    assert!(!scene.registry.client().exists("shop", "orders", &released).await.unwrap());
    for image in ["shop-b/orders:head", "kept/orders:head"] {
        assert!(scene.digest(image).await.is_some(), "{image} is another's");
    }
}

pub async fn a_registry_that_deletes_nothing_is_waited_for_an_hour(scene: &mut Scene) {
    scene.has_tenant("late").await;
    scene.has_image("late/orders:head").await;
    scene.registry_is_read_only(true).await;
    scene.is_meant_to_go("late").await;
    scene.waits_for_images("late").await;
    later(1);
    scene.look("late").await;
    scene.gone(&["tenants.imaas.dev", "late"]).await;
    assert!(scene.digest("late/orders:head").await.is_some());
    scene.registry_is_read_only(false).await;
}

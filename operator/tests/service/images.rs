//! The images of a service that ends go with it, and hold up its end for an hour at the most.

use std::collections::BTreeSet;

use crate::{
    registry::TAGGED,
    scene::{IMAGE_OF_A, IMAGE_OF_B, Scene, descriptor, until},
};

/// Long over, whatever the periods.
const LONG_AGO: &str = "2020-01-01T00:00:00Z";

impl Scene {
    /// Onboards the service, with two releases in dev.
    async fn has_history(&self) {
        self.onboard(true).await;
        self.onboard(false).await;
        for image in [IMAGE_OF_B, IMAGE_OF_A] {
            self.push("dev", &[("imaas.yaml", &descriptor(image, ""))]);
            until("dev runs it", async || self.image("dev").await.filter(|live| live == image)).await;
        }
        until("it is held", async || {
            let service = self.services().get("orders").await.unwrap();
            service.metadata.finalizers.map(|_| ())
        })
        .await;
    }

    /// Somebody means it, and does not wait.
    async fn delete_now(&self) {
        let uid = self.services().get("orders").await.unwrap().metadata.uid.unwrap();
        let confirmation = format!("imaas.dev/confirm-delete={uid}");
        self.kubectl(&["annotate", "isvc", "orders", "-nacme-home", &confirmation]).await;
        self.kubectl(&["delete", "isvc", "orders", "-nacme-home", "--wait=false"]).await;
    }

    async fn is_gone(&self) {
        until("the service is gone", async || {
            self.services().get_opt("orders").await.unwrap().is_none().then_some(())
        })
        .await;
        assert_eq!(self.history("dev").await.0.len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_go_with_their_service_before_what_names_them() {
    let mut scene = Scene::start().await;
    let operator = scene.operator().await;

    // A registry that is read-only is waited for; nothing runs any more, and what names the images stays.
    scene.has_history().await;
    scene.registry.refuse_deletions(true);
    scene.delete_now().await;
    let told = until("it says what it waits for", async || {
        let conditions = scene.board().await.conditions;
        conditions.into_iter().find(|one| one.message.contains("its images are not deleted yet"))
    })
    .await;
    assert_eq!(told.reason, "RegistryRefused");
    assert_eq!((scene.image("dev").await, scene.history("dev").await.0.len()), (None, 2));
    assert_eq!(scene.registry.deleted(), BTreeSet::new());
    scene.registry.refuse_deletions(false);
    // It may have been tried again already.
    let look = ["annotate", "isvc", "orders", "-nacme-home", "imaas.dev/reconcile-requested=1"];
    let _ = scene.lab.kubectl().run(&look, None).await;
    scene.is_gone().await;
    let all = BTreeSet::from([TAGGED, IMAGE_OF_A, IMAGE_OF_B].map(|digest| format!("acme/orders@{digest}")));
    assert_eq!(scene.registry.deleted(), all);

    // One that was to end long ago waits no more.
    scene.registry.refuse_deletions(true);
    scene.has_history().await;
    let label = ["label", "isvc", "orders", "-nacme-home", "app.kubernetes.io/managed-by=imaas-operator"];
    scene.kubectl(&label).await;
    let marks =
        ["imaas.dev/orphaned-since", "imaas.dev/retiring-since"].map(|mark| format!("{mark}={LONG_AGO}"));
    scene.kubectl(&["annotate", "isvc", "orders", "-nacme-home", &marks[0], &marks[1]]).await;
    scene.is_gone().await;
    assert_eq!(scene.registry.deleted(), all, "and nothing more was deleted");
    operator.stop().await;

    // Nor is anything deleted that is not the operator's to delete.
    scene.registry.refuse_deletions(false);
    scene.deletes_images = false;
    let operator = scene.operator().await;
    scene.has_history().await;
    scene.delete_now().await;
    scene.is_gone().await;
    assert_eq!(scene.registry.deleted(), all);

    operator.stop().await;
    scene.end().await;
}

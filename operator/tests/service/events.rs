//! What the registry tells brings an image sooner than the interval, and nothing that it tells does more.

use std::time::Duration;

use rcgen::KeyPair;

use crate::{
    registry::signature_of,
    scene::{Scene, digest, reasons, until},
};

const PLAIN: &str = "apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_comes_is_run_at_once_and_what_nobody_waits_for_costs_no_look() {
    let mut scene = Scene::start().await;
    scene.interval = Duration::from_hours(1);
    let first = scene.push("dev", &[("imaas.yaml", PLAIN), ("main.go", "package one")]);
    scene.onboard(true).await;
    scene.onboard(false).await;
    let operator = scene.operator().await;
    let runs = async |wanted: String| {
        until("dev runs it", async || scene.image("dev").await.filter(|image| *image == wanted)).await;
    };
    until("dev waits for its image", async || {
        reasons(&scene.board().await, "dev").contains(&"ImageMissing".to_owned()).then_some(())
    })
    .await;

    scene.registry.has(&first, &digest('4'));
    operator.hears("orders", &first).await;
    runs(digest('4')).await;

    // CI was faster than the look at Git.
    let second = scene.push("dev", &[("main.go", "package two")]);
    scene.registry.has(&second, &digest('5'));
    operator.hears("orders", &second).await;
    runs(digest('5')).await;

    // A digest that the descriptor names and the registry did not have.
    let third = scene.push("dev", &[("main.go", "package three")]);
    operator.hears("orders", &third).await;
    until("dev waits for its image", async || {
        reasons(&scene.board().await, "dev").contains(&"ImageMissing".to_owned()).then_some(())
    })
    .await;

    // Neither a tag that is no commit, nor a digest that nobody names, nor what is nobody's.
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.git.clear_requests();
    for (service, reference) in
        [("orders", "latest"), ("orders", &digest('6')), ("nobody", &third), ("orders/../x", &third)]
    {
        operator.hears(service, reference).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.git.requests().len(), 0);

    // However many are told, the look is one.
    for digit in "0123456789abcdef".chars() {
        operator.hears("orders", &digit.to_string().repeat(40)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let looks =
        scene.git.requests().iter().filter(|request| request.path.ends_with("/git-upload-pack")).count();
    assert_eq!(looks, 1, "{:?}", scene.git.requests());
    assert_eq!(scene.image("dev").await, Some(digest('5')));

    // What comes later than the image: its signature.
    let key = KeyPair::generate().unwrap();
    scene.asks_for_signatures("dev", &[&key]).await;
    scene.registry.has(&third, &digest('6'));
    operator.hears("orders", &third).await;
    until("dev waits for a signature", async || {
        reasons(&scene.board().await, "dev").contains(&"Unsigned".to_owned()).then_some(())
    })
    .await;
    scene.registry.is_signed(&digest('6'), &key, ("registry.example.com/acme/orders", &digest('6')));
    operator.hears("orders", &signature_of(&digest('6'))).await;
    runs(digest('6')).await;
    operator.stop().await;
    scene.end().await;
}

//! What retention deleted frees no byte before garbage is collected, in a window in which the registry is read-only.

use std::{collections::BTreeMap, fs, process::Command, sync::Arc};

use imaas_operator::registry::{removal::delete_repository, survey::Survey};
use lab::{Progress, cache};

use crate::scene::*;

/// As `registry::window` sets it.
const READ_ONLY: [(&str, &str); 1] = [("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{\"enabled\": true}")];

/// As the `CronJob` of the chart calls it: without `--delete-untagged`.
async fn collect(lab: &Lab) -> String {
    let program = cache::binary_async("registry", &Progress::silent()).await.unwrap();
    let mut command = Command::new(program);
    command.arg("garbage-collect").arg(lab.dir.path().join("registry.yaml"));
    let output = command.env("OTEL_TRACES_EXPORTER", "none").output().unwrap();
    assert_done(&output)
}

/// All bytes of an image, as a client unpacks them.
async fn pulled(lab: &Lab, image: &str) -> Vec<u8> {
    let tar = lab.dir.path().join("pulled.tar");
    assert_done(&lab.crane("acme.pull", &["export", &lab.image(image), tar.to_str().unwrap()]).await);
    fs::read(tar).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_images_are_freed_in_a_read_only_window_and_the_live_one_stays_bit_for_bit() {
    let pair = es256();
    let mut lab = Lab::start(&pair).await;
    for (image, layers) in [
        ("acme/orders:live", &[('a', 2), ('b', 1)][..]),
        ("acme/orders:old", &[('a', 2), ('c', 3)]),
        ("acme/retired:one", &[('a', 2), ('d', 1)]),
    ] {
        assert_done(&lab.push_layers("acme.push", image, layers).await);
    }
    // The live one lost its tag to another image, and has none since: only a release names it.
    let client = lab.client();
    let live = client.digest("acme", "orders", "live").await.unwrap().unwrap();
    assert_done(&lab.push_layers("acme.push", "acme/orders:live", &[('b', 1)]).await);
    let reference = format!("acme/orders@{live}");
    let before = (pulled(&lab, &reference).await, lab.bytes_on_disk());

    let old = client.digest("acme", "orders", "old").await.unwrap().unwrap();
    assert!(client.delete("acme/orders", &old).await.unwrap());
    let survey = Survey::new(Arc::new(lab.client()));
    assert_eq!(delete_repository(&survey, "acme", "retired", [].into()).await.unwrap(), 1);
    assert_eq!(lab.bytes_on_disk(), before.1, "nothing is freed yet");

    lab.restart_registry_with(&[&pair], &READ_ONLY).await;
    let refused = lab.push("acme.push", "acme/orders:new").await;
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("405 Method Not Allowed"), "{told}");
    assert!(client.delete("acme/orders", &live).await.is_err(), "nor does retention delete meanwhile");
    assert_eq!(pulled(&lab, &reference).await, before.0, "pulls go on");
    collect(&lab).await;
    let freed = before.1 - lab.bytes_on_disk();
    assert!(freed > 4 << 20, "layers c and d, {freed} bytes");
    assert_eq!(pulled(&lab, &reference).await, before.0);

    // A crash in the window: the next run does all of it again.
    lab.restart_registry_with(&[&pair], &READ_ONLY).await;
    let again = lab.bytes_on_disk();
    collect(&lab).await;
    assert_eq!(lab.bytes_on_disk(), again);
    lab.restart_registry(&[&pair]).await;
    assert_done(&lab.push("acme.push", "acme/orders:new").await);
    assert_eq!(pulled(&lab, &reference).await, before.0);
    assert_done(&lab.crane("acme.pull", &["validate", "--remote", &lab.image(&reference)]).await);
    let named = BTreeMap::from([("acme/orders".to_owned(), [live].into())]);
    let mut area = survey.area("acme", ["acme/orders"], &named).await.unwrap();
    survey.weigh("acme", &mut area).await.unwrap();
    assert_eq!(area.usage().bytes, lab.bytes_on_disk(), "what is counted is what is left");
}

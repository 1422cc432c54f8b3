//! What is removed is removed altogether, however much it is.

use std::{collections::BTreeMap, fs, sync::Arc};

use imaas_operator::registry::{catalog::AREA_MAX, removal::delete_area, survey::Survey};

use crate::scene::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_more_than_is_looked_at_leaves_nothing_in_the_registry() {
    let lab = Lab::start(&es256()).await;
    for image in ["acme/many:one", "acme/z/last:one", "acme-b/orders:one"] {
        let tenant = image.split_once('/').unwrap().0;
        assert_done(&lab.push(&format!("{tenant}.push"), image).await);
    }
    // Distribution's own form: what it would be after as many pushes, and deletions that were cut off.
    let root = lab.dir.path().join("images/docker/registry/v2/repositories/acme");
    let tags = root.join("many/_manifests/tags");
    for number in 0..1_500 {
        let current = tags.join(format!("gone-{number}/current"));
        fs::create_dir_all(&current).unwrap();
        fs::write(current.join("link"), format!("sha256:{}", "0".repeat(64))).unwrap();
    }
    for number in 0..=AREA_MAX {
        fs::create_dir_all(root.join(format!("empty/{number:05}/_manifests"))).unwrap();
    }

    let survey = Survey::new(Arc::new(lab.client()));
    assert_eq!(delete_area(&survey, "acme", &BTreeMap::new()).await.unwrap(), 2);
    let client = lab.client();
    for (repository, tag) in [("many", "one"), ("many", "gone-7"), ("z/last", "one")] {
        assert_eq!(client.digest("acme", repository, tag).await.unwrap(), None, "{repository}:{tag}");
    }
    assert!(client.digest("acme-b", "orders", "one").await.unwrap().is_some(), "another tenant's");
    assert_eq!(delete_area(&survey, "acme", &BTreeMap::new()).await.unwrap(), 0, "begun again");
}

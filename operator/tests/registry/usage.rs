//! What a tenant has in the registry is counted as it lies on the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
};

use imaas_operator::registry::{
    digest::Digest,
    error::RegistryError,
    survey::{Survey, TAGS_MAX},
    usage::Area,
};

use crate::scene::*;

async fn area(survey: &Survey, tenant: &str) -> Area {
    let repositories = survey.registry().repositories().await.unwrap();
    let own = repositories.iter().map(String::as_str).filter(|name| name.starts_with(&format!("{tenant}/")));
    survey.area(tenant, own, &BTreeMap::new()).await.unwrap()
}

/// Requests of manifests that the registry has answered so far, by method.
fn asked(lab: &Lab, method: &str) -> usize {
    let log = fs::read_to_string(lab.dir.path().join("registry.log")).unwrap();
    let of_manifest = format!("http.request.method={method}");
    let lines = log.lines().filter(|line| line.contains("response completed"));
    lines.filter(|line| line.contains(&of_manifest) && line.contains("/manifests/")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_blob_is_counted_once_as_it_lies_on_the_disk() {
    let lab = Lab::start(&es256()).await;
    for (image, layers) in [
        ("acme/orders:one", &[('a', 1), ('b', 2)][..]),
        ("acme/orders:two", &[('b', 2)]),
        ("acme/deep/er/billing:one", &[('b', 2), ('c', 1)]),
        ("acme/orders:arm", &[('d', 1)]),
    ] {
        assert_done(&lab.push_layers("acme.push", image, layers).await);
    }
    let [one, arm] = ["one", "arm"].map(|tag| lab.image(&format!("acme/orders:{tag}")));
    let index = lab.image("acme/orders:multi");
    assert_done(&lab.crane("acme.push", &["index", "append", "-m", &one, "-m", &arm, "-t", &index]).await);
    let tag = ["tag", &lab.image("acme/orders:two"), "again"];
    assert_done(&lab.crane("acme.push", &tag).await);

    let survey = Survey::new(Arc::new(lab.client()));
    let usage = area(&survey, "acme").await.usage();
    assert_eq!(usage.bytes, lab.bytes_on_disk(), "all that is there is this tenant's");
    assert_eq!((usage.images, usage.repositories), (5, 2), "one, two, arm, multi; billing");

    // Another tenant's are not counted, and what both have is counted for each.
    assert_done(&lab.push_layers("a.push", "a/orders:one", &[('a', 1), ('b', 2)]).await);
    assert_eq!(area(&survey, "acme").await.usage(), usage);
    let shared = area(&survey, "a").await.usage();
    assert!(shared.bytes > 3 << 20 && shared.bytes < 4 << 20, "{shared:?}");
    assert_eq!(area(&survey, "beta").await.usage().bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_is_read_once_and_a_moved_tag_is_seen() {
    let lab = Lab::start(&es256()).await;
    for tag in ["one", "two", "three"] {
        assert_done(&lab.push("acme.push", &format!("acme/orders:{tag}")).await);
    }
    let survey = Survey::new(Arc::new(lab.client()));
    let first = area(&survey, "acme").await;
    let before = (asked(&lab, "GET"), asked(&lab, "HEAD"));
    assert_eq!(area(&survey, "acme").await, first);
    let after = (asked(&lab, "GET"), asked(&lab, "HEAD"));
    assert_eq!((after.0 - before.0, after.1 - before.1), (0, 3), "each tag is asked for, nothing read again");

    assert_done(&lab.crane("acme.push", &["tag", &lab.image("acme/orders:one"), "two"]).await);
    let moved = area(&survey, "acme").await;
    assert_eq!(moved.usage().images, 2, "what no tag names any more cannot be seen");
    survey.forget_unseen();
    survey.forget_unseen();
    let read = asked(&lab, "GET");
    assert_eq!(area(&survey, "acme").await, moved);
    assert_eq!(asked(&lab, "GET") - read, 2, "what nobody asked for was forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_release_names_is_counted_and_what_is_gone_is_not() {
    let lab = Lab::start(&es256()).await;
    assert_done(&lab.push_layers("acme.push", "acme/orders:one", &[('a', 1)]).await);
    let old = lab.client().digest("acme", "orders", "one").await.unwrap().unwrap();
    assert_done(&lab.push_layers("acme.push", "acme/orders:one", &[('b', 1)]).await);
    let gone: Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    let named = BTreeMap::from([("acme/orders".to_owned(), BTreeSet::from([old.clone(), gone]))]);
    let survey = Survey::new(Arc::new(lab.client()));
    let usage = survey.area("acme", ["acme/orders"], &named).await.unwrap().usage();
    assert_eq!((usage.bytes, usage.images), (lab.bytes_on_disk(), 2));
    let usage = survey.area("acme", ["acme/missing"], &BTreeMap::new()).await.unwrap().usage();
    assert_eq!((usage.bytes, usage.repositories), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_repositories_and_tags_come_in_pages() {
    let lab = Lab::start(&es256()).await;
    assert_done(&lab.push("acme.push", "acme/orders:one").await);
    let root = lab.dir.path().join("images/docker/registry/v2/repositories/acme");
    let copied = |of: &str, to: String| {
        let mut command = std::process::Command::new("cp");
        lab::process::run(command.arg("-r").arg(root.join(of)).arg(root.join(to))).unwrap();
    };
    // Distribution's own form: what it would be after as many pushes.
    for number in 0..150 {
        copied("orders", format!("orders-{number:03}"));
    }
    for number in 0..1100 {
        copied("orders/_manifests/tags/one", format!("orders/_manifests/tags/t{number}"));
    }
    let client = lab.client();
    let repositories = client.repositories().await.unwrap();
    assert_eq!(repositories.len(), 151);
    assert_eq!(repositories.iter().collect::<BTreeSet<_>>().len(), 151);
    let tags = client.tags("acme", "acme/orders", TAGS_MAX).await.unwrap();
    assert_eq!((tags.names.len(), tags.cut), (1101, false));
    assert!(client.tags("acme", "acme/orders", 1000).await.unwrap().cut);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operators_account_lists_and_deletes() {
    let lab = Lab::start(&es256()).await;
    assert_done(&lab.push("acme.push", "acme/orders:one").await);
    let address = lab.registry.to_string();
    assert_eq!(assert_done(&lab.crane("imaas.operator", &["catalog", &address]).await), "acme/orders");
    for user in ["acme.push", "acme.pull", "imaas.push", "imaas.pull"] {
        assert_refused(&lab.crane(user, &["catalog", &address]).await);
    }
    assert_refused(&lab.push("imaas.operator", "acme/orders:two").await);
    assert_refused(&lab.crane("imaas.operator", &["manifest", &lab.image("acme/orders:one")]).await);

    let client = lab.client();
    let digest = client.digest("acme", "orders", "one").await.unwrap().unwrap();
    for user in ["acme.push", "acme.pull"] {
        let token = token_for(&lab, user, &["repository:acme/orders:pull,push,delete,*"]).await;
        let path = format!("/v2/acme/orders/manifests/{digest}");
        assert_eq!(lab.status(&token, reqwest::Method::DELETE, &path).await, 401, "{user}");
    }
    assert!(client.delete("acme/orders", &digest).await.unwrap());
    assert!(!client.delete("acme/orders", &digest).await.unwrap(), "it is gone");
    assert_eq!(client.digest("acme", "orders", "one").await.unwrap(), None, "and its tag with it");
    let error = client.delete("acme/../orders", &digest).await.unwrap_err();
    assert!(matches!(error, RegistryError::Name(_)), "{error}");
}

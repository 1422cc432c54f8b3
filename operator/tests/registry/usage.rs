//! What a tenant has in the registry is counted as it lies on the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
};

use imaas_operator::{
    api::{Quantity, Tenant},
    registry::{
        catalog::AREA_MAX,
        digest::Digest,
        error::RegistryError,
        quota::{OverQuota, StorageBounds},
        survey::{Survey, TAGS_MAX},
        usage::Area,
    },
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use crate::scene::*;

async fn area(survey: &Survey, tenant: &str) -> Area {
    let repositories = survey.registry().repositories_of(tenant, None).await.unwrap().names;
    let own = repositories.iter().map(String::as_str);
    let mut area = survey.area(tenant, own, &BTreeMap::new()).await.unwrap();
    survey.weigh(tenant, &mut area).await.unwrap();
    area
}

/// Requests of `what` that the registry has answered so far, by method.
fn asked(lab: &Lab, method: &str, what: &str) -> usize {
    let log = fs::read_to_string(lab.dir.path().join("registry.log")).unwrap();
    let of_method = format!("http.request.method={method}");
    let lines = log.lines().filter(|line| line.contains("response completed"));
    lines.filter(|line| line.contains(&of_method) && line.contains(&format!("/{what}/"))).count()
}

fn hex(bytes: &[u8]) -> String {
    imaas_operator::names::hex(bytes)
}

async fn manifest(lab: &Lab, tag: &str) -> Value {
    let image = lab.image(&format!("acme/orders:{tag}"));
    serde_json::from_str(&assert_done(&lab.crane("acme.pull", &["manifest", &image]).await)).unwrap()
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
    let requests = || {
        [("GET", "manifests"), ("HEAD", "manifests"), ("HEAD", "blobs")]
            .map(|(method, what)| asked(&lab, method, what))
    };
    let before = requests();
    assert_eq!(area(&survey, "acme").await, first);
    let after = requests();
    let new = [0, 1, 2].map(|kind| after[kind] - before[kind]);
    assert_eq!(new, [0, 3, 0], "each tag is asked for, nothing is read or weighed again");

    assert_done(&lab.crane("acme.push", &["tag", &lab.image("acme/orders:one"), "two"]).await);
    let moved = area(&survey, "acme").await;
    assert_eq!(moved.usage().images, 2, "what no tag names any more cannot be seen");
    survey.forget_unseen();
    survey.forget_unseen();
    let before = requests();
    assert_eq!(area(&survey, "acme").await, moved);
    let after = requests();
    assert_eq!((after[0] - before[0], after[2] - before[2]), (2, 4), "what nobody asked for was forgotten");
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
    let mut area = survey.area("acme", ["acme/orders"], &named).await.unwrap();
    survey.weigh("acme", &mut area).await.unwrap();
    let usage = area.usage();
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
    let areas = client.repositories().await.unwrap();
    let acme = &areas["acme"];
    assert_eq!(
        (acme.names.len(), acme.names.iter().collect::<BTreeSet<_>>().len(), acme.cut),
        (151, 151, false)
    );
    assert_eq!((&client.repositories_of("acme", None).await.unwrap(), areas.len()), (acme, 1));
    let tags = client.tags(("acme", "acme/orders"), None, TAGS_MAX).await.unwrap();
    assert_eq!((tags.names.len(), tags.cut), (1101, false));
    assert!(client.tags(("acme", "acme/orders"), None, 1000).await.unwrap().cut);
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

#[tokio::test(flavor = "multi_thread")]
async fn one_tenants_repositories_without_end_hide_nobody_elses() {
    let lab = Lab::start(&es256()).await;
    for image in ["a/orders:one", "acme-b/0/x:one", "acme-b/orders:one", "acmes/0:one", "beta/orders:one"] {
        let tenant = image.split_once('/').unwrap().0;
        assert_done(&lab.push(&format!("{tenant}.push"), image).await);
    }
    // What is left of a repository in which nothing is.
    let root = lab.dir.path().join("images/docker/registry/v2/repositories/acme");
    for number in 0..AREA_MAX + 2_000 {
        fs::create_dir_all(root.join(format!("{number:05}/_manifests"))).unwrap();
    }
    let client = lab.client();
    let areas = client.repositories().await.unwrap();
    assert_eq!((areas["acme"].names.len(), areas["acme"].cut), (AREA_MAX, true));
    let others: Vec<_> = areas.iter().filter(|(tenant, _)| *tenant != "acme").collect();
    assert!(others.iter().all(|(_, names)| !names.cut));
    let others: Vec<_> = others.into_iter().flat_map(|(_, names)| &names.names).collect();
    assert_eq!(others, ["a/orders", "acme-b/0/x", "acme-b/orders", "acmes/0", "beta/orders"]);
    let log = fs::read_to_string(lab.dir.path().join("registry.log")).unwrap();
    let asked = log.lines().filter(|line| line.contains("response completed") && line.contains("/_catalog"));
    assert!(asked.count() < AREA_MAX / 100 + 10, "the excess is not read");

    assert_eq!(client.repositories_of("acme-b", None).await.unwrap().names, ["acme-b/0/x", "acme-b/orders"]);
    assert_eq!(client.repositories_of("a", None).await.unwrap().names, ["a/orders"]);
    assert_eq!(client.repositories_of("acm", None).await.unwrap().names, [""; 0]);
    assert!(client.repositories_of("acme", None).await.unwrap().cut);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_lies_is_counted_with_its_true_size_and_the_next_push_is_refused() {
    let lab = Lab::start(&es256()).await;
    assert_done(&lab.push_layers("acme.push", "acme/orders:one", &[('a', 6), ('b', 1)]).await);
    let mut lie = manifest(&lab, "one").await;
    for layer in lie["layers"].as_array_mut().unwrap() {
        layer["size"] = json!(1);
    }
    lie["config"]["size"] = json!(-1);
    put(&lab, "one", lie.to_string()).await;
    // Go reads this name as `layers`, and garbage collection keeps them.
    assert_done(&lab.push_layers("acme.push", "acme/orders:two", &[('c', 2)]).await);
    let hidden = manifest(&lab, "two").await.to_string().replace("\"layers\"", "\"Layers\"");
    put(&lab, "two", hidden).await;

    let survey = Survey::new(Arc::new(lab.client()));
    let usage = area(&survey, "acme").await.usage();
    assert!((9 << 20..10 << 20).contains(&usage.bytes), "{usage:?}");
    let bounds = StorageBounds { default: Some(Quantity("8Mi".into())), max: None };
    let tenant = json!({ "apiVersion": "imaas.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "acme" }, "spec": {} });
    let tenant: Tenant = serde_json::from_value(tenant).unwrap();
    let mut over = OverQuota::default();
    over.add("acme", &bounds.judged(&tenant, &usage));
    fs::write(lab.dir.path().join(OVER_QUOTA), serde_json::to_string(&over).unwrap()).unwrap();
    lab.service.stops.read();
    let refused = lab.push("acme.push", "acme/orders:three").await;
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && told.contains("DENIED: the images of acme take 10Mi of 8Mi"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_of_another_algorithm_and_one_that_comes_later_are_counted_as_they_are() {
    let pair = es256();
    let mut lab = Lab::start(&pair).await;
    // Else Distribution refuses layers that lie elsewhere.
    lab.restart_registry_with(&[&pair], &[("REGISTRY_VALIDATION_DISABLED", "true")]).await;
    assert_done(&lab.push("acme.push", "acme/orders:one").await);
    let mut image = manifest(&lab, "one").await;
    let (long, late) = (vec![7; 1 << 20], vec![9; 2 << 20]);
    let long_digest = format!("sha512:{}", hex(&Sha512::digest(&long)));
    let late_digest = format!("sha256:{}", hex(&sha2::Sha256::digest(&late)));
    upload(&lab, &long_digest, long).await;
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    image["mediaType"] = json!("application/vnd.oci.image.manifest.v1+json");
    image["layers"] = json!([
        { "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": long_digest, "size": 1 },
        { "mediaType": foreign, "digest": late_digest, "size": 1_u64 << 40, "urls": ["https://example.com/x"] },
    ]);
    put(&lab, "one", image.to_string()).await;
    let survey = Survey::new(Arc::new(lab.client()));
    let first = area(&survey, "acme").await.usage().bytes;
    assert!((1 << 20..2 << 20).contains(&first), "{first}: what is not there takes no room");
    upload(&lab, &late_digest, late).await;
    let second = area(&survey, "acme").await.usage().bytes;
    assert_eq!(second - first, 2 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_cannot_be_read_is_told_and_all_else_is_counted() {
    let lab = Lab::start(&es256()).await;
    assert_done(&lab.push_layers("acme.push", "acme/orders:one", &[('a', 1)]).await);
    assert_done(&lab.push_layers("acme.push", "acme/zz:one", &[('b', 2)]).await);
    let mut long = manifest(&lab, "one").await;
    let layer = long["layers"][0].clone();
    long["layers"] = json!(vec![layer; 5_001]);
    put(&lab, "long", long.to_string()).await;
    let survey = Survey::new(Arc::new(lab.client()));
    let seen = area(&survey, "acme").await;
    let usage = seen.usage();
    assert_eq!((usage.images, usage.bytes), (3, lab.bytes_on_disk()));
    let digest = lab.client().digest("acme", "orders", "long").await.unwrap().unwrap();
    let told = usage.uncounted.unwrap().to_string();
    assert!(told.starts_with(&format!("acme/orders@{digest} (tag long) cannot be counted: ")), "{told}");
    let read = asked(&lab, "GET", "manifests");
    assert_eq!(area(&survey, "acme").await, seen);
    assert_eq!(asked(&lab, "GET", "manifests"), read, "nor is it read again and again");

    // The way out.
    assert!(lab.client().delete("acme/orders", &digest).await.unwrap());
    assert_eq!(area(&survey, "acme").await.usage().uncounted, None);
}

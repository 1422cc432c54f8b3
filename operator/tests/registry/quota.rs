//! Who is over quota is told so by the client that it pushes with.

use std::fs;

use imaas_operator::registry::service::Outcome;

use crate::scene::*;

const MESSAGE: &str = "DENIED: the images of acme take 21504Mi of 20Gi: pushes are refused until retention made room or \
     the tenant's quota is raised (spec.registry.storage in its file)";

#[tokio::test(flavor = "multi_thread")]
async fn a_push_over_quota_is_refused_with_the_reason_and_nothing_else_is() {
    let lab = Lab::start(&es256()).await;
    assert_done(&lab.push("acme.push", "acme/orders:one").await);
    let file = lab.dir.path().join(OVER_QUOTA);
    fs::write(&file, r#"{"acme": {"used": "21504Mi", "quota": "20Gi"}}"#).unwrap();
    lab.service.stops.read();

    let refused = lab.push("acme.push", "acme/orders:two").await;
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains(MESSAGE), "{told}");
    assert!(lab.service.metrics.count(Outcome::OverQuota) > 0);
    let mut token = lab.realm.clone();
    token.query_pairs_mut().append_pair("scope", "repository:acme/orders:push");
    let answer = reqwest::Client::new()
        .get(token)
        .basic_auth("acme.push", Some(secret("acme.push")))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), reqwest::StatusCode::UNAUTHORIZED, "podman and skopeo show no other's words");
    let digest = ["digest", &lab.image("acme/orders:one")];
    for user in ["acme.pull", "acme.push"] {
        assert_done(&lab.crane(user, &digest).await);
    }
    assert_done(&lab.push("acme-eu.push", "acme-eu/orders:one").await);
    let wrong = lab.crane_as(Some(("acme.push", "wrong")), &["copy", digest[1], "x"]).await;
    assert!(!String::from_utf8_lossy(&wrong.stderr).contains("21504Mi"), "only who may push is told");

    fs::write(&file, "{}").unwrap();
    lab.service.stops.read();
    assert_done(&lab.push("acme.push", "acme/orders:two").await);

    fs::write(file.with_file_name("read-only"), "true").unwrap();
    lab.service.stops.read();
    let refused = lab.push("acme.push", "acme/orders:three").await;
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("DENIED: the registry is read-only for some minutes"), "{told}");
    assert_done(&lab.crane("acme.push", &digest).await);
}

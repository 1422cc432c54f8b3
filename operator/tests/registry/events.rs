//! The real registry tells the operator of a push, as the chart sets it up.

use std::time::Duration;

use imaas_operator::{
    lease::Mandate,
    webhook::{Hook, Push, Token, router},
};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

use crate::scene::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The registry with the chart's configuration of notifications, and `token` in the chart's variable.
async fn told_by(lab: &mut Lab, pair: &KeyPair, hook: std::net::SocketAddr, token: &str) {
    let endpoints = format!(
        "[{{name: imaas-operator, url: 'http://{hook}/hooks/registry', timeout: 2s, threshold: 3, backoff: 1s, ignore: {{actions: [pull, mount, delete]}}}}]"
    );
    let headers = format!("{{Authorization: [Bearer {token}]}}");
    let environment = [
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS", endpoints.as_str()),
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_HEADERS", &headers),
    ];
    lab.restart_registry_with(&[pair], &environment).await;
}

/// What was told until the push of `tag`.
async fn until_tag(pushes: &mut mpsc::Receiver<Push>, tag: &str) -> Push {
    loop {
        let push = timeout(Duration::from_secs(20), pushes.recv()).await.unwrap().unwrap();
        assert_eq!((push.tenant.as_str(), push.service.as_str()), ("acme", "orders"));
        if push.references.iter().any(|reference| reference == tag) {
            return push;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_told_at_once_by_tag_and_digest_and_only_with_the_token() {
    let pair = es256();
    let mut lab = Lab::start(&pair).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, (sender, mut pushes)) = (listener.local_addr().unwrap(), mpsc::channel(64));
    let hook = Hook::new(Token::new(TOKEN.as_bytes()).unwrap(), "", sender, Mandate::unlimited());
    tokio::spawn(async move { axum::serve(listener, router(hook)).await.unwrap() });

    told_by(&mut lab, &pair, address, TOKEN).await;
    assert_done(&lab.push("acme.push", "acme/orders:one").await);
    let push = until_tag(&mut pushes, "one").await;
    let digest = assert_done(&lab.crane("acme.pull", &["digest", &lab.image("acme/orders:one")]).await);
    assert!(push.references.contains(&digest), "{push:?}");

    told_by(&mut lab, &pair, address, "another token that is long enough, too").await;
    assert_done(&lab.push("acme.push", "acme/orders:two").await);
    told_by(&mut lab, &pair, address, TOKEN).await;
    assert_done(&lab.push("acme.push", "acme/orders:three").await);
    let mut told = Vec::new();
    while let Ok(Some(push)) = timeout(Duration::from_secs(3), pushes.recv()).await {
        told.extend(push.references);
    }
    assert!(told.iter().any(|reference| reference == "three"), "{told:?}");
    assert!(!told.iter().any(|reference| reference == "two"), "{told:?}");
}

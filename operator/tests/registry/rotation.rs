//! Passwords, account keys and signing keys are exchanged while the registry is used.

use imaas_operator::registry::{
    accounts::{AccountKey, password},
    generations::{Accepted, Generations, Opened},
};

use crate::scene::*;

fn generations(text: &str) -> Generations {
    text.parse().unwrap()
}

fn other_key() -> AccountKey {
    AccountKey::new(*b"the account key that comes after it").unwrap()
}

/// What `user` may see of `image` with its password of `generation`, computed from `key`.
async fn digest(lab: &Lab, key: &AccountKey, user: &str, generation: u32) -> std::process::Output {
    let (tenant, _) = user.split_once('.').unwrap();
    let password = password(key, &account(user), generation);
    lab.crane_as(Some((user, &password)), &["digest", &lab.image(&format!("{tenant}/orders:one"))]).await
}

/// The one image that each of these tenants has.
async fn push(lab: &Lab, tenants: &[&str]) {
    for tenant in tenants {
        assert_done(&lab.push(&format!("{tenant}.push"), &format!("{tenant}/orders:one")).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_generation_opens_until_the_lowest_is_raised() {
    let pair = es256();
    let mut lab = Lab::start(&pair).await;
    push(&lab, &["acme", "beta"]).await;
    let key = account_key();
    for user in ["acme.pull", "acme.push", "beta.pull"] {
        assert_done(&digest(&lab, &key, user, 1).await);
        assert_done(&digest(&lab, &key, user, 2).await);
        assert_refused(&digest(&lab, &key, user, 3).await);
    }
    assert!(lab.service.metrics.logins(Opened { next: false, overlap: false }) > 0);
    assert!(lab.service.metrics.logins(Opened { next: true, overlap: false }) > 0);
    let token = token_for(&lab, "acme.pull", &["repository:acme/orders:pull"]).await;

    lab.restart_service(Accepted { lowest: generations("2"), ..accepted() }, &pair).await;
    for user in ["acme.pull", "acme.push", "beta.pull"] {
        assert_refused(&digest(&lab, &key, user, 1).await);
        assert_done(&digest(&lab, &key, user, 2).await);
    }
    assert_refused(&lab.push("acme.push", "acme/orders:two").await);
    // Given before, and good until its end.
    assert_eq!(raw_status(&lab, &token, "/v2/acme/orders/manifests/one").await, 200);

    lab.restart_service(Accepted { lowest: generations("2,acme=3"), ..accepted() }, &pair).await;
    assert_refused(&digest(&lab, &key, "acme.pull", 2).await);
    assert_done(&digest(&lab, &key, "acme.pull", 3).await);
    assert_done(&digest(&lab, &key, "beta.pull", 2).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_account_keys_open_until_the_old_one_is_taken_away() {
    let pair = es256();
    let mut lab = Lab::start(&pair).await;
    push(&lab, &["acme"]).await;
    assert_refused(&digest(&lab, &other_key(), "acme.pull", 1).await);

    let overlap = Accepted { key: other_key(), overlap_key: Some(account_key()), ..accepted() };
    lab.restart_service(overlap, &pair).await;
    for key in [account_key(), other_key()] {
        assert_done(&digest(&lab, &key, "acme.pull", 1).await);
        assert_done(&digest(&lab, &key, "acme.pull", 2).await);
    }
    assert!(lab.service.metrics.logins(Opened { next: false, overlap: true }) > 0);

    lab.restart_service(Accepted { key: other_key(), ..accepted() }, &pair).await;
    assert_refused(&digest(&lab, &account_key(), "acme.pull", 1).await);
    assert_done(&digest(&lab, &other_key(), "acme.pull", 1).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signing_key_is_trusted_while_its_certificate_is_in_the_bundle() {
    // As the chart makes it, and as the documentation says to make the next one.
    let (old, new) = (key_pair(&rcgen::PKCS_RSA_SHA256), es256());
    let mut lab = Lab::start(&old).await;
    push(&lab, &["acme"]).await;
    let (path, scopes) = ("/v2/acme/orders/manifests/one", ["repository:acme/orders:pull"]);
    let by_old = token_for(&lab, "acme.pull", &scopes).await;

    lab.restart_service(accepted(), &new).await;
    let by_new = token_for(&lab, "acme.pull", &scopes).await;
    assert_eq!(raw_status(&lab, &by_old, path).await, 200);
    assert_eq!(raw_status(&lab, &by_new, path).await, 401, "the registry was not told first");

    lab.restart_registry(&[&old, &new]).await;
    assert_eq!(raw_status(&lab, &by_old, path).await, 200);
    assert_eq!(raw_status(&lab, &by_new, path).await, 200);
    assert_done(&digest(&lab, &account_key(), "acme.pull", 1).await);

    lab.restart_registry(&[&new]).await;
    assert_eq!(raw_status(&lab, &by_old, path).await, 401);
    assert_eq!(raw_status(&lab, &by_new, path).await, 200);
    assert_done(&digest(&lab, &account_key(), "acme.pull", 1).await);
}

//! The token service and the client against the real Distribution registry, with pushes and pulls by the real `crane`.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod collect;
mod events;
mod formats;
mod quota;
mod removal;
mod rotation;
mod scene;
mod signatures;
mod sweep;
mod usage;

use std::{fs, net::SocketAddr};

use imaas_operator::{
    conditions::Reason,
    lease::Mandate,
    registry::{
        accounts::{AccountKey, Usage},
        client::{RegistryClient, RegistryEndpoint},
        digest::Digest,
        error::RegistryError,
        scope::{Access, Action},
        service::Outcome,
        token::{LIFETIME, TokenError, TokenSettings, TokenSigner},
    },
    retry::Retry,
};
use lab::process::free_port;
use reqwest::{Method, StatusCode};
use url::Url;

use scene::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_push_account_pushes_and_a_pull_account_only_pulls() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_RSA_SHA256] {
        let lab = Lab::start(&key_pair(algorithm)).await;
        assert_done(&lab.push("acme.push", "acme/orders:one").await);
        let pulled = lab.dir.path().join("pulled.tar");
        let pull = ["pull", &lab.image("acme/orders:one"), pulled.to_str().unwrap()];
        assert_done(&lab.crane("acme.pull", &pull).await);
        assert!(fs::metadata(&pulled).unwrap().len() > 0);
        assert_done(&lab.crane("acme.push", &pull).await);

        assert_refused(&lab.push("acme.pull", "acme/orders:two").await);
        let token = token_for(&lab, "acme.pull", &["repository:acme/orders:pull,push"]).await;
        let manifest = "/v2/acme/orders/manifests/two";
        assert_eq!(lab.status(&token, Method::PUT, manifest).await, StatusCode::UNAUTHORIZED);
        assert_eq!(lab.client().digest("acme", "orders", "two").await.unwrap(), None);
        assert!(lab.service.metrics.count(Outcome::Granted) > 0);
        assert!(lab.service.metrics.count(Outcome::Reduced) > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_account_opens_another_tenants_area_even_with_a_name_that_looks_alike() {
    let lab = Lab::start(&es256()).await;
    for tenant in ["a", "a-b", "b"] {
        assert_done(&lab.push(&format!("{tenant}.push"), &format!("{tenant}/orders:one")).await);
    }
    assert_done(&lab.push("a.push", "a/b/orders:one").await);
    for (own, foreign) in [
        ("a", "a-b/orders"),
        ("a-b", "a/orders"),
        ("b", "a/b/orders"),
        ("a-b", "a/b/orders"),
        ("b", "a-b/orders"),
    ] {
        let image = lab.image(&format!("{foreign}:one"));
        for usage in [Usage::Push, Usage::Pull] {
            let user = format!("{own}.{usage}");
            assert_refused(&lab.crane(&user, &["digest", &image]).await);
            assert_refused(&lab.crane(&user, &["manifest", &image]).await);
            assert_refused(&lab.push(&user, &format!("{foreign}:two")).await);
        }
    }
    assert_refused(&lab.push("a.push", "orders:one").await);
    for user in ["a.push", "a.pull"] {
        assert_refused(&lab.crane(user, &["catalog", &lab.registry.to_string()]).await);
        assert_refused(&lab.crane(user, &["delete", &lab.image("a/orders:one")]).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_of_another_tenant_cannot_be_mounted_nor_a_path_climbed() {
    let lab = Lab::start(&es256()).await;
    assert_done(&lab.push("beta.push", "beta/base:one").await);
    let manifest = assert_done(&lab.crane("beta.pull", &["manifest", &lab.image("beta/base:one")]).await);
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let token =
        token_for(&lab, "acme.push", &["repository:acme/orders:pull,push", "repository:beta/base:pull"])
            .await;

    let uploads = "/v2/acme/orders/blobs/uploads/";
    assert_eq!(lab.status(&token, Method::POST, uploads).await, StatusCode::ACCEPTED);
    let mount = format!("{uploads}?mount={layer}&from=beta/base");
    assert_eq!(lab.status(&token, Method::POST, &mount).await, StatusCode::UNAUTHORIZED);
    let blob = format!("/v2/acme/orders/blobs/{layer}");
    assert_eq!(lab.status(&token, Method::GET, &blob).await, StatusCode::NOT_FOUND);
    for path in [
        "/v2/acme/orders/../../beta/base/manifests/one",
        "/v2/acme/orders/%2e%2e%2f%2e%2e%2fbeta/base/manifests/one",
    ] {
        let status = raw_status(&lab, &token, path).await;
        assert!([301, 400, 401, 404].contains(&status), "{path}: {status}");
    }
    let own = token_for(&lab, "beta.pull", &["repository:beta/base:pull"]).await;
    assert_eq!(raw_status(&lab, &own, "/v2/beta/base/manifests/one").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_the_right_password() {
    let lab = Lab::start(&es256()).await;
    assert_done(&lab.push("acme.push", "acme/orders:one").await);
    let digest = ["digest", &lab.image("acme/orders:one")];
    assert_refused(&lab.crane_as(None, &digest).await);
    assert_refused(&lab.crane_as(Some(("acme.pull", "wrong")), &digest).await);
    assert_refused(&lab.crane_as(Some(("acme.pull", &secret("acme.push"))), &digest).await);
    assert_refused(&lab.crane_as(Some(("acme.admin", &secret("acme.push"))), &digest).await);
    assert!(lab.service.metrics.count(Outcome::Unauthorized) >= 4);
    let granted = lab.service.metrics.count(Outcome::Granted);

    let anonymous = reqwest::get(lab.realm.clone()).await.unwrap();
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
    assert!(anonymous.headers().contains_key("www-authenticate"));
    let body: serde_json::Value = anonymous.json().await.unwrap();
    assert_eq!(body["errors"][0]["code"], "UNAUTHORIZED");
    for form in [
        "grant_type=password",
        "grant_type=password&username=&password=",
        "grant_type=password&username=acme.pull",
    ] {
        let form = format!("{form}&service={SERVICE}&scope=repository%3Aacme%2Forders%3Apull");
        let answer = reqwest::Client::new().post(lab.realm.clone()).body(form).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(lab.service.metrics.count(Outcome::Granted), granted);

    let manifest = "/v2/acme/orders/manifests/one";
    let without = reqwest::get(format!("http://{}{manifest}", lab.registry)).await.unwrap();
    assert_eq!(without.status(), StatusCode::UNAUTHORIZED);
    let login_alone = token_for(&lab, "acme.pull", &[]).await;
    assert_eq!(raw_status(&lab, &login_alone, manifest).await, 401);
    assert_eq!(raw_status(&lab, &login_alone, "/v2/").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_that_containerd_sends_is_answered_like_the_query() {
    let lab = Lab::start(&es256()).await;
    assert_done(&lab.push("acme.push", "acme/orders:one").await);
    let post = |form: String| {
        let request = reqwest::Client::new().post(lab.realm.clone()).body(form);
        request.header("content-type", "application/x-www-form-urlencoded; charset=utf-8").send()
    };
    let form = |password: &str, service: &str| {
        let scope = "repository%3Aacme%2Forders%3Apull+repository%3Abeta%2Forders%3Apull";
        format!(
            "grant_type=password&client_id=containerd-client&service={service}&scope={scope}&username=acme.pull&password={password}"
        )
    };
    let answer = post(form(&secret("acme.pull"), SERVICE)).await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["expires_in"], 300);
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(raw_status(&lab, token, "/v2/acme/orders/manifests/one").await, 200);

    assert_eq!(post(form("wrong", SERVICE)).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(post(form(&secret("acme.pull"), "other")).await.unwrap().status(), StatusCode::BAD_REQUEST);
    let refresh = post("grant_type=refresh_token&refresh_token=x".to_owned()).await.unwrap();
    assert_eq!(refresh.status(), StatusCode::BAD_REQUEST);
    let long = post(form(&secret("acme.pull"), &"x".repeat(9000))).await.unwrap();
    assert_eq!(long.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_refuses_tokens_that_are_expired_or_of_another_issuer_or_key() {
    let pair = es256();
    let lab = Lab::start(&pair).await;
    assert_done(&lab.push("acme.push", "acme/orders:one").await);
    let access = || {
        vec![Access {
            kind: "repository".to_owned(),
            name: "acme/orders".to_owned(),
            actions: vec![Action::Pull],
        }]
    };
    let path = "/v2/acme/orders/manifests/one";
    let token = |signer: &TokenSigner, now| signer.token(&account("acme.pull"), access(), 1, now).unwrap();
    let status = async |token: String| raw_status(&lab, &token, path).await;

    let now = now();
    let hour = jiff::SignedDuration::from_hours(1);
    assert_eq!(status(token(&signer(&pair, ISSUER), now)).await, 200);
    assert_eq!(status(token(&signer(&pair, ISSUER), now - hour)).await, 401);
    assert_eq!(status(token(&signer(&pair, ISSUER), now + hour)).await, 401);
    // Clocks apart: the beginning is set back, and the registry allows a minute at both ends.
    let (seconds, lifetime) = (jiff::SignedDuration::from_secs, jiff::SignedDuration::from_mins(5));
    assert_eq!(LIFETIME.as_secs(), lifetime.unsigned_abs().as_secs());
    assert_eq!(status(token(&signer(&pair, ISSUER), now + seconds(80))).await, 200);
    assert_eq!(status(token(&signer(&pair, ISSUER), now + seconds(120))).await, 401);
    assert_eq!(status(token(&signer(&pair, ISSUER), now - lifetime - seconds(30))).await, 200);
    assert_eq!(status(token(&signer(&pair, ISSUER), now - lifetime - seconds(61))).await, 401);
    assert_eq!(status(token(&signer(&pair, "another issuer"), now)).await, 401);
    assert_eq!(status(token(&signer(&es256(), ISSUER), now)).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_finds_the_digest_that_crane_sees_and_nothing_where_there_is_nothing() {
    let lab = Lab::start(&es256()).await;
    assert_done(&lab.push("acme.push", "acme/orders:one").await);
    assert_done(&lab.push("beta.push", "beta/billing:one").await);
    let seen: Digest = assert_done(&lab.crane("acme.pull", &["digest", &lab.image("acme/orders:one")]).await)
        .parse()
        .unwrap();
    let client = lab.client();
    assert_eq!(client.digest("acme", "orders", "one").await.unwrap(), Some(seen.clone()));
    assert!(client.exists("acme", "orders", &seen).await.unwrap());
    assert_eq!(client.digest("acme", "orders", "missing").await.unwrap(), None);
    assert_eq!(client.digest("acme", "missing", "one").await.unwrap(), None);
    assert_eq!(client.digest("beta", "orders", "one").await.unwrap(), None);
    assert!(!client.exists("beta", "billing", &seen).await.unwrap());
    let asked = lab.service.metrics.count(Outcome::Granted);
    assert_eq!(client.digest("acme", "orders", "one").await.unwrap(), Some(seen));
    assert_eq!(lab.service.metrics.count(Outcome::Granted), asked, "a kept token is used again");

    for (tenant, service, tag) in
        [("acme", "../beta/billing", "one"), ("acme/..", "beta", "one"), ("acme", "orders", "../x")]
    {
        let error = client.digest(tenant, service, tag).await.unwrap_err();
        assert!(matches!(error, RegistryError::Name(_)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_says_what_is_wrong_and_shows_no_secret() {
    let lab = Lab::start(&es256()).await;
    let wrong_key = AccountKey::new(*b"another key than the token service's").unwrap();
    let error =
        lab.client_with(wrong_key, lab.realm.clone()).digest("acme", "orders", "one").await.unwrap_err();
    assert_eq!(error.reason(), Reason::RegistryRefused);
    assert!(error.to_string().contains("acme.pull") && error.to_string().contains("account key"), "{error}");

    let other = lab.realm.join("/other").unwrap();
    let error = lab.client_with(account_key(), other).digest("acme", "orders", "one").await.unwrap_err();
    assert!(matches!(error, RegistryError::Realm { .. }), "{error}");

    let url = format!("http://127.0.0.1:{}", free_port().unwrap()).parse().unwrap();
    let endpoint = RegistryEndpoint { url, realm: lab.realm.clone(), ca: None, development: true };
    let client = RegistryClient::new(endpoint, issued(account_key()), Mandate::unlimited()).unwrap();
    let error = client.digest("acme", "orders", "one").await.unwrap_err();
    assert_eq!((error.reason(), error.retry()), (Reason::RegistryUnreachable, Retry::Backoff));
    assert!(!format!("{error:?}").contains(&secret("acme.pull")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_trusts_the_given_authority_and_no_other() {
    let lab = Lab::start(&es256()).await;
    let (dir, tls) = (tempfile::tempdir().unwrap(), es256());
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let token_certificate = fs::read_to_string(lab.dir.path().join("token-ca.pem")).unwrap();
    let settings = RegistrySettings {
        realm: &lab.realm,
        token_certificate: &token_certificate,
        environment: &[],
        tls: Some(&tls),
    };
    let _registry = start_registry(dir.path(), address, &settings).await;
    let digest = async |ca: Option<String>| {
        let url = format!("https://{address}").parse().unwrap();
        let ca = ca.map(String::into_bytes);
        let endpoint = RegistryEndpoint { url, realm: lab.realm.clone(), ca, development: true };
        let client = RegistryClient::new(endpoint, issued(account_key()), Mandate::unlimited()).unwrap();
        client.digest("acme", "orders", "one").await
    };
    assert_eq!(digest(Some(tls.certificate.clone())).await.unwrap(), None);
    for ca in [None, Some(es256().certificate)] {
        assert_eq!(digest(ca).await.unwrap_err().reason(), Reason::RegistryUnreachable);
    }
    let refused = digest_settings_error(&lab.realm);
    assert!(
        matches!(refused, RegistryError::Settings { field: "ca", .. } | RegistryError::Client(_)),
        "{refused}"
    );
}

fn digest_settings_error(realm: &Url) -> RegistryError {
    let url = "https://127.0.0.1".parse().unwrap();
    let endpoint = RegistryEndpoint {
        url,
        realm: realm.clone(),
        ca: Some(b"no certificate".to_vec()),
        development: true,
    };
    RegistryClient::new(endpoint, issued(account_key()), Mandate::unlimited()).unwrap_err()
}

#[test]
fn a_certificate_of_another_key_is_found_at_the_start() {
    let settings =
        || TokenSettings { issuer: ISSUER.to_owned(), service: SERVICE.to_owned(), lifetime: LIFETIME };
    let new =
        |key: &str, certificate: &str| TokenSigner::new(key.as_bytes(), certificate.as_bytes(), settings());
    let (one, two, rsa) = (es256(), es256(), key_pair(&rcgen::PKCS_RSA_SHA256));
    assert!(new(&one.key, &one.certificate).is_ok());
    assert!(new(&rsa.key, &rsa.certificate).is_ok());
    assert!(matches!(new(&one.key, &two.certificate), Err(TokenError::Mismatch)));
    assert!(matches!(new(&one.key, &rsa.certificate), Err(TokenError::Mismatch)));
    assert!(matches!(new(&one.key, &one.key), Err(TokenError::Certificate)));
    assert!(matches!(new(&one.certificate, &one.certificate), Err(TokenError::Key)));
    assert!(matches!(new("", ""), Err(TokenError::Key)));
}

//! Only a server that proves who it is gets a request.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;

/// An authority, and a server's certificate from it. `days`: how the validity lies around now.
fn authority(name: &str, expired: bool) -> (Vec<u8>, TlsAcceptor) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    }
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (issuer.pem().into_bytes(), TlsAcceptor::from(Arc::new(config)))
}

async fn outcome(name: &str, expired: bool, trust: bool) -> Result<usize, Reason> {
    let (ca, acceptor) = authority(name, expired);
    let lab = lab_with(Server::tls(acceptor).await, Limits::default());
    lab.repository.commit("main", &[("a", "1")]);
    let remote = Remote { ca: trust.then_some(ca), ..lab.remote.clone() };
    let credentials = Some(Credentials { username: "ci".into(), password: "hunter2".into() });
    let heads = lab.git.heads(&Remote { credentials, ..remote }).await;
    if heads.is_err() {
        assert!(lab.server.seen().is_empty(), "nothing was sent before the server was known");
    }
    heads.map(|heads| heads.len()).map_err(|error| error.reason())
}

#[tokio::test]
async fn g07_only_a_certificate_that_is_trusted_valid_and_for_this_host_will_do() {
    assert_eq!(outcome("127.0.0.1", false, true).await, Ok(1));
    assert_eq!(outcome("127.0.0.1", false, false).await, Err(Reason::HostVerificationFailed));
    assert_eq!(outcome("127.0.0.2", false, true).await, Err(Reason::HostVerificationFailed));
    assert_eq!(outcome("127.0.0.1", true, true).await, Err(Reason::HostVerificationFailed));
}

#[tokio::test]
async fn an_authority_that_is_no_certificate_is_told() {
    let lab = lab().await;
    for pem in [&b"junk"[..], b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let remote = Remote { ca: Some(pem.to_vec()), ..lab.remote.clone() };
        let error = lab.git.heads(&remote).await.unwrap_err();
        assert!(matches!(error, GitError::CaInvalid(_)), "{error:?}");
    }
}

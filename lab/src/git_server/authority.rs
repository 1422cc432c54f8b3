//! A certificate authority of the lab's own: whoever is given its certificate trusts the lab's servers, nobody else does.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Lives in memory only; dropped with the lab.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A server's certificate and private key, both PEM.
#[derive(Clone)]
pub struct Certificate {
    /// PEM, the leaf only.
    pub certificate: String,
    /// PEM, PKCS#8.
    pub key: String,
}

impl Authority {
    /// A fresh key pair and a self-signed certificate.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "lab authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("generate the authority's key")?;
        let issuer = CertifiedIssuer::self_signed(params, key).context("sign the authority's certificate")?;
        Ok(Self { issuer })
    }

    /// What a client has to trust, PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server certificate for host names and IP addresses.
    pub fn issue(&self, names: &[&str]) -> Result<Certificate> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).context("names of the certificate")?;
        params.distinguished_name.push(DnType::CommonName, "lab server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().context("generate the server's key")?;
        let signed = params.signed_by(&key, &self.issuer).context("sign the server's certificate")?;
        Ok(Certificate { certificate: signed.pem(), key: key.serialize_pem() })
    }
}

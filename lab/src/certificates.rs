//! The certificates of one lab: made at its start, gone with its folder.
use std::{
    fs,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

/// A certificate authority whose files are in the lab's folder.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// `NAME.crt`.
    pub certificate: PathBuf,
    /// `NAME.key`.
    pub key: PathBuf,
}

/// The files of one certificate.
pub struct Pair {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM (PKCS#8), readable by the owner only.
    pub key: PathBuf,
}

/// What a certificate says.
pub struct Subject<'a> {
    /// User name of a client, nothing of interest of a server.
    pub common_name: &'a str,
    /// Group of a client.
    pub organization: Option<&'a str>,
    /// Names of a server.
    pub names: &'a [&'a str],
    /// Addresses of a server.
    pub addresses: &'a [IpAddr],
}

impl Authority {
    /// A new authority, `NAME.crt` and `NAME.key` in `dir`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(dir: &Path, name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, format!("imaas-lab {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let key_file = write_secret(dir, &format!("{name}.key"), &key.serialize_pem())?;
        let issuer = CertifiedIssuer::self_signed(params, key)?;
        let certificate = dir.join(format!("{name}.crt"));
        fs::write(&certificate, issuer.as_ref().pem()).context("write a certificate")?;
        Ok(Self { issuer, certificate, key: key_file })
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> String {
        self.issuer.as_ref().pem()
    }

    /// A certificate for servers and clients, `FILE.crt` and `FILE.key` in `dir`.
    ///
    /// # Errors
    /// When a name is not a DNS name or a file cannot be written.
    pub fn issue(&self, dir: &Path, file: &str, subject: &Subject<'_>) -> anyhow::Result<Pair> {
        let names: Vec<String> = subject.names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.subject_alt_names.extend(subject.addresses.iter().copied().map(SanType::IpAddress));
        params.distinguished_name.push(DnType::CommonName, subject.common_name);
        if let Some(organization) = subject.organization {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = dir.join(format!("{file}.crt"));
        let signed = params.signed_by(&key, &self.issuer)?;
        fs::write(&certificate, signed.pem()).context("write a certificate")?;
        Ok(Pair { certificate, key: write_secret(dir, &format!("{file}.key"), &key.serialize_pem())? })
    }
}

/// A key pair for signing tokens: the files of the private and of the public key.
///
/// # Errors
/// When a file cannot be written.
pub fn signing_key(dir: &Path, name: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
    let key = KeyPair::generate()?;
    let public = dir.join(format!("{name}.pub"));
    fs::write(&public, key.public_key_pem()).context("write a public key")?;
    Ok((write_secret(dir, &format!("{name}.key"), &key.serialize_pem())?, public))
}

/// A file that only the owner can read.
///
/// # Errors
/// When it cannot be written.
pub fn write_secret(dir: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = dir.join(name);
    let mut file = fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("write {}", path.display()))?;
    std::io::Write::write_all(&mut file, text.as_bytes())
        .with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

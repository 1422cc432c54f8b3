//! Signs what an account may do, in the form that the registry demands. Pure: time and identifier are arguments.
//!
//! Form: <https://distribution.github.io/distribution/spec/auth/jwt/>. The header carries the certificate (`x5c`); the
//! registry's `rootcertbundle` must hold it or its issuer.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Serialize};

use super::{accounts::Account, scope::Access};

/// How long a token lives. A password that opens nothing any more may still be behind a token for so long.
pub const LIFETIME: Duration = Duration::from_mins(5);
/// Clocks of the token service and the registry may differ by this.
const CLOCK_SKEW_SECONDS: i64 = 30;

/// How tokens are made.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// The registry's `auth.token.issuer`.
    pub issuer: String,
    /// The registry's `auth.token.service`.
    pub service: String,
    /// Long enough for the longest push; whole seconds, at least 60 (clients assume no less).
    pub lifetime: Duration,
}

/// A signing key with the certificate that the registry trusts. Its `Debug` shows no key.
pub struct TokenSigner {
    key: EncodingKey,
    header: Header,
    settings: TokenSettings,
}

/// Why there is no signer, or no token. Says nothing of the key.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Not a key that can sign.
    #[error("signing key: give a PEM of an RSA or P-256 key (\"PRIVATE KEY\", PKCS#8)")]
    Key,
    /// Not PEM, or no certificate in it.
    #[error("signing certificate: give a PEM with the key's certificate first")]
    Certificate,
    /// The registry would refuse every token.
    #[error("signing certificate: it does not belong to the signing key; renew both together")]
    Mismatch,
    /// Clients drop tokens that live shorter.
    #[error("token lifetime: {0:?} is less than 60 seconds")]
    Lifetime(Duration),
    /// The key cannot sign after all.
    #[error("the token could not be signed with the signing key")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// The claims that the registry reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who signed.
    pub iss: String,
    /// The account's user name.
    pub sub: String,
    /// Which registry may accept it.
    pub aud: String,
    /// Seconds since 1970.
    pub exp: i64,
    /// Seconds since 1970.
    pub nbf: i64,
    /// Seconds since 1970.
    pub iat: i64,
    /// Unique.
    pub jti: String,
    /// What may be done where.
    pub access: Vec<Access>,
}

impl TokenSigner {
    /// `key_pem`: an RSA key (RS256) or a P-256 key (ES256). `cert_pem`: its certificate, then intermediates.
    pub fn new(key_pem: &[u8], cert_pem: &[u8], settings: TokenSettings) -> Result<Self, TokenError> {
        if settings.lifetime.as_secs() < 60 {
            return Err(TokenError::Lifetime(settings.lifetime));
        }
        let (algorithm, key) = EncodingKey::from_rsa_pem(key_pem)
            .map(|key| (Algorithm::RS256, key))
            .or_else(|_| EncodingKey::from_ec_pem(key_pem).map(|key| (Algorithm::ES256, key)))
            .map_err(|_| TokenError::Key)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(cert_pem)
            .collect::<Result<_, _>>()
            .map_err(|_| TokenError::Certificate)?;
        if chain.is_empty() {
            return Err(TokenError::Certificate);
        }
        let mut header = Header::new(algorithm);
        header.x5c = Some(chain.iter().map(|certificate| STANDARD.encode(certificate)).collect());
        let signer = Self { key, header, settings };
        signer.prove(cert_pem)?;
        Ok(signer)
    }

    /// A token for `account` with `access`. `id` must not repeat: 128 random bits.
    pub fn token(
        &self,
        account: &Account,
        access: Vec<Access>,
        id: u128,
        now: Timestamp,
    ) -> Result<String, TokenError> {
        self.sign(&self.claims(account.to_string(), access, id, now))
    }

    /// How long a token lives.
    pub fn lifetime(&self) -> Duration {
        self.settings.lifetime
    }

    /// The registry for which it signs.
    pub fn service(&self) -> &str {
        &self.settings.service
    }

    fn claims(&self, subject: String, access: Vec<Access>, id: u128, now: Timestamp) -> Claims {
        let TokenSettings { issuer, service, lifetime } = &self.settings;
        let now = now.as_second();
        Claims {
            iss: issuer.clone(),
            sub: subject,
            aud: service.clone(),
            exp: now.saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX)),
            nbf: now.saturating_sub(CLOCK_SKEW_SECONDS),
            iat: now,
            jti: format!("{id:032x}"),
            access,
        }
    }

    fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        jsonwebtoken::encode(&self.header, claims, &self.key).map_err(TokenError::Sign)
    }

    /// Signs once and verifies with the certificate, so that a wrong pair is found at the start, not at a pull.
    fn prove(&self, cert_pem: &[u8]) -> Result<(), TokenError> {
        let token = self.sign(&self.claims(String::new(), Vec::new(), 0, Timestamp::UNIX_EPOCH))?;
        let public = match self.header.alg {
            Algorithm::RS256 => DecodingKey::from_rsa_pem(cert_pem),
            _ => DecodingKey::from_ec_pem(cert_pem),
        }
        .map_err(|_| TokenError::Mismatch)?;
        let mut rules = Validation::new(self.header.alg);
        rules.validate_exp = false;
        rules.set_audience(&[&self.settings.service]);
        jsonwebtoken::decode::<Claims>(&token, &public, &rules).map(drop).map_err(|_| TokenError::Mismatch)
    }
}

impl std::fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSigner").field("settings", &self.settings).finish_non_exhaustive()
    }
}

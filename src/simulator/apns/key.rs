//! Signing keys: what the developer's `.p8` file holds, and the half of it that the vendor keeps.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::json;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::world::ApnsEnvironment;

/// Why a credential could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ApnsCredentialError {
    /// A key or a certificate could not be generated.
    #[error("cannot make a key or a certificate")]
    Generate(#[from] rcgen::Error),
    /// The file is no PEM with a `PRIVATE KEY`.
    #[error("not a PEM file with a PRIVATE KEY")]
    Pem(#[from] tokio_rustls::rustls::pki_types::pem::Error),
    /// The key is not one of the curve P-256.
    #[error("not a P-256 key: {0}")]
    NotP256(String),
    /// A PKCS#12 file could not be made.
    #[error("cannot make a PKCS#12 file")]
    Pkcs12(#[from] p12_keystore::error::Error),
    /// The key did not sign.
    #[error("cannot sign")]
    Sign,
}

/// A signing key of a team.
#[derive(Debug, Clone)]
pub struct ApnsKey {
    pub(super) id: String,
    pub(super) team: String,
    pub(super) environment: Option<ApnsEnvironment>,
    pub(super) topics: Vec<String>,
    /// The public point, uncompressed.
    pub(super) public: Vec<u8>,
    p8_pem: String,
}

impl ApnsKey {
    /// A new key for both environments and all topics of its team.
    ///
    /// # Errors
    /// [`ApnsCredentialError::Generate`].
    pub fn generate(id: &str, team: &str) -> Result<Self, ApnsCredentialError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Self::from_p8(id, team, &pair.serialize_pem())
    }

    /// A key from the file that the developer has.
    ///
    /// # Errors
    /// [`ApnsCredentialError`]: no PEM file with a private key, or another curve.
    pub fn from_p8(id: &str, team: &str, pem: &str) -> Result<Self, ApnsCredentialError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())?;
        let public = pair(der.secret_pkcs8_der())?.public_key().as_ref().to_vec();
        Ok(Self {
            id: id.to_owned(),
            team: team.to_owned(),
            environment: None,
            topics: Vec::new(),
            public,
            p8_pem: pem.to_owned(),
        })
    }

    /// The key works in this environment only.
    #[must_use]
    pub const fn for_environment(mut self, environment: ApnsEnvironment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// The key works for these topics only.
    #[must_use]
    pub fn for_topics(mut self, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.topics = topics.into_iter().map(Into::into).collect();
        self
    }

    /// The Key ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The Team ID.
    pub fn team(&self) -> &str {
        &self.team
    }

    /// The file: PKCS#8 in PEM.
    pub fn p8_pem(&self) -> &str {
        &self.p8_pem
    }

    /// A provider token as the document says, issued at this time (epoch seconds).
    ///
    /// # Errors
    /// [`ApnsCredentialError::Sign`].
    pub fn jwt(&self, issued_at_s: i64) -> Result<String, ApnsCredentialError> {
        let header = json!({ "alg": "ES256", "kid": self.id });
        let claims = json!({ "iss": self.team, "iat": issued_at_s });
        self.sign(&header.to_string(), &claims.to_string())
    }

    /// A token with any header and claims, for trying what is refused.
    ///
    /// # Errors
    /// [`ApnsCredentialError::Sign`].
    pub fn sign(&self, header: &str, claims: &str) -> Result<String, ApnsCredentialError> {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let der = PrivatePkcs8KeyDer::from_pem_slice(self.p8_pem.as_bytes())?;
        let signature = pair(der.secret_pkcs8_der())?.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| ApnsCredentialError::Sign)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn pair(pkcs8: &[u8]) -> Result<EcdsaKeyPair, ApnsCredentialError> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
        .map_err(|rejected| ApnsCredentialError::NotP256(rejected.to_string()))
}

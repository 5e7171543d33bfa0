//! Credentials at rest: AES-256-GCM under a master key, and the digests used for keys and tokens.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::id::{AppId, CertificateId};

/// What can go wrong with keys and sealed values.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the master key must be 32 bytes in base64 (make one with: openssl rand -base64 32)")]
    BadMasterKey,
    #[error("a credential was sealed with master key {0}, which is not the configured one")]
    OtherMasterKey(String),
    #[error("a sealed credential does not open: it was changed, or belongs to something else")]
    Forged,
    #[error("the system's random source failed")]
    Random,
}

/// Whose secret a sealed value is: it opens for nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedFor {
    Certificate(CertificateId),
    /// The token of an app's Tencent callback.
    TencentCallback(AppId),
}

impl SealedFor {
    /// What the cipher binds the value to. A certificate's is its bare id, as it always was; the others begin with their
    /// name, so they are longer and never the same.
    fn associated(self) -> Aad<Vec<u8>> {
        Aad::from(match self {
            Self::Certificate(id) => id.0.to_be_bytes().to_vec(),
            Self::TencentCallback(app_id) => [b"tencent-callback".as_slice(), &app_id.0.to_be_bytes()].concat(),
        })
    }
}

/// Seals and opens credentials.
pub struct Sealer {
    key: LessSafeKey,
    key_id: String,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Sealer {
    /// From a master key of 32 bytes in base64.
    pub fn new(master_key: &SecretString) -> Result<Self, SecretError> {
        let bytes = STANDARD.decode(master_key.expose_secret().trim()).map_err(|_| SecretError::BadMasterKey)?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| SecretError::BadMasterKey)?;
        Ok(Self { key: LessSafeKey::new(key), key_id: short_digest(&bytes) })
    }

    /// Names the master key without telling it: stored beside each sealed value.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Seals `plain` for one owner: nonce, then ciphertext with tag.
    pub fn seal(&self, owner: SealedFor, plain: &[u8]) -> Result<Vec<u8>, SecretError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SecretError::Random)?;
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), owner.associated(), &mut sealed)
            .map_err(|_| SecretError::Forged)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`Sealer::seal`] made for the same owner.
    pub fn open(&self, owner: SealedFor, key_id: &str, sealed: &[u8]) -> Result<Vec<u8>, SecretError> {
        if key_id != self.key_id {
            return Err(SecretError::OtherMasterKey(key_id.to_owned()));
        }
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SecretError::Forged)?;
        let mut plain = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length =
            self.key.open_in_place(nonce, owner.associated(), &mut plain).map_err(|_| SecretError::Forged)?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// A fresh master key in the form the configuration takes.
pub fn new_master_key() -> Result<SecretString, SecretError> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| SecretError::Random)?;
    Ok(STANDARD.encode(bytes).into())
}

/// A fresh API key: `rouse_` and 256 random bits.
pub fn new_api_key() -> Result<SecretString, SecretError> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| SecretError::Random)?;
    Ok(format!("rouse_{}", URL_SAFE_NO_PAD.encode(bytes)).into())
}

/// What is stored of an API key. A key has 256 random bits, so a plain digest is enough.
pub fn api_key_hash(key: &str) -> [u8; 32] {
    sha256(key.as_bytes())
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// What the database compares tokens by: the first 16 bytes of SHA-256.
pub fn token_digest(token: &str) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&sha256(token.as_bytes())[..16]);
    out
}

/// Twelve hex digits of SHA-256: enough to compare by eye, useless to an attacker.
pub fn short_digest(bytes: &[u8]) -> String {
    hex(&sha256(bytes)[..6])
}

/// All 64 hex digits of SHA-256.
pub fn hex_digest(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write as _;
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// Compares without telling by its time how much was right.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

/// A device token as the trace and the logs may show it: a short digest.
pub fn masked_token(token: &str) -> String {
    format!("#{}", short_digest(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_for_its_certificate_and_key_only() {
        let sealer = Sealer::new(&new_master_key().unwrap()).unwrap();
        let other = Sealer::new(&new_master_key().unwrap()).unwrap();
        let own = SealedFor::Certificate(CertificateId(7));
        let cipher = sealer.seal(own, b"secret").unwrap();
        assert!(!cipher.windows(6).any(|window| window == b"secret"));
        assert_eq!(sealer.open(own, sealer.key_id(), &cipher).unwrap(), b"secret");
        for stranger in [SealedFor::Certificate(CertificateId(8)), SealedFor::TencentCallback(AppId(7))] {
            assert!(
                matches!(sealer.open(stranger, sealer.key_id(), &cipher), Err(SecretError::Forged)),
                "{stranger:?}"
            );
        }
        assert!(matches!(other.open(own, sealer.key_id(), &cipher), Err(SecretError::OtherMasterKey(_))));
        assert_ne!(cipher, sealer.seal(own, b"secret").unwrap(), "a fresh nonce each time");
    }

    #[test]
    fn what_is_bound_to_an_owner_never_changes() {
        let certificate = SealedFor::Certificate(CertificateId(10_001)).associated();
        assert_eq!(certificate.as_ref(), [0, 0, 0, 0, 0, 0, 0x27, 0x11], "values sealed by older versions must open");
        let callback = SealedFor::TencentCallback(AppId(10_001)).associated();
        assert_eq!(callback.as_ref(), b"tencent-callback\0\0\0\0\0\0\x27\x11");
    }

    #[test]
    fn bad_master_keys_are_refused() {
        for key in ["", "short", "////", &"A".repeat(44)] {
            assert!(Sealer::new(&key.to_owned().into()).is_err(), "{key}");
        }
    }
}

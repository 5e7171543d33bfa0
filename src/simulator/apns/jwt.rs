//! Provider tokens: their form, their signature, and a memory of those already verified.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// How many verified tokens are remembered.
const MAX_VERIFIED: usize = 4_096;
/// R and S, 32 bytes each.
const RAW_SIGNATURE_BYTES: usize = 64;

/// A provider token whose form is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Jwt {
    /// The Key ID.
    pub(super) kid: String,
    /// The Team ID.
    pub(super) iss: String,
    /// When it was issued, epoch seconds.
    pub(super) iat: i64,
    /// How many bytes of the token are signed.
    signed: usize,
    signature: Vec<u8>,
}

/// Reads a token. The error says which rule it breaks. `loose`: as the vendor takes it in practice.
pub(super) fn read(token: &str, loose: bool) -> Result<Jwt, &'static str> {
    let parts: Vec<_> = token.split('.').collect();
    let &[header, claims, signature] = parts.as_slice() else { return Err("JWT is not three parts") };
    let signed = header.len() + 1 + claims.len();
    let decode = |part: &str| {
        let part = if loose { part.trim_end_matches('=').replace('+', "-").replace('/', "_") } else { part.to_owned() };
        URL_SAFE_NO_PAD.decode(part).map_err(|_| "JWT is not unpadded base64url")
    };
    let object = |part: &str| match serde_json::from_slice(&decode(part)?) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err("JWT header or claims are no JSON object"),
    };
    let (header, claims) = (object(header)?, object(claims)?);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(ToOwned::to_owned);
    if header.get("alg").and_then(Value::as_str) != Some("ES256") {
        return Err("JWT alg is not ES256");
    }
    let signature = decode(signature)?;
    if signature.len() != RAW_SIGNATURE_BYTES && !(loose && signature.first() == Some(&0x30)) {
        return Err("JWT signature is not 64 bytes");
    }
    Ok(Jwt {
        kid: text(header.get("kid")).ok_or("JWT has no kid")?,
        iss: text(claims.get("iss")).ok_or("JWT has no iss")?,
        iat: claims.get("iat").and_then(Value::as_i64).ok_or("JWT iat is no integer")?,
        signed,
        signature,
    })
}

impl Jwt {
    fn is_signed_by(&self, token: &str, public: &[u8]) -> bool {
        let signed = token.get(..self.signed).unwrap_or_default().as_bytes();
        let raw = self.signature.len() == RAW_SIGNATURE_BYTES;
        let algorithm = if raw { &ECDSA_P256_SHA256_FIXED } else { &ECDSA_P256_SHA256_ASN1 };
        UnparsedPublicKey::new(algorithm, public).verify(signed, &self.signature).is_ok()
    }
}

/// Tokens that were verified before: one signature check per token, not one per request.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<HashMap<String, Arc<Jwt>>>);

impl Verified {
    /// Reads and verifies a token. `public` names the key for a Key ID; `None` for one that is not known, whose signature
    /// is then not checked.
    pub(super) fn read(
        &self,
        token: &str,
        loose: bool,
        public: impl FnOnce(&str) -> Option<Vec<u8>>,
    ) -> Result<Arc<Jwt>, &'static str> {
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(token) {
            return Ok(Arc::clone(known));
        }
        let jwt = Arc::new(read(token, loose)?);
        if public(&jwt.kid).is_some_and(|public| !jwt.is_signed_by(token, &public)) {
            return Err("JWT signature is wrong");
        }
        let mut verified = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= MAX_VERIFIED {
            verified.clear();
        }
        verified.insert(token.to_owned(), Arc::clone(&jwt));
        Ok(jwt)
    }

    /// Forgets all: a key was added or replaced.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::ApnsKey;

    const HEADER: &str = r#"{"alg":"ES256","kid":"ABC123DEFG"}"#;
    const CLAIMS: &str = r#"{"iss":"TEAM123456","iat":1790000000}"#;

    fn key() -> ApnsKey {
        ApnsKey::generate("ABC123DEFG", "TEAM123456").unwrap()
    }

    #[test]
    fn the_documents_signing_input_is_what_a_key_signs() {
        let token = key().jwt(1_790_000_000).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        assert_eq!(
            signed,
            "eyJhbGciOiJFUzI1NiIsImtpZCI6IkFCQzEyM0RFRkcifQ.eyJpYXQiOjE3OTAwMDAwMDAsImlzcyI6IlRFQU0xMjM0NTYifQ"
        );
        assert_eq!(signature.len(), 86);
        let token = key().sign(HEADER, CLAIMS).unwrap();
        assert!(token.starts_with(
            "eyJhbGciOiJFUzI1NiIsImtpZCI6IkFCQzEyM0RFRkcifQ.eyJpc3MiOiJURUFNMTIzNDU2IiwiaWF0IjoxNzkwMDAwMDAwfQ."
        ));
    }

    #[test]
    fn each_rule_of_the_form_is_checked() {
        let key = key();
        let cases = [
            (r#"{"alg":"RS256","kid":"A"}"#, CLAIMS, "JWT alg is not ES256"),
            (r#"{"alg":"ES256"}"#, CLAIMS, "JWT has no kid"),
            (HEADER, r#"{"iat":1}"#, "JWT has no iss"),
            (HEADER, r#"{"iss":"T","iat":"1"}"#, "JWT iat is no integer"),
            (HEADER, r#"{"iss":"T","iat":1.5}"#, "JWT iat is no integer"),
            (HEADER, "[]", "JWT header or claims are no JSON object"),
        ];
        for (header, claims, rule) in cases {
            assert_eq!(read(&key.sign(header, claims).unwrap(), false), Err(rule), "{header} {claims}");
        }
        let good = key.sign(r#"{"typ":"JWT","kid":"A","alg":"ES256"}"#, CLAIMS).unwrap();
        assert!(read(&good, false).is_ok());
        assert_eq!(read("a.b", false), Err("JWT is not three parts"));
        assert_eq!(read(&format!("{good}=="), false), Err("JWT is not unpadded base64url"));
        assert!(read(&format!("{good}=="), true).is_ok());
        let short = good.get(..good.len() - 2).unwrap();
        assert_eq!(read(short, false), Err("JWT signature is not 64 bytes"));
    }

    #[test]
    fn a_signature_is_verified_once_until_keys_change() {
        let (key, other) = (key(), key());
        let token = key.jwt(1).unwrap();
        let verified = Verified::default();
        let wrong = verified.read(&token, false, |_| Some(other.public.clone()));
        assert_eq!(wrong, Err("JWT signature is wrong"));
        assert!(verified.read(&token, false, |_| Some(key.public.clone())).is_ok());
        assert!(verified.read(&token, false, |_| Some(other.public.clone())).is_ok(), "remembered");
        verified.forget();
        assert!(verified.read(&token, false, |_| Some(other.public.clone())).is_err());
        assert!(verified.read(&token, false, |_| None).is_ok(), "an unknown key: form only");
    }
}

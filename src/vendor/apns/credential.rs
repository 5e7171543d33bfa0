//! What proves to Apple who sends: a .p8 key that signs tokens, or a client certificate from a .p12 or PEM file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey};
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use secrecy::{ExposeSecret, SecretString};
use x509_parser::der_parser::ber::BerObjectContent;
use x509_parser::der_parser::parse_der;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::account::Account;
use crate::secrets::sha256;
use crate::vendor::tls::{Identity, TlsError, http2_connector};

/// The topics a certificate may be used for: a sequence of texts and of lists of texts.
const TOPICS_EXTENSION: &str = "1.2.840.113635.100.6.3.6";
/// The subject's `UID` is the bundle id.
const UID: &str = "0.9.2342.19200300.100.1.1";

/// A field of an account that does not make a credential.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct CredentialError {
    pub field: &'static str,
    pub message: String,
}

impl CredentialError {
    fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) enum Credential {
    Key(Key),
    Certificate(ClientCertificate),
}

/// A .p8 key with its names.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "Apple's own names: key id, team id")]
pub(super) struct Key {
    pub(super) key_id: String,
    pub(super) team_id: String,
    pub(super) pem: SecretString,
}

/// A client certificate with its key.
#[derive(Debug)]
pub(super) struct ClientCertificate {
    /// Both as PEM, the certificate chain first.
    pem: SecretString,
    /// The leaf, DER.
    leaf: Vec<u8>,
    /// The field it came in.
    field: &'static str,
}

impl Credential {
    /// Reads the one credential that the account holds.
    /// # Errors
    /// None or more than one is given, or it does not work; the error names the field.
    pub(super) fn read(account: &Account) -> Result<Self, CredentialError> {
        let kinds = [
            account.key_p8.is_some() || account.key_id.is_some() || account.team_id.is_some(),
            account.p12.is_some() || account.p12_password.is_some(),
            account.certificate_pem.is_some() || account.key_pem.is_some(),
        ];
        match kinds {
            [true, false, false] => Key::read(account).map(Self::Key),
            [false, true, false] => ClientCertificate::from_p12(account).map(Self::Certificate),
            [false, false, true] => ClientCertificate::from_pem(account).map(Self::Certificate),
            [false, false, false] => Err(CredentialError::new(
                "key_p8",
                "is missing: give key_p8, key_id and team_id; or p12 and p12_password; or certificate_pem and key_pem",
            )),
            [has_key, ..] => {
                let field = if has_key { "key_p8" } else { "p12" };
                let message = "one credential at a time: a .p8 key, a .p12 file or PEM; set the other fields to null";
                Err(CredentialError::new(field, message))
            }
        }
    }

    /// Names the credential: the same one has the same digest.
    pub(super) fn digest(&self) -> [u8; 32] {
        match self {
            Self::Key(key) => {
                sha256(format!("{}\n{}\n{}", key.team_id, key.key_id, key.pem.expose_secret()).as_bytes())
            }
            Self::Certificate(certificate) => sha256(certificate.pem.expose_secret().as_bytes()),
        }
    }

    /// What can be known of it without asking Apple: that it may be used now, for this topic.
    pub(super) fn check(&self, topic: &str, now: DateTime<Utc>) -> Result<(), CredentialError> {
        match self {
            Self::Key(key) => key.encoding_key().map(drop),
            Self::Certificate(certificate) => certificate.check(topic, now),
        }
    }
}

impl Key {
    fn read(account: &Account) -> Result<Self, CredentialError> {
        let pem = account.key_p8.clone().ok_or_else(|| CredentialError::new("key_p8", "is missing"))?;
        let name = |field, value: &Option<_>| ten_letters(field, value.as_deref());
        Ok(Self {
            key_id: name("key_id", &account.key_id)?,
            team_id: name("team_id", &account.team_id)?,
            pem: SecretString::from(pem.expose_secret().trim().to_owned()),
        })
    }

    /// The key, after a signature to try it.
    pub(super) fn encoding_key(&self) -> Result<EncodingKey, CredentialError> {
        let wrong = || {
            let message = "must be the text of Apple's .p8 file: -----BEGIN PRIVATE KEY-----, an EC key of curve P-256";
            CredentialError::new("key_p8", message)
        };
        let key = EncodingKey::from_ec_pem(self.pem.expose_secret().as_bytes()).map_err(|_| wrong())?;
        jsonwebtoken::crypto::sign(b"try", &key, Algorithm::ES256).map_err(|_| wrong())?;
        Ok(key)
    }
}

fn ten_letters(field: &'static str, value: Option<&str>) -> Result<String, CredentialError> {
    let value = value.ok_or_else(|| CredentialError::new(field, "is missing"))?;
    let is_plain = value.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if value.len() == 10 && is_plain {
        Ok(value.to_owned())
    } else {
        Err(CredentialError::new(field, "must be the 10 capital letters and digits that Apple shows"))
    }
}

impl ClientCertificate {
    fn from_p12(account: &Account) -> Result<Self, CredentialError> {
        let wrong = |message: &str| CredentialError::new("p12", message);
        let encoded = account.p12.as_ref().ok_or_else(|| wrong("is missing"))?;
        let plain: String = encoded.expose_secret().chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let file = STANDARD.decode(plain).map_err(|_| wrong("must be the .p12 file in base64"))?;
        let password = account.p12_password.as_ref().map_or("", |password| password.expose_secret());
        let store = KeyStore::from_pkcs12(&file, password, Pkcs12ImportPolicy::Strict)
            .map_err(|error| wrong(&format!("does not open: {error}; is p12_password right?")))?;
        let (_, chain) = store.private_key_chain().ok_or_else(|| wrong("holds no private key with its certificate"))?;
        let mut pem = String::new();
        for certificate in chain.certs() {
            pem.push_str(&armoured("CERTIFICATE", certificate.as_der()));
        }
        pem.push_str(&armoured("PRIVATE KEY", chain.key().as_der()));
        let leaf = chain.certs().first().map(|leaf| leaf.as_der().to_vec()).unwrap_or_default();
        Ok(Self { pem: pem.into(), leaf, field: "p12" })
    }

    fn from_pem(account: &Account) -> Result<Self, CredentialError> {
        let missing = |field| CredentialError::new(field, "is missing");
        let certificate = account.certificate_pem.as_ref().ok_or_else(|| missing("certificate_pem"))?;
        let key = account.key_pem.as_ref().ok_or_else(|| missing("key_pem"))?;
        let (certificate, key) = (certificate.expose_secret().trim(), key.expose_secret().trim());
        if !key.contains("PRIVATE KEY-----") || key.contains("ENCRYPTED") {
            let message = "must be a PEM private key without a password: -----BEGIN PRIVATE KEY-----";
            return Err(CredentialError::new("key_pem", message));
        }
        let (_, parsed) = x509_parser::pem::parse_x509_pem(certificate.as_bytes())
            .map_err(|_| CredentialError::new("certificate_pem", "must begin with -----BEGIN CERTIFICATE-----"))?;
        let pem = format!("{certificate}\n{key}\n").into();
        Ok(Self { pem, leaf: parsed.contents, field: "certificate_pem" })
    }

    /// As the TLS client takes it.
    pub(super) fn identity(&self) -> Result<Identity, TlsError> {
        Identity::from_pem(self.pem.expose_secret().as_bytes())
    }

    fn check(&self, topic: &str, now: DateTime<Utc>) -> Result<(), CredentialError> {
        let (_, leaf) = X509Certificate::from_der(&self.leaf)
            .map_err(|_| CredentialError::new(self.field, "holds no X.509 certificate"))?;
        let expires_at = DateTime::from_timestamp(leaf.validity().not_after.timestamp(), 0);
        if let Some(expired_at) = expires_at.filter(|at| *at <= now) {
            let message = format!("the certificate expired on {}", expired_at.date_naive());
            return Err(CredentialError::new(self.field, message));
        }
        let topics = topics(&leaf);
        if !topics.is_empty() && !topics.iter().any(|known| known == topic) {
            return Err(CredentialError::new("topic", format!("the certificate is for {}", topics.join(", "))));
        }
        // The TLS client finds out whether the key is the certificate's.
        let field = if self.field == "p12" { "p12" } else { "key_pem" };
        let wrong = || CredentialError::new(field, "is not the private key of the certificate");
        let identity = self.identity().map_err(|_| wrong())?;
        http2_connector(None, Some(identity)).map(drop).map_err(|_| wrong())
    }
}

/// The topics a certificate names; none where it names none.
fn topics(certificate: &X509Certificate<'_>) -> Vec<String> {
    let listed = certificate.extensions().iter().find(|extension| extension.oid.to_id_string() == TOPICS_EXTENSION);
    if let Some(extension) = listed {
        return texts(extension.value);
    }
    let uids = certificate.subject().iter_attributes().filter(|attribute| attribute.attr_type().to_id_string() == UID);
    uids.filter_map(|attribute| attribute.as_str().ok().map(str::to_owned)).collect()
}

/// The texts of the extension's sequence; the lists between them say what each topic is.
fn texts(extension: &[u8]) -> Vec<String> {
    let Ok((_, object)) = parse_der(extension) else { return Vec::new() };
    let BerObjectContent::Sequence(items) = object.content else { return Vec::new() };
    items
        .into_iter()
        .filter_map(|item| match item.content {
            BerObjectContent::UTF8String(text) => Some(text.to_owned()),
            _ => None,
        })
        .collect()
}

fn armoured(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};

    use super::*;
    use serde_json::{Value, json};

    /// A fresh key with these names.
    pub(in crate::vendor::apns) fn key(key_id: &str, team_id: &str) -> Key {
        let pem = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
        Key { key_id: key_id.to_owned(), team_id: team_id.to_owned(), pem: pem.into() }
    }

    fn account(credential: &Value) -> Account {
        let mut fields = json!({"topic": "com.example.chat", "environment": "sandbox"});
        fields.as_object_mut().unwrap().extend(credential.as_object().unwrap().clone());
        serde_json::from_value(fields).unwrap()
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    fn checked(credential: &Value) -> Result<(), (&'static str, String)> {
        let account = account(credential);
        Credential::read(&account)
            .and_then(|credential| credential.check(&account.topic, now()))
            .map_err(|error| (error.field, error.message))
    }

    /// A self-signed certificate for topics, as PEM, with its key.
    fn certificate(uid: &str, topics: &[&str], until_year: i32) -> (String, String) {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
        params.distinguished_name.push(DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 1]), uid);
        if !topics.is_empty() {
            let mut content = Vec::new();
            for topic in topics {
                content.extend([0x0c, u8::try_from(topic.len()).unwrap()]);
                content.extend(topic.as_bytes());
                content.extend([0x30, 5, 0x0c, 3]);
                content.extend(b"app");
            }
            let mut sequence = vec![0x30, u8::try_from(content.len()).unwrap()];
            sequence.extend(content);
            let oid = [1, 2, 840, 113_635, 100, 6, 3, 6];
            params.custom_extensions.push(CustomExtension::from_oid_content(&oid, sequence));
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_key_is_read_and_tried() {
        let pem = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
        let good = json!({"key_p8": pem, "key_id": "ABC123DEFG", "team_id": "TEAM123456"});
        assert_eq!(checked(&good), Ok(()));
        let other_curve = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
        for (change, field) in [
            (json!({"key_p8": "not a key"}), "key_p8"),
            (json!({"key_p8": other_curve}), "key_p8"),
            (json!({"key_p8": null}), "key_p8"),
            (json!({"key_id": "short"}), "key_id"),
            (json!({"key_id": null}), "key_id"),
            (json!({"team_id": "com.exampl"}), "team_id"),
            (json!({"p12": "AAAA"}), "key_p8"),
        ] {
            let mut changed = good.clone();
            changed.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            assert_eq!(checked(&changed).unwrap_err().0, field, "{change}");
        }
        assert_eq!(checked(&json!({})).unwrap_err().0, "key_p8");
    }

    #[test]
    fn a_certificate_is_for_its_topics_and_its_time() {
        let (pem, key) = certificate("com.example.chat", &[], 2040);
        let pair = |pem: &str, key: &str| json!({"certificate_pem": pem, "key_pem": key});
        assert_eq!(checked(&pair(&pem, &key)), Ok(()));
        let (listed, listed_key) = certificate("com.example", &["com.example", "com.example.chat"], 2040);
        assert_eq!(checked(&pair(&listed, &listed_key)), Ok(()), "the list beats the subject");
        let (other, other_key) = certificate("com.example.other", &[], 2040);
        assert_eq!(
            checked(&pair(&other, &other_key)).unwrap_err(),
            ("topic", "the certificate is for com.example.other".to_owned())
        );
        let (old, old_key) = certificate("com.example.chat", &[], 2021);
        let expired = "the certificate expired on 2021-01-01".to_owned();
        assert_eq!(checked(&pair(&old, &old_key)).unwrap_err(), ("certificate_pem", expired));
        assert_eq!(checked(&pair(&pem, &other_key)).unwrap_err().0, "key_pem", "the key of another certificate");
        assert_eq!(checked(&pair("nonsense", &key)).unwrap_err().0, "certificate_pem");
        assert_eq!(checked(&pair(&pem, "nonsense")).unwrap_err().0, "key_pem");
        assert_eq!(checked(&json!({"certificate_pem": pem})).unwrap_err().0, "key_pem");
    }

    /// Files made by `openssl pkcs12 -export`, with `-legacy` (RC2 and 3DES, as old key chains export) and without (AES).
    #[test]
    fn old_and_new_p12_files_open_with_their_password_only() {
        for file in [include_bytes!("testdata/legacy.p12").as_slice(), include_bytes!("testdata/modern.p12")] {
            let p12 = STANDARD.encode(file);
            assert_eq!(checked(&json!({"p12": p12, "p12_password": "hunter2"})), Ok(()));
            assert_eq!(checked(&json!({"p12": p12, "p12_password": "wrong"})).unwrap_err().0, "p12");
            assert_eq!(checked(&json!({"p12": p12})).unwrap_err().0, "p12");
        }
        assert_eq!(checked(&json!({"p12": "???"})).unwrap_err().0, "p12");
        assert_eq!(checked(&json!({"p12": "AAAA"})).unwrap_err().0, "p12");
    }

    #[test]
    fn the_digest_names_the_credential() {
        let digest = |key: &Key| {
            let fields = json!({"key_p8": key.pem.expose_secret(), "key_id": key.key_id, "team_id": key.team_id});
            Credential::read(&account(&fields)).unwrap().digest()
        };
        let one = key("ABC123DEFG", "TEAM123456");
        assert_eq!(digest(&one), digest(&one));
        assert_ne!(digest(&one), digest(&key("ABC123DEFG", "TEAM123456")));
    }
}

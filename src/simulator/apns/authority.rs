//! The certificates of the stand-in's world: its server's, and those it issues to apps.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use p12_keystore::{KeyStore, KeyStoreEntry, PrivateKeyChain};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::key::ApnsCredentialError;
use super::world::ApnsEnvironment;
use crate::simulator::clock::system_clock;
use crate::simulator::http2::server_config;

const DAY_S: i64 = 24 * 60 * 60;
/// The attribute `UID` of a subject.
const UID: [u64; 7] = [0, 9, 2342, 19_200_300, 100, 1, 1];
/// The extension that lists the topics.
const TOPICS: [u64; 8] = [1, 2, 840, 113_635, 100, 6, 3, 4];
/// The older place of the same list.
const TOPIC_LIST: [u64; 8] = [1, 2, 840, 113_635, 100, 6, 3, 6];

/// Signs the certificate of stand-in servers, and issues client certificates. Clones share it, so that several servers, and
/// one before and after a restart, have one CA.
#[derive(Clone)]
pub struct ApnsAuthority(Arc<Authority>);

struct Authority {
    ca_pem: String,
    server: CertificateDer<'static>,
    server_key: Vec<u8>,
    clients: Issuer<'static, KeyPair>,
    issued: Mutex<HashMap<Vec<u8>, Issued>>,
}

/// What the authority knows of a certificate that it issued.
#[derive(Debug, Clone)]
pub(super) struct Issued {
    pub(super) topics: Vec<String>,
    pub(super) environment: Option<ApnsEnvironment>,
    pub(super) valid_s: [i64; 2],
    pub(super) is_revoked: bool,
}

/// What a client certificate is to cover.
#[derive(Debug, Clone)]
pub struct ApnsCertificateOrder {
    /// The topics; the first is the bundle id.
    pub topics: Vec<String>,
    /// The environment; `None`: both.
    pub environment: Option<ApnsEnvironment>,
    /// From when, epoch seconds.
    pub not_before_s: i64,
    /// Until when, epoch seconds.
    pub not_after_s: i64,
}

impl ApnsCertificateOrder {
    /// For one app, both environments, from yesterday for 398 days.
    pub fn new(topic: &str) -> Self {
        let now_s = system_clock()() / 1_000;
        Self {
            topics: vec![topic.to_owned()],
            environment: None,
            not_before_s: now_s - DAY_S,
            not_after_s: now_s + 397 * DAY_S,
        }
    }
}

/// A client certificate with its key.
#[derive(Debug, Clone)]
pub struct ApnsCertificate {
    der: Vec<u8>,
    key_der: Vec<u8>,
    certificate_pem: String,
    key_pem: String,
}

impl ApnsCertificate {
    /// The certificate as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key as PEM, PKCS#8.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Both as a PKCS#12 file.
    ///
    /// # Errors
    /// [`ApnsCredentialError::Pkcs12`].
    pub fn p12(&self, password: &str) -> Result<Vec<u8>, ApnsCredentialError> {
        let key = p12_keystore::PrivateKey::from_der(&self.key_der)?;
        let chain = PrivateKeyChain::new("apns", key, [p12_keystore::Certificate::from_der(&self.der)?]);
        let mut store = KeyStore::new();
        store.add_entry("apns", KeyStoreEntry::PrivateKeyChain(chain));
        Ok(store.writer(password).write()?)
    }

    /// The certificate as DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.der
    }

    /// The private key as DER, PKCS#8.
    pub fn key_der(&self) -> &[u8] {
        &self.key_der
    }
}

impl ApnsAuthority {
    /// A new CA with a server certificate for `127.0.0.1`, `::1` and `localhost`, and a CA for client certificates.
    ///
    /// # Errors
    /// [`ApnsCredentialError::Generate`].
    pub fn generate() -> Result<Self, ApnsCredentialError> {
        let (ca, ca_pem) = issuer("Rouse simulator CA")?;
        let names = ["127.0.0.1", "::1", "localhost"].map(ToOwned::to_owned);
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = named("Rouse simulator");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now_s = system_clock()() / 1_000;
        set_validity(&mut params, now_s - DAY_S, now_s + 397 * DAY_S);
        let key = KeyPair::generate()?;
        let server = params.signed_by(&key, &ca)?;
        Ok(Self(Arc::new(Authority {
            ca_pem,
            server: server.der().clone(),
            server_key: key.serialize_der(),
            clients: issuer("Rouse simulator client CA")?.0,
            issued: Mutex::default(),
        })))
    }

    /// The CA certificate that a client must trust, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.0.ca_pem
    }

    /// Writes the CA certificate to a file: the value of Rouse's setting `vendors.extra_ca_file`.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write_ca(&self, path: &Path) -> std::io::Result<()> {
        std::fs::write(path, self.ca_pem())
    }

    /// Issues a client certificate.
    ///
    /// # Errors
    /// [`ApnsCredentialError::Generate`].
    pub fn issue(&self, order: &ApnsCertificateOrder) -> Result<ApnsCertificate, ApnsCredentialError> {
        let bundle_id = order.topics.first().map(String::as_str).unwrap_or_default();
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("Apple Push Services: {bundle_id}"));
        params.distinguished_name.push(DnType::CustomDnType(UID.to_vec()), bundle_id);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let topics = der::topics(&order.topics);
        params.custom_extensions =
            [TOPICS, TOPIC_LIST].map(|oid| CustomExtension::from_oid_content(&oid, topics.clone())).to_vec();
        set_validity(&mut params, order.not_before_s, order.not_after_s);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0.clients)?;
        let der = certificate.der().to_vec();
        let issued = Issued {
            topics: order.topics.clone(),
            environment: order.environment,
            valid_s: [order.not_before_s, order.not_after_s],
            is_revoked: false,
        };
        self.issued().insert(der.clone(), issued);
        let (certificate_pem, key_pem) = (certificate.pem(), key.serialize_pem());
        Ok(ApnsCertificate { der, key_der: key.serialize_der(), certificate_pem, key_pem })
    }

    /// From now on the certificate is refused.
    pub fn revoke(&self, certificate: &ApnsCertificate) {
        if let Some(issued) = self.issued().get_mut(&certificate.der) {
            issued.is_revoked = true;
        }
    }

    /// What it issued under these very bytes.
    pub(super) fn find(&self, der: &[u8]) -> Option<Issued> {
        self.issued().get(der).cloned()
    }

    pub(super) fn server_config(&self) -> Result<Arc<ServerConfig>, tokio_rustls::rustls::Error> {
        server_config(self.0.server.clone(), PrivatePkcs8KeyDer::from(self.0.server_key.clone()).into())
    }

    fn issued(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Issued>> {
        self.0.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn issuer(name: &str) -> Result<(Issuer<'static, KeyPair>, String), ApnsCredentialError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let now_s = system_clock()() / 1_000;
    set_validity(&mut params, now_s - DAY_S, now_s + 3_650 * DAY_S);
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn set_validity(params: &mut CertificateParams, from_s: i64, until_s: i64) {
    let at = |epoch_s: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(epoch_s.unsigned_abs());
    params.not_before = at(from_s);
    params.not_after = at(until_s);
}

/// The few bytes of DER that are needed.
mod der {
    const UTF8_STRING: u8 = 0x0c;
    const SEQUENCE: u8 = 0x30;

    /// `SEQUENCE { topic, SEQUENCE { kind }, ... }`, all texts `UTF8String`.
    pub(super) fn topics(topics: &[String]) -> Vec<u8> {
        let pairs = topics.iter().flat_map(|topic| {
            let kind = if topic.rsplit('.').next() == Some("voip") { "voip" } else { "app" };
            [value(UTF8_STRING, topic.as_bytes()), value(SEQUENCE, &value(UTF8_STRING, kind.as_bytes()))].concat()
        });
        value(SEQUENCE, &pairs.collect::<Vec<_>>())
    }

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
        let mut out = vec![tag];
        match (content.len(), u8::try_from(significant.len())) {
            (0..128, _) | (_, Err(_)) => out.push(significant.first().copied().unwrap_or(0)),
            (_, Ok(bytes)) => {
                out.push(0x80 | bytes);
                out.extend(&significant);
            }
        }
        out.extend(content);
        out
    }
}

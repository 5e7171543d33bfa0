//! From a stored certificate to a ready adapter, and from a posted one to what is stored. The one list of vendors that
//! have an adapter.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::access_token::{AccessToken, Grant};
pub use super::account::{FieldError, Posted};
use super::http::{HttpClientError, HttpOptions, client};
use super::shared::Shared;
use super::{Vendor, apns, huawei, meizu, oppo, vivo, xiaomi};
use crate::clock::Clock;
use crate::config::Vendors;
use crate::domain::certificate::{Certificate, VendorKind};
use crate::secrets::{SealedFor, Sealer, SecretError, sha256};

/// Fields as they were posted.
pub(super) type Fields = Map<String, Value>;
/// A ready adapter, or why there is none.
pub(super) type Built = Result<Arc<dyn Vendor>, BuildError>;

/// What the registry asks of an adapter's module.
pub(super) struct Adapter {
    pub kind: VendorKind,
    /// Reads the vendor's own fields of a posted certificate, and its defaults.
    pub take_apart: fn(Fields, Value, DateTime<Utc>) -> Result<Posted, FieldError>,
    /// Checks a reported token's syntax; answers it as it is stored, or a sentence for the caller.
    pub check_token: fn(&str) -> Result<String, String>,
    /// Makes the adapter of a stored certificate from the same fields.
    pub build: fn(Fields, Value, &Kit) -> Built,
}

/// The vendors that can be sent to, in the order in which they are listed.
const ADAPTERS: [&Adapter; 6] =
    [&apns::ADAPTER, &xiaomi::ADAPTER, &huawei::ADAPTER, &meizu::ADAPTER, &vivo::ADAPTER, &oppo::ADAPTER];

/// What adapters are made with, the same for all.
#[derive(Debug)]
pub(super) struct Kit {
    /// HTTP/1.1, one pool for all hosts.
    pub http: reqwest::Client,
    pub hosts: Vendors,
    pub clock: Clock,
    pub apns: apns::Connector,
    access_tokens: Shared<[u8; 32], AccessToken>,
}

impl Kit {
    /// The access token of a credential at a host: the same for all certificates that have it.
    pub(super) fn access_token<G: Grant + 'static>(
        &self,
        vendor: VendorKind,
        credential: &[&str],
        grant: G,
    ) -> Arc<AccessToken> {
        // Length before each part, so that no two credentials read the same.
        let parts = std::iter::once(vendor.as_str()).chain(credential.iter().copied());
        let parts: Vec<String> = parts.map(|part| format!("{}:{part}", part.len())).collect();
        let made = self.access_tokens.get_or_make(sha256(parts.concat().as_bytes()), || {
            Ok::<_, std::convert::Infallible>(AccessToken::new(vendor, grant))
        });
        let Ok(token) = made;
        token
    }
}

/// Why a stored certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Sealed(#[from] SecretError),
    #[error("the stored certificate is not readable: {0}")]
    Stored(String),
    #[error(transparent)]
    Apns(#[from] apns::ConnectError),
}

impl From<FieldError> for BuildError {
    fn from(error: FieldError) -> Self {
        Self::Stored(error.to_string())
    }
}

/// The adapter of a vendor, where there is one.
fn adapter(kind: VendorKind) -> Option<&'static Adapter> {
    ADAPTERS.into_iter().find(|adapter| adapter.kind == kind)
}

/// Whether a vendor can be sent to.
pub fn is_supported(kind: VendorKind) -> bool {
    adapter(kind).is_some()
}

/// The vendors that can be sent to.
pub fn supported() -> impl Iterator<Item = VendorKind> {
    ADAPTERS.into_iter().map(|adapter| adapter.kind)
}

/// Reads the vendor's own fields of a certificate (`fields`: account and `defaults`), all of them.
/// # Errors
/// The first field that is missing, unknown or wrong; a credential that cannot work at `now`.
pub fn read_account(
    kind: VendorKind,
    mut fields: Map<String, Value>,
    now: DateTime<Utc>,
) -> Result<Posted, FieldError> {
    let defaults = fields.remove("defaults").unwrap_or_else(|| json!({}));
    let adapter = adapter(kind).ok_or_else(unsupported)?;
    (adapter.take_apart)(fields, defaults, now)
}

/// Checks a reported token's syntax; answers it as it is stored.
/// # Errors
/// A sentence for the caller.
pub fn check_token(kind: VendorKind, token: &str) -> Result<String, String> {
    adapter(kind).map_or_else(|| Ok(token.to_owned()), |adapter| (adapter.check_token)(token))
}

/// The error for a vendor without an adapter.
pub fn unsupported() -> FieldError {
    let names: Vec<_> = supported().map(VendorKind::as_str).collect();
    FieldError::new("vendor", format!("must be one of: {}", names.join(", ")))
}

/// Builds adapters.
#[derive(Debug)]
pub struct Registry(pub(super) Kit);

impl Registry {
    /// With the vendor settings.
    pub fn new(settings: &Vendors, clock: Clock) -> Result<Self, HttpClientError> {
        let extra_ca = Some(settings.extra_ca_file.clone()).filter(|path| !path.as_os_str().is_empty());
        let options = HttpOptions {
            connect_timeout: Duration::from_millis(settings.connect_timeout_ms),
            call_timeout: Duration::from_millis(settings.call_timeout_ms),
            idle_connections: settings.idle_connections,
            extra_ca_file: extra_ca,
        };
        let http = client(&options)?;
        let pool = &settings.apns;
        let apns = apns::Connector::new(clock.clone(), options, pool.connections, pool.streams_per_connection);
        Ok(Self(Kit { http, hosts: settings.clone(), clock, apns, access_tokens: Shared::default() }))
    }

    /// Opens a certificate's secrets and makes its adapter.
    pub fn build(&self, certificate: &Certificate, sealer: &Sealer) -> Result<Arc<dyn Vendor>, BuildError> {
        let owner = SealedFor::Certificate(certificate.certificate_id);
        let plain = sealer.open(owner, &certificate.key_id, &certificate.sealed)?;
        let mut fields = stored_fields(certificate, &plain)?;
        let defaults = fields.remove("defaults").unwrap_or_default();
        let kind = certificate.vendor;
        let adapter = adapter(kind).ok_or_else(|| BuildError::Stored(format!("no adapter for {kind}")))?;
        (adapter.build)(fields, defaults, &self.0)
    }
}

/// The fields of a stored certificate as they were posted, secrets included: what an edit is merged into.
pub fn stored_fields(certificate: &Certificate, opened_secrets: &[u8]) -> Result<Map<String, Value>, BuildError> {
    let secrets: Map<String, Value> =
        serde_json::from_slice(opened_secrets).map_err(|error| BuildError::Stored(error.to_string()))?;
    let mut fields = certificate.identifiers.as_object().cloned().unwrap_or_default();
    fields.extend(secrets);
    if certificate.vendor != VendorKind::Apns {
        // Apple's topic is among the identifiers.
        fields.insert("package_name".to_owned(), certificate.package_name.clone().into());
    }
    fields.insert("defaults".to_owned(), certificate.defaults.clone());
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: VendorKind, fields: &Value, change: &Value) -> Result<Posted, FieldError> {
        let mut fields = fields.as_object().unwrap().clone();
        fields.extend(change.as_object().unwrap().clone());
        read_account(kind, fields, DateTime::UNIX_EPOCH)
    }

    fn xiaomi(change: &Value) -> Result<Posted, FieldError> {
        let fields = json!({"package_name": "com.example.chat", "app_id": "1", "app_secret": "s"});
        read(VendorKind::Xiaomi, &fields, change)
    }

    #[test]
    fn secrets_are_kept_apart_from_what_may_be_shown() {
        let account = xiaomi(&json!({"region": "eu", "defaults": {"channel_id": "c"}})).unwrap();
        assert_eq!(account.identifiers, json!({"app_id": "1", "region": "eu"}));
        assert_eq!(account.secrets, json!({"app_secret": "s"}));
        assert_eq!(account.defaults, json!({"channel_id": "c"}));
        let vivo = json!({"package_name": "com.example.chat", "app_id": "10004", "app_key": "k", "app_secret": "s"});
        let account = read(VendorKind::Vivo, &vivo, &json!({})).unwrap();
        assert_eq!(account.identifiers, json!({"app_id": "10004", "app_key": "k"}));
        assert_eq!(account.secrets, json!({"app_secret": "s"}));
        let oppo = json!({"package_name": "com.example.chat", "app_key": "k", "master_secret": "s"});
        let account = read(VendorKind::Oppo, &oppo, &json!({})).unwrap();
        assert_eq!(account.identifiers, json!({"app_key": "k", "region": "cn"}));
        assert_eq!(account.secrets, json!({"master_secret": "s"}));
    }

    #[test]
    fn a_token_that_would_name_other_devices_is_refused() {
        assert!(check_token(VendorKind::Xiaomi, "//9TSU0tWElBT01J+L3g=").is_ok());
        for kind in [VendorKind::Xiaomi, VendorKind::Meizu] {
            for token in ["a,b", "a b", "a\n", "é"] {
                assert!(check_token(kind, token).is_err(), "{kind} {token}");
            }
        }
        for kind in [VendorKind::Huawei, VendorKind::Vivo, VendorKind::Oppo] {
            assert!(check_token(kind, "a,b").is_ok() && check_token(kind, "a b").is_err(), "{kind}");
        }
    }

    #[test]
    fn errors_name_the_field() {
        for (change, field) in [
            (json!({"app_secret": ""}), "app_secret"),
            (json!({"app_secret": "a b"}), "app_secret"),
            (json!({"app_id": 5}), "app_id"),
            (json!({"region": "moon"}), "region"),
            (json!({"app_key": "x"}), "app_key"),
            (json!({"defaults": {"chanel": "x"}}), "defaults.chanel"),
            (json!({"defaults": {"template_id": "P1"}}), "defaults.template_params"),
            (json!({"defaults": 5}), "defaults"),
        ] {
            assert_eq!(xiaomi(&change).unwrap_err().field, field, "{change}");
        }
        let of_nothing = |kind| read_account(kind, Map::new(), DateTime::UNIX_EPOCH).unwrap_err();
        for kind in supported().filter(|kind| *kind != VendorKind::Apns) {
            assert_eq!(of_nothing(kind).field, "package_name", "{kind}");
        }
        assert_eq!(of_nothing(VendorKind::Fcm).field, "vendor");
    }
}

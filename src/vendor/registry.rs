//! From a stored certificate to a ready adapter, and from a posted one to what is stored. The one list of vendors that
//! have an adapter.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::http::{HttpClientError, HttpOptions, client};
use super::{Vendor, apns, xiaomi};
use crate::clock::Clock;
use crate::config::Vendors;
use crate::domain::certificate::{Certificate, VendorKind};
use crate::secrets::{Sealer, SecretError};

/// The vendors that can be sent to.
pub const SUPPORTED: [VendorKind; 2] = [VendorKind::Apns, VendorKind::Xiaomi];

/// A field of a posted certificate that is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

/// A posted certificate, taken apart for the store.
#[derive(Debug, PartialEq)]
pub struct Account {
    pub package_name: String,
    pub identifiers: Value,
    /// The secret fields: to be sealed.
    pub secrets: Value,
    pub defaults: Value,
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

/// Reads the vendor's own fields of a certificate (`fields`: account and `defaults`), all of them.
/// # Errors
/// The first field that is missing, unknown or wrong; a credential that cannot work at `now`.
pub fn read_account(
    kind: VendorKind,
    mut fields: Map<String, Value>,
    now: DateTime<Utc>,
) -> Result<Account, FieldError> {
    let defaults = fields.remove("defaults").unwrap_or_else(|| json!({}));
    match kind {
        VendorKind::Apns => apns::taken_apart(fields, defaults, now),
        VendorKind::Xiaomi => {
            let account: xiaomi::Account = read("", Value::Object(fields))?;
            let defaults: xiaomi::Defaults = read("defaults.", defaults)?;
            defaults.check().map_err(|(field, message)| FieldError { field: field.to_owned(), message })?;
            if account.app_secret.expose_secret().is_empty() || account.app_secret.expose_secret().len() > 256 {
                let message = "must be 1 to 256 bytes".to_owned();
                return Err(FieldError { field: "app_secret".to_owned(), message });
            }
            if !account.app_secret.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
                let message = "must be printable ASCII without blanks: it travels in a header".to_owned();
                return Err(FieldError { field: "app_secret".to_owned(), message });
            }
            Ok(Account {
                identifiers: json!({"app_id": account.app_id, "region": account.region}),
                secrets: json!({"app_secret": account.app_secret.expose_secret()}),
                defaults: serde_json::to_value(&defaults).unwrap_or_default(),
                package_name: account.package_name.into_string(),
            })
        }
        _ => Err(unsupported()),
    }
}

/// Checks a reported token's syntax; answers it as it is stored. Xiaomi's are joined by commas in a call, so one with a
/// comma would name other devices.
/// # Errors
/// A sentence for the caller.
pub fn check_token(kind: VendorKind, token: &str) -> Result<String, String> {
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    match kind {
        VendorKind::Apns => apns::check_token(token),
        VendorKind::Xiaomi if !is_plain || token.contains(',') => {
            Err("must be printable ASCII without blanks and commas, as Xiaomi issues it".to_owned())
        }
        _ => Ok(token.to_owned()),
    }
}

/// The error for a vendor without an adapter.
pub fn unsupported() -> FieldError {
    let names: Vec<_> = SUPPORTED.iter().map(|kind| kind.as_str()).collect();
    FieldError { field: "vendor".to_owned(), message: format!("must be one of: {}", names.join(", ")) }
}

/// Reads an account or its defaults; errors name the field behind `prefix`.
pub(super) fn read<T: DeserializeOwned>(prefix: &str, value: Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let message = error.inner().to_string();
        let path = error.path().to_string();
        let field = match crate::domain::text::quoted_name(&message) {
            Some(name) if path == "." => format!("{prefix}{name}"),
            _ if path == "." => prefix.trim_end_matches('.').to_owned(),
            _ => format!("{prefix}{path}"),
        };
        FieldError { field, message }
    })
}

/// Builds adapters.
#[derive(Debug)]
pub struct Registry {
    http: reqwest::Client,
    apns: apns::Connector,
    hosts: Vendors,
}

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
        let apns = apns::Connector::new(clock, options, pool.connections, pool.streams_per_connection);
        Ok(Self { http, apns, hosts: settings.clone() })
    }

    /// Opens a certificate's secrets and makes its adapter.
    pub fn build(&self, certificate: &Certificate, sealer: &Sealer) -> Result<Arc<dyn Vendor>, BuildError> {
        let plain = sealer.open(certificate.certificate_id, &certificate.key_id, &certificate.sealed)?;
        let mut fields = stored_fields(certificate, &plain)?;
        let defaults = fields.remove("defaults").unwrap_or_default();
        let stored = |error: FieldError| BuildError::Stored(format!("{}: {}", error.field, error.message));
        match certificate.vendor {
            VendorKind::Apns => {
                let account: apns::Account = read("", Value::Object(fields)).map_err(stored)?;
                let base_url = match account.environment {
                    apns::Environment::Production => &self.hosts.apns.production,
                    apns::Environment::Sandbox => &self.hosts.apns.sandbox,
                };
                let defaults = read("defaults.", defaults).map_err(stored)?;
                Ok(Arc::new(self.apns.connect(&account, defaults, base_url)?))
            }
            VendorKind::Xiaomi => {
                let account: xiaomi::Account = read("", Value::Object(fields)).map_err(stored)?;
                let hosts = &self.hosts.xiaomi;
                let base_url = match account.region {
                    xiaomi::Region::Cn => &hosts.cn,
                    xiaomi::Region::Ru => &hosts.ru,
                    xiaomi::Region::In => &hosts.r#in,
                    xiaomi::Region::Eu => &hosts.eu,
                    xiaomi::Region::Sg => &hosts.sg,
                };
                Ok(Arc::new(xiaomi::Xiaomi {
                    account,
                    defaults: read("defaults.", defaults).map_err(stored)?,
                    http: self.http.clone(),
                    base_url: base_url.clone(),
                }))
            }
            kind => Err(BuildError::Stored(format!("no adapter for {kind}"))),
        }
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

    fn xiaomi(change: &Value) -> Result<Account, FieldError> {
        let mut fields = json!({"package_name": "com.example.chat", "app_id": "1", "app_secret": "s"});
        fields.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        read_account(VendorKind::Xiaomi, fields.as_object().unwrap().clone(), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn secrets_are_kept_apart_from_what_may_be_shown() {
        let account = xiaomi(&json!({"region": "eu", "defaults": {"channel_id": "c"}})).unwrap();
        assert_eq!(account.identifiers, json!({"app_id": "1", "region": "eu"}));
        assert_eq!(account.secrets, json!({"app_secret": "s"}));
        assert_eq!(account.defaults, json!({"channel_id": "c"}));
    }

    #[test]
    fn a_token_that_would_name_other_devices_is_refused() {
        assert!(check_token(VendorKind::Xiaomi, "//9TSU0tWElBT01J+L3g=").is_ok());
        for token in ["a,b", "a b", "a\n", "é"] {
            assert!(check_token(VendorKind::Xiaomi, token).is_err(), "{token}");
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
        let missing = of_nothing(VendorKind::Xiaomi);
        assert_eq!(missing.field, "package_name");
        assert_eq!(of_nothing(VendorKind::Fcm).field, "vendor");
    }
}

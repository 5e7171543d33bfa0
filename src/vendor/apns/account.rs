//! What an operator stores for APNs.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::credential::{Credential, CredentialError};
use crate::domain::offline_push_info::InterruptionLevel;
use crate::domain::text::Name;
use crate::vendor::account::{FieldError, Posted, read};

/// The account, as posted: a topic with one credential: `key_p8`, `key_id` and `team_id`; or `p12` and `p12_password`; or
/// `certificate_pem` and `key_pem`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The bundle id of the app, e.g. `com.example.chat`.
    pub topic: Name,
    pub environment: Environment,
    /// The text of the .p8 file.
    #[schema(value_type = Option<String>)]
    pub key_p8: Option<SecretString>,
    /// 10 characters, shown beside the key.
    pub key_id: Option<Name>,
    /// 10 characters, shown in the membership details.
    pub team_id: Option<Name>,
    /// The .p12 file in base64; old exports (RC2, 3DES) too.
    #[schema(value_type = Option<String>)]
    pub p12: Option<SecretString>,
    #[schema(value_type = Option<String>)]
    pub p12_password: Option<SecretString>,
    /// The certificate, and those that signed it, as PEM.
    #[schema(value_type = Option<String>)]
    pub certificate_pem: Option<SecretString>,
    /// Its private key as PEM, without a password.
    #[schema(value_type = Option<String>)]
    pub key_pem: Option<SecretString>,
}

/// Where the app's build gets its tokens: a development build is `sandbox`; ad hoc builds, test
/// flights and the store are `production`. A token of the other environment looks malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    Production,
    Sandbox,
}

/// Used where a message says nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// `default` if not given; `none` for silence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<Sound>,
    /// The action category registered by the app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interruption_level: Option<InterruptionLevel>,
    /// 0 to 1: the order in the summary.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub relevance_score: Option<f64>,
    /// Lets the app's notification service extension change each notification before it is shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mutable_content: bool,
    /// The member beside `aps` that carries a message's image address for the extension; `image` if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_key: Option<Name>,
    /// 10 (at once, the built-in default) or 5 (when it suits the battery).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
}

/// A sound: a file of the app with suffix, or for critical alerts an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Sound {
    Name(Name),
    Critical(CriticalSound),
}

/// The sound of a critical alert; needs an entitlement of the app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CriticalSound {
    /// 1: sounds also when the phone is silent.
    pub critical: u8,
    pub name: Name,
    /// 0 (silent) to 1.
    pub volume: f64,
}

impl Defaults {
    fn check(&self) -> Result<(), CredentialError> {
        let wrong = |field, message: &str| Err(CredentialError { field, message: message.to_owned() });
        if self.priority.is_some_and(|priority| ![5, 10].contains(&priority)) {
            return wrong("defaults.priority", "must be 5 or 10");
        }
        if self.relevance_score.is_some_and(|score| !(0.0..=1.0).contains(&score)) {
            return wrong("defaults.relevance_score", "must be 0 to 1");
        }
        if let Some(Sound::Critical(sound)) = &self.sound
            && (sound.critical > 1 || !(0.0..=1.0).contains(&sound.volume))
        {
            return wrong("defaults.sound", "critical must be 0 or 1, volume 0 to 1");
        }
        if self.image_key.as_deref() == Some("aps") {
            return wrong("defaults.image_key", "aps is Apple's own");
        }
        Ok(())
    }
}

/// Reads a posted account and takes it apart for the store.
/// # Errors
/// The first field that is missing, unknown or wrong; a credential that cannot work at `now`.
pub(in crate::vendor) fn taken_apart(
    fields: Map<String, Value>,
    defaults: Value,
    now: DateTime<Utc>,
) -> Result<Posted, FieldError> {
    let account: Account = read("", Value::Object(fields))?;
    let defaults: Defaults = read("defaults.", defaults)?;
    let told = |error: CredentialError| FieldError { field: error.field.to_owned(), message: error.message };
    defaults.check().map_err(told)?;
    let is_bundle_id = |topic: &str| topic.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    if !is_bundle_id(&account.topic) {
        let message = "must be a bundle id: letters, digits, dots and hyphens".to_owned();
        return Err(FieldError { field: "topic".to_owned(), message });
    }
    Credential::read(&account).and_then(|credential| credential.check(&account.topic, now)).map_err(told)?;
    let mut identifiers = json!({"topic": account.topic, "environment": account.environment});
    let mut secrets = Map::new();
    for (name, value) in [("key_id", &account.key_id), ("team_id", &account.team_id)] {
        if let Some(value) = value {
            identifiers[name] = json!(value);
        }
    }
    for (name, value) in [
        ("key_p8", &account.key_p8),
        ("p12", &account.p12),
        ("p12_password", &account.p12_password),
        ("certificate_pem", &account.certificate_pem),
        ("key_pem", &account.key_pem),
    ] {
        if let Some(value) = value {
            secrets.insert(name.to_owned(), value.expose_secret().into());
        }
    }
    Ok(Posted {
        package_name: account.topic.into_string(),
        identifiers,
        secrets: Value::Object(secrets),
        defaults: serde_json::to_value(&defaults).unwrap_or_default(),
    })
}

/// A device token as Apple's URL takes it: lower-case hex. Its length is Apple's affair (today 64 digits).
/// # Errors
/// A sentence for the caller.
pub(in crate::vendor) fn check_token(token: &str) -> Result<String, String> {
    const MAX_DIGITS: usize = 400;
    let is_hex = token.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && (2..=MAX_DIGITS).contains(&token.len()) && token.len().is_multiple_of(2) {
        Ok(token.to_ascii_lowercase())
    } else {
        Err(format!("must be an even number of hex digits, 2 to {MAX_DIGITS}: the bytes that iOS gives the app"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::credential::tests::key;
    use super::*;

    fn posted(change: &Value) -> Result<Posted, FieldError> {
        let mut fields = json!({"topic": "com.example.chat", "environment": "production", "key_id": "ABC123DEFG",
            "team_id": "TEAM123456", "key_p8": key("ABC123DEFG", "TEAM123456").pem.expose_secret()});
        fields.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let mut fields = fields.as_object().unwrap().clone();
        let defaults = fields.remove("defaults").unwrap_or_else(|| json!({}));
        taken_apart(fields, defaults, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn secrets_are_kept_apart_from_what_may_be_shown() {
        let account = posted(&json!({"defaults": {"sound": "ding.caf", "priority": 5}})).unwrap();
        assert_eq!(account.package_name, "com.example.chat");
        let shown = json!({"topic": "com.example.chat", "environment": "production", "key_id": "ABC123DEFG",
            "team_id": "TEAM123456"});
        assert_eq!(account.identifiers, shown);
        assert_eq!(account.secrets.as_object().unwrap().keys().collect::<Vec<_>>(), ["key_p8"]);
        assert_eq!(account.defaults, json!({"sound": "ding.caf", "priority": 5}));
    }

    #[test]
    fn errors_name_the_field() {
        for (change, field) in [
            (json!({"topic": ""}), "topic"),
            (json!({"topic": "com.例"}), "topic"),
            (json!({"environment": "test"}), "environment"),
            (json!({"package_name": "x"}), "package_name"),
            (json!({"defaults": {"priority": 1}}), "defaults.priority"),
            (json!({"defaults": {"relevance_score": 2}}), "defaults.relevance_score"),
            (json!({"defaults": {"sound": {"critical": 1, "name": "a", "volume": 7}}}), "defaults.sound"),
            (json!({"defaults": {"image_key": "aps"}}), "defaults.image_key"),
            (json!({"defaults": {"interruption_level": "loud"}}), "defaults.interruption_level"),
        ] {
            assert_eq!(posted(&change).unwrap_err().field, field, "{change}");
        }
    }

    #[test]
    fn tokens_are_hex_of_any_sane_length_in_lower_case() {
        assert_eq!(check_token("00FF").as_deref(), Ok("00ff"));
        assert!(check_token(&"ab".repeat(32)).is_ok());
        assert!(check_token(&"ab".repeat(80)).is_ok());
        for token in ["", "0", "abc", "zz", "ab cd", &"ab".repeat(201)] {
            assert!(check_token(token).is_err(), "{token}");
        }
    }
}

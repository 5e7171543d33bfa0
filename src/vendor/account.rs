//! Accounts as operators post them: what may be shown, what is sealed, and defaults, each vendor with fields of its own.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::domain::text::quoted_name;

/// The longest secret, in bytes. Those in use have 32 to 64.
const MAX_SECRET_BYTES: usize = 256;

/// A field of a posted certificate that is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

impl FieldError {
    /// With a sentence for the caller.
    pub(super) fn new(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), message: message.into() }
    }
}

/// A posted certificate, taken apart for the store.
#[derive(Debug, PartialEq)]
pub struct Posted {
    pub package_name: String,
    pub identifiers: Value,
    /// The secret fields: to be sealed.
    pub secrets: Value,
    pub defaults: Value,
}

/// The account fields of one vendor.
pub(super) trait AccountFields: DeserializeOwned {
    /// What is used where a message says nothing.
    type Defaults: DeserializeOwned + Serialize;

    /// The Android package.
    fn package_name(&self) -> &str;

    /// What identifies the account at the vendor and may be shown, besides the package.
    fn identifiers(&self) -> Value;

    /// The secret fields with their values.
    fn secrets(&self) -> Vec<(&'static str, &SecretString)>;

    /// Checks what the types do not.
    /// # Errors
    /// The first field that is wrong.
    fn check(&self, defaults: &Self::Defaults) -> Result<(), FieldError>;
}

/// Reads a posted account and takes it apart.
/// # Errors
/// The first field that is missing, unknown or wrong.
pub(super) fn taken_apart<A: AccountFields>(
    fields: Map<String, Value>,
    defaults: Value,
    _now: DateTime<Utc>,
) -> Result<Posted, FieldError> {
    let account: A = read("", Value::Object(fields))?;
    let defaults: A::Defaults = read("defaults.", defaults)?;
    let mut secrets = Map::new();
    for (name, secret) in account.secrets() {
        check_secret(name, secret)?;
        secrets.insert(name.to_owned(), secret.expose_secret().into());
    }
    account.check(&defaults)?;
    Ok(Posted {
        package_name: account.package_name().to_owned(),
        identifiers: account.identifiers(),
        secrets: Value::Object(secrets),
        defaults: serde_json::to_value(&defaults).unwrap_or_default(),
    })
}

/// Reads a stored account again.
/// # Errors
/// A field that an older version stored and this one does not take.
pub(super) fn opened<A: AccountFields>(
    fields: Map<String, Value>,
    defaults: Value,
) -> Result<(A, A::Defaults), FieldError> {
    Ok((read("", Value::Object(fields))?, read("defaults.", defaults)?))
}

fn check_secret(field: &str, secret: &SecretString) -> Result<(), FieldError> {
    let secret = secret.expose_secret();
    if secret.is_empty() || secret.len() > MAX_SECRET_BYTES {
        return Err(FieldError::new(field, format!("must be 1 to {MAX_SECRET_BYTES} bytes")));
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(FieldError::new(field, "must be printable ASCII without blanks, as the console shows it"));
    }
    Ok(())
}

/// A class of messages, in the letters that all vendors write theirs in.
/// # Errors
/// Other letters.
pub(super) fn check_category(category: Option<&str>) -> Result<(), FieldError> {
    let is_upper = |category: &str| category.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if category.is_none_or(is_upper) {
        return Ok(());
    }
    Err(FieldError::new("defaults.category", "must be in capital letters, as IM or DEVICE_REMINDER"))
}

/// Reads an account or its defaults; errors name the field behind `prefix`.
pub(super) fn read<T: DeserializeOwned>(prefix: &str, value: Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let message = error.inner().to_string();
        let path = error.path().to_string();
        let field = match quoted_name(&message) {
            Some(name) if path == "." => format!("{prefix}{name}"),
            _ if path == "." => prefix.trim_end_matches('.').to_owned(),
            _ => format!("{prefix}{path}"),
        };
        FieldError { field, message }
    })
}

/// A token in printable ASCII without blanks, as vendors issue them.
/// # Errors
/// A sentence for the caller.
pub(super) fn plain_token(token: &str) -> Result<String, String> {
    if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(token.to_owned())
    } else {
        Err("must be printable ASCII without blanks, as the vendor issues it".to_owned())
    }
}

/// The same without commas, for vendors that join tokens by commas in a call: one with a comma would name other devices.
/// # Errors
/// A sentence for the caller.
pub(super) fn token_without_comma(token: &str) -> Result<String, String> {
    if token.contains(',') {
        return Err("must not contain a comma".to_owned());
    }
    plain_token(token)
}

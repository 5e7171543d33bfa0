//! Readers for what vendors write now as a number, now as a text.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

/// A number, or a text that holds one.
/// # Errors
/// Anything else.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .ok_or_else(|| Error::custom("neither a number nor a text that holds one"))
}

/// A text, or a number as one.
/// # Errors
/// Anything else.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    as_text(&Value::deserialize(deserializer)?).ok_or_else(|| Error::custom("neither a text nor a number"))
}

/// The same, where the member may be absent or of another type.
/// # Errors
/// None of its own.
pub(super) fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(as_text(&Value::deserialize(deserializer)?))
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.trim().to_owned()),
        _ => None,
    }
}

//! Bounded text: the one rule for every string that enters from outside.

use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

/// A string of `MIN..=MAX` bytes of UTF-8 without NUL (Postgres text cannot hold one).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Text<const MIN: usize, const MAX: usize>(String);

/// The usual bound of names and ids (1..=128 bytes).
pub type Name = Text<1, 128>;

impl<const MIN: usize, const MAX: usize> Text<MIN, MAX> {
    /// Checks the bounds; the error is a sentence for the caller.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        if !(MIN..=MAX).contains(&text.len()) {
            return Err(format!("must be {MIN} to {MAX} bytes of UTF-8, not {}", text.len()));
        }
        if text.contains('\0') {
            return Err("must not contain a NUL character".to_owned());
        }
        Ok(Self(text))
    }

    /// The text itself.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<const MIN: usize, const MAX: usize> std::ops::Deref for Text<MIN, MAX> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MIN: usize, const MAX: usize> std::fmt::Display for Text<MIN, MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de, const MIN: usize, const MAX: usize> Deserialize<'de> for Text<MIN, MAX> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl<const MIN: usize, const MAX: usize> utoipa::PartialSchema for Text<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .min_length(Some(MIN))
            .max_length(Some(MAX))
            .into()
    }
}

impl<const MIN: usize, const MAX: usize> utoipa::ToSchema for Text<MIN, MAX> {
    fn name() -> std::borrow::Cow<'static, str> {
        format!("Text{MIN}To{MAX}").into()
    }
}

/// The field that serde's "unknown field `x`" or "missing field `x`" is about.
pub fn quoted_name(message: &str) -> Option<String> {
    let is_about_a_field = message.starts_with("unknown field") || message.starts_with("missing field");
    message.split('`').nth(1).filter(|_| is_about_a_field).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_bytes_and_nul_is_refused() {
        assert!(Name::new("a").is_ok());
        assert!(Name::new("é".repeat(64)).is_ok());
        assert_eq!(Name::new("é".repeat(65)).unwrap_err(), "must be 1 to 128 bytes of UTF-8, not 130");
        assert!(Name::new("").is_err());
        assert!(Name::new("a\0b").is_err());
    }
}

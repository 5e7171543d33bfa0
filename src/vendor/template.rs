//! Message templates: variables that are filled from the texts of the message.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Push;
use crate::domain::text::Name;

/// What fills a template variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TextSource {
    Title,
    Body,
}

impl TextSource {
    /// The whole text, before it was cut to the vendor's limits.
    pub(super) fn full(self, push: &Push) -> &str {
        match self {
            Self::Title => &push.full_title,
            Self::Body => &push.full_body,
        }
    }

    /// The text as it is shown.
    pub(super) fn shown(self, push: &Push) -> &str {
        match self {
            Self::Title => &push.title,
            Self::Body => &push.body,
        }
    }
}

/// The variables of a template: those of the message, else those the certificate names, each through `value`.
pub(super) fn filled<'a>(
    given: Option<&'a Map<String, Value>>,
    named: &'a BTreeMap<Name, TextSource>,
    text: impl Fn(TextSource) -> &'a str,
    value: impl Fn(&str) -> String,
) -> Map<String, Value> {
    match given {
        Some(given) => given.iter().map(|(name, given)| (name.clone(), value(&as_text(given)).into())).collect(),
        None => named.iter().map(|(name, source)| (name.to_string(), value(text(*source)).into())).collect(),
    }
}

/// A JSON value as vendors that take only texts get it: a text as it is, anything else as its JSON.
pub(super) fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

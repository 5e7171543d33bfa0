//! What an operator stores for an OPPO app.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::domain::text::{Name, Text};
use crate::vendor::account::{AccountFields, FieldError, check_category};
use crate::vendor::template::TextSource;

/// Levels of `notify_level`.
const LEVELS: [u8; 3] = [1, 2, 16];
/// Characters of a notification's text: what newer and what older documents say.
const CONTENT_CHARS: std::ops::RangeInclusive<u16> = 50..=200;

/// The account, as posted. `master_secret` is the MasterSecret of the console, not the AppSecret, which the client SDK uses.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The Android package, e.g. `com.example.chat`.
    pub package_name: Name,
    /// The AppKey of the console.
    pub app_key: Name,
    #[schema(value_type = String)]
    pub master_secret: SecretString,
    /// Must match the region of the phones: their registration ids begin with `CN_`, `OPPO_CN_` or no prefix in `cn`.
    #[serde(default)]
    pub region: Region,
}

/// Where the phones were sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = OppoRegion)]
pub enum Region {
    /// Mainland China.
    #[default]
    Cn,
    /// Everywhere else.
    Intl,
}

/// Used where a message says nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// A channel of the app that is registered in the console.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<Name>,
    /// The class of messages, e.g. `IM`. OPPO must have approved it. Without one everything is marketing: 2 a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Text<1, 64>>,
    /// 1 notification bar, 2 also lock screen, 16 also banner, sound and vibration (needs a right). Needs `category`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_level: Option<u8>,
    /// The approved template of private messages; needs `category`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_msg_template_id: Option<Name>,
    /// Variable of the template's title to what fills it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub private_title_params: BTreeMap<Name, TextSource>,
    /// Variable of the template's text to what fills it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub private_content_params: BTreeMap<Name, TextSource>,
    /// What a click does; opens the app if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub click: Option<Click>,
    /// The most characters of a text: 50 (the built-in default) by newer documents, 200 by older ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 50, maximum = 200)]
    pub content_chars: Option<u16>,
}

impl Defaults {
    /// The most characters of a text.
    pub(super) fn content_chars(&self) -> usize {
        self.content_chars.unwrap_or(*CONTENT_CHARS.start()).into()
    }
}

/// What a click on the notification does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "action", deny_unknown_fields)]
#[schema(as = OppoClick)]
pub enum Click {
    /// Opens the app.
    Launcher,
    /// Opens an activity: `com.example.chat.ChatActivity`.
    Activity { class_name: Text<1, 500> },
    /// Opens the activity with this intent filter action.
    Page { intent_action: Text<1, 500> },
    /// Opens a web page.
    Web { web_uri: Text<1, 500> },
    /// Opens what a URI of the app's own scheme names: `imapp://chat`.
    Link { uri: Text<1, 500> },
}

impl AccountFields for Account {
    type Defaults = Defaults;

    fn package_name(&self) -> &str {
        &self.package_name
    }

    fn identifiers(&self) -> Value {
        json!({"app_key": self.app_key, "region": self.region})
    }

    fn secrets(&self) -> Vec<(&'static str, &SecretString)> {
        vec![("master_secret", &self.master_secret)]
    }

    fn check(&self, defaults: &Defaults) -> Result<(), FieldError> {
        let wrong = |field, message| Err(FieldError::new(field, message));
        check_category(defaults.category.as_deref())?;
        if defaults.notify_level.is_some_and(|level| !LEVELS.contains(&level)) {
            return wrong("defaults.notify_level", "must be 1, 2 or 16");
        }
        let has_params = !defaults.private_title_params.is_empty() || !defaults.private_content_params.is_empty();
        if has_params && defaults.private_msg_template_id.is_none() {
            return wrong("defaults.private_msg_template_id", "is needed with the parameters of a template");
        }
        let needs_category = defaults.notify_level.is_some() || defaults.private_msg_template_id.is_some();
        if needs_category && defaults.category.is_none() {
            return wrong("defaults.category", "is needed with notify_level and private_msg_template_id (67)");
        }
        if defaults.content_chars.is_some_and(|chars| !CONTENT_CHARS.contains(&chars)) {
            return wrong("defaults.content_chars", "must be 50 to 200");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::account::taken_apart;

    #[test]
    fn errors_name_the_field() {
        let posted = |change: &Value| {
            let mut fields = json!({"package_name": "com.example.chat", "app_key": "k", "master_secret": "s"});
            fields.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let mut fields = fields.as_object().unwrap().clone();
            let defaults = fields.remove("defaults").unwrap_or_else(|| json!({}));
            taken_apart::<Account>(fields, defaults, chrono::DateTime::UNIX_EPOCH)
        };
        let whole = json!({"region": "intl", "defaults": {"category": "IM", "notify_level": 16, "channel_id": "im",
            "private_msg_template_id": "t", "private_title_params": {"who": "title"}, "content_chars": 200}});
        assert!(posted(&whole).is_ok());
        for (change, field) in [
            (json!({"app_key": ""}), "app_key"),
            (json!({"app_secret": "s"}), "app_secret"),
            (json!({"region": "in"}), "region"),
            (json!({"defaults": {"category": "IM", "notify_level": 3}}), "defaults.notify_level"),
            (json!({"defaults": {"notify_level": 2}}), "defaults.category"),
            (json!({"defaults": {"private_msg_template_id": "t"}}), "defaults.category"),
            (json!({"defaults": {"private_title_params": {"a": "title"}}}), "defaults.private_msg_template_id"),
            (json!({"defaults": {"content_chars": 20}}), "defaults.content_chars"),
            (json!({"defaults": {"private_title_params": {"a": "x"}}}), "defaults.private_title_params.a"),
        ] {
            let error = posted(&change).unwrap_err();
            assert!(error.field.starts_with(field), "{change}: {error}");
        }
    }
}

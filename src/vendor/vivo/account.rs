//! What an operator stores for a vivo app.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::encode::{OPERATIONS, SYSTEM};
use crate::domain::offline_push_info::vivo_classification;
use crate::domain::text::{Name, Text};
use crate::vendor::account::{AccountFields, FieldError, check_category};

/// The account, as posted: the three values of the console.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The Android package, e.g. `com.example.chat`.
    pub package_name: Name,
    /// The AppID of the console: digits.
    pub app_id: Name,
    /// The AppKey of the console; looks like a UUID.
    pub app_key: Name,
    #[schema(value_type = String)]
    pub app_secret: SecretString,
}

impl Account {
    /// The AppID as vivo's JSON has it.
    pub(super) fn number(&self) -> Option<u64> {
        self.app_id.parse().ok()
    }
}

/// Used where a message says nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// 1 system (the built-in default), 0 operations: 2 a day for each device, by day only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub classification: Option<u8>,
    /// The second-level class, `IM` if not given. Must be one of the classification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Text<1, 64>>,
    /// 1 none, 2 sound, 3 vibration, 4 both (the built-in default).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 4)]
    pub notify_type: Option<u8>,
    /// Each message raises the number on the app's icon by one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub add_badge: bool,
    /// What a click does; opens the app if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub click: Option<Click>,
    /// Also shown while the app is in the foreground.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub notify_foreground: bool,
    /// Test messages, for an app that vivo has not yet reviewed: only to devices that the console knows as test devices.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub test_mode: bool,
}

/// What a click on the notification does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "action", deny_unknown_fields)]
#[schema(as = VivoClick)]
pub enum Click {
    /// Opens the app.
    Launcher,
    /// Opens a page of the app: `intent://chat#Intent;scheme=imapp;package=com.example.im;end`. Its activity must be
    /// exported.
    Activity { intent_uri: Text<1, 1000> },
    /// Opens a web page.
    Web { web_uri: Text<1, 1000> },
}

impl AccountFields for Account {
    type Defaults = Defaults;

    fn package_name(&self) -> &str {
        &self.package_name
    }

    fn identifiers(&self) -> Value {
        json!({"app_id": self.app_id, "app_key": self.app_key})
    }

    fn secrets(&self) -> Vec<(&'static str, &SecretString)> {
        vec![("app_secret", &self.app_secret)]
    }

    fn check(&self, defaults: &Defaults) -> Result<(), FieldError> {
        let wrong = |field, message| Err(FieldError::new(field, message));
        check_category(defaults.category.as_deref())?;
        if self.number().is_none() {
            return wrong("app_id", "must be digits: the AppID of the console");
        }
        if defaults.classification.is_some_and(|class| ![SYSTEM, OPERATIONS].contains(&class)) {
            return wrong("defaults.classification", "must be 0 (operations) or 1 (system)");
        }
        if defaults.notify_type.is_some_and(|kind| !(1..=4).contains(&kind)) {
            return wrong("defaults.notify_type", "must be 1 (none), 2 (sound), 3 (vibration) or 4 (both)");
        }
        let of_category = defaults.category.as_deref().and_then(vivo_classification);
        if of_category.zip(defaults.classification).is_some_and(|(one, other)| one != other) {
            return wrong("defaults.category", "is of the other classification: vivo refuses the pair (10097)");
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
            let mut fields =
                json!({"package_name": "com.example.chat", "app_id": "10004", "app_key": "k", "app_secret": "s"});
            fields.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let mut fields = fields.as_object().unwrap().clone();
            let defaults = fields.remove("defaults").unwrap_or_else(|| json!({}));
            taken_apart::<Account>(fields, defaults, chrono::DateTime::UNIX_EPOCH)
        };
        assert!(posted(&json!({"defaults": {"classification": 0, "category": "NEWS", "notify_type": 1}})).is_ok());
        assert!(posted(&json!({"defaults": {"classification": 0, "category": "NEWLY_INVENTED"}})).is_ok());
        for (change, field) in [
            (json!({"app_id": "x1"}), "app_id"),
            (json!({"app_key": ""}), "app_key"),
            (json!({"app_secret": ""}), "app_secret"),
            (json!({"defaults": {"classification": 2}}), "defaults.classification"),
            (json!({"defaults": {"notify_type": 0}}), "defaults.notify_type"),
            (json!({"defaults": {"classification": 0, "category": "IM"}}), "defaults.category"),
            (json!({"defaults": {"click": {"action": "activity"}}}), "defaults.click"),
        ] {
            let error = posted(&change).unwrap_err();
            assert!(error.field.starts_with(field), "{change}: {error}");
        }
    }
}

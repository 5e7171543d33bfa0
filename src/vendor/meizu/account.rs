//! What an operator stores for a Meizu app.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::domain::text::{Name, Text};
use crate::vendor::account::{AccountFields, FieldError};

/// The account, as posted. `app_secret` is the AppSecret of the console, not the AppKey, which the client SDK uses.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The Android package, e.g. `com.example.chat`.
    pub package_name: Name,
    /// The AppID of the console: digits.
    pub app_id: Name,
    #[schema(value_type = String)]
    pub app_secret: SecretString,
}

/// Used where a message says nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// 1 private (the built-in default, needs Meizu's approval), 0 public: 3 a day for each device.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub notice_msg_type: Option<u8>,
    /// Whether the phone makes its sound, vibrates, lights up; each yes if not set. Meizu takes no sound of the app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vibrate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lights: Option<bool>,
    /// What a click does; opens the app if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub click: Option<Click>,
}

/// What a click on the notification does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "action", deny_unknown_fields)]
#[schema(as = MeizuClick)]
pub enum Click {
    /// Opens the app.
    Launcher,
    /// Opens an activity: `com.example.chat.ChatActivity`.
    Activity { class_name: Text<1, 1000> },
    /// Opens a URI.
    Link { uri: Text<1, 1000> },
}

impl AccountFields for Account {
    type Defaults = Defaults;

    fn package_name(&self) -> &str {
        &self.package_name
    }

    fn identifiers(&self) -> Value {
        json!({"app_id": self.app_id})
    }

    fn secrets(&self) -> Vec<(&'static str, &SecretString)> {
        vec![("app_secret", &self.app_secret)]
    }

    fn check(&self, defaults: &Defaults) -> Result<(), FieldError> {
        if !self.app_id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(FieldError::new("app_id", "must be digits: the AppID of the console"));
        }
        if defaults.notice_msg_type.is_some_and(|kind| kind > 1) {
            return Err(FieldError::new("defaults.notice_msg_type", "must be 0 (public) or 1 (private)"));
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
        for (change, field) in [
            (json!({"app_id": "x"}), "app_id"),
            (json!({"app_secret": ""}), "app_secret"),
            (json!({"defaults": {"notice_msg_type": 2}}), "defaults.notice_msg_type"),
            (json!({"defaults": {"click": {"action": "link"}}}), "defaults.click"),
        ] {
            let mut fields = json!({"package_name": "com.example.chat", "app_id": "100999", "app_secret": "s"});
            fields.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let mut fields = fields.as_object().unwrap().clone();
            let defaults = fields.remove("defaults").unwrap_or(Value::Object(serde_json::Map::new()));
            let error = taken_apart::<Account>(fields, defaults, chrono::DateTime::UNIX_EPOCH).unwrap_err();
            assert!(error.field.starts_with(field), "{change}: {error}");
        }
    }
}

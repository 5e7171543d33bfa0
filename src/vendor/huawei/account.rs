//! What an operator stores for a Huawei app.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::domain::text::{Name, Text};
use crate::vendor::account::{AccountFields, FieldError, check_category};

/// The account, as posted: the OAuth 2.0 client of the app in AppGallery Connect.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The Android package, e.g. `com.example.chat`.
    pub package_name: Name,
    /// The app's OAuth client id: digits. In older projects the same number as the APP ID.
    pub app_id: Name,
    /// The client secret that belongs to it.
    #[schema(value_type = String)]
    pub app_secret: SecretString,
}

/// Used where a message says nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// The class of messages, e.g. `IM` (the built-in default) or `WORK`. Trusted only after the app got the
    /// self-classification right; without it everything is marketing: 2 a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Text<1, 64>>,
    /// A channel of the app; must exist there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<Name>,
    /// `NORMAL` if not given; `LOW` is silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance: Option<Importance>,
    /// The launcher activity, e.g. `com.example.chat.MainActivity`. Without it no badge is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub badge_class: Option<Text<1, 256>>,
    /// Raw resource of the app, e.g. `ding`. Heard only with the channel it was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<Name>,
    /// What a click does; opens the app if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub click: Option<Click>,
    /// Also shown while the app is in the foreground.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub notify_foreground: bool,
    /// Test messages: at most 500 a day, free of the limits of marketing. For a certificate of developers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub test_mode: bool,
}

/// How loud a notification is. `HIGH` needs a right that Huawei no longer documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schema(as = HuaweiImportance)]
pub enum Importance {
    Low,
    Normal,
}

/// What a click on the notification does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "action", deny_unknown_fields)]
#[schema(as = HuaweiClick)]
pub enum Click {
    /// Opens the app.
    Launcher,
    /// Opens a page of the app: `intent://chat#Intent;scheme=exampleim;end`.
    Activity { intent_uri: Text<1, 1024> },
    /// Opens the page whose activity has this intent filter action.
    Page { intent_action: Text<1, 256> },
    /// Opens a web page.
    Web { web_uri: Text<1, 1024> },
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
        if self.app_id.len() > 64 || !self.app_id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(FieldError::new("app_id", "must be 1 to 64 digits: the OAuth client id"));
        }
        check_category(defaults.category.as_deref())?;
        match &defaults.click {
            Some(Click::Web { web_uri }) if !web_uri.starts_with("https://") => {
                Err(FieldError::new("defaults.click.web_uri", "must begin with https://"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::account::{Posted, taken_apart};

    fn posted(change: &Value) -> Result<Posted, FieldError> {
        let mut fields = json!({"package_name": "com.example.chat", "app_id": "100123456", "app_secret": "9a8b+/c7"});
        fields.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let mut fields = fields.as_object().unwrap().clone();
        let defaults = fields.remove("defaults").unwrap_or_else(|| json!({}));
        taken_apart::<Account>(fields, defaults, chrono::DateTime::UNIX_EPOCH)
    }

    #[test]
    fn the_secret_is_kept_apart() {
        let posted = posted(&json!({"defaults": {"importance": "LOW", "click": {"action": "launcher"}}})).unwrap();
        assert_eq!(
            (posted.identifiers, posted.secrets),
            (json!({"app_id": "100123456"}), json!({"app_secret": "9a8b+/c7"}))
        );
        assert_eq!(posted.defaults, json!({"importance": "LOW", "click": {"action": "launcher"}}));
    }

    #[test]
    fn errors_name_the_field() {
        for (change, field) in [
            (json!({"app_id": "10x"}), "app_id"),
            (json!({"app_id": "1".repeat(65)}), "app_id"),
            (json!({"app_secret": "with blank "}), "app_secret"),
            (json!({"client_id": "1"}), "client_id"),
            (json!({"defaults": {"category": "im"}}), "defaults.category"),
            (json!({"defaults": {"importance": "HIGH"}}), "defaults.importance"),
            (json!({"defaults": {"click": {"action": "web", "web_uri": "http://x"}}}), "defaults.click.web_uri"),
            (json!({"defaults": {"click": {"action": "activity"}}}), "defaults.click"),
        ] {
            let error = posted(&change).unwrap_err();
            assert!(error.field.starts_with(field), "{change}: {error}");
        }
    }
}

//! What an operator stores for a Xiaomi account.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::domain::text::{Name, Text};
use crate::vendor::account::{AccountFields, FieldError};
use crate::vendor::template::TextSource;

/// The account, as posted. `app_secret` is the AppSecret of the console, not the AppKey.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The Android package, e.g. `com.example.chat`.
    pub package_name: Name,
    /// The AppID of the console. Not sent; shown so that an operator recognises the account.
    pub app_id: Name,
    #[schema(value_type = String)]
    pub app_secret: SecretString,
    /// Must match the region of the devices.
    #[serde(default)]
    pub region: Region,
}

/// Where the devices are registered. A token sent to the wrong region looks dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = XiaomiRegion)]
pub enum Region {
    #[default]
    Cn,
    Ru,
    In,
    Eu,
    Sg,
}

/// Used where a message says nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// The message class id that the console issued. Without one Xiaomi shows one message a day per device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<Name>,
    /// The private-class template bound to the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_id: Option<Name>,
    /// Template variable to what fills it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub template_params: BTreeMap<Name, TextSource>,
    /// Raw resource of the app, e.g. `ding`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<Name>,
    /// What a click does; the launcher activity if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub click: Option<Click>,
    /// Also shown while the app is in the foreground.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub notify_foreground: bool,
}

/// What a click on the notification does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "action", deny_unknown_fields)]
#[schema(as = XiaomiClick)]
pub enum Click {
    /// The app's receiver gets a callback.
    Callback,
    /// Opens the launcher activity.
    Launcher,
    /// Opens an activity: `intent:#Intent;component=pkg/.Activity;end`.
    Activity { intent_uri: Text<1, 1024> },
    /// Opens a web page.
    Web { web_uri: Text<1, 1024> },
}

impl AccountFields for Account {
    type Defaults = Defaults;

    fn package_name(&self) -> &str {
        &self.package_name
    }

    fn identifiers(&self) -> Value {
        json!({"app_id": self.app_id, "region": self.region})
    }

    fn secrets(&self) -> Vec<(&'static str, &SecretString)> {
        vec![("app_secret", &self.app_secret)]
    }

    fn check(&self, defaults: &Defaults) -> Result<(), FieldError> {
        let wrong = |field, message| Err(FieldError::new(field, message));
        if defaults.template_params.len() > 9 {
            return wrong("defaults.template_params", "a template has at most 9 variables");
        }
        if defaults.template_id.is_some() == defaults.template_params.is_empty() {
            return wrong("defaults.template_params", "goes with template_id, and template_id with it");
        }
        if defaults.template_id.is_some() && defaults.channel_id.is_none() {
            return wrong("defaults.channel_id", "is needed with template_id");
        }
        Ok(())
    }
}

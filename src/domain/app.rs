//! A customer application and its settings.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::session::Platform;
use super::text::Text;

/// What an operator may set per app. Every field has a default, so `{}` is a whole settings object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AppSettings {
    /// Shown when a notification brings no title.
    pub default_title: Text<1, 128>,
    /// Platforms whose devices are pushed to while in background; elsewhere background counts as online.
    pub push_in_background: Vec<Platform>,
    /// How long a token report for a device without a live session is kept, in seconds.
    #[schema(minimum = 1, maximum = 86_400)]
    pub pending_binding_s: u32,
    /// The most deliveries of this app that may wait in the queue; above it new notifications get 429.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub max_waiting_deliveries: u32,
    /// Where the badge number comes from.
    pub badge: BadgeSource,
}

/// Where a delivery's badge number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BadgeSource {
    /// `to[].badge`, else the last reported `unread`, else none.
    Caller,
    /// Never a badge.
    None,
}

impl Default for AppSettings {
    fn default() -> Self {
        Self {
            default_title: Text::new("a new message").unwrap_or_else(|_| unreachable!("the literal fits")),
            push_in_background: Vec::new(),
            pending_binding_s: 600,
            max_waiting_deliveries: 10_000_000,
            badge: BadgeSource::Caller,
        }
    }
}

impl AppSettings {
    /// Checks ranges that the types do not; the error names the field.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if !(1..=86_400).contains(&self.pending_binding_s) {
            return Err(("settings.pending_binding_s", "must be 1 to 86400 seconds".to_owned()));
        }
        if self.max_waiting_deliveries > 1_000_000_000 {
            return Err(("settings.max_waiting_deliveries", "must be at most 1000000000".to_owned()));
        }
        if self.push_in_background.len() > Platform::ALL.len() {
            return Err(("settings.push_in_background", "names a platform twice".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_object_means_the_defaults() {
        let settings: AppSettings = serde_json::from_str("{}").unwrap();
        assert_eq!(settings, AppSettings::default());
        assert_eq!(&*settings.default_title, "a new message");
        assert!(serde_json::from_str::<AppSettings>(r#"{"defualt_title":"x"}"#).is_err());
    }
}

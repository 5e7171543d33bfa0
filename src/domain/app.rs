//! A customer application and its settings.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::burst::BurstRule;
use super::kick::KickSettings;
use super::session::Platform;
use super::text::Text;

/// What an operator may set per app. Every field has a default, so `{}` is a whole settings object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AppSettings {
    /// Shown when a notification brings no title, and to users who hide contents.
    pub default_title: Text<1, 128>,
    /// Shown in place of the text to users who hide contents.
    pub hidden_body: Text<1, 128>,
    /// Platforms whose devices are pushed to while in background; elsewhere background counts as online.
    pub push_in_background: Vec<Platform>,
    /// How long a token report for a device without a live session is kept, in seconds.
    #[schema(minimum = 1, maximum = 86_400)]
    pub pending_binding_s: u32,
    /// How long a killed phone stays logged in, in seconds.
    #[schema(minimum = 60, maximum = 31_536_000)]
    pub killed_session_s: u32,
    /// How often phones and desktops send heartbeats, where the chat server reports them, in seconds: sooner ones are not
    /// stored.
    #[schema(minimum = 1, maximum = 3_600)]
    pub heartbeat_s: u32,
    /// After so many seconds without a heartbeat the link of a phone or desktop is lost. Counts for sessions that sent one.
    #[schema(minimum = 2, maximum = 86_400)]
    pub heartbeat_timeout_s: u32,
    /// How often web sessions send heartbeats, in seconds. Where yours come as those of phones do, make the two web settings
    /// as long as theirs.
    #[schema(minimum = 1, maximum = 3_600)]
    pub web_heartbeat_s: u32,
    /// After so many seconds without a heartbeat a web session is over.
    #[schema(minimum = 2, maximum = 86_400)]
    pub web_heartbeat_timeout_s: u32,
    /// Whose sessions end when a user logs in on one more device.
    pub kick: KickSettings,
    /// Which of a user's devices get a push; a user's preference beats it.
    pub multi_device: MultiDeviceRule,
    /// With `desktop_quiet`: a desktop that showed no sign of life for so many seconds does not count as used.
    #[schema(minimum = 1, maximum = 86_400)]
    pub desktop_quiet_s: u32,
    /// The most deliveries of this app that may wait in the queue; above it new notifications get 429.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub max_waiting_deliveries: u32,
    /// Where the badge number comes from.
    pub badge: BadgeSource,
    /// Many messages of one conversation become one line, and a user gets no more than so many a minute; not if null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<BurstRule>,
    /// For so many seconds a message is kept that a device did not get because its app was open: a disconnect by time-out
    /// that names it pushes it after all. 0: never.
    #[schema(minimum = 0, maximum = 3_600)]
    pub rescue_window_s: u32,
}

/// Where a delivery's badge number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BadgeSource {
    /// `to[].badge`, else the last reported `unread`, else none.
    Caller,
    /// The last reported `unread` and the pushes since.
    Server,
    /// Never a badge.
    None,
}

/// Which of a user's devices get a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MultiDeviceRule {
    /// Every killed phone, whatever the other devices do.
    Each,
    /// None while one of the user's sessions is online.
    AllOffline,
    /// None while a desktop or web session is open and in use.
    DesktopQuiet,
    /// Only the phone that was used last.
    Latest,
}

impl Default for AppSettings {
    fn default() -> Self {
        let text = |text| Text::new(text).unwrap_or_else(|_| unreachable!("the literal fits"));
        Self {
            default_title: text("a new message"),
            hidden_body: text("You have a new message"),
            push_in_background: Vec::new(),
            pending_binding_s: 600,
            killed_session_s: 7 * 86_400,
            heartbeat_s: 120,
            heartbeat_timeout_s: 400,
            web_heartbeat_s: 20,
            web_heartbeat_timeout_s: 60,
            kick: KickSettings::default(),
            multi_device: MultiDeviceRule::Each,
            desktop_quiet_s: 300,
            max_waiting_deliveries: 10_000_000,
            badge: BadgeSource::Caller,
            burst: None,
            rescue_window_s: 0,
        }
    }
}

impl AppSettings {
    /// Checks ranges that the types do not; the error names the field.
    pub fn check(&self) -> Result<(), (String, String)> {
        let ranges = [
            ("pending_binding_s", self.pending_binding_s, 1, 86_400),
            ("killed_session_s", self.killed_session_s, 60, 31_536_000),
            ("heartbeat_s", self.heartbeat_s, 1, 3_600),
            ("heartbeat_timeout_s", self.heartbeat_timeout_s, 2, 86_400),
            ("web_heartbeat_s", self.web_heartbeat_s, 1, 3_600),
            ("web_heartbeat_timeout_s", self.web_heartbeat_timeout_s, 2, 86_400),
            ("desktop_quiet_s", self.desktop_quiet_s, 1, 86_400),
            ("rescue_window_s", self.rescue_window_s, 0, 3_600),
        ];
        let wrong = |field: &str, message: String| Err((format!("settings.{field}"), message));
        for (field, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return wrong(field, format!("must be {least} to {most} seconds"));
            }
        }
        if self.heartbeat_timeout_s <= self.heartbeat_s {
            return wrong("heartbeat_timeout_s", "must be more than heartbeat_s".to_owned());
        }
        if self.web_heartbeat_timeout_s <= self.web_heartbeat_s {
            return wrong("web_heartbeat_timeout_s", "must be more than web_heartbeat_s".to_owned());
        }
        if self.max_waiting_deliveries > 1_000_000_000 {
            return wrong("max_waiting_deliveries", "must be at most 1000000000".to_owned());
        }
        if self.push_in_background.len() > Platform::ALL.len() {
            return wrong("push_in_background", "names a platform twice".to_owned());
        }
        if let Err((field, message)) = self.kick.check() {
            return wrong(&format!("kick.{field}"), message);
        }
        if let Some(Err((field, message))) = self.burst.as_ref().map(BurstRule::check) {
            return wrong(&format!("burst.{field}"), message);
        }
        Ok(())
    }

    /// How long a killed phone stays logged in.
    pub fn killed_for(&self) -> TimeDelta {
        seconds(self.killed_session_s)
    }

    /// How long a token report waits for its login.
    pub fn pending_for(&self) -> TimeDelta {
        seconds(self.pending_binding_s)
    }

    /// After how long without a heartbeat a link is lost.
    pub fn link_lost_after(&self, platform: Platform) -> TimeDelta {
        seconds(if platform == Platform::Web { self.web_heartbeat_timeout_s } else { self.heartbeat_timeout_s })
    }

    /// Heartbeats that follow one another sooner are not stored.
    pub fn least_heartbeat(&self, platform: Platform) -> TimeDelta {
        let every = if platform == Platform::Web { self.web_heartbeat_s } else { self.heartbeat_s };
        seconds(every).min(self.link_lost_after(platform) / 2) / 2
    }

    /// For how long a message may be pushed after all that an open app did not get.
    pub fn rescue_window(&self) -> TimeDelta {
        seconds(self.rescue_window_s)
    }
}

fn seconds(seconds: u32) -> TimeDelta {
    TimeDelta::seconds(i64::from(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_object_means_the_defaults() {
        let settings: AppSettings = serde_json::from_str("{}").unwrap();
        assert_eq!(settings, AppSettings::default());
        assert_eq!(&*settings.default_title, "a new message");
        assert_eq!(settings.check(), Ok(()));
        assert!(serde_json::from_str::<AppSettings>(r#"{"defualt_title":"x"}"#).is_err());
    }

    #[test]
    fn the_constants_are_those_of_tencent() {
        let settings = AppSettings::default();
        assert_eq!(settings.killed_for(), TimeDelta::days(7));
        assert_eq!(settings.link_lost_after(Platform::Android), TimeDelta::seconds(400));
        assert_eq!(settings.link_lost_after(Platform::Windows), TimeDelta::seconds(400));
        assert_eq!(settings.link_lost_after(Platform::Web), TimeDelta::seconds(60));
        assert!(settings.heartbeat_s < settings.heartbeat_timeout_s, "who beats in time is not lost");
        assert!(settings.web_heartbeat_s < settings.web_heartbeat_timeout_s);
        assert_eq!((settings.kick.sessions_per_platform, settings.kick.enforce), (1, false));
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name() {
        for (settings, field) in [
            (r#"{"killed_session_s":59}"#, "settings.killed_session_s"),
            (r#"{"heartbeat_timeout_s":100}"#, "settings.heartbeat_timeout_s"),
            (r#"{"web_heartbeat_timeout_s":1}"#, "settings.web_heartbeat_timeout_s"),
            (r#"{"web_heartbeat_timeout_s":20}"#, "settings.web_heartbeat_timeout_s"),
            (r#"{"web_heartbeat_s":60}"#, "settings.web_heartbeat_timeout_s"),
            (r#"{"web_heartbeat_s":0}"#, "settings.web_heartbeat_s"),
            (r#"{"rescue_window_s":3601}"#, "settings.rescue_window_s"),
            (r#"{"kick":{"sessions_per_platform":4}}"#, "settings.kick.sessions_per_platform"),
            (r#"{"kick":{"web_sessions":11}}"#, "settings.kick.web_sessions"),
            (r#"{"burst":{"after":0}}"#, "settings.burst.after"),
        ] {
            let settings: AppSettings = serde_json::from_str(settings).unwrap();
            assert_eq!(settings.check().unwrap_err().0, field);
        }
    }
}

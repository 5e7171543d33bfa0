//! What a chat server asks to show, as it is stored and handed to the adapters.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::AppSettings;
use super::burst::TextVariant;
use super::id::{AppId, NotificationId};
use super::offline_push_info::{AndroidInfo, OfflinePushInfo};

/// Within a lane `high` goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    High,
    #[default]
    Normal,
}

impl Priority {
    /// Both, in the order they are served.
    pub const ALL: [Self; 2] = [Self::High, Self::Normal];

    /// As stored: 0 high, 1 normal.
    pub const fn rank(self) -> i16 {
        match self {
            Self::High => 0,
            Self::Normal => 1,
        }
    }

    /// Reads the stored rank.
    pub const fn from_rank(rank: i16) -> Self {
        if rank == 0 { Self::High } else { Self::Normal }
    }
}

/// How long the one attempt of a notification with time to live 0 may wait for its turn.
pub const ONE_ATTEMPT_GRACE: TimeDelta = TimeDelta::seconds(5);

/// Everything about a notification that is the same for all its deliveries. Stored once, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    pub title: String,
    pub body: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collapse_id: Option<String>,
    /// The app's own data: a JSON object, at most 1 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sound: Option<String>,
    #[serde(default)]
    pub priority: Priority,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_push_info: Option<OfflinePushInfo>,
    /// Pushed even to apps in foreground; needed again when a late delivery is judged anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// The time to live as asked, in seconds.
    pub ttl_s: u32,
}

impl Content {
    /// What collapses it with others, as the caller named it: `collapse_id`, else the conversation.
    pub fn collapse_text(&self) -> Option<&str> {
        self.collapse_id.as_deref().or(self.conversation_id.as_deref())
    }

    /// Whether it counts on the badge; one that does not shows the count all the same.
    pub fn raises_badge(&self) -> bool {
        let apns = self.offline_push_info.as_ref().and_then(|info| info.apns_info.as_ref());
        apns.and_then(|apns| apns.badge_mode) != Some(1)
    }
}

/// A notification in memory, shared by all its deliveries.
#[derive(Debug)]
pub struct Notification {
    pub notification_id: NotificationId,
    pub app_id: AppId,
    pub content: Content,
}

impl Notification {
    /// The notification as devices of this variant show it.
    pub fn showing(self: &Arc<Self>, variant: TextVariant, settings: &AppSettings) -> Arc<Self> {
        let mut content = match variant {
            TextVariant::Own => return Arc::clone(self),
            TextVariant::Hidden | TextVariant::Summary(_) => self.content.clone(),
        };
        if let Some(info) = &mut content.offline_push_info {
            info.hide_texts(variant == TextVariant::Hidden);
        }
        match variant {
            TextVariant::Own => {}
            TextVariant::Hidden => {
                content.title = settings.default_title.to_string();
                content.body = settings.hidden_body.to_string();
            }
            TextVariant::Summary(count) => {
                let rule = settings.burst.clone().unwrap_or_default();
                content.body = rule.line(count.into(), self.own_title(settings));
                // The line stands for the conversation's messages, whatever each of them would have replaced.
                if content.conversation_id.is_some() {
                    content.collapse_id = None;
                }
            }
        }
        Arc::new(Self { notification_id: self.notification_id, app_id: self.app_id, content })
    }

    /// What it replaces, as the queue knows it: 63 bits of a digest of [`Content::collapse_text`].
    pub fn collapse_digest(&self) -> Option<i64> {
        let first = first_of_digest(self.content.collapse_text()?.as_bytes());
        Some(i64::from_be_bytes(first) & i64::MAX)
    }

    /// The title that the caller gave, if any.
    fn own_title(&self, settings: &AppSettings) -> Option<&str> {
        let info = self.content.offline_push_info.as_ref().and_then(|info| info.title.as_deref());
        // The app's stands there where none was given.
        let general = Some(&*self.content.title).filter(|title| *title != &*settings.default_title);
        info.filter(|title| !title.trim().is_empty()).or(general).filter(|title| !title.trim().is_empty())
    }

    /// The collapse key as a positive 31-bit number: of [`Content::collapse_text`], else of the notification.
    pub fn collapse_key(&self) -> i32 {
        hash_31(self.content.collapse_text().map_or(self.notification_id.0.as_bytes(), str::as_bytes))
    }

    /// The options for Android vendors.
    pub fn android(&self) -> Option<&AndroidInfo> {
        self.content.offline_push_info.as_ref()?.android_info.as_ref()
    }

    /// One of them that is a text; an empty one says nothing.
    pub fn android_text<'a>(&'a self, field: impl Fn(&'a AndroidInfo) -> Option<&'a str>) -> Option<&'a str> {
        self.android().and_then(field).filter(|text| !text.is_empty())
    }

    /// The sound of this message on Android: of the message, else `default` of the certificate.
    pub fn android_sound<'a>(&'a self, default: Option<&'a str>) -> AndroidSound<'a> {
        let own = self.android_text(|info| info.sound.as_deref()).or(self.content.sound.as_deref());
        match own.or(default) {
            None | Some("default") => AndroidSound::Default,
            Some("none") => AndroidSound::None,
            Some(resource) => AndroidSound::Resource(resource),
        }
    }

    /// The app's own data, with Tencent's `Ext` under its customary key `ext`.
    pub fn app_data(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut data = self.content.data.clone().unwrap_or_default();
        let ext = self.content.offline_push_info.as_ref().and_then(|info| info.ext.as_deref());
        if let Some(ext) = ext.filter(|ext| !ext.is_empty()) {
            data.entry("ext").or_insert_with(|| ext.into());
        }
        data
    }

    /// After this it is never sent. A time to live of 0 means one attempt, at once: it gets [`ONE_ATTEMPT_GRACE`].
    pub fn expires_at(&self) -> DateTime<Utc> {
        let time_to_live = TimeDelta::seconds(i64::from(self.content.ttl_s));
        self.notification_id.accepted_at() + if time_to_live.is_zero() { ONE_ATTEMPT_GRACE } else { time_to_live }
    }
}

/// What is heard on an Android phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AndroidSound<'a> {
    /// The phone's own.
    Default,
    /// Nothing.
    None,
    /// A raw resource of the app.
    Resource(&'a str),
}

/// What the adapters get.
pub type SharedNotification = Arc<Notification>;

/// A stable positive hash (1..=2^31-1) of a text: the first four bytes of its SHA-256.
fn hash_31(bytes: &[u8]) -> i32 {
    (i32::from_be_bytes(first_of_digest(bytes)) & i32::MAX).max(1)
}

fn first_of_digest<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut first = [0; N];
    first.copy_from_slice(&digest.as_ref()[..N]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(collapse_id: Option<&str>, conversation_id: Option<&str>, random: u64) -> Notification {
        Notification {
            notification_id: NotificationId::new(1_795_000_000_000, random),
            app_id: AppId(1),
            content: Content {
                title: String::new(),
                body: String::new(),
                conversation_id: conversation_id.map(str::to_owned),
                collapse_id: collapse_id.map(str::to_owned),
                data: None,
                sound: None,
                priority: Priority::Normal,
                offline_push_info: None,
                force: false,
                ttl_s: 60,
            },
        }
    }

    #[test]
    fn the_collapse_key_follows_the_collapse_id_then_the_conversation_then_the_notification() {
        let key = |c, v, r| notification(c, v, r).collapse_key();
        assert_eq!(key(Some("a"), Some("x"), 1 << 30), key(Some("a"), Some("y"), 2 << 30));
        assert_eq!(key(None, Some("x"), 1 << 30), key(None, Some("x"), 2 << 30));
        assert_ne!(key(None, None, 1 << 30), key(None, None, 2 << 30));
        assert!(key(Some("a"), None, 0) > 0);
        assert_eq!(hash_31(b""), 0x63b0_c442, "the first 31 bits of SHA-256");
    }

    #[test]
    fn a_hidden_notification_shows_nothing_of_its_texts() {
        let info = r#"{"Title":"Bob","Desc":"secret","Ext":"e","AndroidInfo":{"HuaWeiImage":"https://secret/i.png",
            "XiaoMiTemplateId":"P1","XiaoMiTemplateParam":{"a":"secret"},"OPPOPrivateMsgTemplateId":"tpl",
            "OPPOPrivateTitleParameters":{"a":"Bob"},"OPPOPrivateContentParameters":{"a":"secret"}},
            "HarmonyInfo":{"Body":"secret"},
            "ApnsInfo":{"Title":"Bob","SubTitle":"secret","Image":"https://secret/i.png","Sound":"s.caf"}}"#;
        let mut own = notification(Some("m-1"), Some("room"), 0);
        own.content.title = "Bob".to_owned();
        own.content.body = "secret".to_owned();
        own.content.offline_push_info = serde_json::from_str(info).unwrap();
        let own = Arc::new(own);
        let settings = AppSettings::default();
        let hidden = own.showing(TextVariant::Hidden, &settings);
        let shown = serde_json::to_string(&hidden.content).unwrap();
        assert!(!shown.contains("secret") && !shown.contains("Bob"), "{shown}");
        assert!(shown.contains("You have a new message") && shown.contains("s.caf"));
        assert_eq!(hidden.collapse_key(), own.collapse_key());
        let line = own.showing(TextVariant::Summary(5), &settings);
        assert_eq!(line.content.body, "5 new messages from Bob");
        assert_eq!(line.content.collapse_text(), Some("room"));
        for shown in [&hidden, &line] {
            let android = shown.android().unwrap();
            assert_eq!((&android.xiaomi_template_id, &android.oppo_private_msg_template_id), (&None, &None));
        }
        assert!(!serde_json::to_string(&line.content).unwrap().contains("secret"));
        assert!(Arc::ptr_eq(&own, &own.showing(TextVariant::Own, &settings)));
    }

    #[test]
    fn a_line_of_messages_without_a_title_names_nobody() {
        let settings =
            AppSettings { burst: Some(crate::domain::burst::BurstRule::default()), ..AppSettings::default() };
        let mut untitled = notification(None, Some("room"), 0);
        // What acceptance puts in place of a title.
        untitled.content.title = settings.default_title.to_string();
        let untitled = Arc::new(untitled);
        assert_eq!(untitled.showing(TextVariant::Summary(5), &settings).content.body, "5 new messages");
    }

    #[test]
    fn the_time_to_live_counts_from_acceptance() {
        let notification = notification(None, None, 0);
        assert_eq!(notification.expires_at().timestamp(), 1_795_000_060);
    }
}

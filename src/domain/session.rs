//! Sessions, bindings and events: what they are. [`super::devices`] has the rules of what an event does.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::AppSettings;
use super::certificate::VendorKind;
use super::id::CertificateId;

/// Events further in the future are taken as now and marked.
pub const MAX_AHEAD: TimeDelta = TimeDelta::seconds(5);
/// Older events are refused.
pub const MAX_AGE: TimeDelta = TimeDelta::days(7);

/// What a device runs. `IOS`, `iOS` and `ios` are the same; the other spellings of the field are accepted too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    Ios,
    Ipados,
    Android,
    Harmony,
    Web,
    Windows,
    Mac,
    Linux,
}

impl Platform {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Ios, Self::Ipados, Self::Android, Self::Harmony, Self::Web, Self::Windows, Self::Mac, Self::Linux];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ios => "ios",
            Self::Ipados => "ipados",
            Self::Android => "android",
            Self::Harmony => "harmony",
            Self::Web => "web",
            Self::Windows => "windows",
            Self::Mac => "mac",
            Self::Linux => "linux",
        }
    }

    /// Reads a name without regard to case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|platform| platform.as_str().eq_ignore_ascii_case(name))
    }

    /// Desktops and the web: in use, they quieten the phone where the app wishes so.
    pub const fn is_desk(self) -> bool {
        matches!(self, Self::Web | Self::Windows | Self::Mac | Self::Linux)
    }

    /// Phones and tablets stay logged in when their app is killed; everything else is simply gone.
    pub const fn can_be_killed(self) -> bool {
        matches!(self, Self::Ios | Self::Ipados | Self::Android | Self::Harmony)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| {
            serde::de::Error::custom("must be one of ios, ipados, android, harmony, web, windows, mac, linux")
        })
    }
}

/// Where a session stands. Only [`SessionState::Killed`] is pushed to without a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Link up, app in front.
    Foreground,
    /// Link up, app in background.
    Background,
    /// Logged in, process killed or link lost.
    Killed,
    LoggedOut,
    /// Forced off by another login or by an administrator.
    Kicked,
    /// Killed for too long.
    Expired,
}

impl SessionState {
    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Foreground => "foreground",
            Self::Background => "background",
            Self::Killed => "killed",
            Self::LoggedOut => "logged_out",
            Self::Kicked => "kicked",
            Self::Expired => "expired",
        }
    }

    /// Reads a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Foreground, Self::Background, Self::Killed, Self::LoggedOut, Self::Kicked, Self::Expired]
            .into_iter()
            .find(|state| state.as_str() == name)
    }

    /// Logged in, whatever the app does.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Foreground | Self::Background | Self::Killed)
    }

    /// The link is up.
    pub const fn is_online(self) -> bool {
        matches!(self, Self::Foreground | Self::Background)
    }
}

/// What decides where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    pub platform: Platform,
    pub state: SessionState,
    /// Of the last event that changed the state.
    pub event_time: DateTime<Utc>,
    /// The last sign of life; none before the first heartbeat.
    pub last_seen: Option<DateTime<Utc>>,
}

impl Session {
    /// Where it stands at `now`, whatever is stored: a link without heartbeats is lost, and a killed session ends after the
    /// app's time. What changed is dated by the last sign of life, so that a late event of the app still counts.
    #[must_use]
    pub fn at(self, now: DateTime<Utc>, settings: &AppSettings) -> Self {
        let lost = self.last_seen.filter(|seen| {
            self.state.is_online() && now - (*seen).max(self.event_time) > settings.link_lost_after(self.platform)
        });
        let session = match lost {
            Some(seen) => Self {
                state: if self.platform.can_be_killed() { SessionState::Killed } else { SessionState::LoggedOut },
                event_time: self.event_time.max(seen),
                ..self
            },
            None => self,
        };
        if session.state == SessionState::Killed && now - session.event_time > settings.killed_for() {
            Self { state: SessionState::Expired, ..session }
        } else {
            session
        }
    }

    /// When its user was last known to use it.
    pub fn used_at(self) -> DateTime<Utc> {
        self.last_seen.map_or(self.event_time, |seen| seen.max(self.event_time))
    }
}

/// What a binding is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BindingStatus {
    Active,
    /// Reported before the login; active on it, if it comes in time.
    Pending,
    /// The user switched notifications off; until the token is reported again.
    Muted,
    /// The session was logged out or kicked.
    Detached,
    /// The token now serves another device.
    Superseded,
    /// The vendor called the token dead.
    Invalid,
    /// The session expired; revived by the next login.
    Stale,
}

impl BindingStatus {
    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Muted => "muted",
            Self::Detached => "detached",
            Self::Superseded => "superseded",
            Self::Invalid => "invalid",
            Self::Stale => "stale",
        }
    }

    /// Reads a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Active, Self::Pending, Self::Muted, Self::Detached, Self::Superseded, Self::Invalid, Self::Stale]
            .into_iter()
            .find(|status| status.as_str() == name)
    }

    /// Live tokens are unique per app and vendor.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Active | Self::Muted)
    }
}

/// A device token and the certificate that reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub certificate_id: CertificateId,
    pub vendor: VendorKind,
    pub token: String,
    pub reported_at: DateTime<Utc>,
    pub status: BindingStatus,
}

/// One device of one user: its session and its binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub user_id: String,
    pub device_id: String,
    pub platform: Platform,
    pub state: SessionState,
    pub event_time: DateTime<Utc>,
    pub login_seq: Option<i64>,
    /// When the user logged in last: decides who is kicked.
    pub login_at: Option<DateTime<Utc>>,
    pub last_seen: Option<DateTime<Utc>>,
    /// The newest disconnect that was told while nobody was logged in: a login that happened before it is over.
    pub disconnected_at: Option<DateTime<Utc>>,
    pub unread: Option<i32>,
    /// When `unread` was told, or began anew.
    pub unread_at: Option<DateTime<Utc>>,
    pub binding: Option<Binding>,
}

impl Device {
    /// A device nothing is known of yet.
    pub fn unknown(user_id: &str, device_id: &str, platform: Platform) -> Self {
        Self {
            user_id: user_id.to_owned(),
            device_id: device_id.to_owned(),
            platform,
            state: SessionState::LoggedOut,
            event_time: DateTime::UNIX_EPOCH,
            login_seq: None,
            login_at: None,
            last_seen: None,
            disconnected_at: None,
            unread: None,
            unread_at: None,
            binding: None,
        }
    }

    /// Something besides tokens was told of it.
    pub fn is_known(&self) -> bool {
        self.event_time != DateTime::UNIX_EPOCH
    }

    /// Nobody ever logged in here, and no login that is still taken can have happened before its end.
    pub fn is_forgettable(&self, now: DateTime<Utc>) -> bool {
        let heard_at = self.disconnected_at.map_or(self.event_time, |at| at.max(self.event_time));
        !self.state.is_live() && self.login_at.is_none() && self.binding.is_none() && now - heard_at > MAX_AGE
    }

    /// Takes what was told of the unread count at a time, unless something newer was told before. True: it did.
    pub fn count_unread(&mut self, unread: Option<i32>, at: DateTime<Utc>) -> bool {
        let is_newer = self.unread_at.is_none_or(|known| known <= at);
        let changes = is_newer && (self.unread, self.unread_at) != (unread, Some(at));
        if changes {
            (self.unread, self.unread_at) = (unread, Some(at));
        }
        changes
    }

    /// Its session.
    pub fn session(&self) -> Session {
        let Self { platform, state, event_time, last_seen, .. } = *self;
        Session { platform, state, event_time, last_seen }
    }

    /// What its binding is good for.
    pub fn binding_status(&self) -> Option<BindingStatus> {
        self.binding.as_ref().map(|binding| binding.status)
    }
}

/// What happened, as the chat server tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    Login,
    Logout,
    /// Forced off: `device_id` itself, or the devices or platforms named, and then `device_id` is the one that stays.
    Kicked,
    Background,
    Foreground,
    /// The app is back after its link was lost: as `foreground`, or as a login where that had ended the session.
    Reconnect,
    Disconnect,
    /// A sign of life; where they are reported, a link without them is lost.
    Heartbeat,
    /// A conversation was read, or the new `unread` count of the user is told.
    Read,
    /// The app reported its token, as with the call for bindings.
    TokenReport,
    /// The user's account is gone: sessions, bindings and preferences are forgotten.
    UserDeleted,
}

impl EventType {
    /// The name in the API and the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Logout => "logout",
            Self::Kicked => "kicked",
            Self::Background => "background",
            Self::Foreground => "foreground",
            Self::Reconnect => "reconnect",
            Self::Disconnect => "disconnect",
            Self::Heartbeat => "heartbeat",
            Self::Read => "read",
            Self::TokenReport => "token_report",
            Self::UserDeleted => "user_deleted",
        }
    }
}

/// A token as reported, its certificate already checked to be the app's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedToken {
    pub certificate_id: CertificateId,
    pub vendor: VendorKind,
    pub token: String,
}

/// One session event, times already judged (see [`judge_time`]).
#[derive(Debug, Clone)]
pub struct Event {
    pub user_id: String,
    pub device_id: String,
    pub platform: Platform,
    pub kind: EventType,
    pub event_time: DateTime<Utc>,
    pub login_seq: Option<i64>,
    pub unread: Option<i32>,
    pub token: Option<ReportedToken>,
    /// `kicked` only: the devices that were kicked; with none and no platforms, `device_id` itself.
    pub kicked_devices: Vec<String>,
    /// `kicked` only: all other sessions of these platforms.
    pub kicked_platforms: Vec<Platform>,
    /// `read` only: the conversation that was read.
    pub conversation_id: Option<String>,
    /// `disconnect` by time-out only: messages handed to the link that nobody confirmed.
    pub unacked: Vec<MessageKey>,
}

/// Names a notification as the chat server knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageKey {
    pub message_id: String,
    pub part: u16,
}

impl Event {
    /// An event that says no more than what happened.
    pub fn plain(
        user_id: &str,
        device_id: &str,
        platform: Platform,
        kind: EventType,
        event_time: DateTime<Utc>,
    ) -> Self {
        Self {
            user_id: user_id.to_owned(),
            device_id: device_id.to_owned(),
            platform,
            kind,
            event_time,
            login_seq: None,
            unread: None,
            token: None,
            kicked_devices: Vec::new(),
            kicked_platforms: Vec::new(),
            conversation_id: None,
            unacked: Vec::new(),
        }
    }

    /// A kick that names others than its own device.
    pub fn kicks_others(&self) -> bool {
        !self.kicked_devices.is_empty() || !self.kicked_platforms.is_empty()
    }
}

/// What became of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    Applied,
    /// A newer event of this session was applied before.
    Stale,
    Refused(Refusal),
}

/// Why an event was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Older than seven days.
    TooOld,
    /// No login, and no end of one, was ever reported for this device.
    UnknownDevice,
    /// The session is not logged in.
    NotLoggedIn,
}

/// Takes an event's time as it may be used: future times as now (second value true), old ones not at all.
pub fn judge_time(event_time: DateTime<Utc>, now: DateTime<Utc>) -> Result<(DateTime<Utc>, bool), Refusal> {
    if event_time > now + MAX_AHEAD {
        Ok((now, true))
    } else if event_time < now - MAX_AGE {
        Err(Refusal::TooOld)
    } else {
        Ok((event_time, false))
    }
}

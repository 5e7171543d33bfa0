//! Who gets the push: a pure function of one device's row, the app's settings and the message's own wishes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::AppSettings;
use super::session::{BindingStatus, Platform, SessionState};

/// Why a user or a device gets no push. The names are part of the API: never rename one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The user has no device at all; normal, not an error.
    NoDevice,
    /// Logged out, or never logged in.
    LoggedOut,
    /// Forced off by another login or an administrator.
    Kicked,
    /// Killed for longer than the app keeps sessions.
    Expired,
    /// The app is open: the message reaches it over its own connection.
    Foreground,
    /// The app runs in background, which counts as online (a setting of the app).
    Background,
    /// No device token was ever reported.
    NoToken,
    /// The token was reported, but no login followed yet.
    BindingPending,
    /// The user switched notifications off.
    BindingMuted,
    /// The binding was taken away.
    BindingDetached,
    /// The token now serves another device.
    BindingSuperseded,
    /// The vendor called the token dead; waits for a new report.
    BindingInvalid,
    /// The session expired; revived by the next login.
    BindingStale,
    /// The certificate of the binding was deleted.
    CertificateMissing,
    /// The device that sent the message.
    SenderDevice,
    /// Not among `only_devices`, or among `exclude_devices`.
    ExcludedDevice,
    /// The message asks never to be pushed (`PushFlag` 1).
    NeverPush,
}

impl SkipReason {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::NoDevice,
        Self::LoggedOut,
        Self::Kicked,
        Self::Expired,
        Self::Foreground,
        Self::Background,
        Self::NoToken,
        Self::BindingPending,
        Self::BindingMuted,
        Self::BindingDetached,
        Self::BindingSuperseded,
        Self::BindingInvalid,
        Self::BindingStale,
        Self::CertificateMissing,
        Self::SenderDevice,
        Self::ExcludedDevice,
        Self::NeverPush,
    ];

    /// The name in the API, the trace and the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoDevice => "no_device",
            Self::LoggedOut => "logged_out",
            Self::Kicked => "kicked",
            Self::Expired => "expired",
            Self::Foreground => "foreground",
            Self::Background => "background",
            Self::NoToken => "no_token",
            Self::BindingPending => "binding_pending",
            Self::BindingMuted => "binding_muted",
            Self::BindingDetached => "binding_detached",
            Self::BindingSuperseded => "binding_superseded",
            Self::BindingInvalid => "binding_invalid",
            Self::BindingStale => "binding_stale",
            Self::CertificateMissing => "certificate_missing",
            Self::SenderDevice => "sender_device",
            Self::ExcludedDevice => "excluded_device",
            Self::NeverPush => "never_push",
        }
    }

    /// Reads a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// What routing needs to know of a device.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub user_id: &'a str,
    pub device_id: &'a str,
    pub platform: Platform,
    pub state: SessionState,
    pub binding: Option<BindingStatus>,
}

/// What the message itself says about devices.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    pub sender_id: Option<&'a str>,
    pub sender_device_id: Option<&'a str>,
    pub only_devices: &'a [String],
    pub exclude_devices: &'a [String],
    /// Pushed even to an app in foreground or background; never to one that is logged out.
    pub force: bool,
}

/// Decides for one device: `None` means push.
pub fn decide(device: &Candidate<'_>, wishes: &Wishes<'_>, settings: &AppSettings) -> Option<SkipReason> {
    by_message(device, wishes).or_else(|| by_state(device, wishes, settings)).or_else(|| by_binding(device.binding))
}

fn by_message(device: &Candidate<'_>, wishes: &Wishes<'_>) -> Option<SkipReason> {
    let names = |list: &[String]| list.iter().any(|name| name == device.device_id);
    if wishes.sender_id == Some(device.user_id) && wishes.sender_device_id == Some(device.device_id) {
        Some(SkipReason::SenderDevice)
    } else if names(wishes.exclude_devices) || (!wishes.only_devices.is_empty() && !names(wishes.only_devices)) {
        Some(SkipReason::ExcludedDevice)
    } else {
        None
    }
}

fn by_state(device: &Candidate<'_>, wishes: &Wishes<'_>, settings: &AppSettings) -> Option<SkipReason> {
    match device.state {
        SessionState::Killed => None,
        SessionState::Foreground if wishes.force => None,
        SessionState::Background if wishes.force || settings.push_in_background.contains(&device.platform) => None,
        SessionState::Foreground => Some(SkipReason::Foreground),
        SessionState::Background => Some(SkipReason::Background),
        SessionState::LoggedOut if device.binding == Some(BindingStatus::Pending) => Some(SkipReason::BindingPending),
        SessionState::LoggedOut => Some(SkipReason::LoggedOut),
        SessionState::Kicked => Some(SkipReason::Kicked),
        SessionState::Expired => Some(SkipReason::Expired),
    }
}

fn by_binding(status: Option<BindingStatus>) -> Option<SkipReason> {
    match status {
        Some(BindingStatus::Active) => None,
        None => Some(SkipReason::NoToken),
        Some(BindingStatus::Pending) => Some(SkipReason::BindingPending),
        Some(BindingStatus::Muted) => Some(SkipReason::BindingMuted),
        Some(BindingStatus::Detached) => Some(SkipReason::BindingDetached),
        Some(BindingStatus::Superseded) => Some(SkipReason::BindingSuperseded),
        Some(BindingStatus::Invalid) => Some(SkipReason::BindingInvalid),
        Some(BindingStatus::Stale) => Some(SkipReason::BindingStale),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(state: SessionState, binding: Option<BindingStatus>) -> Candidate<'static> {
        Candidate { user_id: "alice", device_id: "phone", platform: Platform::Android, state, binding }
    }

    #[test]
    fn only_a_killed_phone_with_an_active_binding_is_pushed_to() {
        use BindingStatus as B;
        use SessionState as S;
        let active = Some(B::Active);
        for (state, binding, expected) in [
            (S::Killed, active, None),
            (S::Foreground, active, Some(SkipReason::Foreground)),
            (S::Background, active, Some(SkipReason::Background)),
            (S::LoggedOut, active, Some(SkipReason::LoggedOut)),
            (S::LoggedOut, Some(B::Pending), Some(SkipReason::BindingPending)),
            (S::Kicked, active, Some(SkipReason::Kicked)),
            (S::Expired, active, Some(SkipReason::Expired)),
            (S::Killed, None, Some(SkipReason::NoToken)),
            (S::Killed, Some(B::Pending), Some(SkipReason::BindingPending)),
            (S::Killed, Some(B::Muted), Some(SkipReason::BindingMuted)),
            (S::Killed, Some(B::Detached), Some(SkipReason::BindingDetached)),
            (S::Killed, Some(B::Superseded), Some(SkipReason::BindingSuperseded)),
            (S::Killed, Some(B::Invalid), Some(SkipReason::BindingInvalid)),
            (S::Killed, Some(B::Stale), Some(SkipReason::BindingStale)),
        ] {
            let decision = decide(&device(state, binding), &Wishes::default(), &AppSettings::default());
            assert_eq!(decision, expected, "{state:?} {binding:?}");
        }
    }

    #[test]
    fn force_and_the_background_setting_reach_online_devices_and_nobody_else() {
        let forced = Wishes { force: true, ..Wishes::default() };
        let pushing = AppSettings { push_in_background: vec![Platform::Android], ..AppSettings::default() };
        let active = Some(BindingStatus::Active);
        let background = device(SessionState::Background, active);
        assert_eq!(decide(&background, &Wishes::default(), &pushing), None);
        assert_eq!(decide(&background, &forced, &AppSettings::default()), None);
        assert_eq!(decide(&device(SessionState::Foreground, active), &forced, &AppSettings::default()), None);
        let logged_out = decide(&device(SessionState::LoggedOut, active), &forced, &pushing);
        assert_eq!(logged_out, Some(SkipReason::LoggedOut));
    }

    #[test]
    fn the_message_can_leave_devices_out() {
        let phone = device(SessionState::Killed, Some(BindingStatus::Active));
        let list = vec!["phone".to_owned()];
        let other = vec!["tablet".to_owned()];
        let settings = AppSettings::default();
        let decide = |wishes: Wishes<'_>| super::decide(&phone, &wishes, &settings);
        assert_eq!(decide(Wishes { only_devices: &list, ..Wishes::default() }), None);
        assert_eq!(decide(Wishes { only_devices: &other, ..Wishes::default() }), Some(SkipReason::ExcludedDevice));
        assert_eq!(decide(Wishes { exclude_devices: &list, ..Wishes::default() }), Some(SkipReason::ExcludedDevice));
        let own = Wishes { sender_id: Some("alice"), sender_device_id: Some("phone"), ..Wishes::default() };
        assert_eq!(decide(own), Some(SkipReason::SenderDevice));
        let somebody_elses = Wishes { sender_id: Some("bob"), ..own };
        assert_eq!(decide(somebody_elses), None, "device ids are unique per user only");
    }

    #[test]
    fn names_are_read_back() {
        for reason in SkipReason::ALL {
            assert_eq!(SkipReason::parse(reason.as_str()), Some(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}

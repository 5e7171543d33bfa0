//! What a state change of Tencent IM means: the session events that it stands for.
//!
//! Tencent names a platform and no device. So an event of a platform concerns the device that the user has on it; which
//! one that is, [`events`] decides. What it may do there is up to the rules of [`super::devices`], as for every event.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::ToSchema;

use super::session::{Device, Event, EventType, Platform};
use crate::secrets::hex_digest;

/// The longest device id.
const MAX_DEVICE_ID_BYTES: usize = 128;

/// What happened, in Tencent's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
pub enum Action {
    Login,
    Logout,
    Disconnect,
}

/// One state change, its time already judged (see [`super::session::judge_time`]).
#[derive(Debug, Clone)]
pub struct StateChange {
    pub user_id: String,
    pub platform: Platform,
    pub action: Action,
    /// Of a login: the platforms whose other sessions it ended.
    pub kicked: Vec<Platform>,
    pub event_time: DateTime<Utc>,
}

/// Reads Tencent's name of a platform, without regard to case: `iPad` is `ipados`, `HarmonyOS` is `harmony`, the others
/// are named alike.
pub fn platform(name: &str) -> Option<Platform> {
    match name.to_ascii_lowercase().as_str() {
        "ipad" => Some(Platform::Ipados),
        "harmonyos" => Some(Platform::Harmony),
        name => Platform::parse(name),
    }
}

/// The device of a user who has none on this platform: the platform and the user, as `android:alice`. The user stands in
/// it because a device id names a phone: under one id for all, each login would sign out everybody else on it. A user id
/// that leaves no room stands as its SHA-256 after another sign, so that no user can be called like it.
pub fn device_id(platform: Platform, user_id: &str) -> String {
    let whole = format!("{}:{user_id}", platform.as_str());
    if whole.len() <= MAX_DEVICE_ID_BYTES {
        whole
    } else {
        format!("{}#{}", platform.as_str(), hex_digest(user_id.as_bytes()))
    }
}

/// The session events of a state change, in the order to apply them, all or none. `devices` are the user's.
pub fn events(devices: &[Device], change: &StateChange) -> Vec<Event> {
    let own: Vec<&Device> = devices.iter().filter(|device| device.platform == change.platform).collect();
    match change.action {
        Action::Login => {
            let device_id = signed_in(&own, change);
            let kicked = live(devices.iter().filter(|device| change.kicked.contains(&device.platform)));
            let kicked: Vec<String> = kicked.into_iter().filter(|kicked| *kicked != device_id).collect();
            let login = event(change, EventType::Login, &device_id);
            let own_kick = was_another_phone(&own, &device_id, &kicked, change)
                .then(|| event(change, EventType::Kicked, &device_id));
            let kick = (!kicked.is_empty())
                .then(|| Event { kicked_devices: kicked, ..event(change, EventType::Kicked, &device_id) });
            own_kick.into_iter().chain(std::iter::once(login)).chain(kick).collect()
        }
        Action::Logout => ended(&own, change, EventType::Logout),
        Action::Disconnect => ended(&own, change, EventType::Disconnect),
    }
}

/// The device that a login is about: the one used last, by event or by token report, so that a client that reported its
/// token under its own device id before this call came is found.
fn signed_in(own: &[&Device], change: &StateChange) -> String {
    let last_event = own.iter().max_by_key(|device| (device.event_time, &device.device_id));
    let last_use = own.iter().max_by_key(|device| (last_use(device), &device.device_id));
    // A login that is not newer than what is known is one that was told before, or came too late: it must not reach a
    // device that reported its token since.
    let chosen = last_event.filter(|device| device.event_time >= change.event_time).or(last_use);
    chosen.map_or_else(|| device_id(change.platform, &change.user_id), |device| device.device_id.clone())
}

/// A login that kicked a session of its own platform came from another phone than the one that is known, if no other is
/// known there that can have been meant. What this one reported before is the kicked phone's token.
fn was_another_phone(own: &[&Device], chosen: &str, kicked: &[String], change: &StateChange) -> bool {
    let is_older = |device: &&&Device| {
        let binding = device.binding.as_ref();
        binding.is_some_and(|binding| binding.status.is_live() && binding.reported_at < change.event_time)
    };
    change.kicked.contains(&change.platform)
        && !own.iter().any(|device| kicked.contains(&device.device_id))
        && own
            .iter()
            .filter(|device| device.device_id == chosen && device.state.is_live())
            .any(|device| is_older(&device))
}

fn last_use(device: &Device) -> DateTime<Utc> {
    device.binding.as_ref().map_or(device.event_time, |binding| binding.reported_at.max(device.event_time))
}

/// A logout or a disconnect, of every session on the platform. If there is none, the device that a login would be about
/// learns of the end, so that a login that comes after it, though it happened before, is known to be over.
fn ended(own: &[&Device], change: &StateChange, kind: EventType) -> Vec<Event> {
    let mut ids = live(own.iter().copied());
    if ids.is_empty() {
        ids.push(signed_in(own, change));
    }
    ids.into_iter().map(|device_id| event(change, kind, &device_id)).collect()
}

fn live<'a>(devices: impl Iterator<Item = &'a Device>) -> Vec<String> {
    devices.filter(|device| device.state.is_live()).map(|device| device.device_id.clone()).collect()
}

fn event(change: &StateChange, kind: EventType, device_id: &str) -> Event {
    Event::plain(&change.user_id, device_id, change.platform, kind, change.event_time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::certificate::VendorKind;
    use crate::domain::id::CertificateId;
    use crate::domain::session::{Binding, BindingStatus, SessionState};

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    /// A device whose last event was at `event_s`, and whose token, if any, was reported at `reported_s`.
    fn device(id: &str, platform: Platform, state: SessionState, event_s: i64, reported_s: Option<i64>) -> Device {
        let binding = reported_s.map(|reported_s| Binding {
            certificate_id: CertificateId(1),
            vendor: VendorKind::Xiaomi,
            token: format!("token-{id}"),
            reported_at: at(reported_s),
            status: BindingStatus::Pending,
        });
        Device { state, event_time: at(event_s), binding, ..Device::unknown("alice", id, platform) }
    }

    /// The events as `kind device` and, of a kick, whom.
    fn told(devices: &[Device], action: Action, platform: Platform, kicked: &[Platform], second: i64) -> Vec<String> {
        let change = StateChange {
            user_id: "alice".to_owned(),
            platform,
            action,
            kicked: kicked.to_vec(),
            event_time: at(second),
        };
        let words = |event: Event| {
            assert_eq!((event.event_time, event.platform), (at(second), platform));
            [vec![format!("{:?} {}", event.kind, event.device_id)], event.kicked_devices].concat().join(" ")
        };
        events(devices, &change).into_iter().map(words).collect()
    }

    #[test]
    fn a_login_concerns_the_device_of_its_platform_that_was_used_last() {
        use Platform::{Android, Ios};
        use SessionState::{Killed, LoggedOut};
        let old = || device("old", Android, Killed, 100, Some(90));
        let reported = || device("new", Android, LoggedOut, 0, Some(150));
        let iphone = || device("iphone", Ios, Killed, 500, None);
        for (devices, expected) in [
            (vec![], "Login android:alice"),
            (vec![iphone()], "Login android:alice"),
            (vec![old(), iphone()], "Login old"),
            (vec![old(), reported()], "Login new"),
            (vec![reported()], "Login new"),
            (vec![old(), device("gone", Android, LoggedOut, 120, None)], "Login gone"),
            // Told before, or too late: not of the device that reported its token since.
            (
                vec![device("old", Android, Killed, 200, None), device("new", Android, LoggedOut, 0, Some(300))],
                "Login old",
            ),
            (
                vec![device("old", Android, Killed, 201, None), device("new", Android, LoggedOut, 0, Some(300))],
                "Login old",
            ),
        ] {
            assert_eq!(told(&devices, Action::Login, Android, &[], 200), [expected], "{devices:?}");
        }
    }

    #[test]
    fn a_login_kicks_the_live_sessions_of_the_named_platforms_except_itself() {
        use Platform::{Android, Ios, Web};
        use SessionState::{Foreground, Killed, LoggedOut};
        let devices = [
            device("a1", Android, Killed, 100, None),
            device("a2", Android, LoggedOut, 0, Some(150)),
            device("i1", Ios, Killed, 100, None),
            device("i2", Ios, LoggedOut, 90, None),
            device("w1", Web, Foreground, 100, None),
        ];
        for (kicked, expected) in [
            (&[][..], &["Login a2"][..]),
            (&[Android], &["Login a2", "Kicked a2 a1"]),
            (&[Android, Ios], &["Login a2", "Kicked a2 a1 i1"]),
            (&[Web], &["Login a2", "Kicked a2 w1"]),
            (&[Platform::Mac], &["Login a2"]),
        ] {
            assert_eq!(told(&devices, Action::Login, Android, kicked, 200), expected, "{kicked:?}");
        }
    }

    #[test]
    fn a_login_that_kicks_its_own_platform_is_another_phone_than_the_only_one_known() {
        use Platform::{Android, Ios};
        use SessionState::{Killed, LoggedOut};
        let known = |state, reported_s, status| {
            let mut device = device("a", Android, state, 100, Some(reported_s));
            device.binding = device.binding.map(|binding| Binding { status, ..binding });
            device
        };
        let active = BindingStatus::Active;
        let another = || device("b", Android, Killed, 90, None);
        for (devices, kicked, expected) in [
            (vec![known(Killed, 150, active)], Android, &["Kicked a", "Login a"][..]),
            (vec![known(Killed, 150, BindingStatus::Muted)], Android, &["Kicked a", "Login a"]),
            // Reported since: the new phone's.
            (vec![known(Killed, 200, active)], Android, &["Login a"]),
            (vec![known(LoggedOut, 150, BindingStatus::Pending)], Android, &["Login a"]),
            (vec![known(Killed, 150, BindingStatus::Detached)], Android, &["Login a"]),
            (vec![known(Killed, 150, active), another()], Android, &["Login a", "Kicked a b"]),
            (vec![known(Killed, 150, active)], Ios, &["Login a"]),
        ] {
            assert_eq!(told(&devices, Action::Login, Android, &[kicked], 200), expected, "{devices:?} {kicked:?}");
        }
    }

    #[test]
    fn an_end_concerns_every_live_session_of_its_platform() {
        use Platform::{Android, Ios};
        use SessionState::{Foreground, Killed, LoggedOut};
        let devices = [
            device("a1", Android, Killed, 100, None),
            device("a2", Android, Foreground, 110, None),
            device("a3", Android, LoggedOut, 120, None),
            device("i1", Ios, LoggedOut, 100, None),
        ];
        assert_eq!(told(&devices, Action::Logout, Android, &[], 200), ["Logout a1", "Logout a2"]);
        assert_eq!(told(&devices, Action::Disconnect, Android, &[], 200), ["Disconnect a1", "Disconnect a2"]);
        assert_eq!(told(&devices, Action::Logout, Ios, &[], 200), ["Logout i1"]);
        assert_eq!(told(&[], Action::Logout, Ios, &[], 200), ["Logout ios:alice"]);
    }

    #[test]
    fn platforms_are_read_without_regard_to_case() {
        for (name, expected) in [
            ("iOS", Some(Platform::Ios)),
            ("IOS", Some(Platform::Ios)),
            ("Android", Some(Platform::Android)),
            ("Web", Some(Platform::Web)),
            ("Windows", Some(Platform::Windows)),
            ("iPad", Some(Platform::Ipados)),
            ("Mac", Some(Platform::Mac)),
            ("Linux", Some(Platform::Linux)),
            ("Harmony", Some(Platform::Harmony)),
            ("HarmonyOS", Some(Platform::Harmony)),
            ("RESTAPI", None),
            ("", None),
        ] {
            assert_eq!(platform(name), expected, "{name}");
        }
    }

    #[test]
    fn no_two_users_share_the_device_that_is_made_for_them() {
        assert_eq!(device_id(Platform::Ipados, "bob"), "ipados:bob");
        let long = "u".repeat(128);
        let made = device_id(Platform::Windows, &long);
        assert!(made.starts_with("windows#") && made.len() <= MAX_DEVICE_ID_BYTES, "{made}");
        assert_ne!(made, device_id(Platform::Windows, &"v".repeat(128)));
    }
}

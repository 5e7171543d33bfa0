//! What an event makes of a session that goes on or ends; a login has rules of its own.

use super::{DeviceKey, Devices, is_stale};
use crate::domain::session::{Applied, BindingStatus, Device, Event, EventType, Refusal, SessionState};

impl Devices<'_> {
    /// A reconnect of a session that nobody ended: it expired, or its desktop lost the link.
    pub(super) fn is_login_again(&self, event: &Event) -> bool {
        self.get(&event.user_id, &event.device_id).is_some_and(|device| match device.state {
            SessionState::Expired => true,
            SessionState::LoggedOut => device.is_known() && !device.platform.can_be_killed(),
            _ => false,
        })
    }

    pub(super) fn kick_named(&mut self, event: &Event) -> Applied {
        let mut named: Vec<DeviceKey> =
            event.kicked_devices.iter().map(|device_id| (event.user_id.clone(), device_id.clone())).collect();
        let of_platforms = self
            .of_user(&event.user_id)
            .filter(|device| event.kicked_platforms.contains(&device.platform) && device.state.is_live());
        named.extend(of_platforms.map(|device| (event.user_id.clone(), device.device_id.clone())));
        let mut best = Applied::Refused(Refusal::UnknownDevice);
        // The login sequence is the staying device's: it says nothing about the others.
        let kick = Event { login_seq: None, ..event.clone() };
        for (user_id, device_id) in named.into_iter().filter(|kicked| kicked.1 != event.device_id) {
            match self.transition(&user_id, &device_id, &kick) {
                Applied::Applied => best = Applied::Applied,
                Applied::Stale if best != Applied::Applied => best = Applied::Stale,
                _ => {}
            }
        }
        best
    }

    pub(super) fn transition(&mut self, user_id: &str, device_id: &str, event: &Event) -> Applied {
        let key = (user_id.to_owned(), device_id.to_owned());
        let ends = self.ends(&key, event);
        if (ends || event.kind == EventType::Disconnect) && event.device_id == device_id {
            self.touch_or_make(user_id, device_id, event.platform);
        }
        let Some(device) = self.rows.get(&key) else { return Applied::Refused(Refusal::UnknownDevice) };
        if is_stale(device, event) {
            return Applied::Stale;
        }
        let (was_live, was_known) = (device.state.is_live(), device.is_known());
        let was_in_front = device.state == SessionState::Foreground;
        if !was_live && !ends {
            if event.kind == EventType::Disconnect {
                self.remember_disconnect(&key, event);
            }
            return Applied::Refused(if was_known { Refusal::NotLoggedIn } else { Refusal::UnknownDevice });
        }
        let next = match event.kind {
            EventType::Kicked => SessionState::Kicked,
            // Where the app is nobody said.
            EventType::Background | EventType::Heartbeat => SessionState::Background,
            EventType::Disconnect if device.platform.can_be_killed() => SessionState::Killed,
            EventType::Logout | EventType::Disconnect => SessionState::LoggedOut,
            _ => SessionState::Foreground,
        };
        let Some(device) = self.touch(&key) else { return Applied::Refused(Refusal::UnknownDevice) };
        // A logout repeated, or a kick after a logout, changes nothing that matters.
        device.state = if was_live || !was_known { next } else { device.state };
        device.event_time = event.event_time;
        device.login_seq = event.login_seq.max(device.login_seq);
        if next.is_online() {
            device.last_seen = device.last_seen.map(|seen| seen.max(event.event_time));
        }
        match next {
            SessionState::Foreground => {
                device.count_unread(Some(event.unread.unwrap_or(0)), event.event_time);
            }
            SessionState::LoggedOut | SessionState::Kicked => {
                device.count_unread(event.unread, event.event_time);
            }
            _ if event.unread.is_some() => {
                device.count_unread(event.unread, event.event_time);
            }
            _ => {}
        }
        if was_in_front || next == SessionState::Foreground || !next.is_live() || event.unread.is_some() {
            self.recounted.insert(key.clone());
        }
        if next != SessionState::Killed {
            self.revoked.insert(key.clone());
        }
        if !next.is_live() && was_live {
            self.take_binding(&key, event.event_time, BindingStatus::Detached);
        }
        Applied::Applied
    }

    /// A disconnect while nobody is logged in: of a login that is told later, though it happened before. One with the number
    /// of a login that is known ended that one, and says nothing of others.
    fn remember_disconnect(&mut self, key: &DeviceKey, event: &Event) {
        let Some(device) = self.touch(key) else { return };
        let is_of_known = event.login_seq.zip(device.login_seq).is_some_and(|(told, known)| told <= known);
        if !is_of_known {
            device.disconnected_at = device.disconnected_at.max(Some(event.event_time));
        }
    }

    /// What ends a session for good. A device nobody heard of learns of it too, so that a login that comes after it, though it
    /// happened before, is known to be over.
    fn ends(&self, key: &DeviceKey, event: &Event) -> bool {
        let device = self.rows.get(key);
        match event.kind {
            EventType::Logout | EventType::Kicked => true,
            EventType::Disconnect => {
                let platform = device.map_or(event.platform, |device| device.platform);
                !platform.can_be_killed() && !device.is_some_and(Device::is_known)
            }
            _ => false,
        }
    }

    /// A sign of life. Of a session that counts as killed it says that the link is up again.
    pub(super) fn heartbeat(&mut self, event: &Event) -> Applied {
        let key = (event.user_id.clone(), event.device_id.clone());
        let Some(device) = self.rows.get(&key) else { return Applied::Refused(Refusal::UnknownDevice) };
        if is_stale(device, event) {
            return Applied::Stale;
        }
        let (state, last_seen) = (device.state, device.last_seen);
        let least = self.settings.least_heartbeat(device.platform);
        if state == SessionState::Killed {
            let back = self.transition(&event.user_id, &event.device_id, event);
            if let Some(device) = self.touch(&key) {
                device.last_seen = Some(event.event_time);
            }
            return back;
        }
        if !state.is_live() {
            return Applied::Refused(Refusal::NotLoggedIn);
        }
        if last_seen.is_none_or(|seen| event.event_time - seen >= least)
            && let Some(device) = self.touch(&key)
        {
            device.last_seen = Some(event.event_time);
        }
        Applied::Applied
    }
}

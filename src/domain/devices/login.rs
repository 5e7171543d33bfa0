//! A login: whom it signs out, whom it kicks, and which token it brings to life.

use chrono::{DateTime, Utc};

use super::{DeviceKey, Devices, is_stale};
use crate::domain::session::{Applied, BindingStatus, Device, Event, EventType, Platform, ReportedToken, SessionState};

impl Devices<'_> {
    pub(super) fn login(&mut self, event: &Event) -> Applied {
        let key = (event.user_id.clone(), event.device_id.clone());
        let brought = self.brought(event, &key);
        let is_late = self.rows.get(&key).is_some_and(|device| is_stale(device, event));
        if is_late || self.was_succeeded(event, &key, brought.as_ref().map(|(token, _)| token)) {
            return Applied::Stale;
        }
        let was_told = self.rows.get(&key).is_some_and(|device| was_told(device, event));
        self.sign_others_out(event, &key);
        self.touch_or_make(&event.user_id, &event.device_id, event.platform);
        if let Some(device) = self.touch(&key) {
            device.platform = event.platform;
            // In front, the app has shown what was unread.
            if !(was_told && device.state == SessionState::Foreground) {
                let none = (event.kind == EventType::Reconnect).then_some(0);
                device.count_unread(event.unread.or(none), event.event_time);
            }
            device.state = SessionState::Foreground;
            device.event_time = event.event_time;
            device.login_seq = event.login_seq.or(device.login_seq);
            device.login_at = Some(event.event_time);
            device.last_seen = device.last_seen.map(|seen| seen.max(event.event_time));
        }
        self.recounted.insert(key.clone());
        self.revoked.insert(key.clone()); // in the foreground: nothing waits for it any more
        if let Some((token, at)) = brought {
            self.bind(&key, &token, BindingStatus::Active, at, Some(event.event_time));
        }
        if self.settings.kick.enforce {
            self.kick_surplus(&key, event.event_time);
        }
        self.disconnect_again(event, &key);
        Applied::Applied
    }

    /// The link that this login made was lost since: that was told before the login.
    fn disconnect_again(&mut self, event: &Event, key: &DeviceKey) {
        let Some(at) = self.touch(key).and_then(|device| device.disconnected_at.take()) else { return };
        if at > event.event_time && self.rows.get(key).is_some_and(|device| device.state.is_live()) {
            let lost = Event::plain(&key.0, &key.1, event.platform, EventType::Disconnect, at);
            self.transition(&key.0, &key.1, &lost);
        }
    }

    /// The token that a login brings to life, and when it was last reported: its own, or the one that waits for the login
    /// because it was reported in time or its session expired. The newer report wins. `None`: there is none, or what a live
    /// session holds is newer.
    fn brought(&self, event: &Event, key: &DeviceKey) -> Option<(ReportedToken, DateTime<Utc>)> {
        let at = event.event_time.min(self.now);
        let told = event.token.clone().map(|token| (token, at));
        let Some(device) = self.rows.get(key) else { return told };
        let Some(held) = &device.binding else { return told };
        let waits = match held.status {
            BindingStatus::Pending => self.now - held.reported_at <= self.settings.pending_for(),
            BindingStatus::Stale => true,
            _ => false,
        };
        if waits && (told.is_none() || held.reported_at > at) {
            let (certificate_id, vendor, token) = (held.certificate_id, held.vendor, held.token.clone());
            return Some((ReportedToken { certificate_id, vendor, token }, held.reported_at.max(at)));
        }
        let is_known = held.reported_at > at || (was_told(device, event) && held.reported_at == at);
        told.filter(|_| !(device.state.is_live() && is_known))
    }

    /// Another user signed in on this phone, or with this token, after this login happened: it is history.
    fn was_succeeded(&self, event: &Event, key: &DeviceKey, token: Option<&ReportedToken>) -> bool {
        let on_device = self.by_device.get(&event.device_id).into_iter().flatten();
        let by_token = token.and_then(|token| self.by_token.get(&(token.vendor, token.token.clone())));
        let holds_token = |device: &Device| {
            device.binding.as_ref().is_some_and(|binding| {
                let is_it = |token: &ReportedToken| token.vendor == binding.vendor && token.token == binding.token;
                binding.status.is_live() && token.is_some_and(is_it)
            })
        };
        on_device.chain(by_token.into_iter().flatten()).filter(|other| other.0 != key.0).any(|other| {
            self.rows.get(other).is_some_and(|device| {
                let is_on_this_phone = device.device_id == event.device_id || holds_token(device);
                let is_later = device.state.is_live() && device.event_time > event.event_time;
                // One that is over by now took the phone all the same.
                let was_later = device.device_id == event.device_id && device.login_at > Some(event.event_time);
                (is_later && is_on_this_phone) || was_later
            })
        })
    }

    /// Account switch: whoever else was signed in on this phone no longer is.
    fn sign_others_out(&mut self, event: &Event, key: &DeviceKey) {
        let others = self.by_device.get(&event.device_id).cloned().unwrap_or_default();
        for other in others.into_iter().filter(|other| other.0 != key.0) {
            self.end_session(&other, event.event_time, SessionState::LoggedOut);
        }
    }

    /// Ends the sessions that the app's policy leaves no room for. A login that is told late may be among them; of two at the
    /// same time the later arrival stays.
    fn kick_surplus(&mut self, key: &DeviceKey, at: DateTime<Utc>) {
        let mut live: Vec<(DeviceKey, (Platform, DateTime<Utc>))> = self
            .of_user(&key.0)
            .filter(|device| device.state.is_live())
            .map(|device| {
                let login_at = device.login_at.unwrap_or(device.event_time);
                ((device.user_id.clone(), device.device_id.clone()), (device.platform, login_at))
            })
            .collect();
        live.sort_by_key(|(of, _)| of == key);
        let sessions: Vec<_> = live.iter().map(|(_, session)| *session).collect();
        for index in self.settings.kick.surplus(&sessions) {
            let at = self.rows.get(&live[index].0).map_or(at, |device| device.event_time.max(at));
            self.end_session(&live[index].0, at, SessionState::Kicked);
        }
    }

    pub(super) fn end_session(&mut self, key: &DeviceKey, at: DateTime<Utc>, state: SessionState) {
        let is_older = |device: &Device| device.state.is_live() && device.event_time <= at;
        if !self.rows.get(key).is_some_and(is_older) {
            return;
        }
        if let Some(device) = self.touch(key) {
            (device.state, device.event_time) = (state, at);
        }
        self.take_binding(key, at, BindingStatus::Detached);
        self.recounted.insert(key.clone());
        self.revoked.insert(key.clone());
    }
}

/// The login that began this session, told once more: what came since, also at the same time, stays.
fn was_told(device: &Device, event: &Event) -> bool {
    device.state.is_live() && device.login_at == Some(event.event_time)
}

//! What one event does to the devices it concerns.
//!
//! [`Devices`] holds the rows that a batch of events can touch; the store loads them under a row lock, this module
//! changes them in order, and the store writes back what changed. One rule book for events, token reports and lapses.

mod binding;
mod login;
#[cfg(test)]
mod tests;
mod transition;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::app::AppSettings;
use super::certificate::VendorKind;
use super::session::{
    Applied, Binding, BindingStatus, Device, Event, EventType, Platform, Refusal, ReportedToken, SessionState,
};

/// Names one device: user and device id.
pub type DeviceKey = (String, String);

/// The devices of one app that a batch can touch, and what changed among them.
#[derive(Debug)]
pub struct Devices<'a> {
    settings: &'a AppSettings,
    now: DateTime<Utc>,
    rows: HashMap<DeviceKey, Device>,
    by_user: HashMap<String, Vec<DeviceKey>>,
    by_device: HashMap<String, Vec<DeviceKey>>,
    by_token: HashMap<(VendorKind, String), Vec<DeviceKey>>,
    /// Rows that were touched, as they were before.
    before: HashMap<DeviceKey, Option<Device>>,
    /// Devices that must not be pushed to any more because of this batch.
    revoked: HashSet<DeviceKey>,
    /// Devices whose count of pushes begins anew.
    recounted: HashSet<DeviceKey>,
}

impl<'a> Devices<'a> {
    /// Starts from rows as they are stored; what lapsed meanwhile is brought up to date.
    pub fn new(rows: impl IntoIterator<Item = Device>, now: DateTime<Utc>, settings: &'a AppSettings) -> Self {
        let mut devices = Self {
            settings,
            now,
            rows: HashMap::new(),
            by_user: HashMap::new(),
            by_device: HashMap::new(),
            by_token: HashMap::new(),
            before: HashMap::new(),
            revoked: HashSet::new(),
            recounted: HashSet::new(),
        };
        let mut keys = Vec::new();
        for row in rows {
            devices.index(&row);
            let key = (row.user_id.clone(), row.device_id.clone());
            keys.push(key.clone());
            devices.rows.insert(key, row);
        }
        for key in keys {
            devices.lapse(&key);
        }
        devices
    }

    /// The rows to write back.
    pub fn changed(&self) -> impl Iterator<Item = &Device> {
        let is_other = |before: &Option<Device>, row: &Device| before.as_ref() != Some(row);
        self.before.iter().filter_map(move |(key, before)| self.rows.get(key).filter(|row| is_other(before, row)))
    }

    /// The rows to delete.
    pub fn deleted(&self) -> impl Iterator<Item = &DeviceKey> {
        self.before.iter().filter(|(key, before)| before.is_some() && !self.rows.contains_key(*key)).map(|(key, _)| key)
    }

    /// Whose waiting deliveries are to be judged again: they came to the foreground, left, or lost their token.
    pub fn revoked(&self) -> impl Iterator<Item = &DeviceKey> {
        self.revoked.iter()
    }

    /// Whose count of pushes begins anew: they were in the foreground, left, or a new `unread` was told.
    pub fn recounted(&self) -> impl Iterator<Item = &DeviceKey> {
        self.recounted.iter()
    }

    /// One device as it stands now.
    pub fn get(&self, user_id: &str, device_id: &str) -> Option<&Device> {
        self.rows.get(&(user_id.to_owned(), device_id.to_owned()))
    }

    /// The devices of a user, as they stand now.
    pub fn of_user(&self, user_id: &str) -> impl Iterator<Item = &Device> {
        self.by_user.get(user_id).into_iter().flatten().filter_map(|key| self.rows.get(key))
    }

    /// Applies one event; events of a batch are applied in their order.
    pub fn apply(&mut self, event: &Event) -> Applied {
        match event.kind {
            EventType::Login => self.login(event),
            EventType::Kicked if event.kicks_others() => self.kick_named(event),
            EventType::TokenReport => self.report_by_event(event),
            EventType::Read => self.read(event),
            EventType::Heartbeat => self.heartbeat(event),
            EventType::UserDeleted => self.delete_user(event),
            EventType::Reconnect if self.is_login_again(event) => self.login(event),
            _ => self.transition(&event.user_id, &event.device_id, event),
        }
    }

    /// A row about to be changed.
    fn touch(&mut self, key: &DeviceKey) -> Option<&mut Device> {
        let row = self.rows.get_mut(key)?;
        self.before.entry(key.clone()).or_insert_with(|| Some(row.clone()));
        Some(row)
    }

    /// The row of a device, made when there is none.
    fn touch_or_make(&mut self, user_id: &str, device_id: &str, platform: Platform) -> DeviceKey {
        let key = (user_id.to_owned(), device_id.to_owned());
        if self.touch(&key).is_none() {
            let row = Device::unknown(user_id, device_id, platform);
            self.index(&row);
            self.before.entry(key.clone()).or_insert(None);
            self.rows.insert(key.clone(), row);
        }
        key
    }

    /// What time did to a session: its link was lost, or it was killed for too long; and to a report that no login followed.
    fn lapse(&mut self, key: &DeviceKey) {
        let Some(row) = self.rows.get(key) else { return };
        if row.is_forgettable(self.now) {
            self.forget(key);
            return;
        }
        let (stored, session) = (row.session(), row.session().at(self.now, self.settings));
        if session != stored {
            if let Some(row) = self.touch(key) {
                (row.state, row.event_time) = (session.state, session.event_time);
            }
            if !session.state.is_live() {
                self.revoked.insert(key.clone());
                let status =
                    if session.state == SessionState::Expired { BindingStatus::Stale } else { BindingStatus::Detached };
                self.take_binding(key, session.event_time, status);
            }
        }
        let pending_for = self.settings.pending_for();
        let is_over = |device: &Device| {
            let binding = device.binding.as_ref().filter(|binding| binding.status == BindingStatus::Pending);
            binding.is_some_and(|binding| self.now - binding.reported_at > pending_for)
        };
        if !self.rows.get(key).is_some_and(is_over) {
            return;
        }
        self.set_binding_status(key, BindingStatus::Detached);
        // A report was all that was ever heard of this device.
        if self.rows.get(key).is_some_and(|device| !device.is_known()) {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: &DeviceKey) {
        if let Some(row) = self.rows.remove(key) {
            self.before.entry(key.clone()).or_insert(Some(row));
        }
    }

    /// What was read stays read, also where the session it was read in is over meanwhile. The count is the user's: it holds for
    /// all devices.
    fn read(&mut self, event: &Event) -> Applied {
        let key = (event.user_id.clone(), event.device_id.clone());
        match self.rows.get(&key) {
            None => return Applied::Refused(Refusal::UnknownDevice),
            Some(device) if !device.is_known() => return Applied::Refused(Refusal::UnknownDevice),
            Some(device) if !device.state.is_live() && device.event_time <= event.event_time => {
                return Applied::Refused(Refusal::NotLoggedIn);
            }
            Some(_) => {}
        }
        if event.unread.is_some() {
            let live: Vec<DeviceKey> = self.by_user.get(&event.user_id).into_iter().flatten().cloned().collect();
            for key in live {
                if let Some(device) = self.touch(&key).filter(|device| device.state.is_live())
                    && device.count_unread(event.unread, event.event_time)
                {
                    self.recounted.insert(key);
                }
            }
        }
        Applied::Applied
    }

    /// Forgets what was known of the user before; what came after belongs to a new account of this name.
    fn delete_user(&mut self, event: &Event) -> Applied {
        let keys = self.by_user.get(&event.user_id).cloned().unwrap_or_default();
        let mut result = Applied::Applied;
        for key in keys {
            let Some(device) = self.rows.get(&key) else { continue };
            if device.event_time > event.event_time {
                result = Applied::Stale;
                continue;
            }
            let is_newer = |binding: &Binding| {
                binding.reported_at > event.event_time
                    && (binding.status.is_live() || binding.status == BindingStatus::Pending)
            };
            if device.binding.as_ref().is_some_and(is_newer) {
                result = Applied::Stale;
                self.end_session(&key, event.event_time, SessionState::LoggedOut);
                continue;
            }
            self.forget(&key);
            self.revoked.insert(key);
        }
        result
    }

    fn report_by_event(&mut self, event: &Event) -> Applied {
        let Some(token) = &event.token else { return Applied::Refused(Refusal::UnknownDevice) };
        let key = (event.user_id.clone(), event.device_id.clone());
        let at = event.event_time.min(self.now);
        if let Some(device) = self.rows.get(&key) {
            let newer_report = device.binding.as_ref().is_some_and(|binding| binding.reported_at > event.event_time);
            let is_live = device.state.is_live();
            let is_over =
                if is_live { self.is_held_later(&key, token, at) } else { device.event_time > event.event_time };
            if newer_report || is_over {
                return Applied::Stale;
            }
            let was_told = |binding: &Binding| {
                (binding.certificate_id, &binding.token, binding.reported_at)
                    == (token.certificate_id, &token.token, at)
            };
            if is_live && device.binding.as_ref().is_some_and(was_told) {
                return Applied::Applied; // what came since, also at the same time, stays
            }
        }
        self.report(&event.user_id, &event.device_id, event.platform, token, at);
        Applied::Applied
    }

    /// A token report outside a login. Answers whether the binding is pending, and the device as it is now.
    pub fn report_token(
        &mut self,
        user_id: &str,
        device_id: &str,
        platform: Platform,
        token: &ReportedToken,
    ) -> (bool, Device) {
        self.report(user_id, device_id, platform, token, self.now)
    }

    fn index(&mut self, device: &Device) {
        let key = (device.user_id.clone(), device.device_id.clone());
        let of_user = self.by_user.entry(device.user_id.clone()).or_default();
        // One that was forgotten and is made again counts once.
        if !of_user.contains(&key) {
            of_user.push(key.clone());
        }
        self.by_device.entry(device.device_id.clone()).or_default().push(key.clone());
        if let Some(binding) = &device.binding {
            self.by_token.entry((binding.vendor, binding.token.clone())).or_default().push(key);
        }
    }
}

/// The ordering rule: a login sequence beats the event time; ties go to the later arrival.
fn is_stale(device: &Device, event: &Event) -> bool {
    match (event.login_seq, device.login_seq) {
        (Some(event_seq), Some(device_seq)) if event_seq != device_seq => event_seq < device_seq,
        _ => event.event_time < device.event_time,
    }
}

//! Bindings: who holds a token, and what it is good for.

use chrono::{DateTime, TimeDelta, Utc};

use super::{DeviceKey, Devices};
use crate::domain::session::{Binding, BindingStatus, Device, Platform, ReportedToken, SessionState};

/// An unchanged token report refreshes `reported_at` only when it is older than this.
const REPORT_REFRESH: TimeDelta = TimeDelta::hours(1);

impl Devices<'_> {
    pub(super) fn report(
        &mut self,
        user_id: &str,
        device_id: &str,
        platform: Platform,
        token: &ReportedToken,
        at: DateTime<Utc>,
    ) -> (bool, Device) {
        let key = self.touch_or_make(user_id, device_id, platform);
        let is_live = self.rows[&key].state.is_live();
        let status = if is_live { BindingStatus::Active } else { BindingStatus::Pending };
        self.bind(&key, token, status, at, None);
        (!is_live, self.rows[&key].clone())
    }

    /// Takes a device's binding away; the row stays for the trace. False: there was none to take.
    pub fn unbind(&mut self, user_id: &str, device_id: &str) -> bool {
        let key = (user_id.to_owned(), device_id.to_owned());
        let status = self.rows.get(&key).and_then(Device::binding_status);
        let detachable = matches!(status, Some(BindingStatus::Active | BindingStatus::Muted | BindingStatus::Pending));
        if detachable {
            self.set_binding_status(&key, BindingStatus::Detached);
            self.revoked.insert(key);
        }
        detachable
    }

    /// Binds a token, reported at `at`, to a device; a live one takes it from every other device of the app, unless the
    /// other one reported it later. `login_at`: the event time of the login that brought it.
    pub(super) fn bind(
        &mut self,
        key: &DeviceKey,
        token: &ReportedToken,
        status: BindingStatus,
        at: DateTime<Utc>,
        login_at: Option<DateTime<Utc>>,
    ) {
        let status =
            if status.is_live() && self.is_held_later(key, token, at) { BindingStatus::Superseded } else { status };
        if status.is_live() {
            for holder in self.holders(key, token) {
                self.take_token_from(&holder, key, login_at);
            }
        }
        let Some(device) = self.touch(key) else { return };
        let unchanged = device.binding.as_ref().is_some_and(|binding| {
            binding.status == status
                && matches!(status, BindingStatus::Active | BindingStatus::Pending)
                && binding.certificate_id == token.certificate_id
                && (binding.vendor, &binding.token) == (token.vendor, &token.token)
                && at - binding.reported_at < REPORT_REFRESH
        });
        // A pending one waits for its login from the last report on.
        if unchanged && status == BindingStatus::Active {
            return;
        }
        let is_other_token = device
            .binding
            .as_ref()
            .is_some_and(|binding| (binding.vendor, &binding.token) != (token.vendor, &token.token));
        let reported_at = device.binding.as_ref().map_or(at, |binding| binding.reported_at.max(at));
        device.binding = Some(Binding {
            certificate_id: token.certificate_id,
            vendor: token.vendor,
            token: token.token.clone(),
            reported_at,
            status,
        });
        if is_other_token {
            self.revoked.insert(key.clone()); // what is queued for the old token is judged again
        }
        self.by_token.entry((token.vendor, token.token.clone())).or_default().push(key.clone());
    }

    /// Another device reported this token after `at`. What is reported now is never late, by whatever clock the other report
    /// was dated.
    pub(super) fn is_held_later(&self, key: &DeviceKey, token: &ReportedToken, at: DateTime<Utc>) -> bool {
        let is_later = |holder: &DeviceKey| {
            let binding = self.rows.get(holder).and_then(|device| device.binding.as_ref());
            binding.is_some_and(|binding| binding.reported_at > at)
        };
        at < self.now && self.holders(key, token).iter().any(is_later)
    }

    /// The other devices that a token serves.
    fn holders(&self, key: &DeviceKey, token: &ReportedToken) -> Vec<DeviceKey> {
        let holds = |holder: &DeviceKey| {
            let binding = self.rows.get(holder).and_then(|device| device.binding.as_ref());
            binding.is_some_and(|binding| {
                binding.status.is_live() && (binding.vendor, &binding.token) == (token.vendor, &token.token)
            })
        };
        let known = self.by_token.get(&(token.vendor, token.token.clone())).into_iter().flatten();
        known.filter(|holder| *holder != key && holds(holder)).cloned().collect()
    }

    fn take_token_from(&mut self, holder: &DeviceKey, new: &DeviceKey, login_at: Option<DateTime<Utc>>) {
        self.set_binding_status(holder, BindingStatus::Superseded);
        self.revoked.insert(holder.clone());
        let Some(at) = login_at.filter(|_| holder.0 != new.0) else { return };
        // Another user signed in with this token: the phone changed hands.
        if let Some(device) = self.touch(holder).filter(|device| device.state.is_live()) {
            device.state = SessionState::LoggedOut;
            device.event_time = device.event_time.max(at);
        }
    }

    /// Takes a binding from a session that ended at `at`. One that was reported after that belongs to the login to come.
    pub(super) fn take_binding(&mut self, key: &DeviceKey, at: DateTime<Utc>, status: BindingStatus) {
        let Some(binding) = self.rows.get(key).and_then(|device| device.binding.as_ref()) else { return };
        let status = match binding.status {
            BindingStatus::Superseded | BindingStatus::Invalid | BindingStatus::Detached => return,
            _ if binding.reported_at > at && status == BindingStatus::Detached => BindingStatus::Pending,
            _ => status,
        };
        self.set_binding_status(key, status);
    }

    pub(super) fn set_binding_status(&mut self, key: &DeviceKey, status: BindingStatus) {
        if let Some(binding) = self.touch(key).and_then(|device| device.binding.as_mut()) {
            binding.status = status;
        }
    }
}

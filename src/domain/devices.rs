//! What one event does to the devices it concerns.
//!
//! [`Devices`] holds the rows that a batch of events can touch; the store loads them under a row lock, this module
//! changes them in order, and the store writes back what changed. One rule book for events and token reports.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::certificate::VendorKind;
use super::session::{
    Applied, Binding, BindingStatus, Device, Event, EventType, Platform, Refusal, ReportedToken, SessionState,
};

/// An unchanged token report refreshes `reported_at` only when it is older than this.
const REPORT_REFRESH: TimeDelta = TimeDelta::hours(1);

/// Names one device: user and device id.
pub type DeviceKey = (String, String);

/// The devices of one app that a batch can touch, and what changed among them.
#[derive(Debug, Default)]
pub struct Devices {
    rows: HashMap<DeviceKey, Device>,
    by_device: HashMap<String, Vec<DeviceKey>>,
    by_token: HashMap<(VendorKind, String), Vec<DeviceKey>>,
    changed: HashSet<DeviceKey>,
    /// Devices that must not be pushed to any more because of this batch.
    revoked: HashSet<DeviceKey>,
}

impl Devices {
    /// Starts from rows as they are stored.
    pub fn new(rows: impl IntoIterator<Item = Device>) -> Self {
        let mut devices = Self::default();
        for row in rows {
            devices.index(&row);
            devices.rows.insert((row.user_id.clone(), row.device_id.clone()), row);
        }
        devices
    }

    /// The rows to write back.
    pub fn changed(&self) -> impl Iterator<Item = &Device> {
        self.changed.iter().filter_map(|key| self.rows.get(key))
    }

    /// Whose waiting deliveries are to be judged again: they came to the foreground, left, or lost their token.
    pub fn revoked(&self) -> impl Iterator<Item = &DeviceKey> {
        self.revoked.iter()
    }

    /// One device as it stands now.
    pub fn get(&self, user_id: &str, device_id: &str) -> Option<&Device> {
        self.rows.get(&(user_id.to_owned(), device_id.to_owned()))
    }

    /// Applies one event; events of a batch are applied in their order.
    pub fn apply(&mut self, event: &Event, now: DateTime<Utc>, pending_for: TimeDelta) -> Applied {
        match event.kind {
            EventType::Login => self.login(event, now, pending_for),
            EventType::Kicked if !event.kicked_devices.is_empty() => {
                let mut best = Applied::Refused(Refusal::UnknownDevice);
                // The login sequence is the staying device's: it says nothing about the others.
                let kick = Event { login_seq: None, ..event.clone() };
                for device_id in event.kicked_devices.iter().filter(|kicked| **kicked != event.device_id) {
                    match self.transition(&event.user_id, device_id, &kick) {
                        Applied::Applied => best = Applied::Applied,
                        Applied::Stale if best != Applied::Applied => best = Applied::Stale,
                        _ => {}
                    }
                }
                best
            }
            _ => self.transition(&event.user_id, &event.device_id, event),
        }
    }

    /// A token report outside a login. Answers whether the binding is pending, and the device as it is now.
    pub fn report_token(
        &mut self,
        user_id: &str,
        device_id: &str,
        platform: Platform,
        token: &ReportedToken,
        now: DateTime<Utc>,
    ) -> (bool, Device) {
        let key = (user_id.to_owned(), device_id.to_owned());
        let device = self.rows.entry(key.clone()).or_insert_with(|| Device {
            user_id: user_id.to_owned(),
            device_id: device_id.to_owned(),
            platform,
            state: SessionState::LoggedOut,
            event_time: DateTime::UNIX_EPOCH,
            login_seq: None,
            unread: None,
            binding: None,
        });
        let is_live = device.state.is_live();
        self.bind(&key, token, if is_live { BindingStatus::Active } else { BindingStatus::Pending }, now, None);
        (!is_live, self.rows[&key].clone())
    }

    /// Takes a device's binding away; the row stays for the trace. False: there was none to take.
    pub fn unbind(&mut self, user_id: &str, device_id: &str) -> bool {
        let key = (user_id.to_owned(), device_id.to_owned());
        let detachable = self.rows.get(&key).and_then(|device| device.binding.as_ref()).is_some_and(|binding| {
            matches!(binding.status, BindingStatus::Active | BindingStatus::Muted | BindingStatus::Pending)
        });
        if detachable {
            self.set_binding_status(&key, BindingStatus::Detached);
            self.revoked.insert(key);
        }
        detachable
    }

    fn login(&mut self, event: &Event, now: DateTime<Utc>, pending_for: TimeDelta) -> Applied {
        let key = (event.user_id.clone(), event.device_id.clone());
        if self.rows.get(&key).is_some_and(|device| is_stale(device, event)) {
            return Applied::Stale;
        }
        if self.was_succeeded(event, &key) {
            return Applied::Stale;
        }
        self.sign_others_out(event, &key);
        let device = self.rows.entry(key.clone()).or_insert_with(|| Device {
            user_id: event.user_id.clone(),
            device_id: event.device_id.clone(),
            platform: event.platform,
            state: SessionState::Foreground,
            event_time: event.event_time,
            login_seq: None,
            unread: None,
            binding: None,
        });
        device.platform = event.platform;
        device.state = SessionState::Foreground;
        device.event_time = event.event_time;
        device.login_seq = event.login_seq.or(device.login_seq);
        device.unread = event.unread.or(device.unread);
        let revived = device.binding.clone().filter(|binding| match binding.status {
            BindingStatus::Pending => now - binding.reported_at <= pending_for,
            BindingStatus::Stale => true,
            _ => false,
        });
        self.by_device.entry(event.device_id.clone()).or_default().push(key.clone());
        self.changed.insert(key.clone());
        self.revoked.insert(key.clone()); // in the foreground: nothing waits for it any more
        if let Some(token) = &event.token {
            self.bind(&key, token, BindingStatus::Active, now, Some(event.event_time));
        } else if let Some(binding) = revived {
            let token =
                ReportedToken { certificate_id: binding.certificate_id, vendor: binding.vendor, token: binding.token };
            self.bind(&key, &token, BindingStatus::Active, now, Some(event.event_time));
        }
        Applied::Applied
    }

    /// Another user signed in on this phone, or with this token, after this login happened: it is history.
    fn was_succeeded(&self, event: &Event, key: &DeviceKey) -> bool {
        let on_device = self.by_device.get(&event.device_id).into_iter().flatten();
        let by_token = event.token.as_ref().and_then(|token| self.by_token.get(&(token.vendor, token.token.clone())));
        let holds_token = |device: &Device| {
            device.binding.as_ref().is_some_and(|binding| {
                binding.status.is_live() && event.token.as_ref().is_some_and(|token| token.token == binding.token)
            })
        };
        on_device.chain(by_token.into_iter().flatten()).filter(|other| other.0 != key.0).any(|other| {
            self.rows.get(other).is_some_and(|device| {
                let is_on_this_phone = device.device_id == event.device_id || holds_token(device);
                device.state.is_live() && device.event_time > event.event_time && is_on_this_phone
            })
        })
    }

    /// Account switch: whoever else was signed in on this phone no longer is.
    fn sign_others_out(&mut self, event: &Event, key: &DeviceKey) {
        let others = self.by_device.get(&event.device_id).cloned().unwrap_or_default();
        for other in others.into_iter().filter(|other| other.0 != key.0) {
            self.sign_out(&other, event.event_time);
        }
    }

    fn sign_out(&mut self, key: &DeviceKey, at: DateTime<Utc>) {
        let Some(device) = self.rows.get_mut(key) else { return };
        if !device.state.is_live() || device.event_time > at {
            return;
        }
        device.state = SessionState::LoggedOut;
        device.event_time = at;
        self.detach(key, at);
        self.changed.insert(key.clone());
        self.revoked.insert(key.clone());
    }

    fn transition(&mut self, user_id: &str, device_id: &str, event: &Event) -> Applied {
        let key = (user_id.to_owned(), device_id.to_owned());
        let Some(device) = self.rows.get_mut(&key) else { return Applied::Refused(Refusal::UnknownDevice) };
        if is_stale(device, event) {
            return Applied::Stale;
        }
        let next = match event.kind {
            EventType::Kicked => SessionState::Kicked,
            EventType::Background => SessionState::Background,
            EventType::Disconnect if device.platform.can_be_killed() => SessionState::Killed,
            EventType::Logout | EventType::Disconnect => SessionState::LoggedOut,
            EventType::Foreground | EventType::Login => SessionState::Foreground,
            EventType::Read => device.state,
        };
        let was_live = device.state.is_live();
        let leaves = matches!(event.kind, EventType::Logout | EventType::Kicked);
        if !device.state.is_live() && !leaves {
            return Applied::Refused(Refusal::NotLoggedIn);
        }
        if event.kind != EventType::Read {
            // A logout repeated, or a kick after a logout, changes nothing that matters.
            device.state = if device.state.is_live() || !leaves { next } else { device.state };
            device.event_time = event.event_time;
            device.login_seq = event.login_seq.max(device.login_seq);
        }
        device.unread = match event.kind {
            EventType::Foreground => Some(event.unread.unwrap_or(0)),
            _ => event.unread.or(device.unread),
        };
        self.changed.insert(key.clone());
        if next != SessionState::Killed && event.kind != EventType::Read {
            self.revoked.insert(key.clone());
        }
        if !next.is_live() && was_live {
            self.detach(&key, event.event_time);
        }
        Applied::Applied
    }

    /// Binds a token to a device; a live one takes it from every other device of the app. `login_at`: the event time
    /// of the login that brought it.
    fn bind(
        &mut self,
        key: &DeviceKey,
        token: &ReportedToken,
        status: BindingStatus,
        now: DateTime<Utc>,
        login_at: Option<DateTime<Utc>>,
    ) {
        if status.is_live() {
            let holders = self.by_token.get(&(token.vendor, token.token.clone())).cloned().unwrap_or_default();
            for holder in holders.into_iter().filter(|holder| holder != key) {
                self.take_token_from(&holder, token, key, login_at);
            }
        }
        let Some(device) = self.rows.get_mut(key) else { return };
        let unchanged = device.binding.as_ref().is_some_and(|binding| {
            binding.status == BindingStatus::Active
                && status == BindingStatus::Active
                && binding.certificate_id == token.certificate_id
                && binding.token == token.token
                && now - binding.reported_at < REPORT_REFRESH
        });
        if unchanged {
            return;
        }
        let is_other_token = device.binding.as_ref().is_some_and(|binding| binding.token != token.token);
        device.binding = Some(Binding {
            certificate_id: token.certificate_id,
            vendor: token.vendor,
            token: token.token.clone(),
            reported_at: login_at.map_or(now, |at| at.min(now)),
            status,
        });
        if is_other_token {
            self.revoked.insert(key.clone()); // what is queued for the old token is judged again
        }
        self.by_token.entry((token.vendor, token.token.clone())).or_default().push(key.clone());
        self.changed.insert(key.clone());
    }

    fn take_token_from(
        &mut self,
        holder: &DeviceKey,
        token: &ReportedToken,
        new: &DeviceKey,
        login_at: Option<DateTime<Utc>>,
    ) {
        let holds = self.rows.get(holder).and_then(|device| device.binding.as_ref()).is_some_and(|binding| {
            binding.status.is_live() && binding.vendor == token.vendor && binding.token == token.token
        });
        if !holds {
            return;
        }
        self.set_binding_status(holder, BindingStatus::Superseded);
        self.revoked.insert(holder.clone());
        let Some(at) = login_at.filter(|_| holder.0 != new.0) else { return };
        // Another user signed in with this token: the phone changed hands.
        if let Some(device) = self.rows.get_mut(holder).filter(|device| device.state.is_live()) {
            device.state = SessionState::LoggedOut;
            device.event_time = device.event_time.max(at);
        }
    }

    /// Takes a binding from a session that ended at `at`. One that was reported after that belongs to the login to come.
    fn detach(&mut self, key: &DeviceKey, at: DateTime<Utc>) {
        let Some(binding) = self.rows.get(key).and_then(|device| device.binding.as_ref()) else { return };
        let status = match binding.status {
            BindingStatus::Superseded | BindingStatus::Invalid | BindingStatus::Detached => return,
            _ if binding.reported_at > at => BindingStatus::Pending,
            _ => BindingStatus::Detached,
        };
        self.set_binding_status(key, status);
    }

    fn set_binding_status(&mut self, key: &DeviceKey, status: BindingStatus) {
        if let Some(binding) = self.rows.get_mut(key).and_then(|device| device.binding.as_mut()) {
            binding.status = status;
            self.changed.insert(key.clone());
        }
    }

    fn index(&mut self, device: &Device) {
        let key = (device.user_id.clone(), device.device_id.clone());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::CertificateId;
    use crate::domain::session::{MAX_AGE, judge_time};

    const PENDING_FOR: TimeDelta = TimeDelta::minutes(10);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
    }

    fn token(token: &str) -> ReportedToken {
        ReportedToken { certificate_id: CertificateId(1), vendor: VendorKind::Xiaomi, token: token.to_owned() }
    }

    fn event(user: &str, device: &str, kind: EventType, seconds: i64) -> Event {
        Event {
            user_id: user.to_owned(),
            device_id: device.to_owned(),
            platform: Platform::Android,
            kind,
            event_time: at(seconds),
            login_seq: None,
            unread: None,
            token: None,
            kicked_devices: Vec::new(),
        }
    }

    fn login(user: &str, device: &str, seconds: i64, with: &str) -> Event {
        Event { token: Some(token(with)), ..event(user, device, EventType::Login, seconds) }
    }

    fn apply(devices: &mut Devices, event: &Event) -> Applied {
        devices.apply(event, at(1_000), PENDING_FOR)
    }

    fn state(devices: &Devices, user: &str, device: &str) -> (SessionState, Option<BindingStatus>) {
        let device = devices.get(user, device).unwrap();
        (device.state, device.binding.as_ref().map(|binding| binding.status))
    }

    #[test]
    fn transitions_of_a_logged_in_phone() {
        use BindingStatus::{Active, Detached};
        for (kind, expected) in [
            (EventType::Disconnect, (SessionState::Killed, Some(Active))),
            (EventType::Background, (SessionState::Background, Some(Active))),
            (EventType::Foreground, (SessionState::Foreground, Some(Active))),
            (EventType::Read, (SessionState::Foreground, Some(Active))),
            (EventType::Logout, (SessionState::LoggedOut, Some(Detached))),
            (EventType::Kicked, (SessionState::Kicked, Some(Detached))),
        ] {
            let mut devices = Devices::default();
            apply(&mut devices, &login("alice", "phone", 0, "t"));
            assert_eq!(apply(&mut devices, &event("alice", "phone", kind, 1)), Applied::Applied);
            assert_eq!(state(&devices, "alice", "phone"), expected, "{kind:?}");
        }
    }

    #[test]
    fn only_phones_and_tablets_can_be_killed() {
        for platform in Platform::ALL {
            let mut devices = Devices::default();
            let with_platform = |kind, seconds| Event { platform, ..event("alice", "d", kind, seconds) };
            apply(&mut devices, &with_platform(EventType::Login, 0));
            apply(&mut devices, &with_platform(EventType::Disconnect, 1));
            let expected = if platform.can_be_killed() { SessionState::Killed } else { SessionState::LoggedOut };
            assert_eq!(state(&devices, "alice", "d").0, expected, "{platform:?}");
        }
    }

    #[test]
    fn a_late_logout_of_an_older_login_is_stale_and_a_tie_is_not() {
        let mut devices = Devices::default();
        apply(&mut devices, &login("alice", "phone", 10, "t"));
        assert_eq!(apply(&mut devices, &event("alice", "phone", EventType::Logout, 5)), Applied::Stale);
        assert_eq!(state(&devices, "alice", "phone").0, SessionState::Foreground);
        assert_eq!(apply(&mut devices, &event("alice", "phone", EventType::Disconnect, 10)), Applied::Applied);
    }

    #[test]
    fn a_login_sequence_beats_the_event_time() {
        let mut devices = Devices::default();
        let with_seq = |kind, seconds, seq| Event { login_seq: Some(seq), ..event("alice", "phone", kind, seconds) };
        apply(&mut devices, &with_seq(EventType::Login, 10, 2));
        assert_eq!(apply(&mut devices, &with_seq(EventType::Logout, 20, 1)), Applied::Stale, "of the older login");
        assert_eq!(apply(&mut devices, &with_seq(EventType::Login, 5, 3)), Applied::Applied, "a newer login");
        assert_eq!(apply(&mut devices, &with_seq(EventType::Logout, 6, 3)), Applied::Applied);
        assert_eq!(state(&devices, "alice", "phone").0, SessionState::LoggedOut);
    }

    #[test]
    fn another_user_on_the_same_phone_signs_the_first_one_out() {
        let mut devices = Devices::default();
        apply(&mut devices, &login("alice", "phone", 0, "t"));
        apply(&mut devices, &login("bob", "phone", 1, "t"));
        assert_eq!(state(&devices, "alice", "phone").0, SessionState::LoggedOut);
        assert!(!devices.get("alice", "phone").unwrap().binding.as_ref().unwrap().status.is_live());
        assert_eq!(state(&devices, "bob", "phone"), (SessionState::Foreground, Some(BindingStatus::Active)));
        assert!(devices.revoked().any(|key| key.0 == "alice"));
    }

    #[test]
    fn the_same_token_under_another_device_id_moves_and_signs_out() {
        let mut devices = Devices::default();
        apply(&mut devices, &login("alice", "old-id", 0, "t"));
        apply(&mut devices, &login("bob", "new-id", 1, "t"));
        assert_eq!(state(&devices, "alice", "old-id"), (SessionState::LoggedOut, Some(BindingStatus::Superseded)));
        // A reinstall of the same user keeps the session but not the binding.
        apply(&mut devices, &login("bob", "newest-id", 2, "t"));
        assert_eq!(state(&devices, "bob", "new-id"), (SessionState::Foreground, Some(BindingStatus::Superseded)));
    }

    #[test]
    fn a_report_before_the_login_is_pending_supersedes_nobody_and_counts_for_ten_minutes() {
        for (login_after_s, expected) in [(600, BindingStatus::Active), (601, BindingStatus::Pending)] {
            let mut devices = Devices::default();
            apply(&mut devices, &login("alice", "phone", 0, "t"));
            let reported = at(100);
            assert!(devices.report_token("bob", "tablet", Platform::Android, &token("t"), reported).0);
            assert_eq!(state(&devices, "alice", "phone").1, Some(BindingStatus::Active), "pending supersedes nobody");
            let event = event("bob", "tablet", EventType::Login, 100 + login_after_s);
            devices.apply(&event, event.event_time, PENDING_FOR);
            assert_eq!(state(&devices, "bob", "tablet").1, Some(expected));
        }
    }

    #[test]
    fn an_unchanged_report_writes_nothing_until_an_hour_has_passed() {
        let mut devices = Devices::default();
        apply(&mut devices, &login("alice", "phone", 0, "t"));
        let mut devices = Devices::new([devices.get("alice", "phone").unwrap().clone()]);
        let later = at(0) + TimeDelta::minutes(59);
        assert!(!devices.report_token("alice", "phone", Platform::Android, &token("t"), later).0);
        assert_eq!(devices.changed().count(), 0);
        devices.report_token("alice", "phone", Platform::Android, &token("t"), later + TimeDelta::minutes(1));
        assert_eq!(devices.changed().count(), 1);
    }

    #[test]
    fn kicked_devices_are_named_and_the_new_one_is_spared() {
        let mut devices = Devices::default();
        for device in ["old", "tablet", "new"] {
            apply(&mut devices, &login("alice", device, 0, device));
        }
        let kicked_devices = vec!["old".to_owned(), "tablet".to_owned(), "new".to_owned()];
        apply(&mut devices, &Event { kicked_devices, ..event("alice", "new", EventType::Kicked, 1) });
        assert_eq!(state(&devices, "alice", "old").0, SessionState::Kicked);
        assert_eq!(state(&devices, "alice", "tablet").0, SessionState::Kicked);
        assert_eq!(state(&devices, "alice", "new").0, SessionState::Foreground);
    }

    #[test]
    fn a_login_that_another_users_later_login_overtook_changes_nothing() {
        for device in ["phone", "other-id"] {
            let mut devices = Devices::default();
            apply(&mut devices, &login("alice", "phone", 20, "t"));
            assert_eq!(apply(&mut devices, &login("bob", device, 10, "t")), Applied::Stale);
            assert_eq!(state(&devices, "alice", "phone"), (SessionState::Foreground, Some(BindingStatus::Active)));
            assert!(devices.get("bob", device).is_none());
        }
    }

    #[test]
    fn a_kick_by_list_ignores_the_staying_devices_login_sequence() {
        let mut devices = Devices::default();
        let with_seq = |device: &str, seq| Event { login_seq: Some(seq), ..login("alice", device, 0, device) };
        apply(&mut devices, &with_seq("old", 7));
        apply(&mut devices, &with_seq("new", 1));
        let kicked_devices = vec!["old".to_owned()];
        let kick = Event { kicked_devices, login_seq: Some(1), ..event("alice", "new", EventType::Kicked, 1) };
        assert_eq!(apply(&mut devices, &kick), Applied::Applied);
        let kicked = devices.get("alice", "old").unwrap();
        assert_eq!((kicked.state, kicked.login_seq), (SessionState::Kicked, Some(7)));
    }

    #[test]
    fn a_late_logout_leaves_a_later_report_to_the_next_login() {
        let mut devices = Devices::default();
        apply(&mut devices, &login("alice", "phone", 0, "t"));
        devices.report_token("alice", "phone", Platform::Android, &token("t2"), at(61));
        apply(&mut devices, &event("alice", "phone", EventType::Logout, 50));
        assert_eq!(state(&devices, "alice", "phone"), (SessionState::LoggedOut, Some(BindingStatus::Pending)));
        devices.apply(&event("alice", "phone", EventType::Login, 60), at(62), PENDING_FOR);
        assert_eq!(state(&devices, "alice", "phone").1, Some(BindingStatus::Active));
    }

    #[test]
    fn refusals() {
        let mut devices = Devices::default();
        let unknown = apply(&mut devices, &event("alice", "phone", EventType::Disconnect, 0));
        assert_eq!(unknown, Applied::Refused(Refusal::UnknownDevice));
        apply(&mut devices, &login("alice", "phone", 0, "t"));
        apply(&mut devices, &event("alice", "phone", EventType::Logout, 1));
        let gone = apply(&mut devices, &event("alice", "phone", EventType::Background, 2));
        assert_eq!(gone, Applied::Refused(Refusal::NotLoggedIn));
        assert_eq!(judge_time(at(0), at(0) + MAX_AGE), Ok((at(0), false)));
        assert_eq!(judge_time(at(0), at(1) + MAX_AGE), Err(Refusal::TooOld));
        assert_eq!(judge_time(at(5), at(0)), Ok((at(5), false)));
        assert_eq!(judge_time(at(6), at(0)), Ok((at(0), true)));
    }

    #[test]
    fn platforms_are_read_without_regard_to_case() {
        for name in ["IOS", "iOS", "ios"] {
            assert_eq!(Platform::parse(name), Some(Platform::Ios));
        }
        assert_eq!(Platform::parse("symbian"), None);
    }
}

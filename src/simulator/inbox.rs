//! What the devices behind the vendor received, and the state of their tokens.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::BuildHasher;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::ages::Ages;

/// How many notifications one inbox keeps, the newest ones.
const MAX_PER_TOKEN: usize = 1_000;
/// How many tokens have an inbox; what further tokens receive is counted only.
const MAX_TOKENS: usize = 100_000;
/// How many distinct ids of a kind are told apart; beyond, only the plain counters move.
const MAX_IDS: usize = 10_000_000;

/// What the vendor knows of a device token. A token it never heard of is alive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// Takes notifications.
    #[default]
    Alive,
    /// The app is gone, and the vendor knows: refused when sent to.
    Dead,
    /// The token ran out by itself, without anybody removing the app: refused when sent to.
    Expired,
    /// The app is gone, and the vendor learns it only when it tries: accepted, then a receipt.
    DeadLater,
    /// The app lives, its notifications are switched off.
    Off,
}

/// One notification as the vendor accepted it, shared by all targets of its call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The vendor's id for it.
    pub message_id: String,
    /// The app it is for: the package name.
    pub app: String,
    /// The title.
    pub title: String,
    /// The text.
    pub body: String,
    /// The app's own data as one text.
    pub payload: Option<String>,
    /// The collapse key: on the lock screen a newer notification with the same one replaces the older.
    pub notify_id: Option<String>,
    /// Names the delivery, where the request does: sent twice under one key it is a duplicate, whatever else differs.
    pub delivery_key: Option<String>,
    /// A key by which the device drops a second copy.
    pub dedupe_key: Option<String>,
    /// Further key-value pairs.
    pub extras: BTreeMap<String, String>,
    /// When it was accepted, epoch milliseconds of the simulator's clock.
    pub at_ms: i64,
    /// How long the vendor should keep it for an offline device, in milliseconds; `None`: the vendor's default.
    pub ttl_ms: Option<i64>,
    /// The channel or class it was sent under.
    pub channel: Option<String>,
    /// The line between title and text.
    pub subtitle: Option<String>,
    /// The number on the app's icon; 0 takes it away, `None` leaves it as it is.
    pub badge: Option<i64>,
    /// The sound's name.
    pub sound: Option<String>,
    /// What it is grouped under on the screen: the conversation.
    pub thread_id: Option<String>,
    /// The vendor's kind of push, as the sender named it.
    pub push_type: Option<String>,
    /// The vendor's priority, as the sender named it.
    pub priority: Option<String>,
    /// Until when the vendor should keep it for an offline device, epoch seconds; 0: not at all; `None`: not said.
    pub expires_at_s: Option<i64>,
    /// Not for the notification bar: the app gets the data and shows what it likes.
    pub data_only: bool,
}

/// Why a notification that reached the device is not on its lock screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hidden {
    /// The user switched the app's notifications off.
    NotificationsOff,
    /// It was no notification-bar message.
    DataOnly,
    /// The device already had one with the same dedupe key.
    Duplicate,
}

/// One notification in one device's inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Received {
    /// What was sent. Its fields are reachable directly: `received.title`.
    #[serde(flatten)]
    pub message: Arc<Message>,
    /// Why it was never shown.
    pub hidden: Option<Hidden>,
}

impl Deref for Received {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

/// Counters over all devices, also in counters-only mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct InboxCounts {
    /// Notifications received, one per device and message.
    pub received: u64,
    /// Different deliveries received: by delivery key, and without one by token, payload and notify id.
    pub distinct: u64,
    /// Received again, under the same delivery key, or with the same token, payload and notify id.
    pub duplicates: u64,
    /// Different notify ids.
    pub notify_ids: u64,
    /// Different payloads.
    pub payloads: u64,
}

/// All devices of one vendor.
#[derive(Debug)]
pub struct Inboxes {
    counters_only: bool,
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    marks: HashMap<String, Mark>,
    devices: HashMap<String, Device>,
    received: u64,
    duplicates: u64,
    deliveries: HashMap<u64, u64>,
    notify_ids: HashMap<u64, u64>,
    payloads: HashMap<u64, u64>,
    ages: Ages,
}

/// What the vendor was told about one token.
#[derive(Debug, Clone, Default)]
pub(super) struct Mark {
    pub(super) state: TokenState,
    /// Since when it is dead or expired, epoch milliseconds, where that was said.
    pub(super) since_ms: Option<i64>,
    pub(super) region: Option<String>,
    /// The app it belongs to.
    pub(super) app: Option<String>,
}

#[derive(Debug, Default)]
struct Device {
    received: VecDeque<Received>,
    shown: VecDeque<Received>,
}

impl Inboxes {
    /// With `counters_only` no notification is kept, only counted.
    pub fn new(counters_only: bool) -> Self {
        Self { counters_only, hasher: RandomState::new(), state: Mutex::default() }
    }

    /// Whether a message is only counted, so that its payload and notify id are all it needs.
    pub(super) const fn is_counters_only(&self) -> bool {
        self.counters_only
    }

    /// Sets a token's state.
    pub fn mark(&self, token: &str, state: TokenState) {
        self.lock().marks.entry(token.to_owned()).or_default().state = state;
    }

    /// Says in which of the vendor's regions a token's device lives; without it, in the one that is asked.
    pub fn set_region(&self, token: &str, region: &str) {
        self.lock().marks.entry(token.to_owned()).or_default().region = Some(region.to_owned());
    }

    /// Since when a token is in its state, epoch milliseconds.
    pub fn mark_since(&self, token: &str, since_ms: i64) {
        self.lock().marks.entry(token.to_owned()).or_default().since_ms = Some(since_ms);
    }

    /// Says which app a token belongs to.
    pub fn set_app(&self, token: &str, app: &str) {
        self.lock().marks.entry(token.to_owned()).or_default().app = Some(app.to_owned());
    }

    /// What was said about a token; `None` when nothing was.
    pub(super) fn mark_of(&self, token: &str) -> Option<Mark> {
        self.lock().marks.get(token).cloned()
    }

    /// The state of each token, in their order, for a vendor's host in `region`: there a foreign token is dead.
    pub fn states(&self, tokens: &[&str], region: &str) -> Vec<TokenState> {
        let state = self.lock();
        if state.marks.is_empty() {
            return vec![TokenState::Alive; tokens.len()];
        }
        let of = |token: &&str| match state.marks.get(*token) {
            None => TokenState::Alive,
            Some(mark) if mark.region.as_deref().is_some_and(|home| home != region) => TokenState::Dead,
            Some(mark) => mark.state,
        };
        tokens.iter().map(of).collect()
    }

    /// The state of each token, in their order, for an account with these names: another app's token is dead there.
    pub(super) fn states_for_app(&self, tokens: &[&str], names: &[&str]) -> Vec<TokenState> {
        let state = self.lock();
        let of = |token: &&str| match state.marks.get(*token) {
            None => TokenState::Alive,
            Some(mark) if mark.app.as_deref().is_some_and(|app| !names.contains(&app)) => TokenState::Dead,
            Some(mark) => mark.state,
        };
        tokens.iter().map(of).collect()
    }

    /// How many tokens are in each state other than alive.
    pub fn marked(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for mark in self.lock().marks.values() {
            let name = match mark.state {
                TokenState::Alive => continue,
                TokenState::Dead => "dead",
                TokenState::Expired => "expired",
                TokenState::DeadLater => "dead_later",
                TokenState::Off => "off",
            };
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    /// Puts a message into the inbox of each target that is alive or has notifications off.
    pub fn deliver(&self, targets: &[(&str, TokenState)], message: Message) {
        let payload = message.payload.as_ref().map(|payload| self.hasher.hash_one(payload));
        let notify_id = message.notify_id.as_ref().map(|id| self.hasher.hash_one(id));
        let message = Arc::new(message);
        let mut state = self.lock();
        if let Some(key) = &message.delivery_key {
            state.ages.count(key, message.at_ms);
        }
        for &(token, token_state) in targets {
            if matches!(token_state, TokenState::Dead | TokenState::Expired | TokenState::DeadLater) {
                continue;
            }
            state.received += 1;
            count(&mut state.payloads, payload);
            count(&mut state.notify_ids, notify_id);
            let delivery = match &message.delivery_key {
                Some(key) => self.hasher.hash_one(key),
                None => self.hasher.hash_one((token, payload, notify_id)),
            };
            state.duplicates += u64::from(state.deliveries.contains_key(&delivery));
            count(&mut state.deliveries, Some(delivery));
            if !self.counters_only {
                state.store(token, token_state, &message);
            }
        }
    }

    /// Takes a notification off the lock screens of these devices; what was received stays in the inbox. Returns how
    /// many were showing it.
    pub fn recall(&self, tokens: &[&str], notify_id: &str) -> usize {
        let mut state = self.lock();
        let mut recalled = 0;
        for token in tokens {
            if let Some(device) = state.devices.get_mut(*token) {
                let before = device.shown.len();
                device.shown.retain(|shown| shown.notify_id.as_deref() != Some(notify_id));
                recalled += before - device.shown.len();
            }
        }
        recalled
    }

    /// What a device received, oldest first, at most the last 1,000. Empty in counters-only mode.
    pub fn received(&self, token: &str) -> Vec<Received> {
        self.lock().devices.get(token).map(|device| device.received.iter().cloned().collect()).unwrap_or_default()
    }

    /// What a device's lock screen shows now, oldest first.
    pub fn shown(&self, token: &str) -> Vec<Received> {
        self.lock().devices.get(token).map(|device| device.shown.iter().cloned().collect()).unwrap_or_default()
    }

    /// The counters over all devices.
    pub fn counts(&self) -> InboxCounts {
        let state = self.lock();
        InboxCounts {
            received: state.received,
            distinct: state.deliveries.len() as u64,
            duplicates: state.duplicates,
            notify_ids: state.notify_ids.len() as u64,
            payloads: state.payloads.len() as u64,
        }
    }

    /// How old deliveries were when they arrived, in milliseconds with counts; where the request names a delivery by a key
    /// that tells when it was made.
    pub(super) fn ages_ms(&self) -> Vec<(i64, u64)> {
        self.lock().ages.pairs()
    }

    /// How often something was received under this delivery key; also in counters-only mode.
    pub fn delivery_key_count(&self, key: &str) -> u64 {
        let id = self.hasher.hash_one(key);
        self.lock().deliveries.get(&id).copied().unwrap_or(0)
    }

    /// How often this payload was received, over all devices; also in counters-only mode.
    pub fn payload_count(&self, payload: &str) -> u64 {
        let id = self.hasher.hash_one(payload);
        self.lock().payloads.get(&id).copied().unwrap_or(0)
    }

    /// How often this notify id was received, over all devices; also in counters-only mode.
    pub fn notify_id_count(&self, notify_id: &str) -> u64 {
        let id = self.hasher.hash_one(notify_id);
        self.lock().notify_ids.get(&id).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(counts: &mut HashMap<u64, u64>, id: Option<u64>) {
    let Some(id) = id else { return };
    if let Some(seen) = counts.get_mut(&id) {
        *seen += 1;
    } else if counts.len() < MAX_IDS {
        counts.insert(id, 1);
    }
}

impl State {
    fn store(&mut self, token: &str, token_state: TokenState, message: &Arc<Message>) {
        if !self.devices.contains_key(token) {
            if self.devices.len() >= MAX_TOKENS {
                return;
            }
            self.devices.insert(token.to_owned(), Device::default());
        }
        if let Some(device) = self.devices.get_mut(token) {
            device.receive(token_state, Arc::clone(message));
        }
    }
}

impl Device {
    fn receive(&mut self, state: TokenState, message: Arc<Message>) {
        let copy = |seen: &Received| message.dedupe_key.is_some() && seen.dedupe_key == message.dedupe_key;
        let hidden = if state == TokenState::Off {
            Some(Hidden::NotificationsOff)
        } else if message.data_only {
            Some(Hidden::DataOnly)
        } else if self.received.iter().any(copy) {
            Some(Hidden::Duplicate)
        } else {
            None
        };
        let received = Received { message, hidden };
        if hidden.is_none() {
            let replaced = |shown: &Received| shown.notify_id.is_some() && shown.notify_id == received.notify_id;
            self.shown.retain(|shown| !replaced(shown));
            push(&mut self.shown, received.clone());
        }
        push(&mut self.received, received);
    }
}

fn push(list: &mut VecDeque<Received>, received: Received) {
    if list.len() == MAX_PER_TOKEN {
        list.pop_front();
    }
    list.push_back(received);
}

#[cfg(test)]
mod tests {
    use super::TokenState::{Alive, Dead, Off};
    use super::*;

    fn message(id: &str, notify_id: &str) -> Message {
        Message {
            message_id: id.into(),
            payload: Some(format!("p-{id}")),
            notify_id: Some(notify_id.into()),
            ..Message::default()
        }
    }

    fn ids(list: &[Received]) -> Vec<&str> {
        list.iter().map(|received| received.message_id.as_str()).collect()
    }

    #[test]
    fn a_newer_notification_replaces_the_one_with_the_same_notify_id_on_the_lock_screen_only() {
        let inboxes = Inboxes::new(false);
        for (id, notify_id) in [("1", "a"), ("2", "b"), ("3", "a")] {
            inboxes.deliver(&[("t", TokenState::Alive)], message(id, notify_id));
        }
        assert_eq!(ids(&inboxes.received("t")), ["1", "2", "3"]);
        assert_eq!(ids(&inboxes.shown("t")), ["2", "3"]);
        assert_eq!(inboxes.recall(&["t", "unknown"], "b"), 1);
        assert_eq!((ids(&inboxes.shown("t")), inboxes.received("t").len()), (vec!["3"], 3));
    }

    #[test]
    fn hidden_notifications_are_received_but_not_shown() {
        let inboxes = Inboxes::new(false);
        let keyed = |id: &str| Message { dedupe_key: Some("k".into()), ..message(id, id) };
        inboxes.deliver(&[("off", TokenState::Off), ("gone", TokenState::DeadLater)], message("1", "a"));
        inboxes.deliver(&[("t", TokenState::Alive)], Message { data_only: true, ..message("2", "b") });
        inboxes.deliver(&[("t", TokenState::Alive)], keyed("3"));
        inboxes.deliver(&[("t", TokenState::Alive)], keyed("4"));
        let hidden: Vec<_> = inboxes.received("t").iter().map(|received| received.hidden).collect();
        assert_eq!(hidden, [Some(Hidden::DataOnly), None, Some(Hidden::Duplicate)]);
        assert_eq!(ids(&inboxes.shown("t")), ["3"]);
        assert_eq!(inboxes.received("off")[0].hidden, Some(Hidden::NotificationsOff));
        assert_eq!(inboxes.received("gone"), []);
        assert_eq!(inboxes.counts().received, 4);
    }

    #[test]
    fn a_token_is_alive_until_marked_and_dead_outside_its_region() {
        let inboxes = Inboxes::new(false);
        inboxes.mark("dead", TokenState::Dead);
        inboxes.mark("off", TokenState::Off);
        inboxes.set_region("abroad", "in");
        let tokens = ["new", "dead", "off", "abroad"];
        assert_eq!(inboxes.states(&tokens, "cn"), [Alive, Dead, Off, Dead]);
        assert_eq!(inboxes.states(&tokens, "in"), [Alive, Dead, Off, Alive]);
        inboxes.mark("dead", TokenState::Alive);
        assert_eq!(inboxes.states(&["dead"], "cn"), [Alive]);
        assert_eq!(inboxes.marked(), BTreeMap::from([("off", 1)]));
    }

    #[test]
    fn an_inbox_keeps_the_newest_thousand_and_counts_all() {
        let inboxes = Inboxes::new(false);
        for n in 0..1_005 {
            inboxes.deliver(&[("t", TokenState::Alive)], message(&n.to_string(), &n.to_string()));
        }
        let received = inboxes.received("t");
        assert_eq!((received.len(), received[0].message_id.as_str(), inboxes.shown("t").len()), (1_000, "5", 1_000));
        assert_eq!(inboxes.counts().received, 1_005);
    }

    #[test]
    fn a_delivery_whose_key_tells_its_time_is_counted_by_its_age() {
        let inboxes = Inboxes::new(true);
        let made = uuid::Builder::from_unix_timestamp_millis(1_000, &[0; 10]).into_uuid().to_string();
        let keyed = Message { delivery_key: Some(made), at_ms: 1_007, ..message("3", "n") };
        inboxes.deliver(&[("a", TokenState::Alive)], keyed);
        inboxes.deliver(&[("a", TokenState::Alive)], message("4", "n"));
        assert_eq!(inboxes.ages_ms(), [(7, 1)]);
    }

    #[test]
    fn counters_only_keeps_ids_but_no_notifications() {
        let inboxes = Inboxes::new(true);
        inboxes.deliver(&[("a", TokenState::Alive), ("b", TokenState::Alive)], message("1", "n"));
        inboxes.deliver(&[("a", TokenState::Alive)], message("1", "n"));
        inboxes.deliver(&[("a", TokenState::Alive)], message("2", "n"));
        let counts = InboxCounts { received: 4, distinct: 3, duplicates: 1, notify_ids: 1, payloads: 2 };
        assert_eq!((inboxes.counts(), inboxes.received("a")), (counts, vec![]));
        assert_eq!(
            (inboxes.payload_count("p-1"), inboxes.notify_id_count("n"), inboxes.payload_count("no")),
            (3, 4, 0)
        );
    }
}

//! Which notification of a conversation is the newest among what a lane holds for a device: older ones are not sent any
//! more, since they would only replace it on the phone.

use std::collections::HashMap;

use super::recent::key_of;
use crate::domain::id::NotificationId;
use crate::domain::notification::Notification;

/// See the module. An entry lives as long as a delivery with its key is in the lane, also on the wire.
#[derive(Debug, Default)]
pub(super) struct Newest(HashMap<u128, Held>);

/// What a lane holds of one conversation on one device, and the newest that it sent while it held something of it.
#[derive(Debug, Default)]
struct Held {
    waiting: Vec<NotificationId>,
    sent: Option<NotificationId>,
}

impl Newest {
    /// A delivery of this key came in.
    pub(super) fn enter(&mut self, key: u128, notification_id: NotificationId) {
        self.0.entry(key).or_default().waiting.push(notification_id);
    }

    /// One went out. If it was not sent, nothing older has to stand back for it.
    pub(super) fn leave(&mut self, key: u128, notification_id: NotificationId, was_sent: bool) {
        let Some(held) = self.0.get_mut(&key) else { return };
        if let Some(place) = held.waiting.iter().position(|id| *id == notification_id) {
            held.waiting.swap_remove(place);
        }
        if was_sent {
            held.sent = held.sent.max(Some(notification_id));
        }
        if held.waiting.is_empty() {
            self.0.remove(&key);
        }
    }

    /// Whether a newer one came in and was sent, or still may be.
    pub(super) fn has_newer(&self, key: u128, notification_id: NotificationId) -> bool {
        self.0.get(&key).is_some_and(|held| held.waiting.iter().chain(&held.sent).any(|id| *id > notification_id))
    }
}

/// What names a device's conversation; `None` for what replaces nothing.
pub(super) fn key(notification: &Notification, user_id: &str, device_id: &str) -> Option<u128> {
    let collapse_text = notification.content.collapse_text()?;
    Some(key_of((notification.app_id.0, user_id, device_id, collapse_text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_one_goes_after_all_when_the_newer_was_never_sent() {
        let (older, newer) = (NotificationId::new(1, 0), NotificationId::new(2, 0));
        let mut newest = Newest::default();
        newest.enter(7, older);
        newest.enter(7, newer);
        assert!(newest.has_newer(7, older));
        newest.leave(7, newer, false);
        assert!(!newest.has_newer(7, older), "the newer one was recalled");
        newest.leave(7, older, true);
        assert!(newest.0.is_empty());
    }

    #[test]
    fn an_older_one_stays_superseded_until_it_is_gone_itself() {
        let (older, newer) = (NotificationId::new(1, 0), NotificationId::new(2, 0));
        let mut newest = Newest::default();
        newest.enter(7, older);
        assert!(!newest.has_newer(7, older));
        newest.enter(7, newer);
        newest.leave(7, newer, true); // the newer one was sent while the older was on the wire
        assert!(newest.has_newer(7, older) && !newest.has_newer(7, newer));
        newest.leave(7, older, false);
        assert!(!newest.has_newer(7, older) && newest.0.is_empty());
    }
}

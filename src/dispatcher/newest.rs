//! Which notification of a conversation is the newest among what a lane holds for a device: older ones are not sent any
//! more, since they would only replace it on the phone.

use std::collections::HashMap;

use super::recent::key_of;
use crate::domain::id::NotificationId;
use crate::domain::notification::Notification;

/// See the module. An entry lives as long as a delivery with its key is in the lane, also on the wire.
#[derive(Debug, Default)]
pub(super) struct Newest(HashMap<u128, (NotificationId, u32)>);

impl Newest {
    /// A delivery of this key came in.
    pub(super) fn enter(&mut self, key: u128, notification_id: NotificationId) {
        let (newest, count) = self.0.entry(key).or_insert((notification_id, 0));
        *newest = (*newest).max(notification_id);
        *count += 1;
    }

    /// One went out.
    pub(super) fn leave(&mut self, key: u128) {
        if let Some((_, count)) = self.0.get_mut(&key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&key);
            }
        }
    }

    /// Whether a newer one came in.
    pub(super) fn has_newer(&self, key: u128, notification_id: NotificationId) -> bool {
        self.0.get(&key).is_some_and(|(newest, _)| *newest > notification_id)
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
    fn an_older_one_stays_superseded_until_it_is_gone_itself() {
        let (older, newer) = (NotificationId::new(1, 0), NotificationId::new(2, 0));
        let mut newest = Newest::default();
        newest.enter(7, older);
        assert!(!newest.has_newer(7, older));
        newest.enter(7, newer);
        newest.leave(7); // the newer one was sent while the older was on the wire
        assert!(newest.has_newer(7, older) && !newest.has_newer(7, newer));
        newest.leave(7);
        assert!(!newest.has_newer(7, older) && newest.0.is_empty());
    }
}

//! Conversations that were read a moment ago: what this instance's lanes hold of them is not sent any more.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::recent::{Recent, key_of};
use crate::domain::id::AppId;
use crate::domain::notification::Notification;

/// Longer than anything stays in a lane.
const KEPT_FOR: Duration = Duration::from_mins(10);

/// When users last read their conversations.
#[derive(Debug)]
pub struct ReadMarks(Recent<DateTime<Utc>>);

impl Default for ReadMarks {
    fn default() -> Self {
        Self(Recent::keeping(KEPT_FOR))
    }
}

impl ReadMarks {
    /// Notes that everything accepted before `at` was read.
    pub fn add(&self, app_id: AppId, user_id: &str, conversation_id: &str, at: DateTime<Utc>) {
        let key = key_of((app_id.0, user_id, conversation_id));
        // One that is told late takes nothing back.
        let at = self.0.find(|| key).map_or(at, |known| known.max(at));
        self.0.note(key, at);
    }

    /// Whether the user read the conversation after this notification was accepted.
    pub fn cover(&self, notification: &Notification, user_id: &str) -> bool {
        let Some(conversation_id) = notification.content.conversation_id.as_deref() else { return false };
        let read_at = self.0.find(|| key_of((notification.app_id.0, user_id, conversation_id)));
        read_at.is_some_and(|at| notification.notification_id.accepted_at() < at)
    }
}

//! Conversations were read: what waits of them is not sent any more, and the badge counts it no longer.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::id::{AppId, NotificationId};
use crate::domain::notification::Content;
use crate::domain::session::Event;
use crate::domain::skip::CancelReason;
use crate::store;
use crate::store::deliveries::WaitingOfUser;

/// The newest waiting deliveries of a user that are looked at, and of all users of a transaction together.
const LOOKED_AT: i64 = 1_000;
const LOOKED_AT_IN_ALL: i64 = 20_000;
/// Contents that are in memory at a time.
const CONTENTS: usize = 1_000;

/// Who read what (user, conversation), and when.
type Reads<'a> = HashMap<(&'a str, &'a str), DateTime<Utc>>;

/// What waits in the database for these users (sorted, each once), newest first: of each the same share.
pub(super) async fn waiting(
    transaction: &mut PgConnection,
    app_id: AppId,
    users: &[&str],
) -> sqlx::Result<Vec<WaitingOfUser>> {
    let share = LOOKED_AT_IN_ALL / i64::try_from(users.len()).unwrap_or(i64::MAX).max(1);
    store::deliveries::waiting_of_users(transaction, app_id, users, share.clamp(1, LOOKED_AT)).await
}

/// Ends what waits in the database of what was accepted before its conversation was read, on all of the users' devices.
/// Answers how many.
pub(super) async fn read(
    transaction: &mut PgConnection,
    app_id: AppId,
    events: &[&Event],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let mut reads = Reads::new();
    for event in events {
        let Some(conversation_id) = &event.conversation_id else { continue };
        let read_at = reads.entry((&event.user_id, conversation_id)).or_insert(DateTime::UNIX_EPOCH);
        *read_at = (*read_at).max(event.event_time.min(now));
    }
    let mut users: Vec<&str> = reads.keys().map(|(user_id, _)| *user_id).collect();
    users.sort_unstable();
    users.dedup();
    if users.is_empty() {
        return Ok(0);
    }
    let waiting = waiting(&mut *transaction, app_id, &users).await?;
    let conversations = conversations(&mut *transaction, &waiting, &reads).await?;
    let is_read = |waiting: &&WaitingOfUser| {
        let notification = waiting.delivery_id.notification();
        let read_at = conversations.get(&notification).and_then(|name| reads.get(&(&*waiting.user_id, &**name)));
        read_at.is_some_and(|read_at| notification.accepted_at() < *read_at)
    };
    let gone: Vec<Uuid> = waiting.iter().filter(is_read).map(|waiting| waiting.delivery_id.0).collect();
    if gone.is_empty() {
        return Ok(0);
    }
    store::deliveries::cancel(transaction, &gone, CancelReason::ConversationRead, now).await
}

/// The conversations of what waits, as far as it may have been read.
async fn conversations(
    transaction: &mut PgConnection,
    waiting: &[WaitingOfUser],
    reads: &Reads<'_>,
) -> sqlx::Result<HashMap<NotificationId, String>> {
    let latest = reads.values().max().copied().unwrap_or(DateTime::UNIX_EPOCH);
    let notifications = waiting.iter().map(|waiting| waiting.delivery_id.notification());
    let ids: HashSet<NotificationId> = notifications.filter(|id| id.accepted_at() < latest).collect();
    let ids: Vec<Uuid> = ids.into_iter().map(|id| id.0).collect();
    let mut conversations = HashMap::new();
    for some in ids.chunks(CONTENTS) {
        for (notification_id, _, bytes) in store::notifications::contents(&mut *transaction, some).await? {
            let content = serde_json::from_slice::<Content>(&bytes).ok();
            if let Some(conversation_id) = content.and_then(|content| content.conversation_id) {
                conversations.insert(notification_id, conversation_id);
            }
        }
    }
    Ok(conversations)
}

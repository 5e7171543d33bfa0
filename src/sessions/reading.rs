//! A conversation was read: what waits of it is not sent any more, and the badge counts it no longer.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::app::BadgeSource;
use crate::domain::notification::Content;
use crate::domain::session::Event;
use crate::domain::skip::CancelReason;
use crate::store;
use crate::store::apps::App;

/// The newest waiting deliveries of a user that are looked at.
const LOOKED_AT: i64 = 1_000;

/// Ends what waits in the database of what was accepted before the conversation was read, on all of the user's devices.
/// Answers how many.
pub(super) async fn read(
    transaction: &mut PgConnection,
    app: &App,
    event: &Event,
    conversation_id: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    if app.settings.badge == BadgeSource::Server {
        let (app_id, user_id) = (app.app_id, &event.user_id);
        store::push_counts::reset_conversation(&mut *transaction, app_id, user_id, conversation_id).await?;
    }
    let user = [event.user_id.as_str()];
    let waiting = store::deliveries::waiting_of_users(&mut *transaction, app.app_id, &user, LOOKED_AT).await?;
    let read_at = event.event_time.min(now);
    let mut ids: Vec<Uuid> = waiting
        .iter()
        .map(|waiting| waiting.delivery_id.notification())
        .filter(|notification| notification.accepted_at() < read_at)
        .map(|notification| notification.0)
        .collect();
    ids.dedup();
    if ids.is_empty() {
        return Ok(0);
    }
    let contents = store::notifications::contents(&mut *transaction, &ids).await?;
    let read: Vec<_> = contents
        .into_iter()
        .filter(|(_, _, bytes)| {
            let content = serde_json::from_slice::<Content>(bytes);
            content.is_ok_and(|content| content.conversation_id.as_deref() == Some(conversation_id))
        })
        .map(|(notification_id, ..)| notification_id)
        .collect();
    let is_read = |waiting: &&store::deliveries::WaitingOfUser| read.contains(&waiting.delivery_id.notification());
    let gone: Vec<Uuid> = waiting.iter().filter(is_read).map(|waiting| waiting.delivery_id.0).collect();
    store::deliveries::cancel(&mut *transaction, &gone, CancelReason::ConversationRead, now).await
}

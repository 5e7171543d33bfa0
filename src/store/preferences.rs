//! Tables `user_preferences` and `conversation_settings`: what users wish for themselves.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::unknown;
use crate::domain::id::AppId;
use crate::domain::preferences::{Notify, Preferences};

/// Stored preferences; what cannot be read is taken as none.
pub(super) fn readable(text: &str) -> Option<Preferences> {
    Preferences::stored(text)
        .inspect_err(|error| tracing::error!(%error, "a user's preferences are taken as none"))
        .ok()
}

/// A user's preferences and when they were set.
pub async fn of_user(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    user_id: &str,
) -> sqlx::Result<Option<(Preferences, DateTime<Utc>)>> {
    let row = sqlx::query!(
        "SELECT preferences, updated_at FROM user_preferences WHERE app_id = $1 AND user_id = $2",
        app_id.0,
        user_id,
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        let preferences = Preferences::stored(&row.preferences).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok((preferences, row.updated_at))
    })
    .transpose()
}

/// The preferences of those of these users who set some; what cannot be read is taken as none.
pub async fn of_users(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    user_ids: &[&str],
) -> sqlx::Result<HashMap<String, Preferences>> {
    let rows = sqlx::query!(
        r#"SELECT u.user_id AS "user_id!", p.preferences AS "preferences!" FROM unnest($2::text[]) AS u(user_id)
           CROSS JOIN LATERAL (
               SELECT x.preferences FROM user_preferences x WHERE x.app_id = $1 AND x.user_id = u.user_id OFFSET 0) AS p"#,
        app_id.0,
        user_ids as &[&str],
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.user_id, readable(&row.preferences)?))).collect())
}

/// Replaces a user's preferences.
pub async fn put(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    user_id: &str,
    preferences: &Preferences,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let text = serde_json::to_string(preferences).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query!(
        "INSERT INTO user_preferences (app_id, user_id, preferences, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (app_id, user_id) DO UPDATE SET preferences = excluded.preferences, updated_at = excluded.updated_at",
        app_id.0,
        user_id,
        text,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets a user's preferences. False: there were none.
pub async fn delete(db: impl PgExecutor<'_>, app_id: AppId, user_id: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!("DELETE FROM user_preferences WHERE app_id = $1 AND user_id = $2", app_id.0, user_id)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// What a user set for one conversation.
#[derive(Debug, Clone)]
pub struct ConversationSetting {
    pub conversation_id: String,
    pub notify: Notify,
    pub until: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
}

/// Sets what is pushed of a conversation.
pub async fn put_conversation(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    user_id: &str,
    setting: &ConversationSetting,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO conversation_settings (app_id, user_id, conversation_id, notify, until, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (app_id, user_id, conversation_id) DO UPDATE
             SET notify = excluded.notify, until = excluded.until, updated_at = excluded.updated_at",
        app_id.0,
        user_id,
        setting.conversation_id,
        setting.notify.as_str(),
        setting.until,
        setting.updated_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets what was set for a conversation. False: nothing was.
pub async fn delete_conversation(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    user_id: &str,
    conversation_id: &str,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "DELETE FROM conversation_settings WHERE app_id = $1 AND user_id = $2 AND conversation_id = $3",
        app_id.0,
        user_id,
        conversation_id,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A user's conversations with a setting, by id, after `after`, at most `limit`.
pub async fn conversations(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    user_id: &str,
    after: &str,
    limit: i64,
) -> sqlx::Result<Vec<ConversationSetting>> {
    let rows = sqlx::query!(
        "SELECT conversation_id, notify, until, updated_at FROM conversation_settings
         WHERE app_id = $1 AND user_id = $2 AND conversation_id > $3 ORDER BY conversation_id LIMIT $4",
        app_id.0,
        user_id,
        after,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(ConversationSetting {
                conversation_id: row.conversation_id,
                notify: Notify::parse(&row.notify).ok_or_else(|| unknown("notify", &row.notify))?,
                until: row.until,
                updated_at: row.updated_at,
            })
        })
        .collect()
}

/// Forgets everything that users set for themselves.
pub async fn forget_users(db: impl PgExecutor<'_>, app_id: AppId, user_ids: &[&str]) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH settings AS (DELETE FROM conversation_settings WHERE app_id = $1 AND user_id = ANY ($2))
         DELETE FROM user_preferences WHERE app_id = $1 AND user_id = ANY ($2)",
        app_id.0,
        user_ids as &[&str],
    )
    .execute(db)
    .await?;
    Ok(())
}

//! Table `push_counts`: what was pushed, for apps that count.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::domain::id::AppId;

/// What is counted: of a device and conversation for its badge, of a user (device empty) for bursts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counted {
    pub app_id: AppId,
    pub user_id: String,
    pub device_id: String,
    /// Empty: no conversation, or all of them.
    pub conversation_id: String,
    /// The window that is counted; the epoch for badges. A row of an earlier one begins anew.
    pub since: DateTime<Utc>,
}

/// Adds to each count and answers the new ones, in the same order. `counted` must be sorted: two instances that counted in
/// different order would wait for each other.
pub async fn add(db: impl PgExecutor<'_>, counted: &[Counted], pushes: &[i32]) -> sqlx::Result<Vec<i32>> {
    let rows = sqlx::query!(
        r#"WITH wanted AS MATERIALIZED (
               SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::int[])
                   WITH ORDINALITY AS w(app_id, user_id, device_id, conversation_id, since, pushes, number)),
           added AS (
               INSERT INTO push_counts AS c (app_id, user_id, device_id, conversation_id, pushes, since)
               SELECT app_id, user_id, device_id, conversation_id, pushes, since FROM wanted ORDER BY number
               ON CONFLICT (app_id, user_id, device_id, conversation_id) DO UPDATE SET
                   pushes = CASE WHEN c.since = excluded.since THEN c.pushes ELSE 0 END + excluded.pushes,
                   since = excluded.since
               RETURNING app_id, user_id, device_id, conversation_id, pushes)
           SELECT a.pushes FROM wanted w
           JOIN added a USING (app_id, user_id, device_id, conversation_id) ORDER BY w.number"#,
        &counted.iter().map(|key| key.app_id.0).collect::<Vec<_>>(),
        &counted.iter().map(|key| key.user_id.as_str()).collect::<Vec<_>>() as &[&str],
        &counted.iter().map(|key| key.device_id.as_str()).collect::<Vec<_>>() as &[&str],
        &counted.iter().map(|key| key.conversation_id.as_str()).collect::<Vec<_>>() as &[&str],
        &counted.iter().map(|key| key.since).collect::<Vec<_>>(),
        pushes,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| row.pushes).collect())
}

/// Takes back what was counted for pushes that were not made.
pub async fn take_back(db: impl PgExecutor<'_>, counted: &[Counted], pushes: &[i32]) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE push_counts c SET pushes = greatest(c.pushes - w.pushes, 0)
         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::int[])
             AS w(app_id, user_id, device_id, conversation_id, since, pushes)
         WHERE c.app_id = w.app_id AND c.user_id = w.user_id AND c.device_id = w.device_id
           AND c.conversation_id = w.conversation_id AND c.since = w.since
           AND c.app_id = ANY ($1) AND c.user_id = ANY ($2)",
        &counted.iter().map(|key| key.app_id.0).collect::<Vec<_>>(),
        &counted.iter().map(|key| key.user_id.as_str()).collect::<Vec<_>>() as &[&str],
        &counted.iter().map(|key| key.device_id.as_str()).collect::<Vec<_>>() as &[&str],
        &counted.iter().map(|key| key.conversation_id.as_str()).collect::<Vec<_>>() as &[&str],
        &counted.iter().map(|key| key.since).collect::<Vec<_>>(),
        pushes,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What was pushed to each of these devices (`user_ids[i]`, `device_ids[i]`) since its count began, in their order.
pub async fn of_devices(
    db: impl PgExecutor<'_>,
    app_ids: &[i64],
    user_ids: &[&str],
    device_ids: &[&str],
) -> sqlx::Result<Vec<i32>> {
    let rows = sqlx::query!(
        r#"SELECT coalesce((SELECT sum(c.pushes) FROM push_counts c
                            WHERE c.app_id = q.app_id AND c.user_id = q.user_id AND c.device_id = q.device_id), 0)::int
               AS "pushes!"
           FROM unnest($1::bigint[], $2::text[], $3::text[]) WITH ORDINALITY AS q(app_id, user_id, device_id, number)
           ORDER BY q.number"#,
        app_ids,
        user_ids as &[&str],
        device_ids as &[&str],
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| row.pushes).collect())
}

/// The counts of these devices begin anew.
pub async fn reset(db: impl PgExecutor<'_>, app_id: AppId, user_ids: &[&str], device_ids: &[&str]) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM push_counts c USING unnest($2::text[], $3::text[]) AS q(user_id, device_id)
         WHERE c.app_id = $1 AND c.user_id = q.user_id AND c.device_id = q.device_id AND c.device_id <> ''
           AND c.user_id = ANY ($2)",
        app_id.0,
        user_ids as &[&str],
        device_ids as &[&str],
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A user's counts of one conversation begin anew, on all devices: it was read.
pub async fn reset_conversation(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    user_id: &str,
    conversation_id: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM push_counts WHERE app_id = $1 AND user_id = $2 AND conversation_id = $3 AND device_id <> ''",
        app_id.0,
        user_id,
        conversation_id,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets windows that are over, at most `limit`. Answers how many.
pub async fn forget_windows(db: impl PgExecutor<'_>, before: DateTime<Utc>, limit: i64) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM push_counts WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM push_counts WHERE device_id = '' AND since < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))",
        before,
        limit,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

//! Waiting deliveries that a newer one of their conversation takes the place of.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::domain::id::{AppId, NotificationId};
use crate::domain::skip::CancelReason;

/// What takes the place of others: a notification on some devices of its app.
#[derive(Debug)]
pub struct Superseding<'a> {
    pub app_id: AppId,
    pub notification_id: NotificationId,
    /// See [`Notification::collapse_digest`](crate::domain::notification::Notification::collapse_digest).
    pub collapse: i64,
    pub user_ids: Vec<&'a str>,
    pub device_ids: Vec<&'a str>,
}

/// Cancels what waits unowned and is older than a notification that takes its place, of each device at most `limit_each`; what
/// somebody is taking in at this moment is left to him. Answers how many.
pub async fn supersede(
    db: impl PgExecutor<'_>,
    newer: &Superseding<'_>,
    limit_each: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "WITH gone AS (
             DELETE FROM deliveries WHERE delivery_id = ANY (ARRAY(
                 SELECT w.delivery_id FROM unnest($2::text[], $3::text[]) AS u(user_id, device_id)
                 CROSS JOIN LATERAL (
                     SELECT x.delivery_id FROM deliveries x
                     WHERE x.owner IS NULL AND x.app_id = $1 AND x.user_id = u.user_id AND x.device_id = u.device_id
                       AND x.collapse = $4 AND x.delivery_id < $5
                     LIMIT $6 FOR UPDATE SKIP LOCKED) AS w))
             RETURNING delivery_id, app_id, user_id, device_id, certificate_id, attempts)
         INSERT INTO delivery_events (at, delivery_id, app_id, user_id, device_id, certificate_id, kind, reason, attempt, final)
         SELECT $8, delivery_id, app_id, user_id, device_id, certificate_id, 'cancelled', $7, attempts, true FROM gone",
        newer.app_id.0,
        &newer.user_ids as &[&str],
        &newer.device_ids as &[&str],
        newer.collapse,
        newer.notification_id.0,
        limit_each,
        CancelReason::SupersededByNewer.as_str(),
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Cancels those of these deliveries that wait unowned while a newer one waits that takes their place. Answers how many.
pub async fn cancel_superseded(
    db: impl PgExecutor<'_>,
    delivery_ids: &[Uuid],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "WITH gone AS (
             DELETE FROM deliveries WHERE delivery_id = ANY (ARRAY(
                 SELECT d.delivery_id FROM unnest($1::uuid[]) AS u(delivery_id)
                 CROSS JOIN LATERAL (
                     SELECT o.delivery_id FROM deliveries o
                     WHERE o.delivery_id = u.delivery_id AND (o.owner IS NULL) IS TRUE
                       AND (SELECT true FROM deliveries n
                            WHERE n.owner IS NULL AND n.app_id = o.app_id AND n.user_id = o.user_id
                              AND n.device_id = o.device_id AND n.collapse = o.collapse AND n.delivery_id > o.delivery_id
                            LIMIT 1)
                     FOR UPDATE SKIP LOCKED) AS d))
             RETURNING delivery_id, app_id, user_id, device_id, certificate_id, attempts)
         INSERT INTO delivery_events (at, delivery_id, app_id, user_id, device_id, certificate_id, kind, reason, attempt, final)
         SELECT $3, delivery_id, app_id, user_id, device_id, certificate_id, 'cancelled', $2, attempts, true FROM gone",
        delivery_ids,
        CancelReason::SupersededByNewer.as_str(),
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

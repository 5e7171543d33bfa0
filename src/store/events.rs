//! Table `delivery_events`: the trace.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::domain::id::{AppId, NotificationId};

/// Events to write, column by column.
#[derive(Debug, Default)]
pub struct NewEvents {
    pub at: Vec<DateTime<Utc>>,
    pub delivery_ids: Vec<Uuid>,
    pub app_ids: Vec<i64>,
    pub user_ids: Vec<String>,
    pub device_ids: Vec<String>,
    pub certificate_ids: Vec<i64>,
    pub kinds: Vec<&'static str>,
    pub reasons: Vec<Option<String>>,
    pub vendor_codes: Vec<Option<String>>,
    pub vendor_message_ids: Vec<Option<String>>,
    pub latencies_ms: Vec<Option<i32>>,
    pub attempts: Vec<Option<i16>>,
    pub details: Vec<Option<String>>,
    pub finals: Vec<bool>,
    /// The event goes with a change of the delivery's row, so it is a duplicate when the row was not this instance's.
    pub changes_row: Vec<bool>,
}

/// An event as stored.
#[derive(Debug)]
pub struct Event {
    pub at: DateTime<Utc>,
    pub delivery_id: Uuid,
    pub user_id: String,
    pub device_id: Option<String>,
    pub certificate_id: Option<i64>,
    pub kind: String,
    pub reason: Option<String>,
    pub vendor_code: Option<String>,
    pub vendor_message_id: Option<String>,
    pub latency_ms: Option<i32>,
    pub attempt: Option<i16>,
    pub detail: Option<String>,
    pub duplicate: bool,
    pub r#final: bool,
    pub skipped_users: Option<Vec<String>>,
    pub skipped_devices: Option<Vec<String>>,
    pub skipped_reasons: Option<Vec<String>>,
}

/// Which of these events (`delivery_ids[i]` at `at[i]`) are recorded.
pub async fn present(
    db: impl PgExecutor<'_>,
    delivery_ids: &[Uuid],
    at: &[DateTime<Utc>],
) -> sqlx::Result<HashSet<(Uuid, DateTime<Utc>)>> {
    let rows = sqlx::query!(
        "SELECT e.delivery_id, e.at FROM delivery_events e
         WHERE e.delivery_id = ANY ($1) AND e.at BETWEEN $3 AND $4
           AND (e.delivery_id, e.at) IN (SELECT * FROM unnest($1::uuid[], $2::timestamptz[]))",
        delivery_ids,
        at,
        at.iter().min(),
        at.iter().max(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.delivery_id, row.at)).collect())
}

/// Everything recorded of a notification and its deliveries, oldest first, at most `limit`.
pub async fn of_notification(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    notification: NotificationId,
    limit: i64,
) -> sqlx::Result<Vec<Event>> {
    let since = DateTime::from_timestamp_millis(i64::try_from(notification.unix_ms()).unwrap_or_default())
        .unwrap_or(DateTime::UNIX_EPOCH)
        - chrono::TimeDelta::minutes(1);
    sqlx::query_as!(
        Event,
        "SELECT at, delivery_id, user_id, device_id, certificate_id, kind, reason, vendor_code, vendor_message_id, latency_ms,
             attempt, detail, duplicate, final, skipped_users, skipped_devices, skipped_reasons
         FROM delivery_events WHERE delivery_id >= $1 AND delivery_id <= $2 AND at >= $3 AND app_id = $4
         ORDER BY at, delivery_id LIMIT $5",
        notification.0,
        notification.last_delivery().0,
        since,
        app_id.0,
        limit,
    )
    .fetch_all(db)
    .await
}

/// How one delivery ended, or a skip.
#[derive(Debug)]
pub struct Ending {
    /// The notification's own id where the event is a skip.
    pub delivery_id: Uuid,
    pub device_id: Option<String>,
    pub certificate_id: Option<i64>,
    pub kind: String,
    pub reason: Option<String>,
    pub vendor_message_id: Option<String>,
}

/// The final events of several notifications, duplicates left out: of each at most `limit_each`.
pub async fn endings_of_notifications(
    db: impl PgExecutor<'_>,
    notifications: &[Uuid],
    limit_each: i64,
) -> sqlx::Result<Vec<Ending>> {
    sqlx::query_as!(
        Ending,
        r#"SELECT e.delivery_id AS "delivery_id!", e.device_id, e.certificate_id, e.kind AS "kind!", e.reason, e.vendor_message_id
           FROM unnest($1::uuid[]) AS n(notification_id)
           CROSS JOIN LATERAL (
               SELECT delivery_id, device_id, certificate_id, kind, reason, vendor_message_id FROM delivery_events
               WHERE delivery_id >= n.notification_id AND delivery_id <= last_delivery_of(n.notification_id)
                 AND final AND NOT duplicate
               LIMIT $2) AS e"#,
        notifications,
        limit_each,
    )
    .fetch_all(db)
    .await
}

/// A page of what was recorded of one user, newest first: in `from..before`, at most `limit`.
pub async fn of_user(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    user_id: &str,
    from: DateTime<Utc>,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Event>> {
    sqlx::query_as!(
        Event,
        "SELECT at, delivery_id, user_id, device_id, certificate_id, kind, reason, vendor_code, vendor_message_id, latency_ms,
             attempt, detail, duplicate, final, skipped_users, skipped_devices, skipped_reasons
         FROM delivery_events WHERE app_id = $1 AND user_id = $2 AND at >= $3 AND at < $4
         ORDER BY at DESC LIMIT $5",
        app_id.0,
        user_id,
        from,
        before,
        limit,
    )
    .fetch_all(db)
    .await
}

/// Among the newest `scanned` rows about several users at once, those that name this one, newest first; and the time back
/// to which was looked (`None`: all of the range).
pub async fn of_user_in_groups(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    user_id: &str,
    from: DateTime<Utc>,
    before: DateTime<Utc>,
    scanned: i64,
) -> sqlx::Result<(Vec<Event>, Option<DateTime<Utc>>)> {
    let rows = sqlx::query!(
        r#"WITH recent AS MATERIALIZED (
               SELECT at, delivery_id, kind, final, duplicate, skipped_users, skipped_devices, skipped_reasons
               FROM delivery_events WHERE app_id = $1 AND user_id = '' AND at >= $3 AND at < $4
               ORDER BY at DESC LIMIT $5),
           looked AS (SELECT CASE WHEN count(*) = $5 THEN min(at) END AS back_to FROM recent)
           SELECT r.at AS "at?", r.delivery_id AS "delivery_id?", r.kind AS "kind?", r.final AS "final?",
               r.duplicate AS "duplicate?", r.skipped_users, r.skipped_devices, r.skipped_reasons, l.back_to
           FROM looked l LEFT JOIN recent r ON $2 = ANY (r.skipped_users) ORDER BY r.at DESC"#,
        app_id.0,
        user_id,
        from,
        before,
        scanned,
    )
    .fetch_all(db)
    .await?;
    let looked_back_to = rows.first().and_then(|row| row.back_to);
    // The one row without an event only tells how far was looked.
    let rows = rows.into_iter().filter_map(|row| Some((row.at?, row.delivery_id?, row.kind.clone()?, row)));
    let events = rows
        .map(|(at, delivery_id, kind, row)| Event {
            at,
            delivery_id,
            user_id: user_id.to_owned(),
            device_id: None,
            certificate_id: None,
            kind,
            reason: None,
            vendor_code: None,
            vendor_message_id: None,
            latency_ms: None,
            attempt: None,
            detail: None,
            duplicate: row.duplicate.unwrap_or(false),
            r#final: row.r#final.unwrap_or(false),
            skipped_users: row.skipped_users,
            skipped_devices: row.skipped_devices,
            skipped_reasons: row.skipped_reasons,
        })
        .collect();
    Ok((events, looked_back_to))
}

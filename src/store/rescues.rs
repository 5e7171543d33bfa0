//! Deliveries made after a notification was accepted: of messages that a device missed because its link was dead already.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::domain::burst::TextVariant;
use crate::domain::id::{AppId, CertificateId, DeliveryId, NotificationId};
use crate::domain::notification::Priority;
use crate::domain::session::MessageKey;

/// The notifications that these messages became, as far as they are within the dedupe window.
pub async fn known(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    messages: &[MessageKey],
) -> sqlx::Result<Vec<NotificationId>> {
    let ids = sqlx::query_scalar!(
        r#"SELECT k.notification_id AS "notification_id!" FROM unnest($2::text[], $3::int[]) AS m(message_id, part)
           CROSS JOIN LATERAL (
               SELECT x.notification_id FROM message_keys x
               WHERE x.app_id = $1 AND x.message_id = m.message_id AND x.part = m.part
                 AND x.day = ANY (ARRAY[(now() AT TIME ZONE 'utc')::date, (now() AT TIME ZONE 'utc')::date - 1])
               OFFSET 0) AS k"#,
        app_id.0,
        &messages.iter().map(|message| message.message_id.as_str()).collect::<Vec<_>>() as &[&str],
        &messages.iter().map(|message| i32::from(message.part)).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(NotificationId).collect())
}

/// Waits for whoever else is adding deliveries to these notifications. `ids` must be sorted.
pub async fn take_turns(db: impl PgExecutor<'_>, ids: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT pg_advisory_xact_lock(hashtextextended(id::text, 0)) FROM unnest($1::uuid[]) AS u(id) OFFSET 0) AS taken"#,
        ids,
    )
    .fetch_one(db)
    .await?;
    Ok(())
}

/// Which of these notifications a device was skipped for because its app was open, and got nothing of otherwise.
pub async fn missed(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    user_id: &str,
    device_id: &str,
    ids: &[Uuid],
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"SELECT n.id AS "id!" FROM unnest($1::uuid[]) AS n(id)
           WHERE EXISTS (
                   SELECT FROM delivery_events e
                   WHERE e.delivery_id = n.id AND e.app_id = $2 AND e.at >= $5 AND e.kind = 'skipped'
                     AND ((e.user_id = $3 AND e.device_id = $4 AND e.reason IN ('foreground', 'background'))
                          OR EXISTS (SELECT FROM unnest(e.skipped_users, e.skipped_devices, e.skipped_reasons)
                                         AS s(user_id, device_id, reason)
                                     WHERE s.user_id = $3 AND s.device_id = $4
                                       AND s.reason IN ('foreground', 'background'))))
             AND NOT EXISTS (
                   SELECT FROM delivery_events e
                   WHERE e.delivery_id > n.id AND e.delivery_id <= last_delivery_of(n.id) AND e.at >= $5
                     AND e.user_id = $3 AND e.device_id = $4)
             AND NOT EXISTS (
                   SELECT FROM deliveries d
                   WHERE d.delivery_id > n.id AND d.delivery_id <= last_delivery_of(n.id)
                     AND d.user_id = $3 AND d.device_id = $4)"#,
        ids,
        app_id.0,
        user_id,
        device_id,
        since,
    )
    .fetch_all(db)
    .await
}

/// The highest number among a notification's deliveries, those that ended included: each of them left an event.
pub async fn last_number(db: impl PgExecutor<'_>, notification_id: NotificationId) -> sqlx::Result<u32> {
    let last = sqlx::query_scalar!(
        "SELECT greatest(
             (SELECT delivery_id FROM deliveries WHERE delivery_id >= $1 AND delivery_id <= $2
              ORDER BY delivery_id DESC LIMIT 1),
             (SELECT delivery_id FROM delivery_events WHERE delivery_id >= $1 AND delivery_id <= $2
              ORDER BY delivery_id DESC LIMIT 1))",
        notification_id.0,
        notification_id.last_delivery().0,
    )
    .fetch_one(db)
    .await?;
    Ok(last.map_or(0, |last| DeliveryId(last).number()))
}

/// One delivery to be.
#[derive(Debug)]
pub struct Rescued<'a> {
    pub delivery_id: DeliveryId,
    pub app_id: AppId,
    pub user_id: &'a str,
    pub device_id: &'a str,
    pub certificate_id: CertificateId,
    pub token: &'a str,
    pub expires_at: DateTime<Utc>,
    pub badge: Option<i32>,
    pub priority: Priority,
    pub variant: TextVariant,
}

/// Queues a delivery, unowned and due, and tells of it.
pub async fn insert(db: impl PgExecutor<'_>, rescued: &Rescued<'_>, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH queued AS (
             INSERT INTO deliveries (delivery_id, app_id, certificate_id, user_id, device_id, token, due_at, expires_at, badge,
                                     priority, text_variant)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11))
         INSERT INTO delivery_events (at, delivery_id, app_id, user_id, device_id, certificate_id, kind, reason, final)
         VALUES ($7, $1, $2, $4, $5, $3, 'rescued', 'link_timeout', false)",
        rescued.delivery_id.0,
        rescued.app_id.0,
        rescued.certificate_id.0,
        rescued.user_id,
        rescued.device_id,
        rescued.token,
        now,
        rescued.expires_at,
        rescued.badge,
        rescued.priority.rank(),
        rescued.variant.stored(),
    )
    .execute(db)
    .await?;
    Ok(())
}

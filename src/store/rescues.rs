//! Deliveries made after a notification was accepted: of messages that devices missed because their links were dead
//! already. One statement each for all devices of a transaction.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::domain::burst::TextVariant;
use crate::domain::id::{AppId, CertificateId, DeliveryId, NotificationId};
use crate::domain::notification::Priority;
use crate::domain::session::MessageKey;
use crate::domain::skip::{CancelReason, RescueReason};

/// The most locks that turns take: the server has room for some thousand in all, whoever holds them.
const TURNS: u64 = 64;
/// The first of their keys: "rescue", and two bytes for the number.
const FIRST_TURN: i64 = 0x7265_7363_7565_0000;
/// The newest pushes to a device that are looked at.
const LOOKED_AT: i64 = 100;

/// The notifications that these messages became, each with the message's index, as far as they are within the dedupe window.
pub async fn known(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    messages: &[&MessageKey],
) -> sqlx::Result<Vec<(usize, NotificationId)>> {
    let rows = sqlx::query!(
        r#"SELECT (m.ordinal - 1)::int AS "index!", k.notification_id AS "notification_id!"
           FROM unnest($2::text[], $3::int[]) WITH ORDINALITY AS m(message_id, part, ordinal)
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
    let read = |(index, id)| (usize::try_from(index).unwrap_or(usize::MAX), NotificationId(id));
    Ok(rows.into_iter().map(|row| read((row.index, row.notification_id))).collect())
}

/// Waits for whoever else may be adding deliveries to these notifications; several share a turn.
pub async fn take_turns(db: impl PgExecutor<'_>, notifications: &[NotificationId]) -> sqlx::Result<()> {
    let turn = |id: &NotificationId| {
        let (most, least) = id.0.as_u64_pair();
        FIRST_TURN + i64::try_from((most ^ (least >> 20)) % TURNS).unwrap_or_default()
    };
    let mut turns: Vec<i64> = notifications.iter().map(turn).collect();
    turns.sort_unstable();
    turns.dedup();
    sqlx::query!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) AS t(k) OFFSET 0) AS taken"#,
        &turns,
    )
    .fetch_one(db)
    .await?;
    Ok(())
}

/// A notification and a device that may have missed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asked<'a> {
    pub notification_id: NotificationId,
    pub user_id: &'a str,
    pub device_id: &'a str,
}

/// The columns of a question.
fn columns<'a>(asked: &[Asked<'a>]) -> (Vec<Uuid>, Vec<&'a str>, Vec<&'a str>) {
    let ids = asked.iter().map(|one| one.notification_id.0).collect();
    (ids, asked.iter().map(|one| one.user_id).collect(), asked.iter().map(|one| one.device_id).collect())
}

/// Of which of these the device was skipped because its app was open, and got nothing otherwise. `since`: not after the
/// first of them was accepted.
pub async fn missed<'a>(
    db: impl PgExecutor<'_>,
    asked: &[Asked<'a>],
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<Asked<'a>>> {
    let (ids, users, devices) = columns(asked);
    let rows = sqlx::query_scalar!(
        r#"SELECT (q.ordinal - 1)::int AS "index!"
           FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY AS q(id, user_id, device_id, ordinal)
           WHERE (EXISTS (
                   SELECT FROM delivery_events e
                   WHERE e.delivery_id = q.id AND e.at >= $4 AND e.kind = 'skipped'
                     AND ((((e.user_id = q.user_id) IS TRUE) AND e.device_id = q.device_id
                           AND e.reason IN ('foreground', 'background'))
                          OR EXISTS (SELECT FROM unnest(e.skipped_users, e.skipped_devices, e.skipped_reasons)
                                         AS s(user_id, device_id, reason)
                                     WHERE s.user_id = q.user_id AND s.device_id = q.device_id
                                       AND s.reason IN ('foreground', 'background'))))) IS TRUE
             AND (NOT EXISTS (
                   SELECT FROM delivery_events e
                   WHERE e.delivery_id > q.id AND e.delivery_id <= last_delivery_of(q.id) AND e.at >= $4
                     AND ((e.user_id = q.user_id) IS TRUE) AND e.device_id = q.device_id)) IS TRUE
             AND (NOT EXISTS (
                   SELECT FROM deliveries d
                   WHERE d.delivery_id > q.id AND d.delivery_id <= last_delivery_of(q.id)
                     AND ((d.user_id = q.user_id) IS TRUE) AND d.device_id = q.device_id)) IS TRUE"#,
        &ids,
        &users as &[&str],
        &devices as &[&str],
        since,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().filter_map(|index| asked.get(usize::try_from(index).ok()?).copied()).collect())
}

/// What was pushed to these devices after the notification that each is asked with: the newest of it.
pub async fn pushed_since<'a>(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    asked: &[Asked<'a>],
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<Asked<'a>>> {
    let (ids, users, devices) = columns(asked);
    let rows = sqlx::query!(
        r#"SELECT (q.ordinal - 1)::int AS "index!", e.delivery_id AS "delivery_id!"
           FROM unnest($2::uuid[], $3::text[], $4::text[]) WITH ORDINALITY AS q(id, user_id, device_id, ordinal)
           CROSS JOIN LATERAL (
               SELECT x.delivery_id FROM delivery_events x
               WHERE x.app_id = $1 AND x.user_id = q.user_id AND x.at >= $5 AND x.device_id = q.device_id
                 AND x.kind = 'attempt' AND x.reason = 'accepted' AND ((x.delivery_id > last_delivery_of(q.id)) IS TRUE)
               ORDER BY x.at DESC LIMIT $6) AS e"#,
        app_id.0,
        &ids,
        &users as &[&str],
        &devices as &[&str],
        since,
        LOOKED_AT,
    )
    .fetch_all(db)
    .await?;
    let read = |(index, id)| {
        let asked = asked.get(usize::try_from(index).ok()?)?;
        Some(Asked { notification_id: NotificationId::containing(id), ..*asked })
    };
    Ok(rows.into_iter().filter_map(|row| read((row.index, row.delivery_id))).collect())
}

/// The highest number among each notification's deliveries, those that ended included: each of them left an event.
pub async fn last_numbers(
    db: impl PgExecutor<'_>,
    notifications: &[NotificationId],
    since: DateTime<Utc>,
) -> sqlx::Result<HashMap<NotificationId, u32>> {
    let rows = sqlx::query!(
        r#"SELECT n.id AS "id!", greatest(
               (SELECT d.delivery_id FROM deliveries d WHERE d.delivery_id >= n.id AND d.delivery_id <= last_delivery_of(n.id)
                ORDER BY d.delivery_id DESC LIMIT 1),
               (SELECT e.delivery_id FROM delivery_events e
                WHERE e.delivery_id >= n.id AND e.delivery_id <= last_delivery_of(n.id) AND e.at >= $2
                ORDER BY e.delivery_id DESC LIMIT 1)) AS last
           FROM unnest($1::uuid[]) AS n(id)"#,
        &notifications.iter().map(|notification| notification.0).collect::<Vec<_>>(),
        since,
    )
    .fetch_all(db)
    .await?;
    let number = |last: Option<Uuid>| last.map_or(0, |last| DeliveryId(last).number());
    Ok(rows.into_iter().map(|row| (NotificationId(row.id), number(row.last))).collect())
}

/// One delivery to be.
#[derive(Debug)]
pub struct Rescued<'a> {
    pub delivery_id: DeliveryId,
    pub user_id: &'a str,
    pub device_id: &'a str,
    pub certificate_id: CertificateId,
    pub token: &'a str,
    pub expires_at: DateTime<Utc>,
    pub badge: Option<i32>,
    pub priority: Priority,
    pub variant: TextVariant,
    /// What it replaces.
    pub collapse: Option<i64>,
    /// A newer one took its place on this device: it is told of, but not made.
    pub is_superseded: bool,
}

/// Queues deliveries, unowned and due, and tells of them.
pub async fn insert(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    rescued: &[Rescued<'_>],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH new AS MATERIALIZED (
             SELECT * FROM unnest($3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::timestamptz[], $9::int[],
                                  $10::smallint[], $11::smallint[], $12::bool[], $15::bigint[])
                 AS n(delivery_id, certificate_id, user_id, device_id, token, expires_at, badge, priority, text_variant,
                      is_superseded, collapse)),
         queued AS (
             INSERT INTO deliveries (delivery_id, app_id, certificate_id, user_id, device_id, token, due_at, expires_at, badge,
                                     priority, text_variant, collapse)
             SELECT n.delivery_id, $1, n.certificate_id, n.user_id, n.device_id, n.token, $2, n.expires_at, n.badge,
                 n.priority, n.text_variant, n.collapse
             FROM new n WHERE NOT n.is_superseded)
         INSERT INTO delivery_events (at, delivery_id, app_id, user_id, device_id, certificate_id, kind, reason, final)
         SELECT $2, n.delivery_id, $1, n.user_id, n.device_id, n.certificate_id,
             CASE WHEN n.is_superseded THEN 'cancelled' ELSE 'rescued' END,
             CASE WHEN n.is_superseded THEN $13 ELSE $14 END, n.is_superseded
         FROM new n",
        app_id.0,
        now,
        &rescued.iter().map(|one| one.delivery_id.0).collect::<Vec<_>>(),
        &rescued.iter().map(|one| one.certificate_id.0).collect::<Vec<_>>(),
        &rescued.iter().map(|one| one.user_id).collect::<Vec<_>>() as &[&str],
        &rescued.iter().map(|one| one.device_id).collect::<Vec<_>>() as &[&str],
        &rescued.iter().map(|one| one.token).collect::<Vec<_>>() as &[&str],
        &rescued.iter().map(|one| one.expires_at).collect::<Vec<_>>(),
        &rescued.iter().map(|one| one.badge).collect::<Vec<_>>() as &[Option<i32>],
        &rescued.iter().map(|one| one.priority.rank()).collect::<Vec<_>>(),
        &rescued.iter().map(|one| one.variant.stored()).collect::<Vec<_>>() as &[Option<i16>],
        &rescued.iter().map(|one| one.is_superseded).collect::<Vec<_>>(),
        CancelReason::SupersededByNewer.as_str(),
        RescueReason::LinkTimeout.as_str(),
        &rescued.iter().map(|one| one.collapse).collect::<Vec<_>>() as &[Option<i64>],
    )
    .execute(db)
    .await?;
    Ok(())
}

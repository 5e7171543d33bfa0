//! Table `deliveries`: the durable queue's batch verbs. With [`super::notifications::accept`] they are the seam behind
//! which another engine could stand: record, claim, judge again, expire, cancel, give back, take over, count.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::events::NewEvents;
use crate::domain::burst::TextVariant;
use crate::domain::id::{AppId, CertificateId, DeliveryId, InstanceId, NotificationId};
use crate::domain::notification::Priority;
use crate::domain::skip::{CancelReason, ExpiryReason};

/// A waiting delivery, claimed.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub delivery_id: DeliveryId,
    pub app_id: AppId,
    pub certificate_id: CertificateId,
    pub user_id: String,
    pub device_id: String,
    pub token: String,
    pub expires_at: DateTime<Utc>,
    pub badge: Option<i32>,
    pub attempts: u16,
    pub priority: Priority,
    pub text_variant: TextVariant,
}

/// Claims due deliveries for `instance`: of each lane (`certificate_ids[i]`) at most `rooms[i]` of one priority, oldest
/// first, and at most `limit` in all. Rows another instance is claiming are passed over; an instance that was given up claims nothing.
pub async fn claim(
    db: impl PgExecutor<'_>,
    instance: InstanceId,
    priority: Priority,
    certificate_ids: &[i64],
    rooms: &[i64],
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Claimed>> {
    let rows = sqlx::query!(
        "WITH owner AS MATERIALIZED (SELECT instance_id FROM instances WHERE instance_id = $1 FOR KEY SHARE)
         UPDATE deliveries SET owner = $1
         WHERE EXISTS (SELECT FROM owner) AND delivery_id = ANY (ARRAY(
             SELECT due.delivery_id FROM unnest($3::bigint[], $4::bigint[]) AS lane(certificate_id, room)
             CROSS JOIN LATERAL (
                 SELECT d.delivery_id FROM deliveries d
                 WHERE d.owner IS NULL AND d.certificate_id = lane.certificate_id AND d.priority = $2 AND d.due_at <= $5
                 ORDER BY d.due_at LIMIT lane.room FOR UPDATE SKIP LOCKED) AS due
             LIMIT $6))
         RETURNING delivery_id, app_id, certificate_id, user_id, device_id, token, expires_at, badge, attempts, priority,
             text_variant",
        instance.0,
        priority.rank(),
        certificate_ids,
        rooms,
        now,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Claimed {
            delivery_id: DeliveryId(row.delivery_id),
            app_id: AppId(row.app_id),
            certificate_id: CertificateId(row.certificate_id),
            user_id: row.user_id,
            device_id: row.device_id,
            token: row.token,
            expires_at: row.expires_at,
            badge: row.badge,
            attempts: u16::try_from(row.attempts).unwrap_or_default(),
            priority: Priority::from_rank(row.priority),
            text_variant: TextVariant::from_stored(row.text_variant),
        })
        .collect())
}

/// Who owns these deliveries. Waits for whoever is about to change them: a claim whose commit is still on its way is seen
/// as it ends.
pub async fn owners(
    db: impl PgExecutor<'_>,
    delivery_ids: &[Uuid],
) -> sqlx::Result<std::collections::HashMap<Uuid, Option<InstanceId>>> {
    let rows =
        sqlx::query!("SELECT delivery_id, owner FROM deliveries WHERE delivery_id = ANY ($1) FOR SHARE", delivery_ids,)
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().map(|row| (row.delivery_id, row.owner.map(InstanceId))).collect())
}

/// What becomes of owned deliveries, column by column, with the events that tell why.
#[derive(Debug, Default)]
pub struct Record {
    /// Deliveries that ended: their rows go, if they still belong to this owner.
    pub ended: Vec<Uuid>,
    pub ended_owners: Vec<i32>,
    /// Deliveries given back, with their new due time, attempts made, certificate and token.
    pub moved: Vec<Uuid>,
    pub moved_owners: Vec<i32>,
    pub moved_due_at: Vec<DateTime<Utc>>,
    pub moved_attempts: Vec<i16>,
    pub moved_certificate_ids: Vec<i64>,
    pub moved_tokens: Vec<String>,
    pub events: NewEvents,
}

/// Records results in one statement, which is its own transaction. Rows that do not belong any more to the owner they were
/// taken under are left alone, and their events are marked `duplicate`.
pub async fn record(db: impl PgExecutor<'_>, record: &Record) -> sqlx::Result<()> {
    let e = &record.events;
    sqlx::query!(
        "WITH ended AS (
             DELETE FROM deliveries d USING unnest($2::uuid[], $1::int[]) AS u(delivery_id, owner)
             WHERE d.delivery_id = u.delivery_id AND d.owner = u.owner RETURNING d.delivery_id),
         moved AS (
             UPDATE deliveries d SET owner = NULL, due_at = u.due_at, attempts = u.attempts,
                 certificate_id = u.certificate_id, token = u.token
             FROM unnest($3::uuid[], $4::timestamptz[], $5::smallint[], $6::bigint[], $7::text[], $23::int[])
                 AS u(delivery_id, due_at, attempts, certificate_id, token, owner)
             WHERE d.delivery_id = u.delivery_id AND d.owner = u.owner
             RETURNING d.delivery_id),
         owned AS MATERIALIZED (SELECT delivery_id FROM ended UNION ALL SELECT delivery_id FROM moved)
         INSERT INTO delivery_events (at, delivery_id, app_id, user_id, device_id, certificate_id, kind, reason, vendor_code,
             vendor_message_id, latency_ms, attempt, detail, final, duplicate)
         SELECT e.at, e.delivery_id, e.app_id, e.user_id, e.device_id, e.certificate_id, e.kind, e.reason, e.vendor_code,
             e.vendor_message_id, e.latency_ms, e.attempt, e.detail, e.final,
             e.changes_row AND NOT (e.delivery_id IN (SELECT o.delivery_id FROM owned o))
         FROM unnest($8::timestamptz[], $9::uuid[], $10::bigint[], $11::text[], $12::text[], $13::bigint[], $14::text[], $15::text[],
                     $16::text[], $17::text[], $18::int[], $19::smallint[], $20::text[], $21::bool[], $22::bool[])
             AS e(at, delivery_id, app_id, user_id, device_id, certificate_id, kind, reason, vendor_code, vendor_message_id,
                  latency_ms, attempt, detail, final, changes_row)",
        &record.ended_owners,
        &record.ended,
        &record.moved,
        &record.moved_due_at,
        &record.moved_attempts,
        &record.moved_certificate_ids,
        &record.moved_tokens,
        &e.at,
        &e.delivery_ids,
        &e.app_ids,
        &e.user_ids,
        &e.device_ids,
        &e.certificate_ids,
        &e.kinds as &[&str],
        &e.reasons as &[Option<String>],
        &e.vendor_codes as &[Option<String>],
        &e.vendor_message_ids as &[Option<String>],
        &e.latencies_ms as &[Option<i32>],
        &e.attempts as &[Option<i16>],
        &e.details as &[Option<String>],
        &e.finals,
        &e.changes_row,
        &record.moved_owners,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Ends waiting deliveries past their time to live, at most `limit`. Answers how many.
pub async fn expire(db: impl PgExecutor<'_>, now: DateTime<Utc>, limit: i64) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "WITH gone AS (
             DELETE FROM deliveries WHERE delivery_id = ANY (ARRAY(
                 SELECT delivery_id FROM deliveries WHERE owner IS NULL AND expires_at <= $1
                 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))
             RETURNING delivery_id, app_id, user_id, device_id, certificate_id, attempts)
         INSERT INTO delivery_events (at, delivery_id, app_id, user_id, device_id, certificate_id, kind, reason, attempt, final)
         SELECT $1, delivery_id, app_id, user_id, device_id, certificate_id, 'expired', $3, attempts, true FROM gone",
        now,
        limit,
        ExpiryReason::TimeToLive.as_str(),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Cancels what waits unowned for these devices, each with its reason. Answers how many.
pub async fn cancel_of_devices(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    user_ids: &[&str],
    device_ids: &[&str],
    reasons: &[&str],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "WITH gone AS (
             DELETE FROM deliveries d
             WHERE (d.owner IS NULL) IS TRUE AND d.delivery_id = ANY (ARRAY(
                 SELECT w.delivery_id FROM unnest($2::text[], $3::text[]) AS u(user_id, device_id)
                 CROSS JOIN LATERAL (
                     SELECT x.delivery_id FROM deliveries x
                     WHERE x.owner IS NULL AND x.app_id = $1 AND x.user_id = u.user_id AND x.device_id = u.device_id
                     OFFSET 0) AS w))
             RETURNING d.delivery_id, d.user_id, d.device_id, d.certificate_id, d.attempts)
         INSERT INTO delivery_events (at, delivery_id, app_id, user_id, device_id, certificate_id, kind, reason, attempt, final)
         SELECT $5, g.delivery_id, $1, g.user_id, g.device_id, g.certificate_id, 'cancelled',
             (SELECT r.reason FROM unnest($2::text[], $3::text[], $4::text[]) AS r(user_id, device_id, reason)
              WHERE r.user_id = g.user_id AND r.device_id = g.device_id LIMIT 1),
             g.attempts, true
         FROM gone g",
        app_id.0,
        user_ids as &[&str],
        device_ids as &[&str],
        reasons as &[&str],
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Cancels what waits unowned of one notification. Answers how many.
pub async fn cancel_of_notification(
    db: impl PgExecutor<'_>,
    notification: NotificationId,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "WITH gone AS (
             DELETE FROM deliveries WHERE delivery_id > $1 AND delivery_id <= $2 AND (owner IS NULL) IS TRUE
             RETURNING delivery_id, app_id, user_id, device_id, certificate_id, attempts)
         INSERT INTO delivery_events (at, delivery_id, app_id, user_id, device_id, certificate_id, kind, reason, attempt, final)
         SELECT $3, delivery_id, app_id, user_id, device_id, certificate_id, 'cancelled', $4, attempts, true FROM gone",
        notification.0,
        notification.last_delivery().0,
        now,
        reason,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Cancels what waits unowned for a certificate, at most `limit`. Answers how many.
pub async fn cancel_of_certificate(
    db: impl PgExecutor<'_>,
    certificate_id: CertificateId,
    reason: &str,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "WITH gone AS (
             DELETE FROM deliveries WHERE delivery_id = ANY (ARRAY(
                 SELECT delivery_id FROM deliveries
                 WHERE owner IS NULL AND certificate_id = $1 AND priority IN (0, 1) LIMIT $4 FOR UPDATE SKIP LOCKED))
             RETURNING delivery_id, app_id, user_id, device_id, certificate_id, attempts)
         INSERT INTO delivery_events (at, delivery_id, app_id, user_id, device_id, certificate_id, kind, reason, attempt, final)
         SELECT $3, delivery_id, app_id, user_id, device_id, certificate_id, 'cancelled', $2, attempts, true FROM gone",
        certificate_id.0,
        reason,
        now,
        limit,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Makes deliveries of a certificate due now that wait for a later time, at most `limit`. Answers how many.
pub async fn hurry(
    db: impl PgExecutor<'_>,
    certificate_id: CertificateId,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "UPDATE deliveries SET due_at = $2 WHERE delivery_id = ANY (ARRAY(
             SELECT delivery_id FROM deliveries
             WHERE owner IS NULL AND certificate_id = $1 AND priority IN (0, 1) AND due_at > $2
             LIMIT $3 FOR UPDATE SKIP LOCKED))",
        certificate_id.0,
        now,
        limit,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Certificates that deliveries wait for although they were deleted. Reads one index entry per certificate.
pub async fn orphaned_certificates(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<CertificateId>> {
    let ids = sqlx::query_scalar!(
        r#"WITH RECURSIVE waiting AS (
               (SELECT certificate_id FROM deliveries WHERE owner IS NULL ORDER BY certificate_id LIMIT 1)
               UNION ALL
               SELECT (SELECT d.certificate_id FROM deliveries d
                       WHERE d.owner IS NULL AND d.certificate_id > w.certificate_id ORDER BY d.certificate_id LIMIT 1)
               FROM waiting w WHERE w.certificate_id IS NOT NULL)
           SELECT w.certificate_id AS "certificate_id!" FROM waiting w
           WHERE w.certificate_id IS NOT NULL
             AND NOT EXISTS (SELECT FROM certificates c WHERE c.certificate_id = w.certificate_id)"#
    )
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(CertificateId).collect())
}

/// Makes the deliveries of a dead or stopping instance everybody's. Answers how many. One scan of the table: owners have
/// no index, since the hot path would pay for it and an instance dies rarely.
pub async fn release_owner(db: impl PgExecutor<'_>, owner: InstanceId) -> sqlx::Result<u64> {
    // Due now: the time in the row may be from a clock that was ahead.
    let done = sqlx::query!(
        "UPDATE deliveries SET owner = NULL, due_at = least(due_at, clock_timestamp()) WHERE owner = $1",
        owner.0,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// A delivery that has not ended.
#[derive(Debug)]
pub struct Waiting {
    pub delivery_id: Uuid,
    pub app_id: i64,
    pub certificate_id: i64,
    pub user_id: String,
    pub device_id: String,
    pub due_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub owner: Option<i32>,
    pub attempts: i16,
}

/// What has not ended of a notification, at most `limit`.
pub async fn waiting_of_notification(
    db: impl PgExecutor<'_>,
    notification: NotificationId,
    limit: i64,
) -> sqlx::Result<Vec<Waiting>> {
    sqlx::query_as!(
        Waiting,
        "SELECT delivery_id, app_id, certificate_id, user_id, device_id, due_at, expires_at, owner, attempts
         FROM deliveries WHERE delivery_id > $1 AND delivery_id <= $2 ORDER BY delivery_id LIMIT $3",
        notification.0,
        notification.last_delivery().0,
        limit,
    )
    .fetch_all(db)
    .await
}

/// The deliveries of several notifications that have not ended: of each at most `limit_each`.
pub async fn waiting_of_notifications(
    db: impl PgExecutor<'_>,
    notifications: &[Uuid],
    limit_each: i64,
) -> sqlx::Result<Vec<DeliveryId>> {
    let ids = sqlx::query_scalar!(
        r#"SELECT d.delivery_id AS "delivery_id!" FROM unnest($1::uuid[]) AS n(notification_id)
           CROSS JOIN LATERAL (
               SELECT delivery_id FROM deliveries
               WHERE delivery_id > n.notification_id AND delivery_id <= last_delivery_of(n.notification_id)
               LIMIT $2) AS d"#,
        notifications,
        limit_each,
    )
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(DeliveryId).collect())
}

/// What waits unowned for a user, newest first, at most `limit`.
pub async fn waiting_of_user(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    user_id: &str,
    limit: i64,
) -> sqlx::Result<Vec<Waiting>> {
    sqlx::query_as!(
        Waiting,
        "SELECT delivery_id, app_id, certificate_id, user_id, device_id, due_at, expires_at, owner, attempts
         FROM deliveries WHERE owner IS NULL AND app_id = $1 AND user_id = $2 ORDER BY delivery_id DESC LIMIT $3",
        app_id.0,
        user_id,
        limit,
    )
    .fetch_all(db)
    .await
}

/// How many deliveries wait in all, as the statistics say: cheap and not exact.
pub async fn estimate_waiting(db: impl PgExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT coalesce((SELECT n_live_tup FROM pg_stat_user_tables WHERE relid = 'deliveries'::regclass), 0) AS "count!""#
    )
    .fetch_one(db)
    .await
}

/// How many deliveries of an app wait unowned, counted up to `at_most`.
pub async fn count_waiting(db: impl PgExecutor<'_>, app_id: AppId, at_most: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM
           (SELECT FROM deliveries WHERE owner IS NULL AND app_id = $1 LIMIT $2) AS some_of_them"#,
        app_id.0,
        at_most,
    )
    .fetch_one(db)
    .await
}

/// One waiting delivery of a user.
#[derive(Debug)]
pub struct WaitingOfUser {
    pub delivery_id: DeliveryId,
    pub user_id: String,
    pub device_id: String,
}

/// What waits unowned for users of an app, newest first, of each at most `limit_each`.
pub async fn waiting_of_users(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    user_ids: &[&str],
    limit_each: i64,
) -> sqlx::Result<Vec<WaitingOfUser>> {
    let rows = sqlx::query!(
        r#"SELECT d.delivery_id AS "delivery_id!", u.user_id AS "user_id!", d.device_id AS "device_id!"
           FROM unnest($2::text[]) AS u(user_id)
           CROSS JOIN LATERAL (
               SELECT x.delivery_id, x.device_id FROM deliveries x
               WHERE x.owner IS NULL AND x.app_id = $1 AND x.user_id = u.user_id
               ORDER BY x.delivery_id DESC LIMIT $3) AS d"#,
        app_id.0,
        user_ids as &[&str],
        limit_each,
    )
    .fetch_all(db)
    .await?;
    let read =
        |(delivery_id, user_id, device_id)| WaitingOfUser { delivery_id: DeliveryId(delivery_id), user_id, device_id };
    Ok(rows.into_iter().map(|row| read((row.delivery_id, row.user_id, row.device_id))).collect())
}

/// Cancels deliveries that wait unowned; what somebody is taking in at this moment is left to him. Answers how many.
pub async fn cancel(
    db: impl PgExecutor<'_>,
    delivery_ids: &[Uuid],
    reason: CancelReason,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "WITH gone AS (
             DELETE FROM deliveries WHERE delivery_id = ANY (ARRAY(
                 SELECT delivery_id FROM deliveries
                 WHERE delivery_id = ANY ($1) AND (owner IS NULL) IS TRUE FOR UPDATE SKIP LOCKED))
             RETURNING delivery_id, app_id, user_id, device_id, certificate_id, attempts)
         INSERT INTO delivery_events (at, delivery_id, app_id, user_id, device_id, certificate_id, kind, reason, attempt, final)
         SELECT $3, delivery_id, app_id, user_id, device_id, certificate_id, 'cancelled', $2, attempts, true FROM gone",
        delivery_ids,
        reason.as_str(),
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

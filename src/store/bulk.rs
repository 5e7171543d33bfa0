//! What `rouse loadtest` writes in bulk and reads of the whole database, over several tables. The server uses none of it.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::domain::id::{AppId, CertificateId};

/// Users and devices are numbered; this is the name of a user. The statements below make the same.
pub fn user_id(number: u64) -> String {
    format!("user-{number}")
}

/// The name of a user's device, likewise.
pub fn device_id(number: u64) -> String {
    format!("phone-{number}")
}

/// Which devices are a certificate's: of `total` blocks of 20 numbers those from `low` to below `high`. Column by column.
#[derive(Debug, Clone, Default)]
pub struct Shares {
    pub total: i64,
    pub lows: Vec<i64>,
    pub highs: Vec<i64>,
    pub certificate_ids: Vec<i64>,
    pub vendors: Vec<&'static str>,
    pub platforms: Vec<&'static str>,
    /// A device's token is this and its number in hex, with so many digits.
    pub token_prefixes: Vec<&'static str>,
    pub token_digits: Vec<i32>,
}

/// Makes the devices numbered `first..=last`, of as many users, logged in and killed. In a group only the first two of 20 are
/// killed, the third has no device, and the others are in foreground.
pub async fn seed_devices(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    (first, last): (i64, i64),
    shares: &Shares,
    is_group: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "INSERT INTO devices (app_id, user_id, device_id, platform, session_state, event_time, login_at, certificate_id,
             vendor, token, token_digest, reported_at, binding_status)
         SELECT $1, 'user-' || n, 'phone-' || n, s.platform,
             CASE WHEN $4 AND n % 20 > 2 THEN 'foreground' ELSE 'killed' END, $5, $5, s.certificate_id, s.vendor, t.token,
             substring(sha256(convert_to(t.token, 'UTF8')) FROM 1 FOR 16), $5, 'active'
         FROM generate_series($2::bigint, $3::bigint) AS n
         JOIN unnest($7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::int[])
             AS s(low, high, certificate_id, vendor, platform, prefix, digits)
             ON n / 20 % $6 >= s.low AND n / 20 % $6 < s.high
         CROSS JOIN LATERAL (SELECT s.prefix || lpad(to_hex(n), s.digits, '0') AS token) AS t
         WHERE NOT ($4 AND n % 20 = 2)",
        app_id.0,
        first,
        last,
        is_group,
        now,
        shares.total,
        &shares.lows,
        &shares.highs,
        &shares.certificate_ids,
        &shares.vendors as &[&str],
        &shares.platforms as &[&str],
        &shares.token_prefixes as &[&str],
        &shares.token_digits,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Makes waiting deliveries numbered `first..=last` for the `devices` there are, one after the other, all due in an hour or
/// later. With `paused` every second one waits for that certificate and is due now. Their ids lie before `now`.
pub async fn seed_backlog(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    (first, last): (i64, i64),
    devices: i64,
    paused: Option<CertificateId>,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "INSERT INTO deliveries (delivery_id, app_id, certificate_id, user_id, device_id, token, due_at, expires_at, attempts,
             priority)
         SELECT (lpad(to_hex($5::bigint - n / 100), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8'
                 || lpad(to_hex(n), 10, '0') || '00001')::uuid,
             d.app_id, CASE WHEN p.is_paused THEN $6 ELSE d.certificate_id END, d.user_id, d.device_id, d.token,
             CASE WHEN p.is_paused THEN $7::timestamptz - interval '1 minute'
                  ELSE $7 + interval '1 hour' + n * interval '10 milliseconds' END,
             $7 + interval '3 days', 1, 1
         FROM generate_series($2::bigint, $3::bigint) AS n
         CROSS JOIN LATERAL (SELECT ($6::bigint IS NOT NULL AND n % 2 = 0) IS TRUE AS is_paused) AS p
         JOIN devices d ON d.app_id = $1 AND d.user_id = 'user-' || (1 + n % $4::bigint) AND d.token IS NOT NULL",
        app_id.0,
        first,
        last,
        devices,
        (now - TimeDelta::seconds(1)).timestamp_millis(),
        paused.map(|id| id.0),
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Tells the planner what was written, and writes out what a checkpoint would write in the middle of a run.
pub async fn settle(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("VACUUM ANALYZE devices").execute(&mut *db).await?;
    sqlx::raw_sql("VACUUM ANALYZE deliveries").execute(&mut *db).await?;
    sqlx::raw_sql("CHECKPOINT").execute(&mut *db).await?;
    Ok(())
}

/// A seeding connection: what it writes may be lost in a crash of the machine, and it is in no hurry to be told.
pub async fn relax(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("SET synchronous_commit = off").execute(db).await?;
    Ok(())
}

/// Opens a transaction that keeps what it sees for as long as the connection lives.
pub async fn hold_snapshot(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("SET idle_in_transaction_session_timeout = 0").execute(&mut *db).await?;
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ").execute(&mut *db).await?;
    sqlx::raw_sql("SELECT count(*) FROM apps").execute(&mut *db).await?;
    Ok(())
}

/// A moment of the database.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub at: DateTime<Utc>,
    /// The position of the write-ahead log.
    pub wal_bytes: i64,
}

/// The moment it is.
pub async fn moment(db: impl PgExecutor<'_>) -> sqlx::Result<Moment> {
    sqlx::query_as!(
        Moment,
        r#"SELECT clock_timestamp() AS "at!", (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint AS "wal_bytes!""#,
    )
    .fetch_one(db)
    .await
}

/// How many deliveries ended in one way, in one third of a time.
#[derive(Debug)]
pub struct Ended {
    /// 1, 2 or 3.
    pub third: i32,
    pub kind: String,
    pub reason: Option<String>,
    pub count: i64,
}

/// What was accepted as `after` or later and ended in `from..until`, by third of that time and by way. Duplicates are left out.
pub async fn ended_between(
    db: impl PgExecutor<'_>,
    after: Uuid,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<Vec<Ended>> {
    sqlx::query_as!(
        Ended,
        r#"SELECT least(3, 1 + floor(3 * extract(epoch FROM e.at - $2::timestamptz) / extract(epoch FROM $3::timestamptz - $2))::int) AS "third!",
               e.kind AS "kind!", e.reason, count(*) AS "count!"
           FROM delivery_events e
           WHERE e.at >= $2 AND e.at < $3 AND e.delivery_id >= $1 AND e.final AND NOT e.duplicate AND e.kind <> 'skipped'
           GROUP BY 1, 2, 3"#,
        after,
        from,
        until,
    )
    .fetch_all(db)
    .await
}

/// How many deliveries accepted as `after` or later have an end in the trace.
pub async fn ended_since(db: impl PgExecutor<'_>, after: Uuid) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(DISTINCT delivery_id) AS "count!" FROM delivery_events
           WHERE delivery_id >= $1 AND final AND NOT duplicate AND kind <> 'skipped'"#,
        after,
    )
    .fetch_one(db)
    .await
}

/// How many deliveries accepted as `after` or later still wait.
pub async fn waiting_since(db: impl PgExecutor<'_>, after: Uuid) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM deliveries WHERE delivery_id >= $1"#, after)
        .fetch_one(db)
        .await
}

/// How large the database is.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub table_bytes: i64,
    pub index_bytes: i64,
    /// Table and indexes of the queue alone.
    pub queue_bytes: i64,
    /// The files of the write-ahead log that are kept now.
    pub wal_bytes: i64,
}

/// The sizes of all tables and indexes of Rouse, and of the write-ahead log.
pub async fn sizes(db: impl PgExecutor<'_>) -> sqlx::Result<Sizes> {
    sqlx::query_as!(
        Sizes,
        r#"SELECT sum(pg_table_size(c.oid))::bigint AS "table_bytes!", sum(pg_indexes_size(c.oid))::bigint AS "index_bytes!",
               pg_total_relation_size('deliveries') AS "queue_bytes!",
               (SELECT coalesce(sum(w.size), 0)::bigint FROM pg_ls_waldir() AS w) AS "wal_bytes!"
           FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"#,
    )
    .fetch_one(db)
    .await
}

/// The version of Postgres.
pub async fn version(db: impl PgExecutor<'_>) -> sqlx::Result<String> {
    sqlx::query_scalar!(r#"SELECT current_setting('server_version') AS "version!""#).fetch_one(db).await
}

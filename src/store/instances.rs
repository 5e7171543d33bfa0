//! Table `instances`: who is alive.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::domain::id::InstanceId;

/// Registers this process start.
pub async fn register(db: impl PgExecutor<'_>, host: &str) -> sqlx::Result<InstanceId> {
    sqlx::query_scalar!("INSERT INTO instances (host) VALUES ($1) RETURNING instance_id", host)
        .fetch_one(db)
        .await
        .map(InstanceId)
}

/// What a heartbeat answers.
#[derive(Debug)]
pub struct Beat {
    /// The database's time.
    pub now: DateTime<Utc>,
    /// The others, with the heartbeat each wrote last. Its value tells whether they wrote again, not how long ago.
    pub others: Vec<(InstanceId, DateTime<Utc>)>,
}

/// Renews the heartbeat. `None`: the others have given this instance up.
pub async fn beat(db: impl PgExecutor<'_>, instance: InstanceId) -> sqlx::Result<Option<Beat>> {
    let row = sqlx::query!(
        r#"WITH renewed AS (
               UPDATE instances SET heartbeat_at = clock_timestamp() WHERE instance_id = $1 RETURNING instance_id)
           SELECT clock_timestamp() AS "now!", (SELECT count(*) FROM renewed) AS "renewed!",
               ARRAY(SELECT instance_id FROM instances WHERE instance_id <> $1 ORDER BY instance_id) AS "ids!",
               ARRAY(SELECT heartbeat_at FROM instances WHERE instance_id <> $1 ORDER BY instance_id) AS "heartbeats!""#,
        instance.0,
    )
    .fetch_one(db)
    .await?;
    let others = row.ids.into_iter().map(InstanceId).zip(row.heartbeats).collect();
    Ok((row.renewed == 1).then_some(Beat { now: row.now, others }))
}

/// Every other instance.
pub async fn others(db: impl PgExecutor<'_>, instance: InstanceId) -> sqlx::Result<Vec<InstanceId>> {
    let ids = sqlx::query_scalar!("SELECT instance_id FROM instances WHERE instance_id <> $1", instance.0)
        .fetch_all(db)
        .await?;
    Ok(ids.into_iter().map(InstanceId).collect())
}

/// The rest of this transaction has no time limit of the server's: releasing a dead instance's deliveries reads the table.
pub async fn take_your_time(db: impl PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query("SET LOCAL statement_timeout = 0").execute(db).await?;
    Ok(())
}

/// Removes an instance: it stopped, or it is dead and its deliveries are given back. With `silent_since`, only if this is
/// still its last heartbeat. Answers whether it was there.
pub async fn remove(
    db: impl PgExecutor<'_>,
    instance: InstanceId,
    silent_since: Option<DateTime<Utc>>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "DELETE FROM instances WHERE instance_id = $1 AND ($2::timestamptz IS NULL OR heartbeat_at = $2)",
        instance.0,
        silent_since,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

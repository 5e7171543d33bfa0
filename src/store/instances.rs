//! Table `instances`: who is alive, by the database's clock.

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

/// Renews the heartbeat. `None`: the others have given this instance up. Else the database's time, and how many are alive.
pub async fn beat(
    db: impl PgExecutor<'_>,
    instance: InstanceId,
    dead_after_s: f64,
) -> sqlx::Result<Option<(DateTime<Utc>, i64)>> {
    let row = sqlx::query!(
        r#"WITH renewed AS (
               UPDATE instances SET heartbeat_at = clock_timestamp() WHERE instance_id = $1 RETURNING instance_id)
           SELECT clock_timestamp() AS "now!", (SELECT count(*) FROM renewed) AS "renewed!",
               (SELECT count(*) FROM instances
                WHERE instance_id <> $1 AND heartbeat_at > clock_timestamp() - make_interval(secs => $2)) + 1 AS "alive!""#,
        instance.0,
        dead_after_s,
    )
    .fetch_one(db)
    .await?;
    Ok((row.renewed == 1).then_some((row.now, row.alive)))
}

/// Instances that have been silent for too long.
pub async fn silent(db: impl PgExecutor<'_>, instance: InstanceId, dead_after_s: f64) -> sqlx::Result<Vec<InstanceId>> {
    let ids = sqlx::query_scalar!(
        "SELECT instance_id FROM instances
         WHERE instance_id <> $1 AND heartbeat_at < clock_timestamp() - make_interval(secs => $2)",
        instance.0,
        dead_after_s,
    )
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(InstanceId).collect())
}

/// Removes an instance: it stopped, or it is dead and its deliveries were given back.
pub async fn remove(db: impl PgExecutor<'_>, instance: InstanceId) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM instances WHERE instance_id = $1", instance.0).execute(db).await?;
    Ok(())
}

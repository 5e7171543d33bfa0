//! The partitions of `delivery_events`, `message_keys` and `notification_contents`: made ahead, dropped by age.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// A partitioned table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    DeliveryEvents,
    MessageKeys,
    NotificationContents,
}

impl Parent {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::DeliveryEvents, Self::MessageKeys, Self::NotificationContents];

    /// The table's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeliveryEvents => "delivery_events",
            Self::MessageKeys => "message_keys",
            Self::NotificationContents => "notification_contents",
        }
    }
}

/// Only one instance makes and drops partitions at a time; held until the transaction ends. False: another is at it.
pub async fn try_lock(db: impl PgExecutor<'_>) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock(7013001) AS "locked!""#).fetch_one(db).await
}

/// The same, waiting for the other.
pub async fn lock(db: impl PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock(7013001)").execute(db).await?;
    Ok(())
}

/// The database's time.
pub async fn database_now(db: impl PgExecutor<'_>) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(db).await
}

/// Makes a partition if there is none of this name.
pub async fn make(db: impl PgExecutor<'_>, parent: Parent, name: &str, lower: &str, upper: &str) -> sqlx::Result<()> {
    sqlx::query!("SELECT make_partition($1, $2, $3, $4)", parent.as_str(), name, lower, upper).execute(db).await?;
    Ok(())
}

/// The partitions of a table, oldest first (their names carry their time).
pub async fn list(db: impl PgExecutor<'_>, parent: Parent) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"SELECT c.relname::text AS "name!" FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent = to_regclass($1) ORDER BY c.relname"#,
        parent.as_str(),
    )
    .fetch_all(db)
    .await
}

/// Drops a partition. Gives up when others hold the table for longer than 200 ms: the next round tries again.
pub async fn drop(db: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    sqlx::query!("SET LOCAL lock_timeout = '200ms'").execute(&mut *db).await?;
    sqlx::query!("SELECT drop_partition($1)", name).execute(db).await?;
    Ok(())
}

/// Copies the contents that waiting deliveries of an id range still need into the side table.
pub async fn keep_contents(db: impl PgExecutor<'_>, lower: Uuid, upper: Uuid) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "INSERT INTO kept_contents (notification_id, app_id, content)
         SELECT c.notification_id, c.app_id, c.content FROM notification_contents c
         WHERE c.notification_id IN (
             SELECT notification_of(d.delivery_id) FROM deliveries d
             WHERE d.delivery_id >= $1 AND d.delivery_id < $2)
         ON CONFLICT DO NOTHING",
        lower,
        upper,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Forgets kept contents that no delivery has needed since `before`.
pub async fn forget_contents(db: &mut PgConnection, before: DateTime<Utc>, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE kept_contents k SET kept_at = $1
         WHERE kept_at < $2 AND EXISTS (SELECT FROM deliveries d
                       WHERE d.delivery_id > k.notification_id AND d.delivery_id <= last_delivery_of(k.notification_id))",
        now,
        before,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!("DELETE FROM kept_contents WHERE kept_at < $1", before).execute(db).await?;
    Ok(())
}

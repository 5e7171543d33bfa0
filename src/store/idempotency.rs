//! Table `idempotency_keys`: answers of writes that have no natural key.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// The answer given the first time.
#[derive(Debug, Clone)]
pub struct Answered {
    pub request_hash: Vec<u8>,
    pub status: i32,
    pub answer: serde_json::Value,
}

/// What was answered under this key, within the last 48 hours.
pub async fn find(
    db: impl PgExecutor<'_>,
    caller: Uuid,
    key: &str,
    since: DateTime<Utc>,
) -> sqlx::Result<Option<Answered>> {
    sqlx::query_as!(
        Answered,
        "SELECT request_hash, status, answer FROM idempotency_keys
         WHERE caller = $1 AND key = $2 AND created_at > $3",
        caller,
        key,
        since,
    )
    .fetch_optional(db)
    .await
}

/// Keeps an answer, in the transaction of the write. False: a concurrent request with the same key was first.
pub async fn insert(
    db: impl PgExecutor<'_>,
    caller: Uuid,
    key: &str,
    answered: &Answered,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "INSERT INTO idempotency_keys (caller, key, request_hash, status, answer, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (caller, key) DO UPDATE SET request_hash = $3, status = $4, answer = $5, created_at = $6
         WHERE idempotency_keys.created_at < $6 - interval '48 hours'",
        caller,
        key,
        answered.request_hash,
        answered.status,
        answered.answer,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets what nobody can ask for any more.
pub async fn delete_old(db: impl PgExecutor<'_>, before: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM idempotency_keys WHERE created_at < $1", before).execute(db).await?;
    Ok(())
}

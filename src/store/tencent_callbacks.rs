//! Table `tencent_callbacks`: the tokens that sign Tencent's state changes, one per app.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::domain::id::AppId;

/// An app's callback as stored.
#[derive(Debug, Clone)]
pub struct StoredCallback {
    pub app_id: AppId,
    /// The token, sealed for the app.
    pub sealed: Vec<u8>,
    /// Names the master key that it was sealed with.
    pub key_id: String,
    pub fingerprint: String,
    pub revision: i64,
}

/// Sets an app's token, in place of the one before.
/// # Errors
/// Database errors, and a foreign-key violation when there is no such app.
pub async fn set(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    sealed: &[u8],
    key_id: &str,
    fingerprint: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO tencent_callbacks (app_id, sealed, key_id, fingerprint, updated_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (app_id) DO UPDATE SET sealed = excluded.sealed, key_id = excluded.key_id,
             fingerprint = excluded.fingerprint, updated_at = excluded.updated_at,
             revision = nextval('directory_revision')",
        app_id.0,
        sealed,
        key_id,
        fingerprint,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Takes an app's token away. False: there was none.
/// # Errors
/// Database errors only.
pub async fn clear(db: impl PgExecutor<'_>, app_id: AppId) -> sqlx::Result<bool> {
    let done = sqlx::query!("DELETE FROM tencent_callbacks WHERE app_id = $1", app_id.0).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// Every callback: the directory's content.
/// # Errors
/// Database errors only.
pub async fn load_all(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<StoredCallback>> {
    let rows = sqlx::query!("SELECT app_id, sealed, key_id, fingerprint, revision FROM tencent_callbacks")
        .fetch_all(db)
        .await?;
    let callbacks = rows.into_iter().map(|row| StoredCallback {
        app_id: AppId(row.app_id),
        sealed: row.sealed,
        key_id: row.key_id,
        fingerprint: row.fingerprint,
        revision: row.revision,
    });
    Ok(callbacks.collect())
}

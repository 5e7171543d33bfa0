//! Table `apps`.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::domain::app::AppSettings;
use crate::domain::id::AppId;

/// An app as stored.
#[derive(Debug, Clone)]
pub struct App {
    pub app_id: AppId,
    pub name: String,
    pub settings: AppSettings,
    pub revision: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

struct Row {
    app_id: i64,
    name: String,
    settings: serde_json::Value,
    revision: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for App {
    type Error = sqlx::Error;
    fn try_from(row: Row) -> sqlx::Result<Self> {
        let settings = serde_json::from_value(row.settings).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Self {
            app_id: AppId(row.app_id),
            name: row.name,
            settings,
            revision: row.revision,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Stores a new app. False: the id is taken.
pub async fn insert(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    name: &str,
    settings: &AppSettings,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let settings = serde_json::to_value(settings).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let done = sqlx::query!(
        "INSERT INTO apps (app_id, name, settings, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
         ON CONFLICT DO NOTHING",
        app_id.0,
        name,
        settings,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Reads one app and holds its row against other writers until the transaction ends.
pub async fn lock(db: &mut PgConnection, app_id: AppId) -> sqlx::Result<Option<App>> {
    sqlx::query_as!(
        Row,
        "SELECT app_id, name, settings, revision, created_at, updated_at FROM apps WHERE app_id = $1 FOR UPDATE",
        app_id.0,
    )
    .fetch_optional(db)
    .await?
    .map(App::try_from)
    .transpose()
}

/// Replaces name and settings.
pub async fn update(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    name: &str,
    settings: &AppSettings,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let settings = serde_json::to_value(settings).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query!(
        "UPDATE apps SET name = $2, settings = $3, updated_at = $4, revision = nextval('directory_revision')
         WHERE app_id = $1",
        app_id.0,
        name,
        settings,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes an app that has neither certificates nor keys. False: there is no such app.
/// # Errors
/// A foreign-key violation while something still belongs to it.
pub async fn delete(db: impl PgExecutor<'_>, app_id: AppId) -> sqlx::Result<bool> {
    let done = sqlx::query!("DELETE FROM apps WHERE app_id = $1", app_id.0).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// Every app: the directory's content.
pub async fn load_all(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<App>> {
    sqlx::query_as!(Row, "SELECT app_id, name, settings, revision, created_at, updated_at FROM apps ORDER BY app_id")
        .fetch_all(db)
        .await?
        .into_iter()
        .map(App::try_from)
        .collect()
}

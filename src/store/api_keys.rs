//! Table `api_keys`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgExecutor;
use utoipa::ToSchema;
use uuid::Uuid;

use super::unknown;
use crate::domain::id::AppId;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// A chat server of one app.
    Chat,
    /// An operator who only reads.
    Viewer,
    /// An operator.
    Admin,
}

impl Scope {
    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Viewer => "viewer",
            Self::Admin => "admin",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Chat, Self::Viewer, Self::Admin].into_iter().find(|scope| scope.as_str() == name)
    }
}

/// A key as stored: its secret is only a hash.
#[derive(Debug, Clone)]
pub struct ApiKey {
    pub key_id: Uuid,
    pub name: String,
    pub scope: Scope,
    /// `None`: every app.
    pub app_id: Option<AppId>,
    pub key_hash: [u8; 32],
    pub created_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

struct Row {
    key_id: Uuid,
    name: String,
    scope: String,
    app_id: Option<i64>,
    key_hash: Vec<u8>,
    created_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for ApiKey {
    type Error = sqlx::Error;
    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            key_id: row.key_id,
            name: row.name,
            scope: Scope::parse(&row.scope).ok_or_else(|| unknown("key scope", &row.scope))?,
            app_id: row.app_id.map(AppId),
            key_hash: row.key_hash.try_into().map_err(|_| unknown("key hash", "of another length"))?,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
        })
    }
}

/// Stores a new key.
pub async fn insert(db: impl PgExecutor<'_>, key: &ApiKey) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO api_keys (key_id, name, scope, app_id, key_hash, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        key.key_id,
        key.name,
        key.scope.as_str(),
        key.app_id.map(|id| id.0),
        key.key_hash.as_slice(),
        key.created_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Revokes a key, of `app_id` alone if that is given. False: there is none, or it was revoked before.
pub async fn revoke(
    db: impl PgExecutor<'_>,
    key_id: Uuid,
    app_id: Option<AppId>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE api_keys SET revoked_at = $3, revision = nextval('directory_revision')
         WHERE key_id = $1 AND ($2::bigint IS NULL OR app_id = $2) AND revoked_at IS NULL",
        key_id,
        app_id.map(|id| id.0),
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Every key that may be used: the directory's content.
pub async fn load_usable(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<ApiKey>> {
    sqlx::query_as!(
        Row,
        "SELECT key_id, name, scope, app_id, key_hash, created_at, last_used_at, revoked_at FROM api_keys
         WHERE revoked_at IS NULL"
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(ApiKey::try_from)
    .collect()
}

/// A page of keys, revoked ones too, by id.
pub async fn list(
    db: impl PgExecutor<'_>,
    app_id: Option<AppId>,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<ApiKey>> {
    sqlx::query_as!(
        Row,
        "SELECT key_id, name, scope, app_id, key_hash, created_at, last_used_at, revoked_at FROM api_keys
         WHERE key_id > $2 AND ($1::bigint IS NULL OR app_id = $1) ORDER BY key_id LIMIT $3",
        app_id.map(|id| id.0),
        after,
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(ApiKey::try_from)
    .collect()
}

/// Whether any key was ever made: the first start prints one.
pub async fn exists(db: impl PgExecutor<'_>) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM api_keys) AS "exists!""#).fetch_one(db).await
}

/// Notes when keys were last used.
pub async fn touch(db: impl PgExecutor<'_>, keys: &[Uuid], times: &[DateTime<Utc>]) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE api_keys k SET last_used_at = u.at FROM unnest($1::uuid[], $2::timestamptz[]) AS u(key_id, at)
         WHERE k.key_id = u.key_id AND (k.last_used_at IS NULL OR k.last_used_at < u.at)",
        keys,
        times,
    )
    .execute(db)
    .await?;
    Ok(())
}

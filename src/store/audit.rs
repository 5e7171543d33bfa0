//! Table `audit_events`: every operator write.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgExecutor;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::id::AppId;

/// One operator write. Secrets are named in `detail`, never shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AuditEvent {
    pub audit_id: Uuid,
    pub at: DateTime<Utc>,
    /// The API key that did it; absent: the server or its command line.
    pub key_id: Option<Uuid>,
    /// The key's name, or `server`.
    pub actor: String,
    /// E.g. `certificate.update`.
    pub action: String,
    pub app_id: Option<i64>,
    /// What was changed, e.g. `certificate 10001`.
    pub object: String,
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
}

impl AuditEvent {
    /// Of a write that no API key made: the server's own, or its command line's.
    pub fn by_server(
        at: DateTime<Utc>,
        action: &str,
        app_id: Option<AppId>,
        object: String,
        detail: serde_json::Value,
    ) -> Self {
        Self {
            audit_id: Uuid::now_v7(),
            at,
            key_id: None,
            actor: "server".to_owned(),
            action: action.to_owned(),
            app_id: app_id.map(|id| id.0),
            object,
            detail,
        }
    }
}

/// Writes one event, in the transaction of the change it tells of.
pub async fn insert(db: impl PgExecutor<'_>, event: &AuditEvent) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO audit_events (audit_id, at, key_id, actor, action, app_id, object, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        event.audit_id,
        event.at,
        event.key_id,
        event.actor,
        event.action,
        event.app_id,
        event.object,
        event.detail,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A page, newest first, of one app if given; `before` is the last id of the page before.
pub async fn list(
    db: impl PgExecutor<'_>,
    app_id: Option<AppId>,
    before: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<AuditEvent>> {
    sqlx::query_as!(
        AuditEvent,
        "SELECT audit_id, at, key_id, actor, action, app_id, object, detail FROM audit_events
         WHERE audit_id < $2 AND ($1::bigint IS NULL OR app_id = $1) ORDER BY audit_id DESC LIMIT $3",
        app_id.map(|id| id.0),
        before,
        limit,
    )
    .fetch_all(db)
    .await
}

//! The audit log.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::error::ApiError;
use super::extract::Query;
use super::page::{Page, checked_limit, position};
use super::{Api, Caller};
use crate::domain::id::AppId;
use crate::store;
use crate::store::audit::AuditEvent;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Of this app only.
    pub app_id: Option<AppId>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Rows of a page, 1 to 200; 50 if not given.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u16>,
}

/// Who changed what, newest first.
#[utoipa::path(get, path = "/v1/audit-events", tag = "operator", params(AuditQuery), responses(
    (status = 200, body = Page<AuditEvent>),
    (status = 403, body = super::Problem),
))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Page<AuditEvent>>, ApiError> {
    caller.operator()?;
    let app_id = query.app_id.or(caller.0.app_id);
    if let Some(app_id) = app_id {
        caller.view(app_id)?;
    }
    let limit = checked_limit(query.limit)?;
    let before = position::<Uuid>(query.cursor.as_deref())?.unwrap_or(Uuid::max());
    let rows = store::audit::list(&api.database.api, app_id, before, i64::try_from(limit + 1).unwrap_or(1)).await?;
    Ok(Json(Page::new(rows, limit, |event| event.audit_id.to_string())))
}

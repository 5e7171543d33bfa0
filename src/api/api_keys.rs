//! API keys.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::ApiError;
use super::extract::{Body, Path, Query};
use super::idempotency::{IdempotencyHeader, IdempotencyKey};
use super::page::{Page, PageQuery, checked_limit, position};
use super::{Api, Caller, no_content};
use crate::domain::id::AppId;
use crate::domain::text::Name;
use crate::secrets::{api_key_hash, new_api_key};
use crate::store;
use crate::store::api_keys::{ApiKey, Scope};

/// A new key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewApiKey {
    pub name: Name,
    pub scope: Scope,
    /// The one app it is for; needed for `chat`, optional for `viewer` and `admin`.
    #[serde(default)]
    pub app_id: Option<AppId>,
}

/// A key; its secret is shown once, when it is made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiKeyView {
    pub key_id: Uuid,
    pub name: String,
    pub scope: Scope,
    pub app_id: Option<AppId>,
    pub created_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    /// The key itself: only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            key_id: key.key_id,
            name: key.name,
            scope: key.scope,
            app_id: key.app_id,
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
            key: None,
        }
    }
}

/// Makes a key. The answer is the only place that shows it; a replay by Idempotency-Key does not.
#[utoipa::path(post, path = "/v1/api-keys", tag = "operator", params(IdempotencyHeader), request_body = NewApiKey, responses(
    (status = 201, body = ApiKeyView),
    (status = 400, body = super::Problem),
    (status = 404, description = "the app", body = super::Problem),
))]
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    idempotency: IdempotencyKey,
    Body(new): Body<NewApiKey>,
) -> Result<Response, ApiError> {
    match new.app_id {
        Some(app_id) => {
            caller.administer(app_id)?;
            api.app(app_id).await?;
        }
        None => caller.administer_all()?,
    }
    if new.scope == Scope::Chat && new.app_id.is_none() {
        let message = "is needed: a chat key is for one app".to_owned();
        return Err(ApiError::InvalidBody { field: "app_id".to_owned(), message });
    }
    let request = format!("POST /v1/api-keys {}", json!(new));
    if let Some(before) = idempotency.replay(&api, &caller, &request).await? {
        return Ok(before);
    }
    let secret = new_api_key()?;
    let key = ApiKey {
        key_id: Uuid::now_v7(),
        name: new.name.into_string(),
        scope: new.scope,
        app_id: new.app_id,
        key_hash: api_key_hash(secret.expose_secret()),
        created_at: api.clock.now(),
        last_used_at: None,
        revoked_at: None,
    };
    let mut transaction = api.database.api.begin().await?;
    store::api_keys::insert(&mut *transaction, &key).await?;
    let detail = json!({"name": key.name, "scope": key.scope});
    let event = api.audit(&caller, "api_key.create", key.app_id, format!("api key {}", key.key_id), detail);
    let mut view = ApiKeyView::from(key);
    idempotency.keep(&api, &caller, &mut transaction, &request, &view).await?;
    api.commit(transaction, &event).await?;
    view.key = Some(secret.expose_secret().to_owned());
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// Keys by age, revoked ones too; an app-bound key sees its app's.
#[utoipa::path(get, path = "/v1/api-keys", tag = "operator", params(PageQuery), responses(
    (status = 200, body = Page<ApiKeyView>),
))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<ApiKeyView>>, ApiError> {
    caller.operator()?;
    let limit = checked_limit(page.limit)?;
    let after = position::<Uuid>(page.cursor.as_deref())?.unwrap_or(Uuid::nil());
    let rows = i64::try_from(limit + 1).unwrap_or(1);
    let keys = store::api_keys::list(&api.database.api, caller.0.app_id, after, rows).await?;
    let views = keys.into_iter().map(ApiKeyView::from).collect();
    Ok(Json(Page::new(views, limit, |key: &ApiKeyView| key.key_id.to_string())))
}

/// Revokes a key; it stops working at once.
#[utoipa::path(delete, path = "/v1/api-keys/{key}", tag = "operator", params(("key" = Uuid, Path)), responses(
    (status = 204),
    (status = 404, body = super::Problem),
))]
pub(super) async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    Path(key_id): Path<Uuid>,
) -> Result<Response, ApiError> {
    caller.administrator()?;
    let mut transaction = api.database.api.begin().await?;
    if !store::api_keys::revoke(&mut *transaction, key_id, caller.0.app_id, api.clock.now()).await? {
        return Err(ApiError::NotFound { what: "usable API key" });
    }
    let event = api.audit(&caller, "api_key.revoke", caller.0.app_id, format!("api key {key_id}"), json!({}));
    api.commit(transaction, &event).await?;
    Ok(no_content())
}

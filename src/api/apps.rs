//! Apps.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::error::ApiError;
use super::extract::{Body, Path, Query};
use super::idempotency::{IdempotencyHeader, IdempotencyKey};
use super::page::{Page, PageQuery, checked_limit, position};
use super::{Api, Caller, no_content};
use crate::domain::app::AppSettings;
use crate::domain::id::AppId;
use crate::domain::text::Name;
use crate::store;
use crate::store::apps::App;

/// A new app.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewApp {
    /// Chosen by the operator: the SDKAppID.
    pub app_id: AppId,
    pub name: Name,
    #[serde(default)]
    pub settings: AppSettings,
}

/// What to change; what is left out stays.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AppChange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Setting names to values; a setting left out stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<AppSettings>)]
    pub settings: Option<serde_json::Map<String, serde_json::Value>>,
}

/// An app.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AppView {
    pub app_id: AppId,
    pub name: String,
    pub settings: AppSettings,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl From<&App> for AppView {
    fn from(app: &App) -> Self {
        Self {
            app_id: app.app_id,
            name: app.name.clone(),
            settings: app.settings.clone(),
            created_at: app.created_at,
            updated_at: app.updated_at,
        }
    }
}

fn check(settings: &AppSettings) -> Result<(), ApiError> {
    settings.check().map_err(|(field, message)| ApiError::InvalidBody { field, message })
}

/// Makes an app.
#[utoipa::path(post, path = "/v1/apps", tag = "operator", params(IdempotencyHeader), request_body = NewApp, responses(
    (status = 201, body = AppView),
    (status = 400, body = super::Problem),
    (status = 409, description = "`id-taken`", body = super::Problem),
))]
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    key: IdempotencyKey,
    Body(new): Body<NewApp>,
) -> Result<Response, ApiError> {
    caller.administer_all()?;
    check(&new.settings)?;
    let request = format!("POST /v1/apps {}", json!(new));
    if let Some(before) = key.replay(&api, &caller, &request).await? {
        return Ok(before);
    }
    let now = api.clock.now();
    let mut transaction = api.database.api.begin().await?;
    if !store::apps::insert(&mut *transaction, new.app_id, &new.name, &new.settings, now).await? {
        return Err(ApiError::IdTaken { what: "an app" });
    }
    let view = AppView {
        app_id: new.app_id,
        name: new.name.into_string(),
        settings: new.settings,
        created_at: now,
        updated_at: now,
    };
    key.keep(&api, &caller, &mut transaction, &request, &view).await?;
    let detail = json!({"name": view.name, "settings": view.settings});
    let event = api.audit(&caller, "app.create", Some(new.app_id), format!("app {}", new.app_id), detail);
    api.commit(transaction, &event).await?;
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// The apps this key may see, by id.
#[utoipa::path(get, path = "/v1/apps", tag = "operator", params(PageQuery), responses(
    (status = 200, body = Page<AppView>),
))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<AppView>>, ApiError> {
    caller.operator()?;
    let limit = checked_limit(page.limit)?;
    let after = position::<i64>(page.cursor.as_deref())?.unwrap_or(0);
    let snapshot = api.directory.snapshot();
    let is_visible =
        |app: &&std::sync::Arc<App>| app.app_id.0 > after && caller.0.app_id.is_none_or(|own| own == app.app_id);
    let mut apps: Vec<AppView> = snapshot.apps.values().filter(is_visible).map(|app| AppView::from(&**app)).collect();
    apps.sort_by_key(|app| app.app_id);
    Ok(Json(Page::new(apps, limit, |app| app.app_id.to_string())))
}

/// One app.
#[utoipa::path(get, path = "/v1/apps/{app}", tag = "operator", params(("app" = AppId, Path)), responses(
    (status = 200, body = AppView),
    (status = 404, body = super::Problem),
))]
pub(super) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(app_id): Path<AppId>,
) -> Result<Json<AppView>, ApiError> {
    caller.view(app_id)?;
    Ok(Json(AppView::from(&*api.app(app_id).await?)))
}

/// Changes an app's name or some of its settings; acts at once.
#[utoipa::path(patch, path = "/v1/apps/{app}", tag = "operator", params(("app" = AppId, Path)),
    request_body = AppChange, responses(
    (status = 200, body = AppView),
    (status = 400, body = super::Problem),
    (status = 404, body = super::Problem),
))]
pub(super) async fn update(
    State(api): State<Api>,
    caller: Caller,
    Path(app_id): Path<AppId>,
    Body(change): Body<AppChange>,
) -> Result<Json<AppView>, ApiError> {
    caller.administer(app_id)?;
    let mut transaction = api.database.api.begin().await?;
    let mut app = store::apps::lock(&mut transaction, app_id).await?.ok_or(ApiError::NotFound { what: "app" })?;
    let detail = json!({"change": change});
    if let Some(settings) = change.settings {
        app.settings = merged(&app.settings, settings)?;
        check(&app.settings)?;
    }
    if let Some(name) = change.name {
        app.name = name.into_string();
    }
    app.updated_at = api.clock.now();
    store::apps::update(&mut *transaction, app_id, &app.name, &app.settings, app.updated_at).await?;
    let event = api.audit(&caller, "app.update", Some(app_id), format!("app {app_id}"), detail);
    api.commit(transaction, &event).await?;
    Ok(Json(AppView::from(&app)))
}

fn merged(settings: &AppSettings, change: serde_json::Map<String, serde_json::Value>) -> Result<AppSettings, ApiError> {
    let Ok(serde_json::Value::Object(mut whole)) = serde_json::to_value(settings) else {
        return Err(ApiError::Internal("settings are not an object"));
    };
    whole.extend(change);
    let text = serde_json::Value::Object(whole).to_string();
    super::extract::parse(text.as_bytes()).map_err(|error| match error {
        ApiError::InvalidBody { field, message } => {
            ApiError::InvalidBody { field: format!("settings.{field}"), message }
        }
        other => other,
    })
}

/// Deletes an app that has no certificates and no keys any more.
#[utoipa::path(delete, path = "/v1/apps/{app}", tag = "operator", params(("app" = AppId, Path)), responses(
    (status = 204),
    (status = 404, body = super::Problem),
    (status = 409, description = "`in-use`", body = super::Problem),
))]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(app_id): Path<AppId>,
) -> Result<Response, ApiError> {
    caller.administer_all()?;
    let mut transaction = api.database.api.begin().await?;
    let is_deleted = store::apps::delete(&mut *transaction, app_id).await.map_err(|error| match &error {
        sqlx::Error::Database(database) if database.is_foreign_key_violation() => {
            ApiError::InUse("delete the app's certificates first; its API keys keep it too, revoked ones included")
        }
        _ => error.into(),
    })?;
    if !is_deleted {
        return Err(ApiError::NotFound { what: "app" });
    }
    let event = api.audit(&caller, "app.delete", None, format!("app {app_id}"), json!({}));
    api.commit(transaction, &event).await?;
    Ok(no_content())
}

//! What users wish for themselves, as the chat server tells it.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::ApiError;
use super::extract::{Body, Path, Query};
use super::page::{Page, PageQuery, checked_limit, position};
use super::{Api, Caller, Problem, no_content};
use crate::domain::id::AppId;
use crate::domain::preferences::{Notify, Preferences};
use crate::domain::text::Name;
use crate::store::preferences::{self, ConversationSetting};

/// A user's preferences.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PreferencesView {
    pub preferences: Preferences,
    /// Absent: never set, these are the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime<Utc>>,
    /// Whether the user is not to be disturbed now.
    pub quiet_now: bool,
}

/// Replaces a user's preferences; they count for every message accepted from then on, and for what waits.
#[utoipa::path(put, path = "/v1/apps/{app}/users/{user}/preferences", tag = "chat server",
    params(("app" = AppId, Path), ("user" = Name, Path)), request_body = Preferences,
    responses((status = 200, body = PreferencesView), (status = 400, body = Problem),
        (status = 404, description = "the app", body = Problem)))]
pub(super) async fn put(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, user_id)): Path<(AppId, Name)>,
    Body(new): Body<Preferences>,
) -> Result<Json<PreferencesView>, ApiError> {
    caller.chat(app_id)?;
    api.app(app_id).await?;
    new.check().map_err(|(field, message)| ApiError::InvalidBody { field, message })?;
    let now = api.clock.now();
    preferences::put(&api.database.api, app_id, &user_id, &new, now).await?;
    Ok(Json(PreferencesView { quiet_now: new.is_quiet(now), preferences: new, updated_at: Some(now) }))
}

/// A user's preferences; the defaults where none were set.
#[utoipa::path(get, path = "/v1/apps/{app}/users/{user}/preferences", tag = "chat server",
    params(("app" = AppId, Path), ("user" = Name, Path)),
    responses((status = 200, body = PreferencesView), (status = 404, description = "the app", body = Problem)))]
pub(super) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, user_id)): Path<(AppId, Name)>,
) -> Result<Json<PreferencesView>, ApiError> {
    caller.read(app_id)?;
    api.app(app_id).await?;
    let (preferences, updated_at) = preferences::of_user(&api.database.api, app_id, &user_id).await?.unzip();
    let preferences = preferences.unwrap_or_default();
    Ok(Json(PreferencesView { quiet_now: preferences.is_quiet(api.clock.now()), preferences, updated_at }))
}

/// Forgets a user's preferences: the defaults count again.
#[utoipa::path(delete, path = "/v1/apps/{app}/users/{user}/preferences", tag = "chat server",
    params(("app" = AppId, Path), ("user" = Name, Path)),
    responses((status = 204), (status = 404, description = "none were set", body = Problem)))]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, user_id)): Path<(AppId, Name)>,
) -> Result<Response, ApiError> {
    caller.chat(app_id)?;
    api.app(app_id).await?;
    if !preferences::delete(&api.database.api, app_id, &user_id).await? {
        return Err(ApiError::NotFound { what: "user with preferences" });
    }
    Ok(no_content())
}

/// What is pushed of a conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewConversationSetting {
    #[schema(inline)]
    pub notify: Notify,
    /// After this moment the user's preference counts again; not if not given.
    #[serde(default)]
    pub until: Option<DateTime<Utc>>,
}

/// What a user set for a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConversationView {
    pub conversation_id: String,
    pub notify: Notify,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
}

impl From<ConversationSetting> for ConversationView {
    fn from(setting: ConversationSetting) -> Self {
        let ConversationSetting { conversation_id, notify, until, updated_at } = setting;
        Self { conversation_id, notify, until, updated_at }
    }
}

/// Sets what is pushed of one conversation to one user: everything, what mentions the user, or nothing.
#[utoipa::path(put, path = "/v1/apps/{app}/users/{user}/conversations/{conversation}", tag = "chat server",
    params(("app" = AppId, Path), ("user" = Name, Path), ("conversation" = Name, Path)),
    request_body = NewConversationSetting,
    responses((status = 200, body = ConversationView), (status = 400, body = Problem),
        (status = 404, description = "the app", body = Problem)))]
pub(super) async fn put_conversation(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, user_id, conversation_id)): Path<(AppId, Name, Name)>,
    Body(new): Body<NewConversationSetting>,
) -> Result<Json<ConversationView>, ApiError> {
    caller.chat(app_id)?;
    api.app(app_id).await?;
    let setting = ConversationSetting {
        conversation_id: conversation_id.into_string(),
        notify: new.notify,
        until: new.until,
        updated_at: api.clock.now(),
    };
    preferences::put_conversation(&api.database.api, app_id, &user_id, &setting).await?;
    Ok(Json(setting.into()))
}

/// Forgets what a user set for a conversation.
#[utoipa::path(delete, path = "/v1/apps/{app}/users/{user}/conversations/{conversation}", tag = "chat server",
    params(("app" = AppId, Path), ("user" = Name, Path), ("conversation" = Name, Path)),
    responses((status = 204), (status = 404, description = "nothing was set", body = Problem)))]
pub(super) async fn delete_conversation(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, user_id, conversation_id)): Path<(AppId, Name, Name)>,
) -> Result<Response, ApiError> {
    caller.chat(app_id)?;
    api.app(app_id).await?;
    if !preferences::delete_conversation(&api.database.api, app_id, &user_id, &conversation_id).await? {
        return Err(ApiError::NotFound { what: "conversation with a setting of this user" });
    }
    Ok(no_content())
}

/// The conversations that a user set something for, by id.
#[utoipa::path(get, path = "/v1/apps/{app}/users/{user}/conversations", tag = "chat server",
    params(("app" = AppId, Path), ("user" = Name, Path), PageQuery),
    responses((status = 200, body = Page<ConversationView>), (status = 404, description = "the app", body = Problem)))]
pub(super) async fn conversations(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, user_id)): Path<(AppId, Name)>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<ConversationView>>, ApiError> {
    caller.read(app_id)?;
    api.app(app_id).await?;
    let limit = checked_limit(page.limit)?;
    let after = position::<String>(page.cursor.as_deref())?.unwrap_or_default();
    let rows = i64::try_from(limit).unwrap_or(i64::MAX) + 1;
    let settings = preferences::conversations(&api.database.api, app_id, &user_id, &after, rows).await?;
    let items = settings.into_iter().map(ConversationView::from).collect();
    Ok(Json(Page::new(items, limit, |setting: &ConversationView| setting.conversation_id.clone())))
}

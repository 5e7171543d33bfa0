//! The switch of an app's Tencent callback: the token that signs it.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::compat::tencent;
use super::error::ApiError;
use super::extract::{Body, Path};
use super::{Api, Caller, no_content};
use crate::directory::TencentCallback;
use crate::domain::id::AppId;
use crate::secrets::{SealedFor, short_digest};
use crate::store;

/// Lengths of a token, in bytes.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 8..=128;

/// The token that signs an app's callbacks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTencentCallback {
    /// What Tencent's console calls the authentication token, 8 to 128 bytes. Never shown again.
    #[schema(value_type = String, min_length = 8, max_length = 128)]
    pub token: SecretString,
}

/// Whether an app takes Tencent's callback, and where.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TencentCallbackView {
    pub enabled: bool,
    /// Twelve hex digits of the token's SHA-256. Beside `enabled: false`: a token is stored, but was sealed with another
    /// master key; set it anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "b94d27b9934d")]
    pub fingerprint: Option<String>,
    /// Where the backend posts to, after this server's address.
    #[schema(example = "/compat/tencent/callback?SdkAppid=1400000001")]
    pub path: String,
}

impl TencentCallbackView {
    fn new(app_id: AppId, callback: Option<&TencentCallback>) -> Self {
        Self {
            enabled: callback.is_some_and(|callback| callback.token.is_some()),
            fingerprint: callback.map(|callback| callback.fingerprint.clone()),
            path: format!("{}?SdkAppid={app_id}", tencent::PATH),
        }
    }
}

/// Switches an app's Tencent callback on, or gives it another token. The one before is void at once.
#[utoipa::path(put, path = "/v1/apps/{app}/tencent-callback", tag = "operator", params(("app" = AppId, Path)),
    request_body = NewTencentCallback, responses(
    (status = 200, body = TencentCallbackView),
    (status = 400, body = super::Problem),
    (status = 404, description = "the app", body = super::Problem),
))]
pub(super) async fn set(
    State(api): State<Api>,
    caller: Caller,
    Path(app_id): Path<AppId>,
    Body(new): Body<NewTencentCallback>,
) -> Result<Json<TencentCallbackView>, ApiError> {
    caller.administer(app_id)?;
    let token = new.token.expose_secret().as_bytes();
    if !TOKEN_BYTES.contains(&token.len()) {
        let message = format!("must be {} to {} bytes of UTF-8", TOKEN_BYTES.start(), TOKEN_BYTES.end());
        return Err(ApiError::InvalidBody { field: "token".to_owned(), message });
    }
    let sealed = api.directory.sealer.seal(SealedFor::TencentCallback(app_id), token)?;
    let fingerprint = short_digest(token);
    let mut transaction = api.database.api.begin().await?;
    store::apps::lock(&mut transaction, app_id).await?.ok_or(ApiError::NotFound { what: "app" })?;
    let now = api.clock.now();
    let key_id = api.directory.sealer.key_id();
    store::tencent_callbacks::set(&mut *transaction, app_id, &sealed, key_id, &fingerprint, now).await?;
    let detail = json!({"fingerprint": fingerprint});
    let event = api.audit(&caller, "app.tencent_callback.set", Some(app_id), format!("app {app_id}"), detail);
    api.commit(transaction, &event).await?;
    let view = TencentCallbackView::new(app_id, None);
    Ok(Json(TencentCallbackView { enabled: true, fingerprint: Some(fingerprint), ..view }))
}

/// Shows whether an app takes Tencent's callback. The token is not in the answer.
#[utoipa::path(get, path = "/v1/apps/{app}/tencent-callback", tag = "operator", params(("app" = AppId, Path)), responses(
    (status = 200, body = TencentCallbackView),
    (status = 404, description = "the app", body = super::Problem),
))]
pub(super) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(app_id): Path<AppId>,
) -> Result<Json<TencentCallbackView>, ApiError> {
    caller.view(app_id)?;
    api.app(app_id).await?;
    let snapshot = api.directory.snapshot();
    Ok(Json(TencentCallbackView::new(app_id, snapshot.tencent_callback(app_id).map(|callback| &**callback))))
}

/// Switches an app's Tencent callback off and forgets its token.
#[utoipa::path(delete, path = "/v1/apps/{app}/tencent-callback", tag = "operator", params(("app" = AppId, Path)), responses(
    (status = 204),
    (status = 404, description = "it was not on", body = super::Problem),
))]
pub(super) async fn clear(
    State(api): State<Api>,
    caller: Caller,
    Path(app_id): Path<AppId>,
) -> Result<Response, ApiError> {
    caller.administer(app_id)?;
    let mut transaction = api.database.api.begin().await?;
    if !store::tencent_callbacks::clear(&mut *transaction, app_id).await? {
        return Err(ApiError::NotFound { what: "app with a Tencent callback" });
    }
    let event = api.audit(&caller, "app.tencent_callback.clear", Some(app_id), format!("app {app_id}"), json!({}));
    api.commit(transaction, &event).await?;
    Ok(no_content())
}

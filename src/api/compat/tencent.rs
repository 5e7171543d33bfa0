//! Tencent IM's callback `State.StateChange` as input. The form of the call is Tencent's: errors too are told in its
//! envelope. What it means stands in [`crate::domain::tencent`].

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::extract::{parse, whole};
use crate::domain::id::AppId;
use crate::domain::session::{Platform, judge_time};
use crate::domain::tencent::{self, Action};
use crate::domain::text::Name;
use crate::secrets::{hex_digest, is_same};
use crate::sessions::Change;
use crate::store;
use crate::store::line::{STATEMENT_LIMIT, bounded};

/// Where the backend posts to.
pub(in crate::api) const PATH: &str = "/compat/tencent/callback";
/// The one command that is understood.
const COMMAND: &str = "State.StateChange";
/// How far `RequestTime` may be from the server's clock.
const SIGNED_WITHIN: TimeDelta = TimeDelta::minutes(5);
/// The most devices of a user that are looked at, and entries of `KickedDevice`.
const MAX_DEVICES: i64 = 1_000;
const MAX_KICKED: usize = 100;

/// What stands in the URL. Everything else that Tencent puts there is ignored.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, rename_all = "PascalCase")]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct CallbackQuery {
    /// The app.
    #[param(required = true)]
    sdk_appid: Option<String>,
    /// `State.StateChange`.
    callback_command: Option<String>,
    /// `iOS`, `Android`, `Web`, `Windows`, `iPad`, `Mac`, `Linux` or `Harmony`, without regard to case.
    #[param(required = true)]
    opt_platform: Option<String>,
    /// SHA-256 of the app's token and `RequestTime`, one after the other, in lower-case hex.
    #[param(required = true)]
    sign: Option<String>,
    /// When the call was signed, in seconds since the epoch; at most five minutes from the server's clock.
    #[param(required = true)]
    request_time: Option<String>,
}

/// What happened. Members that are not known are ignored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(rename_all = "PascalCase")]
pub(in crate::api) struct TencentStateChange {
    /// `State.StateChange`; may be left out where the URL has it.
    #[serde(default)]
    callback_command: Option<String>,
    /// Milliseconds since the epoch; the arrival if not given.
    #[serde(default)]
    event_time: Option<i64>,
    info: TencentStateInfo,
    /// Of a login: the platforms whose other sessions it ended. At most 100.
    #[serde(default)]
    kicked_device: Option<Vec<TencentKickedDevice>>,
}

/// Whose state changed, and how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(rename_all = "PascalCase")]
pub(in crate::api) struct TencentStateInfo {
    #[schema(inline)]
    action: Action,
    /// The user.
    #[serde(rename = "To_Account")]
    #[schema(rename = "To_Account")]
    to_account: Name,
    /// `Register`, `Unregister`, `LinkClose` or `TimeOut`; the action alone decides.
    #[serde(default, rename = "Reason")]
    #[expect(dead_code, reason = "only its type is checked")]
    reason: Option<String>,
}

/// A session that a login ended.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(rename_all = "PascalCase")]
pub(in crate::api) struct TencentKickedDevice {
    /// As `OptPlatform`.
    platform: String,
}

/// Tencent's answer to every call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(rename_all = "PascalCase")]
pub(in crate::api) struct TencentEnvelope {
    /// `OK` or `FAIL`.
    #[schema(example = "OK")]
    action_status: &'static str,
    /// 0, or 1 for `FAIL`.
    #[schema(example = 0)]
    error_code: u8,
    /// What is wrong.
    #[schema(example = "")]
    error_info: String,
}

/// Takes a state change of Tencent IM. A change that is older than what is known is `OK` too: it was heard. Whatever is
/// wrong with a call is said in the envelope, and changes nothing.
#[utoipa::path(post, path = "/compat/tencent/callback", tag = "chat server", security(()), params(CallbackQuery),
    request_body = TencentStateChange, responses(
    (status = 200, body = TencentEnvelope),
    (status = 429, description = "too many calls of this address had no valid `Sign`", body = TencentEnvelope),
    (status = 503, description = "the database is not available: send the same call again", body = TencentEnvelope),
))]
pub(in crate::api) async fn state_change(State(api): State<Api>, request: Request) -> Response {
    match take(&api, request).await {
        Ok(()) => {
            Json(TencentEnvelope { action_status: "OK", error_code: 0, error_info: String::new() }).into_response()
        }
        Err(error) => failed(&error),
    }
}

/// An error in Tencent's form. Its callers read the envelope, so only what is worth sending again has a status of its own.
pub(in crate::api) fn failed(error: &ApiError) -> Response {
    error.log();
    let status = match error.status() {
        told @ (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => told,
        _ => StatusCode::OK,
    };
    let error_info = match error {
        // Nothing that tells whether there is such an app.
        ApiError::Unauthorized => "the call has no valid Sign and RequestTime".to_owned(),
        error => error.to_string(),
    };
    let mut response =
        (status, Json(TencentEnvelope { action_status: "FAIL", error_code: 1, error_info })).into_response();
    if let Some(seconds) = error.retry_after_s() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

async fn take(api: &Api, request: Request) -> Result<(), ApiError> {
    let query = read_query(request.uri());
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let app_id = authenticate(api, &query, address).await?;
    let body = whole(request.into_body()).await?;
    let now = api.clock.now();
    let Some(change) = read_change(&query, parse(&body)?, now)? else { return Ok(()) };
    let devices =
        bounded(STATEMENT_LIMIT, store::devices::of_user(&api.database.sessions, app_id, &change.user_id, MAX_DEVICES))
            .await?;
    let changes: Vec<Change> = tencent::events(&devices, &change).into_iter().map(Change::Event).collect();
    api.change_all(app_id, changes).await?;
    Ok(())
}

/// A query that cannot be read is one without a signature.
fn read_query(uri: &Uri) -> CallbackQuery {
    axum::extract::Query::try_from_uri(uri).map_or_else(|_| CallbackQuery::default(), |query| query.0)
}

/// The app, if the call is signed with its token.
async fn authenticate(api: &Api, query: &CallbackQuery, address: Option<SocketAddr>) -> Result<AppId, ApiError> {
    let address = address.map(|address| address.ip());
    let mut app_id = signed_app(api, query);
    // As with API keys: who signs well always passes, and guesses are bounded.
    let may_try = app_id.is_some() || api.failed_logins.may_try(address);
    if app_id.is_none() && query.sign.is_some() && may_try {
        // Another instance may have been given the token a moment ago.
        api.directory.look_again().await?;
        app_id = signed_app(api, query);
    }
    app_id.ok_or_else(|| {
        api.failed_logins.failed(address);
        if may_try { ApiError::Unauthorized } else { ApiError::TooManyFailedLogins }
    })
}

fn signed_app(api: &Api, query: &CallbackQuery) -> Option<AppId> {
    let (sign, time) = (query.sign.as_deref()?, query.request_time.as_deref()?);
    let signed_at = DateTime::from_timestamp(time.parse().ok()?, 0)?;
    if (signed_at - api.clock.now()).abs() > SIGNED_WITHIN {
        return None;
    }
    let app_id = AppId(query.sdk_appid.as_deref()?.parse().ok()?);
    let snapshot = api.directory.snapshot();
    let token = snapshot.tencent_callback(app_id)?.token.as_ref()?;
    let expected = hex_digest(format!("{}{time}", token.expose_secret()).as_bytes());
    is_same(expected.as_bytes(), sign.as_bytes()).then_some(app_id)
}

/// Checks what the types do not. `None`: it happened too long ago to matter.
fn read_change(
    query: &CallbackQuery,
    body: TencentStateChange,
    now: DateTime<chrono::Utc>,
) -> Result<Option<tencent::StateChange>, ApiError> {
    let commands = [query.callback_command.as_deref(), body.callback_command.as_deref()];
    if commands == [None, None] || commands.into_iter().flatten().any(|command| command != COMMAND) {
        return Err(wrong("CallbackCommand", "must be State.StateChange: no other callback is taken"));
    }
    let platform = read_platform("OptPlatform", query.opt_platform.as_deref().unwrap_or_default())?;
    let kicked = body.kicked_device.unwrap_or_default();
    if kicked.len() > MAX_KICKED {
        return Err(wrong("KickedDevice", format!("must hold at most {MAX_KICKED} devices")));
    }
    let kicked = kicked
        .iter()
        .enumerate()
        .map(|(index, device)| read_platform(&format!("KickedDevice[{index}].Platform"), &device.platform));
    let kicked = kicked.collect::<Result<Vec<Platform>, ApiError>>()?;
    let at = match body.event_time.map(DateTime::from_timestamp_millis) {
        Some(None) => return Err(wrong("EventTime", "must be milliseconds since the epoch")),
        Some(Some(at)) => at,
        None => now,
    };
    let Ok((event_time, _)) = judge_time(at, now) else { return Ok(None) };
    let user_id = body.info.to_account.into_string();
    Ok(Some(tencent::StateChange { user_id, platform, action: body.info.action, kicked, event_time }))
}

fn read_platform(field: &str, name: &str) -> Result<Platform, ApiError> {
    tencent::platform(name)
        .ok_or_else(|| wrong(field, "must be one of iOS, Android, Web, Windows, iPad, Mac, Linux, Harmony"))
}

fn wrong(field: &str, message: impl Into<String>) -> ApiError {
    ApiError::InvalidBody { field: field.to_owned(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_worth_sending_again_has_a_status_of_its_own() {
        for (error, status, retry_after) in [
            (ApiError::Unauthorized, 200, None),
            (wrong("EventTime", "is wrong"), 200, None),
            (ApiError::Internal("a fault"), 200, None),
            (ApiError::TooManyFailedLogins, 429, Some("60")),
            (ApiError::Overloaded, 503, Some("1")),
            (ApiError::Unavailable, 503, Some("1")),
            (ApiError::TimedOut, 503, Some("1")),
        ] {
            let response = failed(&error);
            let told = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap());
            assert_eq!((response.status().as_u16(), told), (status, retry_after), "{error}");
        }
    }
}

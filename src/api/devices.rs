//! A user's devices and their bindings.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::ApiError;
use super::extract::{Body, Path};
use super::{Api, Caller, no_content};
use crate::domain::app::AppSettings;
use crate::domain::certificate::VendorKind;
use crate::domain::id::{AppId, CertificateId};
use crate::domain::session::{BindingStatus, Device, Platform, ReportedToken, SessionState};
use crate::domain::text::{Name, Text};
use crate::secrets::masked_token;
use crate::sessions::{Change, Changed};
use crate::store;
use crate::vendor::registry::check_token;

/// The most devices of one user that are shown.
const MAX_DEVICES: i64 = 200;

/// A token report.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBinding {
    pub certificate_id: CertificateId,
    /// The vendor's token as the client got it.
    pub token: Text<1, 1024>,
    #[schema(inline)]
    pub platform: Platform,
}

/// What a report came to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BindingAnswer {
    /// The device has no live session: the token is kept, not pushed to, and becomes active on the user's login.
    pub pending: bool,
    pub device: DeviceView,
}

/// A device.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeviceView {
    pub device_id: String,
    pub platform: Platform,
    pub session_state: SessionState,
    /// Of the last session event; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_seq: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binding: Option<BindingView>,
}

/// A binding; the token is shown as a short digest.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BindingView {
    pub certificate_id: CertificateId,
    pub vendor: VendorKind,
    /// A short digest, e.g. `#9f86d081884c`: to compare, not to send to.
    pub token: String,
    pub reported_at: DateTime<Utc>,
    pub status: BindingStatus,
}

/// All devices of a user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Devices {
    pub items: Vec<DeviceView>,
}

impl DeviceView {
    /// As it stands at `now`, whether that is written down already or not.
    fn new(device: Device, settings: &AppSettings, now: DateTime<Utc>) -> Self {
        let session = device.session().at(now, settings);
        Self {
            device_id: device.device_id,
            platform: device.platform,
            session_state: session.state,
            event_time: (device.event_time > DateTime::UNIX_EPOCH).then_some(device.event_time),
            login_seq: device.login_seq,
            unread: device.unread,
            binding: device.binding.map(|binding| BindingView {
                certificate_id: binding.certificate_id,
                vendor: binding.vendor,
                token: masked_token(&binding.token),
                reported_at: binding.reported_at,
                status: binding.status,
            }),
        }
    }
}

/// Binds a device token. For a device without a live session it is kept `pending` (202).
#[utoipa::path(put, path = "/v1/apps/{app}/users/{user}/devices/{device}/binding", tag = "chat server",
    params(("app" = AppId, Path), ("user" = Name, Path), ("device" = Name, Path)), request_body = NewBinding,
    responses((status = 200, body = BindingAnswer), (status = 202, description = "pending", body = BindingAnswer),
        (status = 400, description = "`invalid-body`: also a certificate that is not the app's", body = super::Problem),
        (status = 404, body = super::Problem)))]
pub(super) async fn bind(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, user_id, device_id)): Path<(AppId, Name, Name)>,
    Body(new): Body<NewBinding>,
) -> Result<Response, ApiError> {
    caller.chat(app_id)?;
    let app = api.app(app_id).await?;
    let snapshot = api.knowing(app_id, std::iter::once(new.certificate_id)).await?;
    let vendor =
        snapshot.certificate_of(app_id, new.certificate_id).map(|entry| entry.certificate.vendor).ok_or_else(|| {
            ApiError::InvalidBody {
                field: "certificate_id".to_owned(),
                message: "names no certificate of this app".to_owned(),
            }
        })?;
    let token = check_token(vendor, &new.token)
        .map_err(|message| ApiError::InvalidBody { field: "token".to_owned(), message })?;
    let token = ReportedToken { certificate_id: new.certificate_id, vendor, token };
    let change = Change::Report {
        user_id: user_id.into_string(),
        device_id: device_id.into_string(),
        platform: new.platform,
        token,
    };
    let Changed::Reported { pending, device } = api.change(app_id, change).await? else {
        return Err(ApiError::Internal("a report did not answer as one"));
    };
    let status = if pending { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(BindingAnswer { pending, device: DeviceView::new(device, &app.settings, api.clock.now()) }))
        .into_response())
}

/// Takes a device's binding away; it is never pushed to until its token is reported again.
#[utoipa::path(delete, path = "/v1/apps/{app}/users/{user}/devices/{device}/binding", tag = "chat server",
    params(("app" = AppId, Path), ("user" = Name, Path), ("device" = Name, Path)),
    responses((status = 204), (status = 404, description = "no live binding", body = super::Problem)))]
pub(super) async fn unbind(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, user_id, device_id)): Path<(AppId, Name, Name)>,
) -> Result<Response, ApiError> {
    caller.chat(app_id)?;
    api.app(app_id).await?;
    let change = Change::Unbind { user_id: user_id.into_string(), device_id: device_id.into_string() };
    match api.change(app_id, change).await? {
        Changed::Unbound(true) => Ok(no_content()),
        _ => Err(ApiError::NotFound { what: "bound device" }),
    }
}

/// A user's devices: session, binding, and what they are good for.
#[utoipa::path(get, path = "/v1/apps/{app}/users/{user}/devices", tag = "chat server",
    params(("app" = AppId, Path), ("user" = Name, Path)),
    responses((status = 200, body = Devices), (status = 404, description = "the app", body = super::Problem)))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, user_id)): Path<(AppId, Name)>,
) -> Result<Json<Devices>, ApiError> {
    caller.read(app_id)?;
    let app = api.app(app_id).await?;
    let devices = store::devices::of_user(&api.database.api, app_id, &user_id, MAX_DEVICES).await?;
    let now = api.clock.now();
    Ok(Json(Devices { items: devices.into_iter().map(|device| DeviceView::new(device, &app.settings, now)).collect() }))
}

impl Api {
    async fn change(&self, app_id: AppId, change: Change) -> Result<Changed, ApiError> {
        let mut results = self.change_all(app_id, vec![change]).await?;
        results.pop().ok_or(ApiError::Internal("a change without a result"))
    }

    /// Applies changes of sessions and bindings; when it returns, nothing they forbid starts any more.
    pub(super) async fn change_all(&self, app_id: AppId, changes: Vec<Change>) -> Result<Vec<Changed>, ApiError> {
        let app = self.app(app_id).await?;
        Ok(self.ingest.apply(&app, changes).await?)
    }
}

//! Notifications: accepted, told about, cancelled.

use std::collections::{BTreeMap, HashSet};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{ApiError, Problem};
use super::extract::{Body, Path};
use super::trace::{TraceEvent, WaitingView};
use super::{Api, Caller};
use crate::domain::id::{AppId, NotificationId};
use crate::domain::notification::{Content, Priority};
use crate::domain::offline_push_info::OfflinePushInfo;
use crate::domain::skip::{CancelReason, SkipReason};
use crate::domain::text::{Name, Text};
use crate::intake::{Accepted, NewNotification, Recipient};
use crate::secrets::sha256;
use crate::store;
use crate::telemetry;

const MAX_RECIPIENTS: usize = 1_000;
const MAX_BATCH: usize = 100;
const MAX_TTL_S: u32 = 604_800;
const MAX_DATA_BYTES: usize = 1_024;
const MAX_LISTED_DEVICES: usize = 100;
/// The most rows of a notification's story in one answer.
const MAX_STORY: i64 = 5_000;

/// A notification.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NotificationRequest {
    /// The chat server's own id. The same id (and part) within 48 hours is the same notification.
    pub message_id: Name,
    /// A large group is posted in parts, each with up to 1000 of its members.
    #[serde(default)]
    pub part: u16,
    /// 1 to 1000 users, each once.
    #[schema(min_items = 1, max_items = 1000)]
    pub to: Vec<RecipientRequest>,
    /// The app's default title, `a new message`, if not given.
    #[serde(default)]
    pub title: Option<Text<0, 4096>>,
    /// May be left out where `offline_push_info.Desc` has the text.
    #[serde(default)]
    pub body: Option<Text<1, 4096>>,
    #[serde(default)]
    pub conversation_id: Option<Name>,
    #[serde(default)]
    pub sender_id: Option<Name>,
    /// With `sender_id`: the device that sent the message gets no push of it.
    #[serde(default)]
    pub sender_device_id: Option<Name>,
    /// Push also to the sender's own devices, but for `sender_device_id`; else a sender among the recipients gets no push.
    #[serde(default)]
    pub sync: bool,
    /// Users mentioned: they get a push also from conversations that they muted but for mentions.
    #[serde(default)]
    pub mentions: Vec<Name>,
    /// Time to live in seconds; 0 means one attempt.
    #[serde(default = "default_ttl_s")]
    #[schema(minimum = 0, maximum = 604_800, default = 86_400)]
    pub ttl_s: u32,
    #[serde(default)]
    #[schema(inline)]
    pub priority: Priority,
    /// A newer notification with the same id replaces the older one on the phone; the conversation if not given.
    #[serde(default)]
    pub collapse_id: Option<Name>,
    /// Handed to the app: an object of at most 1 KiB as JSON.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub data: Option<serde_json::Map<String, serde_json::Value>>,
    /// A sound of the app: a raw resource on Android, a file on iOS; `default`, or `none` for silence.
    #[serde(default)]
    pub sound: Option<Name>,
    /// Only these devices, at most 100.
    #[serde(default)]
    pub only_devices: Vec<Name>,
    /// Not these devices, at most 100.
    #[serde(default)]
    pub exclude_devices: Vec<Name>,
    /// Also to apps in foreground or background, at quiet hours, from muted conversations and whatever the multi-device rule
    /// says; never to a logged-out device or from a blocked sender.
    #[serde(default)]
    pub force: bool,
    /// Options by vendor, as in Tencent's object of this name.
    #[serde(default)]
    pub offline_push_info: Option<OfflinePushInfo>,
}

fn default_ttl_s() -> u32 {
    86_400
}

/// A receiver.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RecipientRequest {
    pub user_id: Name,
    /// The number on the app's icon, where the vendor has one.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub badge: Option<i32>,
}

/// What was accepted: committed, and kept through any crash.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct AcceptedView {
    pub notification_id: Uuid,
    /// Deliveries made: one per device that gets the push.
    pub deliveries: i64,
    /// Who gets none, and why; normal, not an error.
    pub skipped: Vec<SkippedView>,
    /// The same message was accepted before; this is what was answered then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

/// A user or a device without a delivery.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct SkippedView {
    pub user_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    pub reason: SkipReason,
}

/// Checks a request and makes it intake's.
pub(super) fn checked(app_id: AppId, request: NotificationRequest) -> Result<NewNotification, ApiError> {
    let fail = |field: String, message: String| Err(ApiError::InvalidBody { field, message });
    if !(1..=MAX_RECIPIENTS).contains(&request.to.len()) {
        return fail("to".to_owned(), format!("must hold 1 to {MAX_RECIPIENTS} users; post a larger group in parts"));
    }
    let mut seen = HashSet::with_capacity(request.to.len());
    for (index, to) in request.to.iter().enumerate() {
        if !seen.insert(&*to.user_id) {
            return fail(format!("to[{index}].user_id"), "is named twice".to_owned());
        }
        if to.badge.is_some_and(|badge| badge < 0) {
            return fail(format!("to[{index}].badge"), "must not be negative".to_owned());
        }
    }
    let desc = request.offline_push_info.as_ref().and_then(|info| info.desc.as_deref());
    let body = match request.body.as_deref() {
        Some(body) if body.trim().is_empty() => return fail("body".to_owned(), "must not be blank".to_owned()),
        Some(body) => body.to_owned(),
        None => match desc.filter(|desc| !desc.trim().is_empty()) {
            Some(desc) => desc.to_owned(),
            None => return fail("body".to_owned(), "must be given, here or as offline_push_info.Desc".to_owned()),
        },
    };
    if request.ttl_s > MAX_TTL_S {
        return fail("ttl_s".to_owned(), format!("must be 0 to {MAX_TTL_S} seconds"));
    }
    for (field, list) in [("only_devices", &request.only_devices), ("exclude_devices", &request.exclude_devices)] {
        if list.len() > MAX_LISTED_DEVICES {
            return fail(field.to_owned(), format!("must hold at most {MAX_LISTED_DEVICES} devices"));
        }
    }
    if request.mentions.len() > MAX_RECIPIENTS {
        return fail("mentions".to_owned(), format!("must hold at most {MAX_RECIPIENTS} users"));
    }
    if let Some(data) = &request.data {
        let bytes = serde_json::to_string(data).map_or(usize::MAX, |text| text.len());
        if bytes > MAX_DATA_BYTES {
            return fail("data".to_owned(), format!("must be at most {MAX_DATA_BYTES} bytes of JSON, not {bytes}"));
        }
    }
    if let Some(Err((path, message))) = request.offline_push_info.as_ref().map(OfflinePushInfo::check) {
        return fail(format!("offline_push_info.{path}"), message);
    }
    let canonical = serde_json::to_vec(&request).map_err(|_| ApiError::Internal("a request is not JSON"))?;
    let mut body_hash = [0; 16];
    body_hash.copy_from_slice(&sha256(&canonical)[..16]);
    let names = |list: Vec<Name>| list.into_iter().map(Name::into_string).collect();
    Ok(NewNotification {
        app_id,
        message_id: request.message_id.into_string(),
        part: request.part,
        body_hash,
        to: request.to.into_iter().map(|to| Recipient { user_id: to.user_id.into_string(), badge: to.badge }).collect(),
        content: Content {
            title: request.title.map(Text::into_string).unwrap_or_default(),
            body,
            conversation_id: request.conversation_id.map(Name::into_string),
            collapse_id: request.collapse_id.map(Name::into_string),
            data: request.data,
            sound: request.sound.map(Name::into_string),
            priority: request.priority,
            offline_push_info: request.offline_push_info,
            force: request.force,
            ttl_s: request.ttl_s,
        },
        sender_id: request.sender_id.map(Name::into_string),
        sender_device_id: request.sender_device_id.map(Name::into_string),
        sync: request.sync,
        mentions: names(request.mentions),
        only_devices: names(request.only_devices),
        exclude_devices: names(request.exclude_devices),
    })
}

impl Api {
    async fn accept(&self, new: NewNotification) -> Result<(StatusCode, AcceptedView), ApiError> {
        let app_id = new.app_id;
        match self.intake.accept(new).await? {
            Accepted::New { notification_id, deliveries, skipped } => {
                let skipped = skipped
                    .into_iter()
                    .map(|skip| SkippedView { user_id: skip.user_id, device_id: skip.device_id, reason: skip.reason })
                    .collect();
                let deliveries = i64::try_from(deliveries).unwrap_or(i64::MAX);
                let view = AcceptedView { notification_id: notification_id.0, deliveries, skipped, replayed: false };
                Ok((StatusCode::ACCEPTED, view))
            }
            Accepted::Replayed { notification_id, deliveries } => {
                let view = AcceptedView {
                    notification_id: notification_id.0,
                    deliveries: i64::from(deliveries),
                    skipped: self.skipped_of(app_id, notification_id).await?,
                    replayed: true,
                };
                Ok((StatusCode::OK, view))
            }
            Accepted::Reused => Err(ApiError::MessageIdReused),
        }
    }

    /// The skips of a notification, as the trace keeps them.
    async fn skipped_of(&self, app_id: AppId, notification: NotificationId) -> Result<Vec<SkippedView>, ApiError> {
        let events = store::events::of_notification(&self.database.api, app_id, notification, MAX_STORY).await?;
        Ok(events.iter().flat_map(skips).collect())
    }
}

/// The skips that one trace row tells of.
pub(super) fn skips(event: &store::events::Event) -> Vec<SkippedView> {
    if event.kind != "skipped" {
        return Vec::new();
    }
    let one = event.reason.as_deref().and_then(SkipReason::parse).map(|reason| SkippedView {
        user_id: event.user_id.clone(),
        device_id: event.device_id.clone(),
        reason,
    });
    let lists = event.skipped_users.iter().flatten().zip(event.skipped_devices.iter().flatten());
    let several = lists.zip(event.skipped_reasons.iter().flatten()).filter_map(|((user, device), reason)| {
        Some(SkippedView {
            user_id: user.clone(),
            device_id: Some(device.clone()).filter(|device| !device.is_empty()),
            reason: SkipReason::parse(reason)?,
        })
    });
    one.into_iter().chain(several).collect()
}

/// Stores one delivery per reachable device and answers after the commit: 202, or 200 with `replayed` for a message that
/// was accepted before.
#[utoipa::path(post, path = "/v1/apps/{app}/notifications", tag = "chat server", params(("app" = AppId, Path)),
    request_body = NotificationRequest, responses(
    (status = 202, body = AcceptedView),
    (status = 200, description = "replayed", body = AcceptedView),
    (status = 400, description = "`invalid-body`: nothing was stored", body = Problem),
    (status = 404, description = "the app", body = Problem),
    (status = 409, description = "`message-id-reused`", body = Problem),
    (status = 429, description = "`too-many-waiting-deliveries`: nothing was stored", body = Problem),
    (status = 503, description = "`overloaded` or `database-unavailable`: send the same request again", body = Problem),
))]
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Path(app_id): Path<AppId>,
    Body(request): Body<NotificationRequest>,
) -> Result<(StatusCode, Json<AcceptedView>), ApiError> {
    caller.chat(app_id)?;
    api.app(app_id).await?;
    let new = checked(app_id, request).inspect_err(|_| telemetry::metrics::notification("refused"))?;
    let (status, view) = api.accept(new).await?;
    Ok((status, Json(view)))
}

/// Several notifications in one call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchRequest {
    /// 1 to 100.
    #[schema(min_items = 1, max_items = 100)]
    pub notifications: Vec<NotificationRequest>,
}

/// One result per notification, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchView {
    pub results: Vec<BatchResult>,
}

/// What became of one notification of a batch: accepted, or a problem.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchResult {
    /// What the single call would have answered.
    #[schema(example = 202)]
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<AcceptedView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// Posts several notifications; each is accepted or refused by itself. A malformed one refuses the whole call before
/// anything is stored.
#[utoipa::path(post, path = "/v1/apps/{app}/notifications:batch", tag = "chat server", params(("app" = AppId, Path)),
    request_body = BatchRequest, responses(
    (status = 200, body = BatchView),
    (status = 400, description = "nothing was stored", body = Problem),
    (status = 404, description = "the app", body = Problem),
))]
pub(super) async fn create_batch(
    State(api): State<Api>,
    caller: Caller,
    Path(app_id): Path<AppId>,
    Body(batch): Body<BatchRequest>,
) -> Result<Json<BatchView>, ApiError> {
    caller.chat(app_id)?;
    api.app(app_id).await?;
    if !(1..=MAX_BATCH).contains(&batch.notifications.len()) {
        let message = format!("must hold 1 to {MAX_BATCH} notifications");
        return Err(ApiError::InvalidBody { field: "notifications".to_owned(), message });
    }
    let mut checked_requests = Vec::with_capacity(batch.notifications.len());
    for (index, request) in batch.notifications.into_iter().enumerate() {
        checked_requests.push(checked(app_id, request).map_err(|error| match error {
            ApiError::InvalidBody { field, message } => {
                ApiError::InvalidBody { field: format!("notifications[{index}].{field}"), message }
            }
            other => other,
        })?);
    }
    // Handed in together, so that they share a commit; answered in their order.
    let accepted = futures_util::future::join_all(checked_requests.into_iter().map(|new| api.accept(new))).await;
    let results = accepted
        .into_iter()
        .map(|result| match result {
            Ok((status, view)) => BatchResult { status: status.as_u16(), accepted: Some(view), problem: None },
            Err(error) => {
                let problem = error.problem();
                BatchResult { status: problem.status, accepted: None, problem: Some(problem) }
            }
        })
        .collect();
    Ok(Json(BatchView { results }))
}

/// A notification and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NotificationView {
    pub notification_id: Uuid,
    pub accepted_at: DateTime<Utc>,
    /// Deliveries that ended, by outcome.
    #[schema(value_type = Object)]
    pub outcomes: BTreeMap<String, u64>,
    /// Deliveries that have not ended.
    pub waiting: Vec<WaitingView>,
    pub skipped: Vec<SkippedView>,
    /// The story, oldest first, at most 5000 rows.
    pub events: Vec<TraceEvent>,
}

/// What became of a notification. Takes a delivery's id too.
#[utoipa::path(get, path = "/v1/apps/{app}/notifications/{notification}", tag = "chat server",
    params(("app" = AppId, Path), ("notification" = Uuid, Path)),
    responses((status = 200, body = NotificationView), (status = 404, body = Problem)))]
pub(super) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, id)): Path<(AppId, Uuid)>,
) -> Result<Json<NotificationView>, ApiError> {
    caller.read(app_id)?;
    api.app(app_id).await?;
    let notification = NotificationId::containing(id);
    let pool = &api.database.api;
    let waiting = store::deliveries::waiting_of_notification(pool, notification, MAX_STORY).await?;
    let events = store::events::of_notification(pool, app_id, notification, MAX_STORY).await?;
    let waiting: Vec<_> = waiting.into_iter().filter(|waiting| waiting.app_id == app_id.0).collect();
    if waiting.is_empty() && events.is_empty() {
        return Err(ApiError::NotFound { what: "notification of this app" });
    }
    let mut outcomes = BTreeMap::new();
    for event in events.iter().filter(|event| event.r#final && event.kind != "skipped" && !event.duplicate) {
        *outcomes.entry(outcome(event)).or_default() += 1;
    }
    Ok(Json(NotificationView {
        notification_id: notification.0,
        accepted_at: notification.accepted_at(),
        outcomes,
        waiting: waiting.into_iter().map(WaitingView::from).collect(),
        skipped: events.iter().flat_map(skips).collect(),
        events: events.iter().filter(|event| event.kind != "skipped").map(TraceEvent::from).collect(),
    }))
}

/// The outcome a final event means: the vendor's reason, `cancelled` or `expired`.
fn outcome(event: &store::events::Event) -> String {
    match event.kind.as_str() {
        "attempt" => event.reason.clone().unwrap_or_default(),
        kind => kind.to_owned(),
    }
}

/// What a cancellation did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Cancelled {
    /// Deliveries that will not be sent: those that waited in the database and on this instance. What other instances hold in
    /// memory ends a moment later; calls on the wire go on; the notification's story tells.
    pub cancelled: u64,
}

/// Cancels what still waits of a notification.
#[utoipa::path(delete, path = "/v1/apps/{app}/notifications/{notification}", tag = "chat server",
    params(("app" = AppId, Path), ("notification" = Uuid, Path)),
    responses((status = 200, body = Cancelled), (status = 404, body = Problem)))]
pub(super) async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, id)): Path<(AppId, Uuid)>,
) -> Result<Response, ApiError> {
    caller.chat(app_id)?;
    api.app(app_id).await?;
    let notification = NotificationId::containing(id);
    let pool = &api.database.api;
    let waiting = store::deliveries::waiting_of_notification(pool, notification, 1).await?;
    let is_known = match waiting.first() {
        Some(waiting) => waiting.app_id == app_id.0,
        None => !store::events::of_notification(pool, app_id, notification, 1).await?.is_empty(),
    };
    if !is_known {
        return Err(ApiError::NotFound { what: "notification of this app" });
    }
    // In a task of its own: a caller that goes away must not leave it half done.
    let dispatcher = api.dispatcher.clone();
    let in_memory = tokio::spawn(async move { dispatcher.cancel(app_id, notification).await }).await.unwrap_or(0);
    // Before what waits in the database, so that no instance takes it in again.
    store::signals::notification_cancelled(pool, app_id, notification).await?;
    let stored = store::deliveries::cancel_of_notification(
        pool,
        notification,
        CancelReason::CancelledByCaller.as_str(),
        api.clock.now(),
    )
    .await?;
    telemetry::metrics::cancelled_waiting(stored);
    Ok(Json(Cancelled { cancelled: stored + in_memory as u64 }).into_response())
}

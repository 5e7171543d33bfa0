//! The trace: what happened to a user's notifications, and why.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::error::ApiError;
use super::extract::{Path, Query};
use super::notifications::skips;
use super::page::{checked_limit, cursor, position};
use super::{Api, Caller};
use crate::domain::id::{AppId, NotificationId};
use crate::domain::text::Name;
use crate::store;
use crate::store::deliveries::Waiting;
use crate::store::events::Event;

/// Rows about several users at once that are looked through for one of them.
const SCANNED_GROUP_ROWS: i64 = 20_000;
const MAX_PARTS: i64 = 20;

/// Whose story. One of `user_id` and `message_id` is needed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TraceQuery {
    pub user_id: Option<Name>,
    /// The chat server's message id, within the last 48 hours; with `user_id` only that user's part of it.
    pub message_id: Option<Name>,
    /// Not older than this; a day ago if not given.
    pub from: Option<DateTime<Utc>>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Rows of a page, 1 to 200; 50 if not given.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u16>,
}

/// A time line, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Trace {
    pub events: Vec<TraceEvent>,
    /// What has not ended.
    pub waiting: Vec<WaitingView>,
    /// Skips in large group messages were looked through back to this time only; absent: through the whole range. The
    /// message id finds older ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_skips_since: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One event.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TraceEvent {
    pub at: DateTime<Utc>,
    pub notification_id: Uuid,
    /// Absent where the event concerns no single delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<Uuid>,
    /// `skipped`, `rescued`, `attempt`, `postponed`, `cancelled`, `expired`.
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_id: Option<i64>,
    /// The vendor's own code, verbatim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_message_id: Option<String>,
    /// How long the vendor's answer took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<i32>,
    /// Attempts made so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i16>,
    /// The outcome: nothing follows.
    pub r#final: bool,
    /// Recorded by an instance that no longer owned the delivery: it was sent twice.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// Masked token, when it is tried again, what was cut from the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub detail: Option<serde_json::Value>,
}

impl From<&Event> for TraceEvent {
    fn from(event: &Event) -> Self {
        let notification = NotificationId::containing(event.delivery_id);
        Self {
            at: event.at,
            notification_id: notification.0,
            delivery_id: (event.delivery_id != notification.0).then_some(event.delivery_id),
            kind: event.kind.clone(),
            reason: event.reason.clone(),
            user_id: event.user_id.clone(),
            device_id: event.device_id.clone(),
            certificate_id: event.certificate_id,
            vendor_code: event.vendor_code.clone(),
            vendor_message_id: event.vendor_message_id.clone(),
            latency_ms: event.latency_ms,
            attempt: event.attempt,
            r#final: event.r#final,
            duplicate: event.duplicate,
            detail: event.detail.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        }
    }
}

/// A delivery that has not ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WaitingView {
    pub delivery_id: Uuid,
    pub user_id: String,
    pub device_id: String,
    pub certificate_id: i64,
    /// In an instance's memory: waiting for its turn, or on the wire.
    pub in_memory: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    pub attempts: i16,
}

impl From<Waiting> for WaitingView {
    fn from(waiting: Waiting) -> Self {
        Self {
            delivery_id: waiting.delivery_id,
            user_id: waiting.user_id,
            device_id: waiting.device_id,
            certificate_id: waiting.certificate_id,
            in_memory: waiting.owner.is_some(),
            due_at: Some(waiting.due_at),
            expires_at: Some(waiting.expires_at),
            attempts: waiting.attempts,
        }
    }
}

/// What happened, and why: of a user, of a message, or of a user in a message.
#[utoipa::path(get, path = "/v1/apps/{app}/trace", tag = "chat server", params(("app" = AppId, Path), TraceQuery),
    responses((status = 200, body = Trace), (status = 400, body = super::Problem),
        (status = 404, description = "the app", body = super::Problem)))]
pub(super) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(app_id): Path<AppId>,
    Query(query): Query<TraceQuery>,
) -> Result<Json<Trace>, ApiError> {
    caller.read(app_id)?;
    api.app(app_id).await?;
    match (&query.message_id, &query.user_id) {
        (Some(message_id), user_id) => of_message(&api, app_id, message_id, user_id.as_deref()).await,
        (None, Some(user_id)) => of_user(&api, app_id, user_id, &query).await,
        (None, None) => {
            Err(ApiError::InvalidParameter { field: "user_id", message: "is needed, or message_id".to_owned() })
        }
    }
    .map(Json)
}

async fn of_message(api: &Api, app_id: AppId, message_id: &str, user_id: Option<&str>) -> Result<Trace, ApiError> {
    const MAX_ROWS: i64 = 5_000;
    let pool = &api.database.api;
    let is_wanted = |user: &str| user_id.is_none_or(|wanted| wanted == user);
    let mut events = Vec::new();
    let mut waiting = Vec::new();
    for notification in store::notifications::find_all_parts(pool, app_id, message_id, MAX_PARTS).await? {
        let of_part = store::events::of_notification(pool, app_id, notification, MAX_ROWS).await?;
        events.extend(of_part.iter().flat_map(|event| expanded(event, user_id)));
        let of_part = store::deliveries::waiting_of_notification(pool, notification, MAX_ROWS).await?;
        waiting.extend(of_part.into_iter().filter(|row| is_wanted(&row.user_id)).map(WaitingView::from));
    }
    events.sort_by_key(|event| std::cmp::Reverse(event.at));
    Ok(Trace { events, waiting, group_skips_since: None, next: None })
}

/// A row about several users becomes one event for each of them, or for the one that was asked for.
fn expanded(event: &Event, user_id: Option<&str>) -> Vec<TraceEvent> {
    let is_wanted = |user: &str| user_id.is_none_or(|wanted| wanted == user);
    if event.skipped_users.is_none() {
        return Some(TraceEvent::from(event)).filter(|event| is_wanted(&event.user_id)).into_iter().collect();
    }
    skips(event)
        .into_iter()
        .filter(|skip| is_wanted(&skip.user_id))
        .map(|skip| TraceEvent {
            user_id: skip.user_id,
            device_id: skip.device_id,
            reason: Some(skip.reason.as_str().to_owned()),
            ..TraceEvent::from(event)
        })
        .collect()
}

async fn of_user(api: &Api, app_id: AppId, user_id: &str, query: &TraceQuery) -> Result<Trace, ApiError> {
    let limit = checked_limit(query.limit)?;
    let rows = i64::try_from(limit + 1).unwrap_or(1);
    let now = api.clock.now();
    let from = query.from.unwrap_or(now - TimeDelta::days(1));
    if from < DateTime::UNIX_EPOCH || from > now + TimeDelta::days(1) {
        let message = "must be a time in the past, RFC 3339".to_owned();
        return Err(ApiError::InvalidParameter { field: "from", message });
    }
    let before = position::<DateTime<Utc>>(query.cursor.as_deref())?;
    let is_first_page = before.is_none();
    let before = before.unwrap_or(now + TimeDelta::minutes(1));
    let pool = &api.database.api;
    let own = store::events::of_user(pool, app_id, user_id, from, before, rows).await?;
    let (in_groups, group_skips_since) =
        store::events::of_user_in_groups(pool, app_id, user_id, from, before, SCANNED_GROUP_ROWS).await?;
    let mut events: Vec<TraceEvent> =
        own.iter().chain(&in_groups).flat_map(|event| expanded(event, Some(user_id))).collect();
    events.sort_by_key(|event| std::cmp::Reverse(event.at));
    // A page ends between two moments, so that no event is shown twice or left out.
    let next = events.get(limit).map(|event| event.at).map(|at| at + TimeDelta::microseconds(1));
    // More events at one instant than a page holds are shown together.
    let next = next
        .map(|next| if events.iter().any(|event| event.at >= next) { next } else { next - TimeDelta::microseconds(1) });
    if let Some(next) = next {
        events.retain(|event| event.at >= next);
    }
    let mut waiting = Vec::new();
    if is_first_page {
        let stored = store::deliveries::waiting_of_user(pool, app_id, user_id, rows).await?;
        waiting.extend(stored.into_iter().map(WaitingView::from));
        let in_memory = api.dispatcher.of_user(app_id, user_id).into_iter().take(limit);
        waiting.extend(in_memory.map(|(delivery_id, device_id, certificate_id)| WaitingView {
            delivery_id: delivery_id.0,
            user_id: user_id.to_owned(),
            device_id,
            certificate_id: certificate_id.0,
            in_memory: true,
            due_at: None,
            expires_at: None,
            attempts: 0,
        }));
    }
    Ok(Trace { events, waiting, group_skips_since, next: next.map(|next| cursor(next.to_rfc3339())) })
}

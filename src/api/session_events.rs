//! Session events: what the chat server tells of its users' devices.

use axum::Json;
use axum::extract::State;
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::ApiError;
use super::extract::{Body, Path};
use super::{Api, Caller};
use crate::directory::Snapshot;
use crate::domain::id::{AppId, CertificateId};
use crate::domain::session::{Applied, Event, EventType, MessageKey, Platform, Refusal, ReportedToken, judge_time};
use crate::domain::text::{Name, Text};
use crate::sessions::{Change, Changed};
use crate::vendor::registry::check_token;

/// The most events of one call, and devices of one kick.
const MAX_EVENTS: usize = 1_000;
const MAX_KICKED: usize = 100;
/// The most unconfirmed messages of one disconnect, and of all disconnects of one call.
const MAX_UNACKED: usize = 100;
const MAX_UNACKED_OF_CALL: usize = 1_000;

/// A batch of events; applied in their order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionEvents {
    /// 1 to 1000.
    #[schema(min_items = 1, max_items = 1000)]
    pub events: Vec<SessionEvent>,
}

/// One event.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionEvent {
    pub user_id: Name,
    /// Always but with `user_deleted`.
    #[serde(default)]
    pub device_id: Option<Name>,
    /// Always but with `user_deleted`.
    #[serde(default)]
    #[schema(inline)]
    pub platform: Option<Platform>,
    #[serde(rename = "type")]
    #[schema(inline)]
    pub kind: EventType,
    /// When it happened, in milliseconds since the epoch. Orders a device's events; ties go to the later arrival.
    pub event_time: i64,
    /// Strictly rising with each login of a device; beats `event_time`.
    #[serde(default)]
    pub login_seq: Option<i64>,
    /// `disconnect` only: how the link ended.
    #[serde(default)]
    #[schema(inline)]
    pub link: Option<Link>,
    /// Unread messages of the user: the base of the badge.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub unread: Option<i32>,
    /// With `token`, `login` and `token_report` only: bound in the same transaction.
    #[serde(default)]
    pub certificate_id: Option<CertificateId>,
    #[serde(default)]
    pub token: Option<Text<1, 1024>>,
    /// `kicked` only: the devices that were kicked; `device_id` is then the one that stays. At most 100.
    #[serde(default)]
    pub device_ids: Option<Vec<Name>>,
    /// `kicked` only: the platforms whose sessions were kicked, all but `device_id`, the one that stays.
    #[serde(default)]
    #[schema(inline)]
    pub platforms: Option<Vec<Platform>>,
    /// `read` only: the conversation that was read. What still waits of it is cancelled, on all of the user's devices.
    #[serde(default)]
    pub conversation_id: Option<Name>,
    /// `disconnect` with `link` `timeout` only: messages handed to the link that nobody confirmed, at most 100, and 1000 in
    /// one call. Those that were skipped because the app was open are pushed after all, if the app's `rescue_window_s` allows.
    #[serde(default)]
    pub unacked: Option<Vec<Unacked>>,
}

/// A message as it was posted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Unacked {
    pub message_id: Name,
    #[serde(default)]
    pub part: u16,
}

/// How a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Link {
    Close,
    Timeout,
}

/// One result per event, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionResults {
    pub results: Vec<SessionResult>,
}

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionResult {
    pub result: ResultKind,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Refusal>,
    /// The event time lay in the future and was taken as now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub time_adjusted: bool,
}

/// See [`SessionResult`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ResultKind {
    Applied,
    /// A newer event of this session was applied before.
    Stale,
    Refused,
}

/// Reports what happened to sessions. Answers when it is committed: from then on nothing it forbids is sent.
#[utoipa::path(post, path = "/v1/apps/{app}/session-events", tag = "chat server", params(("app" = AppId, Path)),
    request_body = SessionEvents, responses(
    (status = 200, body = SessionResults),
    (status = 400, description = "nothing was applied", body = super::Problem),
    (status = 404, description = "the app", body = super::Problem),
))]
pub(super) async fn post(
    State(api): State<Api>,
    caller: Caller,
    Path(app_id): Path<AppId>,
    Body(mut batch): Body<SessionEvents>,
) -> Result<Json<SessionResults>, ApiError> {
    caller.chat(app_id)?;
    api.app(app_id).await?;
    if !(1..=MAX_EVENTS).contains(&batch.events.len()) {
        let message = format!("must hold 1 to {MAX_EVENTS} events");
        return Err(ApiError::InvalidBody { field: "events".to_owned(), message });
    }
    for (index, event) in batch.events.iter().enumerate() {
        check(event)
            .map_err(|(field, message)| ApiError::InvalidBody { field: format!("events[{index}].{field}"), message })?;
    }
    check_unacked(&batch.events)?;
    let now = api.clock.now();
    let snapshot = api.knowing(app_id, batch.events.iter().filter_map(|event| event.certificate_id)).await?;
    for (index, event) in batch.events.iter_mut().enumerate() {
        let (Some(certificate_id), Some(token)) = (event.certificate_id, &mut event.token) else { continue };
        let entry = snapshot.certificate_of(app_id, certificate_id).ok_or_else(|| ApiError::InvalidBody {
            field: format!("events[{index}].certificate_id"),
            message: "names no certificate of this app".to_owned(),
        })?;
        *token = check_token(entry.certificate.vendor, token)
            .and_then(Text::new)
            .map_err(|message| ApiError::InvalidBody { field: format!("events[{index}].token"), message })?;
    }
    // Events that can be judged by themselves are; the others keep their order in one transaction.
    let judged: Vec<Result<(Event, bool), Refusal>> =
        batch.events.into_iter().map(|event| judge(event, app_id, &snapshot, now)).collect();
    let mut changes = Vec::with_capacity(judged.len());
    let outlines: Vec<Result<bool, Refusal>> = judged
        .into_iter()
        .map(|judged| {
            judged.map(|(event, is_adjusted)| {
                changes.push(Change::Event(event));
                is_adjusted
            })
        })
        .collect();
    let mut applied = api.change_all(app_id, changes).await?.into_iter();
    let results = outlines
        .into_iter()
        .map(|outline| match outline {
            Ok(time_adjusted) => {
                let (result, reason) = match applied.next() {
                    Some(Changed::Event(Applied::Applied)) => (ResultKind::Applied, None),
                    Some(Changed::Event(Applied::Refused(reason))) => (ResultKind::Refused, Some(reason)),
                    _ => (ResultKind::Stale, None),
                };
                SessionResult { result, reason, time_adjusted }
            }
            Err(reason) => SessionResult { result: ResultKind::Refused, reason: Some(reason), time_adjusted: false },
        })
        .collect();
    Ok(Json(SessionResults { results }))
}

/// Checks how many unconfirmed messages the events name together: the first that goes beyond is wrong.
fn check_unacked(events: &[SessionEvent]) -> Result<(), ApiError> {
    let mut named = 0;
    for (index, event) in events.iter().enumerate() {
        named += event.unacked.as_ref().map_or(0, Vec::len);
        if named > MAX_UNACKED_OF_CALL {
            let message = format!("the events of one call may name at most {MAX_UNACKED_OF_CALL} messages together");
            return Err(ApiError::InvalidBody { field: format!("events[{index}].unacked"), message });
        }
    }
    Ok(())
}

/// Checks which fields go with which type.
fn check(event: &SessionEvent) -> Result<(), (&'static str, String)> {
    use EventType::{Disconnect, Kicked, Login, Read, TokenReport, UserDeleted};
    let only_with = |field, is_there: bool, kinds: &[EventType], names: &str| {
        if is_there && !kinds.contains(&event.kind) {
            Err((field, format!("goes with type {names} only")))
        } else {
            Ok(())
        }
    };
    only_with("link", event.link.is_some(), &[Disconnect], "disconnect")?;
    only_with("token", event.token.is_some(), &[Login, TokenReport], "login or token_report")?;
    only_with("certificate_id", event.certificate_id.is_some(), &[Login, TokenReport], "login or token_report")?;
    only_with("device_ids", event.device_ids.is_some(), &[Kicked], "kicked")?;
    only_with("platforms", event.platforms.is_some(), &[Kicked], "kicked")?;
    only_with("conversation_id", event.conversation_id.is_some(), &[Read], "read")?;
    only_with("unacked", event.unacked.is_some(), &[Disconnect], "disconnect")?;
    if event.unacked.is_some() && event.link != Some(Link::Timeout) {
        return Err(("unacked", "goes with link timeout only".to_owned()));
    }
    if event.unacked.as_ref().is_some_and(|unacked| unacked.is_empty() || unacked.len() > MAX_UNACKED) {
        return Err(("unacked", format!("must hold 1 to {MAX_UNACKED} messages")));
    }
    if event.kind != UserDeleted && event.device_id.is_none() {
        return Err(("device_id", "must be given".to_owned()));
    }
    if event.kind != UserDeleted && event.platform.is_none() {
        return Err(("platform", "must be given".to_owned()));
    }
    if event.kind == TokenReport && event.token.is_none() {
        return Err(("token", "must be given with type token_report".to_owned()));
    }
    if event.platforms.as_ref().is_some_and(|platforms| platforms.is_empty() || platforms.len() > Platform::ALL.len()) {
        return Err(("platforms", "must hold 1 to 8 platforms".to_owned()));
    }
    if event.token.is_some() != event.certificate_id.is_some() {
        return Err(("token", "goes with certificate_id, and certificate_id with it".to_owned()));
    }
    if event.unread.is_some_and(|unread| unread < 0) {
        return Err(("unread", "must not be negative".to_owned()));
    }
    if event.device_ids.as_ref().is_some_and(|ids| ids.is_empty() || ids.len() > MAX_KICKED) {
        return Err(("device_ids", format!("must hold 1 to {MAX_KICKED} device ids")));
    }
    if DateTime::from_timestamp_millis(event.event_time).is_none() {
        return Err(("event_time", "must be milliseconds since the epoch".to_owned()));
    }
    Ok(())
}

fn judge(
    event: SessionEvent,
    app_id: AppId,
    snapshot: &Snapshot,
    now: DateTime<chrono::Utc>,
) -> Result<(Event, bool), Refusal> {
    let at = DateTime::from_timestamp_millis(event.event_time).unwrap_or(DateTime::UNIX_EPOCH);
    let (event_time, is_adjusted) = judge_time(at, now)?;
    let token = match (event.certificate_id, event.token) {
        (Some(certificate_id), Some(token)) => {
            // Checked with the batch.
            snapshot.certificate_of(app_id, certificate_id).map(|entry| ReportedToken {
                certificate_id,
                vendor: entry.certificate.vendor,
                token: token.into_string(),
            })
        }
        _ => None,
    };
    let names = |list: Option<Vec<Name>>| list.unwrap_or_default().into_iter().map(Name::into_string).collect();
    let unacked = event.unacked.unwrap_or_default().into_iter();
    let event = Event {
        user_id: event.user_id.into_string(),
        // A deleted user has none.
        device_id: event.device_id.map(Name::into_string).unwrap_or_default(),
        platform: event.platform.unwrap_or(Platform::Android),
        kind: event.kind,
        event_time,
        login_seq: event.login_seq,
        unread: event.unread,
        token,
        kicked_devices: names(event.device_ids),
        kicked_platforms: event.platforms.unwrap_or_default(),
        conversation_id: event.conversation_id.map(Name::into_string),
        unacked: unacked.map(|one| MessageKey { message_id: one.message_id.into_string(), part: one.part }).collect(),
    };
    Ok((event, is_adjusted))
}

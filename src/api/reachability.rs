//! Would a push reach this user now? The answer, or everything that keeps it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, Problem};
use super::extract::Path;
use super::reasons::ReasonView;
use super::{Api, Caller};
use crate::directory::{Entry, Snapshot};
use crate::dispatcher::Dispatcher;
use crate::domain::certificate::{CertificateState, VendorKind};
use crate::domain::id::{AppId, CertificateId, NotificationId};
use crate::domain::notification::{Content, Notification, Priority};
use crate::domain::preferences::Notify;
use crate::domain::routing::{Candidate, Decision, User, Wishes, by_binding, by_user, decide};
use crate::domain::session::{BindingStatus, Device, Platform, SessionState};
use crate::domain::skip::{SkipReason, WaitReason};
use crate::domain::text::Name;
use crate::store;

/// The most devices of one user that are looked at.
const MAX_DEVICES: i64 = 200;

/// Whether a push reaches somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reach {
    Yes,
    /// It would be accepted, and wait.
    Later,
    No,
}

/// Whether a plain message, from somebody else and outside any conversation, would reach a user now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reachability {
    pub user_id: String,
    /// Of the best device.
    pub reachable: Reach,
    /// What keeps every device of the user from it.
    pub reasons: Vec<ReasonView>,
    pub devices: Vec<DeviceReach>,
}

/// Whether it would reach one device.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeviceReach {
    pub device_id: String,
    pub platform: Platform,
    /// Where the session stands now.
    pub session_state: SessionState,
    /// Of the last session event; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<VendorKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_id: Option<CertificateId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binding_status: Option<BindingStatus>,
    pub reachable: Reach,
    /// Everything that keeps the device from it; each has to change.
    pub reasons: Vec<ReasonView>,
    /// What a delivery would wait for.
    pub waits: Vec<ReasonView>,
}

/// What deliveries of this notification with this certificate would wait for.
pub(super) fn waits(dispatcher: &Dispatcher, entry: &Entry, notification: &Notification) -> Vec<WaitReason> {
    let mut waits = Vec::new();
    match entry.certificate.state {
        CertificateState::Active => {}
        CertificateState::Paused => waits.push(WaitReason::CertificatePaused),
        CertificateState::Refused => waits.push(WaitReason::CertificateRefused),
    }
    if entry.adapter.is_err() {
        waits.push(WaitReason::CertificateUnusable);
    }
    let status = dispatcher.lane_status(entry.certificate.certificate_id);
    if status.breaker_open {
        waits.push(WaitReason::VendorDown);
    }
    // Only its own class counts: another one may have a quota left.
    let class = entry.adapter.as_ref().ok().map(|vendor| vendor.message_class(notification));
    if class.is_some_and(|class| status.holds.iter().any(|(held, _)| *held == class)) {
        waits.push(WaitReason::QuotaSpent);
    }
    waits
}

/// A message that says nothing of its own: its class is the certificate's.
fn plain(app_id: AppId, now_ms: u64) -> Notification {
    let content = Content {
        title: String::new(),
        body: String::new(),
        conversation_id: None,
        collapse_id: None,
        data: None,
        sound: None,
        priority: Priority::default(),
        offline_push_info: None,
        force: false,
        ttl_s: 0,
    };
    Notification { notification_id: NotificationId::new(now_ms, 0), app_id, content }
}

/// Tells whether a push would reach a user now: yes, or for each device everything that keeps it, and what would change that.
#[utoipa::path(get, path = "/v1/apps/{app}/users/{user}/reachability", tag = "chat server",
    params(("app" = AppId, Path), ("user" = Name, Path)),
    responses((status = 200, body = Reachability), (status = 404, description = "the app", body = Problem)))]
pub(super) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, user_id)): Path<(AppId, Name)>,
) -> Result<Json<Reachability>, ApiError> {
    caller.read(app_id)?;
    let app = api.app(app_id).await?;
    let pool = &api.database.api;
    let devices = store::devices::of_user(pool, app_id, &user_id, MAX_DEVICES).await?;
    let preferences = store::preferences::of_user(pool, app_id, &user_id).await?.map(|(preferences, _)| preferences);
    let snapshot = api.directory.snapshot().clone();
    let now = api.clock.now();
    let user = User {
        user_id: &user_id,
        preferences: preferences.as_ref(),
        // A message that belongs to no conversation is not muted with one.
        notify: Notify::All,
        is_mentioned: false,
    };
    let of_user = by_user(&user, &Wishes::default(), now);
    let undisturbed = User { preferences: None, ..user };
    let rule = preferences.as_ref().and_then(|preferences| preferences.multi_device);
    let mut settings = app.settings.clone();
    settings.multi_device = rule.unwrap_or(settings.multi_device);
    let candidates: Vec<Candidate<'_>> = devices
        .iter()
        .map(|device| Candidate {
            device_id: &device.device_id,
            session: device.session(),
            binding: device.binding_status(),
        })
        .collect();
    let decisions = match decide(&undisturbed, &candidates, &Wishes::default(), &settings, now) {
        Decision::Each(decisions) => decisions,
        Decision::Nobody(_) => Vec::new(),
    };
    let plain = plain(app_id, api.clock.now_ms());
    let views: Vec<DeviceReach> = devices
        .iter()
        .zip(decisions)
        .map(|(device, decision)| {
            let state = device.session().at(now, &settings).state;
            of_device(&api.dispatcher, &snapshot, &plain, device, state, decision)
        })
        .collect();
    let mut reasons: Vec<SkipReason> = of_user.into_iter().collect();
    if views.is_empty() {
        reasons.push(SkipReason::NoDevice);
    }
    let best = views.iter().map(|view| view.reachable).min_by_key(|reach| *reach as u8).unwrap_or(Reach::No);
    Ok(Json(Reachability {
        user_id: user_id.into_string(),
        reachable: if reasons.is_empty() { best } else { Reach::No },
        reasons: reasons.into_iter().map(ReasonView::from).collect(),
        devices: views,
    }))
}

fn of_device(
    dispatcher: &Dispatcher,
    snapshot: &Snapshot,
    plain: &Notification,
    device: &Device,
    state: SessionState,
    decision: Option<SkipReason>,
) -> DeviceReach {
    let mut reasons: Vec<SkipReason> = decision.into_iter().collect();
    // A binding that is gone needs a report besides the login that the session needs.
    let of_binding = by_binding(device.binding_status());
    reasons.extend(of_binding.filter(|reason| Some(*reason) != decision));
    let binding = device.binding.as_ref();
    let entry: Option<&Arc<Entry>> =
        binding.and_then(|binding| snapshot.certificate_of(plain.app_id, binding.certificate_id));
    if binding.is_some() && entry.is_none() {
        reasons.push(SkipReason::CertificateMissing);
    }
    let waits = entry.map(|entry| waits(dispatcher, entry, plain)).unwrap_or_default();
    DeviceReach {
        device_id: device.device_id.clone(),
        platform: device.platform,
        session_state: state,
        event_time: (device.event_time > DateTime::UNIX_EPOCH).then_some(device.event_time),
        vendor: binding.map(|binding| binding.vendor),
        certificate_id: binding.map(|binding| binding.certificate_id),
        binding_status: device.binding_status(),
        reachable: match (reasons.is_empty(), waits.is_empty()) {
            (true, true) => Reach::Yes,
            (true, false) => Reach::Later,
            (false, _) => Reach::No,
        },
        reasons: reasons.into_iter().map(ReasonView::from).collect(),
        waits: waits.into_iter().map(ReasonView::from).collect(),
    }
}

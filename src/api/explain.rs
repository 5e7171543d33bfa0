//! A dry run: who would get a notification, who would not and why, and what the vendors would be asked. Nothing is stored, sent
//! or counted.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{ApiError, Problem};
use super::extract::{Body, Path};
use super::notifications::{NotificationRequest, checked};
use super::reachability::waits;
use super::reasons::ReasonView;
use super::{Api, Caller};
use crate::directory::{Entry, Snapshot};
use crate::domain::app::AppSettings;
use crate::domain::burst::TextVariant;
use crate::domain::certificate::VendorKind;
use crate::domain::id::{AppId, CertificateId, NotificationId};
use crate::domain::notification::{Notification, SharedNotification};
use crate::intake::NewNotification;
use crate::intake::choose::{Choice, Chosen, choose};
use crate::store;
use crate::store::notifications::{Question, RoutedDevice};
use crate::vendor::preview::RenderedRequest;
use crate::vendor::{Clearance, Push, Target};

/// The most recipients of a dry run: each device's request is shown.
const MAX_RECIPIENTS: usize = 100;

/// What would become of a notification.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explanation {
    /// The message id was accepted before, as this notification: posted now it would be answered as a replay, or refused if
    /// the body is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub already_accepted: Option<Uuid>,
    /// Deliveries that would be made.
    pub deliveries: usize,
    /// In the order of `to`.
    pub recipients: Vec<ExplainedRecipient>,
}

/// What would become of it for one user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExplainedRecipient {
    pub user_id: String,
    /// Why the user as a whole gets none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonView>,
    pub devices: Vec<ExplainedDevice>,
}

/// What would become of it on one device.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExplainedDevice {
    pub device_id: String,
    pub push: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<ExplainedDelivery>,
}

/// The delivery that would be made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExplainedDelivery {
    pub certificate_id: CertificateId,
    pub vendor: VendorKind,
    /// As the phone would show it, cut to what the vendor takes.
    pub title: String,
    pub body: String,
    /// The user hides contents: another text is shown.
    pub hidden: bool,
    /// What was cut from the texts.
    pub cut: Vec<CutView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub badge: Option<i32>,
    /// What it would wait for before it is sent.
    pub waits: Vec<ReasonView>,
    /// The requests to the vendor, secrets and the device token masked; those of one device, although devices of one
    /// notification share a request where the vendor takes several.
    pub requests: Vec<RenderedRequest>,
}

/// A text that was cut, or data that was left out.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CutView {
    pub field: &'static str,
    /// Its length before and after, in the vendor's own counting.
    pub from: usize,
    pub to: usize,
}

/// Tells what would become of a notification: for each device the decision and its reason, and the exact requests to the
/// vendor with secrets masked. Nothing is stored, sent or counted, so the app's burst rule does not act. At most 100
/// recipients.
#[utoipa::path(post, path = "/v1/apps/{app}/notifications:explain", tag = "chat server", params(("app" = AppId, Path)),
    request_body = NotificationRequest, responses(
    (status = 200, body = Explanation),
    (status = 400, description = "`invalid-body`", body = Problem),
    (status = 404, description = "the app", body = Problem),
))]
pub(super) async fn explain(
    State(api): State<Api>,
    caller: Caller,
    Path(app_id): Path<AppId>,
    Body(request): Body<NotificationRequest>,
) -> Result<Json<Explanation>, ApiError> {
    caller.read(app_id)?;
    let app = api.app(app_id).await?;
    if request.to.len() > MAX_RECIPIENTS {
        let message = format!("must hold at most {MAX_RECIPIENTS} users in a dry run");
        return Err(ApiError::InvalidBody { field: "to".to_owned(), message });
    }
    let mut new = checked(app_id, request)?;
    if new.content.title.trim().is_empty() {
        new.content.title = app.settings.default_title.to_string();
    }
    let pool = &api.database.api;
    let known = store::notifications::find(pool, app_id, &new.message_id, i32::from(new.part)).await?;
    let now = api.clock.now();
    let mut question = Question::default();
    new.ask(&mut question);
    let routed = store::notifications::route(pool, &question, now).await?;
    let certificates = routed.iter().filter_map(|device| device.certificate_id).map(CertificateId);
    let snapshot = api.knowing(app_id, certificates).await?;
    let mut devices: Vec<Vec<RoutedDevice>> = new.to.iter().map(|_| Vec::new()).collect();
    for device in routed {
        if let Some(of_user) = devices.get_mut(device.recipient) {
            of_user.push(device);
        }
    }
    let mut choices = choose(&new, devices, &app.settings, &snapshot, now);
    count_badges(&api, app_id, &mut choices, i32::from(new.content.raises_badge())).await?;
    let dry_run = DryRun::new(&api, &snapshot, &app.settings, &new, now);
    let mut recipients: Vec<ExplainedRecipient> = new
        .to
        .iter()
        .map(|to| ExplainedRecipient { user_id: to.user_id.clone(), reason: None, devices: Vec::new() })
        .collect();
    let places: HashMap<&str, usize> =
        new.to.iter().enumerate().map(|(place, to)| (to.user_id.as_str(), place)).collect();
    let mut deliveries = 0;
    for choice in choices {
        let user_id = match &choice {
            Choice::Push(chosen) => &chosen.user_id,
            Choice::Skip(skipped) => &skipped.user_id,
        };
        let Some(recipient) = places.get(user_id.as_str()).and_then(|place| recipients.get_mut(*place)) else {
            continue;
        };
        match choice {
            Choice::Push(chosen) => {
                deliveries += 1;
                let delivery = dry_run.delivery(&chosen);
                let device_id = chosen.device_id;
                recipient.devices.push(ExplainedDevice { device_id, push: true, reason: None, delivery });
            }
            Choice::Skip(skipped) => {
                let reason = Some(ReasonView::from(skipped.reason));
                match skipped.device_id {
                    None => recipient.reason = reason,
                    Some(device_id) => {
                        recipient.devices.push(ExplainedDevice { device_id, push: false, reason, delivery: None });
                    }
                }
            }
        }
    }
    let already_accepted = known.map(|known| known.notification_id.0);
    Ok(Json(Explanation { already_accepted, deliveries, recipients }))
}

/// The badges that the server counts, as they would be with this push, which counts `pushes`.
async fn count_badges(api: &Api, app_id: AppId, choices: &mut [Choice], pushes: i32) -> Result<(), ApiError> {
    let mut counting: Vec<&mut Chosen> = choices
        .iter_mut()
        .filter_map(|choice| match choice {
            Choice::Push(chosen) if chosen.counts_badge => Some(chosen),
            _ => None,
        })
        .collect();
    if counting.is_empty() {
        return Ok(());
    }
    let app_ids = vec![app_id.0; counting.len()];
    let users: Vec<&str> = counting.iter().map(|chosen| chosen.user_id.as_str()).collect();
    let devices: Vec<&str> = counting.iter().map(|chosen| chosen.device_id.as_str()).collect();
    let before = store::push_counts::of_devices(&api.database.api, &app_ids, &users, &devices).await?;
    for (chosen, before) in counting.iter_mut().zip(before) {
        chosen.badge = chosen.badge.map(|base| base.saturating_add(before).saturating_add(pushes));
    }
    Ok(())
}

/// What the deliveries of one dry run have in common.
struct DryRun<'a> {
    api: &'a Api,
    snapshot: &'a Snapshot,
    settings: &'a AppSettings,
    notification: SharedNotification,
    now: DateTime<Utc>,
}

impl<'a> DryRun<'a> {
    fn new(
        api: &'a Api,
        snapshot: &'a Snapshot,
        settings: &'a AppSettings,
        new: &NewNotification,
        now: DateTime<Utc>,
    ) -> Self {
        let notification_id = NotificationId::new(api.clock.now_ms(), rand::random());
        let notification = Arc::new(Notification { notification_id, app_id: new.app_id, content: new.content.clone() });
        Self { api, snapshot, settings, notification, now }
    }

    fn delivery(&self, chosen: &Chosen) -> Option<ExplainedDelivery> {
        let entry: &Arc<Entry> = self.snapshot.certificates.get(&chosen.certificate_id)?;
        let notification = self.notification.showing(chosen.variant, self.settings);
        let expires_at = notification.expires_at();
        let time_to_live = (expires_at - self.now).to_std().unwrap_or_default();
        let mut push = Push::of(&notification, chosen.badge, expires_at, time_to_live, Clearance::given());
        let delivery_id = notification.notification_id.delivery(1);
        let targets = [Target { delivery_id, token: chosen.token.clone() }];
        let requests = entry.adapter.as_ref().map_or_else(
            |_| Vec::new(),
            |vendor| {
                vendor.fit(&mut push);
                vendor.preview(&push, &targets)
            },
        );
        let waits = waits(&self.api.dispatcher, entry, &notification);
        Some(ExplainedDelivery {
            certificate_id: chosen.certificate_id,
            vendor: entry.certificate.vendor,
            title: push.title,
            body: push.body,
            hidden: chosen.variant == TextVariant::Hidden,
            cut: push.cuts.iter().map(|cut| CutView { field: cut.field, from: cut.from, to: cut.to }).collect(),
            badge: chosen.badge,
            waits: waits.into_iter().map(ReasonView::from).collect(),
            requests,
        })
    }
}

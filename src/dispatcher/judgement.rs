//! Devices are looked at again before a call: whether they still have a right to the push, and where it goes now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::Inner;
use super::attempt::{end, told};
use super::lane::{Held, Lane, Parcel};
use super::recorder::{Entry as Result_, RowChange};
use crate::domain::app::AppSettings;
use crate::domain::burst::TextVariant;
use crate::domain::id::CertificateId;
use crate::domain::notification::Notification;
use crate::domain::preferences::{Notify, Preferences};
use crate::domain::routing::{Candidate, Decision, SkipReason, User, Wishes, decide};
use crate::store;
use crate::store::line::{STATEMENT_LIMIT, bounded};
use crate::store::notifications::{Question, RoutedDevice};

/// How far a parcel's devices can be trusted.
pub(super) enum Judgement {
    /// Looked at less than a second ago, and nothing was taken away since.
    Fresh,
    /// Looked at just now; something may have been taken away while the database was asked.
    Renewed,
    /// The database did not answer, and the parcel went back to the lane.
    PutBack,
}

/// Looks at the devices anew if they are stale or lost their right since they were looked at, and ends the deliveries that
/// have no right any more.
pub(super) async fn judge_again(
    inner: &Arc<Inner>,
    lane: &Arc<Lane>,
    parcel: &mut Parcel,
    is_stale: bool,
) -> Judgement {
    let app_id = parcel.notification.app_id;
    let is_revoked = |held: &Held| inner.revocations.since(parcel.judged_at, app_id, &held.user_id, &held.device_id);
    if !is_stale && !parcel.deliveries.iter().any(is_revoked) {
        return Judgement::Fresh;
    }
    let judged_at = Instant::now();
    let mut question = Question::default();
    for held in &parcel.deliveries {
        question.push(app_id.0, &held.user_id, None, false);
    }
    let now = inner.clock.now();
    let question = store::notifications::route(&inner.database.pipeline, &question, now);
    let routed = match bounded(STATEMENT_LIMIT, question).await {
        Ok(routed) => routed,
        Err(error) => {
            tracing::warn!(%error, "cannot look at devices again; the deliveries wait");
            let parcel = Parcel {
                notification: Arc::clone(&parcel.notification),
                deliveries: std::mem::take(&mut parcel.deliveries),
                ..*parcel
            };
            tokio::time::sleep(Duration::from_millis(200)).await;
            lane.push_front(parcel);
            return Judgement::PutBack;
        }
    };
    let settings = inner.directory.snapshot().apps.get(&app_id).map(|app| app.settings.clone()).unwrap_or_default();
    let wishes = Wishes { force: parcel.notification.content.force, sync: true, ..Wishes::default() };
    let mut of_users: Vec<Vec<RoutedDevice>> = parcel.deliveries.iter().map(|_| Vec::new()).collect();
    for device in routed {
        if let Some(of_user) = of_users.get_mut(device.recipient) {
            of_user.push(device);
        }
    }
    let mut hiding = Vec::new();
    for (mut held, of_user) in std::mem::take(&mut parcel.deliveries).into_iter().zip(of_users) {
        let preferences = of_user.first().and_then(RoutedDevice::preferences);
        let hides = preferences.as_ref().is_some_and(|preferences| preferences.hide_content);
        let (token, certificate_id) = match standing(&held, of_user, preferences.as_ref(), &wishes, &settings, now) {
            Ok(found) => found,
            Err(reason) => {
                let told = told(now, "cancelled", Some(reason.as_str()), &held);
                end(inner, lane, &parcel.notification, held, told).await;
                continue;
            }
        };
        // The device reported another token while the delivery waited: it goes there.
        held.token = token;
        if certificate_id != lane.certificate_id.0 {
            reroute(inner, lane, &parcel.notification, held, CertificateId(certificate_id)).await;
        } else if hides {
            hiding.push(held);
        } else {
            parcel.deliveries.push(held);
        }
    }
    parcel.judged_at = judged_at;
    if !hiding.is_empty() {
        // The user may hide contents only since it was accepted. Another text is another call.
        let notification = parcel.notification.showing(TextVariant::Hidden, &settings);
        let shown = std::mem::replace(parcel, Parcel { notification, deliveries: hiding, ..*parcel });
        if !shown.deliveries.is_empty() {
            lane.push_front(shown);
        }
    }
    Judgement::Renewed
}

/// Where a delivery goes now, or why it has no right any more. What the message itself says of devices, and what the user
/// set for its conversation, was heard when it was accepted.
fn standing(
    held: &Held,
    of_user: Vec<RoutedDevice>,
    preferences: Option<&Preferences>,
    wishes: &Wishes<'_>,
    settings: &AppSettings,
    now: DateTime<Utc>,
) -> Result<(String, i64), SkipReason> {
    let user = User { user_id: &held.user_id, preferences, notify: Notify::All, is_mentioned: false };
    let candidates: Vec<Candidate<'_>> = of_user.iter().map(RoutedDevice::candidate).collect();
    let decisions = match decide(&user, &candidates, wishes, settings, now) {
        Decision::Nobody(reason) => return Err(reason),
        Decision::Each(decisions) => decisions,
    };
    let own = of_user.into_iter().zip(decisions).find(|(device, _)| device.device_id == held.device_id);
    match own {
        None => Err(SkipReason::NoDevice),
        Some((_, Some(reason))) => Err(reason),
        // The schema rules out that one is missing; a delivery is never dropped without an end all the same.
        Some((device, None)) => device.token.zip(device.certificate_id).ok_or(SkipReason::NoToken),
    }
}

async fn reroute(
    inner: &Arc<Inner>,
    lane: &Arc<Lane>,
    notification: &Arc<Notification>,
    held: Held,
    to: CertificateId,
) {
    let now = inner.clock.now();
    let mut told = told(now, "postponed", Some("certificate_changed"), &held);
    told.detail = Some(json!({"certificate_id": to}).to_string());
    let change = RowChange::Move { due_at: now, attempts: held.attempts, certificate_id: to };
    let certificate_id = lane.certificate_id;
    let app_id = notification.app_id;
    inner.record(Result_ { app_id, certificate_id, held, change, told: Some(told), verdict: None }).await;
    inner.sweep_now.notify_one();
}

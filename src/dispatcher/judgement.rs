//! Devices are looked at again before a call: whether they still have a right to the push, and where it goes now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Inner;
use super::attempt::{end, told};
use super::lane::{Held, Lane, Parcel};
use super::recorder::{Entry as Result_, RowChange};
use crate::domain::id::CertificateId;
use crate::domain::notification::Notification;
use crate::domain::routing::{Candidate, SkipReason, Wishes, decide};
use crate::store;
use crate::store::line::{STATEMENT_LIMIT, bounded};

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
    let app_ids = vec![app_id.0; parcel.deliveries.len()];
    let users: Vec<&str> = parcel.deliveries.iter().map(|held| held.user_id.as_str()).collect();
    let devices: Vec<&str> = parcel.deliveries.iter().map(|held| held.device_id.as_str()).collect();
    let question = store::deliveries::standing(&inner.database.pipeline, &app_ids, &users, &devices);
    let standings = match bounded(STATEMENT_LIMIT, question).await {
        Ok(standings) => standings,
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
    let wishes = Wishes { force: parcel.notification.content.force, ..Wishes::default() };
    let mut now_standing: Vec<_> = parcel.deliveries.iter().map(|_| None).collect();
    for standing in standings {
        let index = standing.index;
        if let Some(place) = now_standing.get_mut(index) {
            *place = Some(standing);
        }
    }
    let now = inner.clock.now();
    for (mut held, standing) in std::mem::take(&mut parcel.deliveries).into_iter().zip(now_standing) {
        let refusal = match &standing {
            None => Some(SkipReason::NoDevice),
            Some(standing) => decide(
                &Candidate {
                    user_id: &held.user_id,
                    device_id: &held.device_id,
                    platform: standing.platform,
                    state: standing.state,
                    binding: standing.binding,
                },
                &wishes,
                &settings,
            ),
        };
        if let Some(reason) = refusal {
            let told = told(now, "cancelled", Some(reason.as_str()), &held);
            end(inner, lane, &parcel.notification, held, told).await;
            continue;
        }
        let Some((token, certificate_id)) = standing.and_then(|s| Some((s.token?, s.certificate_id?))) else {
            // The schema rules it out; a delivery is never dropped without an end all the same.
            let told = told(now, "cancelled", Some(SkipReason::NoToken.as_str()), &held);
            end(inner, lane, &parcel.notification, held, told).await;
            continue;
        };
        // The device reported another token while the delivery waited: it goes there.
        held.token = token;
        if certificate_id == lane.certificate_id.0 {
            parcel.deliveries.push(held);
        } else {
            reroute(inner, lane, &parcel.notification, held, CertificateId(certificate_id)).await;
        }
    }
    parcel.judged_at = judged_at;
    Judgement::Renewed
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

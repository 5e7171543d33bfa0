//! A newer notification takes the place of an older one of its conversation that still waits.

use std::sync::Arc;

use super::Worker;
use super::group::Plan;
use crate::domain::notification::Notification;
use crate::store::line::{STATEMENT_LIMIT, bounded};
use crate::store::superseding::Superseding;
use crate::{store, telemetry};

/// The most waiting deliveries of a device that are ended at once; what is left is ended by the next notification.
const ENDED_EACH: i64 = 1_000;
/// How many notifications may wait for their older ones to be ended: one statement at a time.
pub(super) const OUTSTANDING: usize = 256;

/// What a notification may replace: its devices, by the text they show.
pub(super) struct Replacing {
    newer: Arc<Notification>,
    devices: Vec<Place>,
}

/// A device that gets the newer one.
struct Place {
    user_id: String,
    device_id: String,
    /// Something was seen to wait for its user.
    has_waiting: bool,
}

/// What a plan may replace.
pub(super) fn of(plan: &Plan) -> Vec<Replacing> {
    let parts = plan.parts.iter().filter(|part| part.notification.content.collapse_text().is_some());
    parts
        .map(|part| {
            let place = |held: &crate::dispatcher::lane::Held| Place {
                user_id: held.user_id.clone(),
                device_id: held.device_id.clone(),
                has_waiting: plan.has_waiting.contains(&held.user_id),
            };
            Replacing { newer: Arc::clone(&part.notification), devices: part.deliveries.iter().map(place).collect() }
        })
        .collect()
}

impl Worker {
    /// Ends what waits in the database and is replaced: for some devices something was seen there, for others it may have come
    /// there since. Beside the commits: the older one does no harm if it is sent first, and what the lanes hold is seen to
    /// there. Where too much of it is to do at once, some older ones are sent; the next newer one ends what is left.
    pub(super) fn supersede(self: &Arc<Self>, replacing: Vec<Replacing>) {
        for Replacing { newer, mut devices } in replacing {
            devices.retain(|place| {
                place.has_waiting || self.dispatcher.moved_back(&newer, &place.user_id, &place.device_id)
            });
            if devices.is_empty() {
                continue;
            }
            let Ok(place) = Arc::clone(&self.superseding_places).try_acquire_owned() else {
                telemetry::metrics::superseding_passed_over();
                continue;
            };
            let worker = Arc::clone(self);
            self.tasks.spawn(async move {
                let _place = place;
                let _turn = worker.superseding_turn.lock().await;
                match bounded(STATEMENT_LIMIT, worker.end_older(&newer, &devices)).await {
                    Ok(cancelled) => telemetry::metrics::cancelled_waiting(cancelled),
                    Err(error) => {
                        tracing::warn!(%error, "cannot end what a newer notification replaces; both are sent");
                    }
                }
            });
        }
    }

    async fn end_older(&self, newer: &Notification, devices: &[Place]) -> sqlx::Result<u64> {
        let Some(collapse) = newer.collapse_digest() else { return Ok(0) };
        let newer = Superseding {
            app_id: newer.app_id,
            notification_id: newer.notification_id,
            collapse,
            user_ids: devices.iter().map(|place| place.user_id.as_str()).collect(),
            device_ids: devices.iter().map(|place| place.device_id.as_str()).collect(),
        };
        // With plans by index, whatever the tables held when they were made.
        store::superseding::supersede(&self.database.pipeline, &newer, ENDED_EACH, self.clock.now()).await
    }
}

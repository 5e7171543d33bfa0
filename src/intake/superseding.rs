//! A newer notification takes the place of an older one of its conversation that still waits.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::Worker;
use super::choose::Chosen;
use crate::domain::devices::DeviceKey;
use crate::domain::id::NotificationId;
use crate::domain::notification::{Content, Notification, SharedNotification};
use crate::domain::skip::CancelReason;
use crate::store::deliveries::WaitingOfUser;
use crate::store::line::{WORK_LIMIT, bounded};
use crate::{store, telemetry};

/// The newest waiting deliveries of a user that are looked at.
const LOOKED_AT_EACH: i64 = 1_000;

/// The devices (user, device) of a request whose users something waits for.
pub(super) fn devices(chosen: &[Chosen]) -> Vec<DeviceKey> {
    let waiting = chosen.iter().filter(|chosen| chosen.has_waiting);
    waiting.map(|chosen| (chosen.user_id.clone(), chosen.device_id.clone())).collect()
}

impl Worker {
    /// Ends what waits in the database and is replaced by this notification: for `waiting` devices something was seen there,
    /// for `others` it may have come there since. Beside the commits: the older one does no harm if it is sent first, and what
    /// the lanes hold is seen to there.
    pub(super) fn supersede(
        self: &Arc<Self>,
        newer: &SharedNotification,
        waiting: Vec<DeviceKey>,
        others: Vec<DeviceKey>,
    ) {
        let mut devices = waiting;
        devices.extend(others.into_iter().filter(|(user, device)| self.dispatcher.moved_back(newer, user, device)));
        if devices.is_empty() {
            return;
        }
        let (worker, newer) = (Arc::clone(self), Arc::clone(newer));
        self.tasks.spawn(async move {
            match bounded(WORK_LIMIT, worker.cancel_older(&newer, &devices)).await {
                Ok(cancelled) => telemetry::metrics::cancelled_waiting(cancelled),
                Err(error) => tracing::warn!(%error, "cannot end what a newer notification replaces; both are sent"),
            }
        });
    }

    async fn cancel_older(&self, newer: &Notification, devices: &[DeviceKey]) -> sqlx::Result<u64> {
        let pool = &self.database.api;
        let mut user_ids: Vec<&str> = devices.iter().map(|(user_id, _)| user_id.as_str()).collect();
        user_ids.sort_unstable();
        user_ids.dedup();
        let waiting = store::deliveries::waiting_of_users(pool, newer.app_id, &user_ids, LOOKED_AT_EACH).await?;
        let mut ids: Vec<Uuid> = waiting.iter().map(|waiting| waiting.delivery_id.notification().0).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| *id < newer.notification_id.0);
        let contents = store::notifications::contents(pool, &ids).await?;
        let replaced: HashSet<NotificationId> = contents
            .into_iter()
            .filter(|(_, _, bytes)| {
                let older = serde_json::from_slice::<Content>(bytes);
                older.is_ok_and(|older| older.collapse_text() == newer.content.collapse_text())
            })
            .map(|(notification_id, ..)| notification_id)
            .collect();
        // Only on devices that get the newer one: of those that are skipped nothing is taken.
        let devices: HashSet<(&str, &str)> = devices.iter().map(|(user, device)| (&**user, &**device)).collect();
        let is_replaced = |waiting: &&WaitingOfUser| {
            replaced.contains(&waiting.delivery_id.notification())
                && devices.contains(&(&*waiting.user_id, &*waiting.device_id))
        };
        let gone: Vec<Uuid> = waiting.iter().filter(is_replaced).map(|waiting| waiting.delivery_id.0).collect();
        store::deliveries::cancel(pool, &gone, CancelReason::SupersededByNewer, self.clock.now()).await
    }
}

//! What session events do beyond sessions and bindings: the same few statements for all events of a transaction, at its
//! end.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::{Context, reading, rescue};
use crate::domain::app::BadgeSource;
use crate::domain::devices::{DeviceKey, Devices};
use crate::domain::session::{Device, Event, EventType};
use crate::store;
use crate::store::push_counts::{Anew, Counted};

/// What the parts of a transaction leave for its end.
#[derive(Default)]
pub(super) struct Noted {
    /// Devices with messages that nobody confirmed, as they stand.
    pub(super) lost: HashMap<DeviceKey, Device>,
    /// Counts that begin anew.
    pub(super) anew: Anew,
}

impl Noted {
    /// Notes what a part changed, and whom its events, as far as they were applied, are about.
    pub(super) fn note<'a>(
        &mut self,
        context: &Context<'_>,
        devices: &Devices<'_>,
        events: impl Iterator<Item = &'a Event>,
    ) {
        if context.app.settings.badge == BadgeSource::Server {
            self.anew.devices.extend(devices.recounted().cloned());
        }
        if !self.lost.is_empty() {
            for key in devices.deleted() {
                self.lost.remove(key);
            }
            for device in devices.changed() {
                let key = (device.user_id.clone(), device.device_id.clone());
                self.lost.entry(key).and_modify(|noted| noted.clone_from(device));
            }
        }
        for event in events.filter(|event| !event.unacked.is_empty()) {
            if let Some(device) = devices.get(&event.user_id, &event.device_id) {
                self.lost.insert((event.user_id.clone(), event.device_id.clone()), device.clone());
            }
        }
    }
}

/// What it came to.
pub(super) struct Followed {
    pub(super) cancelled: u64,
    /// Deliveries made.
    pub(super) rescued: usize,
    /// What is to be counted for badges, once all is committed.
    pub(super) counted: Vec<Counted>,
}

/// Follows up events that were applied. Counts that begin anew are forgotten last: they are held until the commit.
pub(super) async fn follow_up(
    transaction: &mut PgConnection,
    context: &Context<'_>,
    mut noted: Noted,
    events: &[&Event],
) -> sqlx::Result<Followed> {
    let app = context.app;
    // What was missed first: of it, too, what was read meanwhile is not sent.
    let saved = rescue::rescue(&mut *transaction, context, &noted, events).await?;
    let read = reading::read(&mut *transaction, app.app_id, events, context.now).await?;
    let deleted: Vec<&str> =
        events.iter().filter(|event| event.kind == EventType::UserDeleted).map(|event| &*event.user_id).collect();
    if !deleted.is_empty() {
        store::preferences::forget_users(&mut *transaction, app.app_id, &deleted).await?;
    }
    if app.settings.badge == BadgeSource::Server {
        let reads = events.iter().filter_map(|event| Some((event.user_id.clone(), event.conversation_id.clone()?)));
        noted.anew.conversations.extend(reads);
    }
    noted.anew.users.extend(deleted.into_iter().map(str::to_owned));
    store::push_counts::begin_anew(transaction, app.app_id, &noted.anew).await?;
    Ok(Followed { cancelled: saved.cancelled + read, rescued: saved.deliveries, counted: saved.counted })
}

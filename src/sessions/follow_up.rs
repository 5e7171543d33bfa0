//! What session events do beyond sessions and bindings: the same few statements for all events of a transaction.

use sqlx::PgConnection;

use super::{Context, reading, rescue};
use crate::domain::app::BadgeSource;
use crate::domain::devices::Devices;
use crate::domain::session::{Event, EventType};
use crate::store;
use crate::store::push_counts::{Anew, Counted};

/// What it came to.
#[derive(Default)]
pub(super) struct Followed {
    pub(super) cancelled: u64,
    /// Deliveries made.
    pub(super) rescued: usize,
    /// What is to be counted for badges, once all is committed.
    pub(super) counted: Vec<Counted>,
}

/// Follows up events that were applied. Counts are not touched yet: what begins anew is noted in `anew`.
pub(super) async fn follow_up(
    transaction: &mut PgConnection,
    context: &Context<'_>,
    devices: &Devices<'_>,
    events: &[&Event],
    anew: &mut Anew,
) -> sqlx::Result<Followed> {
    let app = context.app;
    let deleted: Vec<&str> =
        events.iter().filter(|event| event.kind == EventType::UserDeleted).map(|event| &*event.user_id).collect();
    if app.settings.badge == BadgeSource::Server {
        anew.devices.extend(devices.recounted().cloned());
        let reads = events.iter().filter_map(|event| Some((event.user_id.clone(), event.conversation_id.clone()?)));
        anew.conversations.extend(reads);
    }
    anew.users.extend(deleted.iter().map(|user_id| (*user_id).to_owned()));
    // What was missed first: of it, too, what was read meanwhile is not sent.
    let saved = rescue::rescue(&mut *transaction, context, devices, events, anew).await?;
    let read = reading::read(&mut *transaction, app.app_id, events, context.now).await?;
    if !deleted.is_empty() {
        store::preferences::forget_users(&mut *transaction, app.app_id, &deleted).await?;
    }
    Ok(Followed { cancelled: saved.cancelled + read, rescued: saved.deliveries, counted: saved.counted })
}

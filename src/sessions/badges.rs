//! The badges of what is pushed after all, by the app's setting: as acceptance gives them.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::PgConnection;

use crate::directory::Snapshot;
use crate::domain::app::BadgeSource;
use crate::domain::id::AppId;
use crate::domain::notification::Content;
use crate::domain::session::{Binding, Device};
use crate::store::Database;
use crate::store::apps::App;
use crate::store::line::{STATEMENT_LIMIT, bounded};
use crate::store::push_counts::{self, Anew, Counted, Tally};

/// What was pushed to devices before, and what is to be counted.
pub(super) struct Badges<'a> {
    app: &'a App,
    snapshot: &'a Arc<Snapshot>,
    /// Pushes to each device (user, device) since its count began.
    pushes: HashMap<(&'a str, &'a str), i32>,
    counted: Vec<Counted>,
}

impl<'a> Badges<'a> {
    /// Asks for the counts of these devices, where the server counts. Those that `anew` begins anew are 0 already.
    pub(super) async fn of(
        transaction: &mut PgConnection,
        app: &'a App,
        snapshot: &'a Arc<Snapshot>,
        devices: &[&'a Device],
        anew: &Anew,
    ) -> sqlx::Result<Self> {
        let mut badges = Self { app, snapshot, pushes: HashMap::new(), counted: Vec::new() };
        if app.settings.badge != BadgeSource::Server || devices.is_empty() {
            return Ok(badges);
        }
        let app_ids = vec![app.app_id.0; devices.len()];
        let users: Vec<&str> = devices.iter().map(|device| &*device.user_id).collect();
        let ids: Vec<&str> = devices.iter().map(|device| &*device.device_id).collect();
        let pushes = push_counts::of_devices(transaction, &app_ids, &users, &ids).await?;
        for (device, pushes) in devices.iter().zip(pushes) {
            let is_anew = anew.devices.contains(&(device.user_id.clone(), device.device_id.clone()));
            badges.pushes.insert((&device.user_id, &device.device_id), if is_anew { 0 } else { pushes });
        }
        Ok(badges)
    }

    /// The badge of the next push to a device. The caller's own came with the notification and is not stored: what the device
    /// was last told is shown.
    pub(super) fn next(&mut self, device: &'a Device, binding: &Binding, content: &Content) -> Option<i32> {
        let entry = self.snapshot.certificate_of(self.app.app_id, binding.certificate_id)?;
        if !entry.uses_badge() {
            return None;
        }
        match self.app.settings.badge {
            BadgeSource::None => None,
            BadgeSource::Caller => device.unread,
            BadgeSource::Server => {
                let pushes = self.pushes.entry((&device.user_id, &device.device_id)).or_default();
                if content.raises_badge() {
                    *pushes = pushes.saturating_add(1);
                    self.counted.push(counted(self.app.app_id, device, content));
                }
                Some(device.unread.unwrap_or(0).saturating_add(*pushes))
            }
        }
    }

    /// What is to be counted once the pushes are committed.
    pub(super) fn into_counted(self) -> Vec<Counted> {
        self.counted
    }
}

fn counted(app_id: AppId, device: &Device, content: &Content) -> Counted {
    Counted {
        app_id,
        user_id: device.user_id.clone(),
        device_id: device.device_id.clone(),
        conversation_id: content.conversation_id.clone().unwrap_or_default(),
        since: chrono::DateTime::UNIX_EPOCH,
    }
}

/// Counts pushes that were committed. Not in their transaction, which holds counts of its own that were taken in another
/// order: a crash in between leaves a badge that is too low until it next begins anew.
pub(super) async fn count(database: &Database, counted: Vec<Counted>) {
    let tally = Tally::of(counted.into_iter().map(|key| (key, 1)));
    if tally.is_empty() {
        return;
    }
    let add = push_counts::add(&database.sessions, &tally.keys, &tally.pushes);
    if let Err(error) = bounded(STATEMENT_LIMIT, add).await {
        tracing::warn!(%error, "cannot count what was pushed after all: a badge may be too low");
    }
}

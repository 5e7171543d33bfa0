//! Writes down what time did to sessions: killed for too long, heartbeats lost, reports without a login. Routing sees it by
//! itself, so nothing waits for this walk; it goes through the devices in the order of their primary key, a few at a time, and
//! costs a session event no index (docs/adr/0015-sessions-lapse-by-themselves.md).

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::Change;
use crate::clock::Clock;
use crate::directory::Directory;
use crate::dispatcher::Dispatcher;
use crate::domain::app::AppSettings;
use crate::domain::session::{MAX_AGE, Platform};
use crate::store::apps::App;
use crate::store::devices::{Lapses, Place};
use crate::store::line::{STATEMENT_LIMIT, bounded, is_ambiguous};
use crate::store::{self, Database};
use crate::telemetry;

/// One step of the walk, and the pause after it.
const STEP: i64 = 1_000;
const EVERY: Duration = Duration::from_secs(1);
/// What lapsed is written in batches of so many.
const BATCH: usize = 200;

/// Walks until stopped.
pub async fn run(
    database: Database,
    directory: Arc<Directory>,
    dispatcher: Dispatcher,
    clock: Clock,
    stop: CancellationToken,
) {
    let mut place = Place::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        match step(&database, &directory, &dispatcher, &clock, &place, STEP).await {
            Ok(next) => place = next.unwrap_or_default(),
            Err(error) => tracing::warn!(%error, "cannot look for sessions that ended; will try again"),
        }
    }
}

/// One whole walk in steps of `devices`: what a test or an operator need not wait for.
/// # Errors
/// Database errors.
pub async fn once(
    database: &Database,
    directory: &Directory,
    dispatcher: &Dispatcher,
    clock: &Clock,
    devices: i64,
) -> sqlx::Result<()> {
    let mut place = Place::default();
    while let Some(next) = step(database, directory, dispatcher, clock, &place, devices).await? {
        place = next;
    }
    Ok(())
}

async fn step(
    database: &Database,
    directory: &Directory,
    dispatcher: &Dispatcher,
    clock: &Clock,
    from: &Place,
    devices: i64,
) -> sqlx::Result<Option<Place>> {
    let snapshot = directory.snapshot().clone();
    let now = clock.now();
    // The strictest app's: the rules look again, by each app's own.
    let least = |of: fn(&AppSettings) -> TimeDelta| {
        snapshot.apps.values().map(|app| of(&app.settings)).min().unwrap_or(TimeDelta::days(7))
    };
    let lapses = Lapses {
        killed_before: now - least(AppSettings::killed_for),
        seen_before: now
            - least(|settings| {
                settings.link_lost_after(Platform::Web).min(settings.link_lost_after(Platform::Android))
            }),
        heard_before: now - MAX_AGE,
        reported_before: now - least(AppSettings::pending_for),
    };
    let walk = store::devices::walk(&database.sessions, from, devices, lapses);
    let (found, next) = bounded(STATEMENT_LIMIT, walk).await?;
    for of_app in found.chunk_by(|one, other| one.app_id == other.app_id) {
        let Some(app) = of_app.first().and_then(|place| snapshot.apps.get(&place.app_id)) else { continue };
        for batch in of_app.chunks(BATCH) {
            write_down(database, directory, dispatcher, clock, app, batch).await;
        }
    }
    Ok(next)
}

/// Writes down what lapsed. What cannot be written is left to the next round, and the walk goes on: one bad row must not
/// keep it from all that come after.
async fn write_down(
    database: &Database,
    directory: &Directory,
    dispatcher: &Dispatcher,
    clock: &Clock,
    app: &App,
    places: &[Place],
) {
    let lapse = |place: &Place| Change::Lapse { user_id: place.user_id.clone(), device_id: place.device_id.clone() };
    let changes: Vec<Change> = places.iter().map(lapse).collect();
    let failed = |error: &sqlx::Error, devices: usize| {
        tracing::error!(%error, app.id = app.app_id.0, devices, "cannot write down sessions that ended; left to the next round");
        telemetry::metrics::walk_failed(devices);
    };
    match super::apply(database, directory, dispatcher, clock, app, &changes).await {
        Ok(_) => {}
        // It may be about one row: each by itself, so that only that one is left.
        Err(error) if changes.len() > 1 && !is_ambiguous(&error) && !matches!(error, sqlx::Error::PoolTimedOut) => {
            for change in changes {
                if let Err(error) = super::apply(database, directory, dispatcher, clock, app, &[change]).await {
                    failed(&error, 1);
                }
            }
        }
        Err(error) => failed(&error, changes.len()),
    }
}

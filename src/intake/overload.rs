//! Apps with more waiting deliveries than their setting allows.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::directory::Directory;
use crate::domain::id::AppId;
use crate::store::deliveries::{count_waiting, estimate_waiting};
use crate::store::line::{WORK_LIMIT, bounded};
use crate::store::{Database, apps::App};

const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Limits below this are counted exactly each time; larger ones only when the statistics come near.
const ALWAYS_COUNTED: u32 = 100_000;

/// The apps that are over their limit, as of the last check.
#[derive(Debug, Clone, Default)]
pub struct Overload(Arc<ArcSwap<HashSet<AppId>>>);

impl Overload {
    /// Whether an app may add nothing more.
    pub fn contains(&self, app_id: AppId) -> bool {
        self.0.load().contains(&app_id)
    }

    pub(super) async fn watch(self, database: Database, directory: Arc<Directory>, stop: CancellationToken) {
        let mut pause = CHECK_EVERY;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let started = Instant::now();
            match bounded(WORK_LIMIT, over_limit(&database, &directory)).await {
                Ok(apps) => self.replace(apps),
                Err(error) => tracing::warn!(%error, "cannot count waiting deliveries; will try again"),
            }
            // Counting a large backlog takes its time: never more than a tenth of it.
            pause = CHECK_EVERY.max(started.elapsed() * 10);
        }
    }

    fn replace(&self, apps: HashSet<AppId>) {
        for app in apps.difference(&self.0.load()) {
            tracing::error!(app.id = app.0, "too many deliveries of this app wait: new notifications get 429");
        }
        self.0.store(Arc::new(apps));
    }
}

async fn over_limit(database: &Database, directory: &Directory) -> sqlx::Result<HashSet<AppId>> {
    let estimate = estimate_waiting(&database.api).await?;
    let apps: Vec<Arc<App>> = directory.snapshot().apps.values().cloned().collect();
    let mut over = HashSet::new();
    for app in apps {
        let limit = app.settings.max_waiting_deliveries;
        // The statistics lag behind by some seconds: four fifths of the limit are near enough to count.
        let is_far = limit >= ALWAYS_COUNTED && estimate < i64::from(limit) / 5 * 4;
        if !is_far && count_waiting(&database.api, app.app_id, i64::from(limit) + 1).await? > i64::from(limit) {
            over.insert(app.app_id);
        }
    }
    Ok(over)
}

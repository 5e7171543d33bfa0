//! Follows what the instances tell each other, and looks where nothing was told.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::directory::Directory;
use crate::dispatcher::Dispatcher;
use crate::store::Database;
use crate::store::signals::{Ear, Signal};

/// How often changes are looked for when no signal came.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Before a broken connection is made again.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Acts upon signals until stopped: by loading the directory anew, or ending what a caller cancelled on another instance.
pub async fn follow(database: Database, directory: Arc<Directory>, dispatcher: Dispatcher, stop: CancellationToken) {
    let mut ear = None;
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if ear.is_none() {
            ear = Ear::open(&database.api).await.ok();
        }
        let mut is_told = false;
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {}
            signal = next_signal(&mut ear) => match signal {
                Some(Signal::Directory) => is_told = true,
                Some(Signal::Cancelled(..)) if dispatcher.is_stopping() => continue, // its lanes are given back
                Some(Signal::Cancelled(app_id, notification)) => {
                    dispatcher.cancel(app_id, notification).await;
                    continue;
                }
                None => {
                    ear = None;
                    tokio::time::sleep(LISTEN_AGAIN_AFTER).await;
                }
            },
        }
        let refreshed = if is_told { directory.refresh().await } else { directory.refresh_if_changed().await };
        if let Err(error) = refreshed {
            tracing::warn!(%error, "cannot look for changed certificates; will try again");
        }
    }
}

/// `None`: the connection broke.
async fn next_signal(ear: &mut Option<Ear>) -> Option<Signal> {
    match ear {
        Some(ear) => ear.next().await.ok(),
        None => std::future::pending().await,
    }
}

//! Session changes of many requests in one transaction: whatever arrived while the last ones were being committed goes
//! together, as with notifications.
//!
//! Each request's changes stay in their order, and so do the requests of one transaction. Two transactions run side by side, so
//! of two requests that are in flight together either may be applied first, whoever they are about, as if they had overtaken
//! each other on the network: who wants one before the other waits for its answer. Events tell by their own time, or their login
//! sequence, which of them counts.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Change, Changed, apply};
use crate::clock::Clock;
use crate::directory::Directory;
use crate::dispatcher::Dispatcher;
use crate::domain::id::AppId;
use crate::store::Database;
use crate::store::apps::App;
use crate::telemetry;

/// Requests that wait at most; more are told to come again.
const MAX_WAITING: usize = 1_000;
/// Changes that go together, each counted with the messages that it names; the last request may go beyond.
const MAX_WEIGHT: usize = 1_000;
/// Groups in the making at a time: while one waits for its commit, the next may already look at its rows.
const WORKERS: usize = 2;

/// Why changes were not applied. Nothing of them was.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("too many requests wait for their commit")]
    Overloaded,
    #[error("the server is stopping")]
    Stopping,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

struct Waiting {
    app: Arc<App>,
    changes: Vec<Change>,
    answer: oneshot::Sender<Result<Vec<Changed>, IngestError>>,
}

/// Where changes are handed in.
#[derive(Clone)]
pub struct Ingest(mpsc::Sender<Waiting>);

/// What the workers share.
struct Worker {
    received: Mutex<mpsc::Receiver<Waiting>>,
    database: Database,
    directory: Arc<Directory>,
    dispatcher: Dispatcher,
    clock: Clock,
}

impl Ingest {
    /// Starts the workers; when stopped they apply what they were given before.
    pub fn start(
        database: Database,
        directory: Arc<Directory>,
        dispatcher: Dispatcher,
        clock: Clock,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (sender, received) = mpsc::channel(MAX_WAITING);
        let worker = Arc::new(Worker { received: Mutex::new(received), database, directory, dispatcher, clock });
        for _ in 0..WORKERS {
            let (worker, stop) = (Arc::clone(&worker), stop.clone());
            tasks.spawn(async move { through_panics(|| worker.run(&stop)).await });
        }
        Self(sender)
    }

    /// Applies changes in their order and answers after the commit: from then on this instance starts no vendor call that they
    /// forbid.
    /// # Errors
    /// See [`IngestError`].
    pub async fn apply(&self, app: &Arc<App>, changes: Vec<Change>) -> Result<Vec<Changed>, IngestError> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { app: Arc::clone(app), changes, answer };
        self.0.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => IngestError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => IngestError::Stopping,
        })?;
        answered.await.unwrap_or(Err(IngestError::Stopping))
    }
}

/// How much a request makes of a transaction.
fn weight(changes: &[Change]) -> usize {
    let unacked = |change: &Change| if let Change::Event(event) = change { event.unacked.len() } else { 0 };
    changes.iter().map(|change| 1 + unacked(change)).sum()
}

/// A bug must not end a worker for good: the group it met gets 503, the next one is taken.
async fn through_panics<F: Future<Output = ()>>(mut run: impl FnMut() -> F) {
    while std::panic::AssertUnwindSafe(run()).catch_unwind().await.is_err() {
        tracing::error!("a worker of session changes panicked; its group was answered 503");
    }
}

impl Worker {
    async fn run(&self, stop: &CancellationToken) {
        loop {
            let group = {
                let mut received = self.received.lock().await;
                let first = tokio::select! {
                    biased;
                    first = received.recv() => first,
                    () = stop.cancelled() => {
                        received.close();
                        received.recv().await
                    }
                };
                let Some(first) = first else { return };
                let mut total = weight(&first.changes);
                let mut group = vec![first];
                while total < MAX_WEIGHT {
                    let Ok(next) = received.try_recv() else { break };
                    total += weight(&next.changes);
                    group.push(next);
                }
                group
            };
            self.apply_group(group).await;
        }
    }

    async fn apply_group(&self, group: Vec<Waiting>) {
        let mut by_app: Vec<(AppId, Vec<Waiting>)> = Vec::new();
        for waiting in group {
            match by_app.iter_mut().find(|(app_id, _)| *app_id == waiting.app.app_id) {
                Some((_, of_app)) => of_app.push(waiting),
                None => by_app.push((waiting.app.app_id, vec![waiting])),
            }
        }
        for (_, of_app) in by_app {
            self.apply_of_app(of_app).await;
        }
    }

    async fn apply_all(&self, app: &App, changes: &[Change]) -> sqlx::Result<Vec<Changed>> {
        apply(&self.database, &self.directory, &self.dispatcher, &self.clock, app, changes).await
    }

    async fn apply_of_app(&self, mut group: Vec<Waiting>) {
        telemetry::metrics::session_group(group.len());
        // The settings of the latest: an older view may be a moment behind.
        let Some(app) = group.iter().map(|waiting| &waiting.app).max_by_key(|app| app.revision).map(Arc::clone) else {
            return;
        };
        let lengths: Vec<usize> = group.iter().map(|waiting| waiting.changes.len()).collect();
        let changes: Vec<Change> = group.iter_mut().flat_map(|waiting| std::mem::take(&mut waiting.changes)).collect();
        match self.apply_all(&app, &changes).await {
            Ok(results) => {
                let mut results = results.into_iter();
                for (waiting, length) in group.into_iter().zip(lengths) {
                    answer(waiting, Ok(results.by_ref().take(length).collect()));
                }
            }
            Err(error @ sqlx::Error::Database(_)) if group.len() > 1 => {
                // It may be about one request's values: each by itself, so that only that one fails.
                tracing::warn!(%error, requests = group.len(), "a group of session changes was refused; trying each");
                let mut changes = changes.into_iter();
                for (waiting, length) in group.into_iter().zip(lengths) {
                    let own: Vec<Change> = changes.by_ref().take(length).collect();
                    let result = self.apply_all(&app, &own).await;
                    answer(waiting, result.map_err(IngestError::from));
                }
            }
            Err(error) => {
                // Not about any of them: all hear the same.
                let told = error.to_string();
                let last = group.pop();
                for waiting in group {
                    let copy = sqlx::Error::Io(std::io::Error::other(told.clone()));
                    answer(waiting, Err(copy.into()));
                }
                if let Some(last) = last {
                    answer(last, Err(error.into()));
                }
            }
        }
    }
}

fn answer(waiting: Waiting, result: Result<Vec<Changed>, IngestError>) {
    // The caller may have gone away; what was committed stays committed.
    drop(waiting.answer.send(result));
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::domain::session::{Event, EventType, MessageKey, Platform};

    #[tokio::test]
    async fn a_panic_does_not_end_a_worker() {
        let runs = AtomicUsize::new(0);
        through_panics(|| async {
            assert!(runs.fetch_add(1, Ordering::Relaxed) == 2, "a bug that a test makes");
        })
        .await;
        assert_eq!(runs.into_inner(), 3, "two panics, and the run that ended by itself");
    }

    #[test]
    fn a_change_weighs_as_much_as_the_messages_that_it_names() {
        let key = MessageKey { message_id: "m".to_owned(), part: 0 };
        let event =
            Event::plain("alice", "phone", Platform::Android, EventType::Disconnect, chrono::DateTime::UNIX_EPOCH);
        let naming = |unacked| Change::Event(Event { unacked, ..event.clone() });
        let unbind = Change::Unbind { user_id: "alice".to_owned(), device_id: "phone".to_owned() };
        assert_eq!(weight(&[naming(Vec::new()), naming(vec![key; 5]), unbind]), 8);
    }
}

//! Intake: group commit without a timer. Whatever arrived while the last commit was in flight becomes one transaction:
//! routed, deduplicated and stored together, answered after the commit and never before.

pub mod choose;
mod counting;
mod group;
mod overload;
mod settle;
mod superseding;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config;
use crate::directory::Directory;
use crate::dispatcher::Dispatcher;
use crate::domain::id::{AppId, NotificationId, NotificationIds};
use crate::domain::notification::Content;
use crate::domain::routing::SkipReason;
use crate::store::Database;
use crate::store::line::Line;
use crate::store::notifications::Question;
use crate::telemetry;
pub use overload::Overload;

/// A checked request.
#[derive(Debug)]
pub struct NewNotification {
    pub app_id: AppId,
    pub message_id: String,
    pub part: u16,
    /// Of the request as it was understood: the same message id with another hash is a mistake of the caller.
    pub body_hash: [u8; 16],
    /// 1..=1000, each user once.
    pub to: Vec<Recipient>,
    /// The title may be empty: the app's default takes its place.
    pub content: Content,
    pub sender_id: Option<String>,
    pub sender_device_id: Option<String>,
    /// The sender's other devices get it too.
    pub sync: bool,
    pub mentions: Vec<String>,
    pub only_devices: Vec<String>,
    pub exclude_devices: Vec<String>,
}

impl NewNotification {
    /// The message asks never to be pushed.
    pub fn is_never(&self) -> bool {
        self.content.offline_push_info.as_ref().is_some_and(|info| info.push_flag == 1)
    }

    /// Asks for its recipients' devices.
    pub fn ask<'a>(&'a self, question: &mut Question<'a>) {
        let content = &self.content;
        let conversation_id = content.conversation_id.as_deref();
        let collapses = conversation_id.is_some() || content.collapse_id.is_some();
        // A message that is never pushed needs no devices; its recipients keep their places.
        let app_id = if self.is_never() { 0 } else { self.app_id.0 };
        for to in &self.to {
            question.push(app_id, &to.user_id, conversation_id, collapses);
        }
    }
}

/// One receiver.
#[derive(Debug)]
pub struct Recipient {
    pub user_id: String,
    pub badge: Option<i32>,
}

/// Who got no delivery, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub user_id: String,
    /// `None`: the user has no device, or the reason is the message's.
    pub device_id: Option<String>,
    pub reason: SkipReason,
}

/// What became of a request.
#[derive(Debug)]
pub enum Accepted {
    /// Committed.
    New { notification_id: NotificationId, deliveries: usize, skipped: Vec<Skipped> },
    /// The same message was accepted before.
    Replayed { notification_id: NotificationId, deliveries: i32 },
    /// The message id was used for another body.
    Reused,
}

/// Why a request was not accepted. Nothing was stored, unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    #[error("too many requests wait for their commit")]
    Overloaded,
    #[error("too many deliveries of this app are waiting")]
    TooManyWaiting,
    /// The database did not answer. If it committed all the same, the message is delivered, and the same request sent again
    /// is answered as a replay.
    #[error("the database is not available")]
    Unavailable,
    #[error("the database refused this request")]
    Refused,
}

struct Waiting {
    new: NewNotification,
    answer: oneshot::Sender<Result<Accepted, IntakeError>>,
}

/// Where requests are handed in.
#[derive(Clone)]
pub struct Intake {
    requests: mpsc::Sender<Waiting>,
    overload: Overload,
    tasks: TaskTracker,
}

/// What intake works with.
struct Worker {
    database: Database,
    /// Groups are stored one at a time.
    line: Line,
    /// When an unknown certificate was last looked for.
    looked_at: Mutex<Option<Instant>>,
    ids: NotificationIds,
    superseding_places: Arc<Semaphore>,
    superseding_turn: tokio::sync::Mutex<()>,
    directory: Arc<Directory>,
    dispatcher: Dispatcher,
    clock: Clock,
    max_group_recipients: usize,
    tasks: TaskTracker,
}

impl Intake {
    /// Starts the one committing task.
    pub fn start(
        database: Database,
        directory: Arc<Directory>,
        dispatcher: Dispatcher,
        clock: Clock,
        settings: &config::Intake,
        stop: CancellationToken,
    ) -> Self {
        let (requests, received) = mpsc::channel(settings.max_waiting_requests);
        let tasks = TaskTracker::new();
        let overload = Overload::default();
        tasks.spawn(overload.clone().watch(database.clone(), Arc::clone(&directory), stop));
        let max_group_recipients = settings.max_group_recipients;
        let line = Line::of(&database.pipeline);
        let looked_at = Mutex::default();
        let worker = Worker {
            database,
            line,
            looked_at,
            ids: NotificationIds::default(),
            superseding_places: Arc::new(Semaphore::new(superseding::OUTSTANDING)),
            superseding_turn: tokio::sync::Mutex::default(),
            directory,
            dispatcher,
            clock,
            max_group_recipients,
            tasks: tasks.clone(),
        };
        tasks.spawn(Arc::new(worker).run_through_panics(received));
        Self { requests, overload, tasks }
    }

    /// Hands a request in and waits for its commit.
    /// # Errors
    /// See [`IntakeError`].
    pub async fn accept(&self, new: NewNotification) -> Result<Accepted, IntakeError> {
        let result = self.hand_in(new).await;
        telemetry::metrics::notification(match &result {
            Ok(Accepted::New { .. }) => "accepted",
            Ok(Accepted::Replayed { .. }) => "replayed",
            Ok(Accepted::Reused) => "reused",
            Err(IntakeError::Overloaded | IntakeError::TooManyWaiting) => "overloaded",
            Err(IntakeError::Unavailable | IntakeError::Refused) => "failed",
        });
        result
    }

    async fn hand_in(&self, new: NewNotification) -> Result<Accepted, IntakeError> {
        if self.overload.contains(new.app_id) {
            return Err(IntakeError::TooManyWaiting);
        }
        let started = Instant::now();
        let (answer, answered) = oneshot::channel();
        self.requests.try_send(Waiting { new, answer }).map_err(|_| IntakeError::Overloaded)?;
        let result = answered.await.unwrap_or(Err(IntakeError::Unavailable));
        telemetry::metrics::accepted_in(started.elapsed());
        result
    }

    /// Waits until everything handed in is answered and settled; hand in nothing more before.
    pub async fn finish(self) {
        let tasks = self.tasks.clone();
        drop(self);
        tasks.close();
        tasks.wait().await;
    }
}

impl Worker {
    /// A bug must not end intake for good: the group it met gets 503, the next one is taken.
    async fn run_through_panics(self: Arc<Self>, mut received: mpsc::Receiver<Waiting>) {
        loop {
            let run = std::panic::AssertUnwindSafe(self.run(&mut received)).catch_unwind();
            if run.await.is_ok() {
                return;
            }
            tracing::error!("intake panicked; its group was answered 503");
        }
    }

    async fn run(self: &Arc<Self>, received: &mut mpsc::Receiver<Waiting>) {
        let mut left_over = Vec::new();
        loop {
            let mut group = std::mem::take(&mut left_over);
            if group.is_empty() {
                match received.recv().await {
                    Some(first) => group.push(first),
                    None => return,
                }
            }
            let mut recipients: usize = group.iter().map(|waiting: &Waiting| waiting.new.to.len()).sum();
            while recipients < self.max_group_recipients {
                let Ok(next) = received.try_recv() else { break };
                recipients += next.new.to.len();
                group.push(next);
            }
            left_over = group::split_repeated_keys(&mut group);
            telemetry::metrics::intake_group(group.len());
            self.commit(group).await;
        }
    }
}

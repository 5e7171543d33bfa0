//! The workers behind the queue: lanes, vendor calls, the recorder, the sweeper, and this instance among others.
//!
//! Nothing is claimed on the hot path: intake inserts deliveries already owned by this instance and hands them over here.

mod attempt;
mod breaker;
mod holds;
mod instance;
mod judgement;
pub mod lane;
mod newest;
mod pacer;
mod peers;
mod pump;
mod read_marks;
mod recent;
mod recorder;
mod revocations;
mod sweeper;
mod weigh;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Dispatch;
use crate::directory::{Directory, Entry};
use crate::domain::id::{AppId, CertificateId, DeliveryId, InstanceId, NotificationId};
use crate::domain::notification::Notification;
use crate::domain::skip::CancelReason;
use crate::store::{self, Database};
use breaker::{BreakerOptions, Gate};
use instance::Instance;
use lane::{Lane, LaneOptions, Parcel};
use pump::{give_back, pump};
pub use read_marks::ReadMarks;
use recent::Recent;
use recorder::Entry as Result_;
pub use revocations::Revocations;

/// Longer than a group of requests takes from routing to its commit.
const MOVED_BACK_FOR: Duration = Duration::from_secs(15);

/// Results that may wait for the recorder before lanes stall.
const RESULTS_IN_HAND: usize = 20_000;
/// Deliveries a lane may hold although the memory of all lanes is spent.
const LANE_SHARE: usize = 256;

/// The dispatcher; cloning shares it.
#[derive(Clone)]
pub struct Dispatcher {
    inner: Arc<Inner>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Inner {
    this: Weak<Inner>,
    database: Database,
    directory: Arc<Directory>,
    clock: Clock,
    options: Dispatch,
    host: String,
    instance: Instance,
    revocations: Revocations,
    /// Notifications that callers cancelled.
    cancelled: Revocations,
    /// Conversations that were read.
    read_marks: ReadMarks,
    /// Conversations of devices of which something went back to the database a moment ago.
    moved_back: Recent<()>,
    /// Devices whose token was reported a moment ago: unchanged reports write nothing, and prove the token alive.
    reported: Revocations,
    lanes: RwLock<HashMap<CertificateId, Arc<Lane>>>,
    /// Deliveries reserved, queued or in flight, in all lanes.
    held: AtomicUsize,
    is_idle: Notify,
    results: mpsc::Sender<Result_>,
    sweep_now: Notify,
    draining: CancellationToken,
    gives_up: AtomicBool,
    tasks: TaskTracker,
}

/// How a lane stands, for operators.
#[derive(Debug, Clone)]
pub struct LaneStatus {
    pub held: usize,
    pub breaker_open: bool,
    pub prune_breaker_open: bool,
    /// The share of the rate limit in use: below 1 while the vendor complained.
    pub rate_share: f64,
    pub holds: Vec<(String, DateTime<Utc>)>,
}

impl LaneStatus {
    fn idle() -> Self {
        Self { held: 0, breaker_open: false, prune_breaker_open: false, rate_share: 1.0, holds: Vec::new() }
    }
}

impl Dispatcher {
    /// Registers this process and starts its workers.
    /// # Errors
    /// Database errors.
    pub async fn start(
        database: Database,
        directory: Arc<Directory>,
        clock: Clock,
        options: Dispatch,
        host: String,
    ) -> sqlx::Result<Self> {
        let id = store::instances::register(&database.api, &host).await?;
        let holds = store::holds::load(&database.api, clock.now()).await?;
        let (results, received) = mpsc::channel(RESULTS_IN_HAND);
        let tasks = TaskTracker::new();
        let inner = Arc::new_cyclic(|this| Inner {
            this: Weak::clone(this),
            database,
            directory,
            clock,
            options,
            host,
            instance: Instance::new(id),
            revocations: Revocations::default(),
            cancelled: Revocations::keeping(revocations::CANCELLED_FOR),
            read_marks: ReadMarks::default(),
            moved_back: Recent::keeping(MOVED_BACK_FOR),
            reported: Revocations::keeping(revocations::REPORTED_FOR),
            lanes: RwLock::default(),
            held: AtomicUsize::new(0),
            is_idle: Notify::new(),
            results,
            sweep_now: Notify::new(),
            draining: CancellationToken::new(),
            gives_up: AtomicBool::new(false),
            tasks: tasks.clone(),
        });
        inner.replace_holds(holds);
        let stop = CancellationToken::new();
        tasks.spawn(instance::run(Arc::clone(&inner), stop.clone()));
        tasks.spawn(recorder::run(Arc::clone(&inner), received, stop.clone()));
        tasks.spawn(sweeper::run(Arc::clone(&inner), inner.draining.clone()));
        tasks.spawn(sweeper::expire(Arc::clone(&inner), inner.draining.clone()));
        tasks.spawn(holds::follow(Arc::clone(&inner), inner.draining.clone()));
        Ok(Self { inner, stop, tasks })
    }

    /// This process among others.
    pub fn instance_id(&self) -> InstanceId {
        self.inner.instance.id()
    }

    /// Instances sharing this database.
    pub fn instances_alive(&self) -> usize {
        self.inner.instance.alive()
    }

    /// Whether the heartbeat is fresh: the database answers and nobody gave this instance up.
    pub fn is_fresh(&self) -> bool {
        self.inner.instance.may_send()
    }

    /// Whether a stop has begun.
    pub fn is_stopping(&self) -> bool {
        self.inner.is_draining()
    }

    /// Deliveries reserved, queued or in flight.
    pub fn held(&self) -> usize {
        self.inner.held.load(Ordering::Acquire)
    }

    /// Devices that lost their right to a push; add before acknowledging what took it away.
    pub fn revocations(&self) -> &Revocations {
        &self.inner.revocations
    }

    /// Conversations that were read; to be added before the event is acknowledged.
    pub fn read_marks(&self) -> &ReadMarks {
        &self.inner.read_marks
    }

    /// Devices whose token was reported; add also where the report changed nothing.
    pub fn reported(&self) -> &Revocations {
        &self.inner.reported
    }

    /// Takes room for `count` deliveries of a certificate, all or none. Without room (the lane is full, closed or stopping,
    /// or holds this message class) they are to be inserted unowned.
    pub fn reserve(&self, entry: &Entry, class: Option<&str>, count: usize) -> Room {
        let inner = &self.inner;
        if inner.is_draining() || !inner.instance.may_send() || entry.ready().is_none() {
            return Room::None;
        }
        let lane = inner.lane(entry.certificate.certificate_id);
        {
            let state = lane.state();
            if let Some(until) = class.and_then(|class| state.held_until(class, inner.clock.now())) {
                return Room::HeldUntil(until);
            }
            if state.breaker.gate(Instant::now()) != Gate::Closed {
                return Room::None;
            }
        }
        if inner.memory_for(&lane) < count || !lane.reserve(count) {
            return Room::None;
        }
        inner.held.fetch_add(count, Ordering::AcqRel);
        Room::Reserved
    }

    /// Gives reserved room back.
    pub fn release(&self, certificate_id: CertificateId, count: usize) {
        self.inner.release(certificate_id, count);
    }

    /// Queues a parcel whose room was reserved and whose rows are committed.
    pub fn submit(&self, certificate_id: CertificateId, parcel: Parcel) {
        self.inner.lane(certificate_id).take_in(parcel);
    }

    /// Whether something of the same conversation went back to the database a moment ago for this device: it may not have been
    /// seen there when the notification was routed. To be asked after the notification was submitted.
    pub fn moved_back(&self, notification: &Notification, user_id: &str, device_id: &str) -> bool {
        let key = newest::key(notification, user_id, device_id);
        key.is_some_and(|key| self.inner.moved_back.find(|| key).is_some())
    }

    /// Looks for due deliveries now.
    pub fn sweep_soon(&self) {
        self.inner.sweep_now.notify_one();
    }

    /// Ends what waits in this instance's lanes of one notification, and whatever else of it would be sent from now on.
    /// Calls on the wire go on, but are not tried again.
    pub async fn cancel(&self, app_id: AppId, notification: NotificationId) -> usize {
        self.inner.cancelled.add(app_id, &notification.to_string(), "");
        let mut cancelled = 0;
        for lane in self.inner.all_lanes() {
            let (matching, others): (Vec<_>, Vec<_>) =
                lane.state().drain().into_iter().partition(|p| p.notification.notification_id == notification);
            for parcel in others {
                lane.push(parcel);
            }
            for parcel in matching {
                for held in parcel.deliveries {
                    cancelled += 1;
                    let told = attempt::told(
                        self.inner.clock.now(),
                        "cancelled",
                        Some(CancelReason::CancelledByCaller.as_str()),
                        &held,
                    );
                    attempt::end(&self.inner, &lane, &parcel.notification, held, told).await;
                }
            }
        }
        cancelled
    }

    /// What this instance's lanes hold for a user: delivery, device, certificate.
    pub fn of_user(&self, app_id: AppId, user_id: &str) -> Vec<(DeliveryId, String, CertificateId)> {
        let of_lane = |lane: &Arc<Lane>| {
            let found = lane.state().of_user(app_id, user_id);
            found.into_iter().map(|(id, device)| (id, device, lane.certificate_id)).collect::<Vec<_>>()
        };
        self.inner.all_lanes().iter().flat_map(of_lane).collect()
    }

    /// How a certificate's lane stands.
    pub fn lane_status(&self, certificate_id: CertificateId) -> LaneStatus {
        // Asked also of a certificate that is just being made: no lane comes into being by a look.
        let lane = {
            let lanes = self.inner.lanes.read().unwrap_or_else(PoisonError::into_inner);
            lanes.get(&certificate_id).map(Arc::clone)
        };
        let Some(lane) = lane else { return LaneStatus::idle() };
        let now = self.inner.clock.now();
        let state = lane.state();
        LaneStatus {
            held: lane.held(),
            breaker_open: state.breaker.is_open(),
            prune_breaker_open: state.prune.is_open(),
            rate_share: state.pacer.share(),
            holds: state
                .holds
                .iter()
                .filter(|(_, until)| **until > now)
                .map(|(class, until)| (class.clone(), *until))
                .collect(),
        }
    }

    /// An operator resumed a certificate: forget holds, breakers and the past.
    pub fn reset_lane(&self, certificate_id: CertificateId) {
        let lane = self.inner.lane(certificate_id);
        {
            let mut state = lane.state();
            state.holds.clear();
            state.prune.reset();
            state.suspects = 0;
            state.breaker.record(false, Instant::now());
        }
        lane.wake.notify_one();
        self.sweep_soon();
    }

    /// Resolves when this instance holds no delivery.
    pub async fn idle(&self) {
        loop {
            let idle = self.inner.is_idle.notified();
            if self.inner.held.load(Ordering::Acquire) == 0 {
                return;
            }
            tokio::select! {
                () = idle => {}
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
    }

    /// One sweep and one expiry round, now: for tests.
    /// # Errors
    /// Database errors.
    pub async fn sweep_once(&self) -> sqlx::Result<usize> {
        sweeper::expire_all(&self.inner).await?;
        sweeper::sweep(&self.inner, &store::line::Line::of(&self.inner.database.pipeline)).await
    }

    /// Gives the deliveries of every other instance to this one: only where no other process can use this database.
    /// # Errors
    /// Database errors.
    pub async fn take_over_all(&self) -> sqlx::Result<()> {
        for other in store::instances::others(&self.inner.database.api, self.instance_id()).await? {
            instance::take_over(&self.inner, other, None).await?;
        }
        Ok(())
    }

    /// Takes nothing more, finishes what is in flight until the deadline, and gives the rest back.
    pub async fn stop(self, deadline: Duration) {
        let inner = &self.inner;
        inner.draining.cancel();
        let finished = tokio::time::timeout(deadline, async {
            loop {
                for lane in inner.all_lanes() {
                    lane.wake.notify_one();
                    give_back(inner, &lane, None).await;
                }
                if tokio::time::timeout(Duration::from_millis(100), self.idle()).await.is_ok() {
                    return;
                }
            }
        })
        .await;
        if finished.is_err() {
            let held = inner.held.load(Ordering::Acquire);
            tracing::warn!(deliveries = held, "stop deadline reached: what is in flight will be sent again");
        }
        inner.gives_up.store(true, Ordering::Release);
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await.is_err() {
            tracing::warn!("some workers did not stop in time");
        }
        let id = inner.instance.id();
        if let Err(error) = instance::retire(inner, id, None).await {
            tracing::warn!(%error, "cannot give deliveries back; others take them over in a few seconds");
        }
    }
}

/// What [`Dispatcher::reserve`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Reserved,
    /// Insert unowned, due now.
    None,
    /// Insert unowned, due then: the daily quota of this class is spent.
    HeldUntil(DateTime<Utc>),
}

impl Inner {
    /// The lane of a certificate; made, with its pump, when first asked for.
    fn lane(&self, certificate_id: CertificateId) -> Arc<Lane> {
        if let Some(lane) = self.lanes.read().unwrap_or_else(PoisonError::into_inner).get(&certificate_id) {
            return Arc::clone(lane);
        }
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(certificate_id).or_insert_with(|| {
            let lane = Arc::new(Lane::new(certificate_id, self.lane_options()));
            if let Some(inner) = self.this.upgrade() {
                self.tasks.spawn(pump(inner, Arc::clone(&lane)));
            }
            lane
        });
        Arc::clone(lane)
    }

    fn lane_options(&self) -> LaneOptions {
        LaneOptions {
            capacity: self.options.lane_capacity,
            calls_in_flight: self.options.calls_in_flight,
            breaker: BreakerOptions {
                failures: self.options.breaker_failures,
                min_open: Duration::from_millis(self.options.breaker_min_open_ms),
                max_open: Duration::from_millis(self.options.breaker_max_open_ms),
            },
            prune_min_dead: self.options.prune_breaker_min_dead,
        }
    }

    fn all_lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn is_cancelled(&self, notification: &Notification) -> bool {
        self.cancelled.contains(notification.app_id, &notification.notification_id.to_string(), "")
    }

    fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    fn gives_up_recording(&self) -> bool {
        self.gives_up.load(Ordering::Acquire)
    }

    /// How many more deliveries a lane may bring into memory. A few always, so that slow vendors that fill the memory of all
    /// leave the others their share.
    fn memory_for(&self, lane: &Lane) -> usize {
        let free = self.options.memory_capacity.saturating_sub(self.held.load(Ordering::Acquire));
        free.max(LANE_SHARE.saturating_sub(lane.held()))
    }

    /// Counts deliveries that a claim brought in; the claim asked for no more than there was room.
    fn adopt(&self, certificate_id: CertificateId, count: usize) {
        self.lane(certificate_id).adopt(count);
        self.held.fetch_add(count, Ordering::AcqRel);
    }

    fn release(&self, certificate_id: CertificateId, count: usize) {
        self.lane(certificate_id).release(count);
        if self.held.fetch_sub(count, Ordering::AcqRel) == count {
            self.is_idle.notify_waiters();
        }
    }

    /// Whether a parcel's deliveries are still this instance's: not if it was given up since it took them.
    fn is_owner(&self, parcel: &Parcel) -> bool {
        let id = self.instance.id();
        parcel.deliveries.iter().all(|held| held.owner == id)
    }

    /// Forgets a parcel: it belongs to others now.
    fn abandon(&self, lane: &Lane, parcel: &Parcel) {
        for held in &parcel.deliveries {
            lane.let_go(held, false);
        }
        self.release(lane.certificate_id, parcel.deliveries.len());
    }

    /// Forgets what waits in the lanes: it belongs to others now.
    fn abandon_queued(&self) {
        for lane in self.all_lanes() {
            let parcels = lane.state().drain();
            for parcel in &parcels {
                self.abandon(&lane, parcel);
            }
        }
    }

    async fn record(&self, entry: Result_) {
        if self.results.send(entry).await.is_err() {
            tracing::error!("the recorder is gone; the delivery stays owned and will be taken over");
        }
    }

    /// What this instance may send for a certificate in a second, in the vendor's unit.
    fn rate(&self, entry: &Entry, lowest_tier: u32) -> f64 {
        let limit = entry.certificate.rate_limit.map_or(f64::from(lowest_tier), f64::from);
        #[expect(clippy::cast_precision_loss, reason = "a handful of instances")]
        let alive = self.instance.alive() as f64;
        limit / alive
    }
}

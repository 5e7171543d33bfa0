//! A lane: the deliveries one certificate holds in memory, with what decides when the next call may go.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, Semaphore};

use super::breaker::{Breaker, BreakerOptions, Gate};
use super::newest::{self, Newest};
use super::pacer::Pacer;
use crate::domain::id::{CertificateId, DeliveryId, InstanceId};
use crate::domain::notification::{Priority, SharedNotification};
use crate::domain::prune::PruneBreaker;

/// One delivery in memory, owned by this instance.
#[derive(Debug, Clone)]
pub struct Held {
    pub delivery_id: DeliveryId,
    /// The instance that took it: this one, if it was not given up since.
    pub owner: InstanceId,
    pub user_id: String,
    pub device_id: String,
    pub token: String,
    pub badge: Option<i32>,
    /// Attempts made before.
    pub attempts: u16,
    /// What names its conversation in the lane, from when it is there.
    pub collapse: Option<u128>,
}

/// Deliveries of one notification that can go out in one call.
#[derive(Debug)]
pub struct Parcel {
    pub notification: SharedNotification,
    /// It waited in the database: what was just accepted does not wait behind it.
    pub is_backlog: bool,
    pub expires_at: DateTime<Utc>,
    /// When their devices were last looked at.
    pub judged_at: Instant,
    /// How often it came back from a call that was not made.
    pub put_backs: u8,
    pub deliveries: Vec<Held>,
}

impl Parcel {
    /// The time to live that is left; zero means one attempt by the vendor.
    pub fn time_to_live(&self, now: DateTime<Utc>) -> Duration {
        let is_one_attempt = self.notification.content.ttl_s == 0;
        if is_one_attempt { Duration::ZERO } else { (self.expires_at - now).to_std().unwrap_or_default() }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Lane {
    pub certificate_id: CertificateId,
    /// Calls in flight, where the vendor has no bound of its own.
    pub slots: Arc<Semaphore>,
    /// Something came in, or the lane may be open again.
    pub wake: Notify,
    /// Deliveries reserved, queued or in flight.
    held: AtomicUsize,
    capacity: usize,
    state: Mutex<LaneState>,
    newest: Mutex<Newest>,
}

/// What changes under the lane's lock; never held across an await.
#[derive(Debug)]
pub struct LaneState {
    /// By priority.
    queues: [Queue; 2],
    queued: usize,
    /// Deliveries among them that waited in the database.
    backlog: usize,
    pub breaker: Breaker,
    pub pacer: Pacer,
    pub prune: PruneBreaker,
    /// Answers in a row that hint at a wrong configuration.
    pub suspects: u32,
    /// The revision of the certificate that the prune breaker and the suspects are about.
    pub revision: i64,
    /// Message classes whose quota is spent, and until when.
    pub holds: HashMap<String, DateTime<Utc>>,
}

/// Parcels of one priority. What was just accepted and what comes back from the database take turns, so that neither starves
/// the other.
#[derive(Debug, Default)]
struct Queue {
    fresh: VecDeque<Parcel>,
    backlog: VecDeque<Parcel>,
    is_backlogs_turn: bool,
}

impl Queue {
    fn side(&mut self, is_backlog: bool) -> &mut VecDeque<Parcel> {
        if is_backlog { &mut self.backlog } else { &mut self.fresh }
    }

    /// The side whose turn it is, if it has a parcel; else the other.
    fn next(&mut self) -> Option<&mut VecDeque<Parcel>> {
        let is_backlog = if self.is_backlogs_turn { !self.backlog.is_empty() } else { self.fresh.is_empty() };
        self.is_backlogs_turn = !is_backlog;
        Some(self.side(is_backlog)).filter(|queue| !queue.is_empty())
    }
}

/// How a lane is made.
#[derive(Debug, Clone, Copy)]
pub struct LaneOptions {
    pub capacity: usize,
    pub calls_in_flight: usize,
    pub breaker: BreakerOptions,
    pub prune_min_dead: u32,
}

impl Lane {
    pub fn new(certificate_id: CertificateId, options: LaneOptions) -> Self {
        Self {
            certificate_id,
            slots: Arc::new(Semaphore::new(options.calls_in_flight)),
            wake: Notify::new(),
            held: AtomicUsize::new(0),
            capacity: options.capacity,
            state: Mutex::new(LaneState {
                queues: <[Queue; 2]>::default(),
                queued: 0,
                backlog: 0,
                breaker: Breaker::new(options.breaker),
                pacer: Pacer::new(Instant::now()),
                prune: PruneBreaker::new(options.prune_min_dead),
                suspects: 0,
                revision: 0,
                holds: HashMap::new(),
            }),
            newest: Mutex::default(),
        }
    }

    /// The lane's state.
    pub fn state(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for `count` deliveries, all or nothing.
    pub fn reserve(&self, count: usize) -> bool {
        self.held
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
                held.checked_add(count).filter(|sum| *sum <= self.capacity)
            })
            .is_ok()
    }

    /// Counts deliveries that came in although nothing was reserved: a claim asks for no more than there is room.
    pub fn adopt(&self, count: usize) {
        self.held.fetch_add(count, Ordering::AcqRel);
    }

    /// Gives room back.
    pub fn release(&self, count: usize) {
        self.held.fetch_sub(count, Ordering::AcqRel);
    }

    /// Deliveries reserved, queued or in flight.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// How many more deliveries may come in from the database: at most half of the lane is theirs, so that what is accepted
    /// finds room. None while the breaker is open, one when it wants a probe and nothing is held.
    pub fn room(&self, now: Instant) -> usize {
        let state = self.state();
        let free =
            self.capacity.saturating_sub(self.held()).min((self.capacity / 2).max(1).saturating_sub(state.backlog));
        match state.breaker.gate(now) {
            Gate::Closed => free,
            Gate::Probe => usize::from(self.held() == 0).min(free),
            Gate::Open(_) => 0,
        }
    }

    /// Queues a parcel that comes in: its room was reserved or it was adopted. It supersedes older ones.
    pub fn take_in(&self, mut parcel: Parcel) {
        let notification = Arc::clone(&parcel.notification);
        if notification.content.collapse_text().is_some() {
            let mut newest = self.newest();
            for held in &mut parcel.deliveries {
                held.collapse = newest::key(&notification, &held.user_id, &held.device_id);
                held.collapse.iter().for_each(|key| newest.enter(*key, notification.notification_id));
            }
        }
        self.push(parcel);
    }

    /// Whether something newer of its conversation came in for the device.
    pub fn has_newer(&self, held: &Held) -> bool {
        held.collapse.is_some_and(|key| self.newest().has_newer(key, held.delivery_id.notification()))
    }

    /// A delivery left the lane for good, and a vendor has it or not.
    pub fn let_go(&self, held: &Held, was_sent: bool) {
        if let Some(key) = held.collapse {
            self.newest().leave(key, held.delivery_id.notification(), was_sent);
        }
    }

    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a parcel that was in the lane before.
    pub fn push(&self, parcel: Parcel) {
        self.state().push_back(parcel);
        self.wake.notify_one();
    }

    /// Puts a parcel back at the head of its queue.
    pub fn push_front(&self, parcel: Parcel) {
        self.state().queue_for(&parcel).push_front(parcel);
        self.wake.notify_one();
    }
}

impl LaneState {
    fn push_back(&mut self, parcel: Parcel) {
        self.queue_for(&parcel).push_back(parcel);
    }

    /// The queue that a parcel is about to join; counts it.
    fn queue_for(&mut self, parcel: &Parcel) -> &mut VecDeque<Parcel> {
        self.count(parcel, usize::wrapping_add);
        let rank = parcel.notification.content.priority.rank();
        self.queues[usize::from(rank != 0)].side(parcel.is_backlog)
    }

    fn count(&mut self, parcel: &Parcel, change: fn(usize, usize) -> usize) {
        let deliveries = parcel.deliveries.len();
        self.queued = change(self.queued, deliveries);
        if parcel.is_backlog {
            self.backlog = change(self.backlog, deliveries);
        }
    }

    /// Deliveries waiting for their turn.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// The next parcel of at most as many deliveries as `batch` says, high priority first.
    pub fn pop(&mut self, batch: impl Fn(&Parcel) -> usize) -> Option<Parcel> {
        for priority in Priority::ALL {
            let Some(queue) = self.queues[usize::from(priority.rank() != 0)].next() else { continue };
            let Some(head) = queue.front_mut() else { continue };
            let batch = batch(head).max(1);
            let parcel = if head.deliveries.len() > batch {
                let deliveries = head.deliveries.drain(..batch).collect();
                Parcel { notification: Arc::clone(&head.notification), deliveries, ..*head }
            } else {
                queue.pop_front()?
            };
            self.count(&parcel, usize::saturating_sub);
            return Some(parcel);
        }
        None
    }

    /// Takes everything that waits for its turn.
    pub fn drain(&mut self) -> Vec<Parcel> {
        (self.queued, self.backlog) = (0, 0);
        let queues = self.queues.iter_mut().map(std::mem::take);
        queues.flat_map(|queue| queue.fresh.into_iter().chain(queue.backlog)).collect()
    }

    /// Until when a message class is held, if it is.
    pub fn held_until(&self, class: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.holds.get(class).copied().filter(|until| *until > now)
    }

    /// What waits for a user, for the trace.
    pub fn of_user(&self, app_id: crate::domain::id::AppId, user_id: &str) -> Vec<(DeliveryId, String)> {
        self.queues
            .iter()
            .flat_map(|queue| queue.fresh.iter().chain(&queue.backlog))
            .filter(|parcel| parcel.notification.app_id == app_id)
            .flat_map(|parcel| &parcel.deliveries)
            .filter(|held| held.user_id == user_id)
            .map(|held| (held.delivery_id, held.device_id.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{AppId, NotificationId};
    use crate::domain::notification::{Content, Notification};

    fn lane(capacity: usize) -> Lane {
        let second = Duration::from_secs(1);
        let breaker = BreakerOptions { failures: 1, min_open: second, max_open: second };
        Lane::new(CertificateId(1), LaneOptions { capacity, calls_in_flight: 1, breaker, prune_min_dead: 20 })
    }

    fn parcel(number: u64, priority: &str, deliveries: u32) -> Parcel {
        let content: Content =
            serde_json::from_value(serde_json::json!({"title": "", "body": "", "priority": priority, "ttl_s": 60}))
                .unwrap();
        let notification_id = NotificationId::new(number, 0);
        let held = |number| Held {
            delivery_id: notification_id.delivery(number),
            owner: InstanceId(1),
            user_id: "alice".to_owned(),
            device_id: number.to_string(),
            token: String::new(),
            badge: None,
            attempts: 0,
            collapse: None,
        };
        Parcel {
            notification: Arc::new(Notification { notification_id, app_id: AppId(1), content }),
            is_backlog: false,
            expires_at: DateTime::UNIX_EPOCH,
            judged_at: Instant::now(),
            put_backs: 0,
            deliveries: (1..=deliveries).map(held).collect(),
        }
    }

    #[test]
    fn high_priority_goes_first_and_large_parcels_are_split() {
        let lane = lane(100);
        lane.push(parcel(1, "normal", 5));
        lane.push(parcel(2, "high", 1));
        let mut state = lane.state();
        let mut next = || state.pop(|_| 2).map(|p| (p.notification.notification_id.unix_ms(), p.deliveries.len()));
        let order: Vec<_> = std::iter::from_fn(&mut next).collect();
        assert_eq!(order, [(2, 1), (1, 2), (1, 2), (1, 1)]);
        assert_eq!(state.queued(), 0);
    }

    #[test]
    fn what_was_just_accepted_and_the_backlog_take_turns() {
        let lane = lane(100);
        for number in 1..=4 {
            lane.push(Parcel { is_backlog: true, ..parcel(number, "normal", 1) });
        }
        assert_eq!(lane.room(Instant::now()), 46, "half of the lane is for the backlog");
        lane.push(parcel(11, "normal", 1));
        lane.push(parcel(12, "normal", 1));
        let mut state = lane.state();
        let order: Vec<_> =
            std::iter::from_fn(|| state.pop(|_| 1)).map(|p| p.notification.notification_id.unix_ms()).collect();
        assert_eq!(order, [11, 1, 12, 2, 3, 4]);
        assert_eq!((state.queued(), state.backlog), (0, 0));
    }

    #[test]
    fn room_is_all_or_nothing_and_bounded() {
        let lane = lane(10);
        assert!(lane.reserve(7));
        assert!(!lane.reserve(4));
        assert_eq!(lane.room(Instant::now()), 3);
        lane.release(4);
        assert_eq!(lane.room(Instant::now()), 5, "never more than half");
        lane.release(3);
        assert!(lane.reserve(10));
    }

    #[test]
    fn an_open_breaker_leaves_no_room_and_a_probe_room_for_one() {
        let lane = lane(10);
        let now = Instant::now();
        lane.state().breaker.record(true, now);
        assert_eq!(lane.room(now), 0);
        assert_eq!(lane.room(now + Duration::from_secs(1)), 1);
    }
}

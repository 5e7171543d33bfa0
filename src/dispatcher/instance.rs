//! This process among others: its heartbeat, the fence before each call, and the take-over of the dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::peers::Peers;
use crate::domain::id::InstanceId;
use crate::store::line::bounded;
use crate::{store, telemetry};

const BEAT_EVERY: Duration = Duration::from_secs(1);
/// Silent for this long: dead.
const DEAD_AFTER: Duration = Duration::from_secs(5);
/// Could not renew for this long: no new call, so that nobody takes over while one starts.
const FENCED_AFTER: Duration = Duration::from_secs(4);
/// A take-over may have to read a large table.
const TAKE_OVER_LIMIT: Duration = Duration::from_mins(5);
/// How long one beat, and a new connection for it, may take. A connection takes several round trips.
const BEAT_LIMIT: Duration = Duration::from_secs(2);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Instance {
    id: AtomicI64,
    started: Instant,
    /// Milliseconds from `started` to the beginning of the last renewal that worked.
    renewed_ms: AtomicU64,
    /// The same for the beginning of the current unbroken series of renewals.
    unbroken_since_ms: AtomicU64,
    is_broken: AtomicBool,
    alive: AtomicUsize,
}

impl Instance {
    /// A registered instance, just renewed.
    pub(super) fn new(id: InstanceId) -> Self {
        Self {
            id: AtomicI64::new(i64::from(id.0)),
            started: Instant::now(),
            renewed_ms: AtomicU64::new(0),
            unbroken_since_ms: AtomicU64::new(0),
            is_broken: AtomicBool::new(false),
            alive: AtomicUsize::new(1),
        }
    }

    pub(super) fn id(&self) -> InstanceId {
        InstanceId(i32::try_from(self.id.load(Ordering::Acquire)).unwrap_or_default())
    }

    /// Whether a new call may start.
    pub(super) fn may_send(&self) -> bool {
        self.now_ms().saturating_sub(self.renewed_ms.load(Ordering::Acquire)) < millis(FENCED_AFTER)
    }

    /// How many instances share the vendors' rate limits.
    pub(super) fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed).max(1)
    }

    /// Renewals have worked for one whole dead interval: only then is another's silence its own fault.
    fn may_take_over(&self) -> bool {
        let since = self.unbroken_since_ms.load(Ordering::Acquire);
        !self.is_broken.load(Ordering::Acquire) && self.now_ms().saturating_sub(since) >= millis(DEAD_AFTER)
    }

    fn renewed(&self, asked: Instant, alive: usize) {
        let at = u64::try_from(asked.duration_since(self.started).as_millis()).unwrap_or(u64::MAX);
        let before = self.renewed_ms.swap(at, Ordering::AcqRel);
        // A pause of this process is a break too: it saw nobody's heartbeat meanwhile.
        let was_away = at.saturating_sub(before) >= millis(FENCED_AFTER);
        if self.is_broken.swap(false, Ordering::AcqRel) || was_away {
            self.unbroken_since_ms.store(at, Ordering::Release);
        }
        self.alive.store(alive, Ordering::Relaxed);
    }

    fn failed(&self) {
        self.is_broken.store(true, Ordering::Release);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The heartbeat's own connection, and what it tells of the others.
#[derive(Default)]
struct Heart {
    connection: Option<PgConnection>,
    peers: Peers,
    take_over: Option<JoinHandle<()>>,
}

/// Renews the heartbeat until stopped, sets the clock by it, and takes over what dead instances left.
pub(super) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    let mut heart = Heart::default();
    let mut ticks = tokio::time::interval(BEAT_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match heart.beat(&inner).await {
            Ok(true) => heart.take_over_silent(&inner),
            Ok(false) => {}
            Err(error) => {
                // Whatever state it is in, the next beat gets another.
                heart.connection = None;
                inner.instance.failed();
                tracing::warn!(%error, "heartbeat failed");
            }
        }
    }
}

impl Heart {
    /// One beat. False: this instance was given up, and has registered anew.
    async fn beat(&mut self, inner: &Arc<Inner>) -> sqlx::Result<bool> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(bounded(CONNECT_LIMIT, inner.database.connect()).await?),
        };
        let instance = &inner.instance;
        let asked = Instant::now();
        if let Some(beat) = bounded(BEAT_LIMIT, store::instances::beat(&mut *connection, instance.id())).await? {
            let answered = Instant::now();
            inner.clock.correct(beat.now, asked);
            self.peers.observe(&beat.others, answered);
            instance.renewed(asked, 1 + self.peers.alive(DEAD_AFTER, answered));
            return Ok(true);
        }
        // The others gave this instance up while it was frozen or cut off: what it held is theirs. It goes on under a new
        // id; what is still in its hands is recorded as duplicates.
        instance.failed();
        let id = bounded(BEAT_LIMIT, store::instances::register(&mut *connection, &inner.host)).await?;
        tracing::error!(old = instance.id().0, new = id.0, "this instance was given up by the others");
        instance.id.store(i64::from(id.0), Ordering::Release);
        telemetry::metrics::given_up();
        inner.abandon_queued();
        Ok(false)
    }

    /// Takes over from the dead, beside the heartbeat: a take-over may have to wait for a lock.
    fn take_over_silent(&mut self, inner: &Arc<Inner>) {
        let is_busy = self.take_over.as_ref().is_some_and(|task| !task.is_finished());
        if is_busy || !inner.instance.may_take_over() {
            return;
        }
        let silent = self.peers.silent(DEAD_AFTER, Instant::now());
        if silent.is_empty() {
            return;
        }
        let inner = Arc::clone(inner);
        self.take_over = Some(tokio::spawn(async move {
            for (dead, last_heartbeat) in silent {
                if let Err(error) = take_over(&inner, dead, Some(last_heartbeat)).await {
                    tracing::warn!(%error, instance = dead.0, "cannot take over from a silent instance; will try again");
                }
            }
        }));
    }
}

/// Gives a dead instance's deliveries to everybody and forgets it. With `silent_since`, only if it stayed silent.
pub(super) async fn take_over(
    inner: &Inner,
    dead: InstanceId,
    silent_since: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    if let Some(released) = bounded(TAKE_OVER_LIMIT, retire(inner, dead, silent_since)).await? {
        tracing::warn!(instance = dead.0, deliveries = released, "took over from a silent instance");
        telemetry::metrics::took_over();
        inner.sweep_now.notify_one();
    }
    Ok(())
}

/// Forgets an instance and makes its deliveries everybody's; answers how many, or `None` if it was gone or not silent any
/// more. One transaction, and the removal first: it waits for statements that insert or claim as this owner, and later ones
/// find it gone, so no row is left to it.
pub(super) async fn retire(
    inner: &Inner,
    instance: InstanceId,
    silent_since: Option<DateTime<Utc>>,
) -> sqlx::Result<Option<u64>> {
    let mut transaction = inner.database.api.begin().await?;
    store::instances::take_your_time(&mut *transaction).await?;
    if !store::instances::remove(&mut *transaction, instance, silent_since).await? {
        transaction.rollback().await?;
        return Ok(None);
    }
    let released = store::deliveries::release_owner(&mut *transaction, instance).await?;
    transaction.commit().await?;
    Ok(Some(released))
}

//! This process among others: its heartbeat, the fence before each call, and the take-over of the dead.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Inner;
use crate::domain::id::InstanceId;
use crate::store;

const BEAT_EVERY: Duration = Duration::from_secs(1);
/// Silent for this long: dead.
const DEAD_AFTER: Duration = Duration::from_secs(5);
/// Could not renew for this long: no new call, so that nobody takes over while one starts.
const FENCED_AFTER: Duration = Duration::from_secs(4);

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
    alive: AtomicI64,
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
            alive: AtomicI64::new(1),
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
    pub(super) fn alive(&self) -> i64 {
        self.alive.load(Ordering::Relaxed).max(1)
    }

    /// Renewals have worked for one whole dead interval: only then is another's silence its own fault.
    fn may_take_over(&self) -> bool {
        let since = self.unbroken_since_ms.load(Ordering::Acquire);
        !self.is_broken.load(Ordering::Acquire) && self.now_ms().saturating_sub(since) >= millis(DEAD_AFTER)
    }

    fn renewed(&self, asked: Instant, alive: i64) {
        let at = u64::try_from(asked.duration_since(self.started).as_millis()).unwrap_or(u64::MAX);
        self.renewed_ms.store(at, Ordering::Release);
        if self.is_broken.swap(false, Ordering::AcqRel) {
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

/// Renews the heartbeat until stopped, sets the clock by it, and takes over what dead instances left.
pub(super) async fn run(inner: std::sync::Arc<Inner>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(BEAT_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let asked = Instant::now();
        let instance = &inner.instance;
        match store::instances::beat(&inner.database.pipeline, instance.id(), DEAD_AFTER.as_secs_f64()).await {
            Ok(Some((now, alive))) => {
                inner.clock.correct(now, asked);
                instance.renewed(asked, alive);
            }
            Ok(None) => {
                instance.failed();
                register_again(&inner).await;
                continue;
            }
            Err(error) => {
                instance.failed();
                tracing::warn!(%error, "heartbeat failed");
                continue;
            }
        }
        if instance.may_take_over()
            && let Err(error) = take_over_silent(&inner).await
        {
            tracing::warn!(%error, "cannot take over from a silent instance; will try again");
        }
    }
}

/// The others gave this instance up while it was frozen or cut off: what it held is theirs. It goes on under a new id; what
/// is still in its hands is recorded as duplicates.
async fn register_again(inner: &Inner) {
    match store::instances::register(&inner.database.api, &inner.host).await {
        Ok(id) => {
            tracing::error!(old = inner.instance.id().0, new = id.0, "this instance was given up by the others");
            inner.instance.id.store(i64::from(id.0), Ordering::Release);
            inner.abandon_queued();
        }
        Err(error) => tracing::warn!(%error, "cannot register again"),
    }
}

async fn take_over_silent(inner: &Inner) -> sqlx::Result<()> {
    let silent = store::instances::silent(&inner.database.api, inner.instance.id(), DEAD_AFTER.as_secs_f64()).await?;
    for dead in silent {
        take_over(inner, dead).await?;
    }
    Ok(())
}

/// Gives a dead instance's deliveries to everybody and forgets it.
pub(super) async fn take_over(inner: &Inner, dead: InstanceId) -> sqlx::Result<()> {
    let released = retire(inner, dead).await?;
    tracing::warn!(instance = dead.0, deliveries = released, "took over from a silent instance");
    inner.sweep_now.notify_one();
    Ok(())
}

/// Forgets an instance and makes its deliveries everybody's. One transaction, and the removal first: it waits for statements
/// that insert or claim as this owner, and later ones find it gone, so no row is left to it.
pub(super) async fn retire(inner: &Inner, instance: InstanceId) -> sqlx::Result<u64> {
    let mut transaction = inner.database.api.begin().await?;
    store::instances::remove(&mut *transaction, instance).await?;
    let released = store::deliveries::release_owner(&mut *transaction, instance).await?;
    transaction.commit().await?;
    Ok(released)
}

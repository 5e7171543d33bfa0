//! The pump of a lane: takes parcels out and starts a call for each, as many at a time as the lane allows, for as long as the
//! server runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::breaker::Gate;
use super::lane::{Lane, Parcel};
use super::recorder::{Entry as Result_, RowChange};
use super::{Inner, attempt};
use crate::directory::Entry;
use crate::vendor::RateUnit;

/// How long a lane without a fresh heartbeat waits before it looks again.
const FENCE_POLL: Duration = Duration::from_millis(100);
/// A lane that waits for its rate looks again at least this often: the rate may have been edited.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What a pump may do next.
enum Turn {
    Send(Arc<Entry>, Parcel),
    Wait(Duration),
    /// The lane is closed: nothing may stay in it.
    GiveBack(&'static str, Option<Instant>),
    Idle,
}

/// Takes parcels from a lane for as long as the server runs: one call for each, as many at a time as the lane allows.
pub(super) async fn pump(inner: Arc<Inner>, lane: Arc<Lane>) {
    loop {
        if inner.is_draining() {
            return;
        }
        // Before anything is taken out: what is judged is sent at once.
        let slot = tokio::select! {
            slot = slots(&inner, &lane).acquire_owned() => slot,
            () = inner.draining.cancelled() => return,
        };
        let Ok(slot) = slot else { return };
        match turn(&inner, &lane) {
            Turn::Send(entry, parcel) => {
                let (inner, lane) = (Arc::clone(&inner), Arc::clone(&lane));
                inner.tasks.clone().spawn(async move {
                    attempt::attempt(&inner, &lane, &entry, parcel).await;
                    std::mem::drop(slot);
                });
            }
            Turn::Wait(wait) => {
                std::mem::drop(slot);
                tokio::select! {
                    () = tokio::time::sleep(wait.min(LONGEST_WAIT)) => {}
                    () = inner.draining.cancelled() => return,
                }
            }
            Turn::GiveBack(reason, until) => {
                std::mem::drop(slot);
                give_back(&inner, &lane, Some((reason, until))).await;
            }
            Turn::Idle => {
                std::mem::drop(slot);
                tokio::select! {
                    () = lane.wake.notified() => {}
                    () = inner.draining.cancelled() => return,
                }
            }
        }
    }
}

/// What bounds the calls of a lane: what its certificate shares with others, else the lane's own.
fn slots(inner: &Inner, lane: &Lane) -> Arc<Semaphore> {
    let snapshot = inner.directory.snapshot();
    let vendor = snapshot.certificates.get(&lane.certificate_id).and_then(|entry| entry.ready());
    vendor.and_then(|vendor| vendor.slots()).unwrap_or_else(|| Arc::clone(&lane.slots))
}

fn turn(inner: &Inner, lane: &Lane) -> Turn {
    let now = Instant::now();
    let snapshot = inner.directory.snapshot();
    let Some(entry) = snapshot.certificates.get(&lane.certificate_id) else {
        let is_empty = lane.state().queued() == 0;
        return if is_empty { Turn::Idle } else { Turn::GiveBack("certificate_deleted", None) };
    };
    let mut state = lane.state();
    if state.queued() == 0 {
        return Turn::Idle;
    }
    let Some(vendor) = entry.ready() else { return Turn::GiveBack("certificate_paused", None) };
    if !inner.instance.may_send() {
        return Turn::Wait(FENCE_POLL);
    }
    let gate = state.breaker.gate(now);
    if let Gate::Open(until) = gate {
        return Turn::GiveBack("breaker_open", Some(until));
    }
    let limits = vendor.limits();
    let rate = inner.rate(entry, limits.rate);
    if let Err(wait) = state.pacer.take(rate, now) {
        return Turn::Wait(wait);
    }
    if gate == Gate::Probe {
        state.breaker.begin_probe();
    }
    // No more in one call than may go in a second.
    let most = match limits.rate_unit {
        RateUnit::Calls => usize::MAX,
        RateUnit::Devices => whole_units(rate * state.pacer.share()),
    };
    let database_now = inner.clock.database_now();
    let batch = |parcel: &Parcel| vendor.batch(parcel.time_to_live(database_now));
    let Some(parcel) = state.pop(|parcel| attempt::guarded(|| batch(parcel)).unwrap_or(1).min(most)) else {
        return Turn::Idle;
    };
    if limits.rate_unit == RateUnit::Devices {
        state.pacer.charge(parcel.deliveries.len().saturating_sub(1));
    }
    Turn::Send(Arc::clone(entry), parcel)
}

/// The devices that a rate lets through in a second; at least one.
fn whole_units(rate: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are 0 to 100,000")]
    let units = rate as usize;
    units.max(1)
}

/// Gives what waits in a lane back to the database. Without `why` (a stop) the trace has nothing to tell.
pub(super) async fn give_back(inner: &Arc<Inner>, lane: &Arc<Lane>, why: Option<(&'static str, Option<Instant>)>) {
    let parcels = lane.state().drain();
    for parcel in parcels {
        if !inner.is_owner(&parcel) {
            inner.abandon(lane, &parcel);
            continue;
        }
        match why {
            Some((reason, until)) => {
                let wait = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
                let due_at = inner.clock.now() + chrono::TimeDelta::from_std(wait).unwrap_or_default();
                attempt::postpone(inner, lane, parcel, due_at, reason).await;
            }
            None => {
                for held in parcel.deliveries {
                    let certificate_id = lane.certificate_id;
                    let change = RowChange::Move { due_at: inner.clock.now(), attempts: held.attempts, certificate_id };
                    let app_id = parcel.notification.app_id;
                    inner.record(Result_ { app_id, certificate_id, held, change, told: None, verdict: None }).await;
                }
            }
        }
    }
}

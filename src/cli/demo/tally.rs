//! What the demo's own client knows: what it sent, what was answered, and what the database said became of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::certificate::VendorKind;

/// Accepted messages whose end is not known yet: beyond, the stream waits.
const MAX_UNSETTLED: usize = 100_000;

/// Counts by name.
pub(super) type Counts = BTreeMap<String, u64>;

/// A message for which the client holds a 202.
pub(super) struct Posted {
    pub notification_id: Uuid,
    pub message_id: String,
    pub app_id: i64,
    /// When the client began to post it, epoch milliseconds.
    pub sent_at_ms: u64,
    /// Deliveries and skips announced.
    pub deliveries: u64,
    pub skipped: u64,
}

/// Shared by the stream, the settler and the view.
pub(super) struct Tally(Mutex<State>);

struct State {
    counts: Numbers,
    unsettled: VecDeque<Posted>,
    accept_us: Histogram<u64>,
    accept_to_vendor_ms: Histogram<u64>,
    /// The same by vendor.
    by_vendor_ms: BTreeMap<VendorKind, Histogram<u64>>,
    post_to_vendor_ms: Histogram<u64>,
}

/// Everything that is only counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    pub posted: u64,
    pub accepted: u64,
    pub replayed: u64,
    /// Messages that were never accepted, tried again as far as the client tries.
    pub not_accepted: u64,
    pub session_events: u64,
    pub skipped: Counts,
    /// Deliveries by what became of them.
    pub outcomes: Counts,
    pub vendors: BTreeMap<String, Counts>,
    pub lost: u64,
    pub phantom: u64,
}

/// Two quantiles, in milliseconds; `null` as long as nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
}

/// The tally at one time.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub numbers: Numbers,
    /// Deliveries announced whose end is not known yet.
    pub open: u64,
    pub accept_ms: Quantiles,
    pub accept_to_vendor_ms: Quantiles,
    pub by_vendor_ms: BTreeMap<VendorKind, Quantiles>,
    pub post_to_vendor_ms: Quantiles,
}

/// Adds to a count without making a name twice.
pub(super) fn add(counts: &mut Counts, name: &str, by: u64) {
    match counts.get_mut(name) {
        Some(count) => *count += by,
        None => {
            counts.insert(name.to_owned(), by);
        }
    }
}

impl Tally {
    pub(super) fn new() -> Result<Self, CreationError> {
        Ok(Self(Mutex::new(State {
            counts: Numbers::default(),
            unsettled: VecDeque::new(),
            accept_us: Histogram::new_with_max(600_000_000, 3)?,
            accept_to_vendor_ms: Histogram::new_with_max(86_400_000, 3)?,
            by_vendor_ms: crate::vendor::registry::supported()
                .map(|vendor| Ok((vendor, Histogram::new_with_max(86_400_000, 3)?)))
                .collect::<Result<_, CreationError>>()?,
            post_to_vendor_ms: Histogram::new_with_max(86_400_000, 3)?,
        })))
    }

    /// Changes counters.
    pub(super) fn count(&self, change: impl FnOnce(&mut Numbers)) {
        change(&mut self.lock().counts);
    }

    /// Whether the stream has to wait until more is known about what it sent.
    pub(super) fn is_full(&self) -> bool {
        self.lock().unsettled.len() >= MAX_UNSETTLED
    }

    /// A message was accepted after `took`.
    pub(super) fn accepted(&self, posted: Posted, skipped: &[Value], took: Duration) {
        let mut state = self.lock();
        state.counts.accepted += 1;
        for skip in skipped {
            add(&mut state.counts.skipped, skip["reason"].as_str().unwrap_or("unknown"), 1);
        }
        state.accept_us.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        state.unsettled.push_back(posted);
    }

    /// The vendor took a delivery this long after the message was accepted, and after it was posted.
    pub(super) fn reached_vendor(&self, vendor: VendorKind, after_accept_ms: u64, after_post_ms: u64) {
        let mut state = self.lock();
        if let Some(histogram) = state.by_vendor_ms.get_mut(&vendor) {
            histogram.saturating_record(after_accept_ms);
        }
        state.accept_to_vendor_ms.saturating_record(after_accept_ms);
        state.post_to_vendor_ms.saturating_record(after_post_ms);
    }

    pub(super) fn unsettled(&self) -> usize {
        self.lock().unsettled.len()
    }

    /// Takes up to `limit` of the messages that were looked at longest ago.
    pub(super) fn take_unsettled(&self, limit: usize) -> Vec<Posted> {
        let mut state = self.lock();
        let count = limit.min(state.unsettled.len());
        state.unsettled.drain(..count).collect()
    }

    /// Gives messages back that have not ended.
    pub(super) fn give_back(&self, posted: Vec<Posted>) {
        self.lock().unsettled.extend(posted);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        Snapshot {
            numbers: state.counts.clone(),
            open: state.unsettled.iter().map(|posted| posted.deliveries).sum(),
            accept_ms: quantiles(&state.accept_us, 1_000.0),
            accept_to_vendor_ms: quantiles(&state.accept_to_vendor_ms, 1.0),
            by_vendor_ms: state.by_vendor_ms.iter().map(|(vendor, ms)| (*vendor, quantiles(ms, 1.0))).collect(),
            post_to_vendor_ms: quantiles(&state.post_to_vendor_ms, 1.0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In milliseconds, to the hundredth; `per_ms`: units of the histogram in one.
fn quantiles(histogram: &Histogram<u64>, per_ms: f64) -> Quantiles {
    if histogram.is_empty() {
        return Quantiles::default();
    }
    let at = |quantile| {
        let value = u32::try_from(histogram.value_at_quantile(quantile)).unwrap_or(u32::MAX);
        Some((f64::from(value) / per_ms * 100.0).round() / 100.0)
    };
    Quantiles { p50: at(0.5), p99: at(0.99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_milliseconds_and_absent_without_a_measurement() {
        let tally = Tally::new().unwrap();
        assert_eq!(tally.snapshot().accept_ms, Quantiles { p50: None, p99: None });
        for n in 1..=100 {
            let posted = Posted {
                notification_id: Uuid::nil(),
                message_id: String::new(),
                app_id: 1,
                sent_at_ms: 0,
                deliveries: 2,
                skipped: 0,
            };
            tally.accepted(posted, &[], Duration::from_millis(n));
        }
        let snapshot = tally.snapshot();
        assert!((49.5..50.5).contains(&snapshot.accept_ms.p50.unwrap()), "{snapshot:?}");
        assert_eq!((snapshot.numbers.accepted, snapshot.open), (100, 200));
        assert_eq!(tally.take_unsettled(60).len(), 60);
        assert_eq!(tally.unsettled(), 40);
    }
}

//! The recorder: collects what became of deliveries and writes it in batches, one statement each. Results in hand are kept
//! until the database takes them; the channel before it is bounded, so lanes stall instead of memory growing.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Inner;
use super::lane::Held;
use crate::domain::id::{AppId, CertificateId};
use crate::domain::skip::CancelReason;
use crate::store::deliveries::Record;
use crate::store::devices::TokenVerdict;
use crate::store::line::{self, Line, STATEMENT_LIMIT, bounded};
use crate::vendor::outcome::Reason;
use crate::{store, telemetry};

/// The most deliveries of one statement.
const MAX_BATCH: usize = 1_000;
/// How long the first result waits for company.
const COLLECT_FOR: Duration = Duration::from_millis(5);
/// The most of a vendor's code or message id that is kept.
const MAX_VENDOR_CHARS: usize = 200;
/// Between two tries while the database is away.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// What becomes of a delivery's row.
#[derive(Debug, Clone)]
pub(super) enum RowChange {
    /// It ended.
    End,
    /// It waits unowned until `due_at`, with this many attempts made.
    Move { due_at: DateTime<Utc>, attempts: u16, certificate_id: CertificateId },
    /// It stays owned: another attempt follows in less than a second.
    Keep,
}

/// What the trace will say.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub at: DateTime<Utc>,
    /// `attempt`, `postponed`, `cancelled`, `expired`.
    pub kind: &'static str,
    pub reason: Option<String>,
    pub vendor_code: Option<String>,
    pub vendor_message_id: Option<String>,
    pub latency_ms: Option<i32>,
    pub attempt: Option<i16>,
    pub detail: Option<String>,
}

/// One result.
#[derive(Debug)]
pub(super) struct Entry {
    pub app_id: AppId,
    pub certificate_id: CertificateId,
    pub held: Held,
    pub change: RowChange,
    /// `None`: the row changes and the trace has nothing to tell (a stop gives deliveries back).
    pub told: Option<Told>,
    pub verdict: Option<TokenVerdict>,
}

impl Entry {
    /// Whether a vendor has it now.
    fn was_sent(&self) -> bool {
        let is_accepted =
            |told: &Told| told.kind == "attempt" && told.reason.as_deref() == Some(Reason::Accepted.as_str());
        matches!(self.change, RowChange::End) && self.told.as_ref().is_some_and(is_accepted)
    }

    /// What its event is found by.
    fn event_key(&self) -> Option<(Uuid, DateTime<Utc>)> {
        self.told.as_ref().map(|told| (self.held.delivery_id.0, told.at))
    }
}

/// Runs until stopped, and then until everything in hand is written.
pub(super) async fn run(inner: std::sync::Arc<Inner>, mut results: mpsc::Receiver<Entry>, stop: CancellationToken) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    let line = Line::of(&inner.database.pipeline);
    loop {
        tokio::select! {
            biased;
            received = results.recv_many(&mut batch, MAX_BATCH) => if received == 0 { return },
            () = stop.cancelled() => return,
        }
        if batch.len() < MAX_BATCH {
            tokio::time::sleep(COLLECT_FOR).await;
            while batch.len() < MAX_BATCH {
                match results.try_recv() {
                    Ok(entry) => batch.push(entry),
                    Err(_) => break,
                }
            }
        }
        write(&inner, &line, &mut batch).await;
    }
}

async fn write(inner: &Inner, line: &Line, batch: &mut Vec<Entry>) {
    let mut verdicts: Vec<TokenVerdict> = batch.iter_mut().filter_map(|entry| entry.verdict.take()).collect();
    let mut is_ambiguous = false;
    let mut failures = 0_u32;
    loop {
        match try_write(line, batch, &mut verdicts, is_ambiguous).await {
            Ok(()) => break,
            Err(error) => {
                is_ambiguous |= line::is_ambiguous(&error);
                failures += 1;
                if failures == 1 {
                    tracing::error!(%error, results = batch.len(), "cannot record results; keeping them and trying again");
                }
                telemetry::metrics::recorder_failed();
                if inner.gives_up_recording() {
                    // A stop with the database away: the rows stay owned by this instance and are taken over.
                    break;
                }
                tokio::time::sleep(RETRY_EVERY).await;
            }
        }
    }
    telemetry::metrics::recorded(batch.len());
    let mut moved = Vec::new();
    for entry in batch.drain(..) {
        if matches!(entry.change, RowChange::Keep) {
            continue;
        }
        let of_certificate = inner.lane(entry.certificate_id);
        if let (RowChange::Move { .. }, Some(key)) = (&entry.change, entry.held.collapse) {
            // In this order: a newer one that comes in now either finds the note, or is found.
            inner.moved_back.note(key, ());
            let is_overtaken = of_certificate.has_newer(&entry.held);
            moved.push((entry.held.delivery_id.0, is_overtaken));
        }
        of_certificate.let_go(&entry.held, entry.was_sent());
        inner.release(entry.certificate_id, 1);
    }
    if !moved.is_empty() {
        cancel_overtaken(inner, moved);
    }
}

/// Ends what went back to the database although something newer of its conversation had come in, to the lane or to the
/// database. Nobody waits for it.
fn cancel_overtaken(inner: &Inner, moved: Vec<(Uuid, bool)>) {
    let (database, now) = (inner.database.clone(), inner.clock.now());
    tokio::spawn(async move {
        let (by_lane, others): (Vec<_>, Vec<_>) = moved.into_iter().partition(|(_, is_overtaken)| *is_overtaken);
        let ids = |moved: Vec<(Uuid, bool)>| moved.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        let (by_lane, others) = (ids(by_lane), ids(others));
        let cancel = async {
            let cancelled =
                store::deliveries::cancel(&database.api, &by_lane, CancelReason::SupersededByNewer, now).await?;
            Ok(cancelled + store::superseding::cancel_superseded(&database.api, &others, now).await?)
        };
        match bounded(STATEMENT_LIMIT, cancel).await {
            Ok(cancelled) => telemetry::metrics::cancelled_waiting(cancelled),
            Err(error) => tracing::warn!(%error, "cannot end what a newer notification replaces; both are sent"),
        }
    });
}

/// One try. After one without an answer it is first asked what of it came true, so that nothing is written twice: a delivery
/// given back by it may be this instance's again, and on the wire.
async fn try_write(
    line: &Line,
    batch: &[Entry],
    verdicts: &mut Vec<TokenVerdict>,
    is_ambiguous: bool,
) -> sqlx::Result<()> {
    let mut open = line.open().await?;
    let done = bounded(STATEMENT_LIMIT, async {
        if !verdicts.is_empty() {
            store::devices::mark_tokens(&mut *open, verdicts).await?;
            verdicts.clear();
        }
        let known = if is_ambiguous {
            let (ids, times): (Vec<_>, Vec<_>) = batch.iter().filter_map(Entry::event_key).unzip();
            store::events::present(&mut *open, &ids, &times).await?
        } else {
            HashSet::new()
        };
        let is_new = |entry: &&Entry| entry.event_key().is_none_or(|key| !known.contains(&key));
        let record = columns(batch.iter().filter(is_new));
        store::deliveries::record(&mut *open, &record).await
    });
    let done = done.await;
    open.keep(done)
}

fn columns<'a>(batch: impl Iterator<Item = &'a Entry>) -> Record {
    let mut record = Record::default();
    for entry in batch {
        let id = entry.held.delivery_id.0;
        match entry.change {
            RowChange::End => {
                record.ended.push(id);
                record.ended_owners.push(entry.held.owner.0);
            }
            RowChange::Move { due_at, attempts, certificate_id } => {
                record.moved.push(id);
                record.moved_owners.push(entry.held.owner.0);
                record.moved_due_at.push(due_at);
                record.moved_attempts.push(i16::try_from(attempts).unwrap_or(i16::MAX));
                record.moved_certificate_ids.push(certificate_id.0);
                record.moved_tokens.push(entry.held.token.clone());
            }
            RowChange::Keep => {}
        }
        let Some(told) = &entry.told else { continue };
        let events = &mut record.events;
        events.at.push(told.at);
        events.delivery_ids.push(id);
        events.app_ids.push(entry.app_id.0);
        events.user_ids.push(entry.held.user_id.clone());
        events.device_ids.push(entry.held.device_id.clone());
        events.certificate_ids.push(entry.certificate_id.0);
        events.kinds.push(told.kind);
        events.reasons.push(told.reason.clone());
        events.vendor_codes.push(told.vendor_code.as_deref().map(storable));
        events.vendor_message_ids.push(told.vendor_message_id.as_deref().map(storable));
        events.latencies_ms.push(told.latency_ms);
        events.attempts.push(told.attempt);
        events.details.push(told.detail.clone());
        events.finals.push(matches!(entry.change, RowChange::End));
        events.changes_row.push(!matches!(entry.change, RowChange::Keep));
    }
    record
}

/// A vendor's text as Postgres can store it: without NUL, at a sane length. A statement that the database refuses would be
/// tried for ever.
fn storable(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(MAX_VENDOR_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendors_odd_text_never_blocks_the_recorder() {
        assert_eq!(storable("a\0b"), "ab");
        assert_eq!(storable(&"好".repeat(1_000)).chars().count(), MAX_VENDOR_CHARS);
    }
}

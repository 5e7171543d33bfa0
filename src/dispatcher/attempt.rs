//! One parcel's way from the lane to the recorder: judged again where need be, sent, and every target's ending decided.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use serde_json::json;

use super::Inner;
use super::judgement::{Judgement, judge_again};
use super::lane::{Held, Lane, Parcel};
use super::recorder::{Entry as Result_, RowChange, Told};
use super::revocations::FRESH_FOR;
use super::weigh::{PruneVerdict, weigh};
use crate::directory::Entry;
use crate::domain::notification::Notification;
use crate::domain::prune::Verdict;
use crate::domain::retry::{self, Next};
use crate::domain::session::BindingStatus;
use crate::domain::skip::CancelReason;
use crate::secrets::masked_token;
use crate::store::devices::TokenVerdict;
use crate::telemetry;
use crate::vendor::outcome::{Outcome, Progress, Reason};
use crate::vendor::{Clearance, Push, QuotaReset, Target, Vendor};

/// How often a parcel may come back to the front of its lane without an attempt.
const MAX_PUT_BACKS: u8 = 3;
/// Retries sooner than this stay in memory.
const IN_MEMORY_RETRY: Duration = Duration::from_secs(1);

/// Sends a parcel and records how each of its deliveries ended or what it waits for.
pub(super) async fn attempt(inner: &Arc<Inner>, lane: &Arc<Lane>, entry: &Arc<Entry>, mut parcel: Parcel) {
    let Some(vendor) = entry.ready() else {
        lane.state().breaker.abandon_probe();
        lane.push_front(parcel);
        return;
    };
    if !inner.is_owner(&parcel) {
        lane.state().breaker.abandon_probe();
        inner.abandon(lane, &parcel);
        return;
    }
    let now = inner.clock.now();
    // By the clock that all instances share, even while this one's is ahead.
    if parcel.expires_at <= inner.clock.database_now() {
        for held in parcel.deliveries {
            let told = told(now, "expired", Some("time_to_live"), &held);
            end(inner, lane, &parcel.notification, held, told).await;
        }
        lane.state().breaker.abandon_probe();
        return;
    }
    if inner.is_cancelled(&parcel.notification) {
        end_cancelled(inner, lane, parcel).await;
        return;
    }
    end_overtaken(inner, lane, &mut parcel).await;
    if parcel.deliveries.is_empty() {
        lane.state().breaker.abandon_probe();
        return;
    }
    // Until nothing was taken away while the database was asked.
    // Who takes several steps needs what is left of the second for them.
    let fresh_for = if vendor.takes_steps() { FRESH_FOR / 2 } else { FRESH_FOR };
    let mut is_stale = parcel.judged_at.elapsed() > fresh_for;
    loop {
        match judge_again(inner, lane, &mut parcel, is_stale).await {
            Judgement::Fresh if !parcel.deliveries.is_empty() => break,
            // However long a slow database took for its answer: only what was taken away meanwhile asks again.
            Judgement::Renewed if !parcel.deliveries.is_empty() => is_stale = false,
            _ => {
                lane.state().breaker.abandon_probe();
                return;
            }
        }
    }
    let class = guarded(|| vendor.message_class(&parcel.notification)).unwrap_or_default();
    let held_until = lane.state().held_until(&class, now);
    if let Some(until) = held_until {
        lane.state().breaker.abandon_probe();
        postpone(inner, lane, parcel, until, "quota_spent").await;
        return;
    }
    if !inner.instance.may_send() || !inner.is_owner(&parcel) {
        lane.state().breaker.abandon_probe();
        lane.push_front(parcel);
        return;
    }
    if inner.is_cancelled(&parcel.notification) {
        // While the devices were looked at.
        end_cancelled(inner, lane, parcel).await;
        return;
    }
    send(inner, lane, entry, vendor, parcel, &class).await;
}

async fn end_cancelled(inner: &Arc<Inner>, lane: &Arc<Lane>, parcel: Parcel) {
    lane.state().breaker.abandon_probe();
    let now = inner.clock.now();
    for held in parcel.deliveries {
        let told = told(now, "cancelled", Some(CancelReason::CancelledByCaller.as_str()), &held);
        end(inner, lane, &parcel.notification, held, told).await;
    }
}

/// Why a delivery needs not be sent any more, whatever its device's rights.
fn overtaken(inner: &Inner, lane: &Lane, notification: &Notification, held: &Held) -> Option<CancelReason> {
    if lane.has_newer(held) {
        Some(CancelReason::SupersededByNewer)
    } else if inner.read_marks.cover(notification, &held.user_id) {
        Some(CancelReason::ConversationRead)
    } else {
        None
    }
}

/// Ends what something newer replaces, and what was read meanwhile.
async fn end_overtaken(inner: &Arc<Inner>, lane: &Arc<Lane>, parcel: &mut Parcel) {
    let mut left = Vec::with_capacity(parcel.deliveries.len());
    for held in std::mem::take(&mut parcel.deliveries) {
        match overtaken(inner, lane, &parcel.notification, &held) {
            None => left.push(held),
            Some(reason) => {
                let told = told(inner.clock.now(), "cancelled", Some(reason.as_str()), &held);
                end(inner, lane, &parcel.notification, held, told).await;
            }
        }
    }
    parcel.deliveries = left;
}

/// A bug in an adapter must not take the message or the lane with it.
pub(super) fn guarded<T>(adapter: impl FnOnce() -> T) -> Option<T> {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(adapter));
    if result.is_err() {
        tracing::error!("an adapter panicked");
    }
    result.ok()
}

async fn send(
    inner: &Arc<Inner>,
    lane: &Arc<Lane>,
    entry: &Arc<Entry>,
    vendor: &Arc<dyn Vendor>,
    parcel: Parcel,
    class: &str,
) {
    let began_at = inner.clock.now();
    let started = Instant::now();
    let clearance = if vendor.takes_steps() { clearance(inner, &parcel, started) } else { Clearance::given() };
    let badge = parcel.deliveries.first().and_then(|held| held.badge);
    let time_to_live = parcel.time_to_live(inner.clock.database_now());
    let mut push = Push::of(&parcel.notification, badge, parcel.expires_at, time_to_live, clearance);
    let is_fit = guarded(|| vendor.fit(&mut push)).is_some();
    let targets: Vec<Target> = parcel
        .deliveries
        .iter()
        .map(|held| Target { delivery_id: held.delivery_id, token: held.token.clone() })
        .collect();
    telemetry::metrics::call_started(vendor.kind(), parcel.notification.notification_id, began_at);
    let panicked = || Outcome::new(Reason::Unrecognised).with_code("adapter panicked").for_each(targets.len());
    let mut outcomes = if is_fit {
        let call = std::panic::AssertUnwindSafe(vendor.send(&push, &targets)).catch_unwind();
        call.await.unwrap_or_else(|_| {
            tracing::error!(vendor = %vendor.kind(), "an adapter panicked");
            panicked()
        })
    } else {
        panicked()
    };
    let elapsed = started.elapsed();
    telemetry::metrics::call_ended(vendor.kind(), elapsed);
    // An adapter that answers too few outcomes has a bug; the message is not lost for it.
    outcomes.resize_with(targets.len(), || Outcome::new(Reason::Unrecognised).with_code("no outcome for this target"));
    if outcomes.len() > 1 && outcomes.iter().all(Outcome::is_for_one) {
        divide(lane, parcel);
        return;
    }
    let (parcel, outcomes) = put_back(lane, parcel, outcomes);
    if outcomes.is_empty() {
        lane.state().breaker.abandon_probe();
        return;
    }
    let verdict = weigh(inner, lane, entry, &parcel.notification, &outcomes, began_at);
    if outcomes.iter().any(|outcome| outcome.reason == Reason::CertificateRefused) {
        inner.refuse_certificate(entry, &outcomes).await;
    }
    if let Some(spent) = outcomes.iter().find(|outcome| outcome.reason == Reason::QuotaSpent) {
        let until = quota_reset(vendor, spent).next(began_at);
        inner.hold_class(lane, class, until, spent.vendor_code.as_deref()).await;
    }
    let ended_at = inner.clock.now();
    // One jitter for all: what goes out together is tried again together.
    let call = Call { vendor, started, began_at, ended_at, elapsed, push: &push, verdict, jitter: rand::random() };
    let mut soon: BTreeMap<Duration, Vec<Held>> = BTreeMap::new();
    for (held, outcome) in parcel.deliveries.into_iter().zip(outcomes) {
        telemetry::metrics::attempt_ended(vendor.kind(), outcome.reason);
        let again = conclude(inner, lane, &call, &parcel.notification, parcel.expires_at, held, outcome).await;
        if let Some((wait, held)) = again {
            soon.entry(wait).or_default().push(held);
        }
    }
    for (wait, deliveries) in soon {
        let notification = Arc::clone(&parcel.notification);
        let parcel = Parcel { notification, judged_at: long_ago(), put_backs: 0, deliveries, ..parcel };
        retry_in_memory(inner, lane, parcel, wait);
    }
}

/// What was not sent goes to the front of the lane, to be judged anew; the rest is answered. Not for ever: then it is an
/// attempt like any other.
fn put_back(lane: &Arc<Lane>, parcel: Parcel, outcomes: Vec<Outcome>) -> (Parcel, Vec<Outcome>) {
    if parcel.put_backs >= MAX_PUT_BACKS || outcomes.iter().all(|outcome| outcome.progress != Progress::PutBack) {
        return (parcel, outcomes);
    }
    let pairs = parcel.deliveries.into_iter().zip(outcomes);
    let (back, told): (Vec<_>, Vec<_>) = pairs.partition(|(_, outcome)| outcome.progress == Progress::PutBack);
    let deliveries = back.into_iter().map(|(held, _)| held).collect();
    let (notification, judged_at) = (Arc::clone(&parcel.notification), long_ago());
    lane.push_front(Parcel { notification, judged_at, put_backs: parcel.put_backs + 1, deliveries, ..parcel });
    let (deliveries, outcomes) = told.into_iter().unzip();
    (Parcel { notification: parcel.notification, deliveries, ..parcel }, outcomes)
}

/// A time at which nothing that is known of devices can be trusted any more.
fn long_ago() -> Instant {
    Instant::now().checked_sub(FRESH_FOR * 2).unwrap_or_else(Instant::now)
}

/// Whether another request may start for these devices: what is asked before a call, once more. What was known of them when
/// the call started is trusted a little longer, so that a slow database stops nobody.
fn clearance(inner: &Arc<Inner>, parcel: &Parcel, started: Instant) -> Clearance {
    let inner = Arc::clone(inner);
    let owner = inner.instance.id();
    let (judged_at, expires_at, notification) = (parcel.judged_at, parcel.expires_at, Arc::clone(&parcel.notification));
    let device = |held: &Held| (held.user_id.clone(), held.device_id.clone());
    let devices: Vec<(String, String)> = parcel.deliveries.iter().map(device).collect();
    Clearance::new(move || {
        let is_revoked = |(user_id, device_id): &(String, String)| {
            inner.revocations.since(judged_at, notification.app_id, user_id, device_id)
        };
        (judged_at.elapsed() <= FRESH_FOR || started.elapsed() <= FRESH_FOR / 2)
            && inner.instance.may_send()
            && inner.instance.id() == owner
            && expires_at > inner.clock.database_now()
            && !inner.is_cancelled(&notification)
            && !devices.iter().any(is_revoked)
    })
}

/// A call that was refused for one bad target, nobody knows which, comes again as two: nothing was sent, so it was no
/// attempt.
fn divide(lane: &Arc<Lane>, parcel: Parcel) {
    lane.state().breaker.record(false, Instant::now());
    let mut first = parcel.deliveries;
    let second = first.split_off(first.len() / 2);
    for deliveries in [second, first] {
        let notification = Arc::clone(&parcel.notification);
        lane.push_front(Parcel { notification, deliveries, ..parcel });
    }
}

/// When the quota that this answer is about is full again.
fn quota_reset(vendor: &Arc<dyn Vendor>, outcome: &Outcome) -> QuotaReset {
    outcome.quota_reset.unwrap_or_else(|| vendor.limits().quota_reset)
}

/// What is the same for all targets of a call.
struct Call<'a> {
    vendor: &'a Arc<dyn Vendor>,
    started: Instant,
    began_at: DateTime<Utc>,
    ended_at: DateTime<Utc>,
    elapsed: Duration,
    push: &'a Push,
    verdict: PruneVerdict,
    jitter: f64,
}

/// Decides and records what follows for one target. Answers the delivery and the wait when it is tried again so soon that
/// it stays in memory.
async fn conclude(
    inner: &Arc<Inner>,
    lane: &Arc<Lane>,
    call: &Call<'_>,
    notification: &Arc<Notification>,
    expires_at: DateTime<Utc>,
    mut held: Held,
    outcome: Outcome,
) -> Option<(Duration, Held)> {
    let attempt = held.attempts.saturating_add(1);
    let now = call.ended_at;
    // Time to live 0 means one attempt; where the vendor was not even asked, its turn has not come.
    let is_used_up =
        notification.content.ttl_s == 0 && matches!(outcome.progress, Progress::Asked | Progress::RefusedForOne);
    let lead = (now - inner.clock.database_now()).max(chrono::TimeDelta::zero());
    let end_of_time = if is_used_up { now } else { expires_at + lead };
    let next = retry::next(outcome.reason, attempt, outcome.retry_after, now, end_of_time, call.jitter);
    // While it was on the wire.
    let overtaken = overtaken(inner, lane, notification, &held);
    let next = match next {
        Next::RetryAt(_) if inner.is_cancelled(notification) || overtaken.is_some() => Next::Expire,
        next => next,
    };
    let withheld = match outcome.reason {
        Reason::TokenGone => call.verdict.dead == Verdict::Withheld,
        Reason::TokenMalformed => call.verdict.malformed == Verdict::Withheld,
        _ => false,
    };
    let mut detail = serde_json::Map::new();
    detail.insert("token".to_owned(), masked_token(&held.token).into());
    if !call.push.cuts.is_empty() {
        detail.insert("cut".to_owned(), json!(call.push.cuts));
    }
    if let Some(since) = outcome.gone_since {
        detail.insert("gone_since".to_owned(), json!(since));
    }
    let is_dead = matches!(outcome.reason, Reason::TokenGone | Reason::TokenMalformed);
    let app_id = notification.app_id;
    let was_reported = is_dead && inner.reported.since(call.started, app_id, &held.user_id, &held.device_id);
    if was_reported {
        detail.insert("unbind".to_owned(), "not done: the token was reported again meanwhile".into());
    } else if withheld {
        detail.insert("unbind".to_owned(), "withheld by the prune breaker".into());
    }
    let verdict = match next {
        Next::EndAndUnbind if !withheld && !was_reported => Some(BindingStatus::Invalid),
        Next::EndAndMute => Some(BindingStatus::Muted),
        _ => None,
    }
    .map(|status| TokenVerdict {
        app_id: notification.app_id,
        user_id: held.user_id.clone(),
        device_id: held.device_id.clone(),
        token: held.token.clone(),
        tried_at: outcome.gone_since.map_or(call.began_at, |since| since.min(call.began_at)),
        status,
    });
    let mut soon = None;
    let change = match next {
        Next::End | Next::EndAndUnbind | Next::EndAndMute => RowChange::End,
        Next::Expire => {
            let why = match overtaken {
                _ if inner.is_cancelled(notification) => CancelReason::CancelledByCaller.words().en,
                Some(reason) => reason.words().en,
                None => "no time is left for another attempt",
            };
            detail.insert("next".to_owned(), why.into());
            RowChange::End
        }
        Next::RetryAt(due_at) => {
            detail.insert("retry_at".to_owned(), json!(due_at));
            let wait = (due_at - now).to_std().unwrap_or_default();
            if wait < IN_MEMORY_RETRY && !inner.is_draining() && !lane.state().breaker.is_open() {
                soon = Some(wait);
                RowChange::Keep
            } else {
                RowChange::Move { due_at, attempts: attempt, certificate_id: lane.certificate_id }
            }
        }
        Next::HoldClass => {
            let due_at = quota_reset(call.vendor, &outcome).next(call.began_at);
            detail.insert("held_until".to_owned(), json!(due_at));
            RowChange::Move { due_at, attempts: attempt, certificate_id: lane.certificate_id }
        }
        Next::PauseCertificate => {
            detail.insert("next".to_owned(), "waits until the certificate is resumed".into());
            RowChange::Move { due_at: now, attempts: attempt, certificate_id: lane.certificate_id }
        }
    };
    if matches!(change, RowChange::End) {
        telemetry::metrics::delivery_ended(outcome.reason.as_str());
    }
    held.attempts = attempt;
    let told = Told {
        at: now,
        kind: "attempt",
        reason: Some(outcome.reason.as_str().to_owned()),
        vendor_code: outcome.vendor_code,
        vendor_message_id: outcome.vendor_message_id,
        latency_ms: i32::try_from(call.elapsed.as_millis()).ok(),
        attempt: i16::try_from(attempt).ok(),
        detail: Some(serde_json::Value::Object(detail).to_string()),
    };
    let certificate_id = lane.certificate_id;
    let again = soon.map(|wait| (wait, held.clone()));
    inner.record(Result_ { app_id, certificate_id, held, change, told: Some(told), verdict }).await;
    again
}

fn retry_in_memory(inner: &Arc<Inner>, lane: &Arc<Lane>, parcel: Parcel, wait: Duration) {
    let (inner, lane) = (Arc::clone(inner), Arc::clone(lane));
    tokio::spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = inner.draining.cancelled() => {}
        }
        lane.push_front(parcel);
    });
}

/// Gives a parcel back to the database until a time.
pub(super) async fn postpone(
    inner: &Arc<Inner>,
    lane: &Arc<Lane>,
    parcel: Parcel,
    due_at: DateTime<Utc>,
    reason: &'static str,
) {
    let now = inner.clock.now();
    for held in parcel.deliveries {
        let mut told = told(now, "postponed", Some(reason), &held);
        told.detail = Some(json!({"due_at": due_at}).to_string());
        let change = RowChange::Move { due_at, attempts: held.attempts, certificate_id: lane.certificate_id };
        let certificate_id = lane.certificate_id;
        let app_id = parcel.notification.app_id;
        inner.record(Result_ { app_id, certificate_id, held, change, told: Some(told), verdict: None }).await;
    }
}

/// Ends a delivery without a call.
pub(super) async fn end(
    inner: &Arc<Inner>,
    lane: &Arc<Lane>,
    notification: &Arc<Notification>,
    held: Held,
    told: Told,
) {
    telemetry::metrics::delivery_ended(told.kind);
    let certificate_id = lane.certificate_id;
    let app_id = notification.app_id;
    let change = RowChange::End;
    inner.record(Result_ { app_id, certificate_id, held, change, told: Some(told), verdict: None }).await;
}

pub(super) fn told(at: DateTime<Utc>, kind: &'static str, reason: Option<&str>, held: &Held) -> Told {
    Told {
        at,
        kind,
        reason: reason.map(str::to_owned),
        vendor_code: None,
        vendor_message_id: None,
        latency_ms: None,
        attempt: i16::try_from(held.attempts).ok(),
        detail: None,
    }
}

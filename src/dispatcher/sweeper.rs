//! The sweeper: brings deliveries that wait in the database into lanes that are open and have room, and ends those whose
//! time is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Connection;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Inner;
use super::attempt;
use super::lane::{Held, Parcel};
use super::recorder::{Entry, RowChange};
use crate::domain::app::AppSettings;
use crate::domain::burst::TextVariant;
use crate::domain::id::{AppId, CertificateId, InstanceId, NotificationId};
use crate::domain::notification::{Content, Notification, Priority, SharedNotification};
use crate::domain::skip::CancelReason;
use crate::store;
use crate::store::deliveries::Claimed;
use crate::store::line::{Line, STATEMENT_LIMIT, bounded};

/// The most that one statement claims for one lane, and for all.
const LANE_BATCH: usize = 1_000;
const ROUND_BATCH: i64 = 5_000;
/// A round that brought in this many looks again at once: more may be due.
const SOME_MORE: usize = 500;
/// How long a delivery waits whose content only a newer version can read.
const UNREADABLE_WAITS: chrono::TimeDelta = chrono::TimeDelta::minutes(1);
/// The most that one statement expires.
const EXPIRE_BATCH: i64 = 1_000;

/// Sweeps at each interval, or at once when told, until stopped.
pub(super) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    let interval = Duration::from_millis(inner.options.sweep_interval_ms);
    let line = Line::of(&inner.database.pipeline);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
            () = inner.sweep_now.notified() => {}
        }
        if let Err(error) = sweep(&inner, &line).await {
            tracing::warn!(%error, "sweep failed; will try again");
        }
    }
}

/// Ends what waited past its time to live, until stopped.
pub(super) async fn expire(inner: Arc<Inner>, stop: CancellationToken) {
    let interval = Duration::from_millis(inner.options.expiry_interval_ms);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        if let Err(error) = expire_all(&inner).await {
            tracing::warn!(%error, "cannot end expired deliveries; will try again");
        }
    }
}

/// Ends everything that is past its time to live now.
pub(super) async fn expire_all(inner: &Inner) -> sqlx::Result<u64> {
    let mut total = 0;
    loop {
        let expire = store::deliveries::expire(&inner.database.pipeline, inner.clock.database_now(), EXPIRE_BATCH);
        let ended = bounded(STATEMENT_LIMIT, expire).await?;
        total += ended;
        crate::telemetry::metrics::expired_waiting(ended);
        if ended < EXPIRE_BATCH.unsigned_abs() {
            return Ok(total);
        }
    }
}

/// One round over all lanes. Answers how many deliveries it brought in. High priority is asked for first each time, and
/// both again while there may be more.
pub(super) async fn sweep(inner: &Inner, line: &Line) -> sqlx::Result<usize> {
    let mut total = 0;
    loop {
        let mut claimed = 0;
        for priority in Priority::ALL {
            claimed += sweep_priority(inner, line, priority).await?;
        }
        total += claimed;
        if claimed < SOME_MORE || inner.is_draining() {
            return Ok(total);
        }
    }
}

async fn sweep_priority(inner: &Inner, line: &Line, priority: Priority) -> sqlx::Result<usize> {
    let lanes = lanes_with_room(inner);
    if lanes.is_empty() {
        return Ok(0);
    }
    let (ids, rooms): (Vec<i64>, Vec<i64>) = lanes.into_iter().unzip();
    let judged_at = Instant::now();
    let (instance, now) = (inner.instance.id(), inner.clock.now());
    let mut line = line.open().await?;
    let mut transaction = bounded(STATEMENT_LIMIT, line.begin()).await?;
    let claim = store::deliveries::claim(&mut *transaction, instance, priority, &ids, &rooms, ROUND_BATCH, now);
    let claimed = bounded(STATEMENT_LIMIT, claim).await?;
    let claimed = match bounded(STATEMENT_LIMIT, transaction.commit()).await {
        Ok(()) => line.keep(Ok(claimed))?,
        Err(error) => {
            tracing::warn!(%error, "no answer to the commit of a claim; asking what became of it");
            std::mem::drop(line);
            still_owned(inner, instance, claimed).await
        }
    };
    let count = claimed.len();
    take_in(inner, instance, claimed, judged_at).await;
    Ok(count)
}

/// Of deliveries whose claim may or may not be committed: those that are owned by this instance. Asks until the database
/// answers; a stop releases what it owns anyway.
async fn still_owned(inner: &Inner, instance: InstanceId, claimed: Vec<Claimed>) -> Vec<Claimed> {
    let ids: Vec<Uuid> = claimed.iter().map(|claimed| claimed.delivery_id.0).collect();
    let Some(owners) = until_answered(inner, || store::deliveries::owners(&inner.database.api, &ids)).await else {
        return Vec::new();
    };
    let is_mine = |claimed: &Claimed| owners.get(&claimed.delivery_id.0) == Some(&Some(instance));
    claimed.into_iter().filter(is_mine).collect()
}

/// Asks the database until it answers; `None` when the server stops first.
async fn until_answered<T, F>(inner: &Inner, ask: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = sqlx::Result<T>>,
{
    loop {
        match bounded(STATEMENT_LIMIT, ask()).await {
            Ok(answer) => return Some(answer),
            Err(error) => tracing::warn!(%error, "the database does not answer; asking again"),
        }
        tokio::select! {
            () = inner.draining.cancelled() => return None,
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
}

/// Open lanes with room, and how much; in another order each time, so that none starves behind the backlogs of others.
fn lanes_with_room(inner: &Inner) -> Vec<(i64, i64)> {
    if inner.is_draining() || !inner.instance.may_send() {
        return Vec::new();
    }
    let now = Instant::now();
    let snapshot = inner.directory.snapshot();
    let entries = || snapshot.certificates.values();
    let first = rand::random_range(0..snapshot.certificates.len().max(1));
    let mut lanes = Vec::new();
    for entry in entries().skip(first).chain(entries().take(first)) {
        if entry.ready().is_none() {
            continue;
        }
        let lane = inner.lane(entry.certificate.certificate_id);
        let room = lane.room(now).min(LANE_BATCH).min(inner.memory_for(&lane));
        if room > 0 {
            lanes.push((entry.certificate.certificate_id.0, i64::try_from(room).unwrap_or(0)));
        }
    }
    lanes
}

/// Puts claimed deliveries into their lanes, as parcels by notification. They are judged again before they are sent.
async fn take_in(inner: &Inner, owner: InstanceId, claimed: Vec<Claimed>, judged_at: Instant) {
    if claimed.is_empty() {
        return;
    }
    let mut ids: Vec<Uuid> = claimed.iter().map(|claimed| claimed.delivery_id.notification().0).collect();
    ids.sort_unstable();
    ids.dedup();
    let Some(contents) = until_answered(inner, || load_contents(inner, &ids)).await else { return };
    let snapshot = inner.directory.snapshot().clone();
    let fallback = AppSettings::default();
    let mut parcels: HashMap<(CertificateId, NotificationId, Option<i32>, TextVariant), Parcel> = HashMap::new();
    for row in claimed {
        inner.adopt(row.certificate_id, 1);
        let notification_id = row.delivery_id.notification();
        let held = Held {
            owner,
            delivery_id: row.delivery_id,
            user_id: row.user_id,
            device_id: row.device_id,
            token: row.token,
            badge: row.badge,
            attempts: row.attempts,
            collapse: None,
        };
        let notification = match contents.get(&notification_id) {
            Some(Ok(notification)) => notification,
            Some(Err(Unreadable)) => {
                wait_for_another_version(inner, row.app_id, row.certificate_id, held).await;
                continue;
            }
            None => {
                end_without_content(inner, row.app_id, row.certificate_id, held).await;
                continue;
            }
        };
        parcels
            .entry((row.certificate_id, notification_id, row.badge, row.text_variant))
            .or_insert_with(|| Parcel {
                notification: notification
                    .showing(row.text_variant, snapshot.apps.get(&row.app_id).map_or(&fallback, |app| &app.settings)),
                is_backlog: true,
                expires_at: row.expires_at,
                judged_at: judged_at.checked_sub(Duration::from_hours(1)).unwrap_or(judged_at),
                put_backs: 0,
                deliveries: Vec::new(),
            })
            .deliveries
            .push(held);
    }
    let mut parcels: Vec<_> = parcels.into_iter().collect();
    parcels.sort_by_key(|((_, notification_id, ..), _)| *notification_id);
    for ((certificate_id, ..), parcel) in parcels {
        inner.lane(certificate_id).take_in(parcel);
    }
}

/// A stored content that this version cannot read: a newer one wrote it.
struct Unreadable;

type Contents = HashMap<NotificationId, Result<SharedNotification, Unreadable>>;

async fn load_contents(inner: &Inner, ids: &[Uuid]) -> sqlx::Result<Contents> {
    let rows = store::notifications::contents(&inner.database.pipeline, ids).await?;
    let read = |(notification_id, app_id, bytes): (NotificationId, AppId, Vec<u8>)| {
        let content = serde_json::from_slice::<Content>(&bytes).map_err(|error| {
            tracing::error!(notification.id = %notification_id, %error, "stored content is not readable; its deliveries wait");
            Unreadable
        });
        (notification_id, content.map(|content| Arc::new(Notification { notification_id, app_id, content })))
    };
    Ok(rows.into_iter().map(read).collect())
}

/// The delivery goes back for a while: an instance of the version that wrote its content may take it.
async fn wait_for_another_version(inner: &Inner, app_id: AppId, certificate_id: CertificateId, held: Held) {
    let due_at = inner.clock.now() + UNREADABLE_WAITS;
    let mut told = attempt::told(inner.clock.now(), "postponed", Some("content_unreadable"), &held);
    told.detail = Some(serde_json::json!({"due_at": due_at}).to_string());
    let change = RowChange::Move { due_at, attempts: held.attempts, certificate_id };
    inner.record(Entry { app_id, certificate_id, held, change, told: Some(told), verdict: None }).await;
}

/// Must not happen: a waiting delivery whose content is gone ends, explained, instead of going round for ever.
async fn end_without_content(inner: &Inner, app_id: AppId, certificate_id: CertificateId, held: Held) {
    tracing::error!(delivery.id = %held.delivery_id, "the content of a waiting delivery is missing");
    let told = attempt::told(inner.clock.now(), "cancelled", Some(CancelReason::ContentMissing.as_str()), &held);
    inner.record(Entry { app_id, certificate_id, held, change: RowChange::End, told: Some(told), verdict: None }).await;
}

//! What the server does for itself in the background: partitions ahead and behind, clean-up, gauges.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Duration as Span, NaiveDateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::api::KeyUse;
use crate::config::Retention;
use crate::dispatcher::Dispatcher;
use crate::domain::id::NotificationId;
use crate::domain::skip::SkipReason;
use crate::store::line::{STATEMENT_LIMIT, WORK_LIMIT, bounded};
use crate::store::partitions::{self, Parent};
use crate::store::{self, Database};
use crate::telemetry;

const EVERY: Duration = Duration::from_mins(1);
const GAUGES_EVERY: Duration = Duration::from_secs(5);
/// Contents are dropped this long after the beginning of their hour; what still waits is copied first.
const CONTENTS_FOR: TimeDelta = TimeDelta::hours(2);
/// The dedupe window is 48 hours: today and the two days before.
const KEYS_FOR: TimeDelta = TimeDelta::days(3);
const IDEMPOTENCY_FOR: TimeDelta = TimeDelta::hours(48);
/// Windows of bursts last an hour at most.
const WINDOWS_FOR: TimeDelta = TimeDelta::hours(1);
/// The most of them that one statement forgets.
const FORGET_BATCH: i64 = 10_000;
/// The most that one statement cancels for a deleted certificate.
const CANCEL_BATCH: i64 = 1_000;

/// One partition to be: its name and bounds.
#[derive(Debug, PartialEq, Eq)]
struct Planned {
    name: String,
    lower: String,
    upper: String,
}

/// How long one partition lasts.
fn period(parent: Parent, retention: &Retention) -> Span {
    match parent {
        Parent::DeliveryEvents => Span::hours(i64::from(retention.event_partition_hours)),
        Parent::MessageKeys => Span::days(1),
        Parent::NotificationContents => Span::hours(1),
    }
}

/// How far ahead partitions are made.
fn ahead(parent: Parent) -> Span {
    match parent {
        Parent::DeliveryEvents | Parent::MessageKeys => Span::days(3),
        Parent::NotificationContents => Span::hours(26),
    }
}

/// How long a partition is kept.
fn kept_until(parent: Parent, retention: &Retention, begin: DateTime<Utc>, end: DateTime<Utc>) -> DateTime<Utc> {
    match parent {
        Parent::DeliveryEvents => end + Span::days(i64::from(retention.event_days)),
        Parent::MessageKeys => begin + KEYS_FOR,
        Parent::NotificationContents => begin + CONTENTS_FOR,
    }
}

const NAME_TIME: &str = "%Y%m%d_%H";

/// The partitions a table needs from now on. The first begins before now: at midnight the day before is still written to.
/// What exists already, perhaps with another period, is left as it is, and the new ones fill what it leaves open.
fn plan(parent: Parent, retention: &Retention, now: DateTime<Utc>, existing: &[String]) -> Vec<Planned> {
    let period = period(parent, retention);
    let aligned = |at: DateTime<Utc>| {
        let seconds = period.num_seconds().max(1);
        DateTime::from_timestamp(at.timestamp() / seconds * seconds, 0).unwrap_or(at)
    };
    let existing: Vec<_> = existing.iter().filter_map(|name| lasts(parent, name)).collect();
    let mut lower = aligned(now) - period;
    let mut planned = Vec::new();
    while lower < now + ahead(parent) {
        if let Some((_, end)) = existing.iter().find(|(begin, end)| (*begin..*end).contains(&lower)) {
            lower = *end;
            continue;
        }
        let next = existing.iter().map(|(begin, _)| *begin).filter(|begin| *begin > lower).min();
        let upper = next.map_or(aligned(lower) + period, |next| next.min(aligned(lower) + period));
        let bound = |at: DateTime<Utc>| match parent {
            Parent::DeliveryEvents => at.to_rfc3339(),
            Parent::MessageKeys => at.date_naive().to_string(),
            Parent::NotificationContents => id_bound(at).to_string(),
        };
        let hours = (upper - lower).num_hours();
        let name = format!("{}_{}_{hours}h", parent.as_str(), lower.format(NAME_TIME));
        planned.push(Planned { name, lower: bound(lower), upper: bound(upper) });
        lower = upper;
    }
    planned
}

fn id_bound(at: DateTime<Utc>) -> uuid::Uuid {
    NotificationId::lower_bound(u64::try_from(at.timestamp_millis()).unwrap_or_default())
}

/// When a partition begins and ends, by its name.
fn lasts(parent: Parent, name: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let time = name.strip_prefix(parent.as_str())?.strip_prefix('_')?;
    let (begin, hours) = time.strip_suffix('h')?.rsplit_once('_')?;
    let begin = NaiveDateTime::parse_from_str(&format!("{begin}0000"), "%Y%m%d_%H%M%S").ok()?.and_utc();
    Some((begin, begin + Span::hours(hours.parse().ok()?)))
}

/// Makes every partition that is missing. Called before the first request is taken, and every minute.
/// # Errors
/// Database errors.
pub async fn make_partitions(database: &Database, retention: &Retention) -> sqlx::Result<()> {
    let mut transaction = database.api.begin().await?;
    partitions::lock(&mut *transaction).await?;
    let now = partitions::database_now(&mut *transaction).await?;
    for parent in Parent::ALL {
        let existing = partitions::list(&mut *transaction, parent).await?;
        for planned in plan(parent, retention, now, &existing) {
            partitions::make(&mut *transaction, parent, &planned.name, &planned.lower, &planned.upper).await?;
        }
    }
    transaction.commit().await
}

/// Drops every partition whose time is over.
async fn drop_partitions(database: &Database, retention: &Retention) -> sqlx::Result<()> {
    for parent in Parent::ALL {
        let now = partitions::database_now(&database.api).await?;
        for name in partitions::list(&database.api, parent).await? {
            let Some((begin, end)) = lasts(parent, &name) else { continue };
            if now < kept_until(parent, retention, begin, end) {
                continue;
            }
            let mut transaction = database.api.begin().await?;
            if !partitions::try_lock(&mut *transaction).await? {
                return Ok(()); // another instance is at it
            }
            if parent == Parent::NotificationContents {
                let copied = partitions::keep_contents(&mut *transaction, id_bound(begin), id_bound(end)).await?;
                tracing::debug!(partition = name, copied, "contents of waiting deliveries kept");
            }
            partitions::drop(&mut transaction, &name).await?;
            transaction.commit().await?;
            tracing::info!(partition = name, "partition dropped");
        }
    }
    Ok(())
}

/// Does the rounds until stopped.
pub async fn run(
    database: Database,
    dispatcher: Dispatcher,
    key_use: Arc<KeyUse>,
    retention: Retention,
    stop: CancellationToken,
) {
    let mut rounds = tokio::time::interval(EVERY);
    let mut gauges = tokio::time::interval(GAUGES_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = rounds.tick() => round(&database, &retention).await,
            _ = gauges.tick() => {
                telemetry::metrics::upkeep();
                let estimate = store::deliveries::estimate_waiting(&database.api);
                let waiting = bounded(STATEMENT_LIMIT, estimate).await.unwrap_or(0);
                telemetry::metrics::gauges(dispatcher.held(), waiting, dispatcher.instances_alive());
                flush_key_use(&database, &key_use).await;
            }
        }
    }
    flush_key_use(&database, &key_use).await;
}

async fn round(database: &Database, retention: &Retention) {
    // One that fails does not keep the others from their turn.
    for (what, done) in [
        ("making partitions", bounded(WORK_LIMIT, make_partitions(database, retention)).await),
        ("dropping partitions", bounded(WORK_LIMIT, drop_partitions(database, retention)).await),
        ("forgetting old contents", bounded(WORK_LIMIT, forget(database)).await),
        ("ending what waits for deleted certificates", bounded(WORK_LIMIT, cancel_orphans(database)).await),
    ] {
        if let Err(error) = done {
            tracing::warn!(%error, "{what} failed; the next round is in a minute");
        }
    }
}

/// One round, now; the first step that fails ends it.
/// # Errors
/// Database errors.
pub async fn once(database: &Database, retention: &Retention) -> sqlx::Result<()> {
    make_partitions(database, retention).await?;
    drop_partitions(database, retention).await?;
    forget(database).await?;
    cancel_orphans(database).await
}

async fn forget(database: &Database) -> sqlx::Result<()> {
    let now = partitions::database_now(&database.api).await?;
    store::idempotency::delete_old(&database.api, now - IDEMPOTENCY_FOR).await?;
    while store::push_counts::forget_windows(&database.api, now - WINDOWS_FOR, FORGET_BATCH).await?
        >= FORGET_BATCH.unsigned_abs()
    {}
    let mut transaction = database.api.begin().await?;
    if partitions::try_lock(&mut *transaction).await? {
        partitions::forget_contents(&mut transaction, now - CONTENTS_FOR, now).await?;
    }
    transaction.commit().await
}

/// Ends what waits for certificates that were deleted.
async fn cancel_orphans(database: &Database) -> sqlx::Result<()> {
    for certificate in store::deliveries::orphaned_certificates(&database.api).await? {
        loop {
            let now = partitions::database_now(&database.api).await?;
            let reason = SkipReason::CertificateMissing.as_str();
            let ended =
                store::deliveries::cancel_of_certificate(&database.api, certificate, reason, now, CANCEL_BATCH).await?;
            telemetry::metrics::cancelled_waiting(ended);
            if ended < CANCEL_BATCH.unsigned_abs() {
                break;
            }
        }
    }
    Ok(())
}

async fn flush_key_use(database: &Database, key_use: &KeyUse) {
    let (keys, times) = key_use.take();
    if !keys.is_empty()
        && let Err(error) = bounded(STATEMENT_LIMIT, store::api_keys::touch(&database.api, &keys, &times)).await
    {
        tracing::debug!(%error, "cannot note when keys were used");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Retention = Retention { event_days: 7, event_partition_hours: 24 };

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn names(planned: &[Planned]) -> Vec<String> {
        planned.iter().map(|planned| planned.name.clone()).collect()
    }

    #[test]
    fn partitions_join_without_gaps_from_before_now_to_well_ahead() {
        let now = at("2026-11-24T23:59:59Z");
        for parent in Parent::ALL {
            let planned = plan(parent, &RETENTION, now, &[]);
            for pair in planned.windows(2) {
                assert_eq!(pair[0].upper, pair[1].lower);
            }
            assert!(lasts(parent, &planned[0].name).unwrap().0 < now - Span::minutes(59), "{parent:?}");
            let (_, end) = lasts(parent, &planned.last().unwrap().name).unwrap();
            assert!(end > now + Span::days(1), "{parent:?}");
            assert!(planned.iter().all(|planned| planned.name.len() < 63));
            assert_eq!(plan(parent, &RETENTION, now, &names(&planned)), [], "nothing is made twice");
            let without_one: Vec<_> = names(&planned).into_iter().enumerate().filter(|(n, _)| *n != 2).collect();
            let without_one: Vec<_> = without_one.into_iter().map(|(_, name)| name).collect();
            assert_eq!(
                names(&plan(parent, &RETENTION, now, &without_one)),
                [planned[2].name.as_str()],
                "a gap is filled"
            );
        }
        let keys = plan(Parent::MessageKeys, &RETENTION, now, &[]);
        assert_eq!(keys[0].name, "message_keys_20261123_00_24h");
        assert_eq!((keys[0].lower.as_str(), keys[0].upper.as_str()), ("2026-11-23", "2026-11-24"));
    }

    #[test]
    fn another_partition_period_fits_between_the_old_ones() {
        let now = at("2026-11-24T10:20:00Z");
        for (before, after) in [(1, 24), (24, 1), (6, 4)] {
            let hours = |event_partition_hours| Retention { event_partition_hours, ..RETENTION };
            let old = plan(Parent::DeliveryEvents, &hours(before), now, &[]);
            let later = now + Span::hours(30);
            let new = plan(Parent::DeliveryEvents, &hours(after), later, &names(&old));
            let all = old.iter().chain(&new);
            let mut spans: Vec<_> = all.map(|p| (at(&p.lower), at(&p.upper))).collect();
            spans.sort();
            for pair in spans.windows(2) {
                assert_eq!(pair[0].1, pair[1].0, "{before} to {after}: neither a gap nor an overlap");
            }
            assert!(spans.last().unwrap().1 > later + Span::days(2));
        }
    }

    #[test]
    fn nothing_is_dropped_while_it_is_needed() {
        for (parent, begin, end, needed_until) in [
            (Parent::MessageKeys, "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-24T23:59:59Z"),
            (Parent::NotificationContents, "2026-11-24T10:00:00Z", "2026-11-24T11:00:00Z", "2026-11-24T11:59:59Z"),
            (Parent::DeliveryEvents, "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z", "2026-12-01T23:59:59Z"),
        ] {
            assert!(at(needed_until) < kept_until(parent, &RETENTION, at(begin), at(end)), "{parent:?}");
        }
    }
}

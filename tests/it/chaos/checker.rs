//! Compares what the chat server holds as accepted, what phones received, and what the trace says.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rouse::simulator::Controls;
use serde_json::Value;
use sqlx::PgPool;

use super::load::Record;
use super::say;
use crate::world::APP;

/// Everything accepted ends within this after the fault is over.
pub(crate) const ENDS_WITHIN: Duration = Duration::from_mins(2);

/// What may be sent again when a server with so many calls in flight dies: those calls, and as many that ended while the
/// recorder wrote the batch before.
pub(crate) const fn on_the_wire(calls_in_flight: u64) -> u64 {
    calls_in_flight * 2
}

/// What a fault came to.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) accepted: usize,
    pub(crate) lost: Vec<String>,
    /// Messages with another number of ends than one, with that number.
    pub(crate) not_one_end: Vec<(String, i64)>,
    pub(crate) twice_new: Vec<String>,
    pub(crate) waiting: i64,
    pub(crate) duplicates: u64,
    /// From the acceptance, by the notification's own time, to the recorded end.
    pub(crate) longest: Duration,
    /// From the last acceptance until nothing waited any more, by the test's own clock.
    pub(crate) settled_in: Duration,
}

/// Waits until nothing of the record waits any more, and compares with what the phones behind these vendors received.
pub(crate) async fn check(pool: &PgPool, vendors: &[&Controls], record: &Record) -> Verdict {
    let since = Instant::now();
    let ids: Vec<&str> = record.accepted.keys().map(String::as_str).collect();
    let mut waiting = 1;
    while waiting > 0 && since.elapsed() < ENDS_WITHIN {
        tokio::time::sleep(Duration::from_millis(100)).await;
        waiting = waiting_of(pool, &ids).await.unwrap_or(1);
    }
    let settled_in = since.elapsed();
    let ends = ends(pool, &ids).await;
    let received = |id: &str| vendors.iter().map(|vendor| vendor.payload_count(id)).sum::<u64>();
    let end_of = |id: &str| ends.get(id).map_or(0, |end| end.count);
    let mut verdict = Verdict {
        accepted: record.accepted.len(),
        lost: Vec::new(),
        not_one_end: Vec::new(),
        twice_new: record.news.iter().filter(|(_, count)| **count > 1).map(|(id, _)| id.clone()).collect(),
        waiting,
        duplicates: vendors.iter().map(|vendor| vendor.inbox_counts().duplicates).sum(),
        longest: Duration::ZERO,
        settled_in,
    };
    for id in record.accepted.keys() {
        if received(id) == 0 {
            verdict.lost.push(id.clone());
        }
        if end_of(id) != 1 {
            verdict.not_one_end.push((id.clone(), end_of(id)));
        }
        if let Some(end) = ends.get(id) {
            verdict.longest = verdict.longest.max((end.last_at - end.accepted_at).to_std().unwrap_or_default());
        }
    }
    verdict
}

impl Verdict {
    /// Prints the row of the fault table, and insists: nothing is lost, every message has one end, and no more was sent
    /// again than `at_most`.
    #[track_caller]
    pub(crate) fn insist(&self, fault: &str, at_most: u64) {
        say(&format!(
            "fault | {fault} | accepted {} | lost {} | duplicates {} | longest to outcome {:.1} s | all over {:.1} s after \
             the last acceptance",
            self.accepted,
            self.lost.len(),
            self.duplicates,
            self.longest.as_secs_f64(),
            self.settled_in.as_secs_f64()
        ));
        assert!(self.accepted > 0, "{fault}: nothing was accepted");
        assert!(self.lost.is_empty(), "{fault}: lost {:?}", self.lost);
        assert_eq!(self.waiting, 0, "{fault}: deliveries still wait");
        assert!(self.not_one_end.is_empty(), "{fault}: not exactly one end: {:?}", self.not_one_end);
        assert!(self.twice_new.is_empty(), "{fault}: accepted twice as new: {:?}", self.twice_new);
        assert!(self.duplicates <= at_most, "{fault}: {} duplicates, not {at_most} at most", self.duplicates);
    }
}

/// Deliveries of these messages that have not ended.
async fn waiting_of(pool: &PgPool, ids: &[&str]) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT DISTINCT notification_id FROM message_keys
             WHERE day >= (now() AT TIME ZONE 'utc')::date - 1 AND app_id IN ($2, $2 + 1) AND message_id = ANY ($1)) AS k
         JOIN deliveries d ON d.delivery_id > k.notification_id AND d.delivery_id <= last_delivery_of(k.notification_id)",
    )
    .bind(ids)
    .bind(APP)
    .fetch_one(pool)
    .await
}

struct End {
    count: i64,
    accepted_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
}

/// The ends of each message in the trace, without what was recorded by somebody who had lost the delivery.
async fn ends(pool: &PgPool, ids: &[&str]) -> HashMap<String, End> {
    let rows: Vec<(String, uuid::Uuid, i64, DateTime<Utc>)> = sqlx::query_as(
        "SELECT k.message_id, k.notification_id, count(*), max(e.at)
         FROM (SELECT DISTINCT message_id, notification_id FROM message_keys
             WHERE day >= (now() AT TIME ZONE 'utc')::date - 1 AND app_id IN ($2, $2 + 1) AND message_id = ANY ($1)) AS k
         JOIN delivery_events e ON e.delivery_id > k.notification_id AND e.delivery_id <= last_delivery_of(k.notification_id)
         WHERE e.final AND NOT e.duplicate
         GROUP BY k.message_id, k.notification_id",
    )
    .bind(ids)
    .bind(APP)
    .fetch_all(pool)
    .await
    .unwrap();
    let end = |(id, notification, count, last_at): (String, uuid::Uuid, i64, DateTime<Utc>)| {
        let (seconds, nanos) = notification.get_timestamp().unwrap().to_unix();
        let accepted_at = DateTime::from_timestamp(i64::try_from(seconds).unwrap(), nanos).unwrap();
        (id, End { count, accepted_at, last_at })
    };
    let mut ends: HashMap<String, End> = HashMap::new();
    for row in rows {
        let (id, end) = end(row);
        // Two notifications of one message id would be two ends.
        ends.entry(id).and_modify(|known| known.count += end.count).or_insert(end);
    }
    ends
}

/// A few messages, asked for as an operator does: each has a story that ends, accepted by the vendor.
pub(crate) async fn sample(address: std::net::SocketAddr, key: &str, record: &Record) {
    let step = (record.accepted.len() / 10).max(1);
    for id in record.accepted.keys().step_by(step) {
        let url = format!("http://{address}/v1/apps/{APP}/trace?message_id={id}");
        let answer = crate::world::client().get(url).bearer_auth(key).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{id}");
        let trace: Value = answer.json().await.unwrap();
        let empty = Vec::new();
        let events = trace["events"].as_array().unwrap_or(&empty);
        let ends: BTreeMap<&str, usize> = events
            .iter()
            .filter(|event| event["final"] == true && event["duplicate"] != true)
            .fold(BTreeMap::new(), |mut ends, event| {
                *ends.entry(event["reason"].as_str().unwrap_or_default()).or_default() += 1;
                ends
            });
        assert_eq!(ends, BTreeMap::from([("accepted", 1)]), "{id}: {trace}");
    }
}

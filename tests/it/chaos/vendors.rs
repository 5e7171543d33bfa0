//! One vendor fails; the others, and what is sent after, do not suffer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::Method;
use rouse::simulator::{Latency, Misbehaviour, XiaomiApp, XiaomiSimulator, XiaomiWorld};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::checker::check;
use super::fleet::{CALLS_IN_FLIGHT, Fleet};
use super::load::{Load, Target};
use super::say;
use crate::world::{APP, PACKAGE, database_url, until};

const OTHER_APP: i64 = APP + 1;
const OTHER_CERTIFICATE: i64 = 10_002;
const OTHER_SECRET: &str = "other-mi-secret==";

/// Two apps with a vendor each.
struct TwoVendors {
    fleet: Fleet,
    other: XiaomiSimulator,
}

impl TwoVendors {
    async fn start(pool: &PgPool) -> Self {
        let world = XiaomiWorld { apps: vec![XiaomiApp::new(OTHER_SECRET, PACKAGE)], ..XiaomiWorld::default() };
        let other = XiaomiSimulator::start(SocketAddr::from(([127, 0, 0, 1], 0)), world).await.unwrap();
        other.set_latency(Latency { min_ms: 5, max_ms: 40 });
        let url = other.url();
        let settings = [
            ("VENDORS__XIAOMI__SG", url.as_str()),
            ("VENDORS__CALL_TIMEOUT_MS", "3000"),
            // Of a flood at least this many are taken in by each server; the rest is refused.
            ("INTAKE__MAX_WAITING_REQUESTS", "1200"),
        ];
        let fleet = Fleet::with(pool.clone(), vec![database_url(pool); 2], &settings, &[]).await;
        let app = json!({"app_id": OTHER_APP, "name": "other"});
        assert_eq!(fleet.call(0, Method::POST, "/v1/apps", &app).await.0, 201);
        let certificate = json!({"vendor": "xiaomi", "certificate_id": OTHER_CERTIFICATE, "package_name": PACKAGE,
            "app_id": "2", "app_secret": OTHER_SECRET, "region": "sg", "rate_limit": 100_000});
        let path = format!("/v1/apps/{OTHER_APP}/certificates");
        assert_eq!(fleet.call(0, Method::POST, &path, &certificate).await.0, 201);
        fleet.phones(OTHER_APP, OTHER_CERTIFICATE, "other-", 32, "android").await;
        Self { fleet, other }
    }

    fn other_load(&self, name: &str, per_second: u64) -> Load {
        let target = Target { app: OTHER_APP, prefix: "other-".to_owned(), users: 32, ..self.fleet.target() };
        Load::start(&target, name, per_second)
    }

    /// p99 from acceptance to the recorded end of an app's deliveries that ended lately.
    async fn p99(&self, app: i64, last: Duration) -> Duration {
        let (seconds, ended): (Option<f64>, i64) = sqlx::query_as(
            "SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM at)::float8 - accepted_s), count(*) FROM (
                 SELECT at, ('x' || lpad(left(replace(delivery_id::text, '-', ''), 12), 16, '0'))::bit(64)::bigint::float8 / 1000
                     AS accepted_s
                 FROM delivery_events WHERE app_id = $1 AND final AND at > now() - make_interval(secs => $2)) AS ended",
        )
        .bind(app)
        .bind(last.as_secs_f64())
        .fetch_one(&self.fleet.pool)
        .await
        .unwrap();
        // A lane that stands still would have no times at all.
        let expected = last.as_secs_f64() * 10.0;
        assert!(f64::from(i32::try_from(ended).unwrap()) > expected, "only {ended} ended in {last:?}");
        Duration::from_secs_f64(seconds.unwrap())
    }
}

fn outage() -> Duration {
    let is_full = std::env::var("ROUSE_FAULTS").is_ok_and(|how| how == "full");
    Duration::from_secs(if is_full { 60 } else { 8 })
}

async fn a_vendor_fails(pool: &PgPool, misbehaviour: Option<Misbehaviour>, fault: &str) {
    let two = TwoVendors::start(pool).await;
    let fleet = &two.fleet;
    let (load, other_load) = (fleet.load("failing", 80), two.other_load("healthy", 40));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = two.p99(OTHER_APP, Duration::from_secs(3)).await;
    match &misbehaviour {
        Some(misbehaviour) => fleet.vendor.fault(misbehaviour.clone()),
        None => fleet.vendor.fault(Misbehaviour::Reset),
    }
    tokio::time::sleep(outage()).await;
    let during = two.p99(OTHER_APP, outage()).await;
    let record = load.finish().await;
    fleet.vendor.clear_faults();
    let over = Instant::now();
    // Slow enough that the backlog drains for seconds. What is accepted meanwhile does not wait behind it.
    fleet.vendor.set_latency(Latency::fixed(100));
    let received = fleet.vendor.received_total();
    until("the vendor is found to work again", || async {
        (fleet.vendor.received_total() > received + 20).then_some(())
    })
    .await;
    let found = over.elapsed();
    let backlog: i64 = sqlx::query_scalar("SELECT count(*) FROM deliveries").fetch_one(pool).await.unwrap();
    let fresh = Load::start(&fleet.target(), "fresh", 30);
    fresh.accepts(30).await;
    let fresh_record = fresh.finish().await;
    let fresh_verdict = fleet.check(&fresh_record).await;
    let other_record = other_load.finish().await;
    let verdict = fleet.check(&record).await;
    say(&format!(
        "  {fault}: the other vendor's p99 {} ms before, {} ms during; found to work again {:.1} s after the end; {backlog} \
         waited then, fresh messages took {:.1} s at most",
        before.as_millis(),
        during.as_millis(),
        found.as_secs_f64(),
        fresh_verdict.longest.as_secs_f64()
    ));
    verdict.insist(fault, CALLS_IN_FLIGHT * 2);
    assert!(backlog > 100, "there was something to drain: {backlog}");
    // Some tenths of a second; longer while the other server has not found out yet: what it accepts waits in the database,
    // until its next look at the vendor, 10 s at most.
    assert!(fresh_verdict.lost.is_empty() && fresh_verdict.longest < Duration::from_secs(10), "{fresh_verdict:?}");
    check(pool, &[&two.other], &other_record).await.insist(&format!("{fault}: the other vendor"), 0);
    assert!(
        during <= before * 3 + Duration::from_millis(100),
        "the other vendor: {before:?} before, {during:?} during"
    );
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_vendor_is_down(pool: PgPool) {
    a_vendor_fails(&pool, None, "a vendor down").await;
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_vendor_hangs(pool: PgPool) {
    a_vendor_fails(&pool, Some(Misbehaviour::Hang(Some(Duration::from_secs(30)))), "a vendor hanging 30 s per call")
        .await;
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_vendor_answers_garbage(pool: PgPool) {
    a_vendor_fails(&pool, Some(Misbehaviour::Text("<html>busy</html>".to_owned())), "a vendor answering garbage").await;
}

/// A hundred messages in one call; answers which were accepted. The others were refused as too many at once.
async fn post_batch(fleet: &Fleet, batch: usize) -> Vec<String> {
    let ids: Vec<String> = (0..100).map(|number| format!("flood-{batch}-{number}")).collect();
    let message = |(number, id): (usize, &String)| {
        json!({"message_id": id, "body": "hello", "data": {"ext": id},
            "to": [{"user_id": format!("user-{}", number % 64)}]})
    };
    let notifications: Vec<Value> = ids.iter().enumerate().map(message).collect();
    let path = format!("/v1/apps/{APP}/notifications:batch");
    let body = json!({"notifications": notifications});
    let (status, answer) = fleet.call(batch % 2, Method::POST, &path, &body).await;
    assert_eq!(status, 200, "{answer}");
    let results = answer["results"].as_array().unwrap();
    let is_accepted = |result: &Value| match result["status"].as_u64() {
        Some(202) => true,
        Some(429 | 503) => false,
        _ => unreachable!("{result}"),
    };
    ids.iter().zip(results).filter(|(_, result)| is_accepted(result)).map(|(id, _)| id.clone()).collect()
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_flood_of_one_app_delays_no_other(pool: PgPool) {
    let two = TwoVendors::start(&pool).await;
    let fleet = &two.fleet;
    let other_load = two.other_load("calm", 40);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = two.p99(OTHER_APP, Duration::from_secs(2)).await;
    // 4,000 messages at once to a vendor that takes 320 a second of two servers, 16 calls each.
    fleet.vendor.set_latency(Latency::fixed(100));
    let posted = (0..40).map(|batch| post_batch(fleet, batch));
    let accepted: Vec<String> = futures_util::future::join_all(posted).await.into_iter().flatten().collect();
    assert!(accepted.len() > 2_000, "{} accepted", accepted.len());
    // From when the flood is taken in: it shares the groups of intake with everybody, and waits in one lane from then on.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let during = two.p99(OTHER_APP, Duration::from_secs(4)).await;
    say(&format!(
        "  a flood of one app: the other's p99 {} ms before, {} ms during",
        before.as_millis(),
        during.as_millis()
    ));
    assert!(during <= before * 3 + Duration::from_millis(100), "{before:?} before, {during:?} during");
    let mut record = super::load::Record::default();
    record.accepted.extend(accepted.into_iter().map(|id| (id, String::new())));
    fleet.vendor.set_latency(Latency::fixed(5));
    fleet.check(&record).await.insist("a lane flooded by one app", 0);
    let other = other_load.finish().await;
    check(&pool, &[&two.other], &other).await.insist("a lane flooded: the other app", 0);
}

//! What was answered with 202 survives the end of the process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rouse::simulator::{Latency, XiaomiSimulator};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::task::JoinHandle;

use crate::program::Program;
use crate::world::{APP, CERTIFICATE, PACKAGE, SECRET, client, merged, vendor};

const CONNECTIONS: usize = 16;
const USERS: u64 = 64;
const CALLS_IN_FLIGHT: u64 = 16;
/// What the recorder holds at most: vendor answers that are not written down yet.
const RECORDER_BATCH: u64 = 1_000;
/// Every accepted delivery ends this soon after the restart.
const RECOVERED_IN: Duration = Duration::from_secs(10);

const SETTINGS: [(&str, &str); 2] = [("DISPATCH__CALLS_IN_FLIGHT", "16"), ("DISPATCH__SWEEP_INTERVAL_MS", "50")];

/// Calls the program's API with its admin key.
async fn post(address: SocketAddr, key: &str, path: &str, body: &Value) {
    let answer = client().post(format!("http://{address}{path}")).bearer_auth(key).json(body).send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
}

/// One app, one certificate, killed phones for all users.
async fn set_up(program: &Program, key: &str) {
    let address = program.address;
    post(address, key, "/v1/apps", &json!({"app_id": APP, "name": "chat"})).await;
    let certificate = json!({"vendor": "xiaomi", "certificate_id": CERTIFICATE, "package_name": PACKAGE,
        "app_id": "2882303761500000001", "app_secret": SECRET, "rate_limit": 100_000});
    post(address, key, &format!("/v1/apps/{APP}/certificates"), &certificate).await;
    let now_ms = rouse::clock::Clock::from_wall().now_ms();
    let events: Vec<Value> = (0..USERS)
        .flat_map(|user| {
            let event = |kind: &str| {
                json!({"type": kind, "user_id": format!("user-{user}"), "device_id": format!("phone-{user}"),
                    "platform": "android", "event_time": now_ms})
            };
            let token = json!({"certificate_id": CERTIFICATE, "token": format!("token-{user}")});
            [merged(event("login"), token), event("disconnect")]
        })
        .collect();
    post(address, key, &format!("/v1/apps/{APP}/session-events"), &json!({"events": events})).await;
}

/// Posts messages on many connections until told to stop or the server is gone. Message `n` carries payload `n`.
struct Load {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    workers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(address: SocketAddr, key: &str, round: u32) -> Self {
        let (stop, accepted, next) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let http = client();
        let workers = (0..CONNECTIONS)
            .map(|_| {
                let (stop, accepted, next, http) =
                    (Arc::clone(&stop), Arc::clone(&accepted), Arc::clone(&next), http.clone());
                let (url, key) = (format!("http://{address}/v1/apps/{APP}/notifications"), key.to_owned());
                tokio::spawn(async move {
                    let mut mine = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let message_id = format!("r{round}-m{number}");
                        let body = json!({"message_id": message_id, "body": "hello", "data": {"ext": message_id},
                            "to": [{"user_id": format!("user-{}", number % USERS)}]});
                        let Ok(answer) = http.post(&url).bearer_auth(&key).json(&body).send().await else { break };
                        // A 202 whose body broke off is a 202 all the same.
                        if answer.status() == 202 {
                            accepted.fetch_add(1, Ordering::Relaxed);
                            mine.push(message_id);
                        }
                    }
                    mine
                })
            })
            .collect();
        Self { stop, accepted, workers }
    }

    /// Resolves when so many were accepted.
    async fn accepted(&self, count: u64) {
        crate::world::until("load", || async { (self.accepted.load(Ordering::Relaxed) >= count).then_some(()) }).await;
    }

    /// The ids of all messages with a 202.
    async fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for worker in self.workers {
            all.extend(worker.await.unwrap());
        }
        all
    }
}

/// How many final outcomes each message has, without duplicates; and whether deliveries still wait.
async fn ends(pool: &PgPool) -> (HashMap<String, i64>, i64) {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT k.message_id, count(*) FROM message_keys k
         JOIN delivery_events e ON notification_of(e.delivery_id) = k.notification_id AND e.delivery_id > k.notification_id
         WHERE e.final AND NOT e.duplicate AND k.day >= (now() AT TIME ZONE 'utc')::date - 1
         GROUP BY k.day, k.message_id",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let waiting = sqlx::query_scalar("SELECT count(*) FROM deliveries").fetch_one(pool).await.unwrap();
    (rows.into_iter().collect(), waiting)
}

/// Waits until nothing waits any more; answers how long it took and the outcomes by message.
async fn all_ended(pool: &PgPool, since: Instant) -> (Duration, HashMap<String, i64>) {
    loop {
        let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM deliveries").fetch_one(pool).await.unwrap();
        if waiting == 0 || since.elapsed() > RECOVERED_IN * 2 {
            let took = since.elapsed();
            return (took, ends(pool).await.0);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Messages that no phone got, and pushes that a phone got again.
fn judge(vendor: &XiaomiSimulator, accepted: &[String]) -> (usize, u64) {
    let counts: Vec<u64> = accepted.iter().map(|id| vendor.payload_count(id)).collect();
    let lost = counts.iter().filter(|count| **count == 0).count();
    (lost, vendor.inbox_counts().duplicates)
}

fn say(line: &str) {
    use std::io::Write as _;
    // Past the capture of the test harness: these figures are the point of a long run.
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_kill_under_load_loses_nothing_that_was_accepted(pool: PgPool) {
    let rounds: u32 = std::env::var("ROUSE_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let vendor = vendor().await;
    let mut program = Program::start(&pool, &vendor.url(), &SETTINGS).await;
    let key = program.key.clone().unwrap();
    set_up(&program, &key).await;
    let mut duplicates_before = 0;
    for round in 1..=rounds {
        vendor.set_latency(Latency { min_ms: 5, max_ms: 40 });
        let load = Load::start(program.address, &key, round);
        load.accepted(u64::from(300 + 100 * (round % 5))).await;
        program.kill().await;
        let accepted = load.finish().await;
        vendor.clear_faults();
        let waiting = ends(&pool).await.1;
        assert!(waiting > 0, "killed with work in hand");
        program = Program::start(&pool, &vendor.url(), &SETTINGS).await;
        let (took, ended) = all_ended(&pool, Instant::now()).await;
        let (lost, duplicates) = judge(&vendor, &accepted);
        let again = duplicates - duplicates_before;
        duplicates_before = duplicates;
        say(&format!(
            "kill round {round}: {} accepted, {waiting} waiting at the kill, {lost} lost, {again} duplicates, last outcome \
             {:.1} s after readiness",
            accepted.len(),
            took.as_secs_f64()
        ));
        assert_eq!(lost, 0);
        let other_ends: Vec<_> = accepted.iter().filter(|id| ended.get(*id) != Some(&1)).collect();
        assert!(other_ends.is_empty(), "not exactly one outcome: {other_ends:?}");
        assert!(took <= RECOVERED_IN, "{took:?}");
        assert!(again <= CALLS_IN_FLIGHT + RECORDER_BATCH, "{again} duplicates");
    }
    assert!(program.terminate().await.success());
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_stop_under_load_loses_nothing_and_repeats_nothing(pool: PgPool) {
    let vendor = vendor().await;
    let program = Program::start(&pool, &vendor.url(), &SETTINGS).await;
    let key = program.key.clone().unwrap();
    set_up(&program, &key).await;
    vendor.set_latency(Latency { min_ms: 5, max_ms: 40 });
    let load = Load::start(program.address, &key, 0);
    load.accepted(300).await;
    assert!(program.terminate().await.success());
    let accepted = load.finish().await;
    let owned: i64 =
        sqlx::query_scalar("SELECT count(*) FROM deliveries WHERE owner IS NOT NULL").fetch_one(&pool).await.unwrap();
    assert_eq!(owned, 0, "what was not sent was given back");
    vendor.clear_faults();
    let program = Program::start(&pool, &vendor.url(), &SETTINGS).await;
    let (took, ended) = all_ended(&pool, Instant::now()).await;
    let (lost, duplicates) = judge(&vendor, &accepted);
    say(&format!(
        "stop: {} accepted, {lost} lost, {duplicates} duplicates, {:.1} s",
        accepted.len(),
        took.as_secs_f64()
    ));
    assert_eq!((lost, duplicates), (0, 0));
    assert!(accepted.iter().all(|id| ended.get(id) == Some(&1)), "exactly one outcome each");
    assert!(took <= RECOVERED_IN, "{took:?}");
    assert!(program.terminate().await.success());
}

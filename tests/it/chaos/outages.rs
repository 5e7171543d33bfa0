//! The database goes away under load.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use sqlx::PgPool;

use super::fleet::Fleet;
use super::postgres::Postgres;
use crate::world::APP;

async fn without_a_database(how: &str, away: Duration, fault: &str) {
    let postgres = Postgres::start().await;
    let pool = PgPool::connect_lazy(&postgres.url()).unwrap();
    let fleet = Fleet::with(pool, vec![postgres.url(); 2], &[], &[]).await;
    let load = fleet.load("outage", 150);
    load.accepts(200).await;
    postgres.down(how);
    for index in 0..2 {
        fleet.until_ready_is(index, 503, Duration::from_secs(8)).await;
    }
    let message = json!({"message_id": "meanwhile", "body": "hello", "to": [{"user_id": "user-1"}]});
    let (status, problem) = fleet.call(0, Method::POST, &format!("/v1/apps/{APP}/notifications"), &message).await;
    assert_eq!((status, problem["type"].as_str()), (503, Some("/problems/database-unavailable")), "{problem}");
    tokio::time::sleep(away).await;
    postgres.up().await;
    for index in 0..2 {
        fleet.until_ready_is(index, 200, Duration::from_secs(10)).await;
    }
    load.accepts(100).await;
    let record = load.finish().await;
    let verdict = fleet.check(&record).await;
    // The servers live and keep what they know: nothing is sent again.
    verdict.insist(fault, 0);
    assert_eq!(record.without_retry_after, 0, "{:?}", record.statuses);
    assert!(record.statuses.get(&503).is_some_and(|count| *count > 0), "{:?}", record.statuses);
    assert!(fleet.take_overs().await.abs() < 0.5, "nobody steals live work: {:?}", fleet.logs());
}

#[tokio::test]
async fn the_database_is_stopped_for_20_s() {
    without_a_database("fast", Duration::from_secs(15), "Postgres stopped for 20 s, two servers").await;
}

#[tokio::test]
async fn the_database_is_killed_under_load() {
    without_a_database("immediate", Duration::from_secs(1), "Postgres killed under load, two servers").await;
}

//! Servers that are killed, frozen, slow to reach their database or cut off from it; and what they tell each other.

use std::time::{Duration, Instant};

use reqwest::Method;
use rouse::simulator::Latency;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::checker::{on_the_wire, sample};
use super::fleet::{CALLS_IN_FLIGHT, Fleet};
use super::link::Link;
use super::postgres::Postgres;
use super::say;
use crate::program::Program;
use crate::world::{APP, CERTIFICATE, until};

/// With one server everything ends this soon after its restart.
const RECOVERED_IN: Duration = Duration::from_secs(10);

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_kill_under_load_loses_nothing_that_was_accepted(pool: PgPool) {
    let rounds: u32 = std::env::var("ROUSE_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let mut fleet = Fleet::start(&pool, 1).await;
    let mut duplicates_before = 0;
    for round in 1..=rounds {
        let load = fleet.load(&format!("kill{round}"), 400);
        load.accepts(u64::from(300 + 100 * (round % 5))).await;
        fleet.kill(0).await;
        let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM deliveries").fetch_one(&pool).await.unwrap();
        assert!(waiting > 0, "killed with work in hand");
        fleet.revive(0).await;
        let ready = Instant::now();
        let record = load.finish().await;
        let mut verdict = fleet.check(&record).await;
        let took = ready.elapsed();
        verdict.duplicates -= duplicates_before;
        duplicates_before += verdict.duplicates;
        say(&format!(
            "kill round {round}: {waiting} waiting at the kill, all over {:.1} s after readiness",
            took.as_secs_f64()
        ));
        verdict.insist("one server killed under load, restarted", on_the_wire(CALLS_IN_FLIGHT));
        assert!(took <= RECOVERED_IN, "{took:?}");
    }
    assert!(fleet.servers[0].take().unwrap().terminate().await.success());
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_stop_under_load_loses_nothing_and_repeats_nothing(pool: PgPool) {
    let mut fleet = Fleet::start(&pool, 1).await;
    let load = fleet.load("stop", 400);
    load.accepts(300).await;
    assert!(fleet.servers[0].take().unwrap().terminate().await.success());
    let owned: i64 =
        sqlx::query_scalar("SELECT count(*) FROM deliveries WHERE owner IS NOT NULL").fetch_one(&pool).await.unwrap();
    assert_eq!(owned, 0, "what was not sent was given back");
    fleet.revive(0).await;
    let verdict = fleet.check(&load.finish().await).await;
    verdict.insist("one server stopped under load, restarted", 0);
    assert_eq!(verdict.duplicates, 0);
}

async fn each_is_killed_in_turn(pool: &PgPool, count: usize) {
    let mut fleet = Fleet::start(pool, count).await;
    let load = fleet.load("turn", 150);
    load.accepts(100).await;
    for index in 0..count {
        fleet.kill(index).await;
        load.accepts(200).await;
        fleet.revive(index).await;
        load.accepts(50).await;
    }
    let record = load.finish().await;
    let verdict = fleet.check(&record).await;
    verdict.insist(&format!("each of {count} servers killed in turn"), on_the_wire(CALLS_IN_FLIGHT) * count as u64);
    sample(fleet.address(0), &fleet.key, &record).await;
    assert!(fleet.take_overs().await > 0.0, "{:?}", fleet.logs());
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn two_servers_each_killed_in_turn(pool: PgPool) {
    each_is_killed_in_turn(&pool, 2).await;
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn three_servers_each_killed_in_turn(pool: PgPool) {
    each_is_killed_in_turn(&pool, 3).await;
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_frozen_server_is_replaced_and_does_no_harm_when_it_goes_on(pool: PgPool) {
    let fleet = Fleet::start(&pool, 2).await;
    // Its calls take long enough that it has some on the wire, and a full lane, when it freezes.
    fleet.vendor.set_latency(Latency { min_ms: 100, max_ms: 200 });
    let load = fleet.load("frozen", 150);
    load.accepts(200).await;
    fleet.server(0).freeze();
    tokio::time::sleep(Duration::from_secs(15)).await;
    let before = fleet.vendor.inbox_counts().duplicates;
    fleet.server(0).thaw();
    fleet.until_ready_is(0, 200, Duration::from_secs(10)).await;
    load.accepts(100).await;
    let record = load.finish().await;
    let verdict = fleet.check(&record).await;
    verdict.insist("one of two servers frozen for 15 s, then continued", on_the_wire(CALLS_IN_FLIGHT));
    assert!(verdict.duplicates - before <= CALLS_IN_FLIGHT, "what it held was not sent after: {before} of {verdict:?}");
    assert!(fleet.metric(0, "push_instance_given_up_total").await >= 1.0, "{:?}", fleet.logs());
    assert!(fleet.metric(1, "push_take_overs_total").await >= 1.0);
}

#[tokio::test]
async fn a_slow_link_to_the_database_slows_its_server_and_nothing_else() {
    let postgres = Postgres::start().await;
    let link = Link::to(postgres.port).await;
    let urls = vec![postgres.url(), Postgres::url_at(link.port)];
    let pool = PgPool::connect(&postgres.url()).await.unwrap();
    let fleet = Fleet::with(pool, urls, &[], &[]).await;
    let load = fleet.load("slow", 100);
    for delay_ms in [50, 300] {
        link.delay(Duration::from_millis(delay_ms));
        tokio::time::sleep(Duration::from_secs(7)).await;
        assert_eq!(fleet.ready(1).await, 200, "{:?}", fleet.logs());
        assert!((fleet.metric(0, "push_take_overs_total").await).abs() < 0.5, "at {delay_ms} ms: {:?}", fleet.logs());
    }
    link.delay(Duration::ZERO);
    let verdict = fleet.check(&load.finish().await).await;
    verdict.insist("one of two servers with a slow link to the database (50, then 300 ms each way)", 0);
    assert_eq!(verdict.duplicates, 0);
}

#[tokio::test]
async fn a_server_that_the_network_cuts_off_silently_is_replaced_and_comes_back() {
    let postgres = Postgres::start().await;
    let link = Link::to(postgres.port).await;
    let urls = vec![postgres.url(), Postgres::url_at(link.port)];
    let pool = PgPool::connect(&postgres.url()).await.unwrap();
    let fleet = Fleet::with(pool, urls, &[], &[]).await;
    let load = fleet.load("cut", 150);
    load.accepts(150).await;
    link.swallow();
    let took = fleet.until_ready_is(1, 503, Duration::from_secs(8)).await;
    assert!(took <= Duration::from_secs(6), "its load balancer hears of it: {took:?}");
    let refused = Instant::now();
    let (status, _) = fleet.call(1, Method::GET, "/v1/apps", &json!({})).await;
    assert!(
        status == 503 && refused.elapsed() < Duration::from_secs(1),
        "refused at once: {status} {:?}",
        refused.elapsed()
    );
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(fleet.metric(0, "push_take_overs_total").await >= 1.0, "{:?}", fleet.logs());
    link.heal();
    fleet.until_ready_is(1, 200, Duration::from_secs(15)).await;
    load.accepts(100).await;
    let record = load.finish().await;
    let verdict = fleet.check(&record).await;
    verdict.insist("one of two servers cut off silently for 13 s", on_the_wire(CALLS_IN_FLIGHT));
    assert_eq!(record.without_retry_after, 0);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_one_server_is_told_the_others_know(pool: PgPool) {
    let fleet = Fleet::start(&pool, 2).await;
    let path = format!("/v1/apps/{APP}/certificates/{CERTIFICATE}");
    let name_at_the_other = || async { fleet.call(1, Method::GET, &path, &json!({})).await.1["name"].clone() };
    for name in ["first", "second", "third"] {
        assert_eq!(fleet.call(0, Method::PATCH, &path, &json!({"name": name})).await.0, 200);
        let since = Instant::now();
        until("the edit at the other server", || async { (name_at_the_other().await == name).then_some(()) }).await;
        assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    }
    // A message that the second server holds in memory is cancelled through the first.
    // So few calls a second that nearly all of it waits in memory.
    assert_eq!(fleet.call(0, Method::PATCH, &path, &json!({"rate_limit": 1})).await.0, 200);
    let message = |number: u32| {
        json!({"message_id": format!("cancel-{number}"), "body": "hello", "to": [{"user_id": "user-1"}],
            "data": {"ext": format!("cancel-{number}")}})
    };
    let mut ids = Vec::new();
    for number in 0..40 {
        let (status, answer) =
            fleet.call(1, Method::POST, &format!("/v1/apps/{APP}/notifications"), &message(number)).await;
        assert_eq!(status, 202, "{answer}");
        ids.push(answer["notification_id"].as_str().unwrap().to_owned());
    }
    // A few were sent; the rest waits in memory.
    for id in &ids[20..] {
        let (status, _) =
            fleet.call(0, Method::DELETE, &format!("/v1/apps/{APP}/notifications/{id}"), &json!({})).await;
        assert_eq!(status, 200);
    }
    assert_eq!(fleet.call(0, Method::PATCH, &path, &json!({"rate_limit": 10_000})).await.0, 200);
    until("the end of all", || async {
        let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM deliveries").fetch_one(&pool).await.unwrap();
        (waiting == 0).then_some(())
    })
    .await;
    let sent = (20..40).filter(|number| fleet.vendor.payload_count(&format!("cancel-{number}")) > 0).count();
    assert_eq!(sent, 0, "cancelled through one server, held by the other");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_servers_share_a_certificates_rate_limit(pool: PgPool) {
    let mut fleet = Fleet::start(&pool, 2).await;
    until("both know of each other", || async {
        let alive = (fleet.metric(0, "push_instances_alive").await, fleet.metric(1, "push_instances_alive").await);
        (alive.0 > 1.5 && alive.1 > 1.5).then_some(())
    })
    .await;
    let path = format!("/v1/apps/{APP}/certificates/{CERTIFICATE}");
    assert_eq!(fleet.call(0, Method::PATCH, &path, &json!({"rate_limit": 60})).await.0, 200);
    fleet.vendor.set_latency(Latency::fixed(0));
    let load = fleet.load("rate", 250);
    let calls_in_3_s = |fleet: &Fleet| {
        let vendor = fleet.vendor.clone();
        async move {
            let before = vendor.requests_total();
            tokio::time::sleep(Duration::from_secs(3)).await;
            vendor.requests_total() - before
        }
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let together = calls_in_3_s(&fleet).await;
    assert!((100..=230).contains(&together), "{together} calls in 3 s of two servers at 60 a second");
    fleet.kill(1).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let alone = calls_in_3_s(&fleet).await;
    assert!((100..=230).contains(&alone), "{alone} calls in 3 s of the one that is left");
    fleet.revive(1).await;
    assert_eq!(fleet.call(0, Method::PATCH, &path, &json!({"rate_limit": 100_000})).await.0, 200);
    fleet
        .check(&load.finish().await)
        .await
        .insist("a rate limit shared by two servers, one killed", on_the_wire(CALLS_IN_FLIGHT));
    drop(fleet.servers.drain(..).collect::<Vec<Option<Program>>>());
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_same_messages_in_opposite_order_do_not_stand_in_each_others_way(pool: PgPool) {
    let fleet = Fleet::start(&pool, 2).await;
    let path = format!("/v1/apps/{APP}/notifications:batch");
    for round in 0..25 {
        let message = |number: u32| {
            json!({"message_id": format!("twin-{round}-{number}"), "body": "hello",
                "to": [{"user_id": format!("user-{}", number % 64)}], "data": {"ext": format!("twin-{round}-{number}")}})
        };
        let forward: Vec<Value> = (0..100).map(message).collect();
        let backward: Vec<Value> = (0..100).rev().map(message).collect();
        let (forward, backward) = (json!({"notifications": forward}), json!({"notifications": backward}));
        let answers =
            tokio::join!(fleet.call(0, Method::POST, &path, &forward), fleet.call(1, Method::POST, &path, &backward));
        let statuses = |answer: &Value| -> Vec<u64> {
            answer["results"].as_array().unwrap().iter().map(|result| result["status"].as_u64().unwrap()).collect()
        };
        let (first, mut second) = (statuses(&answers.0.1), statuses(&answers.1.1));
        second.reverse();
        for (number, pair) in first.into_iter().zip(second).enumerate() {
            assert!(matches!(pair, (202, 200) | (200, 202)), "twin-{round}-{number}: {pair:?} {:?}", fleet.logs());
        }
    }
}

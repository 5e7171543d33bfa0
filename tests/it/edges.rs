//! Where things meet: full lanes, stops, races, pages.

use std::collections::HashSet;

use reqwest::{Method, StatusCode};
use rouse::simulator::{Fault, Latency, Misbehaviour};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, CERTIFICATE, World, merged, plain};

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_full_lane_stores_the_rest_and_sends_it_later(pool: PgPool) {
    let world = World::with(pool, &[("DISPATCH__LANE_CAPACITY", "5")]).await;
    let users = world.killed_phones("user-", 30).await;
    let mut sent = Vec::new();
    for user in &users {
        sent.push(world.sent(user, plain()).await);
    }
    for notification in &sent {
        assert_eq!(world.outcomes(notification).await, json!({"accepted": 1}));
    }
    assert_eq!((world.vendor.received_total(), world.server().dispatcher().held()), (30, 0));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_failed_batch_is_tried_again_as_a_batch(pool: PgPool) {
    let world = World::start(pool).await;
    let users = world.killed_phones("user-", 200).await;
    let busy = Misbehaviour::Status { status: 503, body: String::new(), retry_after: None };
    world.vendor.fault(Fault::once(busy));
    let to: Vec<Value> = users.iter().map(|user| json!({"user_id": user})).collect();
    let notification = world.sent("", json!({"to": to})).await;
    assert_eq!(world.outcomes(&notification).await, json!({"accepted": 200}));
    assert_eq!(world.calls(), 2, "not one call for each device");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_stop_gives_back_what_was_not_sent(pool: PgPool) {
    let mut world = World::with(pool.clone(), &[("DISPATCH__CALLS_IN_FLIGHT", "1")]).await;
    let users = world.killed_phones("user-", 20).await;
    world.vendor.set_latency(Latency::fixed(100));
    for user in &users {
        world.sent(user, plain()).await;
    }
    world.stop().await;
    let count = async |sql: &'static str| -> i64 { sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap() };
    let sent = i64::try_from(world.vendor.received_total()).unwrap();
    let waiting = count("SELECT count(*) FROM deliveries WHERE owner IS NULL").await;
    assert_eq!(sent + waiting, 20, "sent {sent}, waiting {waiting}");
    assert!(waiting > 0, "the stop came before the end");
    assert_eq!(count("SELECT count(*) FROM delivery_events WHERE final").await, sent, "what was sent is recorded");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn racing_logins_leave_a_token_with_one_device(pool: PgPool) {
    let world = World::start(pool).await;
    for round in 0..20 {
        let logins = (0..6).map(|number| {
            let user = format!("user-{round}-{number}");
            let token = json!({"certificate_id": CERTIFICATE, "token": "the-token"});
            let login = merged(world.event("login", &user, &user), token);
            let world = &world;
            async move { world.events(&json!([login])).await }
        });
        futures_util::future::join_all(logins).await;
        let live = "SELECT count(*) FROM devices WHERE binding_status = 'active' AND token = 'the-token'";
        let live: i64 = sqlx::query_scalar(live).fetch_one(&world.pool).await.unwrap();
        assert_eq!(live, 1);
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_login_that_revives_a_pending_token_takes_it_from_the_device_that_holds_it(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "before", "token-1").await;
    assert_eq!(world.bind("alice", "after", "token-1").await.status, StatusCode::ACCEPTED);
    world.report("login", "alice", "after").await;
    assert_eq!(world.binding("alice", "before").await, "superseded");
    assert_eq!(world.binding("alice", "after").await, "active");
    world.kill("alice", "after").await;
    let accepted = world.notify("alice", plain()).await;
    assert_eq!(accepted["deliveries"], 1);
    world.sweep().await;
    assert_eq!(world.vendor.inbox("token-1").len(), 1);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_setting_of_the_app_acts_at_once(pool: PgPool) {
    let world = World::start(pool).await;
    world.login("alice", "phone", "token-1").await;
    world.report("background", "alice", "phone").await;
    assert_eq!(world.notify("alice", plain()).await["skipped"][0]["reason"], "background");
    let settings = json!({"settings": {"push_in_background": ["android"], "default_title": "新消息"}});
    world.patch(&format!("/v1/apps/{APP}"), &settings).await.ok();
    assert_eq!(world.notify("alice", plain()).await["deliveries"], 1);
    world.sweep().await;
    assert_eq!(world.vendor.inbox("token-1")[0].title, "新消息");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_trace_pages_and_finds_a_user_in_a_group_message(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    for number in 0..7 {
        let to = json!({"message_id": format!("group-{number}"), "to": [{"user_id": "alice"}, {"user_id": "bob"}, {"user_id": "carol"}]});
        let notification = world.sent("", to).await;
        world.outcomes(&notification).await;
    }
    let mut seen = HashSet::new();
    let mut path = format!("/v1/apps/{APP}/trace?user_id=alice&limit=3");
    loop {
        let page = world.get(&path).await.ok();
        for event in page["events"].as_array().unwrap() {
            assert_eq!(event["kind"], "attempt");
            assert!(seen.insert(event["delivery_id"].as_str().unwrap().to_owned()), "each once");
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/apps/{APP}/trace?user_id=alice&limit=3&cursor={next}");
    }
    assert_eq!(seen.len(), 7);
    assert_eq!(world.trace("carol").await["events"].as_array().unwrap().len(), 7, "skips in group rows are found");
    let of_message = world.get(&format!("/v1/apps/{APP}/trace?message_id=group-3")).await.ok();
    assert_eq!(of_message["events"].as_array().unwrap().len(), 3, "one attempt, two skips");
    let of_both = world.get(&format!("/v1/apps/{APP}/trace?message_id=group-3&user_id=carol")).await.ok();
    assert_eq!(of_both["events"][0]["reason"], "no_device");
    for query in ["", "?user_id=a%00b", "?user_id=", "?user_id=a&from=+262142-01-01T00:00:00Z", "?user_id=a&limit=0"] {
        let answer = world.get(&format!("/v1/apps/{APP}/trace{query}")).await;
        answer.problem(400, "invalid-parameter");
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn health_readiness_and_metrics_need_no_key_and_name_nobody(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let to = json!({"to": [{"user_id": "alice"}, {"user_id": "nobody"}]});
    let notification = world.sent("", to).await;
    world.outcomes(&notification).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(world.call_with(None, Method::GET, path, None).await.status, StatusCode::OK, "{path}");
    }
    let metrics = world.call_with(None, Method::GET, "/metrics", None).await.body.as_str().unwrap().to_owned();
    for line in [
        "push_attempts_total{vendor=\"xiaomi\",reason=\"accepted\"}",
        "push_skipped_total{reason=\"no_device\"}",
        "push_notifications_total{result=\"accepted\"}",
        "push_delivery_lag_seconds_count{vendor=\"xiaomi\"}",
        "http_requests_total{route=\"/v1/apps/{app}/notifications\",status=\"202\"}",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    assert!(!metrics.contains("alice") && !metrics.contains("token-1"), "no names in labels");
}

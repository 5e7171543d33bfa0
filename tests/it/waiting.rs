//! Deliveries that wait: what cancels, expires or moves them.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::json;
use sqlx::PgPool;

use crate::world::{APP, CERTIFICATE, World};

/// A killed user with one delivery waiting behind a paused certificate.
async fn waiting(pool: PgPool) -> (World, serde_json::Value) {
    let world = World::start(pool).await;
    world.killed("alice", "phone", "token-1").await;
    world.act(CERTIFICATE, "pause").await;
    let accepted = world.notify("m1", &["alice"], json!({})).await;
    world.run().await;
    let story = world.story(&accepted).await;
    assert_eq!(story["waiting"].as_array().unwrap().len(), 1, "{story}");
    (world, accepted)
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn foreground_while_waiting_cancels(pool: PgPool) {
    cancels(pool, "foreground", "foreground").await;
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn logout_while_waiting_cancels(pool: PgPool) {
    cancels(pool, "logout", "logged_out").await;
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_kick_while_waiting_cancels(pool: PgPool) {
    cancels(pool, "kicked", "kicked").await;
}

async fn cancels(pool: PgPool, kind: &str, reason: &str) {
    let (world, accepted) = waiting(pool).await;
    world.event("alice", "phone", kind, json!({})).await;
    let story = world.story(&accepted).await;
    assert_eq!(story["waiting"], json!([]), "cancelled with the event, not later");
    assert_eq!(story["outcomes"], json!({"cancelled": 1}));
    assert_eq!(story["events"][0]["reason"], reason);
    world.act(CERTIFICATE, "resume").await;
    world.run().await;
    assert_eq!(world.xiaomi.requests_total(), 0);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_lane_in_memory_sends_nothing_after_an_acknowledged_logout(pool: PgPool) {
    let world = World::start_with(pool, &[("DISPATCH__CALLS_IN_FLIGHT", "1")]).await;
    world.killed("first", "phone-0", "token-0").await;
    world.killed("alice", "phone", "token-1").await;
    // The one call in flight keeps the lane busy while Alice's delivery waits in memory.
    world.xiaomi.fault(rouse::simulator::Fault::once(rouse::simulator::Misbehaviour::Hang(Some(
        std::time::Duration::from_millis(600),
    ))));
    world.notify("m0", &["first"], json!({})).await;
    let accepted = world.notify("m1", &["alice"], json!({})).await;
    world.event("alice", "phone", "logout", json!({})).await;
    let story = world.ended(&accepted).await;
    assert_eq!(story["outcomes"], json!({"cancelled": 1}), "{story}");
    assert!(world.received("token-1").is_empty());
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_resumed_certificate_sends_what_waited(pool: PgPool) {
    let (world, accepted) = waiting(pool).await;
    world.act(CERTIFICATE, "resume").await;
    world.run().await;
    assert_eq!(world.outcome(&accepted).await, "accepted");
    assert_eq!(world.received("token-1"), ["hello"]);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn past_its_time_to_live_a_waiting_delivery_expires_and_is_never_sent(pool: PgPool) {
    let (world, accepted) = waiting(pool).await;
    world.advance(TimeDelta::seconds(86_401));
    world.act(CERTIFICATE, "resume").await;
    world.run().await;
    assert_eq!(world.outcome(&accepted).await, "expired");
    assert_eq!(world.xiaomi.requests_total(), 0);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_device_that_reported_another_token_meanwhile_is_reached_there(pool: PgPool) {
    let (world, accepted) = waiting(pool).await;
    let path = format!("/v1/apps/{APP}/users/alice/devices/phone/binding");
    world.certificate(501, json!({"defaults": {"channel_id": "777"}})).await;
    let report = json!({"certificate_id": 501, "token": "token-2", "platform": "android"});
    world.admin(Method::PUT, &path, report).await.ok();
    world.act(CERTIFICATE, "resume").await;
    world.run().await;
    assert_eq!(world.outcome(&accepted).await, "accepted");
    assert!(world.received("token-1").is_empty());
    let inbox = world.xiaomi.inbox("token-2");
    assert_eq!(inbox[0].extras["channel_id"], "777", "with the certificate of the new binding");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_caller_can_cancel_what_waits(pool: PgPool) {
    let (world, accepted) = waiting(pool).await;
    let path = format!("/v1/apps/{APP}/notifications/{}", accepted["notification_id"].as_str().unwrap());
    let key = world.admin_key.clone();
    let answer = world.call(Method::DELETE, &path, Some(&key), None).await.ok();
    assert_eq!(answer["cancelled"], 1);
    let story = world.story(&accepted).await;
    assert_eq!(story["events"][0]["reason"], "cancelled_by_caller");
    assert_eq!(world.call(Method::DELETE, &path, Some(&key), None).await.ok()["cancelled"], 0);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_waits_for_a_deleted_certificate_ends_explained(pool: PgPool) {
    let (world, accepted) = waiting(pool).await;
    let path = format!("/v1/apps/{APP}/certificates/{CERTIFICATE}");
    world.call(Method::DELETE, &path, Some(&world.admin_key), None).await;
    rouse::maintenance::cancel_orphans(world.server().database()).await.unwrap();
    let story = world.story(&accepted).await;
    assert_eq!(story["outcomes"], json!({"cancelled": 1}));
    assert_eq!(story["events"][0]["reason"], "certificate_missing");
    let accepted = world.notify("m2", &["alice"], json!({})).await;
    assert_eq!(accepted["skipped"][0]["reason"], "certificate_missing");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_full_lane_stores_the_rest_and_sends_it_later(pool: PgPool) {
    let world = World::start_with(pool, &[("DISPATCH__LANE_CAPACITY", "5")]).await;
    world.killed_users(30).await;
    let mut accepted = Vec::new();
    for n in 0..30 {
        accepted.push(world.notify(&format!("m{n}"), &[&format!("user-{n}")], json!({})).await);
    }
    for accepted in &accepted {
        assert_eq!(world.outcome(accepted).await, "accepted");
    }
    assert_eq!(world.xiaomi.received_total(), 30);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn contents_of_waiting_deliveries_outlive_their_partition(pool: PgPool) {
    let (world, accepted) = waiting(pool).await;
    // The hour's partition is dropped two hours after its beginning; the database's clock decides, so it is dropped by hand.
    let id = uuid::Uuid::parse_str(accepted["notification_id"].as_str().unwrap()).unwrap();
    let next = uuid::Uuid::from_u128(id.as_u128() + 1);
    let copied = rouse::store::partitions::keep_contents(&world.pool, id, uuid::Uuid::from_u128(next.as_u128() + 1));
    assert_eq!(copied.await.unwrap(), 1);
    sqlx::query("DELETE FROM notification_contents").execute(&world.pool).await.unwrap();
    let mut connection = world.pool.acquire().await.unwrap();
    let now = world.server().clock().now();
    let hour = TimeDelta::hours(1);
    rouse::store::partitions::forget_contents(&mut connection, now - hour, now).await.unwrap();
    world.act(CERTIFICATE, "resume").await;
    world.run().await;
    assert_eq!(world.outcome(&accepted).await, "accepted");
    let later = now + TimeDelta::hours(3);
    rouse::store::partitions::forget_contents(&mut connection, later, later).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM kept_contents").await, 0, "gone after the last delivery ended");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn an_app_with_too_much_waiting_gets_429_and_nothing_is_stored(pool: PgPool) {
    let (world, _) = waiting(pool).await;
    let settings = json!({"settings": {"max_waiting_deliveries": 0}});
    world.admin(Method::PATCH, &format!("/v1/apps/{APP}"), settings).await.ok();
    let mut answer = world.try_notify("m2", &["alice"], json!({})).await;
    for n in 3..60 {
        if answer.status.as_u16() == 429 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        answer = world.try_notify(&format!("m{n}"), &["alice"], json!({})).await;
    }
    assert_eq!(answer.problem(), "too-many-waiting-deliveries");
    let keys = world.count("SELECT count(*) FROM message_keys").await;
    world.try_notify("refused", &["alice"], json!({})).await;
    assert_eq!(world.count("SELECT count(*) FROM message_keys").await, keys);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_stop_gives_back_what_was_not_sent_and_a_start_sends_it(pool: PgPool) {
    let mut world = World::start_with(pool.clone(), &[("DISPATCH__CALLS_IN_FLIGHT", "1")]).await;
    world.killed_users(20).await;
    world.xiaomi.set_latency(rouse::simulator::Latency::fixed(100));
    for n in 0..20 {
        world.notify(&format!("m{n}"), &[&format!("user-{n}")], json!({})).await;
    }
    world.stop().await;
    let sent = world.xiaomi.received_total();
    let waiting: i64 =
        sqlx::query_scalar("SELECT count(*) FROM deliveries WHERE owner IS NULL").fetch_one(&pool).await.unwrap();
    assert_eq!(sent + waiting.unsigned_abs(), 20, "sent {sent}, waiting {waiting}");
    assert!(waiting > 0);
    let ended: i64 =
        sqlx::query_scalar("SELECT count(*) FROM delivery_events WHERE final").fetch_one(&pool).await.unwrap();
    assert_eq!(ended.unsigned_abs(), sent, "what was sent is recorded");
}

//! Who gets a push, and who does not.

use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::PgPool;

use crate::world::{APP, CERTIFICATE, CHANNEL, World};

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_killed_phone_gets_the_push(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed("alice", "phone", "token-1").await;
    let accepted = world.notify("m1", &["alice"], json!({"conversation_id": "c1", "data": {"cid": "c1"}})).await;
    assert_eq!(accepted["deliveries"], 1);
    assert_eq!(world.outcome(&accepted).await, "accepted");
    let inbox = world.xiaomi.inbox("token-1");
    assert_eq!(inbox.len(), 1);
    assert_eq!((inbox[0].title.as_str(), inbox[0].body.as_str()), ("a new message", "hello"));
    assert_eq!(inbox[0].extras["channel_id"], CHANNEL);
    assert_eq!(inbox[0].payload.as_deref(), Some(r#"{"cid":"c1"}"#));
    let call = world.xiaomi.calls().pop().unwrap();
    let ttl_ms: i64 = call.field("time_to_live").unwrap().parse().unwrap();
    assert!((86_390_000..=86_400_000).contains(&ttl_ms), "the remaining time to live in milliseconds: {ttl_ms}");
    let trace = world.get(&format!("/v1/apps/{APP}/trace?user_id=alice")).await;
    assert_eq!(trace["events"][0]["kind"], "attempt");
    assert_eq!(trace["events"][0]["final"], true);
    assert!(!trace.to_string().contains("token-1"), "tokens are masked");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_logged_out_phone_gets_none(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed("alice", "phone", "token-1").await;
    world.event("alice", "phone", "logout", json!({})).await;
    let accepted = world.notify("m1", &["alice"], json!({})).await;
    assert_eq!(accepted["skipped"], json!([{"user_id": "alice", "device_id": "phone", "reason": "logged_out"}]));
    world.run().await;
    assert_eq!(world.xiaomi.requests_total(), 0);
    let trace = world.get(&format!("/v1/apps/{APP}/trace?user_id=alice")).await;
    assert_eq!(trace["events"][0]["reason"], "logged_out", "the trace tells why");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_kicked_phone_gets_none(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed("alice", "old", "token-old").await;
    world.killed("alice", "tablet", "token-tablet").await;
    world.killed("alice", "new", "token-new").await;
    world.event("alice", "tablet", "kicked", json!({})).await;
    world.event("alice", "new", "kicked", json!({"device_ids": ["old", "new"]})).await;
    let accepted = world.notify("m1", &["alice"], json!({})).await;
    assert_eq!(accepted["deliveries"], 1, "{accepted}");
    world.run().await;
    assert_eq!(world.received("token-new"), ["hello"]);
    assert!(world.received("token-old").is_empty() && world.received("token-tablet").is_empty());
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn online_devices_get_none_and_users_without_a_device_are_no_error(pool: PgPool) {
    let world = World::start(pool).await;
    world.login("front", "phone", "token-1").await;
    world.login("back", "phone-2", "token-2").await;
    world.event("back", "phone-2", "background", json!({"unread": 2})).await;
    let accepted = world.notify("m1", &["front", "back", "nobody"], json!({})).await;
    assert_eq!(accepted["deliveries"], 0);
    let reasons: Vec<_> = accepted["skipped"].as_array().unwrap().iter().map(|skip| &skip["reason"]).collect();
    assert_eq!(reasons, ["foreground", "background", "no_device"]);
    // The row about several users is found for each of them.
    for (user, reason) in [("front", "foreground"), ("nobody", "no_device")] {
        let trace = world.get(&format!("/v1/apps/{APP}/trace?user_id={user}")).await;
        assert_eq!(trace["events"][0]["reason"], reason, "{trace}");
    }
    let settings = json!({"settings": {"push_in_background": ["android"]}});
    world.admin(Method::PATCH, &format!("/v1/apps/{APP}"), settings).await.ok();
    let accepted = world.notify("m2", &["back"], json!({})).await;
    assert_eq!(accepted["deliveries"], 1, "the setting acts at once");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn after_an_account_switch_on_one_phone_only_the_new_user_gets_pushes(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed("alice", "phone", "token-1").await;
    world.killed("bob", "phone", "token-1").await;
    let accepted = world.notify("m1", &["alice", "bob"], json!({})).await;
    assert_eq!(accepted["deliveries"], 1);
    assert_eq!(accepted["skipped"][0]["user_id"], "alice");
    world.run().await;
    assert_eq!(world.received("token-1").len(), 1);
    // The same token under another device id: the token decides.
    world.killed("carol", "other-id", "token-1").await;
    assert_eq!(world.binding("bob", "phone").await, "superseded");
    let accepted = world.notify("m2", &["bob", "carol"], json!({})).await;
    assert_eq!(accepted["skipped"][0]["user_id"], "bob");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_reinstall_with_a_new_token_is_pushed_to_once_at_the_new_token(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed("alice", "phone", "token-old").await;
    world.killed("alice", "phone", "token-new").await;
    let accepted = world.notify("m1", &["alice"], json!({})).await;
    assert_eq!(accepted["deliveries"], 1);
    world.run().await;
    assert!(world.received("token-old").is_empty());
    assert_eq!(world.received("token-new").len(), 1);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_late_logout_of_an_older_login_is_ignored(pool: PgPool) {
    let world = World::start(pool).await;
    let before = world.next_event_ms();
    world.killed("alice", "phone", "token-1").await;
    let late = world.try_event("alice", "phone", "logout", json!({"event_time": before})).await;
    assert_eq!(late["result"], "stale");
    assert_eq!(world.notify("m1", &["alice"], json!({})).await["deliveries"], 1);
    // A login sequence beats the clock.
    world.event("alice", "phone", "login", json!({"login_seq": 7})).await;
    let older = world.try_event("alice", "phone", "logout", json!({"login_seq": 6})).await;
    assert_eq!(older["result"], "stale");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn event_times_in_the_future_are_taken_as_now_and_old_ones_refused(pool: PgPool) {
    let world = World::start(pool).await;
    let now = world.server().clock().now().timestamp_millis();
    let future = world.try_event("alice", "phone", "login", json!({"event_time": now + 3_600_000})).await;
    assert_eq!(future, json!({"result": "applied", "time_adjusted": true}));
    let old = world.try_event("alice", "phone", "logout", json!({"event_time": now - 8 * 86_400_000})).await;
    assert_eq!(old, json!({"result": "refused", "reason": "too_old"}));
    world.advance(chrono::TimeDelta::seconds(1));
    world.event("alice", "phone", "logout", json!({"event_time": now + 1_500})).await;
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_binding_reported_before_the_login_waits_for_it(pool: PgPool) {
    let world = World::start(pool).await;
    let path = format!("/v1/apps/{APP}/users/alice/devices/phone/binding");
    let report = json!({"certificate_id": CERTIFICATE, "token": "token-1", "platform": "android"});
    let answer = world.admin(Method::PUT, &path, report.clone()).await;
    assert_eq!((answer.status, &answer.body["pending"]), (StatusCode::ACCEPTED, &json!(true)));
    let accepted = world.notify("m1", &["alice"], json!({})).await;
    assert_eq!(accepted["skipped"][0]["reason"], "binding_pending");
    world.event("alice", "phone", "login", json!({})).await;
    assert_eq!(world.binding("alice", "phone").await, "active");
    world.event("alice", "phone", "disconnect", json!({})).await;
    assert_eq!(world.notify("m2", &["alice"], json!({})).await["deliveries"], 1);
    // For a live session the same report is active at once, and taking it away ends the pushes.
    assert_eq!(world.admin(Method::PUT, &path, report).await.status, StatusCode::OK);
    assert_eq!(world.call(Method::DELETE, &path, Some(&world.admin_key), None).await.status, StatusCode::NO_CONTENT);
    let accepted = world.notify("m3", &["alice"], json!({})).await;
    assert_eq!(accepted["skipped"][0]["reason"], "binding_detached");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_pending_binding_supersedes_nobody(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed("alice", "phone", "token-1").await;
    let path = format!("/v1/apps/{APP}/users/bob/devices/tablet/binding");
    let report = json!({"certificate_id": CERTIFICATE, "token": "token-1", "platform": "android"});
    world.admin(Method::PUT, &path, report).await.ok();
    assert_eq!(world.binding("alice", "phone").await, "active");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_senders_own_device_and_excluded_ones_get_none(pool: PgPool) {
    let world = World::start(pool).await;
    for device in ["phone", "tablet", "watch"] {
        world.killed("alice", device, &format!("token-{device}")).await;
    }
    let more = json!({"sender_id": "alice", "sender_device_id": "phone", "exclude_devices": ["watch"]});
    let accepted = world.notify("m1", &["alice"], more).await;
    assert_eq!(accepted["deliveries"], 1, "{accepted}");
    let accepted = world.notify("m2", &["alice"], json!({"only_devices": ["watch"]})).await;
    assert_eq!(accepted["deliveries"], 1);
    let accepted = world.notify("m3", &["alice"], json!({"offline_push_info": {"PushFlag": 1}})).await;
    assert_eq!(accepted["skipped"], json!([{"user_id": "alice", "reason": "never_push"}]));
    world.run().await;
    assert_eq!(world.received("token-tablet").len(), 1);
    assert_eq!(world.received("token-watch").len(), 1);
    assert!(world.received("token-phone").is_empty());
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn two_racing_reports_leave_a_token_with_one_device(pool: PgPool) {
    let world = World::start(pool).await;
    for round in 0..20 {
        let users: Vec<String> = (0..6).map(|n| format!("user-{round}-{n}")).collect();
        let logins = users.iter().map(|user| world.login(user, user, "the-token"));
        futures_util::future::join_all(logins).await;
        let live = world.count("SELECT count(*) FROM devices WHERE binding_status = 'active' AND token = 'the-token'");
        assert_eq!(live.await, 1);
    }
}

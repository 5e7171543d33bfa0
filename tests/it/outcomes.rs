//! How attempts end, what is tried again, and what holds deliveries up.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rouse::simulator::{ChannelClass, Fault, Misbehaviour, XiaomiChannel};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, CERTIFICATE, PACKAGE, World, merged, plain, until};

fn status(status: u16) -> Misbehaviour {
    Misbehaviour::Status { status, body: "<html>busy</html>".to_owned(), retry_after: None }
}

/// A channel of the account whose class has no quota in the stand-in.
fn channel(name: &str) -> XiaomiChannel {
    XiaomiChannel { package: PACKAGE.to_owned(), id: name.to_owned(), class: ChannelClass::Private, daily_quota: None }
}

/// A message of this channel.
fn in_channel(name: &str) -> Value {
    json!({"offline_push_info": {"AndroidInfo": {"XiaoMiChannelID": name}}})
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_failure_that_passes_is_tried_again_and_ends_in_one_push(pool: PgPool) {
    let world = World::with(pool, &[("VENDORS__CALL_TIMEOUT_MS", "200")]).await;
    world.killed_phone("alice", "phone", "token-1").await;
    for (misbehaviour, reason, code) in [
        (status(503), "vendor_fault", "HTTP 503"),
        (status(500), "vendor_fault", "HTTP 500"),
        (Misbehaviour::Reset, "unreachable", "connection broke"),
        (Misbehaviour::Hang(None), "timed_out", "no answer in time"),
        (Misbehaviour::Truncated, "unreachable", "connection broke"),
        (Misbehaviour::Empty, "vendor_fault", "answer is not Xiaomi's JSON"),
        (Misbehaviour::Text("<html>busy</html>".to_owned()), "vendor_fault", "answer is not Xiaomi's JSON"),
        (Misbehaviour::Text(r#"{"result":"ok","co"#.to_owned()), "vendor_fault", "answer is not Xiaomi's JSON"),
        (Misbehaviour::Code { code: "10001".into(), reason: None }, "vendor_fault", "10001"),
    ] {
        let before = (world.vendor.requests_total(), world.vendor.received_total());
        world.vendor.fault(Fault::once(misbehaviour.clone()));
        let notification = world.sent("alice", plain()).await;
        assert_eq!(world.outcome(&notification).await, "accepted", "{misbehaviour:?}");
        assert_eq!(world.reasons(&notification, "attempt").await, [reason, "accepted"], "{misbehaviour:?}");
        let attempts = world.told(&notification, "attempt").await;
        assert_eq!(attempts[0]["vendor_code"], code, "{misbehaviour:?}");
        assert_eq!((&attempts[0]["final"], &attempts[1]["final"]), (&json!(false), &json!(true)));
        assert_eq!((&attempts[0]["attempt"], &attempts[1]["attempt"]), (&json!(1), &json!(2)));
        let after = (world.vendor.requests_total(), world.vendor.received_total());
        assert_eq!((after.0 - before.0, after.1 - before.1), (2, 1), "{misbehaviour:?}");
    }
    assert_eq!((world.count("deliveries").await, world.server().dispatcher().held()), (0, 0));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn retry_after_is_honoured(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let busy = Misbehaviour::Status { status: 429, body: String::new(), retry_after: Some("30".to_owned()) };
    world.vendor.fault(Fault::once(busy));
    let asked_at = world.server().clock().now();
    let notification = world.sent("alice", plain()).await;
    world.sweep().await;
    let waiting = world.story(&notification).await["waiting"][0].clone();
    let due_at: DateTime<Utc> = waiting["due_at"].as_str().unwrap().parse().unwrap();
    assert!(due_at >= asked_at + TimeDelta::seconds(30), "{waiting}");
    assert!(due_at <= world.server().clock().now() + TimeDelta::seconds(32), "{waiting}");
    assert_eq!((&waiting["attempts"], &waiting["in_memory"]), (&json!(1), &json!(false)));
    world.sweep().await;
    assert_eq!(world.vendor.requests_total(), 1, "not before its time");
    assert!(world.shown_certificate().await["lane"]["rate_share"].as_f64().unwrap() < 1.0);
    assert_eq!(world.outcome(&notification).await, "accepted");
    assert_eq!(world.reasons(&notification, "attempt").await, ["rate_limited", "accepted"]);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn an_unknown_code_is_tried_three_times_and_kept(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.vendor.fault(Misbehaviour::Text(r#"{"result":"error","code":987654,"reason":"new"}"#.to_owned()));
    let notification = world.sent("alice", plain()).await;
    assert_eq!(world.outcomes(&notification).await, json!({"unrecognised": 1}));
    let attempts = world.told(&notification, "attempt").await;
    assert_eq!(attempts.len(), 3);
    assert!(attempts.iter().all(|attempt| attempt["vendor_code"] == "987654"));
    assert_eq!(world.vendor.requests_total(), 3);
    assert_eq!(world.binding("alice", "phone").await, "active");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_refused_message_is_given_up_and_burns_no_token(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.vendor.answer_next(22_100);
    let notification = world.sent("alice", plain()).await;
    assert_eq!(world.outcomes(&notification).await, json!({"payload_refused": 1}));
    assert_eq!((world.calls(), world.binding("alice", "phone").await.as_str()), (1, "active"));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_refused_certificate_waits_for_its_new_secret_and_burns_nothing(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.vendor.answer_next(21_301);
    let notification = world.sent("alice", plain()).await;
    world.sweep().await;
    let shown = world.shown_certificate().await;
    assert_eq!((&shown["state"], &shown["state_reason"]), (&json!("refused"), &json!("xiaomi answered 21301")));
    let audit = world.get(&format!("/v1/audit-events?app_id={APP}&limit=1")).await.ok();
    assert_eq!(audit["items"][0]["action"], "certificate.refuse");
    assert_eq!(audit["items"][0]["actor"], "server");
    let second = world.sent("alice", plain()).await;
    world.hurry().await;
    world.sweep().await;
    assert_eq!(world.calls(), 1, "a refused certificate makes no call");
    for waiting in [&notification, &second] {
        assert_eq!(world.story(waiting).await["waiting"].as_array().unwrap().len(), 1);
    }
    world.vendor.add_app("new-secret", PACKAGE);
    let path = format!("/v1/apps/{APP}/certificates/{CERTIFICATE}");
    let changed = world.patch(&path, &json!({"app_secret": "new-secret"})).await.ok();
    assert_eq!(changed["state"], "active");
    for waiting in [&notification, &second] {
        assert_eq!(world.outcome(waiting).await, "accepted");
    }
    let calls = world.vendor.calls();
    assert!(calls[1..].iter().all(|call| call.header("authorization") == Some("key=new-secret")));
    assert_eq!(world.reasons(&notification, "attempt").await, ["certificate_refused", "accepted"]);
    assert_eq!(world.vendor.inbox("token-1").len(), 2);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_spent_quota_holds_its_class_until_midnight_in_china_and_no_other(pool: PgPool) {
    let world = World::start(pool).await;
    world.vendor.add_channel(channel("news"));
    world.vendor.add_channel(channel("chat"));
    world.killed_phone("alice", "phone", "token-1").await;
    let now = world.server().clock().now();
    world.vendor.answer_next(200_001);
    let first = world.sent("alice", in_channel("news")).await;
    world.sweep().await;
    let (class, until, code): (String, DateTime<Utc>, Option<String>) =
        sqlx::query_as("SELECT message_class, held_until, vendor_code FROM certificate_holds")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!((class.as_str(), code.as_deref()), ("news", Some("200001")));
    let expected = rouse::vendor::QuotaReset::CHINA_MIDNIGHT.next(now);
    assert!((until - expected).abs() < TimeDelta::seconds(10), "{until} is not the reset, {expected}");
    let second = world.sent("alice", in_channel("news")).await;
    world.sweep().await;
    for waiting in [&first, &second] {
        let waiting = world.story(waiting).await["waiting"][0].clone();
        assert_eq!(waiting["due_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap(), until);
    }
    assert!(world.told(&second, "postponed").await.is_empty(), "stored for then, not tried and put off");
    // Even one that comes due by mistake makes no call.
    world.hurry().await;
    world.sweep().await;
    assert_eq!(world.calls(), 1);
    assert_eq!(world.shown_certificate().await["lane"]["held_classes"][0]["message_class"], "news");
    let other = world.sent("alice", in_channel("chat")).await;
    assert_eq!(world.idle_outcome(&other).await, "accepted");
    assert_eq!(world.calls(), 2);
    world.certificate_verb("resume").await;
    for waiting in [&first, &second] {
        assert_eq!(world.outcome(waiting).await, "accepted", "resuming forgets the hold");
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn each_token_of_a_batch_has_its_own_outcome(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phones("user-", 3).await;
    world.vendor.kill_token("token-user-1");
    let to = json!({"to": [{"user_id": "user-0"}, {"user_id": "user-1"}, {"user_id": "user-2"}]});
    let notification = world.sent("", to).await;
    assert_eq!(world.outcomes(&notification).await, json!({"accepted": 2, "token_gone": 1}));
    assert_eq!(world.calls(), 1);
    let gone = world.told(&notification, "attempt").await.into_iter().find(|event| event["reason"] == "token_gone");
    let gone = gone.unwrap();
    assert_eq!((&gone["user_id"], &gone["vendor_code"]), (&json!("user-1"), &json!("bad_regids")));
    for (user, status) in [("user-0", "active"), ("user-1", "invalid"), ("user-2", "active")] {
        assert_eq!(world.binding(user, &format!("phone-{user}")).await, status);
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn more_devices_than_one_call_takes_go_out_in_several(pool: PgPool) {
    let world = World::start(pool).await;
    let users = world.killed_phones("user-", 1_000).await;
    // One message names at most 1000 users; a tenth of them has two phones.
    for some in users[..100].chunks(50) {
        let events: Vec<Value> = some
            .iter()
            .flat_map(|user| {
                let (token, device) = (format!("token-second-{user}"), format!("second-{user}"));
                let token = json!({"certificate_id": CERTIFICATE, "token": token});
                [merged(world.event("login", user, &device), token), world.event("disconnect", user, &device)]
            })
            .collect();
        world.events(&Value::Array(events)).await;
    }
    world.vendor.kill_token("token-user-7");
    world.vendor.kill_token("token-second-user-7");
    let to: Vec<Value> = users.iter().map(|user| json!({"user_id": user})).collect();
    let accepted = world.notify("", json!({"to": to})).await;
    assert_eq!(accepted["deliveries"], 1_100);
    let notification = crate::world::id(&accepted);
    assert_eq!(world.outcomes(&notification).await, json!({"accepted": 1_098, "token_gone": 2}));
    let calls = world.vendor.calls();
    let mut sizes: Vec<usize> =
        calls.iter().map(|call| call.field("registration_id").unwrap().split(',').count()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [100, 1_000]);
    assert_eq!((world.vendor.received_total(), world.vendor.inbox_counts().duplicates), (1_098, 0));
    let gone: Vec<Value> = world.told(&notification, "attempt").await;
    let gone: Vec<&str> = gone
        .iter()
        .filter(|event| event["reason"] == "token_gone")
        .map(|event| event["user_id"].as_str().unwrap())
        .collect();
    assert_eq!(gone, ["user-7", "user-7"]);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn text_too_long_for_the_vendor_is_cut_and_the_trace_says_so(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let (title, body) = ("红".repeat(60), "😀".repeat(100));
    let notification = world.sent("alice", json!({"title": title, "body": body})).await;
    assert_eq!(world.outcome(&notification).await, "accepted");
    let inbox = world.vendor.inbox("token-1");
    assert_eq!(inbox[0].title, format!("{}…", "红".repeat(48)));
    assert_eq!(inbox[0].body, format!("{}…", "😀".repeat(63)));
    let cut = &world.told(&notification, "attempt").await[0]["detail"]["cut"];
    let expected = json!([{"field": "title", "from": 60, "to": 49}, {"field": "body", "from": 200, "to": 127}]);
    assert_eq!(cut, &expected);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn suspect_answers_in_a_row_pause_the_certificate(pool: PgPool) {
    let world = World::with(pool, &[("DISPATCH__SUSPECT_ANSWERS", "3")]).await;
    world.killed_phone("alice", "phone", "token-1").await;
    // An accepted push in between starts the count anew.
    for (code, state) in [
        (27_001, "active"),
        (27_001, "active"),
        (0, "active"),
        (27_001, "active"),
        (27_001, "active"),
        (27_001, "refused"),
    ] {
        if code != 0 {
            world.vendor.answer_next(code);
        }
        let notification = world.sent("alice", plain()).await;
        world.idle().await;
        assert_eq!(world.story(&notification).await["waiting"], json!([]));
        // The certificate is paused beside the recording of the answer.
        until("the state", || async { (world.shown_certificate().await["state"] == state).then_some(()) }).await;
    }
    assert_eq!(world.shown_certificate().await["state_reason"], "xiaomi answered 27001");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn an_open_circuit_breaker_gives_deliveries_back_until_the_vendor_answers_again(pool: PgPool) {
    let settings = [
        ("DISPATCH__BREAKER_FAILURES", "3"),
        ("DISPATCH__BREAKER_MIN_OPEN_MS", "400"),
        ("DISPATCH__BREAKER_MAX_OPEN_MS", "400"),
        ("DISPATCH__CALLS_IN_FLIGHT", "1"),
    ];
    let world = World::with(pool, &settings).await;
    world.killed_phones("user-", 8).await;
    // The first call is on the wire until all deliveries are in the lane.
    world.vendor.fault(status(503));
    world.vendor.set_latency(rouse::simulator::Latency::fixed(30));
    let mut notifications = Vec::new();
    for number in 0..8 {
        notifications.push(world.sent(&format!("user-{number}"), plain()).await);
    }
    until("the breaker", || async { (world.shown_certificate().await["lane"]["breaker_open"] == true).then_some(()) })
        .await;
    let late = world.sent("user-0", json!({"body": "while it is open"})).await;
    assert_eq!(world.story(&late).await["waiting"][0]["in_memory"], false, "nothing enters an open lane");
    notifications.push(late);
    world.vendor.clear_faults();
    for notification in &notifications {
        assert_eq!(world.outcomes(notification).await, json!({"accepted": 1}));
    }
    let mut postponed = 0;
    for notification in &notifications {
        postponed += world.reasons(notification, "postponed").await.iter().filter(|why| *why == "breaker_open").count();
    }
    assert!(postponed > 0, "what was in the lane went back to the database");
    assert_eq!(world.shown_certificate().await["lane"]["breaker_open"], false);
    assert_eq!((world.vendor.received_total(), world.vendor.inbox_counts().duplicates), (9, 0));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn one_slow_certificate_delays_no_other(pool: PgPool) {
    let world = World::with(pool, &[("DISPATCH__CALLS_IN_FLIGHT", "1")]).await;
    world.certificate(APP, json!({"certificate_id": 20_000})).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let login = json!({"certificate_id": 20_000, "token": "token-2"});
    let login = merged(world.event("login", "bob", "phone-b"), login);
    world.events(&json!([login, world.event("disconnect", "bob", "phone-b")])).await;
    world.vendor.fault(Fault::once(Misbehaviour::Hang(Some(Duration::from_secs(2)))).for_token("token-1"));
    let slow = world.sent("alice", plain()).await;
    let fast = world.sent("bob", plain()).await;
    until("bob's push", || async { (world.vendor.inbox("token-2").len() == 1).then_some(()) }).await;
    assert_eq!(world.vendor.inbox("token-1").len(), 0, "the slow one is still on the wire");
    assert_eq!(world.outcome(&slow).await, "accepted");
    assert_eq!(world.outcome(&fast).await, "accepted");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_cancelled_notification_is_not_sent(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.certificate_verb("pause").await;
    let notification = world.sent("alice", plain()).await;
    let path = format!("/v1/apps/{APP}/notifications/{notification}");
    assert_eq!(world.delete(&path).await.ok(), json!({"cancelled": 1}));
    assert_eq!(world.delete(&path).await.ok(), json!({"cancelled": 0}));
    world.certificate_verb("resume").await;
    assert_eq!(world.outcomes(&notification).await, json!({"cancelled": 1}));
    assert_eq!(world.reasons(&notification, "cancelled").await, ["cancelled_by_caller"]);
    assert_eq!(world.calls(), 0);
}

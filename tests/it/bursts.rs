//! Newer messages take the place of older ones, many become one line, and the server counts the badge where asked to.

use rouse::simulator::{Fault, Misbehaviour};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, World, id, merged, plain, until};

fn room(body: &str) -> Value {
    json!({"conversation_id": "room", "title": "Alice", "body": body})
}

async fn bodies(world: &World, token: &str) -> Vec<String> {
    world.vendor.inbox(token).iter().map(|message| message.body.clone()).collect()
}

async fn ended(world: &World, notification: &str, kind: &str) -> Vec<String> {
    until("the end of what was replaced", || async {
        let reasons = world.reasons(notification, kind).await;
        (!reasons.is_empty()).then_some(reasons)
    })
    .await
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_waiting_message_is_superseded_by_a_newer_one_of_its_conversation(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("bob", "phone", "token-1").await;
    world.killed_phone("bob", "tablet", "token-2").await;
    world.certificate_verb("pause").await;
    let older = world.sent("bob", room("one")).await;
    let other = world.sent("bob", json!({"conversation_id": "other", "body": "two"})).await;
    let alone = world.sent("bob", json!({"body": "three"})).await;
    let newer = world.sent("bob", merged(room("four"), json!({"only_devices": ["phone"]}))).await;
    assert_eq!(ended(&world, &older, "cancelled").await, ["superseded_by_newer"]);
    world.certificate_verb("resume").await;
    for (notification, outcomes) in [
        (&older, json!({"accepted": 1, "cancelled": 1})),
        (&other, json!({"accepted": 2})),
        (&alone, json!({"accepted": 2})),
        (&newer, json!({"accepted": 1})),
    ] {
        assert_eq!(world.outcomes(notification).await, outcomes);
    }
    let mut on_the_tablet = bodies(&world, "token-2").await;
    on_the_tablet.sort();
    assert_eq!(on_the_tablet, ["one", "three", "two"], "the newer one is not for this device: nothing replaces it");
    assert!(!bodies(&world, "token-1").await.contains(&"one".to_owned()));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_message_in_a_slow_lane_is_superseded_there(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("bob", "phone", "token-1").await;
    // One call a second: what comes meanwhile waits in the lane.
    let path = format!("/v1/apps/{APP}/certificates/{}", crate::world::CERTIFICATE);
    world.patch(&path, &json!({"rate_limit": 1})).await.ok();
    let mut sent = Vec::new();
    for number in 1..=4 {
        sent.push(world.sent("bob", room(&number.to_string())).await);
    }
    let mut accepted = Vec::new();
    for notification in &sent {
        accepted.push(world.outcomes(notification).await.clone());
    }
    assert_eq!(accepted.last().unwrap(), &json!({"accepted": 1}), "the newest is never lost: {accepted:?}");
    let replaced = accepted.iter().filter(|outcomes| **outcomes == json!({"cancelled": 1})).count();
    assert!(replaced >= 2, "{accepted:?}");
    assert_eq!(bodies(&world, "token-1").await.last().unwrap(), "4");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_message_that_fails_while_a_newer_one_arrives_is_not_tried_again(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("bob", "phone", "token-1").await;
    let busy = Misbehaviour::Status { status: 503, body: String::new(), retry_after: Some("2".to_owned()) };
    world.vendor.fault(Fault::once(busy));
    let older = world.sent("bob", room("one")).await;
    let newer = world.sent("bob", room("two")).await;
    assert_eq!(world.outcomes(&newer).await, json!({"accepted": 1}));
    let outcomes = world.outcomes(&older).await;
    assert!(outcomes == json!({"cancelled": 1}) || outcomes == json!({"vendor_fault": 1}), "{outcomes}");
    assert_eq!(bodies(&world, "token-1").await, ["two"], "the older one would have replaced it");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn of_messages_that_come_in_at_the_same_moment_the_last_is_the_newest(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("bob", "phone", "token-1").await;
    for round in 1..=3 {
        let messages: Vec<Value> =
            (1..=8).map(|number| world.message("bob", room(&format!("{round}.{number}")))).collect();
        let batch = json!({"notifications": messages});
        let answer = world.post(&format!("/v1/apps/{APP}/notifications:batch"), &batch).await.ok();
        let ids: Vec<&str> = answer["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|result| result["accepted"]["notification_id"].as_str().unwrap_or_else(|| panic!("{result}")))
            .collect();
        assert!(ids.is_sorted(), "{ids:?}");
        assert_eq!(world.outcomes(ids[7]).await, json!({"accepted": 1}));
        world.idle().await;
        assert_eq!(bodies(&world, "token-1").await.last().unwrap(), &format!("{round}.8"));
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_fails_while_a_newer_one_is_queued_in_the_database_is_not_sent_after_it(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("bob", "phone", "token-1").await;
    let late = Misbehaviour::SlowCode { code: "10001".into(), pause: std::time::Duration::from_secs(1) };
    world.vendor.fault(Fault::once(late));
    let older = world.sent("bob", room("one")).await;
    until("the call", || async { (!world.vendor.calls().is_empty()).then_some(()) }).await;
    world.certificate_verb("pause").await;
    let newer = world.sent("bob", room("two")).await;
    let alone = world.sent("bob", json!({"conversation_id": "other", "body": "three"})).await;
    assert_eq!(ended(&world, &older, "cancelled").await, ["superseded_by_newer"]);
    world.certificate_verb("resume").await;
    for notification in [&newer, &alone] {
        assert_eq!(world.outcomes(notification).await, json!({"accepted": 1}));
    }
    let mut shown = bodies(&world, "token-1").await;
    shown.sort();
    assert_eq!(shown, ["three", "two"]);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn reading_a_conversation_cancels_what_waits_of_it_on_all_devices(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("bob", "phone", "token-1").await;
    world.login("bob", "desk", "token-2").await;
    world.certificate_verb("pause").await;
    let read = world.sent("bob", room("read")).await;
    let other = world.sent("bob", json!({"conversation_id": "other", "body": "unread"})).await;
    let event = merged(world.event("read", "bob", "desk"), json!({"conversation_id": "room", "unread": 1}));
    assert_eq!(world.events(&json!([event])).await, ["applied"]);
    assert_eq!(world.reasons(&read, "cancelled").await, ["conversation_read"]);
    // What came after it was read is another matter, however late the event is told.
    let before = world.event("read", "bob", "desk");
    let late = world.sent("bob", room("later")).await;
    world.events(&json!([merged(before, json!({"conversation_id": "room"}))])).await;
    world.certificate_verb("resume").await;
    assert_eq!(world.outcomes(&late).await, json!({"accepted": 1}));
    assert_eq!(world.outcomes(&other).await, json!({"accepted": 1}));
    assert_eq!(world.device("bob", "phone").await["unread"], 1, "the count is the user's");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn many_messages_of_a_conversation_become_one_line_that_counts(pool: PgPool) {
    let world = World::start(pool).await;
    world.settings(json!({"burst": {"after": 2, "window_s": 3_600}})).await;
    world.killed_phone("bob", "phone", "token-1").await;
    for number in 1..=5 {
        let notification = world.sent("bob", room(&format!("message {number}"))).await;
        assert_eq!(world.outcomes(&notification).await, json!({"accepted": 1}));
    }
    let expected = [
        "message 1",
        "message 2",
        "3 new messages from Alice",
        "4 new messages from Alice",
        "5 new messages from Alice",
    ];
    assert_eq!(bodies(&world, "token-1").await, expected);
    assert_eq!(world.vendor.shown("token-1").len(), 1, "each line replaces the one before");
    let other = world.sent("bob", json!({"conversation_id": "other", "body": "alone"})).await;
    assert_eq!(world.outcomes(&other).await, json!({"accepted": 1}));
    assert_eq!(bodies(&world, "token-1").await.last().unwrap(), "alone", "each conversation is counted by itself");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_user_gets_no_more_in_a_minute_than_the_app_allows_and_replays_do_not_count(pool: PgPool) {
    let world = World::start(pool).await;
    world.settings(json!({"burst": {"after": 1_000, "max_per_minute": 3}})).await;
    world.killed_phone("bob", "phone", "token-1").await;
    // Not over the end of a minute, where counting begins anew.
    let left = 60_000 - world.now_ms() % 60_000;
    if left < 10_000 {
        world.advance(chrono::TimeDelta::milliseconds(left));
    }
    let first = world.message("bob", plain());
    for _ in 0..5 {
        world.post_notification(&first).await.ok();
    }
    assert_eq!(counted(&world).await, 1, "replays are not even counted");
    for _ in 0..2 {
        assert_eq!(world.notify("bob", plain()).await["deliveries"], 1);
    }
    let capped = world.notify("bob", plain()).await;
    assert_eq!(capped["skipped"], json!([{"user_id": "bob", "reason": "burst_capped"}]));
    world.killed_phone("carol", "phone-c", "token-2").await;
    assert_eq!(world.notify("carol", plain()).await["deliveries"], 1, "another user has a count of his own");
    world.advance(chrono::TimeDelta::minutes(1));
    assert_eq!(world.notify("bob", plain()).await["deliveries"], 1);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_could_not_be_stored_was_not_counted(pool: PgPool) {
    let world = World::start(pool).await;
    world.settings(json!({"badge": "server", "burst": {"after": 2, "max_per_minute": 60}})).await;
    world.killed_phone("bob", "phone", "token-1").await;
    let refuse = "ALTER TABLE deliveries ADD CONSTRAINT nobody CHECK (user_id <> 'bob')";
    sqlx::query(refuse).execute(&world.pool).await.unwrap();
    for _ in 0..4 {
        assert_eq!(world.post_notification(&world.message("bob", room("lost"))).await.status, 500);
    }
    until("the counts taken back", || async { (counted(&world).await == 0).then_some(()) }).await;
    sqlx::query("ALTER TABLE deliveries DROP CONSTRAINT nobody").execute(&world.pool).await.unwrap();
    let notification = world.sent("bob", room("stored")).await;
    assert_eq!(world.outcomes(&notification).await, json!({"accepted": 1}));
    assert_eq!(bodies(&world, "token-1").await, ["stored"]);
}

async fn counted(world: &World) -> i32 {
    sqlx::query_scalar("SELECT coalesce(sum(pushes), 0)::int FROM push_counts").fetch_one(&world.pool).await.unwrap()
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn without_a_rule_nothing_is_counted(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("bob", "phone", "token-1").await;
    for _ in 0..3 {
        world.outcomes(&id(&world.notify("bob", room("same")).await)).await;
    }
    assert_eq!(counted(&world).await, 0);
    assert_eq!(bodies(&world, "token-1").await, ["same", "same", "same"]);
}

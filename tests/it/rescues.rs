//! What an open app missed when its link timed out is pushed after all.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, CERTIFICATE, World, id, merged, plain, until};

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_time_out_rescues_what_the_open_app_missed_without_duplicates(pool: PgPool) {
    let world = World::start(pool).await;
    world.settings(json!({"rescue_window_s": 600})).await;
    world.login("alice", "phone", "token-1").await;
    let missed = world.message("alice", json!({"body": "missed", "conversation_id": "room"}));
    let seen = world.message("alice", json!({"body": "seen"}));
    let notification = id(&world.post_notification(&missed).await.ok());
    world.post_notification(&seen).await.ok();
    let unacked = json!({"link": "timeout", "unacked": [{"message_id": missed["message_id"]}]});
    let timeout = merged(world.event("disconnect", "alice", "phone"), unacked);
    // Told twice, also at once on two connections: one push.
    let told = json!([timeout]);
    let (first, second) = futures_util::join!(world.events(&told), world.events(&told));
    assert_eq!((first, second), (vec!["applied".to_owned()], vec!["applied".to_owned()]));
    until("the rescued push", || async { (world.vendor.inbox("token-1").len() == 1).then_some(()) }).await;
    world.events(&told).await;
    world.sweep().await;
    let inbox = world.vendor.inbox("token-1");
    assert_eq!((inbox.len(), inbox[0].body.as_str()), (1, "missed"));
    assert_eq!(world.outcomes(&notification).await, json!({"accepted": 1}));
    assert_eq!(world.reasons(&notification, "rescued").await, ["link_timeout"]);
    // What was posted before the window is left alone, and so is what a phone got.
    world.report("foreground", "alice", "phone").await;
    let old = world.message("alice", json!({"body": "old"}));
    world.post_notification(&old).await.ok();
    world.advance(TimeDelta::seconds(601));
    let unacked = json!({"link": "timeout", "unacked": [
        {"message_id": old["message_id"]}, {"message_id": missed["message_id"]}, {"message_id": "unheard-of"}]});
    let timeout = merged(world.event("disconnect", "alice", "phone"), unacked);
    assert_eq!(world.events(&json!([timeout])).await, ["applied"]);
    world.sweep().await;
    assert_eq!(world.vendor.inbox("token-1").len(), 1);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_server_that_died_with_many_links_rescues_each_message_once_on_each_phone(pool: PgPool) {
    let world = World::start(pool).await;
    world.settings(json!({"rescue_window_s": 600})).await;
    let users: Vec<String> = (0..40).map(|number| format!("user-{number:02}")).collect();
    for user in &users {
        world.login(user, &format!("phone-{user}"), &format!("token-{user}")).await;
    }
    let to: Vec<Value> = users.iter().map(|user| json!({"user_id": user})).collect();
    let group = world.message("", json!({"to": to, "body": "to all"}));
    let notification = id(&world.post_notification(&group).await.ok());
    let mut own = Vec::new();
    for user in &users {
        let message = world.message(user, json!({"body": "to one"}));
        world.post_notification(&message).await.ok();
        own.push(message);
    }
    // Half of them in each of two calls at once, and each event twice.
    let told: Vec<Value> = users
        .iter()
        .zip(&own)
        .flat_map(|(user, own)| {
            let timeout = world.timed_out(user, &format!("phone-{user}"), &[&group, own, own]);
            [timeout.clone(), timeout]
        })
        .collect();
    let (first, second) = (json!(told[..40]), json!(told[40..]));
    let (first, second) = futures_util::join!(world.events(&first), world.events(&second));
    assert!(first.iter().chain(&second).all(|result| result == "applied"));
    world.events(&json!(told)).await;
    assert_eq!(world.outcomes(&notification).await, json!({"accepted": 40}));
    for user in &users {
        let inbox = world.vendor.inbox(&format!("token-{user}"));
        let mut bodies: Vec<&str> = inbox.iter().map(|message| message.body.as_str()).collect();
        bodies.sort_unstable();
        assert_eq!(bodies, ["to all", "to one"], "{user}");
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn beside_tokens_that_change_places_a_message_is_rescued_where_the_device_stands_at_the_end(pool: PgPool) {
    let world = World::start(pool).await;
    world.settings(json!({"rescue_window_s": 600})).await;
    for (user, token) in [("alice", "token-1"), ("bob", "token-2"), ("carol", "token-3"), ("dave", "token-4")] {
        world.login(user, &format!("phone-{user}"), token).await;
    }
    let mut told = Vec::new();
    for user in ["carol", "dave"] {
        let message = world.message(user, plain());
        world.post_notification(&message).await.ok();
        told.push(world.timed_out(user, &format!("phone-{user}"), &[&message]));
    }
    let both = |status: &str| (status.to_owned(), status.to_owned());
    let report = |user: &str, token: &str| {
        let token = json!({"certificate_id": CERTIFICATE, "token": token});
        merged(world.event("token_report", user, &format!("phone-{user}")), token)
    };
    // Each takes the other's, so that the changes are written one by one; and one phone is open again at once.
    told.extend([report("alice", "token-2"), report("bob", "token-1")]);
    told.push(world.event("foreground", "dave", "phone-dave"));
    let results = world.events(&json!(told)).await;
    assert!(results.iter().all(|result| result == "applied"), "{results:?}");
    assert_eq!((world.binding("alice", "phone-alice").await, world.binding("bob", "phone-bob").await), both("active"));
    let pushed = |token: &str| world.vendor.inbox(token).len();
    until("what carol missed", || async { (pushed("token-3") == 1).then_some(()) }).await;
    world.sweep().await;
    assert_eq!((pushed("token-3"), pushed("token-4")), (1, 0));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_rescued_message_does_not_replace_a_newer_one_of_its_conversation(pool: PgPool) {
    let world = World::start(pool).await;
    world.settings(json!({"rescue_window_s": 600})).await;
    world.login("alice", "phone", "token-1").await;
    let room = |body: &str| world.message("alice", json!({"body": body, "conversation_id": "room"}));
    let forced = |body: &str| merged(room(body), json!({"force": true}));
    // Both were missed: the newer one alone is pushed.
    let (first, second) = (room("first"), room("second"));
    let first_id = id(&world.post_notification(&first).await.ok());
    let second_id = id(&world.post_notification(&second).await.ok());
    let other = world.message("alice", json!({"body": "other", "conversation_id": "elsewhere"}));
    world.post_notification(&other).await.ok();
    world.events(&json!([world.timed_out("alice", "phone", &[&second, &first, &other])])).await;
    assert_eq!(world.outcomes(&second_id).await, json!({"accepted": 1}));
    assert_eq!(world.reasons(&first_id, "cancelled").await, ["superseded_by_newer"]);
    let bodies = || world.vendor.inbox("token-1").iter().map(|message| message.body.clone()).collect::<Vec<_>>();
    until("both conversations", || async { (bodies().len() == 2).then_some(()) }).await;
    // A newer one was pushed before the older one is told of.
    world.report("foreground", "alice", "phone").await;
    let older = room("older");
    let older_id = id(&world.post_notification(&older).await.ok());
    let newer_id = id(&world.post_notification(&forced("newer")).await.ok());
    assert_eq!(world.outcomes(&newer_id).await, json!({"accepted": 1}));
    world.events(&json!([world.timed_out("alice", "phone", &[&older])])).await;
    assert_eq!(world.reasons(&older_id, "cancelled").await, ["superseded_by_newer"]);
    // An older one waits, and the newer is rescued.
    world.report("foreground", "alice", "phone").await;
    world.certificate_verb("pause").await;
    let waiting_id = id(&world.post_notification(&forced("waiting")).await.ok());
    let missed = room("missed");
    let missed_id = id(&world.post_notification(&missed).await.ok());
    world.events(&json!([world.timed_out("alice", "phone", &[&missed])])).await;
    assert_eq!(world.reasons(&waiting_id, "cancelled").await, ["superseded_by_newer"]);
    world.certificate_verb("resume").await;
    assert_eq!(world.outcomes(&missed_id).await, json!({"accepted": 1}));
    let bodies = bodies();
    assert_eq!((bodies.len(), &bodies[2..]), (4, &["newer".to_owned(), "missed".to_owned()][..]));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_was_read_elsewhere_is_not_rescued(pool: PgPool) {
    let world = World::start(pool).await;
    world.settings(json!({"rescue_window_s": 600})).await;
    world.login("alice", "phone", "token-1").await;
    world.online_web("alice").await;
    let message = world.message("alice", json!({"conversation_id": "room"}));
    let notification = id(&world.post_notification(&message).await.ok());
    world.advance(TimeDelta::seconds(1));
    let read = merged(world.event_on("web", "read", "alice", "web"), json!({"conversation_id": "room"}));
    let timeout = world.timed_out("alice", "phone", &[&message]);
    assert_eq!(world.events(&json!([read, timeout])).await, ["applied", "applied"]);
    world.sweep().await;
    assert_eq!(world.reasons(&notification, "cancelled").await, ["conversation_read"]);
    assert_eq!(world.vendor.inbox("token-1").len(), 0);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_call_names_no_more_unconfirmed_messages_than_a_transaction_can_bear(pool: PgPool) {
    let world = World::start(pool).await;
    world.login("alice", "phone", "token-1").await;
    let keys: Vec<Value> = (0..100).map(|number| json!({"message_id": format!("m-{number}")})).collect();
    let timeout = merged(world.event("disconnect", "alice", "phone"), json!({"link": "timeout", "unacked": keys}));
    let path = format!("/v1/apps/{APP}/session-events");
    let mut events = vec![timeout.clone(); 10];
    events.push(merged(timeout.clone(), json!({"unacked": [{"message_id": "one-more"}]})));
    let answer = world.post(&path, &json!({"events": events})).await;
    assert_eq!(answer.problem(400, "invalid-body"), "events[10].unacked");
    assert_eq!(world.device("alice", "phone").await["session_state"], "foreground", "nothing was applied");
    events.pop();
    world.post(&path, &json!({"events": events})).await.ok();
    assert_eq!(world.device("alice", "phone").await["session_state"], "killed");
}

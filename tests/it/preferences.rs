//! What users wish for themselves is heard.

use chrono::{TimeDelta, Timelike};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, World, id, merged, plain};

fn of(user: &str) -> String {
    format!("/v1/apps/{APP}/users/{user}/preferences")
}

fn conversation(user: &str, conversation: &str) -> String {
    format!("/v1/apps/{APP}/users/{user}/conversations/{conversation}")
}

/// A window that began an hour ago and ends in an hour, in UTC.
fn around_now(world: &World) -> Value {
    let now = world.server().clock().now();
    let hour = |at: chrono::DateTime<chrono::Utc>| format!("{:02}:{:02}", at.hour(), at.minute());
    json!({"start": hour(now - TimeDelta::hours(1)), "end": hour(now + TimeDelta::hours(1))})
}

async fn skips(world: &World, fields: Value) -> Value {
    let accepted = world.notify("alice", fields).await;
    world.idle().await;
    accepted["skipped"].clone()
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn nobody_is_disturbed_within_the_window_and_everybody_outside(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let window = around_now(&world);
    world.put(&of("alice"), &json!({"do_not_disturb": [window]})).await.ok();
    assert_eq!(skips(&world, plain()).await, json!([{"user_id": "alice", "reason": "do_not_disturb"}]));
    assert_eq!(skips(&world, json!({"force": true})).await, json!([]), "forced");
    // Half an hour of the world away it is another time of day.
    world.put(&of("alice"), &json!({"do_not_disturb": [window], "time_zone": "Asia/Shanghai"})).await.ok();
    assert_eq!(skips(&world, plain()).await, json!([]));
    let until = world.server().clock().now() + TimeDelta::minutes(5);
    world.put(&of("alice"), &json!({"do_not_disturb_until": until})).await.ok();
    assert_eq!(skips(&world, plain()).await[0]["reason"], "do_not_disturb");
    world.advance(TimeDelta::minutes(6));
    assert_eq!(skips(&world, plain()).await, json!([]));
    assert_eq!(world.vendor.inbox("token-1").len(), 3);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_waits_is_not_sent_into_a_quiet_window(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.certificate_verb("pause").await;
    let notification = world.sent("alice", plain()).await;
    world.put(&of("alice"), &json!({"do_not_disturb": [around_now(&world)]})).await.ok();
    world.certificate_verb("resume").await;
    assert_eq!(world.outcome(&notification).await, "cancelled");
    assert_eq!(world.reasons(&notification, "cancelled").await, ["do_not_disturb"]);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_muted_conversation_is_silent_but_for_mentions_where_wished(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let room = json!({"conversation_id": "room"});
    let mention = json!({"conversation_id": "room", "mentions": ["alice"]});
    let muted = json!([{"user_id": "alice", "reason": "conversation_muted"}]);
    for (notify, plainly, mentioned) in
        [("all", json!([]), json!([])), ("mentions", muted.clone(), json!([])), ("none", muted.clone(), muted.clone())]
    {
        world.put(&conversation("alice", "room"), &json!({"notify": notify})).await.ok();
        assert_eq!(skips(&world, room.clone()).await, plainly, "{notify}");
        assert_eq!(skips(&world, mention.clone()).await, mentioned, "{notify}");
    }
    assert_eq!(skips(&world, json!({"conversation_id": "other"})).await, json!([]));
    assert_eq!(skips(&world, plain()).await, json!([]), "a message of no conversation");
    // Her default for all conversations; one of them set back.
    world.put(&of("alice"), &json!({"notify": "none"})).await.ok();
    assert_eq!(skips(&world, json!({"conversation_id": "other"})).await, muted);
    world.put(&conversation("alice", "other"), &json!({"notify": "all"})).await.ok();
    assert_eq!(skips(&world, json!({"conversation_id": "other"})).await, json!([]));
    // For some time only.
    let until = world.server().clock().now() + TimeDelta::minutes(5);
    world.delete(&of("alice")).await;
    world.put(&conversation("alice", "room"), &json!({"notify": "none", "until": until})).await.ok();
    assert_eq!(skips(&world, room.clone()).await, muted);
    world.advance(TimeDelta::minutes(6));
    assert_eq!(skips(&world, room).await, json!([]));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_blocked_sender_and_the_users_own_messages_are_not_pushed(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.killed_phone("alice", "tablet", "token-2").await;
    world.put(&of("alice"), &json!({"blocked_senders": ["bob"]})).await.ok();
    let skipped = skips(&world, json!({"sender_id": "bob", "force": true})).await;
    assert_eq!(skipped, json!([{"user_id": "alice", "reason": "blocked_sender"}]));
    assert_eq!(skips(&world, json!({"sender_id": "carol"})).await, json!([]));
    let own = json!({"sender_id": "alice", "sender_device_id": "phone"});
    let reasons: Vec<Value> =
        skips(&world, own.clone()).await.as_array().unwrap().iter().map(|skip| skip["reason"].clone()).collect();
    assert_eq!(reasons, ["sender_device", "own_message"]);
    let synced = skips(&world, merged(own, json!({"sync": true}))).await;
    assert_eq!(synced, json!([{"user_id": "alice", "device_id": "phone", "reason": "sender_device"}]));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn hidden_contents_do_not_reach_the_vendor_and_others_get_theirs(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.killed_phone("bob", "phone-b", "token-2").await;
    world.put(&of("alice"), &json!({"hide_content": true})).await.ok();
    let both = json!({"to": [{"user_id": "alice"}, {"user_id": "bob"}], "title": "Carol", "body": "secret"});
    let notification = id(&world.notify("", both.clone()).await);
    assert_eq!(world.outcomes(&notification).await, json!({"accepted": 2}));
    let shown = |token: &str| {
        let message = world.vendor.inbox(token).pop().unwrap();
        (message.title.clone(), message.body.clone())
    };
    let hidden = ("a new message".to_owned(), "You have a new message".to_owned());
    assert_eq!(shown("token-1"), hidden);
    assert_eq!(shown("token-2"), ("Carol".to_owned(), "secret".to_owned()));
    // Also when it waited in the database.
    world.certificate_verb("pause").await;
    let notification = id(&world.notify("", both).await);
    world.certificate_verb("resume").await;
    assert_eq!(world.outcomes(&notification).await, json!({"accepted": 2}));
    assert_eq!((world.vendor.inbox("token-1").len(), shown("token-1")), (2, hidden));
    assert_eq!(shown("token-2").1, "secret");
    // Also when the wish came while it waited, and another device gets the same message.
    world.certificate_verb("pause").await;
    let both = json!({"to": [{"user_id": "alice"}, {"user_id": "bob"}], "title": "Carol", "body": "secret too"});
    let notification = id(&world.notify("", both).await);
    world.put(&of("alice"), &json!({})).await.ok();
    world.put(&of("bob"), &json!({"hide_content": true})).await.ok();
    let alone = world.sent("bob", json!({"title": "Carol", "body": "secret again"})).await;
    world.certificate_verb("resume").await;
    assert_eq!(world.outcomes(&notification).await, json!({"accepted": 2}));
    assert_eq!(world.outcomes(&alone).await, json!({"accepted": 1}));
    let secrets = world.vendor.inbox("token-2").iter().filter(|message| message.body.contains("secret")).count();
    assert_eq!((secrets, world.vendor.inbox("token-2").len()), (2, 4), "what came before the wish");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn contents_are_hidden_also_of_what_waited_when_the_user_said_so(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.killed_phone("bob", "phone-b", "token-2").await;
    world.certificate_verb("pause").await;
    let both = json!({"to": [{"user_id": "alice"}, {"user_id": "bob"}], "title": "Carol", "body": "secret"});
    let notification = id(&world.notify("", both).await);
    world.put(&of("alice"), &json!({"hide_content": true})).await.ok();
    world.certificate_verb("resume").await;
    assert_eq!(world.outcomes(&notification).await, json!({"accepted": 2}));
    let shown = |token: &str| world.vendor.inbox(token).iter().map(|push| push.body.clone()).collect::<Vec<_>>();
    assert_eq!((shown("token-1"), shown("token-2")), (vec!["You have a new message".into()], vec!["secret".into()]));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn blocked_senders_that_are_too_long_to_be_stored_are_refused_by_name(pool: PgPool) {
    let world = World::start(pool).await;
    // As many and as long as may be, and each character six times as long in JSON.
    let sender = |number: u32, filler: &str| format!("{number:03}{}", filler.repeat(125));
    let senders = |filler: &str| json!({"blocked_senders": (0..500).map(|n| sender(n, filler)).collect::<Vec<_>>()});
    world.put(&of("alice"), &json!({"notify": "none"})).await.ok();
    let answer = world.put(&of("alice"), &senders("\u{1}")).await;
    assert_eq!(answer.problem(400, "invalid-body"), "blocked_senders");
    let kept = world.get(&of("alice")).await.ok();
    assert_eq!(kept["preferences"]["notify"], "none", "nothing was changed");
    world.put(&of("alice"), &senders("x")).await.ok();
    // Escaped, but short enough.
    world.put(&of("alice"), &senders("\"")).await.ok();
    let kept = world.get(&of("alice")).await.ok();
    assert_eq!(kept["preferences"]["blocked_senders"].as_array().unwrap().len(), 500);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn preferences_are_shown_replaced_and_forgotten(pool: PgPool) {
    let world = World::start(pool).await;
    let shown = world.get(&of("alice")).await.ok();
    assert_eq!((&shown["preferences"]["time_zone"], &shown["updated_at"]), (&json!("UTC"), &Value::Null));
    let wrong = [
        (json!({"time_zone": "Asia/Peking"}), "time_zone"),
        (json!({"do_not_disturb": [{"start": "25:00", "end": "07:00"}]}), "do_not_disturb[0].start"),
        (json!({"do_not_disturb": [{"start": "22:00", "end": "07:00", "days": []}]}), "do_not_disturb[0].days"),
        (json!({"notify": "some"}), "notify"),
        (json!({"quiet": true}), "quiet"),
    ];
    for (body, field) in wrong {
        assert_eq!(world.put(&of("alice"), &body).await.problem(400, "invalid-body"), field, "{body}");
    }
    world.put(&of("alice"), &json!({"hide_content": true})).await.ok();
    world.put(&of("alice"), &json!({"notify": "mentions"})).await.ok();
    let shown = world.get(&of("alice")).await.ok();
    assert_eq!(shown["preferences"]["hide_content"], false, "replaced, not merged");
    for name in ["a", "b", "c"] {
        world.put(&conversation("alice", name), &json!({"notify": "none"})).await.ok();
    }
    let list = format!("/v1/apps/{APP}/users/alice/conversations?limit=2");
    let page = world.get(&list).await.ok();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let rest = world.get(&format!("{list}&cursor={}", page["next"].as_str().unwrap())).await.ok();
    assert_eq!((&rest["items"][0]["conversation_id"], &rest["next"]), (&json!("c"), &Value::Null));
    assert_eq!(world.delete(&conversation("alice", "a")).await.status.as_u16(), 204);
    world.delete(&conversation("alice", "a")).await.problem(404, "not-found");
    assert_eq!(world.delete(&of("alice")).await.status.as_u16(), 204);
    world.delete(&of("alice")).await.problem(404, "not-found");
}

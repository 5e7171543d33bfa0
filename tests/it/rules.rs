//! The rules that users rely on.

use std::time::Duration;

use chrono::TimeDelta;
use reqwest::StatusCode;
use rouse::simulator::{Fault, Misbehaviour};
use serde_json::json;
use sqlx::PgPool;

use crate::world::{APP, CERTIFICATE, World, id, merged, plain, until};

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_killed_phone_gets_the_push(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let accepted = world.notify("alice", json!({"body": "dinner?", "data": {"ext": "room 7"}, "ttl_s": 3_600})).await;
    assert_eq!((&accepted["deliveries"], &accepted["skipped"]), (&json!(1), &json!([])));
    assert_eq!(world.outcome(&id(&accepted)).await, "accepted");
    let inbox = world.vendor.inbox("token-1");
    assert_eq!(inbox.len(), 1);
    assert_eq!((inbox[0].title.as_str(), inbox[0].body.as_str()), ("a new message", "dinner?"));
    assert_eq!(inbox[0].app, "com.example.chat");
    assert_eq!(inbox[0].payload.as_deref(), Some("room 7"));
    assert!(inbox[0].notify_id.as_deref().is_some_and(|id| id.parse::<i32>().is_ok_and(|id| id > 0)));
    assert!(!inbox[0].data_only);
    let ttl_ms = inbox[0].ttl_ms.unwrap();
    assert!((3_590_000..=3_600_000).contains(&ttl_ms), "what is left of the time to live: {ttl_ms}");
    let attempt = &world.told(&id(&accepted), "attempt").await[0];
    assert!(world.vendor.has_message_id(attempt["vendor_message_id"].as_str().unwrap()));
    assert_eq!((&attempt["final"], &attempt["attempt"]), (&json!(true), &json!(1)));
    assert_eq!(world.calls(), 1, "a final outcome is never retried");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_title_the_channel_and_the_collapse_id_reach_the_phone(pool: PgPool) {
    let world = World::start(pool).await;
    world.vendor.add_channel(channel("im"));
    let path = format!("/v1/apps/{APP}/certificates/{CERTIFICATE}");
    world.patch(&path, &json!({"defaults": {"channel_id": "im"}})).await.ok();
    world.killed_phone("alice", "phone", "token-1").await;
    for body in ["one", "two"] {
        let fields = json!({"title": "Bob", "body": body, "collapse_id": "room-7"});
        let notification = world.sent("alice", fields).await;
        assert_eq!(world.outcome(&notification).await, "accepted");
    }
    let inbox = world.vendor.inbox("token-1");
    assert_eq!(inbox[0].title, "Bob");
    assert_eq!(inbox[0].channel.as_deref(), Some("im"));
    let shown = world.vendor.shown("token-1");
    assert_eq!((shown.len(), shown[0].body.as_str()), (1, "two"), "the newer one replaces the older");
}

fn channel(name: &str) -> rouse::simulator::XiaomiChannel {
    rouse::simulator::XiaomiChannel {
        package: crate::world::PACKAGE.to_owned(),
        id: name.to_owned(),
        class: rouse::simulator::ChannelClass::Private,
        daily_quota: None,
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_phone_that_is_logged_out_online_or_kicked_gets_none(pool: PgPool) {
    let world = World::start(pool).await;
    for (event, reason) in
        [("logout", "logged_out"), ("kicked", "kicked"), ("foreground", "foreground"), ("background", "background")]
    {
        let token = format!("token-{event}");
        world.killed_phone("alice", "phone", &token).await;
        world.report(event, "alice", "phone").await;
        let accepted = world.notify("alice", plain()).await;
        assert_eq!(accepted["deliveries"], 0, "{event}");
        let skipped = json!([{"user_id": "alice", "device_id": "phone", "reason": reason}]);
        assert_eq!(accepted["skipped"], skipped, "{event}");
        world.sweep().await;
        let trace = world.trace("alice").await;
        assert_eq!(trace["events"][0]["reason"], reason);
        assert_eq!(trace["events"][0]["kind"], "skipped");
    }
    assert_eq!(world.calls(), 0);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_kick_with_device_ids_hits_those_devices_and_spares_the_one_that_stays(pool: PgPool) {
    let world = World::start(pool).await;
    for device in ["old", "older", "new"] {
        world.killed_phone("alice", device, &format!("token-{device}")).await;
    }
    let kick = merged(world.event("kicked", "alice", "new"), json!({"device_ids": ["old", "older"]}));
    assert_eq!(world.events(&json!([kick])).await, ["applied"]);
    let accepted = world.notify("alice", plain()).await;
    assert_eq!(accepted["deliveries"], 1);
    world.idle().await;
    assert_eq!(world.vendor.inbox("token-new").len(), 1);
    assert_eq!(world.vendor.received_total(), 1);
    assert_eq!(world.device("alice", "old").await["session_state"], "kicked");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn after_an_account_switch_the_phone_serves_the_new_user_only(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.killed_phone("bob", "phone", "token-1").await;
    let to_alice = world.notify("alice", plain()).await;
    let to_bob = world.notify("bob", json!({"body": "for bob"})).await;
    assert_eq!((&to_alice["deliveries"], &to_bob["deliveries"]), (&json!(0), &json!(1)));
    assert_eq!(to_alice["skipped"][0]["reason"], "logged_out");
    world.idle().await;
    let inbox = world.vendor.inbox("token-1");
    assert_eq!((inbox.len(), inbox[0].body.as_str()), (1, "for bob"));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_token_that_moved_to_another_device_is_never_used_for_the_first(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.killed_phone("bob", "other-phone", "token-1").await;
    assert_eq!(world.binding("alice", "phone").await, "superseded");
    assert_eq!(world.notify("alice", plain()).await["deliveries"], 0);
    assert_eq!(world.notify("bob", plain()).await["deliveries"], 1);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn an_account_switch_cancels_what_waits_for_the_user_before(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.certificate_verb("pause").await;
    let notification = world.sent("alice", plain()).await;
    world.killed_phone("bob", "phone", "token-1").await;
    world.certificate_verb("resume").await;
    assert_eq!(world.outcome(&notification).await, "cancelled");
    assert_eq!(world.vendor.received_total(), 0);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn after_a_reinstall_one_push_goes_to_the_new_token(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.killed_phone("alice", "phone", "token-2").await;
    let notification = world.sent("alice", plain()).await;
    assert_eq!(world.outcomes(&notification).await, json!({"accepted": 1}));
    assert_eq!((world.vendor.inbox("token-1").len(), world.vendor.inbox("token-2").len()), (0, 1));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_waits_goes_to_the_token_that_was_reported_meanwhile(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.certificate_verb("pause").await;
    let notification = world.sent("alice", plain()).await;
    assert_eq!(world.bind("alice", "phone", "token-2").await.status, StatusCode::OK);
    world.certificate_verb("resume").await;
    assert_eq!(world.outcome(&notification).await, "accepted");
    assert_eq!((world.vendor.inbox("token-1").len(), world.vendor.inbox("token-2").len()), (0, 1));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_late_older_logout_is_ignored(pool: PgPool) {
    let world = World::start(pool).await;
    let late = world.event("logout", "alice", "phone")["event_time"].as_i64().unwrap() - 10_000;
    world.killed_phone("alice", "phone", "token-1").await;
    let logout = merged(world.event("logout", "alice", "phone"), json!({"event_time": late}));
    assert_eq!(world.events(&json!([logout])).await, ["stale"]);
    assert_eq!(world.notify("alice", plain()).await["deliveries"], 1);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_login_sequence_beats_the_event_time(pool: PgPool) {
    let world = World::start(pool).await;
    let login = json!({"certificate_id": CERTIFICATE, "token": "token-1", "login_seq": 2});
    let login = merged(world.event("login", "alice", "phone"), login);
    let logout = merged(world.event("logout", "alice", "phone"), json!({"login_seq": 1}));
    let killed = merged(world.event("disconnect", "alice", "phone"), json!({"login_seq": 2}));
    assert_eq!(world.events(&json!([login, logout, killed])).await, ["applied", "stale", "applied"]);
    assert_eq!(world.notify("alice", plain()).await["deliveries"], 1);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn foreground_logout_and_kick_cancel_what_waits(pool: PgPool) {
    let world = World::start(pool).await;
    for (event, reason) in
        [("foreground", "foreground"), ("logout", "logged_out"), ("kicked", "kicked"), ("login", "foreground")]
    {
        world.killed_phone("alice", "phone", &format!("token-{event}")).await;
        world.certificate_verb("pause").await;
        let notification = world.sent("alice", plain()).await;
        let waiting = world.story(&notification).await;
        assert_eq!(waiting["waiting"][0]["in_memory"], false, "{event}");
        world.report(event, "alice", "phone").await;
        let told = world.told(&notification, "cancelled").await;
        assert_eq!((told.len(), &told[0]["reason"], &told[0]["final"]), (1, &json!(reason), &json!(true)), "{event}");
        world.certificate_verb("resume").await;
        assert_eq!(world.outcomes(&notification).await, json!({"cancelled": 1}), "{event}");
    }
    assert_eq!(world.vendor.received_total(), 0);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn no_call_starts_for_a_device_whose_logout_was_acknowledged(pool: PgPool) {
    let world = World::with(pool, &[("DISPATCH__CALLS_IN_FLIGHT", "1")]).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.killed_phone("bob", "phone-b", "token-2").await;
    // The one call in flight holds the lane up, so that alice's delivery is in memory, judged a moment ago.
    world.vendor.fault(Fault::once(Misbehaviour::Hang(Some(Duration::from_millis(300)))).for_token("token-2"));
    let first = world.sent("bob", plain()).await;
    let second = world.sent("alice", plain()).await;
    world.report("logout", "alice", "phone").await;
    assert_eq!(world.outcome(&first).await, "accepted");
    assert_eq!(world.outcomes(&second).await, json!({"cancelled": 1}));
    assert_eq!(world.reasons(&second, "cancelled").await, ["logged_out"]);
    assert_eq!(world.vendor.inbox("token-1").len(), 0);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_waited_is_judged_again_by_what_other_instances_wrote(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    // Devices and changes that this instance heard nothing of.
    for (user, change, outcome) in [
        ("bob", "UPDATE devices SET session_state = 'logged_out' WHERE user_id = $1", "cancelled"),
        ("carol", "UPDATE devices SET binding_status = 'superseded' WHERE user_id = $1", "cancelled"),
        ("dave", "DELETE FROM devices WHERE user_id = $1", "cancelled"),
        ("erin", "UPDATE devices SET token = 'token-new' WHERE user_id = $1", "accepted"),
    ] {
        sqlx::query(
            "INSERT INTO devices SELECT app_id, $1, $1, platform, session_state, event_time, login_seq, unread, certificate_id,
                 vendor, 'token-' || $1, decode(md5($1), 'hex'), reported_at, binding_status
             FROM devices WHERE user_id = 'alice'",
        )
        .bind(user)
        .execute(&world.pool)
        .await
        .unwrap();
        world.certificate_verb("pause").await;
        let notification = world.sent(user, plain()).await;
        sqlx::query(change).bind(user).execute(&world.pool).await.unwrap();
        world.certificate_verb("resume").await;
        assert_eq!(world.outcome(&notification).await, outcome, "{user}");
        assert_eq!(world.vendor.inbox(&format!("token-{user}")).len(), 0, "{user}");
    }
    assert_eq!(world.vendor.inbox("token-new").len(), 1);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_token_reported_before_the_login_is_pending_until_it(pool: PgPool) {
    let world = World::start(pool).await;
    let answer = world.bind("alice", "phone", "token-1").await;
    assert_eq!((answer.status, &answer.body["pending"]), (StatusCode::ACCEPTED, &json!(true)));
    let accepted = world.notify("alice", plain()).await;
    assert_eq!(accepted["skipped"][0]["reason"], "binding_pending");
    world.report("login", "alice", "phone").await;
    assert_eq!(world.binding("alice", "phone").await, "active");
    world.kill("alice", "phone").await;
    let notification = world.sent("alice", plain()).await;
    assert_eq!(world.outcome(&notification).await, "accepted");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_pending_token_is_forgotten_when_the_login_comes_too_late(pool: PgPool) {
    let world = World::start(pool).await;
    world.bind("alice", "phone", "token-1").await.ok();
    world.advance(TimeDelta::minutes(11));
    world.report("login", "alice", "phone").await;
    world.kill("alice", "phone").await;
    assert_eq!(world.notify("alice", plain()).await["skipped"][0]["reason"], "no_token");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn nothing_is_sent_after_its_time_to_live(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.certificate_verb("pause").await;
    let notification = world.sent("alice", json!({"ttl_s": 60})).await;
    world.advance(TimeDelta::seconds(61));
    world.certificate_verb("resume").await;
    assert_eq!(world.outcomes(&notification).await, json!({"expired": 1}));
    assert_eq!(world.reasons(&notification, "expired").await, ["time_to_live"]);
    assert_eq!(world.calls(), 0);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_time_to_live_of_zero_means_one_attempt(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.vendor.fault(Misbehaviour::Status { status: 503, body: String::new(), retry_after: None });
    let notification = world.sent("alice", json!({"ttl_s": 0})).await;
    assert_eq!(world.outcomes(&notification).await, json!({"vendor_fault": 1}));
    assert_eq!(world.calls(), 1);
    world.vendor.clear_faults();
    let notification = world.sent("alice", json!({"ttl_s": 0})).await;
    assert_eq!(world.outcome(&notification).await, "accepted");
    assert_eq!(world.vendor.calls().last().unwrap().field("extra.only_send_once"), Some("1"));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_dead_token_is_unbound(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.vendor.kill_token("token-1");
    let notification = world.sent("alice", plain()).await;
    assert_eq!(world.outcome(&notification).await, "token_gone");
    assert_eq!(world.binding("alice", "phone").await, "invalid");
    assert_eq!(world.notify("alice", plain()).await["skipped"][0]["reason"], "binding_invalid");
    assert_eq!(world.calls(), 1);
    world.vendor.revive_token("token-1");
    world.bind("alice", "phone", "token-1").await.ok();
    let notification = world.sent("alice", plain()).await;
    assert_eq!(world.outcome(&notification).await, "accepted", "a new report makes it good again");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_dead_answer_leaves_a_token_that_was_reported_meanwhile(pool: PgPool) {
    let world = World::start(pool).await;
    // Within an hour a report of the same token writes nothing; it counts all the same.
    for (token, age_minutes) in [("token-1", 120), ("token-1", 2), ("token-2", 2)] {
        world.killed_phone("alice", "phone", "token-1").await;
        sqlx::query("UPDATE devices SET reported_at = now() - make_interval(mins => $1)")
            .bind(age_minutes)
            .execute(&world.pool)
            .await
            .unwrap();
        world.vendor.kill_token("token-1");
        let answers_late = Misbehaviour::Hang(Some(Duration::from_millis(300)));
        world.vendor.fault(Fault::once(answers_late).after_accepting());
        let calls = world.calls();
        let notification = world.sent("alice", plain()).await;
        until("the call", || async { (world.calls() > calls).then_some(()) }).await;
        world.bind("alice", "phone", token).await.ok();
        assert_eq!(world.outcome(&notification).await, "token_gone");
        assert_eq!(world.binding("alice", "phone").await, "active", "{token} {age_minutes}");
        world.vendor.revive_token("token-1");
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_burst_of_dead_tokens_unbinds_nobody(pool: PgPool) {
    let world = World::start(pool).await;
    let users = world.killed_phones("user-", 25).await;
    for user in &users {
        world.vendor.kill_token(&format!("token-{user}"));
    }
    let to: Vec<_> = users.iter().map(|user| json!({"user_id": user})).collect();
    let notification = world.sent("", json!({"to": to})).await;
    assert_eq!(world.outcomes(&notification).await, json!({"token_gone": 25}));
    let active: i64 = sqlx::query_scalar("SELECT count(*) FROM devices WHERE binding_status = 'active'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(active, 25);
    assert_eq!(world.shown_certificate().await["lane"]["prune_breaker_open"], true);
    assert_eq!(world.told(&notification, "attempt").await[0]["detail"]["unbind"], "withheld by the prune breaker");
    world.certificate_verb("resume").await;
    assert_eq!(world.shown_certificate().await["lane"]["prune_breaker_open"], false);
    let notification = world.sent("user-0", plain()).await;
    assert_eq!(world.outcome(&notification).await, "token_gone");
    assert_eq!(world.binding("user-0", "phone-user-0").await, "invalid", "a single dead token is unbound again");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_user_without_a_device_is_no_error(pool: PgPool) {
    let world = World::start(pool).await;
    let accepted = world.notify("nobody", plain()).await;
    assert_eq!(accepted["deliveries"], 0);
    assert_eq!(accepted["skipped"], json!([{"user_id": "nobody", "reason": "no_device"}]));
    let trace = world.trace("nobody").await;
    assert_eq!((&trace["events"][0]["kind"], &trace["events"][0]["reason"]), (&json!("skipped"), &json!("no_device")));
}

//! The cases of the session model, each by its name.

use chrono::TimeDelta;
use reqwest::StatusCode;
use rouse::sessions;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, CERTIFICATE, World, merged, plain};

impl World {
    /// Changes some of the app's settings.
    pub(crate) async fn settings(&self, settings: Value) {
        self.patch(&format!("/v1/apps/{APP}"), &json!({"settings": settings})).await.ok();
    }

    /// Sees to it that what lapsed is written down.
    async fn walk(&self) {
        self.walk_by(1_000).await;
    }

    /// The same in steps of so many devices.
    async fn walk_by(&self, devices: i64) {
        let server = self.server();
        let (database, directory) = (server.database(), server.directory());
        sessions::walk::once(database, directory, server.dispatcher(), server.clock(), devices).await.unwrap();
    }

    /// The reason a notification to this user names first; "pushed" if there is a delivery.
    async fn reason(&self, user: &str) -> String {
        let accepted = self.notify(user, plain()).await;
        self.idle().await;
        if accepted["deliveries"] != 0 {
            return "pushed".to_owned();
        }
        accepted["skipped"][0]["reason"].as_str().unwrap().to_owned()
    }

    /// The reason for one device of the user; "pushed" if there is none.
    async fn reason_for(&self, user: &str, device: &str) -> String {
        let accepted = self.notify(user, plain()).await;
        self.idle().await;
        let skipped = accepted["skipped"].as_array().unwrap();
        let of_device = skipped.iter().find(|skip| skip["device_id"] == device || skip["device_id"].is_null());
        of_device.map_or("pushed", |skip| skip["reason"].as_str().unwrap()).to_owned()
    }

    /// The stored state, whatever time has done to it since.
    async fn stored(&self, user: &str, device: &str) -> (String, Option<String>) {
        sqlx::query_as("SELECT session_state, binding_status FROM devices WHERE user_id = $1 AND device_id = $2")
            .bind(user)
            .bind(device)
            .fetch_optional(&self.pool)
            .await
            .unwrap()
            .unwrap_or_else(|| ("none".to_owned(), None))
    }

    /// An event of any platform, now.
    pub(crate) fn event_on(&self, platform: &str, kind: &str, user: &str, device: &str) -> Value {
        merged(self.event(kind, user, device), json!({"platform": platform}))
    }

    pub(crate) async fn login_on(&self, platform: &str, user: &str, device: &str) {
        let token = json!({"certificate_id": CERTIFICATE, "token": format!("token-{user}-{device}")});
        let login = merged(self.event_on(platform, "login", user, device), token);
        assert_eq!(self.events(&json!([login])).await, ["applied"]);
    }

    /// A disconnect by time-out that names these messages.
    pub(crate) fn timed_out(&self, user: &str, device: &str, messages: &[&Value]) -> Value {
        let keys: Vec<Value> = messages.iter().map(|message| json!({"message_id": message["message_id"]})).collect();
        merged(self.event("disconnect", user, device), json!({"link": "timeout", "unacked": keys}))
    }

    pub(crate) async fn online_web(&self, user: &str) {
        let login = self.event_on("web", "login", user, "web");
        assert_eq!(self.events(&json!([login])).await, ["applied"]);
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn kicked_by_a_second_phone_the_first_gets_none(pool: PgPool) {
    let world = World::start(pool).await;
    world.settings(json!({"kick": {"enforce": true, "policy": "triple"}})).await;
    world.killed_phone("alice", "first", "token-1").await;
    world.killed_phone("alice", "second", "token-2").await;
    assert_eq!(world.stored("alice", "first").await, ("kicked".to_owned(), Some("detached".to_owned())));
    let accepted = world.notify("alice", plain()).await;
    assert_eq!(accepted["deliveries"], 1);
    assert_eq!(accepted["skipped"], json!([{"user_id": "alice", "device_id": "first", "reason": "kicked"}]));
    world.idle().await;
    assert_eq!((world.vendor.inbox("token-1").len(), world.vendor.inbox("token-2").len()), (0, 1));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn each_kick_policy_and_the_chat_servers_own(pool: PgPool) {
    let world = World::start(pool).await;
    let policies = [
        (json!({"enforce": false}), &["phone", "pad", "desk", "web"][..]),
        (json!({"enforce": true, "policy": "multi"}), &["phone", "pad", "desk", "web"]),
        (json!({"enforce": true, "policy": "triple"}), &["pad", "desk", "web"]),
        (json!({"enforce": true, "policy": "dual"}), &["desk", "web"]),
        (json!({"enforce": true, "policy": "single"}), &["web"]),
    ];
    for (number, (kick, left)) in policies.into_iter().enumerate() {
        world.settings(json!({"kick": kick})).await;
        let user = format!("user-{number}");
        for (platform, device) in [("android", "phone"), ("ipados", "pad"), ("mac", "desk"), ("web", "web")] {
            let login = world.event_on(platform, "login", &user, &format!("{device}-{number}"));
            assert_eq!(world.events(&json!([login])).await, ["applied"]);
        }
        for device in ["phone", "pad", "desk", "web"] {
            let expected = if left.contains(&device) { "foreground" } else { "kicked" };
            assert_eq!(world.stored(&user, &format!("{device}-{number}")).await.0, expected, "{kick} {device}");
        }
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn two_logins_at_once_on_two_phones_leave_one_session(pool: PgPool) {
    let world = World::start(pool).await;
    world.settings(json!({"kick": {"enforce": true, "policy": "single"}})).await;
    for round in 0..10 {
        let user = format!("user-{round}");
        let devices = [format!("a{round}"), format!("b{round}")];
        let logins = devices.iter().map(|device| world.login_on("android", &user, device));
        futures_util::future::join_all(logins).await;
        let mut states = [world.stored(&user, &devices[0]).await.0, world.stored(&user, &devices[1]).await.0];
        states.sort();
        assert_eq!(states, ["foreground", "kicked"]);
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn two_users_who_log_in_on_one_phone_at_once_leave_one_session(pool: PgPool) {
    let world = World::start(pool).await;
    for round in 0..10 {
        let device = format!("phone-{round}");
        let users = [format!("a{round}"), format!("b{round}")];
        let logins = users.iter().map(|user| {
            let login = world.event("login", user, &device);
            let world = &world;
            async move { world.events(&json!([login])).await }
        });
        futures_util::future::join_all(logins).await;
        let states = [world.stored(&users[0], &device).await.0, world.stored(&users[1], &device).await.0];
        assert_eq!(states.iter().filter(|state| *state == "foreground").count(), 1, "{states:?}");
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn web_online_and_phone_killed_under_each_rule(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.online_web("alice").await;
    for (rule, expected) in [
        ("each", "pushed"),
        ("all_offline", "online_elsewhere"),
        ("desktop_quiet", "desktop_active"),
        ("latest", "pushed"),
    ] {
        world.settings(json!({"multi_device": rule})).await;
        assert_eq!(world.reason_for("alice", "phone").await, expected, "{rule}");
    }
    world.settings(json!({"multi_device": "desktop_quiet", "desktop_quiet_s": 60})).await;
    world.advance(TimeDelta::seconds(61));
    assert_eq!(world.reason_for("alice", "phone").await, "pushed", "the desktop is not in use any more");
    // Her own rule beats the app's.
    let own = format!("/v1/apps/{APP}/users/alice/preferences");
    world.put(&own, &json!({"multi_device": "all_offline"})).await.ok();
    assert_eq!(world.reason_for("alice", "phone").await, "online_elsewhere");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn only_the_phone_that_was_used_last_under_the_rule_latest(pool: PgPool) {
    let world = World::start(pool).await;
    world.settings(json!({"multi_device": "latest"})).await;
    world.killed_phone("alice", "old", "token-1").await;
    world.killed_phone("alice", "new", "token-2").await;
    assert_eq!(world.reason_for("alice", "old").await, "not_latest_device");
    assert_eq!((world.vendor.inbox("token-1").len(), world.vendor.inbox("token-2").len()), (0, 1));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn seven_days_and_a_second_after_the_kill(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    // Killed all but a minute of seven days ago; the server's clock can go no further ahead than its partitions.
    sqlx::query("UPDATE devices SET event_time = event_time - interval '7 days' + interval '1 minute'")
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(world.reason("alice").await, "pushed");
    world.advance(TimeDelta::seconds(61));
    assert_eq!(world.reason("alice").await, "expired", "before anything is written down");
    world.walk().await;
    assert_eq!(world.stored("alice", "phone").await, ("expired".to_owned(), Some("stale".to_owned())));
    assert_eq!(world.reason("alice").await, "expired");
    world.report("login", "alice", "phone").await;
    world.kill("alice", "phone").await;
    assert_eq!(world.reason("alice").await, "pushed", "the next login revives the binding");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_setting_of_how_long_a_killed_session_lasts_acts_at_once(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.advance(TimeDelta::seconds(90));
    assert_eq!(world.reason("alice").await, "pushed");
    world.settings(json!({"killed_session_s": 60})).await;
    assert_eq!(world.reason("alice").await, "expired");
    world.settings(json!({"killed_session_s": 604_800})).await;
    assert_eq!(world.reason("alice").await, "pushed", "nothing was lost by it");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_waits_for_a_session_that_expires_is_cancelled(pool: PgPool) {
    let world = World::start(pool).await;
    world.settings(json!({"killed_session_s": 60})).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.certificate_verb("pause").await;
    let notification = world.sent("alice", plain()).await;
    world.advance(TimeDelta::seconds(61));
    world.walk().await;
    assert_eq!(world.reasons(&notification, "cancelled").await, ["expired"]);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_phone_whose_heartbeats_stopped_is_pushed_to_and_a_web_session_is_over(pool: PgPool) {
    let world = World::start(pool).await;
    world.login("alice", "phone", "token-1").await;
    world.online_web("alice").await;
    for (platform, device) in [("android", "phone"), ("web", "web")] {
        let beat = world.event_on(platform, "heartbeat", "alice", device);
        assert_eq!(world.events(&json!([beat])).await, ["applied"]);
    }
    world.advance(TimeDelta::seconds(61));
    assert_eq!(world.reason_for("alice", "web").await, "logged_out");
    assert_eq!(world.reason_for("alice", "phone").await, "foreground");
    world.advance(TimeDelta::seconds(340));
    assert_eq!(world.reason_for("alice", "phone").await, "pushed");
    world.walk().await;
    assert_eq!(world.stored("alice", "phone").await, ("killed".to_owned(), Some("active".to_owned())));
    assert_eq!(world.stored("alice", "web").await.0, "logged_out");
    // It is heard of again.
    let beat = world.event("heartbeat", "alice", "phone");
    assert_eq!(world.events(&json!([beat])).await, ["applied"]);
    assert_eq!(world.reason_for("alice", "phone").await, "background");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_phone_whose_disconnect_is_told_before_its_login_is_pushed_to(pool: PgPool) {
    let world = World::start(pool).await;
    let told = |kind: &str, ago_ms: i64| {
        merged(world.event(kind, "alice", "phone"), json!({"event_time": world.now_ms() - ago_ms}))
    };
    assert_eq!(world.events(&json!([told("disconnect", 1_000)])).await, ["refused"]);
    let token = json!({"certificate_id": CERTIFICATE, "token": "token-1"});
    assert_eq!(world.events(&json!([merged(told("login", 5_000), token)])).await, ["applied"]);
    assert_eq!(world.stored("alice", "phone").await, ("killed".to_owned(), Some("active".to_owned())));
    assert_eq!(world.reason("alice").await, "pushed");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_late_login_on_a_phone_whose_next_user_has_left_leaves_no_trace(pool: PgPool) {
    let world = World::start(pool).await;
    let told = |kind: &str, user: &str, ago_ms: i64| {
        merged(world.event(kind, user, "phone"), json!({"event_time": world.now_ms() - ago_ms}))
    };
    assert_eq!(world.events(&json!([told("login", "bob", 2_000)])).await, ["applied"]);
    assert_eq!(world.events(&json!([told("logout", "bob", 1_000)])).await, ["applied"]);
    assert_eq!(world.events(&json!([told("login", "alice", 3_000)])).await, ["stale"]);
    assert_eq!(world.stored("alice", "phone").await.0, "none");
    assert_eq!(world.events(&json!([told("logout", "carol", 1_000)])).await, ["applied"], "nobody heard of her yet");
    assert_eq!(world.events(&json!([told("login", "carol", 3_000)])).await, ["stale"]);
    world.advance(TimeDelta::days(7) + TimeDelta::seconds(1));
    world.walk().await;
    assert_eq!(
        (world.stored("carol", "phone").await.0, world.stored("bob", "phone").await.0),
        ("none".into(), "logged_out".into())
    );
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_report_that_no_login_follows_is_forgotten(pool: PgPool) {
    let world = World::start(pool).await;
    assert_eq!(world.bind("alice", "phone", "token-1").await.status, StatusCode::ACCEPTED);
    assert_eq!(world.reason("alice").await, "binding_pending");
    world.advance(TimeDelta::minutes(11));
    world.walk().await;
    assert_eq!(world.stored("alice", "phone").await.0, "none");
    assert_eq!(world.reason("alice").await, "no_device");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_token_report_before_the_login_is_kept_and_active_on_login(pool: PgPool) {
    let world = World::start(pool).await;
    let token = json!({"certificate_id": CERTIFICATE, "token": "token-1"});
    let report = merged(world.event("token_report", "alice", "phone"), token);
    assert_eq!(world.events(&json!([report])).await, ["applied"]);
    assert_eq!(world.binding("alice", "phone").await, "pending");
    world.report("login", "alice", "phone").await;
    assert_eq!(world.binding("alice", "phone").await, "active");
    world.kill("alice", "phone").await;
    assert_eq!(world.reason("alice").await, "pushed");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn ios_in_any_case_is_the_same_platform(pool: PgPool) {
    let world = World::start(pool).await;
    world.settings(json!({"kick": {"enforce": true, "policy": "multi"}})).await;
    world.login_on("IOS", "alice", "first").await;
    world.login_on("iOS", "alice", "second").await;
    assert_eq!(world.stored("alice", "first").await.0, "kicked");
    assert_eq!(world.stored("alice", "second").await.0, "foreground");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_kick_by_platform_ends_the_others_of_that_platform(pool: PgPool) {
    let world = World::start(pool).await;
    for (platform, device) in [("android", "old"), ("android", "new"), ("ios", "iphone")] {
        world.login_on(platform, "alice", device).await;
    }
    let kick = merged(world.event("kicked", "alice", "new"), json!({"platforms": ["android"]}));
    assert_eq!(world.events(&json!([kick])).await, ["applied"]);
    let states = [("old", "kicked"), ("new", "foreground"), ("iphone", "foreground")];
    for (device, expected) in states {
        assert_eq!(world.stored("alice", device).await.0, expected, "{device}");
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_deleted_user_is_forgotten_with_what_waits(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.put(&format!("/v1/apps/{APP}/users/alice/preferences"), &json!({"hide_content": true})).await.ok();
    world.certificate_verb("pause").await;
    let notification = world.sent("alice", plain()).await;
    let event = json!({"type": "user_deleted", "user_id": "alice", "event_time": world.now_ms()});
    assert_eq!(world.events(&json!([event])).await, ["applied"]);
    assert_eq!(world.reasons(&notification, "cancelled").await, ["no_device"]);
    assert_eq!((world.count("devices").await, world.reason("alice").await), (0, "no_device".to_owned()));
    let preferences = world.get(&format!("/v1/apps/{APP}/users/alice/preferences")).await.ok();
    assert_eq!(preferences["preferences"]["hide_content"], false);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_walk_in_steps_reaches_every_device(pool: PgPool) {
    let world = World::start(pool).await;
    let users = world.killed_phones("user-", 7).await;
    world.advance(TimeDelta::days(8));
    for devices in [1, 3, 7, 8] {
        let old = "UPDATE devices SET session_state = 'killed', binding_status = 'active'";
        sqlx::query(old).execute(&world.pool).await.unwrap();
        world.walk_by(devices).await;
        for user in &users {
            assert_eq!(world.stored(user, &format!("phone-{user}")).await.0, "expired", "{user} in steps of {devices}");
        }
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_device_that_cannot_be_written_does_not_stop_the_walk(pool: PgPool) {
    let world = World::start(pool).await;
    for user in ["a", "b", "c", "d"] {
        world.killed_phone(user, &format!("phone-{user}"), &format!("token-{user}")).await;
    }
    let bad = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$";
    let when = "CREATE TRIGGER refuse BEFORE UPDATE ON devices FOR EACH ROW WHEN (old.user_id = 'b')
                EXECUTE FUNCTION refuse()";
    for statement in [bad, when] {
        sqlx::query(statement).execute(&world.pool).await.unwrap();
    }
    world.advance(TimeDelta::days(8));
    world.walk_by(2).await;
    let expected = [("a", "expired"), ("b", "killed"), ("c", "expired"), ("d", "expired")];
    for (user, state) in expected {
        assert_eq!(world.stored(user, &format!("phone-{user}")).await.0, state, "{user}");
    }
    // It is tried again in the next round.
    sqlx::query("DROP TRIGGER refuse ON devices").execute(&world.pool).await.unwrap();
    world.walk_by(2).await;
    assert_eq!(world.stored("b", "phone-b").await.0, "expired");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn fields_of_events_go_with_their_types_only(pool: PgPool) {
    let world = World::start(pool).await;
    let now = world.now_ms();
    let plain = json!({"user_id": "alice", "device_id": "phone", "platform": "android", "event_time": now});
    for (fields, field) in [
        (json!({"type": "login", "platforms": ["ios"]}), "platforms"),
        (json!({"type": "kicked", "platforms": []}), "platforms"),
        (json!({"type": "disconnect", "unacked": [{"message_id": "m"}]}), "unacked"),
        (json!({"type": "disconnect", "link": "timeout", "unacked": []}), "unacked"),
        (json!({"type": "token_report"}), "token"),
        (json!({"type": "background", "conversation_id": "room"}), "conversation_id"),
        (json!({"type": "login", "device_id": null}), "device_id"),
        (json!({"type": "login", "platform": null}), "platform"),
    ] {
        let body = json!({"events": [merged(plain.clone(), fields.clone())]});
        let answer = world.post(&format!("/v1/apps/{APP}/session-events"), &body).await;
        assert_eq!(answer.problem(400, "invalid-body"), format!("events[0].{field}"), "{fields}");
    }
    assert_eq!(world.count("devices").await, 0);
}

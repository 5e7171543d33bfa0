//! Tencent's state-change callback drives the same sessions as our own events.

use reqwest::Method;
use rouse::secrets::hex_digest;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, Answer, World, merged, plain};

const TOKEN: &str = "callback-token-1";
const PATH: &str = "/compat/tencent/callback";
const REFUSED: &str = "the call has no valid Sign and RequestTime";

/// The query of a call as Tencent makes it, signed now.
pub(crate) fn query(world: &World, app_id: i64, token: &str, platform: &str) -> String {
    signed_at(world.now_ms() / 1_000, app_id, token, platform)
}

fn signed_at(time_s: i64, app_id: i64, token: &str, platform: &str) -> String {
    let sign = hex_digest(format!("{token}{time_s}").as_bytes());
    format!("{}&Sign={sign}&RequestTime={time_s}", unsigned(app_id, platform))
}

fn unsigned(app_id: i64, platform: &str) -> String {
    format!(
        "SdkAppid={app_id}&CallbackCommand=State.StateChange&contenttype=json&ClientIP=203.0.113.7&OptPlatform={platform}"
    )
}

/// Milliseconds of a moment in the last two minutes; `second` counts from then.
fn at(world: &World, second: i64) -> i64 {
    world.now_ms() - 120_000 + second * 1_000
}

fn body(action: &str, user: &str, event_time: i64) -> Value {
    let reason = match action {
        "Login" => "Register",
        "Logout" => "Unregister",
        _ => "LinkClose",
    };
    json!({"CallbackCommand": "State.StateChange", "EventTime": event_time,
        "Info": {"Action": action, "To_Account": user, "Reason": reason}})
}

async fn post(world: &World, query: &str, body: &Value) -> Answer {
    world.call_with(None, Method::POST, &format!("{PATH}?{query}"), Some(body)).await
}

#[track_caller]
fn is_ok(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body, json!({"ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": ""}));
}

#[track_caller]
fn is_refused(answer: &Answer, info: &str) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.body["ErrorInfo"].as_str().unwrap();
    assert!(told.starts_with(info), "{told}");
    assert_eq!((&answer.body["ActionStatus"], &answer.body["ErrorCode"]), (&json!("FAIL"), &json!(1)));
}

/// A well-signed call that is heard.
async fn told(world: &World, platform: &str, body: &Value) {
    is_ok(&post(world, &query(world, APP, TOKEN, platform), body).await);
}

async fn set_token(world: &World, app_id: i64, token: &str) -> Value {
    world.put(&format!("/v1/apps/{app_id}/tencent-callback"), &json!({"token": token})).await.ok()
}

/// The fixture, its app with the callback switched on.
async fn start(pool: PgPool) -> World {
    let world = World::start(pool).await;
    set_token(&world, APP, TOKEN).await;
    world
}

async fn state(world: &World, user: &str, device: &str) -> String {
    world.device(user, device).await["session_state"].as_str().unwrap_or("none").to_owned()
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_login_and_a_disconnect_make_a_killed_phone_that_gets_the_push(pool: PgPool) {
    let world = start(pool).await;
    // Reported before the login, under the client's own device id.
    assert_eq!(world.bind("alice", "pixel", "token-1").await.ok()["pending"], true);
    told(&world, "Android", &body("Login", "alice", world.now_ms() + 1)).await;
    assert_eq!(state(&world, "alice", "pixel").await, "foreground");
    assert_eq!(world.binding("alice", "pixel").await, "active");
    assert_eq!(world.notify("alice", plain()).await["skipped"][0]["reason"], "foreground");
    told(&world, "Android", &body("Disconnect", "alice", world.now_ms() + 2)).await;
    let notification = world.sent("alice", json!({"body": "dinner?"})).await;
    assert_eq!(world.outcome(&notification).await, "accepted");
    assert_eq!(world.vendor.inbox("token-1")[0].body, "dinner?");
    told(&world, "Android", &body("Logout", "alice", world.now_ms() + 3)).await;
    assert_eq!(world.notify("alice", plain()).await["skipped"][0]["reason"], "logged_out");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_call_without_the_apps_own_valid_signature_changes_nothing(pool: PgPool) {
    let world = start(pool).await;
    for (app_id, token) in [(APP + 1, Some("callback-token-2")), (APP + 2, None)] {
        world.app(app_id).await;
        if let Some(token) = token {
            set_token(&world, app_id, token).await;
        }
    }
    let now_s = world.now_ms() / 1_000;
    let good = query(&world, APP, TOKEN, "Android");
    for bad in [
        String::new(),
        unsigned(APP, "Android"),
        format!("{}&RequestTime={now_s}", unsigned(APP, "Android")),
        good.replace("Sign=", "Sign=0"),
        good.replace("RequestTime=", "RequestTime=%2B"),
        good.replace(&format!("RequestTime={now_s}"), &format!("RequestTime={}", now_s + 1)),
        good.replace("SdkAppid=", "SdkAppid=x"),
        signed_at(now_s - 310, APP, TOKEN, "Android"),
        signed_at(now_s + 310, APP, TOKEN, "Android"),
        query(&world, APP, "callback-token-2", "Android"),
        query(&world, APP + 1, TOKEN, "Android"),
        query(&world, APP + 2, TOKEN, "Android"),
        query(&world, APP + 2, "", "Android"),
        query(&world, APP + 3, TOKEN, "Android"),
    ] {
        let answer = post(&world, &bad, &body("Login", "alice", at(&world, 1))).await;
        is_refused(&answer, REFUSED);
        assert_eq!(answer.body["ErrorInfo"], REFUSED, "no hint whether the app exists: {bad}");
    }
    assert_eq!(world.count("devices").await, 0);
    told(&world, "Android", &body("Login", "alice", at(&world, 1))).await;
    assert_eq!(world.count("devices").await, 1);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn guessing_is_slowed_down_and_who_signs_well_still_passes(pool: PgPool) {
    let world = World::with(pool, &[("SECURITY__FAILED_LOGINS_PER_MINUTE", "2")]).await;
    set_token(&world, APP, TOKEN).await;
    let login = body("Login", "alice", at(&world, 1));
    let guess = query(&world, APP, "not-the-token", "Android");
    for _ in 0..2 {
        is_refused(&post(&world, &guess, &login).await, REFUSED);
    }
    let answer = post(&world, &guess, &login).await;
    assert_eq!((answer.status.as_u16(), &answer.headers["retry-after"]), (429, &"60".parse().unwrap()));
    assert_eq!(answer.body["ActionStatus"], "FAIL");
    // The same count as that of API keys.
    world.call_with(Some("rouse_x"), Method::GET, "/v1/apps", None).await.problem(429, "too-many-failed-logins");
    told(&world, "Android", &login).await;
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_login_kicks_the_sessions_of_the_platforms_it_names(pool: PgPool) {
    let world = start(pool).await;
    world.killed_phone("alice", "old", "token-old").await;
    let iphone = json!({"platform": "ios"});
    for kind in ["login", "disconnect"] {
        assert_eq!(
            world.events(&json!([merged(world.event(kind, "alice", "iphone"), iphone.clone())])).await,
            ["applied"]
        );
    }
    world.killed_phone("bob", "bobs", "token-bob").await;
    world.bind("alice", "new", "token-new").await.ok();
    let login = merged(
        body("Login", "alice", world.now_ms() + 1),
        json!({"KickedDevice": [{"Platform": "Android"}, {"Platform": "IOS", "Unknown": 1}]}),
    );
    told(&world, "Android", &login).await;
    for (device, expected) in [("old", "kicked"), ("iphone", "kicked"), ("new", "foreground")] {
        assert_eq!(state(&world, "alice", device).await, expected, "{device}");
    }
    assert_eq!(world.binding("alice", "old").await, "detached");
    assert_eq!(state(&world, "bob", "bobs").await, "killed", "another user's");
    told(&world, "Android", &body("Disconnect", "alice", world.now_ms() + 2)).await;
    let accepted = world.notify("alice", plain()).await;
    assert_eq!(accepted["deliveries"], 1, "{accepted}");
    world.idle().await;
    assert_eq!((world.vendor.inbox("token-new").len(), world.vendor.received_total()), (1, 1));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_second_phone_of_the_platform_that_kicks_the_first_does_not_inherit_its_token(pool: PgPool) {
    let world = start(pool).await;
    world.killed_phone("alice", "phone", "token-old").await;
    let login = merged(body("Login", "alice", world.now_ms() + 1), json!({"KickedDevice": [{"Platform": "Android"}]}));
    told(&world, "Android", &login).await;
    told(&world, "Android", &body("Disconnect", "alice", world.now_ms() + 2)).await;
    assert_eq!(world.notify("alice", plain()).await["skipped"][0]["reason"], "binding_detached");
    assert_eq!(world.bind("alice", "phone", "token-new").await.ok()["pending"], false);
    told(&world, "Android", &login).await;
    assert_eq!(world.notify("alice", plain()).await["deliveries"], 1);
    world.idle().await;
    assert_eq!((world.vendor.inbox("token-new").len(), world.vendor.received_total()), (1, 1));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_logout_told_before_its_login_counts(pool: PgPool) {
    let world = start(pool).await;
    told(&world, "Android", &body("Logout", "alice", at(&world, 20))).await;
    told(&world, "Android", &body("Login", "alice", at(&world, 10))).await;
    assert_eq!(state(&world, "alice", "android:alice").await, "logged_out");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn platforms_are_the_same_in_any_spelling(pool: PgPool) {
    let world = start(pool).await;
    for (login, disconnect, device) in
        [("IOS", "iOS", "ios:alice"), ("iPad", "ipad", "ipados:alice"), ("HarmonyOS", "Harmony", "harmony:alice")]
    {
        told(&world, login, &body("Login", "alice", at(&world, 1))).await;
        assert_eq!(state(&world, "alice", device).await, "foreground");
        told(&world, disconnect, &body("Disconnect", "alice", at(&world, 2))).await;
        assert_eq!(state(&world, "alice", device).await, "killed");
    }
    told(&world, "Web", &body("Login", "alice", at(&world, 1))).await;
    let lost = json!({"EventTime": at(&world, 2), "Info": {"Action": "Disconnect", "To_Account": "alice", "Reason": "TimeOut"}});
    told(&world, "web", &lost).await;
    assert_eq!(state(&world, "alice", "web:alice").await, "logged_out", "nothing to wake there");
    assert_eq!(world.count("devices").await, 4);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn users_without_a_device_id_do_not_sign_each_other_out(pool: PgPool) {
    let world = start(pool).await;
    for user in ["alice", "bob"] {
        told(&world, "Android", &body("Login", user, at(&world, 1))).await;
        let device = format!("android:{user}");
        assert_eq!(world.bind(user, &device, &format!("token-{user}")).await.ok()["pending"], false);
        told(&world, "Android", &body("Disconnect", user, at(&world, 2))).await;
    }
    for user in ["alice", "bob"] {
        assert_eq!(world.notify(user, plain()).await["deliveries"], 1, "{user}");
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_call_that_is_repeated_or_late_changes_nothing(pool: PgPool) {
    let world = start(pool).await;
    let login = body("Login", "alice", at(&world, 10));
    let signed = query(&world, APP, TOKEN, "Android");
    is_ok(&post(&world, &signed, &login).await);
    is_ok(&post(&world, &signed, &body("Disconnect", "alice", at(&world, 20))).await);
    // On a phone that nobody signed in on yet.
    world.bind("alice", "next", "token-next").await.ok();
    let before = world.get(&format!("/v1/apps/{APP}/users/alice/devices")).await.ok();
    is_ok(&post(&world, &signed, &login).await);
    is_ok(&post(&world, &signed, &body("Logout", "alice", at(&world, 5))).await);
    let eight_days = 8 * 86_400_000;
    is_ok(&post(&world, &signed, &body("Logout", "alice", world.now_ms() - eight_days)).await);
    assert_eq!(world.get(&format!("/v1/apps/{APP}/users/alice/devices")).await.ok(), before);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_is_wrong_is_named_in_the_envelope_and_changes_nothing(pool: PgPool) {
    let world = start(pool).await;
    let login = body("Login", "alice", at(&world, 1));
    let with = |fields: Value| merged(login.clone(), fields);
    for (platform, body, named) in [
        ("Amiga", login.clone(), "OptPlatform: "),
        ("", login.clone(), "OptPlatform: "),
        ("RESTAPI", login.clone(), "OptPlatform: "),
        ("Android", with(json!({"CallbackCommand": "C2C.CallbackAfterSendMsg"})), "CallbackCommand: "),
        ("Android", with(json!({"EventTime": "soon"})), "EventTime: "),
        ("Android", with(json!({"EventTime": i64::MAX})), "EventTime: "),
        ("Android", with(json!({"Info": {"Action": "Login"}})), "Info.To_Account: "),
        ("Android", with(json!({"Info": {"Action": "Login", "To_Account": ""}})), "Info.To_Account: "),
        ("Android", with(json!({"Info": {"Action": "Login", "To_Account": "x".repeat(129)}})), "Info.To_Account: "),
        ("Android", with(json!({"Info": {"Action": "Sleep", "To_Account": "alice"}})), "Info.Action: "),
        ("Android", with(json!({"Info": {"Action": "Login", "To_Account": "alice", "Reason": 1}})), "Info.Reason: "),
        ("Android", with(json!({"KickedDevice": [{"Platform": "Amiga"}]})), "KickedDevice[0].Platform: "),
        ("Android", with(json!({"KickedDevice": vec![json!({"Platform": "Web"}); 101]})), "KickedDevice: "),
        ("Android", json!([]), ""),
    ] {
        is_refused(&post(&world, &query(&world, APP, TOKEN, platform), &body).await, named);
    }
    let request = world.request(Method::POST, &format!("{PATH}?{}", query(&world, APP, TOKEN, "Android")));
    is_refused(&world.answer(request.body("{")).await, "the body is not JSON");
    assert_eq!(world.count("devices").await, 0);
    // What is not known is no mistake.
    let more = merged(
        login.clone(),
        json!({"ClientIP": "203.0.113.7", "Info": {"Action": "Login", "To_Account": "alice",
        "Reason": "Register", "More": [1]}, "EventTime": null}),
    );
    told(&world, "Android&More=1", &more).await;
    assert_eq!(state(&world, "alice", "android:alice").await, "foreground");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_token_is_set_by_an_operator_and_never_shown(pool: PgPool) {
    let world = World::start(pool).await;
    let path = format!("/v1/apps/{APP}/tencent-callback");
    let url = format!("{PATH}?SdkAppid={APP}");
    assert_eq!(world.get(&path).await.ok(), json!({"enabled": false, "path": url}));
    for bad in [json!("short"), json!("x".repeat(129)), json!(5)] {
        assert_eq!(world.put(&path, &json!({"token": bad})).await.problem(400, "invalid-body"), "token");
    }
    world.put("/v1/apps/77/tencent-callback", &json!({"token": TOKEN})).await.problem(404, "not-found");
    let chat = world.api_key("chat", Some(APP)).await;
    let answer = world.call_with(Some(&chat), Method::PUT, &path, Some(&json!({"token": TOKEN}))).await;
    answer.problem(403, "forbidden");
    world.call_with(Some(&chat), Method::GET, &path, None).await.problem(403, "forbidden");

    let set = set_token(&world, APP, TOKEN).await;
    let fingerprint = &hex_digest(TOKEN.as_bytes())[..12];
    assert_eq!(set, json!({"enabled": true, "fingerprint": fingerprint, "path": url}));
    assert_eq!(world.get(&path).await.ok(), set);
    let sealed: Vec<u8> =
        sqlx::query_scalar("SELECT sealed FROM tencent_callbacks").fetch_one(&world.pool).await.unwrap();
    assert!(!sealed.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()));

    // Another token voids the one before at once.
    let login = body("Login", "alice", at(&world, 1));
    set_token(&world, APP, "callback-token-9").await;
    is_refused(&post(&world, &query(&world, APP, TOKEN, "Android"), &login).await, REFUSED);
    is_ok(&post(&world, &query(&world, APP, "callback-token-9", "Android"), &login).await);

    world.delete(&path).await.ok();
    is_refused(&post(&world, &query(&world, APP, "callback-token-9", "Android"), &login).await, REFUSED);
    world.delete(&path).await.problem(404, "not-found");
    let audit = world.get(&format!("/v1/audit-events?app_id={APP}")).await.ok();
    let told = audit.to_string();
    assert!(!told.contains(TOKEN) && !told.contains("callback-token-9"));
    let actions: Vec<&str> =
        audit["items"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap()).take(3).collect();
    assert_eq!(actions, ["app.tencent_callback.clear", "app.tencent_callback.set", "app.tencent_callback.set"]);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_token_that_does_not_open_counts_as_off_until_it_is_set_anew(pool: PgPool) {
    let world = start(pool).await;
    // As another instance with another master key would have written it; nobody tells of it.
    let statement = "UPDATE tencent_callbacks SET key_id = 'another', revision = nextval('directory_revision')";
    sqlx::query(statement).execute(&world.pool).await.unwrap();
    let login = body("Login", "alice", at(&world, 1));
    // A failed guess looks for what is new: by then it is known here.
    is_refused(&post(&world, &query(&world, APP, "not-the-token", "Android"), &login).await, REFUSED);
    is_refused(&post(&world, &query(&world, APP, TOKEN, "Android"), &login).await, REFUSED);
    let shown = world.get(&format!("/v1/apps/{APP}/tencent-callback")).await.ok();
    assert_eq!((&shown["enabled"], shown["fingerprint"].is_string()), (&json!(false), true));
    assert_eq!(world.count("devices").await, 0);
    set_token(&world, APP, TOKEN).await;
    told(&world, "Android", &login).await;
}

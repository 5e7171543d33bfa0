//! "Would it reach her?" and "what would you send?", asked in many situations.

use std::path::Path;

use chrono::TimeDelta;
use reqwest::Method;
use rouse::domain::skip::{CancelReason, ExpiryReason, RescueReason, SkipReason, WaitReason};
use rouse::simulator::{ChannelClass, Fault, Misbehaviour, XiaomiChannel};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, CERTIFICATE, PACKAGE, SECRET, World, id, merged, plain};

impl World {
    async fn reachability(&self, user: &str) -> Value {
        self.get(&format!("/v1/apps/{APP}/users/{user}/reachability")).await.ok()
    }

    async fn explain(&self, user: &str, fields: Value) -> Value {
        let body = self.message(user, fields);
        self.post(&format!("/v1/apps/{APP}/notifications:explain"), &body).await.ok()
    }

    /// Asks both calls about a user with one device at most, and posts a notification: all three say the same. Answers
    /// `reachable`, the reasons and what would be waited for.
    async fn ask(&self, user: &str) -> (String, Vec<String>, Vec<String>) {
        let reach = self.reachability(user).await;
        let names = |list: &Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|reason| reason["reason"].as_str().unwrap().to_owned()).collect()
        };
        let device = &reach["devices"][0];
        let mut reasons = names(&reach["reasons"]);
        if device.is_object() {
            reasons.extend(names(&device["reasons"]));
        }
        let waits = if device.is_object() { names(&device["waits"]) } else { Vec::new() };
        let explained = self.explain(user, plain()).await;
        let recipient = &explained["recipients"][0];
        let first = [&recipient["reason"], &recipient["devices"][0]["reason"]]
            .into_iter()
            .find_map(|reason| reason["reason"].as_str().map(str::to_owned));
        assert_eq!(first, reasons.first().cloned(), "explain and reachability differ: {explained} {reach}");
        for reason in
            reach["reasons"].as_array().unwrap().iter().chain(device["reasons"].as_array().into_iter().flatten())
        {
            for text in ["text", "fix"] {
                assert!(reason[text]["en"].as_str().is_some_and(|text| !text.is_empty()), "{reason}");
                assert!(reason[text]["zh"].as_str().is_some_and(|text| !text.is_ascii()), "{reason}");
            }
        }
        let accepted = self.notify(user, plain()).await;
        assert_eq!(accepted["skipped"][0]["reason"].as_str(), first.as_deref(), "acceptance differs: {accepted}");
        assert_eq!(accepted["deliveries"], explained["deliveries"]);
        (reach["reachable"].as_str().unwrap().to_owned(), reasons, waits)
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn sixteen_situations_are_told_apart_and_all_three_calls_agree(pool: PgPool) {
    let world = World::start(pool).await;
    let expect = |reach: &str, reasons: &[&str], waits: &[&str]| {
        let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        (reach.to_owned(), owned(reasons), owned(waits))
    };
    assert_eq!(world.ask("nobody").await, expect("no", &["no_device"], &[]));
    world.report("login", "tokenless", "phone-1").await;
    world.kill("tokenless", "phone-1").await;
    assert_eq!(world.ask("tokenless").await, expect("no", &["no_token"], &[]));
    world.bind("early", "phone-2", "token-early").await.ok();
    assert_eq!(world.ask("early").await, expect("no", &["binding_pending"], &[]));

    world.login("alice", "phone", "token-1").await;
    assert_eq!(world.ask("alice").await, expect("no", &["foreground"], &[]));
    world.report("background", "alice", "phone").await;
    assert_eq!(world.ask("alice").await, expect("no", &["background"], &[]));
    world.kill("alice", "phone").await;
    assert_eq!(world.ask("alice").await, expect("yes", &[], &[]));

    let until = world.server().clock().now() + TimeDelta::hours(1);
    let preferences = format!("/v1/apps/{APP}/users/alice/preferences");
    world.put(&preferences, &json!({"do_not_disturb_until": until})).await.ok();
    assert_eq!(world.ask("alice").await, expect("no", &["do_not_disturb"], &[]));
    world.delete(&preferences).await;

    world.certificate_verb("pause").await;
    assert_eq!(world.ask("alice").await, expect("later", &[], &["certificate_paused"]));
    world.certificate_verb("resume").await;
    world.sweep().await;
    world.vendor.fault(Fault::once(Misbehaviour::Code { code: "21301".into(), reason: None }));
    world.sent("alice", plain()).await;
    world.idle().await;
    assert_eq!(world.ask("alice").await, expect("later", &[], &["certificate_refused"]));
    world.certificate_verb("resume").await;
    world.sweep().await;

    world.vendor.kill_token("token-1");
    let notification = world.sent("alice", plain()).await;
    assert_eq!(world.outcome(&notification).await, "token_gone");
    assert_eq!(world.ask("alice").await, expect("no", &["binding_invalid"], &[]));
    world.killed_phone("alice", "phone", "token-2").await;
    world.report("logout", "alice", "phone").await;
    assert_eq!(world.ask("alice").await, expect("no", &["logged_out", "binding_detached"], &[]));
    world.killed_phone("alice", "phone", "token-3").await;
    world.report("kicked", "alice", "phone").await;
    assert_eq!(world.ask("alice").await, expect("no", &["kicked", "binding_detached"], &[]));
    world.killed_phone("alice", "phone", "token-4").await;
    world.bind("bob", "phone-b", "token-4").await.ok();
    world.report("login", "bob", "phone-b").await;
    assert_eq!(world.ask("alice").await, expect("no", &["logged_out", "binding_superseded"], &[]));

    world.settings(json!({"killed_session_s": 60})).await;
    world.killed_phone("carol", "phone-c", "token-c").await;
    world.advance(TimeDelta::seconds(61));
    assert_eq!(world.ask("carol").await.1[0], "expired");
    world.settings(json!({"killed_session_s": 604_800, "multi_device": "all_offline"})).await;
    let web = merged(world.event("login", "carol", "a-web"), json!({"platform": "web"}));
    world.events(&json!([web])).await;
    let reach = world.reachability("carol").await;
    assert_eq!(reach["devices"][1]["reasons"][0]["reason"], "online_elsewhere", "{reach}");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_deleted_certificate_is_named(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.delete(&format!("/v1/apps/{APP}/certificates/{CERTIFICATE}")).await;
    let (reach, reasons, _) = world.ask("alice").await;
    assert_eq!((reach.as_str(), reasons), ("no", vec!["certificate_missing".to_owned()]));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_dry_run_shows_the_vendors_request_and_leaves_no_trace(pool: PgPool) {
    let world = World::start(pool).await;
    world.settings(json!({"burst": {"after": 1, "max_per_minute": 1}})).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let rows = |world: &World| {
        let pool = world.pool.clone();
        async move {
            let count: i64 = sqlx::query_scalar(
                "SELECT (SELECT count(*) FROM message_keys) + (SELECT count(*) FROM deliveries)
                      + (SELECT count(*) FROM delivery_events) + (SELECT count(*) FROM push_counts)
                      + (SELECT count(*) FROM notification_contents)",
            )
            .fetch_one(&pool)
            .await
            .unwrap();
            count
        }
    };
    let before = rows(&world).await;
    let long = "很长".repeat(200);
    let explained = world.explain("alice", json!({"title": "Bob", "body": long, "conversation_id": "room"})).await;
    assert_eq!(explained["deliveries"], 1, "{explained}");
    let delivery = &explained["recipients"][0]["devices"][0]["delivery"];
    assert_eq!((&delivery["vendor"], &delivery["certificate_id"]), (&json!("xiaomi"), &json!(CERTIFICATE)));
    assert_eq!(delivery["cut"][0]["field"], "body");
    assert!(delivery["body"].as_str().unwrap().ends_with('…'), "{delivery}");
    let request = &delivery["requests"][0];
    assert_eq!((&request["method"], &request["headers"]["authorization"]), (&json!("POST"), &json!("key=***")));
    assert_eq!((&request["body"]["title"], &request["body"]["description"]), (&json!("Bob"), &delivery["body"]));
    let text = explained.to_string();
    assert!(!text.contains(SECRET) && !text.contains("token-1"), "{text}");
    assert_eq!((rows(&world).await, world.calls()), (before, 0));

    // The same body as is sent then, but for what depends on the moment and what is masked.
    let message = world.message("alice", json!({"title": "Bob", "body": "hi", "conversation_id": "room"}));
    let path = format!("/v1/apps/{APP}/notifications:explain");
    let explained = world.post(&path, &message).await.ok();
    let notification = id(&world.post_notification(&message).await.ok());
    assert_eq!(world.outcome(&notification).await, "accepted");
    let again = world.post(&path, &message).await.ok();
    assert_eq!((&explained["already_accepted"], &again["already_accepted"]), (&Value::Null, &json!(notification)));
    let shown = &explained["recipients"][0]["devices"][0]["delivery"]["requests"][0]["body"];
    let sent = world.vendor.inbox("token-1").remove(0);
    assert_eq!((shown["title"].as_str(), shown["description"].as_str()), (Some(&*sent.title), Some(&*sent.body)));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_dry_run_is_bounded_and_keeps_to_the_keys_scope(pool: PgPool) {
    let world = World::start(pool).await;
    let path = format!("/v1/apps/{APP}/notifications:explain");
    let many: Vec<Value> = (0..101).map(|number| json!({"user_id": format!("user-{number}")})).collect();
    let body = world.message("alice", json!({"to": many}));
    assert_eq!(world.post(&path, &body).await.problem(400, "invalid-body"), "to");
    assert_eq!(world.post(&path, &json!({"message_id": "m"})).await.problem(400, "invalid-body"), "to");
    let body = world.message("alice", plain());
    for (scope, app, status) in [("viewer", None, 200), ("chat", Some(APP), 200)] {
        let key = world.api_key(scope, app).await;
        assert_eq!(world.call_with(Some(&key), Method::POST, &path, Some(&body)).await.status, status, "{scope}");
    }
    world.app(APP + 1).await;
    let other = world.api_key("chat", Some(APP + 1)).await;
    assert_eq!(world.call_with(Some(&other), Method::POST, &path, Some(&body)).await.status, 403);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_spent_quota_is_named_only_for_messages_of_its_class(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.vendor.add_channel(XiaomiChannel {
        package: PACKAGE.to_owned(),
        id: "limited".to_owned(),
        class: ChannelClass::Private,
        daily_quota: None,
    });
    world.vendor.answer_next(200_001);
    let of_class = json!({"offline_push_info": {"AndroidInfo": {"XiaoMiChannelID": "limited"}}});
    world.sent("alice", of_class.clone()).await;
    world.idle().await;
    let waits = |explained: &Value| explained["recipients"][0]["devices"][0]["delivery"]["waits"].clone();
    assert_eq!(waits(&world.explain("alice", of_class).await)[0]["reason"], "quota_spent");
    assert_eq!(waits(&world.explain("alice", plain()).await), json!([]));
    assert_eq!(world.ask("alice").await, ("yes".to_owned(), Vec::new(), Vec::new()));
}

/// The names of all closed lists, each with its kind and how the code names it.
fn reasons() -> Vec<(&'static str, &'static str, String)> {
    let mut all = Vec::new();
    all.extend(SkipReason::ALL.iter().map(|reason| (reason.as_str(), "skip", format!("SkipReason::{reason:?}"))));
    all.extend(CancelReason::ALL.iter().map(|reason| (reason.as_str(), "cancel", format!("CancelReason::{reason:?}"))));
    all.extend(WaitReason::ALL.iter().map(|reason| (reason.as_str(), "wait", format!("WaitReason::{reason:?}"))));
    all.extend(RescueReason::ALL.iter().map(|reason| (reason.as_str(), "rescue", format!("RescueReason::{reason:?}"))));
    all.extend(ExpiryReason::ALL.iter().map(|reason| (reason.as_str(), "expiry", format!("ExpiryReason::{reason:?}"))));
    all
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn every_reason_is_served_in_both_languages(pool: PgPool) {
    let world = World::start(pool).await;
    let served = world.get("/v1/skip-reasons").await.ok();
    let items = served["items"].as_array().unwrap();
    let names: Vec<(&str, &str)> =
        items.iter().map(|item| (item["reason"].as_str().unwrap(), item["kind"].as_str().unwrap())).collect();
    let expected: Vec<(&str, &str)> = reasons().into_iter().map(|(name, kind, _)| (name, kind)).collect();
    assert_eq!(names, expected);
    for item in items {
        for text in ["text", "fix"] {
            assert!(item[text]["en"].as_str().is_some_and(|text| text.is_ascii() && !text.is_empty()), "{item}");
            assert!(item[text]["zh"].as_str().is_some_and(|text| !text.is_ascii()), "{item}");
        }
    }
}

/// The server's own source files, without the lists of reasons themselves and the stand-ins.
fn sources(directory: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("simulator") {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("domain/skip.rs") {
            into.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

/// The texts that stand in calls of this function.
fn literals<'a>(source: &'a str, call: &str) -> Vec<&'a str> {
    let calls = source.split(call).skip(1).map(|rest| rest.split([';', '}']).next().unwrap_or_default());
    calls.flat_map(|arguments| arguments.split('"').skip(1).step_by(2)).collect()
}

#[test]
fn every_reason_that_the_server_writes_is_in_the_list_and_no_other() {
    const KINDS: [&str; 6] = ["skipped", "attempt", "postponed", "cancelled", "rescued", "expired"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut dispatcher) = (Vec::new(), Vec::new());
    sources(&root, &mut files);
    sources(&root.join("dispatcher"), &mut dispatcher);
    let calls = ["told(", "postpone(", "GiveBack("];
    let mut written: Vec<&str> =
        dispatcher.iter().flat_map(|file| calls.iter().flat_map(|call| literals(file, call))).collect();
    let is_name = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    written.retain(|text| is_name(text) && !KINDS.contains(text));
    // Those that stand in a statement, beside the kind.
    let kinds: Vec<String> = KINDS.iter().map(|kind| format!("'{kind}', '")).collect();
    let in_statement = |file| kinds.iter().flat_map(move |kind| str::split(file, kind.as_str()).skip(1));
    written.extend(files.iter().flat_map(|file| in_statement(file)).filter_map(|rest| rest.split('\'').next()));
    assert!(written.contains(&"breaker_open") && written.contains(&"content_unreadable"), "{written:?}");
    let reasons = reasons();
    for name in &written {
        assert!(reasons.iter().any(|reason| reason.0 == *name), "{name} is written and not in the list");
    }
    for (name, _, variant) in &reasons {
        let is_written = written.contains(name) || files.iter().any(|file| file.contains(variant));
        assert!(is_written, "{name} is in the list and never written");
    }
}

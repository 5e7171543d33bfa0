//! What a caller does wrong is told to him, field by field, and stores nothing.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, CERTIFICATE, World, merged, plain};

/// Rows of everything a call could leave behind.
async fn rows(world: &World) -> Vec<i64> {
    let mut rows = Vec::new();
    for table in [
        "devices",
        "deliveries",
        "message_keys",
        "notification_contents",
        "delivery_events",
        "certificates",
        "audit_events",
    ] {
        rows.push(world.count(table).await);
    }
    rows
}

fn notifications() -> String {
    format!("/v1/apps/{APP}/notifications")
}

fn session_events() -> String {
    format!("/v1/apps/{APP}/session-events")
}

fn binding() -> String {
    format!("/v1/apps/{APP}/users/alice/devices/phone/binding")
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_wrong_notification_names_its_field_and_stores_nothing(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let before = rows(&world).await;
    let names = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
    let users = |count| names(count).into_iter().map(|name| json!({"user_id": name})).collect::<Vec<_>>();
    for (fields, field) in [
        (json!({"titel": "x"}), "titel"),
        (json!({"message_id": 5}), "message_id"),
        (json!({"message_id": ""}), "message_id"),
        (json!({"message_id": "x".repeat(129)}), "message_id"),
        (json!({"message_id": "a\0b"}), "message_id"),
        (json!({"part": 65_536}), "part"),
        (json!({"part": -1}), "part"),
        (json!({"to": []}), "to"),
        (json!({"to": users(1_001)}), "to"),
        (json!({"to": "alice"}), "to"),
        (json!({"to": [{"user_id": "alice"}, {"user_id": "bob"}, {"user_id": "alice"}]}), "to[2].user_id"),
        (json!({"to": [{"user_id": "alice"}, {"user_id": ""}]}), "to[1].user_id"),
        (json!({"to": [{"user_id": "alice", "name": "x"}]}), "to[0].name"),
        (json!({"to": [{"user_id": "alice", "badge": -1}]}), "to[0].badge"),
        (json!({"to": [{}]}), "to[0].user_id"),
        (json!({"title": "x".repeat(4_097)}), "title"),
        (json!({"body": ""}), "body"),
        (json!({"body": "x".repeat(4_097)}), "body"),
        (json!({"body": "a\0b"}), "body"),
        (json!({"body": null}), "body"),
        (json!({"ttl_s": 604_801}), "ttl_s"),
        (json!({"ttl_s": -1}), "ttl_s"),
        (json!({"ttl_s": "60"}), "ttl_s"),
        (json!({"priority": "urgent"}), "priority"),
        (json!({"data": []}), "data"),
        (json!({"data": {"x": "y".repeat(1_100)}}), "data"),
        (json!({"mentions": names(1_001)}), "mentions"),
        (json!({"only_devices": names(101)}), "only_devices"),
        (json!({"exclude_devices": names(101)}), "exclude_devices"),
        (json!({"force": 1}), "force"),
        (json!({"collapse_id": "a\0b"}), "collapse_id"),
        (json!({"offline_push_info": {"PushFlag": 2}}), "offline_push_info.PushFlag"),
        (json!({"offline_push_info": {"Tilte": "x"}}), "offline_push_info.Tilte"),
        (
            json!({"offline_push_info": {"AndroidInfo": {"XiaoMiChannelId": "x"}}}),
            "offline_push_info.AndroidInfo.XiaoMiChannelId",
        ),
    ] {
        let answer = world.post_notification(&world.message("alice", fields.clone())).await;
        assert_eq!(answer.problem(400, "invalid-body"), field, "{fields}");
        let batch = json!({"notifications": [world.message("alice", plain()), world.message("alice", fields.clone())]});
        let answer = world.post(&format!("/v1/apps/{APP}/notifications:batch"), &batch).await;
        assert_eq!(answer.problem(400, "invalid-body"), format!("notifications[1].{field}"), "{fields}");
    }
    let mut no_body = world.message("alice", plain());
    no_body.as_object_mut().unwrap().remove("body");
    assert_eq!(world.post_notification(&no_body).await.problem(400, "invalid-body"), "body");
    for notifications in [json!([]), json!(vec![world.message("alice", plain()); 101])] {
        let batch = json!({"notifications": notifications});
        let answer = world.post(&format!("/v1/apps/{APP}/notifications:batch"), &batch).await;
        assert_eq!(answer.problem(400, "invalid-body"), "notifications");
    }
    assert_eq!(rows(&world).await, before);
    assert_eq!(world.calls(), 0);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_is_not_json_is_refused_before_anything_else(pool: PgPool) {
    let world = World::start(pool).await;
    let before = rows(&world).await;
    let (notifications, session_events, binding, certificates) =
        (notifications(), session_events(), binding(), format!("/v1/apps/{APP}/certificates"));
    for (method, path) in [
        (Method::POST, &notifications),
        (Method::POST, &session_events),
        (Method::PUT, &binding),
        (Method::POST, &certificates),
    ] {
        let send = |content_type: &'static str, body: Vec<u8>| {
            world.answer(world.request(method.clone(), path).header("content-type", content_type).body(body))
        };
        for text in ["", "{", "{'a': 1}", "{\"\u{1}\": 1}", "\u{feff}{}"] {
            send("application/json", text.into()).await.problem(400, "not-json");
        }
        send("application/json", b"{\"\xff\": 1}".to_vec()).await.problem(400, "not-json");
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"] {
            send(content_type, b"{}".to_vec()).await.problem(415, "unsupported-media-type");
        }
        for text in ["[]", "5", "null", "\"text\""] {
            assert_eq!(
                send("application/json", text.into()).await.problem(400, "invalid-body"),
                "(body)",
                "{path} {text}"
            );
        }
        let large = format!("{{\"body\": \"{}\"}}", "x".repeat(1024 * 1024));
        send("application/json", large.into_bytes()).await.problem(413, "body-too-large");
    }
    assert_eq!(rows(&world).await, before);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_wrong_session_event_names_its_field_and_applies_nothing(pool: PgPool) {
    let world = World::start(pool).await;
    let before = rows(&world).await;
    let good = world.event("login", "alice", "phone");
    let kicked: Vec<String> = (0..101).map(|number| number.to_string()).collect();
    for (fields, field) in [
        (json!({"user": "x"}), "events[1].user"),
        (json!({"user_id": ""}), "events[1].user_id"),
        (json!({"user_id": "a\0b"}), "events[1].user_id"),
        (json!({"device_id": "x".repeat(129)}), "events[1].device_id"),
        (json!({"platform": "symbian"}), "events[1].platform"),
        (json!({"type": "vanish"}), "events[1].type"),
        (json!({"event_time": "now"}), "events[1].event_time"),
        (json!({"event_time": i64::MAX}), "events[1].event_time"),
        (json!({"login_seq": "1"}), "events[1].login_seq"),
        (json!({"unread": -1}), "events[1].unread"),
        (json!({"link": "close"}), "events[1].link"),
        (json!({"link": "lost", "type": "disconnect"}), "events[1].link"),
        (json!({"token": "t"}), "events[1].token"),
        (json!({"certificate_id": CERTIFICATE}), "events[1].token"),
        (json!({"token": "t", "certificate_id": CERTIFICATE, "type": "logout"}), "events[1].token"),
        (json!({"token": "t".repeat(1_025), "certificate_id": CERTIFICATE}), "events[1].token"),
        (json!({"token": "t", "certificate_id": 0}), "events[1].certificate_id"),
        (json!({"device_ids": ["a"]}), "events[1].device_ids"),
        (json!({"device_ids": [], "type": "kicked"}), "events[1].device_ids"),
        (json!({"device_ids": kicked, "type": "kicked"}), "events[1].device_ids"),
        (json!({"conversation_id": "c"}), "events[1].conversation_id"),
    ] {
        let events = json!({"events": [good, merged(good.clone(), fields.clone())]});
        let answer = world.post(&session_events(), &events).await;
        assert_eq!(answer.problem(400, "invalid-body"), field, "{fields}");
    }
    for events in [json!([]), json!(vec![good.clone(); 1_001])] {
        let answer = world.post(&session_events(), &json!({"events": events})).await;
        assert_eq!(answer.problem(400, "invalid-body"), "events");
    }
    assert_eq!(rows(&world).await, before);
    let all = world.post(&session_events(), &json!({"events": vec![good; 1_000]})).await.ok();
    assert_eq!(all["results"].as_array().unwrap().len(), 1_000, "the most that one call takes");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn an_event_that_cannot_be_applied_says_why_and_stops_no_other(pool: PgPool) {
    let world = World::start(pool).await;
    world.app(APP + 1).await;
    world.certificate(APP + 1, json!({"certificate_id": 20_000})).await;
    let week = 8 * 86_400_000;
    let with = |user: &str, kind: &str, fields| merged(world.event(kind, user, &format!("phone-{user}")), fields);
    for (index, certificate) in [20_000, 99_999].into_iter().enumerate() {
        // Another app's certificate, and one that does not exist: a mistake of the caller, not of the phone.
        let mut events = vec![with("frank", "login", json!({})); index];
        events.push(with("alice", "login", json!({"token": "t", "certificate_id": certificate})));
        let answer = world.post(&session_events(), &json!({"events": events})).await;
        answer.problem(400, "invalid-body");
        assert_eq!(answer.body["errors"][0]["field"], format!("events[{index}].certificate_id"));
        assert_eq!(world.count("devices").await, 0, "the whole batch is refused");
    }
    let events = json!([
        with("carol", "background", json!({})),
        with("dave", "login", json!({"event_time": world.now_ms() - week})),
        with("erin", "login", json!({"event_time": world.now_ms() + 60_000})),
        with("erin", "disconnect", json!({})),
    ]);
    let answer = world.post(&session_events(), &json!({"events": events})).await.ok();
    assert_eq!(
        answer["results"],
        json!([
            {"result": "refused", "reason": "unknown_device"},
            {"result": "refused", "reason": "too_old"},
            {"result": "applied", "time_adjusted": true},
            answer["results"][3],
        ])
    );
    assert_eq!(world.count("devices").await, 1);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_wrong_binding_names_its_field_and_stores_nothing(pool: PgPool) {
    let world = World::start(pool).await;
    world.app(APP + 1).await;
    world.certificate(APP + 1, json!({"certificate_id": 20_000})).await;
    let before = rows(&world).await;
    let good = json!({"certificate_id": CERTIFICATE, "token": "t", "platform": "android"});
    for (fields, field) in [
        (json!({"certificate_id": 20_000}), "certificate_id"),
        (json!({"certificate_id": 99_999}), "certificate_id"),
        (json!({"certificate_id": "10001"}), "certificate_id"),
        (json!({"token": ""}), "token"),
        (json!({"token": "t".repeat(1_025)}), "token"),
        (json!({"token": "a\0b"}), "token"),
        (json!({"platform": "symbian"}), "platform"),
        (json!({"vendor": "xiaomi"}), "vendor"),
    ] {
        let answer = world.put(&binding(), &merged(good.clone(), fields.clone())).await;
        assert_eq!(answer.problem(400, "invalid-body"), field, "{fields}");
    }
    for user in ["a%00b", &"x".repeat(129)] {
        let path = format!("/v1/apps/{APP}/users/{user}/devices/phone/binding");
        assert_eq!(world.put(&path, &good).await.problem(400, "invalid-parameter"), "path", "{user}");
    }
    world.delete(&binding()).await.problem(404, "not-found");
    assert_eq!(rows(&world).await, before);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_does_not_exist_is_404_and_the_wrong_method_405(pool: PgPool) {
    let world = World::start(pool).await;
    let before = rows(&world).await;
    let no_app = APP + 9;
    let message = world.message("alice", plain());
    world.post(&format!("/v1/apps/{no_app}/notifications"), &message).await.problem(404, "not-found");
    let events = json!({"events": [world.event("login", "alice", "phone")]});
    world.post(&format!("/v1/apps/{no_app}/session-events"), &events).await.problem(404, "not-found");
    let token = json!({"certificate_id": CERTIFICATE, "token": "t", "platform": "android"});
    world.put(&format!("/v1/apps/{no_app}/users/a/devices/d/binding"), &token).await.problem(404, "not-found");
    for path in ["", "/users/alice/devices", "/trace?user_id=alice", "/certificates"] {
        world.get(&format!("/v1/apps/{no_app}{path}")).await.problem(404, "not-found");
    }
    let nobody = "01900000-0000-7000-8000-000000000000";
    world.get(&format!("/v1/apps/{APP}/notifications/{nobody}")).await.problem(404, "not-found");
    world.delete(&format!("/v1/apps/{APP}/notifications/{nobody}")).await.problem(404, "not-found");
    world.get(&format!("/v1/apps/{APP}/certificates/99999")).await.problem(404, "not-found");
    world.post(&format!("/v1/apps/{APP}/certificates/99999:pause"), &json!({})).await.problem(404, "not-found");
    world
        .post(&format!("/v1/apps/{APP}/certificates/{CERTIFICATE}:burn"), &json!({}))
        .await
        .problem(404, "no-such-path");
    world.get("/v1/nothing").await.problem(404, "no-such-path");
    world.get("/").await.problem(404, "no-such-path");
    world.delete(&notifications()).await.problem(405, "method-not-allowed");
    world.get(&session_events()).await.problem(405, "method-not-allowed");
    assert_eq!(world.get("/v1/apps/x").await.problem(400, "invalid-parameter"), "path");
    assert_eq!(world.get("/v1/apps?limit=0").await.problem(400, "invalid-parameter"), "limit");
    assert_eq!(world.get("/v1/apps?limit=201").await.problem(400, "invalid-parameter"), "limit");
    assert_eq!(world.get("/v1/apps?cursor=x%20x").await.problem(400, "invalid-parameter"), "cursor");
    world.get("/v1/apps?page=2").await.problem(400, "invalid-parameter");
    assert_eq!(world.get(&format!("/v1/apps/{APP}/trace")).await.problem(400, "invalid-parameter"), "user_id");
    assert_eq!(rows(&world).await, before);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_notification_of_another_app_does_not_exist(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.certificate_verb("pause").await;
    let notification = world.sent("alice", plain()).await;
    world.app(APP + 1).await;
    let path = format!("/v1/apps/{}/notifications/{notification}", APP + 1);
    world.get(&path).await.problem(404, "not-found");
    world.delete(&path).await.problem(404, "not-found");
    assert_eq!(world.count("deliveries").await, 1);
}

/// One call of each kind: who may make it.
fn calls(app: i64) -> Vec<(&'static str, Method, String, Option<Value>)> {
    let event = json!({"type": "logout", "user_id": "x", "device_id": "x", "platform": "android", "event_time": 1});
    vec![
        (
            "chat",
            Method::POST,
            format!("/v1/apps/{app}/notifications"),
            Some(json!({"message_id": "m", "to": [{"user_id": "nobody"}], "body": "b"})),
        ),
        ("chat", Method::POST, format!("/v1/apps/{app}/session-events"), Some(json!({"events": [event]}))),
        ("read", Method::GET, format!("/v1/apps/{app}/users/alice/devices"), None),
        ("read", Method::GET, format!("/v1/apps/{app}/trace?user_id=alice"), None),
        ("view", Method::GET, format!("/v1/apps/{app}"), None),
        ("view", Method::GET, format!("/v1/apps/{app}/certificates"), None),
        ("administer", Method::PATCH, format!("/v1/apps/{app}"), Some(json!({"name": "another"}))),
        (
            "administer",
            Method::POST,
            format!("/v1/apps/{app}/certificates"),
            Some(json!({"vendor": "xiaomi", "package_name": "p", "app_id": "1", "app_secret": "s"})),
        ),
        ("administer_all", Method::POST, "/v1/apps".to_owned(), Some(json!({"app_id": 77, "name": "new"}))),
        ("operate", Method::GET, "/v1/apps".to_owned(), None),
        ("operate", Method::GET, "/v1/audit-events".to_owned(), None),
    ]
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_key_does_what_its_scope_and_app_allow_and_nothing_else(pool: PgPool) {
    let world = World::start(pool).await;
    world.app(APP + 1).await;
    for (scope, of_app, allowed) in [
        ("chat", Some(APP), ["chat", "read"].as_slice()),
        ("chat", Some(APP + 1), &[]),
        ("viewer", None, &["read", "view", "operate"]),
        ("viewer", Some(APP), &["read", "view", "operate"]),
        ("viewer", Some(APP + 1), &["operate"]),
        ("admin", Some(APP), &["chat", "read", "view", "administer", "operate"]),
        ("admin", Some(APP + 1), &["operate"]),
    ] {
        let key = world.api_key(scope, of_app).await;
        for (kind, method, path, body) in calls(APP) {
            let before = rows(&world).await;
            let answer = world.call_with(Some(&key), method, &path, body.as_ref()).await;
            if allowed.contains(&kind) {
                assert!(answer.status.is_success(), "{scope} {of_app:?} {path}: {answer:?}");
            } else {
                answer.problem(403, "forbidden");
                assert_eq!(rows(&world).await, before, "{scope} {of_app:?} {path}");
            }
        }
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn an_app_bound_administrator_sees_his_app_alone(pool: PgPool) {
    let world = World::start(pool).await;
    world.app(APP + 1).await;
    let key = world.api_key("admin", Some(APP + 1)).await;
    let apps = world.call_with(Some(&key), Method::GET, "/v1/apps", None).await.ok();
    assert_eq!(apps["items"].as_array().unwrap().len(), 1);
    assert_eq!(apps["items"][0]["app_id"], APP + 1);
    let audit = world.call_with(Some(&key), Method::GET, "/v1/audit-events", None).await.ok();
    assert!(audit["items"].as_array().unwrap().iter().all(|event| event["app_id"] == APP + 1));
    let other = format!("/v1/audit-events?app_id={APP}");
    world.call_with(Some(&key), Method::GET, &other, None).await.problem(403, "forbidden");
    let keys = world.call_with(Some(&key), Method::GET, "/v1/api-keys", None).await.ok();
    assert!(keys["items"].as_array().unwrap().iter().all(|key| key["app_id"] == APP + 1));
    for app_id in [json!(null), json!(APP)] {
        let new = json!({"name": "mine", "scope": "admin", "app_id": app_id});
        world.call_with(Some(&key), Method::POST, "/v1/api-keys", Some(&new)).await.problem(403, "forbidden");
    }
    let of_all = world.get("/v1/api-keys").await.ok()["items"][0]["key_id"].clone();
    let path = format!("/v1/api-keys/{}", of_all.as_str().unwrap());
    world.call_with(Some(&key), Method::DELETE, &path, None).await.problem(404, "not-found");
    world.get("/v1/apps").await.ok();
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn without_a_good_key_nothing_is_answered(pool: PgPool) {
    let world = World::with(pool, &[("SECURITY__FAILED_LOGINS_PER_MINUTE", "1000")]).await;
    let before = rows(&world).await;
    for (_, method, path, body) in calls(APP) {
        for key in [None, Some("rouse_wrong"), Some("")] {
            let answer = world.call_with(key, method.clone(), &path, body.as_ref()).await;
            answer.problem(401, "unauthorized");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
    let basic = [("authorization".parse().unwrap(), "Basic cm91c2U6cm91c2U=".parse().unwrap())].into_iter().collect();
    let basic = world.answer(world.request(Method::GET, "/v1/apps").headers(basic)).await;
    assert_eq!(basic.status, StatusCode::UNAUTHORIZED);
    assert_eq!(rows(&world).await, before);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_revoked_key_stops_working_at_once(pool: PgPool) {
    let world = World::start(pool).await;
    let made = world.post("/v1/api-keys", &json!({"name": "chat", "scope": "chat", "app_id": APP})).await.ok();
    let key = made["key"].as_str().unwrap();
    let path = format!("/v1/apps/{APP}/users/alice/devices");
    world.call_with(Some(key), Method::GET, &path, None).await.ok();
    let key_path = format!("/v1/api-keys/{}", made["key_id"].as_str().unwrap());
    assert_eq!(world.delete(&key_path).await.status, StatusCode::NO_CONTENT);
    world.call_with(Some(key), Method::GET, &path, None).await.problem(401, "unauthorized");
    world.delete(&key_path).await.problem(404, "not-found");
    let listed = world.get("/v1/api-keys").await.ok();
    assert!(!listed.to_string().contains(key), "a key is shown once");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn guessing_keys_is_stopped_after_a_number_of_failures(pool: PgPool) {
    let world = World::with(pool, &[("SECURITY__FAILED_LOGINS_PER_MINUTE", "3")]).await;
    for _ in 0..3 {
        world.call_with(Some("rouse_guess"), Method::GET, "/v1/apps", None).await.problem(401, "unauthorized");
    }
    let answer = world.call_with(Some("rouse_guess"), Method::GET, "/v1/apps", None).await;
    answer.problem(429, "too-many-failed-logins");
    assert_eq!(answer.headers["retry-after"], "60");
    let valid = world.call_with(Some(&world.key), Method::GET, "/v1/apps", None).await;
    assert_eq!(valid.status, StatusCode::OK, "a stranger behind the same proxy locks nobody out");
    assert_eq!(world.call_with(None, Method::GET, "/healthz", None).await.status, StatusCode::OK);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn an_app_over_its_limit_of_waiting_deliveries_gets_429_and_another_does_not(pool: PgPool) {
    let world = World::start(pool).await;
    world.patch(&format!("/v1/apps/{APP}"), &json!({"settings": {"max_waiting_deliveries": 2}})).await.ok();
    world.app(APP + 1).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.certificate_verb("pause").await;
    for _ in 0..3 {
        world.sent("alice", plain()).await;
    }
    let refused = crate::world::until("the limit", || async {
        let answer = world.post_notification(&world.message("nobody", plain())).await;
        (answer.status != StatusCode::ACCEPTED).then_some(answer)
    })
    .await;
    refused.problem(429, "too-many-waiting-deliveries");
    assert_eq!(refused.headers["retry-after"], "10");
    let before = rows(&world).await;
    world.post_notification(&world.message("alice", plain())).await.problem(429, "too-many-waiting-deliveries");
    assert_eq!(rows(&world).await, before);
    let other = world.post(&format!("/v1/apps/{}/notifications", APP + 1), &world.message("bob", plain())).await;
    assert_eq!(other.status, StatusCode::ACCEPTED);
}

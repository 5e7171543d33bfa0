//! Bad input gets a problem document that names the field, and changes nothing.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, CERTIFICATE, MASTER_KEY, World, answer};

/// What is stored, table by table.
async fn stored(world: &World) -> Vec<i64> {
    let mut counts = Vec::new();
    for sql in [
        "SELECT count(*) FROM apps",
        "SELECT count(*) FROM certificates",
        "SELECT count(*) FROM api_keys",
        "SELECT count(*) FROM devices",
        "SELECT count(*) FROM message_keys",
        "SELECT count(*) FROM notification_contents",
        "SELECT count(*) FROM deliveries",
        "SELECT count(*) FROM delivery_events",
        "SELECT count(*) FROM audit_events",
    ] {
        counts.push(world.count(sql).await);
    }
    counts
}

fn many(count: usize, item: impl Fn(usize) -> Value) -> Value {
    Value::Array((0..count).map(item).collect())
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_bad_notification_names_its_field_and_stores_nothing(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed("alice", "phone", "token-1").await;
    let before = stored(&world).await;
    let good = json!({"message_id": "m1", "to": [{"user_id": "alice"}], "body": "hello"});
    for (change, field) in [
        (json!({"titel": "x"}), "titel"),
        (json!({"body": 5}), "body"),
        (json!({"body": ""}), "body"),
        (json!({"body": "x".repeat(4_097)}), "body"),
        (json!({"body": "a\u{0}b"}), "body"),
        (json!({"title": "x".repeat(4_097)}), "title"),
        (json!({"message_id": ""}), "message_id"),
        (json!({"message_id": "x".repeat(129)}), "message_id"),
        (json!({"part": -1}), "part"),
        (json!({"part": 65_536}), "part"),
        (json!({"to": []}), "to"),
        (json!({"to": many(1_001, |n| json!({"user_id": n.to_string()}))}), "to"),
        (json!({"to": [{"user_id": "alice"}, {"user_id": "alice"}]}), "to[1].user_id"),
        (json!({"to": [{"user_id": "alice"}, {"user_id": "x".repeat(129)}]}), "to[1].user_id"),
        (json!({"to": [{"user_id": "alice", "bagde": 1}]}), "to[0].bagde"),
        (json!({"to": [{"user_id": "alice", "badge": -1}]}), "to[0].badge"),
        (json!({"to": [{}]}), "to[0].user_id"),
        (json!({"to": "alice"}), "to"),
        (json!({"ttl_s": 604_801}), "ttl_s"),
        (json!({"ttl_s": -1}), "ttl_s"),
        (json!({"priority": "urgent"}), "priority"),
        (json!({"data": {"k": "x".repeat(1_024)}}), "data"),
        (json!({"data": [1]}), "data"),
        (json!({"only_devices": many(101, |n| n.to_string().into())}), "only_devices"),
        (json!({"offline_push_info": {"PushFlag": 2}}), "offline_push_info.PushFlag"),
        (
            json!({"offline_push_info": {"AndroidInfo": {"XiaomiChannelID": "x"}}}),
            "offline_push_info.AndroidInfo.XiaomiChannelID",
        ),
    ] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = world.admin(Method::POST, &format!("/v1/apps/{APP}/notifications"), body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{change}");
        assert_eq!((answer.problem(), answer.field()), ("invalid-body", field), "{change}: {answer:?}");
    }
    let missing = world.admin(Method::POST, &format!("/v1/apps/{APP}/notifications"), json!({})).await;
    assert_eq!(missing.field(), "message_id");
    let batch = json!({"notifications": [good, {"message_id": "m2", "to": [], "body": "x"}]});
    let answer = world.admin(Method::POST, &format!("/v1/apps/{APP}/notifications:batch"), batch).await;
    assert_eq!(answer.field(), "notifications[1].to", "a malformed one refuses the whole batch");
    assert_eq!(stored(&world).await, before);
    assert_eq!(world.xiaomi.requests_total(), 0);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn bodies_that_are_none_or_too_large_are_refused(pool: PgPool) {
    let world = World::start(pool).await;
    let before = stored(&world).await;
    let url = format!("{}/v1/apps/{APP}/notifications", world.api);
    let post = || world.http.post(&url).bearer_auth(&world.admin_key);
    let json = |text: &str| post().header("content-type", "application/json").body(text.to_owned());
    for (request, status, code) in [
        (json("{"), 400, "not-json"),
        (json(""), 400, "not-json"),
        (json("{\"body\":\"\u{1}\"}"), 400, "not-json"),
        (json("[] trailing"), 400, "invalid-body"),
        (post().body("{}"), 415, "unsupported-media-type"),
        (post().header("content-type", "text/plain").body("{}"), 415, "unsupported-media-type"),
        (json(&format!("{{\"body\":\"{}\"}}", "x".repeat(1024 * 1024))), 413, "body-too-large"),
    ] {
        let answer = answer(request).await;
        assert_eq!((answer.status.as_u16(), answer.problem()), (status, code));
    }
    assert_eq!(stored(&world).await, before);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn bad_session_events_and_bindings_name_their_field(pool: PgPool) {
    let world = World::start(pool).await;
    let other = json!({"app_id": 2, "name": "Other"});
    world.admin(Method::POST, "/v1/apps", other).await.ok();
    let foreign =
        json!({"vendor": "xiaomi", "certificate_id": 900, "package_name": "p", "app_id": "1", "app_secret": "s"});
    world.admin(Method::POST, "/v1/apps/2/certificates", foreign).await.ok();
    let before = stored(&world).await;
    let good = json!({"user_id": "a", "device_id": "d", "platform": "android", "type": "login", "event_time": world.next_event_ms()});
    let events = format!("/v1/apps/{APP}/session-events");
    for (change, field) in [
        (json!({"platform": "symbian"}), "platform"),
        (json!({"type": "vanish"}), "type"),
        (json!({"event_time": "now"}), "event_time"),
        (json!({"event_time": i64::MAX}), "event_time"),
        (json!({"user_id": ""}), "user_id"),
        (json!({"token": "t"}), "token"),
        (json!({"token": "a,b", "certificate_id": CERTIFICATE}), "token"),
        (json!({"token": "x".repeat(1_025), "certificate_id": CERTIFICATE}), "token"),
        (json!({"link": "close"}), "link"),
        (json!({"device_ids": ["x"]}), "device_ids"),
        (json!({"unread": -1}), "unread"),
        (json!({"when": 1}), "when"),
    ] {
        let mut event = good.clone();
        event.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = world.admin(Method::POST, &events, json!({"events": [good, event]})).await;
        assert_eq!(
            (answer.problem(), answer.field()),
            ("invalid-body", format!("events[1].{field}").as_str()),
            "{change}"
        );
    }
    for count in [0, 1_001] {
        let answer = world.admin(Method::POST, &events, json!({"events": many(count, |_| good.clone())})).await;
        assert_eq!(answer.field(), "events");
    }
    for certificate in [900, 999] {
        let mut login = good.clone();
        login["certificate_id"] = certificate.into();
        login["token"] = "t".into();
        let answer = world.admin(Method::POST, &events, json!({"events": [login]})).await;
        assert_eq!(answer.field(), "events[0].certificate_id");
    }
    let path = format!("/v1/apps/{APP}/users/a/devices/d/binding");
    for (body, field) in [
        (json!({"certificate_id": 900, "token": "t", "platform": "android"}), "certificate_id"),
        (json!({"certificate_id": 999, "token": "t", "platform": "android"}), "certificate_id"),
        (json!({"certificate_id": CERTIFICATE, "token": "", "platform": "android"}), "token"),
        (json!({"certificate_id": CERTIFICATE, "token": "a b", "platform": "android"}), "token"),
        (json!({"certificate_id": CERTIFICATE, "token": "t"}), "platform"),
    ] {
        let answer = world.admin(Method::PUT, &path, body).await;
        assert_eq!((answer.problem(), answer.field()), ("invalid-body", field));
    }
    let long = format!("/v1/apps/{APP}/users/{}/devices/d/binding", "x".repeat(129));
    let body = json!({"certificate_id": CERTIFICATE, "token": "t", "platform": "android"});
    assert_eq!(world.admin(Method::PUT, &long, body).await.problem(), "invalid-parameter");
    assert_eq!(stored(&world).await, before);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn keys_of_the_wrong_scope_or_app_are_refused(pool: PgPool) {
    let world = World::start(pool).await;
    world.admin(Method::POST, "/v1/apps", json!({"app_id": 2, "name": "Other"})).await.ok();
    let mut keys = std::collections::HashMap::new();
    for (name, scope, app) in [
        ("chat", "chat", Some(APP)),
        ("other chat", "chat", Some(2)),
        ("viewer", "viewer", None),
        ("app admin", "admin", Some(APP)),
    ] {
        let made =
            world.admin(Method::POST, "/v1/api-keys", json!({"name": name, "scope": scope, "app_id": app})).await.ok();
        keys.insert(name, (made["key"].as_str().unwrap().to_owned(), made["key_id"].as_str().unwrap().to_owned()));
    }
    let notification =
        Some(json!({"message_id": "m1", "to": [{"user_id": "a"}], "body": "b"}).to_string().into_bytes());
    let notify = format!("/v1/apps/{APP}/notifications");
    let certificates = format!("/v1/apps/{APP}/certificates");
    for (key, method, path, body, status) in [
        ("chat", Method::POST, notify.as_str(), notification.clone(), 202),
        ("other chat", Method::POST, notify.as_str(), notification.clone(), 403),
        ("viewer", Method::POST, notify.as_str(), notification.clone(), 403),
        ("chat", Method::GET, certificates.as_str(), None, 403),
        ("viewer", Method::GET, certificates.as_str(), None, 200),
        ("app admin", Method::GET, certificates.as_str(), None, 200),
        ("app admin", Method::GET, "/v1/apps/2/certificates", None, 403),
        ("app admin", Method::POST, "/v1/apps", Some(br#"{"app_id":3,"name":"x"}"#.to_vec()), 403),
        ("app admin", Method::POST, "/v1/api-keys", Some(br#"{"name":"x","scope":"admin"}"#.to_vec()), 403),
        ("viewer", Method::POST, "/v1/api-keys", Some(br#"{"name":"x","scope":"viewer"}"#.to_vec()), 403),
        ("chat", Method::GET, "/v1/audit-events", None, 403),
        ("app admin", Method::GET, "/v1/audit-events?app_id=2", None, 403),
    ] {
        let answer = world.call(method, path, Some(&keys[key].0), body).await;
        assert_eq!(answer.status.as_u16(), status, "{key} {path}: {answer:?}");
        if status == 403 {
            assert_eq!(answer.problem(), "forbidden");
        }
    }
    let unknown =
        world.call(Method::POST, "/v1/apps/99/notifications", Some(&world.admin_key), notification.clone()).await;
    assert_eq!((unknown.status.as_u16(), unknown.problem()), (404, "not-found"));
    // Revoked: at once.
    let path = format!("/v1/api-keys/{}", keys["chat"].1);
    assert_eq!(world.call(Method::DELETE, &path, Some(&world.admin_key), None).await.status.as_u16(), 204);
    let revoked = world.call(Method::POST, &notify, Some(&keys["chat"].0), notification.clone()).await;
    assert_eq!((revoked.status.as_u16(), revoked.problem()), (401, "unauthorized"));
    assert_eq!(world.call(Method::POST, &notify, None, notification).await.status.as_u16(), 401);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn guessing_keys_is_slowed_down(pool: PgPool) {
    let world =
        World::start_with(pool, &[("SECURITY__FAILED_LOGINS_PER_MINUTE", "3"), ("SECURITY__MASTER_KEY", MASTER_KEY)])
            .await;
    for _ in 0..3 {
        assert_eq!(world.call(Method::GET, "/v1/apps", Some("rouse_guess"), None).await.problem(), "unauthorized");
    }
    let slowed = world.call(Method::GET, "/v1/apps", Some("rouse_guess"), None).await;
    assert_eq!((slowed.status.as_u16(), slowed.problem()), (429, "too-many-failed-logins"));
}

//! Vendor accounts and their secrets.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, CERTIFICATE, PACKAGE, SECRET, World, merged, plain, until};

fn certificates() -> String {
    format!("/v1/apps/{APP}/certificates")
}

fn certificate() -> String {
    format!("/v1/apps/{APP}/certificates/{CERTIFICATE}")
}

fn account() -> Value {
    json!({"vendor": "xiaomi", "package_name": PACKAGE, "app_id": "2882303761500000001", "app_secret": SECRET})
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_operator_chooses_the_id_and_a_taken_one_is_refused_in_every_app(pool: PgPool) {
    let world = World::start(pool).await;
    world.app(APP + 1).await;
    let before = (world.count("certificates").await, world.count("audit_events").await);
    for app in [APP, APP + 1] {
        let taken = merged(account(), json!({"certificate_id": CERTIFICATE}));
        world.post(&format!("/v1/apps/{app}/certificates"), &taken).await.problem(409, "id-taken");
    }
    assert_eq!((world.count("certificates").await, world.count("audit_events").await), before);
    // Without a wish the server chooses, and steps over the fixture's, the first of its own numbers.
    let chosen = world.certificate(APP, json!({})).await["certificate_id"].as_i64().unwrap();
    assert!(chosen > CERTIFICATE);
    assert_eq!(world.certificate(APP + 1, json!({"certificate_id": 7})).await["certificate_id"], 7);
    world.get(&format!("/v1/apps/{APP}/certificates/7")).await.problem(404, "not-found");
    world.delete(&format!("/v1/apps/{APP}/certificates/7")).await.problem(404, "not-found");
    world.patch(&format!("/v1/apps/{APP}/certificates/7"), &json!({"name": "x"})).await.problem(404, "not-found");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn secrets_go_in_and_never_come_out(pool: PgPool) {
    let world = World::start(pool).await;
    let secret = "S3cr3t/never+shown==";
    let mut shown = Vec::new();
    let body = merged(account(), json!({"certificate_id": 7, "app_secret": secret}));
    let path = format!("/v1/apps/{APP}/certificates/7");
    shown.push(world.post(&certificates(), &body).await);
    shown.push(world.get(&path).await);
    shown.push(world.get(&certificates()).await);
    shown.push(world.patch(&path, &json!({"name": "renamed"})).await);
    shown.push(world.patch(&path, &json!({"app_secret": secret})).await);
    shown.push(world.post(&format!("{path}:pause"), &json!({})).await);
    shown.push(world.patch(&path, &json!({"app_secret": [secret]})).await);
    shown.push(world.patch(&path, &json!({"app_secert": secret})).await);
    shown.push(world.post(&certificates(), &body).await);
    shown.push(world.get("/v1/audit-events?limit=200").await);
    shown.push(world.get("/metrics").await);
    for answer in &shown[..shown.len() - 2] {
        if answer.status.is_client_error() {
            continue; // asserted below with all others
        }
        assert!(answer.body["fingerprint"].is_string() || answer.body["items"].is_array(), "{answer:?}");
    }
    for answer in shown {
        assert!(!answer.body.to_string().contains(secret), "{answer:?}");
    }
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT c::text FROM certificates c UNION ALL SELECT a::text FROM audit_events a
         UNION ALL SELECT i::text FROM idempotency_keys i",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert!(rows.len() > 3);
    let sealed: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT sealed FROM certificates").fetch_all(&world.pool).await.unwrap();
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    assert!(rows.iter().all(|row| !row.contains(secret) && !row.contains(&hex)));
    assert!(sealed.iter().all(|bytes| !bytes.windows(secret.len()).any(|window| window == secret.as_bytes())));
    assert!(sealed.iter().all(|bytes| bytes.len() > secret.len()), "sealed, not thrown away");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_fingerprint_tells_whether_two_secrets_are_the_same(pool: PgPool) {
    let world = World::start(pool).await;
    let first = world.shown_certificate().await["fingerprint"].clone();
    assert_eq!(world.certificate(APP, json!({})).await["fingerprint"], first);
    assert_ne!(world.certificate(APP, json!({"app_secret": "other"})).await["fingerprint"], first);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_change_acts_at_once_and_keeps_what_it_does_not_name(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.vendor.add_app("new-secret", PACKAGE);
    let changed = world.patch(&certificate(), &json!({"app_secret": "new-secret", "rate_limit": 50})).await.ok();
    assert_eq!((&changed["package_name"], &changed["rate_limit"]), (&json!(PACKAGE), &json!(50)));
    let notification = world.sent("alice", plain()).await;
    assert_eq!(world.outcome(&notification).await, "accepted");
    assert_eq!(world.vendor.calls()[0].header("authorization"), Some("key=new-secret"));
    let renamed = world.patch(&certificate(), &json!({"name": "main account", "rate_limit": null})).await.ok();
    assert_eq!((&renamed["name"], &renamed["rate_limit"]), (&json!("main account"), &json!(null)));
    assert_eq!(renamed["fingerprint"], changed["fingerprint"], "the secret stays");
    let before = world.shown_certificate().await;
    for (change, field) in [
        (json!({"vendor": "apns"}), "vendor"),
        (json!({"certificate_id": 8}), "certificate_id"),
        (json!({"rate_limit": 0}), "rate_limit"),
        (json!({"package_name": ""}), "package_name"),
        (json!({"region": "mars"}), "region"),
        (json!({"colour": "red"}), "colour"),
        (json!({"defaults": {"template_id": "t"}}), "defaults.template_params"),
    ] {
        let answer = world.patch(&certificate(), &change).await;
        assert_eq!(answer.problem(400, "invalid-body"), field, "{change}");
    }
    assert_eq!(world.shown_certificate().await, before);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_wrong_certificate_names_its_field_and_stores_nothing(pool: PgPool) {
    let world = World::start(pool).await;
    let before = (world.count("certificates").await, world.count("audit_events").await);
    for (fields, field) in [
        (json!({"vendor": "nokia"}), "vendor"),
        (json!({"vendor": 5}), "vendor"),
        (json!({"app_secret": 5}), "app_secret"),
        (json!({"package_name": "x".repeat(129)}), "package_name"),
        (json!({"package_name": "a\0b"}), "package_name"),
        (json!({"region": "mars"}), "region"),
        (json!({"team_id": "x"}), "team_id"),
        (json!({"certificate_id": 0}), "certificate_id"),
        (json!({"certificate_id": 9_007_199_254_740_992_i64}), "certificate_id"),
        (json!({"rate_limit": 100_001}), "rate_limit"),
        (json!({"name": "x".repeat(129)}), "name"),
        (json!({"defaults": {"chanel_id": "x"}}), "defaults.chanel_id"),
        (json!({"defaults": {"click": {"action": "explode"}}}), "defaults.click.action"),
    ] {
        let answer = world.post(&certificates(), &merged(account(), fields.clone())).await;
        assert_eq!(answer.problem(400, "invalid-body"), field, "{fields}");
    }
    for missing in ["vendor", "package_name", "app_secret"] {
        let mut body = account();
        body.as_object_mut().unwrap().remove(missing);
        assert_eq!(world.post(&certificates(), &body).await.problem(400, "invalid-body"), missing);
    }
    assert_eq!((world.count("certificates").await, world.count("audit_events").await), before);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_paused_certificate_makes_no_call_until_it_is_resumed(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let paused = world.certificate_verb("pause").await;
    assert_eq!(paused["state"], "paused");
    assert!(paused["state_reason"].as_str().unwrap().starts_with("paused by "));
    let notification = world.sent("alice", plain()).await;
    world.sweep().await;
    world.sweep().await;
    assert_eq!(world.calls(), 0);
    assert_eq!(world.story(&notification).await["waiting"].as_array().unwrap().len(), 1);
    world.patch(&certificate(), &json!({"name": "still paused"})).await.ok();
    assert_eq!(world.shown_certificate().await["state"], "paused", "a change resumes only what was refused");
    assert_eq!(world.certificate_verb("resume").await["state"], "active");
    // Nobody sweeps by hand: the resumption itself wakes the lane.
    until("the push", || async { (world.vendor.inbox("token-1").len() == 1).then_some(()) }).await;
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn deleting_a_certificate_ends_what_waits_and_skips_what_comes(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    world.certificate_verb("pause").await;
    let notification = world.sent("alice", plain()).await;
    assert_eq!(world.delete(&certificate()).await.status, StatusCode::NO_CONTENT);
    world.get(&certificate()).await.problem(404, "not-found");
    let accepted = world.notify("alice", plain()).await;
    assert_eq!(accepted["skipped"][0]["reason"], "certificate_missing");
    world.maintain().await;
    assert_eq!(world.outcomes(&notification).await, json!({"cancelled": 1}));
    assert_eq!(world.reasons(&notification, "cancelled").await, ["certificate_missing"]);
    assert_eq!((world.calls(), world.count("deliveries").await), (0, 0));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn an_idempotency_key_makes_a_write_happen_once(pool: PgPool) {
    let world = World::start(pool).await;
    let with_key = |path: &str, key: &str, body: &Value| {
        world.answer(world.request(Method::POST, path).header("idempotency-key", key).json(body))
    };
    let first = with_key(&certificates(), "k-1", &account()).await;
    let again = with_key(&certificates(), "k-1", &account()).await;
    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!(first.body, again.body);
    let other = merged(account(), json!({"name": "another"}));
    with_key(&certificates(), "k-1", &other).await.problem(409, "idempotency-key-reused");
    assert_eq!(world.count("certificates").await, 2);
    let other_key = with_key(&certificates(), "k-2", &account()).await.ok();
    assert_ne!(other_key["certificate_id"], first.body["certificate_id"]);
    let app = json!({"app_id": 5, "name": "five"});
    assert_eq!(with_key("/v1/apps", "k-3", &app).await.body, with_key("/v1/apps", "k-3", &app).await.body);
    let key = json!({"name": "chat", "scope": "chat", "app_id": APP});
    let (made, replayed) = (with_key("/v1/api-keys", "k-4", &key).await, with_key("/v1/api-keys", "k-4", &key).await);
    assert_eq!(made.body["key_id"], replayed.body["key_id"]);
    assert!(made.body["key"].is_string() && replayed.body["key"].is_null(), "a replay does not show the key");
    let long = "x".repeat(129);
    assert_eq!(with_key("/v1/apps", &long, &app).await.problem(400, "invalid-parameter"), "Idempotency-Key");
    // The key belongs to the caller: another's is another.
    let admin = world.api_key("admin", Some(APP)).await;
    let request = world.request(Method::POST, &certificates()).header("idempotency-key", "k-1").json(&other);
    let mut request = request.build().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {admin}").parse().unwrap());
    assert_eq!(crate::world::client().execute(request).await.unwrap().status(), StatusCode::CREATED);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn lists_page_by_cursor_and_show_each_row_once(pool: PgPool) {
    let world = World::start(pool).await;
    for number in 1..=6 {
        world.app(number).await;
        world.certificate(APP, json!({"certificate_id": number})).await;
        world.api_key("viewer", None).await;
    }
    for (path, id) in [
        ("/v1/apps".to_owned(), "app_id"),
        (certificates(), "certificate_id"),
        ("/v1/api-keys".to_owned(), "key_id"),
        ("/v1/audit-events".to_owned(), "audit_id"),
    ] {
        let all = world.get(&format!("{path}?limit=200")).await.ok();
        assert_eq!(all["next"], json!(null));
        let all: Vec<Value> = all["items"].as_array().unwrap().iter().map(|item| item[id].clone()).collect();
        let mut paged = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = world.get(&format!("{path}?limit=3{cursor}")).await.ok();
            let items = page["items"].as_array().unwrap();
            assert!((1..=3).contains(&items.len()), "{path}");
            paged.extend(items.iter().map(|item| item[id].clone()));
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(paged, all, "{path}");
        assert!(all.len() >= 7, "{path}");
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn every_write_leaves_an_audit_event(pool: PgPool) {
    let world = World::start(pool).await;
    world.app(5).await;
    world.patch("/v1/apps/5", &json!({"name": "renamed"})).await.ok();
    world.delete("/v1/apps/5").await.ok();
    world.patch(&certificate(), &json!({"name": "renamed"})).await.ok();
    world.certificate_verb("pause").await;
    world.certificate_verb("resume").await;
    world.delete(&certificate()).await.ok();
    let key = world.post("/v1/api-keys", &json!({"name": "view", "scope": "viewer"})).await.ok();
    world.delete(&format!("/v1/api-keys/{}", key["key_id"].as_str().unwrap())).await.ok();
    let audit = world.get("/v1/audit-events").await.ok();
    let events = audit["items"].as_array().unwrap();
    let actions: Vec<&str> = events.iter().rev().map(|event| event["action"].as_str().unwrap()).collect();
    let expected = [
        "api_key.create",
        "app.create",
        "certificate.create",
        "app.create",
        "app.update",
        "app.delete",
        "certificate.update",
        "certificate.pause",
        "certificate.resume",
        "certificate.delete",
        "api_key.create",
        "api_key.revoke",
    ];
    assert_eq!(actions, expected);
    assert_eq!(events.last().unwrap()["actor"], "server", "the first key was made by the server itself");
    assert!(events[..11].iter().all(|event| event["actor"] == "first admin key" && event["key_id"].is_string()));
    let update = events.iter().find(|event| event["action"] == "certificate.update").unwrap();
    assert_eq!(update["detail"]["changed"], json!(["name"]));
    assert_eq!(update["object"], format!("certificate {CERTIFICATE}"));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn an_app_in_use_is_not_deleted(pool: PgPool) {
    let world = World::start(pool).await;
    world.delete(&format!("/v1/apps/{APP}")).await.problem(409, "in-use");
    world.post("/v1/apps", &json!({"app_id": APP, "name": "again"})).await.problem(409, "id-taken");
    world.get(&format!("/v1/apps/{APP}")).await.ok();
    world.delete("/v1/apps/99").await.problem(404, "not-found");
}

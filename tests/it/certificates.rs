//! Certificates, apps, keys and the audit log: the operator's writes.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, CERTIFICATE, PACKAGE, SECRET, World, answer};

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn secrets_go_in_and_never_come_out(pool: PgPool) {
    let world = World::start(pool).await;
    let shown = [
        world.read_certificate(CERTIFICATE).await,
        world.get(&format!("/v1/apps/{APP}/certificates")).await,
        world.get("/v1/audit-events").await,
        world
            .admin(Method::PATCH, &format!("/v1/apps/{APP}/certificates/{CERTIFICATE}"), json!({"name": "n"}))
            .await
            .ok(),
    ];
    for view in shown {
        assert!(!view.to_string().contains(SECRET), "{view}");
    }
    let rows: Vec<(Vec<u8>, Value)> =
        sqlx::query_as("SELECT sealed, identifiers FROM certificates").fetch_all(&world.pool).await.unwrap();
    for (sealed, identifiers) in rows {
        assert!(!sealed.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
        assert!(!identifiers.to_string().contains(SECRET));
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn ids_are_chosen_by_the_operator_or_by_the_server_and_unique_in_it(pool: PgPool) {
    let world = World::start(pool).await;
    let path = format!("/v1/apps/{APP}/certificates");
    let body = |id: Option<i64>| json!({"vendor": "xiaomi", "certificate_id": id, "package_name": "p", "app_id": "1", "app_secret": "s"});
    world.admin(Method::POST, &path, body(Some(10_001))).await.ok();
    let made = world.admin(Method::POST, &path, body(None)).await.ok();
    assert_eq!(made["certificate_id"], 10_002, "steps over an id chosen by hand");
    world.admin(Method::POST, "/v1/apps", json!({"app_id": 2, "name": "Other"})).await.ok();
    let taken = world.admin(Method::POST, "/v1/apps/2/certificates", body(Some(10_001))).await;
    assert_eq!((taken.status.as_u16(), taken.problem()), (409, "id-taken"));
    let foreign = format!("/v1/apps/2/certificates/{CERTIFICATE}");
    assert_eq!(world.call(Method::GET, &foreign, Some(&world.admin_key), None).await.problem(), "not-found");
    for (body, field) in [
        (json!({"vendor": "nokia"}), "vendor"),
        (json!({"vendor": "xiaomi"}), "package_name"),
        (json!({"vendor": "xiaomi", "rate_limit": 0}), "rate_limit"),
        (json!({"vendor": "xiaomi", "certificate_id": 0}), "certificate_id"),
        (json!({"vendor": "xiaomi", "package_name": "p", "app_id": "1", "app_secret": "s", "app_key": "k"}), "app_key"),
    ] {
        let answer = world.admin(Method::POST, &path, body.clone()).await;
        assert_eq!((answer.problem(), answer.field()), ("invalid-body", field), "{body}");
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn an_edit_acts_at_once(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed("alice", "phone", "token-1").await;
    world.xiaomi.add_app("new-secret", PACKAGE);
    let path = format!("/v1/apps/{APP}/certificates/{CERTIFICATE}");
    let change = json!({"app_secret": "new-secret", "defaults": {"channel_id": "999"}});
    let before = world.read_certificate(CERTIFICATE).await;
    let after = world.admin(Method::PATCH, &path, change).await.ok();
    assert_ne!(before["fingerprint"], after["fingerprint"]);
    assert_eq!(after["identifiers"], before["identifiers"], "what was not sent stays");
    let accepted = world.notify("m1", &["alice"], json!({})).await;
    assert_eq!(world.outcome(&accepted).await, "accepted");
    let call = world.xiaomi.calls().pop().unwrap();
    assert_eq!(call.header("authorization"), Some("key=new-secret"));
    assert_eq!(call.field("extra.channel_id"), Some("999"));
    let refused = world.admin(Method::PATCH, &path, json!({"vendor": "fcm"})).await;
    assert_eq!(refused.field(), "vendor");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn every_operator_write_is_in_the_audit_log(pool: PgPool) {
    let world = World::start(pool).await;
    let certificate = format!("/v1/apps/{APP}/certificates/{CERTIFICATE}");
    world.admin(Method::PATCH, &format!("/v1/apps/{APP}"), json!({"name": "Renamed"})).await.ok();
    world.admin(Method::PATCH, &certificate, json!({"app_secret": SECRET})).await.ok();
    world.act(CERTIFICATE, "pause").await;
    world.act(CERTIFICATE, "resume").await;
    let made = world.admin(Method::POST, "/v1/api-keys", json!({"name": "k", "scope": "viewer"})).await.ok();
    let key = format!("/v1/api-keys/{}", made["key_id"].as_str().unwrap());
    world.call(Method::DELETE, &key, Some(&world.admin_key), None).await;
    world.call(Method::DELETE, &certificate, Some(&world.admin_key), None).await;
    let log = world.get("/v1/audit-events").await;
    let actions: Vec<&str> =
        log["items"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        [
            "certificate.delete",
            "api_key.revoke",
            "api_key.create",
            "certificate.resume",
            "certificate.pause",
            "certificate.update",
            "app.update",
            "certificate.create",
            "app.create",
            "api_key.create",
        ]
    );
    assert_eq!(log["items"][5]["detail"]["changed"], json!(["app_secret"]), "named, not shown");
    assert_eq!(log["items"][9]["actor"], "server");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn an_idempotency_key_answers_the_same_again(pool: PgPool) {
    let world = World::start(pool).await;
    let body = |name: &str| {
        json!({"vendor": "xiaomi", "name": name, "package_name": "p", "app_id": "1", "app_secret": "hush-hush"})
            .to_string()
    };
    let post = |body: String| {
        world
            .http
            .post(format!("{}/v1/apps/{APP}/certificates", world.api))
            .bearer_auth(&world.admin_key)
            .header("idempotency-key", "once")
            .header("content-type", "application/json")
            .body(body)
    };
    let first = answer(post(body("a"))).await.ok();
    let again = answer(post(body("a"))).await;
    assert_eq!((again.status.as_u16(), &again.body), (201, &first));
    assert_eq!(answer(post(body("b"))).await.problem(), "idempotency-key-reused");
    assert_eq!(world.count("SELECT count(*) FROM certificates").await, 2);
    let kept: Value = sqlx::query_scalar("SELECT answer FROM idempotency_keys").fetch_one(&world.pool).await.unwrap();
    assert!(!kept.to_string().contains("hush-hush"));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn lists_page_by_cursor(pool: PgPool) {
    let world = World::start(pool).await;
    for id in 1..=5 {
        world.certificate(id, json!({})).await;
    }
    let mut seen = Vec::new();
    let mut path = format!("/v1/apps/{APP}/certificates?limit=2");
    loop {
        let page = world.get(&path).await;
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["certificate_id"].as_i64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/apps/{APP}/certificates?limit=2&cursor={next}");
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, CERTIFICATE]);
    for query in ["limit=0", "limit=201", "cursor=x", "page=2"] {
        let path = format!("/v1/apps/{APP}/certificates?{query}");
        let answer = world.call(Method::GET, &path, Some(&world.admin_key), None).await;
        assert_eq!(answer.problem(), "invalid-parameter", "{query}");
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn an_app_is_deleted_when_nothing_belongs_to_it(pool: PgPool) {
    let world = World::start(pool).await;
    let path = format!("/v1/apps/{APP}");
    let key = world.admin_key.clone();
    assert_eq!(world.call(Method::DELETE, &path, Some(&key), None).await.problem(), "in-use");
    world.call(Method::DELETE, &format!("{path}/certificates/{CERTIFICATE}"), Some(&key), None).await;
    assert_eq!(world.call(Method::DELETE, &path, Some(&key), None).await.status.as_u16(), 204);
    assert_eq!(world.call(Method::GET, &path, Some(&key), None).await.problem(), "not-found");
    let taken = json!({"app_id": 2, "name": "x"});
    world.admin(Method::POST, "/v1/apps", taken.clone()).await.ok();
    assert_eq!(world.admin(Method::POST, "/v1/apps", taken).await.problem(), "id-taken");
    let bad = json!({"settings": {"pending_binding_s": 0}});
    assert_eq!(world.admin(Method::PATCH, "/v1/apps/2", bad).await.field(), "settings.pending_binding_s");
    let bad = json!({"settings": {"colour": "red"}});
    assert_eq!(world.admin(Method::PATCH, "/v1/apps/2", bad).await.field(), "settings.colour");
}

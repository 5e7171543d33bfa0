//! The API as a whole: what the document says is what the server does.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, World};

fn document() -> Value {
    serde_json::to_value(rouse::api::openapi_document()).unwrap()
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn every_path_of_the_document_is_served(pool: PgPool) {
    let world = World::start(pool).await;
    let document = document();
    let served = world.get("/openapi.json").await;
    assert_eq!(served, document);
    let mut count = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let real = path
            .replace("{app}", &APP.to_string())
            .replace("{certificate}", "1")
            .replace("{key}", &uuid::Uuid::nil().to_string())
            .replace("{notification}", &uuid::Uuid::nil().to_string())
            .replace("{user}", "u")
            .replace("{device}", "d");
        for method in methods.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = world.call(method.clone(), &real, Some(&world.admin_key), Some(b"{}".to_vec())).await;
            let text = answer.body.to_string();
            assert!(!text.contains("no-such-path") && !text.contains("method-not-allowed"), "{method} {path}: {text}");
            count += 1;
        }
    }
    assert!(count >= 28, "{count}");
    assert_eq!(world.call(Method::GET, "/v1/nothing", Some(&world.admin_key), None).await.problem(), "no-such-path");
    assert_eq!(world.call(Method::PUT, "/v1/apps", Some(&world.admin_key), None).await.problem(), "method-not-allowed");
}

#[test]
fn the_committed_document_is_the_servers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(committed, document(), "regenerate it: cargo run -- openapi > docs/openapi.json");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn health_readiness_and_metrics_need_no_key(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed("alice", "phone", "token-1").await;
    let accepted = world.notify("m1", &["alice", "nobody"], json!({})).await;
    world.outcome(&accepted).await;
    let open = |path: &'static str| world.call(Method::GET, path, None, None);
    assert_eq!(open("/healthz").await.status.as_u16(), 200);
    assert_eq!(open("/readyz").await.status.as_u16(), 200);
    let metrics = open("/metrics").await.body.as_str().unwrap().to_owned();
    for line in [
        "push_attempts_total{vendor=\"xiaomi\",reason=\"accepted\"}",
        "push_skipped_total{reason=\"no_device\"}",
        "push_notifications_total{result=\"accepted\"}",
        "push_delivery_lag_seconds_count{vendor=\"xiaomi\"}",
        "http_requests_total{route=\"/v1/apps/{app}/notifications\",status=\"202\"}",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    assert!(!metrics.contains("alice") && !metrics.contains("token-1"), "no names in labels");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_batch_answers_for_each_notification(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed("alice", "phone", "token-1").await;
    let one = |id: &str, body: &str| json!({"message_id": id, "to": [{"user_id": "alice"}], "body": body});
    let batch = json!({"notifications": [one("m1", "a"), one("m2", "b"), one("m1", "a"), one("m1", "other")]});
    let answer = world.admin(Method::POST, &format!("/v1/apps/{APP}/notifications:batch"), batch).await.ok();
    let statuses: Vec<_> = answer["results"].as_array().unwrap().iter().map(|result| &result["status"]).collect();
    assert_eq!(statuses, [202, 202, 200, 409]);
    assert_eq!(answer["results"][2]["accepted"]["replayed"], true);
    assert_eq!(answer["results"][3]["problem"]["type"], "/problems/message-id-reused");
    world.run().await;
    assert_eq!(world.received("token-1").len(), 2);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_trace_pages_and_finds_a_user_in_a_message(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed("alice", "phone", "token-1").await;
    for n in 0..7 {
        let accepted = world.notify(&format!("m{n}"), &["alice", "bob", "carol"], json!({})).await;
        world.ended(&accepted).await;
    }
    let mut kinds = Vec::new();
    let mut path = format!("/v1/apps/{APP}/trace?user_id=alice&limit=3");
    loop {
        let page = world.get(&path).await;
        kinds.extend(page["events"].as_array().unwrap().iter().map(|event| event["kind"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/apps/{APP}/trace?user_id=alice&limit=3&cursor={next}");
    }
    assert_eq!(kinds, ["attempt"; 7], "each once, over the pages");
    let trace = world.get(&format!("/v1/apps/{APP}/trace?message_id=m3")).await;
    assert_eq!(trace["events"].as_array().unwrap().len(), 3, "one attempt, two skips");
    let trace = world.get(&format!("/v1/apps/{APP}/trace?message_id=m3&user_id=carol")).await;
    assert_eq!(trace["events"][0]["reason"], "no_device");
    let nobody = world.call(Method::GET, &format!("/v1/apps/{APP}/trace"), Some(&world.admin_key), None).await;
    assert_eq!(nobody.field(), "user_id");
}

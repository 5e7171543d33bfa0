//! The API document says what there is.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, CERTIFICATE, World};

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

fn document() -> Value {
    serde_json::to_value(rouse::api::openapi_document()).unwrap()
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn every_call_of_the_document_is_routed(pool: PgPool) {
    let world = World::start(pool).await;
    let document = document();
    let mut calls = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().filter(|name| METHODS.contains(&name.as_str())) {
            let nobody = "01900000-0000-7000-8000-000000000000";
            let filled = path
                .replace("{app}", &APP.to_string())
                .replace("{certificate}", &CERTIFICATE.to_string())
                .replace("{notification}", nobody)
                .replace("{key}", nobody)
                .replace("{user}", "alice")
                .replace("{device}", "phone")
                .replace("{conversation}", "room-7");
            assert!(!filled.contains('{'), "{path}");
            let method: Method = method.to_uppercase().parse().unwrap();
            let body = (method != Method::GET).then(|| json!({}));
            let answer = world.call_with(Some(&world.key), method.clone(), &filled, body.as_ref()).await;
            let kind = answer.body["type"].as_str().unwrap_or_default();
            assert!(!["/problems/no-such-path", "/problems/method-not-allowed"].contains(&kind), "{method} {path}");
            assert!(answer.status.as_u16() < 500, "{method} {path}: {answer:?}");
            calls += 1;
        }
    }
    assert!(calls >= 25, "{calls}");
    assert_eq!(world.get("/openapi.json").await.ok(), document);
}

#[test]
fn the_committed_document_is_the_programs() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    // Absent before it is first written; `./dev check` compares it too.
    let Ok(text) = std::fs::read_to_string(path) else { return };
    // Not assert_eq: two whole documents would hide the sentence.
    assert!(serde_json::from_str::<Value>(&text).unwrap() == document(), "cargo run -- openapi >docs/openapi.json");
}

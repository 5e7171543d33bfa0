//! Where a vendor is, is configuration; what goes there is the vendor's documented form.

use std::collections::HashMap;

use serde_json::json;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::program::Program;
use crate::world::{APP, CERTIFICATE, LIMIT, client};

/// Reads one request, answers as Xiaomi would, and hands back the raw bytes.
async fn record_one(listener: TcpListener) -> Vec<u8> {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the request broke off: {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))?.1.trim().parse().ok()
        });
        if length.is_some_and(|length: usize| body.len() >= length) {
            break;
        }
    }
    let answer = r#"{"result":"ok","trace_id":"t","code":0,"data":{"id":"sdm1"},"description":"成功"}"#;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(answer.as_bytes()).await.unwrap();
    bytes
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_program_sends_the_documented_request_to_the_configured_host(pool: PgPool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let vendor = listener.local_addr().unwrap();
    let recorded = tokio::spawn(record_one(listener));
    let program = Program::start(&pool, &format!("http://{vendor}"), &[]).await;
    let key = program.key.clone().unwrap();
    let post = |path: String, body: serde_json::Value| {
        let request = client().post(format!("http://{}{path}", program.address)).bearer_auth(&key).json(&body);
        async move { request.send().await.unwrap().error_for_status().unwrap() }
    };
    let event = |kind: &str, fields| {
        let event = json!({"type": kind, "user_id": "alice", "device_id": "phone", "platform": "android",
            "event_time": rouse::clock::Clock::from_wall().now_ms()});
        crate::world::merged(event, fields)
    };
    post("/v1/apps".to_owned(), json!({"app_id": APP, "name": "chat"})).await;
    let certificate = json!({"vendor": "xiaomi", "certificate_id": CERTIFICATE, "package_name": "com.example.chat",
        "app_id": "2882303761500000001", "app_secret": "s+/=cret"});
    post(format!("/v1/apps/{APP}/certificates"), certificate).await;
    let token = json!({"certificate_id": CERTIFICATE, "token": "a+/b=="});
    let events = json!({"events": [event("login", token), event("disconnect", json!({}))]});
    post(format!("/v1/apps/{APP}/session-events"), events).await;
    let message = json!({"message_id": "m", "to": [{"user_id": "alice"}], "title": "小红", "body": "1 + 1 = 2 & more", "ttl_s": 0});
    let sent = post(format!("/v1/apps/{APP}/notifications"), message).await;
    assert_eq!(sent.status(), 202);

    let bytes = tokio::time::timeout(LIMIT, recorded).await.unwrap().unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST /v3/message/regid HTTP/1.1"));
    let headers: HashMap<String, &str> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    assert_eq!(headers["host"], vendor.to_string());
    assert_eq!(headers["authorization"], "key=s+/=cret");
    assert_eq!(headers["content-type"], "application/x-www-form-urlencoded;charset=UTF-8");
    let mut fields: Vec<&str> = body.split('&').filter(|pair| !pair.starts_with("notify_id=")).collect();
    fields.sort_unstable();
    let expected = [
        "description=1+%2B+1+%3D+2+%26+more",
        "extra.notify_effect=1",
        "extra.notify_foreground=0",
        "extra.only_send_once=1",
        "notify_type=-1",
        "pass_through=0",
        "registration_id=a%2B%2Fb%3D%3D",
        "restricted_package_name=com.example.chat",
        "title=%E5%B0%8F%E7%BA%A2",
    ];
    assert_eq!(fields, expected);
    assert!(program.terminate().await.success());
}

//! Vendor hosts are configuration: the real binary, with a plain recording listener in Xiaomi's place.

use reqwest::Method;
use serde_json::json;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::process::Process;
use crate::world::{APP, CERTIFICATE, CHANNEL, PACKAGE, SECRET, database_url};

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_configured_host_gets_the_documented_request(pool: PgPool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let recorded = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 64 * 1024];
        let mut length = 0;
        loop {
            length += connection.read(&mut bytes[length..]).await.unwrap();
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let expected =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if expected == Some(body.len()) {
                    let answer = r#"{"result":"ok","code":0,"data":{"id":"sdm57188602565449273KF"}}"#;
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                        answer.len()
                    );
                    connection.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
                    return text;
                }
            }
        }
    });
    let mut server = Process::start(&database_url(&pool), &[("ROUSE_VENDORS__XIAOMI__CN", &host)]).await;
    server.call(Method::POST, "/v1/apps", json!({"app_id": APP, "name": "Chat"})).await.ok();
    let certificate = json!({"vendor": "xiaomi", "certificate_id": CERTIFICATE, "package_name": PACKAGE, "app_id": "1",
        "app_secret": SECRET, "defaults": {"channel_id": CHANNEL}});
    server.call(Method::POST, &format!("/v1/apps/{APP}/certificates"), certificate).await.ok();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let event = |kind: &str| json!({"user_id": "alice", "device_id": "phone", "platform": "android", "type": kind, "event_time": now});
    let mut login = event("login");
    login["certificate_id"] = CERTIFICATE.into();
    login["token"] = "//9TSU0tWElBT01J+L3g=".into();
    let events = json!({"events": [login, event("disconnect")]});
    server.call(Method::POST, &format!("/v1/apps/{APP}/session-events"), events).await.ok();
    let message = json!({"message_id": "m1", "to": [{"user_id": "alice"}], "title": "小红", "body": "hello"});
    server.call(Method::POST, &format!("/v1/apps/{APP}/notifications"), message).await.ok();
    let request = recorded.await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v3/message/regid HTTP/1.1\r\n"), "{head}");
    let head = head.to_lowercase();
    assert!(head.contains(&format!("\r\nauthorization: key={}", SECRET.to_lowercase())), "{head}");
    assert!(head.contains("\r\ncontent-type: application/x-www-form-urlencoded;charset=utf-8"), "{head}");
    assert!(
        body.starts_with("registration_id=%2F%2F9TSU0tWElBT01J%2BL3g%3D&restricted_package_name=com.example.chat&"),
        "{body}"
    );
    assert!(body.contains("&title=%E5%B0%8F%E7%BA%A2&description=hello&"), "{body}");
    server.terminate().await;
}

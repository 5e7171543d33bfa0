//! The fixture: one server in this process, one simulated Xiaomi, one app with one certificate, and a chat server's calls.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use chrono::TimeDelta;
use reqwest::{Client, Method, StatusCode};
use rouse::clock::Clock;
use rouse::config::Settings;
use rouse::server::{Server, StartOptions};
use rouse::simulator::{XiaomiSimulator, XiaomiWorld};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::PgPool;

pub(crate) const APP: i64 = 1_400_000_001;
pub(crate) const CERTIFICATE: i64 = 500;
pub(crate) const SECRET: &str = "sim-mi-secret==";
pub(crate) const PACKAGE: &str = "com.example.chat";
pub(crate) const CHANNEL: &str = "134567";
/// Any 32 bytes: the tests' master key.
pub(crate) const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub(crate) struct World {
    server: Option<Server>,
    pub(crate) xiaomi: XiaomiSimulator,
    pub(crate) pool: PgPool,
    pub(crate) admin_key: String,
    pub(crate) http: Client,
    pub(crate) api: String,
    event_ms: std::sync::atomic::AtomicI64,
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

impl Answer {
    /// The problem's code, e.g. `invalid-body`.
    pub(crate) fn problem(&self) -> &str {
        assert_eq!(self.content_type, "application/problem+json", "{self:?}");
        self.body["type"].as_str().unwrap().strip_prefix("/problems/").unwrap()
    }

    /// The first field the problem names.
    pub(crate) fn field(&self) -> &str {
        self.body["errors"][0]["field"].as_str().unwrap_or_default()
    }

    pub(crate) fn ok(self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        self.body
    }
}

/// The URL of a test's own database.
pub(crate) fn database_url(pool: &PgPool) -> String {
    let options = pool.connect_options();
    let mut url = url::Url::parse(&std::env::var("DATABASE_URL").expect("./dev test sets DATABASE_URL")).unwrap();
    url.set_path(options.get_database().unwrap());
    url.to_string()
}

pub(crate) async fn simulator() -> XiaomiSimulator {
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let xiaomi = XiaomiSimulator::start(address, XiaomiWorld::default()).await.unwrap();
    xiaomi.add_app(SECRET, PACKAGE);
    xiaomi
}

impl World {
    pub(crate) async fn start(pool: PgPool) -> Self {
        Self::start_with(pool, &[]).await
    }

    /// With settings, e.g. `("DISPATCH__LANE_CAPACITY", "5")`.
    pub(crate) async fn start_with(pool: PgPool, settings: &[(&str, &str)]) -> Self {
        let xiaomi = simulator().await;
        let mut environment: HashMap<String, String> = [
            ("ROUSE_SERVER__LISTEN", "127.0.0.1:0".to_owned()),
            ("ROUSE_SERVER__STOP_DEADLINE_S", "5".to_owned()),
            ("ROUSE_DATABASE__API_CONNECTIONS", "5".to_owned()),
            ("ROUSE_DISPATCH__SWEEP_INTERVAL_MS", "50".to_owned()),
            ("ROUSE_DISPATCH__EXPIRY_INTERVAL_MS", "50".to_owned()),
            ("ROUSE_VENDORS__CALL_TIMEOUT_MS", "2000".to_owned()),
            ("ROUSE_VENDORS__XIAOMI__CN", xiaomi.url()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        environment.extend(settings.iter().map(|(name, value)| (format!("ROUSE_{name}"), (*value).to_owned())));
        let settings = Settings::read(None, environment).unwrap();
        let options = StartOptions {
            database_url: database_url(&pool).into(),
            master_key: MASTER_KEY.to_owned().into(),
            is_sole_user: true,
            clock: Clock::from_wall(),
        };
        let server = Server::start(&settings, options).await.unwrap();
        let admin_key = server.first_key().unwrap().expose_secret().to_owned();
        let world = Self {
            api: format!("http://{}", server.address()),
            event_ms: (server.clock().now().timestamp_millis() - 60_000).into(),
            server: Some(server),
            xiaomi,
            pool,
            admin_key,
            http: Client::builder().no_proxy().build().unwrap(),
        };
        world.admin(Method::POST, "/v1/apps", json!({"app_id": APP, "name": "Chat"})).await.ok();
        world.certificate(CERTIFICATE, json!({})).await;
        world
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("not stopped")
    }

    /// Stops the server as SIGTERM does.
    pub(crate) async fn stop(&mut self) {
        self.server.take().expect("not stopped").stop().await;
    }

    /// Stores a Xiaomi certificate of the app; `change` beats the usual fields.
    pub(crate) async fn certificate(&self, id: i64, change: Value) -> Value {
        let mut body = json!({
            "vendor": "xiaomi", "certificate_id": id, "package_name": PACKAGE, "app_id": "2882303761500000001",
            "app_secret": SECRET, "defaults": {"channel_id": CHANNEL},
        });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        self.admin(Method::POST, &format!("/v1/apps/{APP}/certificates"), body).await.ok()
    }

    /// A call with the admin key.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: Value) -> Answer {
        let key = self.admin_key.clone();
        self.call(method, path, Some(&key), Some(body.to_string().into_bytes())).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let key = self.admin_key.clone();
        self.call(Method::GET, path, Some(&key), None).await.ok()
    }

    pub(crate) async fn call(&self, method: Method, path: &str, key: Option<&str>, body: Option<Vec<u8>>) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.api));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        answer(request).await
    }

    /// The time of the next session event: each a millisecond after the one before, all in the past.
    pub(crate) fn next_event_ms(&self) -> i64 {
        self.event_ms.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    /// Reports one session event that must be applied; `more` beats the usual fields.
    pub(crate) async fn event(&self, user: &str, device: &str, kind: &str, more: Value) {
        let result = self.try_event(user, device, kind, more).await;
        assert_eq!(result["result"], "applied", "{user} {device} {kind}: {result}");
    }

    pub(crate) async fn try_event(&self, user: &str, device: &str, kind: &str, more: Value) -> Value {
        let mut event = json!({
            "user_id": user, "device_id": device, "platform": "android", "type": kind, "event_time": self.next_event_ms(),
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let path = format!("/v1/apps/{APP}/session-events");
        let answer = self.admin(Method::POST, &path, json!({"events": [event]})).await.ok();
        answer["results"][0].clone()
    }

    pub(crate) async fn login(&self, user: &str, device: &str, token: &str) {
        self.event(user, device, "login", json!({"certificate_id": CERTIFICATE, "token": token})).await;
    }

    /// A user with one phone, logged in and then killed.
    pub(crate) async fn killed(&self, user: &str, device: &str, token: &str) {
        self.login(user, device, token).await;
        self.event(user, device, "disconnect", json!({"link": "close"})).await;
    }

    /// Many users with a killed phone each: `user-N` with `token-N`.
    pub(crate) async fn killed_users(&self, count: usize) {
        let path = format!("/v1/apps/{APP}/session-events");
        for chunk in (0..count).collect::<Vec<_>>().chunks(400) {
            let event = |n: &usize, kind: &str| {
                json!({"user_id": format!("user-{n}"), "device_id": format!("phone-{n}"), "platform": "android",
                    "type": kind, "event_time": self.next_event_ms()})
            };
            let events: Vec<Value> = chunk
                .iter()
                .flat_map(|n| {
                    let mut login = event(n, "login");
                    login["certificate_id"] = CERTIFICATE.into();
                    login["token"] = format!("token-{n}").into();
                    [login, event(n, "disconnect")]
                })
                .collect();
            self.admin(Method::POST, &path, json!({"events": events})).await.ok();
        }
    }

    /// Posts a notification that must be accepted; answers the body.
    pub(crate) async fn notify(&self, message_id: &str, users: &[&str], more: Value) -> Value {
        let answer = self.try_notify(message_id, users, more).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        answer.body
    }

    pub(crate) async fn try_notify(&self, message_id: &str, users: &[&str], more: Value) -> Answer {
        let to: Vec<Value> = users.iter().map(|user| json!({"user_id": user})).collect();
        let mut body = json!({"message_id": message_id, "to": to, "body": "hello"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.admin(Method::POST, &format!("/v1/apps/{APP}/notifications"), body).await
    }

    /// Waits until this server holds no delivery in memory.
    pub(crate) async fn idle(&self) {
        tokio::time::timeout(Duration::from_secs(20), self.server().dispatcher().idle()).await.expect("idle in time");
    }

    /// Brings in what is due, and waits until it is done.
    pub(crate) async fn run(&self) {
        self.server().dispatcher().sweep_once().await.unwrap();
        self.idle().await;
    }

    /// What became of a notification.
    pub(crate) async fn story(&self, accepted: &Value) -> Value {
        let id = accepted["notification_id"].as_str().unwrap();
        self.get(&format!("/v1/apps/{APP}/notifications/{id}")).await
    }

    /// Waits until every delivery of a notification has ended; answers the story.
    pub(crate) async fn ended(&self, accepted: &Value) -> Value {
        for _ in 0..400 {
            self.idle().await;
            let story = self.story(accepted).await;
            if story["waiting"].as_array().unwrap().is_empty() {
                return story;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("does not end: {}", self.story(accepted).await);
    }

    /// The one outcome of a notification with one delivery.
    pub(crate) async fn outcome(&self, accepted: &Value) -> String {
        let story = self.ended(accepted).await;
        let outcomes = story["outcomes"].as_object().unwrap();
        assert_eq!(outcomes.len(), 1, "{story}");
        outcomes.keys().next().unwrap().clone()
    }

    pub(crate) fn advance(&self, step: TimeDelta) {
        self.server().clock().advance(step);
    }

    /// The bodies a phone got, oldest first.
    pub(crate) fn received(&self, token: &str) -> Vec<String> {
        self.xiaomi.inbox(token).into_iter().map(|received| received.body.clone()).collect()
    }

    /// The binding status of a device.
    pub(crate) async fn binding(&self, user: &str, device: &str) -> String {
        let devices = self.get(&format!("/v1/apps/{APP}/users/{user}/devices")).await;
        let items = devices["items"].as_array().unwrap();
        let device = items.iter().find(|item| item["device_id"] == device).unwrap();
        device["binding"]["status"].as_str().unwrap_or("none").to_owned()
    }

    pub(crate) async fn act(&self, certificate: i64, verb: &str) -> Value {
        let path = format!("/v1/apps/{APP}/certificates/{certificate}:{verb}");
        self.admin(Method::POST, &path, json!({})).await.ok()
    }

    pub(crate) async fn read_certificate(&self, certificate: i64) -> Value {
        self.get(&format!("/v1/apps/{APP}/certificates/{certificate}")).await
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }
}

/// A test's database can only be dropped when the server has let go of it.
impl Drop for World {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            tokio::spawn(server.stop());
        }
    }
}

pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status();
    let header = response.headers().get("content-type");
    let content_type = header.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let text = response.text().await.unwrap();
    Answer { status, content_type, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

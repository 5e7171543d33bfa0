//! The fixture: one server, one Xiaomi stand-in, one app with one certificate, and a client.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use rouse::clock::Clock;
use rouse::config::Settings;
use rouse::server::{Server, StartOptions};
use rouse::simulator::{XiaomiApp, XiaomiSimulator, XiaomiWorld};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::postgres::PgPool;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const APP: i64 = 1_400_000_001;
pub(crate) const CERTIFICATE: i64 = 10_001;
pub(crate) const PACKAGE: &str = "com.example.chat";
pub(crate) const SECRET: &str = "sim-mi-secret==";
pub(crate) const MASTER_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// Nothing in these tests takes longer, however busy the machine is.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        self.body
    }

    /// Is a problem document of this status and code; answers the field it names, or nothing.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        assert_eq!(self.body["type"], format!("/problems/{code}"), "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        assert!(self.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{self:?}");
        self.body["errors"][0]["field"].as_str().unwrap_or_default().to_owned()
    }
}

/// See the module.
pub(crate) struct World {
    pub(crate) pool: PgPool,
    server: Option<Server>,
    pub(crate) vendor: XiaomiSimulator,
    /// The first admin key.
    pub(crate) key: String,
    http: reqwest::Client,
    messages: AtomicU64,
}

/// The URL of a test's database.
pub(crate) fn database_url(pool: &PgPool) -> String {
    pool.connect_options().to_url_lossy().to_string()
}

/// A client that waits no longer than a test may.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(LIMIT).no_proxy().build().unwrap()
}

/// A strict stand-in that knows the fixture's account.
pub(crate) async fn vendor() -> XiaomiSimulator {
    let world = XiaomiWorld { apps: vec![XiaomiApp::new(SECRET, PACKAGE)], ..XiaomiWorld::default() };
    XiaomiSimulator::start(SocketAddr::from(([127, 0, 0, 1], 0)), world).await.unwrap()
}

/// A server on a test's database, with intervals that suit tests.
async fn serve(pool: &PgPool, vendor: &XiaomiSimulator, settings: &[(&str, &str)]) -> Server {
    let mut variables: HashMap<String, String> = [
        ("SERVER__LISTEN", "127.0.0.1:0"),
        ("SERVER__STOP_DEADLINE_S", "5"),
        ("DISPATCH__SWEEP_INTERVAL_MS", "20"),
        ("DISPATCH__EXPIRY_INTERVAL_MS", "50"),
        ("VENDORS__XIAOMI__CN", &vendor.url()),
    ]
    .iter()
    .chain(settings)
    .map(|(name, value)| (format!("ROUSE_{name}"), (*value).to_owned()))
    .collect();
    variables.entry("ROUSE_VENDORS__CALL_TIMEOUT_MS".to_owned()).or_insert_with(|| "5000".to_owned());
    let settings = Settings::read(None, variables).unwrap();
    let options = StartOptions {
        database_url: database_url(pool).into(),
        master_key: MASTER_KEY.to_owned().into(),
        is_sole_user: false,
        clock: Clock::from_wall(),
    };
    Server::start(&settings, options).await.unwrap()
}

/// Asks until there is an answer, for what nothing notifies of.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let since = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(since.elapsed() < LIMIT, "{what} has not happened");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl World {
    /// With the defaults, and intervals that suit tests.
    pub(crate) async fn start(pool: PgPool) -> Self {
        Self::with(pool, &[]).await
    }

    /// With settings of its own: `("DISPATCH__LANE_CAPACITY", "5")`.
    pub(crate) async fn with(pool: PgPool, settings: &[(&str, &str)]) -> Self {
        let vendor = vendor().await;
        let server = serve(&pool, &vendor, settings).await;
        let key = server.first_key().unwrap().expose_secret().to_owned();
        let world = Self { pool, server: Some(server), vendor, key, http: client(), messages: AtomicU64::new(0) };
        world.app(APP).await;
        world.certificate(APP, json!({"certificate_id": CERTIFICATE})).await;
        world
    }

    /// One more server on the same database.
    pub(crate) async fn another_server(&self) -> Server {
        serve(&self.pool, &self.vendor, &[]).await
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Stops the server as SIGTERM does.
    pub(crate) async fn stop(&mut self) {
        self.server.take().unwrap().stop().await;
    }

    /// Calls the API with any key and body.
    pub(crate) async fn call_with(
        &self,
        key: Option<&str>,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let mut request = self.http.request(method, format!("http://{}{path}", self.server().address()));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request).await
    }

    /// A request to the API that the caller makes himself, already with the admin key.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.server().address())).bearer_auth(&self.key)
    }

    /// Sends a request.
    pub(crate) async fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call_with(Some(&self.key), Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call_with(Some(&self.key), Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call_with(Some(&self.key), Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call_with(Some(&self.key), Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call_with(Some(&self.key), Method::DELETE, path, None).await
    }

    /// Makes an app.
    pub(crate) async fn app(&self, app_id: i64) {
        self.post("/v1/apps", &json!({"app_id": app_id, "name": format!("app {app_id}")})).await.ok();
    }

    /// Makes a certificate of the fixture's account; `fields` are added or replace.
    pub(crate) async fn certificate(&self, app_id: i64, fields: Value) -> Value {
        let body = merged(
            json!({"vendor": "xiaomi", "package_name": PACKAGE, "app_id": "2882303761500000001", "app_secret": SECRET}),
            fields,
        );
        self.post(&format!("/v1/apps/{app_id}/certificates"), &body).await.ok()
    }

    /// A certificate as the API shows it.
    pub(crate) async fn shown_certificate(&self) -> Value {
        self.get(&format!("/v1/apps/{APP}/certificates/{CERTIFICATE}")).await.ok()
    }

    /// `pause` or `resume`.
    pub(crate) async fn certificate_verb(&self, verb: &str) -> Value {
        self.post(&format!("/v1/apps/{APP}/certificates/{CERTIFICATE}:{verb}"), &json!({})).await.ok()
    }

    /// A key of this scope.
    pub(crate) async fn api_key(&self, scope: &str, app_id: Option<i64>) -> String {
        let key = self.post("/v1/api-keys", &json!({"name": scope, "scope": scope, "app_id": app_id})).await.ok();
        key["key"].as_str().unwrap().to_owned()
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.server().clock().now().timestamp_millis()
    }

    /// Reports session events; answers the result of each.
    pub(crate) async fn events(&self, events: &Value) -> Vec<String> {
        let answer = self.post(&format!("/v1/apps/{APP}/session-events"), &json!({"events": events})).await.ok();
        let results = answer["results"].as_array().unwrap();
        results.iter().map(|result| result["result"].as_str().unwrap().to_owned()).collect()
    }

    /// An event of an Android phone, now.
    pub(crate) fn event(&self, kind: &str, user: &str, device: &str) -> Value {
        json!({"type": kind, "user_id": user, "device_id": device, "platform": "android", "event_time": self.now_ms()})
    }

    /// Reports one event and expects it to be applied.
    pub(crate) async fn report(&self, kind: &str, user: &str, device: &str) {
        assert_eq!(self.events(&json!([self.event(kind, user, device)])).await, ["applied"], "{kind} {user} {device}");
    }

    /// A user signs in with a token of the fixture's certificate.
    pub(crate) async fn login(&self, user: &str, device: &str, token: &str) {
        let login = merged(self.event("login", user, device), json!({"certificate_id": CERTIFICATE, "token": token}));
        assert_eq!(self.events(&json!([login])).await, ["applied"]);
    }

    pub(crate) async fn kill(&self, user: &str, device: &str) {
        self.report("disconnect", user, device).await;
    }

    /// Logged in, then killed.
    pub(crate) async fn killed_phone(&self, user: &str, device: &str, token: &str) {
        self.login(user, device, token).await;
        self.kill(user, device).await;
    }

    /// Many killed phones: user `{prefix}{n}` with device `phone` and token `token-{prefix}{n}`.
    pub(crate) async fn killed_phones(&self, prefix: &str, count: usize) -> Vec<String> {
        let users: Vec<String> = (0..count).map(|number| format!("{prefix}{number}")).collect();
        for some in users.chunks(500) {
            let events: Vec<Value> = some
                .iter()
                .flat_map(|user| {
                    let token = json!({"certificate_id": CERTIFICATE, "token": format!("token-{user}")});
                    let device = format!("phone-{user}");
                    [merged(self.event("login", user, &device), token), self.event("disconnect", user, &device)]
                })
                .collect();
            let results = self.events(&Value::Array(events)).await;
            assert!(results.iter().all(|result| result == "applied"));
        }
        users
    }

    /// Reports a token outside a login; answers the status and the answer.
    pub(crate) async fn bind(&self, user: &str, device: &str, token: &str) -> Answer {
        let body = json!({"certificate_id": CERTIFICATE, "token": token, "platform": "android"});
        self.put(&format!("/v1/apps/{APP}/users/{user}/devices/{device}/binding"), &body).await
    }

    /// A user's device as the API shows it.
    pub(crate) async fn device(&self, user: &str, device: &str) -> Value {
        let devices = self.get(&format!("/v1/apps/{APP}/users/{user}/devices")).await.ok();
        let devices = devices["items"].as_array().unwrap();
        devices.iter().find(|shown| shown["device_id"] == device).cloned().unwrap_or_default()
    }

    /// The status of a binding.
    pub(crate) async fn binding(&self, user: &str, device: &str) -> String {
        self.device(user, device).await["binding"]["status"].as_str().unwrap_or_default().to_owned()
    }

    /// A body for `notifications`, with a message id of its own.
    pub(crate) fn message(&self, user: &str, fields: Value) -> Value {
        let number = self.messages.fetch_add(1, Ordering::Relaxed);
        merged(json!({"message_id": format!("m-{number}"), "to": [{"user_id": user}], "body": "hello"}), fields)
    }

    /// Posts a notification body.
    pub(crate) async fn post_notification(&self, body: &Value) -> Answer {
        self.post(&format!("/v1/apps/{APP}/notifications"), body).await
    }

    /// Notifies one user; answers the accepted notification.
    pub(crate) async fn notify(&self, user: &str, fields: Value) -> Value {
        let answer = self.post_notification(&self.message(user, fields)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        answer.body
    }

    /// Notifies one user and answers the notification's id.
    pub(crate) async fn sent(&self, user: &str, fields: Value) -> String {
        id(&self.notify(user, fields).await)
    }

    /// Resolves when no delivery is in memory.
    pub(crate) async fn idle(&self) {
        tokio::time::timeout(LIMIT, self.server().dispatcher().idle()).await.unwrap();
    }

    /// Sends what is due, and ends what is past its time.
    pub(crate) async fn sweep(&self) {
        self.idle().await;
        self.server().dispatcher().sweep_once().await.unwrap();
        self.idle().await;
    }

    /// What became of a notification.
    pub(crate) async fn story(&self, notification: &str) -> Value {
        self.get(&format!("/v1/apps/{APP}/notifications/{notification}")).await.ok()
    }

    /// The outcomes of a notification, by count, when nothing of it waits any more; retries need not wait for their time.
    pub(crate) async fn outcomes(&self, notification: &str) -> Value {
        let since = Instant::now();
        loop {
            self.sweep().await;
            let story = self.story(notification).await;
            if story["waiting"] == json!([]) {
                return story["outcomes"].clone();
            }
            assert!(since.elapsed() < LIMIT, "still waits: {story}");
            self.hurry().await;
        }
    }

    /// How one delivery ended.
    pub(crate) async fn outcome(&self, notification: &str) -> String {
        let outcomes = self.outcomes(notification).await;
        let outcomes = outcomes.as_object().unwrap();
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        outcomes.keys().next().unwrap().clone()
    }

    /// The same, where nothing may be tried again.
    pub(crate) async fn idle_outcome(&self, notification: &str) -> String {
        self.idle().await;
        let story = self.story(notification).await;
        assert_eq!(story["waiting"], json!([]), "{story}");
        story["outcomes"].as_object().unwrap().keys().next().unwrap().clone()
    }

    /// What waits is due now.
    pub(crate) async fn hurry(&self) {
        sqlx::query("UPDATE deliveries SET due_at = now() - interval '1 minute' WHERE owner IS NULL")
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// The events of a notification of one kind, oldest first.
    pub(crate) async fn told(&self, notification: &str, kind: &str) -> Vec<Value> {
        let story = self.story(notification).await;
        story["events"].as_array().unwrap().iter().filter(|event| event["kind"] == kind).cloned().collect()
    }

    /// The reasons of a notification's events of one kind.
    pub(crate) async fn reasons(&self, notification: &str, kind: &str) -> Vec<String> {
        let events = self.told(notification, kind).await;
        events.iter().map(|event| event["reason"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A user's time line, newest first.
    pub(crate) async fn trace(&self, user: &str) -> Value {
        self.get(&format!("/v1/apps/{APP}/trace?user_id={user}")).await.ok()
    }

    /// How many of the calls so far reached the vendor's send.
    pub(crate) fn calls(&self) -> usize {
        self.vendor.calls().len()
    }

    /// Rows of a table.
    pub(crate) async fn count(&self, table: &'static str) -> i64 {
        let statement = match table {
            "deliveries" => "SELECT count(*) FROM deliveries",
            "devices" => "SELECT count(*) FROM devices",
            "message_keys" => "SELECT count(*) FROM message_keys",
            "notification_contents" => "SELECT count(*) FROM notification_contents",
            "delivery_events" => "SELECT count(*) FROM delivery_events",
            "certificates" => "SELECT count(*) FROM certificates",
            "audit_events" => "SELECT count(*) FROM audit_events",
            other => unreachable!("no statement for {other}"),
        };
        sqlx::query_scalar(statement).fetch_one(&self.pool).await.unwrap()
    }

    /// One round of what the server does for itself every minute.
    pub(crate) async fn maintain(&self) {
        let retention = Settings::read(None, HashMap::new()).unwrap().retention;
        rouse::maintenance::once(self.server().database(), &retention).await.unwrap();
    }

    /// Moves the server's time ahead.
    pub(crate) fn advance(&self, step: TimeDelta) {
        self.server().clock().advance(step);
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

/// `fields` added to an object, in place of what has the same name.
pub(crate) fn merged(mut object: Value, fields: Value) -> Value {
    if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
        object.extend(fields);
    }
    object
}

/// The id of an accepted notification.
pub(crate) fn id(accepted: &Value) -> String {
    accepted["notification_id"].as_str().unwrap().to_owned()
}

/// Nothing to add to a message.
pub(crate) fn plain() -> Value {
    json!({})
}

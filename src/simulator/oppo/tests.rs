//! The worked example of the document (section 12) byte by byte, and the rules of section 11 over a socket.

mod auth;
mod rules;
mod targets;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::simulator::testing::{RawAnswer, any_port, exchange, try_exchange};
use crate::simulator::{Fault, Hidden, Misbehaviour, TokenState};

const KEY: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
const ID: &str = "OPPO_CN_b6bbd94b59cdb5df8391642c1509b7fe";
/// The moment of the worked example: eight in the morning in China.
const NOW_MS: i64 = 1_735_689_600_000;
const HOUR_MS: i64 = 3_600_000;

const AUTH: &str = "/server/v1/auth";
const UNICAST: &str = "/server/v1/message/notification/unicast";
const BATCH: &str = "/server/v1/message/notification/unicast_batch";
const SAVE: &str = "/server/v1/message/notification/save_message_content";
const BROADCAST: &str = "/server/v1/message/notification/broadcast";

const SIGNED: &str = "app_key=a1b2c3d4e5f60718293a4b5c6d7e8f90&timestamp=1735689600000&sign=6f88b1e65fed8a8e0680d8f2728ad3081f2fdf361bd4f11683cfe0f57254a645";
const EXAMPLE: &str = "auth_token=58ad47319e8d725350a5afd5&message=%7B%22target_type%22%3A2%2C%22target_value%22%3A%22OPPO_CN_b6bbd94b59cdb5df8391642c1509b7fe%22%2C%22verify_registration_id%22%3Atrue%2C%22notification%22%3A%7B%22app_message_id%22%3A%2201JD8Q6W9Z3X5Y7R2T4V6B8N0M%22%2C%22style%22%3A1%2C%22title%22%3A%22Li+Wei%22%2C%22content%22%3A%22%E6%99%9A%E4%B8%8A%E4%B8%83%E7%82%B9%E5%BC%80%E4%BC%9A%22%2C%22click_action_type%22%3A5%2C%22click_action_url%22%3A%22imapp%3A%2F%2Fchat%2Fc_8801%22%2C%22action_parameters%22%3A%22%7B%5C%22conv%5C%22%3A%5C%22c_8801%5C%22%2C%5C%22seq%5C%22%3A%5C%2242%5C%22%7D%22%2C%22off_line%22%3Atrue%2C%22off_line_ttl%22%3A86400%2C%22channel_id%22%3A%22im_message%22%2C%22category%22%3A%22IM%22%2C%22notify_level%22%3A2%2C%22private_msg_template_id%22%3A%22tpl_001%22%2C%22call_back_url%22%3A%22https%3A%2F%2Fpush.example.com%2Fr%2Foppo%2F9f2c%22%2C%22call_back_parameter%22%3A%22k1%3A01JD8Q6W%22%7D%7D";
const EXAMPLE_TOKEN: &str = "58ad47319e8d725350a5afd5";

/// A stand-in on a clock of its own, with an access token.
struct World {
    simulator: OppoSimulator,
    clock: Arc<AtomicI64>,
    token: String,
}

impl World {
    async fn start(world: OppoWorld) -> Self {
        let clock = Arc::new(AtomicI64::new(NOW_MS));
        let ticks = Arc::clone(&clock);
        let now = Arc::new(move || ticks.load(Ordering::Relaxed));
        let simulator = OppoSimulator::start(any_port(), OppoWorld { now, ..world }).await.unwrap();
        let mut world = Self { simulator, clock, token: String::new() };
        world.authenticate().await;
        world
    }

    /// One app, as in the worked example, with changes.
    async fn with(app: impl FnOnce(OppoApp) -> OppoApp) -> Self {
        Self::start(OppoWorld { apps: vec![app(OppoApp::new(KEY, SECRET))], ..OppoWorld::default() }).await
    }

    async fn new() -> Self {
        Self::with(|app| app).await
    }

    async fn authenticate(&mut self) {
        let granted = self.post(AUTH, SIGNED).await;
        granted["data"]["auth_token"].as_str().unwrap_or_default().clone_into(&mut self.token);
    }

    fn advance(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    async fn raw(&self, request: &str) -> RawAnswer {
        exchange(&self.simulator.url(), request.as_bytes()).await
    }

    async fn post(&self, path: &str, body: &str) -> Value {
        let answer = self.raw(&request(path, body)).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json;charset=UTF-8")));
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn form(&self, fields: &[(&str, &str)]) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("auth_token", &self.token).extend_pairs(fields).finish()
    }

    async fn unicast(&self, message: &Value) -> Value {
        self.post(UNICAST, &self.form(&[("message", &message.to_string())])).await
    }

    /// The code of a send with members of the notification changed.
    async fn send(&self, changes: &[(&str, Value)]) -> i64 {
        code(&self.unicast(&message(ID, changes)).await)
    }

    async fn batch(&self, messages: &Value) -> Value {
        self.post(BATCH, &self.form(&[("messages", &messages.to_string())])).await
    }

    async fn save(&self, fields: &[(&str, &str)]) -> Value {
        let all = [&[("title", "a"), ("content", "b"), ("category", "NEWS")], fields].concat();
        self.post(SAVE, &self.form(&all)).await
    }

    async fn broadcast(&self, message_id: &str, ids: &str) -> Value {
        let fields = [("message_id", message_id), ("target_type", "2"), ("target_value", ids)];
        self.post(BROADCAST, &self.form(&fields)).await
    }
}

/// The document's request around a body, with its headers as printed there.
fn request(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: api.push.oppomobile.com\r\n\
         Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn code(answer: &Value) -> i64 {
    answer["code"].as_i64().unwrap()
}

/// The id of device `n`.
fn id(n: usize) -> String {
    format!("CN_{n:032x}")
}

/// A message that is right, with members of its notification added or replaced; `null` takes one away.
fn message(target: &str, changes: &[(&str, Value)]) -> Value {
    let notification = json!({ "title": "a", "content": "b", "category": "IM" });
    json!({ "target_type": 2, "target_value": target, "notification": changed(notification, changes) })
}

fn changed(mut body: Value, changes: &[(&str, Value)]) -> Value {
    for (name, value) in changes {
        body[*name] = value.clone();
    }
    body
}

#[tokio::test]
async fn the_worked_example_is_accepted_and_reaches_the_inbox() {
    assert_eq!((SIGNED.len(), EXAMPLE.len()), (134, 915), "as the document says");
    let world = World::with(|app| OppoApp { template_required: true, ..app }).await;
    let granted = world.raw(&request(AUTH, SIGNED)).await.text();
    let token = granted.strip_prefix(r#"{"code":0,"message":"success","data":{"auth_token":""#).unwrap();
    let token = token.strip_suffix(r#"","create_time":"1735689600000"}}"#).unwrap();
    assert!(token.len() == 24 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{granted}");

    let answer = world.raw(&request(UNICAST, &EXAMPLE.replace(EXAMPLE_TOKEN, token))).await.text();
    let inbox = world.simulator.inbox(ID);
    let received = &inbox[0];
    assert_eq!(answer, format!(r#"{{"code":0,"message":"","data":{{"messageId":"{}"}}}}"#, received.message_id));
    assert!(world.simulator.has_message_id(&received.message_id));
    assert!(!world.simulator.has_message_id("ZngnvJIM7wQusNtbqYnpH6XX-1-1-622ff7cfae27668d2ed3afec"));
    assert_eq!((received.title.as_str(), received.body.as_str()), ("Li Wei", "晚上七点开会"));
    assert_eq!(received.payload.as_deref(), Some(r#"{"conv":"c_8801","seq":"42"}"#));
    assert_eq!(
        (received.extras["seq"].as_str(), received.ttl_ms, received.app.as_str()),
        ("42", Some(86_400_000), KEY)
    );
    assert_eq!(received.dedupe_key.as_deref(), Some("01JD8Q6W9Z3X5Y7R2T4V6B8N0M"));
    assert_eq!(received.delivery_key, received.dedupe_key);
    assert_eq!((received.channel.as_deref(), received.push_type.as_deref()), (Some("im_message"), Some("IM")));
    assert_eq!((received.notify_id.as_deref(), received.at_ms), (None, NOW_MS));
    let call = world.simulator.calls().pop().unwrap();
    assert_eq!((call.code.as_deref(), call.warnings.len()), (Some("0"), 0));
    assert_eq!((world.simulator.endpoint(UNICAST).accepted, world.simulator.access_tokens_granted()), (1, 2));
}

#[tokio::test]
async fn the_failures_of_the_example_have_the_documents_answers() {
    let world = World::with(|app| OppoApp { template_required: true, daily_total: Some(0), ..app }).await;
    let example = EXAMPLE.replace(EXAMPLE_TOKEN, &world.token);
    let cases = [
        (example.replace("OPPO_CN_", "OPPO_CN_x"), r#"{"code":10000,"message":"registration_id格式不正确"}"#),
        (EXAMPLE.to_owned(), r#"{"code":11,"message":"Invalid AuthToken"}"#),
        (example.clone(), r#"{"code":33,"message":"The number of messages exceeds the daily limit"}"#),
        (example.replace("tpl_001", ""), r#"{"code":54,"message":"private_msg_template_id is null"}"#),
    ];
    for (body, wanted) in cases {
        assert_eq!(world.raw(&request(UNICAST, &body)).await.text(), wanted);
    }
    assert_eq!(world.simulator.inbox(ID), []);
}

#[tokio::test]
async fn what_the_vendors_sdk_sends_is_taken() {
    let world = World::new().await;
    let sdk = [
        ("style", json!(1)),
        ("click_action_type", json!(0)),
        ("action_parameters", json!(r#"{"ext":"{\"conv\":\"c1\"}"}"#)),
        ("app_message_id", json!("m-1")),
        ("off_line", json!(true)),
        ("off_line_ttl", json!(3_600)),
        ("network_type", json!(0)),
        ("show_time_type", json!(0)),
        ("push_time_type", json!(0)),
        ("time_zone", json!("GMT+08:00")),
        ("auditResponse", json!({ "any": 1 })),
        ("unknown", json!([1])),
    ];
    let message = message(ID, &sdk).to_string();
    let fields = [("message", message.as_str()), ("sdk_version", "JAVA_SDK_V1.0.0")];
    assert_eq!(code(&world.post(UNICAST, &world.form(&fields)).await), 0);
    assert_eq!(world.simulator.inbox(ID)[0].payload.as_deref(), Some(r#"{"conv":"c1"}"#));
    assert_eq!(code(&world.post(AUTH, &format!("{SIGNED}&sdk_version=JAVA_SDK_V1.0.0")).await), 0);

    let header = request(
        UNICAST,
        &format!("message={}", url::form_urlencoded::byte_serialize(message.as_bytes()).collect::<String>()),
    );
    assert_eq!(world.raw(&header).await.text(), r#"{"code":29,"message":"auth_token is missing"}"#);
    let header = header.replacen("Host:", &format!("auth_token: {}\r\nHost:", world.token), 1);
    assert!(world.raw(&header).await.text().starts_with(r#"{"code":0,"#));
}

#[tokio::test]
async fn scripted_codes_come_in_the_vendors_envelope() {
    let world = World::new().await;
    let scripted = [
        ("10000", None, r#"{"code":10000,"message":"registration_id格式不正确"}"#),
        ("55", None, r#"{"code":55,"message":"error"}"#),
        ("19999", Some("why"), r#"{"code":19999,"message":"why"}"#),
        ("what", None, r#"{"code":-1,"message":"Service Currently Unavailable"}"#),
    ];
    let example = request(UNICAST, &EXAMPLE.replace(EXAMPLE_TOKEN, &world.token));
    for (code, reason, wanted) in scripted {
        let reason = reason.map(ToOwned::to_owned);
        world.simulator.fault(Fault::once(Misbehaviour::Code { code: code.into(), reason }));
        assert_eq!(world.raw(&example).await.text(), wanted);
    }
    world.simulator.answer_next(16);
    assert_eq!(world.post(AUTH, SIGNED).await, json!({ "code": 16, "message": "error" }));
    world.simulator.answer_next(-2);
    assert_eq!(code(&world.batch(&json!([message(ID, &[])])).await), -2);
    world.simulator.answer_next(503);
    let fault = world.raw(&example).await;
    assert_eq!((fault.status, fault.header("content-type")), (503, Some("text/html")));
    assert_eq!(world.simulator.inbox(ID), []);
}

#[tokio::test]
async fn counters_only_keeps_no_notification_and_no_call() {
    let apps = vec![OppoApp::new(KEY, SECRET)];
    let world = World::start(OppoWorld { counters_only: true, apps, ..OppoWorld::default() }).await;
    for notify_id in [5, 5, 6] {
        let ext = ("action_parameters", json!(r#"{"ext":"p"}"#));
        assert_eq!(world.send(&[ext, ("notify_id", json!(notify_id))]).await, 0);
    }
    let simulator = &world.simulator;
    assert_eq!((simulator.inbox(ID).len(), simulator.calls().len(), simulator.received_total()), (0, 0, 3));
    assert_eq!((simulator.payload_count("p"), simulator.notify_id_count("5")), (3, 2));
}

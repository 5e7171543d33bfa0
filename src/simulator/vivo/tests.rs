//! The worked example of the document (section 12) byte by byte, and the rules of section 11 over a socket.

mod auth;
mod rules;
mod targets;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::simulator::testing::{RawAnswer, any_port, exchange, try_exchange};
use crate::simulator::{Fault, Hidden, Misbehaviour};

const APP_ID: u64 = 100_215_079;
const KEY: &str = "0b2a7e5c-4d11-4f0e-9c33-5e8f2b6a9d10";
const SECRET: &str = "3f9d1c84-77aa-4b52-8e6d-c0a1b2d3e4f5";
const REG_ID: &str = "v2-CR000000000000000000000000000000000000000000000000000001";
/// The moment of the worked example: eight in the morning in China.
const NOW_MS: i64 = 1_735_689_600_000;
const HOUR_MS: i64 = 3_600_000;

const AUTH: &str = r#"{"appId":100215079,"appKey":"0b2a7e5c-4d11-4f0e-9c33-5e8f2b6a9d10","timestamp":1735689600000,"sign":"22350934aecd0c669616a80a1419e0dc"}"#;
const SEND: &str = r#"{"appId":100215079,"regId":"v2-CR000000000000000000000000000000000000000000000000000001","notifyType":4,"title":"Li Wei","content":"晚上七点开会,带上文件","timeToLive":86400,"skipType":4,"skipContent":"intent://chat/c_8801#Intent;scheme=imapp;package=com.example.im;launchFlags=0x10000000;end","networkType":-1,"classification":1,"category":"IM","clientCustomMap":{"conv":"c_8801","seq":"42"},"extra":{"callback.id":"17","callback.param":"k1:01JD8Q6W"},"requestId":"01JD8Q6W9Z3X5Y7R2T4V6B8N0M","pushMode":0,"notifyId":880142,"foregroundShow":false,"addBadge":true}"#;

/// A stand-in on a clock of its own, with an access token.
struct World {
    simulator: VivoSimulator,
    clock: Arc<AtomicI64>,
    token: String,
}

impl World {
    async fn start(world: VivoWorld) -> Self {
        let clock = Arc::new(AtomicI64::new(NOW_MS));
        let ticks = Arc::clone(&clock);
        let now = Arc::new(move || ticks.load(Ordering::Relaxed));
        let simulator = VivoSimulator::start(any_port(), VivoWorld { now, ..world }).await.unwrap();
        let mut world = Self { simulator, clock, token: String::new() };
        let granted = world.post("/message/auth", AUTH).await;
        granted["authToken"].as_str().unwrap_or_default().clone_into(&mut world.token);
        world
    }

    /// One app, as in the worked example, with changes.
    async fn with(app: impl FnOnce(VivoApp) -> VivoApp) -> Self {
        Self::start(VivoWorld { apps: vec![app(VivoApp::new(APP_ID, KEY, SECRET))], ..VivoWorld::default() }).await
    }

    async fn new() -> Self {
        Self::with(|app| app).await
    }

    fn advance(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    /// The document's request around a body, with its headers as printed there.
    fn request(&self, path: &str, body: &str) -> String {
        let token = if path == "/message/auth" { String::new() } else { format!("authToken: {}\r\n", self.token) };
        format!(
            "POST {path} HTTP/1.1\r\nHost: api-push.vivo.com.cn\r\nContent-Type: application/json;charset=UTF-8\r\n\
             {token}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    async fn raw(&self, request: &str) -> RawAnswer {
        exchange(&self.simulator.url(), request.as_bytes()).await
    }

    async fn post(&self, path: &str, body: &str) -> Value {
        let answer = self.raw(&self.request(path, body)).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json;charset=UTF-8")));
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn result(&self, path: &str, body: &Value) -> i64 {
        self.post(path, &body.to_string()).await["result"].as_i64().unwrap()
    }

    async fn send(&self, changes: &[(&str, Value)]) -> i64 {
        self.result("/message/send", &message(changes)).await
    }

    async fn save(&self, changes: &[(&str, Value)]) -> Value {
        self.post("/message/saveListPayload", &message(changes).to_string()).await
    }

    async fn push(&self, task_id: &str, reg_ids: &[&str]) -> Value {
        let body = json!({ "regIds": reg_ids, "taskId": task_id, "requestId": fresh() });
        self.post("/message/pushToList", &body.to_string()).await
    }
}

/// A request id that was never used.
fn fresh() -> String {
    static NEXT: AtomicI64 = AtomicI64::new(0);
    format!("r-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A message that is right, with members added or replaced; `null` takes one away.
fn message(changes: &[(&str, Value)]) -> Value {
    changed(
        json!({
            "appId": APP_ID, "regId": "t1", "notifyType": 4, "title": "a", "content": "b", "skipType": 1,
            "classification": 1, "category": "IM", "requestId": fresh(),
        }),
        changes,
    )
}

fn changed(mut body: Value, changes: &[(&str, Value)]) -> Value {
    for (name, value) in changes {
        body[*name] = value.clone();
    }
    body
}

fn numbers(range: std::ops::Range<i32>) -> serde_json::Map<String, Value> {
    range.map(|n| (n.to_string(), json!("v"))).collect()
}

#[tokio::test]
async fn the_worked_example_is_accepted_and_reaches_the_inbox() {
    assert_eq!((AUTH.len(), SEND.len()), (135, 574), "as the document says");
    let world = World::new().await;
    let granted = world.raw(&world.request("/message/auth", AUTH)).await.text();
    let token = granted.strip_prefix(r#"{"result":0,"desc":"请求成功","authToken":""#).unwrap().strip_suffix("\"}");
    assert!(token.unwrap().len() == 32 && token.unwrap().bytes().all(|byte| byte.is_ascii_hexdigit()), "{granted}");

    let answer = world.raw(&world.request("/message/send", SEND)).await.text();
    let inbox = world.simulator.inbox(REG_ID);
    let received = &inbox[0];
    assert_eq!(answer, format!(r#"{{"result":0,"desc":"请求成功","taskId":"{}"}}"#, received.message_id));
    assert!(world.simulator.has_message_id(&received.message_id) && !world.simulator.has_message_id("121397329"));
    assert_eq!((received.title.as_str(), received.body.as_str()), ("Li Wei", "晚上七点开会,带上文件"));
    assert_eq!(received.payload.as_deref(), Some(r#"{"conv":"c_8801","seq":"42"}"#));
    assert_eq!((received.extras["conv"].as_str(), received.ttl_ms), ("c_8801", Some(86_400_000)));
    assert_eq!((received.notify_id.as_deref(), received.app.as_str()), (Some("880142"), "100215079"));
    assert_eq!(received.dedupe_key.as_deref(), Some("01JD8Q6W9Z3X5Y7R2T4V6B8N0M"));
    assert_eq!((received.push_type.as_deref(), received.at_ms), (Some("IM"), NOW_MS));
    let call = world.simulator.calls().pop().unwrap();
    assert_eq!((call.code.as_deref(), call.warnings.len()), (Some("0"), 0));
    assert_eq!(world.simulator.endpoint("/message/send").accepted, 1);
    assert_eq!(world.simulator.access_tokens_granted(), 2);
}

#[tokio::test]
async fn the_failures_of_the_example_have_the_documents_answers() {
    let world = World::new().await;
    let send = world.request("/message/send", SEND);
    world.simulator.kill_token(REG_ID);
    assert_eq!(
        world.raw(&send).await.text(),
        r#"{"result":10302,"desc":"regId不合法","invalidUser":{"status":2,"userid":"v2-CR000000000000000000000000000000000000000000000000000001"}}"#
    );
    world.simulator.expire_access_tokens();
    assert_eq!(world.raw(&send).await.text(), r#"{"result":10000,"desc":"权限认证失败"}"#);
    world.simulator.answer_next(10_070);
    assert_eq!(world.raw(&send).await.text(), r#"{"result":10070,"desc":"发送总量超出限制"}"#);
    world.simulator.answer_next(500);
    let fault = world.raw(&send).await;
    assert_eq!((fault.status, fault.header("content-type")), (500, Some("text/plain")));
    assert_eq!(fault.text(), "Internet server error!");
}

#[tokio::test]
async fn the_noise_of_the_vendors_sdk_is_taken() {
    let world = World::new().await;
    let noise = [
        ("appId", Value::Null),
        ("tagExpression", json!({ "orTags": [], "andTags": [], "notTags": [] })),
        ("clientCustomMap", json!({})),
        ("extra", json!({})),
        ("networkType", json!("1")),
        ("unknown", json!([1])),
        ("profileId", Value::Null),
    ];
    let request = world.request("/message/send", &message(&noise).to_string());
    let request = request.replace("authToken", "Content-Encoding: UTF-8\r\nauthtoken");
    assert!(world.raw(&request).await.text().starts_with(r#"{"result":0,"#));
    assert_eq!(world.simulator.inbox("t1")[0].payload, None);
    let ext = [("clientCustomMap", json!({ "ext": "{\"conv\":\"c1\"}" }))];
    assert_eq!(world.send(&ext).await, 0);
    assert_eq!(world.simulator.inbox("t1")[1].payload.as_deref(), Some(r#"{"conv":"c1"}"#));
    let escaped = message(&[("title", json!("TITLE"))]).to_string().replace("TITLE", "\\u5c0f\\ud83d\\ude00");
    assert_eq!(world.post("/message/send", &escaped).await["result"], 0);
    assert_eq!(world.simulator.inbox("t1")[2].title, "小😀");
}

#[tokio::test]
async fn scripted_codes_come_in_the_vendors_envelope() {
    let world = World::new().await;
    let send = world.request("/message/send", SEND);
    let scripted = [
        ("10096", None, r#"{"result":10096,"desc":"错误"}"#.to_owned()),
        ("19999", None, r#"{"result":19999,"desc":"错误"}"#.to_owned()),
        ("what", Some("why"), r#"{"result":10102,"desc":"why"}"#.to_owned()),
        ("10302", Some("bare"), r#"{"result":10302,"desc":"bare"}"#.to_owned()),
        (
            "10302",
            None,
            format!(r#"{{"result":10302,"desc":"regId不合法","invalidUser":{{"status":2,"userid":"{REG_ID}"}}}}"#),
        ),
    ];
    for (code, reason, wanted) in scripted {
        let reason = reason.map(ToOwned::to_owned);
        world.simulator.fault(Fault::once(Misbehaviour::Code { code: code.into(), reason }));
        assert_eq!(world.raw(&send).await.text(), wanted);
    }
    world.simulator.answer_next(10_093);
    assert_eq!(world.post("/message/auth", AUTH).await, json!({ "result": 10_093, "desc": "错误" }));
    world.simulator.answer_next(429);
    assert_eq!(world.raw(&send).await.status, 429);
    assert_eq!((world.simulator.inbox(REG_ID).len(), world.simulator.endpoint("/message/send").faults), (0, 6));
}

#[tokio::test]
async fn counters_only_keeps_no_notification_and_no_call() {
    let apps = vec![VivoApp::new(APP_ID, KEY, SECRET)];
    let world = World::start(VivoWorld { counters_only: true, apps, ..VivoWorld::default() }).await;
    for notify_id in [5, 5, 6] {
        let ext = ("clientCustomMap", json!({ "ext": "p" }));
        assert_eq!(world.send(&[ext, ("notifyId", json!(notify_id))]).await, 0);
    }
    let simulator = &world.simulator;
    assert_eq!((simulator.inbox("t1").len(), simulator.calls().len(), simulator.received_total()), (0, 0, 3));
    assert_eq!((simulator.payload_count("p"), simulator.notify_id_count("5")), (3, 2));
}

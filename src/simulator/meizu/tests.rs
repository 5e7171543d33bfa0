//! The worked example of the document (section 10) byte by byte, and its simulator rules over a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::simulator::testing::{RawAnswer, any_port, exchange};
use crate::simulator::{Fault, Misbehaviour, TokenState};

const APP: &str = "100999";
const SECRET: &str = "9f1c2d3e4b5a69788796a5b4c3d2e1f0";
const FIRST: &str = "TPUSHID0000000000000000000000000000000000000A";
const SECOND: &str = "TPUSHID0000000000000000000000000000000000000B";
const RECEIPTS: &str = "https://push.example.com/r/mz";
const PATH: &str = "/garcia/api/server/push/varnished/pushByPushId";
const MESSAGE: &str = r#"{"noticeBarInfo":{"noticeMsgType":1,"noticeBarType":0,"title":"小红","content":"晚上一起吃饭吗？"},"noticeExpandInfo":{"noticeExpandType":0},"clickTypeInfo":{"clickType":0,"parameters":{"cid":"c-1024"}},"pushTimeInfo":{"offLine":1,"validTime":24},"advanceInfo":{"suspend":1,"clearNoticeBar":1,"notificationType":{"vibrate":1,"lights":1,"sound":1},"notifyKey":"c-1024"},"extra":{"callback":"https://push.example.com/r/mz","callback.param":"m-77","callback.type":3}}"#;
const EXAMPLE: &str = "appId=100999&pushIds=TPUSHID0000000000000000000000000000000000000A%2CTPUSHID0000000000000000000000000000000000000B&messageJson=%7B%22noticeBarInfo%22%3A%7B%22noticeMsgType%22%3A1%2C%22noticeBarType%22%3A0%2C%22title%22%3A%22%E5%B0%8F%E7%BA%A2%22%2C%22content%22%3A%22%E6%99%9A%E4%B8%8A%E4%B8%80%E8%B5%B7%E5%90%83%E9%A5%AD%E5%90%97%EF%BC%9F%22%7D%2C%22noticeExpandInfo%22%3A%7B%22noticeExpandType%22%3A0%7D%2C%22clickTypeInfo%22%3A%7B%22clickType%22%3A0%2C%22parameters%22%3A%7B%22cid%22%3A%22c-1024%22%7D%7D%2C%22pushTimeInfo%22%3A%7B%22offLine%22%3A1%2C%22validTime%22%3A24%7D%2C%22advanceInfo%22%3A%7B%22suspend%22%3A1%2C%22clearNoticeBar%22%3A1%2C%22notificationType%22%3A%7B%22vibrate%22%3A1%2C%22lights%22%3A1%2C%22sound%22%3A1%7D%2C%22notifyKey%22%3A%22c-1024%22%7D%2C%22extra%22%3A%7B%22callback%22%3A%22https%3A%2F%2Fpush.example.com%2Fr%2Fmz%22%2C%22callback.param%22%3A%22m-77%22%2C%22callback.type%22%3A3%7D%7D&sign=7ef231e259baa1474c20f05460682fa3";

fn app() -> MeizuApp {
    MeizuApp {
        packages: vec!["com.example.im".into(), "com.example.hd".into()],
        receipt_urls: vec![RECEIPTS.into()],
        ..MeizuApp::new(APP, SECRET)
    }
}

fn world() -> MeizuWorld {
    MeizuWorld { apps: vec![app()], ..MeizuWorld::default() }
}

async fn start(world: MeizuWorld) -> MeizuSimulator {
    MeizuSimulator::start(any_port(), world).await.unwrap()
}

/// The document's request around a body, with its headers as printed there.
fn request(body: &str) -> String {
    format!(
        "POST {PATH} HTTP/1.1\r\nHost: server-api-push.meizu.com\r\n\
         Content-Type: application/x-www-form-urlencoded;charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn raw(simulator: &MeizuSimulator, request: &str) -> RawAnswer {
    exchange(&simulator.url(), request.as_bytes()).await
}

/// The example's form with fields added or replaced, then signed with `secret`.
fn form(changes: &[(&str, &str)], secret: &str) -> String {
    let mut fields = vec![("appId", APP), ("pushIds", "A,B"), ("messageJson", MESSAGE)];
    for change in changes {
        fields.retain(|field| field.0 != change.0);
        fields.push(*change);
    }
    let owned: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let sign = sign::of(&owned, secret);
    fields.push(("sign", &sign));
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Posts the changed example and returns the answer: always HTTP 200 and JSON.
async fn push(simulator: &MeizuSimulator, changes: &[(&str, &str)]) -> Value {
    let answer = raw(simulator, &request(&form(changes, SECRET))).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json; charset=UTF-8")));
    serde_json::from_slice(&answer.body).unwrap()
}

async fn code(simulator: &MeizuSimulator, changes: &[(&str, &str)]) -> String {
    push(simulator, changes).await["code"].as_str().unwrap().to_owned()
}

/// The example's message with one member put in place, or taken out with `null`; absent parents are made.
fn message(path: &str, value: &Value) -> String {
    let mut message: Value = serde_json::from_str(MESSAGE).unwrap();
    let mut place = &mut message;
    for name in path.split('/') {
        place = place.as_object_mut().unwrap().entry(name).or_insert_with(|| json!({}));
    }
    *place = value.clone();
    message.to_string()
}

async fn message_code(simulator: &MeizuSimulator, path: &str, value: &Value) -> String {
    code(simulator, &[("messageJson", &message(path, value))]).await
}

/// The answer with its `msgId` of 32 digits replaced by `I`.
fn shape(answer: &RawAnswer) -> String {
    let mut text = answer.text();
    let at = text.find(r#""msgId":""#).unwrap() + 9;
    assert!(text[at..at + 32].bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
    text.replace_range(at..at + 32, "I");
    text
}

#[test]
fn the_example_has_the_length_and_the_signature_the_document_says() {
    assert_eq!(EXAMPLE.len(), 959);
    let fields = [("appId", APP), ("messageJson", MESSAGE), ("pushIds", &format!("{FIRST},{SECOND}"))]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(sign::of(&fields, SECRET), "7ef231e259baa1474c20f05460682fa3", "vector C");
}

#[tokio::test]
async fn the_example_is_accepted_and_reaches_both_inboxes() {
    let simulator = start(world()).await;
    let answer = raw(&simulator, &request(EXAMPLE)).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json; charset=UTF-8")));
    assert_eq!(shape(&answer), r#"{"code":"200","message":"","value":{},"redirect":"","msgId":"I"}"#);
    for token in [FIRST, SECOND] {
        let received = &simulator.inbox(token)[0];
        assert_eq!((received.title.as_str(), received.body.as_str()), ("小红", "晚上一起吃饭吗？"));
        assert_eq!(received.payload.as_deref(), Some(r#"{"cid":"c-1024"}"#));
        assert_eq!((received.notify_id.as_deref(), received.ttl_ms), (Some("c-1024"), Some(86_400_000)));
        assert_eq!((received.app.as_str(), received.push_type.as_deref()), (APP, Some("1")));
        assert_eq!((received.extras["cid"].as_str(), received.hidden), ("c-1024", None));
        assert!(answer.text().contains(&received.message_id) && simulator.has_message_id(&received.message_id));
    }
    let counts = simulator.endpoint(PATH);
    assert_eq!((counts.requests, counts.accepted, counts.warnings), (1, 2, 0));
    assert_eq!(simulator.calls()[0].field("appId"), Some(APP));
}

#[tokio::test]
async fn the_failures_of_the_example_have_the_documents_answers() {
    let simulator = start(world()).await;
    simulator.kill_token(SECOND);
    simulator.mark_token(FIRST, TokenState::Off);
    let partial = raw(&simulator, &request(EXAMPLE)).await;
    assert_eq!(
        shape(&partial),
        r#"{"code":"200","message":"","value":{"110002":["TPUSHID0000000000000000000000000000000000000B"],"110010":["TPUSHID0000000000000000000000000000000000000A"]},"redirect":"","msgId":"I"}"#
    );
    assert_eq!((simulator.received_total(), simulator.endpoint(PATH).accepted), (0, 0));
    let unsigned = raw(&simulator, &request(&EXAMPLE.replace("sign=7", "sign=8"))).await;
    assert_eq!(unsigned.text(), r#"{"code":"1006","message":"签名认证失败","value":"","redirect":""}"#);
    simulator.answer_next(110_010);
    let fast = raw(&simulator, &request(EXAMPLE)).await;
    assert_eq!(fast.text(), r#"{"code":"110010","message":"应用请求频率超过限制","value":"","redirect":""}"#);
    let unknown = raw(&simulator, &request(&EXAMPLE.replace("appId=100999", "appId=100998"))).await;
    assert_eq!(unknown.text(), r#"{"code":"110000","message":"appId不合法","value":"","redirect":""}"#);
}

#[tokio::test]
async fn the_first_broken_rule_decides() {
    let simulator = start(world()).await;
    let good = request(&form(&[], SECRET));
    let edits: [(&str, &str, u16, &str); 8] = [
        ("POST ", "PUT ", 405, "null"),
        ("/varnished/", "/unvarnished/", 404, "null"),
        ("pushByPushId", "pushByAlias", 404, "null"),
        ("application/x-www-form-urlencoded", "application/json", 200, r#""1005""#),
        ("charset=UTF-8", "charset=GBK", 200, r#""1005""#),
        ("appId=10", "appId=%z", 200, r#""1005""#),
        ("&sign=", "&sigh=", 200, r#""1005""#),
        (";charset=UTF-8", "", 200, r#""200""#),
    ];
    for (from, to, status, code) in edits {
        let answer = raw(&simulator, &good.replace(from, to)).await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        assert_eq!((answer.status, body["code"].to_string().as_str()), (status, code), "{from} -> {to}");
    }
    let upper = EXAMPLE.replace("7ef231e259baa1474c20f05460682fa3", "7EF231E259BAA1474C20F05460682FA3");
    assert!(raw(&simulator, &request(&upper)).await.text().contains(r#""code":"1005""#));
    // What was signed must be what is sent, blanks and all.
    let altered = EXAMPLE.replace("c-1024%22%7D%7D", "c-1024%22%20%7D%7D");
    assert!(raw(&simulator, &request(&altered)).await.text().contains(r#""code":"1006""#));
    let other = raw(&simulator, &request(&form(&[], "another secret"))).await;
    assert!(other.text().contains(r#""code":"1006""#));

    let many = vec!["T"; 101].join(",");
    let packages = vec!["com.example.im"; 51].join(",");
    let cases: [(&[(&str, &str)], &str); 17] = [
        (&[("appId", "")], "110004"),
        (&[("appId", ""), ("pushIds", "")], "110004"),
        (&[("appId", "1"), ("pushIds", "")], "110000"),
        (&[("pushIds", "")], "110004"),
        (&[("pushIds", &many)], "1005"),
        (&[("pushIds", &many[2..])], "200"),
        (&[("messageJson", "")], "110004"),
        (&[("messageJson", "[]")], "1005"),
        (&[("messageJson", "{")], "1005"),
        (&[("messageJson", "{}")], "1005"),
        (&[("pushIds", ""), ("messageJson", "{}")], "110004"),
        (&[("restrictedPackageNames", "com.example.im,com.example.hd")], "200"),
        (&[("restrictedPackageNames", "")], "200"),
        (&[("restrictedPackageNames", "com.example.im,com.example.other")], "110031"),
        (&[("restrictedPackageNames", "com.example.other"), ("messageJson", "{}")], "1005"),
        (&[("restrictedPackageNames", &packages)], "1005"),
        (&[("taskId", "signed too")], "200"),
    ];
    for (changes, wanted) in cases {
        assert_eq!(code(&simulator, changes).await, wanted, "{changes:?}");
    }
    assert_eq!(simulator.inbox("A").last().unwrap().app, APP);
    assert_eq!(simulator.endpoint(PATH).refused["1006 the signature is wrong"], 2);
    assert_eq!(simulator.endpoint("other").requests, 2);

    simulator.put_app(MeizuApp { blacklisted: true, ..app() });
    assert_eq!(code(&simulator, &[("pushIds", "")]).await, "110009");
    let wrong = raw(&simulator, &request(&form(&[], "another secret"))).await;
    assert!(wrong.text().contains(r#""code":"1006""#));
}

#[tokio::test]
async fn every_member_of_the_message_has_its_type_and_its_range() {
    let simulator = start(world()).await;
    let cases = [
        ("noticeBarInfo", json!("t")),
        ("noticeBarInfo/title", json!("")),
        ("noticeBarInfo/title", json!(null)),
        ("noticeBarInfo/title", json!(7)),
        ("noticeBarInfo/title", json!("红".repeat(33))),
        ("noticeBarInfo/title", json!("😀".repeat(17))),
        ("noticeBarInfo/content", json!("")),
        ("noticeBarInfo/content", json!("c".repeat(101))),
        ("noticeBarInfo/noticeMsgType", json!("1")),
        ("noticeBarInfo/noticeMsgType", json!(2)),
        ("noticeBarInfo/noticeBarType", json!(3)),
        ("noticeExpandInfo/noticeExpandType", json!(1)),
        ("noticeExpandInfo/noticeExpandType", json!(2)),
        ("noticeExpandInfo/noticeExpandType", json!(3)),
        ("clickTypeInfo/clickType", json!("0")),
        ("clickTypeInfo/clickType", json!(1)),
        ("clickTypeInfo/clickType", json!(2)),
        ("clickTypeInfo/clickType", json!(3)),
        ("clickTypeInfo/clickType", json!(4)),
        ("clickTypeInfo/url", json!("u".repeat(1_001))),
        ("clickTypeInfo/parameters", json!("{\"cid\":\"c-1024\"}")),
        ("clickTypeInfo/parameters", json!([])),
        ("pushTimeInfo/offLine", json!(2)),
        ("pushTimeInfo/offLine", json!("1")),
        ("pushTimeInfo/validTime", json!("24")),
        ("pushTimeInfo/validTime", json!(1.5)),
        ("pushTimeInfo/validTime", json!(0)),
        ("pushTimeInfo/validTime", json!(73)),
        ("pushTimeInfo/validTime", json!(-1)),
        ("advanceInfo/suspend", json!("true")),
        ("advanceInfo/notificationType", json!(1)),
        ("advanceInfo/notificationType/sound", json!(3)),
        ("advanceInfo/notifyKey", json!(5)),
        ("advanceInfo/notifyKey", json!("123456789")),
        ("advanceInfo/notifyKey", json!("a.b")),
        ("advanceInfo/notifyKey", json!("键")),
        ("advanceInfo/fixDisplay", json!(1)),
        ("advanceInfo/fixStartDisplayTime", json!("2026-11-24")),
        ("vipInfo/subtitle", json!("s".repeat(17))),
        ("vipInfo/timeTop", json!(1_799)),
        ("vipInfo/titleColor", json!("#000000")),
        ("extra/callback", json!("https://push.example.com/r/other")),
        ("extra/callback", json!(format!("https://push.example.com/{}", "r".repeat(104)))),
        ("extra/callback.param", json!("p".repeat(65))),
        ("extra/callback.type", json!(4)),
        ("extra/callback.type", json!("all")),
        ("extra/callback.type", json!(true)),
    ];
    for (path, value) in cases {
        assert_eq!(message_code(&simulator, path, &value).await, "1005", "{path}: {value}");
    }
    let refused = simulator.endpoint(PATH).refused;
    assert_eq!(refused["1005 validTime has the wrong JSON type"], 2);
    assert_eq!(refused["1005 validTime is not in 1..=72"], 3);
    assert_eq!(
        (refused["1005 extra.callback is not registered"], refused["1005 extra.callback over 128 bytes"]),
        (1, 1)
    );
    assert_eq!(simulator.received_total(), 0);
}

#[tokio::test]
async fn what_the_document_lets_pass_is_accepted() {
    let simulator = start(world()).await;
    let cases = [
        ("noticeBarInfo/title", json!("😀".repeat(16))),
        ("noticeBarInfo/content", json!("晚".repeat(100))),
        ("noticeBarInfo/noticeBarType", json!(2)),
        ("noticeExpandInfo", json!({"noticeExpandType": 1, "noticeExpandContent": "long"})),
        ("clickTypeInfo", json!({"clickType": 1, "activity": "com.example.Activity"})),
        ("clickTypeInfo", json!({"clickType": 2, "url": "app://chat"})),
        ("pushTimeInfo/validTime", json!(1)),
        ("pushTimeInfo/validTime", json!(72)),
        ("pushTimeInfo/validTime", json!(null)),
        ("pushTimeInfo", json!({"offLine": 0, "validTime": 0})),
        ("pushTimeInfo", json!({"offLine": false})),
        ("advanceInfo/notifyKey", json!("aZ09_-xy")),
        (
            "advanceInfo",
            json!({"fixDisplay": 1, "fixStartDisplayTime": "2026-11-24 12:00:00", "fixEndDisplayTime": "2026-11-24 13:00:00"}),
        ),
        ("vipInfo", json!({"subtitle": "s".repeat(16), "timeTop": 1_800, "titleColor": "#206CFF"})),
        ("extra", json!({"callback.param": "alone"})),
        ("extra", json!({"callback": "", "callback.param": "", "callback.type": ""})),
        ("extra/callback.type", json!("3")),
        ("extra/callback.param", json!("p".repeat(64))),
        ("vipInfo", json!(null)),
    ];
    for (path, value) in cases {
        assert_eq!(message_code(&simulator, path, &value).await, "200", "{path}: {value}");
    }
    assert_eq!(simulator.endpoint(PATH).warnings, 0);

    let sdk = r#"{"noticeBarInfo":{"noticeBarType":0,"noticeBarImgUrl":"","title":"t","content":"c","noticeMsgType":0},"noticeExpandInfo":{"noticeExpandType":0,"noticeExpandContent":"","noticeExpandImgUrl":""},"clickTypeInfo":{"clickType":0,"url":"","parameters":{"ext":"{\"conv\":\"c1\"}"},"activity":"","customAttribute":""},"pushTimeInfo":{"offLine":true,"validTime":24,"pushTimeType":0,"startTime":""},"advanceInfo":{"fixSpeed":false,"fixSpeedRate":0,"suspend":true,"clearNoticeBar":true,"fixDisplay":false,"fixStartDisplayTime":"","fixEndDisplayTime":"","notificationType":{"vibrate":true,"lights":true,"sound":true},"notifyKey":""},"vipInfo":{"subtitle":"","pullDownTop":false,"timeTop":0,"notGroup":false,"titleColor":"","backgroundImgUrl":"","smallIconUrl":"","bigIconUrl":""},"extra":{"callback.param":"p"}}"#;
    let changes = [("messageJson", sdk), ("restrictedPackageNames", "com.example.hd"), ("pushIds", "S")];
    assert_eq!(code(&simulator, &changes).await, "200");
    let received = &simulator.inbox("S")[0];
    assert_eq!((received.payload.as_deref(), received.notify_id.as_deref()), (Some(r#"{"conv":"c1"}"#), None));
    assert_eq!((received.app.as_str(), received.push_type.as_deref()), ("com.example.hd", Some("0")));
    assert_eq!(simulator.endpoint(PATH).warnings, 0);
}

#[tokio::test]
async fn what_passes_but_looks_wrong_is_warned_of() {
    let simulator = start(world()).await;
    let cases = [
        ("noticeBarInfo/channel", json!("c"), r#"messageJson has no "noticeBarInfo.channel""#),
        ("badge", json!(1), r#"messageJson has no "badge""#),
        ("noticeBarInfo/noticeBarType", json!(1), "noticeBarType 1 was retired"),
        ("clickTypeInfo", json!({"clickType": 3, "customAttribute": "a"}), "clickType 3 was retired"),
        ("clickTypeInfo/parameters", json!({"ext": {"a": 1}}), "a value of parameters is no text"),
    ];
    for (path, value, warning) in cases {
        assert_eq!(message_code(&simulator, path, &value).await, "200");
        assert_eq!(simulator.calls().last().unwrap().warnings, [warning]);
    }
    assert_eq!(code(&simulator, &[("pushIds", "T,U,T")]).await, "200");
    assert_eq!((simulator.inbox("T").len(), simulator.inbox("U").len()), (2, 1));
    assert_eq!(simulator.calls().last().unwrap().warnings, ["a pushId is named twice: delivered twice"]);
}

#[tokio::test]
async fn targets_are_judged_one_by_one() {
    let simulator = start(world()).await;
    simulator.kill_token("dead");
    simulator.mark_token("expired", TokenState::Expired);
    simulator.mark_token("later", TokenState::DeadLater);
    simulator.mark_token("off", TokenState::Off);
    simulator.set_token_app("own", "com.example.hd");
    simulator.set_token_app("foreign", "com.example.other");
    let answer = push(&simulator, &[("pushIds", "ok,dead,a-b,later,,off,expired,own,foreign")]).await;
    let wanted = json!({ "110002": ["dead", "expired", "foreign"], "110003": ["a-b", ""], "110010": ["off"] });
    assert_eq!((&answer["code"], &answer["value"]), (&json!("200"), &wanted));
    assert_eq!((simulator.shown("ok").len(), simulator.shown("own").len()), (1, 1));
    assert_eq!((simulator.received_total(), simulator.endpoint(PATH).accepted), (2, 3));
}

#[tokio::test]
async fn rates_and_totals_refuse_the_whole_call() {
    static NOW: AtomicI64 = AtomicI64::new(1_792_380_000_000);
    let now = Arc::new(|| NOW.load(Ordering::Relaxed));
    let limited = MeizuApp { qps: Some(2), daily_total: Some(7), ..app() };
    let simulator = start(MeizuWorld { apps: vec![limited], now, ..world() }).await;
    for wanted in ["200", "200", "110010"] {
        assert_eq!(code(&simulator, &[]).await, wanted);
    }
    NOW.fetch_add(1_000, Ordering::Relaxed);
    assert_eq!(code(&simulator, &[("pushIds", "A,B,C")]).await, "200");
    assert_eq!(code(&simulator, &[]).await, "110019");
    let day = 86_400_000;
    let to_midnight = day - (NOW.load(Ordering::Relaxed) + 8 * 3_600_000).rem_euclid(day);
    NOW.fetch_add(to_midnight - 1, Ordering::Relaxed);
    assert_eq!(code(&simulator, &[]).await, "110019");
    NOW.fetch_add(1, Ordering::Relaxed);
    assert_eq!(code(&simulator, &[]).await, "200");
}

#[tokio::test]
async fn a_device_gets_so_many_of_the_public_class_a_day_and_so_many_at_all_a_minute() {
    static NOW: AtomicI64 = AtomicI64::new(1_792_380_000_000);
    let now = Arc::new(|| NOW.load(Ordering::Relaxed));
    let limited = MeizuApp { public_per_device: Some(2), folds_per_minute: Some(3), ..app() };
    let simulator = start(MeizuWorld { apps: vec![limited], now, ..world() }).await;
    let public = message("noticeBarInfo/noticeMsgType", &json!(0));
    let value = async |changes: &[(&str, &str)]| push(&simulator, changes).await["value"].clone();
    for _ in 0..2 {
        assert_eq!(value(&[("messageJson", &public)]).await, json!({}));
    }
    assert_eq!(value(&[("messageJson", &public), ("pushIds", "A,C")]).await, json!({ "110011": ["A"] }));
    assert_eq!(value(&[]).await, json!({}), "the private class has no such limit");
    assert_eq!(value(&[]).await, json!({ "520": ["A", "B"] }));
    NOW.fetch_add(59_999, Ordering::Relaxed);
    assert_eq!(value(&[]).await, json!({ "520": ["A", "B"] }));
    NOW.fetch_add(1, Ordering::Relaxed);
    assert_eq!(value(&[]).await, json!({}));
    assert_eq!(simulator.inbox("A").len(), 4);
}

#[tokio::test]
async fn the_targets_of_the_next_push_can_be_scripted() {
    let simulator = start(world()).await;
    simulator.answer_targets_next("110011", &["A"]);
    simulator.answer_targets_next("200", &["B"]);
    simulator.answer_targets_next("777", &["A", "B"]);
    assert_eq!(
        message_code(&simulator, "noticeBarInfo/title", &json!("")).await,
        "1005",
        "a refused push uses none up"
    );
    let mut values = Vec::new();
    for _ in 0..4 {
        values.push(push(&simulator, &[]).await["value"].clone());
    }
    assert_eq!(values, [json!({ "110011": ["A"] }), json!({ "200": ["B"] }), json!({ "777": ["A", "B"] }), json!({})]);
    assert_eq!((simulator.inbox("A").len(), simulator.inbox("B").len()), (2, 3));
}

#[tokio::test]
async fn a_scripted_code_is_answered_in_the_vendors_envelope() {
    let simulator = start(world()).await;
    for scripted in ["500", "1001", "110019", "-1", "987654", "nonsense"] {
        simulator.answer_next(scripted);
        let answer = push(&simulator, &[]).await;
        assert_eq!(
            (&answer["code"], &answer["value"], &answer["redirect"]),
            (&json!(scripted), &json!(""), &json!(""))
        );
        assert!(answer["message"].is_string() && answer.get("msgId").is_none(), "{answer}");
    }
    simulator.answer_next("200");
    assert!(push(&simulator, &[]).await["msgId"].is_string());
    assert_eq!((simulator.received_total(), simulator.endpoint(PATH).faults), (0, 7));
}

#[tokio::test]
async fn a_fault_may_wait_for_one_token_and_come_after_accepting() {
    let simulator = start(world()).await;
    let page = Misbehaviour::Status { status: 429, body: String::new(), retry_after: Some("7".into()) };
    simulator.fault(Fault::once(page).for_token("B").after_accepting());
    assert_eq!(code(&simulator, &[("pushIds", "A")]).await, "200");
    let answer = raw(&simulator, &request(&form(&[], SECRET))).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
    assert_eq!((simulator.inbox("A").len(), simulator.inbox("B").len()), (2, 1));
}

#[tokio::test]
async fn a_newer_notification_replaces_the_one_with_its_key() {
    let simulator = start(world()).await;
    for (title, key) in [("one", "k"), ("two", "l"), ("three", "k")] {
        let mut changed: Value = serde_json::from_str(&message("noticeBarInfo/title", &json!(title))).unwrap();
        changed["advanceInfo"]["notifyKey"] = json!(key);
        assert_eq!(code(&simulator, &[("messageJson", &changed.to_string())]).await, "200");
    }
    let titles: Vec<_> = simulator.shown("A").iter().map(|received| received.title.clone()).collect();
    assert_eq!(titles, ["two", "three"]);
}

#[tokio::test]
async fn a_lenient_world_knows_every_account_but_still_checks_the_message() {
    let simulator = start(MeizuWorld { lenient: true, counters_only: true, ..world() }).await;
    assert_eq!(code(&simulator, &[("appId", "7"), ("restrictedPackageNames", "any.package")]).await, "200");
    assert_eq!(code(&simulator, &[("appId", "7"), ("messageJson", "{}")]).await, "1005");
    let known = raw(&simulator, &request(&form(&[], "another secret"))).await;
    assert!(known.text().contains(r#""code":"1006""#), "a known app's signature is checked");
    let shapeless = form(&[("appId", "7")], SECRET);
    let shapeless = &shapeless[..shapeless.len() - 1];
    assert!(raw(&simulator, &request(shapeless)).await.text().contains(r#""code":"1005""#));
    assert_eq!((simulator.payload_count(r#"{"cid":"c-1024"}"#), simulator.notify_id_count("c-1024")), (2, 2));
    assert_eq!((simulator.inbox("A").len(), simulator.calls().len()), (0, 0));
}

#[tokio::test]
async fn apps_are_taught_over_the_control_interface_and_secrets_are_never_shown() {
    let simulator = start(MeizuWorld::default()).await;
    let teach =
        |body: &str| format!("POST /_sim/apps HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let bad = raw(&simulator, &teach(r#"{"app_id":"1","secret":"s","quota":1}"#)).await;
    assert_eq!(bad.status, 400);
    let app = json!({ "app_id": APP, "secret": SECRET, "receipt_urls": [RECEIPTS] }).to_string();
    let good = raw(&simulator, &teach(&app)).await;
    assert_eq!(good.text(), "{\"apps\":1,\"scripted_pushes\":0}\n");
    assert_eq!(code(&simulator, &[]).await, "200");
    let state = raw(&simulator, "GET /_sim/state HTTP/1.1\r\nHost: x\r\n\r\n").await.text();
    assert!(state.contains(r#""meizu":{"apps":1,"scripted_pushes":0}"#) && !state.contains(SECRET), "{state}");
}

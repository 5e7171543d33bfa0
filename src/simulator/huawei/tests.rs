//! The worked example of the document (part E1) byte by byte, and the rules of part F over a socket.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::simulator::testing::{RawAnswer, any_port, exchange};
use crate::simulator::{Fault, Hidden, Misbehaviour, TokenState};

const CLIENT: &str = "100123456";
const SECRET: &str = "9a8b+/c7";
const GRANT: &str = "grant_type=client_credentials&client_id=100123456&client_secret=9a8b%2B%2Fc7";
const SEND: &str = r#"{"validate_only":false,"message":{"android":{"category":"IM","ttl":"86400s","collapse_key":-1,"bi_tag":"msg-7f3a","target_user_type":0,"data":"{\"conv\":\"u42\",\"mid\":\"7f3a\"}","notification":{"title":"Alice","body":"See you at six?","importance":"NORMAL","click_action":{"type":1,"intent":"intent://chat/u42#Intent;scheme=exampleim;launchFlags=0x4000000;end"},"notify_id":734512,"badge":{"set_num":3,"class":"com.example.im.MainActivity"},"foreground_show":false}},"token":["T1","T2"]}}"#;
/// Where members of the example stand.
const A: &str = "/message/android";
const N: &str = "/message/android/notification";

fn world() -> HuaweiWorld {
    HuaweiWorld { apps: vec![HuaweiApp::new(CLIENT, SECRET)], ..HuaweiWorld::default() }
}

async fn start(world: HuaweiWorld) -> HuaweiSimulator {
    HuaweiSimulator::start(any_port(), world).await.unwrap()
}

/// The document's token request around a body, with its headers as printed there.
fn grant_request(body: &str) -> String {
    format!(
        "POST /oauth2/v3/token HTTP/1.1\r\nHost: oauth-login.cloud.huawei.com\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The document's send around a body, with its headers as printed there.
fn send_request(token: &str, body: &str) -> String {
    format!(
        "POST /v1/100123456/messages:send HTTP/1.1\r\nHost: push-api.cloud.huawei.com\r\n\
         Content-Type: application/json;charset=UTF-8\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn raw(simulator: &HuaweiSimulator, request: &str) -> RawAnswer {
    exchange(&simulator.url(), request.as_bytes()).await
}

/// An access token of the example's app.
async fn token(simulator: &HuaweiSimulator) -> String {
    let answer = raw(simulator, &grant_request(GRANT)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// The status and the code of an answer, or its sub code.
fn verdict(answer: &RawAnswer) -> (u16, String) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = body["code"].as_str().map(ToOwned::to_owned);
    (answer.status, code.unwrap_or_else(|| body["sub_error"].to_string()))
}

async fn send(simulator: &HuaweiSimulator, token: &str, body: &str) -> (u16, String) {
    verdict(&raw(simulator, &send_request(token, body)).await)
}

/// The answer with its `requestId` of 24 digits replaced by `R`.
fn shape(answer: &RawAnswer) -> String {
    let mut text = answer.text();
    let at = text.find(r#""requestId":""#).unwrap() + 13;
    assert!(text[at..at + 24].bytes().all(|byte| byte.is_ascii_digit()), "{text}");
    text.replace_range(at..at + 24, "R");
    text
}

/// The example with members put in place (`null` too), or taken out with `None`; an absent parent is made.
fn changed(changes: &[(&str, Option<Value>)]) -> String {
    let mut body: Value = serde_json::from_str(SEND).unwrap();
    for (path, value) in changes {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => drop(parent.insert(name.to_owned(), value.clone())),
            None => drop(parent.remove(name)),
        }
    }
    body.to_string()
}

#[test]
fn the_examples_have_the_lengths_the_document_says() {
    assert_eq!((GRANT.len(), SEND.len()), (76, 490));
}

#[tokio::test]
async fn the_token_request_of_the_example_is_granted_in_either_version() {
    let simulator = start(world()).await;
    for request in [
        grant_request(GRANT),
        grant_request(GRANT).replace("/v3/", "/v2/").replace("urlencoded\r", "urlencoded;charset=utf-8\r"),
        grant_request("client_secret=9a8b%2B%2Fc7&client_id=100123456&grant_type=client_credentials"),
    ] {
        let answer = raw(&simulator, &request).await;
        assert_eq!(answer.status, 200, "{request}");
        assert_eq!(answer.header("content-type"), Some("application/json;charset=UTF-8"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let text = answer.text();
        assert!(text.starts_with(r#"{"access_token":"DAEAA\/"#), "{text}");
        assert!(text.ends_with(r#"=","expires_in":3600,"token_type":"Bearer"}"#), "{text}");
    }
    assert_eq!(simulator.access_tokens_granted(), 3);
    assert_eq!(simulator.endpoint("/oauth2/v2/token").requests, 1);
}

#[tokio::test]
async fn the_example_is_accepted_and_reaches_both_inboxes() {
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    let answer = raw(&simulator, &send_request(&token, SEND)).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(shape(&answer), r#"{"code":"80000000","msg":"Success","requestId":"R"}"#);
    for device in ["T1", "T2"] {
        let received = &simulator.inbox(device)[0];
        assert_eq!((received.title.as_str(), received.body.as_str()), ("Alice", "See you at six?"));
        assert_eq!(received.payload.as_deref(), Some(r#"{"conv":"u42","mid":"7f3a"}"#));
        assert_eq!((received.notify_id.as_deref(), received.ttl_ms), (Some("734512"), Some(86_400_000)));
        assert_eq!((received.app.as_str(), received.badge, received.extras["conv"].as_str()), (CLIENT, Some(3), "u42"));
        assert_eq!((received.push_type.as_deref(), received.priority.as_deref()), (Some("IM"), Some("NORMAL")));
        assert_eq!((received.hidden, received.data_only), (None, false));
        assert!(answer.text().contains(&received.message_id) && simulator.has_message_id(&received.message_id));
    }
    let counts = simulator.endpoint("/v1/messages:send");
    assert_eq!((counts.requests, counts.accepted, counts.warnings), (1, 2, 0));
    assert_eq!(simulator.calls().last().unwrap().code.as_deref(), Some("80000000"));
}

#[tokio::test]
async fn the_failures_of_the_example_have_the_documents_answers() {
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    let request = send_request(&token, SEND);
    simulator.kill_token("T2");
    assert_eq!(
        shape(&raw(&simulator, &request).await),
        r#"{"code":"80100000","msg":"{\"success\":1,\"failure\":1,\"illegal_tokens\":[\"T2\"]}","requestId":"R"}"#
    );
    simulator.mark_token("T1", TokenState::Expired);
    let all = raw(&simulator, &request).await;
    assert_eq!(all.status, 200);
    assert_eq!(shape(&all), r#"{"code":"80300007","msg":"All the tokens are invalid","requestId":"R"}"#);
    let request_id = serde_json::from_slice::<Value>(&all.body).unwrap()["requestId"].as_str().unwrap().to_owned();
    assert!(!simulator.has_message_id(&request_id), "nothing was accepted under it");
    simulator.revive_token("T1");
    let ttl =
        raw(&simulator, &send_request(&token, &changed(&[("/message/android/ttl", Some(json!("24h0m0s")))]))).await;
    assert_eq!(ttl.status, 400);
    assert_eq!(
        shape(&ttl),
        r#"{"code":"80100003","msg":"Illegal payload, ttl is no number of seconds","requestId":"R"}"#
    );
    simulator.expire_access_tokens();
    let expired = raw(&simulator, &request).await;
    assert_eq!(expired.status, 401);
    assert_eq!(shape(&expired), r#"{"code":"80200003","msg":"Oauth Token expired","requestId":"R"}"#);
    assert_eq!((simulator.inbox("T1").len(), simulator.inbox("T2").len()), (1, 0));
}

#[tokio::test]
async fn a_token_request_is_refused_by_the_first_broken_rule() {
    let simulator = start(world()).await;
    let good = grant_request(GRANT);
    let long = "1".repeat(65);
    let cases: [(String, u16, &str); 12] = [
        (good.replace("POST", "PUT"), 405, "null"),
        (good.replace("/v3/", "/v4/"), 404, "null"),
        (good.replace("x-www-form-urlencoded", "json"), 400, "20001"),
        (grant_request(&GRANT.replace("%2B", "%2")), 400, "20001"),
        (grant_request(&GRANT.replace("client_credentials", "password")), 400, "20001"),
        (grant_request(&GRANT.replace("client_id=100123456", "client_id=app")), 400, "20002"),
        (grant_request(&GRANT.replace("client_id=100123456", "client_id=")), 400, "20002"),
        (grant_request(&GRANT.replace("100123456", &long)), 400, "20002"),
        (grant_request(&GRANT.replace("9a8b%2B%2Fc7", "")), 400, "20171"),
        (grant_request(&GRANT.replace("100123456", "100123457")), 400, "20003"),
        (grant_request(&GRANT.replace("9a8b%2B%2Fc7", "wrong")), 400, "12304"),
        (grant_request(&GRANT.replace("%2B", "+")), 400, "12304"),
    ];
    for (request, status, sub) in cases {
        let answer = raw(&simulator, &request).await;
        assert_eq!(verdict(&answer), (status, sub.to_owned()), "{request}");
    }
    let wrong = raw(&simulator, &grant_request(&GRANT.replace("9a8b", "x"))).await;
    assert_eq!(wrong.text(), r#"{"error":1101,"sub_error":12304,"error_description":"the client secret is wrong"}"#);
    assert_eq!(simulator.access_tokens_granted(), 0);
    assert_eq!(simulator.broken_rules()["1101/12304 the client secret is wrong"], 3);
}

#[tokio::test]
async fn a_send_is_refused_by_the_first_broken_rule() {
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    let good = send_request(&token, SEND);
    let edits: [(&str, &str, u16, &str); 14] = [
        ("POST", "GET", 405, "null"),
        ("/v1/100123456/messages:send", "/v1/100123456/messages:sent", 404, "null"),
        ("/v1/", "/v3/", 404, "null"),
        ("Authorization", "X-Authorization", 401, "80200001"),
        ("Bearer ", "bearer ", 401, "80200001"),
        ("Bearer ", "key=", 401, "80200001"),
        ("Bearer D", "Bearer d", 401, "80200001"),
        ("/v1/100123456/", "/v1/100123457/", 401, "80200001"),
        ("application/json;charset=UTF-8", "application/x-www-form-urlencoded", 400, "80100001"),
        ("charset=UTF-8", "charset=GBK", 400, "80100001"),
        ("application/json;charset=UTF-8", "Application/JSON", 200, "80000000"),
        ("{\"validate_only\"", "['validate_only'", 400, "80100001"),
        ("\"message\":{", "\"massage\":{", 400, "80300010"),
        ("\"token\":[", "\"tokem\":[", 400, "80300010"),
    ];
    for (from, to, status, code) in edits {
        let answer = raw(&simulator, &good.replace(from, to)).await;
        assert_eq!(verdict(&answer), (status, code.to_owned()), "{from} -> {to}: {}", answer.text());
    }
    // A good token for the path, then the app.
    simulator.put_app(HuaweiApp { disabled: true, ..HuaweiApp::new(CLIENT, SECRET) });
    assert_eq!(send(&simulator, &token, "no JSON").await, (400, "80300002".into()));
    assert_eq!(simulator.broken_rules()["80300002 the app may not push"], 1);
    assert_eq!(simulator.endpoint("other").requests, 2);
}

#[tokio::test]
async fn every_member_has_its_type_and_its_range() {
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    let structure: Vec<(String, Option<Value>)> = [
        ("/validate_only", json!("false")),
        ("/message", json!([])),
        ("/message/token", json!("T1")),
        ("/message/token", json!([1])),
        ("/message/topic", json!("news")),
        ("/message/condition", json!("'a' in topics")),
        ("/message/data", json!({"a": 1})),
        ("A/data", json!({"a": 1})),
        ("A/data", json!("no JSON")),
        ("A/ttl", json!(86_400)),
        ("A/ttl", json!("")),
        ("A/ttl", json!("1d")),
        ("A/ttl", json!("1296001s")),
        ("A/bi_tag", json!(7)),
        ("A/receipt_id", json!(7)),
        ("A/category", json!(1)),
        ("A/collapse_key", json!("1")),
        ("A/target_user_type", json!(2)),
        ("A/urgency", json!("LOW")),
        ("A/fast_app_target", json!(3)),
        ("N/title", json!("")),
        ("N/title", json!(1)),
        ("N/body", json!(null)),
        ("N/click_action", json!(null)),
        ("N/click_action", json!({"type": "1", "intent": "i"})),
        ("N/click_action", json!({"intent": "i"})),
        ("N/click_action", json!({"type": 1, "intent": ""})),
        ("N/click_action", json!({"type": 2})),
        ("N/click_action", json!({"type": 2, "url": "http://example.com"})),
        ("N/click_action", json!({"type": 4, "rich_resource": "r"})),
        ("N/importance", json!("MAX")),
        ("N/notify_id", json!("7")),
        ("N/notify_id", json!(-1)),
        ("N/notify_id", json!(2_147_483_648_u64)),
        ("N/notify_id", json!(u64::MAX)),
        ("N/badge", json!(3)),
        ("N/badge", json!({"class": "c", "add_num": 0})),
        ("N/badge", json!({"class": "c", "add_num": 100})),
        ("N/badge", json!({"class": "c", "set_num": -1})),
        ("N/badge", json!({"class": "c", "set_num": 100})),
        ("N/badge", json!({"class": 1})),
        ("N/sound", json!("/raw/ping")),
        ("N/foreground_show", json!(0)),
        ("N/style", json!(1)),
        ("N/style", json!(2)),
        ("N/style", json!(3)),
        ("N/visibility", json!("public")),
        ("N/when", json!("2026-11-24T12:00:00+08:00")),
        ("N/profile_id", json!("p".repeat(65))),
        ("N/image", json!("http://example.com/a.png")),
        ("N/color", json!("#12345")),
        ("N/vibrate_config", json!(["0"])),
        ("N/vibrate_config", json!(["61"])),
        ("N/vibrate_config", json!(vec!["1"; 11])),
        ("N/light_settings", json!({"color": {"alpha": 1}})),
        ("N/buttons", json!(vec![json!({"name": "b", "action_type": 1}); 4])),
        ("N/buttons", json!([{"name": "b".repeat(41), "action_type": 1}])),
        ("N/buttons", json!([{"name": "b", "action_type": 5}])),
        ("N/buttons", json!([{"name": "b", "action_type": 1, "data": "d".repeat(1_025)}])),
        ("N/multi_lang_key", json!({"a": 1, "b": 1, "c": 1, "d": 1})),
    ]
    .map(|(path, value)| (path.replace("A/", &format!("{A}/")).replace("N/", &format!("{N}/")), Some(value)))
    .into();
    for (path, value) in structure {
        let verdict = send(&simulator, &token, &changed(&[(&path, value.clone())])).await;
        assert_eq!(verdict, (400, "80100003".to_owned()), "{path}: {value:?}");
    }
    assert_eq!(simulator.received_total(), 0);
    let refused = simulator.endpoint("/v1/messages:send").refused;
    assert_eq!(refused["80100003 ttl has the wrong JSON type"], 1);
}

#[tokio::test]
async fn counts_sizes_times_keys_and_rights_have_codes_of_their_own() {
    type Changes<'a> = Vec<(&'a str, Value)>;
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    let many = |count: usize| json!((0..count).map(|n| format!("T{n}")).collect::<Vec<_>>());
    let title = format!("{N}/title");
    // The rest of the example, without its tokens and its title, is this long.
    let rest = changed(&[("/message/token", Some(json!([]))), (&title, Some(json!("")))]).len();
    let text = |length: usize| json!("t".repeat(length));
    let [ttl, key, importance, urgency] =
        ["ttl", "collapse_key", "notification/importance", "urgency"].map(|name| format!("{A}/{name}"));
    let cases: Vec<(Changes<'_>, u16, &str)> = vec![
        (vec![("/message/token", json!([]))], 400, "80300010"),
        (vec![("/message/token", json!(null))], 400, "80300010"),
        (vec![("/message/token", many(1_001))], 400, "80300010"),
        (vec![("/message/token", many(1_000))], 200, "80000000"),
        (vec![(&title, text(4_096 - rest)), ("/message/token", many(1_000))], 200, "80000000"),
        (vec![(&title, text(4_097 - rest)), ("/message/token", many(1_000))], 400, "80300008"),
        (vec![(&title, text(4_097 - rest)), ("/message/token", json!(["T1"]))], 400, "80300008"),
        (vec![(&title, json!("红".repeat(1_300)))], 400, "80300008"),
        (vec![(&ttl, json!("0"))], 400, "80100004"),
        (vec![(&ttl, json!("-1s"))], 400, "80100004"),
        (vec![(&ttl, json!("0.5s"))], 400, "80100004"),
        (vec![(&ttl, json!("1"))], 200, "80000000"),
        (vec![(&ttl, json!("1296000.0S"))], 200, "80000000"),
        (vec![(&key, json!(-2))], 400, "80100013"),
        (vec![(&key, json!(101))], 400, "80100013"),
        (vec![(&key, json!(100))], 200, "80000000"),
        (vec![(&importance, json!("HIGH"))], 400, "80300011"),
        (vec![(&urgency, json!("HIGH"))], 400, "80300011"),
        // In the document's order.
        (vec![("/message/token", json!([])), (&title, text(5_000))], 400, "80300010"),
        (vec![(&ttl, json!("0")), (&title, text(5_000))], 400, "80300008"),
        (vec![(&ttl, json!("0")), (&key, json!(101))], 400, "80100004"),
    ];
    for (changes, status, code) in cases {
        let named: Vec<_> = changes.iter().map(|change| change.0).collect();
        let changes: Vec<_> = changes.iter().map(|(path, value)| (*path, Some(value.clone()))).collect();
        let verdict = send(&simulator, &token, &changed(&changes)).await;
        assert_eq!(verdict, (status, code.to_owned()), "{named:?}");
    }
}

#[tokio::test]
async fn what_the_document_lets_pass_is_accepted() {
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    let sdk = r#"{"validate_only":false,"message":{"token":["T1"],"topic":null,"android":{"collapse_key":-1,"urgency":"NORMAL","ttl":"86400s","bi_tag":"b","data":"{\"ext\":\"\\u4f60\"}","notification":{"title":"\u5c0f\ud83d\ude00","body":"b","importance":"NORMAL","click_action":{"type":3},"channel_id":"c","notify_id":1,"badge":{"add_num":1,"class":"C"},"use_default_vibrate":true,"use_default_light":true,"foreground_show":true}}}}"#;
    assert_eq!(send(&simulator, &token, sdk).await, (200, "80000000".into()));
    let received = &simulator.inbox("T1")[0];
    assert_eq!((received.title.as_str(), received.payload.as_deref()), ("小😀", Some("你")));
    assert_eq!((received.channel.as_deref(), received.badge), (Some("c"), None));
    assert_eq!(simulator.calls().last().unwrap().warnings, ["category is missing: sent as marketing"]);

    let notification = |name: &str| format!("{N}/{name}");
    let button = json!({"name": "b", "action_type": 0, "intent_type": 1, "intent": "i", "data": "d"});
    let color = json!({"alpha": 1, "red": 0.5, "green": 0, "blue": 0});
    let lights = json!({"color": color, "light_on_duration": "1s", "light_off_duration": "1s"});
    let rich = changed(&[
        (&notification("style"), Some(json!(3))),
        (&notification("inbox_content"), Some(json!(["a", "b"]))),
        (&notification("sound"), Some(json!("/raw/ping"))),
        (&notification("default_sound"), Some(json!(false))),
        (&notification("when"), Some(json!("2026-11-24T12:00:00.123456789Z"))),
        (&notification("vibrate_config"), Some(json!(["1", "0.5s"]))),
        (&notification("light_settings"), Some(lights)),
        (&notification("buttons"), Some(json!([button]))),
        (&notification("click_action"), Some(json!({"type": 2, "url": "https://example.com/a"}))),
        (&notification("color"), Some(json!("#20aF00"))),
        (&notification("unknown"), Some(json!({"a": 1}))),
        (&notification("ticker"), Some(json!(null))),
        (&notification("group"), Some(json!("g"))),
    ]);
    assert_eq!(send(&simulator, &token, &rich).await, (200, "80000000".into()));
    let received = &simulator.inbox("T2")[0];
    assert_eq!((received.sound.as_deref(), received.thread_id.as_deref()), (Some("/raw/ping"), Some("g")));

    let common = changed(&[
        ("/message/notification", Some(json!({"title": "from above", "body": "b"}))),
        (&notification("title"), None),
        ("/message/data", Some(json!("{\"ext\":\"above\"}"))),
        ("/message/android/data", None),
    ]);
    assert_eq!(send(&simulator, &token, &common).await, (200, "80000000".into()));
    let received = simulator.inbox("T1").pop().unwrap();
    assert_eq!((received.title.as_str(), received.payload.as_deref()), ("from above", Some("above")));

    let data = r#"{"message":{"data":"any text","token":["T3"]}}"#;
    assert_eq!(send(&simulator, &token, data).await, (200, "80000000".into()));
    let received = simulator.inbox("T3").pop().unwrap();
    assert_eq!((received.hidden, received.payload.as_deref()), (Some(Hidden::DataOnly), Some("any text")));
    let nothing = r#"{"message":{"token":["T3"]}}"#;
    assert_eq!(send(&simulator, &token, nothing).await, (400, "80100003".into()));
}

#[tokio::test]
async fn what_passes_but_looks_wrong_is_warned_of() {
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    let cases = [
        (format!("{A}/category"), json!("im"), "category is unknown: sent as marketing"),
        (format!("{N}/badge"), json!({"set_num": 3}), "badge without class: the badge does not work"),
        (format!("{A}/bi_tag"), json!("b".repeat(65)), "bi_tag is over 64 bytes: the limit of version 3"),
        ("/message/token".to_owned(), json!(["T9", "T8", "T9"]), "a token is named twice: delivered twice"),
    ];
    for (path, value, warning) in cases {
        assert_eq!(send(&simulator, &token, &changed(&[(&path, Some(value))])).await, (200, "80000000".into()));
        assert_eq!(simulator.calls().last().unwrap().warnings, [warning]);
    }
    assert_eq!((simulator.inbox("T9").len(), simulator.inbox("T8").len()), (2, 1));
    let topic = changed(&[("/message/token", None), ("/message/topic", Some(json!("news")))]);
    assert_eq!(send(&simulator, &token, &topic).await, (200, "80000000".into()));
    assert_eq!(simulator.endpoint("/v1/messages:send").warnings, 5);
}

#[tokio::test]
async fn a_validation_delivers_nothing() {
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    simulator.kill_token("T1");
    let good = changed(&[("/validate_only", Some(json!(true)))]);
    assert_eq!(send(&simulator, &token, &good).await, (200, "80000000".into()));
    let ttl = changed(&[("/validate_only", Some(json!(true))), ("/message/android/ttl", Some(json!("0s")))]);
    assert_eq!(send(&simulator, &token, &ttl).await, (400, "80100004".into()));
    assert_eq!((simulator.received_total(), simulator.endpoint("/v1/messages:send").accepted), (0, 0));
}

#[tokio::test]
async fn tokens_are_judged_one_by_one() {
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    simulator.kill_token("dead");
    simulator.mark_token("later", TokenState::DeadLater);
    simulator.mark_token("off", TokenState::Off);
    simulator.set_token_app("own", CLIENT);
    simulator.set_token_app("foreign", "100999999");
    let targets = json!(["ok", "dead", "later", "off", "own", "foreign", "", "a b", "dead"]);
    let answer = raw(&simulator, &send_request(&token, &changed(&[("/message/token", Some(targets))]))).await;
    assert_eq!(
        shape(&answer),
        r#"{"code":"80100000","msg":"{\"success\":4,\"failure\":5,\"illegal_tokens\":[\"dead\",\"foreign\",\"\",\"a b\",\"dead\"]}","requestId":"R"}"#
    );
    assert_eq!((simulator.shown("ok").len(), simulator.shown("off").len(), simulator.shown("own").len()), (1, 0, 1));
    assert_eq!(simulator.inbox("off")[0].hidden, Some(Hidden::NotificationsOff));
    assert_eq!((simulator.inbox("later").len(), simulator.endpoint("/v1/messages:send").accepted), (0, 4));
}

#[tokio::test]
async fn an_access_token_lives_its_time_unless_it_is_revoked() {
    static NOW: AtomicI64 = AtomicI64::new(1_792_380_000_000);
    let now = Arc::new(|| NOW.load(Ordering::Relaxed));
    let simulator = start(HuaweiWorld { token_lifetime: Duration::from_mins(1), now, ..world() }).await;
    let first = token(&simulator).await;
    NOW.fetch_add(59_999, Ordering::Relaxed);
    let second = token(&simulator).await;
    assert_eq!(send(&simulator, &first, SEND).await, (200, "80000000".into()), "a new token ends no other");
    NOW.fetch_add(1, Ordering::Relaxed);
    assert_eq!(send(&simulator, &first, SEND).await, (401, "80200003".into()));
    assert_eq!(send(&simulator, &second, SEND).await, (200, "80000000".into()));
    simulator.revoke_access_tokens();
    assert_eq!(send(&simulator, &second, SEND).await, (401, "80200001".into()));
    assert_eq!(simulator.access_tokens_granted(), 2);
}

#[tokio::test]
async fn grants_and_devices_are_limited_by_http_503() {
    static NOW: AtomicI64 = AtomicI64::new(1_792_380_000_000);
    let now = Arc::new(|| NOW.load(Ordering::Relaxed));
    let app = HuaweiApp { qps: Some(4), grants_per_5_min: Some(2), ..HuaweiApp::new(CLIENT, SECRET) };
    let simulator = start(HuaweiWorld { apps: vec![app], now, ..world() }).await;
    let token_of_app = token(&simulator).await;
    token(&simulator).await;
    assert_eq!(raw(&simulator, &grant_request(GRANT)).await.status, 503);
    for status in [200, 200, 503] {
        assert_eq!(send(&simulator, &token_of_app, SEND).await.0, status, "two devices a call");
    }
    NOW.fetch_add(500, Ordering::Relaxed);
    assert_eq!(send(&simulator, &token_of_app, SEND).await.0, 200);
    NOW.fetch_add(299_499, Ordering::Relaxed);
    assert_eq!(raw(&simulator, &grant_request(GRANT)).await.status, 503);
    NOW.fetch_add(1, Ordering::Relaxed);
    token(&simulator).await;
    let broken = simulator.broken_rules();
    assert_eq!(broken["503 over the app's devices a second"], 1);
    assert_eq!(broken["503 too many access tokens in 5 minutes"], 2);
}

#[tokio::test]
async fn a_scripted_code_is_answered_in_the_envelope_of_its_endpoint() {
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    let request = send_request(&token, SEND);
    let cases = [
        ("80200001", 401),
        ("80200005", 401),
        ("80300002", 400),
        ("80300007", 200),
        ("80600003", 400),
        ("81000001", 500),
        ("99999999", 400),
        ("nonsense", 400),
    ];
    for (code, status) in cases {
        simulator.answer_next(code);
        let answer = raw(&simulator, &request).await;
        assert_eq!(verdict(&answer), (status, code.to_owned()));
        assert!(shape(&answer).ends_with(r#""requestId":"R"}"#));
    }
    simulator.answer_next("80100000");
    assert_eq!(
        shape(&raw(&simulator, &request).await),
        r#"{"code":"80100000","msg":"{\"success\":0,\"failure\":2,\"illegal_tokens\":[\"T1\",\"T2\"]}","requestId":"R"}"#
    );
    simulator.answer_next("1101/20003");
    let answer = raw(&simulator, &grant_request(GRANT)).await;
    assert_eq!(verdict(&answer), (400, "20003".into()));
    assert_eq!((simulator.received_total(), simulator.endpoint("/v1/messages:send").faults), (0, 9));

    let quiet = start(HuaweiWorld { business_status: HuaweiStatus::Always200, ..world() }).await;
    assert_eq!(send(&quiet, "unknown", SEND).await, (200, "80200001".into()));
    quiet.answer_next("81000001");
    assert_eq!(send(&quiet, "unknown", SEND).await, (200, "81000001".into()));
}

#[tokio::test]
async fn a_fault_may_wait_for_one_token_and_come_after_accepting() {
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    let page = Misbehaviour::Status { status: 502, body: "<html>".into(), retry_after: None };
    simulator.fault(Fault::once(page).for_token("T2").after_accepting());
    let other = changed(&[("/message/token", Some(json!(["T1"])))]);
    assert_eq!(send(&simulator, &token, &other).await, (200, "80000000".into()));
    assert_eq!(send(&simulator, &token, SEND).await.0, 502);
    assert_eq!((simulator.inbox("T1").len(), simulator.inbox("T2").len()), (2, 1));
}

#[tokio::test]
async fn a_lenient_world_knows_every_account_but_still_checks_the_message() {
    let simulator = start(HuaweiWorld { lenient: true, counters_only: true, ..world() }).await;
    let wrong = raw(&simulator, &grant_request(&GRANT.replace("9a8b", "x"))).await;
    assert_eq!(verdict(&wrong), (400, "12304".into()), "a known app's secret is checked");
    let unknown = raw(&simulator, &grant_request("grant_type=client_credentials&client_id=7&client_secret=x")).await;
    let unknown: Value = serde_json::from_slice(&unknown.body).unwrap();
    let token = unknown["access_token"].as_str().unwrap();
    let request = |body: &str| send_request(token, body).replace("/v1/100123456/", "/v1/7/");
    assert_eq!(verdict(&raw(&simulator, &request(SEND)).await), (200, "80000000".into()));
    assert_eq!(verdict(&raw(&simulator, &request("{}")).await), (400, "80300010".into()));
    assert_eq!(verdict(&raw(&simulator, &request(SEND).replace("Bearer D", "Bearer x")).await).1, "80200001");
    assert_eq!(
        (simulator.payload_count(r#"{"conv":"u42","mid":"7f3a"}"#), simulator.notify_id_count("734512")),
        (2, 2)
    );
    assert_eq!((simulator.inbox("T1").len(), simulator.calls().len()), (0, 0));
}

#[tokio::test]
async fn apps_are_taught_over_the_control_interface_and_secrets_are_never_shown() {
    let simulator = start(HuaweiWorld::default()).await;
    let teach =
        |body: &str| format!("POST /_sim/apps HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let bad = raw(&simulator, &teach(r#"{"client_id":"1","client_secret":"s","quota":1}"#)).await;
    assert_eq!(bad.status, 400);
    let good = raw(&simulator, &teach(r#"{"client_id":"100123456","client_secret":"9a8b+/c7"}"#)).await;
    assert_eq!(good.text(), "{\"access_tokens_granted\":0,\"apps\":1}\n");
    let token = token(&simulator).await;
    assert_eq!(send(&simulator, &token, SEND).await, (200, "80000000".into()));
    let state = raw(&simulator, "GET /_sim/state HTTP/1.1\r\nHost: x\r\n\r\n").await.text();
    assert!(state.contains(r#""huawei":{"access_tokens_granted":1,"apps":1}"#) && !state.contains("9a8b"), "{state}");
}

//! The worked example of the document (part E1) byte by byte, and the rules of part F over a socket.

mod message;

use std::sync::Arc;
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

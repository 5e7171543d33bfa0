//! The worked example of the document (section 11) byte by byte, and the rules of section 13 over a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::extract::{RawForm, State};
use tokio::sync::mpsc;

use super::*;
use crate::simulator::form::Form;
use crate::simulator::testing::{any_port, exchange};
use crate::simulator::{Hidden, InboxCounts, Received, TokenState};

const FIRST: &str = "//9TSU0tWElBT01JLVRPS0VOLTAwMDAwMDAwMDErL3g=";
const SECOND: &str = "+/tTSU0tWElBT01JLVRPS0VOLTAwMDAwMDAwMDIrL3g=";
const SECRET: &str = "sim-mi-secret==";
const PACKAGE: &str = "com.example.chat";
const EXAMPLE: &str = "registration_id=%2F%2F9TSU0tWElBT01JLVRPS0VOLTAwMDAwMDAwMDErL3g%3D%2C%2B%2FtTSU0tWElBT01JLVRPS0VOL\
    TAwMDAwMDAwMDIrL3g%3D&restricted_package_name=com.example.chat&pass_through=0&notify_type=-1&notify_id=1024&title=%E5\
    %B0%8F%E7%BA%A2&description=%E6%99%9A%E4%B8%8A%E4%B8%80%E8%B5%B7%E5%90%83%E9%A5%AD%E5%90%97%EF%BC%9F&payload=%7B%22ci\
    d%22%3A%22c-1024%22%2C%22mid%22%3A%22m-77%22%7D&time_to_live=86400000&extra.channel_id=134567&extra.notify_foreground\
    =0&extra.notify_effect=1&extra.callback=https%3A%2F%2Fpush.example.com%2Fr%2Fmi&extra.callback.param=m-77&extra.callb\
    ack.type=1267";
const TEMPLATE: &str = "&extra.template_id=P10001&extra.template_param=%7B%22sender%22%3A%22%E5%B0%8F%E7%BA%A2%22%2C%22tex\
    t%22%3A%22%E6%99%9A%E4%B8%8A%E4%B8%80%E8%B5%B7%E5%90%83%E9%A5%AD%E5%90%97%EF%BC%9F%22%7D";

fn channel(id: &str, class: ChannelClass, daily_quota: Option<u64>) -> XiaomiChannel {
    XiaomiChannel { package: PACKAGE.into(), id: id.into(), class, daily_quota }
}

fn world() -> XiaomiWorld {
    XiaomiWorld {
        apps: vec![XiaomiApp { channel_required: true, ..XiaomiApp::new(SECRET, PACKAGE) }],
        channels: vec![channel("134567", ChannelClass::Private, None)],
        templates: vec![XiaomiTemplate {
            package: PACKAGE.into(),
            id: "P10001".into(),
            channel_id: "134567".into(),
            variables: vec!["sender".into(), "text".into()],
        }],
        ..XiaomiWorld::default()
    }
}

async fn start(world: XiaomiWorld) -> XiaomiSimulator {
    XiaomiSimulator::start(any_port(), world).await.unwrap()
}

/// The document's request around a body, with its headers as printed there.
fn request(body: &str) -> String {
    format!(
        "POST /v3/message/regid HTTP/1.1\r\nHost: api.xmpush.xiaomi.com\r\nAuthorization: key={SECRET}\r\n\
         Content-Type: application/x-www-form-urlencoded;charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn send(simulator: &XiaomiSimulator, request: &str) -> String {
    let answer = exchange(&simulator.url(), request.as_bytes()).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.text()
}

/// The answer with its two ids, 22 characters each, replaced by their kind.
fn shape(answer: &str) -> String {
    let mut shape = answer.to_owned();
    for (key, name) in [("\"trace_id\":\"", "T"), ("\"id\":\"", "I")] {
        if let Some(at) = shape.find(key).map(|at| at + key.len()) {
            assert_eq!(shape.as_bytes()[at + 22], b'"', "{key} is not 22 characters: {answer}");
            shape.replace_range(at..at + 22, name);
        }
    }
    shape
}

/// A short send that is right, with fields added or replaced.
fn form(changes: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("registration_id", "t1"),
        ("restricted_package_name", PACKAGE),
        ("title", "a"),
        ("description", "b"),
        ("extra.channel_id", "134567"),
    ];
    for change in changes {
        fields.retain(|field| field.0 != change.0);
        fields.push(*change);
    }
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

async fn code(simulator: &XiaomiSimulator, changes: &[(&str, &str)]) -> i64 {
    let answer = send(simulator, &request(&form(changes))).await;
    serde_json::from_str::<serde_json::Value>(&answer).unwrap()["code"].as_i64().unwrap()
}

#[test]
fn the_example_has_the_length_the_document_says() {
    assert_eq!(EXAMPLE.len(), 579);
}

#[tokio::test]
async fn the_example_is_accepted_and_reaches_both_inboxes() {
    let simulator = start(world()).await;
    simulator.add_channel(channel("134567", ChannelClass::Private, Some(50_000)));
    let answer = send(&simulator, &request(EXAMPLE)).await;
    assert_eq!(
        shape(&answer),
        r#"{"result":"ok","trace_id":"T","code":0,"data":{"id":"I","day_quota":"50000","day_acked":"0"},"description":"成功","info":"Received push messages for 2 REGID"}"#
    );
    for token in [FIRST, SECOND] {
        let inbox = simulator.inbox(token);
        let received = &inbox[0];
        assert_eq!((received.title.as_str(), received.body.as_str()), ("小红", "晚上一起吃饭吗？"));
        assert_eq!(received.payload.as_deref(), Some(r#"{"cid":"c-1024","mid":"m-77"}"#));
        assert_eq!((received.notify_id.as_deref(), received.ttl_ms), (Some("1024"), Some(86_400_000)));
        assert_eq!((received.channel.as_deref(), received.extras["notify_effect"].as_str()), (Some("134567"), "1"));
        assert!(answer.contains(&received.message_id) && simulator.has_message_id(&received.message_id));
    }
    let calls = simulator.calls();
    assert_eq!((calls[0].field("notify_id"), calls[0].code.as_deref()), (Some("1024"), Some("0")));
    assert_eq!(calls[0].header("authorization"), Some("key=sim-mi-secret=="));
    simulator.receipts_settled().await;
    assert_eq!(simulator.receipt_counts(), (0, 0, 1), "receipts never leave this machine");
    assert_eq!(simulator.endpoint("/v3/message/regid").accepted, 2);
}

#[tokio::test]
async fn the_example_in_template_mode_needs_no_text_of_its_own() {
    let simulator = start(world()).await;
    let whole = send(&simulator, &request(&format!("{EXAMPLE}{TEMPLATE}"))).await;
    assert!(whole.starts_with(r#"{"result":"ok""#), "{whole}");
    let values = r#"{"sender":"a","text":"b"}"#;
    let bare = [("title", ""), ("description", ""), ("extra.template_id", "P10001"), ("extra.template_param", values)];
    assert_eq!(code(&simulator, &bare).await, 0);
    assert_eq!(code(&simulator, &[("extra.template_id", "P9"), ("extra.template_param", values)]).await, 27_001);
    assert_eq!(code(&simulator, &[("extra.template_id", "P10001")]).await, 27_001);
}

#[tokio::test]
async fn the_failures_of_the_example_have_the_documents_answers() {
    let simulator = start(world()).await;
    let request = request(EXAMPLE);
    simulator.kill_token(SECOND);
    assert_eq!(
        shape(&send(&simulator, &request).await),
        r#"{"result":"ok","trace_id":"T","code":0,"data":{"id":"I","bad_regids":"+/tTSU0tWElBT01JLVRPS0VOLTAwMDAwMDAwMDIrL3g="},"description":"成功","info":"Received push messages for 1 REGID"}"#
    );
    simulator.kill_token(FIRST);
    assert_eq!(
        shape(&send(&simulator, &request).await),
        r#"{"result":"error","reason":"No valid targets!","trace_id":"T","code":20301,"description":"发送消息失败"}"#
    );
    assert_eq!(
        shape(&send(&simulator, &request.replace("key=sim-mi-secret==", "key=sim-mi-secret=")).await),
        r#"{"result":"error","reason":"Invalid application secret.","trace_id":"T","code":21301,"description":"认证失败"}"#
    );
    let empty = super::tests::request(&form(&[("title", "")]));
    assert_eq!(
        shape(&send(&simulator, &empty).await),
        r#"{"result":"error","reason":"Title or Description is empty!","trace_id":"T","code":65011,"description":"未提供参数"}"#
    );
    simulator.answer_next(200_001);
    assert_eq!(
        shape(&send(&simulator, &request).await),
        r#"{"result":"error","reason":"exceed quota, quota: 20000, have acked: 20000","trace_id":"T","code":200001,"description":"超过当日限额"}"#
    );
    simulator.answer_next(200_002);
    assert_eq!(
        shape(&send(&simulator, &request).await),
        r#"{"result":"error","reason":"exceed qps","trace_id":"T","code":200002,"description":"QPS"}"#
    );
    assert_eq!((simulator.inbox(FIRST).len(), simulator.inbox(SECOND).len()), (1, 0));
    simulator.revive_token(SECOND);
    assert!(send(&simulator, &request).await.contains(&format!(r#""bad_regids":"{FIRST}""#)));
}

#[tokio::test]
async fn the_first_broken_rule_decides() {
    let simulator = start(world()).await;
    let good = request(&form(&[]));
    let edits: [(&str, &str, i64); 9] = [
        ("POST", "PUT", 10_021),
        ("key=", "Key=", 21_301),
        ("key=", "Bearer ", 21_301),
        ("Authorization: key=sim-mi-secret==\r\n", "", 21_301),
        ("application/x-www-form-urlencoded;charset=UTF-8", "application/json", 10_007),
        ("charset=UTF-8", "charset=GBK", 10_007),
        ("title=a", "title=%", 10_007),
        ("registration_id=t1", "registration_xx=t1", 10_016),
        ("/v3/", "/v4/", 0),
    ];
    for (from, to, wanted) in edits {
        let answer = send(&simulator, &good.replace(from, to)).await;
        assert!(answer.contains(&format!(r#""code":{wanted},"#)), "{to}: {answer}");
    }
    let many = vec!["t"; 1_001].join(",");
    let fields: [(&[(&str, &str)], i64); 14] = [
        (&[("registration_id", "")], 10_016),
        (&[("registration_id", &many)], 10_017),
        (&[("registration_id", &many[2..])], 0),
        (&[("registration_id", "a,,b")], 10_017),
        (&[("registration_id", "a b")], 20_301),
        (&[("restricted_package_name", "")], 22_022),
        (&[("restricted_package_name", "com.example.other")], 22_022),
        (&[("restricted_package_name", "com.example.other"), ("pass_through", "7")], 22_022),
        (&[("pass_through", "7"), ("title", "")], 10_017),
        (&[("title", ""), ("notify_id", "-1")], 65_011),
        (&[("notify_id", "-1"), ("extra.callback", "x")], 22_103),
        (&[("extra.callback", "x"), ("extra.channel_id", "")], 65_038),
        (&[("extra.channel_id", "")], 27_001),
        (&[("extra.channel_id", "999"), ("unknown", "ignored")], 27_001),
    ];
    for (changes, wanted) in fields {
        assert_eq!(code(&simulator, changes).await, wanted, "{changes:?}");
    }
    let refused = simulator.endpoint("/v3/message/regid").refused;
    assert_eq!(refused["27001 invalid channel info!"], 2);
    assert_eq!(refused["21301 Invalid application secret."], 3);
}

#[tokio::test]
async fn a_path_the_vendor_does_not_have_is_not_found() {
    let simulator = start(world()).await;
    let answer = exchange(&simulator.url(), request("").replace("/v3/", "/v9/").as_bytes()).await;
    assert_eq!(answer.status, 404);
    assert_eq!(simulator.endpoint("other").requests, 1);
}

#[tokio::test]
async fn a_lenient_world_knows_every_account_but_still_checks_the_message() {
    let simulator = start(XiaomiWorld { lenient: true, ..XiaomiWorld::default() }).await;
    assert_eq!(code(&simulator, &[("extra.channel_id", "7")]).await, 0);
    assert_eq!(simulator.inbox("t1")[0].channel.as_deref(), Some("7"));
    assert_eq!(code(&simulator, &[("title", "")]).await, 65_011);
    assert_eq!(code(&simulator, &[("restricted_package_name", "")]).await, 22_022);
    let keyless = request(&form(&[])).replace("key=sim-mi-secret==", "key=");
    assert!(send(&simulator, &keyless).await.contains("21301"));
}

#[tokio::test]
async fn package_names_may_be_repeated_or_joined_and_each_must_be_known() {
    let simulator = start(world()).await;
    simulator.add_app(SECRET, "com.example.pad");
    assert_eq!(code(&simulator, &[("restricted_package_name", "com.example.chat,com.example.pad")]).await, 0);
    assert_eq!(code(&simulator, &[("restricted_package_name", "com.example.chat,com.example.tv")]).await, 22_022);
    let repeated = format!("{}&restricted_package_name=com.example.pad", form(&[]));
    assert!(send(&simulator, &request(&repeated)).await.contains(r#""code":0"#));
    assert!(simulator.calls().last().unwrap().warnings.is_empty());
    let v2 = request(&form(&[("restricted_package_name", "com.example.chat,com.example.pad")])).replace("/v3/", "/v2/");
    assert!(send(&simulator, &v2).await.contains("22022"));
}

#[tokio::test]
async fn rates_and_quotas_end_with_the_second_and_the_chinese_day() {
    static NOW: AtomicI64 = AtomicI64::new(1_792_380_000_000);
    let app = XiaomiApp { qps: Some(2), default_daily_quota: Some(1), ..XiaomiApp::new(SECRET, PACKAGE) };
    let now = Arc::new(|| NOW.load(Ordering::Relaxed));
    let simulator = start(XiaomiWorld { apps: vec![app], now, ..world() }).await;
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(code(&simulator, &[("extra.channel_id", "")]).await);
    }
    assert_eq!(codes, [0, 200_001, 200_002]);
    NOW.fetch_add(500, Ordering::Relaxed);
    assert_eq!(
        (code(&simulator, &[]).await, code(&simulator, &[]).await),
        (0, 200_002),
        "half a second is one request"
    );
    let day = 86_400_000;
    let to_midnight = day - (NOW.load(Ordering::Relaxed) + 8 * 3_600_000).rem_euclid(day);
    NOW.fetch_add(to_midnight - 1, Ordering::Relaxed);
    assert_eq!(code(&simulator, &[("extra.channel_id", "")]).await, 200_001);
    NOW.fetch_add(1, Ordering::Relaxed);
    assert_eq!(code(&simulator, &[("extra.channel_id", "")]).await, 0);
}

#[tokio::test]
async fn public_channels_share_the_quota_of_their_class() {
    let app = XiaomiApp { public_daily_quota: Some(3), ..XiaomiApp::new(SECRET, PACKAGE) };
    let channels = vec![channel("a", ChannelClass::Public, None), channel("b", ChannelClass::Public, None)];
    let simulator = start(XiaomiWorld { apps: vec![app], channels, ..XiaomiWorld::default() }).await;
    assert_eq!(code(&simulator, &[("extra.channel_id", "a"), ("registration_id", "x,y,z")]).await, 0);
    let spent = send(&simulator, &request(&form(&[("extra.channel_id", "b")]))).await;
    assert!(spent.contains("exceed quota, quota: 3, have acked: 3"), "{spent}");
}

#[tokio::test]
async fn a_token_of_another_region_is_dead_here() {
    let simulator = start(world()).await;
    simulator.set_token_region("t1", "in");
    assert_eq!(code(&simulator, &[]).await, 20_301);
}

#[tokio::test]
async fn a_newer_notification_replaces_and_a_recall_removes() {
    let simulator = start(world()).await;
    for (title, notify_id) in [("one", "5"), ("two", "6"), ("three", "5")] {
        assert_eq!(code(&simulator, &[("title", title), ("notify_id", notify_id)]).await, 0);
    }
    assert_eq!(code(&simulator, &[("pass_through", "1")]).await, 0);
    let titles = |list: Vec<Received>| list.iter().map(|received| received.title.clone()).collect::<Vec<_>>();
    assert_eq!(titles(simulator.inbox("t1")), ["one", "two", "three", "a"]);
    assert_eq!(titles(simulator.shown("t1")), ["two", "three"]);
    assert_eq!(simulator.inbox("t1")[3].hidden, Some(Hidden::DataOnly));

    let recall = |notify_id: &str| {
        let body = format!("registration_ids=t1&restricted_package_name={PACKAGE}&notify_id={notify_id}");
        request(&body).replace("/v3/message/regid", "/v1/message/regid/revoke")
    };
    assert!(send(&simulator, &recall("6")).await.contains("Received push messages for 1 REGID"));
    assert_eq!(titles(simulator.shown("t1")), ["three"]);
    assert!(send(&simulator, &recall("")).await.contains("22103"));
    assert_eq!(simulator.inbox("t1").len(), 4);
}

#[tokio::test]
async fn a_short_time_to_live_is_taken_with_a_warning() {
    let simulator = start(world()).await;
    assert_eq!(code(&simulator, &[("time_to_live", "3600")]).await, 0);
    assert_eq!(simulator.calls()[0].warnings, ["time_to_live is below 60000: milliseconds, not seconds?"]);
    assert_eq!(simulator.endpoint("/v3/message/regid").warnings, 1);
}

#[tokio::test]
async fn counters_only_keeps_no_notification_and_no_call() {
    let simulator = start(XiaomiWorld { counters_only: true, ..world() }).await;
    for payload in ["p1", "p2", "p2"] {
        assert_eq!(code(&simulator, &[("payload", payload), ("notify_id", "3")]).await, 0);
    }
    assert_eq!((simulator.inbox("t1").len(), simulator.calls().len(), simulator.received_total()), (0, 0, 3));
    let counts = InboxCounts { received: 3, distinct: 2, duplicates: 1, notify_ids: 1, payloads: 2 };
    assert_eq!((simulator.inbox_counts(), simulator.requests_total()), (counts, 3));
    assert_eq!((simulator.payload_count("p2"), simulator.notify_id_count("3")), (2, 3));
}

/// A server of one's own that takes receipts: its address and the JSON of each.
async fn receiver() -> (String, mpsc::UnboundedReceiver<serde_json::Value>) {
    async fn take(State(sender): State<mpsc::UnboundedSender<serde_json::Value>>, RawForm(body): RawForm) {
        let form = Form::parse(&body).unwrap();
        sender.send(serde_json::from_str(form.get("data").unwrap()).unwrap()).unwrap();
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind(any_port()).await.unwrap();
    let url = format!("http://localhost:{}/r/mi", listener.local_addr().unwrap().port());
    let app = axum::Router::new().route("/r/mi", axum::routing::post(take)).with_state(sender);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, receiver)
}

#[tokio::test]
async fn receipts_come_for_the_types_asked_for() {
    let now = Arc::new(|| 1_792_380_000_000);
    let simulator = start(XiaomiWorld { now, ..world() }).await;
    let (url, mut posted) = receiver().await;
    simulator.mark_token("gone", TokenState::DeadLater);
    simulator.mark_token("off", TokenState::Off);
    let fields = [
        ("registration_id", "t1,gone,t2,off"),
        ("extra.callback", url.as_str()),
        ("extra.callback.param", "m-77"),
        ("extra.callback.type", "19"),
    ];
    assert_eq!(code(&simulator, &fields).await, 0);
    let id = simulator.inbox("t1")[0].message_id.clone();
    let entry = |kind: u32, targets: &str, bar: &str| {
        serde_json::json!({ id.clone(): {
            "param": "m-77", "type": kind, "targets": targets, "jobkey": "", "barStatus": bar,
            "timestamp": 1_792_380_000_000_i64,
        }})
    };
    assert_eq!(posted.recv().await.unwrap(), entry(1, "t1,t2", "Enable"));
    assert_eq!(posted.recv().await.unwrap(), entry(16, "gone", "Unknown"));
    assert!(simulator.click("t2", &id));
    assert_eq!(posted.recv().await.unwrap(), entry(2, "t2", "Enable"));
    assert!(!simulator.send_receipt("off", &id, 32), "type 32 was not asked for");
    simulator.receipts_settled().await;
    assert_eq!(simulator.receipt_counts(), (3, 0, 0));

    assert_eq!(code(&simulator, &[("extra.callback", &url), ("extra.callback.type", "246")]).await, 0);
    assert_eq!(simulator.calls().last().unwrap().warnings.len(), 1);
    simulator.receipts_settled().await;
    assert_eq!(simulator.receipt_counts(), (3, 0, 0), "a wrong sum silently yields none");
}

#[tokio::test]
async fn receipts_that_wait_can_be_posted_at_once() {
    let simulator = start(XiaomiWorld { receipt_delay: Duration::from_hours(1), ..world() }).await;
    let (url, mut posted) = receiver().await;
    for _ in 0..2 {
        assert_eq!(code(&simulator, &[("extra.callback", &url)]).await, 0);
    }
    simulator.flush_receipts().await;
    assert_eq!(posted.recv().await.unwrap().as_object().unwrap().len(), 2, "one call reports both messages");
    assert_eq!(simulator.receipt_counts(), (2, 0, 0));
}

#[tokio::test]
async fn stopping_drops_the_receipts_that_wait() {
    let simulator = start(XiaomiWorld { receipt_delay: Duration::from_hours(1), ..world() }).await;
    assert_eq!(code(&simulator, &[("extra.callback", "http://127.0.0.1:9/r")]).await, 0);
    simulator.stop().await;
    simulator.receipts_settled().await;
    assert_eq!(simulator.receipt_counts(), (0, 0, 0));
}

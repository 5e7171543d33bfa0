//! The shared parts over a socket: loopback rule, faults, latency, control interface. Xiaomi serves as the vendor.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::testing::{RawAnswer, any_port, exchange, read_answer, try_exchange};
use super::{Fault, GoAway, Latency, Misbehaviour, StartError, XiaomiSimulator, XiaomiWorld};

async fn start() -> XiaomiSimulator {
    XiaomiSimulator::start(any_port(), XiaomiWorld { lenient: true, ..XiaomiWorld::default() }).await.unwrap()
}

fn send_to(token: &str) -> Vec<u8> {
    let body = format!("registration_id={token}&restricted_package_name=p&title=a&description=b");
    let head = "POST /v3/message/regid HTTP/1.1\r\nHost: x\r\nAuthorization: key=s\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

async fn send(simulator: &XiaomiSimulator) -> std::io::Result<RawAnswer> {
    try_exchange(&simulator.url(), &send_to("t")).await
}

async fn control(simulator: &XiaomiSimulator, method: &str, path: &str, body: &str) -> (u16, Value) {
    let request = format!("{method} /_sim/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answer = exchange(&simulator.url(), request.as_bytes()).await;
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

fn status(status: u16, body: &str, retry_after: Option<&str>) -> Misbehaviour {
    Misbehaviour::Status { status, body: body.into(), retry_after: retry_after.map(Into::into) }
}

#[tokio::test]
async fn an_address_other_machines_can_reach_is_refused() {
    for addr in ["0.0.0.0:0", "192.168.1.2:0", "[::]:0"] {
        let started = XiaomiSimulator::start(addr.parse().unwrap(), XiaomiWorld::default()).await;
        assert!(matches!(started.map(|_| ()), Err(StartError::NotLoopback(_))), "{addr}");
    }
    let running = start().await;
    let taken = running.url().strip_prefix("http://").unwrap().parse().unwrap();
    assert!(matches!(
        XiaomiSimulator::start(taken, XiaomiWorld::default()).await.map(|_| ()),
        Err(StartError::Bind { .. })
    ));
}

#[tokio::test]
async fn stopping_resets_open_connections_and_frees_the_port() {
    let simulator = start().await;
    let url = simulator.url();
    let mut open = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    open.write_all(&send_to("t")).await.unwrap();
    assert_eq!(read_answer(&mut open).await.unwrap().status, 200);
    simulator.fault(Misbehaviour::Hang(None));
    open.write_all(&send_to("t")).await.unwrap();
    while simulator.requests_total() < 2 {
        tokio::task::yield_now().await;
    }
    simulator.stop().await;
    assert_eq!(read_answer(&mut open).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let again = XiaomiSimulator::start(url.strip_prefix("http://").unwrap().parse().unwrap(), XiaomiWorld::default());
    assert_eq!(again.await.unwrap().url(), url);
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_server() {
    let simulator = start().await;
    let mut open = TcpStream::connect(simulator.url().strip_prefix("http://").unwrap()).await.unwrap();
    open.write_all(&send_to("t")).await.unwrap();
    read_answer(&mut open).await.unwrap();
    drop(simulator.clone());
    open.write_all(&send_to("t")).await.unwrap();
    assert_eq!(read_answer(&mut open).await.unwrap().status, 200, "a clone is no owner of its own");
    drop(simulator);
    assert!(read_answer(&mut open).await.is_err());
}

#[tokio::test]
async fn each_fault_is_seen_on_the_wire_as_it_says() {
    let simulator = start().await;
    let once = |what| simulator.fault(Fault::once(what));

    once(status(503, "<html>busy</html>", Some("7")));
    let answer = send(&simulator).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (503, "<html>busy</html>"));
    assert_eq!((answer.header("content-type"), answer.header("retry-after")), (Some("text/html"), Some("7")));

    once(status(429, "", None));
    let answer = send(&simulator).await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (429, None));

    once(Misbehaviour::Text("hello".into()));
    assert_eq!(send(&simulator).await.unwrap().text(), "hello");

    once(Misbehaviour::Empty);
    let answer = send(&simulator).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 0));

    once(Misbehaviour::Truncated);
    assert_eq!(send(&simulator).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);

    once(Misbehaviour::Reset);
    assert_eq!(send(&simulator).await.unwrap_err().kind(), ErrorKind::ConnectionReset);

    once(Misbehaviour::Code { code: "10031".into(), reason: Some("blacklisted".into()) });
    let answer = send(&simulator).await.unwrap().text();
    assert!(answer.contains(r#""reason":"blacklisted""#) && answer.contains(r#""code":10031"#), "{answer}");

    once(Misbehaviour::SlowCode { code: "10031".into(), pause: Duration::from_millis(30) });
    let before = Instant::now();
    assert!(send(&simulator).await.unwrap().text().contains(r#""code":10031"#));
    assert!(before.elapsed() >= Duration::from_millis(30));

    for what in [Misbehaviour::RefuseStream, Misbehaviour::GoAway(GoAway::unprocessed("Shutdown"))] {
        once(what);
        assert_eq!(send(&simulator).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    assert_eq!(simulator.received_total(), 0, "a request that failed delivered nothing");
    let seen: Vec<_> = simulator.calls().into_iter().map(|call| call.status).collect();
    assert_eq!(seen, [Some(503), Some(429), Some(200), Some(200), Some(200), None, Some(200), Some(200), None, None]);
    assert_eq!(simulator.endpoint("/v3/message/regid").faults, 10);
    assert_eq!(send(&simulator).await.unwrap().status, 200);
    assert_eq!(simulator.received_total(), 1);
}

#[tokio::test]
async fn an_answer_can_be_lost_after_the_vendor_accepted() {
    let simulator = start().await;
    simulator.fault(Fault::times(Misbehaviour::Reset, 2).after_accepting());
    simulator.fault(Fault::once(Misbehaviour::Truncated).after_accepting());
    for sent in 1..=3 {
        assert!(send(&simulator).await.is_err());
        assert_eq!(simulator.inbox("t").len(), sent);
    }
}

#[tokio::test]
async fn silence_ends_in_the_true_answer_or_never() {
    let simulator = start().await;
    simulator.fault(Fault::once(Misbehaviour::Hang(Some(Duration::from_millis(40)))));
    let before = Instant::now();
    assert_eq!(send(&simulator).await.unwrap().status, 200);
    assert!(before.elapsed() >= Duration::from_millis(40));
    simulator.fault(Misbehaviour::Hang(None));
    assert!(tokio::time::timeout(Duration::from_millis(40), send(&simulator)).await.is_err());
    simulator.clear_faults();
    assert_eq!(send(&simulator).await.unwrap().status, 200);
}

#[tokio::test]
async fn latency_delays_every_answer() {
    let simulator = start().await;
    simulator.set_latency(Latency { min_ms: 30, max_ms: 40 });
    let before = Instant::now();
    assert_eq!(send(&simulator).await.unwrap().status, 200);
    assert!(before.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let simulator = start().await;
    let head = "POST /v3/message/regid HTTP/1.1\r\nHost: x\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{}", (1 << 20) + 1, "x".repeat((1 << 20) + 1));
    assert_eq!(try_exchange(&simulator.url(), request.as_bytes()).await.map_or(413, |answer| answer.status), 413);
    assert_eq!(simulator.requests_total(), 0);
}

#[tokio::test]
async fn one_port_speaks_http_2_as_well() {
    let simulator = start().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let form = [("registration_id", "t"), ("restricted_package_name", "p"), ("title", "a"), ("description", "b")];
    let request = client.post(format!("{}/v4/message/regid", simulator.url())).header("authorization", "key=s");
    let answer = request.form(&form).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
    assert_eq!(simulator.inbox("t").len(), 1);
}

#[tokio::test]
async fn the_control_interface_scripts_faults_and_shows_what_happened() {
    let simulator = start().await;
    let fault = r#"{"answer": {"code": {"code": 20301}}, "times": 1, "token": "t", "latency_ms": [0, 1]}"#;
    let wanted = json!({ "queued": 1, "standing": 0, "latency_ms": [0, 1] });
    assert_eq!(control(&simulator, "POST", "faults", fault).await, (200, wanted));
    assert!(send(&simulator).await.unwrap().text().contains("No valid targets!"));
    assert_eq!(control(&simulator, "POST", "faults", r#"{"answer": "reset"}"#).await.0, 200);
    assert!(send(&simulator).await.is_err());
    let wanted = json!({ "queued": 0, "standing": 0, "latency_ms": [0, 0] });
    assert_eq!(control(&simulator, "DELETE", "faults", "").await, (200, wanted));

    let dead = r#"{"tokens": ["d"], "state": "dead"}"#;
    assert_eq!(control(&simulator, "POST", "tokens", dead).await, (200, json!({ "tokens": 1 })));
    let answer = exchange(&simulator.url(), &send_to("d,t")).await.text();
    assert!(answer.contains(r#""bad_regids":"d""#), "{answer}");

    let app = r#"{"secret": "s", "packages": ["p"], "qps": 1}"#;
    let (code, taught) = control(&simulator, "POST", "apps", app).await;
    assert_eq!((code, taught["apps"].clone()), (200, json!(1)));
    let channel = r#"{"package": "p", "id": "c", "class": "private"}"#;
    assert_eq!(control(&simulator, "POST", "channels", channel).await.1["channels"], json!(1));

    let (_, inbox) = control(&simulator, "GET", "inbox?token=t", "").await;
    assert_eq!((&inbox["received"][0]["title"], inbox["shown"].as_array().unwrap().len()), (&json!("a"), 1));
    let (_, calls) = control(&simulator, "GET", "calls?last=1", "").await;
    assert_eq!(calls["calls"][0]["form"][0], json!(["registration_id", "d,t"]));
    let (_, state) = control(&simulator, "GET", "state", "").await;
    assert_eq!(state["endpoints"]["/v3/message/regid"]["requests"], json!(3));
    assert_eq!((&state["tokens"], &state["inbox"]["received"]), (&json!({ "dead": 1 }), &json!(1)));
    assert_eq!((&state["vendor"], &state["xiaomi"]["region"]), (&json!("xiaomi"), &json!("cn")));
}

#[tokio::test]
async fn the_control_interface_says_what_it_does_not_understand() {
    let simulator = start().await;
    let cases = [
        ("POST", "faults", r#"{"answr": "reset"}"#, 400, "unknown field `answr`"),
        ("POST", "faults", r#"{"answer": {"status": {"status": 503, "html": ""}}}"#, 400, "unknown field `html`"),
        ("POST", "faults", r#"{"answer": {"status": {"status": 99}}}"#, 400, "99 is not a status"),
        ("POST", "faults", r#"{"answer": "explode"}"#, 400, "unknown variant `explode`"),
        ("POST", "faults", "{}", 400, "say what goes wrong"),
        ("POST", "faults", "", 400, "EOF"),
        ("POST", "tokens", r#"{"tokens": ["t"], "state": "asleep"}"#, 400, "unknown variant `asleep`"),
        ("POST", "apps", r#"{"secret": "s", "packages": [], "quota": 1}"#, 400, "unknown field `quota`"),
        ("GET", "inbox", "", 400, "?token=T"),
        ("GET", "calls?last=x", "", 400, "not a number"),
        ("POST", "sessions", "{}", 404, "has no \"sessions\""),
        ("DELETE", "state", "", 404, "has no \"state\""),
    ];
    for (method, path, body, code, why) in cases {
        let (status, answer) = control(&simulator, method, path, body).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(status == code && error.contains(why), "{method} {path} {body}: {status} {answer}");
    }
}

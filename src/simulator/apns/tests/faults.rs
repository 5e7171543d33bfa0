//! Every way of answering badly.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::simulator::apns::answer::reasons;
use crate::simulator::{Fault, GoAway, Latency, Misbehaviour};

fn status(status: u16, body: &str) -> Fault {
    Fault::once(Misbehaviour::Status { status, body: body.to_owned(), retry_after: None })
}

#[tokio::test]
async fn each_reason_of_the_document_is_answered_by_its_name() {
    let Given { world, key, .. } = given();
    let (simulator, client, push) = ready(world, &key).await;
    for (reason, status) in reasons() {
        simulator.answer_next(reason);
        let reply = client.send(&push).await;
        assert_eq!((reply.status, reply.reason().as_str()), (status, reason));
        assert_eq!(reply.header("apns-id"), Some(APNS_ID));
        assert_eq!(reply.json().get("timestamp").is_some(), status == 410, "{reason}");
    }
    simulator.answer_next("422 BrandNew");
    let reply = client.send(&push).await;
    assert_eq!((reply.status, reply.reason().as_str()), (422, "BrandNew"));
    simulator.fault(Fault::once(Misbehaviour::Code { code: "503".into(), reason: Some("Later".into()) }));
    assert_eq!(client.send(&push).await.status, 503);
    assert_eq!((simulator.received_total(), simulator.broken_rules().len()), (0, 0));
    assert_eq!(client.send(&push).await.status, 200);
}

#[tokio::test]
async fn a_body_may_be_empty_html_cut_short_late_or_garbage() {
    let Given { world, key, .. } = given();
    let (simulator, client, push) = ready(world, &key).await;
    for (code, body) in [(500, ""), (502, "<html>Bad Gateway</html>"), (400, r#"{"reas"#), (503, "busy")] {
        simulator.fault(status(code, body));
        let reply = client.send(&push).await;
        assert_eq!((reply.status, reply.body.as_str()), (code, body));
    }
    simulator.fault(Fault::once(Misbehaviour::Text("what?".into())));
    let reply = client.send(&push).await;
    assert_eq!((reply.status, reply.body.as_str(), reply.header("apns-id")), (200, "what?", None));
    simulator.fault(Fault::once(Misbehaviour::Empty));
    let reply = client.send(&push).await;
    assert_eq!((reply.status, reply.header("apns-id")), (200, None));

    let pause = Duration::from_millis(60);
    simulator.fault(Fault::once(Misbehaviour::SlowCode { code: "Unregistered".into(), pause }));
    let before = Instant::now();
    let head = client.open(&push).await.unwrap().await.unwrap();
    assert_eq!((head.status().as_u16(), before.elapsed() < pause), (410, true), "the head comes at once");
    assert!(head.into_body().data().await.unwrap().unwrap().starts_with(br#"{"reason":"Unregistered""#));
    assert!(before.elapsed() >= pause);

    simulator.fault(Fault::once(Misbehaviour::Truncated));
    let error = client.try_send(&push).await.unwrap_err();
    assert!(error.is_reset(), "half a body, then RST_STREAM: {error}");
    assert_eq!(client.send(&push).await.status, 200, "the connection lives");
}

#[tokio::test]
async fn an_answer_can_be_lost_before_and_after_accepting() {
    let Given { world, key, .. } = given();
    let simulator = start(world).await;
    let push = Push::new(&key.jwt(NOW_S).unwrap());
    let breaks = [Misbehaviour::Reset, Misbehaviour::Truncated, Misbehaviour::Hang(None)];
    for (fault, accepted) in breaks
        .iter()
        .flat_map(|what| [(Fault::once(what.clone()), 0), (Fault::once(what.clone()).after_accepting(), 1)])
    {
        let before = simulator.received_total();
        let client = Client::connect(&simulator).await;
        simulator.fault(fault);
        let lost = tokio::time::timeout(Duration::from_millis(100), client.try_send(&push)).await;
        assert!(!matches!(lost, Ok(Ok(_))));
        assert_eq!(simulator.received_total() - before, accepted);
    }
    simulator.fault(Fault::once(Misbehaviour::Reset));
    let client = Client::connect(&simulator).await;
    let error = client.try_send(&push).await.unwrap_err();
    assert_eq!(error.get_io().map(std::io::Error::kind), Some(std::io::ErrorKind::ConnectionReset), "{error}");
}

#[tokio::test]
async fn a_refused_stream_says_that_nothing_was_processed() {
    let Given { world, key, .. } = given();
    let (simulator, client, push) = ready(world, &key).await;
    simulator.fault(Fault::once(Misbehaviour::RefuseStream));
    let error = client.try_send(&push).await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
    assert_eq!(client.send(&push).await.status, 200, "on the same connection");
    assert_eq!(simulator.received_total(), 1);
}

#[tokio::test]
async fn silence_and_latency_delay_the_true_answer() {
    let Given { world, key, .. } = given();
    let (simulator, client, push) = ready(world, &key).await;
    simulator.fault(Fault::once(Misbehaviour::Hang(Some(Duration::from_millis(40)))));
    let before = Instant::now();
    assert_eq!(client.send(&push).await.status, 200);
    assert!(before.elapsed() >= Duration::from_millis(40));
    simulator.set_latency(Latency { min_ms: 30, max_ms: 40 });
    let before = Instant::now();
    assert_eq!(client.send(&push).await.status, 200);
    assert!(before.elapsed() >= Duration::from_millis(30));
    simulator.clear_faults();
    simulator.fault(
        Fault::times(Misbehaviour::Code { code: "InternalServerError".into(), reason: None }, 2).for_token("ab"),
    );
    assert_eq!(client.send(&push).await.status, 200, "for another token");
    for wanted in [500, 500, 200] {
        assert_eq!(client.send(&push.to("AB")).await.status, wanted);
    }
}

#[tokio::test]
async fn a_cancelled_request_leaves_the_connection_as_it_was() {
    let Given { world, key, .. } = given();
    let (simulator, client, push) = ready(world, &key).await;
    simulator.fault(Fault::times(Misbehaviour::Hang(None), 3));
    for sent in 0..3 {
        let open = client.open(&push).await.unwrap();
        while simulator.requests_total() == sent {
            tokio::task::yield_now().await;
        }
        drop(open);
    }
    assert_eq!(client.send(&push).await.status, 200);
    assert_eq!(simulator.excess_streams(), 0, "one at a time, as the limit says");
}

async fn control(client: &Client, method: &'static str, path: &str, body: &str) -> (u16, Value) {
    let request = Push { method, path: format!("/_sim/{path}"), headers: Vec::new(), body: body.into() };
    let reply = client.send(&request).await;
    (reply.status, reply.json())
}

#[tokio::test]
async fn the_control_interface_is_on_the_same_port() {
    let Given { world, key, .. } = given();
    let (simulator, client, push) = ready(ApnsWorld { teams: vec![], keys: vec![], ..world }, &key).await;
    let team = json!({ "id": TEAM, "topics": [TOPIC] }).to_string();
    assert_eq!(control(&client, "POST", "teams", &team).await.0, 200);
    assert_eq!(client.send(&push).await.reason(), "InvalidProviderToken", "no key yet");
    let file = json!({ "id": KEY, "team": TEAM, "p8": key.p8_pem() }).to_string();
    assert_eq!(control(&client, "POST", "keys", &file).await.1["keys"], json!(1));
    assert_eq!(client.send(&push).await.status, 200);

    let fault = r#"{"answer": {"code": {"code": "ServiceUnavailable"}}, "times": 1}"#;
    assert_eq!(control(&client, "POST", "faults", fault).await.1["queued"], json!(1));
    assert_eq!(client.send(&push).await.reason(), "ServiceUnavailable");
    for fault in [
        r#"{"answer": "refuse_stream", "times": 1}"#,
        r#"{"answer": {"slow_code": {"code": "Shutdown", "ms": 5}}, "times": 1}"#,
        r#"{"answer": {"go_away": {"last_stream": 0, "debug": "{}"}}, "times": 1}"#,
    ] {
        assert_eq!(control(&client, "POST", "faults", fault).await.0, 200, "{fault}");
    }
    assert_eq!(control(&client, "DELETE", "faults", "").await.1["queued"], json!(0));
    let dead = format!(r#"{{"tokens": ["{TOKEN}"], "state": "dead", "since_ms": 7, "app": "{TOPIC}"}}"#);
    assert_eq!(control(&client, "POST", "tokens", &dead).await.0, 200);
    assert_eq!(client.send(&push).await.body, r#"{"reason":"Unregistered","timestamp":7}"#);
    assert_eq!(control(&client, "POST", "keys", &format!(r#"{{"id": "{KEY}", "revoked": true}}"#)).await.0, 200);
    assert_eq!(client.send(&push).await.reason(), "InvalidProviderToken");
    assert_eq!(control(&client, "POST", "keys", r#"{"id": "x"}"#).await.0, 400);
    assert_eq!(control(&client, "POST", "connections", r#"{"streams": 5, "leave_after": 0}"#).await.0, 200);

    let (_, inbox) = control(&client, "GET", &format!("inbox?token={TOKEN}"), "").await;
    assert_eq!((&inbox["shown"][0]["title"], &inbox["shown"][0]["badge"]), (&json!("Alice"), &json!(3)));
    let (_, calls) = control(&client, "GET", "calls?last=1", "").await;
    assert!(calls["calls"][0]["body"].as_str().unwrap().contains("晚上"));
    let (_, state) = control(&client, "GET", "state", "").await;
    assert_eq!((&state["vendor"], &state["apns"]["connections"]["open"]), (&json!("apns"), &json!(1)));
    assert_eq!((&state["apns"]["streams"], &state["tokens"]), (&json!(5), &json!({ "dead": 1 })));
    assert_eq!(simulator.requests_total(), 5, "what is for the stand-in itself is no request to the vendor");
    assert_eq!(GoAway::unprocessed("Shutdown").debug, r#"{"reason":"Shutdown"}"#);
}

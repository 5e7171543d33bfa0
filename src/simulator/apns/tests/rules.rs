//! What a push must be, and what a device gets of it.

use super::*;
use crate::simulator::{Hidden, TokenState};

#[tokio::test]
async fn the_example_is_accepted_and_reaches_the_device() {
    let Given { world, key, .. } = given();
    let (simulator, client, push) = ready(world, &key).await;
    assert_eq!(push.body.len(), 160, "as the document says");
    let reply = client.send(&push).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    assert_eq!((reply.header("apns-id"), reply.header("apns-unique-id")), (Some(APNS_ID), None));
    assert_eq!(reply.header("content-type"), None);
    let inbox = simulator.inbox(TOKEN);
    let received = &inbox[0];
    assert_eq!((received.title.as_str(), received.body.as_str()), ("Alice", "晚上一起吃饭吗？"));
    assert_eq!((received.badge, received.sound.as_deref()), (Some(3), Some("default")));
    assert_eq!((received.thread_id.as_deref(), received.priority.as_deref()), (Some("c1"), Some("10")));
    assert_eq!((received.expires_at_s, received.ttl_ms), (Some(1_790_086_400), Some(86_400_000)));
    assert_eq!((received.push_type.as_deref(), received.app.as_str()), (Some("alert"), TOPIC));
    assert_eq!((received.message_id.as_str(), received.notify_id.as_deref()), (APNS_ID, Some("m-77")));
    assert_eq!(simulator.payload_count(r#"{"conv":"c1"}"#), 1);
    assert_eq!((simulator.apns_id_count(APNS_ID), simulator.notify_id_count("m-77")), (1, 1));
    assert_eq!((simulator.pushes().accepted, simulator.broken_rules().len()), (1, 0));
    let call = simulator.calls().pop().unwrap();
    let text = call.transcript();
    for line in [
        ":method: POST",
        ":scheme: https",
        ":authority: 127.0.0.1",
        "apns-collapse-id: m-77",
        ":status: 200",
        &format!("apns-id: {APNS_ID}"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert_eq!((call.warnings, call.form), (Vec::<String>::new(), vec![]));
}

#[tokio::test]
async fn each_rule_of_the_request_has_its_reason() {
    let Given { world, key, .. } = given();
    let (simulator, client, push) = ready(world, &key).await;
    let long = "x".repeat(65);
    let cases = [
        (push.path("/3/device"), 400, "MissingDeviceToken"),
        (push.path("/3/device/"), 400, "MissingDeviceToken"),
        (push.path("/3/devices/ab"), 404, "BadPath"),
        (push.path("/3/device/ab/cd"), 404, "BadPath"),
        (push.path("/3/device/ab?x=1"), 404, "BadPath"),
        (push.path("/"), 404, "BadPath"),
        (Push { method: "PUT", ..push.clone() }, 405, "MethodNotAllowed"),
        (push.clone().and("apns-topic", TOPIC), 400, "DuplicateHeaders"),
        (push.clone().and("apns-priority", "10"), 400, "DuplicateHeaders"),
        (push.with("apns-id", "1"), 400, "BadMessageId"),
        (push.with("apns-id", &APNS_ID.replace('5', "F")), 400, "BadMessageId"),
        (push.with("apns-expiration", "-1"), 400, "BadExpirationDate"),
        (push.with("apns-expiration", "soon"), 400, "BadExpirationDate"),
        (push.with("apns-expiration", "1.5"), 400, "BadExpirationDate"),
        (push.with("apns-priority", "6"), 400, "BadPriority"),
        (push.with("apns-priority", "high"), 400, "BadPriority"),
        (push.with("apns-push-type", "background"), 400, "BadPriority"),
        (push.with("apns-collapse-id", &long), 400, "BadCollapseId"),
        (push.with("apns-push-type", "ALERT"), 400, "InvalidPushType"),
        (push.with("apns-topic", ""), 400, "MissingTopic"),
        (push.with("apns-topic", "com.example.other"), 400, "TopicDisallowed"),
        (push.with("apns-push-type", "voip"), 400, "BadTopic"),
        (push.body(""), 400, "PayloadEmpty"),
        (push.body("x"), 400, "InvalidPayload"),
        (push.body(r#"{"ext":"1"}"#), 400, "InvalidPayload"),
        (push.body(r#"{"aps":{"badge":"1"}}"#), 400, "InvalidPayload"),
        (push.to("abc"), 400, "BadDeviceToken"),
        (push.to("zz"), 400, "BadDeviceToken"),
    ];
    for (push, status, reason) in &cases {
        let reply = client.send(push).await;
        assert_eq!((reply.status, reply.reason().as_str()), (*status, *reason), "{} {:?}", push.path, push.headers);
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("apns-id").map(str::len), Some(36));
        if *reason != "BadMessageId" {
            assert_eq!(reply.header("apns-id"), Some(APNS_ID));
        }
    }
    assert_eq!(simulator.received_total(), 0);
    assert_eq!(simulator.broken_rules().values().sum::<u64>(), cases.len() as u64);
    assert_eq!(simulator.broken_rules()["InvalidPayload badge is no integer from 0"], 1);
}

#[tokio::test]
async fn what_need_not_be_sent_is_not_demanded() {
    let Given { world, key, .. } = given();
    let (simulator, client, push) = ready(world, &key).await;
    let mut bare = push.clone();
    bare.headers.retain(|header| matches!(header.0, "authorization" | "apns-topic"));
    let reply = client.send(&bare).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("apns-id").map(str::len), Some(36), "made by the vendor");
    assert_ne!(reply.header("apns-id"), Some(APNS_ID));
    assert!(simulator.calls()[0].warnings[0].contains("apns-push-type"));
    let (authorization, upper) = (push.headers[0].1.replace("bearer", "Bearer"), TOKEN.to_uppercase());
    assert_eq!(client.send(&push.with("authorization", &authorization).to(&upper)).await.status, 200);
    assert_eq!(simulator.inbox(TOKEN).len(), 2, "one device, however its token is written");
}

#[tokio::test]
async fn the_payload_limit_is_4096_bytes_and_5120_for_voip() {
    let Given { mut world, key, .. } = given();
    world.teams[0].topics.push(format!("{TOPIC}.voip"));
    let (_simulator, client, push) = ready(world, &key).await;
    let sized = |push: &Push, size: usize| {
        let frame = r#"{"aps":{"alert":""}}"#.len();
        push.body(format!(r#"{{"aps":{{"alert":"{}"}}}}"#, "x".repeat(size - frame)))
    };
    let voip = push.with("apns-push-type", "voip").with("apns-topic", &format!("{TOPIC}.voip"));
    for (push, size, status) in
        [(&push, 4_096, 200), (&push, 4_097, 413), (&voip, 5_120, 200), (&voip, 5_121, 413), (&push, 300_000, 413)]
    {
        let reply = client.send(&sized(push, size)).await;
        assert_eq!(reply.status, status, "{size}");
        assert_eq!(reply.reason(), if status == 413 { "PayloadTooLarge" } else { "" });
    }
}

#[tokio::test]
async fn a_device_token_has_a_fate_a_topic_and_an_environment() {
    let Given { mut world, key, clock } = given();
    world.tokens_must_be_known = true;
    let (simulator, client, push) = ready(world, &key).await;
    assert_eq!(client.send(&push).await.reason(), "BadDeviceToken", "not known yet");
    simulator.set_token_topic(TOKEN, TOPIC);
    assert_eq!(client.send(&push).await.status, 200);
    simulator.set_token_topic(TOKEN, "com.example.other");
    assert_eq!(client.send(&push).await.reason(), "DeviceTokenNotForTopic");
    simulator.set_token_topic(TOKEN, TOPIC);
    simulator.set_token_environment(TOKEN, ApnsEnvironment::Sandbox);
    assert_eq!(client.send(&push).await.reason(), "BadDeviceToken");
    simulator.set_token_environment(TOKEN, ApnsEnvironment::Production);

    simulator.kill_token(TOKEN);
    clock.fetch_add(5, Ordering::Relaxed);
    let reply = client.send(&push).await;
    assert_eq!(reply.status, 410);
    assert_eq!(reply.body, format!(r#"{{"reason":"Unregistered","timestamp":{}}}"#, NOW_S * 1_000 + 5));
    simulator.kill_token_at(TOKEN, 1_789_990_000_000);
    assert_eq!(client.send(&push).await.body, r#"{"reason":"Unregistered","timestamp":1789990000000}"#);
    simulator.expire_token(TOKEN);
    assert_eq!(client.send(&push).await.body, r#"{"reason":"ExpiredToken","timestamp":1789990000000}"#);
    simulator.revive_token(TOKEN);
    assert_eq!(client.send(&push).await.status, 200);
    simulator.mark_token(TOKEN, TokenState::Off);
    assert_eq!(client.send(&push).await.status, 200);
    assert_eq!(simulator.inbox(TOKEN).pop().unwrap().hidden, Some(Hidden::NotificationsOff));
    simulator.mark_token(TOKEN, TokenState::DeadLater);
    assert_eq!(client.send(&push).await.status, 200, "the vendor learns late of an uninstall");
    assert_eq!(simulator.inbox(TOKEN).len(), 3);
}

#[tokio::test]
async fn a_collapse_id_replaces_and_an_apns_id_tells_a_duplicate() {
    let Given { world, key, .. } = given();
    let (simulator, client, push) = ready(world, &key).await;
    let second = push.with("apns-id", &APNS_ID.replace('1', "9"));
    for push in [&push, &second, &second, &second.with("apns-id", "").with("apns-collapse-id", "m-78")] {
        assert_eq!(client.send(push).await.status, 200);
    }
    let counts = simulator.inbox_counts();
    assert_eq!((counts.received, counts.duplicates, counts.notify_ids), (4, 1, 2));
    assert_eq!(simulator.apns_id_count(&APNS_ID.replace('1', "9")), 2);
    assert_eq!((simulator.inbox(TOKEN).len(), simulator.shown(TOKEN).len()), (4, 2));
    let silent = push.with("apns-push-type", "background").with("apns-priority", "5");
    assert_eq!(client.send(&silent.body(r#"{"aps":{"content-available":1}}"#)).await.status, 200);
    assert_eq!(simulator.inbox(TOKEN).pop().unwrap().hidden, Some(Hidden::DataOnly));
}

#[tokio::test]
async fn a_sandbox_adds_its_own_id() {
    let Given { mut world, key, .. } = given();
    world.environment = ApnsEnvironment::Sandbox;
    let (_simulator, client, push) = ready(world, &key).await;
    let reply = client.send(&push).await;
    assert_eq!((reply.header("apns-id"), reply.header("apns-unique-id").map(str::len)), (Some(APNS_ID), Some(36)));
    assert_eq!(client.send(&push.to("zz")).await.header("apns-unique-id"), None);
}

#[tokio::test]
async fn too_many_pushes_to_one_token_within_a_second_are_refused() {
    let Given { mut world, key, clock } = given();
    world.per_token_rate = Some(2);
    let (_simulator, client, push) = ready(world, &key).await;
    for status in [200, 200, 429] {
        assert_eq!(client.send(&push).await.status, status);
    }
    assert_eq!(client.send(&push).await.reason(), "TooManyRequests");
    assert_eq!(client.send(&push.to("abcd")).await.status, 200, "another device");
    clock.fetch_add(1_000, Ordering::Relaxed);
    assert_eq!(client.send(&push).await.status, 200);
}

#[tokio::test]
async fn counters_only_keeps_counts_and_no_notifications() {
    let Given { mut world, key, .. } = given();
    world.counters_only = true;
    let (simulator, client, push) = ready(world, &key).await;
    for _ in 0..2 {
        assert_eq!(client.send(&push).await.status, 200);
    }
    assert_eq!((simulator.inbox(TOKEN).len(), simulator.calls().len(), simulator.requests_total()), (0, 0, 2));
    assert_eq!((simulator.inbox_counts().duplicates, simulator.payload_count(r#"{"conv":"c1"}"#)), (1, 2));
}

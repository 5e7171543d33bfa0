//! The rules of a single message, in the order of the document.

use super::*;

#[tokio::test]
async fn what_is_no_json_post_to_a_known_path_has_an_http_status() {
    let world = World::new().await;
    let good = world.request("/message/send", SEND);
    let edits = [
        ("/message/send", "/message/sent", 404),
        ("POST", "PUT", 405),
        ("application/json;charset=UTF-8", "application/x-www-form-urlencoded", 415),
        ("charset=UTF-8", "charset=GBK", 415),
        ("{\"appId\"", "[\"appId\"", 400),
        ("\"addBadge\":true}", "\"addBadge\":true,", 400),
    ];
    for (from, to, wanted) in edits {
        assert_eq!(world.raw(&good.replacen(from, to, 1)).await.status, wanted, "{to}");
    }
    assert_eq!(world.raw(&world.request("/message/send", "[1]")).await.status, 400);
    assert_eq!(world.simulator.endpoint("other").requests, 1);
}

#[tokio::test]
async fn each_rule_of_a_send_has_its_code() {
    let world = World::new().await;
    let text = |length: usize| json!("x".repeat(length));
    let cases: Vec<(&str, Value, i64)> = vec![
        // Types.
        ("notifyType", json!("4"), 10_050),
        ("timeToLive", json!("86400"), 10_050),
        ("timeToLive", json!(86_400.5), 10_050),
        ("skipType", json!("1"), 10_050),
        ("classification", json!("1"), 10_050),
        ("pushMode", json!("0"), 10_050),
        ("notifyId", json!("7"), 10_050),
        ("networkType", json!("wifi"), 10_050),
        ("networkType", json!("-1"), 0),
        ("appId", json!("100215079"), 10_050),
        ("regId", json!(["t1"]), 10_050),
        ("title", json!(5), 10_050),
        ("clientCustomMap", json!({ "k": 1 }), 10_050),
        ("clientCustomMap", json!("{}"), 10_050),
        ("extra", json!({ "callback.id": 17 }), 10_050),
        ("foregroundShow", json!(1), 10_050),
        ("addBadge", json!("true"), 10_050),
        ("timedDisplay", json!({ "showStartTime": "1" }), 10_050),
        ("timedDisplay", json!({ "overtimeDisplay": true, "showStartTime": 1 }), 0),
        ("auditReview", json!([1]), 10_050),
        ("auditReview", json!([{ "reviewer": "r", "type": 1, "result": {} }]), 0),
        ("tagExpression", json!([]), 10_050),
        // The request's name.
        ("requestId", Value::Null, 10_303),
        ("requestId", json!(""), 10_303),
        ("requestId", text(64), 0),
        ("requestId", text(65), 10_304),
        // Ranges.
        ("timeToLive", json!(59), 10_050),
        ("timeToLive", json!(60), 0),
        ("timeToLive", json!(604_800), 0),
        ("timeToLive", json!(604_801), 10_050),
        ("appId", json!(100_215_080), 10_094),
        ("regId", json!(""), 10_050),
        ("regId", Value::Null, 10_050),
        ("title", json!(" "), 10_055),
        ("title", json!("红".repeat(20)), 0),
        ("title", json!("红".repeat(21)), 10_056),
        ("title", text(40), 0),
        ("title", text(41), 10_056),
        ("content", Value::Null, 10_058),
        ("content", json!("饭".repeat(50)), 0),
        ("content", json!("😀".repeat(51)), 10_059),
        ("notifyType", json!(0), 10_054),
        ("notifyType", Value::Null, 10_054),
        ("skipType", json!(5), 10_050),
        ("skipType", Value::Null, 10_050),
        ("skipType", json!(2), 10_050),
        ("networkType", json!(0), 10_050),
        ("classification", json!(2), 10_050),
        ("pushMode", json!(2), 10_050),
        ("notifyId", json!(0), 10_050),
        ("notifyId", json!(1), 0),
        ("notifyId", json!(2_147_483_647), 0),
        ("notifyId", json!(2_147_483_648_i64), 10_050),
        ("profileId", text(65), 10_050),
        ("alias", text(71), 10_050),
        ("clientCustomMap", numbers(0..10).into(), 0),
        ("clientCustomMap", numbers(0..11).into(), 10_066),
        ("clientCustomMap", json!({ "key": "v".repeat(1_021) }), 0),
        ("clientCustomMap", json!({ "key": "v".repeat(1_022) }), 10_067),
        ("extra", json!({ "ext": "x" }), 10_050),
        ("extra", json!({ "callback": "https://push.example.com/r", "callback.param": "p".repeat(64) }), 0),
        ("extra", json!({ "callback": "https://push.example.com/r", "callback.id": "17" }), 10_050),
        ("extra", json!({ "callback": format!("https://push.example.com/{}", "x".repeat(104)) }), 10_050),
        ("extra", json!({ "callback": "push.example.com" }), 10_050),
        ("extra", json!({ "callback.id": "x" }), 10_050),
        ("extra", json!({ "callback.param": "p".repeat(65) }), 10_050),
        // Classes.
        ("category", json!("im"), 10_096),
        ("category", json!("CHAT"), 10_096),
        ("category", json!("MARKETING"), 10_097),
        ("classification", json!(0), 10_097),
        ("classification", Value::Null, 0),
        ("category", Value::Null, 0),
    ];
    for (name, value, wanted) in cases {
        assert_eq!(world.send(&[(name, value.clone())]).await, wanted, "{name} {value}");
    }
    let link = |length: usize| [("skipType", json!(2)), ("skipContent", text(length))];
    assert_eq!((world.send(&link(1_024)).await, world.send(&link(1_025)).await), (0, 10_050));
    assert_eq!(world.send(&[("regId", json!("")), ("alias", json!("ann"))]).await, 0);
    assert_eq!(world.simulator.inbox("ann").len(), 1);
    let refused = world.simulator.endpoint("/message/send").refused;
    assert_eq!(
        (refused["10097 category and classification do not match"], refused["10303 requestId is missing"]),
        (2, 2)
    );
}

#[tokio::test]
async fn the_first_broken_rule_decides() {
    let world = World::new().await;
    let mut broken: Vec<(&str, Value)> = vec![
        ("notifyId", json!("7")),
        ("requestId", Value::Null),
        ("timeToLive", json!(1)),
        ("appId", json!(5)),
        ("regId", Value::Null),
        ("title", Value::Null),
        ("category", json!("CHAT")),
    ];
    let mut codes = Vec::new();
    while !broken.is_empty() {
        codes.push(world.send(&broken).await);
        broken.remove(0);
    }
    assert_eq!(codes, [10_050, 10_303, 10_050, 10_094, 10_050, 10_055, 10_096]);
    let strange = World { token: "0".repeat(32), ..world };
    assert_eq!(strange.send(&[("appId", json!(5))]).await, 10_000);
    assert_eq!(strange.send(&[("timeToLive", json!(1))]).await, 10_050);
}

#[tokio::test]
async fn a_request_id_is_sent_once_an_endpoint() {
    let world = World::new().await;
    let body = message(&[("requestId", json!("once"))]).to_string();
    let first = world.post("/message/send", &body).await;
    let again = world.post("/message/send", &body).await;
    assert_eq!((first["result"].as_i64(), &first), (Some(0), &again));
    assert_eq!(world.simulator.inbox("t1").len(), 1);
    let saved = world.post("/message/saveListPayload", &body).await;
    assert_eq!((saved["result"].as_i64(), saved["taskId"] == first["taskId"]), (Some(0), false));

    let dead = message(&[("requestId", json!("later")), ("regId", json!("t2"))]);
    world.simulator.kill_token("t2");
    assert_eq!(world.result("/message/send", &dead).await, 10_302);
    world.simulator.revive_token("t2");
    assert_eq!(world.result("/message/send", &dead).await, 0, "a refused request was not sent");
    assert_eq!(world.simulator.inbox("t2").len(), 1);
}

#[tokio::test]
async fn operations_messages_rest_from_23_to_7() {
    let world = World::new().await;
    let operations = [("classification", json!(0)), ("category", json!("MARKETING"))];
    let bare = [("classification", Value::Null), ("category", Value::Null)];
    let task_id = world.save(&operations).await["taskId"].as_str().unwrap().to_owned();
    for (hour, wanted) in [(7, 0), (22, 0), (23, 10_071), (6, 10_071)] {
        world.clock.store(NOW_MS + (hour - 8) * HOUR_MS, Ordering::Relaxed);
        assert_eq!(world.send(&operations).await, wanted, "{hour}");
        assert_eq!(world.send(&bare).await, wanted, "{hour}");
        assert_eq!(world.push(&task_id, &["a", "b"]).await["result"], wanted, "{hour}");
        assert_eq!(world.send(&[]).await, 0, "{hour}");
    }
}

//! Targets, one and many: who takes a message and what is said of the others.

use super::*;

#[tokio::test]
async fn a_target_that_takes_nothing_says_why() {
    let world = World::new().await;
    let inboxes = &world.simulator.vivo.shared.inboxes;
    inboxes.mark("dead", TokenState::Dead);
    inboxes.mark("expired", TokenState::Expired);
    inboxes.mark("later", TokenState::DeadLater);
    inboxes.mark("off", TokenState::Off);
    inboxes.set_app("foreign", "5");
    inboxes.set_app("own", "100215079");
    world.simulator.mark_invalid("offline", 3);
    world.simulator.mark_invalid("strange", 9);
    let wanted = [("dead", 2), ("expired", 1), ("foreign", 1), ("offline", 3), ("strange", 9)];
    for (reg_id, status) in wanted {
        let answer = world.post("/message/send", &message(&[("regId", json!(reg_id))]).to_string()).await;
        assert_eq!(answer["result"], 10_302);
        assert_eq!(answer["invalidUser"], json!({ "status": status, "userid": reg_id }));
    }
    for reg_id in ["later", "off", "own"] {
        assert_eq!(world.send(&[("regId", json!(reg_id))]).await, 0, "{reg_id}");
    }
    assert_eq!((world.simulator.inbox("later").len(), world.simulator.inbox("own").len()), (0, 1));
    assert_eq!(world.simulator.inbox("off")[0].hidden, Some(Hidden::NotificationsOff));

    let task_id = world.save(&[]).await["taskId"].as_str().unwrap().to_owned();
    let answer = world.push(&task_id, &["t1", "dead", "own", "expired"]).await;
    let invalid = json!([{ "status": 2, "userid": "dead" }, { "status": 1, "userid": "expired" }]);
    assert_eq!(answer, json!({ "result": 0, "desc": "请求成功", "taskId": task_id, "invalidUsers": invalid }));
    assert_eq!(world.simulator.inbox("t1")[0].message_id, task_id);
    assert_eq!(world.simulator.endpoint("/message/pushToList").accepted, 2);
}

#[tokio::test]
async fn a_list_is_saved_and_pushed_to_2_to_1000_devices() {
    let world = World::new().await;
    assert_eq!(world.save(&[("timeToLive", json!(899))]).await["result"], 10_050);
    assert_eq!(world.save(&[("title", json!(""))]).await["result"], 10_055);
    let saved = world.save(&[("timeToLive", json!(900)), ("regId", Value::Null)]).await;
    let task_id = saved["taskId"].as_str().unwrap();
    assert_eq!(saved, json!({ "result": 0, "desc": "请求成功", "taskId": task_id }));
    let good = json!({ "regIds": ["a", "b"], "taskId": task_id, "requestId": "x" });
    let many = |count: usize| (0..count).map(|n| json!(n.to_string())).collect::<Value>();
    let cases = [
        ("regIds", json!(["a"]), 10_050),
        ("regIds", many(1_001), 10_050),
        ("regIds", Value::Null, 10_050),
        ("regIds", json!(["a", ""]), 10_050),
        ("regIds", json!("a,b"), 10_050),
        ("regIds", json!(["a", 5]), 10_050),
        ("taskId", json!("1"), 10_050),
        ("taskId", Value::Null, 10_050),
        ("taskId", json!(5), 10_050),
        ("requestId", Value::Null, 10_303),
        ("requestId", json!("x".repeat(65)), 10_304),
        ("appId", json!(5), 10_094),
        ("appId", json!(APP_ID), 0),
        ("regIds", many(1_000), 0),
    ];
    for (name, value, wanted) in cases {
        let body = changed(good.clone(), &[("requestId", json!(fresh())), (name, value.clone())]);
        assert_eq!(world.result("/message/pushToList", &body).await, wanted, "{name} {wanted}");
    }
    let aliases = changed(good.clone(), &[("regIds", json!([])), ("aliases", json!(["c", "c"]))]);
    assert_eq!(world.result("/message/pushToList", &aliases).await, 0);
    assert_eq!(world.result("/message/pushToList", &aliases).await, 0);
    assert_eq!((world.simulator.inbox("c").len(), world.simulator.inbox("a").len()), (1, 1), "nothing twice");
    world.advance(24 * HOUR_MS - 1);
    assert_eq!(world.push(task_id, &["a", "b"]).await["result"], 0);
    world.simulator.vivo.access_tokens.grant(&world.token, "100215079", i64::MAX);
    world.advance(1);
    assert_eq!(world.push(task_id, &["a", "b"]).await["result"], 10_050, "a day old");
}

#[tokio::test]
async fn a_list_of_another_app_is_unknown() {
    let world = World::new().await;
    let task_id = world.save(&[]).await["taskId"].as_str().unwrap().to_owned();
    world.simulator.vivo.access_tokens.grant("other", "5", i64::MAX);
    let other = World { token: "other".into(), ..world };
    assert_eq!(other.push(&task_id, &["a", "b"]).await["result"], 10_050);
}

#[tokio::test]
async fn faults_find_their_token_in_single_and_list_sends() {
    let world = World::new().await;
    let task_id = world.save(&[]).await["taskId"].as_str().unwrap().to_owned();
    let code = || Misbehaviour::Code { code: "10102".into(), reason: None };
    for reg_id in ["t9", "t8"] {
        world.simulator.fault(Fault::once(code()).for_token(reg_id));
    }
    assert_eq!(world.send(&[]).await, 0);
    assert_eq!(world.send(&[("regId", json!("t9"))]).await, 10_102);
    assert_eq!(world.push(&task_id, &["a", "b"]).await["result"], 0);
    assert_eq!(world.push(&task_id, &["a", "t8"]).await["result"], 10_102);
    world.simulator.fault(Fault::once(Misbehaviour::Reset).after_accepting());
    let send = world.request("/message/send", SEND);
    assert!(try_exchange(&world.simulator.url(), send.as_bytes()).await.is_err());
    let again = world.post("/message/send", SEND).await;
    let inbox = world.simulator.inbox(REG_ID);
    assert_eq!((inbox.len(), again["taskId"].as_str()), (1, Some(inbox[0].message_id.as_str())), "sent once");
}

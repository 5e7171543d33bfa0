//! Auth, access tokens, and what an app may do.

use super::*;

#[tokio::test]
async fn each_rule_of_auth_has_its_code() {
    let world = World::new().await;
    let good: Value = serde_json::from_str(AUTH).unwrap();
    let cases = [
        ("appId", json!("100215079"), 0),
        ("timestamp", json!("1735689600000"), 0),
        ("unknown", json!(1), 0),
        ("appId", Value::Null, 10_200),
        ("appId", json!("x"), 10_200),
        ("appKey", Value::Null, 10_201),
        ("timestamp", json!(""), 10_202),
        ("timestamp", json!(true), 10_202),
        ("sign", Value::Null, 10_203),
        ("appId", json!(5), 10_204),
        ("sign", json!("22350934AECD0C669616A80A1419E0DC"), 10_205),
        ("timestamp", json!(1_735_689_600_001_i64), 10_205),
        ("appKey", json!("other"), 10_206),
    ];
    for (name, value, wanted) in cases {
        let body = changed(good.clone(), &[(name, value.clone())]);
        assert_eq!(world.result("/message/auth", &body).await, wanted, "{name} {value}");
    }
    for (off_ms, wanted) in [(600_000, 0), (1, 10_207), (-1_200_001, 0), (-1, 10_207)] {
        world.advance(off_ms);
        assert_eq!(world.result("/message/auth", &good).await, wanted, "{off_ms}");
    }
}

#[tokio::test]
async fn the_eleventh_auth_call_of_a_second_is_refused() {
    let world = World::new().await;
    let mut results = Vec::new();
    for _ in 0..10 {
        results.push(world.post("/message/auth", AUTH).await["result"].as_i64().unwrap());
    }
    assert_eq!(results, [[0; 9].as_slice(), &[10_093]].concat(), "the world took the first one");
    world.advance(100);
    assert_eq!(world.post("/message/auth", AUTH).await["result"], 0);
}

#[tokio::test]
async fn an_access_token_lives_a_day_and_a_new_one_does_not_end_it() {
    let mut world = World::new().await;
    assert_eq!(world.post("/message/auth", AUTH).await["result"], 0);
    world.advance(24 * HOUR_MS - 1);
    assert_eq!(world.send(&[]).await, 0);
    world.advance(1);
    assert_eq!(world.send(&[]).await, 10_000);
    world.clock.store(NOW_MS, Ordering::Relaxed);
    assert_eq!(world.send(&[]).await, 0);
    world.simulator.revoke_access_tokens();
    assert_eq!(world.send(&[]).await, 10_000);
    let none =
        world.request("/message/send", &message(&[]).to_string()).replace("authToken: ", "Authorization: Bearer ");
    assert!(world.raw(&none).await.text().contains("10000"));
    let granted = world.post("/message/auth", AUTH).await;
    granted["authToken"].as_str().unwrap().clone_into(&mut world.token);
    assert_eq!(world.send(&[]).await, 0);
}

#[tokio::test]
async fn a_lenient_world_knows_every_account_but_still_checks_the_rest() {
    let mut world = World::start(VivoWorld { lenient: true, ..VivoWorld::default() }).await;
    assert_eq!(world.token.len(), 32);
    assert_eq!(world.send(&[]).await, 0);
    assert_eq!(world.send(&[("pushMode", json!(1))]).await, 0);
    assert_eq!(world.send(&[("title", json!(""))]).await, 10_055);
    assert_eq!(world.post("/message/auth", &AUTH.replace("22350934", "2235093X")).await["result"], 10_205);
    assert_eq!(world.post("/message/auth", &AUTH.replace("22350934", "00000000")).await["result"], 0);
    world.simulator.put_app(VivoApp::new(APP_ID, KEY, SECRET));
    assert_eq!(world.post("/message/auth", &AUTH.replace("22350934", "00000000")).await["result"], 10_205);
    world.token = "unknown".into();
    assert_eq!(world.send(&[]).await, 10_000);
}

#[tokio::test]
async fn an_app_in_review_reaches_its_test_devices_only() {
    let test_devices = vec!["t1".to_owned()];
    let world = World::with(|app| VivoApp { in_review: true, test_devices, ..app }).await;
    let test = ("pushMode", json!(1));
    let formal = world.post("/message/send", &message(&[]).to_string()).await;
    assert_eq!(formal, json!({ "result": 10_045, "desc": "应用审核中不可发送正式消息" }));
    assert_eq!(world.save(&[]).await["result"], 10_045);
    assert_eq!(world.send(std::slice::from_ref(&test)).await, 0);
    let other = message(&[test.clone(), ("regId", json!("t2"))]).to_string();
    let refused = world.post("/message/send", &other).await;
    assert_eq!(refused["invalidUser"], json!({ "status": 4, "userid": "t2" }));
    let task_id = world.save(&[test]).await["taskId"].as_str().unwrap().to_owned();
    let pushed = world.push(&task_id, &["t1", "t2"]).await;
    assert_eq!(pushed["invalidUsers"], json!([{ "status": 4, "userid": "t2" }]));
}

#[tokio::test]
async fn rates_and_daily_counts_are_the_apps() {
    let world = World::with(|app| VivoApp { qps: Some(2), daily_lists: Some(1), ..app }).await;
    let task_id = world.save(&[]).await["taskId"].as_str().unwrap().to_owned();
    assert_eq!(world.save(&[]).await["result"], 10_252);
    let codes = [world.send(&[]).await, world.send(&[]).await, world.send(&[]).await];
    assert_eq!(codes, [0, 0, 10_072]);
    world.advance(1_000);
    assert_eq!(world.push(&task_id, &["a", "b", "c", "d"]).await["result"], 0);
    assert_eq!(world.send(&[]).await, 10_072, "a list counts each message");

    world.simulator.put_app(VivoApp { daily_total: Some(3), ..VivoApp::new(APP_ID, KEY, SECRET) });
    assert_eq!((world.send(&[]).await, world.push(&task_id, &["a", "b"]).await["result"].as_i64()), (0, Some(0)));
    assert_eq!(world.send(&[]).await, 10_070);
    assert_eq!(world.push(&task_id, &["a", "b"]).await["result"], 10_070);
    world.advance(16 * HOUR_MS);
    assert_eq!(world.send(&[]).await, 0, "midnight in China");
}

#[tokio::test]
async fn apps_are_taught_and_the_state_tells_sizes_but_no_secrets() {
    let world = World::start(VivoWorld::default()).await;
    assert_eq!(world.post("/message/auth", AUTH).await["result"], 10_204);
    let app = json!({ "app_id": APP_ID, "app_key": KEY, "app_secret": SECRET, "qps": 5 });
    let taught = world.raw(&world.request("/_sim/apps", &app.to_string())).await;
    assert_eq!((taught.status, taught.text().contains(SECRET)), (200, false), "{}", taught.text());
    assert_eq!(world.post("/message/auth", AUTH).await["result"], 0);
    let misspelt =
        world.raw(&world.request("/_sim/apps", r#"{"app_id":1,"app_key":"k","app_secret":"s","qqps":5}"#)).await;
    assert_eq!((misspelt.status, misspelt.text().contains("qqps")), (400, true));
    let state = world.raw("GET /_sim/state HTTP/1.1\r\nHost: x\r\n\r\n").await.text();
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["vivo"], json!({ "apps": 1, "access_tokens_granted": 1, "saved_lists": 0, "request_ids": 0 }));
}

//! Auth, access tokens, and what an app may do.

use super::*;

#[tokio::test]
async fn each_rule_of_auth_has_its_code() {
    let world = World::new().await;
    let cases = [
        ("app_key=a1b2", "xpp_key=a1b2", 15),
        ("app_key=a1b2", "app_key=&x=a1b2", 15),
        ("app_key=a1b2", "app_key=b1b2", 14),
        ("timestamp", "timestomp", 18),
        ("1735689600000", "1735689600", 19),
        ("1735689600000", "173568960000x", 19),
        ("1735689600000", "1735688999999", 19),
        ("1735689600000", "1735690200001", 19),
        ("1735689600000", "1735689600001", 16),
        ("sign", "singn", 17),
        ("6f88b1e6", "6F88B1E6", 16),
        ("6f88b1e6", "6f88b1e7", 16),
    ];
    for (from, to, wanted) in cases {
        assert_eq!(code(&world.post(AUTH, &SIGNED.replacen(from, to, 1)).await), wanted, "{to}");
    }
    for (off_ms, wanted) in [(600_000, 0), (1, 19), (-1_200_001, 0), (-1, 19)] {
        world.advance(off_ms);
        assert_eq!(code(&world.post(AUTH, SIGNED).await), wanted, "{off_ms}");
    }
}

#[tokio::test]
async fn an_access_token_lives_a_day_and_a_new_one_does_not_end_it() {
    let mut world = World::new().await;
    assert_eq!(code(&world.post(AUTH, SIGNED).await), 0);
    world.advance(24 * HOUR_MS - 1);
    assert_eq!(world.send(&[]).await, 0);
    world.advance(1);
    assert_eq!(world.send(&[]).await, 11);
    world.clock.store(NOW_MS, Ordering::Relaxed);
    assert_eq!(world.send(&[]).await, 0);
    world.simulator.expire_access_tokens();
    assert_eq!(world.send(&[]).await, 11);
    world.authenticate().await;
    assert_eq!(world.send(&[]).await, 0);
    world.simulator.revoke_access_tokens();
    assert_eq!((world.send(&[]).await, world.simulator.access_tokens_granted()), (11, 3));
    world.token.clear();
    assert_eq!(world.send(&[]).await, 29);
}

#[tokio::test]
async fn a_lenient_world_knows_every_account_but_still_checks_the_rest() {
    let mut world = World::start(OppoWorld { lenient: true, ..OppoWorld::default() }).await;
    assert_eq!((world.token.len(), world.send(&[]).await), (24, 0));
    assert_eq!(world.send(&[("title", json!(""))]).await, 40);
    let forged = SIGNED.replace("6f88b1e6", "00000000");
    assert_eq!(code(&world.post(AUTH, &forged).await), 0);
    assert_eq!(code(&world.post(AUTH, &forged.replace("00000000", "0000000X")).await), 16);
    world.simulator.put_app(OppoApp::new(KEY, SECRET));
    assert_eq!(code(&world.post(AUTH, &forged).await), 16);
    world.token = "unknown".into();
    assert_eq!(world.send(&[]).await, 11);
}

#[tokio::test]
async fn rates_and_daily_counts_are_the_apps_and_count_messages() {
    let world = World::with(|app| OppoApp { qps: Some(3), ..app }).await;
    let four: Value = (0..4).map(|n| message(&id(n), &[])).collect();
    assert_eq!((code(&world.batch(&four).await), world.send(&[]).await), (0, 55));
    world.advance(400);
    assert_eq!((world.send(&[]).await, code(&world.batch(&four).await)), (0, 55));

    world.simulator.put_app(OppoApp { daily_total: Some(5), ..OppoApp::new(KEY, SECRET) });
    assert_eq!((code(&world.batch(&four).await), world.send(&[]).await, world.send(&[]).await), (0, 0, 33));
    world.advance(16 * HOUR_MS);
    assert_eq!(world.send(&[]).await, 0, "midnight in China");
}

#[tokio::test]
async fn apps_are_taught_and_the_state_tells_sizes_but_no_secrets() {
    let world = World::start(OppoWorld::default()).await;
    assert_eq!(code(&world.post(AUTH, SIGNED).await), 14);
    let app = json!({ "app_key": KEY, "master_secret": SECRET, "template_required": true });
    let taught = world.raw(&request("/_sim/apps", &app.to_string())).await;
    assert_eq!((taught.status, taught.text().contains(SECRET)), (200, false), "{}", taught.text());
    assert_eq!(code(&world.post(AUTH, SIGNED).await), 0);
    let misspelt = world.raw(&request("/_sim/apps", r#"{"app_key":"k","master_secret":"s","qqps":5}"#)).await;
    assert_eq!((misspelt.status, misspelt.text().contains("qqps")), (400, true));
    let state = world.raw("GET /_sim/state HTTP/1.1\r\nHost: x\r\n\r\n").await.text();
    let state: Value = serde_json::from_str(&state).unwrap();
    let wanted = json!({
        "region": "cn", "apps": 1, "access_tokens_granted": 1, "saved_bodies": 0, "app_message_ids": 0,
    });
    assert_eq!(state["oppo"], wanted);
}

//! Targets, one and many: who takes a message and what is said of the others.

use super::*;

#[tokio::test]
async fn a_dead_id_is_taken_and_an_expired_one_is_refused() {
    let world = World::new().await;
    let inboxes = &world.simulator.oppo.shared.inboxes;
    let states = [TokenState::Dead, TokenState::DeadLater, TokenState::Off, TokenState::Expired, TokenState::Alive];
    for (n, state) in states.into_iter().enumerate() {
        inboxes.mark(&id(n), state);
    }
    inboxes.set_app(&id(5), "other");
    inboxes.set_app(&id(6), KEY);
    inboxes.set_region(&id(7), "intl");
    let mut codes = Vec::new();
    for n in 0..8 {
        codes.push(code(&world.unicast(&message(&id(n), &[])).await));
    }
    assert_eq!(codes, [0, 0, 0, 10_000, 0, 0, 0, 10_000]);
    let received: Vec<_> = (0..8).map(|n| world.simulator.inbox(&id(n)).len()).collect();
    assert_eq!(received, [0, 0, 1, 0, 1, 0, 1, 0]);
    assert_eq!(world.simulator.inbox(&id(2))[0].hidden, Some(Hidden::NotificationsOff));
}

#[tokio::test]
async fn an_overseas_host_takes_overseas_ids_only() {
    let apps = vec![OppoApp::new(KEY, SECRET)];
    let world = World::start(OppoWorld { region: "intl".into(), apps, ..OppoWorld::default() }).await;
    let hex = "b6bbd94b59cdb5df8391642c1509b7fe";
    for (prefix, wanted) in [("", 10_000), ("CN_", 10_000), ("OPPO_CN_", 10_000), ("IN_", 0), ("realme_EUEX_", 0)] {
        assert_eq!(code(&world.unicast(&message(&format!("{prefix}{hex}"), &[])).await), wanted, "{prefix}");
    }
}

#[tokio::test]
async fn an_app_message_id_is_sent_to_a_target_once() {
    let world = World::new().await;
    let named = [("app_message_id", json!("m-1"))];
    let first = world.unicast(&message(ID, &named)).await;
    let again = world.unicast(&message(ID, &named)).await;
    let other = world.unicast(&message(&id(1), &named)).await;
    assert_eq!((code(&first), &first), (0, &again));
    assert_ne!(first, other);
    let batch = world.batch(&json!([message(ID, &named), message(&id(2), &named), message(&id(2), &named)])).await;
    let ids: Vec<_> = batch["data"].as_array().unwrap().iter().map(|entry| &entry["messageId"]).collect();
    assert_eq!((ids[0], ids[1]), (&first["data"]["messageId"], ids[2]));
    assert_eq!((world.simulator.inbox(ID).len(), world.simulator.inbox(&id(2)).len()), (1, 1));
    assert_eq!((world.simulator.endpoint(UNICAST).accepted, world.simulator.endpoint(BATCH).accepted), (2, 1));
}

#[tokio::test]
async fn a_batch_has_an_entry_for_each_message() {
    let world = World::new().await;
    world.simulator.mark_token(&id(1), TokenState::Expired);
    world.simulator.kill_token(&id(2));
    let long = [("title", json!("x".repeat(51)))];
    let messages = json!([message(ID, &[]), message(&id(1), &[]), message(&id(2), &[]), message(&id(3), &long), 5]);
    let answer = world.batch(&messages).await;
    assert_eq!((code(&answer), &answer["message"]), (0, &json!("")));
    let entries = answer["data"].as_array().unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| (&entry["registrationId"], &entry["errorCode"])).collect();
    let (one, two, three) = (json!(id(1)), json!(id(2)), json!(id(3)));
    assert_eq!(
        seen,
        [
            (&json!(ID), &Value::Null),
            (&one, &json!(10_000)),
            (&two, &Value::Null),
            (&three, &json!(41)),
            (&json!(""), &json!(41))
        ]
    );
    assert_eq!(entries[1]["errorMessage"], "registration_id格式不正确");
    assert_eq!(entries[0], json!({ "messageId": world.simulator.inbox(ID)[0].message_id, "registrationId": ID }));
    assert_eq!((world.simulator.inbox(&id(2)).len(), world.simulator.endpoint(BATCH).accepted), (0, 2));
    assert_eq!(world.simulator.broken_rules().len(), 1, "an expired id is no broken rule");

    let many = |count: usize| (0..count).map(|n| message(&id(n + 10), &[])).collect::<Value>();
    assert_eq!((code(&world.batch(&many(1_000)).await), code(&world.batch(&many(1_001)).await)), (0, 41));
    assert_eq!((code(&world.batch(&json!([])).await), code(&world.batch(&message(ID, &[])).await)), (41, 41));
    assert_eq!(code(&world.post(BATCH, &world.form(&[])).await), 40);
    assert_eq!(code(&world.post(BATCH, &world.form(&[("messages", "[")])).await), 41);
    assert_eq!(code(&world.post(BATCH, "messages=%5B%5D").await), 29);
}

#[tokio::test]
async fn a_body_is_saved_flat_and_sent_to_many() {
    let world = World::new().await;
    let saved =
        world.save(&[("style", "1"), ("off_line", "true"), ("off_line_ttl", "60"), ("app_message_id", "m")]).await;
    let message_id = saved["data"]["message_id"].as_str().unwrap();
    assert_eq!(saved, json!({ "code": 0, "message": "success", "data": { "message_id": message_id } }));
    assert!(message_id.len() == 24 && world.simulator.has_message_id(message_id));
    world.simulator.mark_token(&id(2), TokenState::Expired);
    let answer = world.broadcast(message_id, &[id(1), id(2), "x".into(), id(1)].join(";")).await;
    let task_id = &answer["data"]["task_id"];
    assert_eq!(answer["data"], json!({ "message_id": message_id, "task_id": task_id, "10000": [id(2), "x"] }));
    let inbox = world.simulator.inbox(&id(1));
    assert_eq!((inbox.len(), inbox[0].message_id.as_str(), inbox[0].ttl_ms), (1, message_id, Some(60_000)));
    assert_eq!(code(&world.broadcast(message_id, &id(1)).await), 0);
    assert_eq!((world.simulator.inbox(&id(1)).len(), world.simulator.inbox_counts().duplicates), (1, 0));

    let bad = [
        ("title", "", 40),
        ("off_line", "yes", 41),
        ("notify_id", "x", 41),
        ("style", "3", 0),
        ("push_time_type", "1", 0),
    ];
    for (name, value, wanted) in bad {
        let fields = [("title", "a"), ("content", "b")].map(|pair| if pair.0 == name { (name, value) } else { pair });
        let form = world.form(&[fields.as_slice(), &[(name, value)]].concat());
        assert_eq!(code(&world.post(SAVE, &form).await), wanted, "{name}");
    }
    let many = (0..1_001).map(id).collect::<Vec<_>>();
    assert_eq!(code(&world.broadcast(message_id, &many.join(";")).await), 41);
    assert_eq!(code(&world.broadcast(message_id, &many[3..].join(";")).await), 0);
    assert_eq!((code(&world.broadcast("", ID).await), code(&world.broadcast(message_id, "").await)), (40, 40));
    assert_eq!(code(&world.broadcast("58ad47319e8d725350a5afd5", ID).await), 31);
    for (kind, wanted) in [("", 40), ("1", 41)] {
        let fields = [("message_id", message_id), ("target_type", kind), ("target_value", ID)];
        assert_eq!(code(&world.post(BROADCAST, &world.form(&fields)).await), wanted);
    }
    world.simulator.oppo.access_tokens.grant(&world.token, "other", i64::MAX);
    assert_eq!(code(&world.broadcast(message_id, ID).await), 31, "of another app");
    world.simulator.oppo.access_tokens.grant(&world.token, KEY, i64::MAX);
    world.advance(24 * HOUR_MS);
    assert_eq!(code(&world.broadcast(message_id, ID).await), 31, "a day old");
}

#[tokio::test]
async fn faults_find_their_token_in_every_kind_of_send() {
    let world = World::new().await;
    let message_id = world.save(&[]).await["data"]["message_id"].as_str().unwrap().to_owned();
    let fault = |n: usize| {
        let code = Misbehaviour::Code { code: "-1".into(), reason: None };
        world.simulator.fault(Fault::once(code).for_token(id(n)));
    };
    (1..4).for_each(fault);
    assert_eq!(code(&world.unicast(&message(&id(9), &[])).await), 0);
    assert_eq!(code(&world.unicast(&message(&id(1), &[])).await), -1);
    assert_eq!(code(&world.batch(&json!([message(&id(9), &[]), message(&id(2), &[])])).await), -1);
    assert_eq!(code(&world.broadcast(&message_id, &[id(9), id(3)].join(";")).await), -1);
    world.simulator.fault(Fault::once(Misbehaviour::Reset).after_accepting());
    let example = EXAMPLE.replace(EXAMPLE_TOKEN, &world.token);
    assert!(try_exchange(&world.simulator.url(), request(UNICAST, &example).as_bytes()).await.is_err());
    let again = world.post(UNICAST, &example).await;
    let inbox = world.simulator.inbox(ID);
    assert_eq!(
        (inbox.len(), again["data"]["messageId"].as_str()),
        (1, Some(inbox[0].message_id.as_str())),
        "sent once"
    );
}

//! The same message twice is one notification.

use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::PgPool;

use crate::world::{APP, World, id, merged, plain};

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_replay_answers_what_was_answered_the_first_time(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let body = world.message("alice", json!({"to": [{"user_id": "alice"}, {"user_id": "nobody"}]}));
    let first = world.post_notification(&body).await;
    assert_eq!((first.status, &first.body["deliveries"]), (StatusCode::ACCEPTED, &json!(1)));
    assert_eq!(first.body["replayed"], json!(null), "only a replay says so");
    for _ in 0..2 {
        let again = world.post_notification(&body).await;
        assert_eq!(again.status, StatusCode::OK);
        assert_eq!(again.body, merged(first.body.clone(), json!({"replayed": true})));
        world.sweep().await;
    }
    assert_eq!((world.vendor.received_total(), world.count("message_keys").await), (1, 1));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_replay_tells_the_first_decision_even_if_the_phone_has_gone_since(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let body = world.message("alice", plain());
    let first = world.post_notification(&body).await.ok();
    world.idle().await;
    world.report("logout", "alice", "phone").await;
    let again = world.post_notification(&body).await.ok();
    assert_eq!((&again["deliveries"], &again["skipped"], id(&again)), (&json!(1), &json!([]), id(&first)));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_same_id_with_another_body_is_refused(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let body = world.message("alice", plain());
    let first = world.sent("alice", body.clone()).await;
    for other in [json!({"body": "another"}), json!({"ttl_s": 5}), json!({"title": ""}), json!({"data": {"a": 1}})] {
        let answer = world.post_notification(&merged(body.clone(), other)).await;
        answer.problem(409, "message-id-reused");
    }
    assert_eq!(world.outcomes(&first).await, json!({"accepted": 1}));
    assert_eq!(world.vendor.received_total(), 1);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn parts_and_apps_are_separate(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let body = world.message("alice", plain());
    let mut ids = Vec::new();
    for part in [0, 1, 65_535] {
        ids.push(world.sent("alice", merged(body.clone(), json!({"part": part}))).await);
    }
    world.app(APP + 1).await;
    let in_other_app = world.post(&format!("/v1/apps/{}/notifications", APP + 1), &body).await;
    assert_eq!(in_other_app.status, StatusCode::ACCEPTED);
    ids.push(id(&in_other_app.body));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    world.idle().await;
    assert_eq!(world.vendor.received_total(), 3);
    let first_part = world.post_notification(&merged(body, json!({"part": 0}))).await;
    assert_eq!(first_part.status, StatusCode::OK, "part 0 is the default");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn identical_requests_at_the_same_instant_make_one_notification(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    for _ in 0..5 {
        let body = world.message("alice", plain());
        let twins = futures_util::future::join_all((0..8).map(|_| world.post_notification(&body))).await;
        let accepted = twins.iter().filter(|answer| answer.status == StatusCode::ACCEPTED).count();
        let replayed = twins.iter().filter(|answer| answer.status == StatusCode::OK).count();
        assert_eq!((accepted, replayed), (1, 7), "{twins:?}");
        assert!(twins.iter().all(|answer| id(&answer.body) == id(&twins[0].body)));
    }
    world.sweep().await;
    assert_eq!((world.vendor.received_total(), world.count("message_keys").await), (5, 5));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn twins_within_a_batch_make_one_notification(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let body = world.message("alice", plain());
    let other = merged(body.clone(), json!({"body": "another"}));
    let batch = json!({"notifications": [body, body, other]});
    let answer = world.post(&format!("/v1/apps/{APP}/notifications:batch"), &batch).await.ok();
    let statuses: Vec<_> =
        answer["results"].as_array().unwrap().iter().map(|result| result["status"].clone()).collect();
    assert_eq!(statuses, [202, 200, 409]);
    world.idle().await;
    assert_eq!(world.vendor.received_total(), 1);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_order_of_keys_and_white_space_do_not_matter(pool: PgPool) {
    let world = World::start(pool).await;
    let texts = [
        r#"{"message_id":"m","to":[{"user_id":"alice"}],"body":"hi","data":{"a":1,"b":2}}"#,
        "{ \"body\": \"h\\u0069\",\n \"data\": {\"b\": 2, \"a\": 1}, \"to\": [ {\"user_id\": \"alice\"} ],\n \"message_id\": \"m\" }",
        r#"{"message_id":"m","part":0,"ttl_s":86400,"to":[{"user_id":"alice","badge":null}],"body":"hi","data":{"a":1,"b":2}}"#,
    ];
    let mut statuses = Vec::new();
    for text in texts {
        let request = world.request(Method::POST, &format!("/v1/apps/{APP}/notifications"));
        statuses
            .push(world.answer(request.header("content-type", "application/json").body(text)).await.status.as_u16());
    }
    assert_eq!(statuses, [202, 200, 200]);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn keys_of_the_two_days_before_still_replay_and_older_ones_do_not(pool: PgPool) {
    let world = World::start(pool).await;
    // A server that runs for longer has this partition; one that starts begins with yesterday's.
    sqlx::query(
        "SELECT make_partition('message_keys', 'message_keys_before',
             ((now() AT TIME ZONE 'utc')::date - 3)::text, ((now() AT TIME ZONE 'utc')::date - 1)::text)",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    for (days, status) in [(1, StatusCode::OK), (2, StatusCode::OK), (3, StatusCode::ACCEPTED)] {
        let body = world.message("nobody", plain());
        let first = world.post_notification(&body).await.ok();
        let moved = sqlx::query(
            "UPDATE message_keys SET day = day - $1 WHERE message_id = $2 AND day >= (now() AT TIME ZONE 'utc')::date",
        )
        .bind(days)
        .bind(body["message_id"].as_str())
        .execute(&world.pool)
        .await
        .unwrap();
        assert_eq!(moved.rows_affected(), 1);
        // In the first minutes of a day the key also stands under the day before.
        sqlx::query("DELETE FROM message_keys WHERE message_id = $1 AND day > (now() AT TIME ZONE 'utc')::date - $2")
            .bind(body["message_id"].as_str())
            .bind(days)
            .execute(&world.pool)
            .await
            .unwrap();
        let again = world.post_notification(&body).await;
        assert_eq!(again.status, status, "{days} days");
        assert_eq!(id(&again.body) == id(&first), status == StatusCode::OK, "{days} days");
    }
}

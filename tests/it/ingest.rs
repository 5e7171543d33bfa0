//! Session changes of many requests in one transaction.

use chrono::TimeDelta;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use reqwest::Method;
use rouse::domain::id::AppId;
use rouse::sessions::ingest::{Ingest, IngestError};
use rouse::sessions::{Change, Changed};
use serde_json::json;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::world::{APP, World, until};

/// Requests that wait at most.
const WAITING: usize = 1_000;

/// So many transactions wait for a lock.
async fn wait(pool: &PgPool, count: usize) -> Option<()> {
    let waiting: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    (usize::try_from(waiting).unwrap() >= count).then_some(())
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn of_requests_that_go_together_only_the_one_that_is_refused_fails(pool: PgPool) {
    let world = World::start(pool).await;
    for user in ["busy", "alice", "carol"] {
        world.login(user, &format!("phone-{user}"), &format!("token-{user}")).await;
    }
    let server = world.server();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let ingest = Ingest::start(
        server.database().clone(),
        server.directory().clone(),
        server.dispatcher().clone(),
        server.clock().clone(),
        &tasks,
        &stop,
    );
    let app = server.directory().snapshot().apps[&AppId(APP)].clone();
    let unbind = |user: &str| Change::Unbind { user_id: user.to_owned(), device_id: format!("phone-{user}") };
    // Both workers are kept busy, so that what comes now goes together.
    let mut busy = world.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM devices WHERE user_id = 'busy' FOR UPDATE").execute(&mut *busy).await.unwrap();
    let first = tokio::spawn({
        let (ingest, app, change) = (ingest.clone(), app.clone(), unbind("busy"));
        async move { ingest.apply(&app, vec![change]).await }
    });
    until("the first waits", || wait(&world.pool, 1)).await;
    let second = tokio::spawn({
        let (ingest, app, change) = (ingest.clone(), app.clone(), unbind("busy"));
        async move { ingest.apply(&app, vec![change]).await }
    });
    until("the second waits", || wait(&world.pool, 2)).await;
    // What Postgres cannot store: the API would not have let it through.
    let bad = Change::Unbind { user_id: "\0".to_owned(), device_id: "phone".to_owned() };
    let requests = [vec![unbind("alice")], vec![bad], vec![unbind("carol"), unbind("nobody")]];
    let together = tokio::spawn({
        let (ingest, app) = (ingest.clone(), app.clone());
        async move { join_all(requests.into_iter().map(|changes| ingest.apply(&app, changes))).await }
    });
    tokio::task::yield_now().await;
    busy.commit().await.unwrap();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    let results = together.await.unwrap();
    assert!(matches!(results[0].as_deref(), Ok([Changed::Unbound(true)])), "{results:?}");
    assert!(matches!(results[1], Err(IngestError::Database(_))), "{results:?}");
    assert!(matches!(results[2].as_deref(), Ok([Changed::Unbound(true), Changed::Unbound(false)])), "{results:?}");
    assert_eq!(world.binding("alice", "phone-alice").await, "detached");
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    drop(ingest);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn more_requests_than_may_wait_are_told_when_to_come_again(pool: PgPool) {
    let world = World::start(pool).await;
    world.login("alice", "phone", "token-1").await;
    let mut busy = world.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM devices FOR UPDATE").execute(&mut *busy).await.unwrap();
    let path = format!("/v1/apps/{APP}/session-events");
    world.advance(TimeDelta::milliseconds(1));
    let body = json!({"events": [world.event("disconnect", "alice", "phone")]});
    let report = || world.answer(world.request(Method::POST, &path).json(&body));
    // Two transactions with one request each, and as many requests as may wait for them.
    let mut reports = FuturesUnordered::new();
    for taken in 1..=2 {
        reports.push(report());
        tokio::select! {
            answer = reports.next() => unreachable!("{answer:?}"),
            () = until("it waits for the row", || wait(&world.pool, taken)) => {}
        }
    }
    reports.extend((0..WAITING + 50).map(|_| report()));
    for _ in 0..50 {
        let refused = reports.next().await.unwrap();
        assert_eq!(refused.headers["retry-after"], "1");
        refused.problem(503, "overloaded");
    }
    busy.commit().await.unwrap();
    let statuses: Vec<u16> = reports.map(|answer| answer.status.as_u16()).collect().await;
    assert_eq!(statuses, vec![200; WAITING + 2], "who waited was served");
}

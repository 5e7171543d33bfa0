//! Counts are taken in one order by whoever takes several.

use rouse::domain::id::AppId;
use rouse::store::Database;
use rouse::store::push_counts::{self, Anew, Counted};
use sqlx::PgPool;

use crate::world::{APP, database_url, until};

fn of(device: &str, conversation: &str) -> Counted {
    Counted {
        app_id: AppId(APP),
        user_id: "alice".to_owned(),
        device_id: device.to_owned(),
        conversation_id: conversation.to_owned(),
        since: chrono::DateTime::UNIX_EPOCH,
    }
}

/// Somebody waits for a lock.
async fn waits(pool: &PgPool) -> Option<()> {
    let waiting: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    (waiting > 0).then_some(())
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn counts_that_begin_anew_are_taken_in_the_order_in_which_they_are_counted(pool: PgPool) {
    let database = Database::open(&database_url(&pool), 4).unwrap();
    let all = [of("A", "room"), of("a", "room"), of("b", "other"), of("b", "room"), of("c", "room")];
    push_counts::add(&pool, &all, &[1; 5]).await.unwrap();
    for _ in 0..2 {
        // Who counts holds one in the middle, and asks for a later one while the other waits.
        let mut counting = database.pipeline.begin().await.unwrap();
        push_counts::add(&mut *counting, &[of("b", "room")], &[1]).await.unwrap();
        let sessions = database.sessions.clone();
        let forgetting = tokio::spawn(async move {
            let mut transaction = sessions.begin().await.unwrap();
            let device = |name: &str| ("alice".to_owned(), name.to_owned());
            let anew = Anew {
                devices: [device("c"), device("A")].into(),
                conversations: [device("room")].into(),
                ..Anew::default()
            };
            push_counts::begin_anew(&mut transaction, AppId(APP), &anew).await?;
            transaction.commit().await
        });
        until("the other waits", || waits(&pool)).await;
        sqlx::query("SET LOCAL lock_timeout = '2s'").execute(&mut *counting).await.unwrap();
        push_counts::add(&mut *counting, &[of("c", "room")], &[1]).await.unwrap();
        counting.commit().await.unwrap();
        forgetting.await.unwrap().unwrap();
        let left: Vec<(String, String)> =
            sqlx::query_as("SELECT device_id, conversation_id FROM push_counts").fetch_all(&pool).await.unwrap();
        assert_eq!(left, [("b".to_owned(), "other".to_owned())], "also what was counted meanwhile");
        push_counts::add(&pool, &all, &[1; 5]).await.unwrap();
    }
    database.close().await;
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_is_taken_back_is_taken_in_the_same_order(pool: PgPool) {
    let keys = [of("a", "room"), of("b", "room"), of("c", "room")];
    push_counts::add(&pool, &keys, &[3; 3]).await.unwrap();
    let mut counting = pool.begin().await.unwrap();
    push_counts::add(&mut *counting, &[of("b", "room")], &[1]).await.unwrap();
    let other = pool.clone();
    let back = [of("a", "room"), of("b", "room"), of("c", "room")];
    let taking = tokio::spawn(async move { push_counts::take_back(&other, &back, &[1, 2, 3]).await });
    until("the other waits", || waits(&pool)).await;
    sqlx::query("SET LOCAL lock_timeout = '2s'").execute(&mut *counting).await.unwrap();
    push_counts::add(&mut *counting, &[of("c", "room")], &[1]).await.unwrap();
    counting.commit().await.unwrap();
    taking.await.unwrap().unwrap();
    let left: Vec<i32> =
        sqlx::query_scalar("SELECT pushes FROM push_counts ORDER BY device_id").fetch_all(&pool).await.unwrap();
    assert_eq!(left, [2, 2, 1]);
}

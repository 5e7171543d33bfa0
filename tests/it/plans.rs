//! The pipeline's statements use indexes even where they were prepared while their tables were empty.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rouse::config::Settings;
use rouse::domain::certificate::VendorKind;
use rouse::domain::id::{AppId, NotificationId};
use rouse::domain::notification::Priority;
use rouse::domain::session::{BindingStatus, Platform};
use rouse::domain::skip::CancelReason;
use rouse::store::deliveries::Record;
use rouse::store::devices::{Lapses, Place, TokenVerdict, Touched};
use rouse::store::notifications::{Acceptance, Question};
use rouse::store::push_counts::Counted;
use rouse::store::{self, Database};
use sqlx::{PgConnection, PgPool};

use crate::world::{APP, CERTIFICATE, database_url};

const TABLES: [&str; 7] = [
    "deliveries",
    "devices",
    "message_keys",
    "notification_contents",
    "user_preferences",
    "conversation_settings",
    "push_counts",
];

/// Sequential and index scans by table, its partitions counted with it.
async fn scans(pool: &PgPool) -> BTreeMap<&'static str, (i64, i64)> {
    let rows: Vec<(String, i64, i64)> =
        sqlx::query_as("SELECT relname::text, seq_scan, coalesce(idx_scan, 0) FROM pg_stat_user_tables")
            .fetch_all(pool)
            .await
            .unwrap();
    let of = |table: &'static str| {
        let rows = rows.iter().filter(|row| row.0 == table || row.0.starts_with(&format!("{table}_2")));
        (table, rows.fold((0, 0), |sum, row| (sum.0 + row.1, sum.1 + row.2)))
    };
    TABLES.into_iter().map(of).collect()
}

fn acceptance(number: u64, now: DateTime<Utc>) -> Acceptance {
    let id = NotificationId::new(u64::try_from(now.timestamp_millis()).unwrap(), number << 32);
    let mut group = Acceptance::default();
    group.messages.app_ids.push(APP);
    group.messages.message_ids.push(format!("m-{number}"));
    group.messages.parts.push(0);
    group.messages.body_hashes.push(vec![0; 16]);
    group.messages.notification_ids.push(id.0);
    group.messages.deliveries.push(1);
    group.messages.skipped.push(0);
    group.messages.contents.push(b"{}".to_vec());
    let rows = &mut group.deliveries;
    rows.delivery_ids.push(id.delivery(1).0);
    rows.notification_ids.push(id.0);
    rows.app_ids.push(APP);
    rows.certificate_ids.push(CERTIFICATE);
    rows.user_ids.push("alice".to_owned());
    rows.device_ids.push("phone".to_owned());
    rows.tokens.push("token-1".to_owned());
    rows.due_at.push(now);
    rows.expires_at.push(now + TimeDelta::hours(1));
    rows.badges.push(None);
    rows.owned.push(false);
    rows.priorities.push(Priority::Normal.rank());
    rows.text_variants.push(None);
    group
}

/// Every statement of the way from request to record, once.
async fn pipeline(db: &mut PgConnection, now: DateTime<Utc>) {
    let mut question = Question::default();
    question.push(APP, "alice", Some("room"), true);
    store::notifications::route(&mut *db, &question, now).await.unwrap();
    let group = acceptance(1, now);
    let instance = store::instances::register(&mut *db, "test").await.unwrap();
    assert_eq!(store::notifications::accept(&mut *db, &group, instance, now).await.unwrap().fresh.len(), 1);
    assert!(store::notifications::accept(&mut *db, &group, instance, now).await.unwrap().fresh.is_empty());
    let rooms = (&[CERTIFICATE, 7], &[10, 10]);
    let claimed =
        store::deliveries::claim(&mut *db, instance, Priority::Normal, rooms.0, rooms.1, 100, now).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let delivery = claimed[0].delivery_id;
    let contents = store::notifications::contents(&mut *db, &[delivery.notification().0]).await.unwrap();
    assert_eq!(contents.len(), 1);
    let waiting = store::deliveries::waiting_of_users(&mut *db, AppId(APP), &["alice"], 10).await.unwrap();
    let waiting: Vec<uuid::Uuid> = waiting.iter().map(|waiting| waiting.delivery_id.0).collect();
    store::deliveries::cancel(&mut *db, &waiting, CancelReason::ConversationRead, now).await.unwrap();
    let verdict = TokenVerdict {
        app_id: AppId(APP),
        user_id: "alice".to_owned(),
        device_id: "phone".to_owned(),
        token: "token-1".to_owned(),
        tried_at: now,
        status: BindingStatus::Invalid,
    };
    store::devices::mark_tokens(&mut *db, &[verdict]).await.unwrap();
    let moved = Record {
        moved: vec![delivery.0],
        moved_owners: vec![instance.0],
        moved_due_at: vec![now],
        moved_attempts: vec![1],
        moved_certificate_ids: vec![CERTIFICATE],
        moved_tokens: vec!["token-1".to_owned()],
        ..Record::default()
    };
    store::deliveries::record(&mut *db, &moved).await.unwrap();
    let claimed =
        store::deliveries::claim(&mut *db, instance, Priority::Normal, rooms.0, rooms.1, 100, now).await.unwrap();
    assert_eq!(claimed.len(), 1, "given back and claimed again");
    let ended = Record { ended: vec![delivery.0], ended_owners: vec![instance.0], ..Record::default() };
    store::deliveries::record(&mut *db, &ended).await.unwrap();
    assert_eq!(store::deliveries::expire(&mut *db, now, 100).await.unwrap(), 0);
    let cancelled =
        store::deliveries::cancel_of_devices(&mut *db, AppId(APP), &["alice"], &["phone"], &["kicked"], now);
    assert_eq!(cancelled.await.unwrap(), 0);
    let touched = Touched {
        devices: vec![("alice".to_owned(), "phone".to_owned(), Platform::Android, true)],
        users: vec!["alice".to_owned()],
        logins: vec!["phone".to_owned()],
        one_at_a_time: vec!["alice".to_owned()],
        tokens: vec![(VendorKind::Xiaomi, "token-1".to_owned())],
    };
    let locked = store::devices::lock_touched(&mut *db, AppId(APP), &touched).await.unwrap();
    store::devices::write_back(&mut *db, AppId(APP), locked.iter()).await.unwrap();
    let lapses = Lapses { killed_before: now, seen_before: now, reported_before: now };
    store::devices::walk(&mut *db, &Place::default(), 1_000, lapses).await.unwrap();
    store::notifications::route(&mut *db, &question, now).await.unwrap();
    counts(db, now).await;
}

/// The statements of apps that count pushes.
async fn counts(db: &mut PgConnection, now: DateTime<Utc>) {
    let counted = [Counted {
        app_id: AppId(APP),
        user_id: "alice".to_owned(),
        device_id: "phone".to_owned(),
        conversation_id: "room".to_owned(),
        since: now,
    }];
    assert_eq!(store::push_counts::add(&mut *db, &counted, &[2]).await.unwrap(), [2]);
    assert_eq!(store::push_counts::add(&mut *db, &counted, &[1]).await.unwrap(), [3]);
    assert_eq!(store::push_counts::of_devices(&mut *db, &[APP], &["alice"], &["phone"]).await.unwrap(), [3]);
    store::push_counts::take_back(&mut *db, &counted, &[2]).await.unwrap();
    assert_eq!(store::push_counts::of_devices(&mut *db, &[APP], &["alice"], &["phone"]).await.unwrap(), [1]);
    store::push_counts::reset_conversation(&mut *db, AppId(APP), "alice", "room").await.unwrap();
    store::push_counts::reset(&mut *db, AppId(APP), &["alice"], &["phone"]).await.unwrap();
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn on_empty_tables_the_pipeline_reads_by_index_alone(pool: PgPool) {
    let database = Database::open(&database_url(&pool), 2).unwrap();
    let retention = Settings::read(None, std::collections::HashMap::new()).unwrap().retention;
    rouse::maintenance::make_partitions(&database, &retention).await.unwrap();
    let now = store::partitions::database_now(&pool).await.unwrap();
    let before = scans(&pool).await;
    let mut connection = database.pipeline.acquire().await.unwrap();
    pipeline(&mut connection, now).await;
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut *connection).await.unwrap();
    // The flush is done when the next statement's answer is there.
    sqlx::query("SELECT 1").execute(&mut *connection).await.unwrap();
    drop(connection);
    let after = scans(&pool).await;
    for table in TABLES {
        assert_eq!(after[table].0, before[table].0, "sequential scans of {table}");
        assert!(after[table].1 > before[table].1, "{table} was read");
    }
    database.close().await;
}

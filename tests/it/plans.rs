//! The pipeline's statements use indexes, and no more of them than they need, even where they were prepared while their
//! tables were empty.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rouse::config::Settings;
use rouse::domain::burst::TextVariant;
use rouse::domain::certificate::VendorKind;
use rouse::domain::id::{AppId, CertificateId, NotificationId};
use rouse::domain::notification::Priority;
use rouse::domain::session::{BindingStatus, MessageKey, Platform};
use rouse::domain::skip::CancelReason;
use rouse::store::deliveries::Record;
use rouse::store::devices::{Lapses, Place, TokenVerdict, Touched};
use rouse::store::events::NewEvents;
use rouse::store::notifications::{Acceptance, Question};
use rouse::store::push_counts::{Anew, Counted};
use rouse::store::rescues::{Asked, Rescued};
use rouse::store::superseding::Superseding;
use rouse::store::{self, Database};
use sqlx::{PgConnection, PgPool};

use crate::world::{APP, CERTIFICATE, database_url};

const TABLES: [&str; 8] = [
    "deliveries",
    "delivery_events",
    "devices",
    "message_keys",
    "notification_contents",
    "user_preferences",
    "conversation_settings",
    "push_counts",
];

/// Rows that others have in each table.
const OTHERS: i64 = 3_000;

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

/// Rows read by the indexes of these tables since the database was made.
async fn rows_read(pool: &PgPool) -> BTreeMap<String, i64> {
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT relname::text, indexrelname::text, idx_tup_read FROM pg_stat_user_indexes")
            .fetch_all(pool)
            .await
            .unwrap();
    let is_asked = |table: &str| TABLES.iter().any(|asked| table == *asked || table.starts_with(&format!("{asked}_2")));
    rows.into_iter().filter(|row| is_asked(&row.0)).map(|row| (row.1, row.2)).collect()
}

/// What one connection counted is in the statistics.
async fn flush(connection: &mut PgConnection) {
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut *connection).await.unwrap();
    // The flush is done when the next statement's answer is there.
    sqlx::query("SELECT 1").execute(&mut *connection).await.unwrap();
}

/// Rows of others in every table, of the same app, as many as an app has after some minutes.
async fn fill(db: &mut PgConnection, now: DateTime<Utc>) {
    let waits =
        "INSERT INTO deliveries (delivery_id, app_id, certificate_id, user_id, device_id, token, due_at, expires_at,
                                         priority)
                 SELECT gen_random_uuid(), $1, 9, 'u' || i, 'd' || i, 't', $2, $2 + interval '1 hour', 1
                 FROM generate_series(1, $3) AS i";
    let stands = "INSERT INTO devices (app_id, user_id, device_id, platform, session_state, event_time, certificate_id,
                                       vendor, token, token_digest, reported_at, binding_status)
                  SELECT $1, 'u' || i, 'd' || i, 'android', 'killed', $2, 9, 'xiaomi', 't', decode(md5(i::text), 'hex'), $2,
                      CASE WHEN i % 2 = 0 THEN 'active' ELSE 'pending' END
                  FROM generate_series(1, $3) AS i";
    let prefers = "INSERT INTO user_preferences (app_id, user_id, preferences, updated_at)
                   SELECT $1, 'u' || i, '{}', $2 FROM generate_series(1, $3) AS i";
    let mutes = "INSERT INTO conversation_settings (app_id, user_id, conversation_id, notify, updated_at)
                 SELECT $1, 'u' || i, 'room', 'none', $2 FROM generate_series(1, $3) AS i";
    let counts = "INSERT INTO push_counts (app_id, user_id, device_id, conversation_id, pushes, since)
                  SELECT $1, 'u' || i, 'd' || i, 'room', 1, $2 FROM generate_series(1, $3) AS i";
    let keys =
        "INSERT INTO message_keys (app_id, message_id, part, body_hash, notification_id, deliveries, skipped, day)
                SELECT $1, 'k' || i, 0, '', gen_random_uuid(), 1, 0, ($2 AT TIME ZONE 'utc')::date
                FROM generate_series(1, $3) AS i";
    let events = "INSERT INTO delivery_events (at, delivery_id, app_id, user_id, device_id, kind, reason, final)
                  SELECT $2, gen_random_uuid(), $1, 'u' || i, 'd' || i, 'attempt', 'accepted', true
                  FROM generate_series(1, $3) AS i";
    for statement in [waits, stands, prefers, mutes, counts, keys, events] {
        sqlx::query(statement).bind(APP).bind(now).bind(OTHERS).execute(&mut *db).await.unwrap();
    }
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
    rows.collapses.push(Some(1));
    let skip = |device: &str| ("alice".to_owned(), Some(device.to_owned()), "foreground");
    group.skips.add(APP, id.0, &[skip("phone"), skip("tablet")]);
    group
}

/// Every statement of the way from request to record, once.
async fn pipeline(db: &mut PgConnection, number: u64, now: DateTime<Utc>) {
    let mut question = Question::default();
    question.push(APP, "alice", Some("room"), true);
    store::notifications::route(&mut *db, &question, now).await.unwrap();
    let group = acceptance(number, now);
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
    let newer = Superseding {
        app_id: AppId(APP),
        notification_id: NotificationId::new(1, 0),
        collapse: 1,
        user_ids: vec!["alice"],
        device_ids: vec!["phone"],
    };
    assert_eq!(store::superseding::supersede(&mut *db, &newer, 10, now).await.unwrap(), 0);
    assert_eq!(store::superseding::cancel_superseded(&mut *db, &[delivery.0], now).await.unwrap(), 0);
    let known = store::notifications::are_known(&mut *db, &[APP], &["m-0"], &[0]);
    assert_eq!(known.await.unwrap(), [false]);
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
    let events = NewEvents {
        at: vec![now],
        delivery_ids: vec![delivery.0],
        app_ids: vec![APP],
        user_ids: vec!["alice".to_owned()],
        device_ids: vec!["phone".to_owned()],
        certificate_ids: vec![CERTIFICATE],
        kinds: vec!["attempt"],
        reasons: vec![Some("accepted".to_owned())],
        vendor_codes: vec![None],
        vendor_message_ids: vec![None],
        latencies_ms: vec![None],
        attempts: vec![Some(1)],
        details: vec![None],
        finals: vec![true],
        changes_row: vec![true],
    };
    let ended = Record { ended: vec![delivery.0], ended_owners: vec![instance.0], events, ..Record::default() };
    store::deliveries::record(&mut *db, &ended).await.unwrap();
    assert_eq!(store::deliveries::expire(&mut *db, now, 100).await.unwrap(), 0);
    let cancelled =
        store::deliveries::cancel_of_devices(&mut *db, AppId(APP), &["alice"], &["phone"], &["kicked"], now);
    assert_eq!(cancelled.await.unwrap(), 0);
    let touched = Touched {
        devices: vec![("alice".to_owned(), "phone".to_owned(), Platform::Android, true)],
        users: vec!["alice".to_owned()],
        logins: vec![("phone".to_owned(), now)],
        one_at_a_time: vec!["alice".to_owned()],
        tokens: vec![(VendorKind::Xiaomi, "token-1".to_owned())],
    };
    let locked = store::devices::lock_touched(&mut *db, AppId(APP), &touched).await.unwrap();
    store::devices::write_back(&mut *db, AppId(APP), locked.iter()).await.unwrap();
    let lapses = Lapses { killed_before: now, seen_before: now, heard_before: now, reported_before: now };
    store::devices::walk(&mut *db, &Place::default(), 10, lapses).await.unwrap();
    store::notifications::route(&mut *db, &question, now).await.unwrap();
    rescues(db, number, now).await;
    counts(db, now).await;
}

/// The statements of what an open app missed.
async fn rescues(db: &mut PgConnection, number: u64, now: DateTime<Utc>) {
    let since = now - TimeDelta::minutes(10);
    let message = MessageKey { message_id: format!("m-{number}"), part: 0 };
    let known = store::rescues::known(&mut *db, AppId(APP), &[&message, &message]).await.unwrap();
    assert_eq!(known.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1]);
    let notification_id = known[0].1;
    store::rescues::take_turns(&mut *db, &[notification_id]).await.unwrap();
    let asked = |device_id| Asked { notification_id, user_id: "alice", device_id };
    let missed = store::rescues::missed(&mut *db, &[asked("phone"), asked("tablet")], since).await.unwrap();
    assert_eq!(missed, [asked("tablet")], "the phone got an attempt");
    let pushed = store::rescues::pushed_since(&mut *db, AppId(APP), &missed, since).await.unwrap();
    assert_eq!(pushed.len(), 0);
    let last = store::rescues::last_numbers(&mut *db, &[notification_id], since).await.unwrap();
    assert_eq!(last[&notification_id], 1);
    let rescued = |number, is_superseded| Rescued {
        delivery_id: notification_id.delivery(number),
        user_id: "alice",
        device_id: "tablet",
        certificate_id: CertificateId(CERTIFICATE),
        token: "token-2",
        expires_at: now + TimeDelta::hours(1),
        badge: Some(1),
        priority: Priority::Normal,
        variant: TextVariant::Own,
        collapse: Some(2),
        is_superseded,
    };
    store::rescues::insert(&mut *db, AppId(APP), &[rescued(2, false), rescued(3, true)], now).await.unwrap();
    assert_eq!(store::rescues::missed(&mut *db, &[asked("tablet")], since).await.unwrap(), []);
    let waiting = store::deliveries::waiting_of_users(&mut *db, AppId(APP), &["alice"], 10).await.unwrap();
    assert_eq!(waiting.iter().map(|one| one.delivery_id.number()).collect::<Vec<_>>(), [2]);
    store::deliveries::cancel(&mut *db, &[waiting[0].delivery_id.0], CancelReason::ConversationRead, now)
        .await
        .unwrap();
    assert_eq!(store::preferences::of_users(&mut *db, AppId(APP), &["alice"]).await.unwrap().len(), 0);
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
    let (alice, room) = ("alice".to_owned(), "room".to_owned());
    let anew = Anew {
        devices: [(alice.clone(), "phone".to_owned())].into(),
        conversations: [(alice.clone(), room)].into(),
        users: [alice].into(),
    };
    store::push_counts::begin_anew(&mut *db, AppId(APP), &anew).await.unwrap();
    assert_eq!(store::push_counts::of_devices(&mut *db, &[APP], &["alice"], &["phone"]).await.unwrap(), [0]);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn planned_on_empty_tables_the_pipeline_reads_by_index_and_no_more_than_it_needs(pool: PgPool) {
    let database = Database::open(&database_url(&pool), 2).unwrap();
    let retention = Settings::read(None, std::collections::HashMap::new()).unwrap().retention;
    rouse::maintenance::make_partitions(&database, &retention).await.unwrap();
    let now = store::partitions::database_now(&pool).await.unwrap();
    let before = scans(&pool).await;
    let mut connection = database.pipeline.acquire().await.unwrap();
    pipeline(&mut connection, 1, now).await;
    flush(&mut connection).await;
    let after = scans(&pool).await;
    for table in TABLES {
        assert_eq!(after[table].0, before[table].0, "sequential scans of {table}");
        assert!(after[table].1 > before[table].1, "{table} was read");
    }
    // The same statements, planned for nothing, now that there is something; then planned anew, for what there is.
    fill(&mut pool.acquire().await.unwrap(), now).await;
    for (number, statistics) in [(2, "of nothing"), (3, "fresh")] {
        let before = rows_read(&pool).await;
        pipeline(&mut connection, number, now).await;
        flush(&mut connection).await;
        for (index, rows) in rows_read(&pool).await {
            let read = rows - before[&index];
            assert!(
                read < 200,
                "{read} rows were read by {index}, of {OTHERS} that others have; statistics: {statistics}"
            );
        }
        sqlx::query("ANALYZE").execute(&pool).await.unwrap();
    }
    drop(connection);
    database.close().await;
}

//! Partitions come and go by themselves, and take nothing along that is still needed.

use chrono::{DateTime, TimeDelta, Utc};
use rouse::domain::id::NotificationId;
use rouse::store::partitions::{self, Parent};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::world::{World, plain, until};

fn name(parent: Parent, at: DateTime<Utc>) -> String {
    let (hour, hours) = if parent == Parent::NotificationContents { ("%H", 1) } else { ("00", 24) };
    format!("{}_{}_{hours}h", parent.as_str(), at.format(&format!("%Y%m%d_{hour}")))
}

async fn exists(world: &World, parent: Parent, name: &str) -> bool {
    partitions::list(&world.pool, parent).await.unwrap().iter().any(|existing| existing == name)
}

/// Maintains until a partition is gone: a round of the server itself may hold the lock or the table for a moment.
async fn maintain_until_dropped(world: &World, parent: Parent, name: &str) {
    until("the drop", || async {
        world.maintain().await;
        (!exists(world, parent, name).await).then_some(())
    })
    .await;
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_partitions_of_today_and_tomorrow_are_there_before_the_first_request(pool: PgPool) {
    let world = World::start(pool).await;
    let now = world.server().clock().now();
    for parent in Parent::ALL {
        for at in [now, now + TimeDelta::days(1)] {
            assert!(exists(&world, parent, &name(parent, at)).await, "{parent:?} {at}");
        }
    }
    // One that is missing is made again by the next round.
    let tomorrows = name(Parent::MessageKeys, now + TimeDelta::days(1));
    sqlx::query("SELECT drop_partition($1)").bind(&tomorrows).execute(&world.pool).await.unwrap();
    world.maintain().await;
    assert!(exists(&world, Parent::MessageKeys, &tomorrows).await);
}

/// Lets a notification and its one delivery be as old as if accepted at another time. Answers its new id.
async fn age(world: &World, notification: &str, at: DateTime<Utc>) -> String {
    let old: Uuid = notification.parse().unwrap();
    let new = NotificationId::new(
        u64::try_from(at.timestamp_millis()).unwrap(),
        u64::from(old.as_fields().0) << 32 | 1 << 24,
    );
    sqlx::query("UPDATE notification_contents SET notification_id = $2 WHERE notification_id = $1")
        .bind(old)
        .bind(new.0)
        .execute(&world.pool)
        .await
        .unwrap();
    sqlx::query("UPDATE deliveries SET delivery_id = $2 WHERE notification_of(delivery_id) = $1")
        .bind(old)
        .bind(new.delivery(1).0)
        .execute(&world.pool)
        .await
        .unwrap();
    new.0.to_string()
}

async fn kept(world: &World) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM kept_contents").fetch_one(&world.pool).await.unwrap()
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_content_of_what_waits_outlives_its_partition(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let then = world.server().clock().now() - TimeDelta::hours(3);
    let hour = DateTime::from_timestamp(then.timestamp() / 3_600 * 3_600, 0).unwrap();
    let bound =
        |at: DateTime<Utc>| NotificationId::lower_bound(u64::try_from(at.timestamp_millis()).unwrap()).to_string();
    let partition = name(Parent::NotificationContents, hour);
    let (lower, upper) = (bound(hour), bound(hour + TimeDelta::hours(1)));
    partitions::make(&world.pool, Parent::NotificationContents, &partition, &lower, &upper).await.unwrap();
    world.certificate_verb("pause").await;
    let waiting = world.sent("alice", json!({"body": "still here"})).await;
    let ended = world.sent("alice", plain()).await;
    world.idle().await;
    let waiting = age(&world, &waiting, then).await;
    world.delete(&format!("/v1/apps/{}/notifications/{ended}", crate::world::APP)).await.ok();
    age(&world, &ended, then + TimeDelta::milliseconds(1)).await;
    assert_eq!(world.count("notification_contents").await, 2);

    maintain_until_dropped(&world, Parent::NotificationContents, &partition).await;
    assert_eq!(world.count("notification_contents").await, 0);
    assert_eq!(kept(&world).await, 1, "that of the ended one is not kept");

    sqlx::query("UPDATE kept_contents SET kept_at = now() - interval '1 day'").execute(&world.pool).await.unwrap();
    world.maintain().await;
    assert_eq!(kept(&world).await, 1, "as long as it waits");
    world.certificate_verb("resume").await;
    assert_eq!(world.outcome(&waiting).await, "accepted");
    assert_eq!(world.vendor.inbox("token-1")[0].body, "still here");
    sqlx::query("UPDATE kept_contents SET kept_at = now() - interval '1 day'").execute(&world.pool).await.unwrap();
    until("the clean-up", || async {
        world.maintain().await;
        (kept(&world).await == 0).then_some(())
    })
    .await;
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn history_goes_by_partition_when_its_time_is_over_and_not_before(pool: PgPool) {
    let world = World::start(pool).await;
    let now = world.server().clock().now();
    let today = now.date_naive();
    let mut made = Vec::new();
    for (parent, days, is_needed) in [
        (Parent::MessageKeys, 2, true),
        (Parent::MessageKeys, 3, false),
        (Parent::DeliveryEvents, 7, true),
        (Parent::DeliveryEvents, 8, false),
    ] {
        let begin = today - TimeDelta::days(days);
        let partition = name(parent, now - TimeDelta::days(days));
        let (lower, upper) = (begin.to_string(), (begin + TimeDelta::days(1)).to_string());
        partitions::make(&world.pool, parent, &partition, &lower, &upper).await.unwrap();
        made.push((parent, partition, is_needed));
    }
    for (parent, partition, _) in made.iter().filter(|(_, _, is_needed)| !is_needed) {
        maintain_until_dropped(&world, *parent, partition).await;
    }
    for (parent, partition, is_needed) in made {
        assert_eq!(exists(&world, parent, &partition).await, is_needed, "{partition}");
    }
}

//! How many statements session events take, however many go together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sqlx::PgPool;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::world::{World, merged};

/// Counts the statements that this thread makes.
#[derive(Clone, Default)]
struct Statements(Arc<AtomicUsize>);

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn event(&self, _event: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_hundred_dead_links_and_a_hundred_reads_take_the_statements_of_one(pool: PgPool) {
    let world = World::start(pool).await;
    world.settings(json!({"rescue_window_s": 600, "badge": "server"})).await;
    let users: Vec<String> = (0..100).map(|number| format!("user-{number:02}")).collect();
    let logins = |platform: &'static str, device: &'static str| -> Value {
        let login =
            |user| merged(world.event("login", user, &format!("{device}-{user}")), json!({"platform": platform}));
        users.iter().map(|user| login(user)).collect()
    };
    world.events(&logins("android", "phone")).await;
    world.events(&logins("web", "web")).await;
    for user in &users {
        world.bind(user, &format!("phone-{user}"), &format!("token-{user}")).await.ok();
    }
    let mut told = Vec::new();
    for user in &users {
        let messages: Vec<Value> =
            (0..2).map(|number| world.message(user, json!({"conversation_id": format!("room-{number}")}))).collect();
        for message in &messages {
            world.post_notification(message).await.ok();
        }
        let keys: Vec<Value> = messages.iter().map(|message| json!({"message_id": message["message_id"]})).collect();
        let timeout = json!({"link": "timeout", "unacked": keys});
        told.push(merged(world.event("disconnect", user, &format!("phone-{user}")), timeout));
        let read = json!({"platform": "web", "conversation_id": "elsewhere"});
        told.push(merged(world.event("read", user, &format!("web-{user}")), read));
    }
    let statements = Statements::default();
    // With one subscriber alone, whether an event counts would be decided once, by the first thread that comes across it.
    let _another = tracing::Dispatch::new(Statements::default());
    let counting = tracing::subscriber::set_default(statements.clone());
    let results = world.events(&json!(told)).await;
    drop(counting);
    assert!(results.iter().all(|result| result == "applied"));
    let rescued: i64 = sqlx::query_scalar("SELECT count(*) FROM delivery_events WHERE kind = 'rescued'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(rescued, 200);
    // Some are of the server's other tasks.
    let count = statements.0.load(Ordering::Relaxed);
    assert!((10..60).contains(&count), "{count} statements");
}

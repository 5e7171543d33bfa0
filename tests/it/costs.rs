//! What a delivery costs Postgres, beside the figures that were written down when it was last made cheaper: work, not time.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::chaos::say;
use crate::world::{APP, World};

/// Deliveries that are measured, in calls of 100.
const CALLS: usize = 50;
const A_CALL: usize = 100;
/// Medians of four runs on 2026-11-24, debug build, nothing else on the machine: write-ahead log of a delivery, and its
/// processor time as a multiple of what the same server needs to insert one plain row.
const WAL_BYTES: f64 = 1_276.0;
const PLAIN_ROWS: f64 = 35.0;
const TOLERATED: f64 = 1.5;

/// Processor time of a process on this machine so far, in nanoseconds; `None` where the kernel does not tell.
fn cpu_ns(pid: i32) -> Option<u64> {
    std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?.split(' ').next()?.parse().ok()
}

/// Of all the server's sessions with this database.
async fn cpu_of_sessions(pool: &PgPool) -> Option<u64> {
    let ours = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'rouse'";
    let pids: Vec<i32> = sqlx::query_scalar(ours).fetch_all(pool).await.unwrap();
    pids.into_iter().map(cpu_ns).sum()
}

/// Log written by this database's statements so far; `None` where nobody counts it.
async fn wal_bytes(pool: &PgPool) -> Option<f64> {
    let sum = "SELECT sum(wal_bytes)::float8 FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
               WHERE d.datname = current_database()";
    sqlx::query_scalar(sum).fetch_one(pool).await.ok()
}

/// Nanoseconds that a plain row costs here and now.
async fn plain_row(pool: &PgPool) -> Option<f64> {
    const STATEMENTS: u32 = 400;
    const ROWS: i32 = 100;
    let mut session = pool.acquire().await.unwrap();
    sqlx::query("CREATE TABLE yardstick (id uuid PRIMARY KEY, name text, at timestamptz)")
        .execute(&mut *session)
        .await
        .unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *session).await.unwrap();
    let insert = "INSERT INTO yardstick SELECT gen_random_uuid(), 'user-' || i, now() FROM generate_series(1, $1) AS i";
    let before = cpu_ns(pid)?;
    for _ in 0..STATEMENTS {
        sqlx::query(insert).bind(ROWS).execute(&mut *session).await.unwrap();
    }
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of some seconds")]
    let spent = (cpu_ns(pid)? - before) as f64;
    Some(spent / f64::from(STATEMENTS) / f64::from(ROWS))
}

/// Makes so many deliveries, a call after the other, and waits for their ends.
async fn deliver(world: &World, calls: usize) {
    let fields = json!({"title": "Alice", "body": "shall we have dinner together tonight?", "data": {"cid": "c-17"}});
    for _ in 0..calls {
        let notifications: Vec<Value> = users().map(|user| world.message(&user, fields.clone())).collect();
        let batch = json!({"notifications": notifications});
        world.post(&format!("/v1/apps/{APP}/notifications:batch"), &batch).await.ok();
        world.idle().await;
    }
}

fn users() -> impl Iterator<Item = String> {
    (0..A_CALL).map(|number| format!("user-{number}"))
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_delivery_costs_postgres_no_more_than_it_did(pool: PgPool) {
    let world = World::start(pool).await;
    for user in users() {
        world.killed_phone(&user, &format!("phone-of-{user}"), &format!("token-of-{user}")).await;
    }
    sqlx::query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").execute(&world.pool).await.ok();
    deliver(&world, 5).await;
    let before = (cpu_of_sessions(&world.pool).await, wal_bytes(&world.pool).await);
    deliver(&world, CALLS).await;
    let after = (cpu_of_sessions(&world.pool).await, wal_bytes(&world.pool).await);
    assert_eq!(world.count("deliveries").await, 0);
    let count = f64::from(u32::try_from(CALLS * A_CALL).unwrap());
    let within = |what: &str, cost: Option<f64>, written: f64| {
        let Some(cost) = cost else {
            assert!(std::env::var_os("CI").is_none(), "{what} of a delivery cannot be read");
            return say(&format!("{what} of a delivery cannot be read here"));
        };
        say(&format!("a delivery costs {cost:.1} {what}; written down: {written}"));
        assert!(cost < TOLERATED * written, "{what} of a delivery: {cost:.1}, written down: {written}");
    };
    within("bytes of log", before.1.zip(after.1).map(|(before, after)| (after - before) / count), WAL_BYTES);
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of some seconds")]
    let cpu = before.0.zip(after.0).map(|(before, after)| (after - before) as f64 / count);
    within("plain rows' work", cpu.zip(plain_row(&world.pool).await).map(|(cpu, row)| cpu / row), PLAIN_ROWS);
}

//! Clocks that jump, and midnight. The processes run under libfaketime, which lies to them about the wall clock.

use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use rouse::clock::Clock;
use serde_json::Value;
use sqlx::PgPool;

use super::checker::on_the_wire;
use super::fleet::{CALLS_IN_FLIGHT, Fleet};
use super::load::Load;
use super::postgres::Postgres;
use super::say;

/// A lie about the time, told to processes through a file that they read at each look.
struct FakeTime {
    file: PathBuf,
    library: PathBuf,
}

impl FakeTime {
    /// `None`, with a printed reason, where libfaketime is not installed. `./dev test` installs it; CI has it.
    fn find(name: &str) -> Option<Self> {
        let libraries = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|dir| dir.path());
        let library = libraries.map(|dir| dir.join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file());
        let Some(library) = library else {
            assert!(std::env::var_os("CI").is_none(), "libfaketime is missing");
            say(&format!("skipped: {name}: libfaketime is not installed"));
            return None;
        };
        let file = std::env::temp_dir().join(format!("rouse-it-{}-{name}", std::process::id()));
        let fake = Self { file, library };
        fake.set(TimeDelta::zero());
        Some(fake)
    }

    /// How far ahead of the true time the processes are from now on.
    fn set(&self, ahead: TimeDelta) {
        use std::os::unix::fs::PermissionsExt as _;
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{:+}\n", ahead.num_seconds())).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::rename(&new, &self.file).unwrap();
    }

    fn environment(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", self.library.to_str().unwrap()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            // Only the wall clock jumps.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}

impl Drop for FakeTime {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.file));
    }
}

async fn fleet_with(database: Vec<(String, String)>, servers: &[(String, String)]) -> (Postgres, Fleet) {
    let postgres = Postgres::start_with(database).await;
    let pool = PgPool::connect(&postgres.url()).await.unwrap();
    let servers: Vec<(&str, &str)> = servers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let fleet = Fleet::with(pool, vec![postgres.url(); 2], &[], &servers).await;
    (postgres, fleet)
}

/// Jumps an hour ahead, back, and an hour behind, with failures in between, so that retries wait across the jumps.
async fn jump(fake: &FakeTime, mut fleet: Fleet, fault: &str) {
    let load = fleet.load("jump", 100);
    load.accepts(100).await;
    let mut has_killed = false;
    for hours in [1, 0, -1, 0] {
        let busy = rouse::simulator::Misbehaviour::Status { status: 503, body: String::new(), retry_after: None };
        fleet.vendor.fault(rouse::simulator::Fault::times(busy, 15));
        fake.set(TimeDelta::hours(hours));
        load.accepts(150).await;
        if hours == 0 && !has_killed {
            // Its clock, ahead of the database's, dies with it; the new one starts by the database's.
            has_killed = true;
            assert!(fleet.take_overs().await.abs() < 0.5, "nobody looks dead: {:?}", fleet.logs());
            fleet.kill(1).await;
            tokio::time::sleep(Duration::from_secs(7)).await;
            fleet.revive(1).await;
        }
    }
    let record = load.finish().await;
    let mut verdict = fleet.check(&record).await;
    // Measured with a clock that jumped; what counts is that nothing waited for an hour to pass.
    verdict.longest = std::time::Duration::ZERO;
    verdict.insist(fault, on_the_wire(CALLS_IN_FLIGHT));
    assert!(verdict.settled_in < Duration::from_secs(20), "{verdict:?}");
    assert!(fleet.take_overs().await < 1.5, "nobody but the killed one looks dead: {:?}", fleet.logs());
    assert_eq!(fleet.ready(0).await, 200);
}

#[tokio::test]
async fn the_servers_clocks_jump_an_hour_both_ways() {
    let Some(fake) = FakeTime::find("servers") else { return };
    let (_postgres, fleet) = fleet_with(Vec::new(), &fake.environment()).await;
    jump(&fake, fleet, "the servers' clocks jump an hour ahead and back, behind and back").await;
}

#[tokio::test]
async fn the_databases_clock_jumps_an_hour_both_ways() {
    let Some(fake) = FakeTime::find("database") else { return };
    let (_postgres, fleet) = fleet_with(fake.environment(), &[]).await;
    jump(&fake, fleet, "the database's clock jumps an hour ahead and back, behind and back").await;
}

#[tokio::test]
async fn midnight_comes_while_two_servers_are_told_the_same_messages() {
    let Some(fake) = FakeTime::find("midnight") else { return };
    let now = Clock::from_wall().now();
    let midnight = (now + TimeDelta::days(1)).date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    // The servers take a moment to start.
    fake.set(midnight - now - TimeDelta::seconds(12));
    let (_postgres, fleet) = fleet_with(fake.environment(), &fake.environment()).await;
    let database_day = || async {
        let day: chrono::NaiveDate =
            sqlx::query_scalar("SELECT (now() AT TIME ZONE 'utc')::date").fetch_one(&fleet.pool).await.unwrap();
        day
    };
    let before = database_day().await;
    assert!(before < midnight.date_naive(), "the servers took too long to start");
    let load = Load::start_each(&fleet.target(), "midnight", 60, 2);
    while database_day().await == before {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    load.accepts(150).await;
    let record = load.finish().await;
    let days: i64 =
        sqlx::query_scalar("SELECT count(DISTINCT day) FROM message_keys").fetch_one(&fleet.pool).await.unwrap();
    assert_eq!(days, 2, "messages on both sides of midnight");
    assert!(record.statuses.get(&200).is_some_and(|replays| *replays > 100), "{:?}", record.statuses);
    let verdict = fleet.check(&record).await;
    verdict.insist("midnight under load, every message posted to two servers at once", 0);
    assert_eq!(verdict.duplicates, 0);
    let (_, trace): (u16, Value) = fleet
        .call(
            0,
            reqwest::Method::GET,
            &format!("/v1/apps/{}/trace?message_id=midnight-0", crate::world::APP),
            &Value::Null,
        )
        .await;
    assert!(trace["events"].as_array().is_some_and(|events| !events.is_empty()), "{trace}");
}

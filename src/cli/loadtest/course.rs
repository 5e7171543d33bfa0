//! The course of a run once everything stands: load, readings at both ends of the measured time, and the end of what was accepted.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::control::Control;
use super::curve::{self, Point};
use super::generator::{Generator, Order};
use super::home::Home;
use super::lag::Lags;
use super::options::{LoadtestArgs, Profile};
use super::process::{Cpu, rss_mb, rss_peak_mb};
use super::programs::Program;
use super::script::Script;
use super::tally::{Numbers, Window};
use super::{Fallible, say};
use crate::clock::Clock;
use crate::domain::id::NotificationId;
use crate::store::bulk::{self, Ended, Moment};

/// Load that is not measured.
const WARM_UP: Duration = Duration::from_secs(3);
/// How long a server without load is left alone before its memory is read.
const REST: Duration = Duration::from_secs(2);
/// How long what was accepted may take to end.
const LAST_DELIVERIES: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(250);

/// What a run is made with.
pub(super) struct Stage<'a> {
    pub(super) args: &'a LoadtestArgs,
    pub(super) home: &'a Home,
    pub(super) server: &'a Program,
    pub(super) simulator: &'a Program,
    pub(super) address: SocketAddr,
    pub(super) key: &'a str,
    pub(super) control: &'a Control,
    pub(super) clock: &'a Clock,
}

/// Readings of one moment.
pub(super) struct Reading {
    pub(super) moment: Moment,
    pub(super) cpu: Cpu,
    pub(super) lags: Lags,
}

/// All that was seen.
pub(super) struct Course {
    pub(super) numbers: Numbers,
    pub(super) before: Reading,
    pub(super) after: Reading,
    /// What ended between the two.
    pub(super) ended: Vec<Ended>,
    /// Deliveries of the run with an end in the trace.
    pub(super) ended_in_all: u64,
    /// Those that still wait.
    pub(super) left: u64,
    pub(super) rss_idle_mb: Option<f64>,
    pub(super) rss_peak_mb: Option<f64>,
    pub(super) curve: Vec<Point>,
}

/// Runs the load.
pub(super) async fn run(stage: &Stage<'_>, db: &mut PgConnection) -> Fallible<Course> {
    let args = stage.args;
    tokio::time::sleep(REST).await;
    let rss_idle_mb = rss_mb(stage.server.pid());
    let held = if args.held_snapshot { Some(hold_snapshot(stage.home).await?) } else { None };
    let first = lower_bound(bulk::moment(&mut *db).await?);

    let begin = Instant::now();
    let window = Window { from: begin + WARM_UP, until: begin + WARM_UP + args.run_for };
    let order = Order {
        address: stage.address,
        key: stage.key.to_owned(),
        connections: args.connection_count(),
        pace: args.pace(),
        begin,
        window,
        clock: stage.clock.clone(),
    };
    let script = Script::new(args.profile, args.shares(), args.devices, rand::random());
    let generator = Generator::start(order, script)?;
    say(&format!("load for {} s, after {} s of warm-up", args.run_for.as_secs(), WARM_UP.as_secs()));
    tokio::time::sleep_until(window.from.into()).await;
    let before = read(stage, db).await?;
    let mut points = Vec::new();
    if args.profile == Profile::Soak {
        points = curve::follow(db, first, stage.server.pid(), &generator, window).await?;
    }
    tokio::time::sleep_until(window.until.into()).await;
    let after = read(stage, db).await?;
    let numbers = generator.finish().await?;

    let left = wait_for_the_end(db, first).await?;
    let ended = bulk::ended_between(&mut *db, first, before.moment.at, after.moment.at).await?;
    let ended_in_all = bulk::ended_since(&mut *db, first).await?;
    if let Some(held) = held {
        held.close().await?;
    }
    Ok(Course {
        numbers,
        before,
        after,
        ended,
        ended_in_all: u64::try_from(ended_in_all)?,
        left,
        rss_idle_mb,
        rss_peak_mb: rss_peak_mb(stage.server.pid()),
        curve: points,
    })
}

/// The smallest id of what is accepted from now on.
fn lower_bound(moment: Moment) -> Uuid {
    NotificationId::lower_bound(u64::try_from(moment.at.timestamp_millis()).unwrap_or_default())
}

async fn read(stage: &Stage<'_>, db: &mut PgConnection) -> Fallible<Reading> {
    let moment = bulk::moment(db).await?;
    let cpu = Cpu::read(stage.server.pid(), stage.home.postmaster(), stage.simulator.pid());
    Ok(Reading { moment, cpu, lags: stage.control.lags().await? })
}

async fn hold_snapshot(home: &Home) -> Fallible<PgConnection> {
    let mut held = home.connect().await?;
    bulk::hold_snapshot(&mut held).await?;
    Ok(held)
}

/// Waits until nothing of the run waits any more; answers what is left.
async fn wait_for_the_end(db: &mut PgConnection, first: Uuid) -> Fallible<u64> {
    let begin = Instant::now();
    loop {
        let waiting = bulk::waiting_since(&mut *db, first).await?;
        if waiting == 0 || begin.elapsed() > LAST_DELIVERIES {
            return Ok(u64::try_from(waiting)?);
        }
        tokio::time::sleep(POLL).await;
    }
}

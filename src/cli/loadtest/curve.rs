//! How a long run goes: a line every ten seconds, which the report holds too.

use std::time::{Duration, Instant};

use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::generator::Generator;
use super::process::rss_mb;
use super::report::{megabytes, rate};
use super::tally::Window;
use super::{Fallible, say};
use crate::store::bulk;

const STEP: Duration = Duration::from_secs(10);

/// One line.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Point {
    /// Since the begin of what is measured.
    pub(super) second: u64,
    /// Deliveries accepted, a second, since the line before.
    pub(super) rate: f64,
    pub(super) rss_mb: Option<f64>,
    /// All tables and indexes of Rouse.
    pub(super) tables_mb: f64,
    pub(super) indexes_mb: f64,
    /// The queue's table with its indexes.
    pub(super) queue_mb: f64,
    /// Files of the write-ahead log kept now.
    pub(super) wal_mb: f64,
    /// Deliveries that wait or are on their way, without the backlog.
    pub(super) waiting: i64,
}

/// Follows a run to its end.
pub(super) async fn follow(
    db: &mut PgConnection,
    first: Uuid,
    server: i32,
    generator: &Generator,
    window: Window,
) -> Fallible<Vec<Point>> {
    let mut points = Vec::new();
    let mut last = (window.from, generator.units());
    while last.0 + STEP <= window.until {
        tokio::time::sleep_until((last.0 + STEP).into()).await;
        let now = (Instant::now(), generator.units());
        let sizes = bulk::sizes(&mut *db).await?;
        let point = Point {
            second: (now.0 - window.from).as_secs(),
            rate: rate(now.1 - last.1, (now.0 - last.0).as_secs_f64()),
            rss_mb: rss_mb(server),
            tables_mb: megabytes(sizes.table_bytes),
            indexes_mb: megabytes(sizes.index_bytes),
            queue_mb: megabytes(sizes.queue_bytes),
            wal_mb: megabytes(sizes.wal_bytes),
            waiting: bulk::waiting_since(&mut *db, first).await?,
        };
        say(&line(&point));
        points.push(point);
        last = now;
    }
    Ok(points)
}

fn line(point: &Point) -> String {
    let Point { second, rate, rss_mb, tables_mb, indexes_mb, queue_mb, wal_mb, waiting } = point;
    let rss = rss_mb.map_or_else(|| "-".to_owned(), |mb| format!("{mb:.1}"));
    format!(
        "{second:>6} s  {rate:.0}/s  rss {rss} MB  tables {tables_mb:.0} MB  indexes {indexes_mb:.0} MB  queue {queue_mb:.1} MB  wal {wal_mb:.0} MB  waiting {waiting}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_everything() {
        let point = Point {
            second: 10,
            rate: 7_999.6,
            rss_mb: Some(31.25),
            tables_mb: 120.4,
            indexes_mb: 60.0,
            queue_mb: 3.0,
            wal_mb: 512.0,
            waiting: 17,
        };
        let expected =
            "    10 s  8000/s  rss 31.2 MB  tables 120 MB  indexes 60 MB  queue 3.0 MB  wal 512 MB  waiting 17";
        assert_eq!(line(&point), expected);
    }
}

//! The only reader of the wall clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

/// One clock per process: runs on the monotonic clock, set and corrected by the database's time, never backwards. A jump
/// of the wall clock does not move it.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    /// Microseconds from `started` to the epoch's time: now = elapsed + base.
    base_us: AtomicI64,
    /// How far a test moved it ahead; corrections leave it alone.
    ahead_us: AtomicI64,
    /// The latest time given out.
    latest_us: AtomicI64,
}

impl Clock {
    /// Starts at the machine's wall clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn from_wall() -> Self {
        Self::starting_at(Utc::now())
    }

    /// Starts at a given time: for tests and reproducible runs.
    pub fn starting_at(now: DateTime<Utc>) -> Self {
        Self(Arc::new(Inner {
            started: Instant::now(),
            base_us: AtomicI64::new(now.timestamp_micros()),
            ahead_us: AtomicI64::new(0),
            latest_us: AtomicI64::new(i64::MIN),
        }))
    }

    /// The time, to the microsecond (what Postgres stores).
    pub fn now(&self) -> DateTime<Utc> {
        let ahead_us = self.0.ahead_us.load(Ordering::Relaxed);
        let now_us = self.0.base_us.load(Ordering::Relaxed).saturating_add(self.elapsed_us()).saturating_add(ahead_us);
        let latest_us = self.0.latest_us.fetch_max(now_us, Ordering::Relaxed).max(now_us);
        DateTime::from_timestamp_micros(latest_us).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// The time in milliseconds since the epoch.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.now().timestamp_millis()).unwrap_or(0)
    }

    /// Sets the clock by the database's, read between `asked` and now.
    pub fn correct(&self, database_now: DateTime<Utc>, asked: Instant) {
        let half_trip_us = i64::try_from(asked.elapsed().as_micros() / 2).unwrap_or(0);
        let base = database_now.timestamp_micros() + half_trip_us - self.elapsed_us();
        self.0.base_us.store(base, Ordering::Relaxed);
    }

    /// Moves the clock ahead of the database's, for tests that must not wait.
    pub fn advance(&self, step: TimeDelta) {
        self.0.ahead_us.fetch_add(step.num_microseconds().unwrap_or(0), Ordering::Relaxed);
    }

    fn elapsed_us(&self) -> i64 {
        i64::try_from(self.0.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_database_forward_and_never_goes_back() {
        let start = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        let clock = Clock::starting_at(start);
        assert!(clock.now() >= start);
        clock.correct(start + TimeDelta::hours(1), Instant::now());
        let ahead = clock.now();
        assert!(ahead >= start + TimeDelta::hours(1));
        clock.correct(start, Instant::now());
        assert_eq!(clock.now(), ahead, "holds until the database has caught up");
    }
}

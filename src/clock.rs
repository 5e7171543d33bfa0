//! The only reader of the wall clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

/// One clock per process: runs on the monotonic clock and is set by the database's time. Never backwards: when the database's
/// clock is set back, this one goes on at half its speed until the database has caught up. A jump of the machine's own clock
/// does not move it.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    set: Mutex<Setting>,
    /// How far a test moved it ahead; corrections leave it alone.
    ahead_us: AtomicI64,
    /// The latest time given out.
    latest_us: AtomicI64,
}

/// Microseconds, counted from `started` or the epoch.
#[derive(Debug, Clone, Copy)]
struct Setting {
    /// From `started` to the epoch's time: the database's time = elapsed + base.
    base: i64,
    /// How far this clock was ahead of the database's at `lead_at`; half of what passes since then is taken off.
    lead: i64,
    lead_at: i64,
}

impl Setting {
    fn lead(self, elapsed: i64) -> i64 {
        (self.lead - (elapsed - self.lead_at) / 2).max(0)
    }
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
            set: Mutex::new(Setting { base: now.timestamp_micros(), lead: 0, lead_at: 0 }),
            ahead_us: AtomicI64::new(0),
            latest_us: AtomicI64::new(i64::MIN),
        }))
    }

    /// The time, to the microsecond (what Postgres stores).
    pub fn now(&self) -> DateTime<Utc> {
        let elapsed = self.elapsed_us();
        let set = self.setting();
        let now_us = set.base.saturating_add(elapsed).saturating_add(set.lead(elapsed)).saturating_add(self.ahead_us());
        let latest_us = self.0.latest_us.fetch_max(now_us, Ordering::Relaxed).max(now_us);
        DateTime::from_timestamp_micros(latest_us).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// The database's time as last heard, also where [`Clock::now`] is still ahead of it: for what others judge by clocks of
    /// their own.
    pub fn database_now(&self) -> DateTime<Utc> {
        let now_us = self.setting().base.saturating_add(self.elapsed_us()).saturating_add(self.ahead_us());
        DateTime::from_timestamp_micros(now_us).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// The time in milliseconds since the epoch.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.now().timestamp_millis()).unwrap_or(0)
    }

    /// Sets the clock by the database's, once, before anything asked it: this machine's may be wrong in both directions.
    pub fn set(&self, database_now: DateTime<Utc>, asked: Instant) {
        self.correct(database_now, asked);
        self.0.set.lock().unwrap_or_else(PoisonError::into_inner).lead = 0;
        self.0.latest_us.store(i64::MIN, Ordering::Relaxed);
    }

    /// Sets the clock by the database's, read between `asked` and now.
    pub fn correct(&self, database_now: DateTime<Utc>, asked: Instant) {
        let half_trip = i64::try_from(asked.elapsed().as_micros() / 2).unwrap_or(0);
        let elapsed = self.elapsed_us();
        let base = database_now.timestamp_micros() + half_trip - elapsed;
        let mut set = self.0.set.lock().unwrap_or_else(PoisonError::into_inner);
        let lead = (set.base + set.lead(elapsed) - base).max(0);
        *set = Setting { base, lead, lead_at: elapsed };
    }

    /// Moves the clock ahead of the database's, for tests that must not wait.
    pub fn advance(&self, step: TimeDelta) {
        self.0.ahead_us.fetch_add(step.num_microseconds().unwrap_or(0), Ordering::Relaxed);
    }

    fn setting(&self) -> Setting {
        *self.0.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ahead_us(&self) -> i64 {
        self.0.ahead_us.load(Ordering::Relaxed)
    }

    fn elapsed_us(&self) -> i64 {
        i64::try_from(self.0.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn it_follows_the_database_forward_and_never_goes_back() {
        let clock = Clock::starting_at(at(0));
        assert!(clock.now() >= at(0));
        clock.correct(at(3_600), Instant::now());
        let ahead = clock.now();
        assert!(ahead >= at(3_600));
        clock.correct(at(0), Instant::now());
        let later = clock.now();
        assert!(later >= ahead && later - ahead < TimeDelta::seconds(1));
        assert!(clock.database_now() < at(10), "what others judge is told by the database's time");
    }

    #[test]
    fn at_the_start_a_wrong_machine_clock_counts_for_nothing() {
        let clock = Clock::starting_at(at(3_600));
        assert!(clock.now() >= at(3_600));
        clock.set(at(0), Instant::now());
        assert!(clock.now() < at(10));
    }

    #[test]
    fn a_clock_that_is_ahead_goes_on_at_half_speed_until_the_database_has_caught_up() {
        let second = 1_000_000;
        let set = Setting { base: 0, lead: 10 * second, lead_at: 5 * second };
        assert_eq!(set.lead(5 * second), 10 * second);
        assert_eq!(set.lead(7 * second), 9 * second, "two seconds passed, the clock moved by one");
        assert_eq!(set.lead(25 * second), 0);
        assert_eq!(set.lead(100 * second), 0);
        let clock = Clock::starting_at(at(0));
        clock.correct(at(100), Instant::now());
        clock.correct(at(0), Instant::now());
        clock.correct(at(0), Instant::now());
        assert!((at(99)..at(101)).contains(&clock.now()), "corrections while it is ahead do not add up");
    }
}

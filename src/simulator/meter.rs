//! What vendors count: requests in a second, notifications in a day.

/// China has one time zone, eight hours ahead of UTC, and no summer time.
const CHINA_OFFSET_MS: i64 = 8 * 3_600_000;
const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// A bucket that holds a second's worth of units and fills evenly.
#[derive(Debug)]
pub(super) struct RateMeter {
    tokens: f64,
    at_ms: i64,
}

impl RateMeter {
    /// Full.
    pub(super) fn new(per_second: u32, now_ms: i64) -> Self {
        Self { tokens: f64::from(per_second), at_ms: now_ms }
    }

    /// Takes one unit; false when there is none.
    pub(super) fn take(&mut self, per_second: u32, now_ms: i64) -> bool {
        self.take_many(1, per_second, now_ms)
    }

    /// Takes so many units at once; false when there are fewer, and then none is taken. More than a second's worth is
    /// given for a full bucket.
    pub(super) fn take_many(&mut self, units: usize, per_second: u32, now_ms: i64) -> bool {
        let units = f64::from(u32::try_from(units).unwrap_or(u32::MAX).min(per_second.max(1)));
        let per_second = f64::from(per_second);
        // A bucket is full after one second, so longer pauses need no exact count.
        let elapsed_ms = u16::try_from((now_ms - self.at_ms).clamp(0, 1_000)).unwrap_or(0);
        self.tokens = (self.tokens + per_second * f64::from(elapsed_ms) / 1_000.0).min(per_second);
        self.at_ms = now_ms;
        let has_enough = self.tokens >= units;
        if has_enough {
            self.tokens -= units;
        }
        has_enough
    }
}

/// A count that starts anew at midnight in China.
#[derive(Debug, Default)]
pub(super) struct DayCount {
    day: i64,
    count: u64,
}

impl DayCount {
    /// What was counted today.
    pub(super) const fn today(&self, now_ms: i64) -> u64 {
        if self.day == china_day(now_ms) { self.count } else { 0 }
    }

    /// Counts some more.
    pub(super) const fn add(&mut self, count: u64, now_ms: i64) {
        self.count = self.today(now_ms) + count;
        self.day = china_day(now_ms);
    }
}

/// Days since 1970 in China.
const fn china_day(now_ms: i64) -> i64 {
    (now_ms + CHINA_OFFSET_MS).div_euclid(DAY_MS)
}

/// The hour of the day in China, 0..=23.
pub(super) const fn china_hour(now_ms: i64) -> i64 {
    (now_ms + CHINA_OFFSET_MS).rem_euclid(DAY_MS) / HOUR_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_seconds_worth_and_fills_again() {
        let mut meter = RateMeter::new(2, 0);
        let taken: Vec<bool> = [0, 0, 0, 400, 500, 600, 5_000, 5_000, 5_000].map(|at_ms| meter.take(2, at_ms)).to_vec();
        assert_eq!(taken, [true, true, false, false, true, false, true, true, false]);
    }

    #[test]
    fn many_units_are_taken_together_or_not_at_all() {
        let mut meter = RateMeter::new(10, 0);
        let taken: Vec<bool> = [(6, 0), (6, 0), (4, 0), (99, 500), (99, 1_500)]
            .map(|(units, at_ms)| meter.take_many(units, 10, at_ms))
            .into();
        assert_eq!(taken, [true, false, true, false, true]);
    }

    #[test]
    fn a_day_ends_at_midnight_in_china() {
        let midnight_ms = 16 * 3_600_000;
        let mut count = DayCount::default();
        count.add(3, midnight_ms - 1);
        count.add(2, midnight_ms - 1);
        assert_eq!((count.today(midnight_ms - 1), count.today(midnight_ms)), (5, 0));
        count.add(1, midnight_ms);
        assert_eq!(count.today(midnight_ms + 1), 1);
    }

    #[test]
    fn the_hour_is_the_one_in_china() {
        let cases = [(0, 8), (15 * HOUR_MS, 23), (16 * HOUR_MS - 1, 23), (16 * HOUR_MS, 0), (23 * HOUR_MS, 7)];
        for (now_ms, wanted) in cases {
            assert_eq!(china_hour(now_ms), wanted, "{now_ms}");
        }
    }
}

//! When a spent quota is full again.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

/// China has one time zone and no summer time.
const CHINA: TimeDelta = TimeDelta::hours(8);

/// When a spent quota of a message class is full again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaReset {
    /// Each day at this full hour in China (UTC+8), 0 to 23.
    ChinaHour(u8),
    /// The vendor has no quota: should it ever answer so, it is asked again after a few minutes.
    None,
}

impl QuotaReset {
    /// Midnight in China.
    pub const CHINA_MIDNIGHT: Self = Self::ChinaHour(0);

    /// When to try again: a minute after the next reset. The hour is not documented for certain, so a quota that is still
    /// spent shortly after the reset is asked for every few minutes, and not held for another day.
    pub fn next(self, now: DateTime<Utc>) -> DateTime<Utc> {
        const LATE_RESET: TimeDelta = TimeDelta::minutes(30);
        const ASK_AGAIN: TimeDelta = TimeDelta::minutes(5);
        const MARGIN: TimeDelta = TimeDelta::minutes(1);
        let hour = match self {
            Self::ChinaHour(hour) => TimeDelta::hours(hour.into()),
            Self::None => return now + ASK_AGAIN,
        };
        let day = (now + CHINA - hour).date_naive();
        let last_reset = day.and_time(NaiveTime::MIN).and_utc() - CHINA + hour;
        if now < last_reset + LATE_RESET { now + ASK_AGAIN } else { last_reset + TimeDelta::days(1) + MARGIN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    #[test]
    fn a_quota_is_full_again_at_its_hour_in_china() {
        for (reset, now, next) in [
            (QuotaReset::CHINA_MIDNIGHT, "2026-11-24T15:59:59Z", "2026-11-24T16:01:00Z"),
            (QuotaReset::CHINA_MIDNIGHT, "2026-11-24T16:29:59Z", "2026-11-24T16:34:59Z"), // it may come late
            (QuotaReset::CHINA_MIDNIGHT, "2026-11-24T16:30:00Z", "2026-11-25T16:01:00Z"),
            (QuotaReset::ChinaHour(7), "2026-11-24T15:00:00Z", "2026-11-24T23:01:00Z"),
            (QuotaReset::ChinaHour(7), "2026-11-24T22:59:59Z", "2026-11-24T23:01:00Z"),
            (QuotaReset::ChinaHour(7), "2026-11-24T23:10:00Z", "2026-11-24T23:15:00Z"),
            (QuotaReset::None, "2026-11-24T23:10:00Z", "2026-11-24T23:15:00Z"),
        ] {
            assert_eq!(reset.next(at(now)), at(next), "{reset:?} {now}");
        }
    }
}

//! What follows an attempt: a pure function of its reason, its number and the time left.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::vendor::outcome::{Disposition, Reason};

/// Attempts are at most this far apart, unless the vendor asked for longer.
const MAX_BACKOFF: Duration = Duration::from_mins(5);
/// The most a vendor's `Retry-After` is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);
/// Attempts allowed for an answer that no document names: the first and two more.
const UNRECOGNISED_ATTEMPTS: u16 = 3;

/// What to do with a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It ended; the reason is its outcome.
    End,
    /// It ended; the token is dead.
    EndAndUnbind,
    /// It ended; notifications are off on that device.
    EndAndMute,
    /// It ends because no time is left for what would follow.
    Expire,
    /// Another attempt at this time.
    RetryAt(DateTime<Utc>),
    /// Waits until the vendor's quota is reset, with its whole message class.
    HoldClass,
    /// Waits until the certificate is resumed.
    PauseCertificate,
}

/// Decides by the one disposition table. `attempt` counts from 1; `jitter` is in 0..1; `expires_at` bounds it all.
pub fn next(
    reason: Reason,
    attempt: u16,
    retry_after: Option<Duration>,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    jitter: f64,
) -> Next {
    let retry = || {
        let wait = backoff(attempt, retry_after, jitter);
        let due = now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
        if due >= expires_at { Next::Expire } else { Next::RetryAt(due) }
    };
    match reason.disposition() {
        Disposition::Finish | Disposition::GiveUp => Next::End,
        Disposition::Unbind => Next::EndAndUnbind,
        Disposition::Mute => Next::EndAndMute,
        Disposition::RetryTwice if attempt >= UNRECOGNISED_ATTEMPTS => Next::End,
        Disposition::Retry | Disposition::RetryTwice => retry(),
        Disposition::HoldClass => Next::HoldClass,
        Disposition::PauseCertificate => Next::PauseCertificate,
    }
}

/// 1, 2, 4, ... seconds with full jitter; what the vendor asked for is the least.
fn backoff(attempt: u16, retry_after: Option<Duration>, jitter: f64) -> Duration {
    let exponent = u32::from(attempt.saturating_sub(1)).min(16);
    let ceiling = Duration::from_secs(1 << exponent).min(MAX_BACKOFF);
    let spread = ceiling.mul_f64(jitter.clamp(0.0, 1.0));
    match retry_after {
        // Asked to wait: no earlier, and not all at the same instant.
        Some(asked) => asked.min(MAX_RETRY_AFTER) + spread.min(Duration::from_secs(1)),
        None => spread,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
    }

    fn decide(reason: Reason, attempt: u16, retry_after_s: Option<u64>, jitter: f64) -> Next {
        next(reason, attempt, retry_after_s.map(Duration::from_secs), at(0), at(86_400), jitter)
    }

    #[test]
    fn retries_double_up_to_five_minutes_with_full_jitter() {
        for (attempt, ceiling_s) in [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (60_000, 300)] {
            assert_eq!(decide(Reason::TimedOut, attempt, None, 1.0), Next::RetryAt(at(ceiling_s)));
            assert_eq!(decide(Reason::TimedOut, attempt, None, 0.0), Next::RetryAt(at(0)));
        }
    }

    #[test]
    fn retry_after_is_the_least_and_is_bounded() {
        assert_eq!(decide(Reason::RateLimited, 1, Some(30), 0.0), Next::RetryAt(at(30)));
        assert_eq!(decide(Reason::RateLimited, 8, Some(30), 1.0), Next::RetryAt(at(31)));
        assert_eq!(decide(Reason::RateLimited, 1, Some(1_000_000), 0.0), Next::RetryAt(at(3_600)));
    }

    #[test]
    fn every_disposition_has_its_end() {
        for (reason, expected) in [
            (Reason::Accepted, Next::End),
            (Reason::TokenGone, Next::EndAndUnbind),
            (Reason::TokenMalformed, Next::EndAndUnbind),
            (Reason::Muted, Next::EndAndMute),
            (Reason::RecipientLimited, Next::End),
            (Reason::PayloadRefused, Next::End),
            (Reason::CertificateRefused, Next::PauseCertificate),
            (Reason::QuotaSpent, Next::HoldClass),
        ] {
            assert_eq!(decide(reason, 1, None, 0.5), expected);
        }
    }

    #[test]
    fn an_unrecognised_answer_is_tried_three_times_in_all() {
        assert!(matches!(decide(Reason::Unrecognised, 1, None, 0.5), Next::RetryAt(_)));
        assert!(matches!(decide(Reason::Unrecognised, 2, None, 0.5), Next::RetryAt(_)));
        assert_eq!(decide(Reason::Unrecognised, 3, None, 0.5), Next::End);
    }

    #[test]
    fn a_retry_that_would_come_after_the_time_to_live_is_the_end() {
        let soon = next(Reason::Unreachable, 5, None, at(0), at(10), 1.0);
        assert_eq!(soon, Next::Expire);
        assert_eq!(next(Reason::Unreachable, 1, None, at(0), at(0), 0.0), Next::Expire, "ttl 0 means one attempt");
    }
}

//! The rate limit of a lane, in calls or devices as the vendor counts: a token bucket whose rate halves when the vendor says
//! "too fast" and recovers slowly.

use std::time::{Duration, Instant};

/// The rate never falls below this share of what is configured.
const LEAST_SHARE: f64 = 1.0 / 64.0;
/// The share regained each second without a complaint.
const RECOVERY_PER_SECOND: f64 = 0.05;
/// Units that may go at once after a pause, in seconds' worth of the rate.
const BURST_S: f64 = 0.1;

#[derive(Debug)]
pub struct Pacer {
    /// The share of the configured rate that is used now.
    share: f64,
    tokens: f64,
    updated_at: Instant,
    slowed_at: Option<Instant>,
}

impl Pacer {
    pub fn new(now: Instant) -> Self {
        Self { share: 1.0, tokens: 1.0, updated_at: now, slowed_at: None }
    }

    /// Takes one unit at `per_second`, or tells how long to wait before asking again.
    pub fn take(&mut self, per_second: f64, now: Instant) -> Result<(), Duration> {
        let elapsed_s = now.saturating_duration_since(self.updated_at).as_secs_f64();
        self.updated_at = now;
        self.share = (self.share + elapsed_s * RECOVERY_PER_SECOND).min(1.0);
        let rate = (per_second * self.share).max(0.01);
        self.tokens = (self.tokens + elapsed_s * rate).min((rate * BURST_S).max(1.0));
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - self.tokens) / rate))
        }
    }

    /// The call that was let through costs this many units more: the next ones wait for it.
    pub fn charge(&mut self, units: usize) {
        #[expect(clippy::cast_precision_loss, reason = "at most the devices of one call")]
        let units = units as f64;
        self.tokens -= units;
    }

    /// The vendor said "too fast". Many answers of one burst count once.
    pub fn slow_down(&mut self, now: Instant) {
        let is_same_burst =
            self.slowed_at.is_some_and(|before| now.saturating_duration_since(before) < Duration::from_millis(500));
        if !is_same_burst {
            self.share = (self.share / 2.0).max(LEAST_SHARE);
            self.slowed_at = Some(now);
        }
    }

    pub fn share(&self) -> f64 {
        self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_with_many_devices_delays_the_next() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        assert!(pacer.take(1_000.0, start).is_ok());
        pacer.charge(499);
        let wait = pacer.take(1_000.0, start).unwrap_err();
        assert!((wait.as_secs_f64() - 0.5).abs() < 0.01, "{wait:?}");
        assert!(pacer.take(1_000.0, start + wait + Duration::from_millis(1)).is_ok());
    }

    fn calls_in(pacer: &mut Pacer, from: Instant, window: Duration, rate: f64) -> u32 {
        let mut now = from;
        let mut calls = 0;
        while now < from + window {
            match pacer.take(rate, now) {
                Ok(()) => calls += 1,
                Err(wait) => now += wait.max(Duration::from_micros(10)),
            }
        }
        calls
    }

    #[test]
    fn it_keeps_the_rate_and_halves_it_once_per_burst_of_complaints() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        let calls = calls_in(&mut pacer, start, Duration::from_secs(10), 500.0);
        assert!((4_950..=5_060).contains(&calls), "{calls}");
        let then = start + Duration::from_secs(10);
        pacer.slow_down(then);
        pacer.slow_down(then + Duration::from_millis(100));
        assert!((pacer.share() - 0.5).abs() < 0.01);
        let slower = calls_in(&mut pacer, then, Duration::from_secs(1), 500.0);
        assert!((240..=290).contains(&slower), "{slower}");
        for second in 0..100 {
            pacer.slow_down(then + Duration::from_secs(second));
        }
        assert!(pacer.share() >= LEAST_SHARE);
    }
}

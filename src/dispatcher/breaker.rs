//! The circuit breaker of a lane: when a vendor fails many times in a row its calls stop, and one probe at a time finds out
//! whether it is back.

use std::time::{Duration, Instant};

/// When a breaker opens and for how long.
#[derive(Debug, Clone, Copy)]
pub struct BreakerOptions {
    /// Failed calls in a row.
    pub failures: u32,
    pub min_open: Duration,
    pub max_open: Duration,
}

/// What a lane may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Closed,
    /// One call, and no other until it ends.
    Probe,
    /// Nothing until then.
    Open(Instant),
}

#[derive(Debug)]
pub struct Breaker {
    options: BreakerOptions,
    failures: u32,
    /// Set while open: until when, and for how long it was opened.
    open: Option<(Instant, Duration)>,
    is_probing: bool,
}

impl Breaker {
    pub fn new(options: BreakerOptions) -> Self {
        Self { options, failures: 0, open: None, is_probing: false }
    }

    /// What may be done now; [`Gate::Probe`] is a question answered once, by [`Breaker::begin_probe`].
    pub fn gate(&self, now: Instant) -> Gate {
        match self.open {
            None => Gate::Closed,
            Some((until, _)) if now < until => Gate::Open(until),
            Some((until, period)) if self.is_probing => Gate::Open(until.max(now) + period),
            Some(_) => Gate::Probe,
        }
    }

    /// The probe goes out.
    pub fn begin_probe(&mut self) {
        self.is_probing = true;
    }

    /// A probe that made no call after all.
    pub fn abandon_probe(&mut self) {
        self.is_probing = false;
    }

    /// A call ended. Answers whether the breaker opened by it.
    pub fn record(&mut self, is_outage: bool, now: Instant) -> bool {
        if !is_outage {
            (self.failures, self.open, self.is_probing) = (0, None, false);
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        if self.is_probing {
            let period = self.open.map_or(self.options.min_open, |(_, period)| period * 2).min(self.options.max_open);
            self.open = Some((now + period, period));
            self.is_probing = false;
            return true;
        }
        if self.open.is_none() && self.failures >= self.options.failures {
            self.open = Some((now + self.options.min_open, self.options.min_open));
            return true;
        }
        false
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: BreakerOptions =
        BreakerOptions { failures: 3, min_open: Duration::from_secs(1), max_open: Duration::from_secs(3) };

    #[test]
    fn it_opens_after_failures_in_a_row_and_probes_at_growing_intervals() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut breaker = Breaker::new(OPTIONS);
        breaker.record(true, at(0));
        breaker.record(true, at(0));
        breaker.record(false, at(0));
        assert!(!breaker.record(true, at(0)), "a success in between starts the count anew");
        breaker.record(true, at(0));
        assert!(breaker.record(true, at(0)));
        assert_eq!(breaker.gate(at(0)), Gate::Open(at(1)));
        assert!(!breaker.record(true, at(0)), "calls that were on the wire when it opened do not count twice");
        for (probe_at, open_until) in [(1, 3), (3, 6), (6, 9)] {
            assert_eq!(breaker.gate(at(probe_at)), Gate::Probe);
            breaker.begin_probe();
            assert!(matches!(breaker.gate(at(probe_at)), Gate::Open(_)), "one probe at a time");
            assert!(breaker.record(true, at(probe_at)));
            assert_eq!(breaker.gate(at(probe_at)), Gate::Open(at(open_until)));
        }
        breaker.begin_probe();
        breaker.record(false, at(9));
        assert_eq!(breaker.gate(at(9)), Gate::Closed);
    }
}

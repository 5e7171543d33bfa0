//! What the client saw.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use hdrhistogram::{CreationError, Histogram};

use super::script::Gain;

/// The longest latency told apart, in microseconds.
const MAX_US: u64 = 600_000_000;

/// Which part of the run is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) from: Instant,
    pub(super) until: Instant,
}

impl Window {
    fn holds(&self, at: Instant) -> bool {
        self.from <= at && at < self.until
    }

    /// 0, 1 or 2.
    fn third(&self, at: Instant) -> usize {
        let share = (at - self.from).as_secs_f64() / (self.until - self.from).as_secs_f64();
        match share {
            share if share < 1.0 / 3.0 => 0,
            share if share < 2.0 / 3.0 => 1,
            _ => 2,
        }
    }
}

/// Counts of one client thread; its connections take turns.
pub(super) struct Tally {
    window: Window,
    numbers: RefCell<Numbers>,
}

/// The counts.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    /// From the time a request should have been posted to its whole answer, of requests that should have been posted in the
    /// window, in microseconds.
    pub(super) latencies_us: Histogram<u64>,
    /// Successful answers that came in the window.
    pub(super) answered: u64,
    /// What they came to, by third of the window.
    pub(super) units: [u64; 3],
    /// What all successful answers of the run came to, warm-up included.
    pub(super) units_in_all: u64,
    pub(super) missing: u64,
    /// Answers of the run that were no success: the server refused.
    pub(super) refused: u64,
    /// Requests of the run without an answer.
    pub(super) broken: u64,
    /// Requests that were due and not posted when the time was over.
    pub(super) late: u64,
}

impl Tally {
    pub(super) fn new(window: Window) -> Result<Self, CreationError> {
        let numbers = Numbers {
            latencies_us: Histogram::new_with_max(MAX_US, 3)?,
            answered: 0,
            units: [0; 3],
            units_in_all: 0,
            missing: 0,
            refused: 0,
            broken: 0,
            late: 0,
        };
        Ok(Self { window, numbers: RefCell::new(numbers) })
    }

    /// A request that should have been posted at `due` was answered at `at`.
    pub(super) fn answered(&self, due: Instant, at: Instant, gain: Gain) {
        let mut numbers = self.numbers.borrow_mut();
        numbers.units_in_all += gain.units;
        numbers.missing += gain.missing;
        if self.window.holds(due) {
            let us = u64::try_from((at - due).as_micros()).unwrap_or(MAX_US);
            numbers.latencies_us.saturating_record(us);
        }
        if self.window.holds(at) {
            numbers.answered += 1;
            numbers.units[self.window.third(at)] += gain.units;
        }
    }

    pub(super) fn refused(&self) {
        self.numbers.borrow_mut().refused += 1;
    }

    pub(super) fn broken(&self) {
        self.numbers.borrow_mut().broken += 1;
    }

    pub(super) fn late(&self, requests: u64) {
        self.numbers.borrow_mut().late += requests;
    }

    pub(super) fn into_numbers(self) -> Numbers {
        self.numbers.into_inner()
    }

    /// The counts so far, without the latencies.
    pub(super) fn units_in_all(&self) -> u64 {
        self.numbers.borrow().units_in_all
    }
}

impl Numbers {
    /// A quantile of the latencies in milliseconds; `None` without any.
    pub(super) fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (!self.latencies_us.is_empty()).then(|| {
            let us = self.latencies_us.value_at_quantile(quantile);
            Duration::from_micros(us).as_secs_f64() * 1_000.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_from_when_it_was_due_and_in_the_third_it_was_answered() {
        let from = Instant::now();
        let after = |ms| from + Duration::from_millis(ms);
        let tally = Tally::new(Window { from, until: after(3_000) }).unwrap();
        let gain = Gain { units: 1, missing: 0 };
        // The server stood still: requests due each 100 ms were posted when it went on at 1,000 ms.
        for due_ms in (0..1_000).step_by(100) {
            tally.answered(after(due_ms), after(1_000), gain);
        }
        tally.answered(after(2_000), after(2_004), gain);
        tally.answered(after(2_999), after(3_500), gain);
        let numbers = tally.into_numbers();
        assert_eq!((numbers.answered, numbers.units, numbers.units_in_all), (11, [0, 10, 1], 12));
        let p50 = numbers.quantile_ms(0.5).unwrap();
        assert!((490.0..=610.0).contains(&p50), "the wait before the request counts: {p50}");
        assert!((999.0..=1_001.0).contains(&numbers.quantile_ms(1.0).unwrap()));
    }

    #[test]
    fn what_was_due_before_the_window_is_warm_up() {
        let now = Instant::now();
        let tally =
            Tally::new(Window { from: now + Duration::from_secs(1), until: now + Duration::from_secs(2) }).unwrap();
        tally.answered(now, now + Duration::from_millis(5), Gain { units: 3, missing: 0 });
        tally.refused();
        tally.broken();
        let numbers = tally.into_numbers();
        assert_eq!((numbers.units, numbers.units_in_all, numbers.quantile_ms(0.5)), ([0; 3], 3, None));
        assert_eq!((numbers.refused, numbers.broken), (1, 1));
    }
}

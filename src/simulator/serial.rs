//! Message ids: each is given out once, and a stand-in knows its own without keeping them.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts up from a number drawn at random, so that two stand-ins, or one before and after a restart, do not give out the
/// same numbers.
#[derive(Debug)]
pub(super) struct Serial {
    first: u64,
    next: AtomicU64,
}

impl Serial {
    /// `start`: where the first number is drawn from.
    pub(super) fn new(start: Range<u64>) -> Self {
        let first = rand::random_range(start);
        Self { first, next: AtomicU64::new(first) }
    }

    /// The next number.
    pub(super) fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether this number was given out here.
    pub(super) fn has_issued(&self, number: u64) -> bool {
        (self.first..self.next.load(Ordering::Relaxed)).contains(&number)
    }
}

/// Serial numbers written as one vendor's ids.
#[derive(Debug)]
pub(super) struct Ids {
    serial: Serial,
    write: fn(u64) -> String,
    number: fn(&str) -> Option<u64>,
}

impl Ids {
    /// `start`: where the first number is drawn from, with room to count up. `write` makes an id of a number, and `number`
    /// finds the number in an id; what else has to be right about the id need not concern it.
    pub(super) fn new(start: Range<u64>, write: fn(u64) -> String, number: fn(&str) -> Option<u64>) -> Self {
        Self { serial: Serial::new(start), write, number }
    }

    /// The next id.
    pub(super) fn next(&self) -> String {
        (self.write)(self.serial.next())
    }

    /// Whether this id was given out here.
    pub(super) fn has_issued(&self, id: &str) -> bool {
        (self.number)(id).is_some_and(|number| self.serial.has_issued(number) && (self.write)(number) == id)
    }
}

/// A number with all its bits stirred: what makes an id of a serial number look like the vendor's, and a guessed one fail.
pub(super) const fn stir(number: u64) -> u64 {
    // The finaliser of SplitMix64.
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_out_once_and_known() {
        let serial = Serial::new(10..20);
        let (first, second) = (serial.next(), serial.next());
        assert!((10..20).contains(&first) && second == first + 1);
        assert_eq!([first - 1, first, second, second + 1].map(|n| serial.has_issued(n)), [false, true, true, false]);
        assert_ne!(stir(first), stir(second));
    }
}

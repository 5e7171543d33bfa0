//! Task ids in the shape of vivo's: a text of digits.

use std::sync::atomic::{AtomicU64, Ordering};

/// The range the first number is drawn from: 18 digits, with room to count up. Drawn, so that two simulators, or one
/// before and after a restart, do not hand out the same ids.
const START: std::ops::Range<u64> = 100_000_000_000_000_000..900_000_000_000_000_000;

/// Hands out ids and knows its own without keeping them.
#[derive(Debug)]
pub(super) struct TaskIds {
    first: u64,
    next: AtomicU64,
}

impl TaskIds {
    pub(super) fn new() -> Self {
        let first = rand::random_range(START);
        Self { first, next: AtomicU64::new(first) }
    }

    pub(super) fn next(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// Whether this id was handed out here.
    pub(super) fn has_issued(&self, id: &str) -> bool {
        let issued = self.first..self.next.load(Ordering::Relaxed);
        id.len() == 18 && id.parse().is_ok_and(|number: u64| issued.contains(&number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_digits_and_are_recognised() {
        let ids = TaskIds::new();
        let issued: Vec<_> = (0..1_000).map(|_| ids.next()).collect();
        assert!(issued.iter().all(|id| ids.has_issued(id) && id.bytes().all(|byte| byte.is_ascii_digit())));
        assert_eq!(issued.iter().collect::<std::collections::HashSet<_>>().len(), 1_000);
        let next = (ids.first + 1_000).to_string();
        for foreign in ["", "121397329", &next, &format!("0{}", issued[0]), &format!("+{}", &issued[0][1..])] {
            assert!(!ids.has_issued(foreign), "{foreign}");
        }
    }
}

//! Message ids and trace ids in the shape of Xiaomi's: `sdm57188602565449273KF`, 22 characters.

use std::sync::atomic::{AtomicU64, Ordering};

/// The range the first number is drawn from: 17 digits, with room to count up. Drawn, so that two simulators, or one
/// before and after a restart, do not hand out the same ids.
const START: std::ops::Range<u64> = 10_000_000_000_000_000..80_000_000_000_000_000;

/// Hands out ids and knows its own without keeping them.
#[derive(Debug)]
pub(super) struct Ids {
    prefix: &'static str,
    first: u64,
    next: AtomicU64,
}

impl Ids {
    /// `prefix`: three letters.
    pub(super) fn new(prefix: &'static str) -> Self {
        let first = rand::random_range(START);
        Self { prefix, first, next: AtomicU64::new(first) }
    }

    pub(super) fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let [tens, ones] = letters(number);
        format!("{}{number}{tens}{ones}", self.prefix)
    }

    /// Whether this id was handed out here.
    pub(super) fn has_issued(&self, id: &str) -> bool {
        let number =
            id.strip_prefix(self.prefix).and_then(|rest| rest.get(..17)).and_then(|digits| digits.parse().ok());
        number.is_some_and(|number: u64| {
            let [tens, ones] = letters(number);
            (self.first..self.next.load(Ordering::Relaxed)).contains(&number)
                && id.ends_with(&format!("{tens}{ones}"))
                && id.len() == 22
        })
    }
}

fn letters(number: u64) -> [char; 2] {
    let letter = |n: u64| char::from(b'A' + u8::try_from(n % 26).unwrap_or(0));
    [letter(number / 26), letter(number)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_have_the_vendors_shape_and_are_recognised() {
        let ids = Ids::new("sdm");
        let issued: Vec<_> = (0..1_000).map(|_| ids.next()).collect();
        for id in &issued {
            assert_eq!(id.len(), 22, "{id}");
            assert!(id.starts_with("sdm") && id[3..20].bytes().all(|b| b.is_ascii_digit()), "{id}");
            assert!(id[20..].bytes().all(|b| b.is_ascii_uppercase()), "{id}");
            assert!(ids.has_issued(id), "{id}");
        }
        assert_eq!(issued.iter().collect::<std::collections::HashSet<_>>().len(), 1_000);
        for foreign in ["", "sdm", "sdm57188602565449273KF", "Xdm57188602565449242Ut", &format!("{}x", issued[0])] {
            assert!(!ids.has_issued(foreign), "{foreign}");
        }
    }
}

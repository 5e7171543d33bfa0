//! Message ids in the shape of OPPO's: `ZngnvJIM7wQusNtbqYnpH6XX-1-1-622ff7cfae27668d2ed3afec`.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::secrets::hex_digest;

/// Twelve hexadecimal digits are drawn once for all ids, so that two simulators, or one before and after a restart, do not
/// hand out the same ones.
const RUNS: std::ops::Range<u64> = 0..1 << 48;
/// The range that counting starts in, with room to count up in twelve digits.
const START: std::ops::Range<u64> = 0..1 << 40;

/// Hands out ids and knows its own without keeping them.
#[derive(Debug)]
pub(super) struct MessageIds {
    run: u64,
    first: u64,
    next: AtomicU64,
}

impl MessageIds {
    pub(super) fn new() -> Self {
        let first = rand::random_range(START);
        Self { run: rand::random_range(RUNS), first, next: AtomicU64::new(first) }
    }

    /// 24 hexadecimal digits: the id of a saved body or of a task.
    pub(super) fn bare(&self) -> String {
        format!("{:012x}{:012x}", self.run, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// The id of a single message of an app.
    pub(super) fn next(&self, app_key: &str) -> String {
        let app = hex_digest(app_key.as_bytes());
        format!("{}-1-1-{}", app.get(..24).unwrap_or_default(), self.bare())
    }

    /// Whether this id was handed out here.
    pub(super) fn has_issued(&self, id: &str) -> bool {
        let bare = match id.rsplit_once("-1-1-") {
            Some((app, bare)) if app.len() == 24 => bare,
            Some(_) => return false,
            None => id,
        };
        let number = bare.strip_prefix(&format!("{:012x}", self.run)).filter(|number| number.len() == 12);
        let number = number.and_then(|number| u64::from_str_radix(number, 16).ok());
        number.is_some_and(|number| (self.first..self.next.load(Ordering::Relaxed)).contains(&number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_have_the_vendors_shape_and_are_recognised() {
        let ids = MessageIds::new();
        let issued: Vec<_> = (0..1_000).map(|_| ids.next("key")).chain([ids.bare()]).collect();
        for id in &issued[..1_000] {
            let (app, bare) = id.split_once("-1-1-").unwrap();
            assert_eq!((app.len(), bare.len()), (24, 24), "{id}");
            assert!(bare.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
        assert!(issued.iter().all(|id| ids.has_issued(id)));
        assert_eq!(issued.iter().collect::<std::collections::HashSet<_>>().len(), 1_001);
        let example = "ZngnvJIM7wQusNtbqYnpH6XX-1-1-622ff7cfae27668d2ed3afec";
        for foreign in ["", example, &MessageIds::new().bare(), &format!("{}0", issued[0]), &issued[0][1..]] {
            assert!(!ids.has_issued(foreign), "{foreign}");
        }
    }
}

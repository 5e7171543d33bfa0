//! How old deliveries are when they arrive, where their key tells when they were made: a UUID version 7 begins with it.

use std::collections::BTreeMap;

use uuid::Uuid;

/// Older ones count as this old, so that the number of counts is bounded.
const MAX_AGE_MS: i64 = 60_000;

/// How many deliveries arrived at each age, in whole milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ages(BTreeMap<i64, u64>);

impl Ages {
    /// Counts a delivery with this key that arrived at `at_ms`; keys that tell no time are left out.
    pub(super) fn count(&mut self, key: &str, at_ms: i64) {
        if let Some(made_ms) = made_ms(key) {
            *self.0.entry((at_ms - made_ms).clamp(0, MAX_AGE_MS)).or_default() += 1;
        }
    }

    /// Each age with its count, in order.
    pub(super) fn pairs(&self) -> Vec<(i64, u64)> {
        self.0.iter().map(|(age_ms, count)| (*age_ms, *count)).collect()
    }
}

fn made_ms(key: &str) -> Option<i64> {
    let id = Uuid::try_parse(key).ok().filter(|id| id.get_version_num() == 7)?;
    i64::try_from(id.as_u128() >> 80).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_a_time_in_it_tells_how_long_its_delivery_was_on_the_way() {
        let mut ages = Ages::default();
        let made = uuid::Builder::from_unix_timestamp_millis(1_000, &[0; 10]).into_uuid().to_string();
        for at_ms in [1_003, 1_003, 1_010, 999, 10_000_000] {
            ages.count(&made, at_ms);
        }
        ages.count("a8d1f0d2-0000-4000-8000-000000000000", 5);
        ages.count("message-1", 5);
        assert_eq!(ages.pairs(), [(0, 1), (3, 2), (10, 1), (MAX_AGE_MS, 1)]);
    }
}

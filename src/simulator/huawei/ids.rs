//! Request ids in the shape of Huawei's: `157440955549500001002006`, 24 digits.

use crate::simulator::serial::{Ids, stir};

/// 18 digits.
const START: std::ops::Range<u64> = 100_000_000_000_000_000..800_000_000_000_000_000;

/// Hands out request ids.
pub(super) fn request_ids() -> Ids {
    Ids::new(START, |number| format!("{number}{:06}", stir(number) % 1_000_000), |id| id.get(..18)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_have_the_vendors_shape_and_are_recognised() {
        let ids = request_ids();
        let issued: Vec<_> = (0..1_000).map(|_| ids.next()).collect();
        for id in &issued {
            assert!(id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_digit()) && ids.has_issued(id), "{id}");
        }
        assert_eq!(issued.iter().collect::<std::collections::HashSet<_>>().len(), 1_000);
        for foreign in ["", "157440955549500001002006", &format!("{}0", issued[0]), &issued[0][..23]] {
            assert!(!ids.has_issued(foreign), "{foreign}");
        }
    }
}

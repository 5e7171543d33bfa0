//! Message ids in the shape of Meizu's: `c2ee5c3bf00448cfbceb7fdf68c3c8eb`, 32 hexadecimal digits.

use crate::simulator::serial::{Ids, stir};

/// Anywhere in 64 bits.
const START: std::ops::Range<u64> = 0..1 << 63;

/// Hands out message ids.
pub(super) fn message_ids() -> Ids {
    let number = |id: &str| u64::from_str_radix(id.get(..16)?, 16).ok();
    Ids::new(START, |number| format!("{number:016x}{:016x}", stir(number)), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_have_the_vendors_shape_and_are_recognised() {
        let ids = message_ids();
        let issued: Vec<_> = (0..1_000).map(|_| ids.next()).collect();
        for id in &issued {
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && ids.has_issued(id), "{id}");
        }
        assert_eq!(issued.iter().collect::<std::collections::HashSet<_>>().len(), 1_000);
        for foreign in ["", "c2ee5c3bf00448cfbceb7fdf68c3c8eb", &format!("{}0", issued[0]), &issued[0][..31]] {
            assert!(!ids.has_issued(foreign), "{foreign}");
        }
    }
}

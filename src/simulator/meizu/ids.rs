//! Message ids in the shape of Meizu's: `c2ee5c3bf00448cfbceb7fdf68c3c8eb`, 32 hexadecimal digits.

use crate::simulator::serial::{Serial, stir};

/// Anywhere in 64 bits, with room to count up.
const START: std::ops::Range<u64> = 0..1 << 63;

/// Hands out ids and knows its own without keeping them.
#[derive(Debug)]
pub(super) struct Ids(Serial);

impl Ids {
    pub(super) fn new() -> Self {
        Self(Serial::new(START))
    }

    pub(super) fn next(&self) -> String {
        written(self.0.next())
    }

    /// Whether this id was handed out here.
    pub(super) fn has_issued(&self, id: &str) -> bool {
        let number = id.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        number.is_some_and(|number| self.0.has_issued(number) && written(number) == id)
    }
}

fn written(number: u64) -> String {
    format!("{number:016x}{:016x}", stir(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_have_the_vendors_shape_and_are_recognised() {
        let ids = Ids::new();
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

//! Request ids in the shape of Huawei's: `157440955549500001002006`, 24 digits.

use crate::simulator::serial::{Serial, stir};

/// 18 digits, with room to count up.
const START: std::ops::Range<u64> = 100_000_000_000_000_000..800_000_000_000_000_000;

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
        let number = id.get(..18).and_then(|digits| digits.parse().ok());
        number.is_some_and(|number| self.0.has_issued(number) && written(number) == id)
    }
}

fn written(number: u64) -> String {
    format!("{number}{:06}", stir(number) % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_have_the_vendors_shape_and_are_recognised() {
        let ids = Ids::new();
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

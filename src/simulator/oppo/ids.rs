//! Message ids in the shape of OPPO's: `ZngnvJIM7wQusNtbqYnpH6XX-1-1-622ff7cfae27668d2ed3afec`.

use crate::secrets::hex_digest;
use crate::simulator::serial::{Ids, stir};

/// Twelve hexadecimal digits.
const START: std::ops::Range<u64> = 0..1 << 47;

/// Hands out ids and knows its own without keeping them.
#[derive(Debug)]
pub(super) struct MessageIds(Ids);

impl MessageIds {
    pub(super) fn new() -> Self {
        let number = |id: &str| u64::from_str_radix(id.get(..12)?, 16).ok();
        Self(Ids::new(START, |number| format!("{number:012x}{:012x}", stir(number) >> 16), number))
    }

    /// 24 hexadecimal digits: the id of a saved body or of a task.
    pub(super) fn bare(&self) -> String {
        self.0.next()
    }

    /// The id of a single message of an app.
    pub(super) fn next(&self, app_key: &str) -> String {
        let app = hex_digest(app_key.as_bytes());
        format!("{}-1-1-{}", app.get(..24).unwrap_or_default(), self.bare())
    }

    /// Whether this id was handed out here.
    pub(super) fn has_issued(&self, id: &str) -> bool {
        match id.rsplit_once("-1-1-") {
            Some((app, bare)) => app.len() == 24 && self.0.has_issued(bare),
            None => self.0.has_issued(id),
        }
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

//! Message ids and trace ids in the shape of Xiaomi's: `sdm57188602565449273KF`, 22 characters.

use crate::simulator::serial::Ids;

/// 17 digits.
const START: std::ops::Range<u64> = 10_000_000_000_000_000..80_000_000_000_000_000;

/// Hands out message ids.
pub(super) fn message_ids() -> Ids {
    Ids::new(START, |number| written("sdm", number), number)
}

/// Hands out trace ids.
pub(super) fn trace_ids() -> Ids {
    Ids::new(START, |number| written("Xdm", number), number)
}

fn number(id: &str) -> Option<u64> {
    id.get(3..20)?.parse().ok()
}

fn written(prefix: &str, number: u64) -> String {
    let letter = |n: u64| char::from(b'A' + u8::try_from(n % 26).unwrap_or(0));
    format!("{prefix}{number}{}{}", letter(number / 26), letter(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_have_the_vendors_shape_and_are_recognised() {
        let ids = message_ids();
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

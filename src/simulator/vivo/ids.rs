//! Task ids in the shape of vivo's: a text of digits.

use crate::simulator::serial::Ids;

/// 18 digits.
const START: std::ops::Range<u64> = 100_000_000_000_000_000..900_000_000_000_000_000;

/// Hands out task ids.
pub(super) fn task_ids() -> Ids {
    Ids::new(START, |number| number.to_string(), |id| id.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_digits_and_are_recognised() {
        let ids = task_ids();
        let issued: Vec<_> = (0..1_000).map(|_| ids.next()).collect();
        assert!(issued.iter().all(|id| ids.has_issued(id) && id.bytes().all(|byte| byte.is_ascii_digit())));
        assert_eq!(issued.iter().collect::<std::collections::HashSet<_>>().len(), 1_000);
        let next = (issued[999].parse::<u64>().unwrap() + 1).to_string();
        for foreign in ["", "121397329", &next, &format!("0{}", issued[0]), &format!("+{}", &issued[0][1..])] {
            assert!(!ids.has_issued(foreign), "{foreign}");
        }
    }
}

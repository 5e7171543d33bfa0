//! Registration ids: their pattern, and the region their device belongs to (document, section 1).

/// Whether an id fits `^(([0-9A-Za-z]{2,10}_)?([A-Z]{2}|EUEX)_)?[0-9a-fA-F]{32}$`.
pub(super) fn is_well_formed(id: &str) -> bool {
    let is_brand = |part: &str| (2..=10).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_region =
        |part: &str| part == "EUEX" || part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_hex = |part: &str| part.len() == 32 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    match *id.split('_').collect::<Vec<_>>() {
        [hex] => is_hex(hex),
        [region, hex] => is_region(region) && is_hex(hex),
        [brand, region, hex] => is_brand(brand) && is_region(region) && is_hex(hex),
        _ => false,
    }
}

/// Whether a well-formed id belongs to the mainland's host.
pub(super) fn is_mainland(id: &str) -> bool {
    match *id.split('_').collect::<Vec<_>>() {
        [region, _] | [_, region, _] => region == "CN",
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_fit_the_pattern_and_tell_their_region() {
        let hex = "b6bbd94b59cdb5df8391642c1509b7fE";
        let good =
            [("", true), ("CN_", true), ("OPPO_CN_", true), ("IN_", false), ("realme_EUEX_", false), ("EUEX_", false)];
        for (prefix, mainland) in good {
            let id = format!("{prefix}{hex}");
            assert!(is_well_formed(&id), "{id}");
            assert_eq!(is_mainland(&id), mainland, "{id}");
        }
        for prefix in ["_", "cn_", "C_", "CNN_", "O_CN_", "OPPOREALME1_CN_", "OPPO_cn_", "A_B_CN_", "OP-PO_CN_", " "] {
            assert!(!is_well_formed(&format!("{prefix}{hex}")), "{prefix}");
        }
        for id in ["", "CN_", &hex[1..], &format!("{hex}0"), &format!("{hex};{hex}"), &hex.replace('b', "g")] {
            assert!(!is_well_formed(id), "{id}");
        }
    }
}

//! How the devices are shared among the vendors.

use std::fmt;
use std::str::FromStr;

use crate::domain::certificate::VendorKind;
use crate::domain::id::CertificateId;
use crate::store::bulk::Shares;
use crate::vendor::registry::is_supported;

/// Numbers that stand next to each other have the same vendor, so that vendor and state of a device are independent.
const BLOCK: u64 = 20;
/// The largest share.
const MAX_SHARE: u64 = 1_000;
/// A token's number in tokens that no device was seeded with.
pub(super) const FRESH: u64 = 1 << 60;

/// Shares of the vendors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mix(Vec<(VendorKind, u64)>);

/// How a vendor's tokens look: a text, then a number in hex with so many digits.
struct TokenShape(&'static str, usize);

const fn token_shape(vendor: VendorKind) -> TokenShape {
    match vendor {
        VendorKind::Apns => TokenShape("", 64),
        VendorKind::Huawei => TokenShape("IQAAAACy", 64),
        VendorKind::Meizu => TokenShape("RA50c", 40),
        VendorKind::Vivo => TokenShape("v2-CR", 54),
        VendorKind::Oppo => TokenShape("OPPO_CN_", 32),
        _ => TokenShape("token-", 32),
    }
}

/// What a vendor's phones run.
pub(super) const fn platform(vendor: VendorKind) -> &'static str {
    if matches!(vendor, VendorKind::Apns) { "ios" } else { "android" }
}

/// The token of a number.
pub(super) fn token(vendor: VendorKind, number: u64) -> String {
    let TokenShape(prefix, digits) = token_shape(vendor);
    format!("{prefix}{number:0digits$x}")
}

impl Mix {
    pub(super) const APNS: VendorKind = VendorKind::Apns;
    pub(super) const HUAWEI: VendorKind = VendorKind::Huawei;

    /// One vendor.
    pub(super) fn only(vendor: VendorKind) -> Self {
        Self(vec![(vendor, 1)])
    }

    /// The vendors, each with the number of its certificate.
    pub(super) fn certificates(&self) -> impl Iterator<Item = (VendorKind, CertificateId)> {
        self.0.iter().zip(1..).map(|((vendor, _), id)| (*vendor, CertificateId(id)))
    }

    fn total(&self) -> u64 {
        self.0.iter().map(|(_, share)| share).sum()
    }

    /// Which of the vendors, counted from 0, a turn falls to.
    pub(super) fn turn(&self, number: u64) -> usize {
        let mut left = number % self.total();
        for (index, (_, share)) in self.0.iter().enumerate() {
            match left.checked_sub(*share) {
                None => return index,
                Some(rest) => left = rest,
            }
        }
        0
    }

    /// Whose phone the device of this number is, and its certificate.
    pub(super) fn of_device(&self, number: u64) -> (VendorKind, CertificateId) {
        self.certificates().nth(self.turn(number / BLOCK)).unwrap_or((Self::APNS, CertificateId(1)))
    }

    /// How many of so many recipients are a vendor's (by its place), at least one.
    pub(super) fn part(&self, recipients: u64, index: usize) -> u64 {
        let share = self.0.get(index).map_or(1, |(_, share)| *share);
        (recipients * share / self.total()).max(1)
    }

    /// The same for the statement that makes the devices.
    pub(super) fn columns(&self) -> Shares {
        let mut shares = Shares { total: signed(self.total()), ..Shares::default() };
        let mut low = 0;
        for ((vendor, id), (_, share)) in self.certificates().zip(&self.0) {
            let TokenShape(prefix, digits) = token_shape(vendor);
            shares.lows.push(low);
            low += signed(*share);
            shares.highs.push(low);
            shares.certificate_ids.push(id.0);
            shares.vendors.push(vendor.as_str());
            shares.platforms.push(platform(vendor));
            shares.token_prefixes.push(prefix);
            shares.token_digits.push(i32::try_from(digits).unwrap_or(64));
        }
        shares
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix = Vec::new();
        for part in text.split(',') {
            let (name, share) = part.split_once('=').ok_or("expected VENDOR=SHARE, e.g. apns=3,xiaomi=1")?;
            let vendor = VendorKind::parse(name).filter(|vendor| is_supported(*vendor));
            let vendor = vendor.ok_or_else(|| format!("{name} is no vendor that can be sent to"))?;
            let share = share.parse().ok().filter(|share| (1..=MAX_SHARE).contains(share));
            let share = share.ok_or_else(|| format!("the share of {name} must be 1 to {MAX_SHARE}"))?;
            if mix.iter().any(|(known, _)| *known == vendor) {
                return Err(format!("{name} is named twice"));
            }
            mix.push((vendor, share));
        }
        Ok(Self(mix))
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (vendor, share)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{vendor}={share}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_shown() {
        let mix: Mix = "apns=3,xiaomi=1".parse().unwrap();
        assert_eq!(mix.to_string(), "apns=3,xiaomi=1");
        for wrong in ["", "apns", "apns=", "apns=0", "apns=1001", "fcm=1", "apple=1", "apns=1,apns=2", "apns=1,"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn turns_and_devices_go_by_the_shares() {
        let mix: Mix = "apns=3,xiaomi=1".parse().unwrap();
        let turns: Vec<usize> = (0..8).map(|number| mix.turn(number)).collect();
        assert_eq!(turns, [0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(mix.of_device(59), (VendorKind::Apns, CertificateId(1)));
        assert_eq!(mix.of_device(60), (VendorKind::Xiaomi, CertificateId(2)));
        assert_eq!((mix.part(1_000, 0), mix.part(1_000, 1), mix.part(1, 1)), (750, 250, 1));
        let columns = mix.columns();
        assert_eq!((columns.total, columns.lows, columns.highs), (4, vec![0, 3], vec![3, 4]));
    }

    #[test]
    fn tokens_have_the_length_their_vendor_gives_them() {
        assert_eq!(token(VendorKind::Apns, 255), format!("{:0>64}", "ff"));
        assert_eq!(token(VendorKind::Xiaomi, 1), format!("token-{:0>32}", "1"));
        assert_eq!(token(VendorKind::Oppo, FRESH).len(), 40);
    }
}

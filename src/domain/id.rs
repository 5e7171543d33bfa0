//! Identifiers. Numeric ones are chosen by operators or sequences, time-ordered ones are made here.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// The largest numeric id: what every JSON reader can hold exactly (2^53 - 1).
pub const MAX_NUMERIC_ID: i64 = 9_007_199_254_740_991;

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = i64, minimum = 1, maximum = 9_007_199_254_740_991_i64)]
        pub struct $name(pub i64);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let id = i64::deserialize(deserializer)?;
                if (1..=MAX_NUMERIC_ID).contains(&id) {
                    Ok(Self(id))
                } else {
                    Err(serde::de::Error::custom("must be a number from 1 to 9007199254740991"))
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

numeric_id!(
    /// A customer application (the `SDKAppID`), chosen by the operator.
    AppId
);
numeric_id!(
    /// One vendor account; unique in the server. The number client applications ship with.
    CertificateId
);

/// One start of one server process. Made by the database, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstanceId(pub i32);

/// How many low bits of a notification's id are left free for the numbers of its deliveries.
const DELIVERY_BITS: u32 = 20;

/// The most deliveries one notification can have: numbers 1..=this.
pub const MAX_DELIVERIES: u32 = (1 << DELIVERY_BITS) - 1;

/// The bits of a notification's id that are neither time nor version: 12 and the 42 that follow the variant's two.
const RANDOM_BITS: u32 = 54;

/// A notification: a UUID version 7 whose low 20 bits are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Uuid)]
pub struct NotificationId(pub Uuid);

/// One delivery of a notification: the notification's id plus 1, 2, 3, ... Still a valid UUID version 7, so it
/// serves as `apns-id`, and the deliveries of a notification are one range of the primary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Uuid)]
pub struct DeliveryId(pub Uuid);

impl NotificationId {
    /// An id for `unix_ms`; the first 54 bits of `random` give the others. Of two of one millisecond the one with the larger
    /// number is the larger.
    pub fn new(unix_ms: u64, random: u64) -> Self {
        let builder = uuid::Builder::from_unix_timestamp_millis(unix_ms, &random_bytes(random));
        let bits = builder.into_uuid().as_u128();
        Self(Uuid::from_u128(bits >> DELIVERY_BITS << DELIVERY_BITS))
    }

    /// Reads an id from a path; a delivery's id names its notification too.
    pub fn containing(id: Uuid) -> Self {
        Self(Uuid::from_u128(id.as_u128() >> DELIVERY_BITS << DELIVERY_BITS))
    }

    /// The id of delivery number `number` (1..=[`MAX_DELIVERIES`]).
    pub fn delivery(self, number: u32) -> DeliveryId {
        DeliveryId(Uuid::from_u128(self.0.as_u128() + u128::from(number.min(MAX_DELIVERIES))))
    }

    /// The largest id a delivery of this notification can have: the end of its key range.
    pub fn last_delivery(self) -> DeliveryId {
        self.delivery(MAX_DELIVERIES)
    }

    /// When it was accepted, in milliseconds since the epoch.
    pub fn unix_ms(self) -> u64 {
        u64::try_from(self.0.as_u128() >> 80).unwrap_or(0)
    }

    /// The same as a time.
    pub fn accepted_at(self) -> DateTime<Utc> {
        let accepted_ms = i64::try_from(self.unix_ms()).unwrap_or(i64::MAX);
        DateTime::from_timestamp_millis(accepted_ms).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// The smallest id of a millisecond: the lower bound of time partitions.
    pub fn lower_bound(unix_ms: u64) -> Uuid {
        Uuid::from_u128(u128::from(unix_ms) << 80)
    }
}

/// Makes the ids of new notifications, each larger than the one before: of two notifications that one server took in, the
/// larger id is the newer.
#[derive(Debug, Default)]
pub struct NotificationIds(Mutex<u128>);

impl NotificationIds {
    /// The next id; of `unix_ms`, unless ids of a later millisecond were given out.
    pub fn next(&self, unix_ms: u64) -> NotificationId {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The first bit stays free for those of the same millisecond, which follow at random distances.
        let first = u128::from(unix_ms) << RANDOM_BITS | u128::from(rand::random::<u64>() >> (64 - RANDOM_BITS + 1));
        *last = if first >> RANDOM_BITS > *last >> RANDOM_BITS {
            first
        } else {
            *last + 1 + u128::from(rand::random::<u32>())
        };
        let unix_ms = u64::try_from(*last >> RANDOM_BITS).unwrap_or(u64::MAX);
        let random = u64::try_from(*last & ((1 << RANDOM_BITS) - 1)).unwrap_or_default();
        NotificationId::new(unix_ms, random << (64 - RANDOM_BITS))
    }
}

impl DeliveryId {
    /// The notification this delivery belongs to.
    pub fn notification(self) -> NotificationId {
        NotificationId::containing(self.0)
    }

    /// Its number within the notification; 0 for the notification's own id.
    pub fn number(self) -> u32 {
        u32::try_from(self.0.as_u128() & u128::from(MAX_DELIVERIES)).unwrap_or(MAX_DELIVERIES)
    }
}

impl std::fmt::Display for NotificationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The ten bytes after the time: their first four bits give way to the version, and two of the third byte to the variant.
fn random_bytes(random: u64) -> [u8; 10] {
    let random = random >> (64 - RANDOM_BITS);
    let (first, others) = (random >> 42, random & ((1 << 42) - 1));
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&u16::try_from(first).unwrap_or_default().to_be_bytes());
    bytes[2..].copy_from_slice(&(others << DELIVERY_BITS).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_larger_than_the_one_before_whatever_the_clock_says() {
        let ids = NotificationIds::default();
        let mut last = ids.next(1_795_000_000_123);
        assert_eq!(last.unix_ms(), 1_795_000_000_123);
        for unix_ms in [1_795_000_000_123, 1_795_000_000_122, 1_795_000_000_124].into_iter().cycle().take(9_999) {
            let next = ids.next(unix_ms);
            assert!(next > last, "{next} after {last}");
            assert_eq!((next.0.get_version_num(), next.delivery(0).0), (7, next.0));
            last = next;
        }
        assert_eq!(last.unix_ms(), 1_795_000_000_124);
        assert_eq!(NotificationId::new(1, 1 << 10), NotificationId::new(1, 1 << 10 | 0x3ff), "54 bits count");
        assert!(NotificationId::new(1, 2 << 10) > NotificationId::new(1, 1 << 10));
    }

    #[test]
    fn a_delivery_id_is_a_version_7_uuid_that_names_its_notification() {
        let notification = NotificationId::new(1_795_000_000_123, u64::MAX);
        assert_eq!(notification.0.get_version_num(), 7);
        assert_eq!(notification.unix_ms(), 1_795_000_000_123);
        for number in [1, 2, MAX_DELIVERIES] {
            let delivery = notification.delivery(number);
            assert_eq!(delivery.0.get_version_num(), 7);
            assert_eq!(delivery.0.get_variant(), uuid::Variant::RFC4122);
            assert_eq!(delivery.notification(), notification);
            assert!(delivery.0 > notification.0 && delivery <= notification.last_delivery());
        }
    }

    #[test]
    fn ids_of_one_millisecond_differ_and_ids_order_by_time() {
        assert_ne!(NotificationId::new(1, 1 << 20), NotificationId::new(1, 2 << 20));
        assert!(NotificationId::new(1, u64::MAX) < NotificationId::new(2, 0));
        assert!(NotificationId::new(5, 0).0 >= NotificationId::lower_bound(5));
    }
}

//! Identifiers. Numeric ones are chosen by operators or sequences, time-ordered ones are made here.

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
    /// A new id for `unix_ms`; `random` gives the other 54 bits.
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

fn random_bytes(random: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&random.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

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

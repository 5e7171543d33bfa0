//! vivo's two classes of messages and the categories in them (document, section 3).

use super::answer::Refusal;
use super::fields::Fields;
use crate::simulator::meter::china_hour;

const SYSTEM: [&str; 6] = ["IM", "ACCOUNT", "TODO", "DEVICE_REMINDER", "ORDER", "SUBSCRIPTION"];
const OPERATIONS: [&str; 4] = ["NEWS", "CONTENT", "MARKETING", "SOCIAL"];

/// The first-level class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Marketing: few a day, not at night.
    Operations,
    /// What concerns the user, such as chats.
    System,
}

impl Class {
    /// The class of a message, of the category alone where only that is given.
    pub(super) fn of(fields: &Fields<'_>, warnings: &mut Vec<String>) -> Result<Self, Refusal> {
        let of_category = match fields.category {
            None => None,
            Some(category) if SYSTEM.contains(&category) => Some(Self::System),
            Some(category) if OPERATIONS.contains(&category) => Some(Self::Operations),
            Some(_) => return Err(Refusal::new(10_096, "category is unknown")),
        };
        let said = fields.classification.map(|class| if class == 1 { Self::System } else { Self::Operations });
        match (said, of_category) {
            (Some(said), Some(of_category)) if said != of_category => {
                Err(Refusal::new(10_097, "category and classification do not match"))
            }
            (_, Some(class)) => Ok(class),
            (said, None) => {
                warnings.push("category is missing: vivo may treat it as an operations message".into());
                Ok(said.unwrap_or(Self::Operations))
            }
        }
    }

    /// Operations messages go out from 07:00 to 23:00 only.
    pub(super) fn check_hour(self, now_ms: i64) -> Result<(), Refusal> {
        if self == Self::Operations && !(7..23).contains(&china_hour(now_ms)) {
            return Err(Refusal::new(10_071, "an operations message at night"));
        }
        Ok(())
    }
}

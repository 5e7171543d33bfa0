//! One `message` of a unicast or a batch: whom it is for, and its notification.

use serde_json::Value;

use super::answer::{BAD_ID, INVALID, MISSING, Refusal};
use super::checks::{self, Rules};
use super::notification::Notification;
use super::registration;
use super::wire::Oppo;
use crate::simulator::inbox::TokenState;
use crate::simulator::json::{self, Kind, Member, members};

/// `target_type` of registration ids and of aliases.
const REGISTRATION: i64 = 2;
const ALIAS: i64 = 5;

const MEMBERS: &[Member] = members!(
    "target_type": Kind::Integer,
    "target_value": Kind::Text,
    "verify_registration_id": Kind::Bool,
    "notification": Kind::Free,
);

/// A message that may be sent.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) target: &'a str,
    pub(super) state: TokenState,
    pub(super) notification: Notification<'a>,
}

impl<'a> Item<'a> {
    /// Checks everything that concerns this message alone, in the document's order.
    pub(super) fn read(oppo: &Oppo, app_key: &str, message: &'a Value) -> Result<Self, Refusal> {
        let message = message.as_object().ok_or(Refusal::new(INVALID, "a message is not a JSON object"))?;
        for (name, rule) in [
            ("target_type", "target_type is missing"),
            ("target_value", "target_value is missing"),
            ("notification", "notification is missing"),
        ] {
            json::member(message, name).ok_or(Refusal::new(MISSING, rule))?;
        }
        json::check(message, MEMBERS).map_err(|wrong| Refusal::of_type(INVALID, wrong))?;
        let kind = json::integer(message, "target_type").unwrap_or_default();
        let target = json::text(message, "target_value").unwrap_or_default();
        let mut notification = Notification::read(json::section(message, "notification"))?;
        if kind != REGISTRATION && kind != ALIAS {
            return Err(Refusal::new(INVALID, "target_type is not 2 or 5"));
        }
        if target.is_empty() {
            return Err(Refusal::new(MISSING, "target_value is missing"));
        }
        let state = if kind == REGISTRATION {
            judge(oppo, app_key, target)?
        } else {
            oppo.shared.inboxes.mark_of(target).map_or(TokenState::Alive, |mark| mark.state)
        };
        let rules = Rules {
            content_limit: oppo.content_limit,
            is_broadcast: false,
            has_receipts: kind == REGISTRATION,
            needs_template: oppo.accounts().needs_template(app_key),
        };
        checks::check(&mut notification, rules)?;
        Ok(Self { target, state, notification })
    }
}

/// What the vendor thinks of a registration id. One of a device that is gone is taken all the same: a receipt tells.
pub(super) fn judge(oppo: &Oppo, app_key: &str, id: &str) -> Result<TokenState, Refusal> {
    if !registration::is_well_formed(id) {
        return Err(Refusal::new(BAD_ID, "the registration id is malformed"));
    }
    let foreign = Refusal::new(BAD_ID, "the registration id is of the other region");
    if registration::is_mainland(id) != (oppo.region == "cn") {
        return Err(foreign);
    }
    let Some(mark) = oppo.shared.inboxes.mark_of(id) else { return Ok(TokenState::Alive) };
    if mark.region.is_some_and(|region| region != oppo.region) {
        return Err(foreign);
    }
    match mark.state {
        TokenState::Expired => Err(Refusal::new(BAD_ID, "the registration id is expired")),
        _ if mark.app.is_some_and(|app| app != app_key) => Ok(TokenState::DeadLater),
        state => Ok(state),
    }
}

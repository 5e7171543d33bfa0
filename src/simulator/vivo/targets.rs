//! Who is a valid target of a message, and what vivo says of the others.

use super::answer::InvalidUser;
use super::wire::Vivo;
use crate::simulator::inbox::TokenState;

/// Statuses of `invalidUser` (document, section 5).
const UNKNOWN: i64 = 1;
const UNINSTALLED: i64 = 2;
const NO_TEST_DEVICE: i64 = 4;

/// The targets of one call, judged.
#[derive(Debug, Default)]
pub(super) struct Judged<'a> {
    pub(super) taken: Vec<(&'a str, TokenState)>,
    pub(super) invalid: Vec<InvalidUser>,
}

/// Judges targets, in their order.
pub(super) fn judge<'a>(vivo: &Vivo, app_id: u64, push_mode: i64, targets: &[&'a str]) -> Judged<'a> {
    let inboxes = &vivo.shared.inboxes;
    // vivo has one region, so that no token is foreign.
    let found = inboxes.states(targets, "cn");
    let own_app = app_id.to_string();
    let mut judged = Judged::default();
    for (&target, state) in targets.iter().zip(found) {
        let is_foreign = inboxes.mark_of(target).and_then(|mark| mark.app).is_some_and(|app| app != own_app);
        let status = match state {
            _ if is_foreign => Some(UNKNOWN),
            _ if !vivo.accounts().may_reach(app_id, push_mode, target) => Some(NO_TEST_DEVICE),
            TokenState::Dead => Some(vivo.status_of(target).unwrap_or(UNINSTALLED)),
            TokenState::Expired => Some(UNKNOWN),
            TokenState::Alive | TokenState::DeadLater | TokenState::Off => None,
        };
        match status {
            Some(status) => judged.invalid.push(InvalidUser { status, userid: target.to_owned() }),
            None => judged.taken.push((target, state)),
        }
    }
    judged
}

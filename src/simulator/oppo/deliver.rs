//! The last step of a single message: sent under a new id, or known already.

use super::item::Item;
use super::wire::Oppo;
use crate::simulator::inbox::Message;

/// Sends a message unless its target had it before; returns its id and whether it is new.
pub(super) fn deliver(oppo: &Oppo, app_key: &str, item: &Item<'_>, at_ms: i64) -> (String, bool) {
    let message_id = oppo.message_ids.next(app_key);
    let id = item.notification.app_message_id;
    if let Some(id) = id
        && let Err(earlier) = oppo.seen.claim(&key(app_key, id, item.target), &message_id)
    {
        return (earlier, false);
    }
    oppo.accounts().spend(app_key, 1, at_ms);
    let message = Message {
        message_id: message_id.clone(),
        app: app_key.to_owned(),
        delivery_key: id.map(ToOwned::to_owned),
        at_ms,
        ..item.notification.message()
    };
    oppo.shared.inboxes.deliver(&[(item.target, item.state)], message);
    (message_id, true)
}

/// What makes two messages one: the app's name for it, and the target.
pub(super) fn key(app_key: &str, app_message_id: &str, target: &str) -> String {
    format!("{app_key} {target} {app_message_id}")
}

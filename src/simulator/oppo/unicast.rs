//! `unicast`: one message to one device, every rule of the document in its order.

use serde::Serialize;
use serde_json::Value;

use super::answer::{self, INVALID, MISSING, Refusal};
use super::deliver::deliver;
use super::gate;
use super::item::Item;
use super::wire::Oppo;
use crate::simulator::wire::{Answer, Request};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    message_id: String,
}

pub(super) fn unicast(oppo: &Oppo, request: &Request) -> Result<Answer, Refusal> {
    let form = gate::form(request)?;
    let app_key = gate::app_key(oppo, request, form)?;
    let message = form.filled("message").ok_or(Refusal::new(MISSING, "message is missing"))?;
    let message: Value = serde_json::from_str(message).map_err(|_| Refusal::new(INVALID, "message is not JSON"))?;
    let item = Item::read(oppo, &app_key, &message)?;
    oppo.accounts().take(&app_key, 1, request.at_ms)?;
    let (message_id, is_new) = deliver(oppo, &app_key, &item, request.at_ms);
    Ok(answer::success("", &Sent { message_id }, usize::from(is_new), item.notification.warnings))
}

//! `unicast_batch`: up to 1,000 messages, each with an entry of its own in the answer.

use serde::Serialize;
use serde_json::Value;

use super::answer::{self, BAD_ID, INVALID, MISSING, Refusal};
use super::deliver::deliver;
use super::gate;
use super::item::Item;
use super::wire::Oppo;
use crate::simulator::wire::{Answer, Request};

/// How many messages one call may carry.
const MESSAGES: std::ops::RangeInclusive<usize> = 1..=1_000;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    message_id: String,
    registration_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
}

pub(super) fn batch(oppo: &Oppo, request: &Request) -> Result<Answer, Refusal> {
    let form = gate::form(request)?;
    let app_key = gate::app_key(oppo, request, form)?;
    let messages = form.filled("messages").ok_or(Refusal::new(MISSING, "messages is missing"))?;
    let messages: Vec<Value> =
        serde_json::from_str(messages).map_err(|_| Refusal::new(INVALID, "messages is not a JSON list"))?;
    if !MESSAGES.contains(&messages.len()) {
        return Err(Refusal::new(INVALID, "not 1..=1000 messages"));
    }
    let read: Vec<_> = messages.iter().map(|message| Item::read(oppo, &app_key, message)).collect();
    let good = read.iter().filter(|item| item.is_ok()).count();
    if good > 0 {
        oppo.accounts().take(&app_key, good, request.at_ms)?;
    }

    let (mut accepted, mut warnings, mut broken_rule) = (0, Vec::new(), None);
    let entries: Vec<_> = messages
        .iter()
        .zip(read)
        .map(|(message, item)| match item {
            Ok(item) => {
                let (message_id, is_new) = deliver(oppo, &app_key, &item, request.at_ms);
                accepted += usize::from(is_new);
                warnings.extend(item.notification.warnings);
                Entry { message_id, registration_id: item.target, error_code: None, error_message: None }
            }
            Err(refusal) => {
                if refusal.code != BAD_ID {
                    broken_rule = broken_rule.or(Some(refusal.rule));
                }
                Entry {
                    // A refused message has an id too: the document's example shows one.
                    message_id: oppo.message_ids.next(&app_key),
                    registration_id: message.get("target_value").and_then(Value::as_str).unwrap_or_default(),
                    error_code: Some(refusal.code),
                    error_message: Some(answer::message(&refusal).to_owned()),
                }
            }
        })
        .collect();
    Ok(Answer { broken_rule, ..answer::success("", &entries, accepted, warnings) })
}

//! `POST /message/send`: one message to one device, every rule of the document in its order.

use super::answer::{self, BAD_VALUE, Refusal};
use super::class::Class;
use super::fields::Fields;
use super::wire::Vivo;
use super::{checks, gate, targets};
use crate::simulator::inbox::Message;
use crate::simulator::text::utf16_len;
use crate::simulator::wire::{Answer, Request};

/// The shortest `timeToLive` of a single message, seconds.
const MIN_TTL_S: i64 = 60;
const MAX_ALIAS: usize = 70;

pub(super) fn send(vivo: &Vivo, request: &Request) -> Result<Answer, Refusal> {
    let body = gate::object(request)?;
    let fields = Fields::read(&body)?;
    let request_id = gate::request_id(fields.request_id)?;
    fields.check_time_to_live(MIN_TTL_S)?;
    let app_id = gate::app_id(vivo, request, fields.app_id)?;
    let key = format!("send {app_id} {request_id}");
    if let Some(task_id) = vivo.seen.find(&key) {
        return Ok(answer::success(&task_id, 0, &[], vec!["requestId was seen before: nothing is sent".into()]));
    }
    let target = target(&fields)?;
    let mut warnings = checks::check(&fields)?;
    let class = Class::of(&fields, &mut warnings)?;
    vivo.accounts().check_review(app_id, fields.push_mode)?;
    class.check_hour(request.at_ms)?;
    vivo.accounts().take(app_id, 1, request.at_ms)?;
    let mut judged = targets::judge(vivo, app_id, fields.push_mode, &[target]);
    if let Some(invalid) = judged.invalid.pop() {
        return Ok(answer::invalid(invalid));
    }

    let task_id = vivo.message_ids.next();
    if let Err(earlier) = vivo.seen.claim(&key, &task_id) {
        return Ok(answer::success(&earlier, 0, &[], warnings));
    }
    vivo.accounts().spend(app_id, 1, request.at_ms);
    let message = Message {
        message_id: task_id.clone(),
        app: app_id.to_string(),
        dedupe_key: Some(request_id.to_owned()),
        at_ms: request.at_ms,
        ..fields.message(class)
    };
    vivo.shared.inboxes.deliver(&judged.taken, message);
    Ok(answer::success(&task_id, 1, &[], warnings))
}

/// The device: the `regId`, and without one the `alias`.
fn target<'a>(fields: &Fields<'a>) -> Result<&'a str, Refusal> {
    let filled = |text: Option<&'a str>| text.filter(|text| !text.is_empty());
    let alias = filled(fields.alias);
    let target = filled(fields.reg_id).or(alias);
    if alias.is_some_and(|alias| utf16_len(alias) > MAX_ALIAS) {
        return Err(Refusal::new(BAD_VALUE, "alias over 70 characters"));
    }
    target.ok_or(Refusal::new(BAD_VALUE, "neither regId nor alias"))
}

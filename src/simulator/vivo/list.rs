//! One message to many devices in two steps: `POST /message/saveListPayload`, then `POST /message/pushToList`.

use std::collections::HashSet;

use super::answer::{self, BAD_VALUE, Refusal};
use super::class::Class;
use super::fields::Fields;
use super::wire::Vivo;
use super::{checks, gate, targets};
use crate::simulator::inbox::Message;
use crate::simulator::json::{self, Kind, Member, members};
use crate::simulator::saved::Lost;
use crate::simulator::wire::{Answer, Request};

/// The shortest `timeToLive` of a list, seconds.
const MIN_TTL_S: i64 = 900;
/// How many devices one call may name.
const TARGETS: std::ops::RangeInclusive<usize> = 2..=1_000;

const PUSH: &[Member] = members!(
    "appId": Kind::Integer,
    "regIds": Kind::Texts,
    "aliases": Kind::Texts,
    "taskId": Kind::Text,
    "requestId": Kind::Text,
);

const LOST: Lost =
    Lost { unknown: "taskId is unknown", foreign: "taskId is of another app", old: "taskId is a day old" };

/// One saved body.
#[derive(Debug)]
pub(super) struct SavedList {
    message: Message,
    class: Class,
    push_mode: i64,
}

/// Keeps a body under a new task id.
pub(super) fn save(vivo: &Vivo, request: &Request) -> Result<Answer, Refusal> {
    let body = gate::object(request)?;
    let fields = Fields::read(&body)?;
    let request_id = gate::request_id(fields.request_id)?;
    fields.check_time_to_live(MIN_TTL_S)?;
    let app_id = gate::app_id(vivo, request, fields.app_id)?;
    let key = format!("save {app_id} {request_id}");
    if let Some(task_id) = vivo.seen.find(&key) {
        return Ok(answer::success(&task_id, 0, &[], vec!["requestId was seen before: nothing is saved".into()]));
    }
    let mut warnings = checks::check(&fields)?;
    let class = Class::of(&fields, &mut warnings)?;
    if fields.reg_id.or(fields.alias).or(fields.profile_id).is_some() {
        warnings.push("regId, alias and profileId have no meaning in a list body".into());
    }
    vivo.accounts().check_review(app_id, fields.push_mode)?;
    vivo.accounts().save_list(app_id, request.at_ms)?;

    let task_id = vivo.message_ids.next();
    let (message, push_mode) = (fields.message(class), fields.push_mode);
    vivo.lists.save(&task_id, &app_id.to_string(), request.at_ms, SavedList { message, class, push_mode });
    let task_id = vivo.seen.claim(&key, &task_id).err().unwrap_or(task_id);
    Ok(answer::success(&task_id, 0, &[], warnings))
}

/// Sends a saved body.
pub(super) fn push(vivo: &Vivo, request: &Request) -> Result<Answer, Refusal> {
    let body = gate::object(request)?;
    json::check(&body, PUSH).map_err(|wrong| Refusal::of_type(BAD_VALUE, wrong))?;
    let [reg_ids, aliases] = ["regIds", "aliases"].map(|name| json::texts(&body, name));
    let task_id = json::text(&body, "taskId").unwrap_or_default();
    let request_id = gate::request_id(json::text(&body, "requestId"))?;
    let app_id = gate::app_id(vivo, request, json::integer(&body, "appId"))?;
    let key = format!("push {app_id} {request_id}");
    if let Some(task_id) = vivo.seen.find(&key) {
        return Ok(answer::success(&task_id, 0, &[], vec!["requestId was seen before: nothing is sent".into()]));
    }
    let mut named = if reg_ids.is_empty() { aliases } else { reg_ids };
    if !TARGETS.contains(&named.len()) {
        return Err(Refusal::new(BAD_VALUE, "not 2..=1000 targets"));
    }
    if named.contains(&"") {
        return Err(Refusal::new(BAD_VALUE, "an empty target"));
    }
    let list = vivo.lists.find(task_id, &app_id.to_string(), request.at_ms, LOST);
    let list = list.map_err(|rule| Refusal::new(BAD_VALUE, rule))?;
    vivo.accounts().check_review(app_id, list.push_mode)?;
    list.class.check_hour(request.at_ms)?;
    vivo.accounts().take(app_id, named.len(), request.at_ms)?;

    let mut warnings = Vec::new();
    let (before, mut once) = (named.len(), HashSet::new());
    named.retain(|target| once.insert(*target));
    if named.len() < before {
        warnings.push("a target is named twice: it receives once".into());
    }
    let judged = targets::judge(vivo, app_id, list.push_mode, &named);
    if let Err(earlier) = vivo.seen.claim(&key, task_id) {
        return Ok(answer::success(&earlier, 0, &[], warnings));
    }
    let taken = judged.taken.len();
    vivo.accounts().spend(app_id, taken, request.at_ms);
    let message = Message {
        message_id: task_id.to_owned(),
        app: app_id.to_string(),
        dedupe_key: Some(request_id.to_owned()),
        at_ms: request.at_ms,
        ..list.message.clone()
    };
    vivo.shared.inboxes.deliver(&judged.taken, message);
    Ok(answer::success(task_id, taken, &judged.invalid, warnings))
}

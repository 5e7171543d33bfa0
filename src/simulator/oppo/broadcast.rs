//! One message to many devices in two steps: `save_message_content`, then `broadcast`.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::answer::{self, INVALID, MISSING, Refusal};
use super::checks::{self, Rules};
use super::deliver::key;
use super::notification::{Notification, flat};
use super::wire::Oppo;
use super::{gate, item};
use crate::simulator::inbox::Message;
use crate::simulator::saved::Lost;
use crate::simulator::wire::{Answer, Request};

/// How many devices one call may name.
const MAX_TARGETS: usize = 1_000;

const LOST: Lost =
    Lost { unknown: "message_id is unknown", foreign: "message_id is of another app", old: "message_id is a day old" };

#[derive(Serialize)]
struct Saved {
    message_id: String,
}

#[derive(Serialize)]
struct Sent<'a> {
    message_id: &'a str,
    task_id: &'a str,
    /// The ids that were refused, under their error code.
    #[serde(flatten)]
    refused: BTreeMap<String, Vec<&'a str>>,
}

/// Keeps a body, whose fields lie flat in the form, under a new message id.
pub(super) fn save(oppo: &Oppo, request: &Request) -> Result<Answer, Refusal> {
    let form = gate::form(request)?;
    let app_key = gate::app_key(oppo, request, form)?;
    let members = flat(form);
    let mut notification = Notification::read(&members)?;
    let rules = Rules {
        content_limit: oppo.content_limit,
        is_broadcast: true,
        has_receipts: true,
        needs_template: oppo.accounts().needs_template(&app_key),
    };
    checks::check(&mut notification, rules)?;

    let message_id = oppo.message_ids.bare();
    oppo.saved.save(&message_id, &app_key, request.at_ms, notification.message());
    Ok(answer::success("success", &Saved { message_id }, 0, notification.warnings))
}

/// Sends a saved body.
pub(super) fn broadcast(oppo: &Oppo, request: &Request) -> Result<Answer, Refusal> {
    let form = gate::form(request)?;
    let app_key = gate::app_key(oppo, request, form)?;
    let message_id = form.filled("message_id").ok_or(Refusal::new(MISSING, "message_id is missing"))?;
    match form.filled("target_type") {
        Some("2") => {}
        Some(_) => return Err(Refusal::new(INVALID, "target_type is not 2")),
        None => return Err(Refusal::new(MISSING, "target_type is missing")),
    }
    let targets = form.filled("target_value").ok_or(Refusal::new(MISSING, "target_value is missing"))?;
    let targets: Vec<_> = targets.split(';').collect();
    if targets.len() > MAX_TARGETS {
        return Err(Refusal::new(INVALID, "more than 1000 targets"));
    }
    let body = oppo.saved.find(message_id, &app_key, request.at_ms, LOST).map_err(|rule| Refusal::new(31, rule))?;

    let (mut taken, mut refused, mut once) = (Vec::new(), BTreeMap::<_, Vec<_>>::new(), HashSet::new());
    for target in targets.into_iter().filter(|target| once.insert(*target)) {
        match item::judge(oppo, &app_key, target) {
            Ok(state) => taken.push((target, state)),
            Err(refusal) => refused.entry(refusal.code.to_string()).or_default().push(target),
        }
    }
    oppo.accounts().take(&app_key, taken.len(), request.at_ms)?;
    let task_id = oppo.message_ids.bare();
    if let Some(id) = &body.dedupe_key {
        taken.retain(|(target, _)| oppo.seen.claim(&key(&app_key, id, target), &task_id).is_ok());
    }
    oppo.accounts().spend(&app_key, taken.len(), request.at_ms);
    let message =
        Message { message_id: message_id.to_owned(), app: app_key, at_ms: request.at_ms, ..Message::clone(&body) };
    oppo.shared.inboxes.deliver(&taken, message);
    let sent = Sent { message_id, task_id: &task_id, refused };
    Ok(answer::success("", &sent, taken.len(), Vec::new()))
}

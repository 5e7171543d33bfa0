//! The push: every rule of the document in its order, then the devices.

use super::answer::{self, ACCEPTED, Listed, Refusal};
use super::gate;
use super::message::{self, Push};
use super::wire::{Meizu, Script};
use crate::simulator::inbox::{Message, TokenState};
use crate::simulator::json;
use crate::simulator::wire::{Answer, Request};

/// Answers `POST .../varnished/pushByPushId`.
pub(super) fn push(meizu: &Meizu, request: &Request) -> Result<Answer, Refusal> {
    let form = gate::form(request)?;
    let app_id = gate::app_id(meizu, form)?;
    let targets = gate::targets(form)?;
    let root = message::parse(form.filled("messageJson"))?;
    let mut warnings = gate::repeated(form, &targets);
    let push = message::read(&root, &mut warnings)?;
    let packages = gate::packages(form)?;
    let now_ms = request.at_ms;

    let mut accounts = meizu.accounts();
    if let Some(url) = push.callback {
        accounts.check_callback(app_id, url)?;
    }
    accounts.check_packages(app_id, &packages)?;
    accounts.take_rate(app_id, now_ms)?;
    accounts.check_total(app_id, now_ms)?;

    let script = meizu.next_script();
    let states = meizu.shared.inboxes.states_for_app(&targets, &accounts.names(app_id));
    let mut listed = Listed::new();
    let mut taken = Vec::with_capacity(targets.len());
    for (&target, state) in targets.iter().zip(states) {
        let scripted = script.as_ref().and_then(|script| script.code_of(target));
        let code = match scripted {
            Some(code) => code,
            None => judge(target, state)
                .and_then(|()| accounts.take_device(app_id, target, push.class == 0, now_ms))
                .err()
                .unwrap_or(ACCEPTED),
        };
        if code == ACCEPTED {
            taken.push((target, state));
        } else if scripted.is_none() {
            listed.entry(code.to_owned()).or_default().push(target.to_owned());
        }
    }
    accounts.spend(app_id, taken.len(), now_ms);
    drop(accounts);
    if let Some(Script { code, tokens }) = script {
        listed.entry(code).or_default().extend(tokens);
    }

    let id = meizu.message_ids.next();
    let message = if meizu.shared.inboxes.is_counters_only() {
        counted(&push)
    } else {
        let app = packages.first().copied().unwrap_or(app_id).to_owned();
        Message { message_id: id.clone(), app, at_ms: now_ms, ..whole(&push) }
    };
    meizu.shared.inboxes.deliver(&taken, message);
    Ok(answer::success(&id, &listed, taken.len(), warnings))
}

/// Whether a target can be sent to, or its code.
fn judge(target: &str, state: TokenState) -> Result<(), &'static str> {
    match state {
        TokenState::Dead | TokenState::Expired => Err("110002"),
        _ if target.is_empty() || !target.bytes().all(|byte| byte.is_ascii_alphanumeric()) => Err("110003"),
        TokenState::Off => Err("110010"),
        TokenState::Alive | TokenState::DeadLater => Ok(()),
    }
}

/// What of a message is counted under load.
fn counted(push: &Push<'_>) -> Message {
    Message {
        payload: json::app_data(push.parameters),
        notify_id: push.notify_key.map(ToOwned::to_owned),
        ..Message::default()
    }
}

fn whole(push: &Push<'_>) -> Message {
    Message {
        title: push.title.to_owned(),
        body: push.content.to_owned(),
        subtitle: push.subtitle.map(ToOwned::to_owned),
        extras: json::app_pairs(push.parameters),
        ttl_ms: Some(push.ttl_ms),
        push_type: Some(push.class.to_string()),
        ..counted(push)
    }
}

//! The send: every rule of the document in its order, then the devices.

use super::answer::{self, ALL_BAD, Refusal};
use super::gate;
use super::message::{self, Push};
use super::wire::Huawei;
use crate::simulator::inbox::{Message, TokenState};
use crate::simulator::json;
use crate::simulator::wire::{Answer, Request};

/// Answers `POST /v1/{clientId}/messages:send`.
pub(super) fn send(huawei: &Huawei, request: &Request, client_id: &str) -> Result<Answer, Refusal> {
    gate::check_client(huawei, request, client_id)?;
    let body = gate::body(request)?;
    let mut warnings = Vec::new();
    let push = message::read(&body, &request.body, &mut warnings)?;
    if push.validate_only || push.tokens.is_empty() {
        return Ok(answer::accepted(&huawei.message_ids.next(), 0, &[], warnings));
    }
    huawei.accounts().take_rate(client_id, push.tokens.len(), request.at_ms)?;

    let states = judge(huawei, &push.tokens, client_id);
    let (illegal, taken): (Vec<_>, Vec<_>) = push
        .tokens
        .iter()
        .copied()
        .zip(states)
        .partition(|target| matches!(target.1, TokenState::Dead | TokenState::Expired));
    if taken.is_empty() {
        return Err(Refusal::new(ALL_BAD, "all tokens are invalid"));
    }
    let id = huawei.message_ids.next();
    let message = if huawei.shared.inboxes.is_counters_only() {
        counted(&push)
    } else {
        Message { message_id: id.clone(), app: client_id.to_owned(), at_ms: request.at_ms, ..whole(&push) }
    };
    huawei.shared.inboxes.deliver(&taken, message);
    let illegal: Vec<_> = illegal.iter().map(|target| target.0).collect();
    Ok(answer::accepted(&id, taken.len(), &illegal, warnings))
}

/// The state of each token; one that is empty or has a blank in it is nobody's.
fn judge(huawei: &Huawei, tokens: &[&str], client_id: &str) -> Vec<TokenState> {
    let mut states = huawei.shared.inboxes.states_for_app(tokens, &[client_id]);
    for (state, token) in states.iter_mut().zip(tokens) {
        if token.is_empty() || token.bytes().any(|byte| byte <= b' ') {
            *state = TokenState::Dead;
        }
    }
    states
}

/// What of a message is counted under load.
fn counted(push: &Push<'_>) -> Message {
    let of_notification = |name: &str| push.notification.and_then(|notification| json::integer(notification, name));
    Message {
        payload: match &push.app {
            Some(app) => json::app_data(app),
            None => push.data.filter(|data| !data.is_empty()).map(ToOwned::to_owned),
        },
        notify_id: of_notification("notify_id").map(|id| id.to_string()),
        ..Message::default()
    }
}

fn whole(push: &Push<'_>) -> Message {
    let text = |name: &str| {
        let value = push.notification.and_then(|notification| json::text(notification, name));
        value.map(ToOwned::to_owned)
    };
    let badge = push.notification.and_then(|notification| json::object(notification, "badge"));
    Message {
        title: push.title.to_owned(),
        body: push.body.to_owned(),
        extras: push.app.as_ref().map(json::app_pairs).unwrap_or_default(),
        ttl_ms: push.ttl_ms,
        channel: text("channel_id"),
        badge: badge.and_then(|badge| json::integer(badge, "set_num")),
        sound: text("sound"),
        thread_id: text("group"),
        push_type: push.category.map(ToOwned::to_owned),
        priority: text("importance"),
        data_only: push.notification.is_none(),
        ..counted(push)
    }
}

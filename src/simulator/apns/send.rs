//! The push: every rule of the document's section 10 in its order, then the device.

use std::sync::Arc;

use axum::http::Method;

use super::answer::{INVALID_PAYLOAD, Refusal};
use super::visit::Visit;
use super::wire::Apns;
use super::{gate, head, payload};
use crate::simulator::inbox::{Message, TokenState};
use crate::simulator::wire::Request;

/// The path of every push, before the device token.
pub(super) const PATH: &str = "/3/device/";
const MAX_PAYLOAD_BYTES: usize = 4_096;
const MAX_VOIP_PAYLOAD_BYTES: usize = 5_120;
/// Shorter is what no device has, longer neither (a convention: the vendor promises no size).
const TOKEN_DIGITS: std::ops::RangeInclusive<usize> = 2..=400;

/// Takes a push, or says which rule it breaks. Returns what the vendor lets pass but its document warns of.
pub(super) fn send(apns: &Apns, request: &Request, apns_id: &str) -> Result<Vec<String>, Refusal> {
    if request.method != Method::POST {
        return Err(Refusal::new("MethodNotAllowed", "method is not POST"));
    }
    let token = token_of(request)?;
    let mut warnings = Vec::new();
    let head = head::read(request, &mut warnings)?;
    let topic = gate::admit(apns, request, request.memory.get::<Arc<Visit>>(), &head)?;
    let is_voip = match head.push_type {
        Some(push_type) => push_type == "voip",
        None => topic.rsplit('.').next() == Some("voip"),
    };
    let limit = if is_voip { MAX_VOIP_PAYLOAD_BYTES } else { MAX_PAYLOAD_BYTES };
    if request.body.is_empty() {
        return Err(Refusal::new("PayloadEmpty", "empty payload"));
    }
    if request.body.len() > limit {
        return Err(Refusal::new("PayloadTooLarge", "payload over the limit"));
    }
    let payload = payload::read(&request.body, head.push_type, &mut warnings)
        .map_err(|rule| Refusal::new(INVALID_PAYLOAD, rule))?;
    let device = token.to_ascii_lowercase();
    if device != token {
        warnings.push("the device token is in upper case".into());
    }
    let state = judge(apns, &device, &topic, request.at_ms)?;
    apns.take_rate(&device, request.at_ms)?;

    let counted = Message {
        payload: payload.app_data(),
        notify_id: head.collapse_id.map(ToOwned::to_owned),
        delivery_key: head.apns_id.map(ToOwned::to_owned),
        at_ms: request.at_ms,
        ..Message::default()
    };
    let message = if apns.shared.inboxes.is_counters_only() {
        counted
    } else {
        Message {
            message_id: apns_id.to_owned(),
            app: topic,
            title: payload.title.unwrap_or_default(),
            subtitle: payload.subtitle,
            body: payload.body.unwrap_or_default(),
            badge: payload.badge,
            sound: payload.sound,
            thread_id: payload.thread_id,
            extras: payload.app,
            expires_at_s: head.expires_at_s,
            ttl_ms: head.expires_at_s.map(|at_s| (at_s.saturating_mul(1_000) - request.at_ms).max(0)),
            push_type: head.push_type.map(ToOwned::to_owned),
            priority: head.priority.map(ToOwned::to_owned),
            data_only: !payload.has_alert,
            ..counted
        }
    };
    apns.shared.inboxes.deliver(&[(&device, state)], message);
    Ok(warnings)
}

/// The device token in the path.
fn token_of(request: &Request) -> Result<&str, Refusal> {
    let rest = match request.path.strip_prefix(PATH) {
        Some(rest) => rest,
        None if request.path == PATH.trim_end_matches('/') => "",
        None => return Err(Refusal::new("BadPath", "path is not /3/device/<token>")),
    };
    if rest.is_empty() {
        return Err(Refusal::new("MissingDeviceToken", "no device token in the path"));
    }
    if rest.contains('/') || request.query.is_some() {
        return Err(Refusal::new("BadPath", "path goes on after the token"));
    }
    Ok(rest)
}

/// The state of a device that takes pushes for this topic; anything else is a refusal.
fn judge(apns: &Apns, device: &str, topic: &str, at_ms: i64) -> Result<TokenState, Refusal> {
    const BAD: &str = "BadDeviceToken";
    let is_hex = device.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || !device.len().is_multiple_of(2) || !TOKEN_DIGITS.contains(&device.len()) {
        return Err(Refusal::new(BAD, "token is no even number of hex digits"));
    }
    let Some(mark) = apns.shared.inboxes.mark_of(device) else {
        return if apns.tokens_must_be_known {
            Err(Refusal::new(BAD, "token is unknown"))
        } else {
            Ok(TokenState::Alive)
        };
    };
    if mark.region.is_some_and(|home| home != apns.environment.name()) {
        return Err(Refusal::new(BAD, "token of the other environment"));
    }
    if mark.app.is_some_and(|own| own != topic) {
        return Err(Refusal::new("DeviceTokenNotForTopic", "token of another topic"));
    }
    let timestamp = Some(mark.since_ms.unwrap_or(at_ms));
    match mark.state {
        TokenState::Dead => Err(Refusal { timestamp, ..Refusal::new("Unregistered", "token is dead") }),
        TokenState::Expired => Err(Refusal { timestamp, ..Refusal::new("ExpiredToken", "token is expired") }),
        state => Ok(state),
    }
}

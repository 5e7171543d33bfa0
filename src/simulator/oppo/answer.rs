//! OPPO's answer envelope: HTTP 200 and JSON with `code`, `message` and `data`.

use axum::http::StatusCode;
use serde::Serialize;

use crate::simulator::refusal;
use crate::simulator::wire::{Answer, error_status};

pub(super) const MISSING: i64 = 40;
pub(super) const INVALID: i64 = 41;
/// A registration id that takes nothing: news of the device, not a mistake of the sender.
pub(super) const BAD_ID: i64 = 10_000;

/// A refusal: an HTTP status when its code is 400..=599, else the `code` of an answer with status 200.
pub(super) type Refusal = refusal::Refusal<i64>;

/// OPPO's text for a refusal.
pub(super) fn message(refusal: &Refusal) -> &str {
    refusal.detail.as_deref().unwrap_or_else(|| usual_message(refusal.code).unwrap_or(refusal.rule))
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    code: i64,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a T>,
}

/// Success with its data.
pub(super) fn success(message: &str, data: &impl Serialize, accepted: usize, warnings: Vec<String>) -> Answer {
    Answer { accepted, warnings, ..json(&Envelope { code: 0, message, data: Some(data) }) }
}

/// The answer of a refused request.
pub(super) fn refused(refusal: &Refusal) -> Answer {
    Answer { broken_rule: Some(refusal.rule), ..failure(refusal.code, message(refusal)) }
}

/// Any error code, also one the document does not list.
pub(super) fn failure(code: i64, message: &str) -> Answer {
    match error_status(code) {
        Some(status) => Answer::page(status, message),
        None => json(&Envelope::<()> { code, message, data: None }),
    }
}

/// OPPO's usual text for a code, where the document gives one.
pub(super) const fn usual_message(code: i64) -> Option<&'static str> {
    Some(match code {
        0 => "",
        -1 => "Service Currently Unavailable",
        11 => "Invalid AuthToken",
        12 => "Http Action Not Allowed",
        33 => "The number of messages exceeds the daily limit",
        54 => "private_msg_template_id is null",
        10_000 => "registration_id格式不正确",
        _ => return None,
    })
}

fn json<T: Serialize>(envelope: &Envelope<'_, T>) -> Answer {
    Answer::json(StatusCode::OK, "application/json;charset=UTF-8", envelope.code.to_string(), envelope)
}

//! OPPO's answer envelope: HTTP 200 and JSON with `code`, `message` and `data`.

use std::borrow::Cow;

use axum::http::StatusCode;
use serde::Serialize;

use crate::simulator::json::WrongType;
use crate::simulator::wire::Answer;

pub(super) const MISSING: i64 = 40;
pub(super) const INVALID: i64 = 41;
/// A registration id that takes nothing: news of the device, not a mistake of the sender.
pub(super) const BAD_ID: i64 = 10_000;

/// A refusal by one rule of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// An HTTP status when it is 400..=599, else the `code` of an answer with status 200.
    pub(super) code: i64,
    /// For the counters: says which rule, never a value.
    pub(super) rule: &'static str,
    /// Which member, where the rule alone does not say so.
    pub(super) detail: Option<String>,
}

impl Refusal {
    pub(super) const fn new(code: i64, rule: &'static str) -> Self {
        Self { code, rule, detail: None }
    }

    /// A member that is not what it has to be.
    pub(super) fn of_member(member: &str, rule: &'static str) -> Self {
        Self { detail: Some(format!("{member}: {rule}")), ..Self::new(INVALID, rule) }
    }

    /// The vendor's text for it.
    pub(super) fn message(&self) -> &str {
        self.detail.as_deref().unwrap_or_else(|| usual_message(self.code).unwrap_or(self.rule))
    }
}

impl From<WrongType> for Refusal {
    fn from(wrong: WrongType) -> Self {
        Self::of_member(wrong.member, wrong.rule)
    }
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
    Answer { broken_rule: Some(refusal.rule), ..failure(refusal.code, refusal.message()) }
}

/// Any error code, also one the document does not list.
pub(super) fn failure(code: i64, message: &str) -> Answer {
    match u16::try_from(code).ok().filter(|code| (400..=599).contains(code)) {
        Some(status) => Answer {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            content_type: Some("text/html"),
            body: format!("<html><body><h1>{status} {message}</h1></body></html>").into_bytes(),
            code: status.to_string().into(),
            ..Answer::default()
        },
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
    Answer {
        status: StatusCode::OK,
        content_type: Some("application/json;charset=UTF-8"),
        // Structs of texts and numbers always serialise.
        body: serde_json::to_vec(envelope).unwrap_or_default(),
        code: if envelope.code == 0 { Cow::Borrowed("0") } else { envelope.code.to_string().into() },
        ..Answer::default()
    }
}

//! Huawei's answer to a send: `code` and `msg` as texts, and a `requestId` for the whole batch.

use axum::http::StatusCode;
use serde::Serialize;

use super::world::HuaweiStatus;
use crate::simulator::refusal;
use crate::simulator::wire::Answer;

/// Flow control has an HTTP status and no code.
pub(super) const BUSY: &str = "503";
pub(super) const ACCEPTED: &str = "80000000";
pub(super) const SOME_BAD: &str = "80100000";
pub(super) const ALL_BAD: &str = "80300007";

/// A refusal with one of the codes, which are texts.
pub(super) type Refusal = refusal::Refusal<&'static str>;

#[derive(Serialize)]
struct Envelope<'a> {
    code: &'a str,
    msg: &'a str,
    #[serde(rename = "requestId")]
    request_id: &'a str,
}

#[derive(Serialize)]
struct Counts<'a> {
    success: usize,
    failure: usize,
    illegal_tokens: &'a [&'a str],
}

/// The answer when something was accepted, or could have been.
pub(super) fn accepted(request_id: &str, accepted: usize, illegal: &[&str], warnings: Vec<String>) -> Answer {
    let answer = if illegal.is_empty() {
        envelope(StatusCode::OK, ACCEPTED, "Success", request_id)
    } else {
        some_bad(request_id, accepted, illegal)
    };
    Answer { accepted, warnings, ..answer }
}

/// `msg` is a text that holds JSON.
pub(super) fn some_bad(request_id: &str, success: usize, illegal: &[&str]) -> Answer {
    let counts = Counts { success, failure: illegal.len(), illegal_tokens: illegal };
    // Numbers and texts always serialise.
    let msg = serde_json::to_string(&counts).unwrap_or_default();
    envelope(StatusCode::OK, SOME_BAD, &msg, request_id)
}

/// The answer of a refused request.
pub(super) fn refused(request_id: &str, refusal: &Refusal, how: HuaweiStatus) -> Answer {
    let answer = match refusal.code {
        BUSY => busy(),
        code @ "80100003" => failure(request_id, code, Some(&format!("Illegal payload, {}", refusal.rule)), how),
        code => failure(request_id, code, None, how),
    };
    Answer { broken_rule: Some(refusal.rule), ..answer }
}

/// Any code, also one the document does not list.
pub(super) fn failure(request_id: &str, code: &str, msg: Option<&str>, how: HuaweiStatus) -> Answer {
    envelope(status(code, how), code, msg.unwrap_or_else(|| usual_msg(code)), request_id)
}

/// Flow control; its body is not documented.
pub(super) fn busy() -> Answer {
    Answer::page(StatusCode::SERVICE_UNAVAILABLE, "Service Temporarily Unavailable")
}

fn envelope(status: StatusCode, code: &str, msg: &str, request_id: &str) -> Answer {
    Answer::json(status, "application/json", code.to_owned(), &Envelope { code, msg, request_id })
}

fn status(code: &str, how: HuaweiStatus) -> StatusCode {
    match (code, how) {
        (_, HuaweiStatus::Always200) | (ACCEPTED | SOME_BAD | ALL_BAD, _) => StatusCode::OK,
        ("80200001" | "80200003" | "80200005", _) => StatusCode::UNAUTHORIZED,
        ("81000001", _) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// The text of a code: the document's for 80000000, 80200003 and 80300007, ours for the rest.
fn usual_msg(code: &str) -> &'static str {
    match code {
        ACCEPTED => "Success",
        ALL_BAD => "All the tokens are invalid",
        "80100001" => "Incorrect parameters",
        "80100003" => "Illegal payload",
        "80100004" => "The ttl is in the past",
        "80100013" => "Invalid collapse_key",
        "80200001" => "Oauth authentication error",
        "80200003" => "Oauth Token expired",
        "80300002" => "The app has no permission to push",
        "80300008" => "The message is too large",
        "80300010" => "The number of tokens is out of range",
        "80300011" => "The app has no permission for high priority",
        "80600003" => "The OAuth service failed",
        "81000001" => "Internal error",
        _ => "Error",
    }
}

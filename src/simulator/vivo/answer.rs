//! vivo's answer envelope: HTTP 200 and JSON for all business codes, plain text for the rest.

use axum::http::StatusCode;
use serde::Serialize;

use crate::simulator::refusal;
use crate::simulator::wire::{Answer, error_status};

/// The code of a value that no other code fits.
pub(super) const BAD_VALUE: i64 = 10_050;
/// The code of a target that takes nothing.
pub(super) const BAD_TARGET: i64 = 10_302;

/// A refusal: an HTTP status when its code is 400..=599, else the `result` of an answer with status 200.
pub(super) type Refusal = refusal::Refusal<i64>;

/// A target that takes nothing, with why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct InvalidUser {
    pub(super) status: i64,
    pub(super) userid: String,
}

/// The members an answer can have, in the document's order.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    result: i64,
    desc: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invalid_user: Option<InvalidUser>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    invalid_users: &'a [InvalidUser],
}

/// A new access token.
pub(super) fn granted(auth_token: &str) -> Answer {
    json(&Envelope { auth_token: Some(auth_token), desc: usual_desc(0), ..Envelope::default() })
}

/// Success under a task id, for `accepted` targets.
pub(super) fn success(task_id: &str, accepted: usize, invalid: &[InvalidUser], warnings: Vec<String>) -> Answer {
    let envelope =
        Envelope { task_id: Some(task_id), invalid_users: invalid, desc: usual_desc(0), ..Envelope::default() };
    Answer { accepted, warnings, ..json(&envelope) }
}

/// The answer of a refused request.
pub(super) fn refused(refusal: &Refusal) -> Answer {
    let desc = refusal.detail.as_deref().unwrap_or_else(|| match usual_desc(refusal.code) {
        "错误" => refusal.rule,
        usual => usual,
    });
    Answer { broken_rule: Some(refusal.rule), ..failure(refusal.code, desc, None) }
}

/// The answer when the only target takes nothing.
pub(super) fn invalid(user: InvalidUser) -> Answer {
    let rule = match user.status {
        1 => "the regId is unknown",
        2 => "the app is uninstalled",
        3 => "the device is long offline",
        4 => "the regId is no test device",
        _ => "the regId is invalid",
    };
    Answer { broken_rule: Some(rule), ..failure(BAD_TARGET, usual_desc(BAD_TARGET), Some(user)) }
}

/// Any error code, also one the document does not list.
pub(super) fn failure(code: i64, desc: &str, invalid_user: Option<InvalidUser>) -> Answer {
    match error_status(code) {
        Some(status) => plain(status, desc),
        None => json(&Envelope { result: code, desc, invalid_user, ..Envelope::default() }),
    }
}

/// vivo's usual text for a code; the document's own where it has one.
pub(super) const fn usual_desc(code: i64) -> &'static str {
    match code {
        0 => "请求成功",
        500..=599 => "Internet server error!",
        10_000 => "权限认证失败",
        10_045 => "应用审核中不可发送正式消息",
        10_070 => "发送总量超出限制",
        BAD_TARGET => "regId不合法",
        _ => "错误",
    }
}

fn plain(status: StatusCode, text: &str) -> Answer {
    Answer {
        status,
        content_type: Some("text/plain"),
        body: text.as_bytes().to_vec(),
        code: status.as_str().to_owned().into(),
        ..Answer::default()
    }
}

fn json(envelope: &Envelope<'_>) -> Answer {
    Answer::json(StatusCode::OK, "application/json;charset=UTF-8", envelope.result.to_string(), envelope)
}

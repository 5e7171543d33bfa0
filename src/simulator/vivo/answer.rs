//! vivo's answer envelope: HTTP 200 and JSON for all business codes, plain text for the rest.

use std::borrow::Cow;

use axum::http::StatusCode;
use serde::Serialize;

use crate::simulator::json::WrongType;
use crate::simulator::wire::Answer;

/// The code of a value that no other code fits.
pub(super) const BAD_VALUE: i64 = 10_050;

/// A refusal by one rule of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// An HTTP status when it is 400..=599, else the `result` of an answer with status 200.
    pub(super) code: i64,
    /// For the counters: says which rule, never a value.
    pub(super) rule: &'static str,
    /// Which member, where the rule alone does not say so.
    pub(super) detail: Option<String>,
    pub(super) invalid_user: Option<InvalidUser>,
}

impl Refusal {
    pub(super) const fn new(code: i64, rule: &'static str) -> Self {
        Self { code, rule, detail: None, invalid_user: None }
    }

    /// A member that is not what it has to be.
    pub(super) fn of_member(member: &str, rule: &'static str) -> Self {
        Self { detail: Some(format!("{member}: {rule}")), ..Self::new(BAD_VALUE, rule) }
    }

    /// A target that takes nothing.
    pub(super) fn invalid(status: i64, userid: &str) -> Self {
        let rule = match status {
            1 => "the regId is unknown",
            2 => "the app is uninstalled",
            3 => "the device is long offline",
            4 => "the regId is no test device",
            _ => "the regId is invalid",
        };
        let invalid_user = Some(InvalidUser { status, userid: userid.to_owned() });
        Self { invalid_user, ..Self::new(10_302, rule) }
    }
}

impl From<WrongType> for Refusal {
    fn from(wrong: WrongType) -> Self {
        Self::of_member(wrong.member, wrong.rule)
    }
}

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
pub(super) fn refused(refusal: Refusal) -> Answer {
    let desc = refusal.detail.as_deref().unwrap_or_else(|| match usual_desc(refusal.code) {
        "错误" => refusal.rule,
        usual => usual,
    });
    let answer = failure(refusal.code, desc, refusal.invalid_user);
    Answer { broken_rule: Some(refusal.rule), ..answer }
}

/// Any error code, also one the document does not list.
pub(super) fn failure(code: i64, desc: &str, invalid_user: Option<InvalidUser>) -> Answer {
    match u16::try_from(code).ok().filter(|code| (400..=599).contains(code)) {
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
        10_302 => "regId不合法",
        _ => "错误",
    }
}

fn plain(status: u16, text: &str) -> Answer {
    Answer {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        content_type: Some("text/plain"),
        body: text.as_bytes().to_vec(),
        code: status.to_string().into(),
        ..Answer::default()
    }
}

fn json(envelope: &Envelope<'_>) -> Answer {
    Answer {
        status: StatusCode::OK,
        content_type: Some("application/json;charset=UTF-8"),
        // Structs of texts and numbers always serialise.
        body: serde_json::to_vec(envelope).unwrap_or_default(),
        code: if envelope.result == 0 { Cow::Borrowed("0") } else { envelope.result.to_string().into() },
        ..Answer::default()
    }
}

//! Meizu's answer envelope: HTTP 200 and JSON, its code a text, and `value` an object or, on errors, an empty text.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde::Serialize;

use crate::simulator::refusal;
use crate::simulator::wire::Answer;

/// The code of an accepted push, and of an accepted target where it is listed.
pub(super) const ACCEPTED: &str = "200";

/// A refusal with one of the codes, which are texts.
pub(super) type Refusal = refusal::Refusal<&'static str>;

/// The targets that were not accepted, by their code.
pub(super) type Listed = BTreeMap<String, Vec<String>>;

#[derive(Serialize)]
struct Success<'a> {
    code: &'static str,
    message: &'static str,
    value: &'a Listed,
    redirect: &'static str,
    #[serde(rename = "msgId")]
    msg_id: &'a str,
}

#[derive(Serialize)]
struct Failure<'a> {
    code: &'a str,
    message: &'a str,
    value: &'static str,
    redirect: &'static str,
}

/// An accepted push, whatever became of its targets.
pub(super) fn success(msg_id: &str, listed: &Listed, accepted: usize, warnings: Vec<String>) -> Answer {
    let body = Success { code: ACCEPTED, message: "", value: listed, redirect: "", msg_id };
    Answer { accepted, warnings, ..json(ACCEPTED, &body) }
}

/// The answer of a refused request.
pub(super) fn refused(refusal: &Refusal) -> Answer {
    Answer { broken_rule: Some(refusal.rule), ..failure(refusal.code, None) }
}

/// Any error code, also one the document does not list.
pub(super) fn failure(code: &str, message: Option<&str>) -> Answer {
    let message = message.unwrap_or_else(|| usual_message(code));
    json(code, &Failure { code, message, value: "", redirect: "" })
}

fn json(code: &str, body: &impl Serialize) -> Answer {
    Answer::json(StatusCode::OK, "application/json; charset=UTF-8", code.to_owned(), body)
}

/// The text of a code: the document's for 1006, 110000 and 110010, ours for the rest.
fn usual_message(code: &str) -> &'static str {
    match code {
        "1001" => "系统错误",
        "1003" => "服务器忙",
        "1005" => "参数错误",
        "1006" => "签名认证失败",
        "110000" => "appId不合法",
        "110001" => "appKey不合法",
        "110002" => "pushId没有订阅",
        "110003" => "pushId不合法",
        "110004" => "参数不能为空",
        "110009" => "应用被加入黑名单",
        "110010" => "应用请求频率超过限制",
        "110019" => "应用当日推送数量超过限制",
        "110031" => "packageName不合法",
        "110032" => "taskId不合法",
        "110033" => "appSecret不合法",
        "110051" => "应用推送次数超过限制",
        "110053" => "透传消息超过限制",
        _ => "其他错误",
    }
}

//! Xiaomi's answer envelope: HTTP 200 and JSON, with the members in the order of the published logs.

use axum::http::StatusCode;
use serde::Serialize;

use crate::simulator::refusal;
use crate::simulator::wire::Answer;

/// A refusal with one of the codes, which are numbers. Its detail is the vendor's `reason`.
pub(super) type Refusal = refusal::Refusal<u32>;

/// `data` of a success.
#[derive(Debug, Serialize)]
pub(super) struct Data {
    pub(super) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bad_regids: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) day_quota: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) day_acked: Option<String>,
}

#[derive(Serialize)]
struct Success<'a> {
    result: &'static str,
    trace_id: &'a str,
    code: u32,
    data: &'a Data,
    description: &'static str,
    info: String,
}

#[derive(Serialize)]
struct Failure<'a> {
    result: &'static str,
    reason: &'a str,
    trace_id: &'a str,
    code: i64,
    description: &'static str,
}

/// Success for `accepted` targets.
pub(super) fn success(trace_id: &str, data: &Data, accepted: usize, warnings: Vec<String>) -> Answer {
    let info = format!("Received push messages for {accepted} REGID");
    let body = Success { result: "ok", trace_id, code: 0, data, description: "成功", info };
    Answer { accepted, warnings, ..json("0".into(), &body) }
}

/// The answer of a refused request.
pub(super) fn refused(trace_id: &str, refusal: &Refusal) -> Answer {
    let answer = failure(trace_id, i64::from(refusal.code), refusal.detail.as_deref().unwrap_or(refusal.rule));
    Answer { broken_rule: Some(refusal.rule), ..answer }
}

/// Any error code, also one the document does not list.
pub(super) fn failure(trace_id: &str, code: i64, reason: &str) -> Answer {
    let body = Failure { result: "error", reason, trace_id, code, description: description(code) };
    json(code.to_string(), &body)
}

fn json(code: String, body: &impl Serialize) -> Answer {
    Answer::json(StatusCode::OK, "application/json", code, body)
}

/// The vendor's usual `reason` for a code, for scripted answers.
pub(super) const fn usual_reason(code: i64) -> &'static str {
    match code {
        20_301 => "No valid targets!",
        21_301 => "Invalid application secret.",
        27_001 => "invalid channel info!",
        65_011 => "Title or Description is empty!",
        10_031 => "AppId(id=2882303761517000000) in the blacklist, forbid to send messages",
        200_001 => "exceed quota, quota: 20000, have acked: 20000",
        200_002 => "exceed qps",
        _ => "error",
    }
}

/// The Chinese text for a code; real for the first four, ours for the rest.
const fn description(code: i64) -> &'static str {
    match code {
        20_301 => "发送消息失败",
        21_301 => "认证失败",
        65_011 => "未提供参数",
        200_001 => "超过当日限额",
        200_002 => "QPS",
        10_016..=10_018 | 65_009 | 65_014 | 65_015 | 65_036..=65_038 => "参数错误",
        _ => "错误",
    }
}

//! Answers of a send. Two tables that share numbers and no meaning: codes of the whole call, and codes of single targets.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::vendor::call::by_status;
use crate::vendor::http::Reply;
use crate::vendor::outcome::{Outcome, Progress, Reason};
use crate::vendor::{Target, lenient};

/// The envelope. Business errors come with HTTP 200 too.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(deserialize_with = "lenient::text")]
    code: String,
    /// An object on success, an empty text on errors.
    #[serde(default)]
    value: Value,
    #[serde(default, deserialize_with = "lenient::optional_text")]
    msg_id: Option<String>,
}

/// One outcome per target. Pure.
pub(super) fn classify(reply: &Reply, targets: &[Target]) -> Vec<Outcome> {
    if !reply.status.is_success() {
        return by_status(reply, &[]).for_each(targets.len());
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(&reply.body) else {
        return Outcome::new(Reason::VendorFault).with_code("answer is not Meizu's JSON").for_each(targets.len());
    };
    let (reason, is_suspect) = of_call(&answer.code);
    let mut whole_call = Outcome::new(reason).with_code(answer.code.as_str());
    whole_call.is_suspect = is_suspect;
    whole_call.retry_after = reply.retry_after();
    if reason != Reason::Accepted {
        // A bad pushId refuses the whole call, and does not say which it is.
        if reason == Reason::TokenGone {
            whole_call.progress = Progress::RefusedForOne;
        }
        return whole_call.for_each(targets.len());
    }
    whole_call.vendor_message_id = answer.msg_id;
    let listed = listed(answer.value);
    let for_target = |target: &Target| match listed.get(target.token.as_str()).map(String::as_str) {
        None | Some("200") => whole_call.clone(),
        Some(code) => of_target(code),
    };
    targets.iter().map(for_target).collect()
}

/// Which target is listed under which code. One under several is judged by the last that is no success.
fn listed(value: Value) -> HashMap<String, String> {
    let map = match value {
        Value::Object(map) => map,
        Value::String(text) => serde_json::from_str(&text).unwrap_or_else(|_| Map::new()),
        _ => Map::new(),
    };
    let mut listed = HashMap::new();
    for (code, tokens) in map {
        let tokens = match tokens {
            Value::Array(tokens) => tokens,
            Value::String(tokens) => tokens.split(',').map(|token| token.trim().into()).collect(),
            _ => continue,
        };
        for token in tokens.into_iter().filter_map(|token| token.as_str().map(str::to_owned)) {
            if code == "200" {
                listed.entry(token).or_insert_with(|| code.clone());
            } else {
                listed.insert(token, code.clone());
            }
        }
    }
    listed
}

/// The reason for a code of the whole call, and whether it hints at a wrong configuration.
fn of_call(code: &str) -> (Reason, bool) {
    match code {
        "200" => (Reason::Accepted, false),
        "-1" | "1001" | "1003" => (Reason::VendorFault, false),
        "1005" | "110004" | "110032" | "110053" => (Reason::PayloadRefused, true),
        "1006" | "110000" | "110001" | "110009" | "110031" | "110033" => (Reason::CertificateRefused, false),
        "110002" | "110003" => (Reason::TokenGone, false),
        "110010" => (Reason::RateLimited, false),
        "110019" | "110051" => (Reason::QuotaSpent, false),
        // Also 500, "other error": it stands for refusals and for faults, so it is tried twice more and then given up.
        _ => (Reason::Unrecognised, false),
    }
}

/// The outcome for a code under which a target is listed.
fn of_target(code: &str) -> Outcome {
    let reason = match code {
        "201" => Reason::PayloadRefused,
        "501" | "513" | "519" => Reason::VendorFault,
        "518" => Reason::RateLimited,
        // More than N a minute for this device: shown folded. This device's day of the public class is spent.
        "520" | "110011" => Reason::RecipientLimited,
        "110002" | "110003" => Reason::TokenGone,
        // The same number is "too fast" for a whole call.
        "110010" => Reason::Muted,
        _ => Reason::Unrecognised,
    };
    let mut outcome = Outcome::new(reason).with_code(format!("{code} for this target"));
    outcome.is_suspect = code == "201";
    outcome
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vendor::testing::{reply, targets};

    const A: &str = "TPUSHID0000000000000000000000000000000000000A";
    const B: &str = "TPUSHID0000000000000000000000000000000000000B";

    fn reasons(status: u16, body: &str) -> [Reason; 2] {
        let outcomes = classify(&reply(status, body), &targets(&[A, B]));
        outcomes.into_iter().map(|outcome| outcome.reason).collect::<Vec<_>>().try_into().unwrap()
    }

    #[test]
    fn every_code_of_a_whole_call() {
        use Reason::{
            Accepted, CertificateRefused, PayloadRefused, QuotaSpent, RateLimited, TokenGone, Unrecognised, VendorFault,
        };
        for (code, expected, is_suspect) in [
            ("200", Accepted, false),
            ("500", Unrecognised, false),
            ("1001", VendorFault, false),
            ("1003", VendorFault, false),
            ("1005", PayloadRefused, true),
            ("1006", CertificateRefused, false),
            ("110000", CertificateRefused, false),
            ("110001", CertificateRefused, false),
            ("110002", TokenGone, false),
            ("110003", TokenGone, false),
            ("110004", PayloadRefused, true),
            ("110009", CertificateRefused, false),
            ("110010", RateLimited, false),
            ("110019", QuotaSpent, false),
            ("110031", CertificateRefused, false),
            ("110032", PayloadRefused, true),
            ("110033", CertificateRefused, false),
            ("110051", QuotaSpent, false),
            ("110053", PayloadRefused, true),
            ("-1", VendorFault, false),
            ("110005", Unrecognised, false),
            ("999999", Unrecognised, false),
        ] {
            for body in
                [json!({"code": code, "message": "x", "value": ""}), json!({"code": code.parse::<i64>().unwrap()})]
            {
                for outcome in &classify(&reply(200, &body.to_string()), &targets(&[A, B])) {
                    assert_eq!((outcome.reason, outcome.is_suspect), (expected, is_suspect), "{body}");
                    assert_eq!(outcome.vendor_code.as_deref(), Some(code), "the raw code is kept");
                    assert_eq!(outcome.is_for_one(), expected == TokenGone, "{body}");
                }
            }
        }
    }

    #[test]
    fn every_code_of_a_single_target() {
        for (code, expected) in [
            ("200", Reason::Accepted),
            ("201", Reason::PayloadRefused),
            ("501", Reason::VendorFault),
            ("513", Reason::VendorFault),
            ("518", Reason::RateLimited),
            ("519", Reason::VendorFault),
            ("520", Reason::RecipientLimited),
            ("110002", Reason::TokenGone),
            ("110003", Reason::TokenGone),
            ("110010", Reason::Muted),
            ("110011", Reason::RecipientLimited),
            ("110005", Reason::Unrecognised),
            ("7", Reason::Unrecognised),
        ] {
            let body = json!({"code": "200", "value": {code: [B]}, "msgId": "m"});
            let outcomes = classify(&reply(200, &body.to_string()), &targets(&[A, B]));
            assert_eq!(outcomes[0].reason, Reason::Accepted);
            let listed = &outcomes[1];
            assert_eq!(listed.reason, expected, "{code}");
            let kept = if code == "200" { "200".to_owned() } else { format!("{code} for this target") };
            assert_eq!(listed.vendor_code.as_deref(), Some(kept.as_str()));
        }
    }

    #[test]
    fn the_worked_answers() {
        let success =
            r#"{"code":"200","message":"","value":{},"redirect":"","msgId":"c2ee5c3bf00448cfbceb7fdf68c3c8eb"}"#;
        assert_eq!(reasons(200, success), [Reason::Accepted, Reason::Accepted]);
        let outcome = &classify(&reply(200, success), &targets(&[A]))[0];
        assert_eq!(outcome.vendor_message_id.as_deref(), Some("c2ee5c3bf00448cfbceb7fdf68c3c8eb"));
        let partial = r#"{"code":"200","message":"","value":{"110002":["TPUSHID0000000000000000000000000000000000000B"],"110010":["TPUSHID0000000000000000000000000000000000000A"]},"redirect":"","msgId":"c2ee5c3bf00448cfbceb7fdf68c3c8ec"}"#;
        assert_eq!(reasons(200, partial), [Reason::Muted, Reason::TokenGone]);
        for (body, expected) in [
            (r#"{"code":"1006","message":"签名认证失败","value":"","redirect":""}"#, Reason::CertificateRefused),
            (r#"{"code":"110010","message":"应用请求频率超过限制","value":"","redirect":""}"#, Reason::RateLimited),
            (r#"{"code":"110000","message":"appId不合法","value":"","redirect":""}"#, Reason::CertificateRefused),
        ] {
            assert_eq!(reasons(200, body), [expected, expected]);
        }
    }

    #[test]
    fn odd_shapes_and_statuses() {
        let listed = |value: Value| reasons(200, &json!({"code": 200, "value": value}).to_string())[1];
        assert_eq!(listed(json!({"110002": B})), Reason::TokenGone);
        assert_eq!(listed(json!({"110002": [B], "200": [B]})), Reason::TokenGone);
        assert_eq!(listed(json!(json!({"110002": [A, B]}).to_string())), Reason::TokenGone);
        for value in [json!(null), json!(""), json!([]), json!({"110002": 5}), json!({"200": [A, B]})] {
            assert_eq!(listed(value), Reason::Accepted);
        }
        for (status, body, expected) in [
            (200, "", Reason::VendorFault),
            (200, "<html>", Reason::VendorFault),
            (200, r#"{"code":"2"#, Reason::VendorFault),
            (200, r#"{"message":"x"}"#, Reason::VendorFault),
            (401, "", Reason::CertificateRefused),
            (403, "", Reason::CertificateRefused),
            (404, "", Reason::PayloadRefused),
            (429, "", Reason::RateLimited),
            (500, "", Reason::VendorFault),
            (503, "<html>", Reason::VendorFault),
        ] {
            assert_eq!(reasons(status, body), [expected, expected], "{status} {body}");
        }
    }
}

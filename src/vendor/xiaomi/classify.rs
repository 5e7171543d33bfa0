//! Answers of a send: one row per code of the vendor's table.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

use crate::vendor::call::by_status;
use crate::vendor::http::Reply;
use crate::vendor::outcome::{Outcome, Reason};
use crate::vendor::{Target, lenient};

/// The envelope. Business errors come with HTTP 200 too.
#[derive(Deserialize)]
struct Answer {
    #[serde(deserialize_with = "lenient::number")]
    code: i64,
    #[serde(default)]
    reason: Option<String>,
    /// An object; once documented as a text that holds one.
    #[serde(default)]
    data: Value,
}

/// One outcome per target. Pure.
pub(super) fn classify(reply: &Reply, targets: &[Target]) -> Vec<Outcome> {
    if !reply.status.is_success() {
        return by_status(reply, &[]).for_each(targets.len());
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(&reply.body) else {
        return Outcome::new(Reason::VendorFault).with_code("answer is not Xiaomi's JSON").for_each(targets.len());
    };
    let (reason, is_suspect) = by_code(answer.code, answer.reason.as_deref());
    let data = data_object(answer.data);
    let mut whole_call = Outcome::new(reason).with_code(answer.code.to_string());
    whole_call.is_suspect = is_suspect;
    whole_call.blames_options = matches!(answer.code, 26006 | 27001);
    whole_call.retry_after = reply.retry_after();
    if reason != Reason::Accepted {
        return whole_call.for_each(targets.len());
    }
    whole_call.vendor_message_id = text_member(&data, "id").map(str::to_owned);
    let dead: HashSet<&str> =
        text_member(&data, "bad_regids").into_iter().flat_map(|list| list.split(',')).map(str::trim).collect();
    let for_target = |target: &Target| {
        if dead.contains(target.token.as_str()) {
            Outcome::new(Reason::TokenGone).with_code("bad_regids")
        } else {
            whole_call.clone()
        }
    };
    targets.iter().map(for_target).collect()
}

/// The reason for a code, and whether it hints at a wrong configuration.
fn by_code(code: i64, reason: Option<&str>) -> (Reason, bool) {
    match code {
        0 => (Reason::Accepted, false),
        -1 | 1 | 10001 | 10002 | 10003 | 10009 | 10010 | 10011 | 10037 | 20607 | 26003 | 65029 => {
            (Reason::VendorFault, false)
        }
        20301 if reason.is_some_and(|text| text.trim().eq_ignore_ascii_case("No valid targets!")) => {
            (Reason::TokenGone, false)
        }
        // 10029, 65003: the device is unknown or offline; the document leaves the token alone.
        100 | 10008 | 10016 | 10017 | 10018 | 10029 | 20301 | 21305 | 22100 | 22102 | 22103 | 65003 | 65009 | 65011
        | 65014 | 65015 | 65030 => (Reason::PayloadRefused, false),
        // Our own request or the certificate's channel, template or callback is wrong.
        10007 | 10012 | 10013 | 10020 | 10021 | 10025 | 26006 | 27001 | 65036 | 65037 | 65038 => {
            (Reason::PayloadRefused, true)
        }
        10022 | 10023 | 10024 | 10027 | 10028 | 10030 | 10032 | 10033 | 10035 | 10038 | 10039 | 22101 | 200_002 => {
            (Reason::RateLimited, false)
        }
        10034 | 200_001 => (Reason::QuotaSpent, false),
        10004 | 10005 | 10006 | 10014 | 10026 | 10031 | 10036 | 21301 | 21302 | 21303 | 22000 | 22001 | 22002
        | 22004 | 22006 | 22007 | 22008 | 22021 | 22022 => (Reason::CertificateRefused, false),
        _ => (Reason::Unrecognised, false),
    }
}

fn data_object(data: Value) -> Value {
    match data {
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::Null),
        other => other,
    }
}

/// A text member, its name compared without case.
fn text_member<'a>(data: &'a Value, name: &str) -> Option<&'a str> {
    data.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.as_str()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::vendor::testing::{reply, targets};

    fn reasons(reply: &Reply, tokens: &[&str]) -> Vec<Reason> {
        classify(reply, &targets(tokens)).into_iter().map(|outcome| outcome.reason).collect()
    }

    #[test]
    fn every_code_of_the_document() {
        use Reason::{CertificateRefused, PayloadRefused, QuotaSpent, RateLimited, Unrecognised, VendorFault};
        let table: [(Reason, &[i64]); 6] = [
            (VendorFault, &[-1, 1, 10001, 10002, 10009, 10003, 65029, 10010, 10011, 20607, 26003, 10037]),
            (
                PayloadRefused,
                &[
                    10008, 10016, 10017, 21305, 65011, 100, 10012, 10020, 10021, 10007, 10013, 10018, 10029, 65003,
                    20301, 22102, 22100, 22103, 26006, 27001, 65009, 65014, 65015, 65030, 65036, 65037, 65038, 10025,
                ],
            ),
            (
                RateLimited,
                &[10027, 10022, 10023, 10024, 10028, 200_002, 22101, 10030, 10032, 10033, 10035, 10038, 10039],
            ),
            (QuotaSpent, &[200_001, 10034]),
            (
                CertificateRefused,
                &[
                    10031, 10026, 10036, 21303, 10004, 10005, 10006, 10014, 21301, 21302, 22000, 22006, 22007, 22008,
                    22022, 22001, 22002, 22004, 22021,
                ],
            ),
            (Unrecognised, &[22003, 22005, 22020, 26004, 26005, 65028, 20209, 65006, 80002, 65042, 999_999]),
        ];
        for (expected, codes) in table {
            for code in codes {
                let body = format!(r#"{{"result":"error","reason":"x","code":{code}}}"#);
                let outcomes = classify(&reply(200, &body), &targets(&["a", "b"]));
                assert_eq!(outcomes.len(), 2);
                for outcome in outcomes {
                    assert_eq!(outcome.reason, expected, "{code}");
                    assert_eq!(outcome.vendor_code, Some(code.to_string()), "the raw code is kept");
                }
            }
        }
    }

    #[test]
    fn the_worked_answers() {
        let two = ["//9TSU0tWElBT01JLVRPS0VOLTAwMDAwMDAwMDErL3g=", "+/tTSU0tWElBT01JLVRPS0VOLTAwMDAwMDAwMDIrL3g="];
        let success = r#"{"result":"ok","trace_id":"Xdm57188602565449242Ut","code":0,"data":{"id":"sdm57188602565449273KF","day_quota":"50000","day_acked":"0"},"description":"成功","info":"Received push messages for 2 REGID"}"#;
        let outcomes = classify(&reply(200, success), &targets(&two));
        assert!(outcomes.iter().all(|outcome| outcome.reason == Reason::Accepted));
        assert_eq!(outcomes[0].vendor_message_id.as_deref(), Some("sdm57188602565449273KF"), "not the trace id");
        let partial = r#"{"result":"ok","trace_id":"Xdm57188602565449242Uu","code":0,"data":{"id":"sdm57188602565449273KG","bad_regids":"+/tTSU0tWElBT01JLVRPS0VOLTAwMDAwMDAwMDIrL3g="},"description":"成功","info":"Received push messages for 1 REGID"}"#;
        assert_eq!(reasons(&reply(200, partial), &two), [Reason::Accepted, Reason::TokenGone]);
        for (body, expected) in [
            (
                r#"{"result":"error","reason":"No valid targets!","trace_id":"Xcm58061602298211208Nt","code":20301,"description":"发送消息失败"}"#,
                Reason::TokenGone,
            ),
            (
                r#"{"result":"error","reason":"Invalid application secret.","trace_id":"Xcm04025474860887543eZ","code":21301,"description":"认证失败"}"#,
                Reason::CertificateRefused,
            ),
            (
                r#"{"result":"error","reason":"Title or Description is empty!","trace_id":"Xlm15074487927078175yr","code":65011,"description":"未提供参数"}"#,
                Reason::PayloadRefused,
            ),
            (
                r#"{"result":"error","reason":"exceed quota, quota: 20000, have acked: 20000","trace_id":"Xdm57188602565449242Uv","code":200001,"description":"超过当日限额"}"#,
                Reason::QuotaSpent,
            ),
            (
                r#"{"result":"error","reason":"exceed qps","trace_id":"Xdm57188602565449242Uw","code":200002,"description":"QPS"}"#,
                Reason::RateLimited,
            ),
        ] {
            assert_eq!(reasons(&reply(200, body), &two), [expected, expected]);
        }
    }

    #[test]
    fn odd_shapes_are_read() {
        for (body, expected) in [
            (r#"{"code":"0","data":"{\"id\":\"s1\",\"bad_regIds\":\"b\"}"}"#, [Reason::Accepted, Reason::TokenGone]),
            (r#"{"code":0}"#, [Reason::Accepted, Reason::Accepted]),
            (r#"{"code":0,"data":{"bad_regids":"a, b"}}"#, [Reason::TokenGone, Reason::TokenGone]),
            (r#"{"code":20301,"reason":" no valid TARGETS! "}"#, [Reason::TokenGone, Reason::TokenGone]),
            (r#"{"code":20301}"#, [Reason::PayloadRefused, Reason::PayloadRefused]),
            (r#"{"code":null}"#, [Reason::VendorFault, Reason::VendorFault]),
            ("[]", [Reason::VendorFault, Reason::VendorFault]),
            ("", [Reason::VendorFault, Reason::VendorFault]),
            ("<html>busy</html>", [Reason::VendorFault, Reason::VendorFault]),
            (r#"{"result":"ok","co"#, [Reason::VendorFault, Reason::VendorFault]),
        ] {
            assert_eq!(reasons(&reply(200, body), &["a", "b"]), expected, "{body}");
        }
    }

    #[test]
    fn statuses_other_than_200() {
        for (status, expected) in [
            (500, Reason::VendorFault),
            (503, Reason::VendorFault),
            (401, Reason::CertificateRefused),
            (403, Reason::CertificateRefused),
            (429, Reason::RateLimited),
            (404, Reason::PayloadRefused),
            (302, Reason::Unrecognised),
        ] {
            let outcome = &classify(&reply(status, "<html>"), &targets(&["a"]))[0];
            assert_eq!(outcome.reason, expected, "{status}");
            assert_eq!(outcome.vendor_code, Some(format!("HTTP {status}")));
        }
        let mut busy = reply(429, "");
        busy.headers.insert(reqwest::header::RETRY_AFTER, 7.into());
        assert_eq!(classify(&busy, &targets(&["a"]))[0].retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_wrong_channel_is_suspect_and_a_long_text_is_not() {
        let suspect = |code| by_code(code, None).1;
        assert!(suspect(27001));
        assert!(!suspect(65009));
    }
}

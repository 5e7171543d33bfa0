//! Answers of a send: one row per code of the vendor's table.

use std::collections::HashSet;

use serde::Deserialize;

use crate::vendor::call::{Answered, Verdict, by_status};
use crate::vendor::http::Reply;
use crate::vendor::outcome::{Outcome, Reason};
use crate::vendor::{Target, lenient};

/// Business errors come with HTTP 200 and with others: whenever there is a code, it decides.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(deserialize_with = "lenient::text")]
    code: String,
    #[serde(default, deserialize_with = "lenient::optional_text")]
    msg: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional_text")]
    request_id: Option<String>,
}

/// What `msg` holds, as JSON in a text, when some tokens are bad.
#[derive(Deserialize)]
struct Partial {
    illegal_tokens: Vec<String>,
}

const SOME_BAD: &str = "80100000";
const ALL_BAD: &str = "80300007";

/// One outcome per target. Pure.
pub(super) fn classify(reply: &Reply, targets: &[Target]) -> Answered {
    let Ok(answer) = serde_json::from_slice::<Answer>(&reply.body) else {
        return without_code(reply, targets);
    };
    if answer.code == SOME_BAD {
        return partly(&answer, targets);
    }
    let (reason, is_suspect) = by_code(&answer.code);
    if reason == Reason::Unrecognised && matches!(reply.status.as_u16(), 401 | 429 | 500..) {
        // Flow control and faults have bodies that are not documented: there the status says more than a foreign code.
        let mut answered = without_code(reply, targets);
        let code = format!("{} HTTP {}", answer.code, reply.status.as_u16());
        answered.outcomes.iter_mut().for_each(|outcome| outcome.vendor_code = Some(code.clone()));
        return answered;
    }
    let mut outcome = Outcome::new(reason).with_code(answer.code.as_str());
    outcome.is_suspect = is_suspect;
    outcome.blames_options = matches!(answer.code.as_str(), "80100001" | "80100003" | "80300011");
    outcome.retry_after = reply.retry_after();
    if reason == Reason::Accepted {
        outcome.vendor_message_id = answer.request_id;
    }
    let token = match answer.code.as_str() {
        "80200001" | "80200003" | "80200005" => Verdict::Refused,
        "80600003" => Verdict::Doubtful,
        _ => Verdict::Fine,
    };
    Answered::all(&outcome, targets).with(token)
}

fn without_code(reply: &Reply, targets: &[Target]) -> Answered {
    if reply.status == 200 {
        let outcome = Outcome::new(Reason::VendorFault).with_code("answer is not Huawei's JSON");
        return Answered::all(&outcome, targets);
    }
    let special = [(404, Reason::CertificateRefused), (503, Reason::RateLimited)];
    let verdict = if reply.status == 401 { Verdict::Refused } else { Verdict::Fine };
    Answered::all(&by_status(reply, &special), targets).with(verdict)
}

/// Some tokens are bad: those that `msg` lists. Without the list nobody knows which: the call is made again.
fn partly(answer: &Answer, targets: &[Target]) -> Answered {
    let listed = answer.msg.as_deref().and_then(|msg| serde_json::from_str::<Partial>(msg).ok());
    let Some(Partial { illegal_tokens }) = listed else {
        let outcome = Outcome::new(Reason::Unrecognised).with_code(format!("{SOME_BAD} without illegal_tokens"));
        return Answered::all(&outcome, targets);
    };
    let bad: HashSet<&str> = illegal_tokens.iter().map(String::as_str).collect();
    // Where nothing was accepted, certificate and tokens may not belong together: see `ALL_BAD`.
    let is_any_good = targets.iter().any(|target| !bad.contains(target.token.as_str()));
    let for_target = |target: &Target| {
        if !bad.contains(target.token.as_str()) {
            let mut outcome = Outcome::new(Reason::Accepted).with_code(SOME_BAD);
            outcome.vendor_message_id.clone_from(&answer.request_id);
            return outcome;
        }
        let reason = if is_any_good { Reason::TokenGone } else { Reason::TokenMalformed };
        let mut outcome = Outcome::new(reason).with_code("80100000 illegal_tokens");
        outcome.is_suspect = !is_any_good;
        outcome
    };
    Answered::each(targets.iter().map(for_target).collect())
}

/// The reason for a code, and whether it hints at a wrong configuration.
fn by_code(code: &str) -> (Reason, bool) {
    match code {
        "80000000" => (Reason::Accepted, false),
        // Also answered for tokens of another app or of another generation of the API: unbound only while others are accepted.
        ALL_BAD => (Reason::TokenMalformed, true),
        // This text, this size: about the one message.
        "80100016" | "80300008" => (Reason::PayloadRefused, false),
        "80100001" | "80100002" | "80100003" | "80100004" | "80100013" | "80100018" | "80300002" | "80300010"
        | "80300011" | "80300013" => (Reason::PayloadRefused, true),
        "80100017" => (Reason::RateLimited, false),
        "80200001" | "80200003" | "80200005" => (Reason::CertificateRefused, false),
        // Push could not ask the OAuth service; the document blames the credential, so it may come again. The next attempt
        // takes another access token.
        "80600003" => (Reason::VendorFault, true),
        "81000001" => (Reason::VendorFault, false),
        _ => (Reason::Unrecognised, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::testing::{reply, targets};

    fn outcomes(status: u16, body: &str, tokens: &[&str]) -> Vec<Outcome> {
        classify(&reply(status, body), &targets(tokens)).outcomes
    }

    fn reasons(status: u16, body: &str, tokens: &[&str]) -> Vec<Reason> {
        outcomes(status, body, tokens).into_iter().map(|outcome| outcome.reason).collect()
    }

    #[test]
    fn every_code_of_the_document() {
        use Reason::{
            Accepted, CertificateRefused, PayloadRefused, RateLimited, TokenMalformed, Unrecognised, VendorFault,
        };
        for (code, expected, is_suspect) in [
            ("80000000", Accepted, false),
            ("80100001", PayloadRefused, true),
            ("80100002", PayloadRefused, true),
            ("80100003", PayloadRefused, true),
            ("80100004", PayloadRefused, true),
            ("80100013", PayloadRefused, true),
            ("80100016", PayloadRefused, false),
            ("80100017", RateLimited, false),
            ("80100018", PayloadRefused, true),
            ("80200001", CertificateRefused, false),
            ("80200003", CertificateRefused, false),
            ("80200005", CertificateRefused, false),
            ("80300002", PayloadRefused, true),
            ("80300007", TokenMalformed, true),
            ("80300008", PayloadRefused, false),
            ("80300010", PayloadRefused, true),
            ("80300011", PayloadRefused, true),
            ("80300013", PayloadRefused, true),
            ("80600003", VendorFault, true),
            ("81000001", VendorFault, false),
            ("82000001", Unrecognised, false),
            ("80999999", Unrecognised, false),
        ] {
            // The status of business errors is not documented: a documented code decides under any.
            let statuses: &[u16] = if expected == Unrecognised { &[200, 400] } else { &[200, 400, 401, 503] };
            for &status in statuses {
                for body in
                    [format!(r#"{{"code":"{code}","msg":"x","requestId":"1"}}"#), format!(r#"{{"code":{code}}}"#)]
                {
                    for outcome in outcomes(status, &body, &["a", "b"]) {
                        assert_eq!((outcome.reason, outcome.is_suspect), (expected, is_suspect), "{status} {body}");
                        assert_eq!(outcome.vendor_code.as_deref(), Some(code), "the raw code is kept");
                    }
                }
            }
        }
    }

    #[test]
    fn a_refused_access_token_may_be_replaced() {
        let verdict = |status, body: &str| classify(&reply(status, body), &targets(&["a"])).token;
        for code in ["80200001", "80200003", "80200005"] {
            assert_eq!(verdict(401, &format!(r#"{{"code":"{code}"}}"#)), Verdict::Refused);
        }
        assert_eq!(verdict(401, ""), Verdict::Refused);
        assert_eq!(verdict(401, r#"{"code":"1"}"#), Verdict::Refused);
        assert_eq!(verdict(200, r#"{"code":"80600003"}"#), Verdict::Doubtful);
        for (status, body) in [(200, r#"{"code":"80000000"}"#), (200, r#"{"code":"80300002"}"#), (403, "")] {
            assert_eq!(verdict(status, body), Verdict::Fine, "{status} {body}");
        }
    }

    #[test]
    fn the_worked_answers() {
        let success = r#"{"code":"80000000","msg":"Success","requestId":"157440955549500001002006"}"#;
        let all = outcomes(200, success, &["T1", "T2"]);
        assert!(all.iter().all(|outcome| outcome.reason == Reason::Accepted));
        assert_eq!(all[1].vendor_message_id.as_deref(), Some("157440955549500001002006"));
        let partial = r#"{"code":"80100000","msg":"{\"success\":1,\"failure\":1,\"illegal_tokens\":[\"T2\"]}","requestId":"157440955549500001002007"}"#;
        let each = outcomes(200, partial, &["T1", "T2"]);
        assert_eq!([each[0].reason, each[1].reason], [Reason::Accepted, Reason::TokenGone]);
        assert_eq!(each[0].vendor_message_id.as_deref(), Some("157440955549500001002007"));
        let partial = r#"{"code":"80100000","msg":"{\"success\":3,\"failure\":1,\"illegal_tokens\":[\"TOKEN4\"]}","requestId":"..."}"#;
        let expected = [Reason::Accepted, Reason::Accepted, Reason::Accepted, Reason::TokenGone];
        assert_eq!(reasons(200, partial, &["TOKEN1", "TOKEN2", "TOKEN3", "TOKEN4"]), expected);
        for (body, expected) in [
            (
                r#"{"code":"80200003","msg":"Oauth Token expired","requestId":"157440955549500001002008"}"#,
                Reason::CertificateRefused,
            ),
            (
                r#"{"code":"80300007","msg":"All the tokens are invalid","requestId":"157440955549500001002009"}"#,
                Reason::TokenMalformed,
            ),
            (
                r#"{"code":"80100003","msg":"Illegal payload, ttl format error","requestId":"157440955549500001002010"}"#,
                Reason::PayloadRefused,
            ),
        ] {
            assert_eq!(reasons(200, body, &["T1", "T2"]), [expected, expected]);
        }
    }

    #[test]
    fn a_list_that_names_all_hints_at_the_certificate() {
        let body = r#"{"code":"80100000","msg":"{\"success\":0,\"failure\":1,\"illegal_tokens\":[\"T1\"]}"}"#;
        let outcome = &outcomes(200, body, &["T1"])[0];
        assert_eq!((outcome.reason, outcome.is_suspect), (Reason::TokenMalformed, true));
    }

    #[test]
    fn odd_shapes_and_statuses() {
        for (status, body, expected) in [
            (200, "", Reason::VendorFault),
            (200, "[]", Reason::VendorFault),
            (200, "<html>", Reason::VendorFault),
            (200, r#"{"code":"800"#, Reason::VendorFault),
            (200, r#"{"code":null}"#, Reason::VendorFault),
            (200, r#"{"code":"80100000","msg":"some are bad"}"#, Reason::Unrecognised),
            (200, r#"{"code":"80100000"}"#, Reason::Unrecognised),
            (400, "", Reason::PayloadRefused),
            (401, "", Reason::CertificateRefused),
            (403, "", Reason::CertificateRefused),
            (404, "<html>", Reason::CertificateRefused),
            (429, "", Reason::RateLimited),
            (500, "", Reason::VendorFault),
            (502, "<html>", Reason::VendorFault),
            (503, "", Reason::RateLimited),
            (504, "", Reason::VendorFault),
            (302, "", Reason::Unrecognised),
        ] {
            assert_eq!(reasons(status, body, &["a", "b"]), [expected, expected], "{status} {body}");
        }
        for (status, expected) in [
            (401, Reason::CertificateRefused),
            (429, Reason::RateLimited),
            (500, Reason::VendorFault),
            (503, Reason::RateLimited),
        ] {
            let outcome = &outcomes(status, r#"{"code":"77","msg":"flow control"}"#, &["a"])[0];
            assert_eq!(outcome.reason, expected, "{status}");
            assert_eq!(outcome.vendor_code, Some(format!("77 HTTP {status}")), "both are kept");
        }
        let mut busy = reply(503, "");
        busy.headers.insert(reqwest::header::RETRY_AFTER, 7.into());
        let outcome = &classify(&busy, &targets(&["a"])).outcomes[0];
        assert_eq!(outcome.retry_after, Some(std::time::Duration::from_secs(7)));
    }
}

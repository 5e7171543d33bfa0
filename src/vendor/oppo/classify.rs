//! Answers of a send: one row per code of the vendor's table, for the whole call and for single messages of a batch.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use crate::vendor::call::{Answered, Verdict, by_status};
use crate::vendor::http::Reply;
use crate::vendor::outcome::{Outcome, Progress, Reason};
use crate::vendor::{Target, lenient};

/// The envelope. Business errors come with HTTP 200 too.
#[derive(Deserialize)]
struct Answer {
    #[serde(deserialize_with = "lenient::number")]
    code: i64,
    #[serde(default, deserialize_with = "lenient::optional_text")]
    message: Option<String>,
    /// An object for one message, an array for a batch; null or absent on errors.
    #[serde(default)]
    data: Value,
}

/// One message of a batch.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    registration_id: String,
    #[serde(default, deserialize_with = "lenient::optional_text")]
    message_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional_text")]
    error_code: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional_text")]
    error_message: Option<String>,
}

/// One outcome per target. Pure.
pub(super) fn classify(reply: &Reply, targets: &[Target]) -> Answered {
    if !reply.status.is_success() {
        let token = if matches!(reply.status.as_u16(), 401 | 403) { Verdict::Refused } else { Verdict::Fine };
        return Answered::all(&by_status(reply, &[]), targets).with(token);
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(&reply.body) else {
        return Answered::all(&Outcome::new(Reason::VendorFault).with_code("answer is not OPPO's JSON"), targets);
    };
    let for_code = |code: i64, message: Option<&str>| {
        let mut outcome = of_code(code, message);
        outcome.retry_after = reply.retry_after();
        outcome
    };
    if answer.code != 0 {
        let mut outcome = for_code(answer.code, answer.message.as_deref());
        // A bad registration id (also told as 41, "invalid argument", in words that are not stable), or a message that was
        // sent before, refuses the whole call: which one is not said.
        if matches!(answer.code, 32 | 41 | 10_000) {
            outcome.progress = Progress::RefusedForOne;
        }
        let token = if matches!(answer.code, 11 | 29) { Verdict::Refused } else { Verdict::Fine };
        return Answered::all(&outcome, targets).with(token);
    }
    let items = items(&answer.data);
    let accepted = |message_id: Option<String>| {
        let mut outcome = Outcome::new(Reason::Accepted).with_code("0");
        outcome.vendor_message_id = message_id;
        outcome
    };
    let of_target = |target: &Target| match items.get(target.token.as_str()) {
        Some(Item { error_code: Some(code), error_message, .. }) if code != "0" => match code.parse() {
            Ok(number) => for_code(number, error_message.as_deref()),
            Err(_) => Outcome::new(Reason::Unrecognised).with_code(code.as_str()),
        },
        Some(item) => accepted(item.message_id.clone()),
        None if targets.len() == 1 => accepted(message_id(&answer.data)),
        // A second copy does no harm: it has the same `app_message_id`.
        None => Outcome::new(Reason::Unrecognised).with_code("0 without an entry for this message"),
    };
    Answered::each(targets.iter().map(of_target).collect())
}

/// The messages of a batch by registration id: their order is not promised.
fn items(data: &Value) -> HashMap<String, Item> {
    let items = data.as_array().into_iter().flatten();
    let read = |item: &Value| serde_json::from_value::<Item>(item.clone()).ok();
    items.filter_map(read).map(|item| (item.registration_id.clone(), item)).collect()
}

/// `messageId` for one message; other calls of OPPO spell it differently.
fn message_id(data: &Value) -> Option<String> {
    let named = data.get("messageId").or_else(|| data.get("message_id"))?;
    named.as_str().map(str::to_owned)
}

fn of_code(code: i64, message: Option<&str>) -> Outcome {
    let message = message.unwrap_or_default().to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let (reason, is_suspect) = match code {
        -1 => (Reason::VendorFault, false),
        -2 | 13 | 55 => (Reason::RateLimited, false),
        11 | 14..=19 | 26..=30 => (Reason::CertificateRefused, false),
        33 => (Reason::QuotaSpent, false),
        // The message was sent before, by an attempt whose answer was lost or not recorded: its key is the delivery's id, which
        // no other message has.
        32 => (Reason::Accepted, false),
        // Any bad argument; live servers also say so of a registration id.
        41 if says(&["registration_id", "registrationid", "registration id"]) => (Reason::TokenMalformed, true),
        56..=58 if says(&["limit", "frequen", "频", "限"]) => (Reason::RateLimited, false),
        // Also for the ids of another region: unbound only while others are accepted.
        10_000 => (Reason::TokenMalformed, true),
        // Class, template and rights are the certificate's; methods and encoding are ours.
        12 | 20..=25 | 54 | 59 | 67 => (Reason::PayloadRefused, true),
        31 | 34 | 40 | 41 | 51 | 56..=58 | 10_001..=20_000 => (Reason::PayloadRefused, false),
        _ => (Reason::Unrecognised, false),
    };
    let mut outcome = Outcome::new(reason).with_code(code.to_string());
    outcome.is_suspect = is_suspect;
    outcome.blames_options = matches!(code, 54 | 59 | 67);
    outcome
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vendor::testing::{reply, targets};

    const A: &str = "CN_00000000000000000000000000000001";
    const B: &str = "CN_00000000000000000000000000000002";

    fn first(status: u16, body: &str) -> Outcome {
        classify(&reply(status, body), &targets(&[A])).outcomes.remove(0)
    }

    #[test]
    fn every_code_of_the_document() {
        use Reason::{
            Accepted, CertificateRefused, PayloadRefused, QuotaSpent, RateLimited, TokenMalformed, Unrecognised,
            VendorFault,
        };
        let table: [(Reason, bool, &[i64]); 9] = [
            (Accepted, false, &[0, 32]),
            (VendorFault, false, &[-1]),
            (RateLimited, false, &[-2, 13, 55]),
            (CertificateRefused, false, &[11, 14, 15, 16, 17, 18, 19, 26, 27, 28, 29, 30]),
            (QuotaSpent, false, &[33]),
            (PayloadRefused, true, &[12, 20, 21, 22, 23, 24, 25, 54, 59, 67]),
            (PayloadRefused, false, &[31, 34, 40, 41, 51, 56, 57, 58, 10_001, 10_007, 20_000]),
            (TokenMalformed, true, &[10_000]),
            (Unrecognised, false, &[1, 68, 20_001, 987_654]),
        ];
        for (expected, is_suspect, codes) in table {
            for code in codes {
                for body in [json!({"code": code, "message": "x", "data": null}), json!({"code": code.to_string()})] {
                    let outcome = first(200, &body.to_string());
                    assert_eq!((outcome.reason, outcome.is_suspect), (expected, is_suspect), "{code}");
                    assert_eq!(outcome.vendor_code, Some(code.to_string()), "the raw code is kept");
                }
            }
        }
    }

    #[test]
    fn codes_that_mean_two_things_are_judged_by_their_place() {
        let of = |code: i64, message: &str| first(200, &json!({"code": code, "message": message}).to_string()).reason;
        assert_eq!(of(41, "Invalid Arguments: registration_id"), Reason::TokenMalformed);
        assert_eq!(of(41, "title too long"), Reason::PayloadRefused);
        assert_eq!(of(58, "push frequency limit"), Reason::RateLimited);
        assert_eq!(of(57, "应用推送限制"), Reason::RateLimited);
        assert_eq!(of(56, "x"), Reason::PayloadRefused);
    }

    #[test]
    fn a_refused_access_token_may_be_replaced() {
        let verdict = |status, body: &str| classify(&reply(status, body), &targets(&[A, B])).token;
        for (status, body, expected) in [
            (200, r#"{"code":11}"#, Verdict::Refused),
            (200, r#"{"code":29}"#, Verdict::Refused),
            (401, "", Verdict::Refused),
            (403, "", Verdict::Refused),
            (200, r#"{"code":41}"#, Verdict::Fine),
            (200, r#"{"code":14}"#, Verdict::Fine),
            (500, "", Verdict::Fine),
        ] {
            assert_eq!(verdict(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn what_one_message_did_to_the_whole_call() {
        for (body, is_for_one) in [
            (r#"{"code":10000}"#, true),
            (r#"{"code":41,"message":"bad registration_id"}"#, true),
            (r#"{"code":32}"#, true),
            (r#"{"code":41}"#, true),
            (r#"{"code":33}"#, false),
            (r#"{"code":40}"#, false),
        ] {
            let outcomes = classify(&reply(200, body), &targets(&[A, B])).outcomes;
            assert!(outcomes.iter().all(|outcome| outcome.is_for_one() == is_for_one), "{body}");
        }
    }

    #[test]
    fn each_message_of_a_batch_has_its_own_outcome() {
        let body = json!({"code": 0, "message": "", "data": [
            {"messageId": "m2", "registrationId": B, "errorCode": 10_000, "errorMessage": "bad"},
            {"messageId": "m1", "registrationId": A}]});
        let outcomes = classify(&reply(200, &body.to_string()), &targets(&[A, B])).outcomes;
        assert_eq!([outcomes[0].reason, outcomes[1].reason], [Reason::Accepted, Reason::TokenMalformed]);
        assert_eq!(outcomes[0].vendor_message_id.as_deref(), Some("m1"));
        assert_eq!(outcomes[1].vendor_code.as_deref(), Some("10000"));
        let odd = json!({"code": 0, "data": [{"registrationId": A, "errorCode": "33"}, {"registrationId": B, "errorCode": 0},
            "nonsense", {"registrationId": 5}]});
        let outcomes = classify(&reply(200, &odd.to_string()), &targets(&[A, B])).outcomes;
        assert_eq!([outcomes[0].reason, outcomes[1].reason], [Reason::QuotaSpent, Reason::Accepted]);
        for data in [json!(null), json!({"messageId": "m"}), json!([{"messageId": "m1", "registrationId": A}])] {
            let body = json!({"code": 0, "data": data}).to_string();
            let told = &classify(&reply(200, &body), &targets(&[A, B])).outcomes[1];
            assert_eq!(told.reason, Reason::Unrecognised, "{body}: nobody knows about B");
        }
    }

    #[test]
    fn the_worked_answers() {
        let success =
            r#"{"code":0,"message":"","data":{"messageId":"ZngnvJIM7wQusNtbqYnpH6XX-1-1-622ff7cfae27668d2ed3afec"}}"#;
        let outcome = first(200, success);
        assert_eq!(outcome.reason, Reason::Accepted);
        let id = "ZngnvJIM7wQusNtbqYnpH6XX-1-1-622ff7cfae27668d2ed3afec";
        assert_eq!(outcome.vendor_message_id.as_deref(), Some(id));
        for (body, expected) in [
            (r#"{"code":10000,"message":"registration_id格式不正确"}"#, Reason::TokenMalformed),
            (r#"{"code":11,"message":"Invalid AuthToken"}"#, Reason::CertificateRefused),
            (r#"{"code":33,"message":"The number of messages exceeds the daily limit"}"#, Reason::QuotaSpent),
            (r#"{"code":54,"message":"private_msg_template_id is null"}"#, Reason::PayloadRefused),
        ] {
            assert_eq!(first(200, body).reason, expected, "{body}");
        }
    }

    #[test]
    fn odd_shapes_and_statuses() {
        for (status, body, expected) in [
            (200, "", Reason::VendorFault),
            (200, "<html>", Reason::VendorFault),
            (200, r#"{"code":"#, Reason::VendorFault),
            (200, r#"{"message":"x"}"#, Reason::VendorFault),
            (200, r#"{"code":0}"#, Reason::Accepted),
            (200, r#"{"code":0,"data":{"message_id":"m"}}"#, Reason::Accepted),
            (401, "", Reason::CertificateRefused),
            (404, "", Reason::PayloadRefused),
            (429, "", Reason::RateLimited),
            (503, "<html>", Reason::VendorFault),
        ] {
            assert_eq!(first(status, body).reason, expected, "{status} {body}");
        }
    }
}

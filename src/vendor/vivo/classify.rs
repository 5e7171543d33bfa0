//! Answers of a send, a stored list and a send to a list: one table of codes, and one of what is said of a single device.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use crate::vendor::call::{Answered, Verdict, by_status};
use crate::vendor::http::Reply;
use crate::vendor::outcome::{Outcome, Progress, Reason};
use crate::vendor::{QuotaReset, Target, lenient};

/// The envelope. Business errors come with HTTP 200 too.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(deserialize_with = "lenient::number")]
    result: i64,
    #[serde(default, deserialize_with = "lenient::optional_text")]
    task_id: Option<String>,
    /// Of a single send; one object, read whatever `result` is.
    #[serde(default)]
    invalid_user: Value,
    /// Of a list.
    #[serde(default)]
    invalid_users: Value,
}

/// A device that did not get the message.
#[derive(Deserialize)]
struct InvalidUser {
    #[serde(deserialize_with = "lenient::number")]
    status: i64,
    #[serde(deserialize_with = "lenient::text")]
    userid: String,
}

/// A message that could not be stored for a list.
#[derive(Debug)]
pub(super) struct NotStored {
    pub outcome: Outcome,
    pub token: Verdict,
    /// No list can be stored any more today.
    pub is_list_quota: bool,
}

/// `regId` is invalid.
const INVALID: i64 = 10_302;
const NO_TOKEN: i64 = 10_000;
const NO_LIST_LEFT: i64 = 10_252;

/// The outcome of a single send. Pure.
pub(super) fn single(reply: &Reply, targets: &[Target], is_test: bool) -> Answered {
    let answer = match read(reply) {
        Ok(answer) => answer,
        Err(outcome) => return Answered::all(&outcome, targets).with(token_verdict(reply, None)),
    };
    let outcome = match serde_json::from_value::<InvalidUser>(answer.invalid_user.clone()) {
        Ok(user) => of_device(answer.result, user.status),
        Err(_) => of_call(reply, &answer, is_test),
    };
    Answered::all(&outcome, targets).with(token_verdict(reply, Some(answer.result)))
}

/// One outcome per target of a list that was sent to under `task_id`. Pure.
pub(super) fn list(reply: &Reply, task_id: &str, targets: &[Target], is_test: bool) -> Answered {
    let answer = match read(reply) {
        Ok(answer) => answer,
        Err(outcome) => return Answered::all(&outcome, targets).with(token_verdict(reply, None)),
    };
    let mut whole_call = of_call(reply, &answer, is_test);
    if whole_call.reason == Reason::Accepted {
        whole_call.vendor_message_id.get_or_insert_with(|| task_id.to_owned());
    }
    let invalid: HashMap<String, i64> = match answer.invalid_users {
        Value::Array(users) => users
            .into_iter()
            .filter_map(|user| serde_json::from_value::<InvalidUser>(user).ok())
            .map(|user| (user.userid, user.status))
            .collect(),
        _ => HashMap::new(),
    };
    if is_for_one(answer.result) {
        // The list was refused for one device, or for those that are named: the others did nothing wrong.
        let is_any_named = targets.iter().any(|target| invalid.contains_key(&target.token));
        whole_call = if is_any_named {
            Outcome::put_back()
        } else {
            Outcome { progress: Progress::RefusedForOne, ..whole_call }
        };
    }
    let for_target = |target: &Target| match invalid.get(&target.token) {
        Some(status) => of_device(answer.result, *status),
        None => whole_call.clone(),
    };
    Answered::each(targets.iter().map(for_target).collect()).with(token_verdict(reply, Some(answer.result)))
}

/// Codes of a list that only one of its devices can be the reason of: an id that is invalid, missing or too long (the texts
/// were taken when they were stored), or that had enough for the day.
fn is_for_one(result: i64) -> bool {
    matches!(result, INVALID | 10_050..=10_069 | 10_073)
}

/// The id under which a message was stored for a list.
pub(super) fn stored(reply: &Reply) -> Result<String, NotStored> {
    let failed = |outcome, result| {
        let is_list_quota = result == Some(NO_LIST_LEFT);
        // The devices are sent to one by one instead.
        let outcome = if is_list_quota { Outcome::put_back() } else { outcome };
        NotStored { outcome, token: token_verdict(reply, result), is_list_quota }
    };
    let answer = read(reply).map_err(|outcome| failed(outcome, None))?;
    match of_call(reply, &answer, false) {
        Outcome { reason: Reason::Accepted, vendor_message_id: Some(task_id), .. } => Ok(task_id),
        Outcome { reason: Reason::Accepted, .. } => {
            Err(failed(Outcome::new(Reason::VendorFault).with_code("list stored without taskId"), Some(0)))
        }
        outcome => Err(failed(outcome, Some(answer.result))),
    }
}

fn read(reply: &Reply) -> Result<Answer, Outcome> {
    if !reply.status.is_success() {
        return Err(by_status(reply, &[]));
    }
    let foreign = |_| Outcome::new(Reason::VendorFault).with_code("answer is not vivo's JSON");
    serde_json::from_slice(&reply.body).map_err(foreign)
}

fn token_verdict(reply: &Reply, result: Option<i64>) -> Verdict {
    let is_refused = match result {
        Some(result) => result == NO_TOKEN,
        None => matches!(reply.status.as_u16(), 401 | 403),
    };
    if is_refused { Verdict::Refused } else { Verdict::Fine }
}

/// `is_test`: test messages go out to registered devices only, so an id that is invalid says nothing of the token.
fn of_call(reply: &Reply, answer: &Answer, is_test: bool) -> Outcome {
    let (reason, is_suspect) = match answer.result {
        INVALID if is_test => (Reason::PayloadRefused, true),
        result => by_code(result),
    };
    let mut outcome = Outcome::new(reason).with_code(answer.result.to_string());
    outcome.is_suspect = is_suspect;
    outcome.blames_options = matches!(answer.result, 10_096 | 10_097);
    outcome.retry_after = reply.retry_after();
    match answer.result {
        0 => outcome.vendor_message_id.clone_from(&answer.task_id),
        // Operations messages go out from 7 to 23 h.
        10_071 => outcome.quota_reset = Some(QuotaReset::ChinaHour(7)),
        // About lists, not about the rate.
        NO_LIST_LEFT => outcome.spares_lane = true,
        _ => {}
    }
    outcome
}

/// The reason for a code, and whether it hints at a wrong configuration.
fn by_code(code: i64) -> (Reason, bool) {
    match code {
        0 => (Reason::Accepted, false),
        NO_TOKEN | 10_043 | 10_045 | 10_094 | 10_200..=10_207 => (Reason::CertificateRefused, false),
        10_040 | 10_072 | 10_093 | NO_LIST_LEFT => (Reason::RateLimited, false),
        10_070 | 10_071 | 10_254 => (Reason::QuotaSpent, false),
        10_073 => (Reason::RecipientLimited, false),
        10_102 => (Reason::VendorFault, false),
        // Without the object that says why: dead, or the app may send to test devices only.
        INVALID => (Reason::TokenMalformed, true),
        // Class and request id are the certificate's and ours.
        10_096 | 10_097 | 10_303 | 10_304 => (Reason::PayloadRefused, true),
        // The texts (10050 to 10069), what the audit thinks of them (10101, 10103, 10104), an alias (10307), and by the
        // document's rule whatever else has five digits and begins with 10.
        10_001..=10_999 => (Reason::PayloadRefused, false),
        _ => (Reason::Unrecognised, false),
    }
}

/// What is said of one device.
fn of_device(result: i64, status: i64) -> Outcome {
    let (reason, is_suspect) = match status {
        1 | 2 => (Reason::TokenGone, false),
        // Long offline, by older texts only: it takes messages again when the app reports its token.
        3 => (Reason::Muted, false),
        // Not a test device: the app is in review, or the certificate in test mode. Never the token's fault.
        4 => (Reason::PayloadRefused, true),
        _ => (Reason::Unrecognised, false),
    };
    let mut outcome = Outcome::new(reason).with_code(format!("{result} status {status}"));
    outcome.is_suspect = is_suspect;
    outcome
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vendor::testing::{reply, targets};

    const ID: &str = "v2-CR000000000000000000000000000000000000000000000000000001";

    fn outcome(status: u16, body: &str) -> Outcome {
        single(&reply(status, body), &targets(&[ID]), false).outcomes.remove(0)
    }

    #[test]
    fn every_code_of_the_document() {
        use Reason::{
            Accepted, CertificateRefused, PayloadRefused, QuotaSpent, RateLimited, RecipientLimited, TokenMalformed,
            Unrecognised, VendorFault,
        };
        let table: [(Reason, bool, &[i64]); 11] = [
            (Accepted, false, &[0]),
            (
                CertificateRefused,
                false,
                &[10_000, 10_043, 10_045, 10_094, 10_200, 10_201, 10_202, 10_203, 10_204, 10_205, 10_206, 10_207],
            ),
            (RateLimited, false, &[10_040, 10_072, 10_093, 10_252]),
            (QuotaSpent, false, &[10_070, 10_071, 10_254]),
            (RecipientLimited, false, &[10_073]),
            (VendorFault, false, &[10_102]),
            (TokenMalformed, true, &[10_302]),
            (
                PayloadRefused,
                false,
                &[10_050, 10_054, 10_055, 10_056, 10_057, 10_058, 10_059, 10_060, 10_066, 10_067, 10_069, 10_101],
            ),
            (PayloadRefused, false, &[10_103, 10_104, 10_307, 10_088, 10_089, 10_999]),
            (PayloadRefused, true, &[10_096, 10_097, 10_303, 10_304]),
            (Unrecognised, false, &[1, 9_999, 20_000, 987_654]),
        ];
        for (expected, is_suspect, codes) in table {
            for code in codes {
                for body in [json!({"result": code, "desc": "x"}), json!({"result": code.to_string()})] {
                    let outcome = outcome(200, &body.to_string());
                    assert_eq!((outcome.reason, outcome.is_suspect), (expected, is_suspect), "{code}");
                    assert_eq!(outcome.vendor_code, Some(code.to_string()), "the raw code is kept");
                }
            }
        }
        assert_eq!(outcome(200, r#"{"result":10071}"#).quota_reset, Some(QuotaReset::ChinaHour(7)));
        assert_eq!(outcome(200, r#"{"result":10070}"#).quota_reset, None);
        assert!(outcome(200, r#"{"result":10252}"#).spares_lane);
    }

    #[test]
    fn what_is_said_of_a_device_beats_the_code() {
        for (status, expected, is_suspect) in [
            (1, Reason::TokenGone, false),
            (2, Reason::TokenGone, false),
            (3, Reason::Muted, false),
            (4, Reason::PayloadRefused, true),
            (9, Reason::Unrecognised, false),
        ] {
            for result in [10_302, 0] {
                let body = json!({"result": result, "invalidUser": {"status": status, "userid": ID}}).to_string();
                let outcome = outcome(200, &body);
                assert_eq!((outcome.reason, outcome.is_suspect), (expected, is_suspect), "{body}");
                assert_eq!(outcome.vendor_code, Some(format!("{result} status {status}")));
            }
            let body = json!({"result": 0, "taskId": "7", "invalidUsers": [{"status": status, "userid": ID}]});
            let outcomes = list(&reply(200, &body.to_string()), "7", &targets(&["other", ID]), false).outcomes;
            assert_eq!([outcomes[0].reason, outcomes[1].reason], [Reason::Accepted, expected], "{body}");
        }
    }

    #[test]
    fn a_list_that_one_device_refused_blames_no_other() {
        for (code, reason) in [
            (10_302, Reason::TokenMalformed),
            (10_073, Reason::RecipientLimited),
            (10_050, Reason::PayloadRefused),
            (10_069, Reason::PayloadRefused),
        ] {
            let body = json!({"result": code, "desc": "x"});
            let outcomes = list(&reply(200, &body.to_string()), "7", &targets(&["a", ID]), false).outcomes;
            assert!(outcomes.iter().all(|outcome| outcome.is_for_one() && outcome.reason == reason), "{code}");
            let named = json!({"result": code, "invalidUsers": [{"status": 2, "userid": ID}]}).to_string();
            let outcomes = list(&reply(200, &named), "7", &targets(&["a", ID]), false).outcomes;
            assert_eq!((outcomes[0].progress, outcomes[1].reason), (Progress::PutBack, Reason::TokenGone), "{code}");
        }
        let body = r#"{"result":10072}"#;
        let outcomes = list(&reply(200, body), "7", &targets(&["a", ID]), false).outcomes;
        assert!(outcomes.iter().all(|outcome| !outcome.is_for_one() && outcome.reason == Reason::RateLimited));
    }

    #[test]
    fn an_invalid_id_says_nothing_in_test_mode() {
        let body = r#"{"result":10302}"#;
        let told = |is_test| single(&reply(200, body), &targets(&[ID]), is_test).outcomes.remove(0);
        assert_eq!((told(false).reason, told(false).is_suspect), (Reason::TokenMalformed, true));
        assert_eq!((told(true).reason, told(true).is_suspect), (Reason::PayloadRefused, true));
        let listed = list(&reply(200, body), "7", &targets(&["a", ID]), true).outcomes;
        assert_eq!(listed[0].reason, Reason::PayloadRefused);
    }

    #[test]
    fn the_worked_answers() {
        let accepted = outcome(200, r#"{"result":0,"desc":"请求成功","taskId":"121397329"}"#);
        assert_eq!((accepted.reason, accepted.vendor_message_id.as_deref()), (Reason::Accepted, Some("121397329")));
        for (status, body, expected) in [
            (
                200,
                r#"{"result":10302,"desc":"regId不合法","invalidUser":{"status":2,"userid":"v2-CR000000000000000000000000000000000000000000000000000001"}}"#,
                Reason::TokenGone,
            ),
            (200, r#"{"result":10000,"desc":"权限认证失败"}"#, Reason::CertificateRefused),
            (200, r#"{"result":10070,"desc":"发送总量超出限制"}"#, Reason::QuotaSpent),
            (200, r#"{"result":10045,"desc":"应用审核中不可发送正式消息"}"#, Reason::CertificateRefused),
            (500, "Internet server error!", Reason::VendorFault),
        ] {
            assert_eq!(outcome(status, body).reason, expected, "{body}");
        }
    }

    #[test]
    fn a_refused_token_may_be_replaced() {
        let verdict = |status, body: &str| single(&reply(status, body), &targets(&[ID]), false).token;
        for (status, body) in [(200, r#"{"result":10000}"#), (401, ""), (403, "")] {
            assert_eq!(verdict(status, body), Verdict::Refused, "{status} {body}");
            assert_eq!(stored(&reply(status, body)).unwrap_err().token, Verdict::Refused);
            assert_eq!(list(&reply(status, body), "7", &targets(&[ID]), false).token, Verdict::Refused);
        }
        assert_eq!(verdict(200, r#"{"result":10094}"#), Verdict::Fine);
    }

    #[test]
    fn a_list_is_stored_under_its_task_id() {
        assert_eq!(stored(&reply(200, r#"{"result":0,"desc":"","taskId":"77"}"#)).unwrap(), "77");
        let refused = |status, body: &str| stored(&reply(status, body)).unwrap_err();
        assert!(refused(200, r#"{"result":10252}"#).is_list_quota);
        assert_eq!(refused(200, r#"{"result":0}"#).outcome.reason, Reason::VendorFault);
        assert_eq!(refused(200, r#"{"result":10096}"#).outcome.reason, Reason::PayloadRefused);
        let sent = &list(&reply(200, r#"{"result":0}"#), "77", &targets(&[ID]), false).outcomes[0];
        assert_eq!(sent.vendor_message_id.as_deref(), Some("77"));
    }

    #[test]
    fn odd_shapes_and_statuses() {
        for (status, body, expected) in [
            (200, "", Reason::VendorFault),
            (200, "<html>", Reason::VendorFault),
            (200, r#"{"result":"#, Reason::VendorFault),
            (200, r#"{"desc":"x"}"#, Reason::VendorFault),
            (200, r#"{"result":0,"invalidUser":null,"invalidUsers":null}"#, Reason::Accepted),
            (401, "", Reason::CertificateRefused),
            (404, "", Reason::PayloadRefused),
            (429, "", Reason::RateLimited),
            (502, "<html>", Reason::VendorFault),
        ] {
            assert_eq!(outcome(status, body).reason, expected, "{status} {body}");
        }
        let numeric = json!({"result": 0, "invalidUsers": [{"status": "2", "userid": 5}]}).to_string();
        assert_eq!(list(&reply(200, &numeric), "7", &targets(&["5"]), false).outcomes[0].reason, Reason::TokenGone);
    }
}

//! The token endpoint: OAuth client credentials against an opaque access token (document, A2).

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use super::answer;
use super::wire::Huawei;
use crate::simulator::text::are_digits;
use crate::simulator::wire::{Answer, Request};

/// The main code of all documented errors.
const MAIN_CODE: &str = "1101";
/// Flow control has an HTTP status and no code.
const BUSY: u32 = 503;
/// A convention: the document has no sub code for a request that is no form, or asks for another grant.
const BAD_FORM: u32 = 20_001;

/// A refused grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denial {
    sub_error: u32,
    rule: &'static str,
}

impl Denial {
    pub(super) const fn new(sub_error: u32, rule: &'static str) -> Self {
        Self { sub_error, rule }
    }

    pub(super) const fn busy(rule: &'static str) -> Self {
        Self::new(BUSY, rule)
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    error: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_error: Option<Value>,
    error_description: &'a str,
}

/// Answers `POST /oauth2/v2|v3/token`.
pub(super) fn answer(huawei: &Huawei, request: &Request) -> Answer {
    grant(huawei, request).unwrap_or_else(|denial| {
        let answer = match denial.sub_error {
            BUSY => answer::busy(),
            sub => failure(MAIN_CODE, Some(&sub.to_string()), denial.rule),
        };
        Answer { broken_rule: Some(denial.rule), ..answer }
    })
}

fn grant(huawei: &Huawei, request: &Request) -> Result<Answer, Denial> {
    if !request.is_form() {
        return Err(Denial::new(BAD_FORM, "the content type is not a form in UTF-8"));
    }
    let form = request.form().map_err(|_| Denial::new(BAD_FORM, "the body is not a form in UTF-8"))?;
    if form.get("grant_type") != Some("client_credentials") {
        return Err(Denial::new(BAD_FORM, "grant_type is not client_credentials"));
    }
    let client_id = form.get("client_id").unwrap_or_default();
    if client_id.len() > 64 || !are_digits(client_id) {
        return Err(Denial::new(20_002, "the client id is not 1 to 64 digits"));
    }
    let secret = form.filled("client_secret").ok_or(Denial::new(20_171, "the client secret is empty"))?;
    let mut accounts = huawei.accounts();
    accounts.check_client(client_id, secret)?;
    accounts.take_grant(client_id, request.at_ms)?;
    drop(accounts);

    let token = opaque();
    huawei.access_tokens.grant_for(&token, client_id, request.at_ms, huawei.token_lifetime);
    // A slash may be escaped in JSON, and here it is: a reader must undo it.
    let token = token.replace('/', "\\/");
    let expires_in = huawei.token_lifetime.as_secs();
    let body = format!(r#"{{"access_token":"{token}","expires_in":{expires_in},"token_type":"Bearer"}}"#);
    Ok(json(StatusCode::OK, "200", body.into_bytes()))
}

/// The error answer with any code: `1101/12304`, a sub code of the document alone, or any main code.
pub(super) fn refuse(code: &str, reason: Option<&str>) -> Answer {
    let (main, sub) = match (code.split_once('/'), code) {
        (Some((main, sub)), _) => (main, Some(sub)),
        (None, "12304" | "20001" | "20002" | "20003" | "20171") => (MAIN_CODE, Some(code)),
        (None, MAIN_CODE) => (MAIN_CODE, Some("12304")),
        (None, other) => (other, None),
    };
    failure(main, sub, reason.unwrap_or("request refused"))
}

fn failure(main: &str, sub: Option<&str>, description: &str) -> Answer {
    let number = |code: &str| code.parse::<i64>().map_or_else(|_| Value::from(code), Value::from);
    let body = Failure { error: number(main), sub_error: sub.map(number), error_description: description };
    let code = sub.map_or_else(|| main.to_owned(), |sub| format!("{main}/{sub}"));
    // Numbers and texts always serialise.
    json(StatusCode::BAD_REQUEST, &code, serde_json::to_vec(&body).unwrap_or_default())
}

fn json(status: StatusCode, code: &str, body: Vec<u8>) -> Answer {
    Answer {
        status,
        content_type: Some("application/json;charset=UTF-8"),
        headers: vec![("cache-control", "no-store".to_owned())],
        body,
        code: code.to_owned().into(),
        ..Answer::default()
    }
}

/// An access token with the characters that break careless readers: `/` and `=`.
fn opaque() -> String {
    let bytes: [u8; 32] = rand::random();
    format!("DAEAA/{}", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_tokens_differ_and_hold_a_slash_and_an_equals_sign() {
        let (first, second) = (opaque(), opaque());
        assert_ne!(first, second);
        assert!(first.contains('/') && first.ends_with('='), "{first}");
    }

    #[test]
    fn any_scripted_code_has_the_error_answer() {
        let cases = [
            ("1101/12304", r#"{"error":1101,"sub_error":12304,"#),
            ("20003", r#"{"error":1101,"sub_error":20003,"#),
            ("1101", r#"{"error":1101,"sub_error":12304,"#),
            ("1203", r#"{"error":1203,"error_description""#),
            ("invalid_grant", r#"{"error":"invalid_grant","#),
        ];
        for (code, wanted) in cases {
            let answer = refuse(code, None);
            let body = String::from_utf8(answer.body).unwrap();
            assert!(answer.status == 400 && body.starts_with(wanted), "{code}: {body}");
        }
    }
}

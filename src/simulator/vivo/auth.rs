//! `POST /message/auth`: a signed request for an access token (document, section 2).

use md5::{Digest, Md5};
use serde_json::Value;

use super::answer::{self, Refusal};
use super::gate;
use super::wire::Vivo;
use crate::simulator::json;
use crate::simulator::text::{are_digits, is_digest};
use crate::simulator::wire::{Answer, Request};

/// A timestamp is in milliseconds: 13 digits until the year 2286.
const TIMESTAMP_DIGITS: usize = 13;

pub(super) fn auth(vivo: &Vivo, request: &Request) -> Result<Answer, Refusal> {
    let body = gate::object(request)?;
    let app_id = digits(json::member(&body, "appId")).ok_or(Refusal::new(10_200, "appId is missing or no number"))?;
    let app_key = json::filled(&body, "appKey").ok_or(Refusal::new(10_201, "appKey is missing or no text"))?;
    let timestamp =
        digits(json::member(&body, "timestamp")).ok_or(Refusal::new(10_202, "timestamp is missing or no number"))?;
    let signed = json::filled(&body, "sign").ok_or(Refusal::new(10_203, "sign is missing or no text"))?;
    let id: u64 = app_id.parse().map_err(|_| Refusal::new(10_200, "appId is missing or no number"))?;

    let secret = vivo.accounts().secret(id, app_key)?;
    let right = match secret {
        Some(secret) => signed == sign(&app_id, app_key, &timestamp, &secret),
        None => is_sign(signed),
    };
    if !right {
        return Err(Refusal::new(10_205, "sign is wrong"));
    }
    let at_ms: Option<i64> = timestamp.parse().ok().filter(|_| timestamp.len() == TIMESTAMP_DIGITS);
    let at_ms = at_ms.ok_or(Refusal::new(10_207, "timestamp is not in milliseconds"))?;
    if u128::from(request.at_ms.abs_diff(at_ms)) > vivo.clock_tolerance.as_millis() {
        return Err(Refusal::new(10_207, "timestamp is off by more than the tolerance"));
    }
    vivo.accounts().take_auth(id, request.at_ms)?;

    let token = format!("{:032x}", rand::random::<u128>());
    vivo.access_tokens.grant_for(&token, &id.to_string(), request.at_ms, vivo.token_lifetime);
    Ok(answer::granted(&token))
}

/// The sign of an auth request: no separators, lower-case hex.
fn sign(app_id: &str, app_key: &str, timestamp: &str, app_secret: &str) -> String {
    let digest = Md5::digest([app_id, app_key, timestamp, app_secret].concat());
    format!("{:032x}", u128::from_be_bytes(digest.into()))
}

fn is_sign(text: &str) -> bool {
    is_digest(text, 32)
}

/// A number, or a text of digits: senders in production use both.
fn digits(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Number(number) => number.as_u64().map(|number| number.to_string()),
        Value::String(text) if are_digits(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_signs_come_out() {
        let cases = [
            (
                [
                    "10004",
                    "25509283-3767-4b9e-83fe-b6e55ac6243e",
                    "1501484120000",
                    "7265f2a4-ebbb-44bf-88b9-b03e67dfdc21",
                ],
                "fe3b46a2befc60334c2388676a752bd6",
            ),
            (
                [
                    "100215079",
                    "0b2a7e5c-4d11-4f0e-9c33-5e8f2b6a9d10",
                    "1735689600000",
                    "3f9d1c84-77aa-4b52-8e6d-c0a1b2d3e4f5",
                ],
                "22350934aecd0c669616a80a1419e0dc",
            ),
        ];
        for ([app_id, app_key, timestamp, secret], wanted) in cases {
            assert_eq!(sign(app_id, app_key, timestamp, secret), wanted);
            assert!(is_sign(wanted) && !is_sign(&wanted.to_uppercase()) && !is_sign(&wanted[1..]));
        }
    }
}

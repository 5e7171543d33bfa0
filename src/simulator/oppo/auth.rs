//! `POST /server/v1/auth`: a signed request for an access token (document, section 2).

use serde::Serialize;

use super::answer::{self, Refusal};
use super::gate;
use super::wire::Oppo;
use crate::secrets::hex_digest;
use crate::simulator::text::{are_digits, is_digest};
use crate::simulator::wire::{Answer, Request};

#[derive(Serialize)]
struct Granted<'a> {
    auth_token: &'a str,
    create_time: String,
}

pub(super) fn auth(oppo: &Oppo, request: &Request) -> Result<Answer, Refusal> {
    let form = gate::form(request)?;
    let app_key = form.filled("app_key").ok_or(Refusal::new(15, "app_key is missing"))?;
    let secret = oppo.accounts().secret(app_key)?;
    let timestamp = form.filled("timestamp").ok_or(Refusal::new(18, "timestamp is missing"))?;
    let at_ms: i64 = is_timestamp(timestamp)
        .then(|| timestamp.parse().ok())
        .flatten()
        .ok_or(Refusal::new(19, "timestamp is not 13 digits"))?;
    if u128::from(request.at_ms.abs_diff(at_ms)) > oppo.clock_tolerance.as_millis() {
        return Err(Refusal::new(19, "timestamp is off by more than the tolerance"));
    }
    let signed = form.filled("sign").ok_or(Refusal::new(17, "sign is missing"))?;
    let right = match secret {
        Some(secret) => signed == sign(app_key, timestamp, &secret),
        None => is_sign(signed),
    };
    if !right {
        return Err(Refusal::new(16, "sign is wrong"));
    }

    // 24 hexadecimal digits, as the vendor's.
    let auth_token = format!("{:024x}", rand::random::<u128>() >> 32);
    oppo.access_tokens.grant_for(&auth_token, app_key, request.at_ms, oppo.token_lifetime);
    let granted = Granted { auth_token: &auth_token, create_time: request.at_ms.to_string() };
    Ok(answer::success("success", &granted, 0, Vec::new()))
}

/// The sign of an auth request: no separators, lower-case hex.
fn sign(app_key: &str, timestamp: &str, master_secret: &str) -> String {
    hex_digest([app_key, timestamp, master_secret].concat().as_bytes())
}

fn is_sign(text: &str) -> bool {
    is_digest(text, 64)
}

/// Whether a text is a time in milliseconds.
pub(super) fn is_timestamp(text: &str) -> bool {
    text.len() == 13 && are_digits(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_signs_come_out() {
        let cases = [
            (
                ["app-key", "1700000000123", "master-secret"],
                "41f69ec5ec800437d06dbec0dfcc8d402c8a5532022a0c86671562fa114e614a",
            ),
            (
                ["a1b2c3d4e5f60718293a4b5c6d7e8f90", "1735689600000", "0f1e2d3c4b5a69788796a5b4c3d2e1f0"],
                "6f88b1e65fed8a8e0680d8f2728ad3081f2fdf361bd4f11683cfe0f57254a645",
            ),
        ];
        for ([app_key, timestamp, secret], wanted) in cases {
            assert_eq!(sign(app_key, timestamp, secret), wanted);
            assert!(is_sign(wanted) && !is_sign(&wanted.to_uppercase()) && !is_sign(&wanted[1..]));
        }
    }
}

//! The access token: a signed request, valid for a day.

use std::time::Duration;

use async_trait::async_trait;
use md5::{Digest, Md5};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::vendor::access_token::{Grant, Granted, refused};
use crate::vendor::http::Reply;
use crate::vendor::lenient;
use crate::vendor::outcome::{Outcome, Reason};

/// vivo advises one to two hours; earlier tokens stay valid.
const RENEW_AFTER: Duration = Duration::from_hours(2);
/// A token ends after 24 hours.
const USABLE_FOR: Duration = Duration::from_hours(23);

/// What is asked for, and where.
#[derive(Debug)]
pub(super) struct Request {
    pub http: reqwest::Client,
    pub url: String,
    pub app_id: u64,
    pub app_key: String,
    pub app_secret: SecretString,
    pub clock: Clock,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    app_id: u64,
    app_key: &'a str,
    /// Epoch milliseconds; vivo's clock must be within ten minutes of it.
    timestamp: i64,
    sign: String,
}

impl<'a> Body<'a> {
    fn new(app_id: u64, app_key: &'a str, app_secret: &str, timestamp: i64) -> Self {
        let signed = format!("{app_id}{app_key}{timestamp}{app_secret}");
        Self { app_id, app_key, timestamp, sign: crate::secrets::hex(&Md5::digest(signed)) }
    }
}

#[async_trait]
impl Grant for Request {
    async fn grant(&self) -> Result<Granted, Outcome> {
        let timestamp = self.clock.database_now().timestamp_millis();
        let body = Body::new(self.app_id, &self.app_key, self.app_secret.expose_secret(), timestamp);
        let request = self.http.post(&self.url).json(&body);
        read(&Reply::fetch(request).await.map_err(|failure| failure.outcome)?)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(deserialize_with = "lenient::number")]
    result: i64,
    #[serde(default, deserialize_with = "lenient::optional_text")]
    auth_token: Option<String>,
}

/// The token in an answer, or how a delivery that needs it ends.
fn read(reply: &Reply) -> Result<Granted, Outcome> {
    if reply.status != 200 {
        return Err(refused(reply, None));
    }
    let foreign = || Outcome::new(Reason::VendorFault).with_code("token: answer is not vivo's JSON");
    let answer: Answer = serde_json::from_slice(&reply.body).map_err(|_| foreign())?;
    match (answer.result, answer.auth_token) {
        (0, Some(value)) => Ok(Granted { value, renew_after: RENEW_AFTER, usable_for: USABLE_FOR }),
        (0, None) => Err(foreign()),
        (code, _) => {
            let reason = match code {
                10040 | 10072 | 10093 => Reason::RateLimited,
                10102 => Reason::VendorFault,
                _ => Reason::CertificateRefused,
            };
            // Which of the ten thousands means which parameter is not known for certain.
            let hint = if (10_200..=10_207).contains(&code) {
                " (AppID, AppKey or AppSecret is wrong, or this server's clock)"
            } else {
                ""
            };
            let outcome = Outcome::new(reason).with_code(format!("token: {code}{hint}"));
            Err(Outcome { retry_after: reply.retry_after(), ..outcome })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::testing::reply;

    #[test]
    fn the_worked_signatures_and_the_worked_request() {
        let first = Body::new(
            10_004,
            "25509283-3767-4b9e-83fe-b6e55ac6243e",
            "7265f2a4-ebbb-44bf-88b9-b03e67dfdc21",
            1_501_484_120_000,
        );
        assert_eq!(first.sign, "fe3b46a2befc60334c2388676a752bd6", "vivo's own example");
        let second = Body::new(
            100_215_079,
            "0b2a7e5c-4d11-4f0e-9c33-5e8f2b6a9d10",
            "3f9d1c84-77aa-4b52-8e6d-c0a1b2d3e4f5",
            1_735_689_600_000,
        );
        let json = serde_json::to_string(&second).unwrap();
        assert_eq!(
            json,
            r#"{"appId":100215079,"appKey":"0b2a7e5c-4d11-4f0e-9c33-5e8f2b6a9d10","timestamp":1735689600000,"sign":"22350934aecd0c669616a80a1419e0dc"}"#
        );
        assert_eq!(json.len(), 135);
    }

    #[test]
    fn a_token_is_read() {
        let body = r#"{"result":0,"desc":"请求成功","authToken":"9a1f4c2e7b6d40e58c3a0f1e2d4b5c6a"}"#;
        assert_eq!(read(&reply(200, body)).unwrap().value, "9a1f4c2e7b6d40e58c3a0f1e2d4b5c6a");
    }

    #[test]
    fn a_refusal_never_gives_a_message_up() {
        use Reason::{CertificateRefused, RateLimited, VendorFault};
        for (status, body, reason) in [
            (200, r#"{"result":10200,"desc":"x"}"#, CertificateRefused),
            (200, r#"{"result":"10207"}"#, CertificateRefused),
            (200, r#"{"result":10043}"#, CertificateRefused),
            (200, r#"{"result":10045}"#, CertificateRefused),
            (200, r#"{"result":77}"#, CertificateRefused),
            (200, r#"{"result":10093}"#, RateLimited),
            (200, r#"{"result":10040}"#, RateLimited),
            (200, r#"{"result":10102}"#, VendorFault),
            (200, r#"{"result":0}"#, VendorFault),
            (200, "Internet server error!", VendorFault),
            (500, "Internet server error!", VendorFault),
            (429, "", RateLimited),
            (403, "", CertificateRefused),
        ] {
            let outcome = read(&reply(status, body)).unwrap_err();
            assert_eq!(outcome.reason, reason, "{status} {body}");
            assert!(outcome.vendor_code.unwrap().starts_with("token: "), "{status} {body}");
        }
        let outcome = read(&reply(200, r#"{"result":10205}"#)).unwrap_err();
        assert!(outcome.vendor_code.unwrap().contains("clock"));
    }
}

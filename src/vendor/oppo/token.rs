//! The access token: a signed request, valid for a day.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::clock::Clock;
use crate::secrets::hex_digest;
use crate::vendor::access_token::{Grant, Granted, refused};
use crate::vendor::http::Reply;
use crate::vendor::lenient;
use crate::vendor::outcome::{Outcome, Reason};

/// Half of its life: a second chance, should the first renewal fail for hours.
const RENEW_AFTER: Duration = Duration::from_hours(12);
/// A token ends after 24 hours.
const USABLE_FOR: Duration = Duration::from_hours(23);

/// What is asked for, and where.
#[derive(Debug)]
pub(super) struct Request {
    pub http: reqwest::Client,
    pub url: String,
    pub app_key: String,
    pub master_secret: SecretString,
    pub clock: Clock,
}

/// The signed form. `timestamp` is in epoch milliseconds, not older than ten minutes at OPPO.
fn form(app_key: &str, master_secret: &str, timestamp: i64) -> String {
    let timestamp = timestamp.to_string();
    let sign = hex_digest(format!("{app_key}{timestamp}{master_secret}").as_bytes());
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("app_key", app_key)
        .append_pair("timestamp", &timestamp)
        .append_pair("sign", &sign)
        .finish()
}

#[async_trait]
impl Grant for Request {
    async fn grant(&self) -> Result<Granted, Outcome> {
        let timestamp = self.clock.database_now().timestamp_millis();
        let request = self
            .http
            .post(&self.url)
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded; charset=UTF-8")
            .body(form(&self.app_key, self.master_secret.expose_secret(), timestamp));
        read(&Reply::fetch(request).await.map_err(|failure| failure.outcome)?)
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(deserialize_with = "lenient::number")]
    code: i64,
    #[serde(default)]
    data: Value,
}

/// The token in an answer, or how a delivery that needs it ends.
fn read(reply: &Reply) -> Result<Granted, Outcome> {
    if reply.status != 200 {
        return Err(refused(reply, None));
    }
    let foreign = || Outcome::new(Reason::VendorFault).with_code("token: answer is not OPPO's JSON");
    let answer: Answer = serde_json::from_slice(&reply.body).map_err(|_| foreign())?;
    if answer.code == 0 {
        let value = answer.data["auth_token"].as_str().ok_or_else(foreign)?.to_owned();
        return Ok(Granted { value, renew_after: RENEW_AFTER, usable_for: USABLE_FOR });
    }
    let reason = match answer.code {
        -1 => Reason::VendorFault,
        -2 | 13 | 55 => Reason::RateLimited,
        _ => Reason::CertificateRefused,
    };
    let hint = match answer.code {
        16 => " (is it the MasterSecret, not the AppSecret?)",
        18 | 19 => " (check this server's clock)",
        _ => "",
    };
    let outcome = Outcome::new(reason).with_code(format!("token: {}{hint}", answer.code));
    Err(Outcome { retry_after: reply.retry_after(), ..outcome })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::testing::reply;

    #[test]
    fn the_worked_signatures_and_the_worked_request() {
        let first = form("app-key", "master-secret", 1_700_000_000_123);
        assert!(first.ends_with("sign=41f69ec5ec800437d06dbec0dfcc8d402c8a5532022a0c86671562fa114e614a"));
        let second = form("a1b2c3d4e5f60718293a4b5c6d7e8f90", "0f1e2d3c4b5a69788796a5b4c3d2e1f0", 1_735_689_600_000);
        assert_eq!(
            second,
            "app_key=a1b2c3d4e5f60718293a4b5c6d7e8f90&timestamp=1735689600000&sign=6f88b1e65fed8a8e0680d8f2728ad3081f2fdf361bd4f11683cfe0f57254a645"
        );
        assert_eq!(second.len(), 134);
    }

    #[test]
    fn a_token_is_read() {
        let body = r#"{"code":0,"message":"success","data":{"auth_token":"58ad47319e8d725350a5afd5","create_time":"1735689600000"}}"#;
        assert_eq!(read(&reply(200, body)).unwrap().value, "58ad47319e8d725350a5afd5");
    }

    #[test]
    fn a_refusal_never_gives_a_message_up() {
        use Reason::{CertificateRefused, RateLimited, VendorFault};
        for (status, body, reason) in [
            (200, r#"{"code":14,"message":"x","data":null}"#, CertificateRefused),
            (200, r#"{"code":"16"}"#, CertificateRefused),
            (200, r#"{"code":19}"#, CertificateRefused),
            (200, r#"{"code":26}"#, CertificateRefused),
            (200, r#"{"code":4711}"#, CertificateRefused),
            (200, r#"{"code":-1}"#, VendorFault),
            (200, r#"{"code":-2}"#, RateLimited),
            (200, r#"{"code":13}"#, RateLimited),
            (200, r#"{"code":0,"data":{}}"#, VendorFault),
            (200, "<html>", VendorFault),
            (502, "<html>", VendorFault),
            (429, "", RateLimited),
            (404, "", CertificateRefused),
        ] {
            let outcome = read(&reply(status, body)).unwrap_err();
            assert_eq!(outcome.reason, reason, "{status} {body}");
            assert!(outcome.vendor_code.unwrap().starts_with("token: "), "{status} {body}");
        }
        assert!(read(&reply(200, r#"{"code":16}"#)).unwrap_err().vendor_code.unwrap().contains("MasterSecret"));
    }
}

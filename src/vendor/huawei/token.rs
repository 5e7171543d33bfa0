//! The access token: OAuth 2.0 client credentials.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::vendor::access_token::{Grant, Granted, refused};
use crate::vendor::http::Reply;
use crate::vendor::lenient;
use crate::vendor::outcome::{Outcome, Reason};

/// How long before its end a token is renewed, as Huawei's demos do.
const RENEW_AHEAD: Duration = Duration::from_mins(5);
/// How long before its end a token is no longer sent.
const MARGIN: Duration = Duration::from_secs(30);

/// A shorter life is not believed: there would be a request for a token before each push.
const LEAST_LIFETIME: Duration = Duration::from_mins(1);

/// What is asked for, and where.
#[derive(Debug)]
pub(super) struct Request {
    pub http: reqwest::Client,
    pub url: String,
    pub app_id: String,
    pub app_secret: SecretString,
}

/// The form. The secret may hold `+` and `/`.
fn form(app_id: &str, app_secret: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", app_id)
        .append_pair("client_secret", app_secret)
        .finish()
}

#[async_trait]
impl Grant for Request {
    async fn grant(&self) -> Result<Granted, Outcome> {
        let request = self
            .http
            .post(&self.url)
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form(&self.app_id, self.app_secret.expose_secret()));
        read(&Reply::fetch(request).await.map_err(|failure| failure.outcome)?)
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(deserialize_with = "lenient::number")]
    expires_in: i64,
}

/// Names and types of the members are not documented for certain.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default, deserialize_with = "lenient::optional_text")]
    error: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional_text")]
    sub_error: Option<String>,
}

/// The token in an answer, or how a delivery that needs it ends.
fn read(reply: &Reply) -> Result<Granted, Outcome> {
    if reply.status == 200 {
        let answer: Answer = serde_json::from_slice(&reply.body)
            .map_err(|_| Outcome::new(Reason::VendorFault).with_code("token: answer is not Huawei's JSON"))?;
        let lifetime = Duration::from_secs(answer.expires_in.try_into().unwrap_or(0)).max(LEAST_LIFETIME);
        let renew_after = lifetime.saturating_sub(RENEW_AHEAD).max(lifetime / 2);
        return Ok(Granted {
            value: answer.access_token,
            renew_after,
            usable_for: lifetime.saturating_sub(MARGIN).max(renew_after),
        });
    }
    let told: Option<Refusal> = serde_json::from_slice(&reply.body).ok();
    let codes = told.map(|told| [told.error, told.sub_error].into_iter().flatten().collect::<Vec<_>>().join("/"));
    Err(refused(reply, codes.filter(|codes| !codes.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::testing::reply;

    #[test]
    fn the_worked_request_byte_for_byte() {
        let form = form("100123456", "9a8b+/c7");
        assert_eq!(form, "grant_type=client_credentials&client_id=100123456&client_secret=9a8b%2B%2Fc7");
        assert_eq!(form.len(), 76);
    }

    #[test]
    fn a_token_is_read_with_its_time() {
        let granted =
            read(&reply(200, r#"{"access_token":"DAEAAB\/Y=","expires_in":3600,"token_type":"Bearer"}"#)).unwrap();
        assert_eq!(granted.value, "DAEAAB/Y=");
        assert_eq!((granted.renew_after.as_secs(), granted.usable_for.as_secs()), (3_300, 3_570));
        let none = read(&reply(200, r#"{"access_token":"t","expires_in":-5}"#)).unwrap();
        assert_eq!(none.usable_for.as_secs(), 30, "never a token for each push");
        let short = read(&reply(200, r#"{"access_token":"t","expires_in":"60"}"#)).unwrap();
        assert_eq!((short.renew_after.as_secs(), short.usable_for.as_secs()), (30, 30));
    }

    #[test]
    fn every_refusal_of_the_document() {
        for (status, body, reason, code) in [
            (
                400,
                r#"{"error":1101,"sub_error":12304,"error_description":"x"}"#,
                Reason::CertificateRefused,
                "token: 1101/12304",
            ),
            (400, r#"{"error":"1101","sub_error":"20002"}"#, Reason::CertificateRefused, "token: 1101/20002"),
            (400, r#"{"error":1101,"sub_error":20003}"#, Reason::CertificateRefused, "token: 1101/20003"),
            (400, r#"{"error":1101,"sub_error":20171}"#, Reason::CertificateRefused, "token: 1101/20171"),
            (403, "", Reason::CertificateRefused, "token: HTTP 403"),
            (404, "<html>", Reason::CertificateRefused, "token: HTTP 404"),
            (405, "", Reason::CertificateRefused, "token: HTTP 405"),
            (503, "", Reason::RateLimited, "token: HTTP 503"),
            (500, "", Reason::VendorFault, "token: HTTP 500"),
            (590, "", Reason::VendorFault, "token: HTTP 590"),
            (200, "<html>", Reason::VendorFault, "token: answer is not Huawei's JSON"),
            (200, r#"{"expires_in":3600}"#, Reason::VendorFault, "token: answer is not Huawei's JSON"),
        ] {
            let outcome = read(&reply(status, body)).unwrap_err();
            assert_eq!((outcome.reason, outcome.vendor_code.as_deref()), (reason, Some(code)), "{status} {body}");
        }
    }
}

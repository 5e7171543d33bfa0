//! Answers: one row per reason of the document. Pure.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::vendor::http::Reply;
use crate::vendor::outcome::{Outcome, Reason};

/// What an answer says about the connection or the provider token it came over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    Keep,
    /// Later requests go on a new connection.
    NewConnection,
    /// The same for all connections of the credential.
    NewConnections,
    /// As the first, if the complaint lasts.
    NewConnectionIfOld,
    /// The provider token is too old.
    NewToken,
}

/// The body of every error.
#[derive(Deserialize)]
struct Answer {
    reason: String,
    /// With 410: since when the token is known to be dead, milliseconds.
    #[serde(default)]
    timestamp: Option<i64>,
}

/// One answer's outcome, and what to do about its connection.
pub(super) fn classify(reply: &Reply) -> (Outcome, Advice) {
    let status = reply.status.as_u16();
    if status == 200 {
        let mut outcome = Outcome::new(Reason::Accepted).with_code("200");
        outcome.vendor_message_id = reply.headers.get("apns-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        return (outcome, Advice::Keep);
    }
    // An empty body, or one that is not JSON, does occur: the status speaks then.
    let answer: Option<Answer> = serde_json::from_slice(&reply.body).ok();
    let row = row(status, answer.as_ref().map(|answer| answer.reason.as_str()));
    let code = match &answer {
        Some(answer) => answer.reason.clone(),
        None => format!("HTTP {status}"),
    };
    let mut outcome = Outcome::new(row.reason).with_code(code);
    outcome.retry_after = reply.retry_after();
    outcome.is_suspect = row.is_suspect;
    outcome.spares_lane = row.spares_lane;
    if row.reason == Reason::TokenGone {
        outcome.gone_since =
            answer.and_then(|answer| answer.timestamp).and_then(DateTime::<Utc>::from_timestamp_millis);
    }
    (outcome, row.advice)
}

struct Row {
    reason: Reason,
    advice: Advice,
    /// Hints at a wrong configuration: several in a row pause the certificate.
    is_suspect: bool,
    /// About this device alone.
    spares_lane: bool,
}

impl Row {
    const fn new(reason: Reason) -> Self {
        Self { reason, advice: Advice::Keep, is_suspect: false, spares_lane: false }
    }

    const fn suspect(reason: Reason) -> Self {
        Self { is_suspect: true, ..Self::new(reason) }
    }

    const fn with(reason: Reason, advice: Advice) -> Self {
        Self { advice, ..Self::new(reason) }
    }
}

fn row(status: u16, reason: Option<&str>) -> Row {
    use Reason::{
        CertificateRefused, PayloadRefused, RateLimited, TokenGone, TokenMalformed, Unrecognised, VendorFault,
    };
    match (status, reason.unwrap_or_default()) {
        // Also a token of the other environment: a certificate of the wrong one makes every token look like this.
        (400, "BadDeviceToken") => Row::suspect(TokenMalformed),
        // The first: the bundle id is wrong, or the device was bound to another app's certificate; the token stays. The
        // others: ours, the headers are the same for every message.
        (
            400,
            "DeviceTokenNotForTopic"
            | "MissingDeviceToken"
            | "BadCollapseId"
            | "BadExpirationDate"
            | "BadMessageId"
            | "BadPriority"
            | "InvalidPushType"
            | "DuplicateHeaders"
            | "PayloadEmpty",
        )
        | (404, "BadPath")
        | (405, "MethodNotAllowed") => Row::suspect(PayloadRefused),
        (403, "ExpiredProviderToken") => Row::with(CertificateRefused, Advice::NewToken),
        // A topic that was added later is unknown to connections that were open before.
        (400, "BadTopic" | "MissingTopic" | "TopicDisallowed")
        | (
            403,
            "InvalidProviderToken"
            | "MissingProviderToken"
            | "BadEnvironmentKeyIdInToken"
            | "BadCertificate"
            | "BadCertificateEnvironment"
            | "Forbidden",
        ) => Row::with(CertificateRefused, Advice::NewConnections),
        (410, _) => Row::new(TokenGone),
        (413, _) => Row::new(PayloadRefused),
        (429, "TooManyRequests") => Row { spares_lane: true, ..Row::new(RateLimited) },
        // The token stays: another one would make it worse.
        (429, "TooManyProviderTokenUpdates") => Row::with(RateLimited, Advice::NewConnectionIfOld),
        (429, _) => Row::new(RateLimited),
        // The second: the connection first spoke for another key.
        (400, "IdleTimeout") | (403, "UnrelatedKeyIdInToken") | (503, "Shutdown") => {
            Row::with(VendorFault, Advice::NewConnection)
        }
        (500..=599, _) => Row::new(VendorFault),
        _ => Row::new(Unrecognised),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;

    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert("apns-id", "11111111-2222-3333-4444-555555555555".parse().unwrap());
        Reply { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() }
    }

    fn refused(status: u16, reason: &str) -> (Outcome, Advice) {
        classify(&reply(status, &format!(r#"{{"reason":"{reason}"}}"#)))
    }

    #[test]
    fn every_reason_of_the_document() {
        use Advice::{Keep, NewConnection, NewConnectionIfOld, NewConnections, NewToken};
        use Reason::{CertificateRefused, PayloadRefused, RateLimited, TokenGone, TokenMalformed, VendorFault};
        for (status, reason, expected, advice, is_suspect) in [
            (400, "BadDeviceToken", TokenMalformed, Keep, true),
            (400, "DeviceTokenNotForTopic", PayloadRefused, Keep, true),
            (400, "MissingDeviceToken", PayloadRefused, Keep, true),
            (400, "BadTopic", CertificateRefused, NewConnections, false),
            (400, "MissingTopic", CertificateRefused, NewConnections, false),
            (400, "TopicDisallowed", CertificateRefused, NewConnections, false),
            (400, "BadCollapseId", PayloadRefused, Keep, true),
            (400, "BadExpirationDate", PayloadRefused, Keep, true),
            (400, "BadMessageId", PayloadRefused, Keep, true),
            (400, "BadPriority", PayloadRefused, Keep, true),
            (400, "InvalidPushType", PayloadRefused, Keep, true),
            (400, "DuplicateHeaders", PayloadRefused, Keep, true),
            (400, "PayloadEmpty", PayloadRefused, Keep, true),
            (400, "IdleTimeout", VendorFault, NewConnection, false),
            (403, "ExpiredProviderToken", CertificateRefused, NewToken, false),
            (403, "InvalidProviderToken", CertificateRefused, NewConnections, false),
            (403, "MissingProviderToken", CertificateRefused, NewConnections, false),
            (403, "BadEnvironmentKeyIdInToken", CertificateRefused, NewConnections, false),
            (403, "UnrelatedKeyIdInToken", VendorFault, NewConnection, false),
            (403, "BadCertificate", CertificateRefused, NewConnections, false),
            (403, "BadCertificateEnvironment", CertificateRefused, NewConnections, false),
            (403, "Forbidden", CertificateRefused, NewConnections, false),
            (404, "BadPath", PayloadRefused, Keep, true),
            (405, "MethodNotAllowed", PayloadRefused, Keep, true),
            (410, "Unregistered", TokenGone, Keep, false),
            (410, "ExpiredToken", TokenGone, Keep, false),
            (413, "PayloadTooLarge", PayloadRefused, Keep, false),
            (429, "TooManyRequests", RateLimited, Keep, false),
            (429, "TooManyProviderTokenUpdates", RateLimited, NewConnectionIfOld, false),
            (500, "InternalServerError", VendorFault, Keep, false),
            (503, "ServiceUnavailable", VendorFault, Keep, false),
            (503, "Shutdown", VendorFault, NewConnection, false),
        ] {
            let (outcome, told) = refused(status, reason);
            assert_eq!((outcome.reason, told, outcome.is_suspect), (expected, advice, is_suspect), "{reason}");
            assert_eq!(outcome.vendor_code.as_deref(), Some(reason), "the raw reason is kept");
            assert_eq!(outcome.spares_lane, reason == "TooManyRequests");
        }
    }

    #[test]
    fn what_no_document_names_goes_by_its_status_and_stays_visible() {
        for (status, body, expected, code) in [
            (400, r#"{"reason":"FeatureNotEnabled"}"#, Reason::Unrecognised, "FeatureNotEnabled"),
            (403, r#"{"reason":"SomethingNew"}"#, Reason::Unrecognised, "SomethingNew"),
            (400, "", Reason::Unrecognised, "HTTP 400"),
            (410, "", Reason::TokenGone, "HTTP 410"),
            (410, r#"{"reason":"Gone","timestamp":"soon"}"#, Reason::TokenGone, "HTTP 410"),
            (413, "", Reason::PayloadRefused, "HTTP 413"),
            (429, "<html>", Reason::RateLimited, "HTTP 429"),
            (500, r#"{"reason":"New"}"#, Reason::VendorFault, "New"),
            (502, "<html>bad gateway</html>", Reason::VendorFault, "HTTP 502"),
            (302, "", Reason::Unrecognised, "HTTP 302"),
            (204, "", Reason::Unrecognised, "HTTP 204"),
        ] {
            let (outcome, advice) = classify(&reply(status, body));
            assert_eq!((outcome.reason, advice), (expected, Advice::Keep), "{status} {body}");
            assert_eq!(outcome.vendor_code.as_deref(), Some(code));
        }
        let (long, _) = refused(400, &"x".repeat(5_000));
        assert!(long.vendor_code.unwrap().len() <= 200);
    }

    #[test]
    fn the_worked_answers() {
        let (accepted, _) = classify(&reply(200, ""));
        assert_eq!(accepted.reason, Reason::Accepted);
        assert_eq!(accepted.vendor_message_id.as_deref(), Some("11111111-2222-3333-4444-555555555555"));
        let (dead, _) = classify(&reply(410, r#"{"reason":"Unregistered","timestamp":1789990000000}"#));
        assert_eq!(dead.reason, Reason::TokenGone);
        assert_eq!(dead.gone_since, DateTime::from_timestamp(1_789_990_000, 0));
    }
}

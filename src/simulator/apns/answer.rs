//! APNs' answers: a status, `apns-id`, and for an error a small JSON object.

use axum::http::StatusCode;
use serde::Serialize;

use crate::simulator::wire::Answer;

/// The reasons of the document with their statuses, and one of ours.
const REASONS: [(&str, u16); 34] = [
    ("BadCollapseId", 400),
    ("BadDeviceToken", 400),
    ("BadExpirationDate", 400),
    ("BadMessageId", 400),
    ("BadPriority", 400),
    ("BadTopic", 400),
    ("DeviceTokenNotForTopic", 400),
    ("DuplicateHeaders", 400),
    ("IdleTimeout", 400),
    ("InvalidPushType", 400),
    ("MissingDeviceToken", 400),
    ("MissingTopic", 400),
    ("PayloadEmpty", 400),
    ("TopicDisallowed", 400),
    (INVALID_PAYLOAD, 400),
    ("BadCertificate", 403),
    ("BadCertificateEnvironment", 403),
    ("BadEnvironmentKeyIdInToken", 403),
    ("ExpiredProviderToken", 403),
    ("Forbidden", 403),
    ("InvalidProviderToken", 403),
    ("MissingProviderToken", 403),
    ("UnrelatedKeyIdInToken", 403),
    ("BadPath", 404),
    ("MethodNotAllowed", 405),
    ("ExpiredToken", 410),
    ("Unregistered", 410),
    ("PayloadTooLarge", 413),
    ("TooManyProviderTokenUpdates", 429),
    ("TooManyRequests", 429),
    ("InternalServerError", 500),
    ("ServiceUnavailable", 503),
    ("Shutdown", 503),
    ("FeatureNotEnabled", 400),
];

/// What a body that breaks the payload's rules is answered with: a convention, the vendor's answer is unknown.
pub(super) const INVALID_PAYLOAD: &str = "InvalidPayload";

/// A refusal by one rule of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: &'static str,
    /// For the counters: says which rule, never a value.
    pub(super) rule: &'static str,
    /// Since when the token is dead, epoch milliseconds; for 410.
    pub(super) timestamp: Option<i64>,
}

impl Refusal {
    pub(super) const fn new(reason: &'static str, rule: &'static str) -> Self {
        Self { reason, rule, timestamp: None }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
}

/// The push was accepted.
pub(super) fn success(apns_id: String, unique_id: Option<String>, warnings: Vec<String>) -> Answer {
    let mut headers = vec![("apns-id", apns_id)];
    headers.extend(unique_id.map(|id| ("apns-unique-id", id)));
    Answer { headers, code: "200".into(), accepted: 1, warnings, ..Answer::default() }
}

/// The answer of a refused request.
pub(super) fn refused(apns_id: String, refusal: &Refusal) -> Answer {
    Answer { broken_rule: Some(refusal.rule), ..failure(apns_id, refusal.reason, refusal.timestamp) }
}

/// Any reason, also one the document does not list: status 400 then, or the one written before it: `422 NewReason`.
pub(super) fn failure(apns_id: String, reason: &str, timestamp: Option<i64>) -> Answer {
    let (status, reason) = match reason.split_once(' ').map(|(status, rest)| (status.parse(), rest)) {
        Some((Ok(status), rest)) => (status, rest),
        _ => (status_of(reason), reason),
    };
    // A time stamp is what distinguishes 410.
    let body = Body { reason, timestamp: timestamp.filter(|_| status == 410) };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    Answer { headers: vec![("apns-id", apns_id)], ..Answer::json(status, "application/json", reason.to_owned(), &body) }
}

fn status_of(reason: &str) -> u16 {
    REASONS.iter().find(|known| known.0 == reason).map_or(400, |known| known.1)
}

/// Every reason of the document with its status.
#[cfg(test)]
pub(super) fn reasons() -> impl Iterator<Item = (&'static str, u16)> {
    REASONS.into_iter()
}

//! The headers of a push, checked by section 5 of the document in the order of its section 10.

use axum::http::HeaderMap;

use super::answer::Refusal;
use crate::simulator::wire::Request;

/// Push types with what their topic ends in; "" for a bare bundle id.
const PUSH_TYPES: [(&str, &str); 11] = [
    ("alert", ""),
    ("background", ""),
    ("voip", ".voip"),
    ("complication", ".complication"),
    ("fileprovider", ".pushkit.fileprovider"),
    ("location", ".location-query"),
    ("pushtotalk", ".voip-ptt"),
    ("widgets", ".push-type.widgets"),
    ("controls", ".push-type.controls"),
    ("mdm", ""),
    ("liveactivity", ".push-type.liveactivity"),
];
const MAX_COLLAPSE_ID_BYTES: usize = 64;

/// The `apns-*` headers of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) apns_id: Option<&'a str>,
    pub(super) expires_at_s: Option<i64>,
    pub(super) priority: Option<&'a str>,
    pub(super) collapse_id: Option<&'a str>,
    pub(super) push_type: Option<&'a str>,
    pub(super) topic: Option<&'a str>,
}

/// A UUID in lower-case hex, 8-4-4-4-12.
pub(super) fn is_apns_id(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => is_digit(byte),
        })
}

pub(super) fn read<'a>(request: &'a Request, warnings: &mut Vec<String>) -> Result<Head<'a>, Refusal> {
    if has_duplicates(&request.headers) {
        return Err(Refusal::new("DuplicateHeaders", "an apns header twice"));
    }
    // A value that is no visible ASCII is as wrong as any other wrong value.
    let value = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"));
    let apns_id = value("apns-id");
    if apns_id.is_some_and(|id| !is_apns_id(id)) {
        return Err(Refusal::new("BadMessageId", "apns-id is no lower-case UUID"));
    }
    let expires_at_s = match value("apns-expiration").map(expiration) {
        Some(None) => return Err(Refusal::new("BadExpirationDate", "apns-expiration is no count of seconds")),
        expires_at_s => expires_at_s.flatten(),
    };
    let push_type = value("apns-push-type");
    let priority = value("apns-priority");
    if priority.is_some_and(|priority| !matches!(priority, "1" | "5" | "10")) {
        return Err(Refusal::new("BadPriority", "apns-priority is not 1, 5 or 10"));
    }
    if push_type == Some("background") && priority != Some("5") {
        return Err(Refusal::new("BadPriority", "background without apns-priority 5"));
    }
    let collapse_id = value("apns-collapse-id");
    if collapse_id.is_some_and(|id| id.len() > MAX_COLLAPSE_ID_BYTES) {
        return Err(Refusal::new("BadCollapseId", "apns-collapse-id over 64 bytes"));
    }
    if push_type.is_some_and(|given| !PUSH_TYPES.iter().any(|known| known.0 == given)) {
        return Err(Refusal::new("InvalidPushType", "apns-push-type is unknown"));
    }
    if push_type.is_none() {
        warnings.push("no apns-push-type: watchOS 6 and later needs it".into());
    }
    if expires_at_s.is_some_and(|at| at > 0 && at < request.at_ms / 1_000) {
        warnings.push("apns-expiration is in the past: perhaps a duration in place of a time".into());
    }
    if collapse_id == Some("") {
        warnings.push("apns-collapse-id is empty".into());
    }
    if request.headers.contains_key("content-encoding") {
        warnings.push("content-encoding: the body must not be compressed".into());
    }
    let topic = value("apns-topic").filter(|topic| !topic.is_empty());
    Ok(Head { apns_id, expires_at_s, priority, collapse_id, push_type, topic })
}

/// Decimal epoch seconds, not negative, without a sign.
fn expiration(text: &str) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn has_duplicates(headers: &HeaderMap) -> bool {
    let apns = headers.keys().filter(|name| name.as_str().starts_with("apns-"));
    apns.into_iter().any(|name| headers.get_all(name).iter().nth(1).is_some())
}

/// The bundle id that a topic belongs to; an error when the topic's end does not fit the push type (a convention, the
/// vendor's answer is unknown).
pub(super) fn bundle_id<'a>(topic: &'a str, push_type: Option<&str>) -> Result<&'a str, Refusal> {
    let known_end = || {
        let ends = PUSH_TYPES.iter().map(|known| known.1).filter(|end| !end.is_empty());
        ends.into_iter().find_map(|end| topic.strip_suffix(end))
    };
    let Some(push_type) = push_type else { return Ok(known_end().unwrap_or(topic)) };
    let wrong = Refusal::new("BadTopic", "topic does not fit the push type");
    let end = PUSH_TYPES.iter().find(|known| known.0 == push_type).map_or("", |known| known.1);
    match (end, push_type) {
        ("", "mdm") => Ok(topic),
        ("", _) => known_end().map_or(Ok(topic), |_| Err(wrong)),
        (end, _) => topic.strip_suffix(end).filter(|bundle_id| !bundle_id.is_empty()).ok_or(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apns_id_is_a_uuid_in_lower_case() {
        assert!(is_apns_id("11111111-2222-3333-4444-5555555555af"));
        for wrong in [
            "",
            "11111111-2222-3333-4444-5555555555AF",
            "111111112222333344445555555555af",
            "{11111111-2222-3333-4444-55555555}",
            "11111111-2222-3333-4444-55555555555g",
        ] {
            assert!(!is_apns_id(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_topic_ends_as_its_push_type_wants() {
        let right = [
            ("a.b", Some("alert"), "a.b"),
            ("a.b.voip", Some("voip"), "a.b"),
            ("a.b.push-type.liveactivity", Some("liveactivity"), "a.b"),
            ("a.b.voip", None, "a.b"),
            ("uid.voip", Some("mdm"), "uid.voip"),
        ];
        for (topic, push_type, wanted) in right {
            assert_eq!(bundle_id(topic, push_type), Ok(wanted), "{topic} {push_type:?}");
        }
        for (topic, push_type) in [("a.b", "voip"), ("a.b.voip", "alert"), (".voip", "voip"), ("a.voip", "widgets")] {
            assert!(bundle_id(topic, Some(push_type)).is_err(), "{topic} {push_type}");
        }
    }
}

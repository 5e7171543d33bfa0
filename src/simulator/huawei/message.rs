//! The JSON body of a send, checked by sections A3 and F of the document.

use axum::body::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::answer::Refusal;
use super::notification::{self, NOTIFICATION};
use super::seconds;
use crate::simulator::json::{self, Kind, Member, Members, members};

const MAX_TOKENS: usize = 1_000;
/// Without the tokens.
const MAX_BODY_BYTES: usize = 4_096;
const MAX_TTL_MS: i64 = 1_296_000_000;
/// Stated for the younger version of the API only.
const MAX_BI_TAG_BYTES: usize = 64;

const ROOT: &[Member] = members!("validate_only": Kind::Bool, "message": Kind::Object(MESSAGE), "review": Kind::List);
const MESSAGE: &[Member] = members!(
    "data": Kind::Text,
    "notification": Kind::Object(members!("title": Kind::Text, "body": Kind::Text, "image": Kind::Text)),
    "android": Kind::Object(ANDROID),
    "token": Kind::Texts,
    "topic": Kind::Text,
    "condition": Kind::Text,
    "apns": Kind::Free,
    "webpush": Kind::Free,
);
const ANDROID: &[Member] = members!(
    "category": Kind::Text,
    "ttl": Kind::Text,
    "collapse_key": Kind::Integer,
    "bi_tag": Kind::Text,
    "receipt_id": Kind::Text,
    "target_user_type": Kind::Integer,
    "urgency": Kind::Text,
    "data": Kind::Text,
    "fast_app_target": Kind::Integer,
    "notification": Kind::Object(NOTIFICATION),
);
const CATEGORIES: [&str; 13] = [
    "IM",
    "VOIP",
    "SUBSCRIPTION",
    "TRAVEL",
    "HEALTH",
    "WORK",
    "ACCOUNT",
    "EXPRESS",
    "FINANCE",
    "DEVICE_REMINDER",
    "MAIL",
    "PLAY_VOICE",
    "MARKETING",
];

/// What a body says.
#[derive(Debug)]
pub(super) struct Push<'a> {
    pub(super) validate_only: bool,
    pub(super) tokens: Vec<&'a str>,
    pub(super) title: &'a str,
    pub(super) body: &'a str,
    pub(super) data: Option<&'a str>,
    /// The data, when it is an object.
    pub(super) app: Option<Members>,
    pub(super) ttl_ms: Option<i64>,
    pub(super) category: Option<&'a str>,
    /// `None`: for the app, not for the notification bar.
    pub(super) notification: Option<&'a Members>,
}

/// Checks a body in the document's order: structure and types, tokens, size, time to live and collapse key, rights.
pub(super) fn read<'a>(root: &'a Members, raw: &Bytes, warnings: &mut Vec<String>) -> Result<Push<'a>, Refusal> {
    json::check(root, ROOT).map_err(|wrong| Refusal::new("80100003", wrong.named))?;
    let message = json::object(root, "message").ok_or(Refusal::new("80300010", "no message"))?;
    let common = json::object(message, "notification");
    let android = json::section(message, "android");
    let notification = json::object(android, "notification");
    let (title, body) = if notification.is_some() || common.is_some() {
        notification::check(json::section(android, "notification"), warnings)?;
        texts(notification, common)?
    } else {
        ("", "")
    };
    let shown = notification.or(common);
    let data = json::text(android, "data").or_else(|| json::text(message, "data"));
    let app = check_data(data, shown.is_some())?;
    let ttl_ms = check_android(android, shown.is_some(), warnings)?;

    let tokens = check_targets(message, warnings)?;
    if raw.len() > MAX_BODY_BYTES && bytes_without_tokens(raw) > MAX_BODY_BYTES {
        return Err(Refusal::new("80300008", "the body is over 4096 bytes without the tokens"));
    }
    if ttl_ms.is_some_and(|ttl| ttl < 1_000) {
        return Err(Refusal::new("80100004", "ttl is not in the future"));
    }
    if json::integer(android, "collapse_key").is_some_and(|key| !(-1..=100).contains(&key)) {
        return Err(Refusal::new("80100013", "collapse_key is not in -1..=100"));
    }
    let importance = notification.and_then(|notification| json::text(notification, "importance"));
    if importance == Some("HIGH") || json::text(android, "urgency") == Some("HIGH") {
        return Err(Refusal::new("80300011", "no right to HIGH"));
    }
    let validate_only = json::flag(root, "validate_only").unwrap_or_default();
    let category = json::text(android, "category");
    Ok(Push { validate_only, tokens, title, body, data, app, ttl_ms, category, notification: shown })
}

/// Title and text; those for Android come before the common ones.
fn texts<'a>(notification: Option<&'a Members>, common: Option<&'a Members>) -> Result<(&'a str, &'a str), Refusal> {
    let of = |name: &str| [notification, common].into_iter().flatten().find_map(|place| json::filled(place, name));
    let title = of("title").ok_or(Refusal::new("80100003", "no title"))?;
    let body = of("body").ok_or(Refusal::new("80100003", "no body"))?;
    Ok((title, body))
}

/// The app's own data: any text of a data message, but JSON beside a notification.
fn check_data(data: Option<&str>, has_notification: bool) -> Result<Option<Members>, Refusal> {
    let Some(data) = data.filter(|data| !data.is_empty()) else {
        return if has_notification { Ok(None) } else { Err(Refusal::new("80100003", "no notification and no data")) };
    };
    match serde_json::from_str(data) {
        Ok(Value::Object(app)) => Ok(Some(app)),
        Err(_) if has_notification => Err(Refusal::new("80100003", "data of a notification is no JSON")),
        Ok(_) | Err(_) => Ok(None),
    }
}

/// The members beside the notification; returns the time to live, whose range is checked later.
fn check_android(android: &Members, is_shown: bool, warnings: &mut Vec<String>) -> Result<Option<i64>, Refusal> {
    let wrong = |rule| Err(Refusal::new("80100003", rule));
    let ttl_ms = match json::text(android, "ttl").map(seconds::parse) {
        Some(None) => return wrong("ttl is no number of seconds"),
        Some(Some(ttl)) if ttl > MAX_TTL_MS => return wrong("ttl is over 1296000 seconds"),
        ttl => ttl.flatten(),
    };
    if json::integer(android, "target_user_type").is_some_and(|kind| !matches!(kind, 0 | 1)) {
        return wrong("target_user_type is not 0 or 1");
    }
    if json::integer(android, "fast_app_target").is_some_and(|target| !matches!(target, 1 | 2)) {
        return wrong("fast_app_target is not 1 or 2");
    }
    if json::text(android, "urgency").is_some_and(|urgency| !matches!(urgency, "HIGH" | "NORMAL")) {
        return wrong("urgency is not HIGH or NORMAL");
    }
    if json::text(android, "bi_tag").is_some_and(|tag| tag.len() > MAX_BI_TAG_BYTES) {
        warnings.push("bi_tag is over 64 bytes: the limit of version 3".into());
    }
    match json::text(android, "category") {
        None if is_shown => warnings.push("category is missing: sent as marketing".into()),
        Some(category) if !CATEGORIES.contains(&category) => {
            warnings.push("category is unknown: sent as marketing".into());
        }
        _ => {}
    }
    Ok(ttl_ms)
}

/// The device tokens. A topic and a condition are legal too, but nobody subscribes to them here.
fn check_targets<'a>(message: &'a Members, warnings: &mut Vec<String>) -> Result<Vec<&'a str>, Refusal> {
    let is_given = |name: &&str| json::member(message, name).is_some();
    match ["token", "topic", "condition"].iter().filter(|name| is_given(name)).count() {
        0 => return Err(Refusal::new("80300010", "no token")),
        1 => {}
        _ => return Err(Refusal::new("80100003", "more than one of token, topic and condition")),
    }
    if !is_given(&"token") {
        warnings.push("a topic or a condition: nobody subscribes to it here".into());
        return Ok(Vec::new());
    }
    let tokens = json::texts(message, "token");
    if !(1..=MAX_TOKENS).contains(&tokens.len()) {
        return Err(Refusal::new("80300010", "the tokens are not 1 to 1000"));
    }
    let mut sorted = tokens.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| matches!(pair, [first, second] if first == second)) {
        warnings.push("a token is named twice: delivered twice".into());
    }
    Ok(tokens)
}

/// The length of the body with an empty array of tokens.
fn bytes_without_tokens(raw: &Bytes) -> usize {
    #[derive(Deserialize)]
    struct Root<'a> {
        #[serde(borrow)]
        message: Targets<'a>,
    }
    #[derive(Deserialize)]
    struct Targets<'a> {
        #[serde(borrow)]
        token: Option<&'a RawValue>,
    }
    let tokens = serde_json::from_slice::<Root<'_>>(raw).ok().and_then(|root| root.message.token);
    tokens.map_or(raw.len(), |tokens| raw.len() - tokens.get().len() + "[]".len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_leaves_the_tokens_out_with_their_quotes_and_commas() {
        let bare = r#"{"message":{"token":[],"topic":null}}"#;
        for tokens in ["", r#""T1""#, r#""T1","T\/2""#, r#" "T1" , "T2" "#] {
            let body = Bytes::from(bare.replace("[]", &format!("[{tokens}]")));
            assert_eq!(bytes_without_tokens(&body), bare.len(), "{tokens}");
        }
        assert_eq!(bytes_without_tokens(&Bytes::from_static(br#"{"message":{"topic":"a"}}"#)), 25);
    }
}

//! The request: headers and payload. Pure.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value};

use super::account::{CriticalSound, Defaults, Sound};
use crate::domain::notification::Notification;
use crate::domain::offline_push_info::{ApnsInfo, InterruptionLevel};
use crate::secrets::hex_digest;
use crate::vendor::fit::{self, Counting, Cut, TextLimit};
use crate::vendor::{Push, Target};

/// The most of a payload, counted as sent.
pub(super) const MAX_PAYLOAD_BYTES: usize = 4_096;
/// The most of a collapse id.
const MAX_COLLAPSE_BYTES: usize = 64;
/// The most of a subtitle: it has one line.
const MAX_SUBTITLE_BYTES: usize = 512;
/// What a title keeps when room is short, and what it gives a body first.
const LEAST_TITLE_BYTES: usize = 64;
const LEAST_BODY_BYTES: usize = 64;
/// What the app's data and an image leave for `aps`; without the image, data of any permitted size does.
const ROOM_FOR_TEXTS: usize = 1_024;

#[derive(Serialize)]
struct Payload<'a> {
    aps: Aps<'a>,
    /// The app's own members beside `aps`.
    #[serde(flatten)]
    data: Map<String, Value>,
}

/// In the order of the document's example.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Aps<'a> {
    alert: Alert<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    badge: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sound: Option<SoundValue<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutable_content: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interruption_level: Option<InterruptionLevel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relevance_score: Option<f64>,
}

#[derive(Serialize)]
struct Alert<'a> {
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subtitle: Option<Cow<'a, str>>,
    body: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum SoundValue<'a> {
    Name(&'a str),
    Critical(&'a CriticalSound),
}

/// The headers of one target, but for `authorization`.
pub(super) fn headers(topic: &HeaderValue, defaults: &Defaults, push: &Push, target: &Target) -> HeaderMap {
    let expiration = if push.time_to_live.is_zero() { 0 } else { push.expires_at.timestamp() };
    let priority = if defaults.priority == Some(5) { "5" } else { "10" };
    let mut headers = HeaderMap::with_capacity(8);
    let mut put = |name: &'static str, value: HeaderValue| headers.insert(HeaderName::from_static(name), value);
    put("apns-topic", topic.clone());
    put("apns-push-type", HeaderValue::from_static("alert"));
    put("apns-priority", HeaderValue::from_static(priority));
    put("apns-expiration", HeaderValue::from(expiration));
    for (name, text) in [
        ("apns-collapse-id", collapse_id(&push.notification)),
        ("apns-id", target.delivery_id.0.hyphenated().to_string()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            put(name, value);
        }
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

/// The caller's own text where it can stand in the header, else its digest of exactly 64 hex digits.
fn collapse_id(notification: &Notification) -> String {
    match notification.content.collapse_text() {
        Some(text) if text.len() <= MAX_COLLAPSE_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            text.to_owned()
        }
        Some(text) => hex_digest(text.as_bytes()),
        None => notification.notification_id.to_string(),
    }
}

/// The body of the request.
pub(super) fn payload(defaults: &Defaults, push: &Push) -> Vec<u8> {
    let payload = compose(defaults, push);
    // Texts, numbers and maps with text keys: nothing that can fail.
    serde_json::to_vec(&payload).unwrap_or_default()
}

fn compose<'a>(defaults: &'a Defaults, push: &'a Push) -> Payload<'a> {
    let notification = &*push.notification;
    let info = info(notification);
    let (data, has_image) = data(defaults, notification);
    let wants_extension = defaults.mutable_content || has_image;
    let is_mutable = info.and_then(|info| info.mutable_content).map_or(wants_extension, |flag| flag == 1);
    let counts = info.is_none_or(|info| info.badge_mode != Some(1));
    Payload {
        aps: Aps {
            alert: Alert {
                title: &push.title,
                subtitle: subtitle(notification).map(|fitted| fitted.0),
                body: &push.body,
            },
            badge: push.badge.filter(|_| counts),
            sound: sound(defaults, notification),
            thread_id: notification.content.conversation_id.as_deref(),
            mutable_content: is_mutable.then_some(1),
            category: info.and_then(|info| filled(info.category.as_deref())).or(defaults.category.as_deref()),
            interruption_level: info.and_then(|info| info.interruption_level).or(defaults.interruption_level),
            relevance_score: info.and_then(|info| info.relevance_score).or(defaults.relevance_score),
        },
        data,
    }
}

/// Trims the body, and where that is not enough the title, until the payload is as small as Apple demands.
pub(super) fn fit(defaults: &Defaults, push: &mut Push, title: TextLimit) {
    let notification = Arc::clone(&push.notification);
    if let Some(own) = info(&notification).and_then(|info| filled(info.title.as_deref())) {
        own.clone_into(&mut push.title);
    }
    push.cut_title(title);
    if let Some((_, Some(cut))) = subtitle(&notification) {
        push.cuts.push(cut);
    }
    if let (_, false) = data(defaults, &notification)
        && let Some(image) = image(&notification)
    {
        push.cuts.push(Cut { field: "image", from: image.len(), to: 0 });
    }
    let body = std::mem::take(&mut push.body);
    let short_of = payload(defaults, push).len() + Counting::JsonBytes.of(&body).min(LEAST_BODY_BYTES);
    if let Some(missing) = short_of.checked_sub(MAX_PAYLOAD_BYTES).filter(|missing| *missing > 0) {
        let length = Counting::JsonBytes.of(&push.title);
        let max = length.saturating_sub(missing).max(LEAST_TITLE_BYTES);
        push.cut_title(TextLimit { max, counting: Counting::JsonBytes });
    }
    let room = MAX_PAYLOAD_BYTES.saturating_sub(payload(defaults, push).len());
    push.body = body;
    push.cut_body(TextLimit { max: room, counting: Counting::JsonBytes });
}

fn info(notification: &Notification) -> Option<&ApnsInfo> {
    notification.content.offline_push_info.as_ref()?.apns_info.as_ref()
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

/// The subtitle as it is sent, and what was cut from it.
fn subtitle(notification: &Notification) -> Option<(Cow<'_, str>, Option<Cut>)> {
    let limit = TextLimit { max: MAX_SUBTITLE_BYTES, counting: Counting::JsonBytes };
    filled(info(notification)?.subtitle.as_deref()).map(|text| fit::fit("subtitle", text, limit))
}

fn image(notification: &Notification) -> Option<&str> {
    filled(info(notification)?.image.as_deref())
}

/// The members beside `aps`, and whether the image is among them: it is left out where it would leave no room for texts.
fn data(defaults: &Defaults, notification: &Notification) -> (Map<String, Value>, bool) {
    let mut data = notification.app_data();
    data.remove("aps");
    let Some(image) = image(notification) else { return (data, false) };
    let bytes = serde_json::to_string(&data).map_or(0, |text| text.len()) + Counting::JsonBytes.of(image);
    let fits = bytes <= MAX_PAYLOAD_BYTES - ROOM_FOR_TEXTS;
    if fits {
        let key = defaults.image_key.as_deref().unwrap_or("image");
        data.entry(key).or_insert_with(|| image.into());
    }
    (data, fits)
}

fn sound<'a>(defaults: &'a Defaults, notification: &'a Notification) -> Option<SoundValue<'a>> {
    let own = info(notification).and_then(|info| filled(info.sound.as_deref()));
    let value = match own.or(filled(notification.content.sound.as_deref())) {
        Some(name) => SoundValue::Name(name),
        None => match &defaults.sound {
            Some(Sound::Name(name)) => SoundValue::Name(name),
            Some(Sound::Critical(sound)) => SoundValue::Critical(sound),
            None => SoundValue::Name("default"),
        },
    };
    (!matches!(value, SoundValue::Name("none"))).then_some(value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::domain::id::{AppId, DeliveryId, NotificationId};
    use crate::domain::notification::Content;

    fn push(content: &Value) -> Push {
        let mut whole = json!({"title": "Alice", "body": "晚上一起吃饭吗？", "ttl_s": 86_400});
        whole.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
        let content: Content = serde_json::from_value(whole).unwrap();
        Push {
            title: content.title.clone(),
            body: content.body.clone(),
            full_title: content.title.clone(),
            full_body: content.body.clone(),
            cuts: Vec::new(),
            badge: None,
            time_to_live: Duration::from_secs(u64::from(content.ttl_s)),
            expires_at: DateTime::from_timestamp(1_790_086_400, 0).unwrap(),
            clearance: crate::vendor::Clearance::given(),
            notification: Arc::new(Notification {
                notification_id: NotificationId::new(1_790_000_000_000, 0),
                app_id: AppId(1),
                content,
            }),
        }
    }

    fn fitted(defaults: &Defaults, content: &Value) -> (Push, Value) {
        let mut push = push(content);
        fit(defaults, &mut push, TextLimit { max: 1_024, counting: Counting::JsonBytes });
        let bytes = payload(defaults, &push);
        assert!(bytes.len() <= MAX_PAYLOAD_BYTES, "{} bytes", bytes.len());
        (push, serde_json::from_slice(&bytes).unwrap())
    }

    fn defaults(value: Value) -> Defaults {
        serde_json::from_value(value).unwrap()
    }

    fn headers_of(defaults: &Defaults, push: &Push) -> Vec<(String, String)> {
        let delivery_id = DeliveryId(Uuid::parse_str("11111111-2222-3333-4444-555555555555").unwrap());
        let target = Target { delivery_id, token: "00".to_owned() };
        let topic = HeaderValue::from_static("com.example.im");
        let headers = headers(&topic, defaults, push, &target);
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn the_worked_request_is_reproduced_byte_for_byte() {
        let mut push = push(&json!({"collapse_id": "m-77", "conversation_id": "c1",
            "offline_push_info": {"Ext": r#"{"conv":"c1"}"#, "ApnsInfo": {"MutableContent": 1}}}));
        push.badge = Some(3);
        let expected = r#"{"aps":{"alert":{"title":"Alice","body":"晚上一起吃饭吗？"},"badge":3,"sound":"default","thread-id":"c1","mutable-content":1},"ext":"{\"conv\":\"c1\"}"}"#;
        let payload = payload(&Defaults::default(), &push);
        assert_eq!(String::from_utf8(payload).unwrap(), expected);
        assert_eq!(expected.len(), 160);
        let documented = [
            ("apns-topic", "com.example.im"),
            ("apns-push-type", "alert"),
            ("apns-priority", "10"),
            ("apns-expiration", "1790086400"),
            ("apns-collapse-id", "m-77"),
            ("apns-id", "11111111-2222-3333-4444-555555555555"),
            ("content-type", "application/json"),
        ];
        let documented = documented.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers_of(&Defaults::default(), &push), documented);
    }

    #[test]
    fn one_attempt_and_battery_saving_have_their_headers() {
        let headers = headers_of(&defaults(json!({"priority": 5})), &push(&json!({"ttl_s": 0})));
        assert!(headers.contains(&("apns-expiration".to_owned(), "0".to_owned())));
        assert!(headers.contains(&("apns-priority".to_owned(), "5".to_owned())));
    }

    #[test]
    fn the_collapse_id_is_the_callers_text_or_its_digest() {
        let id = |content: &Value| collapse_id(&push(content).notification);
        assert_eq!(id(&json!({"collapse_id": "a".repeat(64)})), "a".repeat(64));
        for text in ["a".repeat(65), "会话".to_owned(), "a b".to_owned(), "a\nb".to_owned()] {
            let digest = id(&json!({"conversation_id": text}));
            assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}: {digest}");
        }
        assert_eq!(id(&json!({})), push(&json!({})).notification.notification_id.to_string());
    }

    #[test]
    fn the_messages_own_options_beat_the_certificates() {
        let defaults = defaults(json!({"sound": "ding.caf", "category": "MSG", "interruption_level": "passive",
            "relevance_score": 0.25, "mutable_content": true, "image_key": "pic"}));
        let (_, plain) = fitted(&defaults, &json!({}));
        let expected = json!({"alert": {"title": "Alice", "body": "晚上一起吃饭吗？"}, "sound": "ding.caf", "category": "MSG",
            "interruption-level": "passive", "relevance-score": 0.25, "mutable-content": 1});
        assert_eq!(plain, json!({"aps": expected}));
        let (_, own) = fitted(
            &defaults,
            &json!({"sound": "content.caf", "data": {"cid": "c1", "aps": {}},
            "offline_push_info": {"ApnsInfo": {"Sound": "own.caf", "Title": "T", "SubTitle": "S", "Category": "C",
                "InterruptionLevel": "time-sensitive", "RelevanceScore": 1.0, "MutableContent": 0,
                "Image": "https://example.com/i.png"}}}),
        );
        let expected = json!({"alert": {"title": "T", "subtitle": "S", "body": "晚上一起吃饭吗？"}, "sound": "own.caf",
            "category": "C", "interruption-level": "time-sensitive", "relevance-score": 1.0});
        assert_eq!(own, json!({"aps": expected, "cid": "c1", "pic": "https://example.com/i.png"}));
    }

    #[test]
    fn sounds_are_a_name_an_object_or_nothing() {
        let sound = |defaults: Value, content: &Value| {
            fitted(&serde_json::from_value(defaults).unwrap(), content).1["aps"].get("sound").cloned()
        };
        let critical = json!({"critical": 1, "name": "siren.caf", "volume": 0.5});
        assert_eq!(sound(json!({"sound": critical}), &json!({})), Some(critical));
        assert_eq!(sound(json!({"sound": "none"}), &json!({})), None);
        assert_eq!(sound(json!({"sound": "none"}), &json!({"sound": "a.caf"})), Some("a.caf".into()));
        assert_eq!(sound(json!({}), &json!({"sound": "none"})), None);
    }

    #[test]
    fn the_badge_is_sent_unless_the_message_does_not_count() {
        let badge = |content: &Value| {
            let mut push = push(content);
            push.badge = Some(0);
            serde_json::from_slice::<Value>(&payload(&Defaults::default(), &push)).unwrap()["aps"].get("badge").cloned()
        };
        assert_eq!(badge(&json!({})), Some(0.into()));
        assert_eq!(badge(&json!({"offline_push_info": {"ApnsInfo": {"BadgeMode": 1}}})), None);
    }

    #[test]
    fn the_body_is_trimmed_to_the_last_byte_that_fits() {
        for body in ["好".repeat(2_000), "\"".repeat(4_000), "👨‍👩‍👧‍👦".repeat(300), "a\u{1}".repeat(2_000)]
        {
            let (push, json) = fitted(&Defaults::default(), &json!({"body": body, "data": {"cid": "c1"}}));
            assert!(push.body.ends_with('…'));
            assert_eq!(json["aps"]["alert"]["body"], push.body, "whole JSON");
            assert_eq!(push.cuts.iter().map(|cut| cut.field).collect::<Vec<_>>(), ["body"]);
            let unused = MAX_PAYLOAD_BYTES - payload(&Defaults::default(), &push).len();
            assert!(unused < 32, "{unused} bytes of room are left");
        }
        let (push, _) = fitted(&Defaults::default(), &json!({"body": "short"}));
        assert!(push.cuts.is_empty());
    }

    #[test]
    fn large_everything_still_fits_and_is_told() {
        let ext = "\"".repeat(1_024);
        let (push, json) = fitted(
            &Defaults::default(),
            &json!({
                "title": "T".repeat(4_096), "body": "b".repeat(4_096), "data": {"k": "d".repeat(1_000)},
                "offline_push_info": {"Ext": ext, "ApnsInfo": {"SubTitle": "s".repeat(4_096), "Image": "i".repeat(1_024)}},
            }),
        );
        let fields: Vec<_> = push.cuts.iter().map(|cut| cut.field).collect();
        assert_eq!(fields, ["subtitle", "image", "title", "body"]);
        assert_eq!(json.get("image"), None);
        assert_eq!(json["ext"], ext, "the app's own data is never cut");
    }
}

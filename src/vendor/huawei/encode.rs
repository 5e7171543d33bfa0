//! The body of `POST /v1/{clientId}/messages:send`.

use serde::Serialize;
use serde_json::{Map, Value};

use super::account::{Click, Defaults, Importance};
use crate::domain::notification::{AndroidSound, Notification};
use crate::vendor::fit::{Counting, TextLimit};
use crate::vendor::{Push, Target};

/// The most of a request without its tokens.
pub(super) const MAX_REQUEST_BYTES: usize = 4_096;
/// The most of a title, so that a body has room beside it; Huawei has no limit of its own.
pub(super) const MAX_TITLE_BYTES: usize = 512;
/// The least of a body for which app data is left out.
const LEAST_BODY_BYTES: usize = 300;
/// The class of chat messages.
const CATEGORY: &str = "IM";
const MAX_BADGE: i32 = 99;

#[derive(Serialize)]
struct Request<'a> {
    validate_only: bool,
    message: Message<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    android: Android<'a>,
    token: Vec<&'a str>,
}

#[derive(Serialize)]
struct Android<'a> {
    category: &'a str,
    ttl: String,
    /// -1: every message is kept for a phone that is offline.
    collapse_key: i32,
    /// Comes back in receipts.
    bi_tag: String,
    target_user_type: u8,
    /// The app's own data: a text that holds a JSON object.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    notification: Notice<'a>,
}

#[derive(Serialize)]
struct Notice<'a> {
    title: &'a str,
    body: &'a str,
    importance: &'a str,
    click_action: ClickAction,
    notify_id: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    badge: Option<Badge<'a>>,
    foreground_show: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sound: Option<String>,
    /// Must be false for `sound` to count; without one nothing is heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_sound: Option<bool>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    big_text: Option<BigText<'a>>,
}

#[derive(Serialize)]
struct BigText<'a> {
    style: u8,
    big_title: &'a str,
    big_body: &'a str,
}

#[derive(Serialize)]
struct Badge<'a> {
    set_num: i32,
    class: &'a str,
}

#[derive(Serialize)]
struct ClickAction {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// The class of a message: its own, else the certificate's, else that of chat.
pub(super) fn category<'a>(defaults: &'a Defaults, notification: &'a Notification) -> &'a str {
    let own = notification.android_text(|info| info.huawei_category.as_deref());
    own.or(defaults.category.as_deref()).unwrap_or(CATEGORY)
}

/// The request body. Pure.
pub(super) fn request(defaults: &Defaults, push: &Push, targets: &[Target]) -> String {
    let notification = &*push.notification;
    let data = if push.is_data_dropped() { Map::new() } else { notification.app_data() };
    let body = Request {
        validate_only: false,
        message: Message {
            android: Android {
                category: category(defaults, notification),
                ttl: format!("{}s", seconds(push)),
                collapse_key: -1,
                bi_tag: notification.notification_id.0.to_string(),
                target_user_type: u8::from(defaults.test_mode),
                notification: notice(defaults, push, &data),
                data: (!data.is_empty()).then(|| Value::Object(data).to_string()),
            },
            token: targets.iter().map(|target| target.token.as_str()).collect(),
        },
    };
    // A struct of texts and numbers always serialises.
    serde_json::to_string(&body).unwrap_or_default()
}

/// The size that Huawei limits: all but the tokens.
pub(super) fn request_bytes(defaults: &Defaults, push: &Push) -> usize {
    request(defaults, push, &[]).len()
}

/// Cuts the title to its limit, and the body to what the rest of the request leaves of it. Where app data would leave hardly
/// anything of the body, the data is left out.
pub(super) fn fit(defaults: &Defaults, push: &mut Push, title: TextLimit) {
    push.cut_title(title);
    let body = std::mem::take(&mut push.body);
    let mut rest = request_bytes(defaults, push);
    let wanted = Counting::JsonBytes.of(&body).min(LEAST_BODY_BYTES);
    if rest + wanted > MAX_REQUEST_BYTES {
        push.drop_data();
        rest = request_bytes(defaults, push);
    }
    push.body = body;
    // As big text it stands in the request twice.
    let copies = if is_big_text(&push.notification) { 2 } else { 1 };
    let max = MAX_REQUEST_BYTES.saturating_sub(rest) / copies;
    push.cut_body(TextLimit { max, counting: Counting::JsonBytes });
}

/// What is left, rounded up: 0 is not a time that Huawei documents.
fn seconds(push: &Push) -> u64 {
    let left = push.time_to_live;
    (left.as_secs() + u64::from(left.subsec_nanos() > 0)).max(1)
}

fn notice<'a>(defaults: &'a Defaults, push: &'a Push, data: &Map<String, Value>) -> Notice<'a> {
    let notification = &*push.notification;
    let certificates = match defaults.importance.unwrap_or(Importance::Normal) {
        Importance::Low => "LOW",
        Importance::Normal => "NORMAL",
    };
    let sound = notification.android_sound(defaults.sound.as_deref());
    let badge = push.badge.zip(defaults.badge_class.as_deref());
    let big_text = BigText { style: 1, big_title: &push.title, big_body: &push.body };
    Notice {
        title: &push.title,
        body: &push.body,
        importance: notification.android_text(|info| info.huawei_importance.as_deref()).unwrap_or(certificates),
        click_action: click_action(defaults, notification, data),
        notify_id: notification.collapse_key(),
        badge: badge.map(|(number, class)| Badge { set_num: number.clamp(0, MAX_BADGE), class }),
        foreground_show: defaults.notify_foreground || notification.content.force,
        channel_id: notification
            .android_text(|info| info.huawei_channel_id.as_deref())
            .or(defaults.channel_id.as_deref()),
        image: notification.android_text(|info| info.huawei_image.as_deref()),
        sound: match sound {
            AndroidSound::Resource(sound) => Some(format!("/raw/{sound}")),
            AndroidSound::Default | AndroidSound::None => None,
        },
        default_sound: (sound != AndroidSound::Default).then_some(false),
        big_text: is_big_text(notification).then_some(big_text),
    }
}

fn is_big_text(notification: &Notification) -> bool {
    notification.android().and_then(|info| info.push_style) == Some(1)
}

fn click_action(defaults: &Defaults, notification: &Notification, data: &Map<String, Value>) -> ClickAction {
    let none = ClickAction { kind: 3, intent: None, action: None, url: None };
    match defaults.click.as_ref().unwrap_or(&Click::Launcher) {
        Click::Launcher => none,
        Click::Activity { intent_uri } => {
            let wants_extra = notification.android().and_then(|info| info.ext_as_huawei_intent_param) == Some(1);
            let ext = data.get("ext").and_then(Value::as_str).filter(|_| wants_extra);
            let intent = ext.map_or_else(|| intent_uri.to_string(), |ext| with_extra(intent_uri, "ext", ext));
            ClickAction { kind: 1, intent: Some(intent), ..none }
        }
        Click::Page { intent_action } => ClickAction { kind: 1, action: Some(intent_action.to_string()), ..none },
        Click::Web { web_uri } => ClickAction { kind: 2, url: Some(web_uri.to_string()), ..none },
    }
}

/// An intent URI with one more text for the page that it opens; one that is no intent URI stays as it is.
fn with_extra(intent_uri: &str, name: &str, text: &str) -> String {
    let Some(head) = intent_uri.strip_suffix("end").filter(|head| head.contains("#Intent;") && head.ends_with(';'))
    else {
        return intent_uri.to_owned();
    };
    // Android decodes percent escapes there, and no plus signs.
    let escaped: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    format!("{head}S.{name}={};end", escaped.replace('+', "%20"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::vendor::testing::{push, targets};

    const LIMIT: TextLimit = TextLimit { max: MAX_TITLE_BYTES, counting: Counting::JsonBytes };

    fn defaults(value: Value) -> Defaults {
        serde_json::from_value(value).unwrap()
    }

    fn sent(defaults: &Value, content: &Value) -> Value {
        let body = request(&self::defaults(defaults.clone()), &push(content), &targets(&["T1"]));
        serde_json::from_str(&body).unwrap()
    }

    #[test]
    fn the_worked_request_byte_for_byte() {
        // The document's, with our bi_tag and notify_id.
        const DOCUMENTED: &str = r#"{"validate_only":false,"message":{"android":{"category":"IM","ttl":"86400s","collapse_key":-1,"bi_tag":"msg-7f3a","target_user_type":0,"data":"{\"conv\":\"u42\",\"mid\":\"7f3a\"}","notification":{"title":"Alice","body":"See you at six?","importance":"NORMAL","click_action":{"type":1,"intent":"intent://chat/u42#Intent;scheme=exampleim;launchFlags=0x4000000;end"},"notify_id":734512,"badge":{"set_num":3,"class":"com.example.im.MainActivity"},"foreground_show":false}},"token":["T1","T2"]}}"#;
        assert_eq!(DOCUMENTED.len(), 490);
        let defaults = defaults(json!({"badge_class": "com.example.im.MainActivity", "click": {"action": "activity",
            "intent_uri": "intent://chat/u42#Intent;scheme=exampleim;launchFlags=0x4000000;end"}}));
        let mut push = push(&json!({"title": "Alice", "body": "See you at six?", "conversation_id": "u42",
            "data": {"conv": "u42", "mid": "7f3a"}}));
        push.badge = Some(3);
        let notification = &push.notification;
        let expected = DOCUMENTED
            .replace("msg-7f3a", &notification.notification_id.0.to_string())
            .replace("734512", &notification.collapse_key().to_string());
        assert_eq!(request(&defaults, &push, &targets(&["T1", "T2"])), expected);
    }

    #[test]
    fn the_message_beats_the_certificate_and_the_certificate_the_built_in() {
        let certificate = json!({"category": "WORK", "channel_id": "c", "importance": "LOW", "sound": "ding",
            "notify_foreground": true, "test_mode": true});
        let own = json!({"AndroidInfo": {"HuaWeiCategory": "VOIP", "HuaWeiChannelID": "d", "HuaWeiImportance": "NORMAL",
            "Sound": "dong", "HuaWeiImage": "https://example.com/i.png"}});
        let looks = |defaults: &Value, content: &Value| {
            let android = sent(defaults, content)["message"]["android"].clone();
            let notice = &android["notification"];
            json!([
                android["category"],
                notice["channel_id"],
                notice["importance"],
                notice["sound"],
                notice["default_sound"],
                notice["foreground_show"],
                android["target_user_type"],
                notice["image"]
            ])
        };
        let none = Value::Null;
        assert_eq!(looks(&json!({}), &json!({})), json!(["IM", none, "NORMAL", none, none, false, 0, none]));
        assert_eq!(looks(&certificate, &json!({})), json!(["WORK", "c", "LOW", "/raw/ding", false, true, 1, none]));
        let expected = json!(["VOIP", "d", "NORMAL", "/raw/dong", false, true, 1, "https://example.com/i.png"]);
        assert_eq!(looks(&certificate, &json!({"offline_push_info": own})), expected);
        let own = looks(&certificate, &json!({"sound": "default"}));
        assert_eq!((&own[3], &own[4]), (&none, &none), "the phone's own sound");
        let silent = looks(&certificate, &json!({"sound": "none"}));
        assert_eq!((&silent[3], &silent[4]), (&none, &json!(false)));
    }

    #[test]
    fn what_a_click_does() {
        let with = |click: Value, content: &Value| {
            sent(&json!({"click": click}), content)["message"]["android"]["notification"]["click_action"].clone()
        };
        assert_eq!(with(json!({"action": "launcher"}), &json!({})), json!({"type": 3}));
        let web = json!({"action": "web", "web_uri": "https://example.com"});
        assert_eq!(with(web, &json!({})), json!({"type": 2, "url": "https://example.com"}));
        let page = json!({"action": "page", "intent_action": "com.example.CHAT"});
        assert_eq!(with(page, &json!({})), json!({"type": 1, "action": "com.example.CHAT"}));
        let activity = |uri: &str| json!({"action": "activity", "intent_uri": uri});
        let ext = |flag: u8| json!({"offline_push_info": {"Ext": "{\"a\": \"小+\"}", "AndroidInfo": {"ExtAsHuaweiIntentParam": flag}}});
        let uri = "intent://chat#Intent;scheme=im;end";
        assert_eq!(with(activity(uri), &ext(0))["intent"], uri);
        let expected = "intent://chat#Intent;scheme=im;S.ext=%7B%22a%22%3A%20%22%E5%B0%8F%2B%22%7D;end";
        assert_eq!(with(activity(uri), &ext(1))["intent"], expected);
        assert_eq!(with(activity("im://chat"), &ext(1))["intent"], "im://chat");
    }

    #[test]
    fn the_time_that_is_left_is_a_text_with_its_unit() {
        let ttl = |time_to_live| {
            let push = Push { time_to_live, ..push(&json!({})) };
            let body: Value = serde_json::from_str(&request(&Defaults::default(), &push, &[])).unwrap();
            body["message"]["android"]["ttl"].clone()
        };
        assert_eq!(ttl(Duration::from_hours(24)), "86400s");
        assert_eq!(ttl(Duration::from_millis(1_001)), "2s", "rounded up");
        assert_eq!(ttl(Duration::ZERO), "1s");
    }

    #[test]
    fn the_badge_needs_the_launcher_activity_and_keeps_its_range() {
        let badge = |defaults: Value, badge| {
            let push = Push { badge, ..push(&json!({})) };
            let body: Value = serde_json::from_str(&request(&self::defaults(defaults), &push, &[])).unwrap();
            body["message"]["android"]["notification"]["badge"].clone()
        };
        let class = json!({"badge_class": "c.Main"});
        assert_eq!(badge(json!({}), Some(3)), Value::Null);
        assert_eq!(badge(class.clone(), None), Value::Null);
        assert_eq!(badge(class.clone(), Some(0)), json!({"set_num": 0, "class": "c.Main"}));
        assert_eq!(badge(class, Some(500))["set_num"], 99);
    }

    #[test]
    fn the_body_is_cut_to_what_the_request_leaves() {
        for (content, is_big) in [
            (json!({"title": "题".repeat(1_000), "body": "好".repeat(1_365), "data": {"k": "\"".repeat(450)}}), false),
            (json!({"body": "好".repeat(1_365), "offline_push_info": {"AndroidInfo": {"PushStyle": 1}}}), true),
            (json!({"body": "\u{1}".repeat(4_000)}), false),
        ] {
            let mut push = push(&content);
            fit(&Defaults::default(), &mut push, LIMIT);
            let bytes = request_bytes(&Defaults::default(), &push);
            assert!((4_050..=MAX_REQUEST_BYTES).contains(&bytes), "{bytes}");
            assert!(push.body.ends_with('…') && push.cuts.iter().any(|cut| cut.field == "body"));
            let body: Value = serde_json::from_str(&request(&Defaults::default(), &push, &[])).unwrap();
            let notice = &body["message"]["android"]["notification"];
            assert_eq!(notice.get("style").is_some(), is_big);
            assert_eq!(notice.get("big_body").is_some_and(|text| *text == push.body), is_big);
        }
        let quotes = "\"".repeat(1_020);
        let mut full = push(&json!({"body": "好".repeat(500), "offline_push_info": {"Ext": quotes}}));
        fit(&Defaults::default(), &mut full, LIMIT);
        assert_eq!(full.cuts.iter().map(|cut| cut.field).collect::<Vec<_>>(), ["data"], "the text is worth more");
        assert!(request_bytes(&Defaults::default(), &full) <= MAX_REQUEST_BYTES);
        let mut short = push(&json!({}));
        fit(&Defaults::default(), &mut short, LIMIT);
        assert!(short.cuts.is_empty());
    }

    #[test]
    fn app_data_is_a_text_that_holds_an_object() {
        let body = sent(&json!({}), &json!({"offline_push_info": {"Ext": "{\"m\":1}"}}));
        assert_eq!(body["message"]["android"]["data"], r#"{"ext":"{\"m\":1}"}"#);
        assert_eq!(sent(&json!({}), &json!({}))["message"]["android"].get("data"), None);
    }
}
